//! P4: once a removal has returned, no wait that starts later reports the token, and what was held
//! for the object is closed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anypoll::{Backend, Events, Interest, Mode, Poller, Registered, Source, Token};

use crate::support::{
    MODES, PATIENCE, both, eventually, expect_nothing, look, never_blocking, on_every_backend,
    pipe, poller, sleeping, stream_pair, subjects, tcp_listener, tcp_pair, wait_for,
};

on_every_backend! {
    readiness_before_the_removal
    readiness_after_the_removal
    a_duplicate_lives_on
    what_a_small_buffer_left
    #[cfg(unix)] an_always_ready_file
    the_object_comes_back_usable
    by_handle
    no_wait_that_starts_later
    a_pointer_may_be_freed_after_the_waits_that_ran
    the_peer_sees_the_end_though_a_thread_sleeps
    dropping_a_waker_takes_back_no_wake
    a_dropped_wakers_place_is_another_wakers
}

fn readiness_before_the_removal(backend: Backend) {
    for subject in subjects() {
        subject.provoke();
        for mode in MODES {
            let poller = poller(backend);
            // Reported before, and not.
            for look_first in [true, false] {
                let object = &subject.object;
                let registered = poller.register(object, Token(1), both(), mode).unwrap();
                if look_first {
                    wait_for(&poller, &[1]);
                }
                drop(registered);
                expect_nothing(&poller);
            }
        }
    }
}

fn readiness_after_the_removal(backend: Backend) {
    for subject in subjects() {
        for mode in MODES {
            let poller = poller(backend);
            let registered =
                poller.register(&subject.object, Token(1), Interest::READABLE, mode).unwrap();
            look(&poller);
            drop(registered);
            subject.provoke();
            expect_nothing(&poller);
        }
    }
}

fn a_duplicate_lives_on(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        let (ours, mut theirs) = tcp_pair();
        let mut duplicate = ours.try_clone().unwrap();
        let registered = poller.register(ours, Token(1), both(), mode).unwrap();
        wait_for(&poller, &[1]);
        registered.set_interest(both()).unwrap();
        drop(registered);
        theirs.write_all(b"data").unwrap();
        duplicate.read_exact(&mut [0; 4]).unwrap();
        theirs.write_all(b"more").unwrap();
        duplicate.peek(&mut [0]).unwrap();
        expect_nothing(&poller);
        drop(theirs);
        expect_nothing(&poller);
        // It is an object like any other.
        let duplicate = poller.register(duplicate, Token(2), both(), mode).unwrap();
        wait_for(&poller, &[2]);
        drop(duplicate);
        expect_nothing(&poller);
    }
}

fn what_a_small_buffer_left(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        let mut pipes = Vec::new();
        for token in 0..10 {
            let (reader, mut writer) = pipe().unwrap();
            writer.write_all(b"data").unwrap();
            let interest = Interest::READABLE;
            pipes.push((poller.register(reader, Token(token), interest, mode).unwrap(), writer));
        }
        let mut events = Events::with_capacity(3);
        poller.wait(&mut events, None).unwrap();
        assert_eq!(events.len(), 3);
        pipes.clear();
        expect_nothing(&poller);
    }
}

#[cfg(unix)]
fn an_always_ready_file(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        for look_first in [true, false] {
            let file = poller.register(never_blocking(), Token(1), both(), mode).unwrap();
            if look_first {
                wait_for(&poller, &[1]);
            }
            drop(file);
            expect_nothing(&poller);
        }
        // Its place is another's.
        let waker = poller.waker(Token(2));
        waker.wake();
        wait_for(&poller, &[2]);
        expect_nothing(&poller);
    }
}

fn the_object_comes_back_usable(backend: Backend) {
    for mode in MODES {
        let (first, second) = (poller(backend), poller(backend));
        let (mut ours, mut theirs) = stream_pair();
        for token in 0..3 {
            for poller in [&first, &second] {
                let registered =
                    poller.register(ours, Token(token), Interest::READABLE, mode).unwrap();
                theirs.write_all(b"ping").unwrap();
                wait_for(poller, &[token]);
                ours = registered.into_inner();
                expect_nothing(poller);
                let mut buf = [0; 4];
                ours.read_exact(&mut buf).unwrap();
                assert_eq!(&buf, b"ping");
                ours.write_all(b"pong").unwrap();
                theirs.read_exact(&mut buf).unwrap();
                assert_eq!(&buf, b"pong");
            }
        }
    }
}

