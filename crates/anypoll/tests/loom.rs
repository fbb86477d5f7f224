//! P8 by exhaustion: the shipped file of user-space readiness over loom's atomics, and under it a
//! kernel of a lock and a condition variable, in every interleaving (for the larger cases: with up
//! to three preemptions).
//!
//! It would find the same everywhere, so it runs on Linux alone.

#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "not every part is driven here")]
#[path = "../src/readiness.rs"]
mod readiness;

/// What `readiness` is built from, here loom's.
///
/// loom knows sequential consistency of fences alone, so each such operation has its fence, as
/// compilers give it one on processors that order nothing themselves.
mod sync {
    use loom::sync::atomic::fence;

    pub(crate) use loom::sync::atomic::Ordering;
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
    use std::sync::{LockResult, PoisonError};

    pub(crate) fn unpoisoned<T>(result: LockResult<T>) -> T {
        result.unwrap_or_else(PoisonError::into_inner)
    }

    /// The slots of a model are of either kind.
    pub(crate) const IN_STATE: usize = 1;

    fn fence_if_consistent(order: Ordering) {
        if order == Ordering::SeqCst {
            fence(order);
        }
    }

    macro_rules! atomic {
        ($name:ident, $value:ty, $($change:ident)*) => {
            #[derive(Debug)]
            pub(crate) struct $name(loom::sync::atomic::$name);

            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    fence_if_consistent(order);
                    self.0.load(order)
                }

                $(pub(crate) fn $change(&self, value: $value, order: Ordering) -> $value {
                    let before = self.0.$change(value, order);
                    fence_if_consistent(order);
                    before
                })*
            }
        };
    }
    atomic!(AtomicBool, bool, swap);

    impl AtomicBool {
        pub(crate) fn store(&self, value: bool, order: Ordering) {
            self.0.store(value, order);
        }
    }

    atomic!(AtomicUsize, usize, fetch_or fetch_and fetch_add fetch_sub);

    impl AtomicUsize {
        pub(crate) fn fetch_update(
            &self,
            set: Ordering,
            fetch: Ordering,
            change: impl FnMut(usize) -> Option<usize>,
        ) -> Result<usize, usize> {
            let result = self.0.fetch_update(set, fetch, change);
            fence_if_consistent(set);
            result
        }
    }
}

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use readiness::{Deadline, Kernel, OnSignal, Readiness, Record, Repeat, Slot, Timeout};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Notice,
    Token(usize),
}

impl Record for Event {
    fn is_notice(&self) -> bool {
        *self == Self::Notice
    }
}

/// Knows only notices, and reports each once: to one of the waits.
#[derive(Default)]
struct Notices {
    given: Mutex<bool>,
    changed: Condvar,
}

impl Kernel for Notices {
    type Event = Event;

    fn wait(&self, events: &mut Vec<Event>, _: usize, timeout: Timeout) -> io::Result<()> {
        let mut given = self.given.lock().unwrap();
        while !*given && timeout == Timeout::FOREVER {
            given = self.changed.wait(given).unwrap();
        }
        if std::mem::take(&mut *given) {
            events.push(Event::Notice);
        }
        Ok(())
    }

    fn notify(&self) -> bool {
        *self.given.lock().unwrap() = true;
        self.changed.notify_one();
        true
    }
}

struct Poller {
    readiness: Readiness<Event>,
    kernel: Notices,
}

impl Poller {
    /// With so many slots that nobody sets.
    fn new(idle: usize) -> Arc<Self> {
        let poller = Self { readiness: Readiness::new(), kernel: Notices::default() };
        for _ in 0..idle {
            poller.slot(0);
        }
        Arc::new(poller)
    }

    fn slot(&self, token: usize) -> Slot {
        self.readiness.slot(Event::Token(token), Repeat::Never)
    }

    fn wake(&self, slot: &Slot) {
        self.readiness.set(slot, &self.kernel);
    }

    fn wait(&self, capacity: usize, timeout: Option<Duration>) -> Vec<usize> {
        let mut events = Vec::with_capacity(capacity);
        let deadline = Deadline::after(timeout, OnSignal::Continue);
        self.readiness.wait(&self.kernel, &mut events, &deadline).unwrap();
        let tokens = events.iter().map(|event| match event {
            Event::Token(token) => *token,
            Event::Notice => panic!("a notice was handed out"),
        });
        tokens.collect()
    }

    fn look(&self) -> Vec<usize> {
        self.wait(8, Some(Duration::ZERO))
    }
}

/// Once with the first slot's bit in the state, once with all in words of their own.
fn check(preemptions: Option<usize>, model: fn(Arc<Poller>)) {
    for idle in [0, sync::IN_STATE] {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = preemptions;
        let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = runs.clone();
        builder.check(move || {
            count.fetch_add(1, Relaxed);
            model(Poller::new(idle));
        });
        println!("{} interleavings", runs.load(Relaxed));
    }
}

/// Sleeping or not, a wait sees the wake, and what was written before it.
#[test]
fn data_before_a_wake_is_seen_after_the_wait() {
    check(None, |poller| {
        let data = Arc::new(AtomicUsize::new(0));
        let waker = thread::spawn({
            let (poller, data, slot) = (poller.clone(), data.clone(), poller.slot(5));
            move || {
                data.store(1, Relaxed);
                poller.wake(&slot);
            }
        });
        assert_eq!(poller.wait(8, None), [5]);
        assert_eq!(data.load(Relaxed), 1);
        waker.join().unwrap();
        assert_eq!(poller.look(), []);
    });
}

