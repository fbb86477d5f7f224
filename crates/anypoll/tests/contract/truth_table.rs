//! The truth table: what an event shows in each situation.
//!
//! The data are the tables in the documentation of `Event`, read from its source; here stands how
//! each of their rows is brought about. A system whose events show other conditions has a table of
//! its own there, found by the backends that its last column names. `p05_errors_arrive` looks at some
//! of the rows, too.

#[cfg(unix)]
use std::env;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, ErrorKind};
#[cfg(unix)]
use std::io::{Write, pipe};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::ops::BitOr;
#[cfg(unix)]
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use anypoll::{Backend, Conditions, Event, Interest, Mode, Token, set_nonblocking};
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use socket2::{Domain, SockRef, Socket, Type};

use crate::support::{
    MODES, Object, PATIENCE, Seen, expect_nothing, look, on_every_documented_backend, own_address,
    poller, read, tcp_listener, tcp_pair, udp_pair, write,
};
#[cfg(unix)]
use crate::support::{fill, pty, unix_listener};

on_every_documented_backend! {
    each_row_in_each_mode_with_each_interest
    a_flag_means_that_a_call_does_not_block
}

const DOCUMENTATION: &str = include_str!("../../src/event.rs");

const CONDITIONS: [(&str, Conditions); 7] = [
    ("READ", Conditions::READ),
    ("PRIORITY", Conditions::PRIORITY),
    ("WRITE", Conditions::WRITE),
    ("ERROR", Conditions::ERROR),
    ("HANG_UP", Conditions::HANG_UP),
    ("READ_HANG_UP", Conditions::READ_HANG_UP),
    ("WRITE_HANG_UP", Conditions::WRITE_HANG_UP),
];

type Flag = fn(&Event) -> bool;

const FLAGS: [(&str, Flag); 6] = [
    ("readable", Event::is_readable),
    ("writable", Event::is_writable),
    ("priority", Event::is_priority),
    ("read closed", Event::is_read_closed),
    ("write closed", Event::is_write_closed),
    ("error", Event::is_error),
];

struct Row {
    situation: &'static str,
    /// The names of those that are true.
    flags: Vec<&'static str>,
    /// As asked with every interest.
    conditions: Conditions,
}

/// The table of the backend's system.
fn table(backend: Backend) -> Vec<Row> {
    let name = match backend {
        // It asks epoll.
        Backend::Simulated => "Epoll".to_owned(),
        other => format!("{other:?}"),
    };
    let mut lines = DOCUMENTATION.lines().map(cells);
    let names = lines.find(|cells| cells.last().is_some_and(|last| last.contains(&*name)));
    let names = names.unwrap_or_else(|| panic!("no table for {name}"));
    assert!(names[1..7].iter().eq(FLAGS.iter().map(|(name, _)| name)), "{names:?}");
    let rows = lines.skip(1).take_while(|cells| cells.len() == 8);
    rows.map(|cells| Row {
        situation: cells[0],
        flags: (1..7).filter(|i| cells[*i] == "yes").map(|i| names[i]).collect(),
        conditions: cells[7].split_whitespace().map(condition).fold(Conditions::NONE, BitOr::bitor),
    })
    .collect()
}

/// What the table says of a situation, if it does.
pub(crate) fn conditions(backend: Backend, situation: &str) -> Option<Conditions> {
    table(backend).iter().find(|row| row.situation == situation).map(|row| row.conditions)
}

