//! A portable epoll: one thread watches any number of the objects that the standard library hands
//! out (sockets, pipes, children, terminals, files) and learns which can be used now.
//!
//! anypoll stands *beside* std, not instead of it. You keep `std::net::TcpStream`,
//! `std::process::Child`, `std::io::PipeReader`, `std::task::Waker`; this crate adds the waiting.
//! It has no reactor, no executor and no protocol: those are built on it.
//!
//! # A tour
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use std::time::Duration;
//!
//! use anypoll::{Events, Interest, Mode, Poller, Token};
//!
//! const LISTENER: Token = Token(0);
//! const CLIENT: Token = Token(1);
//! const SERVER: Token = Token(2);
//!
//! // A poller is a handle: cloned and shared as one likes.
//! let poller = Poller::new()?;
//!
//! // The objects are std's. Registering changes nothing on them: what is to be non-blocking is
//! // made so by its owner.
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! listener.set_nonblocking(true)?;
//! let client = TcpStream::connect(listener.local_addr()?)?;
//!
//! // A registration owns its object; dropping it ends both.
//! let listener = poller.register(listener, LISTENER, Interest::READABLE, Mode::Level)?;
//! let mut client = poller.register(client, CLIENT, Interest::READABLE, Mode::Level)?;
//! let mut server = None;
//!
//! // A waker makes the poller report a token, from any thread or signal handler.
//! let waker = poller.waker(Token(9));
//! std::thread::spawn(move || waker.wake());
//!
//! let mut events = Events::default();
//! let (mut woken, mut answered) = (false, false);
//! while !(woken && answered) {
//!     poller.wait(&mut events, Some(Duration::from_secs(10)))?;
//!     for event in &events {
//!         match event.token() {
//!             LISTENER => {
//!                 let (stream, _) = listener.get_ref().accept()?;
//!                 stream.set_nonblocking(true)?;
//!                 (&stream).write_all(b"hello")?;
//!                 server = Some(poller.register(stream, SERVER, Interest::READABLE, Mode::Level)?);
//!             }
//!             CLIENT => {
//!                 let mut buf = [0; 16];
//!                 let n = client.read(&mut buf)?; // one call after one report does not block
//!                 answered = &buf[..n] == b"hello";
//!             }
//!             SERVER => drop(server.take()),
//!             _ => woken = true,
//!         }
//!     }
//! }
//! # std::io::Result::Ok(())
//! ```
//!
//! - [`Poller`] registers objects, waits, and makes [`Waker`]s.
//! - [`Registered`] is an object together with its registration. It reads and writes as the object
//!   does; [`Registered::try_io`] is for everything else.
//! - [`Source`] is what can be registered: whatever lends its descriptor, owned or borrowed.
//! - [`Interest`] says which directions, [`Mode`] when a readiness is told:
//!   [`Level`](Mode::Level) while it lasts, [`Edge`](Mode::Edge) when it begins,
//!   [`Oneshot`](Mode::Oneshot) once.
//! - [`Event`] says what can be done now; its page has the table of what each situation looks like.
//! - [`process::Exit`] is a child's exit as a source, [`timers::Timers`] the deadlines that
//!   [`Poller::wait_until`] waits for; behind features, `channel` is a queue between threads that is
//!   joined to a waker, and `net` is what std's sockets lack.
//! - For wrappers and drop-in replacements there is a [low level](Poller#low-level) whose
//!   registrations are named by handle.
//!
//! # The contract
//!
//! What is promised here is promised on every system in the same words, and a test holds each
//! promise on every backend that can run. Promises speak of a token and a condition: a system may
//! bring two events where another brings one.
//!
//! 1. **Nothing is lost.** What is ready when it is registered, or becomes ready after, is reported
//!    by a later wait. An event may arrive before `register` has returned. Where the kernel has no
//!    edges (poll(2), Windows, event ports, WASI), [`Mode::Edge`] holds for a would-block that
//!    [`Registered`], [`try_io`](Registered::try_io) or [`rearm`](Registered::rearm) has seen.
//! 2. **Modes.** *Level*: reported while it lasts; when more is ready than fits the buffer, in
//!    turn, starving nobody, wakers included. *Edge*: when it becomes ready, and after
//!    [`set_interest`](Registered::set_interest); any activity on the object may report again, and
//!    one event may show every direction that is ready then. *Oneshot*: each direction at most once
//!    per `set_interest`; after one report the other direction may or may not come. In every mode:
//!    while there are wakes to report, or what is always ready, only every second wait is sure to ask
//!    the kernel, since that costs more than a wake; the others may report those alone.
//! 3. **Nothing is invented.** An object that neither side touches causes no event. A would-block
//!    in one direction never arms the other.
//! 4. **Off is off.** Once a removal (a drop, [`into_inner`](Registered::into_inner)) has returned,
//!    no wait that *starts* later reports the token, also where a duplicate of the descriptor lives
//!    on. Events that were handed out already, in this thread's buffer or another's, are the user's
//!    to ignore. A removal closes what was held for the object: its peer sees the end, even while a
//!    thread sleeps in a wait. Dropping a [`Waker`] takes back no wake that has returned.
//! 5. **Errors and resets always arrive**, with an empty interest too where the system can.
//!    [`is_read_closed`](Event::is_read_closed): the peer ended its direction, which only an
//!    interest in `READABLE` sees, or no peer is left.
//!    [`is_write_closed`](Event::is_write_closed): ours can no longer be used, as far as the system
//!    says so. A TCP peer's close looks like a half-close until a reset.
//! 6. **Time.** An empty return is never before the timeout, by `Instant`, unless
//!    [`interrupt`](Poller::interrupt) was called. Zero never blocks. The resolution is the kernel's.
//!    Any `Duration` is accepted.
//! 7. **A signal is not an error.** [`wait`](Poller::wait) goes on with the remaining time and
//!    keeps what it has.
//! 8. **A wake is not lost** under any interleaving: data written before [`wake`](Waker::wake) is
//!    seen after the wait that reports it. There is no system call unless a thread has announced
//!    that it will sleep, or a [`descriptor`](Poller::descriptor) was handed out.
//! 9. **Any thread.** Registering, changing, removing and waking work from any thread while others
//!    wait, and take effect at once. Several threads may wait on one poller: one Oneshot report
//!    goes to exactly one of them, a Level report to whoever looks while it lasts.
//! 10. **No allocation** in steady state, and at most one system call a wait; a second one if a wake
//!     crossed it, or to tell a [`descriptor`](Poller::descriptor) of what is left.
//! 11. **Misuse is an error, said clearly**: registering twice is `AlreadyExists`, changing what is
//!     not there `NotFound`, an unsupported object says which and why. Never a panic (but for a
//!     buffer or channel larger than memory, and a channel with room for nothing), never silence (but
//!     for what a poller does not see: a blocking object in [`Edge`](Mode::Edge), or one of the low level
//!     that was closed before its removal).
//! 12. **The order of dropping never matters**: poller first, sources first, wakers last, during a
//!     wait, leaked.
//! 13. **A descriptor tells the truth**: whenever a wait with a timeout of zero would return
//!     something, a [`descriptor`](Poller::descriptor) that was handed out is readable, or will be in a moment, if
//!     other threads are about to collect or to wake.
//!
//! ## Several threads
//!
//! Any number may wait on one poller, each with [`Events`] of its own. In [`Mode::Oneshot`] an object
//! that asks for one direction is one thread's from its report to the next
//! [`set_interest`](Registered::set_interest) (of one that asks for both, the other direction may
//! reach another thread):
//!
//! ```
//! use std::collections::HashMap;
//! use std::net::UdpSocket;
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::sync::{Arc, Mutex};
//!
//! use anypoll::{Events, Interest, Mode, Poller, Registered, Token};
//!
//! let poller = Poller::new()?;
//! let sockets = Mutex::new(HashMap::<Token, Arc<Registered<UdpSocket>>>::new());
//! let is_over = AtomicBool::new(false);
//! let work = || {
//!     let (mut events, mut buf) = (Events::with_capacity(16), [0; 1500]);
//!     while !is_over.load(Ordering::Acquire) {
//!         poller.wait(&mut events, None).unwrap();
//!         for event in &events {
//!             let socket = sockets.lock().unwrap().get(&event.token()).cloned();
//!             let Some(socket) = socket else { continue };
//!             if let Ok((len, peer)) = socket.get_ref().recv_from(&mut buf) {
//!                 let _ = socket.get_ref().send_to(&buf[..len], peer);
//!             }
//!             socket.set_interest(Interest::READABLE).unwrap();
//!         }
//!     }
//!     poller.interrupt(); // one wait returns, and that thread does the same
//! };
//!
//! std::thread::scope(|scope| {
//!     for _ in 0..4 {
//!         scope.spawn(work);
//!     }
//!     let socket = UdpSocket::bind("127.0.0.1:0")?;
//!     socket.set_nonblocking(true)?;
//!     let address = socket.local_addr()?;
//!     // Asked for once it can be found.
//!     let socket = Arc::new(poller.register(socket, Token(7), Interest::NONE, Mode::Oneshot)?);
//!     sockets.lock().unwrap().insert(Token(7), socket.clone());
//!     socket.set_interest(Interest::READABLE)?;
//!
//!     let client = UdpSocket::bind("127.0.0.1:0")?;
//!     client.send_to(b"hello", address)?;
//!     assert_eq!(client.recv(&mut [0; 16])?, 5);
//!     is_over.store(true, Ordering::Release);
//!     poller.interrupt();
//!     std::io::Result::Ok(())
//! })?;
//! # std::io::Result::Ok(())
//! ```
//!
//! ## Fork
//!
//! A forked child shares the kernel's registrations, and its drops would undo its parent's. In a
//! forked child call nothing and drop nothing of this crate: `exec` or `_exit`. Every descriptor
//! that the crate makes is close-on-exec, so `std::process::Command` is safe.
//!
//! ## Signals
//!
//! There is no module for them, since none is needed: [signal-hook]'s `low_level::pipe` writes to
//! one end of a `UnixStream::pair`, and the other end is registered as any socket. Who writes a
//! handler of their own may call [`Waker::wake`] in it. Windows has none: what is told of Ctrl-C runs
//! in a thread of its own, which may wake.
//!
//! ```
//! # #[cfg(unix)] {
//! use std::os::unix::net::UnixStream;
//!
//! use anypoll::{Events, Interest, Mode, Poller, Token};
//! use signal_hook::consts::{SIGUSR1, SIGUSR2};
//! use signal_hook::low_level;
//!
//! let poller = Poller::new()?;
//! let (ours, handler) = UnixStream::pair()?;
//! low_level::pipe::register(SIGUSR1, handler)?;
//! let signals = poller.register(ours, Token(1), Interest::READABLE, Mode::Level)?;
//!
//! let waker = poller.waker(Token(2));
//! // SAFETY: `wake` is async-signal-safe, and does not panic.
//! unsafe { low_level::register(SIGUSR2, move || waker.wake()) }?;
//!
//! low_level::raise(SIGUSR1)?;
//! low_level::raise(SIGUSR2)?;
//! let mut events = Events::default();
//! poller.wait(&mut events, None)?;
//! let mut tokens: Vec<_> = events.iter().map(|event| event.token()).collect();
//! tokens.sort();
//! assert_eq!(tokens, [signals.token(), Token(2)]);
//! # }
//! # std::io::Result::Ok(())
//! ```
//!
//! [signal-hook]: https://docs.rs/signal-hook
//!
//! # Features
//!
//! None is on by default.
//!
//! - `channel`: the module of that name, a bounded queue joined to a waker (over crossbeam-queue).
//! - `net`: the module of that name, what std's sockets lack (over socket2).
//! - `tracing`: tells each registration, change and wait by [tracing] at level `TRACE`, and at `WARN`
//!   a token that 1,000 waits in a row have reported, as one does whose readiness nobody uses up.
//!   Wakes and interrupts are not told: a signal handler may make them.
//!
//! [tracing]: https://docs.rs/tracing
//!
//! # Systems
//!
//! epoll on Linux and Android; kqueue on macOS, its kin and the BSDs; AFD on Windows; event ports on
//! Solaris and illumos; `poll_oneoff` on WASI; poll(2) on other Unixes, and on every Unix by
//! [`Poller::with_backend`]. AFD is the driver below Winsock. Linux is where everything is tested;
//! `docs/systems.md` in the repository says how far each of the others was verified, and which
//! promise one cannot keep.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// What the repository's pages show is compiled, and run where it ends.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[cfg(unix)]
    #[doc = include_str!("../../../docs/objects.md")]
    struct Objects;
}

