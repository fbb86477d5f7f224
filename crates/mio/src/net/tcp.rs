//! TCP.

use std::io;
use std::net::{self, Shutdown, SocketAddr};

use anypoll::Interest;

use crate::io_source::{IoSource, readable, socket, writable};

/// Takes connections in.
///
/// ```
/// use mio::net::TcpListener;
/// use mio::{Interest, Poll, Token};
///
/// let poll = Poll::new()?;
/// let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
/// poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
/// # std::io::Result::Ok(())
/// ```
pub struct TcpListener(IoSource<net::TcpListener>);

socket!(TcpListener(net::TcpListener));

impl TcpListener {
    /// Listens on an address, of which the port may be 0: any that is free. Not on Windows, an
    /// address that connections lately used can be taken again (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
        let listener = net::TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(Self::from_std(listener))
    }

    /// Takes one connection, non-blocking and close-on-exec, with the address of its other end.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none; the system's, which for some
    /// failed connections is theirs and no reason to stop.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.run(Interest::READABLE, anypoll::net::accept)?;
        Ok((TcpStream::from_std(stream), peer))
    }

    /// Sets the hop limit of the packets that are sent (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.get().set_ttl(ttl)
    }

    /// The hop limit, see [`set_ttl`](Self::set_ttl).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.get().ttl()
    }
}

/// A connection.
pub struct TcpStream(IoSource<net::TcpStream>);

socket!(TcpStream(net::TcpStream));
readable!(TcpStream);
writable!(TcpStream);

impl TcpStream {
    /// Begins to connect, and returns before it is done.
    ///
    /// Register the stream for writing. At its event, [`take_error`](Self::take_error) says why it
    /// failed, if it did; else [`peer_addr`](Self::peer_addr) answers once it is connected, and
    /// [`NotConnected`](io::ErrorKind::NotConnected) while it is under way.
    ///
    /// # Errors
    ///
    /// The system's, of what is known at once.
    ///
    /// ```
    /// use mio::net::TcpStream;
    /// use mio::{Events, Interest, Poll, Token};
    /// use std::io::ErrorKind;
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    ///
    /// let mut poll = Poll::new()?;
    /// poll.registry().register(&mut stream, Token(0), Interest::WRITABLE)?;
    /// let mut events = Events::with_capacity(8);
    /// loop {
    ///     poll.poll(&mut events, None)?;
    ///     if let Some(error) = stream.take_error()? {
    ///         return Err(error);
    ///     }
    ///     match stream.peer_addr() {
    ///         Ok(_) => break,
    ///         Err(error) if error.kind() == ErrorKind::NotConnected => continue,
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        Ok(Self::from_std(anypoll::net::connect(addr)?))
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected), not yet or not any more.
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

    /// Sends small writes at once, or gathers them (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// The system's. On some, a connection must be established.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.get().set_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.0.get().nodelay()
    }

    /// Sets the hop limit of the packets that are sent (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// The system's. On some, a connection must be established.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.get().set_ttl(ttl)
    }

    /// The hop limit, see [`set_ttl`](Self::set_ttl).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.get().ttl()
    }

    /// Reads without taking.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is nothing; the system's.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.run(Interest::READABLE, |stream| stream.peek(buf))
    }
}
