//! The poller: anypoll's, told what to do in polling's terms.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use anypoll::{AlwaysReadyObject, Backend, Interest, Mode, Token};

use crate::event::{Event, Events, PollMode};
use crate::source::{AsRawSource, AsSource, Borrowed};
use crate::table::{Change, Table};

/// Watches objects and reports which can be used now.
#[derive(Debug)]
pub struct Poller {
    pub(crate) poller: anypoll::Poller,
    table: Option<Box<Table>>,
    has_waiter: AtomicBool,
    /// Its descriptor was handed out.
    is_watched: AtomicBool,
}

/// The one thread that waits.
struct Waiter<'a>(&'a Poller);

impl<'a> Waiter<'a> {
    fn of(poller: &'a Poller) -> Option<Self> {
        (!poller.has_waiter.swap(true, Ordering::SeqCst)).then(|| Self(poller))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.has_waiter.store(false, Ordering::Release);
    }
}

impl Poller {
    /// A poller with the best backend of this system.
    ///
    /// # Errors
    ///
    /// The system's: no descriptors or no memory left.
    pub fn new() -> io::Result<Self> {
        let poller = anypoll::Poller::new()?;
        Ok(Self {
            table: Table::of(&poller),
            poller,
            has_waiter: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
        })
    }

    /// Whether [`PollMode::Level`] can be used: it can, everywhere.
    #[must_use]
    pub fn supports_level(&self) -> bool {
        true
    }

    /// Whether [`PollMode::Edge`] and [`PollMode::EdgeOneshot`] can be used: where the kernel has
    /// edges.
    #[must_use]
    pub fn supports_edge(&self) -> bool {
        self.poller.has_edges()
    }

    /// Begins to watch an object in [`PollMode::Oneshot`].
    ///
    /// # Safety
    ///
    /// The source must be [deleted](Self::delete) before it is closed.
    ///
    /// # Errors
    ///
    /// Those of [`add_with_mode`](Self::add_with_mode).
    pub unsafe fn add(&self, source: impl AsRawSource, interest: Event) -> io::Result<()> {
        // SAFETY: the caller promises what is asked for.
        unsafe { self.add_with_mode(source, interest, PollMode::Oneshot) }
    }

