//! Systems without child processes, or without a call that waits for one and leaves it to the
//! program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Child;

use super::OwnedHandle;
use crate::process::Exit;

impl AsFd for Exit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub(crate) fn exit_of(_child: &mut Child) -> io::Result<OwnedHandle> {
    Err(io::ErrorKind::Unsupported.into())
}
