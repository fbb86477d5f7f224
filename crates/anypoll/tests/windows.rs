//! What only Windows has: waitable handles, the output of a child, sockets whose helper handle is
//! shared by many.

#![cfg(windows)]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the contract's tests")]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{
    AsRawHandle, AsSocket, BorrowedSocket, FromRawHandle, OwnedHandle, RawHandle,
};
use std::process::{ChildStdout, Command, Stdio};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anypoll::os::windows::{ChildPipe, Waitable, completion_port};
use anypoll::{
    Backend, Conditions, Event, Events, Interest, Mode, Poller, Registered, Source, Token, net,
    process,
};
use socket2::{Domain, SockAddr, Socket, Type};
use support::{MODES, PATIENCE};
use windows_sys::Win32::Foundation::{
    DuplicateHandle, INVALID_HANDLE_VALUE, NTSTATUS, STATUS_SUCCESS, WAIT_OBJECT_0,
};
use windows_sys::Win32::Networking::WinSock::WSAEAFNOSUPPORT;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Memory::{CreateFileMappingW, PAGE_READWRITE};
use windows_sys::Win32::System::Threading::{
    CreateEventW, CreateMutexW, CreateSemaphoreW, EVENT_MODIFY_STATE, GetCurrentProcess, INFINITE,
    RegisterWaitForSingleObject, ResetEvent, SetEvent, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD,
    WT_EXECUTEONLYONCE, WaitForSingleObject,
};
use windows_sys::w;

fn look(poller: &Poller) -> Vec<(Token, Conditions)> {
    let mut events = Events::default();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    events.iter().map(|event| (event.token(), event.conditions())).collect()
}

fn wait(poller: &Poller) -> Vec<(Token, Conditions)> {
    let mut events = Events::default();
    poller.wait(&mut events, Some(PATIENCE)).unwrap();
    events.iter().map(|event| (event.token(), event.conditions())).collect()
}

