//! The handle-keyed face that `Registered` and the drop-ins stand on, and objects that never block.

#[cfg(unix)]
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anypoll::{AlwaysReadyObject, Backend, Conditions, Event, Events, Interest, Mode, Token};

use crate::support::{
    PATIENCE, expect_nothing, look, on_every_backend, pipe, poller, sleeping, wait_for,
    within_patience,
};

on_every_backend! {
    a_registration_by_handle
    rearm_by_handle
    appending_keeps_what_is_there
    what_is_not_kept_has_not_been
    an_interrupt_ends_one_wait
    an_interrupt_brings_what_there_is
    a_posted_event_is_reported_once
    #[cfg(target_os = "linux")] more_room_than_the_kernel_takes
    #[cfg(unix)] what_never_blocks_is_ready
    #[cfg(unix)] what_never_blocks_can_be_refused
    #[cfg(target_os = "linux")] what_never_blocks_keeps_its_locks
    #[cfg(target_os = "linux")] a_file_with_readiness_is_watched
    #[cfg(unix)] what_never_blocks_ends_an_endless_wait
}

const MODES: [Mode; 3] = [Mode::Level, Mode::Edge, Mode::Oneshot];

fn tokens(events: &Events) -> Vec<usize> {
    let mut tokens: Vec<_> = events.iter().map(|event| event.token().0).collect();
    tokens.sort_unstable();
    tokens
}

fn a_registration_by_handle(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        let (reader, mut writer) = pipe().unwrap();
        let accept = AlwaysReadyObject::Accept;
        poller.add(&reader, Token(1), Interest::READABLE, mode, accept).unwrap();
        expect_nothing(&poller);
        writer.write_all(b"x").unwrap();
        assert_eq!(wait_for(&poller, &[1])[&Token(1)], Conditions::READ);

        // Token, interest and mode change at once, and what is ready then is reported.
        poller.modify(&reader, Token(2), Interest::NONE, mode).unwrap();
        expect_nothing(&poller);
        poller.modify(&reader, Token(3), Interest::READABLE, Mode::Oneshot).unwrap();
        assert_eq!(wait_for(&poller, &[3])[&Token(3)], Conditions::READ);
        expect_nothing(&poller);
        poller.modify(&reader, Token(4), Interest::READABLE, Mode::Level).unwrap();
        wait_for(&poller, &[4]);
        wait_for(&poller, &[4]);

        poller.remove(&reader).unwrap();
        expect_nothing(&poller);
        assert_eq!(poller.remove(&reader).unwrap_err().kind(), ErrorKind::NotFound);
        poller.add(&reader, Token(5), Interest::READABLE, mode, accept).unwrap();
        wait_for(&poller, &[5]);
    }
}

