//! Readiness that the kernel does not know of, and the wait that joins it to the kernel's.
//!
//! A *slot* holds the event that it reports and one pending bit. A [`Waker`](crate::Waker) is a
//! slot; so is an object that is always ready, whose bit stays set (`Repeat::EachWait`), and so is
//! a posted event, whose slot is free again once it was reported.
//!
//! Setting a bit takes no lock. It is followed by the bit's group in `state`, unless that stands for
//! the bit already. Who goes to sleep announces it first, and then looks at `state`; who sets a bit looks for sleepers after it: both
//! sequentially consistent, so at least one sees the other. Only a sleeper that is seen costs a
//! system call, the *notice*. `NOTIFIED` keeps notices down to one in flight: it is set by who sends
//! one and cleared by the wait that receives it, before it collects bits.
//!
//! While a thread collects, `COLLECTING` stands for what it will leave: another look waits for it.
//!
//! One sleeper has a flag of its own, since raising and lowering that costs half of what counting
//! does, and most pollers have one waiting thread. Others are counted in `state`.
//!
//! Bits are collected under the lock of the slots, so a slot cannot change hands between the
//! taking of its bit and the reading of its event. Collecting starts where the last one stopped:
//! a slot that is set again at once waits until all others had their turn.
//!
//! The tests compile this file a second time, over loom's atomics (`tests/loom.rs`).

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, MutexGuard};

/// What a wait hands out.
pub(crate) trait Record: Copy {
    fn is_notice(&self) -> bool;
}

/// The part of a backend that a wait needs.
pub(crate) trait Kernel {
    type Event: Record;

    /// Appends at most `limit` events to what is in `events`, which has room for them.
    ///
    /// May return early, and with nothing. A notice is appended as an event of its own.
    fn wait(&self, events: &mut Vec<Self::Event>, limit: usize, timeout: Timeout)
    -> io::Result<()>;

    /// Makes a `wait` that runs or comes return with a notice. Safe in a signal handler.
    fn notify(&self);
}

/// Whether a slot is done once it was reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Never,
    EachWait,
}

/// What a signal handler does to a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSignal {
    Continue,
    Return,
}

const WORD: usize = usize::BITS as usize;
/// One thread more that will sleep; the lowest bits of `state` count them, with room for as many
/// threads as a system may have.
const SLEEPER: usize = 1;
const COUNT: usize = if WORD == 64 { 24 } else { 16 };
/// A descriptor was handed out: somebody may sleep elsewhere.
const WATCHED: usize = 1 << COUNT;
const ANYBODY: usize = 2 * WATCHED - 1;
/// A notice is on its way.
const NOTIFIED: usize = 1 << (COUNT + 1);
const INTERRUPT: usize = 1 << (COUNT + 2);
/// A thread collects, and what it will leave is not marked yet.
const COLLECTING: usize = 1 << (COUNT + 3);
/// The other bits stand for groups of words.
const FIRST_GROUP: usize = COUNT + 4;
const GROUPS: usize = WORD - FIRST_GROUP;
const PENDING: usize = !(ANYBODY | NOTIFIED);

fn group(word: usize) -> usize {
    1 << (word % GROUPS + FIRST_GROUP)
}

/// The pending bit of one slot, to be set from anywhere.
#[derive(Debug)]
pub(crate) struct Slot {
    word: Arc<AtomicUsize>,
    index: usize,
}

impl Slot {
    fn bit(&self) -> usize {
        1 << (self.index % WORD)
    }
}

#[derive(Debug)]
struct Entry<E> {
    event: E,
    each_wait: bool,
    /// Nobody can set it any more: it is free once its bit was collected.
    released: bool,
}

#[derive(Debug)]
struct Slots<E> {
    entries: Vec<Entry<E>>,
    words: Vec<Arc<AtomicUsize>>,
    free: Vec<usize>,
    /// Where the next collecting starts.
    cursor: usize,
}

#[derive(Debug)]
pub(crate) struct Readiness<E> {
    state: AtomicUsize,
    /// A thread will sleep.
    asleep: AtomicBool,
    /// Whose turn it is when the buffer has room for one.
    turn: AtomicBool,
    slots: Mutex<Slots<E>>,
}

