//! A wake from another thread.

use std::io;

use crate::{Registry, Token};

/// Makes [`Poll::poll`](crate::Poll::poll) return from any thread, with an event of its own.
///
/// However often it wakes between two polls, there is one event, which is readable. What was written
/// before [`wake`](Self::wake) is seen after the poll that reports it. A wake makes a system call
/// only if a thread sleeps in `poll`.
///
/// A `Poll` has one waker, which lives as long as it is needed; share it in an `Arc`.
///
/// ```
/// use mio::{Events, Poll, Token, Waker};
///
/// let mut poll = Poll::new()?;
/// let waker = Waker::new(poll.registry(), Token(10))?;
/// let thread = std::thread::spawn(move || waker.wake());
///
/// let mut events = Events::with_capacity(8);
/// poll.poll(&mut events, None)?;
/// assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(10)]);
/// thread.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Waker(anypoll::Waker);

impl Waker {
    /// A waker that is reported under `token`.
    ///
    /// # Errors
    ///
    /// None, as yet.
    ///
    /// # Panics
    ///
    /// In a debug build, if this `Poll` has had a waker before.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Waker> {
        #[cfg(debug_assertions)]
        registry.identity.claim_waker();
        Ok(Waker(registry.poller.waker(anypoll::Token(token.0))))
    }

    /// Has the token reported by a poll that runs, or by the next.
    ///
    /// # Errors
    ///
    /// None, as yet.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake();
        Ok(())
    }
}
