//! What is dropped, in any order, without a word.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anypoll::Backend;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::SockRef;

use crate::support::{expect_nothing, expect_one, on_every_backend, pair, poll, tcp};

const R: Interest = Interest::READABLE;

on_every_backend! {
    peers_see_the_end
    peers_see_the_end_while_a_thread_polls
    a_descriptor_is_used_again
    the_poll_goes_first
}

fn peers_see_the_end(backend: Backend) {
    let poll = poll(backend);
    check_ends(&poll);
}

fn check_ends(poll: &Poll) {
    let (mut peer, mut stream) = tcp();
    poll.registry().register(&mut stream, Token(1), R).unwrap();
    drop(stream);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);

    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    poll.registry().register(&mut listener, Token(5), R).unwrap();
    drop(listener);
    let error = StdStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// A thread that polls until it is woken, and gives the poll back.
fn polling(mut poll: Poll) -> (JoinHandle<Poll>, Waker) {
    let waker = Waker::new(poll.registry(), Token(usize::MAX)).unwrap();
    let (asleep, is_asleep) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut events = Events::with_capacity(8);
        asleep.send(()).unwrap();
        loop {
            poll.poll(&mut events, None).unwrap();
            if events.iter().any(|event| event.token() == Token(usize::MAX)) {
                return poll;
            }
        }
    });
    is_asleep.recv().unwrap();
    (thread, waker)
}

fn peers_see_the_end_while_a_thread_polls(backend: Backend) {
    let poll = poll(backend);
    let registry = poll.registry().try_clone().unwrap();
    let (thread, waker) = polling(poll);
    for round in 0..50 {
        let (mut peer, mut stream) = tcp();
        registry.register(&mut stream, Token(round), R | Interest::WRITABLE).unwrap();
        drop(stream);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
    waker.wake().unwrap();
    check_ends(&thread.join().unwrap());
}

fn a_descriptor_is_used_again(backend: Backend) {
    let mut poll = poll(backend);
    for round in 0..100 {
        let (mut sender, mut receiver) = pair();
        poll.registry().register(&mut receiver, Token(round), R).unwrap();
        sender.write_all(b"x").unwrap();
        if round % 2 == 0 {
            assert_eq!(expect_one(&mut poll, round), "readable");
        }
    }
    expect_nothing(&mut poll);
}

fn the_poll_goes_first(backend: Backend) {
    let poll = poll(backend);
    let waker = Waker::new(poll.registry(), Token(9)).unwrap();
    let (mut peer, mut stream) = tcp();
    poll.registry().register(&mut stream, Token(0), R).unwrap();
    drop(poll);
    waker.wake().unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    peer.write_all(b"x").unwrap();
    // What was sent may be on its way.
    SockRef::from(&stream).set_nonblocking(false).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 1);
    drop(stream);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}
