//! The channel by exhaustion: the shipped file over loom's atomics, a queue that promises no more
//! than it must, and a waker that is what wakers promise to be. A wake that is lost is a deadlock
//! here.
//!
//! It would find the same everywhere, so it runs on Linux alone.

#![cfg(target_os = "linux")]

#[allow(dead_code, unreachable_pub, reason = "not every part is driven here")]
#[path = "../src/channel.rs"]
mod channel;

/// What `channel` is built from, here loom's.
mod sync {
    use std::collections::VecDeque;

    pub(crate) use loom::sync::Arc;
    use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Says that it is full or empty from what it saw last, unless something else has made sure
    /// that it sees more.
    pub(crate) struct ArrayQueue<T> {
        capacity: usize,
        len: AtomicUsize,
        messages: Mutex<VecDeque<T>>,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self { capacity, len: AtomicUsize::new(0), messages: Mutex::new(VecDeque::new()) }
        }

        pub(crate) fn push(&self, message: T) -> Result<(), T> {
            if self.len.load(Ordering::Acquire) == self.capacity {
                crate::REFUSALS.set(crate::REFUSALS.get() + 1);
                return Err(message);
            }
            let mut messages = self.messages.lock().unwrap();
            if messages.len() == self.capacity {
                crate::REFUSALS.set(crate::REFUSALS.get() + 1);
                return Err(message);
            }
            messages.push_back(message);
            self.len.store(messages.len(), Ordering::Release);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            if self.len.load(Ordering::Acquire) == 0 {
                return None;
            }
            let mut messages = self.messages.lock().unwrap();
            let message = messages.pop_front();
            self.len.store(messages.len(), Ordering::Release);
            message
        }
    }
}

mod waker {
    use loom::sync::{Arc, Condvar, Mutex};

    #[derive(Clone, Default)]
    pub(crate) struct Waker(Arc<(Mutex<bool>, Condvar)>);

    impl Waker {
        pub(crate) fn wake(&self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_one();
        }

        /// Until it is reported.
        pub(crate) fn wait(&self) {
            let mut pending = self.0.0.lock().unwrap();
            while !*pending {
                pending = self.0.1.wait(pending).unwrap();
            }
            *pending = false;
        }

        pub(crate) fn is_pending(&self) -> bool {
            *self.0.0.lock().unwrap()
        }
    }

    impl std::fmt::Debug for Waker {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Waker")
        }
    }
}

use std::cell::Cell;

use channel::{Receiver, Sender, TryRecvError, TrySendError};
use loom::thread;
use waker::Waker;

std::thread_local! {
    /// How often a queue was full. Not loom's, whose threads share it: it is not searched.
    static REFUSALS: Cell<usize> = const { Cell::new(0) };
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Everything up to the end, looking only when woken.
fn receive_all(receiver: &Receiver<u32>, waker: &Waker) -> Vec<u32> {
    let mut received = Vec::new();
    loop {
        waker.wait();
        loop {
            match receiver.try_recv() {
                Ok(message) => received.push(message),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return received,
            }
        }
    }
}

/// Looks for room only when woken. Returns whether there was a receiver.
fn send(sender: &Sender<u32>, room: &Waker, message: u32) -> bool {
    loop {
        match sender.try_send(message) {
            Ok(()) => return true,
            Err(TrySendError::Full(_)) => room.wait(),
            Err(TrySendError::Disconnected(back)) => {
                assert_eq!(back, message);
                return false;
            }
        }
    }
}

#[test]
fn all_is_received_before_the_end() {
    check(|| {
        let waker = Waker::default();
        let (sender, receiver) = channel::bounded(2, waker.clone());
        let other = sender.clone();
        let senders = [(sender, 1), (other, 2)]
            .map(|(sender, message)| thread::spawn(move || sender.try_send(message).unwrap()));
        let mut received = receive_all(&receiver, &waker);
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn who_was_refused_is_told_of_room() {
    check(|| {
        let (waker, room) = (Waker::default(), Waker::default());
        let (sender, receiver) = channel::bounded_with_room(1, waker.clone(), room.clone());
        let sending = thread::spawn(move || {
            for message in 1..=3 {
                assert!(send(&sender, &room, message));
            }
        });
        assert_eq!(receive_all(&receiver, &waker), [1, 2, 3]);
        sending.join().unwrap();
    });
}

/// Also if an earlier report was over before the last look that found no room.
#[test]
fn a_refusal_is_followed_by_a_report() {
    check(|| {
        let room = Waker::default();
        let (sender, receiver) = channel::bounded_with_room(1, Waker::default(), room.clone());
        sender.try_send(0).unwrap();
        let other = sender.clone();
        let sending = thread::spawn(move || other.try_send(1).is_err());
        assert_eq!(receiver.try_recv(), Ok(0));
        let reported = room.is_pending().then(|| {
            room.wait();
            REFUSALS.get()
        });
        let _ = sender.try_send(2);
        let was_refused = sending.join().unwrap();
        if was_refused && reported.is_none_or(|before| before < REFUSALS.get()) {
            assert_eq!(receiver.try_recv(), Ok(2));
            assert!(room.is_pending());
        }
    });
}

#[test]
fn who_was_refused_is_told_of_the_end() {
    check(|| {
        let (waker, room) = (Waker::default(), Waker::default());
        let (sender, receiver) = channel::bounded_with_room(1, waker, room.clone());
        let other = receiver.clone();
        let receivers = [receiver, other].map(|receiver| thread::spawn(move || drop(receiver)));
        let mut message = 0;
        while send(&sender, &room, message) {
            message += 1;
        }
        for receiver in receivers {
            receiver.join().unwrap();
        }
    });
}

#[test]
fn two_receivers_take_each_message_once() {
    check(|| {
        let waker = Waker::default();
        let (sender, receiver) = channel::bounded(2, waker.clone());
        let receiving = thread::spawn({
            let receiver = receiver.clone();
            move || receiver.try_recv()
        });
        for message in 1..=2 {
            sender.try_send(message).unwrap();
        }
        let mut received: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        match receiving.join().unwrap() {
            Ok(message) => received.push(message),
            Err(error) => assert_eq!(error, TryRecvError::Empty),
        }
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
        assert!(waker.is_pending());
    });
}
