//! Systems that have nothing but poll(2); on WASI its C library makes `poll_oneoff` of it.

use std::io;
use std::os::fd::OwnedFd;

use super::Backend;
use super::poll::Poll;

mod record;
pub(crate) use record::Record;

pub(super) const AVAILABLE: &[Backend] =
    &[if cfg!(target_os = "wasi") { Backend::Wasi } else { Backend::Poll }];

pub(crate) type Native = Poll;

pub(super) fn open() -> io::Result<Native> {
    Poll::new()
}

/// There is no descriptor for the exit of a process.
#[allow(dead_code, reason = "not every system has processes")]
pub(crate) fn open_exit(_id: u32) -> Option<io::Result<OwnedFd>> {
    None
}
