//! kqueue: the kernel keeps the filters, their modes and their edges; what it does not keep is an
//! account of what was asked, so a table does (`filters` says what a request changes).
//!
//! The kernel forgets a filter when its descriptor is closed. A table entry that this has left
//! behind is found when the number is registered again: the kernel is asked whether the filter is
//! still there.

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::{AddError, Backend, KernelRecord, Selector, watches_itself};
use crate::event::{Conditions, Event, Token};
use crate::interest::{Interest, Mode};
use crate::os::kqueue::Kind;
use crate::readiness::{Kernel, Timeout};
use crate::sync::unpoisoned;
use crate::sys::{self, Signal, fit};

mod filters;
use filters::{Action, Change, Filter, MOST, Registration, Way};

pub(super) const AVAILABLE: &[Backend] = &[Backend::Kqueue, Backend::Poll];

pub(crate) type Native = Kqueue;

pub(super) fn open() -> io::Result<Native> {
    Kqueue::new()
}

/// The exit of a process as a kqueue, which is readable once its only filter is. None if the process
/// is gone, or about to be: then it may not be waited for yet.
pub(crate) fn open_exit(id: u32) -> Option<io::Result<OwnedFd>> {
    let exit = Record::process(id, libc::NOTE_EXIT);
    let opened = new_kqueue().and_then(|kqueue| {
        add_filter(&kqueue, &exit, Token(0), Mode::Level)?;
        Ok(kqueue)
    });
    match opened {
        Err(error) if filters::is_gone(&error) => None,
        opened => Some(opened),
    }
}

fn add_filter(kqueue: impl AsFd, filter: &Record, token: Token, mode: Mode) -> io::Result<()> {
    let mut add = *filter;
    add.0.udata = ptr::without_provenance_mut(token.0);
    let once = mode == Mode::Oneshot;
    add.0.flags = libc::EV_ADD | if once { libc::EV_ONESHOT } else { libc::EV_CLEAR };
    kevent(kqueue, &[add], &mut [], Timeout::ZERO)?;
    Ok(())
}

fn new_kqueue() -> io::Result<OwnedFd> {
    let kqueue = rustix::event::kqueue::kqueue()?;
    // A forked child does not inherit a kqueue, so no other thread's exec can come between.
    fcntl_setfd(&kqueue, FdFlags::CLOEXEC)?;
    Ok(kqueue)
}

/// `udata` is the token, a number to the kernel and to us.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Record(libc::kevent);

// SAFETY: the pointer in it is a number: nobody follows it.
unsafe impl Send for Record {}
// SAFETY: as above.
unsafe impl Sync for Record {}

/// The identifiers of the user filter: the notice, what a program posts, and, counted from the end,
/// the descriptors of broken pipes.
const NOTICE: libc::uintptr_t = 0;
const POSTED: libc::uintptr_t = 1;

/// What of `fflags` is a user filter's own.
const USER_FLAGS: u32 = 0x00ff_ffff;

/// The filter for what is exceptional, which FreeBSD and NetBSD lack, and its flag.
#[cfg(any(target_vendor = "apple", target_os = "openbsd", target_os = "dragonfly"))]
const EXCEPT: Option<(i16, u32)> = Some((libc::EVFILT_EXCEPT, libc::NOTE_OOB));
#[cfg(not(any(target_vendor = "apple", target_os = "openbsd", target_os = "dragonfly")))]
const EXCEPT: Option<(i16, u32)> = None;

fn is_except(filter: impl Into<i64>) -> bool {
    EXCEPT.is_some_and(|(except, _)| i64::from(except) == filter.into())
}

/// A timer's units, as flag and in nanoseconds. NetBSD before 10 would take any for milliseconds.
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
const UNITS: ([u32; 3], [u64; 3]) =
    ([0, libc::NOTE_USECONDS, libc::NOTE_NSECONDS], [1_000_000, 1_000, 1]);