    /// Begins to watch an object. What is ready already is reported too.
    ///
    /// # Safety
    ///
    /// The source must be [deleted](Self::delete) before it is closed.
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): this poller watches it already.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EPERM`): it never blocks, as a
    ///   file of a disk.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the key is `usize::MAX` or
    ///   [`Token::RESERVED`].
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the system has no edges.
    pub unsafe fn add_with_mode(
        &self,
        source: impl AsRawSource,
        interest: Event,
        mode: PollMode,
    ) -> io::Result<()> {
        // SAFETY: the caller's object is open until it has been deleted.
        let source = unsafe { Borrowed::borrow_raw(source.raw()) };
        self.ask(interest, mode, |token, interest, mode| {
            let add = |token, mode| {
                self.poller.add(&source, token, interest, mode, AlwaysReadyObject::Refuse)
            };
            match &self.table {
                Some(table) => table.add((&source).raw(), &self.change(token, interest, mode), add),
                None => add(token, mode),
            }
        })
    }

    /// Changes the key and interest of an object, and has it reported again, in
    /// [`PollMode::Oneshot`].
    ///
    /// # Errors
    ///
    /// Those of [`modify_with_mode`](Self::modify_with_mode).
    pub fn modify(&self, source: impl AsSource, interest: Event) -> io::Result<()> {
        self.modify_with_mode(source, interest, PollMode::Oneshot)
    }

    /// Changes the key, interest and mode of an object. What is ready then is reported, by a wait
    /// that runs in another thread too.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): this poller does not watch it. And as for
    /// [`add_with_mode`](Self::add_with_mode).
    pub fn modify_with_mode(
        &self,
        source: impl AsSource,
        interest: Event,
        mode: PollMode,
    ) -> io::Result<()> {
        let source = source.source();
        self.ask(interest, mode, |token, interest, mode| {
            let modify = |token, mode| self.poller.modify(&source, token, interest, mode);
            match &self.table {
                Some(table) => {
                    table.modify((&source).raw(), &self.change(token, interest, mode), modify)
                }
                None => modify(token, mode),
            }
        })
    }

    fn change(&self, Token(key): Token, interest: Interest, mode: Mode) -> Change {
        // After what it is about has been used up, as a wait says that it waits before it looks.
        fence(Ordering::SeqCst);
        let is_quiet =
            !self.has_waiter.load(Ordering::SeqCst) && !self.is_watched.load(Ordering::SeqCst);
        Change { key, interest, mode, is_quiet }
    }

    /// Checks and translates, and asks without urgent data where there is no such thing.
    pub(crate) fn ask(
        &self,
        event: Event,
        mode: PollMode,
        change: impl Fn(Token, Interest, Mode) -> io::Result<()>,
    ) -> io::Result<()> {
        let token = Self::token(&event)?;
        let mode = match mode {
            PollMode::Level => Mode::Level,
            PollMode::Oneshot => Mode::Oneshot,
            _ if !self.supports_edge() => {
                let what = "this system reports no edges: choose PollMode::Oneshot or Level";
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
            PollMode::Edge => Mode::Edge,
            PollMode::EdgeOneshot => Mode::Oneshot,
        };
        let interest = event.interest(self.poller.backend() != Backend::Kqueue);
        match change(token, interest, mode) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                change(token, interest - Interest::PRIORITY, mode)
            }
            result => result,
        }
    }

    pub(crate) fn token(event: &Event) -> io::Result<Token> {
        let token = Token(event.key);
        if event.key == usize::MAX || Some(token) == Token::RESERVED {
            let what = format!("the key {:#x} is the poller's own: choose another", event.key);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(token)
    }

    /// Ends the watching of an object: no wait that starts later reports it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): this poller does not watch it.
    pub fn delete(&self, source: impl AsSource) -> io::Result<()> {
        let source = source.source();
        let remove = || self.poller.remove(&source);
        match &self.table {
            Some(table) => table.delete((&source).raw(), remove),
            None => remove(),
        }
    }

    /// Waits until something is ready, and adds it to `events`.
    ///
    /// Returns how many events are in `events` then. No new ones come when the timeout has passed,
    /// after a [`notify`](Self::notify), and at once if another thread waits already: then the
    /// result is 0. A signal does not end the wait.
    ///
    /// # Errors
    ///
    /// The system's, none of which a working program sees.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        // A timeout that is beyond the clock never ends.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.run(events, timeout, deadline)
    }

    /// Like [`wait`](Self::wait), until a moment. One that has passed only looks.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn wait_deadline(&self, events: &mut Events, deadline: Instant) -> io::Result<usize> {
        self.run(events, remaining(Some(deadline)), Some(deadline))
    }

    fn run(
        &self,
        events: &mut Events,
        mut timeout: Option<Duration>,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let Some(_waiter) = Waiter::of(self) else { return Ok(0) };
        let events = &mut events.events;
        if events.len() == events.capacity() {
            events.reserve(1);
        }
        if let Some(table) = &self.table {
            table.begin_wait();
        }
        loop {
            let result = match &self.table {
                Some(table) => self
                    .poller
                    .wait_retain(events, timeout, |event| table.is_wanted(event, &self.poller)),
                None => self.poller.wait_append(events, timeout),
            };
            match result {
                Ok(()) => return Ok(events.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            timeout = remaining(deadline);
        }
    }

    /// Makes one wait return with what it has, which may be nothing: the one that runs, or else
    /// the next. Several notifications before it returns count as one.
    ///
    /// # Errors
    ///
    /// None: the result is polling's.
    pub fn notify(&self) -> io::Result<()> {
        self.poller.interrupt();
        Ok(())
    }
}

fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|at| at.saturating_duration_since(Instant::now()))
}

/// Where the system's backend has a descriptor: epoll, kqueue.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
))]
mod descriptor {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    use super::{Ordering, Poller};

    /// The descriptor is readable whenever a wait with a timeout of zero would return something.
    ///
    /// From the first call on, a [`notify`](Poller::notify) makes a system call unless one is on
    /// its way already.
    impl AsFd for Poller {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.is_watched.store(true, Ordering::SeqCst);
            self.poller.descriptor().expect("this backend has a descriptor")
        }
    }

    /// As [`AsFd`].
    impl AsRawFd for Poller {
        fn as_raw_fd(&self) -> RawFd {
            self.as_fd().as_raw_fd()
        }
    }
}

#[cfg(windows)]
mod descriptor {
    use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};

    use super::Poller;

    /// The completion port. Tie no file to it, take nothing out, and post through
    /// [`PollerIocpExt`](crate::os::iocp::PollerIocpExt) alone.
    impl AsHandle for Poller {
        fn as_handle(&self) -> BorrowedHandle<'_> {
            anypoll::os::windows::completion_port(&self.poller)
        }
    }

    /// As [`AsHandle`].
    impl AsRawHandle for Poller {
        fn as_raw_handle(&self) -> RawHandle {
            self.as_handle().as_raw_handle()
        }
    }
}
