//! P2: how often the modes report, and that a small buffer starves nobody.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::UdpSocket;
use std::time::Duration;

use anypoll::{Backend, Conditions, Events, Interest, Mode, Poller, Registered, Token};

use crate::support::{
    PipeReader, PipeWriter, Seen, Stream, both, empty, expect_nothing, look, never_blocking,
    on_every_backend, pipe, pipelines, poller, stream_pair, subjects, wait_for, write,
};

on_every_backend! {
    level_reports_while_it_lasts
    level_reports_only_what_is_asked
    edge_reports_once_and_after_set_interest
    edge_in_both_directions
    oneshot_reports_once_and_after_set_interest
    oneshot_in_both_directions
    a_small_buffer_starves_nobody
    wakes_hide_nothing
    a_small_buffer_loses_nothing
    room_for_one_is_enough
    a_new_interest_is_not_starved
    a_removal_hides_nothing
    #[cfg(unix)] an_always_ready_file
    #[cfg(unix)] files_that_are_gone_hide_nothing
}

fn level_reports_while_it_lasts(backend: Backend) {
    for subject in subjects() {
        let poller = poller(backend);
        let object = &subject.object;
        let registered =
            poller.register(object, Token(1), Interest::READABLE, Mode::Level).unwrap();
        subject.provoke();
        let seen = wait_for(&poller, &[1]);
        for _ in 0..3 {
            assert_eq!(look(&poller), seen, "{}", subject.kind);
        }
        assert_eq!(subject.drain(&registered), 1);
        expect_nothing(&poller);
    }
    for (kind, ours, theirs) in pipelines() {
        let poller = poller(backend);
        let registered =
            poller.register(&theirs, Token(1), Interest::READABLE, Mode::Level).unwrap();
        write(&ours, b"data").unwrap();
        let seen = wait_for(&poller, &[1]);
        for _ in 0..3 {
            assert_eq!(look(&poller), seen, "{kind}");
        }
        assert_eq!(empty(registered.get_ref()), 4);
        expect_nothing(&poller);
    }
}

/// Also where the kernel says something of the removal, and that has the room of an event.
fn a_removal_hides_nothing(backend: Backend) {
    let poller = poller(backend);
    let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let register =
        |token, interest| poller.register(socket(), Token(token), interest, Mode::Level).unwrap();
    let _ready: Vec<_> = (0..6).map(|token| register(token, Interest::WRITABLE)).collect();
    let never = register(9, Interest::READABLE);
    let mut one = Events::with_capacity(1);
    poller.wait(&mut one, None).unwrap();
    drop(never);
    for look in 0..18 {
        poller.wait(&mut one, Some(Duration::ZERO)).unwrap();
        assert_eq!(one.len(), 1, "look {look}");
    }
}

fn stream_with_data(poller: &Poller, mode: Mode) -> (Registered<Stream>, Stream) {
    let (ours, mut theirs) = stream_pair();
    ours.set_nonblocking(true).unwrap();
    theirs.write_all(b"data").unwrap();
    (poller.register(ours, Token(1), both(), mode).unwrap(), theirs)
}

fn only(conditions: Conditions) -> Seen {
    Seen::from([(Token(1), conditions)])
}

fn level_reports_only_what_is_asked(backend: Backend) {
    let poller = poller(backend);
    let (stream, _theirs) = stream_with_data(&poller, Mode::Level);
    for _ in 0..2 {
        for (interest, conditions) in [
            (both(), Conditions::READ | Conditions::WRITE),
            (Interest::READABLE, Conditions::READ),
            (Interest::WRITABLE, Conditions::WRITE),
        ] {
            stream.set_interest(interest).unwrap();
            assert_eq!(stream.interest(), interest);
            assert_eq!(look(&poller), only(conditions));
            assert_eq!(look(&poller), only(conditions));
        }
        stream.set_interest(Interest::NONE).unwrap();
        expect_nothing(&poller);
    }
}

fn edge_reports_once_and_after_set_interest(backend: Backend) {
    reports_once_and_after_set_interest(backend, Mode::Edge);
}

fn oneshot_reports_once_and_after_set_interest(backend: Backend) {
    reports_once_and_after_set_interest(backend, Mode::Oneshot);
}

fn reports_once_and_after_set_interest(backend: Backend, mode: Mode) {
    for subject in subjects() {
        let poller = poller(backend);
        let registered =
            poller.register(&subject.object, Token(1), Interest::READABLE, mode).unwrap();
        subject.provoke();
        let seen = wait_for(&poller, &[1]);
        for _ in 0..3 {
            expect_nothing(&poller);
            expect_nothing(&poller);
            registered.set_interest(Interest::READABLE).unwrap();
            assert_eq!(wait_for(&poller, &[1]), seen, "{}", subject.kind);
        }
        registered.set_interest(Interest::NONE).unwrap();
        expect_nothing(&poller);
        assert_eq!(subject.drain(&registered), 1);
        registered.set_interest(Interest::READABLE).unwrap();
        expect_nothing(&poller);
        if mode == Mode::Oneshot {
            subject.provoke();
            wait_for(&poller, &[1]);
            // Neither a would-block nor new readiness arms it.
            assert_eq!(subject.drain(&registered), 1);
            subject.provoke();
            registered.rearm(both()).unwrap();
            expect_nothing(&poller);
        }
    }
}

