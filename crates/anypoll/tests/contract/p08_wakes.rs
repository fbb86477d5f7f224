//! P8: a wake is not lost. `tests/loom.rs` proves it for every interleaving of the shipped file;
//! here real threads wake real kernels.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use anypoll::{Backend, Events, Token};

use crate::support::{PATIENCE, Seen, expect_nothing, look, on_every_backend, poller, wait_for};

on_every_backend! {
    many_wakes_are_one_event
    data_is_seen_after_the_report
    a_storm_reaches_a_sleeping_thread
    each_of_many_wakers_is_reported_once
    wakes_are_shared_among_waits
    a_dropped_waker_is_still_reported
    std_wakers
}

fn many_wakes_are_one_event(backend: Backend) {
    let poller = poller(backend);
    let waker = poller.waker(Token(usize::MAX));
    let clone = waker.clone();
    for _ in 0..10 {
        waker.wake();
        clone.wake();
    }
    let seen = wait_for(&poller, &[usize::MAX]);
    assert_eq!(seen[&waker.token()], anypoll::Conditions::READ);
    expect_nothing(&poller);
    waker.wake();
    assert_eq!(look(&poller).len(), 1);
    expect_nothing(&poller);
}

/// The waiting thread answers each number before the next is written.
fn data_is_seen_after_the_report(backend: Backend) {
    const ROUNDS: usize = 2_000;
    let (here, there) = (poller(backend), poller(backend));
    let (to_here, to_there) = (here.waker(Token(1)), there.waker(Token(2)));
    let (ping, pong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                wait_for(&there, &[2]);
                assert_eq!(ping.load(Relaxed), round);
                pong.store(round, Relaxed);
                to_here.wake();
            }
        });
        for round in 1..=ROUNDS {
            ping.store(round, Relaxed);
            to_there.wake();
            wait_for(&here, &[1]);
            assert_eq!(pong.load(Relaxed), round);
        }
    });
    expect_nothing(&here);
    expect_nothing(&there);
}

fn a_storm_reaches_a_sleeping_thread(backend: Backend) {
    const THREADS: usize = 4;
    const ROUNDS: usize = 5_000;
    let poller = poller(backend);
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let waker = poller.waker(Token(3));
            let sent = &sent;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    sent.fetch_add(1, Relaxed);
                    waker.wake();
                }
            });
        }
        let mut events = Events::with_capacity(3);
        while sent.load(Relaxed) < THREADS * ROUNDS {
            poller.wait(&mut events, Some(PATIENCE)).unwrap();
            assert!(!events.is_empty(), "lost after {}", sent.load(Relaxed));
        }
    });
}

/// More wakers than one word has bits, more events than the buffer has room.
fn each_of_many_wakers_is_reported_once(backend: Backend) {
    let poller = poller(backend);
    let wakers: Vec<_> = (0..300).map(|i| poller.waker(Token(i))).collect();
    wakers.iter().for_each(anypoll::Waker::wake);
    let mut events = Events::with_capacity(7);
    let mut seen = Vec::new();
    while seen.len() < wakers.len() {
        poller.wait(&mut events, Some(PATIENCE)).unwrap();
        assert_eq!(events.len(), 7.min(wakers.len() - seen.len()));
        seen.extend(events.iter().map(|event| event.token().0));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
    expect_nothing(&poller);
}

/// Every wake is reported to one of three threads, which sleep while there is none.
fn wakes_are_shared_among_waits(backend: Backend) {
    const WAKERS: usize = 50;
    const ROUNDS: usize = 100;
    let poller = poller(backend);
    let done = poller.waker(Token(WAKERS));
    let wakers: Vec<_> = (0..WAKERS).map(|i| poller.waker(Token(i))).collect();
    let reports: Vec<_> = (0..WAKERS).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut events = Events::with_capacity(2);
                loop {
                    poller.wait(&mut events, Some(PATIENCE)).unwrap();
                    assert!(!events.is_empty(), "a wake was lost");
                    let mut ended = false;
                    for event in &events {
                        match event.token() {
                            Token(WAKERS) => ended = true,
                            Token(i) => {
                                reports[i].fetch_add(1, Relaxed);
                            }
                        }
                    }
                    if ended {
                        return done.wake();
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            for (waker, reports) in wakers.iter().zip(&reports) {
                waker.wake();
                while reports.load(Relaxed) != round + 1 {
                    thread::yield_now();
                }
            }
        }
        done.wake();
    });
    assert!(reports.iter().all(|count| count.load(Relaxed) == ROUNDS));
}

fn a_dropped_waker_is_still_reported(backend: Backend) {
    let poller = poller(backend);
    let waker = poller.waker(Token(1));
    waker.wake();
    drop(waker);
    // Must not take over the slot while its wake is pending.
    let other = poller.waker(Token(2));
    assert_eq!(look(&poller).into_keys().collect::<Vec<_>>(), [Token(1)]);
    other.wake();
    drop(other);
    assert_eq!(look(&poller).into_keys().collect::<Vec<_>>(), [Token(2)]);
    assert_eq!(look(&poller), Seen::new());
}

fn std_wakers(backend: Backend) {
    let poller = poller(backend);
    let waker = std::task::Waker::from(poller.waker(Token(4)));
    let clone = waker.clone();
    assert!(waker.will_wake(&clone));
    clone.wake();
    wait_for(&poller, &[4]);
    waker.wake_by_ref();
    drop(waker);
    wait_for(&poller, &[4]);
    expect_nothing(&poller);
}
