//! By the next instruction: there is no call that tells.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::System::Diagnostics::Debug as debug;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{
    GetCurrentThreadId, OpenThread, ResumeThread, SuspendThread, THREAD_GET_CONTEXT,
    THREAD_SUSPEND_RESUME,
};

pub(crate) fn this_thread() -> u32 {
    // SAFETY: it has no conditions.
    unsafe { GetCurrentThreadId() }
}

/// Whether the thread's next instruction is behind the system call with which a poller waits.
pub(crate) fn is_asleep(thread: &u32) -> bool {
    /// A function that makes a system call is not longer.
    const LENGTH: u64 = 32;

    /// What the call wants it to be.
    #[repr(align(16))]
    struct Aligned(debug::CONTEXT);

    // SAFETY: the name is a C string. Every process has this library for all its life.
    let ntdll = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    // SAFETY: as above.
    let call = unsafe { GetProcAddress(ntdll, c"NtRemoveIoCompletionEx".as_ptr().cast()) };
    let call = call.unwrap() as usize as u64;
    // SAFETY: it takes a number.
    let thread = unsafe { OpenThread(THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT, 0, *thread) };
    if thread.is_null() {
        return false;
    }
    // SAFETY: it has just been made, and nobody else knows of it.
    let thread = unsafe { OwnedHandle::from_raw_handle(thread) };
    let mut context = Aligned(debug::CONTEXT::default());
    context.0.ContextFlags = debug::CONTEXT_CONTROL_AMD64;
    // Nothing that the thread may have locked is asked for until it goes on.
    // SAFETY: the handle is open.
    unsafe { SuspendThread(thread.as_raw_handle()) };
    // SAFETY: the handle is open, and there is room for the answer.
    let done = unsafe { debug::GetThreadContext(thread.as_raw_handle(), &raw mut context.0) };
    // SAFETY: the handle is open.
    unsafe { ResumeThread(thread.as_raw_handle()) };
    done != 0 && (call..call + LENGTH).contains(&context.0.Rip)
}
