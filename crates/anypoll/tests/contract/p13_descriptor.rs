//! P13: whenever `wait(0)` would return something, a `descriptor()` that was handed out is readable.
//! Once all was collected it is not.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use anypoll::{
    Backend, Conditions, Event, Events, Interest, Mode, Poller, Registered, Token, Waker,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::{PATIENCE, expect_nothing, look, on_every_backend, poller};

on_every_backend! {
    who_has_one
    wakes
    kernel_events
    left_behind_by_a_full_buffer
    what_never_blocks
    posted_events
    interrupts
    deferred_changes
    no_wake_is_missed_outside
}

/// A poller's descriptor, watched in every way that there is.
struct Outside<'a> {
    descriptor: BorrowedFd<'a>,
    pollers: Vec<(Poller, Registered<BorrowedFd<'a>>)>,
}

impl<'a> Outside<'a> {
    /// `None` where there is no descriptor.
    fn of(inner: &'a Poller) -> Option<Self> {
        let descriptor = inner.descriptor()?;
        let nested = |&backend: &Backend| {
            let outer = poller(backend);
            let inner =
                outer.register(descriptor, Token(1), Interest::READABLE, Mode::Level).unwrap();
            (outer, inner)
        };
        let pollers = Backend::available().iter().map(nested).collect();
        Some(Self { descriptor, pollers })
    }

    /// By poll(2), without the library.
    fn becomes_readable(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).unwrap();
        let mut fds = [PollFd::from_borrowed_fd(self.descriptor, PollFlags::IN)];
        poll(&mut fds, Some(&timeout)).unwrap() == 1
    }

    /// What all of them agree on.
    fn readable(&self) -> bool {
        let readable = self.becomes_readable(Duration::ZERO);
        for (outer, _inner) in &self.pollers {
            assert_eq!(!look(outer).is_empty(), readable, "{:?}", outer.backend());
        }
        readable
    }

    /// Collects all that is there, `capacity` at a time. The descriptor is readable before each
    /// wait that brings something, and at the end is not.
    fn drain(&self, inner: &Poller, capacity: usize) -> Vec<usize> {
        let mut events = Events::with_capacity(capacity);
        let mut seen = Vec::new();
        loop {
            let readable = self.readable();
            inner.wait(&mut events, Some(Duration::ZERO)).unwrap();
            if events.is_empty() {
                assert!(!self.readable());
                seen.sort_unstable();
                return seen;
            }
            assert!(readable, "{events:?}");
            seen.extend(events.iter().map(|event| event.token().0));
        }
    }
}

/// A poller with a descriptor watched from outside, or nothing to test.
macro_rules! outside {
    ($poller:ident, $outside:ident, $backend:expr) => {
        let $poller = poller($backend);
        let Some($outside) = Outside::of(&$poller) else { return };
        assert!(!$outside.readable());
    };
}

const CAPACITIES: [usize; 4] = [1, 2, 3, 64];

fn who_has_one(backend: Backend) {
    let poller = poller(backend);
    assert_eq!(poller.descriptor().is_some(), poller.has_edges());
}

fn wakes(backend: Backend) {
    for capacity in CAPACITIES {
        // Before the descriptor was asked for, when nobody was there to be told.
        let poller = poller(backend);
        let wakers: Vec<_> = (0..5).map(|token| poller.waker(Token(token))).collect();
        wakers.iter().for_each(Waker::wake);
        let Some(outside) = Outside::of(&poller) else { return };
        assert!(outside.readable());
        assert_eq!(outside.drain(&poller, capacity), [0, 1, 2, 3, 4]);

        for _ in 0..3 {
            wakers[3].wake();
            assert!(outside.readable());
            wakers[0].wake();
            wakers[3].wake();
            assert_eq!(outside.drain(&poller, capacity), [0, 3]);
        }
        // One that is dropped takes nothing back.
        wakers[1].wake();
        drop(wakers);
        assert!(outside.readable());
        assert_eq!(outside.drain(&poller, capacity), [1]);

        // Collected in one wait, all is collected.
        if capacity == 64 {
            poller.waker(Token(8)).wake();
            assert!(outside.readable());
            assert_eq!(look(&poller).len(), 1);
            assert!(!outside.readable());
        }
    }
}

fn pipes(poller: &Poller, count: usize, mode: Mode) -> Vec<(Registered<PipeReader>, PipeWriter)> {
    let pipe = |token| {
        let (reader, writer) = io::pipe().unwrap();
        anypoll::set_nonblocking(&reader, true).unwrap();
        (poller.register(reader, Token(token), Interest::READABLE, mode).unwrap(), writer)
    };
    (0..count).map(pipe).collect()
}

fn kernel_events(backend: Backend) {
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        outside!(poller, outside, backend);
        let mut pipe = pipes(&poller, 1, mode).pop().unwrap();
        for _ in 0..2 {
            pipe.1.write_all(b"x").unwrap();
            assert!(outside.readable());
            assert_eq!(look(&poller).len(), 1);
            assert_eq!(outside.readable(), mode == Mode::Level);
            assert_eq!(pipe.0.read(&mut [0; 9]).unwrap(), 1);
            if backend == Backend::Kqueue {
                // It notices with the next look that what it has told does not last.
                expect_nothing(&poller);
            }
            assert!(!outside.readable());
            pipe.0.set_interest(Interest::READABLE).unwrap();
        }
        // A removal takes its readiness with it.
        pipe.1.write_all(b"x").unwrap();
        assert!(outside.readable());
        drop(pipe);
        assert!(!outside.readable());
    }
}

