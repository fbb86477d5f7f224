//! Waits for a handle to be signalled, which end in a packet of the port.
//!
//! Where there is `NtAssociateWaitCompletionPacket` (Windows 8) the kernel makes the packet itself;
//! elsewhere (Wine) a thread of the system's pool waits and posts it. Both are one-shot, and both
//! take what a wait takes: an auto-reset event is reset, a semaphore counts down.
//!
//! The output of a child is a pipe that std reads through calls which a handle that is tied to a
//! port forbids. So it is asked by a read of no bytes at all, which ends as soon as there is data or
//! the end, and sets an event, which is what is waited for.

use std::collections::HashMap;
use std::ffi::c_void;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle as Owned};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, GENERIC_ALL, HANDLE, NTSTATUS, STATUS_CANCELLED,
    STATUS_SUCCESS, WAIT_OBJECT_0,
};
use windows_sys::Win32::Storage::FileSystem::ReadFile;
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD,
    WT_EXECUTEONLYONCE, WaitForSingleObject,
};

use super::{Iocp, KernelCell, WAIT, lock, status};
use crate::backend::completion::Completed;
use crate::backend::sources::Key;
use crate::event::Conditions;
use crate::interest::Interest;
use crate::sys::{self, OwnedHandle};

/// The waits for one handle, of which at most one is in flight.
#[derive(Debug)]
pub(crate) struct Wait(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    iocp: Arc<Iocp>,
    door: Door,
    read: Option<Read>,
    asked: Mutex<Option<Asked>>,
}

#[derive(Debug)]
struct Asked {
    key: Key,
    cancelled: bool,
    /// No packet will come unless we post it.
    ours: bool,
    pooled: Option<Pooled>,
}

/// A wait of the pool.
#[derive(Debug)]
struct Pooled {
    name: HANDLE,
    /// Which its callback gets.
    number: usize,
}

// SAFETY: the pool takes its names from any thread.
unsafe impl Send for Pooled {}

type Waits = HashMap<usize, Arc<Shared>, BuildHasherDefault<DefaultHasher>>;

/// What the pool waits for, by numbers. Wine may end a wait after it was taken back.
static POOL: Mutex<Waits> = Mutex::new(HashMap::with_hasher(BuildHasherDefault::new()));

/// How a packet is made of a signal.
#[derive(Debug)]
enum Door {
    /// A wait completion packet.
    Kernel {
        packet: Owned,
        associate: NtAssociateWaitCompletionPacket,
        cancel: NtCancelWaitCompletionPacket,
    },
    Pool,
}

/// The read of no bytes.
#[derive(Debug)]
struct Read {
    overlapped: KernelCell<OVERLAPPED>,
    event: Owned,
    /// The end of the pipe.
    ended: AtomicBool,
}

type NtCreateWaitCompletionPacket =
    unsafe extern "system" fn(*mut HANDLE, u32, *const c_void) -> NTSTATUS;
type NtAssociateWaitCompletionPacket = unsafe extern "system" fn(
    packet: HANDLE,
    port: HANDLE,
    target: HANDLE,
    key: usize,
    context: *const c_void,
    status: NTSTATUS,
    information: usize,
    already_signalled: *mut u8,
) -> NTSTATUS;
type NtCancelWaitCompletionPacket = unsafe extern "system" fn(HANDLE, u8) -> NTSTATUS;

impl Door {
    fn new() -> io::Result<Self> {
        // SAFETY: that is its type.
        let create: Option<NtCreateWaitCompletionPacket> =
            unsafe { sys::ntdll(c"NtCreateWaitCompletionPacket") };
        // SAFETY: that is its type.
        let associate = unsafe { sys::ntdll(c"NtAssociateWaitCompletionPacket") };
        // SAFETY: that is its type.
        let cancel = unsafe { sys::ntdll(c"NtCancelWaitCompletionPacket") };
        let (Some(create), Some(associate), Some(cancel)) = (create, associate, cancel) else {
            return Ok(Self::Pool);
        };
        let mut packet = ptr::null_mut();
        // SAFETY: there is room for the handle.
        let status = unsafe { create(&raw mut packet, GENERIC_ALL, ptr::null()) };
        if status != STATUS_SUCCESS {
            return Err(sys::nt_error(status));
        }
        // SAFETY: it has just been made, and nobody else knows of it.
        let packet = unsafe { Owned::from_raw_handle(packet) };
        Ok(Self::Kernel { packet, associate, cancel })
    }
}

