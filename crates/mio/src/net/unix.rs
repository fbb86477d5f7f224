//! Unix sockets.

use std::borrow::Cow;
use std::io;
use std::net::Shutdown;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use anypoll::Interest;

use crate::io_source::{IoSource, readable, socket, writable};

/// Takes connections in.
pub struct UnixListener(IoSource<net::UnixListener>);

socket!(UnixListener(net::UnixListener));

impl UnixListener {
    /// Listens at a path, which must be free.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        Self::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Listens at an address: a path, or on Linux a name.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        let listener = net::UnixListener::bind_addr(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self::from_std(listener))
    }

    /// Takes one connection, non-blocking and close-on-exec, with the address of its other end.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none; the system's.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, peer) = self.0.run(Interest::READABLE, anypoll::net::accept_unix)?;
        Ok((UnixStream::from_std(stream), peer))
    }
}

/// A connection.
pub struct UnixStream(IoSource<net::UnixStream>);

socket!(UnixStream(net::UnixStream));
readable!(UnixStream);
writable!(UnixStream);

impl UnixStream {
    /// Connects to a listener at a path.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) on Linux if the listener's queue is full: try again
    /// later, there will be no event. The system's.
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        Self::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Connects to a listener at an address: a path, or on Linux a name.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        Ok(Self::from_std(anypoll::net::connect_unix(as_path(address))?))
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = net::UnixStream::pair()?;
        one.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        Ok((Self::from_std(one), Self::from_std(other)))
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().peer_addr()
    }

    /// Ends a direction, or both.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.get().shutdown(how)
    }
}

/// A socket for datagrams.
pub struct UnixDatagram(IoSource<net::UnixDatagram>);

socket!(UnixDatagram(net::UnixDatagram));

impl UnixDatagram {
    /// A socket at a path, which must be free.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        Self::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// A socket at an address: a path, or on Linux a name.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        Self::over(net::UnixDatagram::bind_addr(address)?)
    }

    /// A socket without an address.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn unbound() -> io::Result<UnixDatagram> {
        Self::over(net::UnixDatagram::unbound()?)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()?;
        Ok((Self::over(one)?, Self::over(other)?))
    }

    fn over(socket: net::UnixDatagram) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::from_std(socket))
    }

    /// From now on sends to the socket at `path`, and receives from there only.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.0.get().connect(path)
    }

    /// The address of the socket that this one is connected to.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().peer_addr()
    }

    /// Receives a datagram, and says where it came from.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none; the system's.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.run(Interest::READABLE, |socket| socket.recv_from(buf))
    }

    /// Receives a datagram.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none; the system's.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.run(Interest::READABLE, |socket| socket.recv(buf))
    }

    /// Sends a datagram to the socket at a path.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room; the system's.
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.0.run(Interest::WRITABLE, |socket| socket.send_to(buf, path))
    }

    /// Sends a datagram to the socket that this one is connected to.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room; the system's.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.run(Interest::WRITABLE, |socket| socket.send(buf))
    }

    /// Ends a direction, or both.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.get().shutdown(how)
    }
}

/// An address as a path; a name of Linux' abstract namespace is one that begins with a zero byte.
fn as_path(address: &SocketAddr) -> Cow<'_, Path> {
    if let Some(path) = address.as_pathname() {
        return path.into();
    }
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Some(name) = address.as_abstract_name() {
        let name = [b"\0", name].concat();
        let path: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(name);
        return Cow::Owned(path.into());
    }
    Path::new("").into()
}
