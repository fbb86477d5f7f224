//! What a poll hands out, and what can be registered.

use std::iter::FusedIterator;
use std::{fmt, io, slice};

use anypoll::Conditions;

use crate::{Interest, Registry, Token};

/// A source that is ready.
///
/// Each method asks for one thing that the kernel said, as mio does:
///
/// | method | epoll's and poll(2)'s flags |
/// |---|---|
/// | [`is_readable`](Self::is_readable) | `IN` or `PRI` |
/// | [`is_writable`](Self::is_writable) | `OUT` |
/// | [`is_error`](Self::is_error) | `ERR` |
/// | [`is_read_closed`](Self::is_read_closed) | `HUP`, or `IN` with `RDHUP` |
/// | [`is_write_closed`](Self::is_write_closed) | `HUP`, or `OUT` with `ERR`, or `ERR` alone |
/// | [`is_priority`](Self::is_priority) | `PRI` |
///
/// With a kqueue the two ends are `EV_EOF` of the filter for their direction, and an error is one
/// that came with it.
///
/// So an end or an error may show in one of them alone: a pipe whose writer is gone is read-closed
/// and not readable. Look at them all, or read and write when any is set.
/// ([`anypoll::Event`] puts it the other way: there, readable means that a read would not block,
/// for whatever reason.)
///
/// An event is a hint. A call may find nothing to do all the same.
#[derive(Clone)]
#[repr(transparent)]
pub struct Event(anypoll::Event);

impl Event {
    fn view(event: &anypoll::Event) -> &Self {
        // SAFETY: `Event` is transparent over `anypoll::Event`, so a reference to one is a
        // reference to the other; the lifetime stays.
        unsafe { &*std::ptr::from_ref(event).cast() }
    }

    fn has(&self, conditions: Conditions) -> bool {
        self.0.conditions().intersects(conditions)
    }

    /// The token that the source was registered under.
    pub fn token(&self) -> Token {
        Token(self.0.token().0)
    }

    /// There is something to read, urgent data included.
    pub fn is_readable(&self) -> bool {
        self.has(Conditions::READ | Conditions::PRIORITY) && !self.is_aio() && !self.is_lio()
    }

    /// There is room to write.
    pub fn is_writable(&self) -> bool {
        self.has(Conditions::WRITE)
    }

    /// An error is pending; the next call fetches it.
    pub fn is_error(&self) -> bool {
        self.has(Conditions::ERROR)
    }

    /// The peer ended its direction, or this side stopped reading. What came before can be read.
    ///
    /// Not every system says so; none says so wrongly.
    pub fn is_read_closed(&self) -> bool {
        self.has(Conditions::HANG_UP)
            || self.has(Conditions::READ) && self.has(Conditions::READ_HANG_UP)
    }

    /// This side can write no more.
    ///
    /// Not every system says so.
    pub fn is_write_closed(&self) -> bool {
        self.has(Conditions::HANG_UP | Conditions::WRITE_HANG_UP)
            || self.has(Conditions::WRITE) && self.has(Conditions::ERROR)
            || self.0.conditions() == Conditions::ERROR
    }

    /// There is something exceptional (Linux and Android).
    pub fn is_priority(&self) -> bool {
        self.has(Conditions::PRIORITY)
    }

    /// An AIO operation has ended. Only some systems with kqueue say so.
    pub fn is_aio(&self) -> bool {
        ended(&self.0).0
    }

    /// A list of AIO operations has ended. Only FreeBSD says so.
    pub fn is_lio(&self) -> bool {
        ended(&self.0).1
    }
}

/// Whether an event is the end of an AIO operation, and of a list of them.
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
))]
fn ended(event: &anypoll::Event) -> (bool, bool) {
    use anypoll::os::kqueue::{Kind, details};

    let kind = details(event).kind;
    (kind == Kind::Aio, kind == Kind::Lio)
}

#[cfg(not(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
)))]
fn ended(_: &anypoll::Event) -> (bool, bool) {
    (false, false)
}

/// `{:#?}` also shows what the kernel said.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alternate = f.alternate();
        let mut event = f.debug_struct("Event");
        event
            .field("token", &self.token())
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("error", &self.is_error())
            .field("read_closed", &self.is_read_closed())
            .field("write_closed", &self.is_write_closed())
            .field("priority", &self.is_priority())
            .field("aio", &self.is_aio())
            .field("lio", &self.is_lio());
        if alternate {
            event.field("details", &self.0.conditions());
        }
        event.finish()
    }
}

/// A buffer of events, made once and filled by each [`Poll::poll`](crate::Poll::poll).
///
/// ```
/// use mio::{Events, Poll};
/// use std::time::Duration;
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(64);
/// poll.poll(&mut events, Some(Duration::ZERO))?;
/// for event in &events {
///     println!("{:?} is ready", event.token());
/// }
/// assert!(events.is_empty());
/// # std::io::Result::Ok(())
/// ```
pub struct Events(pub(crate) anypoll::Events);

impl Events {
    /// A buffer for at most `capacity` events a poll, which should be at least one.
    pub fn with_capacity(capacity: usize) -> Events {
        Events(anypoll::Events::with_capacity(capacity))
    }

    /// How many events one poll can bring.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Whether the last poll brought none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The events, in the order of the report.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.0.iter())
    }

    /// Forgets the events. [`Poll::poll`](crate::Poll::poll) does so itself.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// The events of a poll, in the order of the report.
#[derive(Debug, Clone)]
pub struct Iter<'a>(slice::Iter<'a, anypoll::Event>);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Event;

    fn next(&mut self) -> Option<&'a Event> {
        self.0.next().map(Event::view)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    fn count(self) -> usize {
        self.0.count()
    }

    fn nth(&mut self, n: usize) -> Option<&'a Event> {
        self.0.nth(n).map(Event::view)
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// What can be registered.
///
/// Programs call [`Registry`]'s methods, which call these. A type that is made of a source forwards
/// to it; one that has a descriptor forwards to a `unix::SourceFd`.
///
/// Take a source off its registry before it is dropped, if it is not certain that dropping it
/// closes the last descriptor of what it stands for.
///
/// ```
/// use mio::net::UdpSocket;
/// use mio::{Interest, Registry, Token, event};
/// use std::io;
///
/// struct Resolver {
///     socket: UdpSocket,
/// }
///
/// impl event::Source for Resolver {
///     fn register(&mut self, to: &Registry, token: Token, what: Interest) -> io::Result<()> {
///         self.socket.register(to, token, what)
///     }
///
///     fn reregister(&mut self, to: &Registry, token: Token, what: Interest) -> io::Result<()> {
///         self.socket.reregister(to, token, what)
///     }
///
///     fn deregister(&mut self, from: &Registry) -> io::Result<()> {
///         self.socket.deregister(from)
///     }
/// }
/// ```
pub trait Source {
    /// Begins to watch this source. Called by [`Registry::register`].
    ///
    /// # Errors
    ///
    /// See there.
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()>;

    /// Changes token and interest. Called by [`Registry::reregister`].
    ///
    /// # Errors
    ///
    /// See there.
    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()>;

    /// Ends the watching. Called by [`Registry::deregister`].
    ///
    /// # Errors
    ///
    /// See there.
    fn deregister(&mut self, registry: &Registry) -> io::Result<()>;
}

impl<T: Source + ?Sized> Source for Box<T> {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        (**self).register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        (**self).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        (**self).deregister(registry)
    }
}
