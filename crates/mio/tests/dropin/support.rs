//! What the tests share.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anypoll::Backend;
use mio::event::Event;
use mio::{Events, Poll, Token};

/// Makes one test a backend of each function, in modules named after the backends.
macro_rules! on_every_backend {
    ($($name:ident)+) => {
        on_every_backend!(@ epoll Epoll: $($name)+);
        on_every_backend!(@ poll Poll: $($name)+);
        on_every_backend!(@ simulated Simulated: $($name)+);
    };
    (@ $module:ident $backend:ident: $($name:ident)+) => {
        mod $module {
            $(#[test] fn $name() { super::$name(::anypoll::Backend::$backend) })+
        }
    };
}
pub(crate) use on_every_backend;

/// Long enough that a test which needs all of it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn poll(backend: Backend) -> Poll {
    Poll::with_backend(backend).unwrap()
}

/// What an event says, in words.
pub(crate) fn words(event: &Event) -> String {
    let words = [
        (event.is_readable(), "readable"),
        (event.is_writable(), "writable"),
        (event.is_error(), "error"),
        (event.is_read_closed(), "read_closed"),
        (event.is_write_closed(), "write_closed"),
        (event.is_priority(), "priority"),
        (event.is_aio(), "aio"),
        (event.is_lio(), "lio"),
    ];
    words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

/// Polls once and expects exactly one event, of `token`.
#[track_caller]
pub(crate) fn expect_one(poll: &mut Poll, token: usize) -> String {
    let mut events = Events::with_capacity(64);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    let seen: Vec<_> = events.iter().map(|event| (event.token(), words(event))).collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].0, Token(token), "{seen:?}");
    seen[0].1.clone()
}

/// Fails if anything is reported.
#[track_caller]
pub(crate) fn expect_nothing(poll: &mut Poll) {
    let mut events = Events::with_capacity(64);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty(), "{events:?}");
}

pub(crate) fn flags(fd: &impl AsFd, command: libc::c_int) -> libc::c_int {
    // SAFETY: the descriptor is open, and the commands that are used read a number.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command) }
}

pub(crate) fn is_nonblocking(fd: &impl AsFd) -> bool {
    flags(fd, libc::F_GETFL) & libc::O_NONBLOCK != 0
}
