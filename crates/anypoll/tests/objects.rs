//! Every object of std that can be watched, as data: each row is run in every mode on every
//! backend, and the rows print this system's table in `docs/objects.md`.
//!
//! A run registers the object, makes it ready, sees it, uses it up until it would block, makes it
//! ready again, has its other side go, and drops it; nothing else may be reported in between. What
//! cannot be watched has a row too, which holds the words of its refusal. The rows that change this
//! process (its standard streams, its terminal) run in one of their own.

#![cfg(any(target_os = "linux", windows))]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the contract's tests")]
mod support;
#[cfg_attr(target_os = "linux", path = "objects/linux.rs")]
#[cfg_attr(windows, path = "objects/windows.rs")]
mod system;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::rc::Rc;

use anypoll::{
    Backend, Event, Interest, Mode, Poller, Registered, Source, Token, net, process,
    set_nonblocking,
};
use socket2::SockRef;

use support::{
    MODES, eventually, expect_nothing, own_address, poller, send_to_nobody, tcp_pair, udp_pair,
    wait_for,
};

const TOKEN: Token = Token(1);

/// What the documentation says of an object, and what proves it.
struct Row {
    object: &'static str,
    ready: &'static str,
    used_up: &'static str,
    end: End,
    note: &'static str,
    place: Place,
    run: fn(&Site) -> Run,
}

/// What is seen when the other side goes.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "not every system has each")]
enum End {
    /// There is none, or it is not told.
    None,
    ReadClosed,
    HangUp,
    Error,
    Everything,
}

impl End {
    fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::ReadClosed => "`is_read_closed`",
            Self::HangUp => "`is_read_closed`, `is_write_closed`",
            Self::Error => "`is_error`",
            Self::Everything => "`is_read_closed`, `is_write_closed`, `is_error`",
        }
    }

    /// Of an event: whether it is read closed, write closed, an error.
    fn flags(self) -> [bool; 3] {
        match self {
            Self::None => [false; 3],
            Self::ReadClosed => [true, false, false],
            Self::HangUp => [true, true, false],
            Self::Error => [false, false, true],
            Self::Everything => [true; 3],
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    OwnProcess,
}

/// Where a row runs.
struct Site {
    poller: Poller,
    mode: Mode,
}

/// One run of a row.
struct Run {
    /// `None`: it is no object (a waker).
    object: Option<Rc<RefCell<Registered<dyn Source>>>>,
    direction: Interest,
    /// Makes the object ready, as often as it is called. It owns the other side: dropping it is
    /// the end. `None`: the object is always ready.
    other: Option<Box<dyn FnMut()>>,
    /// Until it would block. `None`: it stays ready.
    use_up: Option<Box<dyn Fn()>>,
    /// What registering it came to, in each way that there is. Empty: it can be watched.
    refused: Vec<io::Error>,
}

impl Run {
    fn new(object: Option<Rc<RefCell<Registered<dyn Source>>>>, direction: Interest) -> Self {
        Self { object, direction, other: None, use_up: None, refused: Vec::new() }
    }

    fn readied_by(mut self, other: impl FnMut() + 'static) -> Self {
        self.other = Some(Box::new(other));
        self
    }
}

impl Site {
    /// An object that stays ready.
    fn watch(&self, source: impl Source + 'static, direction: Interest) -> Run {
        let object = self.poller.register(source, TOKEN, direction, self.mode).unwrap();
        Run::new(Some(Rc::new(RefCell::new(object))), direction)
    }

    /// An object, and the call that uses it up.
    fn watch_and<S: Source + 'static, T>(
        &self,
        source: S,
        direction: Interest,
        call: impl Fn(&S) -> io::Result<T> + 'static,
    ) -> Run {
        self.watch_by(source, direction, move |object| object.try_io(direction, &call))
    }

    /// The same by what the registration itself has.
    fn watch_by<S: Source + 'static, T>(
        &self,
        source: S,
        direction: Interest,
        call: impl Fn(&mut Registered<S>) -> io::Result<T> + 'static,
    ) -> Run {
        let object = self.poller.register(source, TOKEN, direction, self.mode).unwrap();
        let object = Rc::new(RefCell::new(object));
        let used = Rc::clone(&object);
        let use_up = move || {
            let error = loop {
                if let Err(error) = call(&mut used.borrow_mut()) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        };
        Run { use_up: Some(Box::new(use_up)), ..Run::new(Some(object), direction) }
    }

    fn receive<S: Source + 'static>(&self, socket: S) -> Run
    where
        for<'s> SockRef<'s>: From<&'s S>,
    {
        set_nonblocking(&socket, true).unwrap();
        self.watch_and(socket, Interest::READABLE, |socket| {
            assert_ne!((&*SockRef::from(socket)).read(&mut [0; 128])?, 0);
            Ok(())
        })
    }
}