fn owned(handle: RawHandle) -> OwnedHandle {
    assert!(!handle.is_null());
    // SAFETY: it has just been made.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

fn event(manual: bool) -> Arc<OwnedHandle> {
    // SAFETY: it makes an event without a name.
    Arc::new(owned(unsafe { CreateEventW(ptr::null(), i32::from(manual), 0, ptr::null()) }))
}

fn set(event: &OwnedHandle) {
    // SAFETY: it is open.
    assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
}

fn reset(event: &OwnedHandle) {
    // SAFETY: it is open.
    assert_ne!(unsafe { ResetEvent(event.as_raw_handle()) }, 0);
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    (listener.accept().unwrap().0, client)
}

const READ: (Token, Conditions) = (Token(1), Conditions::READ);

#[test]
fn the_backend_is_afd() {
    assert_eq!(Backend::available(), [Backend::Afd]);
    assert_eq!(Poller::new().unwrap().backend(), Backend::Afd);
    assert!(Poller::new().unwrap().descriptor().is_none());
    assert_eq!(Token::RESERVED, None);
}

#[test]
fn an_event_in_each_mode() {
    for mode in MODES {
        let poller = Poller::new().unwrap();
        let event = event(true);
        let waitable = Waitable::new(Arc::clone(&event));
        let registered = poller.register(waitable, Token(1), Interest::READABLE, mode).unwrap();
        assert_eq!(look(&poller), []);
        set(&event);
        assert_eq!(wait(&poller), [READ]);
        for _ in 0..3 {
            let again = look(&poller);
            assert_eq!(again, if mode == Mode::Level { vec![READ] } else { vec![] }, "{mode:?}");
        }
        registered.set_interest(Interest::WRITABLE).unwrap();
        assert_eq!(look(&poller), [(Token(1), Conditions::WRITE)]);
        if mode == Mode::Edge {
            registered.rearm(Interest::WRITABLE).unwrap();
            assert_eq!(look(&poller), [(Token(1), Conditions::WRITE)]);
        }
        registered.set_interest(Interest::NONE).unwrap();
        assert_eq!(look(&poller), []);
        reset(&event);
        registered.set_interest(Interest::READABLE).unwrap();
        assert_eq!(look(&poller), []);
        set(&event);
        assert_eq!(wait(&poller), [READ]);
        drop(registered);
        assert_eq!(look(&poller), []);
    }
}

#[test]
fn a_sleeping_wait_sees_an_event() {
    for manual in [true, false] {
        let poller = Poller::new().unwrap();
        let event = event(manual);
        let waitable = Waitable::new(&*event);
        let registered =
            poller.register(waitable, Token(1), Interest::READABLE, Mode::Oneshot).unwrap();
        thread::scope(|scope| {
            for _ in 0..100 {
                let waiter = scope.spawn(|| wait(&poller));
                set(&event);
                assert_eq!(waiter.join().unwrap(), [READ]);
                reset(&event);
                registered.set_interest(Interest::READABLE).unwrap();
            }
        });
    }
}

/// A report takes what a wait takes, once.
#[test]
fn what_a_wait_takes() {
    let poller = Poller::new().unwrap();
    let auto = event(false);
    let registered =
        poller.register(Waitable::new(&*auto), Token(1), Interest::READABLE, Mode::Level).unwrap();
    for _ in 0..3 {
        set(&auto);
        assert_eq!(wait(&poller), [READ]);
        assert_eq!(look(&poller), []);
    }
    drop(registered);

    // SAFETY: it makes a semaphore without a name.
    let semaphore = owned(unsafe { CreateSemaphoreW(ptr::null(), 3, 3, ptr::null()) });
    let registered =
        poller.register(Waitable::new(semaphore), Token(1), Interest::READABLE, Mode::Level);
    for _ in 0..3 {
        assert_eq!(wait(&poller), [READ]);
    }
    assert_eq!(look(&poller), []);
    drop(registered);
}

/// How many packets are in the poller's port.
fn packets(poller: &Poller) -> u32 {
    type NtQueryIoCompletion =
        unsafe extern "system" fn(RawHandle, u32, *mut u32, u32, *mut u32) -> NTSTATUS;

    // SAFETY: the library is always loaded.
    let ntdll = unsafe { GetModuleHandleW(w!("ntdll.dll")) };
    // SAFETY: the name ends with a zero.
    let query = unsafe { GetProcAddress(ntdll, c"NtQueryIoCompletion".as_ptr().cast()) };
    // SAFETY: that is its type.
    let query: NtQueryIoCompletion = unsafe { std::mem::transmute(query.unwrap()) };
    let (port, mut count) = (completion_port(poller).as_raw_handle(), 0);
    // SAFETY: the port is open, and there is room for the answer.
    assert_eq!(unsafe { query(port, 0, &raw mut count, 4, ptr::null_mut()) }, STATUS_SUCCESS);
    count
}

/// A signal that was taken is reported as what is asked for by then.
#[test]
fn a_signal_that_comes_before_a_change() {
    let both = Interest::READABLE | Interest::WRITABLE;
    let written = (Token(1), Conditions::WRITE);
    let read_and_written = (Token(1), Conditions::READ | Conditions::WRITE);
    for (interest, expected) in [(Interest::WRITABLE, written), (both, read_and_written)] {
        for mode in MODES {
            let (poller, auto) = (Poller::new().unwrap(), event(false));
            let registered =
                poller.register(Waitable::new(&*auto), Token(1), Interest::READABLE, mode).unwrap();
            assert_eq!(look(&poller), []);
            set(&auto);
            while packets(&poller) == 0 {
                thread::yield_now();
            }
            registered.set_interest(interest).unwrap();
            assert_eq!(wait(&poller), [expected]);
            assert_eq!(look(&poller), []);
        }
    }
}

/// What nothing can answer takes nothing.
#[test]
fn an_interest_that_is_never_answered() {
    for mode in MODES {
        let (poller, auto) = (Poller::new().unwrap(), event(false));
        let waitable = Waitable::new(&*auto);
        let _registered = poller.register(waitable, Token(1), Interest::PRIORITY, mode).unwrap();
        set(&auto);
        assert_eq!(look(&poller), []);
        // SAFETY: it is open.
        assert_eq!(unsafe { WaitForSingleObject(auto.as_raw_handle(), 0) }, WAIT_OBJECT_0);

        let mut child = child("child_echo");
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = ChildPipe::from(child.stdout.take().unwrap());
        let interest = Interest::READABLE | Interest::PRIORITY;
        let output = poller.register(output, Token(2), interest, mode).unwrap();
        assert_eq!(wait(&poller), [(Token(2), Conditions::READ)]);
        // Nobody reads it.
        output.set_interest(Interest::WRITABLE).unwrap();
        assert_eq!(look(&poller), []);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// The thread that waits for the pool's handles may be the one that takes a wait back.
#[test]
fn a_removal_by_the_pool() {
    type Work = Box<dyn FnOnce() + Send>;
    unsafe extern "system" fn run(work: *mut std::ffi::c_void, _timed_out: bool) {
        // SAFETY: it is given the box that is its alone.
        let work = unsafe { Box::from_raw(work.cast::<Work>()) };
        work();
    }

    let (poller, watched, trigger) = (Poller::new().unwrap(), event(true), event(true));
    let waitable = Waitable::new(Arc::clone(&watched));
    let registered = poller.register(waitable, Token(1), Interest::READABLE, Mode::Level).unwrap();
    assert_eq!(look(&poller), []);
    let (sender, receiver) = mpsc::channel();
    let work: Work = Box::new(move || {
        drop(registered);
        sender.send(()).unwrap();
    });
    let mut name = ptr::null_mut();
    // SAFETY: the handle is open until the wait is over, and the box is the callback's.
    let done = unsafe {
        RegisterWaitForSingleObject(
            &raw mut name,
            trigger.as_raw_handle(),
            Some(run),
            Box::into_raw(Box::new(work)).cast_const().cast(),
            INFINITE,
            WT_EXECUTEINWAITTHREAD | WT_EXECUTEONLYONCE,
        )
    };
    assert_ne!(done, 0);
    set(&trigger);
    receiver.recv_timeout(PATIENCE).expect("the removal returns");
    set(&watched);
    assert_eq!(look(&poller), []);
    // SAFETY: the name is the pool's, and used for the last time.
    unsafe { UnregisterWaitEx(name, ptr::null_mut()) };
}

/// Taken back while the event is set, over and over: nothing is reported for what is gone, nothing
/// is lost for what is there.
#[test]
fn cancellation_races_with_the_signal() {
    let poller = Poller::new().unwrap();
    let event = event(true);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                set(&event);
                reset(&event);
            }
            set(&event);
        });
        for token in 0..500 {
            let waitable = Waitable::new(&*event);
            let registered =
                poller.register(&waitable, Token(token), Interest::READABLE, Mode::Level).unwrap();
            for (token, _) in look(&poller) {
                assert_eq!(token, registered.token());
            }
            registered.set_interest(Interest::NONE).unwrap();
            assert_eq!(look(&poller), []);
            registered.set_interest(Interest::READABLE).unwrap();
            look(&poller);
            drop(registered);
            assert_eq!(look(&poller), []);
        }
        done.store(true, SeqCst);
    });
    let waitable = Waitable::new(&*event);
    let _last = poller.register(waitable, Token(1), Interest::READABLE, Mode::Level).unwrap();
    assert_eq!(wait(&poller), [READ]);
}

