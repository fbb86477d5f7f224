//! Systems without child processes, or without a call that waits for one and leaves it to the
//! program.

use std::io;
use std::process::Child;

use super::OwnedHandle;

pub(crate) fn exit_of(_child: &mut Child) -> io::Result<OwnedHandle> {
    Err(io::ErrorKind::Unsupported.into())
}
