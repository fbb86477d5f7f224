//! What is watched, so that a oneshot's re-arming need not cost a system call.
//!
//! The kernel watches a [`Oneshot`](crate::PollMode::Oneshot) object in level mode, and whether it is
//! to be reported is known here. Most are modified before the next wait, when what was ready has been
//! used up: the kernel has nothing to learn then. One that is still ready in a wait although nobody
//! has asked again is *caught* and taken off, and for a while after that the kernel does the account.
//! So it does for what can be written, which mostly stays so.
//!
//! A wait may hold events from before a change that another thread makes meanwhile. The kernel is
//! always told of such a change, with a new token; events that have an older one are out of date.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anypoll::{Backend, Event, Interest, Mode, Poller, Token};

use crate::source::{Borrowed, Raw};

/// A token has the number of changes above, and the descriptor below.
const CHANGE: usize = 1 << (usize::BITS / 2);

/// How many changes the kernel is told of for each catch, and at most: where objects are many, their
/// tasks are not done before the next wait.
const TOLD_FOR_CATCH: u32 = 64;
const MOST_TOLD: u32 = 1 << 14;

#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Indexed by descriptors.
    objects: Vec<Object>,
    /// How many more changes the kernel is told of.
    told: u32,
}

pub(crate) struct Change {
    pub(crate) key: usize,
    pub(crate) interest: Interest,
    pub(crate) mode: Mode,
    /// Nobody waits while it is made.
    pub(crate) is_quiet: bool,
}

#[derive(Debug)]
struct Object {
    key: usize,
    token: Token,
    interest: Interest,
    state: State,
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
            poller.backend() == Backend::Epoll && usize::BITS == 64 && !cfg!(feature = "tracing");
        is_of_use.then(Self::default)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // The kernel is told first, and in that a subscriber of anypoll's `tracing` may panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `tell` tells the kernel.
    pub(crate) fn add(
        &self,
        raw: Raw,
        change: &Change,
        tell: impl FnOnce(Token, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        self.known().change(raw, change, tell)
    }

    pub(crate) fn modify(
        &self,
        raw: Raw,
        change: &Change,
        tell: impl FnOnce(Token, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut known = self.known();
        match known.objects.get_mut(index(raw)) {
            Some(object) if object.is_prepared_for(change) => {
                (object.key, object.state) = (change.key, State::Armed);
                Ok(())
            }
            _ => known.change(raw, change, tell),
        }
    }

    pub(crate) fn delete(&self, raw: Raw, tell: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut known = self.known();
        tell()?;
        if let Some(object) = known.objects.get_mut(index(raw)) {
            *object = Object::new(object.next_token());
        }
        Ok(())
    }

    /// Whether an event that the kernel reported is to be, under its key.
    pub(crate) fn is_wanted(&self, event: &mut Event, poller: &Poller) -> bool {
        let mut known = self.known();
        let object = &mut known.objects[event.token().0 % CHANGE];
        if event.token() != object.token {
            return false;
        }
        *event = Event::new(Token(object.key), event.conditions());
        match object.state {
            State::Kernel => true,
            State::Armed => {
                object.state = State::Reported;
                true
            }
            State::Reported => {
                object.take_off(poller);
                known.told = MOST_TOLD.min(known.told + TOLD_FOR_CATCH);
                false
            }
            State::Off => false,
        }
    }
}

/// What is no descriptor has an index that the kernel refuses.
fn index(raw: Raw) -> usize {
    usize::try_from(raw).unwrap_or(usize::MAX)
}

impl Known {
    /// Tells the kernel, and remembers what it was told.
    fn change(
        &mut self,
        raw: Raw,
        change: &Change,
        tell: impl FnOnce(Token, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        let &Change { key, interest, mode, is_quiet } = change;
        let is_oneshot_here = mode == Mode::Oneshot
            && interest.intersects(Interest::READABLE)
            && !interest.intersects(Interest::WRITABLE)
            && is_quiet
            && self.told == 0;
        let (state, mode) =
            if is_oneshot_here { (State::Armed, Mode::Level) } else { (State::Kernel, mode) };
        let index = index(raw);
        let token = self.objects.get(index).map_or_else(|| Token(index), Object::next_token);
        tell(token, mode)?;
        let unknown = self.objects.len()..=index;
        self.objects.extend(unknown.map(|index| Object::new(Token(index))));
        self.objects[index] = Object { key, token, interest, state };
        self.told = self.told.saturating_sub(1);
        Ok(())
    }
}

impl Object {
    fn new(token: Token) -> Self {
        Self { key: 0, token, interest: Interest::NONE, state: State::Off }
    }

    fn next_token(&self) -> Token {
        Token(self.token.0.wrapping_add(CHANGE))
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
        let token = self.next_token();
        // Its hang-up, which an empty interest does not end, comes once more.
        if poller.modify(&source, token, Interest::NONE, Mode::Oneshot).is_ok() {
            self.token = token;
        }
        self.state = State::Off;
    }
}
