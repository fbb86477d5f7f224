//! What is watched, so that a oneshot's re-arming need not cost a system call.
//!
//! Most one-shot objects are modified before the next wait, when what was ready has been used up. Once
//! that has gone well some times, the kernel watches the object in level mode, and whether it is to be
//! reported is known here: then the kernel has nothing to learn of a report or of a modification. If a
//! wait finds it still ready although nobody has asked again, it is taken off, and begins anew. What
//! can be written is left to the kernel, since it mostly stays so.
//!
//! A wait may hold events from before a change that another thread makes meanwhile. The kernel is
//! always told of such a change, with a new token; events that have an older one are out of date.
//!
//! Each object has a lock of its own: it is held while the kernel is told, and threads that change
//! different objects are not to wait for each other.

use std::io;
use std::iter;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anypoll::{Backend, Event, Interest, Mode, Poller, Token};

use crate::source::{Borrowed, Raw};

/// A token has the number of changes above, and the descriptor below.
const CHANGE: usize = 1 << (usize::BITS / 2);

/// After how many prompt changes the kernel is not told any more.
const PROMPT: u8 = 16;

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Indexed by descriptors. Each part is twice as long as the one before, and never moves.
    parts: [OnceLock<Box<[Mutex<Object>]>>; 26],
    /// Held from before the kernel knows an object of a new part until that part is there.
    growth: Mutex<()>,
    /// The number of the last one, from 1 to 255 and again: a change that comes so many waits late
    /// is taken for a prompt one, which costs a few calls and no event. Changed by who waits alone.
    wait: AtomicU8,
}

/// The length of the first part.
const FIRST: usize = 64;

pub(crate) struct Change {
    pub(crate) key: usize,
    pub(crate) interest: Interest,
    pub(crate) mode: Mode,
    /// Nobody waits while it is made.
    pub(crate) is_quiet: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Object {
    key: usize,
    /// Of which the kernel was told.
    changes: u32,
    interest: Interest,
    state: State,
    /// The wait that reported it last, or 0.
    reported_in: u8,
    /// How many changes in a row came before the wait after that.
    prompt: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The kernel knows what to report.
    Kernel,
    /// To be reported once.
    Armed,
    /// It was, and the kernel would go on.
    Reported,
    /// Nothing is to be reported.
    #[default]
    Off,
}

impl Table {
    /// With epoll, where a token has room for two numbers, and where no change is to be traced.
    pub(crate) fn of(poller: &Poller) -> Option<Box<Self>> {
        let is_of_use =
            poller.backend() == Backend::Epoll && usize::BITS == 64 && !anypoll::TRACING;
        is_of_use.then(|| Box::new(Self { wait: AtomicU8::new(u8::MAX), ..Self::default() }))
    }

    pub(crate) fn begin_wait(&self) {
        self.wait.store(self.wait() % u8::MAX + 1, Relaxed);
    }

    fn wait(&self) -> u8 {
        self.wait.load(Relaxed)
    }

    /// The one with this index, if its part is there.
    fn object(&self, index: usize) -> Option<MutexGuard<'_, Object>> {
        let (part, at) = place(index);
        Some(lock(&self.parts.get(part)?.get()?[at]))
    }

