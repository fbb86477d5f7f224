//! By the thread's port.

use std::mem;

pub(crate) fn this_thread() -> libc::mach_port_t {
    // SAFETY: it cannot fail.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: this thread is there. The port stays the thread's.
    unsafe { libc::pthread_mach_thread_np(me) }
}

pub(crate) fn is_asleep(thread: &libc::mach_port_t) -> bool {
    // SAFETY: it is made of numbers alone.
    let mut info: libc::thread_basic_info = unsafe { mem::zeroed() };
    let mut count = libc::THREAD_BASIC_INFO_COUNT;
    // SAFETY: there is room for as many words as is said.
    let result = unsafe {
        libc::thread_info(
            *thread,
            libc::THREAD_BASIC_INFO.cast_unsigned(),
            (&raw mut info).cast(),
            &raw mut count,
        )
    };
    result == libc::KERN_SUCCESS && info.run_state == libc::TH_STATE_WAITING
}
