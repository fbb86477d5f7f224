//! How sockets and pipes are made: non-blocking, close-on-exec, and where they should be.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;

use mio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::pipe;
use mio::{Poll, Waker};
use socket2::SockRef;

use crate::support::{flags, is_nonblocking};

/// A path for a Unix socket, of which nothing is there.
pub(crate) fn free_path(name: &str, variant: impl std::fmt::Debug) -> PathBuf {
    let name = format!("mio-{}-{name}-{variant:?}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    path
}

fn is_close_on_exec(fd: &impl AsFd) -> bool {
    flags(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0
}

#[track_caller]
fn well_made(fd: &impl AsFd) {
    assert!(is_nonblocking(fd) && is_close_on_exec(fd));
}

#[test]
fn tcp() {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    well_made(&listener);
    assert!(SockRef::from(&listener).reuse_address().unwrap());
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    well_made(&client);
    let (server, peer) = listener.accept().unwrap();
    well_made(&server);
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
    client.set_nodelay(true).unwrap();
    assert!(client.nodelay().unwrap());
    client.set_ttl(9).unwrap();
    listener.set_ttl(8).unwrap();
    assert_eq!((client.ttl().unwrap(), listener.ttl().unwrap()), (9, 8));
    (&client).write_all(b"x").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(client.take_error().unwrap().is_none() && listener.take_error().unwrap().is_none());
}

#[test]
fn connecting_does_not_wait() {
    // An address that nobody answers from. Where there is no way there, that is known at once.
    match TcpStream::connect("192.0.2.1:9".parse().unwrap()) {
        Ok(stream) => assert_eq!(stream.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NetworkUnreachable),
    }
}

#[test]
fn udp() {
    let any = "127.0.0.1:0".parse().unwrap();
    let socket = UdpSocket::bind(any).unwrap();
    well_made(&socket);
    assert!(!SockRef::from(&socket).reuse_address().unwrap());
    socket.set_broadcast(true).unwrap();
    socket.set_multicast_loop_v4(false).unwrap();
    socket.set_multicast_ttl_v4(3).unwrap();
    socket.set_ttl(4).unwrap();
    assert!(socket.broadcast().unwrap() && !socket.multicast_loop_v4().unwrap());
    assert_eq!((socket.multicast_ttl_v4().unwrap(), socket.ttl().unwrap()), (3, 4));
    let (group, here) = (Ipv4Addr::new(224, 0, 0, 123), Ipv4Addr::LOCALHOST);
    socket.join_multicast_v4(&group, &here).unwrap();
    socket.leave_multicast_v4(&group, &here).unwrap();
    assert_eq!(socket.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    let peer = UdpSocket::bind(any).unwrap();
    socket.connect(peer.local_addr().unwrap()).unwrap();
    assert_eq!(socket.peer_addr().unwrap(), peer.local_addr().unwrap());
}

#[test]
fn udp_v6() {
    let Ok(socket) = UdpSocket::bind("[::1]:0".parse().unwrap()) else {
        eprintln!("no IPv6 here: nothing is tested");
        return;
    };
    // A socket that is bound to one address of IPv6 cannot be reached otherwise.
    assert!(socket.only_v6().unwrap());
    let any = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
    any.set_only_v6(false).unwrap();
    assert!(!UdpSocket::from_std(any.into()).only_v6().unwrap());
    socket.set_multicast_loop_v6(false).unwrap();
    assert!(!socket.multicast_loop_v6().unwrap());
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x123);
    if socket.join_multicast_v6(&group, 0).is_ok() {
        socket.leave_multicast_v6(&group, 0).unwrap();
    }
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

#[test]
fn conversions() {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (address, number) = (listener.local_addr().unwrap(), listener.as_raw_fd());
    let listener = std::net::TcpListener::from(listener);
    assert_eq!((listener.local_addr().unwrap(), listener.as_raw_fd()), (address, number));
    let owned = OwnedFd::from(TcpListener::from_std(listener));
    let raw = TcpListener::from(owned).into_raw_fd();
    assert_eq!(raw, number);
    // SAFETY: it was just given up.
    let listener = unsafe { TcpListener::from_raw_fd(raw) };
    assert_eq!(listener.local_addr().unwrap(), address);
}
