//! poll(2): the kernel keeps nothing, so each wait brings the list of what it wants to know.
//!
//! A wait takes the list from the table, polls without holding the lock, and looks up in the table
//! what the answers still mean. A thread that changes the table while others poll has them come out
//! first (`leave` is readable until the last one is out, and nobody goes in meanwhile): so a change
//! takes effect at once, and after a removal no poll uses the duplicate, which can be closed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Condvar, Mutex, MutexGuard};

use libc::pollfd;

use super::arming::Arming;
use super::sources::{Key, Object, Sources};
use super::{AddError, KernelRecord, Record, Selector};
use crate::event::{Conditions, Event, Token};
use crate::interest::{Interest, Mode};
use crate::readiness::{Kernel, Timeout};
use crate::sync::unpoisoned;
use crate::sys::{self, Signal};

pub(crate) struct Poll {
    state: Mutex<State>,
    /// All threads that polled an outdated list are out.
    settled: Condvar,
    notice: Signal,
    leave: Signal,
}

#[derive(Default)]
struct State {
    sources: Sources<()>,
    /// How many threads poll.
    polling: usize,
    /// They are asked to come out.
    leaving: bool,
    /// How often the last of them came out.
    settled: u64,
    /// Where the next list starts, so that a small buffer starves nobody.
    first: usize,
    lists: Vec<List>,
}

/// What one wait polls; kept for the next.
///
/// An entry names a signal, which lives as long as the backend, or a duplicate from the table. One
/// that is removed is closed only after every poll that has it in its list is out.
#[derive(Default)]
struct List {
    /// `notice` and `leave`, where the system has anything to signal with; then the objects.
    fds: Vec<pollfd>,
    keys: Vec<Key>,
}

#[inline]
fn entry(fd: BorrowedFd<'_>, events: i16) -> pollfd {
    pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

#[inline]
fn is_ready(entry: &pollfd) -> bool {
    entry.revents != 0
}

impl Poll {
    #[inline]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            settled: Condvar::new(),
            notice: Signal::new()?,
            leave: Signal::new()?,
        })
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    /// Has running polls begin again with the table as it is now. Returns what `settled` will be
    /// when all are out.
    #[inline]
    fn changed(&self, state: &mut State) -> u64 {
        if state.polling == 0 {
            return state.settled;
        }
        if !state.leaving {
            state.leaving = true;
            self.leave.give();
        }
        state.settled + 1
    }

    #[inline]
    fn drop_unused(&self, mut state: MutexGuard<'_, State>, key: Key) {
        // Closed when this returns.
        let _removed = state.sources.remove(key);
        let settled = self.changed(&mut state);
        while state.settled < settled {
            state = unpoisoned(self.settled.wait(state));
        }
        drop(state);
    }

    #[inline]
    fn enter(&self) -> List {
        let mut state = self.lock();
        while state.leaving {
            state = unpoisoned(self.settled.wait(state));
        }
        state.polling += 1;
        let mut list = state.lists.pop().unwrap_or_default();
        list.fds.clear();
        list.keys.clear();
        for signal in [&self.notice, &self.leave] {
            list.fds.extend(signal.descriptor().map(|fd| entry(fd, libc::POLLIN)));
        }
        for (key, object) in state.sources.iter_from(state.first) {
            if let Some(wanted) = object.arming.wanted() {
                list.fds.push(entry(object.duplicate.as_fd(), flags(wanted)));
                list.keys.push(key);
            }
        }
        list
    }

    #[inline]
    fn come_out(&self, list: List, events: &mut Vec<Event>, limit: usize) {
        let mut state = self.lock();
        state.polling -= 1;
        if state.leaving && state.polling == 0 {
            self.leave.take();
            state.leaving = false;
            state.settled += 1;
            self.settled.notify_all();
        }
        let mut room = limit;
        let (signals, objects) = list.fds.split_at(list.fds.len() - list.keys.len());
        if signals.first().is_some_and(is_ready) && self.notice.take() {
            events.push(Event(Record::notice()));
            room -= 1;
        }
        for (fd, key) in objects.iter().zip(&list.keys) {
            if !is_ready(fd) {
                continue;
            }
            if room == 0 {
                state.first = key.index;
                break;
            }
            let Some(object) = state.sources.get_mut(*key) else { continue };
            if let Some(conditions) = object.arming.report(conditions(fd.revents)) {
                events.push(Event::new(object.token, conditions));
                room -= 1;
            }
        }
        state.lists.push(list);
    }
}

