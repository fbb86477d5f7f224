//! P9: registering, changing, removing and waking work from any thread while others wait, and take
//! effect at once; several threads may wait on one poller.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anypoll::{
    AlwaysReadyObject, Backend, Conditions, Event, Events, Interest, Mode, Poller, Registered,
    Token,
};

use crate::support::{
    self, PipeReader, PipeWriter, expect_nothing, expect_reader_gone, has_priority, look,
    on_every_backend, poller, sleeping, wait_for, within_patience,
};

on_every_backend! {
    a_change_ends_a_wait_that_runs
    a_removal_takes_effect_during_a_wait
    oneshot_reports_to_one
    edge_reports_to_one
    level_reports_to_all
    what_lasts_is_seen_by_each_look
    a_wake_reports_to_one
    a_late_rearm_does_nothing
    a_rearm_races_with_a_change
    churn
}

fn pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = support::pipe().unwrap();
    anypoll::set_nonblocking(&reader, true).unwrap();
    (reader, writer)
}

fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe();
    writer.write_all(b"x").unwrap();
    (reader, writer)
}

fn tokens(events: &Events) -> Vec<usize> {
    events.iter().map(|event| event.token().0).collect()
}

/// Runs this while `waiters` threads sleep in an endless wait; one of them sees `token`.
fn ends_a_wait<T>(poller: &Poller, waiters: usize, token: usize, change: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (send, seen) = mpsc::channel();
        let wait = || {
            let send = send.clone();
            move || {
                let mut events = Events::default();
                poller.wait(&mut events, None).unwrap();
                send.send(tokens(&events)).unwrap();
            }
        };
        let threads: Vec<_> = (0..waiters).map(|_| sleeping(scope, wait())).collect();
        let result = change();
        assert_eq!(seen.recv().unwrap(), [token]);
        // The others may have seen it too; those that have not go home.
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            poller.interrupt();
            thread::yield_now();
        }
        drop(send);
        seen.iter().for_each(|also| assert!(also == [token] || also.is_empty(), "{also:?}"));
        result
    })
}

fn a_change_ends_a_wait_that_runs(backend: Backend) {
    within_patience(move || {
        let accept = AlwaysReadyObject::Accept;
        for waiters in [1, 3] {
            for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
                let poller = poller(backend);
                let ends = |token, change: &dyn Fn()| {
                    ends_a_wait(&poller, waiters, token, change);
                    // An interrupt may be left over.
                    look(&poller);
                };

                let (reader, _writer) = full_pipe();
                let reader = ends_a_wait(&poller, waiters, 1, || {
                    poller.register(reader, Token(1), Interest::READABLE, mode).unwrap()
                });
                reader.set_interest(Interest::NONE).unwrap();
                look(&poller);
                ends(1, &|| reader.set_interest(Interest::READABLE).unwrap());
                reader.set_interest(Interest::NONE).unwrap();
                look(&poller);
                ends(2, &|| {
                    poller.modify(&reader, Token(2), Interest::READABLE, mode).unwrap();
                });
                let reader = reader.into_inner();
                ends(3, &|| {
                    poller.add(&reader, Token(3), Interest::READABLE, mode, accept).unwrap();
                });
                poller.remove(&reader).unwrap();

                #[cfg(unix)]
                {
                    let file = std::fs::File::open("Cargo.toml").unwrap();
                    ends(4, &|| {
                        poller.add(&file, Token(4), Interest::READABLE, mode, accept).unwrap();
                    });
                    poller.modify(&file, Token(5), Interest::NONE, mode).unwrap();
                    ends(5, &|| poller.modify(&file, Token(5), Interest::READABLE, mode).unwrap());
                    poller.remove(&file).unwrap();
                }

                let waker = poller.waker(Token(6));
                ends(6, &|| waker.wake());
                ends(7, &|| poller.post(Event::new(Token(7), Conditions::READ)));
                expect_nothing(&poller);
            }

            // A would-block that was seen here, and an edge there.
            let poller = poller(backend);
            let (reader, mut writer) = pipe();
            let reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Edge).unwrap();
            for _ in 0..5 {
                writer.write_all(b"x").unwrap();
                wait_for(&poller, &[1]);
                assert_eq!((&reader).read(&mut [0; 9]).unwrap(), 1);
                ends_a_wait(&poller, waiters, 1, || {
                    let again = (&reader).read(&mut [0]).unwrap_err();
                    assert_eq!(again.kind(), ErrorKind::WouldBlock);
                    writer.write_all(b"x").unwrap();
                });
                look(&poller);
                assert_eq!((&reader).read(&mut [0; 9]).unwrap(), 1);
                assert!((&reader).read(&mut [0]).is_err());
            }
        }
    });
}

