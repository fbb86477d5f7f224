//! Handles, and the few calls beside waiting, of each family of systems.

#[cfg(any(target_os = "wasi", target_os = "hermit"))]
mod bare;
#[cfg(not(windows))]
#[cfg_attr(
    any(target_os = "wasi", target_os = "hermit", target_os = "redox", target_os = "espidf"),
    path = "no_exit.rs"
)]
mod exit;
#[cfg(not(windows))]
mod fd;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(any(target_os = "wasi", target_os = "hermit"))]
pub(crate) use bare::*;
#[cfg(not(windows))]
pub(crate) use exit::exit_of;
#[cfg(not(windows))]
pub(crate) use fd::*;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;
