//! Messages to a thread that waits in a poller (feature `channel`).
//!
//! A bounded queue that takes no lock ([`crossbeam_queue::ArrayQueue`]), joined to a [`Waker`]: the
//! queue holds the messages, the waker says when to look. A send first queues its message and then
//! wakes, so whoever is woken, and takes all there is, misses none.

// For the way back, `full` is set by a sender that found no room, before it tries once more, and
// cleared by a receiver that has just made room. Both exchange it, so one of the two comes second and
// sees what the other did: the sender the room, or the receiver the mark.
//
// The tests compile this file a second time, over loom's atomics (`tests/loom_channel.rs`).

use std::fmt;
pub use std::sync::mpsc::{TryRecvError, TrySendError};

use crate::sync::{Arc, ArrayQueue, AtomicBool, AtomicUsize, Ordering};
use crate::waker::Waker;

/// A channel for at most `capacity` messages, whose receivers are told by `waker`.
///
/// After any send the waker's token is reported, and once more when the last sender is gone. There
/// may be one report for many messages: **receive until it says
/// [`Empty`](TryRecvError::Empty)**. Who stops before that, to turn to other objects, keeps a clone
/// of the waker and wakes it. With several threads that wait and receive, one of them sees a
/// report: who takes a message, or sees the end, wakes again for the next one before working on it.
///
/// Who finds it [`Full`](TrySendError::Full) gets the message back. A thread that has a poller, or
/// makes one for that, is told when to try again by [`bounded_with_room`].
///
/// # Panics
///
/// If `capacity` is 0, or more than memory could hold.
///
/// ```
/// use anypoll::channel::{self, TryRecvError};
/// use anypoll::{Events, Poller, Token};
///
/// let poller = Poller::new()?;
/// let (sender, receiver) = channel::bounded(64, poller.waker(Token(5)));
/// std::thread::spawn(move || {
///     for message in ["one", "two", "three"] {
///         sender.try_send(message).unwrap();
///     }
/// });
///
/// let mut events = Events::default();
/// let mut received = Vec::new();
/// 'open: loop {
///     poller.wait(&mut events, None)?;
///     assert_eq!(events.get(0).unwrap().token(), Token(5));
///     loop {
///         match receiver.try_recv() {
///             Ok(message) => received.push(message),
///             Err(TryRecvError::Empty) => break,
///             Err(TryRecvError::Disconnected) => break 'open,
///         }
///     }
/// }
/// assert_eq!(received, ["one", "two", "three"]);
/// # std::io::Result::Ok(())
/// ```
#[must_use]
pub fn bounded<T>(capacity: usize, waker: Waker) -> (Sender<T>, Receiver<T>) {
    channel(capacity, waker, None)
}

/// Like [`bounded`], and the senders are told by `room` when to try again.
///
/// After a [`try_send`](Sender::try_send) that said [`Full`](TrySendError::Full), the token of
/// `room` is reported as soon as a message was received, and when the last receiver is gone. It may
/// also be reported although another sender took the room since, or nobody waits for any. With
/// several threads that wait and send, one of them sees a report: who could send, or saw the end,
/// wakes `room` again for the next at once.
///
/// # Panics
///
/// As [`bounded`].
#[must_use]
pub fn bounded_with_room<T>(
    capacity: usize,
    waker: Waker,
    room: Waker,
) -> (Sender<T>, Receiver<T>) {
    channel(capacity, waker, Some(room))
}

fn channel<T>(capacity: usize, waker: Waker, room: Option<Waker>) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel with room for no message could never be used");
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity),
        waker,
        room,
        full: AtomicBool::new(false),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    (Sender(shared.clone()), Receiver(shared))
}

struct Shared<T> {
    queue: ArrayQueue<T>,
    waker: Waker,
    room: Option<Waker>,
    /// A sender found no room since the last message was received.
    full: AtomicBool,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

impl<T> Shared<T> {
    fn push(&self, message: T) -> Result<(), T> {
        let mut message = match (self.queue.push(message), &self.room) {
            (Err(message), Some(_)) => message,
            (result, _) => return result,
        };
        self.full.swap(true, Ordering::AcqRel);
        loop {
            match self.queue.push(message) {
                // A receiver has taken the mark, and another sender the room: that report may be
                // over already.
                Err(back) if !self.full.swap(true, Ordering::AcqRel) => message = back,
                result => return result,
            }
        }
    }

    fn pop(&self) -> Option<T> {
        let message = self.queue.pop()?;
        if let Some(room) = &self.room {
            if self.full.swap(false, Ordering::AcqRel) {
                room.wake();
            }
        }
        Some(message)
    }
}

/// The end of a channel that sends. Clones send into the same channel.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Queues a message, and wakes the receivers' waker. Never blocks, takes no lock and allocates
    /// nothing.
    ///
    /// # Errors
    ///
    /// The message comes back in the error: [`Full`](TrySendError::Full), or
    /// [`Disconnected`](TrySendError::Disconnected) if no receiver is left. A message that is sent
    /// just when the last receiver goes is dropped with the channel.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        if self.0.receivers.load(Ordering::Acquire) == 0 {
            return Err(TrySendError::Disconnected(message));
        }
        self.0.push(message).map_err(TrySendError::Full)?;
        self.0.waker.wake();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.waker.wake();
        }
    }
}

/// The end of a channel that receives. Clones take from the same channel, each message once.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// Takes the oldest message. Never blocks, takes no lock and allocates nothing.
    ///
    /// # Errors
    ///
    /// [`Empty`](TryRecvError::Empty): the waker's token is reported after the next send.
    /// [`Disconnected`](TryRecvError::Disconnected): all was received, and no sender is left.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        if let Some(message) = self.0.pop() {
            return Ok(message);
        }
        if self.0.senders.load(Ordering::Acquire) != 0 {
            return Err(TryRecvError::Empty);
        }
        // What was sent between the two looks was sent before the end.
        self.0.pop().ok_or(TryRecvError::Disconnected)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.receivers.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<T> Drop for Receiver<T> {
    /// Nobody will receive what is left, so it is dropped with the last receiver.
    fn drop(&mut self) {
        if self.0.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            // First, since dropping a message may panic.
            if let Some(room) = &self.0.room {
                room.wake();
            }
            while self.0.queue.pop().is_some() {}
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("waker", &self.0.waker).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("waker", &self.0.waker).finish_non_exhaustive()
    }
}
