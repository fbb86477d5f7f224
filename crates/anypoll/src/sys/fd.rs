//! Where a handle is a file descriptor.

use std::fs::{File, Metadata};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};

use crate::process::Exit;
use crate::readiness::Timeout;
use crate::registered::Registered;

pub(crate) type Handle<'a> = BorrowedFd<'a>;
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

impl AsFd for Exit {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// As what is a socket if anything is.
#[cfg(feature = "net")]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere a handle may be none")]
pub(crate) fn socket(fd: BorrowedFd<'_>) -> io::Result<BorrowedFd<'_>> {
    Ok(fd)
}

/// Of a socket that is not connected: whether it is being connected. All others but listeners are
/// writable, or have hung up.
#[cfg(feature = "net")]
pub(crate) fn is_pending(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 }];
    loop {
        match super::poll(&mut fds, Timeout::ZERO) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|()| fds[0].revents == 0),
        }
    }
}

pub(crate) fn raw(fd: BorrowedFd<'_>) -> RawHandle {
    fd.as_raw_fd()
}

/// What epoll answers for a file of a disk.
pub(crate) fn always_ready_refused() -> io::Error {
    io::Error::from_raw_os_error(libc::EPERM)
}

pub(super) fn metadata(fd: impl AsFd) -> io::Result<Metadata> {
    // SAFETY: the descriptor is borrowed for longer than this `File` lives, which does not close it.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_fd().as_raw_fd()) });
    file.metadata()
}

/// Whether reading and writing never block, as a file of a disk or `/dev/null`.
pub(crate) fn is_always_ready(fd: impl AsFd) -> io::Result<bool> {
    let metadata = metadata(&fd)?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Ok(super::is_null(&metadata));
    }
    // Some of the files that the kernel makes up (procfs, sysfs, tracefs) have readiness.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
        let probe = epoll::create(CreateFlags::CLOEXEC)?;
        let added = epoll::add(probe, fd, EventData::new_u64(0), EventFlags::empty());
        if added != Err(rustix::io::Errno::PERM) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a call that could not be done at once goes on, or can be tried again, when its object is
/// ready: a `connect` too.
pub(crate) fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EALREADY))
}

/// Whether a connection goes on being made, after an error of the call that started it. A signal
/// does not stop it either.
#[cfg(feature = "net")]
pub(crate) fn is_connecting(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

/// The systems disagree about the widths of numbers; those given here fit each of them.
pub(crate) fn fit<A, B: TryFrom<A> + Default>(value: A) -> B {
    B::try_from(value).unwrap_or_default()
}

/// Seconds and nanoseconds; a day at most: a wait that comes back early goes on.
#[allow(dead_code, reason = "some systems have milliseconds alone")]
pub(crate) fn seconds(timeout: Timeout) -> Option<(i64, i64)> {
    let nanos = timeout.nanoseconds()?.min(86_400_000_000_000).cast_signed();
    Some((nanos / 1_000_000_000, nanos % 1_000_000_000))
}

/// Rounded up; a day at most; -1 is for ever.
#[allow(dead_code, reason = "some systems have better calls alone")]
pub(crate) fn milliseconds(timeout: Timeout) -> std::ffi::c_int {
    let day = 86_400_000;
    timeout.nanoseconds().map_or(-1, |nanos| fit(nanos.div_ceil(1_000_000).min(day)))
}
