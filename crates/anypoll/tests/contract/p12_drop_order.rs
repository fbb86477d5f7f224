//! P12: the order of dropping never matters: poller first, sources first, wakers last, during a
//! wait, leaked, while a panic unwinds. After all is gone no descriptor is left open.

use std::any::Any;
use std::io::{self, Read, Write};
#[cfg(unix)]
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anypoll::{Backend, Events, Interest, Mode, Poller, Registered, Source, Token};

use crate::support::{
    PipeWriter, Stream, alone, expect_reader_gone, look, never_blocking, on_every_backend,
    open_descriptors, pipe, poller, sleeping, stream_pair, within_patience,
};

on_every_backend! {
    any_order
    any_order_during_a_wait
    #[cfg(unix)] leaked
    while_a_panic_unwinds
    a_drop_is_seen_by_the_peer_during_a_wait
}

type Thing = Box<dyn Any + Send>;

const THINGS: usize = 6;

/// One of each kind: a handle, a registration that is ready, one that is not, one that never
/// blocks, a waker that was woken, and one as std's.
fn things(poller: Poller) -> ([Thing; THINGS], PipeWriter, Stream) {
    let (reader, mut ready) = pipe().unwrap();
    ready.write_all(b"x").unwrap();
    let (socket, peer) = stream_pair();
    let file = never_blocking();
    let all = Interest::READABLE | Interest::WRITABLE;
    let reader = poller.register(reader, Token(0), Interest::READABLE, Mode::Oneshot).unwrap();
    // Once taken out and once for good.
    let socket = poller.register(socket, Token(1), Interest::WRITABLE, Mode::Level).unwrap();
    let socket = socket.into_inner();
    let socket = poller.register(socket, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    let file = poller.register(file, Token(2), all, Mode::Oneshot).unwrap();
    let waker = poller.waker(Token(3));
    let task = std::task::Waker::from(waker.clone());
    // Some questions are asked, some events reported and some left behind.
    look(&poller);
    reader.set_interest(Interest::READABLE).unwrap();
    waker.wake();
    let things: [Thing; THINGS] = [
        Box::new(reader),
        Box::new(socket),
        Box::new(file),
        Box::new(waker),
        Box::new(task),
        Box::new(poller),
    ];
    (things, ready, peer)
}

/// The `nth` order of so many things.
fn order(mut nth: usize, count: usize) -> Vec<usize> {
    let mut left: Vec<_> = (0..count).collect();
    (1..=count)
        .rev()
        .map(|choices| {
            let choice = left.remove(nth % choices);
            nth /= choices;
            choice
        })
        .collect()
}

fn orders() -> impl Iterator<Item = Vec<usize>> {
    (0..(1..=THINGS).product()).map(|nth| order(nth, THINGS))
}

fn drop_in(order: &[usize], things: [Thing; THINGS]) {
    let mut things = things.map(Some);
    for &index in order {
        things[index] = None;
    }
}

/// The peers see that the objects are closed.
fn expect_closed(mut writer: PipeWriter, mut peer: Stream) {
    expect_reader_gone(&mut writer);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

fn any_order(backend: Backend) {
    alone(backend, module_path!(), "any_order", || {
        let before = open_descriptors();
        for order in orders() {
            let (things, writer, peer) = things(poller(backend));
            drop_in(&order, things);
            expect_closed(writer, peer);
            assert_eq!(open_descriptors(), before, "{order:?}");
        }
    });
}

/// The sleeping thread has a handle of its own, and is all that keeps the poller.
fn any_order_during_a_wait(backend: Backend) {
    alone(backend, module_path!(), "any_order_during_a_wait", move || {
        within_patience(move || {
            let before = open_descriptors();
            for order in orders().step_by(17) {
                thread::scope(|scope| {
                    let poller = poller(backend);
                    let (things, writer, peer) = things(poller.clone());
                    while !look(&poller).is_empty() {}
                    let waiting = poller.clone();
                    let waiter = sleeping(scope, move || {
                        let mut events = Events::default();
                        waiting.wait(&mut events, None).unwrap();
                        events.len()
                    });
                    drop_in(&order, things);
                    expect_closed(writer, peer);
                    assert!(!waiter.is_finished());
                    poller.interrupt();
                    drop(poller);
                    assert_eq!(waiter.join().unwrap(), 0);
                });
                assert_eq!(open_descriptors(), before, "{order:?}");
            }
        });
    });
}

/// What is leaked stays, and nothing else.
#[cfg(unix)]
fn leaked(backend: Backend) {
    alone(backend, module_path!(), "leaked", || {
        let before = open_descriptors();
        let own = poller(backend);
        let of_a_poller = open_descriptors() - before;
        // Those of the registrations: the object, and what the backend holds of it, which is
        // nothing if the kernel keeps them; of the file nothing is held anywhere.
        let of_a_source = if own.has_edges() { 1 } else { 2 };
        drop(own);
        let leaks = [of_a_source, of_a_source, 1, 0, 0, 0];
        for (leak, of_it) in leaks.into_iter().enumerate() {
            for order in orders().step_by(41) {
                let before = open_descriptors();
                let (things, writer, peer) = things(poller(backend));
                let mut things = things.map(Some);
                for index in order {
                    let thing = things[index].take();
                    if index == leak {
                        mem::forget(thing);
                    }
                }
                drop((writer, peer));
                assert_eq!(open_descriptors() - before, of_a_poller + of_it, "leaked {leak}");
            }
        }
    });
}

fn while_a_panic_unwinds(backend: Backend) {
    alone(backend, module_path!(), "while_a_panic_unwinds", move || {
        panic::set_hook(Box::new(|_| {}));
        let before = open_descriptors();
        for _ in 0..3 {
            let (things, writer, peer) = things(poller(backend));
            let unwound = panic::catch_unwind(AssertUnwindSafe(move || {
                let _things = things;
                panic!("unwinds");
            }));
            assert!(unwound.is_err());
            expect_closed(writer, peer);
            assert_eq!(open_descriptors(), before);

            // A panic inside of what runs under a registration leaves it whole.
            let poller = poller(backend);
            let (reader, mut writer) = pipe().unwrap();
            let reader = poller.register(reader, Token(0), Interest::READABLE, Mode::Edge).unwrap();
            let unwound = panic::catch_unwind(AssertUnwindSafe(|| {
                reader.try_io(Interest::READABLE, |_| -> io::Result<()> { panic!("unwinds") })
            }));
            assert!(unwound.is_err());
            reader.set_interest(Interest::READABLE).unwrap();
            writer.write_all(b"x").unwrap();
            assert!(look(&poller).contains_key(&Token(0)));
            drop((reader, writer, poller));
            assert_eq!(open_descriptors(), before);
        }
        let _ = panic::take_hook();
    });
}

/// Whatever holds the registration, and though a thread sleeps in a wait that has it in its list.
fn a_drop_is_seen_by_the_peer_during_a_wait(backend: Backend) {
    within_patience(move || {
        let poller = poller(backend);
        let register = |socket: Stream| {
            poller.register(socket, Token(1), Interest::READABLE, Mode::Level).unwrap()
        };
        type Hold = fn(Registered<Stream>) -> Thing;
        let holds: [Hold; 4] = [
            |one| Box::new(one),
            |one| Box::new(Arc::new(one)),
            |one| Box::new(one.into_inner()),
            |one| Box::new(Box::new(one) as Box<Registered<dyn Source + Send>>),
        ];
        for hold in holds {
            thread::scope(|scope| {
                let (socket, mut peer) = stream_pair();
                let registered = register(socket);
                let waiter = sleeping(scope, || {
                    let mut events = Events::default();
                    poller.wait(&mut events, None).unwrap();
                    events.iter().map(anypoll::Event::token).collect::<Vec<_>>()
                });
                drop(hold(registered));
                assert_eq!(peer.read(&mut [0]).unwrap(), 0);
                poller.waker(Token(2)).wake();
                assert_eq!(waiter.join().unwrap(), [Token(2)]);
            });
        }
        // By reference, the object lives on and is not reported.
        let (socket, mut peer) = stream_pair();
        drop(poller.register(&socket, Token(1), Interest::READABLE, Mode::Level).unwrap());
        peer.write_all(b"x").unwrap();
        let mut events = Events::default();
        poller.wait(&mut events, Some(Duration::from_millis(1))).unwrap();
        assert!(events.is_empty());
    });
}
