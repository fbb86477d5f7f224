//! The part of polling that async-io calls, as a bare epoll: each call is a system call and no more.
//! It is the floor for smol, and nothing that a program could use: it checks nothing, a wake is never
//! spared, and a notice among the events takes the place of one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, epoll_event};

const NOTICE: u64 = u64::MAX;
const READABLE: c_int = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI;
const ENDED: c_int = libc::EPOLLHUP | libc::EPOLLERR;

#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub key: usize,
    pub readable: bool,
    pub writable: bool,
}

impl Event {
    pub const fn none(key: usize) -> Self {
        Self { key, readable: false, writable: false }
    }

    fn record(self) -> epoll_event {
        let readable = if self.readable { READABLE } else { 0 };
        let writable = if self.writable { libc::EPOLLOUT } else { 0 };
        let events = (libc::EPOLLONESHOT | readable | writable) as u32;
        epoll_event { events, u64: self.key as u64 }
    }
}

pub struct Events(Vec<epoll_event>);

impl Events {
    #[allow(clippy::new_without_default, reason = "async-io calls this")]
    pub fn new() -> Self {
        Self(Vec::with_capacity(1024))
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        let has = |record: &epoll_event, flags: c_int| record.events & flags as u32 != 0;
        self.0.iter().filter(|record| record.u64 != NOTICE).map(move |record| Event {
            key: record.u64 as usize,
            readable: has(record, READABLE | ENDED),
            writable: has(record, libc::EPOLLOUT | ENDED),
        })
    }
}

#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    notice: OwnedFd,
}

fn checked(result: impl TryInto<usize>) -> io::Result<usize> {
    result.try_into().map_err(|_| io::Error::last_os_error())
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        // SAFETY: these calls take numbers alone, and each descriptor has one owner.
        let new = unsafe {
            Self {
                epoll: OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))? as _),
                notice: OwnedFd::from_raw_fd(checked(libc::eventfd(
                    0,
                    libc::EFD_CLOEXEC | libc::EFD_NONBLOCK,
                ))? as _),
            }
        };
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        new.control(
            libc::EPOLL_CTL_ADD,
            new.notice.as_raw_fd(),
            epoll_event { events, u64: NOTICE },
        )?;
        Ok(new)
    }

    fn control(&self, what: c_int, of: impl AsRawFd, mut record: epoll_event) -> io::Result<()> {
        let (epoll, of) = (self.epoll.as_raw_fd(), of.as_raw_fd());
        // SAFETY: the record lives during the call.
        checked(unsafe { libc::epoll_ctl(epoll, what, of, &raw mut record) }).map(drop)
    }

    /// # Safety
    ///
    /// None is asked for, but the real one does.
    pub unsafe fn add(&self, source: impl AsRawFd, interest: Event) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, source, interest.record())
    }

    pub fn modify(&self, source: impl AsFd, interest: Event) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, source.as_fd(), interest.record())
    }

    pub fn delete(&self, source: impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, source.as_fd(), Event::none(0).record())
    }

    pub fn notify(&self) -> io::Result<()> {
        let one = 1_u64;
        // SAFETY: eight bytes are read from `one`.
        checked(unsafe { libc::write(self.notice.as_raw_fd(), (&raw const one).cast(), 8) })
            .map(drop)
    }

    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        let milliseconds = timeout.map_or(-1, |timeout| {
            c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
        });
        let room = events.0.capacity();
        // SAFETY: the buffer has this much room.
        let count = checked(unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait,
                self.epoll.as_raw_fd(),
                events.0.as_mut_ptr(),
                room,
                milliseconds,
                0_usize,
                0_usize,
            )
        })?;
        // SAFETY: the kernel has written so many.
        unsafe { events.0.set_len(count) };
        Ok(count)
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
