//! polling's face over [anypoll].
//!
//! This crate has the name and the public items of [polling 3.11], and no system call of its own.
//! A program whose dependencies use polling (async-io, and so smol, async-std and async-process;
//! calloop) is moved over, unchanged, by a line in the `Cargo.toml` of its workspace,
//!
//! ```toml
//! [patch.crates-io]
//! polling = { git = "…" }     # or { path = "…" }
//! ```
//!
//! and by `cargo update -p polling`, without which a lock file keeps the old one. Then
//! `cargo tree -i polling` shows where it comes from.
//!
//! ```
//! use polling::{Event, Events, Poller};
//! use std::net::UdpSocket;
//!
//! let socket = UdpSocket::bind("127.0.0.1:0")?;
//! let poller = Poller::new()?;
//! // SAFETY: it is deleted below, before it is dropped.
//! unsafe { poller.add(&socket, Event::readable(7))? };
//!
//! socket.send_to(b"ready", socket.local_addr()?)?;
//! let mut events = Events::new();
//! poller.wait(&mut events, None)?;
//! assert!(events.iter().any(|event| event.key == 7 && event.readable));
//!
//! poller.delete(&socket)?;
//! # std::io::Result::Ok(())
//! ```
//!
//! # What differs
//!
//! - On Linux a wait is one system call, where polling makes five. A [`notify`](Poller::notify)
//!   makes one only if a thread sleeps in a wait and none is on its way; receiving it costs none.
//! - On 64-bit Linux and Android a [`Oneshot`](PollMode::Oneshot) object that is read needs no system
//!   call to be armed again, after it was modified before the next wait 16 times in a row: the
//!   kernel is not told of the reports either. If a wait then finds it still ready though nobody has
//!   asked again, that costs a call more than in polling, and a look (a timeout of zero) that meets a
//!   hundred times as many of them as it has room for may bring nothing. The kernel is also told of a
//!   change while another thread waits, of one that asks for something else, and of all that come
//!   after the descriptor was handed out (which may be readable once for what was reported before).
//!   With anypoll's feature `tracing` it is told of everything. The poller keeps 24 bytes for each
//!   descriptor up to the highest that was added, and for as many and 64 more at most.
//!   It reports what was added through it, in this process: nothing that a forked child or an
//!   `epoll_ctl` of one's own adds to or changes in its descriptor.
//! - So it matters more that objects are deleted before they are closed, as [`add`](Poller::add) asks.
//!   Without that, modifying another object under the same number may be `Ok` and in vain, where
//!   polling says `NotFound`; and if a duplicate lives on, waits may spin.
//! - A poller has two descriptors instead of three.
//! - A timeout that is no whole number of milliseconds is given to `epoll_pwait2`, where polling has a
//!   timer's descriptor. A sandbox that ends a program for that call wants
//!   `anypoll::os::linux::forbid_epoll_pwait2`, from the `anypoll` beside this crate.
//! - A wait whose [`Events`] are full of older events makes room, where polling fails with
//!   `EINVAL`.
//! - Misuse is told in words, so its errors have the same kind as polling's but no `raw_os_error`. A
//!   regular file is refused when it is added (`EPERM`); to modify or delete it is `NotFound`.
//! - A signal during a wait costs neither the events that were in the buffer nor any time.
//! - An [`Event`] that a wait brought holds no hidden flags: handed back as an interest it asks
//!   for what its fields say.
//! - [`Poller`]'s `as_fd` tells the poller that somebody may watch the descriptor: from then on a
//!   notification makes a system call with nobody asleep too, unless one is on its way.
//! - Besides `usize::MAX` there is one more key that cannot be used on 64-bit Linux and
//!   Android ([`anypoll::Token::RESERVED`]).
//! - [`EdgeOneshot`](PollMode::EdgeOneshot) is [`Oneshot`](PollMode::Oneshot): what is ready at a
//!   `modify` is reported in both, as epoll does.
//! - On Windows an event that is posted costs a system call only if a thread sleeps in a wait; a wait
//!   that reports one may leave other events to a later one. Closing an object that was never deleted
//!   leaves nothing that could be used wrongly.
//! - The feature `tracing` is anypoll's: a line for each change and each wait, and no spans.
//! - Rust 1.87 is needed.
//!
//! # Systems
//!
//! All those for which anypoll has a backend: Unix (with `os::kqueue` where there is one), Windows
//! (with `os::iocp`), WASI and Hermit. A poller has a descriptor where there is epoll or kqueue, and
//! on Windows its port.
//!
//! [polling 3.11]: https://docs.rs/polling/3.11

#![allow(clippy::needless_pass_by_value, reason = "the signatures are polling's")]

mod event;
pub mod os;
mod poller;
mod source;
mod table;

pub use event::{Event, Events, PollMode};
pub use poller::Poller;
pub use source::{AsRawSource, AsSource};
