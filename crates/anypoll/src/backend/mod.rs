//! What each backend must do, and the one table that says which system has which.

use std::io;

use crate::event::{Conditions, Event, Token};
use crate::interest::{Interest, Mode};
use crate::readiness::Kernel;
use crate::sys::Handle;

/// A kernel's own event, made sense of.
pub(crate) trait KernelRecord: Copy {
    /// What a registration cannot have, since the notice has it.
    const RESERVED: Option<Token> = None;

    fn new(token: Token, conditions: Conditions) -> Self;
    fn notice() -> Self;
    fn is_notice(&self) -> bool;
    fn token(&self) -> Token;
    fn conditions(&self) -> Conditions;
}

/// What stands behind a [`Poller`](crate::Poller).
///
/// All methods may be called from any thread, also while others wait, and take effect at once.
/// Objects are told apart by their handle: adding one twice is `AlreadyExists`, changing or
/// removing one that is not there `NotFound`.
pub(crate) trait Selector: Kernel<Event = Event> + Send + Sync {
    fn add(
        &self,
        handle: Handle<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Result<(), AddError>;

    fn modify(
        &self,
        handle: Handle<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()>;

    /// After a return no wait that starts later reports the object, and nothing of it is held.
    fn remove(&self, handle: Handle<'_>) -> io::Result<()>;

    /// A call in these directions would have blocked: an edge may be reported again. For backends
    /// without edges.
    fn rearm(&self, _handle: Handle<'_>, _interest: Interest) -> io::Result<()> {
        Ok(())
    }

    /// A handle that is readable while a wait would return something.
    fn descriptor(&self) -> Option<Handle<'_>> {
        None
    }

    /// Adds or changes the filter of something that is no object, or removes it; `there` says whether
    /// it is there before. Returns whether what it waits for is still to come.
    #[allow(dead_code, reason = "only a kqueue has filters")]
    fn set_filter(
        &self,
        _filter: &Record,
        _there: bool,
        _wanted: Option<(Token, Mode)>,
    ) -> io::Result<bool> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this poller's backend is not kqueue"))
    }

    /// Where all packets arrive.
    #[cfg(windows)]
    fn completion_port(&self) -> std::os::windows::io::BorrowedHandle<'_>;
}

/// Why an object was not added.
#[derive(Debug)]
pub(crate) enum AddError {
    /// The object cannot be watched because it never blocks; it was not added.
    AlwaysReady,
    Io(io::Error),
}

impl<E: Into<io::Error>> From<E> for AddError {
    fn from(error: E) -> Self {
        Self::Io(error.into())
    }
}

/// The system call that waits.
///
/// All names exist on every system; [`Poller::with_backend`](crate::Poller::with_backend) refuses
/// those that this one lacks with [`Unsupported`](io::ErrorKind::Unsupported).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// [epoll(7)](https://man7.org/linux/man-pages/man7/epoll.7.html): Linux, Android.
    Epoll,
    /// [kqueue(2)](https://man.freebsd.org/kqueue/2): macOS and its kin, the BSDs.
    Kqueue,
    /// [poll(2)](https://pubs.opengroup.org/onlinepubs/9799919799/functions/poll.html): every Unix.
    /// Each wait costs time in proportion to the registered objects.
    Poll,
    /// Event ports: Solaris, illumos.
    EventPorts,
    /// AFD polls over an I/O completion port: Windows.
    Afd,
    /// `poll_oneoff`: WASI.
    Wasi,
    /// A selector with AFD's manners over Linux' epoll, for this crate's own tests.
    #[doc(hidden)]
    Simulated,
}

impl Backend {
    /// Those that this system has, the default first.
    #[must_use]
    pub const fn available() -> &'static [Self] {
        AVAILABLE
    }

    /// Whether the kernel itself sees edges ([`Poller::has_edges`](crate::Poller::has_edges)).
    #[must_use]
    pub const fn has_edges(self) -> bool {
        matches!(self, Self::Epoll | Self::Kqueue)
    }
}

