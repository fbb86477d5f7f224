//! What can be added: anything with a descriptor, or on Windows a socket.

#[cfg(not(windows))]
pub(crate) use std::os::fd::{
    AsFd as AsHandle, AsRawFd as AsRawHandle, BorrowedFd as Borrowed, RawFd as Raw,
};
#[cfg(windows)]
pub(crate) use std::os::windows::io::{
    AsRawSocket as AsRawHandle, AsSocket as AsHandle, BorrowedSocket as Borrowed, RawSocket as Raw,
};

/// An object that can be added to a [`Poller`](crate::Poller): a reference to whatever has a
/// descriptor, or the bare descriptor; on Windows a socket.
pub trait AsRawSource {
    /// The descriptor.
    fn raw(&self) -> Raw;
}

impl<T: AsRawHandle> AsRawSource for &T {
    fn raw(&self) -> Raw {
        #[cfg(not(windows))]
        return self.as_raw_fd();
        #[cfg(windows)]
        return self.as_raw_socket();
    }
}

impl AsRawSource for Raw {
    fn raw(&self) -> Raw {
        *self
    }
}

/// An object that lends its descriptor; on Windows its socket.
pub trait AsSource: AsHandle {
    /// The descriptor.
    fn source(&self) -> Borrowed<'_> {
        #[cfg(not(windows))]
        return self.as_fd();
        #[cfg(windows)]
        return self.as_socket();
    }
}

impl<T: AsHandle> AsSource for T {}
