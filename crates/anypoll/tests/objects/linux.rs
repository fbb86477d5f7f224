//! The objects that only Unix has, by what only Linux has.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anypoll::{Backend, Interest, Mode, Poller, Source, net, set_nonblocking};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, inotify};
use rustix::pty::{self, OpenptFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{self, Action, OptionalActions};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::support::{expect_nothing, poller, wait_for};
use super::{
    AtEnd, DONE, End, KERNEL, MODES, Owned, Place, ROW, Row, Run, Site, TOKEN, end_process_after,
};

pub(super) const NAME: &str = "Linux";
pub(super) const INTRODUCTION: &str = "On epoll and on poll(2), in every mode.";

pub(super) const DATAGRAM_END: End = End::Error;
pub(super) const DATAGRAM_NOTE: &str = "A connected one is told of a datagram that nobody took.";

impl Site {
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

pub(super) fn child() -> Child {
    echo("exec cat")
}

/// One to an eventfd.
fn count(to: &OwnedFd) {
    rustix::io::write(to, &1_u64.to_ne_bytes()).unwrap();
}

/// Runs one test of this program in a process of its own, which a hang-up does not end.
pub(super) fn in_a_process(test: &str, row: &str) {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROW, row).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(DONE), "{row}: {text}");
}

pub(super) fn duplicate_of_stderr() -> File {
    File::from(io::stderr().as_fd().try_clone_to_owned().unwrap())
}

const ALWAYS: Row = Row { ready: "always", used_up: "", note: "Never blocks.", ..KERNEL };

pub(super) const ROWS: &[Row] = &[
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
        object: "`Stdin`, a terminal",
        ready: "a key (a line, unless the terminal is raw)",
        end: End::Everything,
        note: "Read through a `File`, see below. Being non-blocking is shared with the shell, and with one's own output, where `println!` then panics if there is no room.",
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
];

/// What stays in the buffer of `Stdin` causes no event, and what is read through a `File` leaves
/// nothing there.
#[test]
fn standard_input_in_small_pieces() {
    if std::env::var(ROW).is_err() {
        return in_a_process("system::standard_input_in_small_pieces", "small pieces");
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
