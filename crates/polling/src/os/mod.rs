//! What only one system has.

#[cfg(windows)]
pub mod iocp;
