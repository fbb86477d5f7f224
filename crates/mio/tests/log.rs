//! With the feature `log`, what is registered is said.

#![cfg(any(unix, windows))]

use std::sync::Mutex;

use mio::net::UdpSocket;
use mio::{Interest, Poll, Token};

struct Collect(Mutex<Vec<String>>);

impl log::Log for Collect {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {} {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

static LOG: Collect = Collect(Mutex::new(Vec::new()));

#[test]
fn traces() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let poll = Poll::new().unwrap();
    let mut receiver = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    poll.registry().register(&mut receiver, Token(1), Interest::READABLE).unwrap();
    poll.registry().reregister(&mut receiver, Token(2), Interest::READABLE).unwrap();
    poll.registry().deregister(&mut receiver).unwrap();
    assert_eq!(
        *LOG.0.lock().unwrap(),
        [
            "TRACE mio::poll register: Token(1) for READABLE",
            "TRACE mio::poll reregister: Token(2) for READABLE",
            "TRACE mio::poll deregister",
        ]
    );
}