impl Wait {
    pub(super) fn new(iocp: &Arc<Iocp>, handle: &OwnedHandle) -> io::Result<Self> {
        let read = match handle {
            OwnedHandle::Pipe(_) => Some(Read::new()?),
            _ => None,
        };
        Ok(Self(Arc::new(Shared {
            iocp: Arc::clone(iocp),
            door: Door::new()?,
            read,
            asked: Mutex::new(None),
        })))
    }

    pub(super) fn submit(&self, handle: &Owned, key: Key, wanted: Interest) -> io::Result<()> {
        let shared = &*self.0;
        let mut asked = lock(&shared.asked);
        if asked.is_some() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let mut new = Asked { key, cancelled: false, ours: true, pooled: None };
        let answered = match &shared.read {
            Some(_) => Interest::READABLE,
            None => Interest::READABLE | Interest::WRITABLE,
        };
        // Else there is nothing to wait for, but for the cancellation.
        if wanted.intersects(answered) {
            let over = match &shared.read {
                Some(read) => read.start(handle)?,
                None => false,
            };
            let target = shared.read.as_ref().map_or(handle, |read| &read.event);
            if let Err(error) = self.wait(target, over, &mut new) {
                if let (Some(read), false) = (&shared.read, over) {
                    read.stop(handle);
                }
                return Err(error);
            }
        }
        *asked = Some(new);
        Ok(())
    }

    fn wait(&self, target: &Owned, over: bool, asked: &mut Asked) -> io::Result<()> {
        let shared = &*self.0;
        asked.ours = false;
        if over {
            return self.post();
        }
        match &shared.door {
            Door::Kernel { packet, associate, .. } => {
                let reference = Arc::into_raw(Arc::clone(&self.0));
                // SAFETY: all three handles are open, and the port only gives the pointer back.
                let status = unsafe {
                    associate(
                        packet.as_raw_handle(),
                        shared.iocp.0.as_raw_handle(),
                        target.as_raw_handle(),
                        WAIT,
                        reference.cast(),
                        STATUS_SUCCESS,
                        0,
                        ptr::null_mut(),
                    )
                };
                if status == STATUS_SUCCESS {
                    return Ok(());
                }
                // SAFETY: it comes from `Arc::into_raw`, and no packet will bring it.
                drop(unsafe { Arc::from_raw(reference) });
                Err(sys::nt_error(status))
            }
            Door::Pool => {
                static LAST: AtomicUsize = AtomicUsize::new(0);

                // What is there already is reported even to who only looks.
                // SAFETY: the handle is open.
                if unsafe { WaitForSingleObject(target.as_raw_handle(), 0) } == WAIT_OBJECT_0 {
                    return self.post();
                }
                let number = LAST.fetch_add(1, SeqCst);
                lock(&POOL).insert(number, Arc::clone(&self.0));
                let mut name = ptr::null_mut();
                // SAFETY: the handle is open, and stays so until the wait is over or unregistered.
                let done = unsafe {
                    RegisterWaitForSingleObject(
                        &raw mut name,
                        target.as_raw_handle(),
                        Some(fire),
                        ptr::without_provenance(number),
                        INFINITE,
                        WT_EXECUTEINWAITTHREAD | WT_EXECUTEONLYONCE,
                    )
                };
                if done == 0 {
                    let error = io::Error::last_os_error();
                    lock(&POOL).remove(&number);
                    return Err(error);
                }
                asked.pooled = Some(Pooled { name, number });
                Ok(())
            }
        }
    }

    /// Gives a reference to a packet.
    fn post(&self) -> io::Result<()> {
        let reference = Arc::into_raw(Arc::clone(&self.0));
        self.0.iocp.post(WAIT, reference.cast()).inspect_err(|_| {
            // SAFETY: it comes from `Arc::into_raw`, and no packet will bring it.
            drop(unsafe { Arc::from_raw(reference) });
        })
    }

    pub(super) fn cancel(&self, handle: &Owned) {
        let shared = &*self.0;
        let mut asked = lock(&shared.asked);
        let Some(asked) = &mut *asked else { return };
        if let (false, Some(read)) = (asked.ours, &shared.read) {
            // Its end sets the event, and that brings the packet.
            return read.cancel(handle);
        }
        if asked.ours || self.take_back(asked) {
            asked.cancelled = true;
            // Fails only without memory in the kernel; then it is never over: the poller has no end.
            let _ = self.post();
        }
    }

