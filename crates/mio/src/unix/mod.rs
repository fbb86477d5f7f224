//! What only Unix has.

pub mod pipe;

pub use crate::source_fd::SourceFd;
