//! Hermit.

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
