//! What a wait hands out.
//!
//! An [`Event`] is the kernel's own record and is decoded when it is asked, by the one set of rules
//! below. A backend says only which [`Conditions`] its record holds.

use std::fmt;
use std::ops::BitOr;
use std::slice;

use crate::backend::{KernelRecord, Record};
use crate::interest::{Interest, fmt_set};
use crate::readiness;

/// The name under which an object was registered, and by which its events are told apart.
///
/// Any value is the user's: an index, a pointer ([`Registered`](crate::Registered) says when it may
/// be freed), [`usize::MAX`]. One value, on 64-bit Linux and Android alone ([`Token::RESERVED`]), is
/// refused by registrations, of whichever backend, with
/// [`InvalidInput`](std::io::ErrorKind::InvalidInput).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub usize);

impl Token {
    /// The one value that cannot be registered, where there is one (64-bit Linux and Android);
    /// wakers may have it.
    pub const RESERVED: Option<Self> = Record::RESERVED;
}

/// The raw conditions of an event, in poll(2)'s terms: what the kernel said, before
/// [`Event`]'s methods make sense of it.
///
/// For wrappers that have their own view of what a flag means, and for tests.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conditions(u32);

impl Conditions {
    /// Nothing in particular, as of an event of one's own making.
    pub const NONE: Self = Self(0);
    /// There is something to read (`POLLIN`).
    pub const READ: Self = Self(0x1);
    /// There is something exceptional (`POLLPRI`).
    pub const PRIORITY: Self = Self(0x2);
    /// There is room to write (`POLLOUT`).
    pub const WRITE: Self = Self(0x4);
    /// An error is pending, or nobody reads the other end of this pipe (`POLLERR`).
    pub const ERROR: Self = Self(0x8);
    /// Both directions are closed (`POLLHUP`).
    pub const HANG_UP: Self = Self(0x10);
    /// The peer will send no more (`POLLRDHUP`).
    pub const READ_HANG_UP: Self = Self(0x2000);
    /// Our direction is closed, whatever the other is (kqueue: `EV_EOF` of `EVFILT_WRITE`).
    pub const WRITE_HANG_UP: Self = Self(0x4000);

    const NAMES: [(Self, &str); 7] = [
        (Self::READ, "READ"),
        (Self::PRIORITY, "PRIORITY"),
        (Self::WRITE, "WRITE"),
        (Self::ERROR, "ERROR"),
        (Self::HANG_UP, "HANG_UP"),
        (Self::READ_HANG_UP, "READ_HANG_UP"),
        (Self::WRITE_HANG_UP, "WRITE_HANG_UP"),
    ];

    /// What readiness in these directions may look like.
    pub(crate) fn of(interest: Interest) -> Self {
        let mut conditions = Self::NONE;
        if interest.contains(Interest::READABLE) {
            conditions = conditions | Self::READ | Self::READ_HANG_UP;
        }
        if interest.contains(Interest::WRITABLE) {
            conditions = conditions | Self::WRITE;
        }
        if interest.contains(Interest::PRIORITY) {
            conditions = conditions | Self::PRIORITY;
        }
        conditions
    }

    #[allow(dead_code, reason = "not every kernel has these bits")]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The conditions as poll(2)'s bits on Linux, whatever the system is (`WRITE_HANG_UP`, which
    /// Linux lacks, is 0x4000).
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether any of `other` holds.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What both have.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Conditions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_set(
            f,
            Self::NAMES.iter().filter(|(bit, _)| self.intersects(*bit)).map(|(_, name)| *name),
        )
    }
}

