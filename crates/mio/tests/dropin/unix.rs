//! What only Unix has: its sockets, pipes and descriptors, and events that only it shows.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdUnixStream};
use std::path::PathBuf;

use anypoll::Backend;
use mio::net::{UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::{SourceFd, pipe};
use mio::{Interest, Poll, Token, Waker};
use socket2::SockRef;

use crate::edges::{
    drain, emptied, foreign_read, foreign_write, read, read_vectored, rearmed_by, write,
    write_vectored,
};
use crate::flags::check;
use crate::sockets::{is_close_on_exec, well_made};
use crate::support::{
    PATIENCE, expect_nothing, expect_one, is_nonblocking, on_every_backend, poll, tcp,
};

const R: Interest = Interest::READABLE;
const W: Interest = Interest::WRITABLE;
const RW: Interest = R.add(W);

on_every_backend! {
    raw_descriptors
    files_are_refused
    conversions_end_nothing_else
    deregistered_behind_its_back
    peers_see_the_end
    own_shutdown
    urgent_data
    pipe_writer_gone
    pipe_reader_gone
    udp_error
    reading_methods
    accepting_methods
    writing_methods
}

fn raw_descriptors(backend: Backend) {
    let mut poll = poll(backend);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let fd = reader.as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), Token(1), R).unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(expect_one(&mut poll, 1), "readable");
    poll.registry().reregister(&mut SourceFd(&fd), Token(2), R).unwrap();
    assert_eq!(expect_one(&mut poll, 2), "readable");
    let error = poll.registry().register(&mut SourceFd(&fd), Token(3), R).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    poll.registry().deregister(&mut SourceFd(&fd)).unwrap();
    writer.write_all(b"x").unwrap();
    expect_nothing(&mut poll);
    assert_eq!(reader.read(&mut [0; 4]).unwrap(), 2);
    let error = poll.registry().deregister(&mut SourceFd(&fd)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = poll.registry().reregister(&mut SourceFd(&fd), Token(3), R).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(poll.registry().register(&mut SourceFd(&-1), Token(3), R).is_err());
    assert!(poll.registry().register(&mut SourceFd(&(1 << 30)), Token(3), R).is_err());
}

