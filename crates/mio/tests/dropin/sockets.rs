//! How sockets and pipes are made: non-blocking, close-on-exec, and where they should be.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd as Owned, RawFd as Raw};
#[cfg(windows)]
use std::os::windows::io::{
    AsRawSocket, FromRawSocket, IntoRawSocket, OwnedSocket as Owned, RawSocket as Raw,
};

use mio::net::{TcpListener, TcpStream, UdpSocket};
use socket2::SockRef;

#[cfg(unix)]
use crate::support::{flags, is_nonblocking};

#[cfg(unix)]
pub(crate) fn is_close_on_exec(fd: &impl AsFd) -> bool {
    flags(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0
}

#[cfg(unix)]
#[track_caller]
pub(crate) fn well_made(fd: &impl AsFd) {
    assert!(is_nonblocking(fd) && is_close_on_exec(fd));
}

/// Non-blocking is seen in what calls answer.
#[cfg(windows)]
fn well_made(_: &impl std::os::windows::io::AsSocket) {}

#[test]
fn tcp() {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    well_made(&listener);
    assert_eq!(SockRef::from(&listener).reuse_address().unwrap(), cfg!(unix));
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

#[cfg(unix)]
const CONVERSIONS: Conversions =
    (|l| l.as_raw_fd(), TcpListener::into_raw_fd, TcpListener::from_raw_fd);
#[cfg(windows)]
const CONVERSIONS: Conversions =
    (|l| l.as_raw_socket(), TcpListener::into_raw_socket, TcpListener::from_raw_socket);
type Conversions = (fn(&TcpListener) -> Raw, fn(TcpListener) -> Raw, unsafe fn(Raw) -> TcpListener);

#[test]
fn conversions() {
    let (as_raw, into_raw, from_raw) = CONVERSIONS;
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (address, number) = (listener.local_addr().unwrap(), as_raw(&listener));
    let listener = std::net::TcpListener::from(listener);
    assert_eq!(listener.local_addr().unwrap(), address);
    let owned = Owned::from(TcpListener::from_std(listener));
    let raw = into_raw(TcpListener::from(owned));
    assert_eq!(raw, number);
    // SAFETY: it was just given up.
    let listener = unsafe { from_raw(raw) };
    assert_eq!(listener.local_addr().unwrap(), address);
}