fn cells(line: &'static str) -> Vec<&'static str> {
    let row = line.strip_prefix("/// |").and_then(|line| line.strip_suffix('|'));
    row.map(|row| row.split('|').map(str::trim).collect()).unwrap_or_default()
}

fn condition(name: &str) -> Conditions {
    let found = CONDITIONS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no such condition: {name}")).1
}

/// What of `conditions` an event shows to a registration that asks for `interest`.
pub(crate) fn shown(backend: Backend, conditions: Conditions, interest: Interest) -> Conditions {
    let has_direction = interest.intersects(Interest::READABLE | Interest::WRITABLE);
    // A kqueue's filters have one.
    let mut asked = if backend == Backend::Kqueue && !has_direction {
        Conditions::NONE
    } else {
        Conditions::ERROR | Conditions::HANG_UP
    };
    for (direction, conditions) in [
        (Interest::READABLE, Conditions::READ | Conditions::READ_HANG_UP),
        (Interest::WRITABLE, Conditions::WRITE | Conditions::WRITE_HANG_UP),
        (Interest::PRIORITY, Conditions::PRIORITY),
    ] {
        if interest.contains(direction) {
            asked = asked | conditions;
        }
    }
    conditions.intersection(asked)
}

/// Whether a backend shows the same wherever it is. Of the systems with a kqueue some have pipes with
/// two directions, and the filter for priority is missing or tells of other things too.
pub(crate) fn is_certain(backend: Backend, situation: &str, interest: Interest) -> bool {
    let uncertain = if situation.starts_with("pipe, reader") {
        Interest::WRITABLE | Interest::PRIORITY
    } else if situation.starts_with("pipe, writer") {
        Interest::READABLE | Interest::PRIORITY
    } else if situation != "TCP: urgent data" {
        Interest::PRIORITY
    } else {
        Interest::NONE
    };
    backend != Backend::Kqueue || !interest.intersects(uncertain)
}

fn interests() -> Vec<Interest> {
    let one_more = |all: Vec<Interest>, one| {
        let with: Vec<_> = all.iter().map(|interest| *interest | one).collect();
        [all, with].concat()
    };
    [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY]
        .into_iter()
        .fold(vec![Interest::NONE], one_more)
}

fn each_row_in_each_mode_with_each_interest(backend: Backend) {
    let table = table(backend);
    // What the systems with a kqueue disagree about is not in theirs.
    assert!(table.len() == situations().count() || backend == Backend::Kqueue);
    for row in &table {
        for (object, _others) in ways(row.situation).iter().map(|arrange| arrange()) {
            settle(backend, &object, row);
            for interest in interests() {
                for mode in MODES {
                    if is_certain(backend, row.situation, interest) {
                        check(backend, &object, row, interest, mode);
                    }
                }
            }
        }
    }
}

fn check(backend: Backend, object: &Object, row: &Row, interest: Interest, mode: Mode) {
    let case = format!("{}, {interest:?}, {mode:?}", row.situation);
    let expected = shown(backend, row.conditions, interest);
    let nothing = Seen::new();
    let poller = poller(backend);
    let object = match poller.register(object, Token(5), interest, mode) {
        Err(error) if lacks(backend, interest, error.error()) => return,
        registered => registered.unwrap(),
    };
    for _ in 0..2 {
        let seen = look(&poller);
        let found = seen.get(&Token(5)).copied();
        assert_eq!(found.unwrap_or(Conditions::NONE), expected, "{case}: {seen:?}");
        assert_eq!(seen.len(), usize::from(expected != Conditions::NONE), "{case}: {seen:?}");
        if expected == row.conditions && found.is_some() {
            assert_eq!(flags(expected), row.flags, "{case}");
        }
        let again = look(&poller);
        // Any activity may show as an edge, and a kqueue takes a confirmation for one.
        if !(backend == Backend::Kqueue && mode == Mode::Edge) {
            assert_eq!(again, if mode == Mode::Level { seen } else { nothing.clone() }, "{case}");
        }
        object.set_interest(interest).unwrap();
    }
    drop(object);
    expect_nothing(&poller);
}

fn lacks(backend: Backend, interest: Interest, error: &io::Error) -> bool {
    backend == Backend::Kqueue
        && interest.contains(Interest::PRIORITY)
        && error.kind() == ErrorKind::Unsupported
}

/// The names of those that these conditions have.
fn flags(conditions: Conditions) -> Vec<&'static str> {
    let event = Event::new(Token(5), conditions);
    FLAGS.iter().filter(|(_, flag)| flag(&event)).map(|(name, _)| *name).collect()
}

/// Those of other systems too.
#[test]
fn the_flags_follow_from_the_conditions() {
    for backend in [Backend::Epoll, Backend::Poll, Backend::Afd, Backend::Kqueue] {
        let table = table(backend);
        assert!(table.len() >= 20);
        for row in &table {
            assert_eq!(flags(row.conditions), row.flags, "{backend:?}, {}", row.situation);
        }
    }
}

