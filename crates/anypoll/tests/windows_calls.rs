//! How often the kernel is called, for each row of the table in `backend/windows/mod.rs`: Wine can
//! log every call of the system's libraries (`WINEDEBUG=+relay`), so what marks where each operation
//! begins and ends is run under that, and its log counted.

#![cfg(windows)]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the contract's tests")]
mod support;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ptr;
use std::thread;
use std::time::Duration;

use anypoll::{Events, Interest, Mode, Poller, Registered, Token};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};

use support::{PATIENCE, tcp_pair};

/// How the log shows what an operation may call, and what we call that. Sockets are asked about by
/// the one device call that there is.
const CALLS: [(&str, &str); 4] = [
    ("NtRemoveIoCompletionEx(", "wait"),
    ("DeviceIoControl(", "poll"),
    ("NtCancelIoFileEx(", "cancel"),
    ("PostQueuedCompletionStatus(", "post"),
];

/// What each operation is to call.
const EXPECTED: &[(&str, &[(&str, usize)])] = &[
    ("a look, and nothing is watched", &[("wait", 1)]),
    ("register", &[]),
    ("the wait after", &[("poll", 1), ("wait", 1)]),
    ("a look, and nothing has happened", &[("wait", 1)]),
    ("a wait that reports", &[("wait", 1)]),
    ("level: the wait after a report", &[("poll", 1), ("wait", 1)]),
    // For the end alone, which is still to be told.
    ("edge: the wait after a report", &[("poll", 1), ("wait", 1)]),
    ("edge: a read that would block", &[]),
    ("edge: the wait after it", &[("cancel", 1), ("poll", 1), ("wait", 2)]),
    ("one-shot: the wait after a report", &[("wait", 1)]),
    ("one-shot: set_interest", &[]),
    ("one-shot: the wait after it", &[("poll", 1), ("wait", 1)]),
    ("set_interest: what is in flight asks for it", &[]),
    ("set_interest: another direction", &[]),
    ("set_interest: the wait after it", &[("cancel", 1), ("poll", 1), ("wait", 2)]),
    ("edge: 64 reads that would block", &[]),
    ("edge: the wait after these", &[("poll", 64), ("wait", 1)]),
    ("drop", &[("cancel", 1)]),
    ("a wake, and nobody sleeps", &[]),
    ("a wake of a thread that sleeps", &[("post", 1)]),
];

const MARK: &str = "anypoll, operation: ";

#[test]
#[ignore = "`.ci/windows` counts what it calls"]
fn operations() {
    let mut all = Watched::new();
    all.look();
    assert_eq!(during("a look, and nothing is watched", || all.look()), 0);

    let (_first, _peer) = all.connection(Mode::Level);
    let (stream, mut peer) = tcp_pair();
    let register = || all.poller.register(stream, Token(1), Interest::READABLE, Mode::Level);
    let stream = during("register", register).unwrap();
    assert_eq!(during("the wait after", || all.look()), 0);
    assert_eq!(during("a look, and nothing has happened", || all.look()), 0);
    peer.write_all(b"x").unwrap();
    assert_eq!(during("a wait that reports", || all.wait(PATIENCE)), 1);
    assert_eq!(during("level: the wait after a report", || all.wait(PATIENCE)), 1);
    drop(stream);

    let mut all = Watched::new();
    let (mut stream, mut peer) = all.connection(Mode::Edge);
    peer.write_all(b"x").unwrap();
    assert_eq!(all.wait(PATIENCE), 1);
    assert_eq!(during("edge: the wait after a report", || all.look()), 0);
    assert_eq!(stream.read(&mut [0]).unwrap(), 1);
    let read = during("edge: a read that would block", || stream.read(&mut [0]));
    assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(during("edge: the wait after it", || all.look()), 0);

    let mut all = Watched::new();
    let (stream, mut peer) = all.connection(Mode::Oneshot);
    peer.write_all(b"x").unwrap();
    assert_eq!(all.wait(PATIENCE), 1);
    assert_eq!(during("one-shot: the wait after a report", || all.look()), 0);
    during("one-shot: set_interest", || stream.set_interest(Interest::READABLE)).unwrap();
    assert_eq!(during("one-shot: the wait after it", || all.wait(PATIENCE)), 1);

    let mut all = Watched::new();
    let (stream, _peer) = all.connection(Mode::Level);
    let same = "set_interest: what is in flight asks for it";
    during(same, || stream.set_interest(Interest::READABLE)).unwrap();
    let other = "set_interest: another direction";
    during(other, || stream.set_interest(Interest::WRITABLE)).unwrap();
    assert_eq!(during("set_interest: the wait after it", || all.wait(PATIENCE)), 1);

    // All at once, since what is reported by an earlier wait is asked about by the next.
    let (mut all, mut many) = loop {
        let mut all = Watched::new();
        let mut many: Vec<_> = (0..64).map(|_| all.connection(Mode::Edge)).collect();
        for (_, peer) in &mut many {
            peer.write_all(b"x").unwrap();
        }
        if all.wait(PATIENCE) == many.len() {
            break (all, many);
        }
    };
    let mut until_one_would_block = || {
        for (stream, _) in &mut many {
            assert_eq!(stream.read(&mut [0; 2]).unwrap(), 1);
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    };
    during("edge: 64 reads that would block", &mut until_one_would_block);
    assert_eq!(during("edge: the wait after these", || all.look()), 0);

    let (stream, _peer) = many.pop().unwrap();
    during("drop", || drop(stream));

    let waker = all.poller.waker(Token(2));
    during("a wake, and nobody sleeps", || waker.wake());
    assert_eq!(all.look(), 1);
    // The log slows the calls, and hides where a thread is: one of these finds it asleep.
    for looks in (0..13).map(|power| 1 << power) {
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| all.wait(PATIENCE));
            (0..looks).for_each(|_| thread::yield_now());
            during("a wake of a thread that sleeps", || waker.wake());
            assert_eq!(sleeper.join().unwrap(), 1);
        });
    }
}

