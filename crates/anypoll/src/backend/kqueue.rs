//! kqueue: the kernel keeps the filters, their modes and their edges; what it does not keep is an
//! account of what was asked, so a table does (`filters` says what a request changes).
//!
//! The kernel forgets a filter when its descriptor is closed. A table entry that this has left
//! behind is found when the number is registered again: the kernel is asked whether the filter is
//! still there.

use std::collections::HashMap;
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::{Mutex, MutexGuard};

use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::{AddError, Backend, KernelRecord, Selector};
use crate::event::{Conditions, Event, Token};
use crate::interest::{Interest, Mode};
use crate::readiness::{Kernel, Timeout};
use crate::sys::{self, Signal, fit};

mod filters;
use filters::{Action, Change, Filter, MOST, Registration};

pub(super) const AVAILABLE: &[Backend] = &[Backend::Kqueue, Backend::Poll];

pub(super) fn open() -> io::Result<Box<dyn Selector>> {
    Ok(Box::new(Kqueue::new()?))
}

/// The exit of a process as a kqueue, which is readable once its only filter is.
pub(crate) fn open_exit(id: u32) -> Option<io::Result<OwnedFd>> {
    let mut exit = Record::empty();
    exit.0.ident = fit(id);
    exit.0.filter = libc::EVFILT_PROC;
    exit.0.flags = libc::EV_ADD;
    exit.0.fflags = libc::NOTE_EXIT;
    let kqueue = match new_kqueue() {
        Ok(kqueue) => kqueue,
        Err(error) => return Some(Err(error)),
    };
    match kevent(&kqueue, &[exit], &mut [], Timeout::ZERO) {
        Ok(_) => Some(Ok(kqueue)),
        // It is gone: nobody holds the other end, so the reader is at its end at once.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
            Some(io::pipe().map(|(reader, _)| reader.into()))
        }
        Err(error) => Some(Err(error)),
    }
}

fn new_kqueue() -> io::Result<OwnedFd> {
    let kqueue = rustix::event::kqueue::kqueue()?;
    // A forked child does not inherit a kqueue, so no other thread's exec can come between.
    fcntl_setfd(&kqueue, FdFlags::CLOEXEC)?;
    Ok(kqueue)
}

impl Token {
    /// The value that cannot be registered: here there is none.
    pub const RESERVED: Option<Self> = None;
}

/// `udata` is the token, a number to the kernel and to us.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Record(libc::kevent);

// SAFETY: the pointer in it is a number: nobody follows it.
unsafe impl Send for Record {}
// SAFETY: as above.
unsafe impl Sync for Record {}

/// The identifiers of the user filter: the notice, and what a program posts.
const NOTICE: libc::uintptr_t = 0;
const POSTED: libc::uintptr_t = 1;

impl Record {
    fn empty() -> Self {
        // SAFETY: the fields are numbers and a pointer, all of which may be zero.
        Self(unsafe { zeroed() })
    }

    fn user(ident: libc::uintptr_t) -> Self {
        let mut record = Self::empty();
        record.0.ident = ident;
        record.0.filter = libc::EVFILT_USER;
        record
    }

    fn change(fd: BorrowedFd<'_>, token: Token, change: Change) -> Self {
        let mut record = Self::empty();
        record.0.ident = fit(fd.as_raw_fd());
        record.0.udata = ptr::without_provenance_mut(token.0);
        record.0.filter = match change.filter {
            Filter::Read => libc::EVFILT_READ,
            Filter::Write => libc::EVFILT_WRITE,
        };
        record.0.flags = libc::EV_RECEIPT
            | match change.action {
                Action::Add(Mode::Level) => libc::EV_ADD | libc::EV_ENABLE,
                Action::Add(Mode::Edge) => libc::EV_ADD | libc::EV_ENABLE | libc::EV_CLEAR,
                Action::Add(Mode::Oneshot) => libc::EV_ADD | libc::EV_ENABLE | libc::EV_DISPATCH,
                Action::AddDisabled => libc::EV_ADD | libc::EV_DISABLE,
                Action::Delete => libc::EV_DELETE,
                Action::Touch => 0,
            };
        record
    }

