//! What is reported, and what is refused.
#![cfg(unix)]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anypoll::Backend;
use polling::{AsRawSource, Event, Events, PollMode, Poller};

fn add(poller: &Poller, source: impl AsRawSource, interest: Event, mode: PollMode) {
    // SAFETY: whatever a test adds it closes after its last wait, or deletes.
    unsafe { poller.add_with_mode(source, interest, mode) }.unwrap();
}

/// What is ready now.
fn look(poller: &Poller) -> Vec<Event> {
    wait(poller, Duration::ZERO)
}

fn wait(poller: &Poller, timeout: Duration) -> Vec<Event> {
    let mut events = Events::new();
    let count = poller.wait(&mut events, Some(timeout)).unwrap();
    let seen: Vec<_> = events.iter().collect();
    assert_eq!((count, events.len(), events.is_empty()), (seen.len(), count, count == 0));
    joined(seen)
}

/// A kqueue's two events of an object, one a direction, as one.
fn joined(seen: Vec<Event>) -> Vec<Event> {
    let is_kqueue = Backend::available()[0] == Backend::Kqueue;
    let mut joined: Vec<Event> = Vec::new();
    for event in seen {
        match joined.iter_mut().find(|before| before.key == event.key) {
            Some(before) if is_kqueue => {
                before.readable |= event.readable;
                before.writable |= event.writable;
            }
            _ => joined.push(event),
        }
    }
    joined
}

/// The one thing that is ready now, or soon.
fn wait_for_one(poller: &Poller) -> Event {
    let seen = wait(poller, Duration::from_secs(20));
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen[0]
}

#[test]
fn each_mode_reports_as_often_as_it_says() {
    // First, again untouched, after more data, after a modify, and untouched once more.
    for (mode, reports) in [
        (PollMode::Oneshot, [1, 0, 0, 1, 0]),
        (PollMode::Level, [1, 1, 1, 1, 1]),
        (PollMode::Edge, [1, 0, 1, 1, 0]),
        (PollMode::EdgeOneshot, [1, 0, 0, 1, 0]),
    ] {
        let poller = Poller::new().unwrap();
        assert!(poller.supports_level() && poller.supports_edge());
        let (a, mut b) = UnixStream::pair().unwrap();
        add(&poller, &a, Event::readable(1), mode);
        assert_eq!(look(&poller), []);

        b.write_all(&[0]).unwrap();
        let mut seen = vec![look(&poller), look(&poller)];
        b.write_all(&[0]).unwrap();
        seen.push(look(&poller));
        poller.modify_with_mode(&a, Event::readable(2), mode).unwrap();
        seen.extend([look(&poller), look(&poller)]);

        let expected: Vec<_> = reports
            .iter()
            .zip([1, 1, 1, 2, 2])
            .map(|(count, key)| vec![Event::readable(key); *count])
            .collect();
        assert_eq!(seen, expected, "{mode:?}");
    }
}

#[test]
fn a_mode_can_be_changed() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    // SAFETY: `a` is closed after the last wait.
    unsafe { poller.add(&a, Event::readable(1)) }.unwrap();
    b.write_all(&[0]).unwrap();
    assert_eq!((look(&poller).len(), look(&poller).len()), (1, 0));
    poller.modify_with_mode(&a, Event::readable(1), PollMode::Level).unwrap();
    assert_eq!((look(&poller).len(), look(&poller).len()), (1, 1));
    poller.modify(&a, Event::readable(1)).unwrap();
    assert_eq!((look(&poller).len(), look(&poller).len()), (1, 0));
}

#[test]
fn directions_are_what_was_asked_for() {
    let poller = Poller::new().unwrap();
    let (mut a, mut b) = UnixStream::pair().unwrap();
    b.write_all(&[0]).unwrap();
    add(&poller, &a, Event::none(usize::MAX - 1), PollMode::Level);
    assert_eq!(look(&poller), []);
    for interest in [Event::readable(0), Event::writable(7), Event::all(usize::MAX - 1)] {
        poller.modify_with_mode(&a, interest, PollMode::Level).unwrap();
        assert_eq!(look(&poller), [interest]);
    }
    a.read_exact(&mut [0]).unwrap();
    assert_eq!(look(&poller), [Event::writable(usize::MAX - 1)]);
}

#[test]
fn a_half_close_is_readable_and_no_hang_up() {
    let poller = Poller::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    add(&poller, &a, Event::readable(1), PollMode::Level);
    b.shutdown(Shutdown::Write).unwrap();
    assert_eq!(look(&poller), [Event::readable(1)]);
}

#[test]
fn an_event_that_is_handed_back_asks_for_what_its_fields_say() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    add(&poller, &a, Event::all(1), PollMode::Oneshot);
    b.write_all(&[0]).unwrap();
    let mut event = wait_for_one(&poller);
    assert_eq!(event, Event::all(1));
    event.writable = false;
    poller.modify(&a, event).unwrap();
    assert_eq!(look(&poller), [Event::readable(1)]);
    event.readable = false;
    poller.modify(&a, event).unwrap();
    assert_eq!(look(&poller), []);
}

