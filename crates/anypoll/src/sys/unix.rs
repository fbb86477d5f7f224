//! Unix: a handle is a file descriptor.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use crate::registered::Registered;

pub(crate) type Handle<'a> = BorrowedFd<'a>;
pub(crate) type OwnedHandle = OwnedFd;
pub(crate) type RawHandle = RawFd;

pub(crate) use std::os::fd::AsFd as AsHandle;

pub(crate) fn handle<T: AsFd + ?Sized>(object: &T) -> BorrowedFd<'_> {
    object.as_fd()
}

impl<S: AsFd + ?Sized> AsFd for Registered<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

pub(crate) fn raw(fd: BorrowedFd<'_>) -> RawHandle {
    fd.as_raw_fd()
}

/// As what is a socket if anything is.
#[cfg(feature = "net")]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere a handle may be none")]
pub(crate) fn socket(fd: BorrowedFd<'_>) -> io::Result<BorrowedFd<'_>> {
    Ok(fd)
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, nonblocking)?)
}

pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

/// What epoll answers for a file of a disk.
pub(crate) fn always_ready_refused() -> io::Error {
    rustix::io::Errno::PERM.into()
}

fn metadata(fd: BorrowedFd<'_>) -> io::Result<Metadata> {
    File::from(duplicate(fd)?).metadata()
}

/// Whether reading and writing never block, as a file of a disk.
pub(crate) fn is_always_ready(fd: &OwnedFd) -> io::Result<bool> {
    let kind = metadata(fd.as_fd())?.file_type();
    Ok(kind.is_file() || kind.is_dir())
}

/// Whether a descriptor that was duplicated before still names the same object. Objects without an
/// inode of their own (eventfd, epoll) all look the same.
pub(crate) fn is_same_object(duplicate: &OwnedFd, fd: BorrowedFd<'_>) -> io::Result<bool> {
    let identity = |fd| metadata(fd).map(|m| (m.dev(), m.ino()));
    Ok(identity(duplicate.as_fd())? == identity(fd)?)
}

/// Whether a connection goes on being made, after an error of the call that started it. A signal
/// does not stop it either.
#[cfg(feature = "net")]
pub(crate) fn is_connecting(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}
