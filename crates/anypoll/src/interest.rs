//! What a registration asks for, and how it is told.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

/// The directions that a registration asks for: a set, which may be empty.
///
/// Errors and hang-ups are reported whatever the interest is, with an empty one too where the
/// system can.
///
/// ```
/// use anypoll::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.contains(Interest::READABLE));
/// assert_eq!(both - Interest::READABLE, Interest::WRITABLE);
/// assert!(Interest::NONE.is_empty());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interest(u8);

impl Interest {
    /// No direction: only errors and hang-ups. In [`Mode::Level`] those are reported by every wait,
    /// and no interest silences them: to pause an object for long, end its registration, or have it
    /// in [`Oneshot`](Mode::Oneshot).
    pub const NONE: Self = Self(0);
    /// A read, an accept or a receive would not block.
    pub const READABLE: Self = Self(1);
    /// A write, a send or a pending connect would not block.
    pub const WRITABLE: Self = Self(2);
    /// Exceptional data is there: TCP urgent data, a change on a pseudo-terminal in packet mode
    /// or in a sysfs file (`EPOLLPRI` in [epoll_ctl(2)]; on macOS, OpenBSD and DragonFly
    /// `EVFILT_EXCEPT`, for sockets).
    ///
    /// Registering it is refused with [`Unsupported`](std::io::ErrorKind::Unsupported) where the
    /// system has no such condition.
    ///
    /// [epoll_ctl(2)]: https://man7.org/linux/man-pages/man2/epoll_ctl.2.html
    pub const PRIORITY: Self = Self(4);

    const NAMES: [(Self, &str); 3] =
        [(Self::READABLE, "READABLE"), (Self::WRITABLE, "WRITABLE"), (Self::PRIORITY, "PRIORITY")];

    /// Whether every direction of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any direction of `other` is in this set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no direction is in this set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The directions that both sets have.
impl BitAnd for Interest {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The directions of the first set that are not in the second.
impl Sub for Interest {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_set(f, Self::NAMES.iter().filter(|(bit, _)| self.contains(*bit)).map(|(_, name)| *name))
    }
}

/// Writes what is in a set.
pub(crate) fn fmt_set(
    f: &mut fmt::Formatter<'_>,
    names: impl Iterator<Item = &'static str>,
) -> fmt::Result {
    let mut any = false;
    for name in names {
        f.write_str(if any { " | " } else { "" })?;
        f.write_str(name)?;
        any = true;
    }
    if any { Ok(()) } else { f.write_str("NONE") }
}

/// When a readiness that is there is reported.
///
/// There is no default: whoever reads a call of [`register`](crate::Poller::register) sees which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Reported by every wait for as long as it lasts, or by every second one while wakes or what is
    /// always ready are reported too. The simplest, and right for blocking objects as far as they are
    /// read: after a report one read, accept or receive does not block, unless another thread was
    /// faster, or a client took its connection back, for which a listener is better non-blocking. A
    /// write to a blocking object blocks until all of it was taken, so make it non-blocking if you
    /// write ([`set_nonblocking`](crate::set_nonblocking)).
    Level,
    /// Reported when it begins, and again after
    /// [`set_interest`](crate::Registered::set_interest); further activity on the object may
    /// report again. After a report, use the object until it says
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock): only then is the next report certain. What is
    /// always ready (a regular file) is reported once, so read it to its end.
    ///
    /// **The object must be non-blocking**, or that last call hangs
    /// ([`set_nonblocking`](crate::set_nonblocking)). Who stops before it, so that a fast peer does not
    /// hold the others up, comes back by `set_interest` or by an event of its own
    /// ([`Poller::post`](crate::Poller::post), a wake).
    ///
    /// Where the kernel has no edges (poll(2), Windows, event ports, WASI) the would-block must be
    /// seen by [`Registered`](crate::Registered): through its own `Read` and `Write`, by
    /// [`try_io`](crate::Registered::try_io), or told to [`rearm`](crate::Registered::rearm). To see
    /// that a program tells all of them, run it over [`Backend::Poll`](crate::Backend::Poll).
    Edge,
    /// Each direction is reported at most once, then not before the next
    /// [`set_interest`](crate::Registered::set_interest). After one report the other direction
    /// may or may not come.
    Oneshot,
}