#[test]
fn what_cannot_be_watched() {
    let poller = Poller::new().unwrap();
    let refused = |source: &dyn Source, word: &str| {
        let error = poller
            .add(source, Token(1), Interest::READABLE, Mode::Level, ACCEPT)
            .expect_err("it cannot be watched");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(word), "{error}");
    };
    // SAFETY: it makes a mutex without a name.
    let mutex = owned(unsafe { CreateMutexW(ptr::null(), 0, ptr::null()) });
    refused(&Waitable::new(mutex), "mutex");
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    refused(&Waitable::new(file), "files");
    let (reader, writer) = std::io::pipe().unwrap();
    refused(&Waitable::new(reader), "pipes");
    refused(&Waitable::new(writer), "pipes");
    let (reader, _writer) = std::io::pipe().unwrap();
    let synchronous = ChildStdout::from(OwnedHandle::from(reader));
    refused(&ChildPipe::from(synchronous), "FILE_FLAG_OVERLAPPED");
    // SAFETY: it makes a part of memory without a name.
    let section = owned(unsafe {
        CreateFileMappingW(INVALID_HANDLE_VALUE, ptr::null(), PAGE_READWRITE, 0, 4096, ptr::null())
    });
    refused(&Waitable::new(section), "SYNCHRONIZE");
    let (full, mut restricted) = (event(true), ptr::null_mut());
    // SAFETY: it is this process's name for itself.
    let process = unsafe { GetCurrentProcess() };
    let from = full.as_raw_handle();
    // SAFETY: the handle is open, and there is room for the other.
    let done = unsafe {
        DuplicateHandle(process, from, process, &raw mut restricted, EVENT_MODIFY_STATE, 0, 0)
    };
    assert_ne!(done, 0);
    refused(&Waitable::new(owned(restricted)), "SYNCHRONIZE");
    // To ask takes nothing.
    let auto = event(false);
    set(&auto);
    let _auto =
        poller.register(Waitable::new(auto), Token(2), Interest::READABLE, Mode::Level).unwrap();
    assert_eq!(look(&poller), [(Token(2), Conditions::READ)]);
    let event = Waitable::new(event(true));
    assert_eq!(anypoll::set_nonblocking(&event, true).unwrap_err().kind(), ErrorKind::Unsupported);
}

