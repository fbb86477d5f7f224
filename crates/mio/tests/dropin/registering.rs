//! Registering: tokens, sources of any kind, misuse.

use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use anypoll::Backend;
use mio::net::TcpListener;
use mio::{Events, Interest, Registry, Token, Waker, event};

use crate::support::{PATIENCE, expect_nothing, expect_one, on_every_backend, pair, poll};

const R: Interest = Interest::READABLE;

on_every_backend! {
    any_token
    boxed_sources
    registries_are_handles
    one_source_two_polls
    misuse
    no_token_after_deregister
}

fn any_token(backend: Backend) {
    let mut poll = poll(backend);
    let (mut sender, mut receiver) = pair();
    sender.write_all(b"x").unwrap();
    poll.registry().register(&mut receiver, Token(usize::MAX), R).unwrap();
    assert_eq!(expect_one(&mut poll, usize::MAX), "readable");
    let pointer = std::ptr::from_ref(&poll).addr();
    for token in [0, 1, usize::MAX - 1, usize::MAX / 2, isize::MAX as usize + 1, pointer] {
        poll.registry().reregister(&mut receiver, Token(token), R).unwrap();
        assert_eq!(expect_one(&mut poll, token), "readable");
        expect_nothing(&mut poll);
    }
    if let Some(reserved) = anypoll::Token::RESERVED {
        let error = poll.registry().reregister(&mut receiver, Token(reserved.0), R).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

fn boxed_sources(backend: Backend) {
    let mut poll = poll(backend);
    let (mut sender, receiver) = pair();
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut sources: Vec<Box<dyn event::Source>> = vec![Box::new(receiver), Box::new(listener)];
    for (i, source) in sources.iter_mut().enumerate() {
        poll.registry().register(source, Token(i), R).unwrap();
        poll.registry().reregister(&mut **source, Token(i + 2), R).unwrap();
    }
    sender.write_all(b"x").unwrap();
    assert_eq!(expect_one(&mut poll, 2), "readable");
    for source in &mut sources {
        poll.registry().deregister(source).unwrap();
    }
    expect_nothing(&mut poll);
}

fn registries_are_handles(backend: Backend) {
    let mut poll = poll(backend);
    let registry = poll.registry().try_clone().unwrap();
    let (mut sender, mut receiver) = pair();
    registry.register(&mut receiver, Token(1), R).unwrap();
    poll.registry().reregister(&mut receiver, Token(2), R).unwrap();
    let thread = thread::spawn(move || {
        sender.write_all(b"x").unwrap();
        registry.try_clone().unwrap().deregister(&mut receiver).unwrap();
        registry.register(&mut receiver, Token(3), R).unwrap();
        (sender, receiver)
    });
    let ends = thread.join().unwrap();
    assert_eq!(expect_one(&mut poll, 3), "readable");
    drop(ends);
}

fn one_source_two_polls(backend: Backend) {
    let (mut one, mut other) = (poll(backend), poll(backend));
    let (mut sender, mut receiver) = pair();
    one.registry().register(&mut receiver, Token(1), R).unwrap();
    if cfg!(debug_assertions) {
        let error = other.registry().register(&mut receiver, Token(2), R).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        let error = other.registry().reregister(&mut receiver, Token(2), R).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
    assert!(other.registry().deregister(&mut receiver).is_err());
    // Nothing of that has changed the registration.
    sender.write_all(b"x").unwrap();
    assert_eq!(expect_one(&mut one, 1), "readable");
    one.registry().deregister(&mut receiver).unwrap();
    other.registry().register(&mut receiver, Token(2), R).unwrap();
    assert_eq!(expect_one(&mut other, 2), "readable");
    expect_nothing(&mut one);
    // A poll that is gone has nothing any more.
    drop(other);
    one.registry().register(&mut receiver, Token(3), R).unwrap();
    assert_eq!(expect_one(&mut one, 3), "readable");
}

fn misuse(backend: Backend) {
    let poll = poll(backend);
    let (mut one, _other) = pair();
    let missing = [
        poll.registry().reregister(&mut one, Token(1), R).unwrap_err(),
        poll.registry().deregister(&mut one).unwrap_err(),
    ];
    assert_eq!(missing.map(|error| error.kind()), [ErrorKind::NotFound; 2]);
    poll.registry().register(&mut one, Token(1), R).unwrap();
    let error = poll.registry().register(&mut one, Token(1), R).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    poll.registry().deregister(&mut one).unwrap();
    poll.registry().register(&mut one, Token(1), R).unwrap();
}

/// What a token points to. Never freed here, so that no address is used twice: an event of one that
/// is not alive any more would have been a use after free.
type Target = Box<u8>;

fn no_token_after_deregister(backend: Backend) {
    const ROUNDS: usize = 1_000;
    const WORKERS: usize = 2;
    let mut poll = poll(backend);
    let alive = Arc::new(Mutex::new(HashSet::new()));
    let ended = Arc::new(Mutex::new(Vec::new()));
    let done = Arc::new(AtomicBool::new(false));
    let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());

    let worker = |registry: Registry| {
        let (alive, ended, waker) = (Arc::clone(&alive), Arc::clone(&ended), Arc::clone(&waker));
        thread::spawn(move || {
            let (mut sender, mut receiver) = pair();
            sender.write_all(b"x").unwrap();
            for round in 0..ROUNDS {
                let target: Target = Box::new(0);
                let token = std::ptr::from_ref(&*target).addr();
                alive.lock().unwrap().insert(token);
                registry.register(&mut receiver, Token(token), R).unwrap();
                if round % 3 == 0 {
                    registry.reregister(&mut receiver, Token(token), R).unwrap();
                }
                if round % 5 == 0 {
                    waker.wake().unwrap();
                }
                registry.deregister(&mut receiver).unwrap();
                ended.lock().unwrap().push(target);
            }
        })
    };
    let workers: Vec<_> =
        (0..WORKERS).map(|_| worker(poll.registry().try_clone().unwrap())).collect();
    let end = thread::spawn({
        let (done, waker) = (Arc::clone(&done), Arc::clone(&waker));
        move || {
            let results: Vec<_> = workers.into_iter().map(thread::JoinHandle::join).collect();
            done.store(true, SeqCst);
            waker.wake().unwrap();
            results.into_iter().for_each(Result::unwrap);
        }
    });

    let mut events = Events::with_capacity(4);
    let mut graves: Vec<Target> = Vec::new();
    while !done.load(SeqCst) {
        // What was deregistered before this poll begins is not seen by it.
        for target in std::mem::take(&mut *ended.lock().unwrap()) {
            assert!(alive.lock().unwrap().remove(&std::ptr::from_ref(&*target).addr()));
            graves.push(target);
        }
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        for event in events.iter().filter(|event| event.token() != Token(0)) {
            assert!(alive.lock().unwrap().contains(&event.token().0), "{event:?}");
        }
    }
    end.join().unwrap();
    assert_eq!(graves.len() + ended.lock().unwrap().len(), ROUNDS * WORKERS);
}