    /// The error in a receipt, 0 if there is none.
    fn code(&self) -> i32 {
        if self.0.flags & libc::EV_ERROR == 0 { 0 } else { fit(self.0.data) }
    }
}

impl KernelRecord for Record {
    fn new(token: Token, conditions: Conditions) -> Self {
        let mut record = Self::user(POSTED);
        record.0.udata = ptr::without_provenance_mut(token.0);
        record.0.fflags = conditions.bits();
        record
    }

    fn notice() -> Self {
        Self::user(NOTICE)
    }

    fn is_notice(&self) -> bool {
        self.0.filter == libc::EVFILT_USER && self.0.ident == NOTICE
    }

    fn token(&self) -> Token {
        Token(self.0.udata.addr())
    }

    fn conditions(&self) -> Conditions {
        let filter = match self.0.filter {
            libc::EVFILT_USER => return Conditions::from_bits(self.0.fflags),
            libc::EVFILT_WRITE => Filter::Write,
            _ => Filter::Read,
        };
        filters::conditions(filter, self.0.flags & libc::EV_EOF != 0, self.0.fflags)
    }
}

/// Without a timeout it waits for ever.
fn kevent(
    kqueue: &OwnedFd,
    changes: &[Record],
    events: &mut [MaybeUninit<Record>],
    timeout: Timeout,
) -> io::Result<usize> {
    let timeout = sys::seconds(timeout)
        .map(|(seconds, nanos)| libc::timespec { tv_sec: fit(seconds), tv_nsec: fit(nanos) });
    // SAFETY: a `Record` is a `kevent`; there are as many as is said of those to read, and room
    // for as many as is said of those to write; the timeout outlives the call or is null.
    let count = unsafe {
        libc::kevent(
            kqueue.as_raw_fd(),
            changes.as_ptr().cast(),
            fit(changes.len()),
            events.as_mut_ptr().cast(),
            fit(events.len()),
            timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Where there is no user filter (NetBSD before 10, OpenBSD before 7.8).
#[derive(Debug)]
struct Pipe {
    signal: Signal,
    reader: RawFd,
}

#[derive(Debug)]
pub(crate) struct Kqueue {
    kqueue: OwnedFd,
    table: Mutex<HashMap<RawFd, Registration>>,
    pipe: Option<Pipe>,
}

impl Kqueue {
    fn new() -> io::Result<Self> {
        let mut this = Self { kqueue: new_kqueue()?, table: Mutex::default(), pipe: None };
        let mut notice = Record::notice();
        notice.0.flags = libc::EV_ADD | libc::EV_CLEAR;
        if kevent(&this.kqueue, &[notice], &mut [], Timeout::ZERO).is_err() {
            let signal = Signal::new()?;
            let Some(reader) = signal.descriptor() else { return Ok(this) };
            let registration =
                Registration { token: Token(0), interest: Interest::READABLE, mode: Mode::Edge };
            this.apply(reader, None, Some(registration))?;
            let reader = reader.as_raw_fd();
            this.pipe = Some(Pipe { signal, reader });
        }
        Ok(this)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RawFd, Registration>> {
        self.table.lock().expect("nothing panics while it holds this lock")
    }

    fn submit(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        changes: impl Iterator<Item = Change>,
    ) -> Result<(), Errno> {
        let mut actions = [Action::Touch; MOST];
        let mut records = [Record::empty(); MOST];
        let mut count = 0;
        for change in changes {
            actions[count] = change.action;
            records[count] = Record::change(fd, token, change);
            count += 1;
        }
        // One receipt a change: with less room, the rest would not be made after an error.
        let mut receipts = [MaybeUninit::uninit(); MOST];
        let made = kevent(&self.kqueue, &records[..count], &mut receipts[..count], Timeout::ZERO);
        let written = match made {
            Ok(written) => written,
            // After a signal the changes are made all the same, and their receipts lost.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        };
        let receipts = receipts[..written].iter().map(|receipt| {
            // SAFETY: the kernel has written this many.
            let receipt: &Record = unsafe { receipt.assume_init_ref() };
            receipt.code()
        });
        filters::verdict(actions.into_iter().zip(receipts))
    }

    /// On an error everything is as it was.
    fn apply(
        &self,
        fd: BorrowedFd<'_>,
        old: Option<Registration>,
        new: Option<Registration>,
    ) -> io::Result<()> {
        let submit = |old: Option<Registration>, new: Option<Registration>| {
            let token = new.or(old).map_or(Token(0), |registration| registration.token);
            self.submit(fd, token, filters::changes(old, new))
        };
        submit(old, new).map_err(|errno| {
            let _ = submit(new, old);
            refusal(errno)
        })
    }

    fn still_stands(&self, fd: BorrowedFd<'_>, registration: Registration) -> bool {
        let question = [filters::question(registration)].into_iter();
        self.submit(fd, registration.token, question) != Err(Errno::NOENT)
    }
}

/// The errors of the kernels for an object, or a direction of one, that they cannot watch.
fn refusal(errno: Errno) -> io::Error {
    if [Errno::INVAL, Errno::NODEV, Errno::OPNOTSUPP, Errno::NOTSUP].contains(&errno) {
        return io::Error::new(
            io::ErrorKind::Unsupported,
            "kqueue cannot watch this object in this direction (of a terminal on macOS: open it \
             under its own name, not as /dev/tty)",
        );
    }
    errno.into()
}

fn check(interest: Interest) -> io::Result<()> {
    if interest.contains(Interest::PRIORITY) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "kqueue reports no Interest::PRIORITY",
        ));
    }
    Ok(())
}

impl Selector for Kqueue {
    fn add(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Result<(), AddError> {
        check(interest)?;
        // At its end a file would never be reported.
        if sys::is_always_ready(fd)? {
            return Err(AddError::AlwaysReady);
        }
        let mut table = self.lock();
        if let Some(old) = table.get(&fd.as_raw_fd()) {
            if self.still_stands(fd, *old) {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
            }
        }
        let new = Registration { token, interest, mode };
        self.apply(fd, None, Some(new))?;
        table.insert(fd.as_raw_fd(), new);
        Ok(())
    }

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        check(interest)?;
        let mut table = self.lock();
        let entry = table.get_mut(&fd.as_raw_fd()).ok_or(io::ErrorKind::NotFound)?;
        let new = Registration { token, interest, mode };
        self.apply(fd, Some(*entry), Some(new))?;
        *entry = new;
        Ok(())
    }

    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut table = self.lock();
        let old = table.remove(&fd.as_raw_fd()).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.submit(fd, old.token, filters::changes(Some(old), None))?)
    }

    fn has_edges(&self) -> bool {
        true
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.kqueue.as_fd())
    }
}