fn files_are_refused(backend: Backend) {
    let poll = poll(backend);
    let file = File::open("Cargo.toml").unwrap();
    let mut source = SourceFd(&file.as_raw_fd());
    let error = poll.registry().register(&mut source, Token(0), R).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_poll_in_a_poll() {
    let (mut outer, mut inner) = (Poll::new().unwrap(), Poll::new().unwrap());
    let waker = Waker::new(inner.registry(), Token(5)).unwrap();
    let fd = inner.as_raw_fd();
    outer.registry().register(&mut SourceFd(&fd), Token(1), R).unwrap();
    expect_nothing(&mut outer);
    waker.wake().unwrap();
    assert_eq!(expect_one(&mut outer, 1), "readable");
    assert_eq!(expect_one(&mut inner, 5), "readable");
    let (mut sender, mut receiver) = pipe::new().unwrap();
    inner.registry().register(&mut receiver, Token(6), R).unwrap();
    expect_nothing(&mut outer);
    sender.write_all(b"x").unwrap();
    assert_eq!(expect_one(&mut outer, 1), "readable");
    assert_eq!(expect_one(&mut inner, 6), "readable");
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

fn unix() -> (UnixStream, StdUnixStream) {
    let (one, other) = StdUnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    (UnixStream::from_std(one), other)
}

fn peers_see_the_end(backend: Backend) {
    let poll = poll(backend);
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
}

fn own_shutdown(backend: Backend) {
    let (_peer, mut stream) = tcp();
    stream.shutdown(Shutdown::Write).unwrap();
    check(backend, &mut stream, RW, "writable");
    let (_peer, mut stream) = tcp();
    stream.shutdown(Shutdown::Read).unwrap();
    check(backend, &mut stream, R, "readable read_closed");
    stream.shutdown(Shutdown::Write).unwrap();
    check(backend, &mut stream, RW, "readable writable read_closed write_closed");
}

fn urgent_data(backend: Backend) {
    let (peer, mut stream) = tcp();
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

/// A path for a Unix socket, of which nothing is there.
pub(crate) fn free_path(name: &str, variant: impl std::fmt::Debug) -> PathBuf {
    let name = format!("mio-{}-{name}-{variant:?}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn unix_at_a_path() {
    let path = free_path("stream", 0);
    let listener = UnixListener::bind(&path).unwrap();
    well_made(&listener);
    assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
    let client = UnixStream::connect(&path).unwrap();
    well_made(&client);
    assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
    let (server, peer) = listener.accept().unwrap();
    well_made(&server);
    assert!(peer.is_unnamed() && client.local_addr().unwrap().is_unnamed());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn unix_by_name() {
    let name = format!("mio-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let client = UnixStream::connect_addr(&address).unwrap();
    assert_eq!(client.peer_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
    assert!(listener.accept().unwrap().1.is_unnamed());

    // A client that has a name of its own.
    let own = SocketAddr::from_abstract_name(format!("{name}-own")).unwrap();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let as_path = |name: &str| socket2::SockAddr::unix(format!("\0{name}")).unwrap();
    socket.bind(&as_path(&format!("{name}-own"))).unwrap();
    socket.connect(&as_path(&name)).unwrap();
    let (_server, peer) = listener.accept().unwrap();
    assert_eq!(peer.as_abstract_name(), own.as_abstract_name());

    let _datagram = UnixDatagram::bind_addr(&own).unwrap();
    assert_eq!(UnixDatagram::bind_addr(&own).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_full_unix_queue_is_said_at_once() {
    let path = free_path("full", 0);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // The lowest limit there is.
    SockRef::from(&listener).listen(0).unwrap();
    let mut clients = Vec::new();
    let error = loop {
        match UnixStream::connect(&path) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(!clients.is_empty());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn datagrams() {
    let path = free_path("datagram", 0);
    let bound = UnixDatagram::bind(&path).unwrap();
    well_made(&bound);
    let unbound = UnixDatagram::unbound().unwrap();
    well_made(&unbound);
    assert_eq!(unbound.send_to(b"ab", &path).unwrap(), 2);
    let (count, from) = bound.recv_from(&mut [0; 8]).unwrap();
    assert!(count == 2 && from.is_unnamed());
    unbound.connect(&path).unwrap();
    assert_eq!(unbound.peer_addr().unwrap().as_pathname(), Some(&*path));
    std::fs::remove_file(&path).unwrap();
    let (one, other) = UnixDatagram::pair().unwrap();
    well_made(&one);
    well_made(&other);
    one.shutdown(Shutdown::Both).unwrap();
    assert!(one.take_error().unwrap().is_none());
}

#[test]
fn pairs_pipes_and_pollers() {
    let (one, other) = UnixStream::pair().unwrap();
    well_made(&one);
    well_made(&other);
    let (sender, receiver) = pipe::new().unwrap();
    well_made(&sender);
    well_made(&receiver);
    sender.set_nonblocking(false).unwrap();
    receiver.set_nonblocking(false).unwrap();
    assert!(!is_nonblocking(&sender) && !is_nonblocking(&receiver));
    let poll = Poll::new().unwrap();
    let _waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
    assert!(is_close_on_exec(poll.registry()));
    assert_eq!(poll.as_raw_fd(), poll.registry().as_raw_fd());
}

fn reading_methods(backend: Backend) {
    let (stream, mut peer) = UnixStream::pair().unwrap();
    rearmed_by(
        backend,
        stream,
        R,
        || peer.write_all(b"x").unwrap(),
        &[&|s: &UnixStream| read(s), &|s| read_vectored(s), &|s| s.try_io(|| foreign_read(s))],
    );

    let (mut sender, receiver) = pipe::new().unwrap();
    rearmed_by(
        backend,
        receiver,
        R,
        || sender.write_all(b"x").unwrap(),
        &[&|s: &pipe::Receiver| read(s), &|s| read_vectored(s), &|s| {
            s.try_io(|| Err(emptied(|| read(s), || read(s)).unwrap_err()))
        }],
    );

    let (socket, peer) = UnixDatagram::pair().unwrap();
    rearmed_by(
        backend,
        socket,
        R,
        || assert_eq!(peer.send(b"x").unwrap(), 1),
        &[
            &|s: &UnixDatagram| s.recv(&mut [0]).map(drop),
            &|s| s.recv_from(&mut [0]).map(drop),
            &|s| s.try_io(|| foreign_read(s)),
        ],
    );
}

fn accepting_methods(backend: Backend) {
    let path = free_path("accepting", backend);
    let listener = UnixListener::bind(&path).unwrap();
    let mut clients = Vec::new();
    let feed = || clients.push(UnixStream::connect(&path).unwrap());
    rearmed_by(
        backend,
        listener,
        Interest::READABLE,
        feed,
        &[&|l: &UnixListener| l.accept().map(drop)],
    );
    std::fs::remove_file(&path).unwrap();
}

fn writing_methods(backend: Backend) {
    let (stream, peer) = UnixStream::pair().unwrap();
    rearmed_by(
        backend,
        stream,
        W,
        || drain(&peer),
        &[&|s: &UnixStream| write(s), &|s| write_vectored(s), &|s| s.try_io(|| foreign_write(s))],
    );

    let (sender, receiver) = pipe::new().unwrap();
    rearmed_by(
        backend,
        sender,
        W,
        || drain(&receiver),
        &[&|s: &pipe::Sender| write(s), &|s| write_vectored(s)],
    );

    let (socket, peer) = UnixDatagram::pair().unwrap();
    let feed = || while peer.recv(&mut [0; 4096]).is_ok() {};
    rearmed_by(
        backend,
        socket,
        W,
        feed,
        &[&|s: &UnixDatagram| s.send(&[0; 4096]).map(drop), &|s| s.try_io(|| foreign_write(s))],
    );

    let path = free_path("writing", backend);
    let peer = UnixDatagram::bind(&path).unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(&path).unwrap();
    let feed = || while peer.recv(&mut [0; 4096]).is_ok() {};
    rearmed_by(
        backend,
        socket,
        W,
        feed,
        &[&|s: &UnixDatagram| s.send_to(&[0; 4096], &path).map(drop)],
    );
    std::fs::remove_file(&path).unwrap();
}