mod backend;
#[cfg(feature = "channel")]
pub mod channel;
mod event;
mod interest;
#[cfg(feature = "net")]
pub mod net;
pub mod os;
mod poller;
pub mod process;
mod readiness;
mod registered;
mod source;
mod sys;
pub mod timers;
mod trace;
mod waker;

/// What `readiness` and `channel` are built from; the tests put loom's in its place.
mod sync {
    #[cfg(feature = "channel")]
    pub(crate) use crossbeam_queue::ArrayQueue;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
    use std::sync::{LockResult, PoisonError};

    /// Nothing panics while it holds a lock of ours.
    pub(crate) fn unpoisoned<T>(result: LockResult<T>) -> T {
        result.unwrap_or_else(PoisonError::into_inner)
    }

    /// So many pending bits are kept where a wait looks anyway.
    pub(crate) const IN_STATE: usize = usize::BITS as usize / 2;
}

/// Whether the feature `tracing` is on: any package of a program may have asked for it.
///
/// What holds a lock while it calls a [`Poller`] has to know: a subscriber runs in that call, and may
/// want the lock.
pub const TRACING: bool = cfg!(feature = "tracing");

/// Whether a program's pollers may have another backend than the first of [`Backend::available`].
#[doc(hidden)]
pub const TEST_SELECTOR: bool = cfg!(feature = "test-selector");

