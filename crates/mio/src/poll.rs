//! The poll and its registry: both are handles of one `anypoll::Poller`.

use std::fmt;
use std::io;
#[cfg(debug_assertions)]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use std::time::Duration;

use anypoll::Poller;

use crate::event::Source;
use crate::{Events, Interest, Token};

/// Waits for sources that are ready.
///
/// Sources are registered with its [`registry`](Self::registry); [`poll`](Self::poll) reports them.
///
/// # Edges
///
/// A source is reported when it *becomes* ready, and once when it is registered or reregistered if
/// it is ready then. After an event, use the source until it answers
/// [`WouldBlock`](io::ErrorKind::WouldBlock): until then no further event is certain. What is left
/// unread causes none.
///
/// Activity on a source may report it again, and one event may show every direction that is ready;
/// so take each event as a hint.
///
/// # Ends
///
/// Dropping a source that owns its descriptor ends its watching, if no duplicate of the descriptor
/// is open; dropping the `Poll`, all clones of its registry and its [`Waker`](crate::Waker) ends all
/// of it.
///
/// Once [`Registry::deregister`] has returned, no later `poll` reports the token.
///
/// # In a forked child
///
/// Registrations are shared with the parent, and taking them back in the child would take them from
/// the parent: in a forked child use no `Poll` and drop none; call `exec` or `_exit`.
///
/// ```
/// use mio::net::{TcpListener, TcpStream};
/// use mio::{Events, Interest, Poll, Token};
///
/// let mut poll = Poll::new()?;
/// let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
/// poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
///
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// poll.registry().register(&mut client, Token(1), Interest::WRITABLE)?;
///
/// let mut events = Events::with_capacity(128);
/// let (mut accepted, mut connected) = (false, false);
/// while !(accepted && connected) {
///     poll.poll(&mut events, None)?;
///     for event in &events {
///         match event.token() {
///             Token(0) => accepted = listener.accept().is_ok(),
///             Token(1) => connected = client.peer_addr().is_ok(),
///             _ => unreachable!(),
///         }
///     }
/// }
/// # std::io::Result::Ok(())
/// ```
pub struct Poll {
    registry: Registry,
}

impl Poll {
    /// A poll with this system's best backend. Its descriptors are close-on-exec.
    ///
    /// # Errors
    ///
    /// The system's: no descriptors or no memory left.
    #[cfg(feature = "os-poll")]
    pub fn new() -> io::Result<Poll> {
        Poller::new().map(Self::over)
    }

    /// A poll with a certain backend, for tests, which have anypoll's feature `test-selector`.
    #[cfg(feature = "os-poll")]
    #[doc(hidden)]
    pub fn with_backend(backend: anypoll::Backend) -> io::Result<Poll> {
        let is_known_to_sources = backend.has_edges() || anypoll::TEST_SELECTOR;
        assert!(
            is_known_to_sources,
            "a source has no room for a poller that it would have to tell"
        );
        Poller::with_backend(backend).map(Self::over)
    }

    #[cfg(feature = "os-poll")]
    fn over(poller: Poller) -> Poll {
        let registry = Registry {
            poller,
            #[cfg(debug_assertions)]
            identity: Arc::default(),
        };
        Poll { registry }
    }

    /// Where sources are registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits until a source is ready, and fills `events` with what is.
    ///
    /// `events` is cleared first, and gets no more than its capacity; what did not fit comes with the
    /// next poll. Without a timeout the wait ends only with an event. When the timeout has passed
    /// the answer is `Ok`, with no events, and never too early; how exact that is depends on the
    /// kernel's timer.
    ///
    /// # Errors
    ///
    /// - [`Interrupted`](io::ErrorKind::Interrupted): a signal handler ran. Poll again.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): `events` has no capacity.
    #[inline]
    pub fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.registry.poller.wait_append(&mut events.0, timeout)
    }
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll").finish()
    }
}

/// Where sources are registered with a [`Poll`], from any thread, also while it polls.
///
/// # In a debug build
///
/// A source belongs to one `Poll` until it is deregistered, and the types of this crate watch over
/// that: registering one that is registered already is
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists), reregistering or deregistering one that is not
/// is [`NotFound`](io::ErrorKind::NotFound). In a release build the kernel's answer is all there is:
/// the same for one `Poll`, and nothing for a source that is registered with two.
pub struct Registry {
    pub(crate) poller: Poller,
    #[cfg(debug_assertions)]
    pub(crate) identity: Arc<Identity>,
}

/// What tells one `Poll` from another.
#[cfg(debug_assertions)]
#[derive(Default)]
pub(crate) struct Identity {
    has_waker: AtomicBool,
}

#[cfg(debug_assertions)]
impl Identity {
    pub(crate) fn claim_waker(&self) {
        let claimed = self.has_waker.swap(true, Relaxed);
        // Programs' tests know these words.
        assert!(!claimed, "Only a single `Waker` can be active per `Poll` instance: share it");
    }
}

impl Registry {
    /// Begins to watch a source. What is ready already is reported too.
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): it is registered already.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it never blocks, as a regular file.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the one value that is no [`Token`].
    /// - The system's: out of memory, or over the limit of watched objects.
    pub fn register<S>(&self, source: &mut S, token: Token, interests: Interest) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        #[cfg(feature = "log")]
        log::trace!("register: {token:?} for {interests:?}");
        source.register(self, token, interests)
    }

    /// Changes the token and the interest of a source. What is ready then is reported, once more if
    /// it was before.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): it is not registered.
    pub fn reregister<S>(&self, source: &mut S, token: Token, interests: Interest) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        #[cfg(feature = "log")]
        log::trace!("reregister: {token:?} for {interests:?}");
        source.reregister(self, token, interests)
    }

    /// Ends the watching of a source. No poll that begins later reports its token.
    ///
    /// Events that were handed out before are the program's to ignore.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): it is not registered.
    pub fn deregister<S>(&self, source: &mut S) -> io::Result<()>
    where
        S: Source + ?Sized,
    {
        #[cfg(feature = "log")]
        log::trace!("deregister");
        source.deregister(self)
    }

    /// Another handle of the same registry.
    ///
    /// # Errors
    ///
    /// None, as yet.
    pub fn try_clone(&self) -> io::Result<Registry> {
        Ok(Registry {
            poller: self.poller.clone(),
            #[cfg(debug_assertions)]
            identity: Arc::clone(&self.identity),
        })
    }
}

/// Where the system's backend has a descriptor: epoll, kqueue.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
))]
mod descriptor {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    use super::{Poll, Registry};

    /// The kernel's own object, for another poll to watch: readable whenever a poll would bring
    /// something.
    impl AsFd for Registry {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.poller.descriptor().expect("the backends of `Poll::new` have a descriptor here")
        }
    }

    impl AsRawFd for Registry {
        fn as_raw_fd(&self) -> RawFd {
            self.as_fd().as_raw_fd()
        }
    }

    impl AsRawFd for Poll {
        fn as_raw_fd(&self) -> RawFd {
            self.registry.as_raw_fd()
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish()
    }
}
