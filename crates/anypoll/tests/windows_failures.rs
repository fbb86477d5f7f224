//! What becomes of a call that Windows refuses, for want of handles or memory: in the program's own
//! table of imported functions one that only refuses takes the place of each in turn.

#![cfg(all(windows, target_pointer_width = "64"))]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the contract's tests")]
mod support;

use std::ffi::c_void;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anypoll::os::windows::{ChildPipe, Waitable};
use anypoll::{Backend, Events, Interest, Mode, Poller, Token};
use windows_sys::Win32::Foundation::{
    ERROR_TOO_MANY_OPEN_FILES, NTSTATUS, STATUS_TOO_MANY_OPENED_FILES, SetLastError,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Memory::{PAGE_READWRITE, VirtualProtect};
use windows_sys::Win32::System::Threading::{CreateEventW, SetEvent};
use windows_sys::w;

use support::{
    MODES, PATIENCE, alone, on_every_backend, open_descriptors, sleeping, tcp_pair, within_patience,
};

on_every_backend! {
    a_poller
    register
    a_poll
    a_change_while_a_thread_waits
    a_cancellation
    a_wake
    waitables
    a_childs_output
}

/// Where the program reads a function's address at each call of it.
type Import = AtomicPtr<c_void>;

unsafe extern "C" {
    #[link_name = "__imp_CancelIoEx"]
    safe static CANCEL_IO: Import;
    #[link_name = "__imp_CreateEventW"]
    safe static CREATE_EVENT: Import;
    #[link_name = "__imp_CreateIoCompletionPort"]
    safe static CREATE_PORT: Import;
    #[link_name = "__imp_DeviceIoControl"]
    safe static DEVICE_IO_CONTROL: Import;
    #[link_name = "__imp_DuplicateHandle"]
    safe static DUPLICATE_HANDLE: Import;
    #[link_name = "__imp_NtCreateFile"]
    safe static NT_CREATE_FILE: Import;
    #[link_name = "__imp_PostQueuedCompletionStatus"]
    safe static POST: Import;
    #[link_name = "__imp_RegisterWaitForSingleObject"]
    safe static REGISTER_WAIT: Import;
    #[link_name = "__imp_WSAIoctl"]
    safe static WSA_IOCTL: Import;
}

const FULL: i32 = ERROR_TOO_MANY_OPEN_FILES.cast_signed();

/// Looks at none of its arguments, whatever they are.
extern "system" fn zero() -> usize {
    // SAFETY: it sets a number of this thread's.
    unsafe { SetLastError(ERROR_TOO_MANY_OPEN_FILES) };
    0
}

extern "system" fn minus_one() -> i32 {
    zero();
    -1
}

extern "system" fn status() -> NTSTATUS {
    STATUS_TOO_MANY_OPENED_FILES
}

/// A function of the system's that refuses for as long as this lives.
struct Refused {
    import: &'static Import,
    function: *mut c_void,
}

impl Refused {
    fn new(import: &'static Import) -> Self {
        let answer = if ptr::eq(import, &raw const WSA_IOCTL) {
            minus_one as *mut c_void
        } else if ptr::eq(import, &raw const NT_CREATE_FILE) {
            status as *mut c_void
        } else {
            zero as *mut c_void
        };
        let (entry, mut before) = (import.as_ptr().cast(), 0);
        // SAFETY: the entry lives for ever, and may have been only to be read.
        let done =
            unsafe { VirtualProtect(entry, size_of::<Import>(), PAGE_READWRITE, &raw mut before) };
        assert_ne!(done, 0);
        Self { import, function: import.swap(answer, SeqCst) }
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        self.import.store(self.function, SeqCst);
    }
}

fn event() -> OwnedHandle {
    // SAFETY: it makes an event without a name.
    let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    // SAFETY: it has just been made.
    unsafe { OwnedHandle::from_raw_handle(event) }
}

fn set(event: &OwnedHandle) {
    // SAFETY: it is open.
    assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
}

fn tokens(poller: &Poller, timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let mut events = Events::default();
    poller.wait(&mut events, timeout)?;
    let mut tokens: Vec<_> = events.iter().map(|event| event.token().0).collect();
    tokens.sort_unstable();
    Ok(tokens)
}

fn wait(poller: &Poller) -> Vec<usize> {
    tokens(poller, Some(PATIENCE)).unwrap()
}

/// A wait that is refused something does not sleep, so it may come before the event.
fn wait_past_refusals(poller: &Poller) -> Vec<usize> {
    loop {
        match tokens(poller, Some(PATIENCE)) {
            Ok(tokens) => return tokens,
            refused => expect_full(refused),
        }
    }
}

#[track_caller]
fn expect_nothing(poller: &Poller) {
    assert_eq!(tokens(poller, Some(Duration::ZERO)).unwrap(), []);
}

#[track_caller]
fn expect_full<T>(result: io::Result<T>) {
    assert_eq!(result.err().expect("it was refused").raw_os_error(), Some(FULL));
}

/// A connection and its peer, which has written a byte.
fn readable() -> (TcpStream, TcpStream) {
    let (ours, mut peer) = tcp_pair();
    peer.write_all(b"x").unwrap();
    (ours, peer)
}

fn a_poller(backend: Backend) {
    alone(backend, module_path!(), "a_poller", || {
        let before = open_descriptors();
        let refused = Refused::new(&CREATE_PORT);
        expect_full(Poller::new());
        drop(refused);
        assert_eq!(open_descriptors(), before);
        Poller::new().unwrap();
    });
}

/// The object comes back, and nothing of it stays; what was there works on.
fn register(backend: Backend) {
    alone(backend, module_path!(), "register", || {
        for import in [&WSA_IOCTL, &DUPLICATE_HANDLE, &NT_CREATE_FILE, &CREATE_PORT] {
            let poller = Poller::new().unwrap();
            let waker = poller.waker(Token(2));
            let (ours, _peer) = readable();
            let before = open_descriptors();
            let register = |ours| poller.register(ours, Token(1), Interest::READABLE, Mode::Level);

            let refused = Refused::new(import);
            let (error, ours) = register(ours).unwrap_err().into_parts();
            drop(refused);
            expect_full::<()>(Err(error));
            assert_eq!(open_descriptors(), before);
            waker.wake();
            assert_eq!(wait(&poller), [2]);
            expect_nothing(&poller);

            let mut ours = register(ours).unwrap();
            assert_eq!(wait(&poller), [1]);
            assert_eq!(ours.read(&mut [0; 9]).unwrap(), 1);
        }
    });
}

/// A wait says so, is not kept from the events of others, and the next one asks again.
fn a_poll(backend: Backend) {
    alone(backend, module_path!(), "a_poll", || {
        for mode in MODES {
            let before = open_descriptors();
            let poller = Poller::new().unwrap();
            let (other, mut other_peer) = tcp_pair();
            let mut other =
                poller.register(other, Token(2), Interest::READABLE, Mode::Level).unwrap();
            expect_nothing(&poller);
            let (ours, peer) = readable();

            let refused = Refused::new(&DEVICE_IO_CONTROL);
            let ours = poller.register(ours, Token(1), Interest::READABLE, mode).unwrap();
            let start = Instant::now();
            for _ in 0..2 {
                expect_full(tokens(&poller, Some(PATIENCE)));
            }
            assert!(start.elapsed() < PATIENCE);
            other_peer.write_all(b"x").unwrap();
            assert_eq!(wait_past_refusals(&poller), [2]);
            drop(refused);
            assert_eq!(other.read(&mut [0; 9]).unwrap(), 1);
            assert_eq!(wait(&poller), [1]);

            let refused = Refused::new(&DEVICE_IO_CONTROL);
            ours.set_interest(Interest::READABLE).unwrap();
            expect_full(tokens(&poller, Some(Duration::ZERO)));
            drop(refused);
            assert_eq!(wait(&poller), [1]);

            let refused = Refused::new(&DEVICE_IO_CONTROL);
            ours.set_interest(Interest::READABLE).unwrap();
            drop(ours);
            expect_nothing(&poller);
            drop((refused, other, poller, other_peer, peer));
            assert_eq!(open_descriptors(), before);
        }
    });
}

/// While a thread waits a change is made at once, or not at all.
fn a_change_while_a_thread_waits(backend: Backend) {
    alone(backend, module_path!(), "a_change_while_a_thread_waits", || {
        let poller = Poller::new().unwrap();
        let other = event();
        let waitable = Waitable::new(&other);
        let _other =
            poller.register(&waitable, Token(2), Interest::READABLE, Mode::Oneshot).unwrap();
        let register = |ours| poller.register(ours, Token(1), Interest::READABLE, Mode::Oneshot);
        let (ours, _peer) = readable();
        let ours = register(ours).unwrap();
        assert_eq!(wait(&poller), [1]);
        let (new, _new_peer) = readable();
        let new = thread::scope(|scope| {
            let sleeper = sleeping(scope, || wait(&poller));
            let refused = Refused::new(&DEVICE_IO_CONTROL);
            expect_full(ours.set_interest(Interest::READABLE | Interest::WRITABLE));
            let (error, new) = register(new).unwrap_err().into_parts();
            drop(refused);
            expect_full::<()>(Err(error));
            set(&other);
            assert_eq!(sleeper.join().unwrap(), [2]);
            new
        });
        // As before: its one report was made.
        assert_eq!(ours.interest(), Interest::READABLE);
        expect_nothing(&poller);
        ours.set_interest(Interest::READABLE).unwrap();
        assert_eq!(wait(&poller), [1]);
        drop(ours);
        let _new = register(new).unwrap();
        assert_eq!(wait(&poller), [1]);
    });
}

/// Closing the socket ends the poll that could not be taken back.
fn a_cancellation(backend: Backend) {
    alone(backend, module_path!(), "a_cancellation", || {
        let before = open_descriptors();
        let poller = Poller::new().unwrap();
        let (ours, mut peer) = tcp_pair();
        let ours = poller.register(ours, Token(1), Interest::READABLE, Mode::Level).unwrap();
        expect_nothing(&poller);
        let refused = Refused::new(&CANCEL_IO);
        drop(ours);
        drop(refused);
        expect_nothing(&poller);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        within_patience(|| drop(poller));
        drop(peer);
        assert_eq!(open_descriptors(), before);
    });
}

/// A wake that cannot be sent to a thread that sleeps is told with the next.
fn a_wake(backend: Backend) {
    alone(backend, module_path!(), "a_wake", || {
        within_patience(|| {
            let poller = Poller::new().unwrap();
            let [one, two] = [1, 2].map(|token| poller.waker(Token(token)));
            thread::scope(|scope| {
                let sleeper = sleeping(scope, || tokens(&poller, None).unwrap());
                let refused = Refused::new(&POST);
                one.wake();
                drop(refused);
                two.wake();
                assert_eq!(sleeper.join().unwrap(), [1, 2]);
            });
            expect_nothing(&poller);
        });
    });
}

fn waitables(backend: Backend) {
    alone(backend, module_path!(), "waitables", || {
        let poller = Poller::new().unwrap();
        let event = event();
        let waitable = Waitable::new(&event);
        let register = || poller.register(&waitable, Token(1), Interest::READABLE, Mode::Level);
        let before = open_descriptors();
        let refused = Refused::new(&DUPLICATE_HANDLE);
        expect_full(register().map_err(io::Error::from));
        drop(refused);
        assert_eq!(open_descriptors(), before);

        let _registered = register().unwrap();
        // SAFETY: the library is always loaded.
        let ntdll = unsafe { GetModuleHandleW(w!("ntdll.dll")) };
        let packets = c"NtAssociateWaitCompletionPacket";
        // SAFETY: the name ends with a zero.
        let packets = unsafe { GetProcAddress(ntdll, packets.as_ptr().cast()) };
        // Else it is the kernel that waits and makes the packet.
        if packets.is_none() {
            let waits = Refused::new(&REGISTER_WAIT);
            expect_full(tokens(&poller, Some(PATIENCE)));
            set(&event);
            let posts = Refused::new(&POST);
            expect_full(tokens(&poller, Some(PATIENCE)));
            drop((waits, posts));
        }
        set(&event);
        assert_eq!(wait(&poller), [1]);
    });
}

fn a_childs_output(backend: Backend) {
    alone(backend, module_path!(), "a_childs_output", || {
        let poller = Poller::new().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.arg("--list").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let output = ChildPipe::from(child.stdout.take().unwrap());
        let register = |output| poller.register(output, Token(1), Interest::READABLE, Mode::Level);
        let before = open_descriptors();
        let refused = Refused::new(&CREATE_EVENT);
        let (error, output) = register(output).unwrap_err().into_parts();
        drop(refused);
        expect_full::<()>(Err(error));
        assert_eq!(open_descriptors(), before);
        let mut output = register(output).unwrap();
        assert_eq!(wait(&poller), [1]);
        child.wait().unwrap();
        output.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(wait(&poller), [1]);
        let refused = Refused::new(&POST);
        expect_full(tokens(&poller, Some(PATIENCE)));
        drop(refused);
        assert_eq!(wait(&poller), [1]);
    });
}
