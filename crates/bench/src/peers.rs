//! The libraries that are measured, each behind the same face. A call costs nothing but the
//! library's own work: everything is generic and inlined.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anypoll::{AlwaysReadyObject, Interest, Token};

#[cfg(feature = "c-peers")]
use crate::c_peers::{CPeer, Libev, Libevent, Libuv};
use crate::idle::{self, Crowd};
use crate::workloads::Work;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Level,
    Edge,
    Oneshot,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Level => "level",
            Self::Edge => "edge",
            Self::Oneshot => "one-shot",
        })
    }
}

/// Events a wait can bring, for everyone.
const CAPACITY: usize = 1024;

/// The token of every waker.
pub(crate) const WAKE: usize = 1 << 40;

/// The calls are inlined, as they would be in a program: each frame to return through after a system
/// call costs some processors more than what a poller does.
pub(crate) trait Peer: Sized + 'static {
    const NAME: &'static str;
    const MODES: &'static [Mode];
    /// Whether it tells objects apart by what the kernel knows of them, not by their numbers.
    const TAKES_A_NUMBER_TWICE: bool = true;
    /// What the peer gives for a registration, to be kept until it is removed.
    type Key;

    fn new() -> Self;
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize, mode: Mode) -> Self::Key;
    /// Arms a one-shot registration again.
    fn rearm(&mut self, key: &Self::Key, fd: BorrowedFd<'_>, token: usize);
    /// Whatever was added is removed before the peer is dropped.
    fn remove(&mut self, key: Self::Key, fd: BorrowedFd<'_>);
    fn wait(&mut self, timeout: Option<Duration>, each: impl FnMut(usize));
    /// Once for each peer.
    fn waker(&mut self) -> impl Fn() + Send + Sync + Clone + use<Self>;
}

/// A poller that several threads may wait on, each with a buffer of its own.
pub(crate) trait Common: Peer<Key = ()> + Send {
    /// The same poller, with room for few events: one thread shall not take all there is to do.
    fn another(&self) -> Self;
}

const LITTLE_ROOM: usize = 8;

impl Common for Floor {
    fn another(&self) -> Self {
        let (epoll, wake) = (self.epoll.clone(), self.wake.clone());
        Self { epoll, wake, events: Vec::with_capacity(LITTLE_ROOM) }
    }
}

impl Common for Anypoll {
    fn another(&self) -> Self {
        let events = anypoll::Events::with_capacity(LITTLE_ROOM);
        Self { poller: self.poller.clone(), events }
    }
}

/// A peer whose type is forgotten.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) modes: &'static [Mode],
    pub(crate) takes_a_number_twice: bool,
    pub(crate) run: fn(&Work) -> f64,
    /// Of each of these objects, watched for `Level`.
    pub(crate) bytes: fn(&[OwnedFd]) -> f64,
    pub(crate) crowd: fn() -> Box<dyn Crowd>,
}

const fn entry<P: Peer>() -> Entry {
    Entry {
        name: P::NAME,
        modes: P::MODES,
        takes_a_number_twice: P::TAKES_A_NUMBER_TWICE,
        run: Work::run::<P>,
        bytes: idle::bytes::<P>,
        crowd: idle::crowd::<P>,
    }
}

pub(crate) static ALL: &[Entry] = &[
    entry::<Anypoll>(),
    entry::<Floor>(),
    entry::<Mio>(),
    entry::<Polling>(),
    entry::<Calloop>(),
    #[cfg(feature = "c-peers")]
    entry::<CPeer<Libuv>>(),
    #[cfg(feature = "c-peers")]
    entry::<CPeer<Libev>>(),
    #[cfg(feature = "c-peers")]
    entry::<CPeer<Libevent>>(),
];

/// epoll by hand, with the best waker that takes no thought: an edge-triggered eventfd.
pub(crate) struct Floor {
    epoll: Arc<OwnedFd>,
    wake: Arc<OwnedFd>,
    events: Vec<libc::epoll_event>,
}

impl Floor {
    fn control(&self, operation: i32, fd: BorrowedFd<'_>, token: usize, flags: i32) {
        let mut event = libc::epoll_event { events: flags.cast_unsigned(), u64: token as u64 };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: the record lives through the call, which only reads it.
        let result = unsafe { libc::epoll_ctl(epoll, operation, fd.as_raw_fd(), &raw mut event) };
        assert_eq!(result, 0);
    }
}

impl Peer for Floor {
    const NAME: &'static str = "libc::epoll_wait";
    const MODES: &'static [Mode] = &[Mode::Level, Mode::Edge, Mode::Oneshot];
    type Key = ();

