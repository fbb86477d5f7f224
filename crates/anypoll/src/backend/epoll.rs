//! epoll: the kernel keeps the registrations, their modes and their edges.

use std::ffi::{c_int, c_long};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{ptr, slice};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::{AddError, Backend, KernelRecord, Selector, watches_itself};
use crate::event::{Conditions, Event, Token};
use crate::interest::{Interest, Mode};
use crate::readiness::{Kernel, Timeout};
use crate::sys;

pub(crate) type Record = epoll::Event;

pub(super) const AVAILABLE: &[Backend] = &[
    Backend::Epoll,
    Backend::Poll,
    #[cfg(all(feature = "test-selector", target_os = "linux"))]
    Backend::Simulated,
];

pub(crate) type Native = Epoll;

pub(super) fn open() -> io::Result<Native> {
    Epoll::new()
}

/// The exit of a process as a pidfd, where the kernel has them. The sandbox of older Androids'
/// applications ends a program for asking.
#[inline]
pub(crate) fn open_exit(id: u32) -> Option<io::Result<OwnedFd>> {
    if cfg!(target_os = "android") {
        return None;
    }
    let id: c_long = sys::fit(id);
    // SAFETY: the call takes two numbers and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0_u32) };
    let fd: i32 = sys::fit(fd);
    if fd < 0 {
        let error = io::Error::last_os_error();
        let missing = matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM));
        return if missing { None } else { Some(Err(error)) };
    }
    // SAFETY: the kernel has just made it, close-on-exec, and nobody else knows of it.
    Some(Ok(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// The data of the notice. Odd and, on 64-bit systems, outside of what an address can be; on
/// 32-bit systems outside of what a token can be.
const NOTICE: u64 = 0x5EAF_00D5_EAF0_0D01;

/// Once set, `epoll_pwait2` is not called any more: the kernel lacks it (before Linux 5.11), or a
/// sandbox forbids it. That of Android's applications ends a program for it, up to Android 14.
pub(crate) static WITHOUT_PWAIT2: AtomicBool = AtomicBool::new(cfg!(target_os = "android"));

pub(crate) struct Epoll {
    epoll: OwnedFd,
    /// Registered edge-triggered, so it is written and never read.
    notice: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let notice = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = EventData::new_u64(NOTICE);
        epoll::add(&epoll, &notice, data, EventFlags::IN | EventFlags::ET)?;
        Ok(Self { epoll, notice })
    }
}

fn data(token: Token) -> EventData {
    EventData::new_u64(token.0 as u64)
}

fn flags(interest: Interest, mode: Mode) -> EventFlags {
    let how = match mode {
        Mode::Level => EventFlags::empty(),
        Mode::Edge => EventFlags::ET,
        Mode::Oneshot => EventFlags::ONESHOT,
    };
    EventFlags::from_bits_retain(Conditions::of(interest).bits()) | how
}

/// The kernel asks first whether the object can be watched at all (`EINVAL`: its own descriptor).
fn not_there(errno: Errno) -> Errno {
    if matches!(errno, Errno::PERM | Errno::INVAL) { Errno::NOENT } else { errno }
}

impl Selector for Epoll {
    #[inline]
    fn add(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Result<(), AddError> {
        match epoll::add(&self.epoll, fd, data(token), flags(interest, mode)) {
            Err(Errno::PERM) => Err(AddError::AlwaysReady),
            Err(Errno::INVAL) => Err(watches_itself().into()),
            result => Ok(result?),
        }
    }

    #[inline]
    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, data(token), flags(interest, mode)).map_err(not_there)?)
    }

    #[inline]
    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd).map_err(not_there)?)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }
}

impl Kernel for Epoll {
    type Event = Event;

    #[inline]
    fn wait(&self, events: &mut Vec<Event>, limit: usize, timeout: Timeout) -> io::Result<()> {
        let seconds = match timeout {
            Timeout::ZERO => Some(0),
            Timeout::FOREVER => None,
            _ => return self.wait_for(events, limit, timeout),
        };
        if WITHOUT_PWAIT2.load(Relaxed) {
            return self.wait_in_milliseconds(events, limit, timeout);
        }
        // That is `epoll_pwait`, unless some package asks for rustix's feature `linux_5_11`.
        let timespec = seconds.map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 });
        match epoll::wait(&self.epoll, spare(events, limit), timespec.as_ref()) {
            Ok((written, _)) => {
                let count = written.len();
                // SAFETY: so many records were written into the spare capacity.
                unsafe { events.set_len(events.len() + count) };
                Ok(())
            }
            Err(errno) => self.wait_otherwise(events, limit, timeout, errno.into()),
        }
    }

    fn notify(&self) -> bool {
        // The only error would be a full counter, after 2^64 notices.
        rustix::io::write(&self.notice, &1_u64.to_ne_bytes()).is_ok()
    }
}

