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
        #[cfg(any(target_os = "linux", target_os = "android"))]
        on_every_backend!(@ epoll Epoll: $($name)+);
        #[cfg(unix)]
        on_every_backend!(@ poll Poll: $($name)+);
        #[cfg(target_os = "linux")]
        on_every_backend!(@ simulated Simulated: $($name)+);
        #[cfg(any(
            target_vendor = "apple",
            target_os = "dragonfly",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
        ))]
        on_every_backend!(@ kqueue Kqueue: $($name)+);
        #[cfg(any(target_os = "illumos", target_os = "solaris"))]
        on_every_backend!(@ event_ports EventPorts: $($name)+);
        #[cfg(windows)]
        on_every_backend!(@ afd Afd: $($name)+);
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

/// Whether the kernel is Linux, for what no standard says.
pub(crate) const LINUX: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// What an event says, or several together, in words.
pub(crate) fn words(events: &[&Event]) -> String {
    type Flag = fn(&Event) -> bool;
    let words: [(Flag, &str); 8] = [
        (Event::is_readable, "readable"),
        (Event::is_writable, "writable"),
        (Event::is_error, "error"),
        (Event::is_read_closed, "read_closed"),
        (Event::is_write_closed, "write_closed"),
        (Event::is_priority, "priority"),
        (Event::is_aio, "aio"),
        (Event::is_lio, "lio"),
    ];
    let said = words.iter().filter(|(is, _)| events.iter().any(|event| is(event)));
    said.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

/// Polls once and expects exactly one event, of `token`; of a kqueue at most one a direction.
#[track_caller]
pub(crate) fn expect_one(poll: &mut Poll, token: usize) -> String {
    let mut events = Events::with_capacity(64);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    let seen: Vec<_> = events.iter().collect();
    let most = if LINUX || cfg!(windows) { 1 } else { 2 };
    assert!((1..=most).contains(&seen.len()), "{seen:?}");
    assert!(seen.iter().all(|event| event.token() == Token(token)), "{seen:?}");
    words(&seen)
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