/// Of the kernel's, of wakers, and of both.
fn left_behind_by_a_full_buffer(backend: Backend) {
    for capacity in CAPACITIES {
        for mode in [Mode::Edge, Mode::Oneshot] {
            outside!(poller, outside, backend);
            let mut pipes = pipes(&poller, 6, mode);
            let wakers: Vec<_> = (10..16).map(|token| poller.waker(Token(token))).collect();
            for (ready, woken) in [(6, 0), (0, 6), (6, 6), (6, 1), (1, 6)] {
                pipes[..ready].iter_mut().for_each(|pipe| pipe.1.write_all(b"x").unwrap());
                wakers[..woken].iter().for_each(Waker::wake);
                assert!(outside.readable());
                let expected: Vec<_> = (0..ready).chain(10..10 + woken).collect();
                assert_eq!(outside.drain(&poller, capacity), expected);
                for (reader, _) in &mut pipes[..ready] {
                    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
                    reader.set_interest(Interest::READABLE).unwrap();
                }
                assert!(!outside.readable());
            }
        }
    }
}

fn what_never_blocks(backend: Backend) {
    let file = || File::open("Cargo.toml").unwrap();
    for capacity in CAPACITIES {
        // There before the descriptor is.
        let poller = poller(backend);
        let before = poller.register(file(), Token(1), Interest::READABLE, Mode::Level).unwrap();
        let Some(outside) = Outside::of(&poller) else { return };
        let after = poller.register(file(), Token(2), Interest::READABLE, Mode::Level).unwrap();
        let mut events = Events::with_capacity(capacity);
        for _ in 0..9 {
            assert!(outside.readable());
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(!events.is_empty());
        }
        after.set_interest(Interest::NONE).unwrap();
        drop(before);
        assert_eq!(outside.drain(&poller, capacity), []);
        for mode in [Mode::Edge, Mode::Oneshot] {
            let one = poller.register(file(), Token(3), Interest::READABLE, mode).unwrap();
            assert!(outside.readable());
            assert_eq!(outside.drain(&poller, capacity), [3]);
            one.set_interest(Interest::READABLE).unwrap();
            assert!(outside.readable());
            assert_eq!(outside.drain(&poller, capacity), [3]);
        }
    }
}

fn posted_events(backend: Backend) {
    for capacity in CAPACITIES {
        outside!(poller, outside, backend);
        for count in [1, 2, 100] {
            (0..count).for_each(|token| poller.post(Event::new(Token(token), Conditions::READ)));
            assert!(outside.readable());
            assert_eq!(outside.drain(&poller, capacity), (0..count).collect::<Vec<_>>());
        }
    }
}

/// An interrupted wait returns, though with nothing.
fn interrupts(backend: Backend) {
    outside!(poller, outside, backend);
    for _ in 0..3 {
        poller.interrupt();
        poller.interrupt();
        assert!(outside.readable());
        assert_eq!(outside.drain(&poller, 4), []);
    }
    let early = self::poller(backend);
    early.interrupt();
    let outside = Outside::of(&early).unwrap();
    assert!(outside.readable());
    assert_eq!(outside.drain(&early, 4), []);
}

/// Whatever makes something ready is seen outside before any wait.
fn deferred_changes(backend: Backend) {
    outside!(poller, outside, backend);
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Oneshot).unwrap();
    assert!(outside.readable());
    assert_eq!(outside.drain(&poller, 4), [1]);
    reader.set_interest(Interest::READABLE).unwrap();
    assert!(outside.readable());
    reader.set_interest(Interest::NONE).unwrap();
    assert!(!outside.readable());
    poller.modify(&reader, Token(2), Interest::READABLE, Mode::Edge).unwrap();
    assert!(outside.readable());
    assert_eq!(outside.drain(&poller, 4), [2]);
    drop(writer);
    assert!(outside.readable());
    assert_eq!(outside.drain(&poller, 4), [2]);
}

/// Somebody sleeps outside only, while others wake inside.
fn no_wake_is_missed_outside(backend: Backend) {
    const THREADS: usize = 3;
    const WAKES: usize = 2_000;
    outside!(poller, outside, backend);
    let reported = [const { AtomicUsize::new(0) }; THREADS];
    thread::scope(|scope| {
        for (token, mine) in reported.iter().enumerate() {
            let waker = poller.waker(Token(token));
            scope.spawn(move || {
                for nth in 1..=WAKES {
                    waker.wake();
                    while mine.load(SeqCst) < nth {
                        thread::yield_now();
                    }
                }
            });
        }
        // Of one, so that something is left behind.
        let mut events = Events::with_capacity(1);
        let mut left = THREADS * WAKES;
        while left > 0 {
            if !outside.becomes_readable(PATIENCE) {
                // Lets the threads end.
                reported.iter().for_each(|reported| reported.store(WAKES, SeqCst));
                panic!("a wake was not seen outside");
            }
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            for event in &events {
                reported[event.token().0].fetch_add(1, SeqCst);
                left -= 1;
            }
        }
    });
    assert_eq!(outside.drain(&poller, 4), []);
}