fn edge_in_both_directions(backend: Backend) {
    let poller = poller(backend);
    let (stream, mut theirs) = stream_with_data(&poller, Mode::Edge);
    for _ in 0..3 {
        assert_eq!(wait_for(&poller, &[1]), only(Conditions::READ | Conditions::WRITE));
        expect_nothing(&poller);
        assert_eq!(std::io::Read::read(&mut &stream, &mut [0; 4]).unwrap(), 4);
        let error = std::io::Read::read(&mut &stream, &mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        expect_nothing(&poller);
        // The activity may show the other direction too, or not.
        theirs.write_all(b"data").unwrap();
        assert!(wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::READ));
        expect_nothing(&poller);
        stream.set_interest(both()).unwrap();
    }
}

fn oneshot_in_both_directions(backend: Backend) {
    let poller = poller(backend);
    let (ours, mut theirs) = stream_pair();
    let stream = poller.register(ours, Token(1), both(), Mode::Oneshot).unwrap();
    for round in 0..3 {
        let mut times = [0; 2];
        for _ in 0..3 {
            if let Some(conditions) = look(&poller).get(&Token(1)) {
                times[0] += usize::from(conditions.intersects(Conditions::READ));
                times[1] += usize::from(conditions.intersects(Conditions::WRITE));
            }
            theirs.write_all(b"data").unwrap();
        }
        // There was room all the time, and data from the second round on at the least.
        assert!(times[0] <= 1 && times[1] == 1, "{times:?}");
        assert!(round == 0 || times[0] == 1, "{times:?}");
        expect_nothing(&poller);
        stream.set_interest(both()).unwrap();
    }
}

type Pipe = (Registered<PipeReader>, PipeWriter);

fn pipe_with_data(poller: &Poller, token: usize, mode: Mode) -> Pipe {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"data").unwrap();
    (poller.register(reader, Token(token), Interest::READABLE, mode).unwrap(), writer)
}

fn a_small_buffer_starves_nobody(backend: Backend) {
    const PIPES: usize = 20;
    const WAKERS: usize = 5;
    const ALL: usize = PIPES + WAKERS + 1;
    for (capacity, interrupted) in [1, 2, 3, 7].into_iter().flat_map(|c| [(c, false), (c, true)]) {
        let poller = poller(backend);
        let _pipes: Vec<_> = (0..PIPES).map(|i| pipe_with_data(&poller, i, Mode::Level)).collect();
        let wakers: Vec<_> =
            (PIPES..PIPES + WAKERS).map(|token| poller.waker(Token(token))).collect();
        let interest = Interest::READABLE;
        let _file =
            poller.register(never_blocking(), Token(ALL - 1), interest, Mode::Level).unwrap();

        // The buffer is shared between the kernel's and the poller's own, however many those are.
        let patience = 4 * ALL.div_ceil(capacity);
        let mut events = Events::with_capacity(capacity);
        let mut last_seen: HashMap<_, _> = (0..ALL).map(|token| (Token(token), 0)).collect();
        for wait in 1..=10 * patience {
            wakers.iter().for_each(anypoll::Waker::wake);
            if interrupted {
                poller.interrupt();
            }
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert!((1..=capacity).contains(&events.len()), "{events:?}");
            for event in &events {
                assert_eq!(event.conditions(), Conditions::READ);
                assert!(last_seen.insert(event.token(), wait).is_some(), "{event:?}");
            }
            for (token, last) in &last_seen {
                assert!(wait - last <= patience, "{token:?} waits since {last} of {wait}");
            }
        }
    }
}

/// Who is woken all the time sees everything else in every second wait, who is interrupted in each.
fn wakes_hide_nothing(backend: Backend) {
    let poller = poller(backend);
    let (_reader, _writer) = pipe_with_data(&poller, 1, Mode::Level);
    let waker = poller.waker(Token(2));
    let both = BTreeMap::from([(Token(1), Conditions::READ), (Token(2), Conditions::READ)]);
    for _ in 0..10 {
        waker.wake();
        assert_eq!(look(&poller), both);
        waker.wake();
        assert_eq!(look(&poller), BTreeMap::from([(Token(2), Conditions::READ)]));
    }
    for _ in 0..10 {
        waker.wake();
        poller.interrupt();
        assert_eq!(look(&poller), both);
    }
    let mut events = Events::with_capacity(1);
    for _ in 0..10 {
        poller.interrupt();
        poller.wait(&mut events, None).unwrap();
        assert_eq!(events.iter().map(anypoll::Event::token).collect::<Vec<_>>(), [Token(1)]);
    }
}

