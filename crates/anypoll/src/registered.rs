//! An object together with its registration.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Mutex;

use crate::event::Token;
use crate::interest::{Interest, Mode};
use crate::poller::Poller;
use crate::source::Source;
use crate::sync::unpoisoned;
use crate::sys;
use crate::trace::trace;

/// An object that a [`Poller`] watches, and the watching of it.
///
/// Dropping it ends the watching, then drops the object: once the drop has returned, no wait that
/// *starts* later reports the token. Events that were handed out before are the user's to ignore.
/// So a pointer in a token may be freed, with one waiting thread, before its next wait; with several,
/// or after a removal by another thread, when every wait that was running at the time of the removal
/// has returned and its events were looked at. [`Poller::interrupt`] or a wake makes one return: the
/// caller's own next one, if that is the first to see it. Where that is too much to keep account of,
/// an index with a generation serves as well.
///
/// There is no `Deref`, and nothing that would let the object be replaced:
/// [`get_ref`](Self::get_ref) reaches it, and it lends its descriptor, so another poller, rustix or
/// `socket2::SockRef` take a registration as they take the object. Where the object has them, `Read`
/// and `Write` are here too, for `Registered<S>` and for `&Registered<S>`. Two halves of one connection
/// share an `Arc<Registered<S>>` (std has no `Read` for an `Arc<S>`, so a `Registered<Arc<S>>` reads by
/// [`try_io`](Self::try_io) alone). `Box<Registered<dyn Source>>` holds any kind.
///
/// So protocol crates that ask for `Read` and `Write` (rustls' `StreamOwned`, tungstenite's `WebSocket`)
/// take it as it is. When they say `WouldBlock`, the object did: wait, and call again. A read may say it
/// of a write (TLS), and what they have read ahead causes no event. So ask for both directions, in
/// [`Mode::Edge`], and call until they say it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(feature = "net")] {
/// use std::io::ErrorKind;
/// use std::net::{TcpListener, TcpStream};
///
/// use anypoll::{Events, Interest, Mode, Poller, Token, net};
/// use tungstenite::{Error, HandshakeError};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let client = std::thread::spawn(move || {
///     let stream = TcpStream::connect(address).unwrap();
///     let (mut socket, _) = tungstenite::client("ws://localhost/", stream).unwrap();
///     socket.send("hello".into()).unwrap();
/// });
///
/// let poller = Poller::new()?;
/// let (stream, _) = net::accept(&listener)?;
/// let both = Interest::READABLE | Interest::WRITABLE;
/// let stream = poller.register(stream, Token(0), both, Mode::Edge)?;
/// let mut events = Events::default();
/// let mut handshake = tungstenite::accept(stream);
/// let mut socket = loop {
///     handshake = match handshake {
///         Ok(socket) => break socket,
///         Err(HandshakeError::Interrupted(begun)) => {
///             poller.wait(&mut events, None)?;
///             begun.handshake()
///         }
///         Err(HandshakeError::Failure(error)) => return Err(error.into()),
///     };
/// };
/// let message = loop {
///     match socket.read() {
///         Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
///             poller.wait(&mut events, None)?;
///         }
///         result => break result?,
///     }
/// };
/// assert_eq!(message.to_text()?, "hello");
/// # client.join().unwrap();
/// # }
/// # Ok(())
/// # }
/// ```
///
/// A duplicate of the object (`try_clone`) is not watched, but keeps it open: a listener that was
/// duplicated goes on listening after its registration was dropped.
///
/// Leaking one (`mem::forget`) leaks the watching too: for as long as the object stays open where the
/// kernel keeps the registrations, until the number is registered again, for another object, where a
/// table does (poll(2), event ports, Windows, and everywhere for what never blocks).
#[must_use = "dropping it ends the watching, and drops the object"]
pub struct Registered<S: Source + ?Sized> {
    poller: Poller,
    token: Token,
    interest: Mutex<Interest>,
    mode: Mode,
    /// Would-blocks are of importance to the backend.
    rearms: bool,
    source: S,
}

impl<S: Source> Registered<S> {
    pub(crate) fn new(
        poller: Poller,
        source: S,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Self {
        let rearms = mode == Mode::Edge && !poller.has_edges();
        Self { poller, token, interest: Mutex::new(interest), mode, rearms, source }
    }

    /// Ends the watching and gives the object back.
    pub fn into_inner(self) -> S {
        self.remove();
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither used again nor dropped, so each field leaves it once.
        let source = unsafe { ptr::read(&raw const this.source) };
        // SAFETY: as above.
        unsafe { ptr::drop_in_place(&raw mut this.poller) };
        // SAFETY: as above; a mutex owns memory on some systems, and the other fields own nothing.
        unsafe { ptr::drop_in_place(&raw mut this.interest) };
        source
    }
}

impl<S: Source + ?Sized> Registered<S> {
    /// The object. I/O through it is not seen by the registration: in [`Mode::Edge`], where the
    /// kernel has no edges, tell a would-block to [`rearm`](Self::rearm).
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// The poller that watches the object.
    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    /// The token that events of the object have.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The mode in which events are reported.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The directions that are asked for.
    pub fn interest(&self) -> Interest {
        *unpoisoned(self.interest.lock())
    }