const ACCEPT: anypoll::AlwaysReadyObject = anypoll::AlwaysReadyObject::Accept;

/// This program, as a child that runs one of the `child_` tests.
fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", name]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Says what it hears, on both ways out, until the end.
#[test]
#[ignore = "the child of other tests"]
fn child_echo() {
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        line.clear();
    }
}

#[test]
fn a_childs_exit() {
    for mode in MODES {
        let poller = Poller::new().unwrap();
        let mut child = child("child_echo").spawn().unwrap();
        let exit = process::Exit::of(&mut child).unwrap();
        let exit = poller.register(exit, Token(1), Interest::READABLE, mode).unwrap();
        assert_eq!(look(&poller), []);
        drop(child.stdin.take());
        assert_eq!(wait(&poller), [READ]);
        assert!(child.try_wait().unwrap().unwrap().success());
        drop(exit);
        // One that is gone already.
        let exit = process::Exit::of(&mut child).unwrap();
        let exit = poller.register(exit, Token(1), Interest::READABLE, mode).unwrap();
        assert_eq!(look(&poller), [READ]);
        drop(exit);
    }
}

#[test]
fn a_childs_output() {
    for mode in MODES {
        let poller = Poller::new().unwrap();
        let mut child = child("child_echo").spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stderr = poller
            .register(
                ChildPipe::from(child.stderr.take().unwrap()),
                Token(1),
                Interest::READABLE,
                mode,
            )
            .unwrap();
        let mut buf = [0; 64];
        for round in 0..5 {
            assert_eq!(look(&poller), [], "{mode:?}");
            assert_eq!(stderr.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
            writeln!(stdin, "round {round}").unwrap();
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                assert_eq!(wait(&poller), [READ]);
                loop {
                    match stderr.read(&mut buf) {
                        Ok(count) => line.extend(&buf[..count]),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::WouldBlock);
                            break;
                        }
                    }
                }
                stderr.set_interest(Interest::READABLE).unwrap();
            }
            assert_eq!(line, format!("round {round}\n").as_bytes());
        }
        // Level while there is something left.
        writeln!(stdin, "0123456789").unwrap();
        assert_eq!(wait(&poller), [READ]);
        assert_eq!(stderr.read(&mut buf[..4]).unwrap(), 4);
        stderr.set_interest(Interest::READABLE).unwrap();
        assert_eq!(look(&poller), [READ]);
        while stderr.read(&mut buf).is_ok() {}
        stderr.set_interest(Interest::READABLE).unwrap();
        // The end.
        drop(stdin);
        assert_eq!(wait(&poller), [(Token(1), Conditions::HANG_UP)]);
        assert_eq!(stderr.read(&mut buf).unwrap(), 0);
        assert!(child.wait().unwrap().success());
    }
}

