//! The channel: messages, ends, and how both are told, on every backend.

#![cfg(any(unix, windows))]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use anypoll::channel::{self, Receiver, Sender, TryRecvError, TrySendError};
use anypoll::{Backend, Events, Poller, Token, Waker};

use support::{PATIENCE, expect_nothing, on_every_backend, poller, wait_for};

on_every_backend! {
    one_report_for_many_messages
    room_is_told_after_a_refusal_only
    the_senders_end_is_told
    the_receivers_end_is_told
    nothing_is_lost_or_doubled
}

fn one_report_for_many_messages(backend: Backend) {
    let poller = poller(backend);
    let (sender, receiver) = channel::bounded(3, poller.waker(Token(1)));
    expect_nothing(&poller);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    for message in 0..3 {
        sender.clone().try_send(message).unwrap();
    }
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    wait_for(&poller, &[1]);
    expect_nothing(&poller);
    for message in 0..3 {
        assert_eq!(receiver.clone().try_recv(), Ok(message));
    }
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.try_send(4).unwrap();
    wait_for(&poller, &[1]);
    assert_eq!(receiver.try_recv(), Ok(4));
    expect_nothing(&poller);
}

fn room_is_told_after_a_refusal_only(backend: Backend) {
    let (ours, theirs) = (poller(backend), poller(backend));
    let (sender, receiver) =
        channel::bounded_with_room(1, theirs.waker(Token(1)), ours.waker(Token(2)));
    sender.try_send('a').unwrap();
    assert_eq!(receiver.try_recv(), Ok('a'));
    expect_nothing(&ours);
    sender.try_send('b').unwrap();
    assert_eq!(sender.try_send('c'), Err(TrySendError::Full('c')));
    expect_nothing(&ours);
    assert_eq!(receiver.try_recv(), Ok('b'));
    wait_for(&ours, &[2]);
    sender.try_send('c').unwrap();
    assert_eq!(receiver.try_recv(), Ok('c'));
    expect_nothing(&ours);
    wait_for(&theirs, &[1]);
}

fn the_senders_end_is_told(backend: Backend) {
    let poller = poller(backend);
    let (sender, receiver) = channel::bounded(2, poller.waker(Token(1)));
    let other = sender.clone();
    drop(sender);
    expect_nothing(&poller);
    other.try_send(1).unwrap();
    wait_for(&poller, &[1]);
    drop(other);
    wait_for(&poller, &[1]);
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}

fn the_receivers_end_is_told(backend: Backend) {
    let (ours, theirs) = (poller(backend), poller(backend));
    let (sender, receiver) =
        channel::bounded_with_room(1, theirs.waker(Token(1)), ours.waker(Token(2)));
    let other = receiver.clone();
    let message = Arc::new(());
    sender.try_send(message.clone()).unwrap();
    drop(receiver);
    expect_nothing(&ours);
    drop(other);
    wait_for(&ours, &[2]);
    // What nobody will receive is not kept.
    assert_eq!(Arc::strong_count(&message), 1);
    assert_eq!(sender.try_send(message.clone()), Err(TrySendError::Disconnected(message)));
}

const THREADS: usize = 8;
const MESSAGES: usize = if cfg!(debug_assertions) { 80_000 } else { 10_000_000 };

fn wait(poller: &Poller, events: &mut Events) {
    poller.wait(events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty(), "waited in vain");
}

/// Numbers from a range of its own, in order.
fn send(sender: &Sender<usize>, poller: &Poller, room: &Waker, first: usize) {
    let mut events = Events::with_capacity(8);
    for number in first..first + MESSAGES / THREADS {
        while let Err(error) = sender.try_send(number) {
            assert_eq!(error, TrySendError::Full(number));
            wait(poller, &mut events);
        }
        if !events.is_empty() {
            events.clear();
            room.wake();
        }
    }
    room.wake();
}

/// Returns how many were received.
fn receive(
    receiver: &Receiver<usize>,
    poller: &Poller,
    waker: &Waker,
    seen: &[AtomicBool],
) -> usize {
    let mut events = Events::with_capacity(8);
    let mut next = [0; THREADS];
    let mut count = 0;
    loop {
        wait(poller, &mut events);
        loop {
            match receiver.try_recv() {
                Ok(number) => {
                    assert!(!seen[number].swap(true, Relaxed), "{number} came twice");
                    let sender = number / (MESSAGES / THREADS);
                    assert!(number >= next[sender], "{number} was overtaken");
                    next[sender] = number + 1;
                    count += 1;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    waker.wake();
                    return count;
                }
            }
        }
    }
}

fn nothing_is_lost_or_doubled(backend: Backend) {
    let (ours, theirs) = (poller(backend), poller(backend));
    let (waker, room) = (theirs.waker(Token(1)), ours.waker(Token(2)));
    let (sender, receiver) = channel::bounded_with_room(1024, waker.clone(), room.clone());
    let seen: Vec<_> = (0..MESSAGES).map(|_| AtomicBool::new(false)).collect();
    let received = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let receiver = receiver.clone();
            scope.spawn(|| {
                let receiver = receiver;
                received.fetch_add(receive(&receiver, &theirs, &waker, &seen), Relaxed);
            });
        }
        for first in (0..MESSAGES).step_by(MESSAGES / THREADS) {
            let (sender, ours, room) = (sender.clone(), &ours, &room);
            scope.spawn(move || send(&sender, ours, room, first));
        }
        drop(sender);
    });
    assert_eq!(received.into_inner(), MESSAGES);
    assert!(seen.into_iter().all(AtomicBool::into_inner));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}