#[test]
fn a_deleted_object_is_silent() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    // The registration would live on with the duplicate.
    let duplicate = a.try_clone().unwrap();
    for mode in [PollMode::Level, PollMode::Edge, PollMode::Oneshot] {
        add(&poller, &a, Event::all(1), mode);
        b.write_all(&[0]).unwrap();
        poller.delete(&a).unwrap();
        assert_eq!(look(&poller), []);
    }
    add(&poller, &a, Event::all(1), PollMode::Level);
    poller.delete(&a).unwrap();
    drop(a);
    assert_eq!(look(&poller), []);
    drop(duplicate);
}

#[test]
fn a_regular_file_is_refused() {
    let poller = Poller::new().unwrap();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    // SAFETY: it is refused.
    let error = unsafe { poller.add(&file, Event::readable(1)) }.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    assert_eq!(poller.modify(&file, Event::all(1)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(poller.delete(&file).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(look(&poller), []);
}

#[test]
fn misuse_is_an_error() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    assert_eq!(poller.modify(&a, Event::all(1)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(poller.delete(&a).unwrap_err().kind(), ErrorKind::NotFound);
    add(&poller, &a, Event::writable(1), PollMode::Level);
    // SAFETY: it is refused.
    let twice = unsafe { poller.add(&a, Event::writable(2)) };
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(look(&poller), [Event::writable(1)]);
    poller.delete(&a).unwrap();
    assert_eq!(poller.delete(&a).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn reserved_keys_are_refused_and_change_nothing() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    let reserved = anypoll::Token::RESERVED.map(|token| token.0);
    for key in [usize::MAX].into_iter().chain(reserved) {
        // SAFETY: it is refused.
        let added = unsafe { poller.add(&a, Event::all(key)) };
        assert_eq!(added.unwrap_err().kind(), ErrorKind::InvalidInput);
        add(&poller, &a, Event::writable(1), PollMode::Level);
        let modified = poller.modify(&a, Event::none(key));
        assert_eq!(modified.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(look(&poller), [Event::writable(1)]);
        poller.delete(&a).unwrap();
    }
}

#[test]
fn full_events_make_room() {
    let poller = Poller::new().unwrap();
    let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
    for (key, (a, _)) in pairs.iter().enumerate() {
        add(&poller, a, Event::writable(key), PollMode::Oneshot);
    }
    let mut events = Events::with_capacity(NonZeroUsize::new(1).unwrap());
    assert_eq!(poller.wait(&mut events, Some(Duration::ZERO)).unwrap(), 1);
    assert_eq!(events.capacity().get(), 1);
    // What is in it is counted, and stays.
    while events.len() < 3 {
        let before: Vec<_> = events.iter().collect();
        let count = poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(count > before.len() && count == events.len());
        assert_eq!(events.iter().take(before.len()).collect::<Vec<_>>(), before);
    }
    let mut keys: Vec<_> = events.iter().map(|event| event.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, [0, 1, 2]);
    assert_eq!(poller.wait(&mut events, Some(Duration::ZERO)).unwrap(), 3);
    events.clear();
    assert_eq!(poller.wait(&mut events, Some(Duration::ZERO)).unwrap(), 0);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod as_epoll_tells {
    use std::io;

    use super::*;
    use socket2::{Domain, Socket, Type};

    fn tcp_pair() -> (Socket, Socket) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.connect(&listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_hang_up_is_reported_unasked() {
        let poller = Poller::new().unwrap();
        let (a, b) = UnixStream::pair().unwrap();
        add(&poller, &a, Event::none(1), PollMode::Oneshot);
        assert_eq!(look(&poller), []);
        drop(b);
        assert_eq!(look(&poller), [Event::all(1).with_interrupt()]);
        assert_eq!(look(&poller), []);
    }

    #[test]
    fn an_error_is_reported_unasked() {
        let poller = Poller::new().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        add(&poller, &writer, Event::none(1), PollMode::Level);
        assert_eq!(look(&poller), []);
        drop(reader);
        let event = wait_for_one(&poller);
        assert_eq!(event.with_no_extra(), Event::all(1));
        assert_eq!((event.is_err(), event.is_interrupt()), (Some(true), false));
    }

    #[test]
    fn a_refused_connect_is_an_error_and_a_hang_up() {
        let nobody = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        nobody.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&nobody.local_addr().unwrap());
        let poller = Poller::new().unwrap();
        add(&poller, &socket, Event::writable(1), PollMode::Oneshot);
        let event = wait_for_one(&poller);
        assert_eq!(event.with_no_extra(), Event::all(1));
        assert_eq!((event.is_err(), event.is_interrupt()), (Some(true), true));
        #[allow(deprecated)]
        let connect_failed = event.is_connect_failed();
        assert_eq!(connect_failed, Some(true));
    }

    #[test]
    fn urgent_data_is_seen_by_a_reader_and_by_who_asks_for_it_alone() {
        let (a, b) = tcp_pair();
        let (reader, asking) = (Poller::new().unwrap(), Poller::new().unwrap());
        add(&reader, &a, Event::readable(1), PollMode::Level);
        add(&asking, &a, Event::none(2).with_priority(), PollMode::Level);
        b.send(&[1]).unwrap();
        assert_eq!(wait_for_one(&reader), Event::readable(1));
        assert_eq!(look(&asking), []);
        b.send_out_of_band(&[2]).unwrap();
        assert_eq!(wait_for_one(&asking), Event::readable(2).with_priority());
        assert_eq!(look(&reader), [Event::readable(1).with_priority()]);
    }
}
