//! Waits, and what other threads, other pollers, signals and children do to them.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use polling::{AsRawSource, Event, Events, PollMode, Poller};

/// Long enough that a test which needs all of it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn add(poller: &Poller, source: impl AsRawSource, interest: Event, mode: PollMode) {
    // SAFETY: whatever a test adds it closes after its last wait, or deletes.
    unsafe { poller.add_with_mode(source, interest, mode) }.unwrap();
}

/// A thread that waits once.
struct Waiter<'scope> {
    thread: ScopedJoinHandle<'scope, (Vec<Event>, Duration)>,
    id: i32,
}

impl<'scope> Waiter<'scope> {
    /// Returns once the thread sleeps in its wait.
    fn start<'env>(
        scope: &'scope thread::Scope<'scope, 'env>,
        poller: &'env Poller,
        mut events: Events,
        timeout: Option<Duration>,
    ) -> Self {
        let id: &'static AtomicI32 = Box::leak(Box::default());
        let thread = scope.spawn(move || {
            let start = Instant::now();
            // SAFETY: the call has no preconditions.
            id.store(unsafe { libc::gettid() }, SeqCst);
            poller.wait(&mut events, timeout).unwrap();
            (events.iter().collect(), start.elapsed())
        });
        while id.load(SeqCst) == 0 {
            thread::yield_now();
        }
        let waiter = Self { thread, id: id.load(SeqCst) };
        waiter.until_it_sleeps();
        waiter
    }

    /// The wait is the only thing in which the thread sleeps.
    fn until_it_sleeps(&self) {
        let file = format!("/proc/self/task/{}/stat", self.id);
        while !fs::read_to_string(&file).unwrap().contains(") S ") {
            thread::yield_now();
        }
    }

    /// Returns whether the thread is still there.
    fn signal(&self, signal: libc::c_int) -> bool {
        // SAFETY: the call has no preconditions.
        let process = unsafe { libc::getpid() };
        // SAFETY: as above, and a handler is installed.
        unsafe { libc::syscall(libc::SYS_tgkill, process, self.id, signal) == 0 }
    }

    fn end(self) -> (Vec<Event>, Duration) {
        self.thread.join().unwrap()
    }
}

/// Nothing is ready and nobody has notified: a wait takes its time.
fn expect_quiet(poller: &Poller) {
    const TIME: Duration = Duration::from_millis(30);
    let (mut events, start) = (Events::new(), Instant::now());
    assert_eq!(poller.wait(&mut events, Some(TIME)).unwrap(), 0);
    assert!(start.elapsed() >= TIME);
    assert!(events.is_empty());
}

#[test]
fn add_modify_and_delete_work_on_a_running_wait() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let (c, _d) = UnixStream::pair().unwrap();
    b.write_all(&[0]).unwrap();
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, &poller, Events::new(), Some(PATIENCE));
        add(&poller, &a, Event::readable(1), PollMode::Level);
        assert_eq!(waiter.end().0, [Event::readable(1)]);

        poller.modify(&a, Event::none(1)).unwrap();
        let waiter = Waiter::start(scope, &poller, Events::new(), Some(PATIENCE));
        poller.modify(&a, Event::all(2)).unwrap();
        assert_eq!(waiter.end().0, [Event::all(2)]);

        poller.modify_with_mode(&a, Event::none(1), PollMode::Level).unwrap();
        let waiter = Waiter::start(scope, &poller, Events::new(), Some(PATIENCE));
        poller.delete(&a).unwrap();
        drop((a, b));
        add(&poller, &c, Event::writable(3), PollMode::Oneshot);
        assert_eq!(waiter.end().0, [Event::writable(3)]);
    });
    expect_quiet(&poller);
}

#[test]
fn notifications_before_a_wait_count_as_one() {
    let poller = Poller::new().unwrap();
    for _ in 0..3 {
        poller.notify().unwrap();
    }
    assert_eq!(poller.wait(&mut Events::new(), None).unwrap(), 0);
    expect_quiet(&poller);
}

