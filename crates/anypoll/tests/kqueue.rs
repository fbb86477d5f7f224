//! `os::kqueue`: signals, processes, timers, asynchronous I/O, and what it says of an event.

#![cfg(any(
    target_vendor = "apple",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
))]

use std::io::{ErrorKind, Write, pipe};
use std::process::{Command, Stdio};
use std::time::Duration;

use anypoll::os::kqueue::{self, Details, Filter, Kind};
use anypoll::{Backend, Conditions, Event, Events, Interest, Mode, Poller, Token};

/// Long enough that a test which needs all of it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn poller() -> Poller {
    Poller::with_backend(Backend::Kqueue).unwrap()
}

fn wait(poller: &Poller, timeout: Duration) -> Vec<(Token, Details)> {
    let mut events = Events::default();
    poller.wait(&mut events, Some(timeout)).unwrap();
    events.iter().map(|event| (event.token(), kqueue::details(event))).collect()
}

/// The one thing that happens.
#[track_caller]
fn expect_one(poller: &Poller) -> (Token, Details) {
    let seen = wait(poller, PATIENCE);
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen[0]
}

#[track_caller]
fn expect_nothing(poller: &Poller) {
    assert_eq!(wait(poller, Duration::ZERO), []);
}

#[track_caller]
fn expect_error<T>(result: std::io::Result<T>, kind: ErrorKind) {
    assert_eq!(result.err().map(|error| error.kind()), Some(kind));
}

#[test]
fn signals() {
    let signal = Filter::Signal(libc::SIGUSR2);
    // SAFETY: nobody else in this process is about this signal.
    assert_ne!(unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) }, libc::SIG_ERR);
    let this = std::process::id().try_into().unwrap();
    // SAFETY: it is ignored.
    let send = || assert_eq!(unsafe { libc::kill(this, libc::SIGUSR2) }, 0);
    let poller = poller();
    kqueue::add(&poller, signal, Token(1), Mode::Level).unwrap();
    expect_nothing(&poller);
    send();
    send();
    let (token, details) = expect_one(&poller);
    assert_eq!((token, details.kind, details.data), (Token(1), Kind::Signal, 2));
    assert_eq!(details.ident, usize::try_from(libc::SIGUSR2).unwrap());
    expect_nothing(&poller);
    send();
    assert_eq!(expect_one(&poller).1.data, 1);

    kqueue::modify(&poller, signal, Token(2), Mode::Oneshot).unwrap();
    for _ in 0..2 {
        expect_nothing(&poller);
        send();
        assert_eq!(expect_one(&poller).0, Token(2));
        send();
        expect_nothing(&poller);
        kqueue::modify(&poller, signal, Token(2), Mode::Oneshot).unwrap();
    }
    kqueue::remove(&poller, signal).unwrap();
    send();
    expect_nothing(&poller);
}

