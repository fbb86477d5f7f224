//! What only one system has, and so each line a `cfg`.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod linux;
#[cfg(windows)]
pub mod windows;
