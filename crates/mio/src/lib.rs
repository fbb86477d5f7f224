//! A drop-in for [mio] 1.2 that is a thin face over [`anypoll`].
//!
//! The types, their methods and what programs can see of them are mio's, so tokio and whatever else
//! stands on mio moves over unchanged. Underneath there is anypoll's poller.
//!
//! # Moving over
//!
//! In the `Cargo.toml` of the workspace:
//!
//! ```toml
//! [patch.crates-io]
//! mio = { path = "…/anypoll/crates/mio" }    # or { git = "…" }
//! ```
//!
//! and once, because a lock file names the published crate:
//!
//! ```text
//! cargo update -p mio
//! ```
//!
//! (Beside another major version say which: `mio@1.2.5`, say, as the lock file has it.) Then
//! `cargo tree -i mio@1.2.100` shows the path. Nothing else changes, and taking the line out goes
//! back.
//!
//! # What is different
//!
//! - A [`wake`](Waker::wake) makes a system call only if a thread sleeps in [`Poll::poll`] and none
//!   has been sent yet, and none to clear it.
//! - A [`poll`](Poll::poll) that has a wake to report may leave other events to a later one: at
//!   least every second asks the kernel.
//! - A timeout is exact to what the kernel offers, instead of being rounded up to a millisecond.
//! - [`event::Iter`] counts what is left of it: `size_hint`, `len` and `count` are right after a
//!   `next`.
//! - A read that would block never causes a writable event, on any backend; only
//!   `try_io`, which names no direction, arms both where the kernel has no
//!   edges: on Windows, and wherever there is neither epoll nor kqueue.
//! - A failed `register` leaves no trace: it can be tried again, with another `Poll` too.
//! - In a debug build a source whose `Poll` is gone may be registered with another.
//! - The peer of an accepted Unix connection keeps its name in Linux' abstract namespace.
//! - All clones of a [`Registry`] are one descriptor; mio duplicates it.
//! - On Windows a named pipe reads straight into the program's buffer and holds nothing back; it can
//!   be registered with one `Poll` after another, and read and written without any; and an open one
//!   shows what comes in by an event also after a read that did not take all.
//! - [`event::Iter`] is an [`ExactSizeIterator`], and listeners too have `try_io`.
//! - `{:#?}` of an [`event::Event`] shows poll(2)'s conditions under names that are the same
//!   everywhere.
//! - A wake is not taken back when its [`Waker`] is dropped: the event still comes, and has its place
//!   in memory until a poll reports it.
//! - A [`Waker`] keeps the descriptors of its `Poll`: who watches the `Poll` from another loop takes it
//!   out there before dropping it, or else a wake is still reported there.
//! - On Linux a `Poll` has two descriptors from the start, where mio's second one is its waker's.
//! - On Linux a timeout that is no whole number of milliseconds is given to `epoll_pwait2`. A sandbox
//!   that ends a program for that call wants `anypoll::os::linux::forbid_epoll_pwait2`, from the
//!   `anypoll` beside this crate.
//! - Misuse is told in words, so its errors have the same kind as mio's but no `raw_os_error`. A
//!   regular file is refused when it is registered (`EPERM`); to change or end what was thus never
//!   registered is `NotFound`.
//! - Rust 1.87 is needed.
//!
//! One value cannot be registered on 64-bit Linux and Android: see [`Token`]. How to use anypoll
//! itself instead, and what that brings, is told in `docs/migration.md`.
//!
//! # Systems
//!
//! All those for which anypoll has a backend: Unix, Windows, WASI and Hermit. What differs from mio
//! there:
//!
//! - `Poll` and `Registry` have a descriptor where the backend has one that can be watched, which is
//!   where there is epoll or kqueue, illumos excepted, whose event ports have none.
//! - The sockets of the feature `net` are missing on WASI 0.1 and Hermit, which socket2 does not know.
//! - [`Waker`] is there on WASI too, for the one thread that there is.
//!
//! The optional parts are listed in [`features`]; [`guide`] shows a whole program.
//!
//! [mio]: https://docs.rs/mio/1.2

#![cfg_attr(docsrs, feature(doc_cfg))]

mod interest;
#[cfg(any(feature = "net", feature = "os-ext"))]
mod io_source;
mod poll;
#[cfg(all(feature = "os-ext", not(windows)))]
mod source_fd;
mod token;
mod waker;

