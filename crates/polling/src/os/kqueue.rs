//! kqueue: signals, processes and timers.

use std::ffi::c_int;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroI32;
use std::process::Child;
use std::time::Duration;

use anypoll::os::kqueue;

use crate::{Event, PollMode, Poller};

/// What a [`Poller`] can only do with a kqueue.
///
/// Each filter shows as readable, and a poller has one at most of each signal, process and timer's
/// number. In [`PollMode::Oneshot`] it is reported once until it is modified, in the other modes
/// after each time that it has happened.
///
/// ```no_run
/// use polling::os::kqueue::{PollerKqueueExt, Timer};
/// use polling::{Events, PollMode, Poller};
/// use std::time::Duration;
///
/// let poller = Poller::new()?;
/// let timer = Timer { id: 0, timeout: Duration::from_millis(1) };
/// poller.add_filter(timer, 7, PollMode::Level)?;
/// let mut events = Events::new();
/// poller.wait(&mut events, None)?;
/// assert!(events.iter().any(|event| event.key == 7 && event.readable));
/// poller.delete_filter(timer)?;
/// # std::io::Result::Ok(())
/// ```
pub trait PollerKqueueExt<F: Filter>: sealed::Poller {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): this poller watches it already.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the key is `usize::MAX`, or there is no such
    ///   signal.
    /// - `ESRCH`: there is no such process. One whose exit is asked for is reported at once.
    fn add_filter(&self, filter: F, key: usize, mode: PollMode) -> io::Result<()>;

    /// Changes the key, the mode and what is watched, and starts a timer anew.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): this poller does not watch it. And as for
    /// [`add_filter`](Self::add_filter).
    fn modify_filter(&self, filter: F, key: usize, mode: PollMode) -> io::Result<()>;

    /// Ends the watching.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): this poller does not watch it.
    fn delete_filter(&self, filter: F) -> io::Result<()>;
}

impl<F: Filter> PollerKqueueExt<F> for Poller {
    fn add_filter(&self, filter: F, key: usize, mode: PollMode) -> io::Result<()> {
        self.ask(Event::none(key), mode, |token, _, mode| {
            kqueue::add(&self.poller, filter.filter(), token, mode)
        })
    }

    fn modify_filter(&self, filter: F, key: usize, mode: PollMode) -> io::Result<()> {
        self.ask(Event::none(key), mode, |token, _, mode| {
            kqueue::modify(&self.poller, filter.filter(), token, mode)
        })
    }

    fn delete_filter(&self, filter: F) -> io::Result<()> {
        kqueue::remove(&self.poller, filter.filter())
    }
}

/// Something to watch that is no object.
pub trait Filter: sealed::Filter {}

impl<T: Filter + ?Sized> Filter for &T {}

/// A signal was sent to this process.
///
/// What the signal does otherwise it does all the same, so ignore it or have a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(pub c_int);

impl Filter for Signal {}

/// A child process did something.
#[derive(Debug)]
pub struct Process<'a> {
    pid: u32,
    ops: ProcessOps,
    child: PhantomData<&'a Child>,
}

/// What a process can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProcessOps {
    /// It exits. That may be told a moment before it can be waited for.
    Exit,
    /// It forks.
    Fork,
    /// It starts another program.
    Exec,
}

impl<'a> Process<'a> {
    /// This child.
    ///
    /// # Safety
    ///
    /// The child must not be waited for before the filter is
    /// [deleted](PollerKqueueExt::delete_filter), or its number may become another's. (Nothing worse
    /// comes of it than wrong events; the signature is polling's.)
    pub unsafe fn new(child: &'a Child, ops: ProcessOps) -> Self {
        Self { pid: child.id(), ops, child: PhantomData }
    }

    /// The process with this number.
    ///
    /// # Safety
    ///
    /// It must be a child of this process, of which the same is asked as in [`new`](Self::new).
    pub unsafe fn from_pid(pid: NonZeroI32, ops: ProcessOps) -> Self {
        Self { pid: pid.get().cast_unsigned(), ops, child: PhantomData }
    }
}

impl Filter for Process<'_> {}

/// A time that passes again and again, in [`PollMode::Oneshot`] once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    /// The program's own number for it.
    pub id: usize,
    /// How long.
    pub timeout: Duration,
}

impl Filter for Timer {}

mod sealed {
    use anypoll::os::kqueue;

    use super::{Process, ProcessOps, Signal, Timer};

    pub trait Poller {}

    impl Poller for crate::Poller {}

    pub trait Filter {
        fn filter(&self) -> kqueue::Filter;
    }

    impl<T: Filter + ?Sized> Filter for &T {
        fn filter(&self) -> kqueue::Filter {
            (**self).filter()
        }
    }

    impl Filter for Signal {
        fn filter(&self) -> kqueue::Filter {
            kqueue::Filter::Signal(self.0)
        }
    }

    impl Filter for Process<'_> {
        fn filter(&self) -> kqueue::Filter {
            kqueue::Filter::Process {
                id: self.pid,
                exit: self.ops == ProcessOps::Exit,
                fork: self.ops == ProcessOps::Fork,
                exec: self.ops == ProcessOps::Exec,
            }
        }
    }

    impl Filter for Timer {
        fn filter(&self) -> kqueue::Filter {
            kqueue::Filter::Timer { id: self.id, period: self.timeout }
        }
    }
}
