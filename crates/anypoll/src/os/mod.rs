//! What only one system has.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod linux;
