//! Named pipes, whose operations are begun at once and end some time: here told as readiness.
//!
//! Whether there is something to read is asked by a *probe*, a read of no bytes, which ends as soon as
//! there is data or the end; what it promises is then read straight into the caller's buffer. A
//! write is of a copy, since the kernel may take its time, and the next one has to wait for its end.
//!
//! A pipe is tied to the system's pool of threads, not to a poller: so it can be registered with one
//! after another, needs none to end what it has begun, and no thread's exit cancels that. The pool
//! tells the pollers that wait for news (`Question`). The kernel has a reference to the pipe for each
//! operation in flight, so that nothing it writes to is freed.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle as Owned, RawHandle,
};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_MORE_DATA, ERROR_NO_DATA, ERROR_PIPE_CONNECTED,
    ERROR_PIPE_LISTENING, ERROR_PIPE_NOT_CONNECTED, HANDLE, INVALID_HANDLE_VALUE,
    STATUS_BUFFER_OVERFLOW, STATUS_CANCELLED, STATUS_PENDING,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX, ReadFile, SetFileCompletionNotificationModes,
    WriteFile,
};
use windows_sys::Win32::System::IO::{BindIoCompletionCallback, CancelIoEx, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, DisconnectNamedPipe, GetNamedPipeHandleStateW,
    PIPE_READMODE_MESSAGE, PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES,
};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForSingleObject};

use super::{Iocp, KernelCell, PIPE, lock, status};
use crate::backend::completion::Completed;
use crate::backend::sources::Key;
use crate::event::Conditions;
use crate::interest::Interest;
use crate::source::{Source, sealed::Sealed};
use crate::sys::{self, Handle};

/// `FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`, which windows-sys has in another type.
const SKIP_COMPLETION_PORT_ON_SUCCESS: u8 = 1;

/// A named pipe, either end, non-blocking.
///
/// A server's end is made by [`new`](Self::new), or converted from a handle, as a client's is; the
/// handle must have been opened with `FILE_FLAG_OVERLAPPED`, and not be tied to a completion port.
///
/// - It is readable when a read has data or the end for it. A read that finds nothing is a
///   would-block; none holds data back, so nothing is lost when the pipe is dropped or handed on.
/// - It is writable when no write is under way. A write that the peer does not take at once goes on
///   by itself, from a copy of the data, and is reported as done; the next is a would-block until
///   it has ended, and returns its error if there was one. Dropping the pipe does not cancel it, but
///   the end of the process does.
/// - A server's end is neither until [`connect`](Self::connect) has come to its end; one with the right
///   to write alone is both from the start.
/// - The other end's going is a hang-up; with the right to write alone only a write notices it.
///
/// The would-blocks are this type's own, and need no `set_nonblocking`. In message mode a read gives a
/// message, or as much of it as there is room for and the next read the rest; an empty message is
/// not seen.
///
/// It can be registered with one poller after another, and used without any.
///
/// ```no_run
/// use anypoll::os::windows::NamedPipe;
/// use anypoll::{Events, Interest, Mode, Poller, Token};
///
/// let poller = Poller::new()?;
/// let pipe = NamedPipe::new(r"\\.\pipe\printer")?;
/// let interest = Interest::READABLE | Interest::WRITABLE;
/// let pipe = poller.register(pipe, Token(0), interest, Mode::Edge)?;
///
/// // Whoever was there before the call is connected at once, others are told by a writable event.
/// let mut connected = pipe.try_io(Interest::WRITABLE, |pipe| pipe.connect()).is_ok();
/// let mut events = Events::default();
/// while !connected {
///     poller.wait(&mut events, None)?;
///     connected = events.iter().any(|event| event.is_writable());
/// }
/// # std::io::Result::Ok(())
/// ```
pub struct NamedPipe(Arc<Open>);

/// A pipe that somebody uses. The kernel is nobody.
struct Open(Arc<Pipe>);

impl Drop for Open {
    /// A write goes on.
    fn drop(&mut self) {
        for operation in [&self.0.connect, &self.0.probe] {
            // SAFETY: the handle is open; the pointer serves only to tell which operation is meant.
            unsafe { CancelIoEx(self.0.handle.as_raw_handle(), operation.overlapped.get()) };
        }
    }
}