/// One object that can be used now.
///
/// An event is a hint about the moment when the kernel wrote it: another thread may have taken the
/// data since.
///
/// # What shows when
///
/// Each situation with an interest in every direction: what the methods say, and the raw
/// [`Conditions`] behind it. A narrower interest shows less: `READ` and `READ_HANG_UP` come with
/// [`Interest::READABLE`], `WRITE` with [`Interest::WRITABLE`], `PRIORITY` with
/// [`Interest::PRIORITY`]; `ERROR` and `HANG_UP` come always, with [`Interest::NONE`] too. So a
/// half-close is seen by who asks for readability, and the end of a pipe by anybody. The modes
/// differ in when an event comes, not in what the first one shows.
///
/// A stream is a TCP or a Unix stream, a listener and a datagram socket likewise; a FIFO is a pipe.
///
/// | situation                                  | readable | writable | priority | read closed | write closed | error | Epoll, Poll                           |
/// | ------------------------------------------ | -------- | -------- | -------- | ----------- | ------------ | ----- | ------------------------------------- |
/// | stream: open                               |          | yes      |          |             |              |       | WRITE                                 |
/// | stream: data                               | yes      | yes      |          |             |              |       | READ WRITE                            |
/// | stream: peer's `shutdown(Write)`           | yes      | yes      |          | yes         |              |       | READ WRITE READ_HANG_UP               |
/// | stream: own `shutdown(Read)`               | yes      | yes      |          | yes         |              |       | READ WRITE READ_HANG_UP               |
/// | stream: own `shutdown(Write)`              |          | yes      |          |             |              |       | WRITE                                 |
/// | stream: own `shutdown(Both)`               | yes      | yes      |          | yes         | yes          |       | READ WRITE HANG_UP READ_HANG_UP       |
/// | stream: `shutdown(Write)` on both sides    | yes      | yes      |          | yes         | yes          |       | READ WRITE HANG_UP READ_HANG_UP       |
/// | TCP: peer closed                           | yes      | yes      |          | yes         |              |       | READ WRITE READ_HANG_UP               |
/// | TCP: peer closed without reading           | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP READ_HANG_UP |
/// | TCP: reset by peer                         | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP READ_HANG_UP |
/// | TCP: urgent data                           |          | yes      | yes      |             |              |       | PRIORITY WRITE                        |
/// | TCP: before `connect`                      | yes      | yes      |          | yes         | yes          |       | WRITE HANG_UP                         |
/// | TCP: connecting                            |          |          |          |             |              |       |                                       |
/// | TCP: connected                             |          | yes      |          |             |              |       | WRITE                                 |
/// | TCP: connect refused                       | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP READ_HANG_UP |
/// | listener: nobody                           |          |          |          |             |              |       |                                       |
/// | listener: a connection                     | yes      |          |          |             |              |       | READ                                  |
/// | datagram: open                             |          | yes      |          |             |              |       | WRITE                                 |
/// | datagram: data                             | yes      | yes      |          |             |              |       | READ WRITE                            |
/// | UDP: ICMP error                            | yes      | yes      |          |             |              | yes   | WRITE ERROR                           |
/// | stream: no room to write                   |          |          |          |             |              |       |                                       |
/// | Unix stream: peer closed                   | yes      | yes      |          | yes         | yes          |       | READ WRITE HANG_UP READ_HANG_UP       |
/// | Unix stream: own `shutdown(Both)`, no room | yes      | yes      |          | yes         | yes          |       | READ HANG_UP READ_HANG_UP             |
/// | Unix stream: peer closed without reading   | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP READ_HANG_UP |
/// | Unix datagram: peer's queue full           |          |          |          |             |              |       |                                       |
/// | Unix datagram: peer closed                 |          | yes      |          |             |              |       | WRITE                                 |
/// | pipe, reader: empty                        |          |          |          |             |              |       |                                       |
/// | pipe, reader: data                         | yes      |          |          |             |              |       | READ                                  |
/// | pipe, reader: writer gone, data left       | yes      | yes      |          | yes         | yes          |       | READ HANG_UP                          |
/// | pipe, reader: writer gone                  | yes      | yes      |          | yes         | yes          |       | HANG_UP                               |
/// | pipe, writer: room                         |          | yes      |          |             |              |       | WRITE                                 |
/// | pipe, writer: full                         |          |          |          |             |              |       |                                       |
/// | pipe, writer: reader gone                  | yes      | yes      |          |             |              | yes   | WRITE ERROR                           |
/// | pipe, writer: reader gone, full            | yes      | yes      |          |             |              | yes   | ERROR                                 |
/// | pty, either end: open                      |          | yes      |          |             |              |       | WRITE                                 |
/// | pty, either end: data                      | yes      | yes      |          |             |              |       | READ WRITE                            |
/// | pty, master: slave hung up, data left      | yes      | yes      |          | yes         | yes          |       | READ WRITE HANG_UP                    |
/// | pty, master: slave hung up                 | yes      | yes      |          | yes         | yes          |       | WRITE HANG_UP                         |
/// | pty, slave: master gone                    | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP              |
/// | eventfd: 0                                 |          | yes      |          |             |              |       | WRITE                                 |
/// | eventfd: 1                                 | yes      | yes      |          |             |              |       | READ WRITE                            |
/// | regular file                               | yes      | yes      |          |             |              |       | READ WRITE                            |
///
/// On Windows, as seen under Wine 8, one's own `shutdown` shows nothing, nor does the error of a
/// datagram socket, unless it comes while the socket is being asked about (then all of `READ ERROR
/// HANG_UP READ_HANG_UP` are shown); the next call tells.
///
/// | situation                                  | readable | writable | priority | read closed | write closed | error | Afd                                   |
/// | ------------------------------------------ | -------- | -------- | -------- | ----------- | ------------ | ----- | ------------------------------------- |
/// | stream: open                               |          | yes      |          |             |              |       | WRITE                                 |
/// | stream: data                               | yes      | yes      |          |             |              |       | READ WRITE                            |
/// | stream: peer's `shutdown(Write)`           | yes      | yes      |          | yes         |              |       | READ WRITE READ_HANG_UP               |
/// | stream: own `shutdown(Read)`               |          | yes      |          |             |              |       | WRITE                                 |
/// | stream: own `shutdown(Write)`              |          | yes      |          |             |              |       | WRITE                                 |
/// | stream: own `shutdown(Both)`               |          | yes      |          |             |              |       | WRITE                                 |
/// | stream: `shutdown(Write)` on both sides    | yes      | yes      |          | yes         |              |       | READ WRITE READ_HANG_UP               |
/// | TCP: peer closed                           | yes      | yes      |          | yes         |              |       | READ WRITE READ_HANG_UP               |
/// | TCP: peer closed without reading           | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP READ_HANG_UP |
/// | TCP: reset by peer                         | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP READ_HANG_UP |
/// | TCP: urgent data                           |          | yes      | yes      |             |              |       | PRIORITY WRITE                        |
/// | TCP: before `connect`                      |          |          |          |             |              |       |                                       |
/// | TCP: connecting                            |          |          |          |             |              |       |                                       |
/// | TCP: connected                             |          | yes      |          |             |              |       | WRITE                                 |
/// | TCP: connect refused                       | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP READ_HANG_UP |
/// | listener: nobody                           |          |          |          |             |              |       |                                       |
/// | listener: a connection                     | yes      |          |          |             |              |       | READ                                  |
/// | datagram: open                             |          | yes      |          |             |              |       | WRITE                                 |
/// | datagram: data                             | yes      | yes      |          |             |              |       | READ WRITE                            |
/// | UDP: ICMP error                            |          | yes      |          |             |              |       | WRITE                                 |
///
/// A kqueue has a filter for each direction, and its end is that direction's: with
/// [`Interest::NONE`] nothing shows, `ERROR` and `HANG_UP` come with either direction, and of a pipe
/// only its own is asked for here, since some systems' have another. This table is by the manuals, and
/// was seen to hold on FreeBSD 15, but for a refused `connect`: its loopback may refuse before that
/// returns, which takes the error with it. Where the systems disagree there is no row: a close with
/// something unread, a full or closed Unix datagram socket, a terminal whose other end is gone.
///
/// | situation                                  | readable | writable | priority | read closed | write closed | error | Kqueue                                              |
/// | ------------------------------------------ | -------- | -------- | -------- | ----------- | ------------ | ----- | --------------------------------------------------- |
/// | stream: open                               |          | yes      |          |             |              |       | WRITE                                               |
/// | stream: data                               | yes      | yes      |          |             |              |       | READ WRITE                                          |
/// | stream: peer's `shutdown(Write)`           | yes      | yes      |          | yes         |              |       | READ WRITE READ_HANG_UP                             |
/// | stream: own `shutdown(Read)`               | yes      | yes      |          | yes         |              |       | READ WRITE READ_HANG_UP                             |
/// | stream: own `shutdown(Write)`              |          | yes      |          |             | yes          |       | WRITE WRITE_HANG_UP                                 |
/// | stream: own `shutdown(Both)`               | yes      | yes      |          | yes         | yes          |       | READ WRITE READ_HANG_UP WRITE_HANG_UP               |
/// | stream: `shutdown(Write)` on both sides    | yes      | yes      |          | yes         | yes          |       | READ WRITE READ_HANG_UP WRITE_HANG_UP               |
/// | TCP: peer closed                           | yes      | yes      |          | yes         |              |       | READ WRITE READ_HANG_UP                             |
/// | TCP: reset by peer                         | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP READ_HANG_UP WRITE_HANG_UP |
/// | TCP: urgent data                           |          | yes      | yes      |             |              |       | PRIORITY WRITE                                      |
/// | TCP: before `connect`                      |          |          |          |             |              |       |                                                     |
/// | TCP: connected                             |          | yes      |          |             |              |       | WRITE                                               |
/// | TCP: connect refused                       | yes      | yes      |          | yes         | yes          | yes   | READ WRITE ERROR HANG_UP READ_HANG_UP WRITE_HANG_UP |
/// | listener: nobody                           |          |          |          |             |              |       |                                                     |
/// | listener: a connection                     | yes      |          |          |             |              |       | READ                                                |
/// | datagram: open                             |          | yes      |          |             |              |       | WRITE                                               |
/// | datagram: data                             | yes      | yes      |          |             |              |       | READ WRITE                                          |
/// | UDP: ICMP error                            | yes      | yes      |          |             |              |       | READ WRITE                                          |
/// | stream: no room to write                   |          |          |          |             |              |       |                                                     |
/// | Unix stream: peer closed                   | yes      | yes      |          | yes         | yes          |       | READ WRITE READ_HANG_UP WRITE_HANG_UP               |
/// | Unix stream: own `shutdown(Both)`, no room | yes      | yes      |          | yes         | yes          |       | READ WRITE READ_HANG_UP WRITE_HANG_UP               |
/// | pipe, reader: empty                        |          |          |          |             |              |       |                                                     |
/// | pipe, reader: data                         | yes      |          |          |             |              |       | READ                                                |
/// | pipe, reader: writer gone, data left       | yes      |          |          | yes         |              |       | READ READ_HANG_UP                                   |
/// | pipe, reader: writer gone                  | yes      |          |          | yes         |              |       | READ READ_HANG_UP                                   |
/// | pipe, writer: room                         |          | yes      |          |             |              |       | WRITE                                               |
/// | pipe, writer: full                         |          |          |          |             |              |       |                                                     |
/// | pipe, writer: reader gone                  |          | yes      |          |             | yes          |       | WRITE WRITE_HANG_UP                                 |
/// | pipe, writer: reader gone, full            |          | yes      |          |             | yes          |       | WRITE WRITE_HANG_UP                                 |
/// | pty, either end: open                      |          | yes      |          |             |              |       | WRITE                                               |
/// | pty, either end: data                      | yes      | yes      |          |             |              |       | READ WRITE                                          |
/// | regular file                               | yes      | yes      |          |             |              |       | READ WRITE                                          |
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Event(pub(crate) Record);

