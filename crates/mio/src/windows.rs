//! What only Windows has.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};

use anypoll::os::windows;

use crate::event::Source;
use crate::io_source::{IoSource, any_direction};
use crate::{Interest, Registry, Token};

/// A named pipe, either end.
///
/// A server's end is made by [`new`](Self::new), a client's by
/// [`from_raw_handle`](FromRawHandle::from_raw_handle) of a handle that was opened with
/// `FILE_FLAG_OVERLAPPED`; it must not be tied to a completion port.
///
/// Whatever interest it is registered with, it is reported in both directions. A
/// [write](Write::write) that the peer does not take at once goes on by itself, and its end is a
/// writable event; the next one answers [`WouldBlock`](io::ErrorKind::WouldBlock) until then, and
/// returns its error if there was one. Dropping the pipe does not cancel it.
///
/// ```no_run
/// use mio::windows::NamedPipe;
/// use mio::{Events, Interest, Poll, Token};
/// use std::io::ErrorKind;
///
/// let mut poll = Poll::new()?;
/// let mut pipe = NamedPipe::new(r"\\.\pipe\printer")?;
/// poll.registry().register(&mut pipe, Token(0), Interest::READABLE | Interest::WRITABLE)?;
/// let mut events = Events::with_capacity(8);
/// while let Err(error) = pipe.connect() {
///     assert_eq!(error.kind(), ErrorKind::WouldBlock);
///     poll.poll(&mut events, None)?;
/// }
/// # std::io::Result::Ok(())
/// ```
pub struct NamedPipe(IoSource<windows::NamedPipe>);

impl NamedPipe {
    /// The server's end of a pipe at `addr`, which begins with `\\.\pipe\`, for one client: duplex,
    /// in byte mode. Any number of others may be made at the same name.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn new<A: AsRef<OsStr>>(addr: A) -> io::Result<NamedPipe> {
        Ok(Self(IoSource::new(windows::NamedPipe::new(addr)?)))
    }

    /// Lets a client connect. Of a server's end only.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) while there is none: a writable event comes when
    /// there is, or when it has failed and [`take_error`](Self::take_error) says why. The system's.
    pub fn connect(&self) -> io::Result<()> {
        self.0.run(anypoll::Interest::WRITABLE, windows::NamedPipe::connect)?;
        self.0.rearm(any_direction());
        Ok(())
    }

    /// Takes the connection from the client, so that another can [`connect`](Self::connect). Of a
    /// server's end only.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn disconnect(&self) -> io::Result<()> {
        self.0.get().disconnect()
    }

    /// Takes the error of a [`connect`](Self::connect) that was under way, if there is one.
    ///
    /// # Errors
    ///
    /// None: the result is mio's.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.get().take_error()
    }
}

impl Read for &NamedPipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.run(anypoll::Interest::READABLE, |mut pipe| pipe.read(buf))?;
        if count > 0 {
            self.0.rearm(anypoll::Interest::READABLE);
        }
        Ok(count)
    }
}

impl Write for &NamedPipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.0.run(anypoll::Interest::WRITABLE, |mut pipe| pipe.write(buf))?;
        self.0.rearm(anypoll::Interest::WRITABLE);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for NamedPipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for NamedPipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In both directions, whatever is asked for.
impl Source for NamedPipe {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.0.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.0.reregister(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.0.deregister(registry)
    }
}

impl FromRawHandle for NamedPipe {
    unsafe fn from_raw_handle(handle: RawHandle) -> Self {
        // SAFETY: what is asked of the caller is the same.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        Self(IoSource::new(handle.into()))
    }
}

impl AsRawHandle for NamedPipe {
    fn as_raw_handle(&self) -> RawHandle {
        self.0.get().as_raw_handle()
    }
}

impl fmt::Debug for NamedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
