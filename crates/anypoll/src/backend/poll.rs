//! poll(2): the kernel keeps nothing, so each wait brings the list of what it wants to know.
//!
//! A wait takes the list from the table, polls without holding the lock, and looks up in the table
//! what the answers still mean. A thread that changes the table while others poll has them come out
//! first (`leave` is readable until the last one is out, and nobody goes in meanwhile): so a change
//! takes effect at once, and after a removal no poll uses the duplicate, which can be closed.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Condvar, Mutex, MutexGuard};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::arming::Arming;
use super::sources::{Key, Object, Sources};
use super::{AddError, KernelRecord, Record, Selector};
use crate::event::{Conditions, Event, Token};
use crate::interest::{Interest, Mode};
use crate::readiness::{Kernel, Timeout};
use crate::sys;

#[derive(Debug)]
pub(crate) struct Poll {
    state: Mutex<State>,
    /// All threads that polled an outdated list are out.
    settled: Condvar,
    notice: Signal,
    leave: Signal,
}

#[derive(Debug, Default)]
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
#[derive(Debug, Default)]
struct List {
    fds: Vec<PollFd<'static>>,
    keys: Vec<Key>,
}

/// The entries of a list before the objects': `notice` and `leave`.
const SIGNALS: usize = 2;

/// A pipe that is readable while a signal is given. At most one byte is ever in it.
#[derive(Debug)]
struct Signal {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Signal {
    fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        sys::set_nonblocking(reader.as_fd(), true)?;
        sys::set_nonblocking(writer.as_fd(), true)?;
        Ok(Self { reader, writer })
    }

    fn give(&self) {
        let _ = (&self.writer).write(&[0]);
    }

    /// Returns whether it was given.
    fn take(&self) -> bool {
        matches!((&self.reader).read(&mut [0]), Ok(1))
    }
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            settled: Condvar::new(),
            notice: Signal::new()?,
            leave: Signal::new()?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// Has running polls begin again with the table as it is now. Returns what `settled` will be
    /// when all are out.
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

    fn drop_unused(&self, mut state: MutexGuard<'_, State>, key: Key) {
        state.sources.unname(key);
        let object = state.sources.take(key);
        let settled = self.changed(&mut state);
        while state.settled < settled {
            state = self.settled.wait(state).expect("nothing panics while it holds this lock");
        }
        drop(state);
        drop(object);
    }

    fn enter(&self) -> List {
        let mut state = self.lock();
        while state.leaving {
            state = self.settled.wait(state).expect("nothing panics while it holds this lock");
        }
        state.polling += 1;
        let mut list = state.lists.pop().unwrap_or_default();
        list.fds.clear();
        list.keys.clear();
        for signal in [&self.notice, &self.leave] {
            list.fds.push(entry(signal.reader.as_fd(), PollFlags::IN));
        }
        for (key, object) in state.sources.iter_from(state.first) {
            if let Some(wanted) = object.arming.wanted() {
                list.fds.push(entry(object.duplicate.as_fd(), flags(wanted)));
                list.keys.push(key);
            }
        }
        list
    }

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
        if !list.fds[0].revents().is_empty() && self.notice.take() {
            events.push(Event(Record::notice()));
            room -= 1;
        }
        for (fd, key) in list.fds[SIGNALS..].iter().zip(&list.keys) {
            if fd.revents().is_empty() {
                continue;
            }
            if room == 0 {
                state.first = key.index;
                break;
            }
            let Some(object) = state.sources.get_mut(*key) else { continue };
            if let Some(conditions) = object.arming.report(conditions(fd.revents())) {
                events.push(Event::new(object.token, conditions));
                room -= 1;
            }
        }
        state.lists.push(list);
    }
}

fn entry(fd: BorrowedFd<'_>, flags: PollFlags) -> PollFd<'static> {
    // SAFETY: the descriptor is a signal's, which lives as long as the backend, or a duplicate from
    // the table. One that is removed is closed only after every poll that has it in its list is
    // out; a list that is not polled is not read before it is made anew.
    let fd = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
    PollFd::from_borrowed_fd(fd, flags)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const READ_HANG_UP: PollFlags = PollFlags::RDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const READ_HANG_UP: PollFlags = PollFlags::empty();

const NAMES: [(PollFlags, Conditions); 7] = [
    (PollFlags::IN, Conditions::READ),
    (PollFlags::PRI, Conditions::PRIORITY),
    (PollFlags::OUT, Conditions::WRITE),
    (PollFlags::ERR, Conditions::ERROR),
    (PollFlags::HUP, Conditions::HANG_UP),
    (READ_HANG_UP, Conditions::READ_HANG_UP),
    // An object that poll(2) cannot watch.
    (PollFlags::NVAL, Conditions::ERROR),
];

/// A day at most: a wait that comes back early goes on.
pub(super) fn timespec(timeout: Timeout) -> Option<Timespec> {
    let nanos = timeout.nanoseconds()?.min(86_400_000_000_000).cast_signed();
    Some(Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 })
}

fn flags(wanted: Interest) -> PollFlags {
    let asked = NAMES.iter().filter(|(_, c)| Conditions::of(wanted).intersects(*c));
    asked.map(|(flag, _)| *flag).collect()
}

fn conditions(flags: PollFlags) -> Conditions {
    let seen = NAMES.iter().filter(|(flag, _)| flags.intersects(*flag));
    seen.fold(Conditions::NONE, |all, (_, condition)| all | *condition)
}

impl Selector for Poll {
    fn add(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Result<(), AddError> {
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

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let mut state = self.lock();
        let key = state.sources.find(fd)?;
        if let Some(object) = state.sources.get_mut(key) {
            object.token = token;
            object.arming = Arming::new(interest, mode);
        }
        self.changed(&mut state);
        Ok(())
    }

    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let state = self.lock();
        let key = state.sources.find(fd)?;
        self.drop_unused(state, key);
        Ok(())
    }

    fn has_edges(&self) -> bool {
        false
    }

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

    fn wait(&self, events: &mut Vec<Event>, limit: usize, timeout: Timeout) -> io::Result<()> {
        let timeout = timespec(timeout);
        let mut list = self.enter();
        let result = poll(&mut list.fds, timeout.as_ref());
        self.come_out(list, events, limit);
        Ok(result.map(drop)?)
    }

    fn notify(&self) {
        self.notice.give();
    }
}