#[allow(dead_code, reason = "not every backend has a descriptor")]
fn watches_itself() -> io::Error {
    let what = "a poller cannot watch its own descriptor: give it to another";
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// The one table: whose file is whose. It has the system's `Record`, the backends that are
/// `AVAILABLE`, the default first, and how to `open` that one.
#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "epoll.rs")]
#[cfg_attr(
    any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
    ),
    path = "kqueue.rs"
)]
#[cfg_attr(any(target_os = "solaris", target_os = "illumos"), path = "event_ports.rs")]
#[cfg_attr(
    any(
        target_os = "aix",
        target_os = "cygwin",
        target_os = "espidf",
        target_os = "fuchsia",
        target_os = "haiku",
        target_os = "hermit",
        target_os = "hurd",
        target_os = "nto",
        target_os = "redox",
        target_os = "wasi",
    ),
    path = "only_poll.rs"
)]
#[cfg_attr(windows, path = "windows/mod.rs")]
mod native;

mod arming;
#[cfg(any(
    target_os = "solaris",
    target_os = "illumos",
    all(feature = "test-selector", target_os = "linux"),
))]
mod asked;
#[cfg(any(
    target_os = "solaris",
    target_os = "illumos",
    windows,
    all(feature = "test-selector", target_os = "linux"),
))]
mod completion;
#[cfg(all(test, target_os = "linux"))]
mod filters;
#[cfg(not(windows))]
mod poll;
#[cfg(all(feature = "test-selector", target_os = "linux"))]
mod simulated;
mod sources;

#[cfg(windows)]
pub use native::NamedPipe;
pub(crate) use native::Record;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use native::WITHOUT_PWAIT2;
#[allow(unused_imports, reason = "not every system has processes")]
#[cfg(unix)]
pub(crate) use native::open_exit;

use native::AVAILABLE;

/// The name of a backend in `ANYPOLL_BACKEND` has the examples run over that one, for the tests.
#[cfg(feature = "test-selector")]
pub(crate) fn asked_for() -> Option<Backend> {
    let name = std::env::var("ANYPOLL_BACKEND").ok()?;
    let backend = AVAILABLE.iter().find(|backend| format!("{backend:?}") == name);
    Some(*backend.unwrap_or_else(|| panic!("ANYPOLL_BACKEND is none of {AVAILABLE:?}: {name}")))
}

/// The system's own selector, known by its type so that calls of it are inlined up to the system call,
/// or another.
#[allow(clippy::large_enum_variant, reason = "each poller has one")]
pub(crate) enum Selected {
    Native(native::Native),
    #[allow(dead_code, reason = "some systems have one selector alone")]
    Other(Box<dyn Selector>),
}

/// One call on either.
macro_rules! of_either {
    ($selected:expr, $selector:ident => $call:expr) => {
        match $selected {
            $crate::backend::Selected::Native($selector) => $call,
            $crate::backend::Selected::Other(other) => {
                let $selector = &**other;
                $call
            }
        }
    };
}
pub(crate) use of_either;

/// The first of those that are available, without a trace of the others in a program that names
/// none.
pub(crate) fn open_default() -> io::Result<Selected> {
    native::open().map(Selected::Native)
}

#[inline]
pub(crate) fn open(backend: Backend) -> io::Result<Selected> {
    if !AVAILABLE.contains(&backend) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("this system has no {backend:?}: it has {AVAILABLE:?}"),
        ));
    }
    match backend {
        #[cfg(not(windows))]
        Backend::Poll => Ok(Selected::Other(Box::new(poll::Poll::new()?))),
        #[cfg(all(feature = "test-selector", target_os = "linux"))]
        Backend::Simulated => {
            let simulated = completion::Completion::new(simulated::Port::new()?);
            Ok(Selected::Other(Box::new(simulated)))
        }
        _ => open_default(),
    }
}
