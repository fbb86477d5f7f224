//! Non-blocking sockets that can be registered.
//!
//! Each is the std type of the same name inside. Calls that would block answer
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock) instead; wait for an event and call again.
//!
//! A datagram is received whole or not at all: give a buffer that is large enough, since what does
//! not fit is lost (Unix) or an error (Windows).

mod tcp;
mod udp;
mod unix;

use std::io;

use socket2::{Domain, SockAddr, Socket, Type};

pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};

/// A socket that begins to connect to `address`, in two system calls where there is
/// `SOCK_NONBLOCK`.
fn connect(domain: Domain, address: &SockAddr) -> io::Result<Socket> {
    // The systems of socket2's `nonblocking`.
    #[cfg(any(
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "fuchsia",
        target_os = "illumos",
        target_os = "linux",
        target_os = "netbsd",
        target_os = "openbsd",
    ))]
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
    #[cfg(not(any(
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "fuchsia",
        target_os = "illumos",
        target_os = "linux",
        target_os = "netbsd",
        target_os = "openbsd",
    )))]
    let socket = {
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket
    };
    match socket.connect(address) {
        // A Unix listener with a full queue answers `WouldBlock` instead, and that is final.
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}