impl Event {
    const READABLE: Conditions = Conditions::READ
        .union(Conditions::READ_HANG_UP)
        .union(Conditions::HANG_UP)
        .union(Conditions::ERROR);
    const WRITABLE: Conditions = Conditions::WRITE
        .union(Conditions::WRITE_HANG_UP)
        .union(Conditions::HANG_UP)
        .union(Conditions::ERROR);
    const READ_CLOSED: Conditions = Conditions::READ_HANG_UP.union(Conditions::HANG_UP);
    const WRITE_CLOSED: Conditions = Conditions::WRITE_HANG_UP.union(Conditions::HANG_UP);

    /// An event of one's own making, for [`Poller::post`](crate::Poller::post).
    #[must_use]
    pub fn new(token: Token, conditions: Conditions) -> Self {
        Self(Record::new(token, conditions))
    }

    /// The token of the registration, or of the [`Waker`](crate::Waker).
    #[inline]
    #[must_use]
    pub fn token(&self) -> Token {
        self.0.token()
    }

    /// What the kernel said, undigested.
    #[inline]
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        self.0.conditions()
    }

    /// A read, accept or receive would not block: there is data, the end, or an error to fetch, which
    /// is told in a direction that was not asked for, too.
    #[inline]
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.conditions().intersects(Self::READABLE)
    }

    /// A write or send would not block: there is room, or an error to fetch, which is told in a
    /// direction that was not asked for, too. (A blocking object takes what there is room for, and
    /// then the write waits with the rest.)
    #[inline]
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.conditions().intersects(Self::WRITABLE)
    }

    /// Exceptional data is there ([`Interest::PRIORITY`](crate::Interest::PRIORITY)).
    #[inline]
    #[must_use]
    pub fn is_priority(&self) -> bool {
        self.conditions().intersects(Conditions::PRIORITY)
    }

    /// The peer ended its direction, or no peer is left. What it sent before can still be read.
    #[inline]
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        self.conditions().intersects(Self::READ_CLOSED)
    }

    /// Nothing can be written any more: both directions are closed, or (on kqueue) ours is.
    ///
    /// Not every end of writing is seen: a pipe without a reader is an
    /// [error](Self::is_error), and own `shutdown(Write)` shows nothing, nor does a TCP peer's
    /// close before its reset. The next write tells.
    #[inline]
    #[must_use]
    pub fn is_write_closed(&self) -> bool {
        self.conditions().intersects(Self::WRITE_CLOSED)
    }

    /// An error is pending. A socket's `take_error` fetches it, and so does the next call.
    #[inline]
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.conditions().intersects(Conditions::ERROR)
    }
}

