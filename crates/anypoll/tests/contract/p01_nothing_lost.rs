//! P1: what is ready when it is registered, or becomes ready after, is reported by a later wait.

use std::collections::HashSet;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use anypoll::{Backend, Conditions, Events, Interest, Mode, Poller, Registered, Token, net};
#[cfg(unix)]
use socket2::{Domain, Socket, Type};

use crate::support::{
    MODES, PATIENCE, Seen, Stream, both, empty, expect_nothing, fill, look, on_every_backend, pipe,
    pipelines, poller, stream_pair, subjects, tcp_listener, tcp_pair, udp_pair, wait_for,
};

on_every_backend! {
    ready_before_registration
    ready_after_registration
    ready_before_an_interest_in_it
    room_after_there_was_none
    edge_with_read_and_write
    edge_with_read_and_write_of_a_reference
    edge_with_vectored_io
    edge_with_accept
    #[cfg(unix)] edge_with_connect
    edge_with_recv_from
    edge_with_rearm
    edge_partly_drained
    edge_between_two_threads
    before_register_has_returned
}

fn ready_before_registration(backend: Backend) {
    for subject in subjects() {
        for mode in MODES {
            let poller = poller(backend);
            subject.provoke();
            let registered =
                poller.register(&subject.object, Token(1), Interest::READABLE, mode).unwrap();
            wait_for(&poller, &[1]);
            assert_eq!(subject.drain(&registered), 1, "{}, {mode:?}", subject.kind);
            expect_nothing(&poller);
        }
    }
}

fn ready_after_registration(backend: Backend) {
    for subject in subjects() {
        for mode in MODES {
            let case = format!("{}, {mode:?}", subject.kind);
            let poller = poller(backend);
            let registered =
                poller.register(&subject.object, Token(1), Interest::READABLE, mode).unwrap();
            for _ in 0..3 {
                expect_nothing(&poller);
                subject.provoke();
                wait_for(&poller, &[1]);
                assert_eq!(subject.drain(&registered), 1, "{case}");
                if mode == Mode::Oneshot {
                    registered.set_interest(Interest::READABLE).unwrap();
                }
            }
        }
    }
}

fn ready_before_an_interest_in_it(backend: Backend) {
    for subject in subjects() {
        for mode in MODES {
            let poller = poller(backend);
            let registered =
                poller.register(&subject.object, Token(1), Interest::NONE, mode).unwrap();
            subject.provoke();
            expect_nothing(&poller);
            registered.set_interest(Interest::READABLE).unwrap();
            wait_for(&poller, &[1]);
            assert_eq!(subject.drain(&registered), 1, "{}, {mode:?}", subject.kind);
            expect_nothing(&poller);
        }
    }
}

fn room_after_there_was_none(backend: Backend) {
    for (kind, ours, theirs) in pipelines() {
        for mode in MODES {
            let poller = poller(backend);
            let registered = poller.register(&ours, Token(1), Interest::WRITABLE, mode).unwrap();
            registered.try_io(Interest::WRITABLE, |fd| Err::<(), _>(fill(fd))).unwrap_err();
            // An acknowledgement may make room at any time.
            if kind != "TCP" {
                expect_nothing(&poller);
            }
            let end = Instant::now() + PATIENCE;
            // How much has to be read is the system's choice.
            while look(&poller).is_empty() {
                assert!(Instant::now() < end, "{kind}, {mode:?}");
                empty(&theirs);
            }
        }
    }
}

/// Pairs of sockets of which the first is watched in edge mode for both directions.
fn edge_pair(poller: &Poller) -> (Registered<Stream>, Stream) {
    let (ours, theirs) = stream_pair();
    ours.set_nonblocking(true).unwrap();
    let ours = poller.register(ours, Token(1), both(), Mode::Edge).unwrap();
    // There is room to write.
    wait_for(poller, &[1]);
    expect_nothing(poller);
    (ours, theirs)
}

fn expect_would_block<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn edge_with_read_and_write(backend: Backend) {
    let poller = poller(backend);
    let (mut ours, mut theirs) = edge_pair(&poller);
    for _ in 0..3 {
        expect_would_block(ours.read(&mut [0; 8]));
        expect_nothing(&poller);
        theirs.write_all(b"ping").unwrap();
        assert!(wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::READ));
        assert_eq!(ours.read(&mut [0; 8]).unwrap(), 4);

        let written = written_until_full(&poller, |buf| ours.write(buf));
        theirs.read_exact(&mut vec![0; written]).unwrap();
        assert!(wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::WRITE));
        ours.flush().unwrap();
    }
}

