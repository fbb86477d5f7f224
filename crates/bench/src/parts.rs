//! What stands beside a poller, channels and timers, beside what else would do the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anypoll::channel::TryRecvError;

use crate::peers::{Anypoll, Peer};
use crate::workloads::seconds;

/// Messages to a thread that waits in a poller.
pub(crate) trait Channel: Sized {
    const NAME: &'static str;
    type Sender: Clone + Send;

    fn new() -> (Self::Sender, Self);
    /// Whether there was room.
    fn send(sender: &Self::Sender, message: usize) -> bool;
    /// Waits once, then takes all there is. Returns whether there will be more.
    fn receive(&mut self, each: impl FnMut(usize)) -> bool;
}

const CAPACITY: usize = 1024;

pub(crate) struct AnypollChannel {
    poller: anypoll::Poller,
    events: anypoll::Events,
    receiver: anypoll::channel::Receiver<usize>,
}

impl Channel for AnypollChannel {
    const NAME: &'static str = Anypoll::NAME;
    type Sender = anypoll::channel::Sender<usize>;

    fn new() -> (Self::Sender, Self) {
        let poller = anypoll::Poller::new().unwrap();
        let waker = poller.waker(anypoll::Token(0));
        let (sender, receiver) = anypoll::channel::bounded(CAPACITY, waker);
        (sender, Self { poller, events: anypoll::Events::default(), receiver })
    }

    fn send(sender: &Self::Sender, message: usize) -> bool {
        sender.try_send(message).is_ok()
    }

    fn receive(&mut self, each: impl FnMut(usize)) -> bool {
        self.poller.wait(&mut self.events, None).unwrap();
        drain(|| self.receiver.try_recv(), each)
    }
}

fn drain(
    mut receive: impl FnMut() -> Result<usize, TryRecvError>,
    mut each: impl FnMut(usize),
) -> bool {
    loop {
        match receive() {
            Ok(message) => each(message),
            Err(error) => return error == TryRecvError::Empty,
        }
    }
}

/// A sender that wakes mio's poll after each message, and when it is dropped.
pub(crate) struct Waking<S> {
    /// `None` while it is dropped: the end must be there before the last wake.
    sender: Option<S>,
    waker: Arc<mio::Waker>,
}

impl<S> Waking<S> {
    fn wake_if(&self, was_sent: bool) -> bool {
        if was_sent {
            self.waker.wake().unwrap();
        }
        was_sent
    }

    fn get(&self) -> &S {
        self.sender.as_ref().expect("it is there until the drop")
    }
}

impl<S: Clone> Clone for Waking<S> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<S> Drop for Waking<S> {
    fn drop(&mut self) {
        self.sender = None;
        let _ = self.waker.wake();
    }
}

pub(crate) struct WithMio<R> {
    poll: mio::Poll,
    events: mio::Events,
    receiver: R,
    /// Dropping the last one takes back a wake that was not yet seen: the end's.
    _waker: Arc<mio::Waker>,
}

impl<R> WithMio<R> {
    fn new<S>((sender, receiver): (S, R)) -> (Waking<S>, Self) {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let events = mio::Events::with_capacity(CAPACITY);
        let this = Self { poll, events, receiver, _waker: waker.clone() };
        (Waking { sender: Some(sender), waker }, this)
    }
}

impl Channel for WithMio<crossbeam_channel::Receiver<usize>> {
    const NAME: &'static str = "crossbeam-channel + mio";
    type Sender = Waking<crossbeam_channel::Sender<usize>>;

    fn new() -> (Self::Sender, Self) {
        Self::new(crossbeam_channel::bounded(CAPACITY))
    }

    fn send(sender: &Self::Sender, message: usize) -> bool {
        sender.wake_if(sender.get().try_send(message).is_ok())
    }

    fn receive(&mut self, each: impl FnMut(usize)) -> bool {
        self.poll.poll(&mut self.events, None).unwrap();
        let receive = || {
            self.receiver.try_recv().map_err(|error| match error {
                crossbeam_channel::TryRecvError::Empty => TryRecvError::Empty,
                crossbeam_channel::TryRecvError::Disconnected => TryRecvError::Disconnected,
            })
        };
        drain(receive, each)
    }
}