struct Pipe {
    handle: Owned,
    connect: Operation,
    probe: Operation,
    write: Operation,
    state: Mutex<State>,
}

/// Of one kind, so that at most one is in flight.
#[repr(C)]
struct Operation {
    /// The first, so that its address is the whole's.
    overlapped: KernelCell<OVERLAPPED>,
    kind: Kind,
    /// A reference, while this is in flight.
    pipe: AtomicPtr<Pipe>,
}

#[derive(Clone, Copy)]
enum Kind {
    Connect,
    Probe,
    Write,
}

enum Begun {
    /// And ended.
    Done,
    InFlight,
}

struct State {
    tie: Option<Tie>,
    connecting: bool,
    connect_error: Option<io::Error>,
    probe: Probe,
    write: Writing,
    write_error: Option<io::Error>,
    /// Of the write that is under way.
    buffer: Vec<u8>,
    /// Those that wait for news.
    questions: Vec<(Interest, Arc<Question>)>,
}

/// To the pool.
struct Tie {
    /// Set by the end of a read into the caller's buffer, which outlives no call.
    read_ended: Owned,
    /// Whether the pool hears of what has ended at once, too. In message mode it must: whether it
    /// would else hear of a read that has ended at once with more data to come is not documented.
    hears_all: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Writing {
    Idle,
    InFlight,
    /// In flight, to a peer that was there before.
    Outdated,
}

#[derive(Clone, Copy, PartialEq)]
enum Probe {
    Idle,
    InFlight,
    /// In flight, and its end will be about a peer that was there before.
    Outdated,
    /// A read would not block.
    Ready,
    /// There is no peer any more.
    Ended,
}

impl Probe {
    /// For when the peer is not that one any more.
    fn forget(self) -> Self {
        match self {
            Self::InFlight | Self::Outdated => Self::Outdated,
            Self::Idle | Self::Ready | Self::Ended => Self::Idle,
        }
    }
}

impl NamedPipe {
    /// The server's end of a pipe at `name`, which begins with `\\.\pipe\`, for one client: it is
    /// duplex, in byte mode, with buffers of 64 KiB, and any number of others may be made at the
    /// same name.
    ///
    /// # Errors
    ///
    /// The system's: another process has the name with other properties, or the name is none.
    pub fn new(name: impl AsRef<OsStr>) -> io::Result<Self> {
        const BUFFER: u32 = 64 << 10;
        let name: Vec<u16> = name.as_ref().encode_wide().chain([0]).collect();
        // SAFETY: the name ends with a zero, and outlives the call.
        let handle = unsafe {
            CreateNamedPipeW(
                name.as_ptr(),
                PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED,
                PIPE_TYPE_BYTE,
                PIPE_UNLIMITED_INSTANCES,
                BUFFER,
                BUFFER,
                0,
                ptr::null(),
            )
        };
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it has just been made, and nobody else knows of it.
        Ok(unsafe { Owned::from_raw_handle(handle) }.into())
    }