fn a_flag_means_that_a_call_does_not_block(backend: Backend) {
    for row in &table(backend) {
        for (object, _others) in ways(row.situation).iter().map(|arrange| arrange()) {
            settle(backend, &object, row);
            set_nonblocking(&object, true).unwrap();
            let calls = [
                ("readable", Interest::READABLE, read(&object, &mut [0; 8])),
                ("writable", Interest::WRITABLE, write(&object, &1_u64.to_ne_bytes())),
            ];
            for (flag, interest, result) in calls {
                let case = format!("{}: {flag}, {result:?}", row.situation);
                if !is_certain(backend, row.situation, interest) {
                    continue;
                }
                if row.flags.contains(&flag) {
                    let blocked = result.is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
                    assert!(!blocked, "{case}");
                } else {
                    // AFD does not tell of an end that one made oneself.
                    let own_end = cfg!(windows) && matches!(result, Ok(0));
                    assert!(own_end || result.is_err(), "{case}");
                }
            }
        }
    }
}

/// Waits until the situation is there: a loopback takes its time.
fn settle(backend: Backend, object: &Object, row: &Row) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (found, expected) = found_and_expected(backend, object, row);
        if found == expected && !has_its_end_on_the_way(object) {
            return;
        }
        assert!(Instant::now() < end, "{}: the system shows {found:?}", row.situation);
        thread::yield_now();
    }
}

/// Whether a TCP stream's peer has yet to confirm its end, which will be activity that an edge shows.
#[cfg(target_os = "linux")]
fn has_its_end_on_the_way(object: &Object) -> bool {
    // `TCP_FIN_WAIT1`, `TCP_LAST_ACK` and `TCP_CLOSING` of the kernel's `tcp_states.h`.
    const UNCONFIRMED: [u8; 3] = [4, 9, 11];
    // SAFETY: it is made of numbers alone.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of_val(&info)).unwrap();
    // SAFETY: the kernel writes at most `size` bytes.
    let result = unsafe {
        libc::getsockopt(
            std::os::fd::AsRawFd::as_raw_fd(object),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    // Another object has no such thing.
    result == 0 && UNCONFIRMED.contains(&info.tcpi_state)
}

#[cfg(not(target_os = "linux"))]
fn has_its_end_on_the_way(_: &Object) -> bool {
    false
}

/// Asked without the library.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn found_and_expected(_: Backend, object: &Object, row: &Row) -> (u32, u32) {
    let all = PollFlags::IN | PollFlags::PRI | PollFlags::OUT | PollFlags::RDHUP;
    let mut fds = [PollFd::new(object, all)];
    poll(&mut fds, Some(&Timespec::default())).unwrap();
    (i32::from(fds[0].revents().bits()).cast_unsigned(), row.conditions.bits())
}

/// There is no other call that shows the same, so this is the library, asked for as much as it can be.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn found_and_expected(backend: Backend, object: &Object, row: &Row) -> (Conditions, Conditions) {
    let poller = poller(backend);
    let certain = |interest: &Interest| is_certain(backend, row.situation, *interest);
    let mut interests = interests().into_iter().rev().filter(certain);
    let registered =
        interests.find_map(|all| poller.register(object, Token(0), all, Mode::Level).ok()).unwrap();
    let found = look(&poller).get(&Token(0)).copied().unwrap_or(Conditions::NONE);
    (found, shown(backend, row.conditions, registered.interest()))
}

/// The object that is looked at, and what has to stay open.
type Arranged = (Object, Vec<Object>);

/// A situation, and the ways to bring it about.
type Situation = (&'static str, &'static [fn() -> Arranged]);

/// An arrangement of each kind of stream that there is.
macro_rules! streams {
    ($arrange:expr) => {
        &[
            || $arrange(tcp()),
            #[cfg(unix)]
            || $arrange(unix()),
        ]
    };
}

/// An arrangement of each kind of datagram socket that there is.
macro_rules! datagrams {
    ($arrange:expr) => {
        &[
            || $arrange(udp()),
            #[cfg(unix)]
            || $arrange(unix_datagram()),
        ]
    };
}

/// Those that every system has, then the others, in the order of the table.
fn situations() -> impl Iterator<Item = &'static Situation> {
    SITUATIONS.iter().chain(MORE_SITUATIONS)
}

fn ways(situation: &str) -> &'static [fn() -> Arranged] {
    let found = situations().find(|(name, _)| *name == situation);
    found.unwrap_or_else(|| panic!("no such situation: {situation}")).1
}

