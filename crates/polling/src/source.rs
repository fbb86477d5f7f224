//! What can be added: anything with a descriptor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// An object that can be added to a [`Poller`](crate::Poller): a reference to whatever has a
/// descriptor, or the bare descriptor.
pub trait AsRawSource {
    /// The descriptor.
    fn raw(&self) -> RawFd;
}

impl<T: AsRawFd> AsRawSource for &T {
    fn raw(&self) -> RawFd {
        self.as_raw_fd()
    }
}

impl AsRawSource for RawFd {
    fn raw(&self) -> RawFd {
        *self
    }
}

/// An object that lends its descriptor.
pub trait AsSource: AsFd {
    /// The descriptor.
    fn source(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl<T: AsFd> AsSource for T {}
