//! P7: a signal is not an error. `wait` goes on with the remaining time and keeps what it has.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anypoll::{Backend, Conditions, Event, Events, Interest, Mode, Poller, Token};

use crate::support::{PATIENCE, expect_nothing, on_every_backend, poller, sleeping};

on_every_backend! {
    a_wait_goes_on_with_the_remaining_time
    nothing_is_lost_under_signals
    the_appending_wait_says_interrupted
    a_handler_may_interrupt
    a_handler_may_wake
}

struct Thread(libc::pthread_t);

// SAFETY: it names a thread, by a pointer on some systems, and every thread may use the name.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

/// A thread that gets signals, and what its handler does.
#[derive(Default)]
struct Target {
    thread: OnceLock<Thread>,
    handled: AtomicUsize,
    act: Option<Box<dyn Fn() + Sync>>,
    errno_lost: AtomicBool,
}

thread_local! {
    static TARGET: Cell<*const Target> = const { Cell::new(ptr::null()) };
}

extern "C" fn handle(_signal: libc::c_int) {
    let before = errno::errno();
    // SAFETY: what `under_signals` put there outlives its stay.
    if let Some(target) = unsafe { TARGET.get().as_ref() } {
        let own = errno::Errno(libc::EXDEV);
        errno::set_errno(own);
        // Before the wake, so that who sees the wake sees the count.
        target.handled.fetch_add(1, SeqCst);
        if let Some(act) = &target.act {
            act();
        }
        if errno::errno() != own {
            target.errno_lost.store(true, SeqCst);
        }
    }
    errno::set_errno(before);
}

fn install_handler() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all zeros is an action with no flags (`SA_RESTART` above all) and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        // SAFETY: the handler does only what is safe in one.
        let result = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut()) };
        assert_eq!(result, 0);
    });
}

/// Runs `wait` in a thread that is sent signals, from when it first sleeps until it returns.
/// `meanwhile` runs between the signals.
fn under_signals<T: Send>(
    target: &Target,
    mut meanwhile: impl FnMut(),
    wait: impl FnOnce() -> T + Send,
) -> T {
    install_handler();
    let start = Instant::now();
    thread::scope(|scope| {
        let waiter = sleeping(scope, || {
            // SAFETY: it cannot fail.
            let name = Thread(unsafe { libc::pthread_self() });
            assert!(target.thread.set(name).is_ok());
            TARGET.set(target);
            let result = wait();
            TARGET.set(ptr::null());
            result
        });
        while !waiter.is_finished() {
            assert!(start.elapsed() < PATIENCE, "signals keep the wait from its end");
            // SAFETY: the thread was not joined.
            unsafe { libc::pthread_kill(target.thread.get().unwrap().0, libc::SIGUSR1) };
            // The handler here takes as long as the handler there, so that the other thread comes
            // further between two signals.
            // SAFETY: the handler does nothing here but keep `errno`.
            unsafe { libc::raise(libc::SIGUSR1) };
            meanwhile();
            thread::yield_now();
        }
        assert_ne!(target.handled.load(SeqCst), 0);
        waiter.join().unwrap()
    })
}

fn a_wait_goes_on_with_the_remaining_time(backend: Backend) {
    for timeout in [Duration::from_millis(20), Duration::from_micros(20_500)] {
        let (poller, target) = (poller(backend), Target::default());
        under_signals(
            &target,
            || {},
            || {
                let mut events = Events::default();
                // On a busy machine a wait may be over before the first signal.
                while target.handled.load(SeqCst) == 0 {
                    let start = Instant::now();
                    poller.wait(&mut events, Some(timeout)).unwrap();
                    let elapsed = start.elapsed();
                    assert!(events.is_empty());
                    assert!(elapsed >= timeout, "{timeout:?} was over after {elapsed:?}");
                }
            },
        );
    }
}