const SITUATIONS: &[Situation] = &[
    ("stream: open", streams!(open)),
    ("stream: data", streams!(data)),
    ("stream: peer's `shutdown(Write)`", streams!(peers_shutdown)),
    ("stream: own `shutdown(Read)`", streams!(|pair| shut(pair, Shutdown::Read))),
    ("stream: own `shutdown(Write)`", streams!(|pair| shut(pair, Shutdown::Write))),
    ("stream: own `shutdown(Both)`", streams!(|pair| shut(pair, Shutdown::Both))),
    ("stream: `shutdown(Write)` on both sides", streams!(both_shutdown)),
    ("TCP: peer closed", &[|| peer_closed(tcp())]),
    ("TCP: peer closed without reading", &[|| closed_without_reading(tcp())]),
    (
        "TCP: reset by peer",
        &[|| {
            let (ours, theirs) = tcp();
            SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
            (ours, vec![])
        }],
    ),
    (
        "TCP: urgent data",
        &[|| {
            let (ours, theirs) = tcp();
            SockRef::from(&theirs).send_out_of_band(b"!").unwrap();
            (ours, vec![theirs])
        }],
    ),
    ("TCP: before `connect`", &[|| (tcp_socket().into(), vec![])]),
    ("TCP: connecting", &[connecting]),
    (
        "TCP: connected",
        &[|| {
            let (socket, listener) = (tcp_socket(), tcp_listener());
            let _ = socket.connect(&listener.local_addr().unwrap().into());
            (socket.into(), vec![listener.into()])
        }],
    ),
    (
        "TCP: connect refused",
        // FreeBSD's loopback may refuse before `connect` returns, which takes the error with it.
        #[cfg(target_os = "freebsd")]
        &[],
        #[cfg(not(target_os = "freebsd"))]
        &[|| {
            let socket = tcp_socket();
            let address = tcp_listener().local_addr().unwrap();
            let _ = socket.connect(&address.into());
            (socket.into(), vec![])
        }],
    ),
    (
        "listener: nobody",
        &[
            || (tcp_listener().into(), vec![]),
            #[cfg(unix)]
            || (unix_listener().0.into(), vec![]),
        ],
    ),
    (
        "listener: a connection",
        &[
            || {
                let listener = tcp_listener();
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (listener.into(), vec![client.into()])
            },
            #[cfg(unix)]
            || {
                let (listener, path) = unix_listener();
                let client = UnixStream::connect(&*path).unwrap();
                (listener.into(), vec![client.into()])
            },
        ],
    ),
    ("datagram: open", datagrams!(open)),
    ("datagram: data", datagrams!(data)),
    (
        "UDP: ICMP error",
        &[|| {
            let (ours, theirs) = udp();
            drop(theirs);
            SockRef::from(&ours).send(b"nobody").unwrap();
            (ours, vec![])
        }],
    ),
];

#[cfg(windows)]
const MORE_SITUATIONS: &[Situation] = &[];