fn edge_with_read_and_write_of_a_reference(backend: Backend) {
    let poller = poller(backend);
    let (ours, mut theirs) = edge_pair(&poller);
    for _ in 0..3 {
        expect_would_block((&ours).read(&mut [0; 8]));
        expect_nothing(&poller);
        theirs.write_all(b"ping").unwrap();
        assert!(wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::READ));
        assert_eq!((&ours).read(&mut [0; 8]).unwrap(), 4);

        let written = written_until_full(&poller, |buf| (&ours).write(buf));
        theirs.read_exact(&mut vec![0; written]).unwrap();
        assert!(wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::WRITE));
        (&ours).flush().unwrap();
    }
}

fn edge_with_vectored_io(backend: Backend) {
    let poller = poller(backend);
    let (mut ours, mut theirs) = edge_pair(&poller);
    for owned in [true, false] {
        let (mut one, mut two) = ([0; 3], [0; 3]);
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        let mut read = |ours: &mut Registered<Stream>| {
            if owned { ours.read_vectored(&mut bufs) } else { (&*ours).read_vectored(&mut bufs) }
        };
        for _ in 0..2 {
            theirs.write_all(b"ping").unwrap();
            assert!(wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::READ));
            assert_eq!(read(&mut ours).unwrap(), 4);
            expect_would_block(read(&mut ours));
        }

        let written = written_until_full(&poller, |buf| {
            let bufs = [IoSlice::new(buf), IoSlice::new(buf)];
            if owned { ours.write_vectored(&bufs) } else { (&ours).write_vectored(&bufs) }
        });
        theirs.read_exact(&mut vec![0; written]).unwrap();
        assert!(wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::WRITE));
    }
}

