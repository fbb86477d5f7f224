//! poll(2) with milliseconds, rounded up.

use std::io;

use super::{fit, seconds};
use crate::readiness::Timeout;

#[inline]
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout: Timeout) -> io::Result<()> {
    let millis = seconds(timeout)
        .map_or(-1, |(seconds, nanos)| fit(seconds * 1000 + (nanos + 999_999) / 1_000_000));
    // SAFETY: there are as many entries as is said.
    let result = unsafe { libc::poll(fds.as_mut_ptr(), fit(fds.len()), millis) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
