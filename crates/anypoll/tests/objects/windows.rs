//! What Windows has in place of descriptors.

use std::env;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{
    AsHandle, AsRawHandle, AsSocket, BorrowedSocket, HandleOrNull, IntoRawHandle, OwnedHandle,
    OwnedSocket,
};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::{mem, process, ptr, thread};

use anypoll::os::windows::{ChildPipe, NamedPipe, Waitable};
use anypoll::{Interest, Source};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::{
    COORD, ClosePseudoConsole, CreatePseudoConsole, FlushConsoleInputBuffer,
    GetNumberOfConsoleInputEvents, INPUT_RECORD, INPUT_RECORD_0, KEY_EVENT, KEY_EVENT_RECORD,
    ReadConsoleInputW, STD_ERROR_HANDLE, STD_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
    SetStdHandle, WriteConsoleInputW,
};
use windows_sys::Win32::System::Threading::{
    CREATE_UNICODE_ENVIRONMENT, CreateEventW, CreateMutexW, CreateProcessW,
    EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess, INFINITE, InitializeProcThreadAttributeList,
    PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE, PROCESS_INFORMATION, ResetEvent, STARTUPINFOEXW, SetEvent,
    UpdateProcThreadAttribute, WaitForSingleObject,
};

use super::support::{start, tcp_pair};
use super::{DONE, End, KERNEL, Owned, Place, REFUSED, ROW, Row, Run, Site, TOKEN, own_address};

pub(super) const NAME: &str = "Windows";
pub(super) const INTRODUCTION: &str = "\
On AFD, in every mode; run under Wine. What is no socket is no `Source` by itself, which the compiler
says. `os::windows` has `Waitable`, `ChildPipe` and `NamedPipe`; what none of them can watch is
refused with the kind `Unsupported` and the words of the note. std has no Unix sockets here.";

pub(super) const DATAGRAM_END: End = End::Everything;
pub(super) const DATAGRAM_NOTE: &str = "A connected one that is being asked about is told of a datagram that nobody took (under Wine).";

/// Whether this type can be registered by itself.
macro_rules! is_source {
    ($type:ty) => {{
        struct Asked<T>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "the answer may be the other one")]
        trait Otherwise {
            const IS: bool = false;
        }
        impl<T> Otherwise for Asked<T> {}
        #[allow(dead_code, reason = "likewise")]
        impl<T: Source> Asked<T> {
            const IS: bool = true;
        }
        Asked::<$type>::IS
    }};
}

impl Site {
    /// What a file of the system is refused with, by the only way that takes it.
    fn refuse<H: AsHandle + 'static>(&self, handles: impl IntoIterator<Item = H>) -> Run {
        let refuse = |handle| {
            let source = Waitable::new(handle);
            let refused = self.poller.register(source, TOKEN, Interest::READABLE, self.mode);
            refused.unwrap_err().into()
        };
        Run {
            refused: handles.into_iter().map(refuse).collect(),
            ..Run::new(None, Interest::READABLE)
        }
    }

    /// What a child says, which it hears from its input.
    fn child_pipe<P: Read + AsHandle + 'static>(&self, mut child: Child, mut pipe: P) -> Run
    where
        ChildPipe<P>: From<P>,
    {
        let mut said = Vec::new();
        while !said.ends_with(BEGIN.as_bytes()) {
            let mut byte = [0];
            pipe.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        let mut input = child.stdin.take().unwrap();
        let child = Owned(child);
        let read = |pipe: &mut anypoll::Registered<ChildPipe<P>>| {
            assert_ne!(pipe.read(&mut [0; 128])?, 0);
            Ok(())
        };
        self.watch_by(ChildPipe::from(pipe), Interest::READABLE, read).readied_by(move || {
            let _ = &child;
            input.write_all(b"x").unwrap();
        })
    }

    fn event(&self, event: OwnedHandle) -> Run {
        let event = Arc::new(event);
        let waitable = Waitable::new(Arc::clone(&event));
        let reset = |event: &Waitable<Arc<OwnedHandle>>| {
            // SAFETY: it is open.
            assert_ne!(unsafe { ResetEvent(event.get_ref().as_raw_handle()) }, 0);
            Err::<(), _>(ErrorKind::WouldBlock.into())
        };
        self.watch_and(waitable, Interest::READABLE, reset).readied_by(move || {
            // SAFETY: it is open.
            assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
        })
    }
}

