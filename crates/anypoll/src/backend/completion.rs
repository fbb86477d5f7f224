//! Readiness from a kernel that only completes: AFD's manners, and the state machine for them.
//!
//! Such a kernel is asked about one object at a time (*submit*) and answers once, as soon as
//! anything of what was asked holds (*completion*). A question can be taken back (*cancel*), but
//! that too may be over only when its completion arrives, which may still be an answer. So each object
//! has at most one question in flight; what changes meanwhile is asked when that is over:
//!
//! ```text
//!            submit                 cancel
//!     Idle ----------> Asked(what) ---------> Cancelling
//!       ^                   | completion           | completion, if one will come
//!       +-------------------+----------------------+
//! ```
//!
//! What an answer means is decided when it arrives, from what is wanted *then* (`Arming`). A
//! removed object is forgotten at once and our duplicate closed; only what the kernel still holds on
//! to stays until the completion. Questions are put by the next wait, or at once if a thread waits.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::io;
use std::mem;
use std::sync::{Mutex, MutexGuard};

use super::arming::Arming;
use super::sources::{Key, Object, Sources};
use super::{AddError, KernelRecord, Record, Selector};
use crate::event::{Conditions, Event, Token};
use crate::interest::{Interest, Mode};
use crate::readiness::{Kernel, Timeout};
use crate::sync::unpoisoned;
use crate::sys::{Handle, OwnedHandle};

/// A kernel with these manners.
pub(crate) trait Port: Debug + Send + Sync {
    /// What the kernel holds on to between a submit and its completion.
    type Operation: Debug + Send;

    fn prepare(&self, handle: &OwnedHandle) -> Result<Self::Operation, AddError>;

    /// Asks once. `key` comes back with the answer.
    fn submit(
        &self,
        operation: &mut Self::Operation,
        handle: &OwnedHandle,
        key: Key,
        wanted: Interest,
    ) -> io::Result<()>;

    /// Has the completion come soon, if it is not on its way already, and returns whether it will
    /// come.
    fn cancel(&self, operation: &mut Self::Operation, handle: &OwnedHandle) -> bool;

    /// Appends at most `limit` completions.
    fn dequeue(
        &self,
        completions: &mut Vec<Completed>,
        limit: usize,
        timeout: Timeout,
    ) -> io::Result<()>;

    fn notify(&self) -> bool;

    #[cfg(windows)]
    fn as_kernel(&self) -> std::os::windows::io::BorrowedHandle<'_>;
}

