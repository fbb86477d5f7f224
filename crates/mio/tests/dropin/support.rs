//! What the tests share.

#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anypoll::Backend;
use mio::event::Event;
use mio::{Events, Poll, Token};

/// Makes one test a backend of each function, in modules named after the backends.
macro_rules! on_every_backend {
    ($($name:ident)+) => {
        on_every_backend!(@ unix epoll Epoll: $($name)+);
        on_every_backend!(@ unix poll Poll: $($name)+);
        on_every_backend!(@ unix simulated Simulated: $($name)+);
        on_every_backend!(@ windows afd Afd: $($name)+);
    };
    (@ $system:ident $module:ident $backend:ident: $($name:ident)+) => {
        #[cfg($system)]
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

/// What is written to one comes out of the other.
#[cfg(unix)]
pub(crate) fn pair() -> (mio::unix::pipe::Sender, mio::unix::pipe::Receiver) {
    mio::unix::pipe::new().unwrap()
}

/// What is written to one comes out of the other.
#[cfg(windows)]
pub(crate) fn pair() -> (mio::net::TcpStream, mio::net::TcpStream) {
    let (one, other) = tcp();
    one.set_nonblocking(true).unwrap();
    (mio::net::TcpStream::from_std(one), other)
}

/// A connection, of which std's end blocks.
pub(crate) fn tcp() -> (std::net::TcpStream, mio::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    one.set_read_timeout(Some(PATIENCE)).unwrap();
    let other = listener.accept().unwrap().0;
    other.set_nonblocking(true).unwrap();
    (one, mio::net::TcpStream::from_std(other))
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

#[cfg(unix)]
pub(crate) fn flags(fd: &impl AsFd, command: libc::c_int) -> libc::c_int {
    // SAFETY: the descriptor is open, and the commands that are used read a number.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command) }
}

#[cfg(unix)]
pub(crate) fn is_nonblocking(fd: &impl AsFd) -> bool {
    flags(fd, libc::F_GETFL) & libc::O_NONBLOCK != 0
}