/// Of a kernel's event and a wake in turn, each arrives once, whatever interrupts the waits.
fn nothing_is_lost_under_signals(backend: Backend) {
    const ROUNDS: usize = 300;
    for appending in [false, true] {
        let poller = poller(backend);
        let (reader, mut writer) = io::pipe().unwrap();
        let mut reader =
            poller.register(reader, Token(0), Interest::READABLE, Mode::Level).unwrap();
        let waker = poller.waker(Token(1));
        let (seen, mut made) = (AtomicUsize::new(0), 0);
        under_signals(
            &Target::default(),
            || {
                if made == seen.load(SeqCst) && made < ROUNDS {
                    made += 1;
                    if made % 2 == 0 { waker.wake() } else { writer.write_all(b"x").unwrap() }
                }
            },
            || {
                let mut events = Events::default();
                for round in 1..=ROUNDS {
                    while events.is_empty() {
                        if appending {
                            let result = poller.wait_append(&mut events, None);
                            assert!(result.map_or_else(
                                |e| e.kind() == io::ErrorKind::Interrupted && events.is_empty(),
                                |()| !events.is_empty()
                            ));
                        } else {
                            poller.wait(&mut events, None).unwrap();
                            assert!(!events.is_empty());
                        }
                    }
                    let tokens: Vec<_> = events.iter().map(Event::token).collect();
                    assert_eq!(tokens, [Token((round + 1) % 2)], "round {round}");
                    if round % 2 == 1 {
                        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
                    }
                    events.clear();
                    seen.store(round, SeqCst);
                }
            },
        );
        expect_nothing(&poller);
    }
}

fn the_appending_wait_says_interrupted(backend: Backend) {
    let poller = poller(backend);
    let mut events = Events::with_capacity(4);
    poller.post(Event::new(Token(5), Conditions::PRIORITY));
    poller.wait_append(&mut events, Some(Duration::ZERO)).unwrap();
    let (result, kept) = under_signals(
        &Target::default(),
        || {},
        || {
            let result = poller.wait_append(&mut events, Some(2 * PATIENCE));
            (result, events.iter().map(Event::token).collect::<Vec<_>>())
        },
    );
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Interrupted);
    assert_eq!(kept, [Token(5)]);
    expect_nothing(&poller);
}

fn a_handler_may_wake(backend: Backend) {
    let poller = poller(backend);
    let waker = poller.waker(Token(3));
    each_act_is_seen(&poller, move || waker.wake(), &[Token(3)]);
}

fn a_handler_may_interrupt(backend: Backend) {
    let poller = poller(backend);
    let other = poller.clone();
    each_act_is_seen(&poller, move || other.interrupt(), &[]);
}

/// What the handler has counted before its act is seen after the wait that this ends.
fn each_act_is_seen(poller: &Poller, act: impl Fn() + Sync + 'static, tokens: &[Token]) {
    const ACTS: usize = 300;
    let target = Target { act: Some(Box::new(act)), ..Target::default() };
    under_signals(
        &target,
        || {},
        || {
            let mut events = Events::default();
            let mut last = 0;
            while last < ACTS {
                // Nothing else ends it: an act that is lost and the last signal's is a hang.
                poller.wait(&mut events, None).unwrap();
                assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), tokens);
                last = target.handled.load(SeqCst);
                assert_ne!(last, 0);
            }
        },
    );
    assert!(!target.errno_lost.load(SeqCst));
}

/// One signal, one wake, one event.
#[test]
fn one_wake_of_a_handler_is_one_event() {
    for &backend in Backend::available() {
        let poller = poller(backend);
        let waker = poller.waker(Token(3));
        let target = Target { act: Some(Box::new(move || waker.wake())), ..Target::default() };
        install_handler();
        thread::scope(|scope| {
            let waiter = sleeping(scope, || {
                // SAFETY: it cannot fail.
                let name = Thread(unsafe { libc::pthread_self() });
                assert!(target.thread.set(name).is_ok());
                TARGET.set(&raw const target);
                let mut events = Events::default();
                poller.wait(&mut events, None).unwrap();
                TARGET.set(ptr::null());
                assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [Token(3)]);
            });
            // SAFETY: the thread was not joined.
            unsafe { libc::pthread_kill(target.thread.get().unwrap().0, libc::SIGUSR1) };
            waiter.join().unwrap();
        });
        assert_eq!(target.handled.load(SeqCst), 1);
        expect_nothing(&poller);
    }
}
