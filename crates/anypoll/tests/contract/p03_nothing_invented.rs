//! P3: an object that neither side touches causes no event, and a would-block in one direction
//! never arms the other.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use anypoll::{Backend, Conditions, Events, Interest, Mode, Poller, Registered, Token};

use crate::support::{
    MODES, Stream, both, expect_nothing, fill, has_priority, look, on_every_backend, pipelines,
    poller, stream_pair, subjects, wait_for,
};

on_every_backend! {
    nothing_to_read
    no_room_to_write
    silent_after_the_report
    a_blocked_read_arms_no_write
    a_blocked_write_arms_no_read
    a_would_block_arms_only_what_is_asked
    a_would_block_arms_only_edge
    no_wakers_but_the_woken
}

/// Neither a look nor a wait sees anything.
fn expect_silence(poller: &Poller) {
    expect_nothing(poller);
    let mut events = Events::default();
    poller.wait(&mut events, Some(Duration::from_millis(1))).unwrap();
    assert!(events.is_empty(), "{events:?}");
    expect_nothing(poller);
}

fn nothing_to_read(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        let subjects = subjects();
        for interest in [Interest::NONE, Interest::READABLE, Interest::PRIORITY] {
            if interest == Interest::PRIORITY && !has_priority(backend) {
                continue;
            }
            let registered: Vec<_> = (0..)
                .zip(&subjects)
                .map(|(i, subject)| poller.register(&subject.object, Token(i), interest, mode))
                .collect();
            expect_silence(&poller);
            for registered in registered {
                registered.unwrap().set_interest(interest).unwrap();
            }
            expect_silence(&poller);
        }
    }
}

fn no_room_to_write(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        let mut pipelines = pipelines();
        // An acknowledgement may make room later.
        pipelines.retain(|(kind, ..)| *kind != "TCP");
        for interest in [Interest::NONE, Interest::WRITABLE, both()] {
            let registered: Vec<_> = (0..)
                .zip(&pipelines)
                .map(|(i, (_, ours, _))| {
                    fill(ours);
                    poller.register(ours, Token(i), interest, mode).unwrap()
                })
                .collect();
            expect_silence(&poller);
            for registered in &registered {
                registered.set_interest(interest).unwrap();
            }
            expect_silence(&poller);
        }
    }
}

fn silent_after_the_report(backend: Backend) {
    for mode in [Mode::Edge, Mode::Oneshot] {
        for interest in [Interest::WRITABLE, both()] {
            let poller = poller(backend);
            let pipelines = pipelines();
            let registered: Vec<_> = (0..)
                .zip(&pipelines)
                .map(|(i, (_, ours, _))| poller.register(ours, Token(i), interest, mode).unwrap())
                .collect();
            let tokens: Vec<_> = (0..registered.len()).collect();
            let seen = wait_for(&poller, &tokens);
            assert!(seen.values().all(|shown| *shown == Conditions::WRITE), "{seen:?}");
            expect_silence(&poller);
        }
    }
}

fn stream(poller: &Poller, interest: Interest, mode: Mode) -> (Registered<Stream>, Stream) {
    let (ours, theirs) = stream_pair();
    ours.set_nonblocking(true).unwrap();
    (poller.register(ours, Token(1), interest, mode).unwrap(), theirs)
}

fn blocked_read(mut stream: &Registered<Stream>) {
    assert_eq!(stream.read(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn blocked_write(mut stream: &Registered<Stream>) -> usize {
    let mut written = 0;
    let error = loop {
        match stream.write(&[0; 4096]) {
            Ok(more) => written += more,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    written
}

fn a_blocked_read_arms_no_write(backend: Backend) {
    let poller = poller(backend);
    let (stream, mut theirs) = stream(&poller, both(), Mode::Edge);
    wait_for(&poller, &[1]);
    for _ in 0..3 {
        theirs.write_all(b"data").unwrap();
        assert!(wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::READ));
        assert_eq!((&stream).read(&mut [0; 64]).unwrap(), 4);
        blocked_read(&stream);
        expect_silence(&poller);
        stream.rearm(Interest::READABLE).unwrap();
        poller.rearm(stream.get_ref(), Interest::READABLE).unwrap();
        expect_silence(&poller);
    }
}

fn a_blocked_write_arms_no_read(backend: Backend) {
    let poller = poller(backend);
    let (stream, mut theirs) = stream(&poller, both(), Mode::Edge);
    theirs.write_all(b"data").unwrap();
    wait_for(&poller, &[1]);
    let mut written = 0;
    for _ in 0..3 {
        written += blocked_write(&stream);
        stream.rearm(Interest::WRITABLE).unwrap();
        poller.rearm(stream.get_ref(), Interest::WRITABLE).unwrap();
        expect_silence(&poller);
    }
    theirs.read_exact(&mut vec![0; written]).unwrap();
    assert!(wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::WRITE));
}

fn a_would_block_arms_only_what_is_asked(backend: Backend) {
    let poller = poller(backend);
    let (stream, mut theirs) = stream(&poller, Interest::READABLE, Mode::Edge);
    expect_silence(&poller);
    // There is room, but nobody asks.
    stream.rearm(Interest::WRITABLE).unwrap();
    stream.rearm(Interest::PRIORITY).unwrap();
    expect_silence(&poller);
    theirs.write_all(b"data").unwrap();
    wait_for(&poller, &[1]);
    stream.set_interest(Interest::NONE).unwrap();
    stream.rearm(both()).unwrap();
    expect_silence(&poller);
    stream.set_interest(Interest::WRITABLE).unwrap();
    assert_eq!(wait_for(&poller, &[1])[&Token(1)], Conditions::WRITE);
    stream.rearm(Interest::READABLE).unwrap();
    expect_silence(&poller);
}

fn a_would_block_arms_only_edge(backend: Backend) {
    let poller = poller(backend);
    let (oneshot, mut theirs) = stream(&poller, Interest::READABLE, Mode::Oneshot);
    theirs.write_all(b"data").unwrap();
    wait_for(&poller, &[1]);
    assert_eq!((&oneshot).read(&mut [0; 64]).unwrap(), 4);
    blocked_read(&oneshot);
    oneshot.rearm(both()).unwrap();
    poller.rearm(oneshot.get_ref(), both()).unwrap();
    theirs.write_all(b"more").unwrap();
    expect_silence(&poller);
}

fn no_wakers_but_the_woken(backend: Backend) {
    let poller = poller(backend);
    let wakers: Vec<_> = (0..200).map(|token| poller.waker(Token(token))).collect();
    expect_silence(&poller);
    for woken in [[0, 1, 199], [63, 64, 65], [127, 128, 130]] {
        woken.iter().for_each(|i| wakers[*i].wake());
        let seen = look(&poller);
        assert!(seen.keys().map(|token| token.0).eq(woken), "{seen:?}");
        expect_silence(&poller);
    }
}