impl readiness::Record for Event {
    fn is_notice(&self) -> bool {
        self.0.is_notice()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("token", &self.token())
            .field("conditions", &self.conditions())
            .finish()
    }
}

/// A buffer of events, made once and filled by each [`wait`](crate::Poller::wait).
///
/// Its capacity is the most that one wait can bring; what did not fit is brought by the next.
///
/// ```
/// use anypoll::Events;
///
/// let events = Events::with_capacity(64);
/// assert_eq!((events.len(), events.capacity()), (0, 64));
/// ```
pub struct Events(pub(crate) Vec<Event>);

impl Events {
    /// A buffer for at most `capacity` events a wait.
    ///
    /// A wait refuses a buffer that has room for none with
    /// [`InvalidInput`](std::io::ErrorKind::InvalidInput).
    ///
    /// # Panics
    ///
    /// If that is more than memory could hold, as with a `Vec`.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// How many events one wait can bring.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// How many events are in the buffer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no event is in the buffer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The event at `index`, in the order of the report.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Event> {
        self.0.get(index)
    }

    /// The events, in the order of the report.
    pub fn iter(&self) -> slice::Iter<'_, Event> {
        self.0.iter()
    }

    /// Forgets the events. [`Poller::wait`](crate::Poller::wait) does so itself.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Makes room for `additional` more events than are in the buffer, for
    /// [`Poller::wait_append`](crate::Poller::wait_append).
    ///
    /// # Panics
    ///
    /// As [`with_capacity`](Self::with_capacity).
    pub fn reserve(&mut self, additional: usize) {
        self.0.reserve(additional);
    }
}

/// Room for 1024 events.
impl Default for Events {
    fn default() -> Self {
        Self::with_capacity(1024)
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
