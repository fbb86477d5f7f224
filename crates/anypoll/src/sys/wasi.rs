//! WASI: one thread, which does not sleep while it signals.

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
