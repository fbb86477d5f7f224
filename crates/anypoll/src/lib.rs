//! A portable epoll.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod event;
mod interest;
#[cfg(feature = "net")]
pub mod net;
pub mod os;
mod poller;
mod readiness;
mod registered;
mod source;
mod sys;
mod waker;

/// What `readiness` is built from; the tests put loom's in its place.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
}

pub use backend::Backend;
pub use event::{Conditions, Event, Events, Token};
pub use interest::{Interest, Mode};
pub use poller::{AlwaysReadyObject, Poller};
pub use registered::{RegisterError, Registered};
pub use source::Source;
pub use waker::Waker;

/// Makes an object non-blocking, or blocking again.
///
/// For what std cannot do itself: `ChildStdin` and its kin, `io::pipe`, files, standard input.
///
/// The flag belongs to the open file, not to the descriptor: whoever shares it sees the change
/// (`O_NONBLOCK` in [open(2)]). On a terminal that means the shell and every other program that
/// runs there, so set it back before exit.
///
/// ```
/// use std::io::{ErrorKind, Read};
///
/// let (mut reader, _writer) = std::io::pipe()?;
/// anypoll::set_nonblocking(&reader, true)?;
/// assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
/// # std::io::Result::Ok(())
/// ```
///
/// [open(2)]: https://man7.org/linux/man-pages/man2/open.2.html
pub fn set_nonblocking(source: &(impl Source + ?Sized), nonblocking: bool) -> std::io::Result<()> {
    sys::set_nonblocking(source.handle(), nonblocking)
}
