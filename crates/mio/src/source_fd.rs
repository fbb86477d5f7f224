//! Anything that has a descriptor.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use crate::event::Source;
use crate::io_source::{add, modify};
use crate::{Interest, Registry, Token};

/// Registers anything that has a descriptor, by its number.
///
/// The object stays the program's: it makes it non-blocking, reads and writes it, and closes it, which
/// it should do only after deregistering. The number must name an open descriptor meanwhile; one
/// that was closed is an error or watches whatever was opened under it since.
///
/// Where the kernel has no edges (all systems but those with epoll or kqueue), `reregister` it after
/// each would-block, which this crate does not see.
///
/// ```
/// # #[cfg(unix)] {
/// use mio::unix::SourceFd;
/// use mio::{Events, Interest, Poll, Token};
/// use std::io::Write;
/// use std::os::fd::AsRawFd;
///
/// let mut poll = Poll::new()?;
/// let (reader, mut writer) = std::io::pipe()?;
/// poll.registry().register(&mut SourceFd(&reader.as_raw_fd()), Token(3), Interest::READABLE)?;
///
/// writer.write_all(b"ready")?;
/// let mut events = Events::with_capacity(8);
/// poll.poll(&mut events, None)?;
/// assert!(events.iter().any(|event| event.token() == Token(3)));
/// # }
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct SourceFd<'a>(pub &'a RawFd);

impl Source for SourceFd<'_> {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        add(registry, &borrow(self.0)?, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        modify(registry, &borrow(self.0)?, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.poller.remove(&borrow(self.0)?)
    }
}

/// A descriptor that is known by its number only.
fn borrow(fd: &RawFd) -> io::Result<BorrowedFd<'_>> {
    if *fd < 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a descriptor is never negative"));
    }
    // SAFETY: whoever names a descriptor by its number answers for its being open meanwhile. Here
    // it is only handed to the kernel to be watched, or not any more: one that is closed is an
    // error, one that was opened anew gets wrong events, and neither is used for anything else.
    Ok(unsafe { BorrowedFd::borrow_raw(*fd) })
}
