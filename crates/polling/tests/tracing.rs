//! With the feature `tracing`, what is done is said.
#![cfg(feature = "tracing")]

use std::fmt::{self, Write as _};
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polling::{Event, Events, Poller};
use tracing::field::{Field, Visit};
use tracing::{Metadata, Subscriber, span};

#[derive(Clone, Default)]
struct Collect(Arc<Mutex<Vec<String>>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Collect {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("polling")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(format!("{} ", event.metadata().level()));
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn traces() {
    let said = Collect::default();
    tracing::subscriber::with_default(said.clone(), || {
        let poller = Poller::new().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // SAFETY: it is deleted below.
        unsafe { poller.add(&socket, Event::readable(1)) }.unwrap();
        poller.modify(&socket, Event::writable(1)).unwrap();
        poller.notify().unwrap();
        poller.wait(&mut Events::new(), Some(Duration::from_secs(20))).unwrap();
        poller.delete(&socket).unwrap();
    });
    let said = said.0.lock().unwrap();
    let expected = ["add", "modify", "notify", "wait", "waited", "delete"];
    assert_eq!(*said, expected.map(|word| format!("TRACE {word}")));
}