    fn new() -> Self {
        // SAFETY: no memory is involved.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        // SAFETY: no memory is involved.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        assert!(epoll >= 0 && wake >= 0);
        Self {
            // SAFETY: it was opened just now, and nobody else has it.
            epoll: unsafe { OwnedFd::from_raw_fd(epoll) }.into(),
            // SAFETY: as above.
            wake: unsafe { OwnedFd::from_raw_fd(wake) }.into(),
            events: Vec::with_capacity(CAPACITY),
        }
    }

    #[inline(always)]
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize, mode: Mode) {
        let how = match mode {
            Mode::Level => 0,
            Mode::Edge => libc::EPOLLET,
            Mode::Oneshot => libc::EPOLLONESHOT,
        };
        self.control(libc::EPOLL_CTL_ADD, fd, token, libc::EPOLLIN | libc::EPOLLRDHUP | how);
    }

    #[inline(always)]
    fn rearm(&mut self, (): &(), fd: BorrowedFd<'_>, token: usize) {
        let flags = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT;
        self.control(libc::EPOLL_CTL_MOD, fd, token, flags);
    }

    #[inline(always)]
    fn remove(&mut self, (): (), fd: BorrowedFd<'_>) {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(usize)) {
        let millis =
            timeout.map_or(-1, |t| i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap());
        let (epoll, buffer) = (self.epoll.as_raw_fd(), self.events.as_mut_ptr());
        let room = self.events.capacity().try_into().unwrap();
        // SAFETY: the buffer has room for so many records.
        let count = unsafe { libc::epoll_wait(epoll, buffer, room, millis) };
        // SAFETY: the kernel has written so many.
        unsafe { self.events.set_len(usize::try_from(count).unwrap()) };
        for event in &self.events {
            if event.events & libc::EPOLLIN.cast_unsigned() != 0 {
                each(usize::try_from(event.u64).unwrap());
            }
        }
    }

    fn waker(&mut self) -> impl Fn() + Send + Sync + Clone + use<> {
        let wake = self.wake.clone();
        // SAFETY: the descriptor is open as long as `wake` is.
        let fd = unsafe { BorrowedFd::borrow_raw(wake.as_raw_fd()) };
        self.add(fd, WAKE, Mode::Edge);
        move || {
            rustix::io::write(&*wake, &1_u64.to_ne_bytes()).unwrap();
        }
    }
}

pub(crate) struct Anypoll {
    poller: anypoll::Poller,
    events: anypoll::Events,
}

impl Peer for Anypoll {
    const NAME: &'static str = "anypoll";
    const MODES: &'static [Mode] = &[Mode::Level, Mode::Edge, Mode::Oneshot];
    type Key = ();

    fn new() -> Self {
        Self {
            poller: anypoll::Poller::new().unwrap(),
            events: anypoll::Events::with_capacity(CAPACITY),
        }
    }

    #[inline(always)]
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize, mode: Mode) {
        let mode = match mode {
            Mode::Level => anypoll::Mode::Level,
            Mode::Edge => anypoll::Mode::Edge,
            Mode::Oneshot => anypoll::Mode::Oneshot,
        };
        let refuse = AlwaysReadyObject::Refuse;
        self.poller.add(&fd, Token(token), Interest::READABLE, mode, refuse).unwrap();
    }

    #[inline(always)]
    fn rearm(&mut self, (): &(), fd: BorrowedFd<'_>, token: usize) {
        let mode = anypoll::Mode::Oneshot;
        self.poller.modify(&fd, Token(token), Interest::READABLE, mode).unwrap();
    }

    #[inline(always)]
    fn remove(&mut self, (): (), fd: BorrowedFd<'_>) {
        self.poller.remove(&fd).unwrap();
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(usize)) {
        self.poller.wait(&mut self.events, timeout).unwrap();
        for event in &self.events {
            if event.is_readable() {
                each(event.token().0);
            }
        }
    }

    fn waker(&mut self) -> impl Fn() + Send + Sync + Clone + use<> {
        let waker = self.poller.waker(Token(WAKE));
        move || waker.wake()
    }
}

pub(crate) struct Mio {
    poll: mio::Poll,
    events: mio::Events,
}

impl Peer for Mio {
    const NAME: &'static str = "mio";
    const MODES: &'static [Mode] = &[Mode::Edge];
    type Key = ();

    fn new() -> Self {
        Self { poll: mio::Poll::new().unwrap(), events: mio::Events::with_capacity(CAPACITY) }
    }