fn owned(handle: HANDLE) -> OwnedHandle {
    // SAFETY: it has just been made, and nobody else has it.
    unsafe { HandleOrNull::from_raw_handle(handle) }.try_into().unwrap()
}

/// What the child that echoes says first.
const BEGIN: &str = "it begins\n";
/// Where it is to echo.
const ECHO: &str = "ANYPOLL_OBJECTS_ECHO";

fn echo(to: &str) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "system::a_child_that_echoes", "--nocapture"]).env(ECHO, to);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    start(&mut command)
}

#[test]
fn a_child_that_echoes() {
    let Ok(to) = env::var(ECHO) else { return };
    let mut to = match &*to {
        "out" => File::from(io::stdout().as_handle().try_clone_to_owned().unwrap()),
        _ => duplicate_of_stderr(),
    };
    to.write_all(BEGIN.as_bytes()).unwrap();
    io::copy(&mut io::stdin(), &mut to).unwrap();
    process::exit(0);
}

pub(super) fn child() -> Child {
    echo("err")
}

/// The server's end and the client's.
fn named_pipe() -> (NamedPipe, File) {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let (process, number) = (process::id(), LAST.fetch_add(1, Relaxed));
    let name = format!(r"\\.\pipe\anypoll-objects-{process}-{number}");
    let server = NamedPipe::new(&name).unwrap();
    let client = OpenOptions::new().read(true).write(true).open(name).unwrap();
    server.connect().unwrap();
    (server, client)
}

fn set_standard(which: STD_HANDLE, handle: impl Into<OwnedHandle>) {
    let handle = handle.into().into_raw_handle();
    // SAFETY: it is open, and stays so.
    assert_ne!(unsafe { SetStdHandle(which, handle) }, 0);
}

fn console(name: &str) -> File {
    OpenOptions::new().read(true).write(true).open(name).unwrap()
}

fn file() -> File {
    File::open("Cargo.toml").unwrap()
}

fn press_a_key() {
    let mut key = KEY_EVENT_RECORD { bKeyDown: 1, wRepeatCount: 1, ..Default::default() };
    key.uChar.UnicodeChar = u16::from(b'x');
    let record = INPUT_RECORD {
        EventType: u16::try_from(KEY_EVENT).unwrap(),
        Event: INPUT_RECORD_0 { KeyEvent: key },
    };
    let mut written = 0;
    let console = console("CONIN$");
    // SAFETY: the console is open, there is one record and room for the answer.
    let done = unsafe {
        WriteConsoleInputW(console.as_raw_handle(), &raw const record, 1, &raw mut written)
    };
    assert_eq!((done != 0, written), (true, 1));
}

fn read_a_key(console: &impl AsHandle) -> io::Result<()> {
    let console = console.as_handle().as_raw_handle();
    let mut count = 0;
    // SAFETY: it is open, and there is room for the answer.
    assert_ne!(unsafe { GetNumberOfConsoleInputEvents(console, &raw mut count) }, 0);
    if count == 0 {
        return Err(ErrorKind::WouldBlock.into());
    }
    let mut record = INPUT_RECORD::default();
    // SAFETY: it is open, and there is room for one record and the answer.
    assert_ne!(unsafe { ReadConsoleInputW(console, &raw mut record, 1, &raw mut count) }, 0);
    Ok(())
}

const NO_READINESS: &str = "on Windows files, pipes and a console's output have no readiness";
const UNSUPPORTED: Row = Row { ready: REFUSED, used_up: "", note: NO_READINESS, ..KERNEL };

