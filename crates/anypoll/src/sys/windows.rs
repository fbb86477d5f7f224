//! Windows: a handle is a socket, or something of our own (`os::windows`).
//!
//! Between calls a socket is remembered as a duplicate of its base handle: what lies below all
//! layered service providers, and what AFD knows.

use std::io;
use std::mem;
use std::os::windows::io::{
    AsHandle as _, AsRawHandle, AsRawSocket, AsSocket, BorrowedHandle, BorrowedSocket,
    FromRawHandle, OwnedHandle as Owned, RawSocket,
};
use std::process::Child;
use std::ptr;

use windows_sys::Wdk::Foundation::{NtQueryObject, ObjectTypeInformation};
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, FileModeInformation,
    NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{
    HANDLE, NTSTATUS, STATUS_SUCCESS, UNICODE_STRING, WAIT_TIMEOUT,
};
use windows_sys::Win32::Networking::WinSock::{
    FIONBIO, SIO_BASE_HANDLE, SIO_BSP_HANDLE, SIO_BSP_HANDLE_POLL, SIO_BSP_HANDLE_SELECT, SOCKET,
    WSAENOTSOCK, WSAIoctl, ioctlsocket,
};
use windows_sys::Win32::System::Console::GetNumberOfConsoleInputEvents;
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{CreateEventW, WaitForMultipleObjects};

use crate::backend::NamedPipe;
use crate::process::Exit;
use crate::registered::Registered;
use crate::source::{Source, sealed::Sealed};

#[derive(Clone, Copy, Debug)]
pub enum Handle<'a> {
    Socket(BorrowedSocket<'a>),
    /// Ready while it is signalled.
    Waitable(BorrowedHandle<'a>),
    /// Our end of a child's output: an asynchronous pipe.
    Pipe(BorrowedHandle<'a>),
    NamedPipe(&'a NamedPipe),
}

#[derive(Debug)]
pub(crate) enum OwnedHandle {
    Socket(Owned),
    Waitable(Owned),
    Pipe(Owned),
    NamedPipe(NamedPipe),
}

impl OwnedHandle {
    pub(crate) fn as_kernel(&self) -> &Owned {
        match self {
            Self::Socket(handle) | Self::Waitable(handle) | Self::Pipe(handle) => handle,
            Self::NamedPipe(pipe) => pipe.as_kernel(),
        }
    }
}

pub(crate) type RawHandle = usize;

pub(crate) use std::os::windows::io::AsSocket as AsHandle;

pub(crate) fn handle<T: AsSocket + ?Sized>(object: &T) -> Handle<'_> {
    Handle::Socket(object.as_socket())
}

impl<S: AsSocket + Source + ?Sized> AsSocket for Registered<S> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.get_ref().as_socket()
    }
}

impl Sealed for Exit {
    fn handle(&self) -> Handle<'_> {
        Handle::Waitable(self.0.as_kernel().as_handle())
    }
}

impl Source for Exit {}

/// A process' handle is signalled from its exit on, and names it as long as it is open.
pub(crate) fn exit_of(child: &mut Child) -> io::Result<OwnedHandle> {
    Ok(OwnedHandle::Waitable(child.as_handle().try_clone_to_owned()?))
}

pub(crate) fn raw(handle: Handle<'_>) -> RawHandle {
    match handle {
        Handle::Socket(socket) => socket_number(socket.as_raw_socket()),
        Handle::Waitable(handle) | Handle::Pipe(handle) => handle.as_raw_handle().addr(),
        Handle::NamedPipe(pipe) => pipe.as_raw_handle().addr(),
    }
}

/// std's `RawSocket` has always 64 or 32 bits as a pointer has.
#[allow(clippy::cast_possible_truncation, reason = "a SOCKET is a pointer-sized number")]
fn socket_number(socket: RawSocket) -> SOCKET {
    socket as SOCKET
}

fn unsupported(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why)
}

#[cfg(feature = "net")]
pub(crate) fn socket(handle: Handle<'_>) -> io::Result<BorrowedSocket<'_>> {
    match handle {
        Handle::Socket(socket) => Ok(socket),
        _ => Err(io::Error::from_raw_os_error(WSAENOTSOCK)),
    }
}

/// Of a socket that is not connected: whether it is being connected, as far as is known.
#[cfg(feature = "net")]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn is_pending(_socket: BorrowedSocket<'_>) -> io::Result<bool> {
    Ok(true)
}