/// A wake that finds its mark set still reaches a wait that begins after it.
#[test]
fn the_last_of_many_wakes_is_seen() {
    check(Some(3), |poller| {
        let data = Arc::new(AtomicUsize::new(0));
        let slot = Arc::new(poller.slot(5));
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let (poller, data, slot) = (poller.clone(), data.clone(), slot.clone());
                thread::spawn(move || {
                    data.fetch_add(1, Relaxed);
                    poller.wake(&slot);
                })
            })
            .collect();
        while data.load(Relaxed) < 2 {
            assert_eq!(poller.wait(8, None), [5]);
        }
        for waker in wakers {
            waker.join().unwrap();
        }
        assert!(poller.look().len() <= 1);
        assert_eq!(poller.look(), []);
    });
}

/// What lasts is seen by whoever looks, also while another thread collects.
#[test]
fn two_looks_see_what_lasts() {
    check(Some(3), |poller| {
        let slot = poller.readiness.slot(Event::Token(5), Repeat::EachWait);
        poller.wake(&slot);
        let other = thread::spawn({
            let poller = poller.clone();
            move || poller.look()
        });
        assert_eq!(poller.look(), [5]);
        assert_eq!(other.join().unwrap(), [5]);
    });
}

/// A wake that finds another halfway is reported all the same to whoever looks after it.
#[test]
fn a_wake_beside_another_is_seen_at_once() {
    check(None, |poller| {
        let slot = Arc::new(poller.slot(5));
        let other = thread::spawn({
            let (poller, slot) = (poller.clone(), slot.clone());
            move || poller.wake(&slot)
        });
        poller.wake(&slot);
        assert_eq!(poller.look(), [5]);
        other.join().unwrap();
        assert!(poller.look().len() <= 1);
        assert_eq!(poller.look(), []);
    });
}

/// A buffer that has room for one passes the rest on, and nobody sleeps beside it.
#[test]
fn two_waits_share_two_wakes() {
    check(Some(2), |poller| {
        let (one, two) = (poller.slot(1), poller.slot(2));
        let waiter = thread::spawn({
            let poller = poller.clone();
            move || poller.wait(1, None)
        });
        let waker = thread::spawn({
            let poller = poller.clone();
            move || {
                poller.wake(&one);
                poller.wake(&two);
            }
        });
        let mut seen = poller.wait(1, None);
        seen.extend(waiter.join().unwrap());
        waker.join().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        assert_eq!(poller.look(), []);
    });
}

/// A look that receives the notice of a wake which was reported already takes it from no other.
#[test]
fn a_late_notice_is_taken_from_nobody() {
    check(Some(2), |poller| {
        let (old, new) = (poller.slot(1), Arc::new(poller.slot(2)));
        poller.wake(&old);
        assert_eq!(poller.look(), [1]);
        let sleeper = thread::spawn({
            let poller = poller.clone();
            move || while !poller.wait(8, None).contains(&2) {}
        });
        poller.wake(&old);
        let waker = thread::spawn({
            let (poller, new) = (poller.clone(), new.clone());
            move || poller.wake(&new)
        });
        // The first look leaves the kernel to the second.
        let seen = [poller.wait(1, Some(Duration::ZERO)), poller.look()];
        if seen.concat().contains(&2) {
            poller.wake(&new);
        }
        sleeper.join().unwrap();
        waker.join().unwrap();
    });
}

/// Two wakers of one token beside two waits: each wait gets one report, or one gets both wakes.
#[test]
fn a_wait_that_finds_nothing_sleeps_on() {
    check(Some(3), |poller| {
        let slots = [poller.slot(1), poller.slot(2)];
        let wakers = slots.map(|slot| {
            let poller = poller.clone();
            thread::spawn(move || poller.wake(&slot))
        });
        let mut seen = BTreeSet::new();
        while seen.len() < 2 {
            let tokens = poller.wait(8, None);
            assert!(!tokens.is_empty());
            for token in tokens {
                assert!(seen.insert(token), "reported twice");
            }
        }
        for waker in wakers {
            waker.join().unwrap();
        }
        assert_eq!(poller.look(), []);
    });
}

/// A slot changes hands only after its wake was reported under its own token.
#[test]
fn a_released_slot_keeps_its_wake() {
    check(Some(3), |poller| {
        let old = poller.slot(1);
        let waker = thread::spawn({
            let poller = poller.clone();
            move || {
                poller.wake(&old);
                poller.readiness.release(&old);
                let new = poller.slot(2);
                poller.wake(&new);
                poller.readiness.release(&new);
            }
        });
        let mut seen = Vec::new();
        while seen.len() < 2 {
            seen.extend(poller.wait(1, None));
        }
        waker.join().unwrap();
        assert_eq!(seen, [1, 2]);
        assert_eq!(poller.look(), []);
    });
}

/// What is set while nobody waits is on the descriptor once it was handed out.
#[test]
fn a_watched_kernel_object_has_the_notice() {
    check(None, |poller| {
        let slot = poller.slot(1);
        let waker = thread::spawn({
            let poller = poller.clone();
            move || poller.wake(&slot)
        });
        poller.readiness.watch(&poller.kernel);
        waker.join().unwrap();
        assert!(*poller.kernel.given.lock().unwrap());
        assert_eq!(poller.look(), [1]);
        assert!(!*poller.kernel.given.lock().unwrap());
    });
}

/// One interrupt, one wait.
#[test]
fn an_interrupt_ends_one_wait() {
    check(None, |poller| {
        let interrupter = thread::spawn({
            let poller = poller.clone();
            move || poller.readiness.interrupt(&poller.kernel)
        });
        assert_eq!(poller.wait(8, None), []);
        interrupter.join().unwrap();
    });
}
