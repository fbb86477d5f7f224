//! Named pipes.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, IntoRawHandle};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use mio::windows::NamedPipe;
use mio::{Events, Interest, Poll, Token};

use crate::support::{PATIENCE, expect_nothing};

const FILE_FLAG_OVERLAPPED: u32 = 0x4000_0000;
const RW: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// More than the buffers of a pipe hold.
const MUCH: usize = 1 << 20;

fn free_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(r"\\.\pipe\mio-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed))
}

fn client(name: &str) -> File {
    OpenOptions::new().read(true).write(true).open(name).unwrap()
}

fn client_pipe(name: &str) -> NamedPipe {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(FILE_FLAG_OVERLAPPED).open(name);
    // SAFETY: it is given up by the file.
    unsafe { NamedPipe::from_raw_handle(file.unwrap().into_raw_handle()) }
}

/// Polls until the token is reported as readable, or as writable.
#[track_caller]
fn wait_for(poll: &mut Poll, token: usize, direction: Interest) {
    let mut events = Events::with_capacity(16);
    loop {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "waited in vain for {token}");
        if events.iter().any(|event| {
            let is =
                if direction.is_readable() { event.is_readable() } else { event.is_writable() };
            event.token() == Token(token) && is
        }) {
            return;
        }
    }
}

/// Polls until nothing more is reported.
fn settle(poll: &mut Poll) {
    let mut events = Events::with_capacity(16);
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
        if events.is_empty() {
            return;
        }
    }
}

fn connected(poll: &Poll) -> (NamedPipe, File) {
    let name = free_name();
    let mut server = NamedPipe::new(&name).unwrap();
    let client = client(&name);
    server.connect().unwrap();
    // The interest is ignored.
    poll.registry().register(&mut server, Token(1), Interest::READABLE).unwrap();
    (server, client)
}

#[test]
fn a_client_that_comes_later() {
    let name = free_name();
    let mut poll = Poll::new().unwrap();
    let mut server = NamedPipe::new(&name).unwrap();
    poll.registry().register(&mut server, Token(1), RW).unwrap();
    expect_nothing(&mut poll);
    assert_eq!(server.connect().unwrap_err().kind(), ErrorKind::WouldBlock);
    expect_nothing(&mut poll);
    let _client = client_pipe(&name);
    wait_for(&mut poll, 1, Interest::WRITABLE);
    server.connect().unwrap();
    assert!(server.take_error().unwrap().is_none());
}

#[test]
fn there_and_back() {
    let name = free_name();
    let mut poll = Poll::new().unwrap();
    let (mut server, mut client) = (NamedPipe::new(&name).unwrap(), client_pipe(&name));
    server.connect().unwrap();
    poll.registry().register(&mut server, Token(1), RW).unwrap();
    poll.registry().register(&mut client, Token(2), RW).unwrap();
    let mut buf = [0; 16];
    for _ in 0..50 {
        settle(&mut poll);
        assert_eq!(client.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(client.write(b"ping").unwrap(), 4);
        wait_for(&mut poll, 1, Interest::READABLE);
        assert_eq!(server.read(&mut buf).unwrap(), 4);
        // No would-block was seen since, but a read and a write were.
        assert_eq!(server.write(b"pong!").unwrap(), 5);
        wait_for(&mut poll, 2, Interest::READABLE);
        assert_eq!(client.read(&mut buf).unwrap(), 5);
    }
    poll.registry().deregister(&mut server).unwrap();
    settle(&mut poll);
    client.write_all(b"x").unwrap();
    let mut events = Events::with_capacity(16);
    poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
    assert!(events.iter().all(|event| event.token() == Token(2)), "{events:?}");
    poll.registry().register(&mut server, Token(3), RW).unwrap();
    wait_for(&mut poll, 3, Interest::READABLE);
    assert_eq!(server.read(&mut buf).unwrap(), 1);
}

#[test]
fn the_end_of_a_write_is_an_event() {
    let mut poll = Poll::new().unwrap();
    let (mut server, mut client) = connected(&poll);
    settle(&mut poll);
    assert_eq!(server.write(&[7; MUCH]).unwrap(), MUCH);
    expect_nothing(&mut poll);
    let reader = thread::spawn(move || {
        client.read_exact(&mut [0; MUCH]).unwrap();
        client
    });
    wait_for(&mut poll, 1, Interest::WRITABLE);
    server.write_all(b"x").unwrap();
    assert_eq!(reader.join().unwrap().read(&mut [0; 4]).unwrap(), 1);
}

#[test]
fn dropped_without_a_word() {
    let poll = Poll::new().unwrap();
    let (server, mut client) = connected(&poll);
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);

    let (mut server, mut client) = connected(&poll);
    assert_eq!(server.write(&[7; MUCH]).unwrap(), MUCH);
    drop(server);
    drop(poll);
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert!(read == [7; MUCH]);
}

#[test]
fn the_end_of_the_peer() {
    let mut poll = Poll::new().unwrap();
    let (mut server, mut client) = connected(&poll);
    client.write_all(b"last").unwrap();
    drop(client);
    wait_for(&mut poll, 1, Interest::READABLE);
    let mut all = Vec::new();
    server.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"last");
    assert_eq!(server.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn one_client_after_another() {
    let name = free_name();
    let mut poll = Poll::new().unwrap();
    let mut server = NamedPipe::new(&name).unwrap();
    poll.registry().register(&mut server, Token(1), RW).unwrap();
    for _ in 0..5 {
        assert_eq!(server.connect().unwrap_err().kind(), ErrorKind::WouldBlock);
        settle(&mut poll);
        let mut client = client(&name);
        wait_for(&mut poll, 1, Interest::WRITABLE);
        server.connect().unwrap();
        client.write_all(b"ping").unwrap();
        wait_for(&mut poll, 1, Interest::READABLE);
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 4);
        server.disconnect().unwrap();
        assert!(client.read(&mut [0]).is_err());
    }
}

#[test]
#[cfg(debug_assertions)]
fn belongs_to_one_poll() {
    let (one, other) = (Poll::new().unwrap(), Poll::new().unwrap());
    let (mut server, _client) = connected(&one);
    let error = other.registry().register(&mut server, Token(2), RW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(other.registry().deregister(&mut server).is_err());
    one.registry().deregister(&mut server).unwrap();
    other.registry().register(&mut server, Token(2), RW).unwrap();
    assert!(!server.as_raw_handle().is_null());
}