#[test]
fn processes() {
    let poller = poller();
    let mut child = Command::new("sh")
        .args(["-c", "read line; true | cat; exec cat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    let watched = |exit, others| Filter::Process { id, exit, fork: others, exec: others };
    let all = watched(true, true);
    kqueue::add(&poller, all, Token(3), Mode::Level).unwrap();
    expect_nothing(&poller);
    child.stdin.as_ref().unwrap().write_all(b"\n").unwrap();
    let mut happened = 0;
    while happened != libc::NOTE_FORK | libc::NOTE_EXEC {
        let (token, details) = expect_one(&poller);
        assert_eq!((token, details.kind), (Token(3), Kind::Process));
        assert_eq!(details.ident, usize::try_from(id).unwrap());
        happened |= details.flags & (libc::NOTE_FORK | libc::NOTE_EXEC | libc::NOTE_EXIT);
    }
    expect_nothing(&poller);
    let exit = watched(true, false);
    kqueue::modify(&poller, exit, Token(4), Mode::Oneshot).unwrap();
    drop(child.stdin.take());
    let (token, details) = expect_one(&poller);
    assert_eq!((token, details.kind), (Token(4), Kind::Process));
    assert_eq!(details.flags & libc::NOTE_EXIT, libc::NOTE_EXIT);
    assert!(child.wait().unwrap().success());
    kqueue::remove(&poller, exit).unwrap();

    // It is gone.
    kqueue::add(&poller, exit, Token(5), Mode::Level).unwrap();
    let (token, details) = expect_one(&poller);
    assert_eq!((token, details.kind), (Token(5), Kind::User));
    kqueue::remove(&poller, exit).unwrap();
    let others = kqueue::add(&poller, watched(false, true), Token(5), Mode::Level);
    assert_eq!(others.unwrap_err().raw_os_error(), Some(libc::ESRCH));
    expect_nothing(&poller);
}

#[test]
fn timers() {
    let poller = poller();
    let short = Filter::Timer { id: 1, period: Duration::from_micros(1_500) };
    let long = Filter::Timer { id: 1, period: Duration::from_secs(3_600) };
    kqueue::add(&poller, short, Token(1), Mode::Level).unwrap();
    for _ in 0..3 {
        let (token, details) = expect_one(&poller);
        assert_eq!((token, details.kind, details.ident), (Token(1), Kind::Timer, 1));
        assert!(details.data >= 1);
    }
    // One that passed before is gone.
    kqueue::modify(&poller, long, Token(2), Mode::Level).unwrap();
    expect_nothing(&poller);
    kqueue::modify(&poller, short, Token(3), Mode::Oneshot).unwrap();
    let (token, details) = expect_one(&poller);
    assert_eq!((token, details.data), (Token(3), 1));
    assert_eq!(wait(&poller, 4 * Duration::from_millis(2)), []);
    kqueue::add(&poller, Filter::Timer { id: 2, period: Duration::ZERO }, Token(4), Mode::Oneshot)
        .unwrap();
    assert_eq!(expect_one(&poller).0, Token(4));
}

#[test]
fn misuse() {
    let poller = poller();
    let timer = Filter::Timer { id: 1, period: Duration::from_secs(3_600) };
    expect_error(kqueue::modify(&poller, timer, Token(1), Mode::Level), ErrorKind::NotFound);
    expect_error(kqueue::remove(&poller, timer), ErrorKind::NotFound);
    kqueue::add(&poller, timer, Token(1), Mode::Level).unwrap();
    // The period is no part of its name.
    let same = Filter::Timer { id: 1, period: Duration::ZERO };
    expect_error(kqueue::add(&poller, same, Token(2), Mode::Level), ErrorKind::AlreadyExists);
    expect_nothing(&poller);
    kqueue::remove(&poller, same).unwrap();
    expect_error(kqueue::remove(&poller, timer), ErrorKind::NotFound);

    let other = Poller::with_backend(Backend::Poll).unwrap();
    expect_error(kqueue::add(&other, timer, Token(1), Mode::Level), ErrorKind::Unsupported);
    expect_error(kqueue::remove(&other, timer), ErrorKind::Unsupported);
}

#[test]
fn objects_and_what_the_program_makes() {
    use std::os::fd::AsRawFd;

    let poller = poller();
    let (reader, mut writer) = pipe().unwrap();
    let reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    writer.write_all(b"four").unwrap();
    let (token, details) = expect_one(&poller);
    assert_eq!((token, details.kind, details.data), (Token(1), Kind::Object, 4));
    assert_eq!(details.ident, usize::try_from(reader.get_ref().as_raw_fd()).unwrap());
    poller.post(Event::new(Token(2), Conditions::READ));
    poller.waker(Token(3)).wake();
    let seen = wait(&poller, PATIENCE);
    let mut seen: Vec<_> = seen.iter().map(|(token, details)| (token.0, details.kind)).collect();
    seen.sort_unstable_by_key(|(token, _)| *token);
    assert_eq!(seen, [(2, Kind::User), (3, Kind::User)]);
}

/// An `aiocb` or a list of them tells a kqueue on FreeBSD alone.
#[cfg(target_os = "freebsd")]
mod asynchronous_io {
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd};
    use std::ptr;

    use super::*;

    fn told(poller: &Poller, token: Token) -> libc::sigevent {
        // SAFETY: it is made of numbers and pointers.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_KEVENT;
        // Under the name that the manual gives to `sigev_notify_kqueue`'s member of the union.
        event.sigev_signo = poller.descriptor().unwrap().as_raw_fd();
        event.sigev_value.sival_ptr = ptr::without_provenance_mut(token.0);
        event
    }

    fn reading(file: &File, buf: &mut [u8]) -> libc::aiocb {
        // SAFETY: as above.
        let mut request: libc::aiocb = unsafe { std::mem::zeroed() };
        request.aio_fildes = file.as_fd().as_raw_fd();
        request.aio_buf = buf.as_mut_ptr().cast();
        request.aio_nbytes = buf.len();
        request.aio_lio_opcode = libc::LIO_READ;
        request
    }

    fn expect_read(request: &mut libc::aiocb) {
        // SAFETY: the request has ended, which was told.
        assert_eq!(unsafe { libc::aio_return(request) }, 8);
    }

    #[test]
    fn one() {
        let poller = poller();
        let (file, mut buf) = (File::open("Cargo.toml").unwrap(), [0; 8]);
        let mut request = reading(&file, &mut buf);
        request.aio_sigevent = told(&poller, Token(6));
        // SAFETY: the request, its buffer and its file outlive it.
        assert_eq!(unsafe { libc::aio_read(&raw mut request) }, 0);
        let (token, details) = expect_one(&poller);
        assert_eq!((token, details.kind), (Token(6), Kind::Aio));
        assert_eq!(details.ident, (&raw const request).addr());
        expect_read(&mut request);
        assert_eq!(&buf, b"[package");
        expect_nothing(&poller);
    }

    #[test]
    fn a_list() {
        let poller = poller();
        let (file, mut bufs) = (File::open("Cargo.toml").unwrap(), [[0; 8]; 2]);
        let mut requests = bufs.each_mut().map(|buf| reading(&file, buf));
        let list = requests.each_mut().map(ptr::from_mut);
        let mut end = told(&poller, Token(7));
        // SAFETY: the requests, their buffers and their file outlive them; there are as many as said.
        let result = unsafe { libc::lio_listio(libc::LIO_NOWAIT, list.as_ptr(), 2, &raw mut end) };
        assert_eq!(result, 0);
        let (token, details) = expect_one(&poller);
        assert_eq!((token, details.kind), (Token(7), Kind::Lio));
        requests.iter_mut().for_each(expect_read);
        expect_nothing(&poller);
    }
}
