//! What an event says in each situation.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::time::{Duration, Instant};

use anypoll::Backend;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::unix::pipe;
use mio::{Interest, Token, event};
use socket2::SockRef;

use crate::support::{PATIENCE, expect_nothing, expect_one, on_every_backend, poll};

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
    own_shutdown
    urgent_data
    pipe_writer_gone
    pipe_reader_gone
    udp_data
    udp_error
}

fn connected() -> (TcpStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let stream = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    (TcpStream::from_std(stream), listener.accept().unwrap().0)
}

/// Registers the source, and expects this to be said of it as soon as all packets have arrived.
#[track_caller]
fn check(backend: Backend, source: &mut impl event::Source, interest: Interest, expected: &str) {
    let mut poll = poll(backend);
    poll.registry().register(source, Token(0), interest).unwrap();
    let start = Instant::now();
    let mut said = expect_one(&mut poll, 0);
    while said != expected && start.elapsed() < PATIENCE {
        poll.registry().reregister(source, Token(0), interest).unwrap();
        said = expect_one(&mut poll, 0);
    }
    assert_eq!(said, expected, "{interest:?}");
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
    let (mut stream, _peer) = connected();
    check(backend, &mut stream, RW, "writable");
    check(backend, &mut stream, W, "writable");
    let mut poll = poll(backend);
    poll.registry().register(&mut stream, Token(0), R).unwrap();
    expect_nothing(&mut poll);
}

fn data(backend: Backend) {
    let (mut stream, mut peer) = connected();
    peer.write_all(b"x").unwrap();
    check(backend, &mut stream, R, "readable");
    check(backend, &mut stream, RW, "readable writable");
    check(backend, &mut stream, W, "writable");
}

fn fin(backend: Backend) {
    for close in [false, true] {
        let (mut stream, peer) = connected();
        peer.shutdown(Shutdown::Write).unwrap();
        let _peer = if close { None } else { Some(peer) };
        check(backend, &mut stream, R, "readable read_closed");
        check(backend, &mut stream, RW, "readable writable read_closed");
        check(backend, &mut stream, W, "writable");
    }
}

fn reset(backend: Backend) {
    let (mut stream, peer) = connected();
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    check(backend, &mut stream, R, "readable error read_closed write_closed");
    check(backend, &mut stream, RW, "readable writable error read_closed write_closed");
    assert!(stream.take_error().unwrap().is_some());
    check(backend, &mut stream, R, "readable read_closed write_closed");
}

fn refused(backend: Backend) {
    let free = "127.0.0.1:1".parse().unwrap();
    let mut stream = TcpStream::connect(free).unwrap();
    check(backend, &mut stream, RW, "readable writable error read_closed write_closed");
    let error = stream.take_error().unwrap().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

fn own_shutdown(backend: Backend) {
    let (mut stream, _peer) = connected();
    stream.shutdown(Shutdown::Write).unwrap();
    check(backend, &mut stream, RW, "writable");
    let (mut stream, _peer) = connected();
    stream.shutdown(Shutdown::Read).unwrap();
    check(backend, &mut stream, R, "readable read_closed");
    stream.shutdown(Shutdown::Write).unwrap();
    check(backend, &mut stream, RW, "readable writable read_closed write_closed");
}

fn urgent_data(backend: Backend) {
    let (mut stream, peer) = connected();
    SockRef::from(&peer).send_out_of_band(b"!").unwrap();
    check(backend, &mut stream, Interest::PRIORITY, "readable priority");
    check(backend, &mut stream, W | Interest::PRIORITY, "readable writable priority");
}

fn pipe_writer_gone(backend: Backend) {
    let (mut sender, mut receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    drop(sender);
    check(backend, &mut receiver, R, "readable read_closed write_closed");
    assert_eq!(receiver.read(&mut [0; 2]).unwrap(), 1);
    check(backend, &mut receiver, R, "read_closed write_closed");
    assert_eq!(receiver.read(&mut [0; 2]).unwrap(), 0);
}

fn pipe_reader_gone(backend: Backend) {
    let (mut sender, receiver) = pipe::new().unwrap();
    check(backend, &mut sender, W, "writable");
    drop(receiver);
    check(backend, &mut sender, W, "writable error write_closed");
    let (mut sender, receiver) = pipe::new().unwrap();
    while sender.write(&[0; 4096]).is_ok() {}
    drop(receiver);
    check(backend, &mut sender, W, "error write_closed");
}

fn udp_data(backend: Backend) {
    let any = "127.0.0.1:0".parse().unwrap();
    let (mut socket, peer) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
    check(backend, &mut socket, RW, "writable");
    peer.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    check(backend, &mut socket, RW, "readable writable");
}

fn udp_error(backend: Backend) {
    let any = "127.0.0.1:0".parse().unwrap();
    let mut socket = UdpSocket::bind(any).unwrap();
    let free = "127.0.0.1:1".parse().unwrap();
    socket.connect(free).unwrap();
    socket.send(b"x").unwrap();
    check(backend, &mut socket, RW, "writable error write_closed");
    assert!(socket.take_error().unwrap().is_some());
    check(backend, &mut socket, RW, "writable");
}
