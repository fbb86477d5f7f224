//! Windows' named pipes: what is told, in every mode, and that nothing is lost.

#![cfg(windows)]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_READMODE_MESSAGE, PIPE_TYPE_MESSAGE,
};

use anypoll::os::windows::NamedPipe;
use anypoll::{Event, Events, Interest, Mode, Poller, Registered, Token};

const R: Interest = Interest::READABLE;
const W: Interest = Interest::WRITABLE;
/// More than the buffers of a pipe hold.
const MUCH: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

fn free_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = NEXT.fetch_add(1, Relaxed);
    format!(r"\\.\pipe\anypoll-{}-{nth}", std::process::id())
}

/// A client whose calls block.
fn client(name: &str) -> File {
    OpenOptions::new().read(true).write(true).open(name).unwrap()
}

/// A client that can be watched.
fn client_pipe(name: &str) -> NamedPipe {
    let options =
        OpenOptions::new().read(true).write(true).custom_flags(FILE_FLAG_OVERLAPPED).open(name);
    OwnedHandle::from(options.unwrap()).into()
}

fn connected() -> (NamedPipe, File) {
    let name = free_name();
    let server = NamedPipe::new(&name).unwrap();
    let client = client(&name);
    server.connect().unwrap();
    (server, client)
}

fn wait(poller: &Poller) -> Vec<Event> {
    let mut events = Events::default();
    poller.wait(&mut events, Some(PATIENCE)).unwrap();
    events.iter().copied().collect()
}

/// Waits until an event is of this kind.
#[track_caller]
fn wait_for(poller: &Poller, what: fn(&Event) -> bool) {
    loop {
        let events = wait(poller);
        assert!(!events.is_empty(), "waited in vain");
        if events.iter().any(what) {
            return;
        }
    }
}

fn quiet(poller: &Poller) {
    let mut events = Events::default();
    poller.wait(&mut events, Some(Duration::from_millis(30))).unwrap();
    assert!(events.is_empty(), "{events:?}");
}

fn register(
    poller: &Poller,
    pipe: NamedPipe,
    interest: Interest,
    mode: Mode,
) -> Registered<NamedPipe> {
    poller.register(pipe, Token(7), interest, mode).unwrap()
}

fn would_block<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_client_that_comes_later_is_an_event() {
    let name = free_name();
    let poller = Poller::new().unwrap();
    let server = register(&poller, NamedPipe::new(&name).unwrap(), R | W, Mode::Edge);
    quiet(&poller);
    would_block(server.get_ref().connect());
    would_block(server.get_ref().connect());
    would_block((&server).read(&mut [0]));
    quiet(&poller);
    let _client = client(&name);
    let events = wait(&poller);
    assert_eq!(events.len(), 1);
    assert!(events[0].token() == Token(7) && events[0].is_writable() && !events[0].is_readable());
    server.get_ref().connect().unwrap();
    assert!(server.get_ref().take_error().unwrap().is_none());
    quiet(&poller);
}

#[test]
fn a_client_that_is_there_is_connected_at_once() {
    let name = free_name();
    let poller = Poller::new().unwrap();
    let server = NamedPipe::new(&name).unwrap();
    let mut client = client(&name);
    client.write_all(b"early").unwrap();
    let server = register(&poller, server, R | W, Mode::Level);
    server.get_ref().connect().unwrap();
    wait_for(&poller, Event::is_readable);
    let mut buf = [0; 16];
    assert_eq!((&server).read(&mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"early");
}

#[test]
fn modes() {
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        let poller = Poller::new().unwrap();
        let (server, mut client) = connected();
        let server = register(&poller, server, R, mode);
        quiet(&poller);
        client.write_all(b"abc").unwrap();
        wait_for(&poller, |event| event.is_readable() && !event.is_writable());
        match mode {
            Mode::Level => wait_for(&poller, Event::is_readable),
            _ => quiet(&poller),
        }
        assert_eq!((&server).read(&mut [0; 2]).unwrap(), 2);
        match mode {
            Mode::Level => wait_for(&poller, Event::is_readable),
            _ => quiet(&poller),
        }
        assert_eq!((&server).read(&mut [0; 2]).unwrap(), 1);
        would_block((&server).read(&mut [0; 2]));
        quiet(&poller);
        client.write_all(b"d").unwrap();
        match mode {
            Mode::Oneshot => quiet(&poller),
            _ => wait_for(&poller, Event::is_readable),
        }
        server.set_interest(R).unwrap();
        wait_for(&poller, Event::is_readable);
    }
}

