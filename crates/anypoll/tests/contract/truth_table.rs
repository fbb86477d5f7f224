//! The truth table: what an event shows in each situation.
//!
//! The data are the tables in the documentation of `Event`, read from its source; here stands how
//! each of their rows is brought about. A system whose events show other conditions has a table of
//! its own there, found by the backends that its last column names.

#[cfg(unix)]
use std::env;
#[cfg(unix)]
use std::fs::File;
use std::io::ErrorKind;
#[cfg(unix)]
use std::io::{Write, pipe};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use anypoll::{Backend, Conditions, Event, Interest, Mode, Token, set_nonblocking};
#[cfg(unix)]
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use socket2::{Domain, SockRef, Socket, Type};

#[cfg(windows)]
use crate::support::both;
use crate::support::{
    MODES, Object, PATIENCE, Seen, expect_nothing, look, on_every_backend, own_address, poller,
    read, tcp_listener, tcp_pair, udp_pair, write,
};
#[cfg(unix)]
use crate::support::{fill, pty, unix_listener};

on_every_backend! {
    each_row_in_each_mode_with_each_interest
    a_flag_means_that_a_call_does_not_block
}

const DOCUMENTATION: &str = include_str!("../../src/event.rs");

const CONDITIONS: [(&str, Conditions); 6] = [
    ("READ", Conditions::READ),
    ("PRIORITY", Conditions::PRIORITY),
    ("WRITE", Conditions::WRITE),
    ("ERROR", Conditions::ERROR),
    ("HANG_UP", Conditions::HANG_UP),
    ("READ_HANG_UP", Conditions::READ_HANG_UP),
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
    conditions: u32,
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
        conditions: cells[7].split_whitespace().map(bits).sum(),
    })
    .collect()
}

fn cells(line: &'static str) -> Vec<&'static str> {
    let row = line.strip_prefix("/// |").and_then(|line| line.strip_suffix('|'));
    row.map(|row| row.split('|').map(str::trim).collect()).unwrap_or_default()
}

fn bits(name: &str) -> u32 {
    let found = CONDITIONS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no such condition: {name}")).1.bits()
}

/// What of `conditions` an event shows to a registration that asks for `interest`.
fn shown(conditions: u32, interest: Interest) -> u32 {
    let mut asked = Conditions::ERROR | Conditions::HANG_UP;
    for (direction, conditions) in [
        (Interest::READABLE, Conditions::READ | Conditions::READ_HANG_UP),
        (Interest::WRITABLE, Conditions::WRITE),
        (Interest::PRIORITY, Conditions::PRIORITY),
    ] {
        if interest.contains(direction) {
            asked = asked | conditions;
        }
    }
    conditions & asked.bits()
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
    let names = situations().map(|(name, _)| *name);
    assert!(table.iter().map(|row| row.situation).eq(names), "the rows are other ones");
    for (row, (_, ways)) in table.iter().zip(situations()) {
        for (object, _others) in ways.iter().map(|arrange| arrange()) {
            settle(&object, row);
            for interest in interests() {
                for mode in MODES {
                    check(backend, &object, row, interest, mode);
                }
            }
        }
    }
}

fn check(backend: Backend, object: &Object, row: &Row, interest: Interest, mode: Mode) {
    let case = format!("{}, {interest:?}, {mode:?}", row.situation);
    let bits = shown(row.conditions, interest);
    let nothing = Seen::new();
    let poller = poller(backend);
    let object = poller.register(object, Token(5), interest, mode).unwrap();
    for _ in 0..2 {
        let seen = look(&poller);
        let found = seen.get(&Token(5)).copied();
        assert_eq!(found.map_or(0, Conditions::bits), bits, "{case}: {seen:?}");
        assert_eq!(seen.len(), usize::from(bits != 0), "{case}: {seen:?}");
        if bits == row.conditions {
            if let Some(conditions) = found {
                let event = Event::new(Token(5), conditions);
                let flags = FLAGS.iter().filter(|(_, flag)| flag(&event)).map(|(name, _)| *name);
                assert_eq!(flags.collect::<Vec<_>>(), row.flags, "{case}");
            }
        }
        let again = look(&poller);
        assert_eq!(again, if mode == Mode::Level { seen } else { nothing.clone() }, "{case}");
        object.set_interest(interest).unwrap();
    }
    drop(object);
    expect_nothing(&poller);
}

fn a_flag_means_that_a_call_does_not_block(backend: Backend) {
    for (row, (_, ways)) in table(backend).iter().zip(situations()) {
        for (object, _others) in ways.iter().map(|arrange| arrange()) {
            settle(&object, row);
            set_nonblocking(&object, true).unwrap();
            let calls = [
                ("readable", read(&object, &mut [0; 8])),
                ("writable", write(&object, &1_u64.to_ne_bytes())),
            ];
            for (flag, result) in calls {
                let case = format!("{}: {flag}, {result:?}", row.situation);
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
fn settle(object: &Object, row: &Row) {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = system_shows(object);
        if found == row.conditions && !has_its_end_on_the_way(object) {
            return;
        }
        assert!(Instant::now() < end, "{}: the system shows {found:#x}", row.situation);
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
#[cfg(unix)]
fn system_shows(object: &Object) -> u32 {
    let all = PollFlags::IN | PollFlags::PRI | PollFlags::OUT | PollFlags::RDHUP;
    let mut fds = [PollFd::new(object, all)];
    poll(&mut fds, Some(&Timespec::default())).unwrap();
    i32::from(fds[0].revents().bits()).cast_unsigned()
}

/// There is no other call that shows what AFD does, so this is the library.
#[cfg(windows)]
fn system_shows(object: &Object) -> u32 {
    let poller = poller(Backend::Afd);
    let all = both() | Interest::PRIORITY;
    let _object = poller.register(object, Token(0), all, Mode::Level).unwrap();
    look(&poller).get(&Token(0)).map_or(0, |conditions| conditions.bits())
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
    ("eventfd: 0", &[|| (eventfd(0, EventfdFlags::CLOEXEC).unwrap(), vec![])]),
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