#[cfg(not(any(target_vendor = "apple", target_os = "freebsd")))]
const UNITS: ([u32; 1], [u64; 1]) = ([0], [1_000_000]);

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

    pub(crate) fn signal(number: i32) -> Self {
        let mut record = Self::empty();
        record.0.ident = fit(number);
        record.0.filter = libc::EVFILT_SIGNAL;
        record
    }

    pub(crate) fn process(id: u32, notes: u32) -> Self {
        let mut record = Self::empty();
        record.0.ident = fit(id);
        record.0.filter = libc::EVFILT_PROC;
        record.0.fflags = notes;
        record
    }

    pub(crate) fn timer(id: usize, period: Duration) -> Self {
        let (flags, units) = UNITS;
        // `data` has a pointer's width on some systems.
        let (unit, count) = filters::period(period, &units, fit(isize::MAX));
        let mut record = Self::empty();
        record.0.ident = id;
        record.0.filter = libc::EVFILT_TIMER;
        record.0.fflags = flags[unit];
        record.0.data = fit(count);
        record
    }

    /// What the kernel wrote.
    pub(crate) fn raw(&self) -> &libc::kevent {
        &self.0
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.0.filter {
            libc::EVFILT_READ | libc::EVFILT_WRITE => Kind::Object,
            libc::EVFILT_USER => Kind::User,
            libc::EVFILT_SIGNAL => Kind::Signal,
            libc::EVFILT_PROC => Kind::Process,
            libc::EVFILT_TIMER => Kind::Timer,
            libc::EVFILT_AIO => Kind::Aio,
            #[cfg(target_os = "freebsd")]
            libc::EVFILT_LIO => Kind::Lio,
            other if is_except(other) => Kind::Object,
            other => Kind::Other(fit(other)),
        }
    }

    fn change(fd: BorrowedFd<'_>, registration: Registration, change: Change) -> Self {
        let mut record = Self::empty();
        record.0.ident = fit(fd.as_raw_fd());
        record.0.udata = ptr::without_provenance_mut(registration.token.0);
        if registration.way == Way::LowWater {
            record.0.fflags = libc::NOTE_LOWAT;
            record.0.data = 1;
        }
        match change.filter {
            Filter::Read => record.0.filter = libc::EVFILT_READ,
            Filter::Write => record.0.filter = libc::EVFILT_WRITE,
            Filter::Except => {
                let (filter, out_of_band) = EXCEPT.unwrap_or_default();
                record.0.filter = fit(filter);
                // macOS' would report what is there to read, too.
                record.0.fflags = out_of_band | libc::NOTE_LOWAT;
                record.0.data = fit(i32::MAX);
            }
            Filter::Broken => {
                record.0.ident = libc::uintptr_t::MAX - record.0.ident;
                record.0.filter = libc::EVFILT_USER;
            }
        }
        record.0.flags = libc::EV_RECEIPT
            | match change.action {
                Action::Add(Mode::Level) => libc::EV_ADD | libc::EV_ENABLE,
                Action::Add(Mode::Edge) => libc::EV_ADD | libc::EV_ENABLE | libc::EV_CLEAR,
                Action::Add(Mode::Oneshot) => libc::EV_ADD | libc::EV_ENABLE | libc::EV_DISPATCH,
                Action::AddDisabled => libc::EV_ADD | libc::EV_DISABLE,
                Action::Delete => libc::EV_DELETE,
                Action::Trigger | Action::Touch => 0,
            };
        if change.action == Action::Trigger {
            let said = filters::conditions(Filter::Broken, true, 0, 0).bits();
            record.0.fflags = libc::NOTE_TRIGGER | libc::NOTE_FFCOPY | said;
        }
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
            libc::EVFILT_USER => return Conditions::from_bits(self.0.fflags & USER_FLAGS),
            libc::EVFILT_READ => Filter::Read,
            libc::EVFILT_WRITE => Filter::Write,
            other if is_except(other) => Filter::Except,
            // Of no object: its flags have other meanings.
            _ => return Conditions::READ,
        };
        let eof = self.0.flags & libc::EV_EOF != 0;
        filters::conditions(filter, eof, self.0.fflags, EXCEPT.map_or(0, |(_, flag)| flag))
    }
}

/// Without a timeout it waits for ever.
fn kevent(
    kqueue: impl AsFd,
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
            kqueue.as_fd().as_raw_fd(),
            changes.as_ptr().cast(),
            fit(changes.len()),
            events.as_mut_ptr().cast(),
            fit(events.len().min(fit(i32::MAX))),
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
    /// Those of no object, by filter and identifier.
    filters: Mutex<HashSet<(i64, libc::uintptr_t)>>,
    pipe: Option<Pipe>,
}

