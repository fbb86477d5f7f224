//! What programs see of mio, on every backend that runs here.

mod support;

mod edges;
mod events;
mod face;
mod flags;
mod lifetimes;
#[cfg(windows)]
mod named_pipe;
mod registering;
mod sockets;
#[cfg(unix)]
mod unix;
mod wakers;
