//! What a registration asks for. Never empty, so that an `Option` of it costs nothing.

use std::fmt;
use std::num::NonZeroU8;
use std::ops::{BitOr, BitOrAssign};

/// The directions that a registration asks for, at least one.
///
/// ```
/// use mio::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable());
/// assert_eq!(format!("{both:?}"), "READABLE | WRITABLE");
/// assert_eq!(both.remove(Interest::READABLE), Some(Interest::WRITABLE));
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interest(NonZeroU8);

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
const AIO: u8 = 4;
const LIO: u8 = 8;
const PRIORITY: u8 = 16;

impl Interest {
    /// A read, an accept or a receive would not block.
    pub const READABLE: Self = Self::of(READABLE);

    /// A write, a send or a pending connect would not block.
    pub const WRITABLE: Self = Self::of(WRITABLE);

    /// There is something exceptional, such as TCP's urgent data (`EPOLLPRI`).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub const PRIORITY: Self = Self::of(PRIORITY);

    /// An AIO operation has ended, for sources that register it themselves: with the descriptor of
    /// the [`Registry`](crate::Registry) as the request's kqueue, and the token as its value.
    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
    pub const AIO: Self = Self::of(AIO);

    /// A list of AIO operations has ended. As [`AIO`](Self::AIO).
    #[cfg(target_os = "freebsd")]
    pub const LIO: Self = Self::of(LIO);

    const fn of(bits: u8) -> Self {
        match NonZeroU8::new(bits) {
            Some(bits) => Self(bits),
            None => panic!("an interest has at least one direction"),
        }
    }

    const fn has(self, bit: u8) -> bool {
        self.0.get() & bit != 0
    }

    /// The directions of both. The same as `|`, and usable in a constant.
    #[allow(clippy::should_implement_trait, reason = "the name is mio's")]
    #[must_use = "the interest itself stays as it is"]
    pub const fn add(self, other: Interest) -> Interest {
        Self::of(self.0.get() | other.0.get())
    }

    /// The directions that are not in `other`; `None` if that leaves none.
    #[must_use = "the interest itself stays as it is"]
    pub fn remove(self, other: Interest) -> Option<Interest> {
        NonZeroU8::new(self.0.get() & !other.0.get()).map(Self)
    }

    /// Whether it asks for reading.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.has(READABLE)
    }

    /// Whether it asks for writing.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.has(WRITABLE)
    }

    /// Whether it asks for the end of an AIO operation. Only some systems with kqueue can.
    #[must_use]
    pub const fn is_aio(self) -> bool {
        self.has(AIO)
    }

    /// Whether it asks for the end of a list of AIO operations. Only FreeBSD can.
    #[must_use]
    pub const fn is_lio(self) -> bool {
        self.has(LIO)
    }

    /// Whether it asks for exceptional data. Only Linux and Android can.
    #[must_use]
    pub const fn is_priority(self) -> bool {
        self.has(PRIORITY)
    }
}

impl From<Interest> for anypoll::Interest {
    fn from(interest: Interest) -> Self {
        let mut directions = Self::NONE;
        if interest.is_readable() {
            directions |= Self::READABLE;
        }
        if interest.is_writable() {
            directions |= Self::WRITABLE;
        }
        if interest.is_priority() {
            directions |= Self::PRIORITY;
        }
        directions
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.add(other)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (READABLE, "READABLE"),
            (WRITABLE, "WRITABLE"),
            (AIO, "AIO"),
            (LIO, "LIO"),
            (PRIORITY, "PRIORITY"),
        ];
        let names = names.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| *name);
        for (i, name) in names.enumerate() {
            f.write_str(if i == 0 { "" } else { " | " })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}