fn by_handle(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        let (ours, mut theirs) = stream_pair();
        let always_ready = anypoll::AlwaysReadyObject::Accept;
        poller.add(&ours, Token(1), Interest::READABLE, mode, always_ready).unwrap();
        theirs.write_all(b"data").unwrap();
        wait_for(&poller, &[1]);
        poller.modify(&ours, Token(2), Interest::READABLE, mode).unwrap();
        wait_for(&poller, &[2]);
        poller.modify(&ours, Token(3), Interest::READABLE, mode).unwrap();
        poller.remove(&ours).unwrap();
        expect_nothing(&poller);
    }
}

/// Who has seen that a removal has returned, and then waits, does not see the token.
fn no_wait_that_starts_later(backend: Backend) {
    const ROUNDS: usize = 300;
    let poller = poller(backend);
    let removed = AtomicUsize::new(0);
    let reports = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _at_the_end = Stop(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut events = Events::default();
                while !stop.load(SeqCst) {
                    let before = removed.load(SeqCst);
                    poller.wait(&mut events, Some(Duration::from_millis(1))).unwrap();
                    reports.fetch_add(events.len(), SeqCst);
                    for event in &events {
                        assert!(event.token().0 > before, "{event:?} after {before}");
                    }
                    thread::yield_now();
                }
            });
        }
        for round in 1..=ROUNDS {
            let (reader, mut writer) = pipe().unwrap();
            writer.write_all(b"data").unwrap();
            let source: Box<dyn Send> = if round % 3 == 0 {
                Box::new(level(&poller, never_blocking(), round))
            } else {
                Box::new(level(&poller, reader, round))
            };
            // Half of them are in use when they are removed.
            if round % 2 == 0 {
                wait_for_more(&reports);
            }
            drop(source);
            removed.store(round, SeqCst);
        }
    });
    expect_nothing(&poller);
}

/// Has the waiters end, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn wait_for_more(reports: &AtomicUsize) {
    let (seen, end) = (reports.load(SeqCst), Instant::now() + PATIENCE);
    while reports.load(SeqCst) == seen {
        assert!(Instant::now() < end, "nothing is reported any more");
        thread::yield_now();
    }
}

fn level<S: Source>(poller: &Poller, source: S, token: usize) -> Registered<S> {
    poller.register(source, Token(token), Interest::READABLE, Mode::Level).unwrap()
}

/// The rule of `Registered`'s documentation. A token here is an index where another program has a
/// pointer, and a flag stands for the freed memory.
fn a_pointer_may_be_freed_after_the_waits_that_ran(backend: Backend) {
    const WAITERS: usize = 2;
    const OBJECTS: usize = 400;
    const ALIVE: usize = 8;
    let poller = poller(backend);
    let freed: Vec<_> = (0..OBJECTS).map(|_| AtomicBool::new(false)).collect();
    // Odd while its thread waits or looks at what the wait brought.
    let turns: [AtomicUsize; WAITERS] = std::array::from_fn(|_| AtomicUsize::new(0));
    let stop = AtomicBool::new(false);
    let reports = AtomicUsize::new(0);
    let now = || turns.each_ref().map(|turn| turn.load(SeqCst));
    thread::scope(|scope| {
        let _at_the_end = Stop(&stop);
        for turn in &turns {
            scope.spawn(|| {
                let mut events = Events::with_capacity(ALIVE / 2);
                while !stop.load(SeqCst) {
                    turn.fetch_add(1, SeqCst);
                    poller.wait(&mut events, Some(Duration::from_millis(1))).unwrap();
                    // Time to remove what this brought.
                    thread::yield_now();
                    for event in &events {
                        assert!(!freed[event.token().0].load(SeqCst), "{event:?} was freed");
                        reports.fetch_add(1, SeqCst);
                    }
                    turn.fetch_add(1, SeqCst);
                }
            });
        }
        let mut alive = Vec::new();
        let mut removed: Vec<(usize, [usize; WAITERS])> = Vec::new();
        for (index, _) in freed.iter().enumerate() {
            let (reader, mut writer) = pipe().unwrap();
            writer.write_all(b"data").unwrap();
            alive.push((level(&poller, reader, index), writer));
            // The waiters are at work.
            wait_for_more(&reports);
            if alive.len() == ALIVE {
                let (gone, _writer) = alive.swap_remove(index * 5 % ALIVE);
                let index = gone.token().0;
                drop(gone);
                removed.push((index, now()));
            }
            loop {
                removed.retain(|(index, then)| {
                    let over = |(then, now): (&usize, usize)| then % 2 == 0 || *then != now;
                    let free = then.iter().zip(now()).all(over);
                    freed[*index].store(free, SeqCst);
                    !free
                });
                // The waits end, and so what was removed can be freed.
                if removed.len() <= ALIVE {
                    break;
                }
                thread::yield_now();
            }
        }
    });
    let freed = freed.iter().filter(|freed| freed.load(SeqCst)).count();
    assert!(freed >= OBJECTS - 2 * ALIVE, "{freed}");
}

