//! Systems with descriptors that std cannot duplicate: WASI, Hermit.
//!
//! A backend that must remember a descriptor here remembers its number. One that is closed without
//! a removal is asked for under that number until it is removed; wrong events are all that can
//! come of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

pub(crate) type OwnedHandle = Number;

#[derive(Debug)]
pub(crate) struct Number(RawFd);

impl AsFd for Number {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: only ever polled, which does nothing to the object whatever the number names.
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

pub(crate) use system::{Signal, set_nonblocking};

/// One thread, which does not sleep while it signals.
#[cfg(target_os = "wasi")]
mod system {
    use std::io;
    use std::os::fd::BorrowedFd;

    pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(fd, nonblocking)?)
    }

    #[derive(Debug)]
    pub(crate) struct Signal;

    impl Signal {
        #[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn give(&self) {}

        pub(crate) fn take(&self) -> bool {
            false
        }

        pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }
}

#[cfg(target_os = "hermit")]
mod system {
    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};

    pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
        let mut flag = libc::c_int::from(nonblocking);
        // SAFETY: this request reads one `int`.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, (&raw mut flag).cast()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// An eventfd.
    #[derive(Debug)]
    pub(crate) struct Signal(File);

    impl Signal {
        pub(crate) fn new() -> io::Result<Self> {
            // SAFETY: the call takes two numbers.
            let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the kernel has just made it, and nobody else knows of it.
            Ok(Self(unsafe { File::from_raw_fd(fd) }))
        }

        pub(crate) fn give(&self) {
            let _ = (&self.0).write(&1_u64.to_ne_bytes());
        }

        pub(crate) fn take(&self) -> bool {
            (&self.0).read(&mut [0; 8]).is_ok()
        }

        pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
            Some(self.0.as_fd())
        }
    }
}
