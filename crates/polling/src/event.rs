//! Events: interests on the way in, views of anypoll's events on the way out.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;

use anypoll::{Conditions, Interest};

/// What is asked for, or what was seen, of one object.
///
/// As an interest it says which directions matter; hang-ups and errors are reported whatever it
/// says. In an event that a wait brought, `readable` and `writable` mean that a call in that
/// direction would not block, so a hang-up or an error sets both, and urgent data sets `readable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key that the object was added with.
    pub key: usize,
    /// Reading would not block.
    pub readable: bool,
    /// Writing would not block.
    pub writable: bool,
    extra: Extra,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extra {
    interrupt: bool,
    priority: bool,
    error: bool,
}

impl Extra {
    const NONE: Self = Self { interrupt: false, priority: false, error: false };
}

impl Event {
    /// An interest in these directions.
    #[must_use]
    pub const fn new(key: usize, readable: bool, writable: bool) -> Self {
        Self { key, readable, writable, extra: Extra::NONE }
    }

    /// An interest in both directions.
    #[inline]
    #[must_use]
    pub const fn all(key: usize) -> Self {
        Self::new(key, true, true)
    }

    /// An interest in reading alone.
    #[inline]
    #[must_use]
    pub const fn readable(key: usize) -> Self {
        Self::new(key, true, false)
    }

    /// An interest in writing alone.
    #[inline]
    #[must_use]
    pub const fn writable(key: usize) -> Self {
        Self::new(key, false, true)
    }

    /// An interest in nothing but hang-ups and errors.
    #[inline]
    #[must_use]
    pub const fn none(key: usize) -> Self {
        Self::new(key, false, false)
    }

    /// Marks a hang-up. As an interest it changes nothing: hang-ups are always reported.
    #[inline]
    pub fn set_interrupt(&mut self, active: bool) {
        self.extra.interrupt = active;
    }

    /// With [`set_interrupt`](Self::set_interrupt)`(true)`.
    #[inline]
    #[must_use]
    pub fn with_interrupt(mut self) -> Self {
        self.set_interrupt(true);
        self
    }

    /// Asks for urgent data (`EPOLLPRI`), where the system has such a thing. An interest in reading
    /// asks for it too, but not with a kqueue, where it is another filter.
    #[inline]
    pub fn set_priority(&mut self, active: bool) {
        self.extra.priority = active;
    }

    /// With [`set_priority`](Self::set_priority)`(true)`.
    #[inline]
    #[must_use]
    pub fn with_priority(mut self) -> Self {
        self.set_priority(true);
        self
    }

    /// Whether both directions of the object are closed (`EPOLLHUP`).
    #[inline]
    #[must_use]
    pub fn is_interrupt(&self) -> bool {
        self.extra.interrupt
    }

    /// Whether there is urgent data (`EPOLLPRI`).
    #[inline]
    #[must_use]
    pub fn is_priority(&self) -> bool {
        self.extra.priority
    }

    /// Whether there are both an error and a hang-up, as after a refused connect. Always `Some`.
    #[inline]
    #[must_use]
    #[deprecated(since = "3.4.0", note = "use `is_err`, and `is_interrupt` for the hang-up")]
    pub fn is_connect_failed(&self) -> Option<bool> {
        Some(self.extra.error && self.extra.interrupt)
    }

    /// Whether an error is pending (`EPOLLERR`): of a socket, `take_error` fetches it. Always
    /// `Some`.
    #[inline]
    #[must_use]
    pub fn is_err(&self) -> Option<bool> {
        Some(self.extra.error)
    }

    /// Forgets all but the key and the two directions.
    #[inline]
    pub fn clear_extra(&mut self) {
        self.extra = Extra::NONE;
    }

    /// The key and the two directions alone, for comparing.
    #[inline]
    #[must_use]
    pub fn with_no_extra(mut self) -> Self {
        self.clear_extra();
        self
    }

    /// With `urgent`, an interest in reading is one in urgent data too.
    pub(crate) fn interest(&self, urgent: bool) -> Interest {
        let mut interest = Interest::NONE;
        if self.readable {
            interest |= Interest::READABLE;
        }
        if self.writable {
            interest |= Interest::WRITABLE;
        }
        if self.extra.priority || self.readable && urgent {
            interest |= Interest::PRIORITY;
        }
        interest
    }
}

impl From<&anypoll::Event> for Event {
    #[inline]
    fn from(event: &anypoll::Event) -> Self {
        let conditions = event.conditions();
        Self {
            key: event.token().0,
            readable: event.is_readable() || event.is_priority(),
            writable: event.is_writable(),
            extra: Extra {
                interrupt: conditions.intersects(Conditions::HANG_UP),
                priority: event.is_priority(),
                error: event.is_error(),
            },
        }
    }
}

/// When a readiness that is there is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PollMode {
    /// Once, until the next [`modify`](crate::Poller::modify). The mode of
    /// [`add`](crate::Poller::add).
    Oneshot,
    /// By every wait for as long as it lasts.
    Level,
    /// When it begins. Where the kernel has no edges
    /// ([`supports_edge`](crate::Poller::supports_edge)), adding is refused with
    /// [`Unsupported`](std::io::ErrorKind::Unsupported).
    Edge,
    /// As [`Oneshot`](Self::Oneshot), and refused where [`Edge`](Self::Edge) is.
    EdgeOneshot,
}

/// A buffer of events, filled by [`Poller::wait`](crate::Poller::wait).
pub struct Events {
    pub(crate) events: anypoll::Events,
    /// Not `Sync`, as in polling.
    _not_sync: PhantomData<Cell<()>>,
}

impl Events {
    /// A buffer with room for 1024 events.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(const { NonZeroUsize::new(1024).unwrap() })
    }

    /// A buffer with room for `capacity` events, which is the most that a wait into it brings.
    #[must_use]
    pub fn with_capacity(capacity: NonZeroUsize) -> Self {
        Self { events: anypoll::Events::with_capacity(capacity.get()), _not_sync: PhantomData }
    }

    /// The events, in the order of the report.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.iter().map(Event::from)
    }

    /// Forgets the events; a wait does not do so.
    pub fn clear(&mut self) {
        self.events.clear();
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// For how many events there is room, the present ones included.
    #[must_use]
    pub fn capacity(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.events.capacity()).expect("it was made with room for one")
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
