//! Beside `std::net`: calls that it lacks, giving its types (feature `net`).

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::SockRef;

/// Accepts a connection as a non-blocking stream, in one system call where there is `accept4`.
///
/// # Errors
///
/// Those of [accept(2)]: [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none left. Out of
/// descriptors (`EMFILE`, `ENFILE`), the connection stays in the queue and the listener readable.
///
/// ```
/// use anypoll::net;
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let (stream, peer) = net::accept(&listener)?;
/// assert_eq!(peer, client.local_addr()?);
/// let read = std::io::Read::read(&mut &stream, &mut [0]);
/// assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
/// # std::io::Result::Ok(())
/// ```
///
/// [accept(2)]: https://man7.org/linux/man-pages/man2/accept.2.html
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let listener = SockRef::from(listener);
    // The systems of socket2's `accept4`.
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
    let (stream, peer) = listener.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
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
    let (stream, peer) = {
        let (stream, peer) = listener.accept()?;
        stream.set_nonblocking(true)?;
        (stream, peer)
    };
    let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok((stream.into(), peer))
}
