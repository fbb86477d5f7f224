//! Event ports: a port for the completion state machine.
//!
//! An association of a descriptor with the port is a question: it is gone once it is answered.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::{Mutex, MutexGuard};

use rustix::event::port::{self, PollFlags};
use rustix::io::{FdFlags, fcntl_setfd};

use super::asked::{Asked, NOTICE, Operation};
use super::completion::{Completed, Completion, Port as Manners};
use super::poll;
use super::sources::Key;
use super::{AddError, Backend};
use crate::interest::Interest;
use crate::readiness::Timeout;
use crate::sync::unpoisoned;
use crate::sys;

mod record;
pub(crate) use record::Record;

pub(super) const AVAILABLE: &[Backend] = &[Backend::EventPorts, Backend::Poll];

pub(crate) type Native = Completion<Port>;

pub(super) fn open() -> io::Result<Native> {
    Ok(Completion::new(Port::new()?))
}

/// There is no descriptor for the exit of a process.
pub(crate) fn open_exit(_id: u32) -> Option<io::Result<OwnedFd>> {
    None
}

#[derive(Debug)]
pub(crate) struct Port {
    port: OwnedFd,
    asked: Mutex<Asked>,
}

impl Port {
    fn new() -> io::Result<Self> {
        let port = port::create()?;
        fcntl_setfd(&port, FdFlags::CLOEXEC)?;
        Ok(Self { port, asked: Mutex::new(Asked::with_capacity(64)) })
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        unpoisoned(self.asked.lock())
    }
}

impl Manners for Port {
    type Operation = Operation;

    fn prepare(&self, _fd: &OwnedFd) -> Result<Operation, AddError> {
        Ok(Operation::NONE)
    }

    fn submit(
        &self,
        operation: &mut Operation,
        fd: &OwnedFd,
        key: Key,
        wanted: Interest,
    ) -> io::Result<()> {
        let flags = PollFlags::from_bits_retain(poll::flags(wanted));
        Ok(self.lock().ask(operation, key, |number| {
            let user = ptr::without_provenance_mut(number);
            // SAFETY: whoever closes the duplicate takes the question back before; the user's
            // pointer is a number.
            unsafe { port::associate_fd(&self.port, fd.as_raw_fd(), flags, user) }
        })?)
    }

    fn cancel(&self, operation: &mut Operation, fd: &OwnedFd) -> bool {
        let taken_back = self.lock().cancel(operation).is_some();
        if taken_back {
            // SAFETY: it was associated; if the answer is in the port it is not any more, and the port
            // says so.
            let _ = unsafe { port::dissociate_fd(&self.port, fd.as_raw_fd()) };
        }
        !taken_back
    }

    fn dequeue(
        &self,
        completions: &mut Vec<Completed>,
        limit: usize,
        timeout: Timeout,
    ) -> io::Result<()> {
        let mut timeout =
            sys::seconds(timeout).map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
        let mut batch = [const { MaybeUninit::<libc::port_event>::uninit() }; 64];
        // An event of no source, should the kernel write neither it nor how many there are.
        batch[0] = MaybeUninit::zeroed();
        let room = limit.min(batch.len());
        let mut count = 1;
        // rustix would drop what comes together with the timeout.
        // SAFETY: the batch has this much room, and a timeout that is there outlives the call.
        let result = unsafe {
            libc::port_getn(
                self.port.as_raw_fd(),
                batch.as_mut_ptr().cast(),
                sys::fit(room),
                &raw mut count,
                timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut),
            )
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            // The timeout; `count` says what has come all the same.
            if error.raw_os_error() != Some(libc::ETIME) {
                return Err(error);
            }
        }
        let mut asked = self.lock();
        for event in &batch[..sys::fit(count)] {
            // SAFETY: so many were written, or only the first, above: zero is valid for each of its
            // numbers and its pointer.
            let event = unsafe { event.assume_init_ref() };
            if event.portev_source == 0 {
                continue;
            }
            completions.push(match event.portev_user.addr() {
                NOTICE => Completed::Notice,
                number => {
                    #[allow(clippy::cast_possible_truncation, reason = "poll(2)'s flags")]
                    let conditions = poll::conditions(event.portev_events as i16);
                    asked.answer(number, conditions)
                }
            });
        }
        Ok(())
    }

    fn notify(&self) -> bool {
        // It fails when too much is under way already: then whoever waits wakes up anyway.
        port::send(&self.port, 0, ptr::without_provenance_mut(NOTICE)).is_ok()
    }
}
