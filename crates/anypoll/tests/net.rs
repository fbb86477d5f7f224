//! Connections that are started, made, refused and accepted, on every backend.

#![cfg(any(unix, windows))]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

#[cfg(unix)]
use std::ffi::OsStr;
use std::io::{ErrorKind, Read};
#[cfg(unix)]
use std::net::Shutdown;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::fd::{AsFd, OwnedFd};
#[cfg(unix)]
use std::os::unix::{ffi::OsStrExt, net::UnixListener};

use anypoll::{Backend, Event, Interest, Mode, Token, net};
#[cfg(unix)]
use rustix::io::{FdFlags, fcntl_getfd};
#[cfg(unix)]
use socket2::SockAddr;
use socket2::{Domain, Socket, Type};

use support::{LINUX, on_every_backend, poller, wait_for};

on_every_backend! {
    #[cfg(target_os = "linux")] pending_then_done
    refused
    #[cfg(unix)] ended_by_both
    accepted
    from_an_address
    #[cfg(unix)] unix
}

fn any_port(ip: impl Into<std::net::IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), 0)
}

#[cfg(unix)]
fn assert_flags(mut stream: impl Read + AsFd) {
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(fcntl_getfd(stream).unwrap(), FdFlags::CLOEXEC);
}

#[cfg(windows)]
fn assert_flags(mut stream: impl Read) {
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// A listener whose queue has room for one connection, and that one.
#[cfg(unix)]
fn full(domain: Domain, address: &SockAddr) -> (Socket, Socket) {
    let listener = Socket::new(domain, Type::STREAM, None).unwrap();
    listener.bind(address).unwrap();
    listener.listen(0).unwrap();
    let first = Socket::new(domain, Type::STREAM, None).unwrap();
    first.connect(&listener.local_addr().unwrap()).unwrap();
    (listener, first)
}

/// Elsewhere a listener without room refuses, or answers all the same.
#[cfg(target_os = "linux")]
fn pending_then_done(backend: Backend) {
    let poller = poller(backend);
    let (listener, first) = full(Domain::IPV4, &any_port(Ipv4Addr::LOCALHOST).into());
    let listener: TcpListener = listener.into();
    let address = listener.local_addr().unwrap();
    let stream = net::connect(address).unwrap();
    let stream = poller.register(stream, Token(1), Interest::WRITABLE, Mode::Level).unwrap();
    assert!(!net::connected(&stream).unwrap());
    support::expect_nothing(&poller);
    // The kernel knocks again after a second.
    let (_, peer) = net::accept(&listener).unwrap();
    assert_eq!(peer, first.local_addr().unwrap().as_socket().unwrap());
    let seen = wait_for(&poller, &[1])[&Token(1)];
    assert!(Event::new(Token(1), seen).is_writable());
    assert!(net::connected(&stream).unwrap());
    assert!(net::connected(stream.get_ref()).unwrap());
    assert_eq!(stream.get_ref().peer_addr().unwrap(), address);
    assert_flags(stream.get_ref());
    let (accepted, peer) = net::accept(&listener).unwrap();
    assert_eq!(peer, stream.get_ref().local_addr().unwrap());
    assert_flags(&accepted);
    listener.set_nonblocking(true).unwrap();
    assert_eq!(net::accept(&listener).unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn refused(backend: Backend) {
    let poller = poller(backend);
    // Nobody listens, and nobody else can.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&any_port(Ipv4Addr::LOCALHOST).into()).unwrap();
    let address = bound.local_addr().unwrap().as_socket().unwrap();
    let stream = match net::connect(address) {
        // Its loopback may be that quick.
        Err(error) if cfg!(target_os = "freebsd") => {
            return assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        stream => stream.unwrap(),
    };
    let stream = poller.register(stream, Token(1), Interest::WRITABLE, Mode::Level).unwrap();
    let seen = Event::new(Token(1), wait_for(&poller, &[1])[&Token(1)]);
    // Not every system's poll(2) has a flag for it.
    assert!(seen.is_writable() && (seen.is_error() || backend == Backend::Poll && !LINUX));
    assert_eq!(net::connected(&stream).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // Winsock may keep the error.
    if cfg!(unix) {
        assert_eq!(net::connected(&stream).unwrap_err().kind(), ErrorKind::NotConnected);
    }
}

#[cfg(unix)]
fn ended_by_both(backend: Backend) {
    for ours_first in [true, false] {
        let poller = poller(backend);
        let listener = TcpListener::bind(any_port(Ipv4Addr::LOCALHOST)).unwrap();
        let stream = net::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = net::accept(&listener).unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        let stream = poller.register(stream, Token(1), both, Mode::Level).unwrap();
        let is_connected = |stream: &TcpStream| net::connected(stream).unwrap();
        let (first, second) =
            if ours_first { (stream.get_ref(), &peer) } else { (&peer, stream.get_ref()) };
        first.shutdown(Shutdown::Write).unwrap();
        assert!(is_connected(first) && is_connected(second));
        second.shutdown(Shutdown::Write).unwrap();
        let seen = || Event::new(Token(1), wait_for(&poller, &[1])[&Token(1)]);
        support::eventually(|| seen().is_read_closed() && seen().is_write_closed());
        // On FreeBSD once the last end is confirmed.
        support::eventually(|| {
            cfg!(not(target_os = "freebsd")) || net::connected(&stream).is_err()
        });
        assert_eq!(net::connected(&stream).unwrap_err().kind(), ErrorKind::NotConnected);
    }
}

fn accepted(backend: Backend) {
    let poller = poller(backend);
    let listener = TcpListener::bind(any_port(Ipv4Addr::LOCALHOST)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = poller.register(listener, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    for _ in 0..2 {
        let stream = net::connect(address).unwrap();
        wait_for(&poller, &[1]);
        let (accepted, peer) = listener.try_io(Interest::READABLE, net::accept).unwrap();
        assert_eq!(peer, stream.local_addr().unwrap());
        assert_flags(&accepted);
        let more = listener.try_io(Interest::READABLE, net::accept);
        assert_eq!(more.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

fn from_an_address(backend: Backend) {
    let poller = poller(backend);
    let listener = TcpListener::bind(any_port(Ipv4Addr::LOCALHOST)).unwrap();
    // Elsewhere the loopback has one address.
    let from = any_port(if LINUX { Ipv4Addr::new(127, 1, 2, 3) } else { Ipv4Addr::LOCALHOST });
    let stream = net::connect_from(from, listener.local_addr().unwrap()).unwrap();
    let stream = poller.register(stream, Token(1), Interest::WRITABLE, Mode::Edge).unwrap();
    wait_for(&poller, &[1]);
    assert!(net::connected(&stream).unwrap());
    let (_accepted, peer) = net::accept(&listener).unwrap();
    assert_eq!(peer.ip(), from.ip());
    assert_flags(stream.get_ref());
    let taken = net::connect_from(listener.local_addr().unwrap(), peer).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    let foreign = net::connect_from(any_port(Ipv4Addr::new(192, 0, 2, 1)), peer).unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
}

#[cfg(unix)]
fn unix(backend: Backend) {
    let poller = poller(backend);
    let path = std::env::temp_dir().join(format!("anypoll-{}-{backend:?}", std::process::id()));
    assert_eq!(net::connect_unix(&path).unwrap_err().kind(), ErrorKind::NotFound);
    let (listener, first) = full(Domain::UNIX, &SockAddr::unix(&path).unwrap());
    let listener: UnixListener = listener.into();

    if LINUX {
        assert_eq!(net::connect_unix(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    let (accepted, peer) = net::accept_unix(&listener).unwrap();
    assert_flags(&accepted);
    assert!(peer.is_unnamed());
    drop((accepted, first));

    let stream = net::connect_unix(&path).unwrap();
    assert!(net::connected(&stream).unwrap());
    assert_flags(&stream);
    let stream = poller.register(stream, Token(1), Interest::WRITABLE, Mode::Level).unwrap();
    wait_for(&poller, &[1]);
    listener.set_nonblocking(true).unwrap();
    net::accept_unix(&listener).unwrap();
    assert_eq!(net::accept_unix(&listener).unwrap_err().kind(), ErrorKind::WouldBlock);
    let _waiting = net::connect_unix(&path).unwrap();
    let listener = TcpListener::from(OwnedFd::from(listener));
    assert_eq!(net::accept(&listener).unwrap_err().kind(), ErrorKind::InvalidInput);
    let longer = [path.as_os_str().as_encoded_bytes(), b"\0/more"].concat();
    let cut_short = net::connect_unix(OsStr::from_bytes(&longer)).unwrap_err();
    assert_eq!(cut_short.kind(), ErrorKind::InvalidInput);
    drop((stream, listener));

    assert_eq!(net::connect_unix(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    std::fs::remove_file(&path).unwrap();
}

/// Not only what this module made can be asked.
#[test]
fn any_socket_is_asked() {
    let listener = TcpListener::bind(any_port(Ipv4Addr::LOCALHOST)).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(net::connected(&stream).unwrap());
    assert!(!net::connected(&listener).unwrap());
    #[cfg(target_os = "linux")]
    {
        let unused = net::connected(&Socket::new(Domain::IPV4, Type::STREAM, None).unwrap());
        assert_eq!(unused.unwrap_err().kind(), ErrorKind::NotConnected);
    }
    #[cfg(unix)]
    {
        let pipe = std::io::pipe().unwrap();
        assert_eq!(net::connected(&pipe.0).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}

/// One that leaves no room for the zero byte after it, which std cannot make but can hold.
#[cfg(target_os = "linux")]
#[test]
fn the_longest_name() {
    let directory = std::env::temp_dir().join(format!("anypoll-names-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("listener");
    let listener = UnixListener::bind(&path).unwrap();
    let client = rustix::net::socket_with(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let mut name = directory.join("n").into_os_string().into_string().unwrap();
    name.extend(std::iter::repeat_n('n', 108 - name.len()));
    let name_address = rustix::net::SocketAddrUnix::new(&name).unwrap();
    rustix::net::bind(&client, &name_address).unwrap();
    rustix::net::connect(&client, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    let (_, peer) = net::accept_unix(&listener).unwrap();
    assert_eq!(peer.as_pathname(), Some(name.as_ref()));
    std::fs::remove_dir_all(directory).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name() {
    let name = format!("\0anypoll-{}", std::process::id());
    let (listener, _first) = full(Domain::UNIX, &SockAddr::unix(&name).unwrap());
    let listener: UnixListener = listener.into();
    net::accept_unix(&listener).unwrap();
    assert!(net::connected(&net::connect_unix(&name).unwrap()).unwrap());
}
