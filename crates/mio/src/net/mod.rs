//! Non-blocking sockets that can be registered.
//!
//! Each is the std type of the same name inside. Calls that would block answer
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock) instead; wait for an event and call again.
//!
//! A datagram is received whole or not at all: give a buffer that is large enough, since what does
//! not fit is lost (Unix) or an error (Windows).

mod tcp;
mod udp;
#[cfg(unix)]
mod unix;

pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
#[cfg(unix)]
pub use unix::{UnixDatagram, UnixListener, UnixStream};
