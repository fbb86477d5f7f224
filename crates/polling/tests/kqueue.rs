//! `os::kqueue`: signals, processes and timers.
#![cfg(any(
    target_vendor = "apple",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
))]

use std::io::ErrorKind;
use std::num::NonZeroI32;
use std::process::{Command, Stdio};
use std::time::Duration;

use polling::os::kqueue::{Filter, PollerKqueueExt, Process, ProcessOps, Signal, Timer};
use polling::{Event, Events, PollMode, Poller};

fn wait(poller: &Poller, timeout: Duration) -> Vec<Event> {
    let mut events = Events::new();
    poller.wait(&mut events, Some(timeout)).unwrap();
    events.iter().collect()
}

#[track_caller]
fn expect_one(poller: &Poller, key: usize) {
    assert_eq!(wait(poller, Duration::from_secs(20)), [Event::readable(key)]);
}

#[track_caller]
fn expect_nothing(poller: &Poller) {
    assert_eq!(wait(poller, Duration::ZERO), []);
}

fn misuse(poller: &Poller, filter: impl Filter) {
    let error = |result: std::io::Result<()>| result.err().map(|error| error.kind());
    assert_eq!(error(poller.delete_filter(&filter)), Some(ErrorKind::NotFound));
    let modified = poller.modify_filter(&filter, 1, PollMode::Level);
    assert_eq!(error(modified), Some(ErrorKind::NotFound));
    let reserved = poller.add_filter(&filter, usize::MAX, PollMode::Level);
    assert_eq!(error(reserved), Some(ErrorKind::InvalidInput));
    poller.add_filter(&filter, 1, PollMode::Level).unwrap();
    let twice = poller.add_filter(&filter, 2, PollMode::Level);
    assert_eq!(error(twice), Some(ErrorKind::AlreadyExists));
    poller.delete_filter(&filter).unwrap();
    expect_nothing(poller);
}

#[test]
fn a_signal() {
    // SAFETY: nobody else in this process is about this signal.
    assert_ne!(unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) }, libc::SIG_ERR);
    let this = std::process::id().try_into().unwrap();
    // SAFETY: it is ignored.
    let send = || assert_eq!(unsafe { libc::kill(this, libc::SIGUSR1) }, 0);
    let (poller, signal) = (Poller::new().unwrap(), Signal(libc::SIGUSR1));
    misuse(&poller, signal);
    poller.add_filter(signal, 1, PollMode::Oneshot).unwrap();
    send();
    expect_one(&poller, 1);
    send();
    expect_nothing(&poller);
    poller.modify_filter(signal, 2, PollMode::Level).unwrap();
    for _ in 0..2 {
        send();
        expect_one(&poller, 2);
    }
    expect_nothing(&poller);
    poller.delete_filter(signal).unwrap();
    send();
    expect_nothing(&poller);
}

#[test]
fn a_process() {
    let poller = Poller::new().unwrap();
    for by_its_number in [false, true] {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let number = NonZeroI32::new(child.id().try_into().unwrap()).unwrap();
        let exit = if by_its_number {
            // SAFETY: it is waited for after its exit was told.
            unsafe { Process::from_pid(number, ProcessOps::Exit) }
        } else {
            // SAFETY: as above.
            unsafe { Process::new(&child, ProcessOps::Exit) }
        };
        misuse(&poller, &exit);
        poller.add_filter(&exit, 3, PollMode::Oneshot).unwrap();
        expect_nothing(&poller);
        drop(input);
        expect_one(&poller, 3);
        poller.delete_filter(&exit).unwrap();
        expect_nothing(&poller);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_timer() {
    let poller = Poller::new().unwrap();
    misuse(&poller, Timer { id: 1, timeout: Duration::from_secs(3_600) });
    let timer = Timer { id: 1, timeout: Duration::from_millis(1) };
    poller.add_filter(timer, 1, PollMode::Level).unwrap();
    expect_one(&poller, 1);
    expect_one(&poller, 1);
    poller.modify_filter(timer, 2, PollMode::Oneshot).unwrap();
    expect_one(&poller, 2);
    assert_eq!(wait(&poller, Duration::from_millis(5)), []);
    poller.delete_filter(timer).unwrap();
}
