//! P10: no allocation in steady state, counted for the thread that does the work.

#![cfg(any(unix, windows))]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the contract's tests")]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use anypoll::{Backend, Conditions, Event, Events, Interest, Mode, Poller, Token};
use support::{never_blocking, stream_pair};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: hands everything on to the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs this until it is warm, and then allows it none.
fn steady(what: &str, backend: Backend, mut run: impl FnMut()) {
    const WARM: usize = 100;
    const ROUNDS: usize = 500;
    (0..WARM).for_each(|_| run());
    let before = ALLOCATIONS.get();
    (0..ROUNDS).for_each(|_| run());
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(allocations, 0, "{what}, {backend:?}");
}

fn on_every_backend(test: impl Fn(Backend, &Poller, &mut Events)) {
    for &backend in Backend::available() {
        let poller = Poller::with_backend(backend).unwrap();
        test(backend, &poller, &mut Events::with_capacity(64));
    }
}

const NOW: Option<Duration> = Some(Duration::ZERO);

#[test]
fn it_counts() {
    let before = ALLOCATIONS.get();
    drop(black_box(Box::new(1)));
    drop(black_box(Vec::<u8>::with_capacity(9)));
    assert_eq!(ALLOCATIONS.get() - before, 2);
}

#[test]
fn empty_waits() {
    on_every_backend(|backend, poller, events| {
        let (socket, _peer) = stream_pair();
        let _socket = poller.register(socket, Token(0), Interest::READABLE, Mode::Level).unwrap();
        for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(100)] {
            steady("empty wait", backend, || {
                poller.wait(events, Some(timeout)).unwrap();
                assert!(events.is_empty());
            });
        }
        steady("wait until", backend, || poller.wait_until(events, Some(Instant::now())).unwrap());
        steady("interrupted wait", backend, || {
            poller.interrupt();
            poller.wait(events, None).unwrap();
            assert!(events.is_empty());
        });
    });
}

#[test]
fn waits_with_events() {
    on_every_backend(|backend, poller, events| {
        for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
            let sources: Vec<_> = (0..32)
                .map(|token| {
                    let (socket, peer) = stream_pair();
                    let interest = Interest::WRITABLE;
                    (poller.register(socket, Token(token), interest, mode).unwrap(), peer)
                })
                .collect();
            steady("wait and set_interest", backend, || {
                poller.wait(events, None).unwrap();
                assert_eq!(events.len(), sources.len());
                for event in &*events {
                    let (source, _peer) = &sources[event.token().0];
                    source.set_interest(Interest::READABLE).unwrap();
                    source.set_interest(Interest::WRITABLE).unwrap();
                }
            });
            drop(sources);
        }
        let file = never_blocking();
        let file = poller.register(file, Token(1), Interest::READABLE, Mode::Level).unwrap();
        steady("wait for what never blocks", backend, || {
            poller.wait(events, None).unwrap();
            assert_eq!(events.len(), 1);
            file.set_interest(Interest::READABLE).unwrap();
        });
    });
}

#[test]
fn wakers_and_posts() {
    on_every_backend(|backend, poller, events| {
        let wakers: Vec<_> = (0..8).map(|token| poller.waker(Token(token))).collect();
        let task = std::task::Waker::from(wakers[0].clone());
        steady("wake", backend, || {
            for waker in &wakers {
                let clone = waker.clone();
                clone.wake();
                waker.wake();
            }
            let task = task.clone();
            task.wake_by_ref();
            task.wake();
            drop(std::task::Waker::from(wakers[1].clone()));
            poller.wait(events, None).unwrap();
            assert_eq!(events.len(), wakers.len());
        });
        steady("post", backend, || {
            (0..20).for_each(|token| poller.post(Event::new(Token(token), Conditions::READ)));
            poller.wait(events, None).unwrap();
            assert_eq!(events.len(), 20);
        });
    });
}

/// Both sides of a wake that finds a sleeper.
#[test]
fn wakes_across_threads() {
    on_every_backend(|backend, poller, events| {
        let (there, back) = (poller.waker(Token(0)), Poller::with_backend(backend).unwrap());
        let answer = back.waker(Token(1));
        // What a wait takes in from the kernel has its place from the first time on, which below may
        // be late: while each wake comes before its sleep, the kernel has nothing to bring.
        for poller in [poller, &back] {
            let (socket, _peer) = stream_pair();
            let _socket =
                poller.register(socket, Token(2), Interest::WRITABLE, Mode::Oneshot).unwrap();
            poller.wait(events, None).unwrap();
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut events = Events::with_capacity(64);
                // As often as below.
                steady("sleep", backend, || {
                    poller.wait(&mut events, None).unwrap();
                    answer.wake();
                });
            });
            steady("wake a sleeper", backend, || {
                there.wake();
                back.wait(events, None).unwrap();
            });
        });
    });
}

#[test]
fn registered_io() {
    on_every_backend(|backend, poller, events| {
        let (socket, mut peer) = stream_pair();
        socket.set_nonblocking(true).unwrap();
        let socket = poller.register(socket, Token(0), Interest::READABLE, Mode::Edge).unwrap();
        let mut buf = [0; 9];
        steady("edge until a would-block", backend, || {
            peer.write_all(b"x").unwrap();
            poller.wait(events, None).unwrap();
            assert_eq!(events.len(), 1);
            assert_eq!((&socket).read(&mut buf).unwrap(), 1);
            assert!((&socket).read(&mut buf).is_err());
            (&socket).write_all(b"y").unwrap();
            assert_eq!(peer.read(&mut buf).unwrap(), 1);
            socket.rearm(Interest::READABLE).unwrap();
            poller.rearm(&socket, Interest::READABLE).unwrap();
        });
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        let udp = poller.register(udp, Token(1), Interest::READABLE, Mode::Edge).unwrap();
        steady("try_io", backend, || {
            assert!(udp.try_io(Interest::READABLE, |udp| udp.recv_from(&mut buf)).is_err());
            poller.wait(events, NOW).unwrap();
            assert!(events.is_empty());
        });
    });
}

/// A server's connections come and go. AFD wants memory for each, which the kernel writes to.
#[cfg(unix)]
#[test]
fn registering_and_dropping() {
    use anypoll::AlwaysReadyObject;
    use std::net::TcpListener;

    on_every_backend(|backend, poller, events| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener =
            poller.register(listener, Token(0), Interest::READABLE, Mode::Level).unwrap();
        steady("accept to close", backend, || {
            let peer = std::net::TcpStream::connect(address).unwrap();
            poller.wait(events, None).unwrap();
            let (stream, _) = listener.try_io(Interest::READABLE, anypoll::net::accept).unwrap();
            let stream =
                poller.register(stream, Token(1), Interest::WRITABLE, Mode::Oneshot).unwrap();
            while !events.iter().any(|event| event.token() == Token(1)) {
                poller.wait(events, None).unwrap();
            }
            drop(stream);
            drop(peer);
        });
        let (socket, _peer) = stream_pair();
        steady("add, modify, remove", backend, || {
            let (interest, accept) = (Interest::READABLE, AlwaysReadyObject::Accept);
            poller.add(&socket, Token(2), interest, Mode::Level, accept).unwrap();
            poller.modify(&socket, Token(3), interest, Mode::Edge).unwrap();
            poller.remove(&socket).unwrap();
            poller.wait(events, NOW).unwrap();
        });
    });
}
