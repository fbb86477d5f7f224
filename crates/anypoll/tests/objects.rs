//! Every object of std that can be watched, as data: each row is run in every mode on every
//! backend, and the rows print `docs/objects.md`.
//!
//! A run registers the object, makes it ready, sees it, uses it up until it would block, makes it
//! ready again, has its other side go, and drops it; nothing else may be reported in between. The
//! rows that change this process (its standard streams, its terminal) run in one of their own.

#![cfg(target_os = "linux")]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the contract's tests")]
mod support;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anypoll::{
    Backend, Event, Interest, Mode, Poller, Registered, Source, Token, net, process,
    set_nonblocking,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, inotify};
use rustix::pty::{self, OpenptFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{self, Action, OptionalActions};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use support::{expect_nothing, own_address, poller, wait_for};

const TOKEN: Token = Token(1);
const MODES: [Mode; 3] = [Mode::Level, Mode::Edge, Mode::Oneshot];

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

    fn flags(self) -> (bool, bool, bool) {
        match self {
            Self::None => (false, false, false),
            Self::ReadClosed => (true, false, false),
            Self::HangUp => (true, true, false),
            Self::Error => (false, false, true),
            Self::Everything => (true, true, true),
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
    object: Option<Arc<Registered<dyn Source>>>,
    direction: Interest,
    /// Makes the object ready, as often as it is called. It owns the other side: dropping it is
    /// the end. `None`: the object is always ready.
    other: Option<Box<dyn FnMut()>>,
    /// Until it would block. `None`: it stays ready.
    use_up: Option<Box<dyn Fn()>>,
}

impl Run {
    fn readied_by(mut self, other: impl FnMut() + 'static) -> Self {
        self.other = Some(Box::new(other));
        self
    }
}

impl Site {
    fn register<S: Source>(&self, source: S, direction: Interest) -> Arc<Registered<S>> {
        Arc::new(self.poller.register(source, TOKEN, direction, self.mode).unwrap())
    }

    /// An object that stays ready.
    fn watch(&self, source: impl Source + 'static, direction: Interest) -> Run {
        let object = self.register(source, direction);
        Run { object: Some(object), direction, other: None, use_up: None }
    }

    /// An object, and the call that uses it up.
    fn watch_and<S: Source + 'static, T>(
        &self,
        source: S,
        direction: Interest,
        call: impl Fn(&S) -> io::Result<T> + 'static,
    ) -> Run {
        let object = self.register(source, direction);
        let used = Arc::clone(&object);
        let use_up = move || {
            let error = loop {
                if let Err(error) = used.try_io(direction, &call) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        };
        Run { object: Some(object), direction, other: None, use_up: Some(Box::new(use_up)) }
    }

    fn read(&self, source: impl Source + AsFd + 'static) -> Run {
        set_nonblocking(&source, true).unwrap();
        self.watch_and(source, Interest::READABLE, |source| {
            let count = rustix::io::read(source, &mut [0; 128])?;
            assert_ne!(count, 0);
            Ok(())
        })
    }

    /// All of its room is used up before it is registered.
    fn write(&self, source: impl Source + AsFd + 'static) -> Run {
        set_nonblocking(&source, true).unwrap();
        while rustix::io::write(&source, &[0; 4096]).is_ok() {}
        self.watch_and(source, Interest::WRITABLE, |source| {
            Ok(rustix::io::write(source, &[0; 4096])?)
        })
    }
}

fn send(to: impl AsFd) {
    rustix::io::write(to, b"x").unwrap();
}

/// Gives all room back to whoever writes to the other end.
fn take_all(from: impl AsFd) {
    set_nonblocking(&from.as_fd(), true).unwrap();
    while rustix::io::read(&from, &mut [0; 4096]).is_ok() {}
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

/// Writes what it reads, to its standard output or error.
fn echo(script: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// A path that nothing else uses.
fn new_path() -> PathBuf {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let (process, number) = (std::process::id(), LAST.fetch_add(1, Relaxed));
    std::env::temp_dir().join(format!("anypoll-objects-{process}-{number}"))
}

fn fifo() -> (File, File) {
    let path = new_path();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    let nonblocking = libc::O_NONBLOCK;
    let reader = OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).unwrap();
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    (reader, writer)
}

fn file() -> File {
    let path = new_path();
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
}

/// A pseudo-terminal that changes nothing of what it carries: its master and the terminal. `flags`
/// may make it this process' own.
fn terminal(flags: i32) -> (OwnedFd, File) {
    let master = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    pty::grantpt(&master).unwrap();
    pty::unlockpt(&master).unwrap();
    let name = pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).custom_flags(flags).open(name).unwrap();
    let mut settings = termios::tcgetattr(&terminal).unwrap();
    settings.make_raw();
    termios::tcsetattr(&terminal, OptionalActions::Now, &settings).unwrap();
    (master, terminal)
}

/// A terminal as standard output or error: what goes out can be held up and let go.
fn write_terminal(
    site: &Site,
    stream: impl Source + AsFd + 'static,
    (master, terminal): (OwnedFd, File),
) -> Run {
    set_nonblocking(&stream, true).unwrap();
    termios::tcflow(&terminal, Action::OOff).unwrap();
    let held = terminal.try_clone().unwrap();
    let run = site.watch_and(stream, Interest::WRITABLE, move |stream| {
        termios::tcflow(&held, Action::OOff)?;
        Ok(rustix::io::write(stream, b"x")?)
    });
    run.readied_by(move || {
        let _ = &master;
        termios::tcflow(&terminal, Action::OOn).unwrap();
    })
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
const ALWAYS: Row = Row { ready: "always", used_up: "", note: "Never blocks.", ..KERNEL };

const ROWS: &[Row] = &[
    Row {
        object: "`TcpStream`",
        ready: "data",
        end: End::ReadClosed,
        run: |site| {
            let listener = TcpListener::bind(own_address()).unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            site.read(listener.accept().unwrap().0).readied_by(move || send(&peer))
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
        end: End::Error,
        note: "A connected one is told of a datagram that nobody took.",
        run: |site| {
            let ours = UdpSocket::bind(own_address()).unwrap();
            let peer = UdpSocket::bind(own_address()).unwrap();
            ours.connect(peer.local_addr().unwrap()).unwrap();
            peer.connect(ours.local_addr().unwrap()).unwrap();
            let sender = ours.try_clone().unwrap();
            let other = (peer, AtEnd(move || send(&sender)));
            site.read(ours).readied_by(move || {
                let other = &other;
                send(&other.0);
            })
        },
        ..KERNEL
    },
    Row {
        object: "`UnixStream`",
        ready: "data",
        end: End::HangUp,
        run: |site| {
            let (ours, peer) = UnixStream::pair().unwrap();
            site.read(ours).readied_by(move || send(&peer))
        },
        ..KERNEL
    },
    Row {
        object: "`UnixListener`",
        ready: "a connection",
        used_up: "accepting",
        run: |site| {
            let path = new_path();
            let listener = UnixListener::bind(&path).unwrap();
            listener.set_nonblocking(true).unwrap();
            let end = AtEnd({
                let path = path.clone();
                move || fs::remove_file(&path).unwrap()
            });
            site.watch_and(listener, Interest::READABLE, net::accept_unix).readied_by(move || {
                let _ = &end;
                drop(UnixStream::connect(&path).unwrap());
            })
        },
        ..KERNEL
    },
    Row {
        object: "`UnixDatagram`",
        ready: "a datagram",
        note: "Is not told that its peer is gone.",
        run: |site| {
            let (ours, peer) = UnixDatagram::pair().unwrap();
            site.read(ours).readied_by(move || send(&peer))
        },
        ..KERNEL
    },
    Row {
        object: "`ChildStdin`",
        ready: "room",
        used_up: "writing",
        end: End::Error,
        note: "The end: nobody reads any more.",
        run: |site| {
            let mut child = Command::new("sleep");
            let mut child = Owned(child.arg("1000").stdin(Stdio::piped()).spawn().unwrap());
            // The child never reads; somebody else does.
            let other = File::open(format!("/proc/{}/fd/0", child.0.id())).unwrap();
            site.write(child.0.stdin.take().unwrap()).readied_by(move || {
                let _ = &child;
                take_all(&other);
            })
        },
        ..KERNEL
    },
    Row {
        object: "`ChildStdout`",
        ready: "output",
        end: End::HangUp,
        note: "The end: the child, and whoever has its output from it, closed it.",
        run: |site| {
            let mut child = Owned(echo("exec cat"));
            let input = child.0.stdin.take().unwrap();
            site.read(child.0.stdout.take().unwrap()).readied_by(move || {
                let _ = &child;
                send(&input);
            })
        },
        ..KERNEL
    },
    Row {
        object: "`ChildStderr`",
        ready: "output",
        end: End::HangUp,
        note: "As `ChildStdout`.",
        run: |site| {
            let mut child = Owned(echo("exec cat >&2"));
            let input = child.0.stdin.take().unwrap();
            site.read(child.0.stderr.take().unwrap()).readied_by(move || {
                let _ = &child;
                send(&input);
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
            let mut child = Owned(echo("exec cat"));
            let exit = process::Exit::of(&mut child.0).unwrap();
            site.watch(exit, Interest::READABLE).readied_by(move || child.0.kill().unwrap())
        },
        ..KERNEL
    },
    Row {
        object: "`Stdin`, a terminal",
        ready: "a key (a line, unless the terminal is raw)",
        end: End::Everything,
        note: "Read through a `File`, see below. Being non-blocking is shared with the shell.",
        place: Place::OwnProcess,
        run: |site| {
            let (master, terminal) = terminal(libc::O_NOCTTY);
            dup2_stdin(&terminal).unwrap();
            site.read(io::stdin()).readied_by(move || send(&master))
        },
        ..KERNEL
    },
    Row {
        object: "`Stdin`, a pipe",
        ready: "data",
        end: End::HangUp,
        note: "Read through a `File`, see below.",
        place: Place::OwnProcess,
        run: |site| {
            let (reader, writer) = io::pipe().unwrap();
            dup2_stdin(&reader).unwrap();
            site.read(io::stdin()).readied_by(move || send(&writer))
        },
        ..KERNEL
    },
    Row {
        object: "`Stdin`, a file",
        place: Place::OwnProcess,
        run: |site| {
            dup2_stdin(file()).unwrap();
            site.watch(io::stdin(), Interest::READABLE)
        },
        ..ALWAYS
    },
    Row {
        object: "`Stdout`, a terminal",
        ready: "room",
        used_up: "writing",
        end: End::Everything,
        note: "Being non-blocking is shared with the shell.",
        place: Place::OwnProcess,
        run: |site| {
            let pair = terminal(libc::O_NOCTTY);
            dup2_stdout(&pair.1).unwrap();
            write_terminal(site, io::stdout(), pair)
        },
    },
    Row {
        object: "`Stdout`, a pipe",
        ready: "room",
        used_up: "writing",
        end: End::Error,
        note: "The end: nobody reads any more.",
        place: Place::OwnProcess,
        run: |site| {
            let (reader, writer) = io::pipe().unwrap();
            dup2_stdout(writer).unwrap();
            site.write(io::stdout()).readied_by(move || take_all(&reader))
        },
    },
    Row {
        object: "`Stdout`, a file",
        place: Place::OwnProcess,
        run: |site| {
            dup2_stdout(file()).unwrap();
            site.watch(io::stdout(), Interest::WRITABLE)
        },
        ..ALWAYS
    },
    Row {
        object: "`Stderr`, a terminal",
        ready: "room",
        used_up: "writing",
        end: End::Everything,
        note: "Being non-blocking is shared with the shell.",
        place: Place::OwnProcess,
        run: |site| {
            let pair = terminal(libc::O_NOCTTY);
            dup2_stderr(&pair.1).unwrap();
            write_terminal(site, io::stderr(), pair)
        },
    },
    Row {
        object: "`Stderr`, a pipe",
        ready: "room",
        used_up: "writing",
        end: End::Error,
        note: "The end: nobody reads any more.",
        place: Place::OwnProcess,
        run: |site| {
            let (reader, writer) = io::pipe().unwrap();
            dup2_stderr(writer).unwrap();
            site.write(io::stderr()).readied_by(move || take_all(&reader))
        },
    },
    Row {
        object: "`Stderr`, a file",
        place: Place::OwnProcess,
        run: |site| {
            dup2_stderr(file()).unwrap();
            site.watch(io::stderr(), Interest::WRITABLE)
        },
        ..ALWAYS
    },
    Row {
        object: "`File`, of a disk",
        run: |site| site.watch(file(), Interest::READABLE | Interest::WRITABLE),
        ..ALWAYS
    },
    Row {
        object: "`File`, a FIFO that is read",
        ready: "data",
        end: End::HangUp,
        run: |site| {
            let (reader, writer) = fifo();
            site.read(reader).readied_by(move || send(&writer))
        },
        ..KERNEL
    },
    Row {
        object: "`File`, a FIFO that is written",
        ready: "room",
        used_up: "writing",
        end: End::Error,
        run: |site| {
            let (reader, writer) = fifo();
            site.write(writer).readied_by(move || take_all(&reader))
        },
        ..KERNEL
    },
    Row {
        object: "`File`, `/dev/tty`",
        ready: "a key (a line, unless the terminal is raw)",
        end: End::Everything,
        note: "The hang-up also sends `SIGHUP`.",
        place: Place::OwnProcess,
        run: |site| {
            // Fails if this process leads a session already, as in all but the first run.
            let _ = rustix::process::setsid();
            let (master, _terminal) = terminal(0);
            let terminal = File::options().read(true).write(true).open("/dev/tty").unwrap();
            site.read(terminal).readied_by(move || send(&master))
        },
        ..KERNEL
    },
    Row {
        object: "`File`, `/dev/null`",
        run: |site| {
            let file = File::options().read(true).write(true).open("/dev/null").unwrap();
            site.watch(file, Interest::READABLE | Interest::WRITABLE)
        },
        ..ALWAYS
    },
    Row {
        object: "`File`, `/dev/zero`",
        note: "Never blocks. Other devices are as their driver says.",
        run: |site| site.watch(File::open("/dev/zero").unwrap(), Interest::READABLE),
        ..ALWAYS
    },
    Row {
        object: "`io::PipeReader`",
        ready: "data",
        end: End::HangUp,
        run: |site| {
            let (reader, writer) = io::pipe().unwrap();
            site.read(reader).readied_by(move || send(&writer))
        },
        ..KERNEL
    },
    Row {
        object: "`io::PipeWriter`",
        ready: "room",
        used_up: "writing",
        end: End::Error,
        run: |site| {
            let (reader, writer) = io::pipe().unwrap();
            site.write(writer).readied_by(move || take_all(&reader))
        },
        ..KERNEL
    },
    Row {
        object: "`OwnedFd`, an eventfd",
        ready: "a count above 0",
        run: |site| {
            let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
            let other = counter.try_clone().unwrap();
            site.read(counter).readied_by(move || count(&other))
        },
        ..KERNEL
    },
    Row {
        object: "`OwnedFd`, a timerfd",
        ready: "an expiration",
        run: |site| {
            let (clock, flags) = (TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC);
            let timer = rustix::time::timerfd_create(clock, flags).unwrap();
            let other = timer.try_clone().unwrap();
            site.read(timer).readied_by(move || {
                let it_interval = Timespec::default();
                let it_value = Timespec { tv_sec: 0, tv_nsec: 1 };
                let once = Itimerspec { it_interval, it_value };
                let flags = TimerfdTimerFlags::empty();
                rustix::time::timerfd_settime(&other, flags, &once).unwrap();
            })
        },
        ..KERNEL
    },
    Row {
        object: "`OwnedFd`, an inotify",
        ready: "a change",
        run: |site| {
            let path = new_path();
            let file = File::create(&path).unwrap();
            let changes = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
            inotify::add_watch(&changes, &path, inotify::WatchFlags::MODIFY).unwrap();
            // The file's own end would be a change, so it stays open.
            std::mem::forget(file.try_clone().unwrap());
            fs::remove_file(path).unwrap();
            site.read(changes).readied_by(move || send(&file))
        },
        ..KERNEL
    },
    Row {
        object: "`OwnedFd`, a memfd",
        run: |site| {
            let memory = rustix::fs::memfd_create("objects", MemfdFlags::CLOEXEC).unwrap();
            site.watch(memory, Interest::READABLE | Interest::WRITABLE)
        },
        ..ALWAYS
    },
    Row {
        object: "`BorrowedFd<'_>`, `&T`, `Box<T>`, `Arc<T>`",
        ready: "as what it lends",
        note: "Whoever closes the object takes it off first.",
        run: |site| {
            let counter: &OwnedFd = Box::leak(Box::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap()));
            let lent: &BorrowedFd<'_> = Box::leak(Box::new(counter.as_fd()));
            site.read(Arc::new(Box::new(lent))).readied_by(move || count(counter))
        },
        ..KERNEL
    },
    Row {
        object: "`socket2::Socket`",
        ready: "data",
        end: End::HangUp,
        note: "As any other owner of a descriptor.",
        run: |site| {
            let kind = socket2::Type::SEQPACKET;
            let (ours, peer) = socket2::Socket::pair(socket2::Domain::UNIX, kind, None).unwrap();
            site.read(ours).readied_by(move || send(&peer))
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
            let run =
                Run { object: None, direction: Interest::READABLE, other: None, use_up: None };
            run.readied_by(move || waker.wake_by_ref())
        },
        ..KERNEL
    },
];

/// One to an eventfd.
fn count(to: &OwnedFd) {
    rustix::io::write(to, &1_u64.to_ne_bytes()).unwrap();
}

fn drive(row: &Row, backend: Backend, mode: Mode) {
    let site = Site { poller: poller(backend), mode };
    let poller = &site.poller;
    let Run { object, direction, mut other, use_up } = (row.run)(&site);
    let see = || {
        let event = Event::new(TOKEN, wait_for(poller, &[TOKEN.0])[&TOKEN]);
        assert!(event.is_readable() || !direction.contains(Interest::READABLE), "{event:?}");
        assert!(event.is_writable() || !direction.contains(Interest::WRITABLE), "{event:?}");
        event
    };
    let arm = || object.iter().for_each(|object| object.set_interest(direction).unwrap());
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
        let event = see();
        let flags = (event.is_read_closed(), event.is_write_closed(), event.is_error());
        assert_eq!(flags, row.end.flags(), "{event:?}");
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
    for row in ROWS {
        println!("{}", row.object);
        if row.place == Place::Here {
            drive_everywhere(row);
        } else {
            in_a_process("a_row_that_changes_its_process", row.object);
        }
    }
}

/// Runs one test of this file in a process of its own, which a hang-up does not end.
fn in_a_process(test: &str, row: &str) {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROW, row).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(DONE), "{row}: {text}");
}

/// Ends this process by what `body` did, whatever became of its standard streams.
fn end_process_after(body: impl FnOnce()) -> ! {
    let error = File::from(io::stderr().as_fd().try_clone_to_owned().unwrap());
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
    let row = ROWS.iter().find(|row| row.object == name).unwrap();
    end_process_after(|| drive_everywhere(row));
}

/// What stays in the buffer of `Stdin` causes no event, and what is read through a `File` leaves
/// nothing there.
#[test]
fn standard_input_in_small_pieces() {
    if std::env::var(ROW).is_err() {
        return in_a_process("standard_input_in_small_pieces", "small pieces");
    }
    end_process_after(|| {
        for backend in Backend::available() {
            for mode in MODES {
                small_pieces(&poller(*backend), mode);
            }
        }
    });
}

fn small_pieces(poller: &Poller, mode: Mode) {
    use std::io::Read as _;

    let (reader, mut writer) = io::pipe().unwrap();
    dup2_stdin(reader).unwrap();
    set_nonblocking(&io::stdin(), true).unwrap();
    let stdin = poller.register(io::stdin(), TOKEN, Interest::READABLE, mode).unwrap();
    writer.write_all(&[b'a'; 40]).unwrap();
    wait_for(poller, &[1]);
    let mut piece = [0; 16];
    io::stdin().read_exact(&mut piece).unwrap();
    // 24 bytes are left, and only the buffer knows.
    stdin.set_interest(Interest::READABLE).unwrap();
    expect_nothing(poller);
    io::stdin().read_exact(&mut [0; 24]).unwrap();
    drop(stdin);

    let file = File::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut file = poller.register(file, TOKEN, Interest::READABLE, mode).unwrap();
    writer.write_all(&[b'b'; 40]).unwrap();
    for expected in [16, 16, 8] {
        wait_for(poller, &[1]);
        assert_eq!(file.read(&mut piece).unwrap(), expected);
        if mode != Mode::Level {
            file.set_interest(Interest::READABLE).unwrap();
        }
    }
    assert_eq!(file.read(&mut piece).unwrap_err().kind(), ErrorKind::WouldBlock);
    expect_nothing(poller);
}

const HEAD: &str = "\
# What can be watched

On Linux, on every backend and in every mode. Each row is run by `crates/anypoll/tests/objects.rs`, which also
prints this file. \"The end\" is what an event says when the other side has gone, with the interest
of the row.

| Object | Ready by | Used up by | The end | Note |
| --- | --- | --- | --- | --- |
";

const TAIL: &str = "
## Standard input

`Stdin` reads ahead into a buffer of its own. What is left there is not in the pipe any more, so no
event comes for it. Watch the descriptor, and read it through a `File`:

```rust
use std::fs::File;
use std::os::fd::AsFd;

let input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
let poller = anypoll::Poller::new()?;
let input = poller.register(
    input,
    anypoll::Token(0),
    anypoll::Interest::READABLE,
    anypoll::Mode::Level,
)?;
# drop(input);
# std::io::Result::Ok(())
```

In Level mode it may stay blocking: after a report one `read` does not block. `Stdout` and `Stderr`
can be written directly; `Stdout` holds back what is not a whole line until it is flushed.
";

fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for row in ROWS {
        let Row { object, ready, used_up, end, note, .. } = row;
        writeln!(text, "| {object} | {ready} | {used_up} | {} | {note} |", end.text()).unwrap();
    }
    text + TAIL
}

/// `ANYPOLL_PRINT_DOCS=1` writes the file instead.
#[test]
fn the_docs_are_what_the_rows_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/objects.md");
    if std::env::var("ANYPOLL_PRINT_DOCS").is_ok() {
        fs::write(path, markdown()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), markdown());
}
