//! Handles, and the few calls beside waiting, of each family of systems.

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub(crate) use unix::*;
