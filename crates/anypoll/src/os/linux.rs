//! Linux and Android.

use std::sync::atomic::Ordering::Relaxed;

use crate::backend::WITHOUT_PWAIT2;

/// From now on no poller of this process calls `epoll_pwait2` (Linux 5.11).
///
/// For sandboxes that end a program for a system call that they do not know. One that answers
/// `ENOSYS` or `EPERM` needs nothing: the first such answer has the same effect. Timeouts are then
/// rounded up to the next millisecond. On Android it is so from the start: the sandbox of its
/// applications is such a one, up to Android 14.
pub fn forbid_epoll_pwait2() {
    WITHOUT_PWAIT2.store(true, Relaxed);
}