pub mod event;
#[cfg(feature = "net")]
#[cfg_attr(docsrs, doc(cfg(feature = "net")))]
pub mod net;
#[cfg(all(unix, feature = "os-ext"))]
#[cfg_attr(docsrs, doc(cfg(all(unix, feature = "os-ext"))))]
pub mod unix;
#[cfg(all(windows, feature = "os-ext"))]
#[cfg_attr(docsrs, doc(cfg(all(windows, feature = "os-ext"))))]
pub mod windows;

/// What only Hermit has.
#[cfg(all(target_os = "hermit", feature = "os-ext"))]
#[cfg_attr(docsrs, doc(cfg(all(target_os = "hermit", feature = "os-ext"))))]
pub mod hermit {
    pub use crate::source_fd::SourceFd;
}

/// What only WASI has.
#[cfg(all(target_os = "wasi", feature = "os-ext"))]
#[cfg_attr(docsrs, doc(cfg(all(target_os = "wasi", feature = "os-ext"))))]
pub mod wasi {
    pub use crate::source_fd::SourceFd;
}

#[doc(no_inline)]
pub use event::Events;
pub use interest::Interest;
pub use poll::{Poll, Registry};
pub use token::Token;
pub use waker::Waker;

pub mod features {
    //! The optional parts of this crate.
    //!
    //! | feature | adds |
    //! |---|---|
    //! | `os-poll` | `Poll::new`, without which there is nothing to register with |
    //! | `os-ext` | what only one system has: `unix` with `SourceFd` and pipes, `windows` with `NamedPipe`, `wasi` and `hermit` with `SourceFd`; `os-poll` too |
    //! | `net` | the module `net`: TCP, UDP and Unix sockets |
    //! | `log` (on by default) | a line of level trace for each registration, through the crate `log` |
}

pub mod guide {
    //! A whole program: a server that sends back what it is sent.
    //!
    //! A [`Poll`](crate::Poll) is asked again and again what is ready. The listener has one token,
    //! each connection another. As a source is reported when it *becomes* ready, each report is
    //! followed by calls until one says that it would block.
    //!
    //! ```no_run
    //! use std::collections::HashMap;
    //! use std::io::{self, ErrorKind, Read, Write};
    //!
    //! use mio::net::{TcpListener, TcpStream};
    //! use mio::{Events, Interest, Poll, Token};
    //!
    //! const LISTENER: Token = Token(usize::MAX);
    //!
    //! struct Connection {
    //!     stream: TcpStream,
    //!     /// Read, and not yet sent back.
    //!     pending: Vec<u8>,
    //! }
    //!
    //! impl Connection {
    //!     /// Goes on until a call would block. Says whether the connection lives.
    //!     fn echo(&mut self) -> io::Result<bool> {
    //!         let mut buf = [0; 4096];
    //!         loop {
    //!             while !self.pending.is_empty() {
    //!                 let count = self.stream.write(&self.pending)?;
    //!                 self.pending.drain(..count);
    //!             }
    //!             match self.stream.read(&mut buf)? {
    //!                 0 => return Ok(false),
    //!                 count => self.pending.extend(&buf[..count]),
    //!             }
    //!         }
    //!     }
    //! }
    //!
    //! fn main() -> io::Result<()> {
    //!     let mut poll = Poll::new()?;
    //!     let mut listener = TcpListener::bind("127.0.0.1:7000".parse().unwrap())?;
    //!     poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    //!     let mut connections = HashMap::new();
    //!     let mut next = 0;
    //!     let mut events = Events::with_capacity(1024);
    //!     loop {
    //!         match poll.poll(&mut events, None) {
    //!             Err(error) if error.kind() == ErrorKind::Interrupted => continue,
    //!             result => result?,
    //!         }
    //!         for event in &events {
    //!             if event.token() != LISTENER {
    //!                 let Some(connection) = connections.get_mut(&event.token()) else { continue };
    //!                 let lives = match Connection::echo(connection) {
    //!                     Err(error) if error.kind() == ErrorKind::WouldBlock => true,
    //!                     result => result.unwrap_or(false),
    //!                 };
    //!                 if !lives {
    //!                     connections.remove(&event.token());
    //!                 }
    //!                 continue;
    //!             }
    //!             loop {
    //!                 let mut stream = match listener.accept() {
    //!                     Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    //!                     result => result?.0,
    //!                 };
    //!                 let both = Interest::READABLE | Interest::WRITABLE;
    //!                 poll.registry().register(&mut stream, Token(next), both)?;
    //!                 connections.insert(Token(next), Connection { stream, pending: Vec::new() });
    //!                 next += 1;
    //!             }
    //!         }
    //!     }
    //! }
    //! ```
}
