//! P5: errors and resets arrive, whatever the interest is. What they look like once they are there
//! is the truth table's; here they come to an object that is watched already.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anypoll::{Backend, Conditions, Events, Interest, Mode, Registered, Source, Token};
use socket2::{Domain, SockRef, Socket, Type};

use crate::support::{
    LINUX, MODES, Object, PATIENCE, Seen, both, eventually, expect_nothing, fill, look,
    on_every_documented_backend, pipe, poller, stream_pair, tcp_listener, tcp_pair, wait_for,
};
#[cfg(unix)]
use crate::support::{pty, send_to_nobody, udp_pair};
use crate::truth_table::{conditions, is_certain, shown};

on_every_documented_backend! {
    each_failure_arrives
    #[cfg(unix)] a_datagrams_error_lasts_until_it_is_fetched
    an_error_lasts
    a_refused_connect_says_why
    a_connect_succeeds
    a_peers_close_is_a_half_close_until_the_reset
    a_half_close_arrives_with_readable
    an_error_after_an_edge_was_reported
    an_error_in_the_middle_of_a_write
    #[cfg(unix)] each_error_of_many
}

const NONE: Conditions = Conditions::NONE;
const READ: Conditions = Conditions::READ;
const WRITE: Conditions = Conditions::WRITE;
const ERROR: Conditions = Conditions::ERROR;
const READ_HANG_UP: Conditions = Conditions::READ_HANG_UP;

fn interests() -> [Interest; 4] {
    [Interest::NONE, Interest::READABLE, Interest::WRITABLE, both()]
}

fn row(backend: Backend, situation: &str) -> Conditions {
    conditions(backend, situation).unwrap()
}

fn reset(backend: Backend) -> Conditions {
    row(backend, "TCP: reset by peer")
}

/// Each interest to which such conditions show anything, and what.
fn telling(
    backend: Backend,
    conditions: Conditions,
) -> impl Iterator<Item = (Interest, Conditions)> {
    let shown = move |interest| (interest, shown(backend, conditions, interest));
    interests().into_iter().map(shown).filter(|(_, shown)| *shown != NONE)
}

/// Waits until all of `expected` was shown, in one event or several, and fails on anything else.
fn wait_for_conditions(registered: &Registered<impl Source>, expected: Conditions, case: &str) {
    wait_for_some(registered, expected, expected, case);
}

/// As `wait_for_conditions`; of the rest of what is expected, some may come along.
fn wait_for_some(
    registered: &Registered<impl Source>,
    awaited: Conditions,
    expected: Conditions,
    case: &str,
) {
    let end = Instant::now() + PATIENCE;
    let mut events = Events::default();
    let mut seen = NONE;
    while seen.intersection(awaited) != awaited {
        registered.poller().wait_until(&mut events, Some(end)).unwrap();
        let late = events.is_empty() || Instant::now() > end;
        assert!(!late, "{case}: saw {seen:?}, waits for {awaited:?}");
        for event in &events {
            assert_eq!(event.token(), registered.token());
            seen = seen | event.conditions();
        }
        assert_eq!(seen | expected, expected, "{case}");
        // What a failure looks like may come bit by bit.
        if registered.mode() == Mode::Oneshot && seen.intersection(awaited) != awaited {
            registered.set_interest(registered.interest()).unwrap();
        }
    }
}

/// An object, what fails it into which situation, and what it shows before.
type Failure = (&'static str, Object, Box<dyn FnOnce()>, Conditions);

fn failure<T: 'static>(
    situation: &'static str,
    object: impl Into<Object>,
    other: T,
    fail: impl FnOnce(T) + 'static,
    before: Conditions,
) -> Failure {
    (situation, object.into(), Box::new(move || fail(other)), before)
}

fn failures() -> Vec<Failure> {
    let (ours, theirs) = tcp_pair();
    let reset = failure("TCP: reset by peer", ours, theirs, reset_by_drop, WRITE);
    let (mut ours, theirs) = tcp_pair();
    ours.write_all(b"unread").unwrap();
    theirs.peek(&mut [0]).unwrap();
    let unread = failure("TCP: peer closed without reading", ours, theirs, drop, WRITE);
    let mut failures = vec![reset, unread];
    failures.extend(more_failures());
    failures
}

#[cfg(windows)]
fn more_failures() -> [Failure; 0] {
    []
}

