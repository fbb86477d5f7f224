//! kqueue: what it can watch besides objects, and what it says of an event.
//!
//! ```
//! use anypoll::os::kqueue::{self, Filter, Kind};
//! use anypoll::{Events, Mode, Poller, Token};
//! use std::time::Duration;
//!
//! let poller = Poller::new()?;
//! let timer = Filter::Timer { id: 0, period: Duration::from_millis(1) };
//! kqueue::add(&poller, timer, Token(7), Mode::Level)?;
//!
//! let mut events = Events::default();
//! poller.wait(&mut events, None)?;
//! let event = events.get(0).unwrap();
//! assert_eq!((event.token(), kqueue::details(event).kind), (Token(7), Kind::Timer));
//! kqueue::remove(&poller, timer)?;
//! # std::io::Result::Ok(())
//! ```
//!
//! # Asynchronous I/O
//!
//! What a program itself has registered with a poller's [`descriptor`](Poller::descriptor) is
//! reported too, its `udata` as the token. So an `aiocb` whose `sigev_notify` is `SIGEV_KEVENT`, with
//! that descriptor as `sigev_notify_kqueue` and the token as `sigev_value`, is reported as
//! [`Kind::Aio`], or as [`Kind::Lio`] if it is a list's ([aio(4)]).
//!
//! User filters (`EVFILT_USER`) are the poller's own.
//!
//! [aio(4)]: https://man.freebsd.org/aio/4

use std::ffi::c_int;
use std::io;
use std::time::Duration;

use crate::backend::{Record, Selector, of_either};
use crate::event::{Conditions, Event, Token};
use crate::interest::Mode;
use crate::poller::Poller;
use crate::sys::fit;

/// Something to watch that is no object ([kqueue(2)]). Each shows as readable.
///
/// A poller has one at most of each signal, process and timer's number. In [`Mode::Oneshot`] it is
/// reported once until it is [modified](modify); the other two modes are one, in which it is reported
/// after each time that it has happened.
///
/// [kqueue(2)]: https://man.freebsd.org/kqueue/2
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Filter {
    /// A signal was sent to this process (on macOS: not to one thread of it).
    ///
    /// What the signal does otherwise it does all the same, so ignore it or have a handler; FreeBSD
    /// does not tell of an ignored `SIGCHLD`. [`Details::data`] is how often it was sent.
    Signal(c_int),
    /// A process did any of these. It is watched by its number, which may be given again once its
    /// parent has waited for it; [`process::Exit`](crate::process::Exit) takes care of that.
    ///
    /// The exit of a process that is gone, or was never there, is reported at once, and even if it is
    /// removed before the next wait.
    /// [`Details::flags`] is what happened (`NOTE_EXIT`, `NOTE_FORK`, `NOTE_EXEC`).
    Process {
        /// Its number.
        id: u32,
        /// It exited. That may be told a moment before it can be waited for.
        exit: bool,
        /// It forked.
        fork: bool,
        /// It started another program.
        exec: bool,
    },
    /// A time that passes again and again, in [`Mode::Oneshot`] once.
    ///
    /// Counted in nanoseconds where the system can (macOS, FreeBSD), else in milliseconds,
    /// rounded up; no time is the shortest. [`Details::data`] is how often it has passed.
    /// [`timers`](crate::timers) needs no system call for one.
    Timer {
        /// The program's own number for it.
        id: usize,
        /// How long.
        period: Duration,
    },
}

impl Filter {
    fn record(self) -> Record {
        match self {
            Self::Signal(number) => Record::signal(number),
            Self::Process { id, exit, fork, exec } => {
                let note = |asked, note| if asked { note } else { 0 };
                let notes = note(exit, libc::NOTE_EXIT)
                    | note(fork, libc::NOTE_FORK)
                    | note(exec, libc::NOTE_EXEC);
                Record::process(id, notes)
            }
            Self::Timer { id, period } => Record::timer(id, period),
        }
    }
}

/// Begins to watch.
///
/// # Errors
///
/// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): the poller watches it already.
/// - [`Unsupported`](io::ErrorKind::Unsupported): the poller's backend is not kqueue.
/// - `ESRCH`: there is no such process, and its exit is not asked for.
/// - `EINVAL`: the system cannot count so far, or there is no such signal (FreeBSD takes any number).
/// - The system's: out of memory, not allowed to see the process.
pub fn add(poller: &Poller, filter: Filter, token: Token, mode: Mode) -> io::Result<()> {
    set(poller, filter, false, token, mode)
}

/// Changes what is watched, the token and the mode, and starts a timer anew.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound): the poller does not watch it. And as for [`add`]; it then
/// watches it no more, but knows it still.
pub fn modify(poller: &Poller, filter: Filter, token: Token, mode: Mode) -> io::Result<()> {
    set(poller, filter, true, token, mode)
}

fn set(poller: &Poller, filter: Filter, there: bool, token: Token, mode: Mode) -> io::Result<()> {
    if !of_either!(poller.selector(), selector => selector.set_filter(&filter.record(), there, Some((token, mode))))?
    {
        poller.post(Event::new(token, Conditions::READ));
    }
    Ok(())
}

/// Ends the watching.
///
/// # Errors
///
/// - [`NotFound`](io::ErrorKind::NotFound): the poller does not watch it.
/// - [`Unsupported`](io::ErrorKind::Unsupported): the poller's backend is not kqueue.
pub fn remove(poller: &Poller, filter: Filter) -> io::Result<()> {
    of_either!(poller.selector(), selector => selector.set_filter(&filter.record(), true, None))?;
    Ok(())
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A registered object.
    Object,
    /// Made by the program or the library: a wake, a posted event, an object that never blocks or
    /// that is dead.
    User,
    /// [`Filter::Signal`].
    Signal,
    /// [`Filter::Process`].
    Process,
    /// [`Filter::Timer`].
    Timer,
    /// Asynchronous I/O has ended.
    Aio,
    /// A list of asynchronous I/O has ended.
    Lio,
    /// A filter that the program has registered, by its number.
    Other(i32),
}

/// What the kernel wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Details {
    /// What the event is about.
    pub kind: Kind,
    /// The descriptor, the signal's number, the process, the timer's own number, the address of the
    /// `aiocb`.
    pub ident: usize,
    /// The filter's flags (`fflags`): what a process did, a socket's error.
    pub flags: u32,
    /// The filter's data: how often it happened, how many bytes there are.
    pub data: i64,
}

/// More about an event of a poller whose backend is kqueue.
#[must_use]
pub fn details(event: &Event) -> Details {
    let raw = event.0.raw();
    Details { kind: event.0.kind(), ident: raw.ident, flags: raw.fflags, data: fit(raw.data) }
}