#[cfg(unix)]
const MORE_SITUATIONS: &[Situation] = &[
    // Not TCP, where an acknowledgement may make room later.
    ("stream: no room to write", &[|| full(unix())]),
    (
        "Unix stream: peer closed",
        &[
            || peer_closed(unix()),
            || {
                let (ours, theirs) = unix();
                SockRef::from(&theirs).send(b"left").unwrap();
                peer_closed((ours, theirs))
            },
        ],
    ),
    (
        "Unix stream: own `shutdown(Both)`, no room",
        &[|| {
            let (ours, others) = full(unix());
            SockRef::from(&ours).shutdown(Shutdown::Both).unwrap();
            (ours, others)
        }],
    ),
    ("Unix stream: peer closed without reading", &[|| closed_without_reading(unix())]),
    ("Unix datagram: peer's queue full", &[|| full(unix_datagram())]),
    ("Unix datagram: peer closed", &[|| peer_closed(unix_datagram())]),
    ("pipe, reader: empty", &[|| open(read_end())]),
    (
        "pipe, reader: data",
        &[|| {
            let (reader, writer) = pipe().unwrap();
            (&writer).write_all(b"data").unwrap();
            (reader.into(), vec![writer.into()])
        }],
    ),
    (
        "pipe, reader: writer gone, data left",
        &[|| {
            let (reader, writer) = pipe().unwrap();
            (&writer).write_all(b"left").unwrap();
            (reader.into(), vec![])
        }],
    ),
    ("pipe, reader: writer gone", &[|| peer_closed(read_end())]),
    ("pipe, writer: room", &[|| open(write_end())]),
    ("pipe, writer: full", &[|| full(write_end())]),
    ("pipe, writer: reader gone", &[|| peer_closed(write_end())]),
    (
        "pipe, writer: reader gone, full",
        &[|| {
            let (writer, others) = full(write_end());
            drop(others);
            (writer, vec![])
        }],
    ),
    ("pty, either end: open", &[|| open(pty()), || open(swap(pty()))]),
    ("pty, either end: data", &[|| terminal_data(pty()), || terminal_data(swap(pty()))]),
    (
        "pty, master: slave hung up, data left",
        &[|| {
            let (master, _) = terminal_data(pty());
            (master, vec![])
        }],
    ),
    ("pty, master: slave hung up", &[|| peer_closed(pty())]),
    ("pty, slave: master gone", &[|| peer_closed(swap(pty()))]),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    ("eventfd: 0", &[|| (eventfd(0, EventfdFlags::CLOEXEC).unwrap(), vec![])]),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    ("eventfd: 1", &[|| (eventfd(1, EventfdFlags::CLOEXEC).unwrap(), vec![])]),
    ("regular file", &[|| (File::open(env::current_exe().unwrap()).unwrap().into(), vec![])]),
];

type Pair = (Object, Object);

fn tcp() -> Pair {
    let (ours, theirs) = tcp_pair();
    (ours.into(), theirs.into())
}

#[cfg(unix)]
fn unix() -> Pair {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours.into(), theirs.into())
}

fn udp() -> Pair {
    let (ours, theirs) = udp_pair();
    (ours.into(), theirs.into())
}

#[cfg(unix)]
fn unix_datagram() -> Pair {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    (ours.into(), theirs.into())
}

#[cfg(unix)]
fn read_end() -> Pair {
    let (reader, writer) = pipe().unwrap();
    (reader.into(), writer.into())
}

#[cfg(unix)]
fn write_end() -> Pair {
    swap(read_end())
}

#[cfg(unix)]
fn swap((a, b): Pair) -> Pair {
    (b, a)
}

fn open((ours, theirs): Pair) -> Arranged {
    (ours, vec![theirs])
}

fn data((ours, theirs): Pair) -> Arranged {
    SockRef::from(&theirs).send(b"data").unwrap();
    (ours, vec![theirs])
}

#[cfg(unix)]
fn full((ours, theirs): Pair) -> Arranged {
    set_nonblocking(&ours, true).unwrap();
    fill(&ours);
    (ours, vec![theirs])
}

fn peers_shutdown((ours, theirs): Pair) -> Arranged {
    SockRef::from(&theirs).shutdown(Shutdown::Write).unwrap();
    (ours, vec![theirs])
}

fn peer_closed((ours, theirs): Pair) -> Arranged {
    drop(theirs);
    (ours, vec![])
}

fn closed_without_reading((ours, theirs): Pair) -> Arranged {
    SockRef::from(&ours).send(b"unread").unwrap();
    // It has arrived.
    SockRef::from(&theirs).peek(&mut [MaybeUninit::uninit()]).unwrap();
    peer_closed((ours, theirs))
}

fn shut((ours, theirs): Pair, which: Shutdown) -> Arranged {
    SockRef::from(&ours).shutdown(which).unwrap();
    (ours, vec![theirs])
}

fn both_shutdown((ours, theirs): Pair) -> Arranged {
    SockRef::from(&theirs).shutdown(Shutdown::Write).unwrap();
    shut((ours, theirs), Shutdown::Write)
}

#[cfg(unix)]
fn terminal_data((ours, theirs): Pair) -> Arranged {
    write(&theirs, b"data").unwrap();
    (ours, vec![theirs])
}

fn tcp_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// The last connection has no room in the listener's queue.
fn connecting() -> Arranged {
    let listener = tcp_socket();
    listener.bind(&own_address().into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut others = vec![Object::from(listener)];
    for _ in 0..2 {
        others.push(TcpStream::connect(address.as_socket().unwrap()).unwrap().into());
    }
    let socket = tcp_socket();
    socket.connect(&address).unwrap_err();
    (socket.into(), others)
}