impl Kqueue {
    fn new() -> io::Result<Self> {
        let kqueue = new_kqueue()?;
        let mut this =
            Self { kqueue, table: Mutex::default(), filters: Mutex::default(), pipe: None };
        let mut notice = Record::notice();
        notice.0.flags = libc::EV_ADD | libc::EV_CLEAR;
        if kevent(&this.kqueue, &[notice], &mut [], Timeout::ZERO).is_err() {
            let signal = Signal::new()?;
            let Some(reader) = signal.descriptor() else { return Ok(this) };
            this.apply(reader, None, (Token(0), Interest::READABLE, Mode::Edge))?;
            let reader = reader.as_raw_fd();
            this.pipe = Some(Pipe { signal, reader });
        }
        Ok(this)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RawFd, Registration>> {
        unpoisoned(self.table.lock())
    }

    fn submit(
        &self,
        fd: BorrowedFd<'_>,
        registration: Registration,
        changes: impl Iterator<Item = Change>,
    ) -> Result<(), Errno> {
        let mut actions = [Action::Touch; MOST];
        let mut records = [Record::empty(); MOST];
        let mut count = 0;
        for change in changes {
            actions[count] = change.action;
            records[count] = Record::change(fd, registration, change);
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

    /// Returns the registration as it is now. On an error everything is as it was.
    fn apply(
        &self,
        fd: BorrowedFd<'_>,
        old: Option<Registration>,
        (token, interest, mode): (Token, Interest, Mode),
    ) -> io::Result<Registration> {
        let mut new = Registration { token, interest, mode, way: Way::Plain };
        loop {
            let made = self.submit(fd, new, filters::changes(old, Some(new)));
            let Err(errno) = made else { return Ok(new) };
            let _ = self.submit(fd, old.unwrap_or(new), filters::changes(Some(new), old));
            if errno == Errno::BADF {
                // Is it true?
                sys::identity(fd)?;
            }
            match filters::another(new.way, errno) {
                // Without a user filter there is no other way.
                Some(Way::Broken) if self.pipe.is_some() => return Err(Errno::PIPE.into()),
                Some(way) => new.way = way,
                None => return Err(refusal(errno)),
            }
        }
    }

    fn still_stands(&self, fd: BorrowedFd<'_>, registration: Registration) -> bool {
        let question = [filters::question(registration)].into_iter();
        self.submit(fd, registration, question) != Err(Errno::NOENT)
    }
}

/// The errors of the kernels for an object, or a direction of one, that they cannot watch.
fn refusal(errno: Errno) -> io::Error {
    // PERM is what older kernels say.
    let errors = [Errno::INVAL, Errno::NODEV, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::PERM];
    if errors.contains(&errno) {
        return io::Error::new(
            io::ErrorKind::Unsupported,
            "kqueue cannot watch this object in this direction (of a terminal on macOS: open it \
             under its own name, not as /dev/tty)",
        );
    }
    errno.into()
}

fn check(interest: Interest) -> io::Result<()> {
    if interest.contains(Interest::PRIORITY) && EXCEPT.is_none() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this system's kqueue reports no Interest::PRIORITY",
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
        if fd.as_raw_fd() == self.kqueue.as_raw_fd() {
            return Err(watches_itself().into());
        }
        // At its end a file would never be reported, nor would `/dev/null`.
        if sys::is_always_ready(fd)? {
            return Err(AddError::AlwaysReady);
        }
        let mut table = self.lock();
        if let Some(old) = table.get(&fd.as_raw_fd()) {
            if self.still_stands(fd, *old) {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
            }
            // A user filter belongs to no descriptor.
            let _ = self.submit(fd, *old, filters::changes(Some(*old), None));
        }
        table.insert(fd.as_raw_fd(), self.apply(fd, None, (token, interest, mode))?);
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
        *entry = self.apply(fd, Some(*entry), (token, interest, mode))?;
        Ok(())
    }

    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut table = self.lock();
        let old = table.remove(&fd.as_raw_fd()).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.submit(fd, old, filters::changes(Some(old), None))?)
    }

    fn set_filter(
        &self,
        filter: &Record,
        there: bool,
        wanted: Option<(Token, Mode)>,
    ) -> io::Result<bool> {
        let mut filters = unpoisoned(self.filters.lock());
        let name = (filter.0.filter.into(), filter.0.ident);
        match (there, filters.contains(&name)) {
            (true, false) => return Err(io::ErrorKind::NotFound.into()),
            (false, true) => return Err(io::ErrorKind::AlreadyExists.into()),
            _ => {}
        }
        // The systems disagree about what a new one leaves of an old one in place, which may have
        // been reported and gone.
        let mut delete = *filter;
        delete.0.flags = libc::EV_DELETE;
        let _ = kevent(&self.kqueue, &[delete], &mut [], Timeout::ZERO);
        let Some((token, mode)) = wanted else { return Ok(!filters.remove(&name)) };
        let exit = filter.0.filter == libc::EVFILT_PROC && filter.0.fflags & libc::NOTE_EXIT != 0;
        let waits = match add_filter(&self.kqueue, filter, token, mode) {
            Err(error) if exit && filters::is_gone(&error) => false,
            added => added.map(|()| true)?,
        };
        filters.insert(name);
        Ok(waits)
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

    fn notify(&self) -> bool {
        if let Some(pipe) = &self.pipe {
            pipe.signal.give();
            return true;
        }
        // Without EV_ADD, which would make the filter forget that it clears itself.
        let mut trigger = Record::notice();
        trigger.0.fflags = libc::NOTE_TRIGGER;
        kevent(&self.kqueue, &[trigger], &mut [], Timeout::ZERO).is_ok()
    }
}