impl Channel for WithMio<mpsc::Receiver<usize>> {
    const NAME: &'static str = "std mpsc + mio";
    type Sender = Waking<mpsc::SyncSender<usize>>;

    fn new() -> (Self::Sender, Self) {
        Self::new(mpsc::sync_channel(CAPACITY))
    }

    fn send(sender: &Self::Sender, message: usize) -> bool {
        sender.wake_if(sender.get().try_send(message).is_ok())
    }

    fn receive(&mut self, each: impl FnMut(usize)) -> bool {
        self.poll.poll(&mut self.events, None).unwrap();
        drain(|| self.receiver.try_recv(), each)
    }
}

/// So many threads send so many messages each; one thread waits and receives.
pub(crate) fn channel<C: Channel>(senders: usize, count: usize) -> f64 {
    let (sender, mut receiver) = C::new();
    let mut received = 0;
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..senders {
            let sender = sender.clone();
            scope.spawn(move || {
                for message in 0..count {
                    while !C::send(&sender, message) {
                        thread::yield_now();
                    }
                }
            });
        }
        drop(sender);
        while receiver.receive(|_| received += 1) {}
    });
    assert_eq!(received, senders * count);
    seconds(start, received)
}

/// One thread: a message, then the wait that reports it.
pub(crate) fn one_message<C: Channel>(count: usize) -> f64 {
    let (sender, mut receiver) = C::new();
    let mut received = 0;
    let start = Instant::now();
    for message in 0..count {
        assert!(C::send(&sender, message));
        while received == message {
            receiver.receive(|_| received += 1);
        }
    }
    seconds(start, count)
}

/// Deadlines in user space, each with a value.
pub(crate) trait Deadlines {
    const NAME: &'static str;
    type Key;

    fn new() -> Self;
    fn insert(&mut self, deadline: Instant, value: usize) -> Self::Key;
    fn cancel(&mut self, key: Self::Key);
    /// The earliest, exactly.
    fn next(&mut self) -> Option<Instant>;
}

/// Those that also hand out what is due at a time that they are told.
pub(crate) trait Expire: Deadlines {
    fn expire(&mut self, now: Instant) -> Option<usize>;
}

impl Deadlines for anypoll::timers::Timers<usize> {
    const NAME: &'static str = Anypoll::NAME;
    type Key = anypoll::timers::Key;

    fn new() -> Self {
        Self::new()
    }

    fn insert(&mut self, deadline: Instant, value: usize) -> Self::Key {
        self.insert(deadline, value)
    }

    fn cancel(&mut self, key: Self::Key) {
        self.cancel(key).unwrap();
    }

    fn next(&mut self) -> Option<Instant> {
        self.next_deadline()
    }
}

impl Expire for anypoll::timers::Timers<usize> {
    fn expire(&mut self, now: Instant) -> Option<usize> {
        self.expire(now).map(|(_, value)| value)
    }
}

#[derive(Default)]
pub(crate) struct Tree {
    last_id: u64,
    values: BTreeMap<(Instant, u64), usize>,
}

impl Deadlines for Tree {
    const NAME: &'static str = "BTreeMap";
    type Key = (Instant, u64);

    fn new() -> Self {
        Self::default()
    }

    fn insert(&mut self, deadline: Instant, value: usize) -> Self::Key {
        self.last_id += 1;
        self.values.insert((deadline, self.last_id), value);
        (deadline, self.last_id)
    }

    fn cancel(&mut self, key: Self::Key) {
        self.values.remove(&key).unwrap();
    }

    fn next(&mut self) -> Option<Instant> {
        self.values.first_key_value().map(|((deadline, _), _)| *deadline)
    }
}

impl Expire for Tree {
    fn expire(&mut self, now: Instant) -> Option<usize> {
        let first = self.values.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }
}

/// What was cancelled stays in the heap until it comes up, or until it is most of it.
#[derive(Default)]
pub(crate) struct LazyHeap {
    last_id: u64,
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    values: HashMap<u64, usize>,
}