#[test]
fn a_write_that_takes_time() {
    let poller = Poller::new().unwrap();
    let (server, mut client) = connected();
    let server = register(&poller, server, W, Mode::Edge);
    wait_for(&poller, Event::is_writable);
    let data: Vec<u8> = (0..=250).cycle().take(MUCH).collect();
    assert_eq!((&server).write(&data).unwrap(), MUCH);
    would_block((&server).write(b"x"));
    quiet(&poller);
    let reader = thread::spawn(move || {
        let mut read = vec![0; MUCH];
        client.read_exact(&mut read).unwrap();
        (client, read)
    });
    wait_for(&poller, Event::is_writable);
    let (mut client, read) = reader.join().unwrap();
    assert!(read == data);
    assert_eq!((&server).write(b"x").unwrap(), 1);
    assert_eq!(client.read(&mut [0; 4]).unwrap(), 1);
}

#[test]
fn a_write_goes_on_without_its_pipe_and_its_thread() {
    let (server, mut client) = connected();
    let poller = Poller::new().unwrap();
    let mut server = register(&poller, server, R | W, Mode::Level);
    thread::spawn(move || assert_eq!(server.write(&[7; MUCH]).unwrap(), MUCH)).join().unwrap();
    drop(poller);
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert!(read == [7; MUCH]);
}

#[test]
fn dropped_with_a_report_on_its_way() {
    let poller = Poller::new().unwrap();
    let (server, mut client) = connected();
    let server = register(&poller, server, R, Mode::Level);
    quiet(&poller);
    assert_eq!((&server).write(&[7; MUCH]).unwrap(), MUCH);
    client.write_all(b"x").unwrap();
    while (&server).read(&mut [0; 8]).map_err(|error| error.kind()) != Ok(1) {
        thread::yield_now();
    }
    drop(server);
    quiet(&poller);
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert!(read == [7; MUCH]);
}