#[cfg(unix)]
fn more_failures() -> Vec<Failure> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let unix = failure("Unix stream: peer closed", ours, theirs, drop, WRITE);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let own = ours.try_clone().unwrap();
    let shutdown = move |(own, _theirs): (UnixStream, UnixStream)| {
        own.shutdown(Shutdown::Both).unwrap();
    };
    let shut = failure("stream: own `shutdown(Both)`", ours, (own, theirs), shutdown, WRITE);
    let (ours, theirs) = udp_pair();
    let sender = ours.try_clone().unwrap();
    let send = |(sender, theirs): (std::net::UdpSocket, _)| {
        drop(theirs);
        send_to_nobody(&sender);
    };
    let udp = failure("UDP: ICMP error", ours, (sender, theirs), send, WRITE);
    let (reader, writer) = pipe().unwrap();
    let pipe_end = failure("pipe, reader: writer gone", reader, writer, drop, NONE);
    let (reader, writer) = pipe().unwrap();
    let broken = failure("pipe, writer: reader gone", writer, reader, drop, WRITE);
    let (reader, writer) = pipe().unwrap();
    anypoll::set_nonblocking(&writer, true).unwrap();
    let writer = Object::from(writer);
    fill(&writer);
    let full = failure("pipe, writer: reader gone, full", writer, reader, drop, NONE);
    let (master, slave) = pty();
    let hung_up = failure("pty, master: slave hung up", master, slave, drop, WRITE);
    let (master, slave) = pty();
    let master_gone = failure("pty, slave: master gone", slave, master, drop, WRITE);
    vec![unix, shut, udp, pipe_end, broken, full, hung_up, master_gone]
}

fn reset_by_drop(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// What of these says that it has failed.
fn failed(conditions: Conditions) -> Conditions {
    let ends = READ_HANG_UP | Conditions::WRITE_HANG_UP;
    conditions.intersection(ERROR | Conditions::HANG_UP | ends)
}

fn each_failure_arrives(backend: Backend) {
    for mode in MODES {
        for interest in interests() {
            for (situation, object, fail, before) in failures() {
                let case = format!("{situation}, {mode:?}, {interest:?}");
                let Some(after) = conditions(backend, situation) else { continue };
                if !is_certain(backend, situation, interest) {
                    continue;
                }
                let poller = poller(backend);
                let registered = poller.register(&object, Token(1), interest, mode).unwrap();
                let before = shown(backend, before, interest);
                if before == NONE {
                    expect_nothing(&poller);
                } else {
                    wait_for_conditions(&registered, before, &case);
                }
                fail();
                if before != NONE && mode == Mode::Oneshot {
                    // It had its report; on a kqueue, that of one direction.
                    if backend == Backend::Kqueue {
                        look(&poller);
                    } else {
                        expect_nothing(&poller);
                    }
                    registered.set_interest(interest).unwrap();
                }
                let shown = shown(backend, after, interest);
                // What was shown before comes along or not.
                wait_for_some(&registered, failed(shown), shown, &case);
                registered.set_interest(interest).unwrap();
                wait_for_conditions(&registered, shown, &case);
            }
        }
    }
}

/// AFD does not tell of it.
#[cfg(unix)]
fn a_datagrams_error_lasts_until_it_is_fetched(backend: Backend) {
    let errors = telling(backend, row(backend, "UDP: ICMP error"));
    // There is room to write all the time.
    for (interest, error) in errors.filter(|(_, shown)| !shown.intersects(WRITE)) {
        let poller = poller(backend);
        let (ours, theirs) = udp_pair();
        let ours = poller.register(ours, Token(1), interest, Mode::Level).unwrap();
        drop(theirs);
        for _ in 0..3 {
            send_to_nobody(ours.get_ref());
            for _ in 0..3 {
                assert_eq!(wait_for(&poller, &[1])[&Token(1)], error);
            }
            let error = ours.get_ref().take_error().unwrap().unwrap();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            expect_nothing(&poller);
        }
    }
}

fn an_error_lasts(backend: Backend) {
    for (interest, reset) in telling(backend, reset(backend)) {
        let poller = poller(backend);
        let (ours, theirs) = tcp_pair();
        let ours = poller.register(ours, Token(1), interest, Mode::Level).unwrap();
        reset_by_drop(theirs);
        wait_for_conditions(&ours, reset, "reset");
        for _ in 0..3 {
            assert_eq!(wait_for(&poller, &[1])[&Token(1)], reset);
        }
    }
}

/// None if it is refused at once: FreeBSD's loopback may be that quick.
fn connecting(address: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    if let Err(error) = socket.connect(&address.into()) {
        if cfg!(target_os = "freebsd") && error.kind() == ErrorKind::ConnectionRefused {
            return None;
        }
        #[cfg(unix)]
        assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS));
        #[cfg(windows)]
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    Some(socket.into())
}

fn a_refused_connect_says_why(backend: Backend) {
    for mode in MODES {
        for (interest, refused) in telling(backend, row(backend, "TCP: connect refused")) {
            let poller = poller(backend);
            let nobody = tcp_listener().local_addr().unwrap();
            eventually(|| TcpStream::connect(nobody).is_err());
            let Some(stream) = connecting(nobody) else { continue };
            let stream = poller.register(stream, Token(1), interest, mode).unwrap();
            wait_for_conditions(&stream, refused, "refused");
            let error = stream.get_ref().take_error().unwrap().unwrap();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    }
}

fn a_connect_succeeds(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        let listener = tcp_listener();
        let stream = connecting(listener.local_addr().unwrap()).unwrap();
        let stream = poller.register(stream, Token(1), both(), mode).unwrap();
        wait_for_conditions(&stream, WRITE, "connected");
        assert!(stream.get_ref().take_error().unwrap().is_none());
        assert_eq!(stream.get_ref().peer_addr().unwrap(), listener.local_addr().unwrap());
    }
}