/// After a would-block an edge comes again, on a system with edges without being told.
fn rearm_by_handle(backend: Backend) {
    let poller = poller(backend);
    let (mut reader, mut writer) = pipe().unwrap();
    let accept = AlwaysReadyObject::Accept;
    poller.add(&reader, Token(1), Interest::READABLE, Mode::Edge, accept).unwrap();
    for _ in 0..3 {
        writer.write_all(b"x").unwrap();
        wait_for(&poller, &[1]);
        expect_nothing(&poller);
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
        poller.rearm(&reader, Interest::READABLE).unwrap();
        expect_nothing(&poller);
    }
    // Only of an edge, and only what is of interest.
    for (interest, mode) in [(Interest::NONE, Mode::Edge), (Interest::READABLE, Mode::Oneshot)] {
        poller.modify(&reader, Token(1), interest, mode).unwrap();
        writer.write_all(b"x").unwrap();
        if mode == Mode::Oneshot {
            wait_for(&poller, &[1]);
        }
        poller.rearm(&reader, Interest::READABLE | Interest::WRITABLE).unwrap();
        expect_nothing(&poller);
    }
    // A call in no direction re-arms nothing, after an end too.
    poller.modify(&reader, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    drop(writer);
    wait_for(&poller, &[1]);
    look(&poller);
    poller.rearm(&reader, Interest::NONE).unwrap();
    expect_nothing(&poller);
}

fn appending_keeps_what_is_there(backend: Backend) {
    let poller = poller(backend);
    let mut events = Events::with_capacity(2);
    let (reader, mut writer) = pipe().unwrap();
    let reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Oneshot).unwrap();
    writer.write_all(b"x").unwrap();
    poller.wait_append(&mut events, Some(PATIENCE)).unwrap();
    assert_eq!(tokens(&events), [1]);
    let start = Instant::now();
    poller.wait_append(&mut events, Some(Duration::from_micros(1_500))).unwrap();
    assert!(start.elapsed() >= Duration::from_micros(1_500));
    assert_eq!(tokens(&events), [1]);

    // What has no room is not lost.
    for token in 2..5 {
        poller.waker(Token(token)).wake();
    }
    poller.wait_append(&mut events, Some(PATIENCE)).unwrap();
    assert_eq!(events.len(), 2);
    for timeout in [Some(Duration::ZERO), None] {
        let full = poller.wait_append(&mut events, timeout).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(events.len(), 2);
    events.reserve(2);
    while events.len() < 4 {
        poller.wait_append(&mut events, Some(PATIENCE)).unwrap();
    }
    assert_eq!(tokens(&events), [1, 2, 3, 4]);
    assert_eq!(events.get(0).unwrap().token(), Token(1));

    // The other wait forgets what is there.
    reader.set_interest(Interest::READABLE).unwrap();
    poller.wait(&mut events, Some(PATIENCE)).unwrap();
    assert_eq!(tokens(&events), [1]);
    expect_nothing(&poller);
}

fn what_is_not_kept_has_not_been(backend: Backend) {
    within_patience(move || {
        let poller = poller(backend);
        let pipes: Vec<_> = (0..4).map(|_| pipe().unwrap()).collect();
        let accept = AlwaysReadyObject::Accept;
        for (token, (reader, writer)) in pipes.iter().enumerate() {
            poller.add(reader, Token(token), Interest::READABLE, Mode::Level, accept).unwrap();
            (&mut &*writer).write_all(b"x").unwrap();
        }
        let shown = Mutex::new(Vec::new());
        let keep_only = |wanted: usize| {
            let (shown, poller, pipes) = (&shown, &poller, &pipes);
            move |event: &mut Event| {
                let token = event.token();
                shown.lock().unwrap().push(token.0);
                assert_eq!(event.conditions(), Conditions::READ);
                *event = Event::new(Token(token.0 + 100), Conditions::READ | Conditions::PRIORITY);
                if token.0 != wanted {
                    let reader = &pipes[token.0].0;
                    poller.modify(reader, token, Interest::NONE, Mode::Level).unwrap();
                }
                token.0 == wanted
            }
        };
        let shown_now = || {
            let mut shown = std::mem::take(&mut *shown.lock().unwrap());
            shown.sort_unstable();
            shown
        };

        // What has no room because of the others is looked for again, by a wait without time too.
        for (capacity, timeout) in [
            (16, Some(Duration::ZERO)),
            (1, Some(Duration::ZERO)),
            (1, Some(Duration::from_nanos(1))),
            (1, None),
            (3, Some(PATIENCE)),
        ] {
            for wanted in 0..4 {
                for (token, (reader, _)) in pipes.iter().enumerate() {
                    poller.modify(reader, Token(token), Interest::READABLE, Mode::Level).unwrap();
                }
                let mut events = Events::with_capacity(capacity);
                poller.wait_retain(&mut events, timeout, keep_only(wanted)).unwrap();
                assert_eq!(tokens(&events), [wanted + 100]);
                let both = Conditions::READ | Conditions::PRIORITY;
                assert_eq!(events.get(0).unwrap().conditions(), both);
                let shown = shown_now();
                if capacity > 4 {
                    assert_eq!(shown, [0, 1, 2, 3]);
                } else {
                    assert!(shown.contains(&wanted));
                }
            }
        }

        // A wait in which nothing is kept takes its time.
        let mut events = Events::default();
        let timeout = Duration::from_millis(5);
        for (token, (reader, _)) in pipes.iter().enumerate() {
            poller.modify(reader, Token(token), Interest::READABLE, Mode::Level).unwrap();
        }
        let start = Instant::now();
        poller.wait_retain(&mut events, Some(timeout), keep_only(9)).unwrap();
        assert!(events.is_empty() && start.elapsed() >= timeout);
        assert_eq!(shown_now(), [0, 1, 2, 3]);

        // So does a look, though what is not kept comes again and again.
        let (reader, _) = &pipes[2];
        poller.modify(reader, Token(2), Interest::READABLE, Mode::Level).unwrap();
        poller.wait_retain(&mut events, Some(Duration::ZERO), |_| false).unwrap();
        assert!(events.is_empty());

        // An interrupt that comes with it is not lost, nor is what comes with a panic.
        poller.interrupt();
        poller.wait_retain(&mut events, None, keep_only(9)).unwrap();
        assert!(events.is_empty());
        assert_eq!(shown_now(), [2]);
        poller.modify(reader, Token(2), Interest::READABLE, Mode::Level).unwrap();
        let panics = AssertUnwindSafe(|| {
            let mut events = Events::default();
            poller.wait_retain(&mut events, None, |event| panic!("as planned: {event:?}"))
        });
        assert!(catch_unwind(panics).is_err());
        poller.modify(reader, Token(2), Interest::NONE, Mode::Level).unwrap();
        thread::scope(|scope| {
            let waiter = sleeping(scope, || wait_for(&poller, &[6]));
            poller.waker(Token(6)).wake();
            waiter.join().unwrap();
        });
        expect_nothing(&poller);
    });
}

fn an_interrupt_ends_one_wait(backend: Backend) {
    within_patience(move || {
        let poller = poller(backend);
        let mut events = Events::default();
        let timeout = Duration::from_millis(1);
        let goes_on = |events: &mut Events| {
            let start = Instant::now();
            poller.wait(events, Some(timeout)).unwrap();
            assert!(events.is_empty() && start.elapsed() >= timeout);
        };
        // It stays until a wait comes, and several are as one.
        for times in [1, 5] {
            for wait_timeout in [None, Some(Duration::ZERO)] {
                (0..times).for_each(|_| poller.interrupt());
                poller.wait(&mut events, wait_timeout).unwrap();
                assert!(events.is_empty());
                goes_on(&mut events);
            }
        }
        // It ends one that sleeps.
        thread::scope(|scope| {
            let waiter = sleeping(scope, || {
                let mut events = Events::default();
                poller.wait(&mut events, None).unwrap();
                events.len()
            });
            poller.interrupt();
            assert_eq!(waiter.join().unwrap(), 0);
        });
        goes_on(&mut events);
        // Of two that sleep, one.
        thread::scope(|scope| {
            let run = || {
                let mut events = Events::default();
                poller.wait(&mut events, None).unwrap();
                events.len()
            };
            let waiters = [sleeping(scope, run), sleeping(scope, run)];
            poller.interrupt();
            while !waiters.iter().any(thread::ScopedJoinHandle::is_finished) {
                thread::yield_now();
            }
            poller.waker(Token(1)).wake();
            let mut lens = waiters.map(|waiter| waiter.join().unwrap());
            lens.sort_unstable();
            assert_eq!(lens, [0, 1]);
        });
        goes_on(&mut events);
    });
}

fn an_interrupt_brings_what_there_is(backend: Backend) {
    let poller = poller(backend);
    // A buffer of one is full of the event.
    for capacity in [16, 1] {
        let mut events = Events::with_capacity(capacity);
        poller.waker(Token(1)).wake();
        poller.interrupt();
        poller.wait(&mut events, None).unwrap();
        assert_eq!(tokens(&events), [1]);
        expect_nothing(&poller);
    }
}

fn a_posted_event_is_reported_once(backend: Backend) {
    let poller = poller(backend);
    let all = Conditions::READ | Conditions::ERROR | Conditions::READ_HANG_UP;
    poller.post(Event::new(Token(1), all));
    poller.post(Event::new(Token(1), Conditions::PRIORITY));
    poller.post(Event::new(Token(usize::MAX), Conditions::WRITE));
    let mut events = Events::default();
    poller.wait(&mut events, None).unwrap();
    let mut seen: Vec<_> =
        events.iter().map(|event| (event.token().0, event.conditions().bits())).collect();
    seen.sort_unstable();
    let mut expected =
        [(1, all.bits()), (1, Conditions::PRIORITY.bits()), (usize::MAX, Conditions::WRITE.bits())];
    expected.sort_unstable();
    assert_eq!(seen, expected);
    expect_nothing(&poller);

    // More than a buffer holds, and more than a word of the bookkeeping.
    let mut few = Events::with_capacity(7);
    for round in 1..=3 {
        (0..200).for_each(|token| poller.post(Event::new(Token(token), Conditions::READ)));
        let mut seen = Vec::new();
        while seen.len() < 200 {
            poller.wait(&mut few, Some(Duration::ZERO)).unwrap();
            assert!(!few.is_empty(), "round {round}: only {seen:?}");
            seen.extend(tokens(&few));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        expect_nothing(&poller);
    }

    // One that a thread sleeps for.
    thread::scope(|scope| {
        let waiter = sleeping(scope, || wait_for(&poller, &[9]));
        poller.post(Event::new(Token(9), Conditions::WRITE));
        assert_eq!(waiter.join().unwrap()[&Token(9)], Conditions::WRITE);
    });
}

/// A buffer of more than `i32::MAX` bytes, which costs nothing until it is written to.
#[cfg(target_os = "linux")]
fn more_room_than_the_kernel_takes(backend: Backend) {
    if usize::BITS == 32 {
        return;
    }
    let poller = poller(backend);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let _reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Level).unwrap();
    writer.write_all(b"x").unwrap();
    let mut events = Events::with_capacity(180_000_000);
    for timeout in [Duration::ZERO, Duration::from_millis(1), Duration::from_micros(1)] {
        poller.wait(&mut events, Some(timeout)).unwrap();
        assert_eq!(tokens(&events), [1]);
    }
}

/// A file, a directory, and a device that epoll cannot watch; each open for what it allows.
#[cfg(unix)]
fn never_blocking() -> [File; 3] {
    let device = File::options().read(true).write(true).open("/dev/null").unwrap();
    [File::open("Cargo.toml").unwrap(), File::open(".").unwrap(), device]
}

#[cfg(unix)]
fn what_never_blocks_is_ready(backend: Backend) {
    let both = Interest::READABLE | Interest::WRITABLE;
    let interests = [
        (Interest::READABLE, Conditions::READ),
        (Interest::WRITABLE, Conditions::WRITE),
        (both, Conditions::READ | Conditions::WRITE),
    ];
    for mode in MODES {
        for object in never_blocking() {
            let poller = poller(backend);
            let object = poller.register(object, Token(1), Interest::NONE, mode).unwrap();
            expect_nothing(&poller);
            for (interest, conditions) in interests {
                object.set_interest(interest).unwrap();
                assert_eq!(wait_for(&poller, &[1])[&Token(1)], conditions, "{mode:?} {object:?}");
                if mode == Mode::Level {
                    assert_eq!(wait_for(&poller, &[1])[&Token(1)], conditions);
                } else {
                    expect_nothing(&poller);
                    // Nothing blocks, so nothing is to be re-armed; saying so is no error.
                    object.rearm(Interest::NONE).unwrap();
                    expect_nothing(&poller);
                }
                object.set_interest(Interest::NONE).unwrap();
                expect_nothing(&poller);
            }
            // There before the wait, and gone before the wait.
            object.set_interest(both).unwrap();
            let object = object.into_inner();
            expect_nothing(&poller);

            let accept = AlwaysReadyObject::Accept;
            poller.add(&object, Token(2), Interest::READABLE, mode, accept).unwrap();
            assert_eq!(wait_for(&poller, &[2])[&Token(2)], Conditions::READ);
            poller.modify(&object, Token(3), Interest::WRITABLE, Mode::Oneshot).unwrap();
            assert_eq!(wait_for(&poller, &[3])[&Token(3)], Conditions::WRITE);
            expect_nothing(&poller);
            poller.modify(&object, Token(4), Interest::WRITABLE, Mode::Level).unwrap();
            wait_for(&poller, &[4]);
            wait_for(&poller, &[4]);
            poller.rearm(&object, Interest::WRITABLE).unwrap();
            poller.remove(&object).unwrap();
            expect_nothing(&poller);
        }
    }
}

#[cfg(unix)]
fn what_never_blocks_can_be_refused(backend: Backend) {
    let poller = poller(backend);
    let [file, directory, _] = never_blocking();
    for object in [file, directory] {
        let refuse = AlwaysReadyObject::Refuse;
        let error =
            poller.add(&object, Token(1), Interest::READABLE, Mode::Level, refuse).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        expect_nothing(&poller);
        assert_eq!(poller.remove(&object).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// It is regular, but tells of a change as exceptional data (proc_pid_mountinfo(5)).
#[cfg(target_os = "linux")]
fn a_file_with_readiness_is_watched(backend: Backend) {
    let poller = poller(backend);
    let file = File::open("/proc/self/mountinfo").unwrap();
    let refuse = AlwaysReadyObject::Refuse;
    poller.add(&file, Token(1), Interest::PRIORITY, Mode::Level, refuse).unwrap();
    expect_nothing(&poller);
    poller.modify(&file, Token(2), Interest::READABLE, Mode::Oneshot).unwrap();
    wait_for(&poller, &[2]);
    poller.remove(&file).unwrap();
}

/// A process loses its record locks on a file when it closes any descriptor of it.
#[cfg(target_os = "linux")]
fn what_never_blocks_keeps_its_locks(backend: Backend) {
    use std::os::fd::AsRawFd;

    let poller = poller(backend);
    let path = std::env::temp_dir().join(format!("anypoll-{}-{backend:?}", std::process::id()));
    let open = || File::options().create(true).append(true).open(&path).unwrap();
    let (file, other) = (open(), open());
    std::fs::remove_file(&path).unwrap();
    // SAFETY: zero is valid for each of its numbers, and means the whole file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK.try_into().unwrap();
    // SAFETY: only reads the lock.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) }, 0);
    let is_locked = || {
        // A lock that belongs to the other open file, so that this process's is in its way.
        let mut there = lock;
        // SAFETY: there is room for the answer.
        let result = unsafe { libc::fcntl(other.as_raw_fd(), libc::F_OFD_GETLK, &raw mut there) };
        assert_eq!(result, 0);
        there.l_type == lock.l_type
    };
    assert!(is_locked());
    let registered = poller.register(&file, Token(1), Interest::READABLE, Mode::Level).unwrap();
    assert!(is_locked());
    let again = poller.register(&file, Token(2), Interest::READABLE, Mode::Level).unwrap_err();
    assert_eq!(again.error().kind(), ErrorKind::AlreadyExists);
    assert!(is_locked());
    drop(registered);
    assert!(is_locked());
}

#[cfg(unix)]
fn what_never_blocks_ends_an_endless_wait(backend: Backend) {
    within_patience(move || {
        let poller = poller(backend);
        let [file, ..] = never_blocking();
        thread::scope(|scope| {
            let waiter = sleeping(scope, || wait_for(&poller, &[1]));
            let file = poller.register(&file, Token(1), Interest::READABLE, Mode::Level).unwrap();
            waiter.join().unwrap();
            // Neither it nor a waker starves the other.
            let mut one = Events::with_capacity(1);
            let waker = poller.waker(Token(2));
            for _ in 0..10 {
                waker.wake();
                let mut seen = Vec::new();
                for _ in 0..8 {
                    poller.wait(&mut one, None).unwrap();
                    seen.extend(tokens(&one));
                }
                assert_eq!(seen.iter().filter(|&&token| token == 2).count(), 1);
                assert_eq!(seen.iter().filter(|&&token| token == 1).count(), 7);
            }
            drop(file);
        });
        expect_nothing(&poller);
    });
}