/// Until no room is reported either: over TCP an acknowledgement may make some at any time.
fn written_until_full(poller: &Poller, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> usize {
    let mut written = 0;
    loop {
        let before = written;
        let error = loop {
            match write(&[0; 4096]) {
                Ok(more) => written += more,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(written > before, "there was no room");
        let seen = look(poller);
        if seen.is_empty() {
            return written;
        }
        assert!(cfg!(windows) && seen == Seen::from([(Token(1), Conditions::WRITE)]), "{seen:?}");
    }
}

fn edge_with_accept(backend: Backend) {
    let poller = poller(backend);
    let listener = tcp_listener();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = poller.register(listener, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    for round in 1..4 {
        let clients: Vec<_> = (0..round).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut accepted = HashSet::new();
        while accepted.len() < round {
            wait_for(&poller, &[1]);
            let error = loop {
                match listener.try_io(Interest::READABLE, net::accept) {
                    Ok((_, peer)) => accepted.insert(peer),
                    Err(error) => break error,
                };
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        let clients = clients.iter().map(|client| client.local_addr().unwrap());
        assert_eq!(accepted, clients.collect());
        expect_nothing(&poller);
    }
}

/// On Linux a socket that is not connected looks hung up, which is reported before the connection is
/// begun.
#[cfg(unix)]
fn edge_with_connect(backend: Backend) {
    let listener = tcp_listener();
    let address = listener.local_addr().unwrap().into();
    let poller = poller(backend);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = poller.register(socket, Token(1), Interest::WRITABLE, Mode::Edge).unwrap();
    if crate::support::LINUX {
        wait_for(&poller, &[1]);
    } else {
        look(&poller);
    }
    let begun = socket.try_io(Interest::WRITABLE, |socket| socket.connect(&address));
    assert!(begun.map_or_else(
        |error| error.raw_os_error() == Some(libc::EINPROGRESS),
        // Its loopback may be that quick.
        |()| cfg!(target_os = "freebsd")
    ));
    while !wait_for(&poller, &[1])[&Token(1)].intersects(Conditions::WRITE) {}
    assert!(net::connected(&socket).unwrap());
}

fn edge_with_recv_from(backend: Backend) {
    let poller = poller(backend);
    let (ours, theirs) = udp_pair();
    ours.set_nonblocking(true).unwrap();
    let ours = poller.register(ours, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    let receive = |buf: &mut [u8]| ours.try_io(Interest::READABLE, |s| s.recv_from(buf));
    for round in 0..5 {
        theirs.send(&[round]).unwrap();
        wait_for(&poller, &[1]);
        let mut buf = [0; 8];
        assert_eq!(receive(&mut buf).unwrap(), (1, theirs.local_addr().unwrap()));
        assert_eq!(buf[0], round);
        expect_would_block(receive(&mut buf));
        expect_nothing(&poller);
    }
}

/// The would-block is seen by others than the registration.
fn edge_with_rearm(backend: Backend) {
    let poller = poller(backend);
    let (ours, mut theirs) = edge_pair(&poller);
    for _ in 0..3 {
        expect_would_block(ours.get_ref().read(&mut [0; 8]));
        ours.rearm(Interest::READABLE).unwrap();
        expect_nothing(&poller);
        theirs.write_all(b"ping").unwrap();
        wait_for(&poller, &[1]);
        assert_eq!(ours.get_ref().read(&mut [0; 8]).unwrap(), 4);
    }
    // By the handle, as a face of one's own does it; what came before it counts, too.
    expect_would_block(ours.get_ref().read(&mut [0; 8]));
    theirs.write_all(b"ping").unwrap();
    poller.rearm(ours.get_ref(), Interest::READABLE).unwrap();
    wait_for(&poller, &[1]);
}

fn edge_partly_drained(backend: Backend) {
    let poller = poller(backend);
    let (mut ours, mut theirs) = edge_pair(&poller);
    for _ in 0..3 {
        theirs.write_all(b"0123456789").unwrap();
        wait_for(&poller, &[1]);
        let mut buf = [0; 4];
        assert_eq!(ours.read(&mut buf).unwrap(), 4);
        expect_nothing(&poller);
        // What comes on top may be reported or not; it is there.
        theirs.write_all(b"ab").unwrap();
        look(&poller);
        let mut rest = Vec::new();
        expect_would_block(ours.read_to_end(&mut rest));
        assert_eq!(rest, b"456789ab");
        expect_nothing(&poller);
    }
    // Left in part, then asked for anew.
    theirs.write_all(b"0123456789").unwrap();
    wait_for(&poller, &[1]);
    assert_eq!(ours.read(&mut [0; 4]).unwrap(), 4);
    expect_nothing(&poller);
    ours.set_interest(both()).unwrap();
    wait_for(&poller, &[1]);
}

/// Whoever misses an edge waits in vain.
fn edge_between_two_threads(backend: Backend) {
    const ROUNDS: u32 = 3000;
    let (a, b) = tcp_pair();
    let play = move |stream: TcpStream, begins: bool| {
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        let poller = poller(backend);
        let mut stream = poller.register(stream, Token(1), both(), Mode::Edge).unwrap();
        let mut events = Events::default();
        for round in 0..ROUNDS {
            if begins {
                assert_eq!(stream.write(&round.to_ne_bytes()).unwrap(), 4);
            }
            // Sometimes the answer is there before the look at it, sometimes after.
            let mut answer = [0; 4];
            while let Err(error) = stream.read_exact(&mut answer) {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                poller.wait(&mut events, Some(PATIENCE)).unwrap();
                assert!(!events.is_empty(), "the edge of round {round} was lost");
            }
            assert_eq!(u32::from_ne_bytes(answer), round);
            if !begins {
                assert_eq!(stream.write(&round.to_ne_bytes()).unwrap(), 4);
            }
        }
        stream
    };
    let other = thread::spawn(move || play(b, false));
    drop((play(a, true), other.join().unwrap()));
}

/// Another thread may see the event first.
fn before_register_has_returned(backend: Backend) {
    const OBJECTS: usize = 100;
    for mode in [Mode::Edge, Mode::Oneshot] {
        let poller = poller(backend);
        let seen = thread::scope(|scope| {
            let waiter = scope.spawn(|| wait_for(&poller, &(0..OBJECTS).collect::<Vec<_>>()));
            let registered: Vec<_> = (0..OBJECTS)
                .map(|token| {
                    let (reader, mut writer) = pipe().unwrap();
                    writer.write_all(b"x").unwrap();
                    let token = Token(token);
                    (poller.register(reader, token, Interest::READABLE, mode).unwrap(), writer)
                })
                .collect();
            let seen = waiter.join().unwrap();
            drop(registered);
            seen
        });
        assert!(seen.values().all(|conditions| *conditions == Conditions::READ), "{seen:?}");
        expect_nothing(&poller);
    }
}
