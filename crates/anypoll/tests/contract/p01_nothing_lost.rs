//! P1: what is ready when it is registered, or becomes ready after, is reported by a later wait.

use std::io::Write;

use anypoll::{Backend, Interest, Mode, Token};

use crate::support::{expect_nothing, on_every_backend, poller, wait_for};

on_every_backend! {
    ready_before_registration
}

fn ready_before_registration(backend: Backend) {
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        let poller = poller(backend);
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let reader = poller.register(reader, Token(1), Interest::READABLE, mode).unwrap();
        wait_for(&poller, &[1]);
        drop(reader);
        expect_nothing(&poller);
    }
}
