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

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anypoll::{Backend, Event, Interest, Mode, Poller, Token};

use crate::source::{Borrowed, Raw};

/// A token has the number of changes above, and the descriptor below.
const CHANGE: usize = 1 << (usize::BITS / 2);

/// After how many prompt changes the kernel is not told any more.
const PROMPT: u8 = 16;

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Indexed by descriptors.
    objects: Mutex<Vec<Object>>,
    /// How many there have been. Changed by who waits alone.
    waits: AtomicU32,
}

pub(crate) struct Change {
    pub(crate) key: usize,
    pub(crate) interest: Interest,
    pub(crate) mode: Mode,
    /// Nobody waits while it is made.
    pub(crate) is_quiet: bool,
}

#[derive(Debug)]
pub(crate) struct Object {
    key: usize,
    token: Token,
    interest: Interest,
    state: State,
    /// The wait that reported it last.
    reported_in: u32,
    /// How many changes in a row came before the wait after that.
    prompt: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The kernel knows what to report.
    Kernel,
    /// To be reported once.
    Armed,
    /// It was, and the kernel would go on.
    Reported,
    /// Nothing is to be reported.
    Off,
}

impl Table {
    /// With epoll, where a token has room for two numbers, and where no change is to be traced.
    pub(crate) fn of(poller: &Poller) -> Option<Self> {
        let is_of_use =
            poller.backend() == Backend::Epoll && usize::BITS == 64 && !anypoll::TRACING;
        is_of_use.then(Self::default)
    }

    pub(crate) fn begin_wait(&self) {
        self.waits.store(self.waits().wrapping_add(1), Relaxed);
    }

    fn waits(&self) -> u32 {
        self.waits.load(Relaxed)
    }

    pub(crate) fn objects(&self) -> MutexGuard<'_, Vec<Object>> {
        // Nothing panics while it holds this lock.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `tell` tells the kernel.
    pub(crate) fn add(
        &self,
        raw: Raw,
        change: &Change,
        tell: impl FnOnce(Token, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        self.change(&mut self.objects(), raw, change, tell)
    }

    pub(crate) fn modify(
        &self,
        raw: Raw,
        change: &Change,
        tell: impl FnOnce(Token, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut objects = self.objects();
        match objects.get_mut(index(raw)) {
            Some(object) if object.is_prepared_for(change) => {
                (object.key, object.state) = (change.key, State::Armed);
                Ok(())
            }
            _ => self.change(&mut objects, raw, change, tell),
        }
    }

    /// Tells the kernel, and remembers what it was told.
    fn change(
        &self,
        objects: &mut Vec<Object>,
        raw: Raw,
        change: &Change,
        tell: impl FnOnce(Token, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        let index = index(raw);
        let mut object = objects.get(index).map_or(Object::new(Token(index)), Object::changed);
        let is_prompt = change.is_quiet && object.reported_in == self.waits();
        object.prompt = if is_prompt { PROMPT.min(object.prompt + 1) } else { 0 };
        let is_oneshot_here = object.prompt == PROMPT
            && change.mode == Mode::Oneshot
            && change.interest.intersects(Interest::READABLE)
            && !change.interest.intersects(Interest::WRITABLE);
        let mode = if is_oneshot_here { Mode::Level } else { change.mode };
        object.state = if is_oneshot_here { State::Armed } else { State::Kernel };
        (object.key, object.interest) = (change.key, change.interest);
        tell(object.token, mode)?;
        let unknown = objects.len()..=index;
        objects.extend(unknown.map(|index| Object::new(Token(index))));
        objects[index] = object;
        Ok(())
    }

    pub(crate) fn delete(&self, raw: Raw, tell: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut objects = self.objects();
        tell()?;
        if let Some(object) = objects.get_mut(index(raw)) {
            *object = Object::new(object.changed().token);
        }
        Ok(())
    }

    /// Whether an event that the kernel reported is to be, under its key.
    pub(crate) fn is_wanted(
        &self,
        objects: &mut [Object],
        event: &mut Event,
        poller: &Poller,
    ) -> bool {
        let object = &mut objects[event.token().0 % CHANGE];
        if event.token() != object.token {
            return false;
        }
        *event = Event::new(Token(object.key), event.conditions());
        match object.state {
            State::Kernel => {}
            State::Armed => object.state = State::Reported,
            State::Reported => {
                object.take_off(poller);
                return false;
            }
            State::Off => return false,
        }
        object.reported_in = self.waits();
        true
    }
}

/// What is no descriptor has an index that the kernel refuses.
fn index(raw: Raw) -> usize {
    usize::try_from(raw).unwrap_or(usize::MAX)
}

impl Object {
    fn new(token: Token) -> Self {
        let (interest, state) = (Interest::NONE, State::Off);
        Self { key: 0, token, interest, state, reported_in: u32::MAX, prompt: 0 }
    }

    /// With another token.
    fn changed(&self) -> Self {
        Self { token: Token(self.token.0.wrapping_add(CHANGE)), ..*self }
    }

    fn is_prepared_for(&self, change: &Change) -> bool {
        matches!(self.state, State::Armed | State::Reported)
            && change.is_quiet
            && change.mode == Mode::Oneshot
            && change.interest == self.interest
    }

    /// Ends the reports of an object that has been caught.
    fn take_off(&mut self, poller: &Poller) {
        let raw = Raw::try_from(self.token.0 % CHANGE).expect("it was one");
        // SAFETY: it is open until it is deleted, as the caller of `add` has promised.
        let source = unsafe { Borrowed::borrow_raw(raw) };
        let mut object = self.changed();
        object.state = State::Off;
        // Its hang-up, which an empty interest does not end, comes once more.
        if poller.modify(&source, object.token, Interest::NONE, Mode::Oneshot).is_ok() {
            *self = object;
        }
    }
}