/// std reads what is left after the registration is gone.
#[test]
fn a_childs_output_comes_back() {
    let poller = Poller::new().unwrap();
    let mut child = child("child_echo").spawn().unwrap();
    let stderr = ChildPipe::from(child.stderr.take().unwrap());
    let stderr = poller.register(stderr, Token(1), Interest::READABLE, Mode::Level).unwrap();
    assert_eq!(look(&poller), []);
    let mut stderr = stderr.into_inner().into_inner();
    child.stdin.take().unwrap().write_all(b"all of it\n").unwrap();
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, "all of it\n");
    assert_eq!(look(&poller), []);
    child.wait().unwrap();
}

/// A poller that is dropped while polls are in flight waits for their end.
#[test]
fn dropped_with_polls_in_flight() {
    for _ in 0..20 {
        let sockets: Vec<_> = (0..50).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let event = event(true);
        let poller = Poller::new().unwrap();
        for socket in &sockets {
            poller.add(socket, Token(1), Interest::READABLE, Mode::Level, ACCEPT).unwrap();
        }
        poller
            .add(&Waitable::new(event), Token(1), Interest::READABLE, Mode::Level, ACCEPT)
            .unwrap();
        assert_eq!(look(&poller), []);
        drop(poller);
    }
}

#[test]
fn many_pollers_watch_one_socket() {
    let (ours, mut theirs) = tcp_pair();
    let pollers: Vec<_> = (0..40).map(|_| Poller::new().unwrap()).collect();
    let registered: Vec<_> = pollers
        .iter()
        .map(|poller| poller.register(&ours, Token(1), Interest::READABLE, Mode::Level).unwrap())
        .collect();
    pollers.iter().for_each(|poller| assert_eq!(look(poller), []));
    theirs.write_all(b"x").unwrap();
    pollers.iter().for_each(|poller| assert_eq!(wait(poller), [READ]));
    drop(registered);
    pollers.iter().for_each(|poller| assert_eq!(look(poller), []));
}

#[test]
fn misuse() {
    let poller = Poller::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let twice = |source: &dyn Source| {
        let add = || poller.add(source, Token(1), Interest::READABLE, Mode::Level, ACCEPT);
        add().unwrap();
        assert_eq!(add().unwrap_err().kind(), ErrorKind::AlreadyExists);
        poller.remove(source).unwrap();
        assert_eq!(poller.remove(source).unwrap_err().kind(), ErrorKind::NotFound);
        let modify = poller.modify(source, Token(1), Interest::READABLE, Mode::Level);
        assert_eq!(modify.unwrap_err().kind(), ErrorKind::NotFound);
        let rearm = poller.rearm(source, Interest::READABLE);
        assert_eq!(rearm.unwrap_err().kind(), ErrorKind::NotFound);
    };
    twice(&ours);
    twice(&Waitable::new(event(true)));
    // A duplicate is an object of its own.
    let duplicate = ours.try_clone().unwrap();
    let one = poller.register(ours, Token(1), Interest::READABLE, Mode::Level).unwrap();
    let two = poller.register(duplicate, Token(1), Interest::READABLE, Mode::Level).unwrap();
    theirs.write_all(b"x").unwrap();
    while look(&poller).len() < 2 {}
    drop(one);
    assert_eq!(look(&poller), [READ]);
    drop(two);
}

/// Answers with another socket each time.
struct Liar(Vec<UdpSocket>, AtomicUsize);

impl AsSocket for Liar {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.0[self.1.fetch_add(1, SeqCst) % self.0.len()].as_socket()
    }
}

