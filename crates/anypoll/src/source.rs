//! What can be watched.

use crate::sys::{self, AsHandle, Handle};

pub(crate) mod sealed {
    pub trait Sealed {
        fn handle(&self) -> super::Handle<'_>;
    }
}

/// An object that a [`Poller`](crate::Poller) can watch.
///
/// Everything that lends its descriptor is one: on Unix and WASI whatever implements [`AsFd`]
/// (`TcpStream`, `UnixDatagram`, `ChildStdout`, `io::PipeReader`, `File`, `Stdin`, `OwnedFd`,
/// `socket2::Socket`, …), on Windows whatever implements `AsSocket`, and what `os::windows` has; and
/// so are references to it, `Arc`, `Box`, and `BorrowedFd`. A `Child` is none itself: its exit is
/// ([`process::Exit`](crate::process::Exit)), and so are its `stdin`, `stdout` and `stderr`. What each
/// of std's objects wants and tells is in the repository's table, `docs/objects.md`.
///
/// `Stdin` buffers what it has read, and what is in its buffer causes no event: watch its descriptor,
/// and read that through a `File`.
///
/// ```
/// # #[cfg(unix)] {
/// use std::fs::File;
/// use std::os::fd::AsFd;
///
/// use anypoll::{Interest, Mode, Poller, Token};
///
/// let poller = Poller::new()?;
/// let input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
/// let input = poller.register(input, Token(0), Interest::READABLE, Mode::Level)?;
/// # drop(input);
/// # }
/// # std::io::Result::Ok(())
/// ```
///
/// The trait is sealed and has nothing to call. A descriptor is asked for anew for each operation;
/// a backend that must remember one keeps a duplicate of its own, so an implementation of `AsFd`
/// that answers differently each time gets wrong events and nothing worse.
///
/// [`AsFd`]: https://doc.rust-lang.org/std/os/fd/trait.AsFd.html
#[diagnostic::on_unimplemented(
    message = "`{Self}` lends no descriptor that a poller could watch",
    note = "of a `Child`, register its exit (`anypoll::process::Exit`), `stdout` and `stderr`; of a \
            wrapper such as `BufReader`, what is inside",
    note = "on Windows, a child's output is wrapped in `anypoll::os::windows::ChildPipe`, any other \
            handle that can be waited for in `Waitable`"
)]
pub trait Source: sealed::Sealed {}

impl<T: AsHandle + ?Sized> sealed::Sealed for T {
    fn handle(&self) -> Handle<'_> {
        sys::handle(self)
    }
}

impl<T: AsHandle + ?Sized> Source for T {}
