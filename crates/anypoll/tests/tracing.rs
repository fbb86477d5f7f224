//! What the feature `tracing` tells: `cargo test --features tracing --test tracing`.

#![cfg(any(unix, windows))]

use std::fmt::{Debug, Write};
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};

use anypoll::{Events, Interest, Mode, Poller, Token};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Each event as a line of its level and fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A descriptor's number is not known.
        match field.name() {
            "handle" => self.0.push_str(" handle"),
            "message" => write!(self.0, " {value:?}").unwrap(),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("there are no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

impl Lines {
    fn of(body: impl FnOnce()) -> Vec<String> {
        let lines = Self::default();
        tracing::subscriber::with_default(lines.clone(), body);
        lines.0.lock().unwrap().split_off(0)
    }
}

fn ready_socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    socket
}

#[test]
fn each_change_and_each_wait_is_told() {
    let lines = Lines::of(|| {
        let poller = Poller::new().unwrap();
        let socket = ready_socket();
        let socket = poller.register(socket, Token(7), Interest::READABLE, Mode::Level).unwrap();
        let mut events = Events::default();
        poller.wait(&mut events, None).unwrap();
        socket.set_interest(Interest::WRITABLE).unwrap();
        poller.interrupt();
        drop(socket);
        poller.wait(&mut events, None).unwrap();
    });
    assert_eq!(
        lines,
        [
            "TRACE register handle token=7 interest=READABLE mode=Level",
            "TRACE waited events=1",
            "TRACE change handle token=7 interest=WRITABLE mode=Level",
            // No interrupt: a signal handler may make it.
            "TRACE remove handle",
            "TRACE waited events=0",
        ]
    );
}

#[test]
fn events_of_an_earlier_wait_do_not_count() {
    let lines = Lines::of(|| {
        let poller = Poller::new().unwrap();
        poller.waker(Token(3)).wake();
        let mut events = Events::default();
        for _ in 0..1001 {
            poller.wait_append(&mut events, Some(std::time::Duration::ZERO)).unwrap();
        }
        assert_eq!(events.len(), 1);
    });
    assert!(lines.iter().all(|line| line.starts_with("TRACE")), "{lines:?}");
}

#[test]
fn a_token_that_nobody_serves_is_named_once() {
    let warning = format!("{} ", Level::WARN);
    let warnings = |waits: usize, pause_after: usize| {
        let mut lines = Lines::of(|| {
            let poller = Poller::new().unwrap();
            let idle = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut sockets = Vec::new();
            for (token, socket) in [ready_socket(), idle].into_iter().enumerate() {
                let token = Token(token);
                sockets
                    .push(poller.register(socket, token, Interest::READABLE, Mode::Level).unwrap());
            }
            let mut events = Events::default();
            for wait in 1..=waits {
                poller.wait(&mut events, None).unwrap();
                assert_eq!(events.len(), 1);
                if wait == pause_after {
                    poller.interrupt();
                    sockets[0].set_interest(Interest::NONE).unwrap();
                    poller.wait(&mut events, None).unwrap();
                    sockets[0].set_interest(Interest::READABLE).unwrap();
                }
            }
        });
        lines.retain(|line| line.starts_with(&warning));
        lines
    };
    assert_eq!(warnings(999, 0), [""; 0]);
    assert_eq!(
        warnings(3000, 0),
        ["WARN reported by 1000 waits in a row: if it is not that busy, what Mode::Level reports \
          is not used up token=0 conditions=READ"]
    );
    assert_eq!(warnings(1998, 999), [""; 0]);
}