fn a_peers_close_is_a_half_close_until_the_reset(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        let (ours, theirs) = tcp_pair();
        ours.set_nonblocking(true).unwrap();
        let mut ours = poller.register(ours, Token(1), Interest::READABLE, mode).unwrap();
        drop(theirs);
        wait_for_conditions(&ours, READ | READ_HANG_UP, "closed");
        assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
        // Accepted, and answered by a reset.
        assert_eq!(ours.write(b"late").unwrap(), 4);
        ours.set_interest(both()).unwrap();
        wait_for_some(&ours, ERROR | Conditions::HANG_UP, reset(backend), "reset");
        ours.set_interest(both()).unwrap();
        wait_for_conditions(&ours, reset(backend), "reset");
        let error = ours.write(b"later").unwrap_err();
        let reset = if cfg!(windows) { ErrorKind::ConnectionReset } else { ErrorKind::BrokenPipe };
        assert_eq!(error.kind(), reset);
    }
}

fn a_half_close_arrives_with_readable(backend: Backend) {
    for mode in MODES {
        for (interest, shown) in [
            (Interest::NONE, NONE),
            (Interest::READABLE, READ | READ_HANG_UP),
            (Interest::WRITABLE, NONE),
        ] {
            let poller = poller(backend);
            let (ours, theirs) = stream_pair();
            ours.set_nonblocking(true).unwrap();
            let object = Object::from(ours);
            fill(&object);
            let registered = poller.register(&object, Token(1), interest, mode).unwrap();
            let expect_nothing_but_room = || {
                let mut seen = look(&poller);
                // Over TCP an acknowledgement may make some at any time.
                seen.retain(|_, shown| !(cfg!(windows) && *shown == Conditions::WRITE));
                assert_eq!(seen, Seen::new());
            };
            expect_nothing_but_room();
            theirs.shutdown(Shutdown::Write).unwrap();
            if shown == NONE {
                expect_nothing_but_room();
            } else {
                wait_for_conditions(&registered, shown, "half-closed");
            }
            drop(registered);
        }
    }
}

/// With no would-block between the two.
fn an_error_after_an_edge_was_reported(backend: Backend) {
    for (interest, reset) in telling(backend, reset(backend)) {
        let poller = poller(backend);
        let (ours, mut theirs) = tcp_pair();
        let ours = poller.register(ours, Token(1), interest, Mode::Edge).unwrap();
        theirs.write_all(b"data").unwrap();
        if interest.contains(Interest::READABLE) {
            while !wait_for(&poller, &[1])[&Token(1)].intersects(READ) {}
        } else {
            ours.get_ref().peek(&mut [0]).unwrap();
            look(&poller);
        }
        expect_nothing(&poller);
        reset_by_drop(theirs);
        wait_for_some(&ours, ERROR | Conditions::HANG_UP, reset, "reset");
        let error = ours.get_ref().write(b"late").unwrap_err();
        // Elsewhere that nothing can be written comes before the reason.
        let said =
            if LINUX || cfg!(windows) { ErrorKind::ConnectionReset } else { ErrorKind::BrokenPipe };
        assert_eq!(error.kind(), said);
    }
}

/// A socket whose peer is not there has an error for each datagram, and goes on.
#[cfg(unix)]
fn each_error_of_many(backend: Backend) {
    let told = ERROR | READ;
    for mode in [Mode::Level, Mode::Edge] {
        for (interest, error) in telling(backend, row(backend, "UDP: ICMP error")) {
            if !error.intersects(told) {
                continue;
            }
            let poller = poller(backend);
            let (ours, theirs) = udp_pair();
            drop(theirs);
            ours.set_nonblocking(true).unwrap();
            let ours = poller.register(ours, Token(1), interest, mode).unwrap();
            for _ in 0..3 {
                send_to_nobody(ours.get_ref());
                while !wait_for(&poller, &[1])[&Token(1)].intersects(told) {}
                let receive = || ours.try_io(Interest::READABLE, |ours| ours.recv(&mut [0]));
                assert_eq!(receive().unwrap_err().kind(), ErrorKind::ConnectionRefused);
                assert_eq!(receive().unwrap_err().kind(), ErrorKind::WouldBlock);
            }
        }
    }
}

/// A writer that waits for room learns that there will be none.
fn an_error_in_the_middle_of_a_write(backend: Backend) {
    for mode in MODES {
        let poller = poller(backend);
        let (reader, writer) = pipe().unwrap();
        anypoll::set_nonblocking(&writer, true).unwrap();
        let writer = poller.register(writer, Token(1), Interest::WRITABLE, mode).unwrap();
        let error = (&writer).write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        expect_nothing(&poller);
        drop(reader);
        // Connected sockets stand in for a pipe there.
        let (situation, broken) = if cfg!(windows) {
            ("TCP: reset by peer", ErrorKind::ConnectionReset)
        } else {
            ("pipe, writer: reader gone, full", ErrorKind::BrokenPipe)
        };
        let shown = shown(backend, row(backend, situation), Interest::WRITABLE);
        wait_for_conditions(&writer, shown, "broken");
        assert_eq!((&writer).write(&[0]).unwrap_err().kind(), broken);
    }
}