fn a_small_buffer_loses_nothing(backend: Backend) {
    const PIPES: usize = 20;
    for mode in [Mode::Edge, Mode::Oneshot] {
        for capacity in [1, 2, 3, 7] {
            let poller = poller(backend);
            let mut pipes: Vec<_> = (0..PIPES).map(|i| pipe_with_data(&poller, i, mode)).collect();
            let file =
                poller.register(never_blocking(), Token(PIPES), Interest::READABLE, mode).unwrap();
            let wakers: Vec<_> =
                (PIPES + 1..PIPES + 4).map(|token| poller.waker(Token(token))).collect();
            let mut events = Events::with_capacity(capacity);
            for _ in 0..3 {
                wakers.iter().for_each(anypoll::Waker::wake);
                let mut times = BTreeMap::new();
                for _ in 0..2 * PIPES {
                    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
                    for event in &events {
                        *times.entry(event.token().0).or_insert(0) += 1;
                    }
                }
                assert!(events.is_empty(), "{events:?}");
                assert_eq!(times, (0..PIPES + 4).map(|token| (token, 1)).collect());
                for (pipe, _) in &pipes {
                    pipe.set_interest(Interest::READABLE).unwrap();
                }
                file.set_interest(Interest::READABLE).unwrap();
                pipes.reverse();
            }
        }
    }
}

/// A look sees what is there, also when something else was and is not any more.
fn room_for_one_is_enough(backend: Backend) {
    let poller = poller(backend);
    let mut events = Events::with_capacity(1);
    for round in 0..12 {
        if round == 6 {
            // From here on a file leaves a notice behind, which comes before the pipe.
            let _ = poller.descriptor();
        }
        drop(poller.register(never_blocking(), Token(1), Interest::READABLE, Mode::Level).unwrap());
        for token in 3..6 {
            let gone = pipe_with_data(&poller, token, Mode::Level);
            if round % 2 == 0 {
                poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
                assert_eq!(events.iter().next().unwrap().token(), Token(token));
            }
            drop(gone);
        }
        let _pipe = pipe_with_data(&poller, 2, Mode::Level);
        for _ in 0..round {
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            let tokens: Vec<_> = events.iter().map(anypoll::Event::token).collect();
            assert_eq!(tokens, [Token(2)]);
        }
    }
}

/// Whatever else lasts.
fn a_new_interest_is_not_starved(backend: Backend) {
    for capacity in [1, 2, 64] {
        let poller = poller(backend);
        let _busy: Vec<_> = (2..5).map(|i| pipe_with_data(&poller, i, Mode::Level)).collect();
        let (ours, _theirs) = stream_pair();
        let stream = poller.register(ours, Token(1), Interest::READABLE, Mode::Level).unwrap();
        let mut events = Events::with_capacity(capacity);
        for _ in 0..3 {
            stream.set_interest(Interest::READABLE).unwrap();
            for _ in 0..8 {
                poller.wait(&mut events, None).unwrap();
                assert!(events.iter().all(|event| event.token() != Token(1)), "{events:?}");
            }
            stream.set_interest(both()).unwrap();
            let mut waits = 0;
            loop {
                poller.wait(&mut events, None).unwrap();
                if events.iter().any(|event| event.token() == Token(1)) {
                    break;
                }
                waits += 1;
                assert!(waits < 20, "{events:?}");
            }
        }
    }
}

#[cfg(unix)]
fn an_always_ready_file(backend: Backend) {
    for mode in crate::support::MODES {
        let poller = poller(backend);
        let file = poller.register(never_blocking(), Token(1), both(), mode).unwrap();
        for (interest, conditions) in [
            (both(), Conditions::READ | Conditions::WRITE),
            (Interest::READABLE, Conditions::READ),
            (Interest::WRITABLE, Conditions::WRITE),
        ] {
            file.set_interest(interest).unwrap();
            assert_eq!(look(&poller), only(conditions));
            let again = if mode == Mode::Level { only(conditions) } else { Seen::new() };
            assert_eq!(look(&poller), again, "{mode:?}");
        }
        file.set_interest(Interest::NONE).unwrap();
        expect_nothing(&poller);
    }
}

/// More of them than are pending in one word.
#[cfg(unix)]
fn files_that_are_gone_hide_nothing(backend: Backend) {
    let poller = poller(backend);
    let _pipe = pipe_with_data(&poller, 1, Mode::Level);
    for _ in 0..4 {
        let register = |token| {
            let (token, interest) = (Token(token as usize), Interest::READABLE);
            poller.register(never_blocking(), token, interest, Mode::Level).unwrap()
        };
        drop(Vec::from_iter((2..2 + usize::BITS).map(register)));
        assert_eq!(look(&poller), only(Conditions::READ));
    }
}
