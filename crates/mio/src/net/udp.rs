//! UDP.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};

use anypoll::Interest;
use socket2::SockRef;

use crate::io_source::{IoSource, socket};

/// A socket for datagrams.
///
/// ```
/// use mio::net::UdpSocket;
/// use mio::{Events, Interest, Poll, Token};
///
/// let sender = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// let mut receiver = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// let mut poll = Poll::new()?;
/// poll.registry().register(&mut receiver, Token(0), Interest::READABLE)?;
///
/// sender.send_to(b"hello", receiver.local_addr()?)?;
/// poll.poll(&mut Events::with_capacity(8), None)?;
/// let mut buf = [0; 1500];
/// assert_eq!(receiver.recv_from(&mut buf)?, (5, sender.local_addr()?));
/// # std::io::Result::Ok(())
/// ```
pub struct UdpSocket(IoSource<net::UdpSocket>);

socket!(UdpSocket(net::UdpSocket));

/// Where no errors are named they are the system's.
#[allow(clippy::missing_errors_doc, reason = "it is said once")]
impl UdpSocket {
    /// A socket on an address, of which the port may be 0: any that is free.
    pub fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
        let socket = net::UdpSocket::bind(addr)?;
        socket.set_nonblocking(true)?;
        Ok(Self::from_std(socket))
    }

    /// The address that this socket is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().peer_addr()
    }

    /// From now on sends to `addr` and receives from there only. Sends nothing itself.
    pub fn connect(&self, addr: SocketAddr) -> io::Result<()> {
        self.0.get().connect(addr)
    }

    /// Sends a datagram to an address.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room; the system's, of which one
    /// may be about an earlier datagram.
    pub fn send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.0.run(Interest::WRITABLE, |socket| socket.send_to(buf, target))
    }

    /// Sends a datagram to the address that this socket is connected to.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to).
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.run(Interest::WRITABLE, |socket| socket.send(buf))
    }

    /// Receives a datagram, and says where it came from.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none; the system's, of which one may
    /// be about a datagram that was sent.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.run(Interest::READABLE, |socket| socket.recv_from(buf))
    }

    /// Like [`recv_from`](Self::recv_from), but leaves the datagram there.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.run(Interest::READABLE, |socket| socket.peek_from(buf))
    }

    /// Receives a datagram from the address that this socket is connected to.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.run(Interest::READABLE, |socket| socket.recv(buf))
    }

    /// Like [`recv`](Self::recv), but leaves the datagram there.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.run(Interest::READABLE, |socket| socket.peek(buf))
    }

    /// Allows to send to a broadcast address (`SO_BROADCAST`).
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.0.get().set_broadcast(on)
    }

    /// Whether sending to a broadcast address is allowed.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.0.get().broadcast()
    }

    /// Whether this machine too gets what is sent to a group (`IP_MULTICAST_LOOP`).
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.0.get().set_multicast_loop_v4(on)
    }

    /// See [`set_multicast_loop_v4`](Self::set_multicast_loop_v4).
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.0.get().multicast_loop_v4()
    }

    /// The hop limit of what is sent to a group (`IP_MULTICAST_TTL`).
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.0.get().set_multicast_ttl_v4(ttl)
    }

    /// See [`set_multicast_ttl_v4`](Self::set_multicast_ttl_v4).
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.0.get().multicast_ttl_v4()
    }

    /// Whether this machine too gets what is sent to a group (`IPV6_MULTICAST_LOOP`).
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.0.get().set_multicast_loop_v6(on)
    }

    /// See [`set_multicast_loop_v6`](Self::set_multicast_loop_v6).
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.0.get().multicast_loop_v6()
    }

    /// Sets the hop limit of the packets that are sent (`IP_TTL`).
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.get().set_ttl(ttl)
    }

    /// The hop limit, see [`set_ttl`](Self::set_ttl).
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.get().ttl()
    }

    /// Joins a group on an interface, which is named by its address; 0.0.0.0 for any.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.0.get().join_multicast_v4(multiaddr, interface)
    }

    /// Joins a group on an interface, which is named by its index; 0 for any.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.0.get().join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a group, see [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.0.get().leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a group, see [`join_multicast_v6`](Self::join_multicast_v6).
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.0.get().leave_multicast_v6(multiaddr, interface)
    }

    /// Whether an IPv6 socket serves IPv6 alone (`IPV6_V6ONLY`).
    pub fn only_v6(&self) -> io::Result<bool> {
        SockRef::from(self.0.get()).only_v6()
    }
}
