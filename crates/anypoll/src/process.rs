//! Beside `std::process`: a child's exit as something to watch.

use std::io;
use std::process::Child;

use crate::sys::{self, OwnedHandle};

/// Readable once a child process has exited, and from then on.
///
/// It tells only that; [`Child::try_wait`] then gives the status and leaves no zombie. (macOS and
/// OpenBSD may tell a moment before the child can be waited for, and `try_wait` then knows nothing
/// yet; [`Child::wait`] sleeps no longer than that moment.) It stands beside the child, in no need of
/// it: dropping either does nothing to the other.
///
/// On Linux it is a pidfd ([pidfd_open(2)]), on macOS and the BSDs a kqueue of its own, on Windows
/// the handle of the process. Where there is none of these (Android, Linux before 5.3, a sandbox
/// that forbids it, other Unixes) a thread of its own sleeps in [waitid(2)] until the child has exited, also if
/// the `Exit` was dropped before. There, call neither `wait` nor `try_wait` before the exit was
/// reported, unless it is a Linux or Android with `/proc` mounted. `SIGCHLD` is left to the program, and
/// may be ignored.
///
/// The exit and the ends of the child's outputs come in any order, and a grandchild may hold an
/// output open for long after: read each until `Ok(0)`, or after the exit until it would block.
///
/// ```
/// use anypoll::{Events, Interest, Mode, Poller, Token, process};
/// use std::process::Command;
///
/// let poller = Poller::new()?;
/// let mut child = Command::new("whoami").spawn()?;
/// let exit = process::Exit::of(&mut child)?;
/// let exit = poller.register(exit, Token(0), Interest::READABLE, Mode::Level)?;
///
/// let mut events = Events::default();
/// poller.wait(&mut events, None)?;
/// assert_eq!(events.get(0).unwrap().token(), exit.token());
/// assert!(child.try_wait()?.is_some());
/// # std::io::Result::Ok(())
/// ```
///
/// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
/// [waitid(2)]: https://pubs.opengroup.org/onlinepubs/9799919799/functions/waitid.html
#[derive(Debug)]
pub struct Exit(pub(crate) OwnedHandle);

impl Exit {
    /// The exit of this child, and of no other: a process that got its number later is never
    /// watched.
    ///
    /// On Unix it calls [`Child::try_wait`]. A child that has exited before gives what is ready at once.
    ///
    /// # Errors
    ///
    /// Those of `try_wait`: on Unix `ECHILD` if something else in the program has waited for the
    /// child, or if `SIGCHLD` is ignored. [`Unsupported`](io::ErrorKind::Unsupported) on WASI,
    /// Hermit, ESP-IDF, Redox and Cygwin. The system's: no descriptors or no memory left.
    #[inline]
    pub fn of(child: &mut Child) -> io::Result<Self> {
        sys::exit_of(child).map(Self)
    }
}
