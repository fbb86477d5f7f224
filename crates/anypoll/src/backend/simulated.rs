//! A port with AFD's manners over Linux' epoll, so that the contract drives the completion state
//! machine where the tests run.
//!
//! Every submit is answered exactly once. A question that is taken back has its completion held
//! back until nothing else is left to dequeue, as late as a kernel can be.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard};

use rustix::event::epoll::{self, CreateFlags, Event as Record, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::AddError;
use super::completion::{Completed, Port as Manners};
use super::poll::timespec;
use super::sources::Key;
use crate::event::Conditions;
use crate::interest::Interest;
use crate::readiness::Timeout;

const NOTICE: u64 = 0;
const LATE: u64 = 1;

#[derive(Debug)]
pub(super) struct Port {
    epoll: OwnedFd,
    notice: OwnedFd,
    /// Wakes a dequeue for what is late.
    late: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the number of the submit, which epoll gives back.
    asked: HashMap<u64, Key>,
    submits: u64,
    late: VecDeque<Key>,
}

/// The number of the last submit.
#[derive(Debug)]
pub(super) struct Operation(u64);

impl Port {
    pub(super) fn new() -> io::Result<Self> {
        let this = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            notice: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            late: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            state: Mutex::new(State { submits: LATE, ..State::default() }),
        };
        for (fd, data) in [(&this.notice, NOTICE), (&this.late, LATE)] {
            epoll::add(&this.epoll, fd, EventData::new_u64(data), EventFlags::IN | EventFlags::ET)?;
        }
        Ok(this)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

fn signal(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

impl Manners for Port {
    type Operation = Operation;

    fn prepare(&self, fd: &OwnedFd) -> Result<Operation, AddError> {
        match epoll::add(&self.epoll, fd, EventData::new_u64(LATE), EventFlags::ONESHOT) {
            Err(Errno::PERM) => return Err(AddError::AlwaysReady),
            // A duplicate of the same object was closed under this number after its last answer.
            Err(Errno::EXIST) => {}
            result => result?,
        }
        epoll::delete(&self.epoll, fd)?;
        Ok(Operation(0))
    }

    fn submit(
        &self,
        operation: &mut Operation,
        fd: &OwnedFd,
        key: Key,
        wanted: Interest,
    ) -> io::Result<()> {
        let mut state = self.lock();
        state.submits += 1;
        let data = EventData::new_u64(state.submits);
        let bits = Conditions::of(wanted).bits();
        let flags = EventFlags::from_bits_retain(bits) | EventFlags::ONESHOT;
        match epoll::modify(&self.epoll, fd, data, flags) {
            Err(Errno::NOENT) => epoll::add(&self.epoll, fd, data, flags)?,
            result => result?,
        }
        operation.0 = state.submits;
        let submit = state.submits;
        state.asked.insert(submit, key);
        Ok(())
    }

    fn cancel(&self, operation: &mut Operation, fd: &OwnedFd) {
        let mut state = self.lock();
        if let Some(key) = state.asked.remove(&operation.0) {
            let _ = epoll::delete(&self.epoll, fd);
            state.late.push_back(key);
            signal(&self.late);
        }
    }

    fn dequeue(
        &self,
        completions: &mut Vec<Completed>,
        limit: usize,
        timeout: Timeout,
    ) -> io::Result<()> {
        let late = !self.lock().late.is_empty();
        let timeout = timespec(if late { Timeout::ZERO } else { timeout });
        let mut batch: Vec<Record> = Vec::with_capacity(limit.min(64));
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut batch), timeout.as_ref())?;
        let mut state = self.lock();
        for record in batch {
            match record.data.u64() {
                NOTICE => completions.push(Completed::Notice),
                LATE => {}
                submit => {
                    let key = state.asked.remove(&submit);
                    let flags = record.flags;
                    let bits = Conditions::from_bits(flags.bits());
                    completions.extend(key.map(|key| Completed::Answer(key, bits)));
                }
            }
        }
        if completions.is_empty() {
            let due = state.late.len().min(limit);
            completions.extend(state.late.drain(..due).map(Completed::Cancelled));
        }
        Ok(())
    }

    fn notify(&self) {
        signal(&self.notice);
    }
}