impl<E: Record> Readiness<E> {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            turn: AtomicBool::new(false),
            slots: Mutex::new(Slots {
                entries: Vec::new(),
                words: Vec::new(),
                free: Vec::new(),
                cursor: 0,
            }),
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots<E>> {
        self.slots.lock().expect("nothing panics while it holds this lock")
    }

    /// A slot that reports `event` each time it is set.
    pub(crate) fn slot(&self, event: E, repeat: Repeat) -> Slot {
        let mut slots = self.slots();
        let entry = Entry { event, each_wait: repeat == Repeat::EachWait, released: false };
        let index = if let Some(index) = slots.free.pop() {
            slots.entries[index] = entry;
            index
        } else {
            if slots.entries.len().is_multiple_of(WORD) {
                slots.words.push(Arc::new(AtomicUsize::new(0)));
            }
            slots.entries.push(entry);
            // Room for every slot at once, so that giving one up never allocates.
            let slots = &mut *slots;
            slots.free.reserve(slots.entries.len());
            slots.entries.len() - 1
        };
        Slot { word: Arc::clone(&slots.words[index / WORD]), index }
    }

    /// Marks a slot as ready. No lock, no allocation, at most one system call.
    pub(crate) fn set(&self, slot: &Slot, kernel: &(impl Kernel + ?Sized)) {
        let group = group(slot.index / WORD);
        let was_set = slot.word.fetch_or(slot.bit(), SeqCst) & slot.bit() != 0;
        let state = if was_set { self.state.load(SeqCst) } else { 0 };
        // Who collects clears the group first: while it stands, this bit is yet to be collected.
        if state & group == 0 {
            self.announce(group, kernel);
        } else if state & NOTIFIED == 0 && (state & ANYBODY != 0 || self.asleep.load(SeqCst)) {
            // Whoever set it has not come to that yet.
            self.notify(kernel);
        }
    }

    /// Gives a slot up. What was set before is still reported.
    pub(crate) fn release(&self, slot: &Slot) {
        let mut slots = self.slots();
        if slot.word.load(Acquire) & slot.bit() == 0 {
            slots.free.push(slot.index);
        } else {
            slots.entries[slot.index].released = true;
        }
    }

    /// Gives a slot up, and takes back what was set.
    pub(crate) fn remove(&self, slot: &Slot) {
        let mut slots = self.slots();
        slot.word.fetch_and(!slot.bit(), AcqRel);
        slots.free.push(slot.index);
    }

    /// Makes one wait return, this one or the next.
    pub(crate) fn interrupt(&self, kernel: &(impl Kernel + ?Sized)) {
        self.announce(INTERRUPT, kernel);
    }

    /// From now on somebody may sleep on the kernel's object itself.
    pub(crate) fn watch(&self, kernel: &(impl Kernel + ?Sized)) {
        if self.state.fetch_or(WATCHED, AcqRel) & PENDING != 0 {
            self.notify(kernel);
        }
    }

    fn announce(&self, what: usize, kernel: &(impl Kernel + ?Sized)) {
        // The mark of a notice is set in the same step where it is likely to be needed.
        let mark = if self.asleep.load(Relaxed) { NOTIFIED } else { 0 };
        let before = self.state.fetch_or(what | mark, SeqCst);
        if before & NOTIFIED != 0 {
            return;
        }
        if mark != 0 {
            kernel.notify();
        } else if before & ANYBODY != 0 || self.asleep.load(SeqCst) {
            self.notify(kernel);
        }
    }

    #[cold]
    fn notify(&self, kernel: &(impl Kernel + ?Sized)) {
        if self.state.fetch_or(NOTIFIED, AcqRel) & NOTIFIED == 0 {
            kernel.notify();
        }
    }

    fn is_pending(&self) -> bool {
        self.state.load(Acquire) & PENDING != 0
    }

