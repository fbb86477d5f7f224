//! Edges: once when it becomes ready, and again after a would-block that any method has seen.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;

use anypoll::Backend;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Token, event};
use socket2::SockRef;

#[cfg(unix)]
use std::os::fd::AsFd as Handle;
#[cfg(windows)]
use std::os::windows::io::AsSocket as Handle;

use crate::support::{expect_nothing, expect_one, on_every_backend, pair, poll, tcp};

on_every_backend! {
    what_is_left_is_no_news
    reading_methods
    accepting_methods
    writing_methods
    a_read_arms_no_write
    try_io_passes_through
}

pub(crate) type Call<'a, S> = &'a dyn Fn(&S) -> io::Result<()>;

/// Has each call see a would-block, and expects the event that follows when `feed` makes the source
/// ready.
pub(crate) fn rearmed_by<S: event::Source>(
    backend: Backend,
    mut source: S,
    interest: Interest,
    mut feed: impl FnMut(),
    calls: &[Call<'_, S>],
) {
    let mut poll = poll(backend);
    poll.registry().register(&mut source, Token(0), interest).unwrap();
    for (i, call) in calls.iter().enumerate() {
        feed();
        expect_one(&mut poll, 0);
        // A kqueue takes each confirmation of what was sent for an edge.
        if backend != Backend::Kqueue || interest.is_readable() {
            expect_nothing(&mut poll);
        }
        let error = loop {
            match call(&source) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "call {i}");
    }
    feed();
    expect_one(&mut poll, 0);
}

fn what_is_left_is_no_news(backend: Backend) {
    let mut poll = poll(backend);
    let (mut sender, mut receiver) = pair();
    poll.registry().register(&mut receiver, Token(0), Interest::READABLE).unwrap();
    sender.write_all(b"ab").unwrap();
    assert_eq!(expect_one(&mut poll, 0), "readable");
    assert_eq!(receiver.read(&mut [0]).unwrap(), 1);
    // A FreeBSD pipe counts reading as activity at its own end, too.
    if cfg!(target_os = "freebsd") && backend == Backend::Kqueue {
        assert_eq!(expect_one(&mut poll, 0), "readable");
    }
    expect_nothing(&mut poll);
    poll.registry().reregister(&mut receiver, Token(1), Interest::READABLE).unwrap();
    assert_eq!(expect_one(&mut poll, 1), "readable");
}

pub(crate) fn read(mut source: impl Read) -> io::Result<()> {
    source.read(&mut [0; 64]).map(drop)
}

pub(crate) fn read_vectored(mut source: impl Read) -> io::Result<()> {
    source.read_vectored(&mut [IoSliceMut::new(&mut [0; 64])]).map(drop)
}

/// A call on the descriptor that the types have no method for.
pub(crate) fn foreign_read(source: &impl Handle) -> io::Result<()> {
    SockRef::from(source).recv(&mut [MaybeUninit::uninit(); 64]).map(drop)
}

/// Empties the source by other means, so that `call` sees nothing but the would-block.
pub(crate) fn emptied<T>(
    empty: impl Fn() -> io::Result<()>,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<()> {
    while empty().is_ok() {}
    call().map(drop)
}

fn reading_methods(backend: Backend) {
    const R: Interest = Interest::READABLE;
    let (mut peer, stream) = tcp();
    rearmed_by(
        backend,
        stream,
        R,
        || peer.write_all(b"x").unwrap(),
        &[
            &|s: &TcpStream| read(s),
            &|s| read_vectored(s),
            &|s| emptied(|| foreign_read(s), || s.peek(&mut [0])),
            &|s| s.try_io(|| foreign_read(s)),
        ],
    );

    let any = "127.0.0.1:0".parse().unwrap();
    let (socket, peer) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
    socket.connect(peer.local_addr().unwrap()).unwrap();
    peer.connect(socket.local_addr().unwrap()).unwrap();
    rearmed_by(
        backend,
        socket,
        R,
        || assert_eq!(peer.send(b"x").unwrap(), 1),
        &[
            &|s: &UdpSocket| s.recv(&mut [0]).map(drop),
            &|s| s.recv_from(&mut [0]).map(drop),
            &|s| emptied(|| foreign_read(s), || s.peek(&mut [0])),
            &|s| emptied(|| foreign_read(s), || s.peek_from(&mut [0])),
            &|s| s.try_io(|| foreign_read(s)),
        ],
    );
}

fn accepting_methods(backend: Backend) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    let feed = || clients.push(std::net::TcpStream::connect(address).unwrap());
    rearmed_by(
        backend,
        listener,
        Interest::READABLE,
        feed,
        &[&|l: &TcpListener| l.accept().map(drop)],
    );
}

pub(crate) fn write(mut sink: impl Write) -> io::Result<()> {
    sink.write(&[0; 4096]).map(drop)
}

pub(crate) fn write_vectored(mut sink: impl Write) -> io::Result<()> {
    sink.write_vectored(&[IoSlice::new(&[0; 4096])]).map(drop)
}

pub(crate) fn foreign_write(sink: &impl Handle) -> io::Result<()> {
    SockRef::from(sink).send(&[0; 4096]).map(drop)
}

pub(crate) fn drain(mut source: impl Read) {
    while source.read(&mut [0; 65536]).is_ok_and(|n| n > 0) {}
}

fn writing_methods(backend: Backend) {
    let (peer, stream) = tcp();
    peer.set_nonblocking(true).unwrap();
    rearmed_by(
        backend,
        stream,
        Interest::WRITABLE,
        || drain(&peer),
        &[&|s: &TcpStream| write(s), &|s| write_vectored(s), &|s| s.try_io(|| foreign_write(s))],
    );
}

fn a_read_arms_no_write(backend: Backend) {
    let mut poll = poll(backend);
    let (peer, mut stream) = tcp();
    poll.registry()
        .register(&mut stream, Token(0), Interest::READABLE | Interest::WRITABLE)
        .unwrap();
    assert_eq!(expect_one(&mut poll, 0), "writable");
    for _ in 0..3 {
        assert_eq!(read(&stream).unwrap_err().kind(), ErrorKind::WouldBlock);
        expect_nothing(&mut poll);
    }
    drop(peer);
    let said = expect_one(&mut poll, 0);
    assert!(said.contains("read_closed"), "{said}");
}

fn try_io_passes_through(backend: Backend) {
    let mut poll = poll(backend);
    let (_peer, mut stream) = tcp();
    poll.registry().register(&mut stream, Token(0), Interest::READABLE).unwrap();
    assert_eq!(stream.try_io(|| Ok(7)).unwrap(), 7);
    let error = stream.try_io::<_, ()>(|| Err(ErrorKind::Other.into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    let error = stream.try_io::<_, ()>(|| Err(ErrorKind::WouldBlock.into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    expect_nothing(&mut poll);
}