impl Deadlines for LazyHeap {
    const NAME: &'static str = "BinaryHeap, lazy";
    type Key = u64;

    fn new() -> Self {
        Self::default()
    }

    fn insert(&mut self, deadline: Instant, value: usize) -> Self::Key {
        self.last_id += 1;
        self.heap.push(Reverse((deadline, self.last_id)));
        self.values.insert(self.last_id, value);
        self.last_id
    }

    fn cancel(&mut self, key: Self::Key) {
        self.values.remove(&key).unwrap();
        if self.heap.len() > 2 * self.values.len() + 64 {
            self.heap.retain(|Reverse((_, id))| self.values.contains_key(id));
        }
    }

    fn next(&mut self) -> Option<Instant> {
        loop {
            let Reverse((deadline, id)) = self.heap.peek()?;
            if self.values.contains_key(id) {
                return Some(*deadline);
            }
            self.heap.pop();
        }
    }
}

impl Expire for LazyHeap {
    fn expire(&mut self, now: Instant) -> Option<usize> {
        self.next().filter(|deadline| *deadline <= now)?;
        let Reverse((_, id)) = self.heap.pop()?;
        self.values.remove(&id)
    }
}

/// Milliseconds, and a runtime's clock: it expires only while that runs, not at a time that it is
/// told, so it takes no part in expiring. To insert and cancel it is enough to have entered one.
pub(crate) struct DelayQueue {
    queue: tokio_util::time::DelayQueue<usize>,
    runtime: tokio::runtime::Runtime,
}

impl Deadlines for DelayQueue {
    const NAME: &'static str = "tokio-util DelayQueue";
    type Key = tokio_util::time::delay_queue::Key;

    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let queue = {
            let _entered = runtime.enter();
            tokio_util::time::DelayQueue::new()
        };
        Self { queue, runtime }
    }

    fn insert(&mut self, deadline: Instant, value: usize) -> Self::Key {
        let _entered = self.runtime.enter();
        self.queue.insert_at(value, deadline.into())
    }

    fn cancel(&mut self, key: Self::Key) {
        let _entered = self.runtime.enter();
        self.queue.remove(&key);
    }

    /// Left out, in its favour: it sleeps for its user, and a look from outside searches a whole
    /// slot of its wheel.
    fn next(&mut self) -> Option<Instant> {
        None
    }
}

/// Spread over a minute, an hour from now, without order.
fn deadlines(start: Instant) -> impl Iterator<Item = Instant> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        start + Duration::from_secs(3600) + Duration::from_nanos(state % 60_000_000_000)
    })
}

/// A timeout that begins anew among so many live ones, and the look at the next deadline.
pub(crate) fn reset<D: Deadlines>(live: usize, count: usize) -> f64 {
    let mut timers = D::new();
    let mut deadlines = deadlines(Instant::now());
    let mut keys: Vec<_> =
        (&mut deadlines).take(live).enumerate().map(|(n, at)| timers.insert(at, n)).collect();
    let new: Vec<_> = deadlines.take(count).collect();
    let start = Instant::now();
    for (i, at) in new.into_iter().enumerate() {
        // A stride that meets each of them, far from its neighbours in time.
        let which = i * 7919 % live;
        let key = timers.insert(at, which);
        timers.cancel(std::mem::replace(&mut keys[which], key));
        std::hint::black_box(timers.next());
    }
    seconds(start, count)
}

/// So many are inserted and expire, each with a look at the next deadline.
pub(crate) fn expire<D: Expire>(live: usize) -> f64 {
    let mut timers = D::new();
    let begin = Instant::now();
    let deadlines: Vec<_> = deadlines(begin).take(live).collect();
    let start = Instant::now();
    for (value, at) in deadlines.into_iter().enumerate() {
        timers.insert(at, value);
    }
    let mut expired = 0;
    while let Some(now) = timers.next() {
        assert!(timers.expire(now).is_some());
        expired += 1;
    }
    assert_eq!(expired, live);
    seconds(start, live)
}
