//! An object together with what its registration needs: every type of this crate that can be read
//! or written is one of these inside.
//!
//! A kernel with edges keeps the whole registration, and forgets it when the object is closed.
//! Elsewhere the poller must be told of each call that would have blocked, and of the object's end,
//! since it holds a duplicate: there, and only there, a registered source knows its poller, and has
//! room for it.

use std::borrow::Borrow;
use std::fmt;
use std::io;
#[cfg(debug_assertions)]
use std::sync::{Arc, Weak};

use anypoll::{AlwaysReadyObject, Backend, Mode, Poller};

use crate::event::Source;
#[cfg(debug_assertions)]
use crate::poll::Identity;
use crate::{Interest, Registry, Token};

/// Whether a poller may have no edges.
const MUST_TELL: bool = anypoll::TEST_SELECTOR || !Backend::available()[0].has_edges();

struct Sources<const MUST_TELL: bool>;

trait Tell {
    /// Who must be told.
    type Whom: Borrow<Poller>;

    fn whom(poller: &Poller) -> Option<Self::Whom>;
}

impl Tell for Sources<true> {
    type Whom = Poller;

    fn whom(poller: &Poller) -> Option<Poller> {
        (!poller.has_edges()).then(|| poller.clone())
    }
}

impl Tell for Sources<false> {
    type Whom = Nobody;

    fn whom(_: &Poller) -> Option<Nobody> {
        None
    }
}

enum Nobody {}

impl Borrow<Poller> for Nobody {
    fn borrow(&self) -> &Poller {
        match *self {}
    }
}

pub(crate) struct IoSource<S: anypoll::Source> {
    poller: Option<<Sources<MUST_TELL> as Tell>::Whom>,
    #[cfg(debug_assertions)]
    registered_with: Weak<Identity>,
    /// Taken by `into_inner` alone.
    object: Option<S>,
}

#[cfg(feature = "net")]
const _: () = {
    use std::net::UdpSocket;

    let is_no_larger = size_of::<IoSource<UdpSocket>>() == size_of::<UdpSocket>();
    assert!(is_no_larger || MUST_TELL || cfg!(debug_assertions), "its room is in every future");
};

impl<S: anypoll::Source> Drop for IoSource<S> {
    fn drop(&mut self) {
        if let (Some(poller), Some(object)) = (self.poller(), &self.object) {
            // What is not there any more need not be removed.
            let _ = poller.remove(object);
        }
    }
}

impl<S: anypoll::Source> IoSource<S> {
    pub(crate) fn new(object: S) -> Self {
        Self {
            poller: None,
            #[cfg(debug_assertions)]
            registered_with: Weak::new(),
            object: Some(object),
        }
    }

    fn poller(&self) -> Option<&Poller> {
        self.poller.as_ref().map(Borrow::borrow)
    }

    /// The object, for calls that never would block.
    pub(crate) fn get(&self) -> &S {
        self.object.as_ref().expect(PRESENT)
    }

    pub(crate) fn into_inner(mut self) -> S {
        if let Some(poller) = self.poller() {
            let _ = poller.remove(self.get());
        }
        self.object.take().expect(PRESENT)
    }

    /// Runs a call on the object that may answer that it would block.
    #[inline]
    pub(crate) fn run<T>(
        &self,
        direction: anypoll::Interest,
        call: impl FnOnce(&S) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.poller.is_none() { call(self.get()) } else { self.run_and_tell(direction, call) }
    }

    #[cold]
    fn run_and_tell<T>(
        &self,
        direction: anypoll::Interest,
        call: impl FnOnce(&S) -> io::Result<T>,
    ) -> io::Result<T> {
        let result = call(self.get());
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.rearm(direction);
        }
        result
    }

    /// A would-block is the news.
    pub(crate) fn rearm(&self, direction: anypoll::Interest) {
        if let Some(poller) = self.poller() {
            // Not being registered any more is no error, and a failed change is tried again by the
            // next wait.
            let _ = poller.rearm(self.get(), direction);
        }
    }
}

const PRESENT: &str = "nothing comes after `into_inner`";