#[test]
fn a_notification_ends_a_running_wait() {
    let poller = Poller::new().unwrap();
    thread::scope(|scope| {
        for timeout in [None, Some(Duration::MAX), Some(PATIENCE)] {
            let waiter = Waiter::start(scope, &poller, Events::new(), timeout);
            poller.notify().unwrap();
            let (events, time) = waiter.end();
            assert!(events.is_empty() && time < PATIENCE);
            expect_quiet(&poller);
        }
    });
}

#[test]
fn a_notification_comes_with_the_events_that_are_there() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    add(&poller, &a, Event::writable(1), PollMode::Oneshot);
    poller.notify().unwrap();
    let mut events = Events::new();
    assert_eq!(poller.wait(&mut events, None).unwrap(), 1);
    expect_quiet(&poller);
}

#[test]
fn no_notification_is_lost_in_a_storm() {
    const EACH: usize = 20_000;
    let poller = Poller::new().unwrap();
    let (sent, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let (mut events, mut waits) = (Events::new(), 0);
            while !done.load(SeqCst) {
                // Without a timeout: a lost one is a wait for ever.
                assert_eq!(poller.wait(&mut events, None).unwrap(), 0);
                waits += 1;
            }
            waits
        });
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let last = sent.fetch_add(1, SeqCst) + 1 == 3 * EACH;
                    done.fetch_or(last, SeqCst);
                    poller.notify().unwrap();
                }
            });
        }
        assert!(waiter.join().unwrap() <= 3 * EACH);
    });
}

#[test]
fn each_notification_wakes_when_the_answer_is_awaited() {
    let (here, there) = (Poller::new().unwrap(), Poller::new().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..5000 {
                assert_eq!(there.wait(&mut Events::new(), None).unwrap(), 0);
                here.notify().unwrap();
            }
        });
        for _ in 0..5000 {
            there.notify().unwrap();
            assert_eq!(here.wait(&mut Events::new(), None).unwrap(), 0);
        }
    });
}

#[test]
fn a_second_wait_returns_at_once() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    add(&poller, &a, Event::writable(1), PollMode::Oneshot);
    let mut events = Events::new();
    assert_eq!(poller.wait(&mut events, None).unwrap(), 1);
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, &poller, Events::new(), None);
        assert_eq!(poller.wait(&mut events, None).unwrap(), 0);
        assert_eq!(poller.wait_deadline(&mut events, Instant::now() + PATIENCE).unwrap(), 0);
        assert_eq!(events.iter().collect::<Vec<_>>(), [Event::writable(1)]);
        poller.notify().unwrap();
        assert!(waiter.end().0.is_empty());
    });
    expect_quiet(&poller);
}

#[test]
fn a_signal_costs_neither_time_nor_events() {
    static HANDLED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handler(_: libc::c_int) {
        HANDLED.fetch_add(1, SeqCst);
    }
    let handler = handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler does what a handler may.
    assert_ne!(unsafe { libc::signal(libc::SIGUSR1, handler) }, libc::SIG_ERR);

    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    add(&poller, &a, Event::writable(1), PollMode::Oneshot);
    thread::scope(|scope| {
        for timeout in [None, Some(PATIENCE)] {
            poller.modify(&a, Event::writable(1)).unwrap();
            let mut events = Events::new();
            assert_eq!(poller.wait(&mut events, None).unwrap(), 1);
            let waiter = Waiter::start(scope, &poller, events, timeout);
            for _ in 0..3 {
                let before = HANDLED.load(SeqCst);
                assert!(waiter.signal(libc::SIGUSR1));
                while HANDLED.load(SeqCst) == before {
                    thread::yield_now();
                }
                waiter.until_it_sleeps();
            }
            poller.modify(&a, Event::writable(2)).unwrap();
            assert_eq!(waiter.end().0, [Event::writable(1), Event::writable(2)]);
        }

        // Signals without end: were the time counted anew after each, so would the wait be.
        let timeout = Duration::from_millis(200);
        let waiter = Waiter::start(scope, &poller, Events::new(), Some(timeout));
        let start = Instant::now();
        while waiter.signal(libc::SIGUSR1) && start.elapsed() < PATIENCE {
            thread::yield_now();
        }
        let (events, time) = waiter.end();
        assert!(events.is_empty() && time >= timeout && time < PATIENCE, "{time:?}");
    });
}

