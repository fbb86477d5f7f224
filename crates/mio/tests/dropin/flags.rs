//! What an event says in each situation.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::time::{Duration, Instant};

use anypoll::Backend;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Token, event};
use socket2::SockRef;

use crate::support::{LINUX, PATIENCE, expect_nothing, expect_one, on_every_backend, poll, tcp};

const R: Interest = Interest::READABLE;
const W: Interest = Interest::WRITABLE;
const RW: Interest = R.add(W);

on_every_backend! {
    listener
    idle
    data
    fin
    reset
    refused
    udp_data
}

/// What an event says, of which a kqueue knows only its own direction's end.
pub(crate) fn said(
    backend: Backend,
    elsewhere: &'static str,
    by_a_kqueue: &'static str,
) -> &'static str {
    if backend == Backend::Kqueue { by_a_kqueue } else { elsewhere }
}

/// Registers the source, and expects this to be said of it as soon as all packets have arrived.
#[track_caller]
pub(crate) fn check(
    backend: Backend,
    source: &mut impl event::Source,
    interest: Interest,
    expected: &str,
) {
    let mut poll = poll(backend);
    poll.registry().register(source, Token(0), interest).unwrap();
    let start = Instant::now();
    let mut said = expect_one(&mut poll, 0);
    // Each system's poll(2) has flags of its own.
    if backend != Backend::Poll || LINUX {
        while said != expected && start.elapsed() < PATIENCE {
            poll.registry().reregister(source, Token(0), interest).unwrap();
            said = expect_one(&mut poll, 0);
        }
        assert_eq!(said, expected, "{interest:?}");
    }
    poll.registry().deregister(source).unwrap();
}

fn listener(backend: Backend) {
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut poll = poll(backend);
    poll.registry().register(&mut listener, Token(0), R).unwrap();
    expect_nothing(&mut poll);
    let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(expect_one(&mut poll, 0), "readable");
}

fn idle(backend: Backend) {
    let (_peer, mut stream) = tcp();
    check(backend, &mut stream, RW, "writable");
    check(backend, &mut stream, W, "writable");
    let mut poll = poll(backend);
    poll.registry().register(&mut stream, Token(0), R).unwrap();
    expect_nothing(&mut poll);
}

fn data(backend: Backend) {
    let (mut peer, mut stream) = tcp();
    peer.write_all(b"x").unwrap();
    check(backend, &mut stream, R, "readable");
    check(backend, &mut stream, RW, "readable writable");
    check(backend, &mut stream, W, "writable");
}

fn fin(backend: Backend) {
    for close in [false, true] {
        let (peer, mut stream) = tcp();
        peer.shutdown(Shutdown::Write).unwrap();
        let _peer = if close { None } else { Some(peer) };
        check(backend, &mut stream, R, "readable read_closed");
        check(backend, &mut stream, RW, "readable writable read_closed");
        check(backend, &mut stream, W, "writable");
    }
}

fn reset(backend: Backend) {
    let (peer, mut stream) = tcp();
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    check(backend, &mut stream, R, "readable error read_closed write_closed");
    check(backend, &mut stream, RW, "readable writable error read_closed write_closed");
    // Winsock keeps the error for the next call.
    if cfg!(unix) {
        assert!(stream.take_error().unwrap().is_some());
        let ended = said(backend, "readable read_closed write_closed", "readable read_closed");
        check(backend, &mut stream, R, ended);
    }
}

fn refused(backend: Backend) {
    let free = "127.0.0.1:1".parse().unwrap();
    let mut stream = match TcpStream::connect(free) {
        // Its loopback may be that quick.
        Err(error) if cfg!(target_os = "freebsd") => {
            return assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        stream => stream.unwrap(),
    };
    check(backend, &mut stream, RW, "readable writable error read_closed write_closed");
    let error = stream.take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

fn udp_data(backend: Backend) {
    let any = "127.0.0.1:0".parse().unwrap();
    let (mut socket, peer) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
    check(backend, &mut socket, RW, "writable");
    peer.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    check(backend, &mut socket, RW, "readable writable");
}