/// Something to do when it is dropped.
struct AtEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Ends with its owner, and leaves no zombie.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

const READ: &str = "reading";
const KERNEL: Row = Row {
    object: "",
    ready: "",
    used_up: READ,
    end: End::None,
    note: "",
    place: Place::Here,
    run: |_| unreachable!(),
};
/// How what cannot be watched is ready; the note is the error.
const REFUSED: &str = "refused";

const SHARED: &[Row] = &[
    Row {
        object: "`TcpStream`",
        ready: "data",
        end: End::ReadClosed,
        run: |site| {
            let (mut peer, ours) = tcp_pair();
            site.receive(ours).readied_by(move || peer.write_all(b"x").unwrap())
        },
        ..KERNEL
    },
    Row {
        object: "`TcpListener`",
        ready: "a connection",
        used_up: "accepting",
        run: |site| {
            let listener = TcpListener::bind(own_address()).unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            site.watch_and(listener, Interest::READABLE, net::accept)
                .readied_by(move || drop(TcpStream::connect(address).unwrap()))
        },
        ..KERNEL
    },
    Row {
        object: "`UdpSocket`",
        ready: "a datagram",
        end: system::DATAGRAM_END,
        note: system::DATAGRAM_NOTE,
        run: |site| {
            let (ours, peer) = udp_pair();
            let sender = ours.try_clone().unwrap();
            let other = (peer, AtEnd(move || send_to_nobody(&sender)));
            site.receive(ours).readied_by(move || {
                let other = &other;
                other.0.send(b"x").unwrap();
            })
        },
        ..KERNEL
    },
    Row {
        object: "`Child`, by `process::Exit`",
        ready: "the exit",
        used_up: "",
        note: "Stays ready; `try_wait` gives the status.",
        run: |site| {
            let mut child = system::child();
            let exit = process::Exit::of(&mut child).unwrap();
            site.watch(exit, Interest::READABLE).readied_by(move || child.kill().unwrap())
        },
        ..KERNEL
    },
    Row {
        object: "`std::task::Waker`, from a `Waker`",
        ready: "a wake",
        used_up: "the report",
        note: "Is not registered and has no mode.",
        run: |site| {
            let waker: std::task::Waker = site.poller.waker(TOKEN).into();
            Run::new(None, Interest::READABLE).readied_by(move || waker.wake_by_ref())
        },
        ..KERNEL
    },
];

fn rows() -> impl Iterator<Item = &'static Row> {
    SHARED.iter().chain(system::ROWS)
}