    /// Ends a wait, unless its packet is made already. Returns whether there will be none.
    fn take_back(&self, asked: &mut Asked) -> bool {
        match &self.0.door {
            // A packet that is in the port stays there. `STATUS_PENDING` is one on its way.
            Door::Kernel { packet, cancel, .. } => {
                // SAFETY: the packet is open.
                let taken = unsafe { cancel(packet.as_raw_handle(), 0) } == STATUS_SUCCESS;
                if taken {
                    // SAFETY: the reference that the wait was given, which nothing brings back now.
                    unsafe { Arc::decrement_strong_count(Arc::as_ptr(&self.0)) };
                }
                taken
            }
            Door::Pool => {
                let taken = asked.pooled.take_if(|wait| lock(&POOL).remove(&wait.number).is_some());
                taken.map(Pooled::unregister).is_some()
            }
        }
    }

    /// # Safety
    ///
    /// The packet with this pointer came from the port with the key `WAIT`, and this is the only
    /// call for it.
    pub(super) unsafe fn complete(pointer: *mut OVERLAPPED) -> Completed {
        // SAFETY: such packets bring a reference that was given away.
        let shared = unsafe { Arc::from_raw(pointer.cast_const().cast::<Shared>()) };
        let Asked { key, cancelled, pooled, .. } =
            lock(&shared.asked).take().expect("it was asked");
        if let Some(wait) = pooled {
            wait.unregister();
        }
        if cancelled {
            return Completed::Cancelled(key);
        }
        let Some(read) = &shared.read else {
            // A handle has no directions, so it is ready in whichever is asked for.
            return Completed::Answer(key, Conditions::READ | Conditions::WRITE);
        };
        match read.answer() {
            Some(conditions) => Completed::Answer(key, conditions),
            None => Completed::Cancelled(key),
        }
    }
}

impl Pooled {
    /// Returns at once: to wait for its end is to wait for whatever else the pool's thread runs.
    fn unregister(self) {
        // SAFETY: the name is the pool's, and used for the last time.
        unsafe { UnregisterWaitEx(self.name, ptr::null_mut()) };
    }
}

/// The pool's callback.
unsafe extern "system" fn fire(number: *mut c_void, _timed_out: bool) {
    let shared = lock(&POOL).remove(&number.addr());
    if let Some(shared) = shared {
        // Fails only without memory in the kernel; then it is never over: the poller has no end.
        let _ = Wait(shared).post();
    }
}

impl Read {
    fn new() -> io::Result<Self> {
        Ok(Self {
            overlapped: KernelCell::new(OVERLAPPED::default()),
            event: sys::manual_event()?,
            ended: AtomicBool::new(false),
        })
    }

    /// Returns whether it is over already, without the event.
    fn start(&self, pipe: &Owned) -> io::Result<bool> {
        let overlapped = OVERLAPPED { hEvent: self.event.as_raw_handle(), ..OVERLAPPED::default() };
        self.ended.store(false, SeqCst);
        // SAFETY: nothing is in flight, and who would look at it holds the lock that our caller holds.
        unsafe { self.overlapped.get().write(overlapped) };
        // SAFETY: the handles are open, no byte is written, and the structure lives until the event
        // is set: the wait for it has a reference.
        let done = unsafe {
            ReadFile(
                pipe.as_raw_handle(),
                ptr::NonNull::dangling().as_ptr(),
                0,
                ptr::null_mut(),
                self.overlapped.get(),
            )
        };
        let error = io::Error::last_os_error();
        match error.raw_os_error().map(i32::cast_unsigned) {
            _ if done != 0 => Ok(false),
            Some(ERROR_IO_PENDING) => Ok(false),
            Some(ERROR_BROKEN_PIPE) => {
                self.ended.store(true, SeqCst);
                Ok(true)
            }
            _ => Err(error),
        }
    }

    fn cancel(&self, pipe: &Owned) {
        // SAFETY: the handle is open; the pointer serves only to tell which read is meant.
        unsafe { CancelIoEx(pipe.as_raw_handle(), self.overlapped.get()) };
    }

    /// Cancels, and outlasts it.
    fn stop(&self, pipe: &Owned) {
        self.cancel(pipe);
        let mut count = 0;
        // SAFETY: the handle is open, and the structure is that of a read that was started.
        unsafe {
            GetOverlappedResult(pipe.as_raw_handle(), self.overlapped.get(), &raw mut count, 1)
        };
    }

    /// What the end of the read means. `None` if it was cancelled.
    fn answer(&self) -> Option<Conditions> {
        if self.ended.load(SeqCst) {
            return Some(Conditions::HANG_UP);
        }
        // SAFETY: the kernel has done with it, and nothing is asked before this is settled.
        let overlapped = unsafe { self.overlapped.get().read() };
        match status(&overlapped) {
            STATUS_CANCELLED => None,
            status if status < 0 => Some(Conditions::HANG_UP),
            _ => Some(Conditions::READ),
        }
    }
}
