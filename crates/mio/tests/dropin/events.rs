//! The buffer and its iterator.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use anypoll::Backend;
use mio::{Events, Interest, Token};

use crate::support::{PATIENCE, expect_nothing, on_every_backend, pair, poll};

on_every_backend! {
    iterators_know_where_they_are
    what_does_not_fit_comes_later
    a_timeout_is_no_error
    no_capacity
}

fn iterators_know_where_they_are(backend: Backend) {
    let mut poll = poll(backend);
    let mut pipes: Vec<_> = (0..3).map(|_| pair()).collect();
    for (i, (sender, receiver)) in pipes.iter_mut().enumerate() {
        poll.registry().register(receiver, Token(i), Interest::READABLE).unwrap();
        sender.write_all(b"x").unwrap();
    }
    let mut events = Events::with_capacity(8);
    assert_eq!(events.capacity(), 8);
    while events.iter().count() < 3 {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
    }
    let mut iter = events.iter();
    assert_eq!((iter.size_hint(), iter.len()), ((3, Some(3)), 3));
    let first = iter.next().unwrap().token();
    assert_eq!((iter.size_hint(), iter.clone().count()), ((2, Some(2)), 2));
    let last = iter.nth(1).unwrap().token();
    assert_eq!((iter.size_hint(), iter.clone().count()), ((0, Some(0)), 0));
    assert!(iter.next().is_none() && iter.next().is_none());
    let mut tokens: Vec<_> = (&events).into_iter().map(mio::event::Event::token).collect();
    assert_eq!((tokens[0], tokens[2]), (first, last));
    tokens.sort_unstable();
    assert_eq!(tokens, [Token(0), Token(1), Token(2)]);

    let event = events.iter().next().unwrap().clone();
    assert_eq!(
        format!("{event:?}"),
        format!(
            "Event {{ token: {first:?}, readable: true, writable: false, error: false, \
             read_closed: false, write_closed: false, priority: false, aio: false, lio: false }}"
        )
    );
    assert!(format!("{event:#?}").contains("details"));
    assert_eq!(format!("{events:?}").matches("readable: true").count(), 3);
    events.clear();
    assert!(events.is_empty());
    assert_eq!(format!("{events:?}"), "[]");
}

fn what_does_not_fit_comes_later(backend: Backend) {
    let mut poll = poll(backend);
    let mut pipes: Vec<_> = (0..10).map(|_| pair()).collect();
    for (i, (sender, receiver)) in pipes.iter_mut().enumerate() {
        poll.registry().register(receiver, Token(i), Interest::READABLE).unwrap();
        sender.write_all(b"x").unwrap();
    }
    let mut events = Events::with_capacity(3);
    let mut seen = Vec::new();
    while seen.len() < 10 {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!((1..=3).contains(&events.iter().count()), "{events:?}");
        seen.extend(events.iter().map(|event| event.token().0));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    expect_nothing(&mut poll);
}

fn a_timeout_is_no_error(backend: Backend) {
    let mut poll = poll(backend);
    let mut events = Events::with_capacity(3);
    let (start, timeout) = (Instant::now(), Duration::from_micros(2_500));
    poll.poll(&mut events, Some(timeout)).unwrap();
    assert!(events.is_empty() && start.elapsed() >= timeout);
}

fn no_capacity(backend: Backend) {
    let error = poll(backend).poll(&mut Events::with_capacity(0), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
