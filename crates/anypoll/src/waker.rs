//! Readiness that a program makes itself.

use std::fmt;
use std::sync::Arc;
use std::task::Wake;

use crate::event::{Conditions, Event, Token};
use crate::poller::Poller;
use crate::readiness::{Repeat, Slot};

/// Makes a [`Poller`] report a token, from any thread.
///
/// However often [`wake`](Self::wake) is called between two reports, there is one event, which is
/// readable. What was written before `wake` is seen after the wait that reports it.
///
/// A clone is as one with the original; two calls of [`Poller::waker`] with one token make two
/// wakers, each with an event of its own. A waker keeps its poller alive.
/// Dropping it takes back no wake that was made.
///
/// ```
/// use anypoll::{Events, Poller, Token};
///
/// let poller = Poller::new()?;
/// let waker = poller.waker(Token(7));
/// std::thread::spawn(move || waker.wake());
///
/// let mut events = Events::default();
/// poller.wait(&mut events, None)?;
/// assert_eq!(events.iter().map(|e| e.token()).collect::<Vec<_>>(), [Token(7)]);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Waker(Arc<Inner>);

struct Inner {
    poller: Poller,
    slot: Slot,
    token: Token,
}

impl Waker {
    pub(crate) fn new(poller: Poller, token: Token) -> Self {
        let slot = poller.readiness().slot(Event::new(token, Conditions::READ), Repeat::Never);
        Self(Arc::new(Inner { poller, slot, token }))
    }

    /// Has the token reported by a wait that runs, or by the next.
    ///
    /// Takes no lock, allocates nothing and keeps `errno`, so a signal handler may call it. Makes a
    /// system call only if a thread sleeps in a wait (or a
    /// [`descriptor`](Poller::descriptor) was handed out), and none if one is on its way already.
    pub fn wake(&self) {
        self.0.set();
    }

    /// The token that is reported.
    #[must_use]
    pub fn token(&self) -> Token {
        self.0.token
    }
}

impl Inner {
    fn set(&self) {
        self.poller.readiness().set(&self.slot, self.poller.kernel());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.poller.readiness().release(&self.slot);
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.set();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
    }
}

impl From<Waker> for std::task::Waker {
    fn from(waker: Waker) -> Self {
        waker.0.into()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").field("token", &self.token()).finish_non_exhaustive()
    }
}
