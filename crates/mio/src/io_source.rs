//! An object together with what its registration needs: every type of this crate that can be read
//! or written is one of these inside.
//!
//! A kernel with edges keeps the whole registration, and forgets it when the object is closed.
//! Elsewhere the poller must be told of each call that would have blocked, and holds a duplicate,
//! which must go when the object does: there, and only there, a registered source has a `Link`.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(debug_assertions)]
use std::sync::{Arc, Weak};

use anypoll::{AlwaysReadyObject, Mode, Poller};

use crate::event::Source;
#[cfg(debug_assertions)]
use crate::poll::Identity;
use crate::{Interest, Registry, Token};

pub(crate) struct IoSource<S> {
    // Before the object, so that it is dropped while the descriptor is open.
    link: Option<Box<Link>>,
    #[cfg(debug_assertions)]
    registered_with: Weak<Identity>,
    object: S,
}

struct Link {
    poller: Poller,
    fd: RawFd,
}

impl Drop for Link {
    fn drop(&mut self) {
        // What is not there any more need not be removed.
        let _ = borrow(&self.fd).and_then(|fd| self.poller.remove(&fd));
    }
}

impl<S> IoSource<S> {
    pub(crate) fn new(object: S) -> Self {
        Self {
            link: None,
            #[cfg(debug_assertions)]
            registered_with: Weak::new(),
            object,
        }
    }

    /// The object, for calls that never would block.
    pub(crate) fn get(&self) -> &S {
        &self.object
    }

    pub(crate) fn into_inner(self) -> S {
        self.object
    }

    /// Runs a call on the object that may answer that it would block.
    pub(crate) fn run<T>(
        &self,
        direction: anypoll::Interest,
        call: impl FnOnce(&S) -> io::Result<T>,
    ) -> io::Result<T>
    where
        S: AsFd,
    {
        let result = call(&self.object);
        if let (Some(link), Err(error)) = (&self.link, &result) {
            if error.kind() == io::ErrorKind::WouldBlock {
                // The would-block is the news. Not being registered any more is no error, and a
                // failed change is tried again by the next wait.
                let _ = link.poller.rearm(&self.object, direction);
            }
        }
        result
    }
}

/// The directions of a call that may do anything.
pub(crate) fn any_direction() -> anypoll::Interest {
    anypoll::Interest::READABLE | anypoll::Interest::WRITABLE | anypoll::Interest::PRIORITY
}

impl<S: AsFd> Source for IoSource<S> {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        #[cfg(debug_assertions)]
        if self.registered_with.strong_count() > 0 {
            return Err(misuse(
                io::ErrorKind::AlreadyExists,
                "I/O source already registered with a `Registry`",
            ));
        }
        add(registry, &self.object, token, interests)?;
        #[cfg(debug_assertions)]
        {
            self.registered_with = Arc::downgrade(&registry.identity);
        }
        if !registry.poller.has_edges() {
            let poller = registry.poller.clone();
            match &mut self.link {
                // Taken off behind our back, so there is nothing to remove.
                Some(link) => link.poller = poller,
                None => {
                    let fd = self.object.as_fd().as_raw_fd();
                    self.link = Some(Box::new(Link { poller, fd }));
                }
            }
        }
        Ok(())
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        #[cfg(debug_assertions)]
        self.check(registry)?;
        modify(registry, &self.object, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        #[cfg(debug_assertions)]
        self.check(registry)?;
        registry.poller.remove(&self.object)?;
        self.link = None;
        #[cfg(debug_assertions)]
        {
            self.registered_with = Weak::new();
        }
        Ok(())
    }
}

#[cfg(debug_assertions)]
impl<S> IoSource<S> {
    fn check(&self, registry: &Registry) -> io::Result<()> {
        if std::ptr::eq(self.registered_with.as_ptr(), Arc::as_ptr(&registry.identity)) {
            Ok(())
        } else if self.registered_with.strong_count() == 0 {
            Err(misuse(io::ErrorKind::NotFound, "I/O source not registered with `Registry`"))
        } else {
            Err(misuse(
                io::ErrorKind::AlreadyExists,
                "I/O source already registered with a different `Registry`",
            ))
        }
    }
}

/// In words that programs' tests know.
#[cfg(debug_assertions)]
fn misuse(kind: io::ErrorKind, what: &str) -> io::Error {
    io::Error::new(kind, what)
}

impl<S: fmt::Debug> fmt::Debug for IoSource<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.fmt(f)
    }
}

pub(crate) fn add(
    registry: &Registry,
    object: &impl AsFd,
    token: Token,
    interests: Interest,
) -> io::Result<()> {
    let token = anypoll::Token(token.0);
    registry.poller.add(object, token, interests.into(), Mode::Edge, AlwaysReadyObject::Refuse)
}

pub(crate) fn modify(
    registry: &Registry,
    object: &impl AsFd,
    token: Token,
    interests: Interest,
) -> io::Result<()> {
    registry.poller.modify(object, anypoll::Token(token.0), interests.into(), Mode::Edge)
}