    /// Appends what is set while there is room. Returns whether there was an interrupt.
    #[cold]
    fn collect(
        &self,
        kernel: &(impl Kernel + ?Sized),
        events: &mut Vec<E>,
        was_noticed: bool,
    ) -> bool {
        let mut slots = self.slots();
        let Slots { entries, words, free, cursor } = &mut *slots;
        let cleared = if was_noticed { PENDING | NOTIFIED } else { PENDING };
        let begin = |state| Some(state & !cleared | COLLECTING);
        let pending = self.state.fetch_update(SeqCst, SeqCst, begin).unwrap_or(0) & PENDING;
        let groups = pending & !INTERRUPT;
        let (first, bit) = (*cursor / WORD, *cursor % WORD);
        let mut left = 0;
        // The word in which the cursor stands is visited twice: from there on, and up to there.
        let order = (first..words.len()).chain(0..first + usize::from(bit > 0));
        for (step, nth) in order.enumerate() {
            if events.len() == events.capacity() && left == groups {
                break;
            }
            if groups & group(nth) == 0 {
                continue;
            }
            let part = match step {
                0 => usize::MAX << bit,
                _ if nth == first => !(usize::MAX << bit),
                _ => usize::MAX,
            };
            let mut set = words[nth].load(SeqCst) & part;
            let mut taken = 0;
            while set != 0 {
                if events.len() == events.capacity() {
                    left |= group(nth);
                    break;
                }
                let one = set & set.wrapping_neg();
                set &= !one;
                let index = nth * WORD + one.trailing_zeros() as usize;
                let entry = &mut entries[index];
                events.push(entry.event);
                *cursor = index + 1;
                if entry.each_wait {
                    left |= group(nth);
                } else {
                    taken |= one;
                    if std::mem::take(&mut entry.released) {
                        free.push(index);
                    }
                }
            }
            if taken != 0 {
                words[nth].fetch_and(!taken, AcqRel);
            }
        }
        if *cursor == entries.len() {
            *cursor = 0;
        }
        let end = |state| Some(state & !COLLECTING | left);
        let before = self.state.fetch_update(SeqCst, SeqCst, end).unwrap_or(0);
        drop(slots);
        // What this wait leaves behind is another's.
        if left != 0 && (before & ANYBODY != 0 || self.asleep.load(SeqCst)) {
            self.notify(kernel);
        }
        pending & INTERRUPT != 0
    }

    /// Waits for either kind of readiness and appends it to `events`, up to its capacity.
    #[inline(always)]
    pub(crate) fn wait<K: Kernel<Event = E> + ?Sized>(
        &self,
        kernel: &K,
        events: &mut Vec<E>,
        deadline: &Deadline,
    ) -> io::Result<()> {
        let start = events.len();
        if start == events.capacity() {
            return Err(no_room());
        }
        match self.wait_alone(kernel, events, deadline.timeout) {
            Some(Ok(()))
                if events.len() > start && self.state.load(Acquire) & (PENDING | NOTIFIED) == 0 =>
            {
                Ok(())
            }
            asked => self.wait_on(kernel, events, start, asked, deadline),
        }
    }

    /// The rest of a wait which has not brought events of the kernel alone.
    #[cold]
    fn wait_on<K: Kernel<Event = E> + ?Sized>(
        &self,
        kernel: &K,
        events: &mut Vec<E>,
        start: usize,
        mut asked: Option<io::Result<()>>,
        deadline: &Deadline,
    ) -> io::Result<()> {
        loop {
            let (result, mut again) = match asked {
                Some(result) => (result, false),
                None => self.wait_beside(kernel, events),
            };
            let state = self.state.load(Acquire);
            // A notice in the batch was sent after the mark was set, and nobody else clears it.
            let was_noticed = state & NOTIFIED != 0 && Self::take_notice(events, start);
            // It may have taken the room of an event.
            again |= was_noticed;
            let is_due = was_noticed || state & PENDING != 0;
            let interrupted = is_due && self.collect(kernel, events, was_noticed);
            if events.len() > start || interrupted {
                return Ok(());
            }
            match Self::next_timeout(result, again, deadline) {
                ControlFlow::Continue(next) => asked = self.wait_alone(kernel, events, next),
                ControlFlow::Break(result) => return result,
            }
        }
    }

