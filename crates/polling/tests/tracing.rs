//! A subscriber that uses the poller whose call it is told of: anypoll's feature `tracing` may be on
//! though this crate's is not.
#![cfg(unix)]

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

use polling::{Event, Events, Poller};
use tracing::span;

static LOG: OnceLock<(Poller, UnixStream)> = OnceLock::new();
thread_local!(static INSIDE: Cell<bool> = const { Cell::new(false) });

/// Has the poller watch for room in the log, at each line.
struct Subscriber;

impl tracing::Subscriber for Subscriber {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn event(&self, _: &tracing::Event<'_>) {
        if !INSIDE.replace(true) {
            let (poller, log) = LOG.get().unwrap();
            poller.modify(log, Event::writable(1)).unwrap();
            INSIDE.set(false);
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        unreachable!("there are no spans")
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_subscriber_may_use_the_poller() {
    let (log, _other_end) = UnixStream::pair().unwrap();
    let (stream, _peer) = UnixStream::pair().unwrap();
    let poller = Poller::new().unwrap();
    // SAFETY: it is deleted below, and closed after that.
    unsafe { poller.add(&log, Event::none(1)).unwrap() };
    // SAFETY: as above.
    unsafe { poller.add(&stream, Event::none(2)).unwrap() };
    let (poller, log) = LOG.get_or_init(|| (poller, log));
    tracing::subscriber::set_global_default(Subscriber).unwrap();

    poller.modify(&stream, Event::readable(2)).unwrap();
    let mut events = Events::new();
    assert_eq!(poller.wait(&mut events, Some(Duration::ZERO)).unwrap(), 1);
    assert_eq!(events.iter().next().unwrap().key, 1);
    poller.delete(&stream).unwrap();
    poller.delete(log).unwrap();
}
