//! Readiness that the kernel does not know of, and the wait that joins it to the kernel's.
//!
//! A *slot* holds the event that it reports and one pending bit. A [`Waker`](crate::Waker) is a
//! slot; so is an object that is always ready, whose bit stays set (`Repeat::EachWait`), and so is
//! a posted event, whose slot is free again once it was reported.
//!
//! Setting a bit takes no lock. The bits of the first slots are in `state` itself. Those of the others
//! are in words of their own, and followed there by the word's group in `state`, unless that stands
//! for the bit already.
//!
//! Who goes to sleep announces it first, and then looks at `state`; who sets a bit looks for sleepers
//! after it: both sequentially consistent, so at least one sees the other. Only a sleeper that is seen
//! costs a system call, the *notice*. `notified` keeps notices down to one in flight: it is set by who
//! sends one and cleared by the wait that receives it, before it collects bits.
//!
//! While a thread collects and cannot take all, `COLLECTING` stands for what it will leave: another
//! look waits for it.
//!
//! One sleeper has a flag of its own, since raising and lowering that costs half of what counting
//! does, and most pollers have one waiting thread. Others are counted.
//!
//! Bits are collected under the lock of the slots, so a slot cannot change hands between the
//! taking of its bit and the reading of its event. Collecting starts where the last one stopped:
//! a slot that is set again at once waits until all others had their turn.
//!
//! The tests compile this file a second time, over loom's atomics (`tests/loom.rs`).

use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::{Arc, AtomicBool, AtomicUsize, IN_STATE, Mutex, MutexGuard, unpoisoned};

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

    /// Makes a `wait` that runs or comes return with a notice, unless the kernel refuses (`false`).
    /// Safe in a signal handler.
    fn notify(&self) -> bool;
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
const INTERRUPT: usize = 1;
/// A thread collects, and what it will leave is not marked yet.
const COLLECTING: usize = 2;
const FIRST_SLOT: usize = 2;
const SLOTS: usize = ((1 << IN_STATE) - 1) << FIRST_SLOT;
/// The other bits stand for groups of words.
const FIRST_GROUP: usize = FIRST_SLOT + IN_STATE;
const GROUPS: usize = !0 << FIRST_GROUP;

/// A descriptor was handed out: somebody may sleep elsewhere. The bits below count threads.
const WATCHED: usize = 1 << (WORD - 1);

/// The words are numbered from 1: what is in `state` comes before them.
fn group(word: usize) -> usize {
    1 << (word % (WORD - FIRST_GROUP) + FIRST_GROUP)
}

/// The word of a slot, and the number of its bit there.
fn place(index: usize) -> (usize, usize) {
    match index.checked_sub(IN_STATE) {
        None => (0, index),
        Some(beyond) => (1 + beyond / WORD, beyond % WORD),
    }
}

/// The slot of a word's first bit.
fn first_of(word: usize) -> usize {
    if word == 0 { 0 } else { IN_STATE + (word - 1) * WORD }
}

/// The pending bit of one slot, to be set from anywhere.
#[derive(Debug)]
pub(crate) struct Slot {
    /// None: in `state`.
    word: Option<Arc<AtomicUsize>>,
    pub(crate) index: usize,
}

/// A slot's bit in its word.
fn bit(index: usize) -> usize {
    let (word, bit) = place(index);
    1 << if word == 0 { bit + FIRST_SLOT } else { bit }
}

#[derive(Debug)]
struct Entry<E> {
    event: E,
    each_wait: bool,
    /// Nobody can set it any more: it is free once its bit was collected.
    released: bool,
    /// If this one is free.
    next_free: Option<usize>,
}

#[derive(Debug)]
struct Slots<E> {
    entries: Vec<Entry<E>>,
    words: Vec<Arc<AtomicUsize>>,
    free: Option<usize>,
    /// How many are set in each wait.
    lasting: usize,
    /// Where the next collecting starts.
    cursor: usize,
}