fn a_removal_takes_effect_during_a_wait(backend: Backend) {
    within_patience(move || {
        for how in 0..4 {
            let poller = poller(backend);
            let (reader, mut writer) = pipe();
            let lives_on = reader.try_clone().unwrap();
            let reader =
                poller.register(reader, Token(1), Interest::READABLE, Mode::Level).unwrap();
            thread::scope(|scope| {
                let waiter = sleeping(scope, || {
                    let mut events = Events::default();
                    poller.wait(&mut events, None).unwrap();
                    tokens(&events)
                });
                match how {
                    0 => drop(reader),
                    1 => drop(reader.into_inner()),
                    2 => poller.remove(&reader).unwrap(),
                    _ => reader.set_interest(Interest::NONE).unwrap(),
                }
                // Not even the wait that slept through the removal tells of what came after.
                writer.write_all(b"x").unwrap();
                for _ in 0..10 {
                    thread::yield_now();
                }
                poller.waker(Token(2)).wake();
                assert_eq!(waiter.join().unwrap(), [2]);
            });
            drop(lives_on);
        }
    });
}

const WAITERS: usize = 3;
const ROUNDS: usize = 2_000;

/// Several threads wait. In each round one object becomes ready once, and is reported to exactly
/// one of them; the data stays until then. `again` makes it ready for the next round.
fn reports_to_one(backend: Backend, mode: Mode, again: fn(&Registered<PipeReader>)) {
    within_patience(move || {
        let poller = poller(backend);
        let (reader, mut writer) = pipe();
        let reader = poller.register(reader, Token(1), Interest::READABLE, mode).unwrap();
        let done = AtomicBool::new(false);
        let (send, reports) = mpsc::channel();
        let mut rounds = 0;
        thread::scope(|scope| {
            for _ in 0..WAITERS {
                let (send, poller, done) = (send.clone(), &poller, &done);
                sleeping(scope, move || {
                    let mut events = Events::default();
                    while !done.load(SeqCst) {
                        poller.wait(&mut events, None).unwrap();
                        for event in &events {
                            send.send(event.token()).unwrap();
                        }
                    }
                    poller.interrupt();
                });
            }
            drop(send);
            while rounds < ROUNDS {
                writer.write_all(b"x").unwrap();
                assert_eq!(reports.recv().unwrap(), Token(1));
                if rounds % 16 == 0 {
                    // Time for a second report.
                    thread::yield_now();
                    assert_eq!(reports.try_recv(), Err(mpsc::TryRecvError::Empty));
                }
                // Nothing there means that an earlier round was reported twice.
                assert_eq!((&reader).read(&mut [0; 9]).unwrap(), 1, "round {rounds}");
                again(&reader);
                rounds += 1;
            }
            done.store(true, SeqCst);
            poller.interrupt();
            assert_eq!(reports.iter().count(), 0);
        });
    });
}

fn oneshot_reports_to_one(backend: Backend) {
    reports_to_one(backend, Mode::Oneshot, |reader| {
        reader.set_interest(Interest::READABLE).unwrap();
    });
}

fn edge_reports_to_one(backend: Backend) {
    reports_to_one(backend, Mode::Edge, |mut reader| {
        assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// Whoever looks while it lasts, also who slept before it began.
fn level_reports_to_all(backend: Backend) {
    within_patience(move || {
        let poller = poller(backend);
        let (reader, mut writer) = pipe();
        let reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Level).unwrap();
        for _ in 0..50 {
            thread::scope(|scope| {
                let wait = || assert_eq!(wait_for(&poller, &[1])[&Token(1)], Conditions::READ);
                let sleepers: Vec<_> = (0..WAITERS).map(|_| sleeping(scope, wait)).collect();
                writer.write_all(b"x").unwrap();
                for sleeper in sleepers {
                    sleeper.join().unwrap();
                }
                wait();
            });
            assert_eq!((&reader).read(&mut [0; 9]).unwrap(), 1);
        }
        expect_nothing(&poller);
    });
}

/// What the poller itself keeps, too: with room for one, most of these wakers are always left behind.
fn what_lasts_is_seen_by_each_look(backend: Backend) {
    const WAKERS: usize = 130;
    let poller = poller(backend);
    let wakers: Vec<_> = (0..WAKERS).map(|token| poller.waker(Token(token))).collect();
    for waker in &wakers {
        waker.wake();
    }
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut events = Events::with_capacity(1);
                for _ in 0..20_000 {
                    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
                    assert_eq!(events.len(), 1);
                    wakers[events.get(0).unwrap().token().0].wake();
                }
            });
        }
    });
}

fn a_wake_reports_to_one(backend: Backend) {
    within_patience(move || {
        let poller = poller(backend);
        let (seen, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(|| {
                    let mut events = Events::default();
                    while !done.load(SeqCst) {
                        poller.wait(&mut events, None).unwrap();
                        seen.fetch_add(events.len(), SeqCst);
                    }
                    poller.interrupt();
                });
            }
            let waker = poller.waker(Token(1));
            for round in 1..=ROUNDS {
                waker.wake();
                while seen.load(SeqCst) < round {
                    thread::yield_now();
                }
            }
            done.store(true, SeqCst);
            poller.interrupt();
        });
        assert_eq!(seen.into_inner(), ROUNDS);
    });
}