/// For a libc that has no such flag: one that is never set.
#[allow(dead_code, reason = "libc's own hides it")]
const POLLRDHUP: i16 = 0;
#[allow(dead_code, reason = "libc's own hides it")]
const POLLPRI: i16 = 0;
#[allow(dead_code, reason = "libc's own hides it")]
const POLLNVAL: i16 = 0;

const NAMES: [(i16, Conditions); 7] = {
    // Before those above.
    use libc::*;
    [
        (POLLIN, Conditions::READ),
        (POLLPRI, Conditions::PRIORITY),
        (POLLOUT, Conditions::WRITE),
        (POLLERR, Conditions::ERROR),
        (POLLHUP, Conditions::HANG_UP),
        (POLLRDHUP, Conditions::READ_HANG_UP),
        (POLLNVAL, Conditions::ERROR),
    ]
};

#[inline]
pub(super) fn flags(wanted: Interest) -> i16 {
    let asked = NAMES.iter().filter(|(_, c)| Conditions::of(wanted).intersects(*c));
    asked.fold(0, |all, (flag, _)| all | flag)
}

#[inline]
pub(super) fn conditions(flags: i16) -> Conditions {
    let seen = NAMES.iter().filter(|(flag, _)| flags & flag != 0);
    seen.fold(Conditions::NONE, |all, (_, condition)| all | *condition)
}

/// Where a system lacks the condition, nobody is left to wait for it.
#[inline]
fn check(interest: Interest) -> io::Result<()> {
    if interest.contains(Interest::PRIORITY) && flags(Interest::PRIORITY) == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

impl Selector for Poll {
    #[inline]
    fn add(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Result<(), AddError> {
        check(interest)?;
        let object = Object::new(fd, token, Arming::new(interest, mode), |_| Ok(()))?;
        let state = self.lock();
        if let Some(stale) = state.sources.find_stale(fd)? {
            self.drop_unused(state, stale);
            return self.add(fd, token, interest, mode);
        }
        let mut state = state;
        state.sources.insert(object);
        self.changed(&mut state);
        Ok(())
    }

    #[inline]
    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        check(interest)?;
        let mut state = self.lock();
        let mut key = state.sources.find(fd)?;
        if mode == Mode::Oneshot {
            // The one report is not to be about what was there before.
            key = state.sources.rename(key);
        }
        if let Some(object) = state.sources.get_mut(key) {
            object.token = token;
            object.arming = Arming::new(interest, mode);
        }
        self.changed(&mut state);
        Ok(())
    }

    #[inline]
    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let state = self.lock();
        let key = state.sources.find(fd)?;
        self.drop_unused(state, key);
        Ok(())
    }

    #[inline]
    fn rearm(&self, fd: BorrowedFd<'_>, directions: Interest) -> io::Result<()> {
        let mut state = self.lock();
        let key = state.sources.find(fd)?;
        if state.sources.get_mut(key).is_some_and(|object| object.arming.rearm(directions)) {
            self.changed(&mut state);
        }
        Ok(())
    }
}

impl Kernel for Poll {
    type Event = Event;

    #[inline]
    fn wait(&self, events: &mut Vec<Event>, limit: usize, timeout: Timeout) -> io::Result<()> {
        let mut list = self.enter();
        let result = sys::poll(&mut list.fds, timeout);
        self.come_out(list, events, limit);
        result
    }

    #[inline]
    fn notify(&self) -> bool {
        self.notice.give();
        true
    }
}
