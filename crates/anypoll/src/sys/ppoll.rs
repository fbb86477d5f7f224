//! poll(2) with nanoseconds.

use std::io;

use super::{fit, seconds};
use crate::readiness::Timeout;

#[inline]
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout: Timeout) -> io::Result<()> {
    let timeout = seconds(timeout)
        .map(|(seconds, nanos)| libc::timespec { tv_sec: fit(seconds), tv_nsec: fit(nanos) });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: there are as many entries as is said; the timeout outlives the call or is null; no
    // signal mask is given.
    let result =
        unsafe { libc::ppoll(fds.as_mut_ptr(), fit(fds.len()), timeout, std::ptr::null()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