#[test]
#[ignore = "`.ci/windows` names the log in `ANYPOLL_TEST_CALLS`"]
fn as_many_as_are_promised() {
    let log = std::env::var_os("ANYPOLL_TEST_CALLS").expect("the log's path");
    let mut counted: Vec<(String, BTreeMap<&str, usize>)> = Vec::new();
    let mut counting = None;
    for line in BufReader::new(File::open(log).unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        let Some((thread, call)) = line.split_once(":Call ") else { continue };
        let Some((_, call)) = call.split_once('.') else { continue };
        if let Some((_, operation)) = call.split_once(MARK) {
            let operation = operation.split('"').next().unwrap();
            counting = (!operation.is_empty()).then(|| {
                counted.push((operation.to_owned(), BTreeMap::new()));
                thread.to_owned()
            });
        } else if counting.as_deref() == Some(thread) {
            if let Some((_, name)) = CALLS.iter().find(|(shown, _)| call.starts_with(shown)) {
                *counted.last_mut().unwrap().1.entry(name).or_default() += 1;
            }
        }
    }
    // Of those that are tried several times, the most.
    counted.dedup_by(|(again, calls), (operation, most)| {
        let same = again == operation;
        if same && calls.values().sum::<usize>() > most.values().sum() {
            std::mem::swap(calls, most);
        }
        same
    });
    let expected = EXPECTED.iter().map(|(operation, calls)| {
        (String::from(*operation), calls.iter().copied().collect::<BTreeMap<_, _>>())
    });
    assert_eq!(counted, expected.collect::<Vec<_>>());
}

/// A call that the log shows, and that does nothing: no function has such a name.
fn mark(operation: &str) {
    let name = CString::new(format!("{MARK}{operation}")).unwrap();
    // SAFETY: of no name it gives the program itself, which is always loaded.
    let program = unsafe { GetModuleHandleW(ptr::null()) };
    // SAFETY: the name ends with a zero.
    unsafe { GetProcAddress(program, name.as_ptr().cast()) };
}

fn during<T>(operation: &str, run: impl FnOnce() -> T) -> T {
    mark(operation);
    let result = run();
    mark("");
    result
}

struct Watched {
    poller: Poller,
    events: Events,
}

impl Watched {
    fn new() -> Self {
        Self { poller: Poller::new().unwrap(), events: Events::default() }
    }

    fn look(&mut self) -> usize {
        self.wait(Duration::ZERO)
    }

    fn wait(&mut self, timeout: Duration) -> usize {
        self.poller.wait(&mut self.events, Some(timeout)).unwrap();
        self.events.len()
    }

    /// A connection whose poll is in flight, and its peer.
    fn connection(&mut self, mode: Mode) -> (Registered<TcpStream>, TcpStream) {
        let (stream, peer) = tcp_pair();
        stream.set_nonblocking(true).unwrap();
        let stream = self.poller.register(stream, Token(1), Interest::READABLE, mode).unwrap();
        assert_eq!(self.look(), 0);
        (stream, peer)
    }
}
