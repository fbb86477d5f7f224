//! Deadlines in user space.

// A heap of deadlines in which every parent has four children, and beside it a table of slots that
// hold the values and say where in the heap each one's deadline is, so that any can be taken out.
// A number that is never given twice names each timer: it tells a stale key from a live one, and
// orders those that are due at the same moment.
//
// Why four: measured with 1,000 and 1,000,000 live timers, that does best over resetting timeouts and
// expiring together. Two children take up to 1.7 times as long; a `BTreeMap` and a heap that keeps
// what was cancelled until it comes up are in docs/performance.md. A wheel, quickest to expire,
// searches a whole slot for the exact next deadline: 150 times as long when the earliest of 1,000,000
// is cancelled each time.

use std::fmt;
use std::time::Instant;

/// Any number of deadlines, each with a value.
///
/// It knows nothing of a [`Poller`](crate::Poller): [`next_deadline`](Self::next_deadline) is what
/// [`wait_until`](crate::Poller::wait_until) takes, and [`expire`](Self::expire) is asked after each
/// wait. Inserting and taking out cost time in proportion to the logarithm of the number of live
/// timers, and allocate nothing once there were as many at the same time before.
///
/// ```
/// use anypoll::timers::Timers;
/// use anypoll::{Events, Poller};
/// use std::time::{Duration, Instant};
///
/// let poller = Poller::new()?;
/// let mut events = Events::default();
/// let mut timers = Timers::new();
///
/// let now = Instant::now();
/// timers.insert(now + Duration::from_millis(2), "second");
/// timers.insert(now + Duration::from_millis(1), "first");
/// let third = timers.insert(now + Duration::from_secs(60), "third");
/// assert_eq!(timers.cancel(third), Some("third"));
/// assert_eq!(timers.cancel(third), None);
///
/// let mut fired = Vec::new();
/// while !timers.is_empty() {
///     poller.wait_until(&mut events, timers.next_deadline())?;
///     let now = Instant::now();
///     while let Some((_deadline, value)) = timers.expire(now) {
///         fired.push(value);
///     }
/// }
/// assert_eq!(fired, ["first", "second"]);
/// # std::io::Result::Ok(())
/// ```
pub struct Timers<T> {
    heap: Vec<Node>,
    slots: Vec<Slot<T>>,
    /// The first free slot; its `place` is the next.
    free: usize,
    last_id: u64,
}

/// Names one timer of one [`Timers`], for [`Timers::cancel`].
///
/// Once the timer is gone its key is stale, which is harmless: it never names another. A key means
/// nothing to another `Timers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    slot: usize,
    id: u64,
}

/// Ordered by deadline, then by the order of inserting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    deadline: Instant,
    id: u64,
    slot: usize,
}

struct Slot<T> {
    /// 0 while it is free.
    id: u64,
    /// Where in the heap its node is.
    place: usize,
    value: Option<T>,
}

const CHILDREN: usize = 4;
const NONE: usize = usize::MAX;

impl<T> Timers<T> {
    /// None yet. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { heap: Vec::new(), slots: Vec::new(), free: NONE, last_id: 0 }
    }

    /// How many are live: neither expired nor cancelled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Adds a timer. A deadline that has passed is due at once. (`Instant::now() + timeout` panics
    /// beyond what an `Instant` can say: `checked_add` does not, and what it finds no moment for needs
    /// no timer.)
    pub fn insert(&mut self, deadline: Instant, value: T) -> Key {
        self.last_id += 1;
        let id = self.last_id;
        let place = self.heap.len();
        let filled = Slot { id, place, value: Some(value) };
        let slot = if let Some(slot) = self.slots.get_mut(self.free) {
            let next = slot.place;
            *slot = filled;
            std::mem::replace(&mut self.free, next)
        } else {
            self.slots.push(filled);
            self.slots.len() - 1
        };
        self.heap.push(Node { deadline, id, slot });
        self.rise(place);
        Key { slot, id }
    }

    /// Takes a timer out before it has expired, and gives its value back. `None` if it is gone.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get(key.slot).filter(|slot| slot.id == key.id)?;
        Some(self.take(slot.place)?.1)
    }

    /// Moves a timer to another deadline, as a timeout that begins anew. `false` if it is gone.
    pub fn reset(&mut self, key: Key, deadline: Instant) -> bool {
        let Some(slot) = self.slots.get(key.slot).filter(|slot| slot.id == key.id) else {
            return false;
        };
        let place = slot.place;
        self.heap[place].deadline = deadline;
        self.rise(place);
        self.sink(self.slots[key.slot].place);
        true
    }

    /// The earliest deadline, to wait until.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heap.first().map(|node| node.deadline)
    }

    /// Takes out the first timer that is due at `now`, with its deadline; `None` when no more is.
    ///
    /// Earlier deadlines come first, and of the same deadline those that were inserted first. Ask
    /// until it says `None`, with the same `now`: a loop that inserts what is due at once, and asks
    /// for the time anew at each step, need not end. A period that is added to the deadline, not to
    /// `now`, does not drift.
    pub fn expire(&mut self, now: Instant) -> Option<(Instant, T)> {
        self.next_deadline().filter(|deadline| *deadline <= now)?;
        self.take(0)
    }

    fn take(&mut self, place: usize) -> Option<(Instant, T)> {
        let node = self.heap.swap_remove(place);
        if place < self.heap.len() {
            // The last node is in its place now, and may belong higher or lower.
            self.rise(place);
            self.sink(place);
        }
        let slot = &mut self.slots[node.slot];
        slot.id = 0;
        slot.place = std::mem::replace(&mut self.free, node.slot);
        Some((node.deadline, slot.value.take()?))
    }

    fn put(&mut self, place: usize, node: Node) {
        self.heap[place] = node;
        self.slots[node.slot].place = place;
    }

    /// Leaves a node that is not to rise as it is.
    fn rise(&mut self, start: usize) {
        let node = self.heap[start];
        let mut place = start;
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            let above = self.heap[parent];
            if above < node {
                break;
            }
            self.put(place, above);
            place = parent;
        }
        if place != start {
            self.put(place, node);
        }
    }

    fn sink(&mut self, mut place: usize) {
        let node = self.heap[place];
        loop {
            let first = place * CHILDREN + 1;
            let children = first..(first + CHILDREN).min(self.heap.len());
            let Some(child) = children.min_by_key(|child| self.heap[*child]) else { break };
            let below = self.heap[child];
            if node < below {
                break;
            }
            self.put(place, below);
            place = child;
        }
        self.put(place, node);
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Timers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("len", &self.len())
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}