impl<E: Copy> Slots<E> {
    /// Appends the events of one word's bits while there is room, and returns the bits of those that
    /// are done with it.
    fn report(&mut self, word: usize, mut set: usize, events: &mut Vec<E>) -> usize {
        let mut done = 0;
        while set != 0 && events.len() < events.capacity() {
            let one = set & set.wrapping_neg();
            set &= !one;
            let index = first_of(word) + one.trailing_zeros() as usize;
            let entry = &mut self.entries[index];
            events.push(entry.event);
            self.cursor = index + 1;
            if !entry.each_wait {
                done |= one;
                if std::mem::take(&mut entry.released) {
                    self.give_back(index);
                }
            }
        }
        done
    }

    fn give_back(&mut self, index: usize) {
        self.entries[index].next_free = self.free.replace(index);
    }
}

/// How others were told that a thread will sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Announced {
    Not,
    ByFlag,
    ByCount,
}

/// What all threads that wake write, apart from what they only read.
#[derive(Debug)]
#[repr(align(64))]
struct State(AtomicUsize);

#[derive(Debug)]
pub(crate) struct Readiness<E> {
    state: State,
    /// A thread will sleep.
    asleep: AtomicBool,
    /// A notice is on its way.
    notified: AtomicBool,
    /// How many more will.
    others: AtomicUsize,
    /// The next wait that finds slots set is theirs, and the kernel waits for the one after.
    turn: AtomicBool,
    slots: Mutex<Slots<E>>,
}

