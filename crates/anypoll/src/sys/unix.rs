//! Unix.

use std::fs::{self, Metadata};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::SystemTime;

use super::fd::metadata;

pub(crate) type OwnedHandle = OwnedFd;

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, nonblocking)?)
}

pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

/// Tells objects apart that have the same handle, one after the other. Those without an inode of
/// their own (eventfd, epoll) all look the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    /// The number of an inode that is gone is given again.
    created: Option<SystemTime>,
}

pub(crate) fn identity(fd: BorrowedFd<'_>) -> io::Result<Identity> {
    let of = metadata(fd)?;
    Ok(Identity { device: of.dev(), inode: of.ino(), created: of.created().ok() })
}

/// Whether it is `/dev/null`. Not every kernel can watch it; FreeBSD's kqueue takes it, and never says
/// that it can be read.
pub(super) fn is_null(this: &Metadata) -> bool {
    let device = |of: &Metadata| of.file_type().is_char_device().then(|| of.rdev());
    let null = || fs::metadata("/dev/null").ok().as_ref().and_then(device);
    device(this).is_some_and(|this| null() == Some(this))
}

/// Whether a descriptor that was duplicated before still names the same object.
#[inline]
pub(crate) fn is_same_object(duplicate: &OwnedFd, fd: BorrowedFd<'_>) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        // `KCMP_FILE` of the kernel's `kcmp.h`: whether both are one open file. A sandbox may forbid
        // the call (Android's would end the program), and a kernel may lack it.
        let process: libc::c_long = super::fit(std::process::id());
        let [one, other] = [duplicate.as_fd(), fd].map(|fd| std::os::fd::AsRawFd::as_raw_fd(&fd));
        // SAFETY: the call takes numbers and touches no memory.
        let order = unsafe { libc::syscall(libc::SYS_kcmp, process, process, 0, one, other) };
        if order >= 0 {
            return Ok(order == 0);
        }
    }
    Ok(identity(duplicate.as_fd())? == identity(fd)?)
}

/// A pipe that is readable while a signal is given. At most one byte is ever in it.
#[derive(Debug)]
pub(crate) struct Signal {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Signal {
    #[inline]
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        set_nonblocking(reader.as_fd(), true)?;
        set_nonblocking(writer.as_fd(), true)?;
        Ok(Self { reader, writer })
    }

    #[inline]
    pub(crate) fn give(&self) {
        let _ = (&self.writer).write(&[0]);
    }

    /// Returns whether it was given.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        matches!((&self.reader).read(&mut [0]), Ok(1))
    }

    /// What is readable then, where a system has anything of the kind.
    #[inline]
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.reader.as_fd())
    }
}