    #[inline(always)]
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize, _: Mode) {
        let fd = fd.as_raw_fd();
        let mut source = mio::unix::SourceFd(&fd);
        let interest = mio::Interest::READABLE;
        self.poll.registry().register(&mut source, mio::Token(token), interest).unwrap();
    }

    #[inline(always)]
    fn rearm(&mut self, (): &(), _: BorrowedFd<'_>, _: usize) {
        unreachable!("mio has no one-shot mode");
    }

    #[inline(always)]
    fn remove(&mut self, (): (), fd: BorrowedFd<'_>) {
        let fd = fd.as_raw_fd();
        self.poll.registry().deregister(&mut mio::unix::SourceFd(&fd)).unwrap();
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(usize)) {
        self.poll.poll(&mut self.events, timeout).unwrap();
        for event in &self.events {
            if event.is_readable() {
                each(event.token().0);
            }
        }
    }

    fn waker(&mut self) -> impl Fn() + Send + Sync + Clone + use<> {
        let waker = mio::Waker::new(self.poll.registry(), mio::Token(WAKE)).unwrap();
        let waker = Arc::new(waker);
        move || waker.wake().unwrap()
    }
}

pub(crate) struct Polling {
    poller: Arc<polling::Poller>,
    events: polling::Events,
}

impl Peer for Polling {
    const NAME: &'static str = "polling";
    const MODES: &'static [Mode] = &[Mode::Level, Mode::Edge, Mode::Oneshot];
    type Key = ();

    fn new() -> Self {
        Self {
            poller: polling::Poller::new().unwrap().into(),
            events: polling::Events::with_capacity(CAPACITY.try_into().unwrap()),
        }
    }

    #[inline(always)]
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize, mode: Mode) {
        let mode = match mode {
            Mode::Level => polling::PollMode::Level,
            Mode::Edge => polling::PollMode::Edge,
            Mode::Oneshot => polling::PollMode::Oneshot,
        };
        let event = polling::Event::readable(token);
        // SAFETY: it is removed before the poller is dropped, or lives on in another process.
        unsafe { self.poller.add_with_mode(fd.as_raw_fd(), event, mode) }.unwrap();
    }

    #[inline(always)]
    fn rearm(&mut self, (): &(), fd: BorrowedFd<'_>, token: usize) {
        self.poller.modify(fd, polling::Event::readable(token)).unwrap();
    }

    #[inline(always)]
    fn remove(&mut self, (): (), fd: BorrowedFd<'_>) {
        self.poller.delete(fd).unwrap();
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(usize)) {
        self.events.clear();
        let count = self.poller.wait(&mut self.events, timeout).unwrap();
        for event in self.events.iter() {
            if event.readable {
                each(event.key);
            }
        }
        // A notification has no event of its own.
        if count == 0 {
            each(WAKE);
        }
    }

    fn waker(&mut self) -> impl Fn() + Send + Sync + Clone + use<> {
        let poller = self.poller.clone();
        move || poller.notify().unwrap()
    }
}

pub(crate) struct Calloop {
    events: calloop::EventLoop<'static, Vec<usize>>,
    ready: Vec<usize>,
}

impl Peer for Calloop {
    const NAME: &'static str = "calloop";
    const MODES: &'static [Mode] = &[Mode::Level, Mode::Edge, Mode::Oneshot];
    type Key = calloop::RegistrationToken;

    fn new() -> Self {
        Self { events: calloop::EventLoop::try_new().unwrap(), ready: Vec::with_capacity(CAPACITY) }
    }

    #[inline(always)]
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize, mode: Mode) -> Self::Key {
        let mode = match mode {
            Mode::Level => calloop::Mode::Level,
            Mode::Edge => calloop::Mode::Edge,
            Mode::Oneshot => calloop::Mode::OneShot,
        };
        // SAFETY: what is added is removed while it is open, but for idle objects that another
        // process holds open: of those only the number is used again, for an `epoll_ctl` that
        // finds nothing under it.
        let owned = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
        let source = calloop::generic::Generic::new(owned, calloop::Interest::READ, mode);
        let push = move |_: calloop::Readiness, _: &mut _, ready: &mut Vec<usize>| {
            ready.push(token);
            Ok(calloop::PostAction::Continue)
        };
        self.events.handle().insert_source(source, push).unwrap()
    }

    #[inline(always)]
    fn rearm(&mut self, key: &Self::Key, _: BorrowedFd<'_>, _: usize) {
        self.events.handle().update(key).unwrap();
    }

    #[inline(always)]
    fn remove(&mut self, key: Self::Key, _: BorrowedFd<'_>) {
        self.events.handle().remove(key);
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>, mut each: impl FnMut(usize)) {
        self.events.dispatch(timeout, &mut self.ready).unwrap();
        self.ready.drain(..).for_each(&mut each);
    }

    fn waker(&mut self) -> impl Fn() + Send + Sync + Clone + use<> {
        let (ping, source) = calloop::ping::make_ping().unwrap();
        let push = |(), _: &mut _, ready: &mut Vec<usize>| ready.push(WAKE);
        self.events.handle().insert_source(source, push).unwrap();
        move || ping.ping()
    }
}
