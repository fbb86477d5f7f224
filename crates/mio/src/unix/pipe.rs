//! Pipes, and those of child processes.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::io_source::{IoSource, io_source, readable, writable};

/// A new pipe, of which both ends are non-blocking and close-on-exec.
///
/// When the last sender is gone, the receiver gets an event that is read-closed, and reads the end;
/// when the last receiver is gone, the sender gets one that is write-closed or an error, and writing
/// fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe).
///
/// # Errors
///
/// The system's: no descriptors left.
///
/// ```
/// use mio::unix::pipe;
/// use mio::{Events, Interest, Poll, Token};
/// use std::io::{Read, Write};
///
/// let mut poll = Poll::new()?;
/// let (mut sender, mut receiver) = pipe::new()?;
/// poll.registry().register(&mut receiver, Token(0), Interest::READABLE)?;
///
/// sender.write_all(b"hello")?;
/// let mut events = Events::with_capacity(8);
/// poll.poll(&mut events, None)?;
/// assert!(events.iter().all(|event| event.token() == Token(0) && event.is_readable()));
/// let mut buf = [0; 16];
/// assert_eq!(receiver.read(&mut buf)?, 5);
/// # std::io::Result::Ok(())
/// ```
pub fn new() -> io::Result<(Sender, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let (sender, receiver) = (Sender(IoSource::new(writer)), Receiver(IoSource::new(reader)));
    sender.set_nonblocking(true)?;
    receiver.set_nonblocking(true)?;
    Ok((sender, receiver))
}

/// The end of a pipe that is written.
///
/// Made of a [`ChildStdin`], it is as blocking as that was: call
/// [`set_nonblocking`](Self::set_nonblocking) first.
#[derive(Debug)]
pub struct Sender(IoSource<PipeWriter>);

/// The end of a pipe that is read.
///
/// Made of a [`ChildStdout`] or [`ChildStderr`], it is as blocking as that was: call
/// [`set_nonblocking`](Self::set_nonblocking) first.
#[derive(Debug)]
pub struct Receiver(IoSource<PipeReader>);

impl Sender {
    /// Makes this end non-blocking, or blocking again, for everyone who shares it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        anypoll::set_nonblocking(self.0.get(), nonblocking)
    }
}

impl Receiver {
    /// Makes this end non-blocking, or blocking again, for everyone who shares it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        anypoll::set_nonblocking(self.0.get(), nonblocking)
    }
}

io_source!(Sender);
io_source!(Receiver);
writable!(Sender);
readable!(Receiver);

impl From<ChildStdin> for Sender {
    fn from(stdin: ChildStdin) -> Self {
        OwnedFd::from(stdin).into()
    }
}

impl From<ChildStdout> for Receiver {
    fn from(stdout: ChildStdout) -> Self {
        OwnedFd::from(stdout).into()
    }
}

impl From<ChildStderr> for Receiver {
    fn from(stderr: ChildStderr) -> Self {
        OwnedFd::from(stderr).into()
    }
}