pub use backend::Backend;
pub use event::{Conditions, Event, Events, Token};
pub use interest::{Interest, Mode};
pub use poller::{AlwaysReadyObject, Poller};
pub use registered::{RegisterError, Registered};
pub use source::Source;
pub use waker::Waker;

/// Makes an object non-blocking, or blocking again.
///
/// For what std cannot do itself: `ChildStdin` and its kin, `io::pipe`, files, standard input.
///
/// The flag belongs to the open file, not to the descriptor: whoever shares it sees the change
/// (`O_NONBLOCK` in [open(2)]). A terminal's is shared by one's own standard output (where `println!`
/// then panics when there is no room), the shell and every other program that runs there: prefer
/// [`Mode::Level`] with a terminal that blocks, or set it back before exit. Windows has such a flag for
/// sockets alone; all else is [`Unsupported`](std::io::ErrorKind::Unsupported) there.
///
/// ```
/// # #[cfg(unix)] {
/// use std::io::{ErrorKind, Read};
///
/// let (mut reader, _writer) = std::io::pipe()?;
/// anypoll::set_nonblocking(&reader, true)?;
/// assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
/// # }
/// # std::io::Result::Ok(())
/// ```
///
/// [open(2)]: https://man7.org/linux/man-pages/man2/open.2.html
pub fn set_nonblocking(source: &(impl Source + ?Sized), nonblocking: bool) -> std::io::Result<()> {
    sys::set_nonblocking(source.handle(), nonblocking)
}