    /// `tell` tells the kernel.
    pub(crate) fn add(
        &self,
        raw: Raw,
        change: &Change,
        tell: impl FnOnce(Token, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        let index = index(raw);
        if let Some(mut object) = self.object(index) {
            return self.change(index, &mut object, change, tell);
        }
        let _growth = lock(&self.growth);
        if let Some(mut object) = self.object(index) {
            return self.change(index, &mut object, change, tell);
        }
        // The kernel first: it refuses what is no descriptor, however large.
        let mut object = Object::default();
        self.change(index, &mut object, change, tell)?;
        let (part, at) = place(index);
        let mut objects: Box<[_]> = iter::repeat_with(Mutex::default).take(FIRST << part).collect();
        objects[at] = Mutex::new(object);
        let _ = self.parts[part].set(objects);
        Ok(())
    }

    pub(crate) fn modify(
        &self,
        raw: Raw,
        change: &Change,
        tell: impl FnOnce(Token, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        let index = index(raw);
        let Some(mut object) = self.object(index) else {
            return self.add(raw, change, tell);
        };
        if object.is_prepared_for(change) {
            (object.key, object.state) = (change.key, State::Armed);
            return Ok(());
        }
        self.change(index, &mut object, change, tell)
    }

    /// Tells the kernel, and remembers what it was told.
    fn change(
        &self,
        index: usize,
        object: &mut Object,
        change: &Change,
        tell: impl FnOnce(Token, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut changed = object.changed();
        let is_prompt = change.is_quiet && object.reported_in == self.wait();
        changed.prompt = if is_prompt { PROMPT.min(object.prompt + 1) } else { 0 };
        let is_oneshot_here = changed.prompt == PROMPT
            && change.mode == Mode::Oneshot
            && change.interest.intersects(Interest::READABLE)
            && !change.interest.intersects(Interest::WRITABLE);
        let mode = if is_oneshot_here { Mode::Level } else { change.mode };
        changed.state = if is_oneshot_here { State::Armed } else { State::Kernel };
        (changed.key, changed.interest) = (change.key, change.interest);
        tell(changed.token(index), mode)?;
        *object = changed;
        Ok(())
    }

    pub(crate) fn delete(&self, raw: Raw, tell: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let object = self.object(index(raw));
        tell()?;
        if let Some(mut object) = object {
            *object = Object { changes: object.changes, ..Object::default() };
        }
        Ok(())
    }

    /// Whether an event that the kernel reported is to be, under its key.
    pub(crate) fn is_wanted(&self, event: &mut Event, poller: &Poller) -> bool {
        let index = event.token().0 % CHANGE;
        let object = self.object(index).or_else(|| {
            drop(lock(&self.growth));
            self.object(index)
        });
        // What another process has added is in no table of this one.
        let Some(mut object) = object.filter(|object| event.token() == object.token(index)) else {
            return false;
        };
        *event = Event::new(Token(object.key), event.conditions());
        match object.state {
            State::Kernel => {}
            State::Armed => object.state = State::Reported,
            State::Reported => {
                object.take_off(index, poller);
                return false;
            }
            State::Off => return false,
        }
        object.reported_in = self.wait();
        true
    }
}

/// What is no descriptor has an index that the kernel refuses.
fn index(raw: Raw) -> usize {
    usize::try_from(raw).unwrap_or(CHANGE - 1)
}

/// In which part, and where in it.
fn place(index: usize) -> (usize, usize) {
    let from_first = index + FIRST;
    let part = (from_first / FIRST).ilog2();
    (part as usize, from_first - (FIRST << part))
}

/// Nothing panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Object {
    fn token(&self, index: usize) -> Token {
        Token((self.changes as usize).wrapping_mul(CHANGE) | index)
    }

    /// With another token.
    fn changed(&self) -> Self {
        Self { changes: self.changes.wrapping_add(1), ..*self }
    }

    fn is_prepared_for(&self, change: &Change) -> bool {
        matches!(self.state, State::Armed | State::Reported)
            && change.is_quiet
            && change.mode == Mode::Oneshot
            && change.interest == self.interest
    }

    /// Ends the reports of an object that has been caught.
    fn take_off(&mut self, index: usize, poller: &Poller) {
        let raw = Raw::try_from(index).expect("it was one");
        // SAFETY: it is open until it is deleted, as the caller of `add` has promised.
        let source = unsafe { Borrowed::borrow_raw(raw) };
        let mut object = self.changed();
        object.state = State::Off;
        // Its hang-up, which an empty interest does not end, comes once more.
        if poller.modify(&source, object.token(index), Interest::NONE, Mode::Oneshot).is_ok() {
            *self = object;
        }
    }
}