impl Kernel for Kqueue {
    type Event = Event;

    fn wait(&self, events: &mut Vec<Event>, limit: usize, timeout: Timeout) -> io::Result<()> {
        let start = events.len();
        let spare = events.spare_capacity_mut();
        let room = limit.min(spare.len());
        // SAFETY: an `Event` is a `Record`, and both may be uninitialised here.
        let spare = unsafe { &mut *(&raw mut spare[..room] as *mut [MaybeUninit<Record>]) };
        let count = kevent(&self.kqueue, &[], spare, timeout)?;
        // SAFETY: the kernel has written this many into the spare capacity.
        unsafe { events.set_len(start + count) };
        if let Some(pipe) = &self.pipe {
            let ident = fit(pipe.reader);
            for Event(record) in &mut events[start..] {
                if record.0.filter == libc::EVFILT_READ && record.0.ident == ident {
                    pipe.signal.take();
                    *record = Record::notice();
                }
            }
        }
        Ok(())
    }

    fn notify(&self) {
        if let Some(pipe) = &self.pipe {
            return pipe.signal.give();
        }
        // Without EV_ADD, which would make the filter forget that it clears itself.
        let mut trigger = Record::notice();
        trigger.0.fflags = libc::NOTE_TRIGGER;
        let _ = kevent(&self.kqueue, &[trigger], &mut [], Timeout::ZERO);
    }
}