pub(super) const ROWS: &[Row] = &[
    Row {
        object: "`ChildStdin`",
        run: |site| {
            let mut child = Owned(child());
            site.refuse(child.0.stdin.take())
        },
        ..UNSUPPORTED
    },
    Row {
        object: "`ChildStdout`, by `ChildPipe`",
        ready: "output",
        end: End::HangUp,
        note: "The end: the child, and whoever has its output from it, closed it.",
        run: |site| {
            let mut child = echo("out");
            let pipe = child.stdout.take().unwrap();
            site.child_pipe(child, pipe)
        },
        ..KERNEL
    },
    Row {
        object: "`ChildStderr`, by `ChildPipe`",
        ready: "output",
        end: End::HangUp,
        note: "As `ChildStdout`.",
        run: |site| {
            let mut child = echo("err");
            let pipe = child.stderr.take().unwrap();
            site.child_pipe(child, pipe)
        },
        ..KERNEL
    },
    Row {
        object: "`Stdin`, a console, by `Waitable`",
        ready: "a key, or another record of the console",
        used_up: "reading the records",
        note: "`read` may block until the line is whole: take the records (`ReadConsoleInputW`). \
            The end is that of the process.",
        place: Place::OwnProcess,
        run: |site| {
            let console = console("CONIN$");
            // SAFETY: it is open.
            assert_ne!(unsafe { FlushConsoleInputBuffer(console.as_raw_handle()) }, 0);
            set_standard(STD_INPUT_HANDLE, console);
            site.watch_and(Waitable::new(io::stdin()), Interest::READABLE, |stdin| {
                read_a_key(stdin.get_ref())
            })
            .readied_by(press_a_key)
        },
        ..KERNEL
    },
    Row {
        object: "`Stdin`, a pipe or a file",
        place: Place::OwnProcess,
        run: |site| {
            let (reader, _writer) = io::pipe().unwrap();
            set_standard(STD_INPUT_HANDLE, reader);
            let mut run = site.refuse([io::stdin()]);
            set_standard(STD_INPUT_HANDLE, file());
            run.refused.extend(site.refuse([io::stdin()]).refused);
            run
        },
        ..UNSUPPORTED
    },
    Row {
        object: "`Stdout`, `Stderr`: a console, a pipe or a file",
        place: Place::OwnProcess,
        run: |site| {
            let mut run = Run::new(None, Interest::WRITABLE);
            let objects: [fn() -> OwnedHandle; 3] =
                [|| console("CONOUT$").into(), || io::pipe().unwrap().1.into(), || file().into()];
            for object in objects {
                set_standard(STD_OUTPUT_HANDLE, object());
                set_standard(STD_ERROR_HANDLE, object());
                run.refused.extend(site.refuse([io::stdout()]).refused);
                run.refused.extend(site.refuse([io::stderr()]).refused);
            }
            run
        },
        ..UNSUPPORTED
    },
    Row { object: "`File`", run: |site| site.refuse([file()]), ..UNSUPPORTED },
    Row {
        object: "`io::PipeReader`",
        run: |site| site.refuse([io::pipe().unwrap().0]),
        ..UNSUPPORTED
    },
    Row {
        object: "`io::PipeWriter`",
        run: |site| site.refuse([io::pipe().unwrap().1]),
        ..UNSUPPORTED
    },
    Row {
        object: "`OwnedSocket`",
        ready: "as the socket",
        end: End::ReadClosed,
        run: |site| {
            let (mut peer, ours) = tcp_pair();
            site.receive(OwnedSocket::from(ours)).readied_by(move || peer.write_all(b"x").unwrap())
        },
        ..KERNEL
    },
    Row {
        object: "`BorrowedSocket<'_>`, `&T`, `Box<T>`, `Arc<T>`",
        ready: "as what it lends",
        end: End::ReadClosed,
        note: "Whoever closes the object takes it off first.",
        run: |site| {
            let (mut peer, ours) = tcp_pair();
            ours.set_nonblocking(true).unwrap();
            let ours = &*Box::leak(Box::new(ours));
            let lent: &BorrowedSocket<'_> = Box::leak(Box::new(ours.as_socket()));
            site.watch_and(Arc::new(Box::new(lent)), Interest::READABLE, move |_| {
                assert_ne!((&*ours).read(&mut [0; 128])?, 0);
                Ok(())
            })
            .readied_by(move || peer.write_all(b"x").unwrap())
        },
        ..KERNEL
    },
    Row {
        object: "`socket2::Socket`",
        ready: "data",
        end: End::ReadClosed,
        note: "As any other owner of a socket.",
        run: |site| {
            let stream = |protocol| {
                let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
                socket2::Socket::new(domain, kind, protocol).unwrap()
            };
            let listener = stream(None);
            listener.bind(&own_address().into()).unwrap();
            listener.listen(1).unwrap();
            let peer = stream(Some(socket2::Protocol::TCP));
            peer.connect(&listener.local_addr().unwrap()).unwrap();
            site.receive(listener.accept().unwrap().0).readied_by(move || {
                peer.send(b"x").unwrap();
            })
        },
        ..KERNEL
    },
    Row {
        object: "`Arc<OwnedHandle>`, an event, by `Waitable`",
        ready: "being signalled",
        used_up: "resetting it",
        note: "A wait takes an auto-reset one, a semaphore and a timer, and so does a report.",
        run: |site| {
            // SAFETY: it makes an event without a name.
            site.event(owned(unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) }))
        },
        ..KERNEL
    },
    Row {
        object: "`OwnedHandle`, a mutex",
        note: "a mutex cannot be watched: a wait would take it",
        run: |site| {
            // SAFETY: it makes a mutex without a name.
            site.refuse([owned(unsafe { CreateMutexW(ptr::null(), 0, ptr::null()) })])
        },
        ..UNSUPPORTED
    },
    Row {
        object: "`JoinHandle`, by `Waitable`",
        ready: "the thread's end",
        used_up: "",
        note: "Stays ready; `join` then does not block.",
        run: |site| {
            let (end, ended) = mpsc::channel();
            let thread = thread::spawn(move || ended.recv().unwrap());
            site.watch(Waitable::new(thread), Interest::READABLE)
                .readied_by(move || end.send(()).unwrap())
        },
        ..KERNEL
    },
    Row {
        object: "`os::windows::NamedPipe` that is read",
        ready: "data",
        end: End::HangUp,
        note: "An end that was opened with `FILE_FLAG_OVERLAPPED`; `File` is none.",
        run: |site| {
            let (server, mut client) = named_pipe();
            site.watch_and(server, Interest::READABLE, |mut pipe| {
                assert_ne!(pipe.read(&mut [0; 128])?, 0);
                Ok(())
            })
            .readied_by(move || client.write_all(b"x").unwrap())
        },
        ..KERNEL
    },
    Row {
        object: "`os::windows::NamedPipe` that is written",
        ready: "the end of the last write",
        used_up: "writing",
        end: End::Everything,
        run: |site| {
            let (server, mut client) = named_pipe();
            let written = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&written);
            // Already waits for room.
            while let Ok(more) = (&server).write(&[0; 1 << 16]) {
                written.fetch_add(more, Relaxed);
            }
            site.watch_and(server, Interest::WRITABLE, move |mut pipe| {
                count.fetch_add(pipe.write(&[0; 1 << 16])?, Relaxed);
                Ok(())
            })
            .readied_by(move || {
                let mut all = vec![0; written.swap(0, Relaxed)];
                client.read_exact(&mut all).unwrap();
            })
        },
        ..KERNEL
    },
];

