//! Windows: everything that is in flight ends in one completion port.
//!
//! A socket is asked about by an AFD poll (`afd`), anything waitable by a wait that ends in a packet
//! (`wait`). A named pipe tells itself what it is asked (`named_pipe`). Each is a structure that the kernel and we share: each submit gives the kernel a
//! reference of its own to it (`Arc::into_raw`), and the packet that ends the submit brings that
//! reference back. So what the kernel may write to is never freed, whatever becomes of the source.
//!
//! | what | calls |
//! |---|---|
//! | wait | 1, and 1 for each source that is to be asked: new, changed, re-armed, or reported by the wait before (`Level`; `Edge` for its end) |
//! | wait, and what is in flight for such a source does not ask for enough | 1 to take that back, and 1 wait more for its end |
//! | wait, more than 256 events | 1 more for each further 256 |
//! | register a socket | none of the poller's; its base handle and a duplicate are asked for, and the first of 32 opens their helper |
//! | set_interest, a read or write that would block | none |
//! | remove | 1 to take back what is in flight, and 1 to close the duplicate |
//! | wake, notice | 1, if a thread sleeps |
//!
//! `tests/windows_calls.rs` counts them.
//!
//! If a thread sleeps in a wait, sources are asked at once instead of by the next wait. A waitable
//! handle costs the same with wait completion packets, one call more each time with the pool, and a
//! child's output one more again.

mod afd;
mod named_pipe;
#[path = "../record.rs"]
mod record;
mod wait;

pub use named_pipe::NamedPipe;
pub(crate) use record::Record;

use std::cell::UnsafeCell;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle as Owned,
};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard};

use windows_sys::Win32::Foundation::{
    HANDLE, INVALID_HANDLE_VALUE, NTSTATUS, STATUS_SUCCESS, STATUS_TIMEOUT,
};
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, OVERLAPPED, OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};

use super::completion::{Completed, Completion, Port as Manners};
use super::sources::Key;
use super::{AddError, Backend};
use crate::interest::Interest;
use crate::readiness::Timeout;
use crate::sync::unpoisoned;
use crate::sys::{self, OwnedHandle};

pub(super) const AVAILABLE: &[Backend] = &[Backend::Afd];

pub(crate) type Native = Completion<Port>;

pub(super) fn open() -> io::Result<Native> {
    Ok(Completion::new(Port::new()?))
}

/// What a packet of the port belongs to: its completion key.
const NOTICE: usize = 0;
const POLL: usize = 1;
const WAIT: usize = 2;
const PIPE: usize = 3;

#[derive(Debug)]
pub(crate) struct Port {
    iocp: Arc<Iocp>,
    helpers: afd::Helpers,
    remove: NtRemoveIoCompletionEx,
}

/// What `GetQueuedCompletionStatusEx` calls, which has only milliseconds.
type NtRemoveIoCompletionEx = unsafe extern "system" fn(
    port: HANDLE,
    entries: *mut OVERLAPPED_ENTRY,
    room: u32,
    count: *mut u32,
    timeout: *const i64,
    alertable: u8,
) -> NTSTATUS;

#[derive(Debug)]
struct Iocp(Owned);