impl<E: Record> Readiness<E> {
    pub(crate) fn new() -> Self {
        Self {
            state: State(AtomicUsize::new(0)),
            asleep: AtomicBool::new(false),
            notified: AtomicBool::new(false),
            others: AtomicUsize::new(0),
            turn: AtomicBool::new(false),
            slots: Mutex::new(Slots {
                entries: Vec::new(),
                words: Vec::new(),
                free: None,
                lasting: 0,
                cursor: 0,
            }),
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots<E>> {
        unpoisoned(self.slots.lock())
    }

    /// A slot that reports `event` each time it is set.
    pub(crate) fn slot(&self, event: E, repeat: Repeat) -> Slot {
        let mut slots = self.slots();
        let slots = &mut *slots;
        let each_wait = repeat == Repeat::EachWait;
        let entry = Entry { event, each_wait, released: false, next_free: None };
        let index = if let Some(index) = slots.free {
            slots.free = std::mem::replace(&mut slots.entries[index], entry).next_free;
            index
        } else {
            slots.entries.push(entry);
            slots.entries.len() - 1
        };
        let (word, _) = place(index);
        if word > slots.words.len() {
            slots.words.push(Arc::new(AtomicUsize::new(0)));
        }
        slots.lasting += usize::from(each_wait);
        Slot { word: word.checked_sub(1).map(|word| Arc::clone(&slots.words[word])), index }
    }

    /// Marks a slot as ready. No lock, no allocation, at most one system call.
    pub(crate) fn set(&self, slot: &Slot, kernel: &dyn Kernel<Event = E>) {
        let Some(word) = &slot.word else { return self.announce(bit(slot.index), kernel) };
        let group = group(place(slot.index).0);
        let was_set = word.fetch_or(bit(slot.index), SeqCst) & bit(slot.index) != 0;
        let state = if was_set { self.state.0.load(SeqCst) } else { 0 };
        // Who collects clears the group first: while it stands, this bit is yet to be collected.
        if state & group == 0 {
            self.announce(group, kernel);
        } else {
            // Whoever set it may not have come to that yet.
            self.notify_sleepers(kernel);
        }
    }

    /// Gives a slot up. What was set before is still reported.
    pub(crate) fn release(&self, slot: &Slot) {
        let mut slots = self.slots();
        let word = slot.word.as_deref().unwrap_or(&self.state.0);
        if word.load(Acquire) & bit(slot.index) == 0 {
            slots.give_back(slot.index);
        } else {
            slots.entries[slot.index].released = true;
        }
    }

    /// Gives a slot up, and takes back what was set.
    pub(crate) fn remove(&self, index: usize) {
        let mut slots = self.slots();
        let word = match place(index).0 {
            0 => &self.state.0,
            beyond => &*slots.words[beyond - 1],
        };
        word.fetch_and(!bit(index), AcqRel);
        slots.lasting -= usize::from(slots.entries[index].each_wait);
        slots.give_back(index);
    }

    /// Makes one wait return, this one or the next.
    pub(crate) fn interrupt(&self, kernel: &dyn Kernel<Event = E>) {
        self.announce(INTERRUPT, kernel);
    }

    /// From now on somebody may sleep on the kernel's object itself.
    pub(crate) fn watch(&self, kernel: &dyn Kernel<Event = E>) {
        self.others.fetch_or(WATCHED, SeqCst);
        if self.state.0.load(SeqCst) != 0 {
            self.notify(kernel);
        }
    }

    fn announce(&self, what: usize, kernel: &dyn Kernel<Event = E>) {
        self.state.0.fetch_or(what, SeqCst);
        self.notify_sleepers(kernel);
    }

    /// Comes after what they are to see was set.
    fn notify_sleepers(&self, kernel: &dyn Kernel<Event = E>) {
        if self.asleep.load(SeqCst) || self.others.load(SeqCst) != 0 {
            self.notify(kernel);
        }
    }

    #[cold]
    fn notify(&self, kernel: &dyn Kernel<Event = E>) {
        let none_is_sent = !self.notified.load(SeqCst) && !self.notified.swap(true, SeqCst);
        if none_is_sent && !kernel.notify() {
            // Whoever wakes next may fare better.
            self.notified.store(false, SeqCst);
        }
    }

    fn is_pending(&self) -> bool {
        self.state.0.load(Acquire) != 0
    }

    /// Appends what is set while there is room. Returns whether there was an interrupt.
    #[cold]
    fn collect(&self, kernel: &dyn Kernel<Event = E>, events: &mut Vec<E>) -> bool {
        let mut slots = self.slots();
        let fit_if_in_state = slots.lasting == 0 && events.capacity() - events.len() >= IN_STATE;
        let takes_all = |state| fit_if_in_state && state & GROUPS == 0;
        let begin = |state| Some(if takes_all(state) { 0 } else { COLLECTING });
        let before = self.state.0.fetch_update(SeqCst, SeqCst, begin).unwrap_or(0);
        if takes_all(before) {
            slots.report(0, (before & SLOTS) >> FIRST_SLOT, events);
        } else {
            self.collect_some(slots, before, events, kernel);
        }
        before & INTERRUPT != 0
    }

    /// The rest of collecting where something stays.
    #[cold]
    fn collect_some(
        &self,
        mut slots: MutexGuard<'_, Slots<E>>,
        pending: usize,
        events: &mut Vec<E>,
        kernel: &dyn Kernel<Event = E>,
    ) {
        let mut left = pending & SLOTS;
        let (first, bit) = place(slots.cursor);
        let count = 1 + slots.words.len();
        // The word in which the cursor stands is visited twice: from there on, and up to there.
        for step in 0..=count {
            let nth = (first + step) % count;
            if events.len() == events.capacity() && (left ^ pending) & GROUPS == 0 {
                break;
            }
            let mut part = usize::MAX;
            if step == 0 {
                part <<= bit;
            } else if step == count {
                part = !(part << bit);
            }
            let set = match nth {
                0 => (pending & SLOTS) >> FIRST_SLOT,
                _ if pending & group(nth) == 0 => 0,
                _ => slots.words[nth - 1].load(SeqCst),
            };
            let done = slots.report(nth, set & part, events);
            if nth == 0 {
                left &= !(done << FIRST_SLOT);
                continue;
            }
            if done != 0 {
                slots.words[nth - 1].fetch_and(!done, AcqRel);
            }
            if done != set & part {
                left |= group(nth);
            }
        }
        let end = |state| Some(state & !COLLECTING | left);
        let _ = self.state.0.fetch_update(SeqCst, SeqCst, end);
        drop(slots);
        // What this wait leaves behind is another's.
        if left != 0 {
            self.notify_sleepers(kernel);
        }
    }

    /// Waits for either kind of readiness and appends it to `events`, up to its capacity.
    #[inline(always)]
    pub(crate) fn wait<K: Kernel<Event = E>>(
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
                if (events.len() > start || deadline.timeout == Timeout::ZERO)
                    && !self.is_pending()
                    && !self.notified.load(Acquire) =>
            {
                Ok(())
            }
            asked => self.wait_on(kernel, events, start, asked, deadline),
        }
    }

    /// The rest of a wait which has not brought events of the kernel alone.
    #[cold]
    fn wait_on(
        &self,
        kernel: &dyn Kernel<Event = E>,
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
            // A notice in the batch was sent after the mark was set, and nobody else clears it.
            let was_noticed = self.notified.load(Acquire) && self.take_notice(events, start);
            // It may have taken the room of an event.
            again |= was_noticed;
            let is_due = was_noticed || self.is_pending();
            if is_due && self.collect(kernel, events) {
                deadline.interrupted.set(true);
            }
            if events.len() > start || deadline.was_interrupted() {
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
        let announced = if timeout == Timeout::ZERO {
            Announced::Not
        } else if !self.asleep.swap(true, SeqCst) {
            Announced::ByFlag
        } else {
            self.others.fetch_add(1, SeqCst);
            Announced::ByCount
        };
        let is_pending = announced != Announced::Not && self.state.0.load(SeqCst) != 0;
        // The one place, for the sake of the size of what is inlined.
        let result = if is_pending { None } else { Some(kernel.wait(events, room, timeout)) };
        match announced {
            Announced::Not => {}
            Announced::ByFlag => self.asleep.store(false, Release),
            Announced::ByCount => {
                self.others.fetch_sub(1, Release);
            }
        }
        result
    }

    /// Looks at what the kernel has while slots are set, which get the rest of the room. Every second
    /// wait is theirs alone, since a look costs more than a wake. Returns also whether the kernel is to
    /// be asked again if that brought nothing, since it was not asked now.
    #[cold]
    fn wait_beside(
        &self,
        kernel: &dyn Kernel<Event = E>,
        events: &mut Vec<E>,
    ) -> (io::Result<()>, bool) {
        let room = events.capacity() - events.len();
        let pending = self.state.0.load(Relaxed);
        // A notice is to be taken from the kernel, and an interrupt may be for what that has.
        let is_awaited = pending & INTERRUPT != 0 || self.notified.load(Acquire);
        let is_theirs = self.turn.load(Relaxed);
        // Threads that come to this at once may all leave the kernel alone, but only after a look.
        self.turn.store(!is_theirs, Relaxed);
        if is_theirs && (!is_awaited || room == 1 && pending != INTERRUPT) {
            return (Ok(()), true);
        }
        (kernel.wait(events, room.div_ceil(2), Timeout::ZERO), false)
    }

    fn take_notice(&self, events: &mut Vec<E>, start: usize) -> bool {
        let notice = events[start..].iter().position(Record::is_notice);
        notice.is_some_and(|at| {
            events.swap_remove(start + at);
            // Whoever still sees the mark has set a bit before those are collected.
            self.notified.store(false, Release);
            true
        })
    }
}

#[cold]
fn no_room() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the Events have no room: give them a capacity, by `reserve`; to append, clear them",
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
    interrupted: Cell<bool>,
}

impl Deadline {
    #[inline]
    pub(crate) fn after(timeout: Option<Duration>, on_signal: OnSignal) -> Self {
        let timeout = timeout.map_or(Timeout::FOREVER, Timeout::new);
        let ends = timeout != Timeout::ZERO && timeout != Timeout::FOREVER;
        // A moment beyond the clock never comes.
        let at =
            if ends { Instant::now().checked_add(Duration::from_nanos(timeout.0)) } else { None };
        Self { timeout, at, on_signal, interrupted: Cell::new(false) }
    }

    pub(crate) fn at(deadline: Option<Instant>) -> Self {
        let timeout = deadline.map_or(Timeout::FOREVER, until);
        let on_signal = OnSignal::Continue;
        Self { timeout, at: deadline, on_signal, interrupted: Cell::new(false) }
    }

    /// Whether a wait until it was.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted.get()
    }

    /// To be waited for once more.
    pub(crate) fn go_on(&mut self) {
        self.timeout = self.remaining();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.timeout == Timeout::ZERO
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