    /// Lets a client connect, and a next one after [`disconnect`](Self::disconnect). Of a server's
    /// end only.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) while there is no client: the pipe becomes writable
    /// when one comes. If it fails after that, [`take_error`](Self::take_error) says why. The
    /// system's.
    pub fn connect(&self) -> io::Result<()> {
        let pipe = self.pipe();
        let state = &mut *lock(&pipe.state);
        if state.connecting {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let tie = pipe.tie(&mut state.tie)?;
        let begun = pipe.begin(tie, &pipe.connect, |handle, overlapped| {
            // SAFETY: the handle is open, and `begin` answers for the structure.
            unsafe { ConnectNamedPipe(handle, overlapped) }
        });
        match begun {
            Ok(Begun::InFlight) => {
                state.connecting = true;
                state.probe = state.probe.forget();
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(Begun::Done) => {}
            // There is a client, or was one that has left data.
            Err(error) if is(&error, &[ERROR_PIPE_CONNECTED, ERROR_NO_DATA]) => {}
            Err(error) => return Err(error),
        }
        pipe.tell(state);
        Ok(())
    }

    /// Takes the connection from the client, and from it what it has not read yet. Of a server's end
    /// only.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn disconnect(&self) -> io::Result<()> {
        let pipe = self.pipe();
        let state = &mut *lock(&pipe.state);
        // SAFETY: the handle is open.
        if unsafe { DisconnectNamedPipe(pipe.handle.as_raw_handle()) } == 0 {
            return Err(io::Error::last_os_error());
        }
        state.write_error = None;
        if state.write == Writing::InFlight {
            state.write = Writing::Outdated;
        }
        Ok(())
    }

    /// Takes the error of a [`connect`](Self::connect) that was under way, if it has failed.
    ///
    /// # Errors
    ///
    /// None: the result is that of sockets.
    #[allow(clippy::unnecessary_wraps, reason = "as std's sockets have it")]
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(lock(&self.pipe().state).connect_error.take())
    }

    fn pipe(&self) -> &Arc<Pipe> {
        &self.0.0
    }

    pub(crate) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    pub(crate) fn as_kernel(&self) -> &Owned {
        &self.pipe().handle
    }
}

/// Whether the handle is one that will do is seen when it is used or registered.
impl From<Owned> for NamedPipe {
    fn from(handle: Owned) -> Self {
        Self(Arc::new(Open(Arc::new(Pipe {
            handle,
            connect: Operation::new(Kind::Connect),
            probe: Operation::new(Kind::Probe),
            write: Operation::new(Kind::Write),
            state: Mutex::new(State {
                tie: None,
                connecting: false,
                connect_error: None,
                probe: Probe::Idle,
                write: Writing::Idle,
                write_error: None,
                buffer: Vec::new(),
                questions: Vec::new(),
            }),
        }))))
    }
}

impl AsHandle for NamedPipe {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.as_kernel().as_handle()
    }
}

impl AsRawHandle for NamedPipe {
    fn as_raw_handle(&self) -> RawHandle {
        self.as_kernel().as_raw_handle()
    }
}

impl Sealed for NamedPipe {
    fn handle(&self) -> Handle<'_> {
        Handle::NamedPipe(self)
    }
}

impl Source for NamedPipe {}

impl Sealed for &NamedPipe {
    fn handle(&self) -> Handle<'_> {
        (**self).handle()
    }
}

impl Source for &NamedPipe {}

impl Read for &NamedPipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let pipe = self.pipe();
        let state = &mut *lock(&pipe.state);
        if buf.is_empty() {
            return Ok(0);
        }
        if state.connecting || state.probe == Probe::InFlight {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let tie = pipe.tie(&mut state.tie)?;
        if let Probe::Ready | Probe::Ended = state.probe {
            state.probe = Probe::Idle;
        }
        pipe.read(buf, &tie.read_ended)
    }
}

impl Write for &NamedPipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let pipe = self.pipe();
        let state = &mut *lock(&pipe.state);
        if state.write != Writing::Idle {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(error) = state.write_error.take() {
            return Err(error);
        }
        let tie = pipe.tie(&mut state.tie)?;
        let buf = &buf[..buf.len().min(u32::MAX as usize)];
        state.buffer.clear();
        state.buffer.extend_from_slice(buf);
        let begun = pipe.begin(tie, &pipe.write, |handle, overlapped| {
            // SAFETY: the handle is open, `begin` answers for the structure, and the buffer is left
            // alone until the write has ended.
            unsafe {
                WriteFile(
                    handle,
                    state.buffer.as_ptr(),
                    length(state.buffer.len()),
                    ptr::null_mut(),
                    overlapped,
                )
            }
        })?;
        if !matches!(begun, Begun::Done) {
            state.write = Writing::InFlight;
        }
        Ok(buf.len())
    }

    /// Nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for NamedPipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for NamedPipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for NamedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedPipe").field(self.as_kernel()).finish()
    }
}

