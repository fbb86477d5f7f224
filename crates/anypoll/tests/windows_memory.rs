//! What the kernel writes to, and when that is given back: polls that are taken back in flight.
//!
//! This program's allocator frees nothing. It fills what is given back with a pattern instead, so a
//! late write of the kernel is seen, and it counts, so a leak is.

#![cfg(windows)]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the contract's tests")]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::UdpSocket;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anypoll::os::windows::Waitable;
use anypoll::{Events, Interest, Poller, Token};
use support::{MODES, open_descriptors};
use windows_sys::Win32::System::Threading::{CreateEventW, ResetEvent, SetEvent};

const PATTERN: u8 = 0xa5;
const ROOM: usize = 1 << 20;

struct Kept;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);
static PLACES: [AtomicPtr<u8>; ROOM] = [const { AtomicPtr::new(ptr::null_mut()) }; ROOM];
static SIZES: [AtomicUsize; ROOM] = [const { AtomicUsize::new(0) }; ROOM];

// SAFETY: it hands on what the system's gives, and gives none of it back.
unsafe impl GlobalAlloc for Kept {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(1, SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(1, SeqCst);
        // SAFETY: it was allocated with this size, and nobody uses it any more.
        unsafe { memory.write_bytes(PATTERN, layout.size()) };
        let index = FREED.fetch_add(1, SeqCst);
        if index < ROOM {
            SIZES[index].store(layout.size(), SeqCst);
            PLACES[index].store(memory, SeqCst);
        }
    }
}

#[global_allocator]
static ALLOCATOR: Kept = Kept;

/// Everything that was given back is as it was then.
fn assert_untouched() {
    assert!(FREED.load(SeqCst) < ROOM, "not all of it was watched");
    for (place, size) in PLACES.iter().zip(&SIZES).take(FREED.load(SeqCst)) {
        let (place, size) = (place.load(SeqCst), size.load(SeqCst));
        // SAFETY: it was filled, and is never freed.
        let bytes = unsafe { slice::from_raw_parts(place, size) };
        assert!(bytes.iter().all(|byte| *byte == PATTERN), "{size} bytes: {bytes:x?}");
    }
}

fn event() -> OwnedHandle {
    // SAFETY: it makes an event without a name.
    let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    // SAFETY: it has just been made.
    unsafe { OwnedHandle::from_raw_handle(event) }
}

fn set_and_reset(event: &OwnedHandle) {
    // SAFETY: it is open.
    unsafe { SetEvent(event.as_raw_handle()) };
    // SAFETY: it is open.
    unsafe { ResetEvent(event.as_raw_handle()) };
}

/// More sockets than share a helper, and events, asked about and taken back by several threads while
/// others wait.
fn cancel_in_flight() {
    const THREADS: usize = 4;
    const SOCKETS: usize = 40;
    let poller = Poller::new().unwrap();
    let done = AtomicBool::new(false);
    let events = [(); THREADS].map(|()| event());
    let work = |thread: usize| {
        for round in 0..10 {
            let register = |i| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let (token, mode) = (Token(thread * SOCKETS + i), MODES[(i + round) % 3]);
                poller.register(socket, token, Interest::READABLE, mode).unwrap()
            };
            let sockets: Vec<_> = (0..SOCKETS).map(register).collect();
            for socket in &sockets {
                socket.set_interest(Interest::READABLE | Interest::WRITABLE).unwrap();
                socket.set_interest(Interest::PRIORITY).unwrap();
                socket.set_interest(Interest::READABLE).unwrap();
            }
            // Some answer while they are taken back.
            for socket in sockets.iter().step_by(3) {
                let socket = socket.get_ref();
                socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
            }
            for _ in 0..SOCKETS {
                let waitable = Waitable::new(&events[thread]);
                let (token, mode) = (Token(thread), MODES[round % 3]);
                let waitable = poller.register(&waitable, token, Interest::READABLE, mode).unwrap();
                waitable.set_interest(Interest::NONE).unwrap();
                waitable.set_interest(Interest::WRITABLE).unwrap();
            }
            for (i, socket) in sockets.into_iter().enumerate() {
                if i % 2 == 0 { drop(socket) } else { drop(socket.into_inner()) }
            }
        }
    };
    let set = || {
        while !done.load(SeqCst) {
            events.iter().for_each(set_and_reset);
        }
    };
    let wait = || {
        let mut events = Events::with_capacity(16);
        while !done.load(SeqCst) {
            poller.wait(&mut events, Some(Duration::from_millis(1))).unwrap();
        }
    };
    thread::scope(|scope| {
        let work = &work;
        let others = [scope.spawn(set), scope.spawn(wait), scope.spawn(wait)];
        let workers: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || work(n))).collect();
        let ends = Vec::from_iter(workers.into_iter().map(ScopedJoinHandle::join));
        done.store(true, SeqCst);
        // A scope's end alone does not wait until a thread has given back what was its own.
        ends.into_iter().chain(others.map(ScopedJoinHandle::join)).for_each(Result::unwrap);
    });
    let mut events = Events::with_capacity(16);
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty(), "{events:?}");
}

/// Of an object that lives on, too: the next wait collects what was taken back.
fn nothing_is_left_of_a_removal() {
    let poller = Poller::new().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut events = Events::with_capacity(16);
    let mut come_and_go = || {
        drop(poller.register(&socket, Token(1), Interest::READABLE, MODES[0]).unwrap());
        let registered = poller.register(&socket, Token(1), Interest::READABLE, MODES[0]).unwrap();
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        drop(registered);
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "{events:?}");
    };
    (0..10).for_each(|_| come_and_go());
    let before = LIVE.load(SeqCst);
    (0..100).for_each(|_| come_and_go());
    // Some may be on their way, but not one each time.
    assert!(LIVE.load(SeqCst) < before + 20, "{} of {before}", LIVE.load(SeqCst));
}

#[test]
fn cancel_in_flight_with_a_shared_helper() {
    nothing_is_left_of_a_removal();
    // What the first time leaves behind is Winsock's and the threads'.
    cancel_in_flight();
    let before = (LIVE.load(SeqCst), open_descriptors());
    for _ in 0..3 {
        cancel_in_flight();
    }
    assert_eq!((LIVE.load(SeqCst), open_descriptors()), before);
    assert_untouched();
}