#[derive(Debug)]
#[allow(dead_code, reason = "not every port has all of them")]
pub(crate) enum Completed {
    Answer(Key, Conditions),
    Cancelled(Key),
    Notice,
    /// It took the room of a completion, and is none.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
enum Question {
    Idle,
    Asked(Interest),
    Cancelling,
}

#[derive(Debug)]
struct Flight<O> {
    operation: O,
    question: Question,
    /// In the list of objects to be looked at by the next flush.
    listed: bool,
}

#[derive(Debug)]
struct State<O> {
    sources: Sources<Flight<O>>,
    changed: VecDeque<Key>,
    waiting: usize,
    /// Of removed objects, until their completion arrives.
    orphans: HashMap<Key, O>,
    /// Kept for the next waits.
    batches: Vec<Vec<Completed>>,
}

#[derive(Debug)]
pub(crate) struct Completion<P: Port> {
    port: P,
    state: Mutex<State<P::Operation>>,
}

impl<P: Port> Completion<P> {
    pub(super) fn new(port: P) -> Self {
        let state = State {
            sources: Sources::default(),
            changed: VecDeque::new(),
            waiting: 0,
            orphans: HashMap::new(),
            batches: Vec::new(),
        };
        Self { port, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State<P::Operation>> {
        unpoisoned(self.state.lock())
    }

    /// Something about the object is other than what was asked.
    fn changed(&self, state: &mut State<P::Operation>, key: Key) -> io::Result<()> {
        if let Some(object) = state.sources.get_mut(key) {
            if !mem::replace(&mut object.extra.listed, true) {
                state.changed.push_back(key);
            }
        }
        if state.waiting == 0 {
            return Ok(());
        }
        let flushed = self.flush(state);
        // Another object's failure is not this one's.
        let failed = state.sources.get_mut(key).is_some_and(|object| object.extra.listed);
        if failed { flushed } else { Ok(()) }
    }

    /// Brings the questions in flight up to what is wanted. What fails is tried again by the next
    /// flush; the others are put all the same.
    fn flush(&self, state: &mut State<P::Operation>) -> io::Result<()> {
        let mut result = Ok(());
        for _ in 0..state.changed.len() {
            let Some(key) = state.changed.pop_front() else { break };
            let Some(object) = state.sources.get_mut(key) else { continue };
            let flight = &mut object.extra;
            flight.listed = false;
            let Some(wanted) = object.arming.wanted() else { continue };
            let (operation, duplicate) = (&mut flight.operation, &object.duplicate);
            match flight.question {
                Question::Idle => {}
                Question::Asked(asked) if !asked.contains(wanted) => {
                    if self.port.cancel(operation, duplicate) {
                        flight.question = Question::Cancelling;
                        continue;
                    }
                    flight.question = Question::Idle;
                }
                // Asked for too much: the answer is filtered. Cancelling: asked again after it.
                _ => continue,
            }
            match self.port.submit(operation, duplicate, key, wanted) {
                Ok(()) => flight.question = Question::Asked(wanted),
                Err(error) => {
                    result = Err(error);
                    flight.listed = true;
                    state.changed.push_back(key);
                }
            }
        }
        result
    }

    fn discard(&self, state: &mut State<P::Operation>, key: Key) {
        let Some(object) = state.sources.remove(key) else { return };
        let Flight { mut operation, question, .. } = object.extra;
        let completion_comes = match question {
            Question::Idle => false,
            Question::Asked(_) => self.port.cancel(&mut operation, &object.duplicate),
            Question::Cancelling => true,
        };
        if completion_comes {
            state.orphans.insert(key, operation);
        }
    }

    /// Whether it is nothing, or ends a question that nobody asks any more.
    fn is_outdated(state: &mut State<P::Operation>, done: &Completed) -> bool {
        let key = match *done {
            Completed::Notice => return false,
            Completed::Nothing => return true,
            Completed::Answer(key, _) | Completed::Cancelled(key) => key,
        };
        let Some(object) = state.sources.get_mut(key) else { return true };
        let wanted = object.arming.wanted();
        !matches!(object.extra.question, Question::Asked(asked) if Some(asked) == wanted)
    }

    /// A question is over. Returns what to report of the answer.
    fn settle(&self, state: &mut State<P::Operation>, done: &Completed) -> Option<Event> {
        let (key, conditions) = match *done {
            Completed::Notice => return Some(Event(Record::notice())),
            Completed::Nothing => return None,
            Completed::Answer(key, conditions) => (key, conditions),
            Completed::Cancelled(key) => (key, Conditions::NONE),
        };
        let Some(object) = state.sources.get_mut(key) else {
            state.orphans.remove(&key);
            return None;
        };
        object.extra.question = Question::Idle;
        let report = object.arming.report(conditions);
        let event = report.map(|conditions| Event::new(object.token, conditions));
        if object.arming.wanted().is_some() && !mem::replace(&mut object.extra.listed, true) {
            state.changed.push_back(key);
        }
        event
    }
}

impl<P: Port> Selector for Completion<P> {
    fn add(
        &self,
        handle: Handle<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Result<(), AddError> {
        let object = Object::new(handle, token, Arming::new(interest, mode), |duplicate| {
            let operation = self.port.prepare(duplicate)?;
            Ok(Flight { operation, question: Question::Idle, listed: false })
        })?;
        let mut state = self.lock();
        if let Some(stale) = state.sources.find_stale(handle)? {
            self.discard(&mut state, stale);
        }
        let key = state.sources.insert(object);
        self.changed(&mut state, key).inspect_err(|_| self.discard(&mut state, key))?;
        Ok(())
    }

    fn modify(
        &self,
        handle: Handle<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let mut state = self.lock();
        let key = state.sources.find(handle)?;
        let mut asked = (token, Arming::new(interest, mode));
        let mut exchange = |state: &mut State<_>| {
            if let Some(object) = state.sources.get_mut(key) {
                mem::swap(&mut object.token, &mut asked.0);
                mem::swap(&mut object.arming, &mut asked.1);
            }
        };
        exchange(&mut state);
        self.changed(&mut state, key).inspect_err(|_| exchange(&mut state))
    }

    fn remove(&self, handle: Handle<'_>) -> io::Result<()> {
        let mut state = self.lock();
        let key = state.sources.find(handle)?;
        self.discard(&mut state, key);
        Ok(())
    }

    fn rearm(&self, handle: Handle<'_>, directions: Interest) -> io::Result<()> {
        let mut state = self.lock();
        let key = state.sources.find(handle)?;
        if state.sources.get_mut(key).is_some_and(|object| object.arming.rearm(directions)) {
            self.changed(&mut state, key)?;
        }
        Ok(())
    }

    #[cfg(windows)]
    fn completion_port(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        self.port.as_kernel()
    }
}

impl<P: Port> Kernel for Completion<P> {
    type Event = Event;

    fn wait(&self, events: &mut Vec<Event>, limit: usize, timeout: Timeout) -> io::Result<()> {
        let start = events.len();
        let mut state = self.lock();
        let mut batch = state.batches.pop().unwrap_or_default();
        let result = loop {
            // One object's failure keeps no other from its events.
            let flushed = self.flush(&mut state);
            let timeout = if flushed.is_ok() { timeout } else { Timeout::ZERO };
            state.waiting += 1;
            drop(state);

            let result = self.port.dequeue(&mut batch, limit, timeout).and(flushed);

            state = self.lock();
            state.waiting -= 1;
            let mut outdated = false;
            for done in batch.drain(..) {
                outdated |= Self::is_outdated(&mut state, &done);
                events.extend(self.settle(&mut state, &done));
            }
            // Who only looks is not put off with what was asked before a change.
            let again = outdated && result.is_ok() && timeout == Timeout::ZERO;
            if !again || events.len() > start {
                break result;
            }
        };
        state.batches.push(batch);
        // What lasts is to be reported to those who still wait, too.
        let flushed = if state.waiting > 0 { self.flush(&mut state) } else { Ok(()) };
        result.and(flushed)
    }

    fn notify(&self) -> bool {
        self.port.notify()
    }
}

impl<P: Port> Drop for Completion<P> {
    /// The kernel lets go of every operation before its memory is freed.
    fn drop(&mut self) {
        let mut state = self.lock();
        let keys: Vec<_> = state.sources.iter_from(0).map(|(key, _)| key).collect();
        for key in keys {
            self.discard(&mut state, key);
        }
        let mut batch = Vec::new();
        while !state.orphans.is_empty() {
            match self.port.dequeue(&mut batch, 64, Timeout::FOREVER) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    // Nothing more can be learned, so leak what is still in use.
                    mem::forget(mem::take(&mut state.orphans));
                }
                _ => {}
            }
            for done in batch.drain(..) {
                self.settle(&mut state, &done);
            }
        }
    }
}
