//! Windows: events of one's own making, and what is waited for by its handle.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};

use anypoll::os::windows::Waitable;
use anypoll::{AlwaysReadyObject, Conditions};

use crate::{Event, PollMode, Poller};

/// An event that a wait is to bring, though no object has caused it.
#[derive(Clone, Debug)]
pub struct CompletionPacket(Event);

impl CompletionPacket {
    /// A packet with this event. Its key and its flags come as they are, but for
    /// [an interruption](Event::set_interrupt) and [urgent data](Event::set_priority): where they
    /// are set, the directions are too that they are about.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self(event)
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.0
    }
}

/// What a [`Poller`] can only do on Windows.
pub trait PollerIocpExt: sealed::Sealed {
    /// Has a wait bring an event, once.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput): the key is reserved.
    ///
    /// ```
    /// # #[cfg(windows)] {
    /// use polling::os::iocp::{CompletionPacket, PollerIocpExt};
    /// use polling::{Event, Events, Poller};
    ///
    /// let poller = Poller::new()?;
    /// poller.post(CompletionPacket::new(Event::readable(7)))?;
    /// let mut events = Events::new();
    /// poller.wait(&mut events, None)?;
    /// assert_eq!(events.iter().collect::<Vec<_>>(), [Event::readable(7)]);
    /// # }
    /// # std::io::Result::Ok(())
    /// ```
    fn post(&self, packet: CompletionPacket) -> io::Result<()>;

    /// Begins to watch an object that is waited for by its handle: a process, an event, a
    /// semaphore, the console's input. It is ready, in every direction that is asked for, while it is
    /// signalled, and a report takes what a wait takes: an auto-reset event is reset by it.
    ///
    /// # Safety
    ///
    /// The object must be [removed](Self::remove_waitable) before it is closed.
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): this poller watches it already.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the key is reserved.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): it is a mutex, a file or a pipe, or the mode is
    ///   one with edges.
    unsafe fn add_waitable(
        &self,
        handle: impl AsRawWaitable,
        interest: Event,
        mode: PollMode,
    ) -> io::Result<()>;

    /// Changes the key, interest and mode of such an object, and has it reported again.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): this poller does not watch it. And as for
    /// [`add_waitable`](Self::add_waitable).
    fn modify_waitable(
        &self,
        handle: impl AsWaitable,
        interest: Event,
        mode: PollMode,
    ) -> io::Result<()>;

    /// Ends the watching of such an object: no wait that starts later reports it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): this poller does not watch it.
    fn remove_waitable(&self, handle: impl AsWaitable) -> io::Result<()>;
}

impl PollerIocpExt for Poller {
    fn post(&self, packet: CompletionPacket) -> io::Result<()> {
        let event = packet.event();
        let token = Self::token(event)?;
        let mut conditions = Conditions::NONE;
        for (is, condition) in [
            (event.readable, Conditions::READ),
            (event.writable, Conditions::WRITE),
            (event.is_interrupt(), Conditions::HANG_UP),
            (event.is_priority(), Conditions::PRIORITY),
            (event.is_err() == Some(true), Conditions::ERROR),
        ] {
            if is {
                conditions = conditions | condition;
            }
        }
        self.poller.post(anypoll::Event::new(token, conditions));
        Ok(())
    }

    unsafe fn add_waitable(
        &self,
        handle: impl AsRawWaitable,
        interest: Event,
        mode: PollMode,
    ) -> io::Result<()> {
        // SAFETY: the caller's object is open until it has been removed.
        let handle = unsafe { BorrowedHandle::borrow_raw(handle.as_raw_handle()) };
        let waitable = Waitable::new(handle);
        self.ask(interest, mode, |token, interest, mode| {
            self.poller.add(&waitable, token, interest, mode, AlwaysReadyObject::Refuse)
        })
    }

    fn modify_waitable(
        &self,
        handle: impl AsWaitable,
        interest: Event,
        mode: PollMode,
    ) -> io::Result<()> {
        let waitable = Waitable::new(handle.as_waitable());
        self.ask(interest, mode, |token, interest, mode| {
            self.poller.modify(&waitable, token, interest, mode)
        })
    }

    fn remove_waitable(&self, handle: impl AsWaitable) -> io::Result<()> {
        self.poller.remove(&Waitable::new(handle.as_waitable()))
    }
}

/// An object that can be added by its handle: a reference to whatever has one, or the bare handle.
pub trait AsRawWaitable {
    /// The handle.
    fn as_raw_handle(&self) -> RawHandle;
}

impl AsRawWaitable for RawHandle {
    fn as_raw_handle(&self) -> RawHandle {
        *self
    }
}

impl<T: AsRawHandle + ?Sized> AsRawWaitable for &T {
    fn as_raw_handle(&self) -> RawHandle {
        AsRawHandle::as_raw_handle(*self)
    }
}

/// An object that lends its handle.
pub trait AsWaitable: AsHandle {
    /// The handle.
    fn as_waitable(&self) -> BorrowedHandle<'_> {
        self.as_handle()
    }
}

impl<T: AsHandle + ?Sized> AsWaitable for T {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Poller {}
}
