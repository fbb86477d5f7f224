//! AFD polls: the driver beneath Winsock tells, once, when something of what was asked for holds.
//!
//! A poll is sent through a *helper*, a handle of `\Device\Afd` that stands for no socket and is tied
//! to the completion port. About 32 sockets share one: the kernel searches the requests of a handle
//! in sequence when one is to be cancelled.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle as Owned};
use std::ptr;
use std::sync::{Arc, Mutex, Weak};

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{FILE_OPEN, NtCreateFile};
use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, HANDLE, NTSTATUS, STATUS_CANCELLED, STATUS_SUCCESS, UNICODE_STRING,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_SHARE_READ, FILE_SHARE_WRITE, SYNCHRONIZE, SetFileCompletionNotificationModes,
};
use windows_sys::Win32::System::IO::{CancelIoEx, DeviceIoControl, IO_STATUS_BLOCK, OVERLAPPED};
use windows_sys::Win32::System::WindowsProgramming::RtlInitUnicodeString;
use windows_sys::w;

use super::{Iocp, KernelCell, POLL, lock, status};
use crate::backend::completion::Completed;
use crate::backend::sources::Key;
use crate::event::Conditions;
use crate::interest::Interest;
use crate::sys;

/// `FILE_SKIP_SET_EVENT_ON_HANDLE`, which windows-sys has in another type.
const SKIP_SET_EVENT_ON_HANDLE: u8 = 2;

const IOCTL_AFD_POLL: u32 = 0x0001_2024;

const RECEIVE: u32 = 0x1;
const RECEIVE_EXPEDITED: u32 = 0x2;
const SEND: u32 = 0x4;
/// The peer has ended its direction.
const DISCONNECT: u32 = 0x8;
/// The connection was reset.
const ABORT: u32 = 0x10;
/// The socket's last handle was closed.
const LOCAL_CLOSE: u32 = 0x20;
const ACCEPT: u32 = 0x80;
const CONNECT_FAIL: u32 = 0x100;

const FAILED: Conditions = Conditions::READ
    .union(Conditions::WRITE)
    .union(Conditions::ERROR)
    .union(Conditions::HANG_UP)
    .union(Conditions::READ_HANG_UP);

/// What each of AFD's events means.
const MEANINGS: [(u32, Conditions); 8] = [
    (RECEIVE, Conditions::READ),
    (ACCEPT, Conditions::READ),
    (RECEIVE_EXPEDITED, Conditions::PRIORITY),
    (SEND, Conditions::WRITE),
    (DISCONNECT, Conditions::READ.union(Conditions::READ_HANG_UP)),
    (ABORT, FAILED),
    (CONNECT_FAIL, FAILED),
    (LOCAL_CLOSE, Conditions::HANG_UP),
];

fn events(wanted: Interest) -> u32 {
    let asked = Conditions::of(wanted).union(Conditions::HANG_UP);
    MEANINGS.iter().filter(|(_, means)| means.intersects(asked)).map(|(event, _)| event).sum()
}

fn conditions(events: u32) -> Conditions {
    let said = MEANINGS.iter().filter(|(event, _)| events & event != 0);
    said.fold(Conditions::NONE, |all, (_, means)| all | *means)
}

/// `AFD_POLL_INFO`, for one handle: both question and answer.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct PollInfo {
    timeout: i64,
    handle_count: u32,
    exclusive: u32,
    handle: HANDLE,
    events: u32,
    status: NTSTATUS,
}

/// Handles of `\Device\Afd`, each for some sockets.
#[derive(Debug, Default)]
pub(super) struct Helpers(Mutex<Weak<Owned>>);

impl Helpers {
    const SHARED_BY: usize = 32;

    pub(super) fn poll(&self, iocp: &Iocp) -> io::Result<Poll> {
        let mut current = lock(&self.0);
        let helper = match current.upgrade() {
            // Each poll has a reference, and so have we.
            Some(helper) if Arc::strong_count(&helper) <= Self::SHARED_BY => helper,
            _ => {
                let helper = Arc::new(open()?);
                iocp.associate(&helper, POLL)?;
                *current = Arc::downgrade(&helper);
                helper
            }
        };
        Ok(Poll(Arc::new(Shared {
            overlapped: KernelCell::new(OVERLAPPED::default()),
            info: KernelCell::new(PollInfo {
                timeout: i64::MAX,
                handle_count: 1,
                exclusive: 0,
                handle: ptr::null_mut(),
                events: 0,
                status: STATUS_SUCCESS,
            }),
            asked: Mutex::new(None),
            helper,
        })))
    }
}

