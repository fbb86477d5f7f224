//! Systems with descriptors that std cannot duplicate: WASI, Hermit.
//!
//! A backend that must remember a descriptor here remembers its number. One that is closed without
//! a removal is asked for under that number until it is removed; wrong events are all that can
//! come of it.

use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

pub(crate) type OwnedHandle = Number;

#[derive(Debug)]
pub(crate) struct Number(RawFd);

impl AsFd for Number {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it was borrowed from an open descriptor, so it is not -1; it is only ever polled, which
        // does nothing to the object whatever the number names by now.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<Number> {
    Ok(Number(fd.as_raw_fd()))
}

/// There is nothing to tell two objects apart by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity;

#[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn identity(_: BorrowedFd<'_>) -> io::Result<Identity> {
    Ok(Identity)
}

#[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn is_same_object(_number: &Number, _fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(true)
}

pub(super) fn is_null(_: &Metadata) -> bool {
    false
}
