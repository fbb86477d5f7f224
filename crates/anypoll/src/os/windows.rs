//! Windows: what is neither a socket nor a child's exit, and the poller's completion port.

use std::fmt;
use std::io::{self, Read};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};
use std::process::{ChildStderr, ChildStdout};
use std::ptr;

use windows_sys::Win32::Foundation::ERROR_BROKEN_PIPE;
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

pub use crate::backend::NamedPipe;
use crate::backend::{Selector, of_either};
use crate::poller::Poller;
use crate::source::{Source, sealed::Sealed};
use crate::sys::Handle;

/// The completion port of a poller, for what is done with a handle of any kind: to duplicate it, or to
/// compare it.
///
/// What arrives at it is the poller's, which takes each packet for one of its own: tie no file to
/// it, post nothing and take nothing out. An event of one's own making is posted by
/// [`Poller::post`].
#[must_use]
pub fn completion_port(poller: &Poller) -> BorrowedHandle<'_> {
    of_either!(poller.selector(), selector => selector.completion_port())
}

/// Something to wait for by its handle: an event, a process, a thread, a semaphore, a timer, the
/// console's input.
///
/// It is ready, in every direction that is asked for, while it is signalled. A report takes what a
/// wait takes: an auto-reset event is reset by it, a semaphore counted down; and so may the end of the
/// interest, by [`Interest::NONE`](crate::Interest::NONE) or a removal, when the signal comes at the
/// same time. There are no would-blocks, so in [`Mode::Edge`](crate::Mode::Edge) it is reported again
/// after [`rearm`](crate::Registered::rearm) or [`set_interest`](crate::Registered::set_interest).
///
/// Registering a mutex is refused with [`Unsupported`](io::ErrorKind::Unsupported), since a wait
/// would take it for a thread of the system's; so are files and pipes, whose signal says nothing of
/// their readiness (`io::pipe()` has none at all on Windows), and what no wait takes.
#[derive(Clone, Copy, Debug)]
pub struct Waitable<H>(H);

impl<H: AsHandle> Waitable<H> {
    /// To share the handle, give a reference or an `Arc`.
    pub fn new(handle: H) -> Self {
        Self(handle)
    }

    /// The handle.
    pub fn get_ref(&self) -> &H {
        &self.0
    }

    /// The handle.
    pub fn into_inner(self) -> H {
        self.0
    }
}

impl<H: AsHandle> Sealed for Waitable<H> {
    fn handle(&self) -> Handle<'_> {
        Handle::Waitable(self.0.as_handle())
    }
}

impl<H: AsHandle> Source for Waitable<H> {}

impl<H: AsHandle> Sealed for &Waitable<H> {
    fn handle(&self) -> Handle<'_> {
        (**self).handle()
    }
}

impl<H: AsHandle> Source for &Waitable<H> {}

/// The output of a child, made from its `ChildStdout` or `ChildStderr`.
///
/// It is readable when there is data, or at the end, and a read then does not block: it gives what
/// there is. With nothing there, a read of it is a would-block, since Windows' pipes have no such
/// mode of their own.
///
/// Without an interest in reading the end is not seen. The other end, `ChildStdin`, cannot be watched:
/// Windows does not tell when there is room in a pipe.
///
/// ```no_run
/// use anypoll::os::windows::ChildPipe;
/// use anypoll::{Interest, Mode, Poller, Token};
/// use std::process::{Command, Stdio};
///
/// let poller = Poller::new()?;
/// let mut child = Command::new("ipconfig").stdout(Stdio::piped()).spawn()?;
/// let output = ChildPipe::from(child.stdout.take().unwrap());
/// let output = poller.register(output, Token(0), Interest::READABLE, Mode::Level)?;
/// # std::io::Result::Ok(())
/// ```
pub struct ChildPipe<P>(P);

impl<P> ChildPipe<P> {
    /// std's object. Its own reads block.
    pub fn get_ref(&self) -> &P {
        &self.0
    }

    /// std's object.
    pub fn into_inner(self) -> P {
        self.0
    }
}

impl From<ChildStdout> for ChildPipe<ChildStdout> {
    fn from(pipe: ChildStdout) -> Self {
        Self(pipe)
    }
}

impl From<ChildStderr> for ChildPipe<ChildStderr> {
    fn from(pipe: ChildStderr) -> Self {
        Self(pipe)
    }
}

impl<P: AsHandle> Sealed for ChildPipe<P> {
    fn handle(&self) -> Handle<'_> {
        Handle::Pipe(self.0.as_handle())
    }
}

impl<P: AsHandle> Source for ChildPipe<P> {}

impl<P: AsHandle> Sealed for &ChildPipe<P> {
    fn handle(&self) -> Handle<'_> {
        (**self).handle()
    }
}

impl<P: AsHandle> Source for &ChildPipe<P> {}

impl<P: Read + AsHandle> Read for ChildPipe<P> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if is_empty(self.0.as_handle())? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buf)
    }
}

/// One at its end is not, so that a read says so.
fn is_empty(pipe: BorrowedHandle<'_>) -> io::Result<bool> {
    let mut available = 0;
    // SAFETY: the handle is open while it is borrowed, and there is room for the one answer that is
    // asked for.
    let done = unsafe {
        PeekNamedPipe(
            pipe.as_raw_handle(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            &raw mut available,
            ptr::null_mut(),
        )
    };
    if done != 0 {
        return Ok(available == 0);
    }
    let error = io::Error::last_os_error();
    let ended = error.raw_os_error() == Some(ERROR_BROKEN_PIPE.cast_signed());
    if ended { Ok(false) } else { Err(error) }
}

impl<P> fmt::Debug for ChildPipe<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildPipe").finish_non_exhaustive()
    }
}
