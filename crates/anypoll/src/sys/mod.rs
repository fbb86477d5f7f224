//! Handles, and the few calls beside waiting, of each family of systems.

/// Whether a socket can be non-blocking from the start, as socket2 knows it.
#[cfg(feature = "net")]
#[cfg_attr(
    any(
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "fuchsia",
        target_os = "illumos",
        target_os = "linux",
        target_os = "netbsd",
        target_os = "openbsd",
    ),
    path = "accept4.rs"
)]
mod accept;
#[cfg(any(target_os = "wasi", target_os = "hermit"))]
mod bare;
#[cfg(not(windows))]
#[cfg_attr(
    any(
        target_os = "cygwin",
        target_os = "espidf",
        target_os = "hermit",
        target_os = "redox",
        target_os = "wasi",
    ),
    path = "no_exit.rs"
)]
mod exit;
#[cfg(not(windows))]
mod fd;
#[cfg(target_os = "hermit")]
mod hermit;
#[cfg(not(windows))]
#[cfg_attr(
    any(
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "fuchsia",
        target_os = "haiku",
        target_os = "hurd",
        target_os = "linux",
        target_os = "netbsd",
        target_os = "openbsd",
    ),
    path = "ppoll.rs"
)]
mod poll;
#[cfg(unix)]
mod unix;
#[cfg(target_os = "wasi")]
mod wasi;
#[cfg(windows)]
mod windows;

#[cfg(feature = "net")]
pub(crate) use accept::*;
#[cfg(any(target_os = "wasi", target_os = "hermit"))]
pub(crate) use bare::*;
#[cfg(not(windows))]
pub(crate) use exit::exit_of;
#[cfg(not(windows))]
pub(crate) use fd::*;
#[cfg(target_os = "hermit")]
pub(crate) use hermit::*;
#[cfg(not(windows))]
pub(crate) use poll::*;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(target_os = "wasi")]
pub(crate) use wasi::*;
#[cfg(windows)]
pub(crate) use windows::*;