fn is(error: &io::Error, codes: &[u32]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code.cast_unsigned()))
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Operation {
    fn new(kind: Kind) -> Self {
        Self {
            overlapped: KernelCell::new(OVERLAPPED::default()),
            kind,
            pipe: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

impl Pipe {
    /// Has the pool run `ended` for each end.
    fn tie<'a>(&self, tie: &'a mut Option<Tie>) -> io::Result<&'a Tie> {
        if tie.is_none() {
            let handle = self.handle.as_raw_handle();
            let read_ended = sys::manual_event()?;
            // SAFETY: the handle is open, and the function is called for our operations alone: the
            // other reads name an event that keeps it out of them.
            let done = unsafe { BindIoCompletionCallback(handle, Some(ended), 0) };
            if done == 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the handle is open.
            let skips = !self.has_messages()
                && unsafe {
                    SetFileCompletionNotificationModes(handle, SKIP_COMPLETION_PORT_ON_SUCCESS) != 0
                };
            *tie = Some(Tie { read_ended, hears_all: !skips });
        }
        Ok(tie.as_ref().expect("there is one now"))
    }

    fn has_messages(&self) -> bool {
        let mut mode = 0;
        // SAFETY: the handle is open, and there is room for the one answer that is asked for. Who
        // may not ask may not read.
        let done = unsafe {
            GetNamedPipeHandleStateW(
                self.handle.as_raw_handle(),
                &raw mut mode,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                0,
            )
        };
        done != 0 && mode & PIPE_READMODE_MESSAGE != 0
    }

    /// Begins an operation of which none is in flight, as who holds the lock of the state knows.
    fn begin(
        self: &Arc<Self>,
        tie: &Tie,
        operation: &Operation,
        call: impl FnOnce(HANDLE, *mut OVERLAPPED) -> i32,
    ) -> io::Result<Begun> {
        // SAFETY: nothing is in flight, and who else would look at it waits for the lock.
        unsafe { operation.overlapped.get().write(OVERLAPPED::default()) };
        let reference = Arc::into_raw(Arc::clone(self));
        operation.pipe.store(reference.cast_mut(), Relaxed);
        let done = call(self.handle.as_raw_handle(), operation.overlapped.get());
        let error = io::Error::last_os_error();
        let (begun, is_heard) = match error.raw_os_error().map(i32::cast_unsigned) {
            _ if done != 0 => (Ok(Begun::Done), tie.hears_all),
            Some(ERROR_MORE_DATA) => (Ok(Begun::Done), true),
            Some(ERROR_IO_PENDING) => (Ok(Begun::InFlight), true),
            _ => (Err(error), false),
        };
        if !is_heard {
            // SAFETY: it comes from `Arc::into_raw`, and `ended` is not called for it.
            drop(unsafe { Arc::from_raw(reference) });
        }
        begun
    }

    fn probe(self: &Arc<Self>, tie: &Tie) -> Probe {
        let begun = self.begin(tie, &self.probe, |handle, overlapped| {
            // SAFETY: the handle is open, `begin` answers for the structure, and no byte is written.
            unsafe {
                ReadFile(handle, ptr::NonNull::dangling().as_ptr(), 0, ptr::null_mut(), overlapped)
            }
        });
        match begun {
            Ok(Begun::InFlight) => Probe::InFlight,
            Err(error) if is(&error, &[ERROR_PIPE_LISTENING]) => Probe::Idle,
            Err(error) if is(&error, &[ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED]) => {
                Probe::Ended
            }
            // A read does not block: it gives data, or the same error.
            Ok(Begun::Done) | Err(_) => Probe::Ready,
        }
    }

    /// Reads what is there. The caller holds the lock, so that the event is this read's alone, and
    /// no probe is in flight that has found nothing.
    fn read(&self, buf: &mut [u8], ended: &Owned) -> io::Result<usize> {
        let handle = self.handle.as_raw_handle();
        // The lowest bit keeps the end from the pool.
        let event = ended.as_raw_handle().map_addr(|address| address | 1);
        let mut overlapped = OVERLAPPED { hEvent: event, ..OVERLAPPED::default() };
        let structure = &raw mut overlapped;
        // SAFETY: the handles are open, and buffer and structure outlive the read, see below.
        let done = unsafe {
            ReadFile(handle, buf.as_mut_ptr(), length(buf.len()), ptr::null_mut(), structure)
        };
        let error = io::Error::last_os_error();
        match error.raw_os_error().map(i32::cast_unsigned) {
            _ if done != 0 => {}
            Some(ERROR_MORE_DATA) => {}
            Some(ERROR_IO_PENDING) => {
                // SAFETY: the handle is open; the pointer serves only to tell which read is meant.
                unsafe { CancelIoEx(handle, structure) };
                // SAFETY: the structure is live. The kernel may be writing to it.
                while status(&unsafe { structure.read_volatile() }) == STATUS_PENDING {
                    // SAFETY: the event is open.
                    unsafe { WaitForSingleObject(ended.as_raw_handle(), INFINITE) };
                }
            }
            Some(ERROR_BROKEN_PIPE) => return Ok(0),
            Some(ERROR_PIPE_LISTENING) => return Err(io::ErrorKind::WouldBlock.into()),
            _ => return Err(error),
        }
        // SAFETY: the read has ended, and what it wrote is to be seen.
        let overlapped = unsafe { structure.read_volatile() };
        match status(&overlapped) {
            STATUS_CANCELLED => Err(io::ErrorKind::WouldBlock.into()),
            STATUS_BUFFER_OVERFLOW => Ok(overlapped.InternalHigh),
            status if status < 0 => {
                let error = sys::nt_error(status);
                if is(&error, &[ERROR_BROKEN_PIPE]) { Ok(0) } else { Err(error) }
            }
            _ => Ok(overlapped.InternalHigh),
        }
    }

    /// What is ready of what is wanted. If that is nothing, some operation's end will be news.
    fn look(self: &Arc<Self>, state: &mut State, wanted: Interest) -> Conditions {
        let mut ready = Conditions::NONE;
        if state.connect_error.is_some() || state.write_error.is_some() {
            ready = Conditions::WRITE | Conditions::ERROR;
        }
        if let (Probe::Idle, false, Some(tie)) = (state.probe, state.connecting, &state.tie) {
            state.probe = self.probe(tie);
        }
        ready = match state.probe {
            _ if state.connecting => ready,
            // There is no client yet.
            Probe::Idle => ready,
            found => {
                let readable = match found {
                    Probe::Ready => Conditions::READ,
                    Probe::Ended => Conditions::READ | Conditions::HANG_UP,
                    _ => Conditions::NONE,
                };
                let writable = match state.write {
                    Writing::Idle => Conditions::WRITE,
                    _ => Conditions::NONE,
                };
                ready | readable | writable
            }
        };
        let always = Conditions::ERROR | Conditions::HANG_UP;
        ready.intersection(Conditions::of(wanted) | always)
    }

    /// Answers the questions to which there is an answer now.
    fn tell(self: &Arc<Self>, state: &mut State) {
        for (wanted, question) in std::mem::take(&mut state.questions) {
            if self.look(state, wanted) == Conditions::NONE {
                state.questions.push((wanted, question));
            } else {
                // Fails only without memory in the kernel; then it is never over: the poller has no end.
                let _ = question.post();
            }
        }
    }
}

/// Called by the pool for each operation that has ended, of which some are known to have.
unsafe extern "system" fn ended(_error: u32, _count: u32, overlapped: *mut OVERLAPPED) {
    // SAFETY: it is that of an `Operation`, in a pipe to which it has a reference.
    let operation = unsafe { &*overlapped.cast_const().cast::<Operation>() };
    // SAFETY: the reference that `begin` gave away for this call.
    let pipe = unsafe { Arc::from_raw(operation.pipe.load(Relaxed).cast_const()) };
    let state = &mut *lock(&pipe.state);
    // SAFETY: the structure is live. The kernel may be writing to it.
    let status = status(&unsafe { operation.overlapped.get().read_volatile() });
    if status == STATUS_PENDING {
        // That is another one, begun since.
        return;
    }
    let error = (status < 0 && status != STATUS_BUFFER_OVERFLOW).then(|| sys::nt_error(status));
    match operation.kind {
        Kind::Connect if state.connecting => {
            state.connecting = false;
            state.connect_error = error;
        }
        Kind::Write if state.write != Writing::Idle => {
            state.write_error = error.filter(|_| state.write == Writing::InFlight);
            state.write = Writing::Idle;
        }
        Kind::Probe if state.probe == Probe::Outdated => state.probe = Probe::Idle,
        Kind::Probe if state.probe == Probe::InFlight => {
            state.probe = match error {
                None => Probe::Ready,
                Some(_) if status == STATUS_CANCELLED => Probe::Idle,
                Some(_) => Probe::Ended,
            };
        }
        _ => return,
    }
    pipe.tell(state);
}

/// A poller's watching of a pipe.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Question>);

struct Question {
    iocp: Arc<Iocp>,
    /// So that what is left of a removed pipe neither keeps it open nor begins anything.
    pipe: Weak<Open>,
    asked: Mutex<Option<Asked>>,
}

#[derive(Clone, Copy)]
struct Asked {
    key: Key,
    wanted: Interest,
    cancelled: bool,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

impl Watch {
    pub(super) fn new(iocp: &Arc<Iocp>, pipe: &NamedPipe) -> io::Result<Self> {
        let open = &pipe.0;
        open.0.tie(&mut lock(&open.0.state).tie)?;
        Ok(Self(Arc::new(Question {
            iocp: Arc::clone(iocp),
            pipe: Arc::downgrade(open),
            asked: Mutex::new(None),
        })))
    }

    pub(super) fn submit(&self, key: Key, wanted: Interest) -> io::Result<()> {
        let mut asked = lock(&self.0.asked);
        if asked.is_some() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let open = self.0.pipe.upgrade().ok_or(io::ErrorKind::NotFound)?;
        let Open(pipe) = &*open;
        let state = &mut *lock(&pipe.state);
        if pipe.look(state, wanted) == Conditions::NONE {
            state.questions.push((wanted, Arc::clone(&self.0)));
        } else {
            self.0.post()?;
        }
        *asked = Some(Asked { key, wanted, cancelled: false });
        Ok(())
    }

    /// Not finding it is right: its packet is on the way.
    pub(super) fn cancel(&self) {
        let mut asked = lock(&self.0.asked);
        let (Some(asked), Some(open)) = (&mut *asked, self.0.pipe.upgrade()) else { return };
        let questions = &mut lock(&open.0.state).questions;
        if let Some(at) = questions.iter().position(|(_, other)| Arc::ptr_eq(other, &self.0)) {
            questions.swap_remove(at);
            asked.cancelled = true;
            // Fails only without memory in the kernel; then it is never over: the poller has no end.
            let _ = self.0.post();
        }
    }

    /// # Safety
    ///
    /// The packet with this pointer came from the port with the key `PIPE`, and this is the only
    /// call for it.
    pub(super) unsafe fn complete(pointer: *mut OVERLAPPED) -> Completed {
        // SAFETY: such packets bring a reference that was given away.
        let question = unsafe { Arc::from_raw(pointer.cast_const().cast::<Question>()) };
        let Asked { key, wanted, cancelled } = lock(&question.asked).take().expect("it was asked");
        let Some(open) = question.pipe.upgrade().filter(|_| !cancelled) else {
            return Completed::Cancelled(key);
        };
        let Open(pipe) = &*open;
        match pipe.look(&mut lock(&pipe.state), wanted) {
            Conditions::NONE => Completed::Cancelled(key),
            ready => Completed::Answer(key, ready),
        }
    }
}

impl Question {
    /// Gives a reference to a packet.
    fn post(self: &Arc<Self>) -> io::Result<()> {
        let reference = Arc::into_raw(Arc::clone(self));
        self.iocp.post(PIPE, reference.cast()).inspect_err(|_| {
            // SAFETY: it comes from `Arc::into_raw`, and no packet will bring it.
            drop(unsafe { Arc::from_raw(reference) });
        })
    }
}
