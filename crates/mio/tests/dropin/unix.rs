//! What only Unix has: its sockets, pipes and descriptors, and events that only it shows.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;

use anypoll::Backend;
use mio::net::{UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::{SourceFd, pipe};
use mio::{Interest, Token};

use crate::edges::{
    drain, emptied, foreign_read, foreign_write, read, read_vectored, rearmed_by, write,
    write_vectored,
};
use crate::flags::{check, said};
use crate::sockets::well_made;
use crate::support::{
    LINUX, PATIENCE, expect_nothing, expect_one, is_nonblocking, on_every_backend, poll, tcp,
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

/// The peer of a Unix stream that was closed with something unread.
fn expect_closed_unread(mut peer: StdUnixStream) {
    let read = peer.read(&mut [0; 4]).map_err(|error| error.kind());
    assert_eq!(read, if LINUX { Err(ErrorKind::ConnectionReset) } else { Ok(0) });
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
    expect_closed_unread(peer);
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
    expect_closed_unread(peer);
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
    check(backend, &mut stream, RW, said(backend, "writable", "writable write_closed"));
    let (_peer, mut stream) = tcp();
    stream.shutdown(Shutdown::Read).unwrap();
    check(backend, &mut stream, R, "readable read_closed");
    stream.shutdown(Shutdown::Write).unwrap();
    check(backend, &mut stream, RW, "readable writable read_closed write_closed");
}

fn pipe_writer_gone(backend: Backend) {
    let (mut sender, mut receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    drop(sender);
    let ended = said(backend, "readable read_closed write_closed", "readable read_closed");
    check(backend, &mut receiver, R, ended);
    assert_eq!(receiver.read(&mut [0; 2]).unwrap(), 1);
    let empty = said(backend, "read_closed write_closed", "readable read_closed");
    check(backend, &mut receiver, R, empty);
    assert_eq!(receiver.read(&mut [0; 2]).unwrap(), 0);
}

fn pipe_reader_gone(backend: Backend) {
    let (mut sender, receiver) = pipe::new().unwrap();
    check(backend, &mut sender, W, "writable");
    drop(receiver);
    let broken = said(backend, "writable error write_closed", "writable write_closed");
    check(backend, &mut sender, W, broken);
    let (mut sender, receiver) = pipe::new().unwrap();
    while sender.write(&[0; 4096]).is_ok() {}
    drop(receiver);
    let full = said(backend, "error write_closed", "writable write_closed");
    check(backend, &mut sender, W, full);
}

fn udp_error(backend: Backend) {
    let any = "127.0.0.1:0".parse().unwrap();
    let mut socket = UdpSocket::bind(any).unwrap();
    let free = "127.0.0.1:1".parse().unwrap();
    socket.connect(free).unwrap();
    socket.send(b"x").unwrap();
    let error = said(backend, "writable error write_closed", "readable writable");
    check(backend, &mut socket, RW, error);
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
fn pairs_and_pipes() {
    let (one, other) = UnixStream::pair().unwrap();
    well_made(&one);
    well_made(&other);
    let (sender, receiver) = pipe::new().unwrap();
    well_made(&sender);
    well_made(&receiver);
    sender.set_nonblocking(false).unwrap();
    receiver.set_nonblocking(false).unwrap();
    assert!(!is_nonblocking(&sender) && !is_nonblocking(&receiver));
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
}