/// A descriptor that is known by its number only.
pub(crate) fn borrow(fd: &RawFd) -> io::Result<BorrowedFd<'_>> {
    if *fd < 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a descriptor is never negative"));
    }
    // SAFETY: whoever names a descriptor by its number answers for its being open meanwhile. Here
    // it is only handed to the kernel to be watched, or not any more: one that is closed is an
    // error, one that was opened anew gets wrong events, and neither is used for anything else.
    Ok(unsafe { BorrowedFd::borrow_raw(*fd) })
}

/// What every type has that is an `IoSource` inside: it is a source, it runs foreign calls, and it
/// converts from and into descriptors.
macro_rules! io_source {
    ($name:ident($object:ty)) => {
        impl $name {
            /// Runs a call on the descriptor that this type has no method for, and makes sure of the
            /// next event if it answers [`WouldBlock`](std::io::ErrorKind::WouldBlock).
            ///
            /// Needed where the kernel has no edges: there only a would-block that this type sees is
            /// followed by an event. The call names no direction, so the event may be about any.
            ///
            /// # Errors
            ///
            /// Those of the call.
            pub fn try_io<F, T>(&self, f: F) -> std::io::Result<T>
            where
                F: FnOnce() -> std::io::Result<T>,
            {
                self.0.run($crate::io_source::any_direction(), |_| f())
            }
        }

        impl $crate::event::Source for $name {
            fn register(
                &mut self,
                registry: &$crate::Registry,
                token: $crate::Token,
                interests: $crate::Interest,
            ) -> std::io::Result<()> {
                self.0.register(registry, token, interests)
            }

            fn reregister(
                &mut self,
                registry: &$crate::Registry,
                token: $crate::Token,
                interests: $crate::Interest,
            ) -> std::io::Result<()> {
                self.0.reregister(registry, token, interests)
            }

            fn deregister(&mut self, registry: &$crate::Registry) -> std::io::Result<()> {
                self.0.deregister(registry)
            }
        }

        impl std::os::fd::AsFd for $name {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.get().as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $name {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.0.get().as_raw_fd()
            }
        }

        impl std::os::fd::IntoRawFd for $name {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                self.0.into_inner().into_raw_fd()
            }
        }

        impl std::os::fd::FromRawFd for $name {
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> Self {
                // SAFETY: what is asked of the caller is the same.
                unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }.into()
            }
        }

        impl From<std::os::fd::OwnedFd> for $name {
            fn from(fd: std::os::fd::OwnedFd) -> Self {
                Self($crate::io_source::IoSource::new(fd.into()))
            }
        }

        impl From<$name> for std::os::fd::OwnedFd {
            fn from(source: $name) -> Self {
                source.0.into_inner().into()
            }
        }
    };
}
pub(crate) use io_source;

/// `Read` for a type that is an `IoSource` inside, and for a reference to it.
macro_rules! readable {
    ($name:ident) => {
        $crate::io_source::readable!(@ $name);
        $crate::io_source::readable!(@ &$name);
    };
    (@ $name:ty) => {
        impl std::io::Read for $name {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.0.run(anypoll::Interest::READABLE, |mut object| object.read(buf))
            }

            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                self.0.run(anypoll::Interest::READABLE, |mut object| object.read_vectored(bufs))
            }
        }
    };
}
pub(crate) use readable;

/// `Write`, as `readable`.
macro_rules! writable {
    ($name:ident) => {
        $crate::io_source::writable!(@ $name);
        $crate::io_source::writable!(@ &$name);
    };
    (@ $name:ty) => {
        impl std::io::Write for $name {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.0.run(anypoll::Interest::WRITABLE, |mut object| object.write(buf))
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.0.run(anypoll::Interest::WRITABLE, |mut object| object.write_vectored(bufs))
            }

            fn flush(&mut self) -> std::io::Result<()> {
                self.0.run(anypoll::Interest::WRITABLE, |mut object| object.flush())
            }
        }
    };
}
pub(crate) use writable;

/// A type that is the std type of the same name inside.
#[cfg(feature = "net")]
macro_rules! socket {
    ($name:ident($object:ty)) => {
        impl $name {
            /// Takes a socket of std, which must be non-blocking already.
            pub fn from_std(socket: $object) -> Self {
                Self($crate::io_source::IoSource::new(socket))
            }

            /// The address of this end.
            ///
            /// # Errors
            ///
            /// The system's.
            pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
                self.0.get().local_addr()
            }

            /// Takes the pending error, if there is one (`SO_ERROR`).
            ///
            /// # Errors
            ///
            /// The system's, of the asking.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.0.get().take_error()
            }
        }

        /// What is inside, as it is.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        /// The socket stays non-blocking. Deregister it first.
        impl From<$name> for $object {
            fn from(socket: $name) -> Self {
                socket.0.into_inner()
            }
        }

        $crate::io_source::io_source!($name($object));
    };
}
#[cfg(feature = "net")]
pub(crate) use socket;