/// The directions of a call that may do anything.
pub(crate) fn any_direction() -> anypoll::Interest {
    anypoll::Interest::READABLE | anypoll::Interest::WRITABLE | anypoll::Interest::PRIORITY
}

impl<S: anypoll::Source> Source for IoSource<S> {
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
        add(registry, self.get(), token, interests)?;
        #[cfg(debug_assertions)]
        {
            self.registered_with = Arc::downgrade(&registry.identity);
        }
        self.poller = Sources::<MUST_TELL>::whom(&registry.poller);
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
        modify(registry, self.get(), token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        #[cfg(debug_assertions)]
        self.check(registry)?;
        registry.poller.remove(self.get())?;
        self.poller = None;
        #[cfg(debug_assertions)]
        {
            self.registered_with = Weak::new();
        }
        Ok(())
    }
}

#[cfg(debug_assertions)]
impl<S: anypoll::Source> IoSource<S> {
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

impl<S: anypoll::Source + fmt::Debug> fmt::Debug for IoSource<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

pub(crate) fn add(
    registry: &Registry,
    object: &impl anypoll::Source,
    token: Token,
    interests: Interest,
) -> io::Result<()> {
    let token = anypoll::Token(token.0);
    registry.poller.add(object, token, interests.into(), Mode::Edge, AlwaysReadyObject::Refuse)
}

pub(crate) fn modify(
    registry: &Registry,
    object: &impl anypoll::Source,
    token: Token,
    interests: Interest,
) -> io::Result<()> {
    registry.poller.modify(object, anypoll::Token(token.0), interests.into(), Mode::Edge)
}

/// What every type has that is an `IoSource` inside: it is a source, it runs foreign calls, and it
/// converts from and into descriptors, or Windows' sockets.
macro_rules! io_source {
    ($name:ident) => {
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

        $crate::io_source::conversions!($name);
    };
}
pub(crate) use io_source;

macro_rules! conversions {
    ($name:ident) => {
        #[cfg(not(windows))]
        $crate::io_source::conversions! {
            $name, [std::os::fd] OwnedFd, RawFd, BorrowedFd,
            AsFd as_fd, AsRawFd as_raw_fd, IntoRawFd into_raw_fd, FromRawFd from_raw_fd
        }
        #[cfg(windows)]
        $crate::io_source::conversions! {
            $name, [std::os::windows::io] OwnedSocket, RawSocket, BorrowedSocket,
            AsSocket as_socket, AsRawSocket as_raw_socket, IntoRawSocket into_raw_socket,
            FromRawSocket from_raw_socket
        }
    };
    (
        $name:ident, [$($module:tt)*] $owned:ident, $raw:ident, $borrowed:ident,
        $as:ident $lend:ident, $as_raw:ident $tell:ident, $into_raw:ident $give:ident,
        $from_raw:ident $take:ident
    ) => {
        const _: () = {
            use $($module)*::{$as, $as_raw, $borrowed, $from_raw, $into_raw, $owned, $raw};

            impl $as for $name {
                fn $lend(&self) -> $borrowed<'_> {
                    self.0.get().$lend()
                }
            }

            impl $as_raw for $name {
                fn $tell(&self) -> $raw {
                    self.0.get().$tell()
                }
            }

            impl $into_raw for $name {
                fn $give(self) -> $raw {
                    self.0.into_inner().$give()
                }
            }

            impl $from_raw for $name {
                unsafe fn $take(raw: $raw) -> Self {
                    // SAFETY: what is asked of the caller is the same.
                    unsafe { $owned::$take(raw) }.into()
                }
            }

            impl From<$owned> for $name {
                fn from(owned: $owned) -> Self {
                    Self($crate::io_source::IoSource::new(owned.into()))
                }
            }

            impl From<$name> for $owned {
                fn from(source: $name) -> Self {
                    source.0.into_inner().into()
                }
            }
        };
    };
}
pub(crate) use conversions;

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

        $crate::io_source::io_source!($name);
    };
}
#[cfg(feature = "net")]
pub(crate) use socket;
