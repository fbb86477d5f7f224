//! The waker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use anypoll::Backend;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::support::{PATIENCE, expect_nothing, expect_one, on_every_backend, poll};

on_every_backend! {
    many_wakes_are_one_event
    no_wake_is_lost
    dropped_before_the_poll
}

fn many_wakes_are_one_event(backend: Backend) {
    let mut poll = poll(backend);
    let waker = Waker::new(poll.registry(), Token(usize::MAX)).unwrap();
    for _ in 0..3 {
        waker.wake().unwrap();
        waker.wake().unwrap();
        assert_eq!(expect_one(&mut poll, usize::MAX), "readable");
        expect_nothing(&mut poll);
    }
}

fn no_wake_is_lost(backend: Backend) {
    const ROUNDS: usize = 2_000;
    let mut poll = poll(backend);
    let waker = Waker::new(poll.registry(), Token(1)).unwrap();
    let (written, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let thread = thread::spawn({
        let (written, seen) = (Arc::clone(&written), Arc::clone(&seen));
        move || {
            for round in 1..=ROUNDS {
                written.store(round, SeqCst);
                waker.wake().unwrap();
                while seen.load(SeqCst) < round {
                    thread::yield_now();
                }
            }
        }
    });
    let mut events = Events::with_capacity(2);
    for round in 1..=ROUNDS {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [Token(1)]);
        assert_eq!(written.load(SeqCst), round);
        seen.store(round, SeqCst);
    }
    thread.join().unwrap();
    expect_nothing(&mut poll);
}

fn dropped_before_the_poll(backend: Backend) {
    let mut poll = poll(backend);
    let waker = Waker::new(poll.registry(), Token(4)).unwrap();
    waker.wake().unwrap();
    drop(waker);
    assert_eq!(expect_one(&mut poll, 4), "readable");
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "Only a single `Waker` can be active per `Poll` instance")]
fn a_second_waker_panics() {
    let poll = Poll::new().unwrap();
    let _first = Waker::new(poll.registry(), Token(0)).unwrap();
    let clone = poll.registry().try_clone().unwrap();
    let _ = Waker::new(&clone, Token(1));
}