/// A completing kernel answers a question that was changed only after the next look.
fn expect_nothing_more(poller: &Poller) {
    (0..3).for_each(|_| expect_nothing(poller));
}

/// After the direction is not of interest any more, after the removal, and for another object that
/// has the handle now.
fn a_late_rearm_does_nothing(backend: Backend) {
    let both = Interest::READABLE | Interest::WRITABLE;
    let poller = poller(backend);
    let (reader, _writer) = full_pipe();
    let reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    wait_for(&poller, &[1]);
    for interest in [Interest::NONE, Interest::PRIORITY] {
        if interest == Interest::PRIORITY && !has_priority(backend) {
            continue;
        }
        reader.set_interest(interest).unwrap();
        expect_nothing_more(&poller);
        let late = reader.try_io(both, |_| io::Result::<()>::Err(ErrorKind::WouldBlock.into()));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::WouldBlock);
        reader.rearm(Interest::READABLE).unwrap();
        expect_nothing_more(&poller);
    }
    reader.set_interest(Interest::READABLE).unwrap();
    wait_for(&poller, &[1]);
    let mut object = reader.into_inner();
    if let Err(error) = poller.rearm(&object, both) {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    expect_nothing_more(&poller);
    let (mut unread, mut writer) = pipe();
    std::mem::swap(&mut object, &mut unread);
    let object = poller.register(object, Token(2), Interest::READABLE, Mode::Oneshot).unwrap();
    writer.write_all(b"x").unwrap();
    wait_for(&poller, &[2]);
    object.rearm(both).unwrap();
    poller.rearm(&object, both).unwrap();
    expect_nothing_more(&poller);
}

/// One thread says over and over that reading would have blocked, and it would not: the data is
/// there. Once the interest is taken away nothing is reported.
fn a_rearm_races_with_a_change(backend: Backend) {
    within_patience(move || {
        let poller = poller(backend);
        let (reader, _writer) = full_pipe();
        let reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Edge).unwrap();
        let (done, rearms) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    reader.rearm(Interest::READABLE | Interest::WRITABLE).unwrap();
                    rearms.fetch_add(1, SeqCst);
                }
            });
            for _ in 0..50 {
                reader.set_interest(Interest::NONE).unwrap();
                // The second of these has begun after the change.
                let so_far = rearms.load(SeqCst);
                while rearms.load(SeqCst) < so_far + 2 {
                    thread::yield_now();
                }
                expect_nothing_more(&poller);
                reader.set_interest(Interest::READABLE).unwrap();
                wait_for(&poller, &[1]);
            }
            done.store(true, SeqCst);
        });
    });
}

/// Threads that register, change, use and drop, with others that wait: all of them end.
fn churn(backend: Backend) {
    const CHURNERS: usize = 4;
    const ROUNDS: usize = 300;
    within_patience(move || {
        let poller = poller(backend);
        let (done, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(|| {
                    let mut events = Events::with_capacity(4);
                    while !done.load(SeqCst) {
                        poller.wait(&mut events, None).unwrap();
                        for event in &events {
                            assert!(event.token().0 < CHURNERS, "{event:?}");
                        }
                        seen.fetch_add(events.len(), SeqCst);
                    }
                    poller.interrupt();
                });
            }
            let churners: Vec<_> = (0..CHURNERS)
                .map(|token| {
                    let poller = &poller;
                    scope.spawn(move || {
                        let modes = [Mode::Level, Mode::Edge, Mode::Oneshot];
                        for round in 0..ROUNDS {
                            let (reader, mut writer) = pipe();
                            let mode = modes[(round + token) % 3];
                            let reader = poller
                                .register(reader, Token(token), Interest::READABLE, mode)
                                .unwrap();
                            writer.write_all(b"x").unwrap();
                            reader.set_interest(Interest::NONE).unwrap();
                            poller.waker(Token(token)).wake();
                            reader.set_interest(Interest::READABLE).unwrap();
                            assert_eq!((&reader).read(&mut [0; 9]).unwrap(), 1);
                            assert!((&reader).read(&mut [0; 9]).is_err());
                            if round % 2 == 0 {
                                drop(reader);
                            } else {
                                drop(reader.into_inner());
                            }
                            expect_reader_gone(&mut writer);
                        }
                    })
                })
                .collect();
            for churner in churners {
                churner.join().unwrap();
            }
            done.store(true, SeqCst);
            poller.interrupt();
        });
        assert_ne!(seen.into_inner(), 0);
        // Slow waiters may have left every wake.
        let mut left = Events::with_capacity(CHURNERS * ROUNDS);
        poller.wait(&mut left, Some(Duration::ZERO)).unwrap();
        expect_nothing(&poller);
    });
}