fn drive(row: &Row, backend: Backend, mode: Mode) {
    let site = Site { poller: poller(backend), mode };
    let poller = &site.poller;
    let Run { object, direction, mut other, use_up, refused } = (row.run)(&site);
    assert_eq!(refused.is_empty(), row.ready != REFUSED);
    if row.ready == REFUSED {
        for error in refused {
            assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::Unsupported, row.note));
        }
        return expect_nothing(poller);
    }
    let see = || {
        let event = Event::new(TOKEN, wait_for(poller, &[TOKEN.0])[&TOKEN]);
        assert!(event.is_readable() || !direction.contains(Interest::READABLE), "{event:?}");
        assert!(event.is_writable() || !direction.contains(Interest::WRITABLE), "{event:?}");
        event
    };
    let arm = || object.iter().for_each(|object| object.borrow().set_interest(direction).unwrap());
    let arm_oneshot = || {
        if mode == Mode::Oneshot {
            arm();
        }
    };

    if let Some(ready) = &mut other {
        expect_nothing(poller);
        ready();
    }
    see();
    match (&object, mode) {
        (None, _) => expect_nothing(poller),
        (_, Mode::Level) => drop(see()),
        _ => {
            expect_nothing(poller);
            arm();
            see();
        }
    }
    if let (Some(ready), Some(use_up)) = (&mut other, &use_up) {
        use_up();
        arm_oneshot();
        expect_nothing(poller);
        ready();
        see();
        use_up();
        arm_oneshot();
        expect_nothing(poller);
    }
    if matches!(row.end, End::None) {
        drop(other);
        assert_eq!(use_up.is_some(), !row.used_up.is_empty() && object.is_some());
        if use_up.is_some() {
            expect_nothing(poller);
        }
    } else {
        drop(other.unwrap());
        let mut shown = [false; 3];
        // Where an end is told by several operations' ends, the first event has not yet all of it.
        eventually(|| {
            let event = see();
            if mode != Mode::Level {
                arm();
            }
            let more = [event.is_read_closed(), event.is_write_closed(), event.is_error()];
            shown = std::array::from_fn(|flag| shown[flag] || more[flag]);
            assert!((0..3).all(|flag| shown[flag] <= row.end.flags()[flag]), "{event:?}");
            shown == row.end.flags()
        });
    }
    drop((use_up, object));
    expect_nothing(poller);
}

fn drive_everywhere(row: &Row) {
    for backend in Backend::available() {
        for mode in MODES {
            drive(row, *backend, mode);
        }
    }
}

/// The name of the row that a process of its own is to run.
const ROW: &str = "ANYPOLL_OBJECTS_ROW";
/// The code with which it exits when all went well, which no test program does.
const DONE: i32 = 42;

#[test]
fn every_object() {
    for row in rows() {
        println!("{}", row.object);
        if row.place == Place::Here {
            drive_everywhere(row);
        } else {
            system::in_a_process("a_row_that_changes_its_process", row.object);
        }
    }
}

/// Ends this process by what `body` did, whatever became of its standard streams.
fn end_process_after(body: impl FnOnce()) -> ! {
    let error = system::duplicate_of_stderr();
    std::panic::set_hook(Box::new(move |panic| {
        writeln!(&error, "{panic}").unwrap();
        std::process::exit(1);
    }));
    body();
    std::process::exit(DONE);
}

#[test]
fn a_row_that_changes_its_process() {
    let Ok(name) = std::env::var(ROW) else { return };
    let row = rows().find(|row| row.object == name).unwrap();
    end_process_after(|| drive_everywhere(row));
}

/// This system's section of the documentation, without its heading.
fn section() -> String {
    let mut text = format!(
        "\n{}\n\n\
        | Object | Ready by | Used up by | The end | Note |\n\
        | --- | --- | --- | --- | --- |\n",
        system::INTRODUCTION
    );
    for row in rows() {
        let Row { object, ready, used_up, end, note, .. } = row;
        writeln!(text, "| {object} | {ready} | {used_up} | {} | {note} |", end.text()).unwrap();
    }
    text
}

/// `ANYPOLL_PRINT_DOCS=1` writes the section instead.
#[test]
fn the_docs_are_what_the_rows_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/objects.md");
    let text = fs::read_to_string(path).unwrap();
    let heading = format!("\n## {}\n", system::NAME);
    let (before, rest) = text.split_once(&heading).unwrap();
    let (found, after) = rest.split_once("\n## ").unwrap();
    if std::env::var("ANYPOLL_PRINT_DOCS").is_ok() {
        fs::write(path, format!("{before}{heading}{}\n## {after}", section())).unwrap();
    } else {
        assert_eq!(found, section());
    }
}
