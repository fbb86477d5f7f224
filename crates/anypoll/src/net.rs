//! Beside `std::net`: calls that it lacks, giving its types (feature `net`).

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
// As everything here that std has on Unix alone.
#[cfg(unix)]
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
#[cfg(unix)]
use std::path::Path;

use socket2::{Domain, SockAddr, SockRef, Socket};

use crate::source::Source;
use crate::sys;

/// Starts a connection, and gives its stream, which is non-blocking and close-on-exec.
///
/// It is writable when that is over; [`connected`] then tells how it went. On some systems it is
/// over at once: register the stream, and ask when it is reported.
///
/// # Errors
///
/// Those of [connect(2)] that are known at once, such as
/// [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable); the system's: no descriptors left.
///
/// ```
/// use anypoll::{Events, Interest, Mode, Poller, Token, net};
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let poller = Poller::new()?;
/// let stream = net::connect(listener.local_addr()?)?;
/// let stream = poller.register(stream, Token(0), Interest::WRITABLE, Mode::Level)?;
///
/// let mut events = Events::default();
/// while !net::connected(&stream)? {
///     poller.wait(&mut events, None)?;
/// }
/// assert_eq!(stream.get_ref().peer_addr()?, listener.local_addr()?);
/// # std::io::Result::Ok(())
/// ```
///
/// [connect(2)]: https://man7.org/linux/man-pages/man2/connect.2.html
pub fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    Ok(start(sys::stream_socket(Domain::for_address(to))?, &to.into())?.into())
}

/// Like [`connect`], from an address of this machine, whose port may be 0: any.
///
/// # Errors
///
/// Those of [`connect`]; [`AddrInUse`](io::ErrorKind::AddrInUse) and
/// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) for the address of this machine.
pub fn connect_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = sys::stream_socket(Domain::for_address(to))?;
    socket.bind(&from.into())?;
    Ok(start(socket, &to.into())?.into())
}

/// Like [`connect`], to a Unix socket: the connection is there, or there is an error.
///
/// On Linux a path that begins with a zero byte is a name in the abstract namespace.
///
/// # Errors
///
/// Those of [connect(2)](https://man7.org/linux/man-pages/man2/connect.2.html).
/// [`WouldBlock`](io::ErrorKind::WouldBlock) (`EAGAIN`) is one of them: the listener's queue is
/// full, nothing was started and nothing tells when to try again.
/// [`InvalidInput`](io::ErrorKind::InvalidInput): a path with a zero byte in it, or one too long.
#[cfg(unix)]
pub fn connect_unix(to: impl AsRef<Path>) -> io::Result<UnixStream> {
    let to = to.as_ref();
    if to.as_os_str().as_encoded_bytes().first() != Some(&0) {
        // A zero byte within is an error to std; socket2 leaves it to the system, which ends there.
        unix::SocketAddr::from_pathname(to)?;
    }
    Ok(start(sys::stream_socket(Domain::UNIX)?, &SockAddr::unix(to)?)?.into())
}

fn start(socket: Socket, to: &SockAddr) -> io::Result<Socket> {
    match socket.connect(to) {
        Err(error) if !sys::is_connecting(&error) => Err(error),
        _ => Ok(socket),
    }
}

/// Whether a connection that was started is there: `false` while it is pending. Once it was `true`,
/// ask no more: of a connection that has ended since, it is an error.
///
/// # Errors
///
/// Why it failed, which the socket says once. From then on, and for a socket whose connection both
/// sides have ended or that was never to be connected (but for a listener, which is `false`),
/// [`NotConnected`](io::ErrorKind::NotConnected). (On Windows it may say it again, and `false` may
/// mean any of these; on other systems than Linux the last.)
pub fn connected(stream: &(impl Source + ?Sized)) -> io::Result<bool> {
    let handle = sys::socket(stream.handle())?;
    let socket = SockRef::from(&handle);
    let look = || match socket.take_error()? {
        Some(error) => Err(error),
        None => socket.peer_addr().map(drop),
    };
    match look() {
        // Where this is no longer pending, it may have ended since.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            if sys::is_pending(handle)? {
                return Ok(false);
            }
            look()?;
        }
        result => result?,
    }
    Ok(true)
}

/// Accepts a connection as a non-blocking, close-on-exec stream, in one system call where there is
/// `accept4`.
///
/// Of a registered listener, in [`Mode::Edge`](crate::Mode::Edge), accept by
/// `listener.try_io(Interest::READABLE, net::accept)`, so that its would-block is seen.
///
/// # Errors
///
/// Those of [accept(2)]: [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none left. Out of
/// descriptors (`EMFILE`, `ENFILE`), the connection stays in the queue and the listener readable,
/// so a loop over [`Mode::Level`](crate::Mode::Level) would spin: set the listener's interest to
/// [`Interest::NONE`](crate::Interest::NONE) until something was closed, or for a while, where others
/// may hold what is missing. [`InvalidInput`](io::ErrorKind::InvalidInput) if the peer has no IP address,
/// since the listener was made of a descriptor that is no TCP socket's.
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
    let (stream, peer) = sys::accept(&SockRef::from(listener))?;
    let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((stream.into(), peer))
}

/// Like [`accept`], from a Unix socket. Its peers rarely have a name.
///
/// # Errors
///
/// Those of [`accept`].
#[cfg(unix)]
pub fn accept_unix(listener: &UnixListener) -> io::Result<(UnixStream, unix::SocketAddr)> {
    let (stream, peer) = sys::accept(&SockRef::from(listener))?;
    let stream = UnixStream::from(stream);
    // The address without a name is that of an empty path. Of an abstract name, and of a path that
    // leaves no room for a zero byte after it, std makes none, but knows it when the kernel tells.
    let path = if peer.is_unnamed() { Some(Path::new("")) } else { peer.as_pathname() };
    let known = path.and_then(|path| unix::SocketAddr::from_pathname(path).ok());
    let peer = known.map_or_else(|| stream.peer_addr(), Ok)?;
    Ok((stream, peer))
}
