//! What P6 means, for one backend.
//!
//! Nothing here fails because a machine is slow: only too early is wrong, and never.

use std::thread;
use std::time::{Duration, Instant};

use anypoll::{Backend, Events, Poller, Token};

use crate::support::{PATIENCE, expect_nothing, poller, sleeping, wait_for, within_patience};

/// Small and odd, about the borders of milliseconds, where rounding goes wrong.
const TIMEOUTS: [Duration; 10] = [
    Duration::from_nanos(1),
    Duration::from_nanos(999),
    Duration::from_nanos(50_001),
    Duration::from_nanos(333_333),
    Duration::from_nanos(999_999),
    Duration::from_millis(1),
    Duration::from_nanos(1_000_001),
    Duration::from_nanos(1_999_999),
    Duration::from_millis(2),
    Duration::from_micros(2_500),
];

pub(crate) fn empty_is_never_early(backend: Backend) {
    let poller = poller(backend);
    let mut events = Events::default();
    for _ in 0..20 {
        for timeout in TIMEOUTS {
            let start = Instant::now();
            poller.wait(&mut events, Some(timeout)).unwrap();
            let elapsed = start.elapsed();
            assert!(events.is_empty());
            assert!(elapsed >= timeout, "{timeout:?} was over after {elapsed:?}");
        }
    }
}

/// A wait that blocks for ever hangs here; one that blocks for a millisecond takes longer than any
/// machine needs to look so often.
pub(crate) fn zero_never_blocks(backend: Backend) {
    const LOOKS: u32 = 20_000;
    let poller = poller(backend);
    let mut events = Events::default();
    let start = Instant::now();
    for _ in 0..LOOKS {
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
    assert!(start.elapsed() < Duration::from_millis(1) * LOOKS);
}

/// Too long for the clock, for a `timespec`, for an `int` of milliseconds: each sleeps until a wake.
pub(crate) fn any_duration_is_accepted(backend: Backend) {
    within_patience(move || {
        for timeout in [
            Duration::MAX,
            Duration::from_secs(u64::MAX),
            Duration::new(i64::MAX.cast_unsigned(), 1),
            Duration::from_nanos(u64::MAX),
            Duration::from_millis(u64::from(u32::MAX) + 1),
            Duration::from_millis(u64::from(u32::MAX) + 1) + Duration::from_nanos(1),
            Duration::from_millis(1 << 31),
        ] {
            until_woken(backend, &|poller, events| poller.wait(events, Some(timeout)).unwrap());
        }
    });
}

fn until_woken(backend: Backend, wait: &(impl Fn(&Poller, &mut Events) + Sync)) {
    let poller = poller(backend);
    let waker = poller.waker(Token(7));
    thread::scope(|scope| {
        let waiter = sleeping(scope, || {
            let mut events = Events::default();
            wait(&poller, &mut events);
            events.iter().map(anypoll::Event::token).collect::<Vec<_>>()
        });
        waker.wake();
        assert_eq!(waiter.join().unwrap(), [Token(7)]);
    });
    expect_nothing(&poller);
}

pub(crate) fn until_a_moment(backend: Backend) {
    let poller = poller(backend);
    let mut events = Events::default();

    // One that has passed only looks, and sees what is there.
    let past = Instant::now();
    while Instant::now() == past {}
    for moment in [past, Instant::now()] {
        poller.waker(Token(1)).wake();
        poller.wait_until(&mut events, Some(moment)).unwrap();
        assert_eq!(events.len(), 1);
        poller.wait_until(&mut events, Some(moment)).unwrap();
        assert!(events.is_empty());
    }

    for timeout in TIMEOUTS {
        let moment = Instant::now() + timeout;
        poller.wait_until(&mut events, Some(moment)).unwrap();
        assert!(events.is_empty());
        assert!(Instant::now() >= moment, "{timeout:?}");
    }

    within_patience(move || {
        let far = Instant::now() + Duration::from_secs(1 << 32);
        for moment in [None, Some(far)] {
            until_woken(backend, &|poller, events| poller.wait_until(events, moment).unwrap());
        }
    });
}

/// Wakes that another thread collects bring a sleeper out of the kernel with nothing to report.
pub(crate) fn own_notices_keep_the_remaining_time(backend: Backend) {
    const TIMEOUT: Duration = Duration::from_millis(25);
    let poller = poller(backend);
    let waker = poller.waker(Token(1));
    let mut one = Events::with_capacity(1);
    let mut empty_returns = 0;
    let start = Instant::now();
    while empty_returns < 5 {
        assert!(start.elapsed() < PATIENCE, "the sleeper is always the quicker");
        thread::scope(|scope| {
            let waiter = sleeping(scope, || {
                let mut events = Events::default();
                let start = Instant::now();
                poller.wait(&mut events, Some(TIMEOUT)).unwrap();
                (events.is_empty(), start.elapsed())
            });
            waker.wake();
            // Takes the wake from under the sleeper, if it is the quicker of the two. A buffer of
            // one leaves the kernel out every other time, and so the notice to the sleeper.
            poller.wait(&mut one, Some(Duration::ZERO)).unwrap();
            let (is_empty, elapsed) = waiter.join().unwrap();
            if is_empty {
                assert!(elapsed >= TIMEOUT, "over after {elapsed:?}");
                empty_returns += 1;
            }
        });
    }
    waker.wake();
    wait_for(&poller, &[1]);
    expect_nothing(&poller);
}
