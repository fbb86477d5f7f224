//! Unix: the exit of a child as a descriptor.

use std::fs;
use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, OnceLock};
use std::thread;

use super::fit;
use crate::backend;
use crate::process::Exit;

impl AsFd for Exit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

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
    thread::Builder::new().name("anypoll-exit".into()).spawn({
        let stat = stat.clone();
        move || {
            let _ = stat.set(own_stat());
            close_after_exit(id, writer);
        }
    })?;
    // Once it sleeps in its call, that is for this child. Before, the child could be waited for, and
    // its number be given to another.
    let stat = stat.wait();
    for _ in 0..LOOKS {
        if is_asleep(stat) {
            break;
        }
        thread::yield_now();
    }
    Ok(reader.into())
}

/// Far more than it takes, for a kernel that does not say when a thread sleeps.
const LOOKS: usize = 100_000;

/// Where the kernel says what this thread does: [proc_pid_stat(5)].
///
/// [proc_pid_stat(5)]: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
fn own_stat() -> Option<PathBuf> {
    Some(Path::new("/proc").join(fs::read_link("/proc/thread-self").ok()?).join("stat"))
}

/// What cannot be seen, such as a thread that has ended, is taken for granted.
fn is_asleep(stat: &Option<PathBuf>) -> bool {
    let stat = stat.as_ref().and_then(|stat| fs::read_to_string(stat).ok());
    stat.is_none_or(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')))
}

/// Leaves the zombie to the program. Any failure but a signal means that it is gone already.
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