fn open() -> io::Result<Owned> {
    let mut name = UNICODE_STRING::default();
    // SAFETY: the literal ends with a zero and lives for ever.
    unsafe { RtlInitUnicodeString(&raw mut name, w!("\\Device\\Afd\\anypoll")) };
    let attributes = OBJECT_ATTRIBUTES {
        Length: sys::size::<OBJECT_ATTRIBUTES>(),
        ObjectName: &raw const name,
        ..OBJECT_ATTRIBUTES::default()
    };
    let mut handle = ptr::null_mut();
    let mut status = IO_STATUS_BLOCK::default();
    // SAFETY: all pointers are to live variables, or null where that is allowed.
    let result = unsafe {
        NtCreateFile(
            &raw mut handle,
            SYNCHRONIZE,
            &raw const attributes,
            &raw mut status,
            ptr::null(),
            0,
            FILE_SHARE_READ | FILE_SHARE_WRITE,
            FILE_OPEN,
            0,
            ptr::null(),
            0,
        )
    };
    if result != STATUS_SUCCESS {
        return Err(sys::nt_error(result));
    }
    // SAFETY: it has just been opened, and nobody else knows of it.
    let handle = unsafe { Owned::from_raw_handle(handle) };
    // Nobody waits for the file itself. Where this is refused, it is only slower.
    // SAFETY: the handle is open.
    unsafe { SetFileCompletionNotificationModes(handle.as_raw_handle(), SKIP_SET_EVENT_ON_HANDLE) };
    Ok(handle)
}

/// The polls of one socket, of which at most one is in flight.
#[derive(Debug)]
pub(crate) struct Poll(Arc<Shared>);

#[derive(Debug)]
#[repr(C)]
struct Shared {
    /// The first, so that its address is the whole's.
    overlapped: KernelCell<OVERLAPPED>,
    info: KernelCell<PollInfo>,
    /// Who asked, while a poll is in flight: the kernel then has a reference to all this, and
    /// writes to the two cells.
    asked: Mutex<Option<Key>>,
    helper: Arc<Owned>,
}

impl Poll {
    pub(super) fn submit(&self, socket: &Owned, key: Key, wanted: Interest) -> io::Result<()> {
        let shared = &*self.0;
        let mut asked = lock(&shared.asked);
        if asked.is_some() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let info = PollInfo {
            timeout: i64::MAX,
            handle_count: 1,
            exclusive: 0,
            handle: socket.as_raw_handle(),
            events: events(wanted),
            status: STATUS_SUCCESS,
        };
        // SAFETY: nothing is in flight, and who would look at it holds the lock that we hold.
        unsafe { shared.info.get().write(info) };
        // SAFETY: as above.
        unsafe { shared.overlapped.get().write(OVERLAPPED::default()) };
        let reference = Arc::into_raw(Arc::clone(&self.0));
        let size = sys::size::<PollInfo>();
        // SAFETY: the helper is open. Both cells live, and only the kernel writes to them, until the
        // packet that ends this poll has brought back the reference.
        let done = unsafe {
            DeviceIoControl(
                shared.helper.as_raw_handle(),
                IOCTL_AFD_POLL,
                shared.info.get().cast(),
                size,
                shared.info.get().cast(),
                size,
                ptr::null_mut(),
                reference.cast_mut().cast(),
            )
        };
        let error = io::Error::last_os_error();
        if done == 0 && error.raw_os_error() != Some(ERROR_IO_PENDING.cast_signed()) {
            // SAFETY: it comes from `Arc::into_raw`, and no packet will bring it.
            drop(unsafe { Arc::from_raw(reference) });
            return Err(error);
        }
        *asked = Some(key);
        Ok(())
    }

    /// Not finding it is right: its packet is on the way.
    pub(super) fn cancel(&self) {
        let Shared { helper, overlapped, .. } = &*self.0;
        // SAFETY: the helper is open; the pointer serves only to tell which poll is meant.
        unsafe { CancelIoEx(helper.as_raw_handle(), overlapped.get()) };
    }

    /// # Safety
    ///
    /// The packet with this pointer came from the port with the key `POLL`, and this is the only
    /// call for it.
    pub(super) unsafe fn complete(overlapped: *mut OVERLAPPED) -> Completed {
        // SAFETY: such packets bring the reference that `submit` gave away.
        let shared = unsafe { Arc::from_raw(overlapped.cast_const().cast::<Shared>()) };
        let key = lock(&shared.asked).take().expect("it was asked");
        // SAFETY: the kernel has done with it, and nothing is asked before this is settled.
        let overlapped = unsafe { shared.overlapped.get().read() };
        // SAFETY: as above.
        let info = unsafe { shared.info.get().read() };
        match status(&overlapped) {
            STATUS_CANCELLED => Completed::Cancelled(key),
            // The question itself was refused, too late for `submit` to say so.
            status if status < 0 => Completed::Answer(key, Conditions::ERROR),
            _ if info.handle_count == 0 => Completed::Cancelled(key),
            _ => Completed::Answer(key, conditions(info.events)),
        }
    }
}