fn the_peer_sees_the_end_though_a_thread_sleeps(backend: Backend) {
    let poller = poller(backend);
    let waker = poller.waker(Token(9));
    thread::scope(|scope| {
        // Nothing of what follows is reported, so it sleeps all the time.
        let sleeper = sleeping(scope, || wait_for(&poller, &[9]));
        for mode in MODES {
            for _ in 0..20 {
                let (ours, mut theirs) = stream_pair();
                theirs.set_read_timeout(Some(PATIENCE)).unwrap();
                drop(poller.register(ours, Token(1), Interest::READABLE, mode).unwrap());
                assert_eq!(theirs.read(&mut [0]).unwrap(), 0);

                let (ours, mut theirs) = tcp_pair();
                theirs.set_read_timeout(Some(PATIENCE)).unwrap();
                drop(poller.register(ours, Token(1), Interest::READABLE, mode).unwrap());
                assert_eq!(theirs.read(&mut [0]).unwrap(), 0);

                let (reader, mut writer) = pipe().unwrap();
                drop(poller.register(reader, Token(1), Interest::READABLE, mode).unwrap());
                #[cfg(unix)]
                {
                    anypoll::set_nonblocking(&writer, true).unwrap();
                    eventually(|| fails_with(writer.write(&[0]), ErrorKind::BrokenPipe));
                }
                #[cfg(windows)]
                crate::support::expect_reader_gone(&mut writer);

                let listener = tcp_listener();
                let address = listener.local_addr().unwrap();
                drop(poller.register(listener, Token(1), Interest::READABLE, mode).unwrap());
                eventually(|| {
                    fails_with(TcpStream::connect(address), ErrorKind::ConnectionRefused)
                });
            }
        }
        waker.wake();
        sleeper.join().unwrap();
    });
}

fn fails_with<T>(result: io::Result<T>, kind: ErrorKind) -> bool {
    result.is_err_and(|error| error.kind() == kind)
}

fn dropping_a_waker_takes_back_no_wake(backend: Backend) {
    let poller = poller(backend);
    let wakers: Vec<_> = (0..100).map(|token| poller.waker(Token(token))).collect();
    wakers.iter().for_each(anypoll::Waker::wake);
    drop(wakers);
    let seen = look(&poller);
    assert!(seen.keys().map(|token| token.0).eq(0..100), "{seen:?}");
    expect_nothing(&poller);
    // Not the last of its clones.
    let waker = poller.waker(Token(1));
    waker.clone().wake();
    wait_for(&poller, &[1]);
    waker.wake();
    wait_for(&poller, &[1]);
    expect_nothing(&poller);
}

fn a_dropped_wakers_place_is_another_wakers(backend: Backend) {
    let poller = poller(backend);
    for _ in 0..3 {
        // Dropped unwoken, reported, and woken but not reported.
        drop(poller.waker(Token(1)));
        let waker = poller.waker(Token(2));
        waker.wake();
        wait_for(&poller, &[2]);
        drop(waker);
        let waker = poller.waker(Token(3));
        waker.wake();
        drop(waker);
        let other = poller.waker(Token(4));
        wait_for(&poller, &[3]);
        expect_nothing(&poller);
        other.wake();
        wait_for(&poller, &[4]);
        expect_nothing(&poller);
    }
}