impl Iocp {
    fn new() -> io::Result<Self> {
        // As many threads may run with what they got from the port as there are.
        let threads = u32::from(u16::MAX);
        // SAFETY: it makes a port, given no file.
        let handle =
            unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, threads) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it has just been made, and nobody else knows of it.
        Ok(Self(unsafe { Owned::from_raw_handle(handle) }))
    }

    fn associate(&self, file: &Owned, key: usize) -> io::Result<()> {
        // SAFETY: both handles are open.
        let handle =
            unsafe { CreateIoCompletionPort(file.as_raw_handle(), self.0.as_raw_handle(), key, 0) };
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn post(&self, key: usize, overlapped: *const OVERLAPPED) -> io::Result<()> {
        // SAFETY: the port is open, and gives the pointer back without looking at it.
        match unsafe { PostQueuedCompletionStatus(self.0.as_raw_handle(), 0, key, overlapped) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Operation {
    Poll(afd::Poll),
    Wait(wait::Wait),
    NamedPipe(named_pipe::Watch),
}

impl Port {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: that is its type.
        let remove = unsafe { sys::ntdll(c"NtRemoveIoCompletionEx") };
        let remove = remove.ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { iocp: Arc::new(Iocp::new()?), helpers: afd::Helpers::default(), remove })
    }
}

impl Manners for Port {
    type Operation = Operation;

    fn prepare(&self, handle: &OwnedHandle) -> Result<Operation, AddError> {
        match handle {
            OwnedHandle::Socket(_) => Ok(Operation::Poll(self.helpers.poll(&self.iocp)?)),
            OwnedHandle::Waitable(_) | OwnedHandle::Pipe(_) => {
                Ok(Operation::Wait(wait::Wait::new(&self.iocp, handle)?))
            }
            OwnedHandle::NamedPipe(pipe) => {
                Ok(Operation::NamedPipe(named_pipe::Watch::new(&self.iocp, pipe)?))
            }
        }
    }

    fn submit(
        &self,
        operation: &mut Operation,
        handle: &OwnedHandle,
        key: Key,
        wanted: Interest,
    ) -> io::Result<()> {
        let handle = handle.as_kernel();
        match operation {
            Operation::Poll(poll) => poll.submit(handle, key, wanted),
            Operation::Wait(wait) => wait.submit(handle, key, wanted),
            Operation::NamedPipe(pipe) => pipe.submit(key, wanted),
        }
    }

    fn cancel(&self, operation: &mut Operation, handle: &OwnedHandle) -> bool {
        match operation {
            Operation::Poll(poll) => poll.cancel(),
            Operation::Wait(wait) => wait.cancel(handle.as_kernel()),
            Operation::NamedPipe(pipe) => pipe.cancel(),
        }
        // Each ends in a packet, which is there already, or is posted for it.
        true
    }

    fn dequeue(
        &self,
        completions: &mut Vec<Completed>,
        limit: usize,
        timeout: Timeout,
    ) -> io::Result<()> {
        const BATCH: usize = 256;
        let mut entries = [const { MaybeUninit::<OVERLAPPED_ENTRY>::uninit() }; BATCH];
        let mut end = interval(timeout);
        let mut left = limit;
        while left > 0 {
            let room = left.min(BATCH);
            let mut count = 0;
            // SAFETY: the port is open, and `entries` has that much room.
            let status = unsafe {
                (self.remove)(
                    self.iocp.0.as_raw_handle(),
                    entries.as_mut_ptr().cast(),
                    u32::try_from(room).unwrap_or(1),
                    &raw mut count,
                    end.as_ref().map_or(ptr::null(), ptr::from_ref),
                    0,
                )
            };
            match status {
                STATUS_SUCCESS => {}
                STATUS_TIMEOUT => return Ok(()),
                status => return Err(sys::nt_error(status)),
            }
            for entry in &entries[..count as usize] {
                // SAFETY: the call has written that many.
                let entry = unsafe { entry.assume_init_ref() };
                completions.push(match entry.lpCompletionKey {
                    // SAFETY: packets with this key bring back what a submit of `Poll` gave.
                    POLL => unsafe { afd::Poll::complete(entry.lpOverlapped) },
                    // SAFETY: packets with this key bring back what a submit of `Wait` gave.
                    WAIT => unsafe { wait::Wait::complete(entry.lpOverlapped) },
                    // SAFETY: packets with this key bring back what a submit of `Watch` gave.
                    PIPE => unsafe { named_pipe::Watch::complete(entry.lpOverlapped) },
                    _ => Completed::Notice,
                });
            }
            if (count as usize) < room {
                break;
            }
            left -= room;
            end = Some(0);
        }
        Ok(())
    }

    fn notify(&self) -> bool {
        self.iocp.post(NOTICE, ptr::null()).is_ok()
    }

    fn as_kernel(&self) -> BorrowedHandle<'_> {
        self.iocp.0.as_handle()
    }
}

/// For the kernel, which counts tenths of microseconds from now on downwards. Rounded up.
fn interval(timeout: Timeout) -> Option<i64> {
    let ticks = timeout.nanoseconds()?.div_ceil(100);
    Some(i64::try_from(ticks).map_or(i64::MIN, i64::wrapping_neg))
}

/// How an operation has ended.
#[allow(clippy::cast_possible_truncation, reason = "it is in the lower half")]
fn status(overlapped: &OVERLAPPED) -> NTSTATUS {
    (overlapped.Internal as u32).cast_signed()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    unpoisoned(mutex.lock())
}

/// Written by the kernel while something is in flight.
#[repr(transparent)]
struct KernelCell<T>(UnsafeCell<T>);

impl<T> KernelCell<T> {
    const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    fn get(&self) -> *mut T {
        self.0.get()
    }
}

impl<T> fmt::Debug for KernelCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KernelCell")
    }
}

/// Numbers, and handles and pointers that are only given to the kernel: they belong to no thread.
trait KernelData {}
impl KernelData for OVERLAPPED {}
impl KernelData for afd::PollInfo {}

// SAFETY: what it holds belongs to no thread.
unsafe impl<T: KernelData> Send for KernelCell<T> {}
// SAFETY: it is reached through a raw pointer alone, and those who use that say why they may.
unsafe impl<T: KernelData> Sync for KernelCell<T> {}