#[test]
fn the_end_of_the_peer() {
    for mode in [Mode::Level, Mode::Edge] {
        let poller = Poller::new().unwrap();
        let (server, mut client) = connected();
        let server = register(&poller, server, R, mode);
        client.write_all(b"last").unwrap();
        drop(client);
        wait_for(&poller, Event::is_readable);
        assert_eq!((&server).read(&mut [0; 8]).unwrap(), 4);
        assert_eq!((&server).read(&mut [0; 8]).unwrap(), 0);
        server.set_interest(R).unwrap();
        wait_for(&poller, |event| event.is_read_closed() && event.is_write_closed());
        assert_eq!((&server).read(&mut [0; 8]).unwrap(), 0);
        assert_eq!((&server).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn the_peer_sees_our_end_while_a_thread_waits() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker(Token(1));
    let waiting = thread::spawn({
        let poller = poller.clone();
        move || wait_for(&poller, |event| event.token() == Token(1))
    });
    for _ in 0..20 {
        let (server, mut client) = connected();
        let server = register(&poller, server, R, Mode::Edge);
        drop(server);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    waker.wake();
    waiting.join().unwrap();
}

#[test]
fn one_client_after_another() {
    let name = free_name();
    let poller = Poller::new().unwrap();
    let server = register(&poller, NamedPipe::new(&name).unwrap(), R | W, Mode::Edge);
    for round in 0..20 {
        would_block(server.try_io(W, NamedPipe::connect));
        let mut client = client(&name);
        if round % 2 == 0 {
            wait_for(&poller, |event| {
                assert!(!event.is_read_closed(), "that was the client before");
                event.is_writable()
            });
            server.get_ref().connect().unwrap();
        }
        server.set_interest(R | W).unwrap();
        client.write_all(b"ping").unwrap();
        wait_for(&poller, Event::is_readable);
        let mut buf = [0; 8];
        assert_eq!((&server).read(&mut buf).unwrap(), 4);
        assert_eq!((&server).write(b"pong").unwrap(), 4);
        client.read_exact(&mut buf[..4]).unwrap();
        // Nothing of this write is left for the next client.
        assert_eq!((&server).write(&[0; MUCH]).unwrap(), MUCH);
        server.get_ref().disconnect().unwrap();
        assert!(client.read(&mut buf).is_err());
        if round % 4 == 1 {
            // Nobody is there.
            server.set_interest(R | W).unwrap();
            wait_for(&poller, Event::is_read_closed);
        }
    }
}

#[test]
fn from_poller_to_poller_and_without() {
    let (server, mut client) = connected();
    would_block((&server).read(&mut [0]));
    client.write_all(b"a").unwrap();
    assert_eq!((&server).read(&mut [0; 4]).unwrap(), 1);
    let mut server = server;
    for _ in 0..3 {
        let poller = Poller::new().unwrap();
        let registered = register(&poller, server, R, Mode::Edge);
        client.write_all(b"b").unwrap();
        wait_for(&poller, Event::is_readable);
        assert_eq!((&registered).read(&mut [0; 4]).unwrap(), 1);
        server = registered.into_inner();
        client.write_all(b"c").unwrap();
        quiet(&poller);
        assert_eq!((&server).read(&mut [0; 4]).unwrap(), 1);
    }
    // In two at once.
    let (one, other) = (Poller::new().unwrap(), Poller::new().unwrap());
    let _one = one.register(&server, Token(1), R, Mode::Level).unwrap();
    let _other = other.register(&server, Token(2), R, Mode::Level).unwrap();
    quiet(&one);
    quiet(&other);
    client.write_all(b"d").unwrap();
    wait_for(&one, |event| event.token() == Token(1));
    wait_for(&other, |event| event.token() == Token(2));
}

#[test]
fn both_ends_in_one_poller() {
    let name = free_name();
    let poller = Poller::new().unwrap();
    let server = NamedPipe::new(&name).unwrap();
    let client = client_pipe(&name);
    server.connect().unwrap();
    let server = poller.register(server, Token(1), R | W, Mode::Edge).unwrap();
    let client = poller.register(client, Token(2), R | W, Mode::Edge).unwrap();
    // Each sends much to the other.
    let (mut sent, mut received) = ([0; 2], [0; 2]);
    let mut buf = vec![0; 8192];
    while received != [MUCH; 2] {
        for (i, mut pipe) in [&server, &client].into_iter().enumerate() {
            while sent[i] < MUCH {
                match pipe.write(&buf[..(MUCH - sent[i]).min(8192)]) {
                    Ok(count) => sent[i] += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            while received[i] < MUCH {
                match pipe.read(&mut buf) {
                    Ok(count) => received[i] += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        if received != [MUCH; 2] {
            assert!(!wait(&poller).is_empty(), "waited in vain: {sent:?} {received:?}");
        }
    }
}

#[test]
fn messages() {
    let name = free_name();
    let wide: Vec<u16> = std::ffi::OsStr::new(&name).encode_wide().chain([0]).collect();
    // SAFETY: the name ends with a zero.
    let handle = unsafe {
        CreateNamedPipeW(
            wide.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED,
            PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE,
            1,
            4096,
            4096,
            0,
            std::ptr::null(),
        )
    };
    assert_ne!(handle, INVALID_HANDLE_VALUE);
    // SAFETY: it has just been made.
    let server = NamedPipe::from(unsafe { OwnedHandle::from_raw_handle(handle) });
    let mut client = client(&name);
    server.connect().unwrap();
    let poller = Poller::new().unwrap();
    let server = register(&poller, server, R, Mode::Level);
    quiet(&poller);
    client.write_all(b"first").unwrap();
    client.write_all(b"second").unwrap();
    let mut buf = [0; 16];
    wait_for(&poller, Event::is_readable);
    assert_eq!((&server).read(&mut buf).unwrap(), 5);
    wait_for(&poller, Event::is_readable);
    assert_eq!((&server).read(&mut buf[..4]).unwrap(), 4);
    assert_eq!(&buf[..4], b"seco");
    wait_for(&poller, Event::is_readable);
    assert_eq!((&server).read(&mut buf).unwrap(), 2);
    would_block((&server).read(&mut buf));
    quiet(&poller);
    drop(server);
    assert_eq!(client.read(&mut buf).unwrap(), 0);
}

#[test]
fn a_handle_that_will_not_do() {
    let name = free_name();
    let _server = NamedPipe::new(&name).unwrap();
    let blocking = NamedPipe::from(OwnedHandle::from(client(&name)));
    let poller = Poller::new().unwrap();
    let error = poller.register(&blocking, Token(0), R, Mode::Level).unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::InvalidInput);
    assert_eq!((&blocking).read(&mut [0]).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(NamedPipe::new("no name of a pipe").is_err());
}

#[test]
fn misuse() {
    let (server, _client) = connected();
    let poller = Poller::new().unwrap();
    let _registered = poller.register(&server, Token(0), R, Mode::Level).unwrap();
    let error = poller.register(&server, Token(0), R, Mode::Level).unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::AlreadyExists);
    assert!(format!("{server:?}").starts_with("NamedPipe(OwnedHandle"));
}