#[test]
fn a_wait_ends_no_sooner_than_asked() {
    let poller = Poller::new().unwrap();
    let mut events = Events::new();
    let passed = Instant::now();
    for micros in [0, 1, 300, 1000, 1500, 20_300] {
        let time = Duration::from_micros(micros);
        let start = Instant::now();
        assert_eq!(poller.wait(&mut events, Some(time)).unwrap(), 0);
        assert!(start.elapsed() >= time);
        let deadline = Instant::now() + time;
        assert_eq!(poller.wait_deadline(&mut events, deadline).unwrap(), 0);
        assert!(Instant::now() >= deadline);
    }
    assert_eq!(poller.wait_deadline(&mut events, passed).unwrap(), 0);
}

#[test]
fn a_poller_can_be_watched_by_another() {
    let (inner, outer) = (Poller::new().unwrap(), Poller::new().unwrap());
    // Before its descriptor was asked for.
    inner.notify().unwrap();
    add(&outer, &inner, Event::readable(9), PollMode::Level);
    let ready = || {
        let mut events = Events::new();
        outer.wait(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().collect::<Vec<_>>()
    };
    let mut events = Events::new();
    assert_eq!(ready(), [Event::readable(9)]);
    assert_eq!(inner.wait(&mut events, Some(Duration::ZERO)).unwrap(), 0);
    assert_eq!(ready(), []);

    inner.notify().unwrap();
    inner.notify().unwrap();
    assert_eq!(ready(), [Event::readable(9)]);
    assert_eq!(inner.wait(&mut events, None).unwrap(), 0);
    assert_eq!(ready(), []);

    let (a, mut b) = UnixStream::pair().unwrap();
    add(&inner, &a, Event::readable(1), PollMode::Oneshot);
    assert_eq!(ready(), []);
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, &outer, Events::new(), Some(PATIENCE));
        b.write_all(&[0]).unwrap();
        assert_eq!(waiter.end().0, [Event::readable(9)]);
        assert_eq!(inner.wait(&mut events, None).unwrap(), 1);
        assert_eq!(ready(), []);

        let waiter = Waiter::start(scope, &outer, Events::new(), Some(PATIENCE));
        inner.notify().unwrap();
        assert_eq!(waiter.end().0, [Event::readable(9)]);
    });
    outer.delete(&inner).unwrap();
    assert_eq!(ready(), []);
}

#[test]
fn a_child_inherits_nothing_and_takes_nothing_away() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    add(&poller, &a, Event::readable(1), PollMode::Oneshot);
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, &poller, Events::new(), Some(PATIENCE));
        let child = Command::new("sh")
            .args(["-c", "for fd in /proc/$$/fd/*; do readlink $fd; done; true"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(child.status.success());
        let open = String::from_utf8(child.stdout).unwrap();
        assert!(open.contains("pipe:") && !open.contains("anon_inode"), "{open}");
        b.write_all(&[0]).unwrap();
        assert_eq!(waiter.end().0, [Event::readable(1)]);
    });
}

#[test]
fn a_childs_output_is_read_to_its_end() {
    let poller = Poller::new().unwrap();
    let mut child =
        Command::new("sh").args(["-c", "echo out"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    add(&poller, &stdout, Event::readable(1), PollMode::Oneshot);
    let (mut output, mut events) = (Vec::<u8>::new(), Events::new());
    loop {
        events.clear();
        assert_eq!(poller.wait(&mut events, Some(PATIENCE)).unwrap(), 1);
        let mut buffer = [0; 64];
        let count = stdout.read(&mut buffer).unwrap();
        output.extend(&buffer[..count]);
        if count == 0 {
            break;
        }
        poller.modify(&stdout, Event::readable(1)).unwrap();
    }
    assert_eq!(output, b"out\n");
    assert!(events.iter().all(|event| event.is_interrupt()));
    poller.delete(&stdout).unwrap();
    assert!(child.wait().unwrap().success());
}
