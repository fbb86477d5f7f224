//! epoll: the kernel keeps the registrations, their modes and their edges.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::{AddError, KernelRecord, Selector};
use crate::event::{Conditions, Event, Token};
use crate::interest::{Interest, Mode};
use crate::readiness::Kernel;

/// The data of the notice. Odd and, on 64-bit systems, outside of what an address can be; on
/// 32-bit systems outside of what a token can be.
const NOTICE: u64 = 0x5EAF_00D5_EAF0_0D01;

impl Token {
    /// The value that cannot be registered, where there is one (64-bit systems with epoll).
    #[allow(clippy::cast_possible_truncation, reason = "on 64-bit systems it fits")]
    pub const RESERVED: Option<Self> =
        if usize::BITS == 64 { Some(Self(NOTICE as usize)) } else { None };
}

/// Once set, `epoll_pwait2` is not called any more: the kernel lacks it (before Linux 5.11), or a
/// sandbox forbids it.
pub(crate) static WITHOUT_PWAIT2: AtomicBool = AtomicBool::new(false);

#[derive(Debug)]
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

/// The kernel asks first whether the object can be watched at all.
fn not_there(errno: Errno) -> Errno {
    if errno == Errno::PERM { Errno::NOENT } else { errno }
}

impl Selector for Epoll {
    fn add(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Result<(), AddError> {
        match epoll::add(&self.epoll, fd, data(token), flags(interest, mode)) {
            Err(Errno::PERM) => Err(AddError::AlwaysReady),
            result => Ok(result?),
        }
    }

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, data(token), flags(interest, mode)).map_err(not_there)?)
    }

    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd).map_err(not_there)?)
    }

    fn has_edges(&self) -> bool {
        true
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }
}

impl Kernel for Epoll {
    type Event = Event;

    fn wait(
        &self,
        events: &mut Vec<Event>,
        limit: usize,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let spare = events.spare_capacity_mut();
        let room = i32::try_from(limit.min(spare.len())).unwrap_or(i32::MAX);
        let buffer = spare.as_mut_ptr().cast::<libc::epoll_event>();
        let epoll = self.epoll.as_raw_fd();
        let count = match Timeout::new(timeout) {
            // SAFETY: `buffer` has room for `room` records, and an `Event` is one.
            Timeout::Millis(millis) => unsafe { libc::epoll_wait(epoll, buffer, room, millis) },
            Timeout::Exact(timespec) => {
                // SAFETY: as above; `timespec` has the kernel's layout and outlives the call, and
                // no signal mask is given.
                let count = unsafe {
                    libc::syscall(
                        libc::SYS_epoll_pwait2,
                        epoll,
                        buffer,
                        room,
                        &raw const timespec,
                        std::ptr::null::<libc::sigset_t>(),
                        0_usize,
                    )
                };
                if count < 0 {
                    let error = io::Error::last_os_error();
                    if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
                        WITHOUT_PWAIT2.store(true, Relaxed);
                        return self.wait(events, limit, timeout);
                    }
                    return Err(error);
                }
                i32::try_from(count).unwrap_or(i32::MAX)
            }
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the kernel has written `count` records behind what was there.
        unsafe { events.set_len(events.len() + count) };
        Ok(())
    }

    fn notify(&self) {
        // The only error would be a full counter, after 2^64 notices.
        let _ = rustix::io::write(&self.notice, &1_u64.to_ne_bytes());
    }
}

/// `struct __kernel_timespec`, which has 64 bits on every system.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

enum Timeout {
    Millis(i32),
    Exact(Timespec),
}

impl Timeout {
    /// Whole milliseconds take the call that every kernel and every sandbox knows.
    fn new(timeout: Option<Duration>) -> Self {
        let Some(timeout) = timeout else { return Self::Millis(-1) };
        let nanoseconds = timeout.subsec_nanos();
        if nanoseconds % 1_000_000 == 0 || WITHOUT_PWAIT2.load(Relaxed) {
            // Too long for the call is cut, and the wait goes on after it.
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            return Self::Millis(i32::try_from(millis).unwrap_or(i32::MAX));
        }
        Self::Exact(Timespec {
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(nanoseconds),
        })
    }
}

impl KernelRecord for libc::epoll_event {
    fn new(token: Token, conditions: Conditions) -> Self {
        Self { events: conditions.bits(), u64: token.0 as u64 }
    }

    fn notice() -> Self {
        Self { events: 0, u64: NOTICE }
    }

    fn is_notice(&self) -> bool {
        self.u64 == NOTICE
    }

    #[inline]
    fn token(&self) -> Token {
        #[allow(clippy::cast_possible_truncation, reason = "it was made from a usize")]
        Token(self.u64 as usize)
    }

    #[inline]
    fn conditions(&self) -> Conditions {
        Conditions::from_bits(self.events)
    }
}
