//! Unix: the exit of a child as a descriptor.

use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::process::Child;
use std::sync::{Arc, OnceLock};
use std::thread;

use super::fit;
use crate::backend;

#[inline]
pub(crate) fn exit_of(child: &mut Child) -> io::Result<OwnedFd> {
    let id = child.id();
    // Opened before the look: a child that is there afterwards was there all the time, so its
    // number was never another's meanwhile.
    let exit = backend::open_exit(id);
    if child.try_wait()?.is_some() {
        // Nobody holds the other end: the reader is at its end at once.
        return Ok(io::pipe()?.0.into());
    }
    if let Some(exit) = exit {
        return exit;
    }
    let (reader, writer) = io::pipe()?;
    let stat = Arc::new(OnceLock::new());
    let seen_by = Arc::clone(&stat);
    thread::Builder::new().name("anypoll-exit".into()).spawn(move || {
        // What it needs to be seen is opened before it sleeps: later there may be no descriptor left.
        let stat = File::open("/proc/thread-self/stat").map_err(|error| error.raw_os_error());
        let is_refused = out_of_descriptors(&stat).is_some();
        let _ = seen_by.set(stat);
        drop(seen_by);
        if !is_refused {
            close_after_exit(id, writer);
        }
    })?;
    // Once it sleeps in its call, that is for this child. Before, the child could be waited for, and
    // its number be given to another.
    let stat = stat.wait();
    if let Some(code) = out_of_descriptors(stat) {
        return Err(io::Error::from_raw_os_error(code));
    }
    // After another error there is nothing to look at: see the documentation of `process::Exit`.
    if let Ok(stat) = stat {
        for _ in 0..LOOKS {
            if is_asleep(stat) {
                break;
            }
            thread::yield_now();
        }
    }
    Ok(reader.into())
}

#[inline]
fn out_of_descriptors(opened: &Result<File, Option<i32>>) -> Option<i32> {
    opened.as_ref().err()?.filter(|code| matches!(*code, libc::EMFILE | libc::ENFILE))
}

/// Far more than it takes, for a kernel that does not say when a thread sleeps.
const LOOKS: usize = 100_000;

/// By the third word of [proc_pid_stat(5)]. Only of a thread that has ended it cannot be read.
///
/// [proc_pid_stat(5)]: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
#[inline]
fn is_asleep(stat: &File) -> bool {
    let mut line = [0; 64];
    stat.read_at(&mut line, 0).map_or(true, |length| {
        // The second word is the name, in parentheses.
        let after = line[..length].iter().rposition(|byte| *byte == b')');
        after.is_some_and(|at| line[at..].starts_with(b") S"))
    })
}

/// Leaves the zombie to the program. Any failure but a signal means that it is gone already.
#[inline]
fn close_after_exit(id: u32, writer: PipeWriter) {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    loop {
        // SAFETY: the kernel writes at most one `siginfo_t`, and there is room for one.
        let result = unsafe {
            libc::waitid(libc::P_PID, fit(id), info.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT)
        };
        if result == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
    drop(writer);
}
