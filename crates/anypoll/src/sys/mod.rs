//! Handles, and the few calls beside waiting, of each family of systems.

#[cfg(unix)]
mod exit;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use exit::exit_of;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;