/// Whether `connect` has begun what it could not end at once.
#[cfg(feature = "net")]
pub(crate) fn is_connecting(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

pub(crate) fn set_nonblocking(handle: Handle<'_>, nonblocking: bool) -> io::Result<()> {
    let Handle::Socket(socket) = handle else {
        return Err(unsupported("Windows has non-blocking sockets, but nothing else of that kind"));
    };
    let mut flag = u32::from(nonblocking);
    // SAFETY: the socket is open while it is borrowed, and the flag outlives the call.
    match unsafe { ioctlsocket(socket_number(socket.as_raw_socket()), FIONBIO, &raw mut flag) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The handle below all layered service providers, valid as long as the socket is open. Some
/// providers hide `SIO_BASE_HANDLE`; the older questions then lead at least one layer down.
fn base(socket: BorrowedSocket<'_>) -> io::Result<SOCKET> {
    let mut at = socket_number(socket.as_raw_socket());
    loop {
        let error = match ask_provider(at, SIO_BASE_HANDLE) {
            Ok(base) => return Ok(base),
            Err(error) => error,
        };
        if error.raw_os_error() == Some(WSAENOTSOCK) {
            return Err(error);
        }
        let older = [SIO_BSP_HANDLE_POLL, SIO_BSP_HANDLE_SELECT, SIO_BSP_HANDLE];
        let below = older.iter().filter_map(|question| ask_provider(at, *question).ok());
        at = below.into_iter().find(|below| *below != at).ok_or(error)?;
    }
}

fn ask_provider(socket: SOCKET, question: u32) -> io::Result<SOCKET> {
    let mut answer: SOCKET = 0;
    let mut written = 0;
    // SAFETY: there is room for the answer, a SOCKET; a number that is no socket is an error.
    let result = unsafe {
        WSAIoctl(
            socket,
            question,
            ptr::null(),
            0,
            (&raw mut answer).cast(),
            size::<SOCKET>(),
            &raw mut written,
            ptr::null_mut(),
            None,
        )
    };
    if result == 0 { Ok(answer) } else { Err(io::Error::last_os_error()) }
}

/// What stands for the object in calls to the kernel, while the object is borrowed.
fn kernel_handle(handle: Handle<'_>) -> io::Result<BorrowedHandle<'_>> {
    match handle {
        Handle::Socket(socket) => {
            let base = ptr::without_provenance_mut(base(socket)?);
            // SAFETY: it is a handle of the object that `socket` borrows, and open as long.
            Ok(unsafe { BorrowedHandle::borrow_raw(base) })
        }
        Handle::Waitable(handle) | Handle::Pipe(handle) => Ok(handle),
        Handle::NamedPipe(pipe) => Ok(pipe.as_handle()),
    }
}

pub(crate) fn duplicate(handle: Handle<'_>) -> io::Result<OwnedHandle> {
    let duplicate = || kernel_handle(handle)?.try_clone_to_owned();
    Ok(match handle {
        Handle::Socket(_) => OwnedHandle::Socket(duplicate()?),
        Handle::Waitable(_) => {
            let duplicate = duplicate()?;
            check_waitable(&duplicate)?;
            OwnedHandle::Waitable(duplicate)
        }
        Handle::Pipe(_) => {
            let duplicate = duplicate()?;
            check_asynchronous(&duplicate)?;
            OwnedHandle::Pipe(duplicate)
        }
        Handle::NamedPipe(pipe) => OwnedHandle::NamedPipe(pipe.share()),
    })
}

/// Files of a disk are no `Source` here.
pub(crate) fn always_ready_refused() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

/// Of what is always ready, which nothing is here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity;

#[allow(clippy::unnecessary_wraps, reason = "other systems ask the kernel")]
pub(crate) fn identity(_: Handle<'_>) -> io::Result<Identity> {
    Ok(Identity)
}

/// Whether a call could not be done at once: a `connect` too.
pub(crate) fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[allow(clippy::unnecessary_wraps, reason = "other systems ask the kernel")]
pub(crate) fn is_always_ready(_: Handle<'_>) -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn is_same_object(duplicate: &OwnedHandle, handle: Handle<'_>) -> io::Result<bool> {
    type NtCompareObjects = unsafe extern "system" fn(HANDLE, HANDLE) -> NTSTATUS;

    // SAFETY: that is its type.
    let compare: Option<NtCompareObjects> = unsafe { ntdll(c"NtCompareObjects") };
    let Some(compare) = compare else {
        return Err(unsupported("to tell objects apart takes Windows 10"));
    };
    let handle = kernel_handle(handle)?;
    // SAFETY: both are open; the call touches no memory.
    Ok(unsafe { compare(duplicate.as_kernel().as_raw_handle(), handle.as_raw_handle()) }
        == STATUS_SUCCESS)
}

/// A function that not every Windows (or Wine) has.
///
/// # Safety
///
/// `F` is its type.
pub(crate) unsafe fn ntdll<F: Copy>(name: &std::ffi::CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<fn()>()) };
    // SAFETY: the name is a C string. Every process has this library for all its life.
    let library = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    // SAFETY: as above.
    let function = unsafe { GetProcAddress(library, name.as_ptr().cast()) }?;
    // SAFETY: the caller says so.
    Some(unsafe { mem::transmute_copy(&function) })
}

/// Refuses what a wait would take possession of, and what is never signalled by its readiness.
fn check_waitable(handle: &Owned) -> io::Result<()> {
    /// The kernel writes the name behind the structure. No type's name is as long as this.
    #[repr(C)]
    struct TypeInformation {
        name: UNICODE_STRING,
        rest: [u16; 512],
    }

    let mut information: mem::MaybeUninit<TypeInformation> = mem::MaybeUninit::zeroed();
    // SAFETY: the handle is open, and there is room for what the call may write.
    let status = unsafe {
        NtQueryObject(
            handle.as_raw_handle(),
            ObjectTypeInformation,
            information.as_mut_ptr().cast(),
            size::<TypeInformation>(),
            ptr::null_mut(),
        )
    };
    if status != STATUS_SUCCESS {
        return Err(nt_error(status));
    }
    // SAFETY: it was zeroed and then written by the call; any bits are valid.
    let name = unsafe { &information.assume_init_ref().name };
    let name = match name.Buffer {
        buffer if buffer.is_null() => &[],
        // SAFETY: the call made it point into `information`, which is not touched meanwhile.
        buffer => unsafe { std::slice::from_raw_parts(buffer, usize::from(name.Length / 2)) },
    };
    let raw = handle.as_raw_handle();
    match String::from_utf16_lossy(name).as_str() {
        "Mutant" => Err(unsupported("a mutex cannot be watched: a wait would take it")),
        // Wine calls some consoles a device.
        // SAFETY: the handle is open, and there is room for the answer.
        "File" | "Device" if unsafe { GetNumberOfConsoleInputEvents(raw, &mut 0) } == 0 => {
            Err(unsupported("on Windows files, pipes and a console's output have no readiness"))
        }
        _ if !can_be_waited_for(handle)? => Err(unsupported(
            "no wait takes this handle: it lacks the right SYNCHRONIZE, or is never signalled",
        )),
        _ => Ok(()),
    }
}

/// A wait for all of several takes nothing of any while one is not signalled.
fn can_be_waited_for(handle: &Owned) -> io::Result<bool> {
    let never = manual_event()?;
    let both = [handle.as_raw_handle(), never.as_raw_handle()];
    // SAFETY: both handles are open.
    Ok(unsafe { WaitForMultipleObjects(2, both.as_ptr(), 1, 0) } == WAIT_TIMEOUT)
}

/// Refuses a pipe whose reads would block the poller.
fn check_asynchronous(pipe: &Owned) -> io::Result<()> {
    const SYNCHRONOUS: u32 = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
    let (mut mode, mut status_block) = (0_u32, IO_STATUS_BLOCK::default());
    // SAFETY: the handle is open, and there is room for what the call writes.
    let status = unsafe {
        NtQueryInformationFile(
            pipe.as_raw_handle(),
            &raw mut status_block,
            (&raw mut mode).cast(),
            size::<u32>(),
            FileModeInformation,
        )
    };
    match status {
        STATUS_SUCCESS if mode & SYNCHRONOUS != 0 => Err(unsupported(
            "a pipe that was not opened with FILE_FLAG_OVERLAPPED, as a child's output is, has no \
             readiness on Windows",
        )),
        STATUS_SUCCESS => Ok(()),
        status => Err(nt_error(status)),
    }
}

/// An event that stays set until somebody resets it.
pub(crate) fn manual_event() -> io::Result<Owned> {
    // SAFETY: it makes an event, which has no name.
    let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it has just been made, and nobody else knows of it.
    Ok(unsafe { Owned::from_raw_handle(event) })
}

pub(crate) fn nt_error(status: NTSTATUS) -> io::Error {
    // SAFETY: it computes a number from a number.
    let code = unsafe { windows_sys::Win32::Foundation::RtlNtStatusToDosError(status) };
    io::Error::from_raw_os_error(code.cast_signed())
}

/// In the type that most calls take it.
#[allow(clippy::cast_possible_truncation, reason = "no structure is that long")]
pub(crate) const fn size<T>() -> u32 {
    size_of::<T>() as u32
}
