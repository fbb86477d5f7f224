//! poll(2) with milliseconds, rounded up.

use std::io;

use super::{fit, milliseconds};
use crate::readiness::Timeout;

#[inline]
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout: Timeout) -> io::Result<()> {
    let (count, timeout) = (fit(fds.len()), milliseconds(timeout));
    // SAFETY: there are as many entries as is said.
    let result = unsafe { libc::poll(fds.as_mut_ptr(), count, timeout) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