/// Closed without a removal, and the handle is used for something else.
#[test]
fn a_handle_that_is_reused() {
    let poller = Poller::new().unwrap();
    for round in 0..200 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        poller.add(&socket, Token(round), Interest::READABLE, Mode::Level, ACCEPT).unwrap();
        assert_eq!(look(&poller), []);
    }
    let sockets = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let liar = Liar(sockets, AtomicUsize::new(0));
    for _ in 0..10 {
        let registered: Result<Registered<_>, _> =
            poller.register(&liar, Token(1), Interest::READABLE, Mode::Level);
        look(&poller);
        if let Ok(registered) = registered {
            let _ = registered.set_interest(Interest::WRITABLE);
            look(&poller);
        }
    }
}

#[test]
fn errors_arrive() {
    for mode in MODES {
        for interest in [Interest::NONE, Interest::READABLE] {
            let poller = Poller::new().unwrap();
            let (ours, theirs) = tcp_pair();
            let ours = poller.register(ours, Token(1), interest, mode).unwrap();
            assert_eq!(look(&poller), []);
            socket2::SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
            drop(theirs);
            let mut shown = Conditions::ERROR.intersection(Conditions::READ);
            while !shown.intersects(Conditions::HANG_UP) {
                let [(Token(1), more)] = wait(&poller)[..] else { panic!("lost: {shown:?}") };
                shown = shown | more;
            }
            assert!(shown.intersects(Conditions::ERROR), "{shown:?}");
            drop(ours);
        }
        let poller = Poller::new().unwrap();
        let (ours, theirs) = tcp_pair();
        let mut ours = poller.register(ours, Token(1), Interest::READABLE, mode).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(wait(&poller), [(Token(1), Conditions::READ | Conditions::READ_HANG_UP)]);
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_refused_connect() {
    let poller = Poller::new().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stream = net::connect(address).unwrap();
    let stream = poller.register(stream, Token(1), Interest::WRITABLE, Mode::Level).unwrap();
    let [(Token(1), shown)] = wait(&poller)[..] else { panic!("nothing") };
    assert!(shown.intersects(Conditions::ERROR) && shown.intersects(Conditions::HANG_UP));
    let error = net::connected(stream.get_ref()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// Where the system has them: Wine 8 does not.
#[test]
fn unix_sockets() {
    let listener = match Socket::new(Domain::UNIX, Type::STREAM, None) {
        Err(error) if error.raw_os_error() == Some(WSAEAFNOSUPPORT) => {
            return println!("skipped: this system has no Unix sockets");
        }
        listener => listener.unwrap(),
    };
    let path = std::env::temp_dir().join(format!("anypoll-{}", std::process::id()));
    let address = SockAddr::unix(&path).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(1).unwrap();
    for mode in MODES {
        let poller = Poller::new().unwrap();
        let listener = poller.register(&listener, Token(1), Interest::READABLE, mode).unwrap();
        assert_eq!(look(&poller), []);
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.connect(&address).unwrap();
        assert_eq!(wait(&poller), [READ]);
        let (stream, _) = listener.get_ref().accept().unwrap();
        drop(listener);
        stream.set_nonblocking(true).unwrap();
        let mut stream = poller.register(stream, Token(1), Interest::READABLE, mode).unwrap();
        for _ in 0..2 {
            client.send(b"x").unwrap();
            assert_eq!(wait(&poller), [READ]);
            assert_eq!(stream.read(&mut [0; 9]).unwrap(), 1);
            assert_eq!(stream.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(look(&poller), []);
            if mode == Mode::Oneshot {
                stream.set_interest(Interest::READABLE).unwrap();
            }
        }
        drop(client);
        let [(Token(1), shown)] = wait(&poller)[..] else { panic!("{mode:?}: no end is told") };
        assert!(Event::new(Token(1), shown).is_read_closed(), "{mode:?}: {shown:?}");
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0);
    }
    std::fs::remove_file(path).unwrap();
}
