//! By sysctl(3), which has a record for each thread of a process.

use std::{process, ptr};

use libc::c_int;

/// More threads than any test has.
const ROOM: usize = 512;

/// What all of these call a thread that sleeps.
const ASLEEP: i8 = 3;

#[cfg(target_os = "freebsd")]
mod system {
    pub(super) use libc::kinfo_proc as Record;
    use libc::{KERN_PROC, KERN_PROC_INC_THREAD, KERN_PROC_PID, c_int};

    pub(super) fn question(process: c_int) -> Vec<c_int> {
        vec![libc::CTL_KERN, KERN_PROC, KERN_PROC_PID | KERN_PROC_INC_THREAD, process]
    }

    pub(crate) fn this_thread() -> i32 {
        // SAFETY: it has no conditions.
        unsafe { libc::pthread_getthreadid_np() }
    }

    pub(super) fn name_and_state(of: &Record) -> (i32, i8) {
        (of.ki_tid, of.ki_stat)
    }
}

#[cfg(target_os = "netbsd")]
mod system {
    use libc::c_int;
    pub(super) use libc::kinfo_lwp as Record;

    pub(super) fn question(process: c_int) -> Vec<c_int> {
        let [size, room] = [size_of::<Record>(), super::ROOM].map(|n| n.try_into().unwrap());
        vec![libc::CTL_KERN, libc::KERN_LWP, process, size, room]
    }

    pub(crate) fn this_thread() -> i32 {
        // SAFETY: it has no conditions.
        unsafe { libc::_lwp_self() }
    }

    pub(super) fn name_and_state(of: &Record) -> (i32, i8) {
        (of.l_lid, of.l_stat)
    }
}

#[cfg(target_os = "openbsd")]
mod system {
    pub(super) use libc::kinfo_proc as Record;
    use libc::{KERN_PROC, KERN_PROC_PID, KERN_PROC_SHOW_THREADS, c_int};

    pub(super) fn question(process: c_int) -> Vec<c_int> {
        let [size, room] = [size_of::<Record>(), super::ROOM].map(|n| n.try_into().unwrap());
        let threads = KERN_PROC_PID | KERN_PROC_SHOW_THREADS;
        vec![libc::CTL_KERN, KERN_PROC, threads, process, size, room]
    }

    pub(crate) fn this_thread() -> i32 {
        // SAFETY: it has no conditions.
        unsafe { libc::getthrid() }
    }

    pub(super) fn name_and_state(of: &Record) -> (i32, i8) {
        (of.p_tid, of.p_stat)
    }
}

pub(crate) use system::this_thread;
use system::{Record, name_and_state, question};

pub(crate) fn is_asleep(thread: &i32) -> bool {
    let mut question = question(c_int::try_from(process::id()).unwrap());
    let mut records = Vec::<Record>::with_capacity(ROOM);
    let mut size = ROOM * size_of::<Record>();
    // SAFETY: the question is as long as is said, and there is as much room as is said.
    let result = unsafe {
        libc::sysctl(
            question.as_mut_ptr(),
            question.len().try_into().unwrap(),
            records.as_mut_ptr().cast(),
            &raw mut size,
            ptr::null_mut(),
            0,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has written this many, and they are made of numbers and pointers alone.
    unsafe { records.set_len(size / size_of::<Record>()) };
    records.iter().map(name_and_state).any(|found| found == (*thread, ASLEEP))
}
