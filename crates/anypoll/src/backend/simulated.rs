//! A port with AFD's manners over Linux' epoll, so that the contract drives the completion state
//! machine where the tests run.
//!
//! Every submit is answered at most once. Every second question that is taken back is over then; the
//! completion of the others is held back until nothing else is left to dequeue, or for a few
//! dequeues: about as late as a kernel can be.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard};

use rustix::event::epoll::{self, CreateFlags, Event as Record, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::AddError;
use super::asked::{Asked, NOTICE, Operation};
use super::completion::{Completed, Port as Manners};
use super::sources::Key;
use crate::event::Conditions;
use crate::interest::Interest;
use crate::readiness::Timeout;
use crate::sync::unpoisoned;
use crate::sys;

#[derive(Debug)]
pub(super) struct Port {
    epoll: OwnedFd,
    notice: OwnedFd,
    /// Wakes a dequeue for what is late.
    late: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    asked: Asked,
    /// Whose question is taken back and has no completion yet.
    late: VecDeque<Key>,
    /// The next that is taken back will be late.
    is_late: bool,
    /// How many dequeues in a row found something else.
    passed_over: usize,
}

const MOST_PASSED_OVER: usize = 3;

/// A number that no question has.
const LATE: usize = usize::MAX;

impl State {
    fn take_late(&mut self, completions: &mut Vec<Completed>, limit: usize) {
        let due = self.late.len().min(limit - completions.len());
        completions.extend(self.late.drain(..due).map(Completed::Cancelled));
        self.passed_over = 0;
    }
}

impl Port {
    pub(super) fn new() -> io::Result<Self> {
        let this = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            notice: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            late: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            state: Mutex::new(State {
                // So much that its growing is not taken for an allocation of the state machine.
                asked: Asked::with_capacity(1024),
                late: VecDeque::with_capacity(1024),
                is_late: true,
                passed_over: 0,
            }),
        };
        for (fd, number) in [(&this.notice, NOTICE), (&this.late, LATE)] {
            epoll::add(&this.epoll, fd, data(number), EventFlags::IN | EventFlags::ET)?;
        }
        Ok(this)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }
}

fn data(number: usize) -> EventData {
    EventData::new_u64(number as u64)
}

fn signal(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

impl Manners for Port {
    type Operation = Operation;

    fn prepare(&self, fd: &OwnedFd) -> Result<Operation, AddError> {
        match epoll::add(&self.epoll, fd, data(LATE), EventFlags::ONESHOT) {
            Err(Errno::PERM) => return Err(AddError::AlwaysReady),
            // A duplicate of the same object was closed under this number after its last answer.
            Err(Errno::EXIST) => {}
            result => result?,
        }
        epoll::delete(&self.epoll, fd)?;
        Ok(Operation::NONE)
    }

    fn submit(
        &self,
        operation: &mut Operation,
        fd: &OwnedFd,
        key: Key,
        wanted: Interest,
    ) -> io::Result<()> {
        let bits = Conditions::of(wanted).bits();
        let flags = EventFlags::from_bits_retain(bits) | EventFlags::ONESHOT;
        Ok(self.lock().asked.ask(operation, key, |number| {
            match epoll::modify(&self.epoll, fd, data(number), flags) {
                Err(Errno::NOENT) => epoll::add(&self.epoll, fd, data(number), flags),
                result => result,
            }
        })?)
    }

    fn cancel(&self, operation: &mut Operation, fd: &OwnedFd) -> bool {
        let mut state = self.lock();
        let Some(key) = state.asked.cancel(operation) else { return true };
        let _ = epoll::delete(&self.epoll, fd);
        let is_late = state.is_late;
        state.is_late = !is_late;
        if is_late {
            state.late.push_back(key);
            signal(&self.late);
        }
        is_late
    }

    fn dequeue(
        &self,
        completions: &mut Vec<Completed>,
        limit: usize,
        timeout: Timeout,
    ) -> io::Result<()> {
        let mut state = self.lock();
        if state.passed_over >= MOST_PASSED_OVER {
            state.take_late(completions, limit);
            return Ok(());
        }
        let timeout = sys::seconds(if state.late.is_empty() { timeout } else { Timeout::ZERO })
            .map(|(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec });
        drop(state);
        let mut batch = [const { MaybeUninit::<Record>::uninit() }; 64];
        let room = &mut batch[..limit.min(64)];
        let (batch, _) = epoll::wait(&self.epoll, room, timeout.as_ref())?;
        let mut state = self.lock();
        for record in &*batch {
            #[allow(clippy::cast_possible_truncation, reason = "it was made of this type")]
            completions.push(match record.data.u64() as usize {
                NOTICE => Completed::Notice,
                LATE => Completed::Nothing,
                number => {
                    let flags = record.flags;
                    state.asked.answer(number, Conditions::from_bits(flags.bits()))
                }
            });
        }
        if completions.iter().all(|done| matches!(done, Completed::Nothing)) {
            state.take_late(completions, limit);
        } else if !state.late.is_empty() {
            state.passed_over += 1;
        }
        Ok(())
    }

    fn notify(&self) -> bool {
        signal(&self.notice);
        true
    }
}
