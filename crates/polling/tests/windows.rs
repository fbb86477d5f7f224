//! Windows: sockets, events of one's own making, and what is waited for by its handle.
#![cfg(windows)]

#[path = "../../anypoll/tests/contract/asleep/windows.rs"]
mod asleep;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle,
};
use std::process::{Child, Command};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use polling::os::iocp::{AsRawWaitable, AsWaitable, CompletionPacket, PollerIocpExt};
use polling::{Event, Events, PollMode, Poller};
use windows_sys::Win32::System::Threading::{CreateEventW, CreateMutexW, ResetEvent, SetEvent};

/// Long enough that a test which needs all of it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn wait(poller: &Poller, timeout: Duration) -> Vec<Event> {
    let mut events = Events::new();
    poller.wait(&mut events, Some(timeout)).unwrap();
    events.iter().collect()
}

#[track_caller]
fn expect(poller: &Poller, expected: Event) {
    assert_eq!(wait(poller, PATIENCE), [expected]);
}

/// Nothing is ready and nobody has notified: a wait takes its time.
#[track_caller]
fn expect_quiet(poller: &Poller) {
    const TIME: Duration = Duration::from_millis(30);
    let start = Instant::now();
    assert_eq!(wait(poller, TIME), []);
    assert!(start.elapsed() >= TIME);
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

#[test]
fn the_face() {
    fn raw<T: AsRawWaitable>() {}
    raw::<RawHandle>();
    raw::<&OwnedHandle>();
    raw::<&Child>();
    fn lends<T: AsWaitable>() {}
    lends::<OwnedHandle>();
    lends::<&Child>();
    lends::<BorrowedHandle<'_>>();
    fn packet<T: Clone + std::fmt::Debug + Send + Sync>() {}
    packet::<CompletionPacket>();
    let _: fn(Event) -> CompletionPacket = CompletionPacket::new;
    let _: fn(&CompletionPacket) -> &Event = CompletionPacket::event;
    let _: fn(&Poller, CompletionPacket) -> io::Result<()> = Poller::post;
    type Shared = &'static OwnedHandle;
    let _: unsafe fn(&Poller, RawHandle, Event, PollMode) -> io::Result<()> = Poller::add_waitable;
    let _: fn(&Poller, Shared, Event, PollMode) -> io::Result<()> = Poller::modify_waitable;
    let _: fn(&Poller, Shared) -> io::Result<()> = Poller::remove_waitable;
    let poller = Poller::new().unwrap();
    assert!(!poller.as_raw_handle().is_null());
    assert_eq!(poller.as_handle().as_raw_handle(), poller.as_raw_handle());
    assert!(poller.as_handle().try_clone_to_owned().is_ok());
}

#[test]
fn sockets_in_each_mode() {
    let poller = Poller::new().unwrap();
    assert!(poller.supports_level() && !poller.supports_edge());
    let (mut a, mut b) = tcp();
    for mode in [PollMode::Edge, PollMode::EdgeOneshot] {
        // SAFETY: it is refused.
        let error = unsafe { poller.add_with_mode(&a, Event::all(1), mode) }.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    // SAFETY: it is deleted below.
    unsafe { poller.add(&a, Event::readable(1)) }.unwrap();
    // SAFETY: it is refused.
    let error = unsafe { poller.add(&a, Event::readable(1)) }.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    expect_quiet(&poller);
    b.write_all(&[0]).unwrap();
    expect(&poller, Event::readable(1));
    expect_quiet(&poller);
    poller.modify(&a, Event::all(2)).unwrap();
    expect(&poller, Event::all(2));
    expect_quiet(&poller);
    poller.modify_with_mode(&a, Event::readable(3), PollMode::Level).unwrap();
    expect(&poller, Event::readable(3));
    expect(&poller, Event::readable(3));
    a.read_exact(&mut [0]).unwrap();
    expect_quiet(&poller);
    poller.delete(&a).unwrap();
    b.write_all(&[0]).unwrap();
    expect_quiet(&poller);
    assert_eq!(poller.delete(&a).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(poller.modify(&a, Event::all(1)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn changes_are_seen_by_a_running_wait() {
    let poller = Poller::new().unwrap();
    let (a, _b) = tcp();
    // SAFETY: it is closed after the last wait.
    unsafe { poller.add_with_mode(&a, Event::none(1), PollMode::Level) }.unwrap();
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let waiting = &poller;
        let waiter = scope.spawn(move || {
            tell.send(asleep::this_thread()).unwrap();
            wait(waiting, PATIENCE)
        });
        let thread = told.recv().unwrap();
        while !asleep::is_asleep(&thread) {
            assert!(!waiter.is_finished(), "nothing has happened yet");
            thread::yield_now();
        }
        poller.modify(&a, Event::writable(2)).unwrap();
        assert_eq!(waiter.join().unwrap(), [Event::writable(2)]);
    });
}

#[test]
fn notifications() {
    let poller = Poller::new().unwrap();
    poller.notify().unwrap();
    poller.notify().unwrap();
    assert_eq!(wait(&poller, PATIENCE), []);
    expect_quiet(&poller);
    let (sent, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=500 {
                sent.store(round, SeqCst);
                poller.notify().unwrap();
                while seen.load(SeqCst) < round {
                    thread::yield_now();
                }
            }
        });
        for round in 1..=500 {
            let start = Instant::now();
            assert_eq!(wait(&poller, PATIENCE), []);
            assert!(start.elapsed() < PATIENCE && sent.load(SeqCst) == round);
            seen.store(round, SeqCst);
        }
    });
}

#[test]
fn posted_events_come_once_and_as_they_are() {
    let poller = Poller::new().unwrap();
    let events = [
        Event::readable(1),
        Event::writable(2),
        Event::all(3),
        Event::none(4),
        Event::all(usize::MAX - 1),
        Event::all(5).with_interrupt(),
        Event::readable(6).with_priority(),
    ];
    for event in events {
        let packet = CompletionPacket::new(event);
        assert_eq!(*packet.clone().event(), event);
        poller.post(packet).unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < events.len() {
        let new = wait(&poller, PATIENCE);
        assert!(!new.is_empty());
        seen.extend(new);
    }
    seen.sort_unstable_by_key(|event| event.key);
    let mut expected = events;
    expected.sort_unstable_by_key(|event| event.key);
    assert_eq!(seen, expected);
    expect_quiet(&poller);
    let error = poller.post(CompletionPacket::new(Event::all(usize::MAX))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    expect_quiet(&poller);
}

#[test]
fn a_posted_event_ends_a_running_wait() {
    let poller = Poller::new().unwrap();
    thread::scope(|scope| {
        for key in 0..50 {
            let waiter = scope.spawn(|| wait(&poller, PATIENCE));
            poller.post(CompletionPacket::new(Event::readable(key))).unwrap();
            assert_eq!(waiter.join().unwrap(), [Event::readable(key)]);
        }
    });
}

struct Signal(OwnedHandle);

impl Signal {
    fn new(manual: bool) -> Self {
        // SAFETY: it makes an event, which has no name.
        let handle = unsafe { CreateEventW(ptr::null(), manual.into(), 0, ptr::null()) };
        assert!(!handle.is_null());
        // SAFETY: it has just been made.
        Self(unsafe { OwnedHandle::from_raw_handle(handle) })
    }

    fn set(&self) {
        // SAFETY: it is open.
        assert_ne!(unsafe { SetEvent(self.0.as_raw_handle()) }, 0);
    }

    fn reset(&self) {
        // SAFETY: it is open.
        assert_ne!(unsafe { ResetEvent(self.0.as_raw_handle()) }, 0);
    }
}

impl AsHandle for Signal {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

impl AsRawHandle for Signal {
    fn as_raw_handle(&self) -> RawHandle {
        self.0.as_raw_handle()
    }
}

fn add(poller: &Poller, waitable: impl AsRawWaitable, interest: Event, mode: PollMode) {
    // SAFETY: whatever a test adds it closes after its last wait, or removes.
    unsafe { poller.add_waitable(waitable, interest, mode) }.unwrap();
}

#[test]
fn waitables_in_each_mode() {
    let poller = Poller::new().unwrap();
    let signal = Signal::new(true);
    for mode in [PollMode::Edge, PollMode::EdgeOneshot] {
        // SAFETY: it is refused.
        let error = unsafe { poller.add_waitable(&signal, Event::all(1), mode) }.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    add(&poller, &signal, Event::all(1), PollMode::Oneshot);
    expect_quiet(&poller);
    signal.set();
    expect(&poller, Event::all(1));
    expect_quiet(&poller);
    poller.modify_waitable(&signal, Event::readable(2), PollMode::Level).unwrap();
    expect(&poller, Event::readable(2));
    expect(&poller, Event::readable(2));
    signal.reset();
    // One report may be under way.
    wait(&poller, Duration::from_millis(20));
    expect_quiet(&poller);
    poller.modify_waitable(&signal, Event::writable(3), PollMode::Oneshot).unwrap();
    signal.set();
    expect(&poller, Event::writable(3));
    poller.modify_waitable(&signal, Event::none(3), PollMode::Level).unwrap();
    expect_quiet(&poller);
    poller.remove_waitable(&signal).unwrap();
    let missing = [
        poller.remove_waitable(&signal),
        poller.modify_waitable(&signal, Event::all(1), PollMode::Level),
    ];
    assert!(missing.into_iter().all(|r| r.unwrap_err().kind() == ErrorKind::NotFound));
    add(&poller, signal.as_raw_handle(), Event::readable(4), PollMode::Level);
    expect(&poller, Event::readable(4));
    poller.remove_waitable(&signal).unwrap();
    expect_quiet(&poller);
}

#[test]
fn a_report_takes_what_a_wait_takes() {
    let poller = Poller::new().unwrap();
    let signal = Signal::new(false);
    add(&poller, &signal, Event::readable(1), PollMode::Level);
    for _ in 0..3 {
        signal.set();
        expect(&poller, Event::readable(1));
        expect_quiet(&poller);
    }
    poller.remove_waitable(&signal).unwrap();
}

#[test]
fn a_waitable_ends_a_running_wait() {
    let poller = Poller::new().unwrap();
    let signals: Vec<_> = (0..70).map(|_| Signal::new(false)).collect();
    for (key, signal) in signals.iter().enumerate() {
        add(&poller, signal, Event::readable(key), PollMode::Level);
    }
    thread::scope(|scope| {
        for (key, signal) in signals.iter().enumerate() {
            let waiter = scope.spawn(|| wait(&poller, PATIENCE));
            signal.set();
            assert_eq!(waiter.join().unwrap(), [Event::readable(key)]);
        }
    });
    for signal in &signals {
        poller.remove_waitable(signal).unwrap();
    }
}

#[test]
fn a_childs_exit() {
    let poller = Poller::new().unwrap();
    let mut child = Command::new("cmd.exe").args(["/C", "exit 7"]).spawn().unwrap();
    add(&poller, &child, Event::readable(1), PollMode::Oneshot);
    expect(&poller, Event::readable(1));
    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
    poller.remove_waitable(&child).unwrap();
}

#[test]
fn what_cannot_be_waited_for() {
    let poller = Poller::new().unwrap();
    // SAFETY: it makes a mutex, which has no name.
    let mutex = unsafe { CreateMutexW(ptr::null(), 0, ptr::null()) };
    assert!(!mutex.is_null());
    // SAFETY: it has just been made.
    let mutex = unsafe { OwnedHandle::from_raw_handle(mutex) };
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    for handle in [mutex.as_raw_handle(), file.as_raw_handle()] {
        // SAFETY: it is refused.
        let added = unsafe { poller.add_waitable(handle, Event::all(1), PollMode::Level) };
        assert_eq!(added.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let signal = Signal::new(true);
    // SAFETY: it is refused.
    let added = unsafe { poller.add_waitable(&signal, Event::all(usize::MAX), PollMode::Level) };
    assert_eq!(added.unwrap_err().kind(), ErrorKind::InvalidInput);
}