    /// Asks for other directions, or for the same ones again.
    ///
    /// What is ready then is reported, also in [`Mode::Edge`]; [`Mode::Oneshot`] is armed anew. That
    /// takes a system call even if the directions are the same, so in [`Mode::Level`] ask
    /// [`interest`](Self::interest) before.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) as for [`Poller::register`];
    /// [`NotFound`](io::ErrorKind::NotFound) after a [`Poller::remove`]. The interest stays as it was.
    #[doc(alias = "reregister")]
    #[doc(alias = "modify")]
    pub fn set_interest(&self, interest: Interest) -> io::Result<()> {
        let handle = self.source.handle();
        trace!(handle = sys::raw(handle), token = self.token.0, ?interest, mode = ?self.mode, "change");
        let mut current = unpoisoned(self.interest.lock());
        self.poller.modify_handle(handle, self.token, interest, self.mode)?;
        *current = interest;
        Ok(())
    }

    /// Runs a call on the object, and re-arms [`Mode::Edge`] for `interest` if it would have
    /// blocked, or is a `connect` that goes on.
    ///
    /// For everything that is neither `Read` nor `Write`: `accept`, `recv_from`, `connect`. No lock
    /// is held meanwhile. Where the kernel has edges this costs one predictable branch.
    ///
    /// # Errors
    ///
    /// Those of the call.
    ///
    /// ```
    /// # use anypoll::{Interest, Mode, Poller, Token};
    /// # use std::net::UdpSocket;
    /// # let poller = Poller::new()?;
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_nonblocking(true)?;
    /// let socket = poller.register(socket, Token(0), Interest::READABLE, Mode::Edge)?;
    /// let mut buf = [0; 1500];
    /// let received = socket.try_io(Interest::READABLE, |s| s.recv_from(&mut buf));
    /// assert_eq!(received.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_io<T>(
        &self,
        interest: Interest,
        call: impl FnOnce(&S) -> io::Result<T>,
    ) -> io::Result<T> {
        self.seen(interest, call(&self.source))
    }

    /// Says that a call in these directions would have blocked, where that was seen elsewhere:
    /// inside C code, or as another error.
    ///
    /// Directions that are not of interest any more are left alone. Does nothing where the kernel
    /// has edges, and in other modes.
    ///
    /// # Errors
    ///
    /// The system's, on a failed change.
    pub fn rearm(&self, interest: Interest) -> io::Result<()> {
        if self.rearms { self.poller.rearm_handle(self.source.handle(), interest) } else { Ok(()) }
    }

    fn seen<T>(&self, interest: Interest, result: io::Result<T>) -> io::Result<T> {
        if self.rearms && result.as_ref().is_err_and(sys::would_block) {
            // The call's own result is what was asked for. A change that the kernel refuses is tried
            // again by the next wait, which says so.
            let _ = self.rearm(interest);
        }
        result
    }

    fn remove(&self) {
        // What is not there any more need not be removed.
        let _ = self.poller.remove_handle(self.source.handle());
    }
}

impl<S: Source + ?Sized> Drop for Registered<S> {
    fn drop(&mut self) {
        self.remove();
    }
}

impl<S: Read + Source + ?Sized> Read for Registered<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.source.read(buf);
        self.seen(Interest::READABLE, result)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let result = self.source.read_vectored(bufs);
        self.seen(Interest::READABLE, result)
    }
}

impl<S: Source + ?Sized> Read for &Registered<S>
where
    for<'a> &'a S: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_io(Interest::READABLE, |mut source| source.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.try_io(Interest::READABLE, |mut source| source.read_vectored(bufs))
    }
}

impl<S: Write + Source + ?Sized> Write for Registered<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let result = self.source.write(buf);
        self.seen(Interest::WRITABLE, result)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.source.write_vectored(bufs);
        self.seen(Interest::WRITABLE, result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.source.flush();
        self.seen(Interest::WRITABLE, result)
    }
}

impl<S: Source + ?Sized> Write for &Registered<S>
where
    for<'a> &'a S: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, |mut source| source.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, |mut source| source.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.try_io(Interest::WRITABLE, |mut source| source.flush())
    }
}

impl<S: Source + ?Sized> fmt::Debug for Registered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("token", &self.token)
            .field("interest", &self.interest())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// An object that could not be registered, and why.
///
/// Converts into [`io::Error`] for `?`, **which drops the object, and so closes it** if it was
/// owned.
pub struct RegisterError<S> {
    error: io::Error,
    source: S,
}

impl<S> RegisterError<S> {
    pub(crate) fn new(error: io::Error, source: S) -> Self {
        Self { error, source }
    }

    /// Why.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The object.
    pub fn into_inner(self) -> S {
        self.source
    }

    /// Both.
    pub fn into_parts(self) -> (io::Error, S) {
        (self.error, self.source)
    }
}

impl<S> From<RegisterError<S>> for io::Error {
    fn from(error: RegisterError<S>) -> Self {
        error.error
    }
}

impl<S> fmt::Debug for RegisterError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegisterError").field(&self.error).finish()
    }
}

impl<S> fmt::Display for RegisterError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<S> std::error::Error for RegisterError<S> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