/// `struct __kernel_timespec`, which has 64 bits on every system.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl Epoll {
    #[inline(never)]
    fn wait_for(&self, events: &mut Vec<Event>, limit: usize, timeout: Timeout) -> io::Result<()> {
        let Some((seconds, nanoseconds)) = sys::seconds(timeout).filter(|(_, nanoseconds)| {
            nanoseconds % 1_000_000 != 0 && !WITHOUT_PWAIT2.load(Relaxed)
        }) else {
            return self.wait_in_milliseconds(events, limit, timeout);
        };
        let (epoll, timespec) = (self.epoll.as_raw_fd(), KernelTimespec { seconds, nanoseconds });
        let (timespec, no_mask) = (&raw const timespec, ptr::null::<libc::sigset_t>());
        // SAFETY: the buffer is as long as said, and what `timespec` points to has the kernel's layout
        // and outlives the call.
        let call = |buffer: *mut _, room: c_int| unsafe {
            let pwait2 = libc::SYS_epoll_pwait2;
            sys::fit(libc::syscall(pwait2, epoll, buffer, room, timespec, no_mask, 0_usize))
        };
        // SAFETY: the call returns that.
        let result = unsafe { append(events, limit, call) };
        result.or_else(|error| self.wait_otherwise(events, limit, timeout, error))
    }

    /// After an error of a call that may be too new.
    #[cold]
    fn wait_otherwise(
        &self,
        events: &mut Vec<Event>,
        limit: usize,
        timeout: Timeout,
        error: io::Error,
    ) -> io::Result<()> {
        if !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
            return Err(error);
        }
        WITHOUT_PWAIT2.store(true, Relaxed);
        self.wait_in_milliseconds(events, limit, timeout)
    }

    /// By the call that every kernel and every sandbox knows.
    #[inline(never)]
    fn wait_in_milliseconds(
        &self,
        events: &mut Vec<Event>,
        limit: usize,
        timeout: Timeout,
    ) -> io::Result<()> {
        let (epoll, timeout) = (self.epoll.as_raw_fd(), sys::milliseconds(timeout));
        // SAFETY: the buffer is as long as said.
        let call = |buffer, room| unsafe { libc::epoll_wait(epoll, buffer, room, timeout) };
        // SAFETY: the call returns that.
        unsafe { append(events, limit, call) }
    }
}

/// # Safety
///
/// `call` returns how many records it has written, or less than 0 and why in `errno`.
unsafe fn append(
    events: &mut Vec<Event>,
    limit: usize,
    call: impl FnOnce(*mut libc::epoll_event, c_int) -> c_int,
) -> io::Result<()> {
    let buffer = spare(events, limit);
    let count = call(buffer.as_mut_ptr().cast(), sys::fit(buffer.len()));
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: so many records were written into the spare capacity.
    unsafe { events.set_len(events.len() + count) };
    Ok(())
}

/// The kernel refuses a buffer that could hold more bytes than an `i32` says.
const MOST_RECORDS: usize = i32::MAX as usize / size_of::<Record>();

/// Where the kernel may write.
#[inline]
fn spare(events: &mut Vec<Event>, limit: usize) -> &mut [MaybeUninit<Record>] {
    let spare = events.spare_capacity_mut();
    let room = limit.min(spare.len()).min(MOST_RECORDS);
    // SAFETY: it is no longer than what it is taken from, and an `Event` is a `Record`.
    unsafe { slice::from_raw_parts_mut(spare.as_mut_ptr().cast(), room) }
}

// SAFETY: what could be a pointer is a number here, which is only copied.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl KernelRecord for Record {
    #[allow(clippy::cast_possible_truncation, reason = "on 64-bit systems it fits")]
    const RESERVED: Option<Token> =
        if usize::BITS == 64 { Some(Token(NOTICE as usize)) } else { None };

    fn new(token: Token, conditions: Conditions) -> Self {
        Self { flags: EventFlags::from_bits_retain(conditions.bits()), data: data(token) }
    }

    fn notice() -> Self {
        Self { flags: EventFlags::empty(), data: EventData::new_u64(NOTICE) }
    }

    fn is_notice(&self) -> bool {
        self.data.u64() == NOTICE
    }

    #[inline]
    fn token(&self) -> Token {
        #[allow(clippy::cast_possible_truncation, reason = "it was made from a usize")]
        Token(self.data.u64() as usize)
    }

    #[inline]
    fn conditions(&self) -> Conditions {
        let flags = self.flags;
        Conditions::from_bits(flags.bits())
    }
}
