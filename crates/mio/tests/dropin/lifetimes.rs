//! What is dropped, in any order, without a word.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anypoll::Backend;
use mio::net::{TcpListener, UnixStream};
use mio::unix::{SourceFd, pipe};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::support::{PATIENCE, expect_nothing, expect_one, on_every_backend, poll};

const R: Interest = Interest::READABLE;

on_every_backend! {
    peers_see_the_end
    peers_see_the_end_while_a_thread_polls
    a_descriptor_is_used_again
    the_poll_goes_first
    conversions_end_nothing_else
    deregistered_behind_its_back
}

fn tcp() -> (mio::net::TcpStream, StdStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (listener.accept().unwrap().0, peer)
}

fn unix() -> (UnixStream, StdUnixStream) {
    let (one, other) = StdUnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    (UnixStream::from_std(one), other)
}

fn peers_see_the_end(backend: Backend) {
    let poll = poll(backend);
    check_ends(&poll);
}

fn check_ends(poll: &Poll) {
    let (mut stream, mut peer) = tcp();
    poll.registry().register(&mut stream, Token(1), R).unwrap();
    drop(stream);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);

    let (mut stream, mut peer) = unix();
    poll.registry().register(&mut stream, Token(2), R).unwrap();
    drop(stream);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);

    let (mut sender, mut receiver) = pipe::new().unwrap();
    poll.registry().register(&mut sender, Token(3), Interest::WRITABLE).unwrap();
    drop(sender);
    assert_eq!(receiver.read(&mut [0]).unwrap(), 0);

    let (mut sender, mut receiver) = pipe::new().unwrap();
    poll.registry().register(&mut receiver, Token(4), R).unwrap();
    drop(receiver);
    assert_eq!(sender.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);

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
        let (mut stream, mut peer) = unix();
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
        let (mut sender, mut receiver) = pipe::new().unwrap();
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
    let (mut stream, mut peer) = unix();
    poll.registry().register(&mut stream, Token(0), R).unwrap();
    drop(poll);
    waker.wake().unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    peer.write_all(b"x").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 1);
    drop(stream);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

fn conversions_end_nothing_else(backend: Backend) {
    let mut poll = poll(backend);
    let (mut stream, mut peer) = unix();
    poll.registry().register(&mut stream, Token(0), R).unwrap();
    poll.registry().deregister(&mut stream).unwrap();
    let fd = stream.into_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), Token(1), R).unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!(expect_one(&mut poll, 1), "readable");
    poll.registry().deregister(&mut SourceFd(&fd)).unwrap();
    // SAFETY: it was given up above, and nobody else has it.
    drop(unsafe { <UnixStream as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    let mut rest = [0; 4];
    assert_eq!(peer.read(&mut rest).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn deregistered_behind_its_back(backend: Backend) {
    let mut poll = poll(backend);
    let (mut stream, mut peer) = unix();
    let fd = stream.as_raw_fd();
    poll.registry().register(&mut stream, Token(0), R).unwrap();
    poll.registry().deregister(&mut SourceFd(&fd)).unwrap();
    // The would-block stays one.
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    poll.registry().register(&mut SourceFd(&fd), Token(1), R).unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!(expect_one(&mut poll, 1), "readable");
    drop(stream);
    assert_eq!(peer.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    expect_nothing(&mut poll);
}
