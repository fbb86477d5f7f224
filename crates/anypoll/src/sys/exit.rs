//! Unix: the exit of a child as a descriptor.

use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
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
    thread::Builder::new()
        .name("anypoll-exit".into())
        .spawn(move || close_after_exit(id, writer))?;
    Ok(reader.into())
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