pub(super) fn duplicate_of_stderr() -> File {
    File::from(io::stderr().as_handle().try_clone_to_owned().unwrap())
}

/// Runs one test of this program in a process and a console of its own.
pub(super) fn in_a_process(test: &str, row: &str) {
    let (input, _keys) = io::pipe().unwrap();
    let (mut screen, output) = io::pipe().unwrap();
    let (size, mut console) = (COORD { X: 80, Y: 24 }, 0);
    let (input, output) = (OwnedHandle::from(input), OwnedHandle::from(output));
    // SAFETY: both are open, and there is room for the answer.
    let result = unsafe {
        let (input, output) = (input.as_raw_handle(), output.as_raw_handle());
        CreatePseudoConsole(size, input, output, 0, &raw mut console)
    };
    assert_eq!(result, 0);
    drop((input, output));
    let showing = thread::spawn(move || io::copy(&mut screen, &mut io::sink()).unwrap());

    let mut attributes = [0_usize; 16];
    let list = attributes.as_mut_ptr().cast();
    // SAFETY: the list has more room than one attribute takes, which the call looks at.
    let done = unsafe {
        let mut size = mem::size_of_val(&attributes);
        InitializeProcThreadAttributeList(list, 1, 0, &raw mut size)
    };
    assert_ne!(done, 0);
    // SAFETY: the list was made, and a console is its own value.
    let done = unsafe {
        let attribute = PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE as usize;
        let value = ptr::without_provenance(console.cast_unsigned());
        let size = size_of_val(&console);
        UpdateProcThreadAttribute(list, 0, attribute, value, size, ptr::null_mut(), ptr::null())
    };
    assert_ne!(done, 0);
    let mut start = STARTUPINFOEXW { lpAttributeList: list, ..Default::default() };
    start.StartupInfo.cb = u32::try_from(size_of_val(&start)).unwrap();
    let (program, mut line, environment) = (
        wide(env::current_exe().unwrap()),
        wide(format!("objects --exact {test} --nocapture")),
        env::vars_os().chain([(ROW.into(), row.into())]).flat_map(|(name, value)| {
            let mut variable = name;
            variable.push("=");
            variable.push(value);
            wide(variable)
        }),
    );
    let environment: Vec<u16> = environment.chain([0]).collect();
    let mut made = PROCESS_INFORMATION::default();
    // SAFETY: the strings and the environment end with zeros, everything outlives the call, and
    // there is room for the answer.
    let done = unsafe {
        CreateProcessW(
            program.as_ptr(),
            line.as_mut_ptr(),
            ptr::null(),
            ptr::null(),
            0,
            EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT,
            environment.as_ptr().cast(),
            ptr::null(),
            &raw const start.StartupInfo,
            &raw mut made,
        )
    };
    assert_ne!(done, 0, "{}", io::Error::last_os_error());
    let (process, _thread) = (owned(made.hProcess), owned(made.hThread));
    let mut code = 0;
    // SAFETY: it is open.
    unsafe { WaitForSingleObject(process.as_raw_handle(), INFINITE) };
    // SAFETY: it is open, and there is room for the answer.
    unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) };
    // SAFETY: it was made, and nobody uses it any more.
    unsafe { ClosePseudoConsole(console) };
    showing.join().unwrap();
    assert_eq!(code.cast_signed(), DONE, "{row}: standard error has more");
}

fn wide(text: impl Into<OsString>) -> Vec<u16> {
    text.into().encode_wide().chain([0]).collect()
}

#[test]
fn what_is_no_source() {
    assert!(is_source!(OwnedSocket));
    let others = [
        is_source!(process::ChildStdin),
        is_source!(process::ChildStdout),
        is_source!(process::ChildStderr),
        is_source!(Child),
        is_source!(io::Stdin),
        is_source!(io::Stdout),
        is_source!(io::Stderr),
        is_source!(File),
        is_source!(io::PipeReader),
        is_source!(io::PipeWriter),
        is_source!(OwnedHandle),
        is_source!(thread::JoinHandle<()>),
    ];
    assert_eq!(others, [false; 12]);
}
