//! What programs see of mio, on every backend that runs here.

#![cfg(any(unix, windows))]

mod support;

mod edges;
mod events;
mod face;
mod flags;
mod lifetimes;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(windows)]
mod named_pipe;
// An event port cannot be watched, and poll(2) has nothing to watch.
#[cfg(all(unix, not(any(target_os = "haiku", target_os = "illumos", target_os = "solaris"))))]
mod nested;
mod registering;
mod sockets;
#[cfg(unix)]
mod unix;
mod wakers;