    /// What to do after a wait that brought nothing.
    #[cold]
    fn next_timeout(
        result: io::Result<()>,
        again: bool,
        deadline: &Deadline,
    ) -> ControlFlow<io::Result<()>, Timeout> {
        if let Err(error) = result {
            if error.kind() != io::ErrorKind::Interrupted || deadline.on_signal == OnSignal::Return
            {
                return ControlFlow::Break(Err(error));
            }
        }
        match deadline.remaining() {
            Timeout::ZERO if !again => ControlFlow::Break(Ok(())),
            remaining => ControlFlow::Continue(remaining),
        }
    }

    /// Asks the kernel alone. `None`, and it was not asked, if a slot is set.
    #[inline(always)]
    fn wait_alone<K: Kernel<Event = E> + ?Sized>(
        &self,
        kernel: &K,
        events: &mut Vec<E>,
        timeout: Timeout,
    ) -> Option<io::Result<()>> {
        let room = events.capacity() - events.len();
        if self.is_pending() {
            return None;
        }
        if timeout == Timeout::ZERO {
            return Some(kernel.wait(events, room, timeout));
        }
        let has_the_flag = !self.asleep.swap(true, SeqCst);
        if !has_the_flag {
            self.state.fetch_add(SLEEPER, SeqCst);
        }
        let is_pending = self.state.load(SeqCst) & PENDING != 0;
        let result = if is_pending { None } else { Some(kernel.wait(events, room, timeout)) };
        if has_the_flag {
            self.asleep.store(false, Release);
        } else {
            self.state.fetch_sub(SLEEPER, AcqRel);
        }
        result
    }

    /// Looks at what the kernel has while slots are set, which get the rest of the room. Returns
    /// also whether it is to be asked again if that brought nothing, since it was not asked now.
    #[cold]
    fn wait_beside<K: Kernel<Event = E> + ?Sized>(
        &self,
        kernel: &K,
        events: &mut Vec<E>,
    ) -> (io::Result<()>, bool) {
        let room = events.capacity() - events.len();
        let limit =
            if room == 1 { usize::from(self.turn.fetch_xor(true, Relaxed)) } else { room / 2 };
        if limit == 0 {
            return (Ok(()), true);
        }
        (kernel.wait(events, limit, Timeout::ZERO), false)
    }

    fn take_notice(events: &mut Vec<E>, start: usize) -> bool {
        let notice = events[start..].iter().position(Record::is_notice);
        notice.is_some_and(|at| {
            events.swap_remove(start + at);
            true
        })
    }
}

#[cold]
fn no_room() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the Events have no room left: make them with a capacity of at least 1",
    )
}

/// How long to sleep, in nanoseconds. What is longer than those can say is as good as for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(u64);

impl Timeout {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const FOREVER: Self = Self(u64::MAX);

    #[inline]
    fn new(duration: Duration) -> Self {
        u64::try_from(duration.as_nanos()).map_or(Self::FOREVER, Self)
    }

    pub(crate) fn nanoseconds(self) -> Option<u64> {
        (self != Self::FOREVER).then_some(self.0)
    }
}

/// When a wait ends without an event.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// What is left at the start.
    timeout: Timeout,
    at: Option<Instant>,
    on_signal: OnSignal,
}

impl Deadline {
    #[inline]
    pub(crate) fn after(timeout: Option<Duration>, on_signal: OnSignal) -> Self {
        let timeout = timeout.map_or(Timeout::FOREVER, Timeout::new);
        let ends = timeout != Timeout::ZERO && timeout != Timeout::FOREVER;
        // A moment beyond the clock never comes.
        let at =
            if ends { Instant::now().checked_add(Duration::from_nanos(timeout.0)) } else { None };
        Self { timeout, at, on_signal }
    }

    pub(crate) fn at(deadline: Option<Instant>) -> Self {
        let timeout = deadline.map_or(Timeout::FOREVER, until);
        Self { timeout, at: deadline, on_signal: OnSignal::Continue }
    }

    fn remaining(&self) -> Timeout {
        match self.at {
            Some(at) => until(at),
            None => self.timeout,
        }
    }
}

fn until(at: Instant) -> Timeout {
    Timeout::new(at.saturating_duration_since(Instant::now()))
}
