//! The poller: a backend, the readiness that is made in user space, and the objects that no
//! backend can watch because they never block.

use std::fmt;
use std::io;
use std::panic::RefUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::backend::{self, AddError, Backend, Selected, Selector, of_either};
use crate::event::{Conditions, Event, Events, Token};
use crate::interest::{Interest, Mode};
use crate::readiness::{Deadline, Kernel, OnSignal, Readiness, Repeat, Timeout};
use crate::registered::{RegisterError, Registered};
use crate::source::Source;
use crate::sync::unpoisoned;
use crate::sys::{self, Handle, RawHandle};
use crate::trace::{Streaks, trace};
use crate::waker::Waker;

/// Watches any number of objects and reports which can be used now.
///
/// A `Poller` is a handle: clones are the same poller, every method takes `&self` and may be called
/// from any thread, also while others [`wait`](Self::wait). It lives as long as a clone of it, a
/// [`Registered`] or a [`Waker`] does.
#[derive(Clone)]
pub struct Poller(Arc<Inner>);

struct Inner {
    selector: Selected,
    backend: Backend,
    readiness: Readiness<Event>,
    /// In the order of their handles.
    always_ready: Mutex<Vec<AlwaysReady>>,
    /// Whether there was one ever, so that whoever has none pays nothing.
    has_always_ready: AtomicBool,
    streaks: Streaks,
}

/// How often a wait whose time is up looks again when nothing that it brought was kept.
const MOST_LOOKS: u32 = 100;

/// A pointer that is one with the readiness', for the sake of the registers that a wait takes.
impl Kernel for Inner {
    type Event = Event;

    #[inline]
    fn wait(&self, events: &mut Vec<Event>, limit: usize, timeout: Timeout) -> io::Result<()> {
        of_either!(&self.selector, selector => selector.wait(events, limit, timeout))
    }

    fn notify(&self) -> bool {
        of_either!(&self.selector, selector => selector.notify())
    }
}

/// Whatever the selector is: nothing panics halfway through a change of its state.
impl RefUnwindSafe for Inner {}

struct AlwaysReady {
    handle: RawHandle,
    /// Tells whether the handle still names the object that was registered under it. No duplicate:
    /// closing one would end the process's record locks on a file (`F_SETLK` in fcntl(2)).
    identity: sys::Identity,
    /// The index of its slot.
    slot: usize,
}

impl Poller {
    /// A poller with the best backend of this system.
    ///
    /// # Errors
    ///
    /// The system's: no descriptors or no memory left.
    pub fn new() -> io::Result<Self> {
        #[cfg(feature = "test-selector")]
        if let Some(backend) = backend::asked_for() {
            return Self::with_backend(backend);
        }
        Ok(Self::over(Backend::available()[0], backend::open_default()?))
    }

    /// A poller with a certain backend.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) where this system has no such backend.
    #[inline]
    pub fn with_backend(backend: Backend) -> io::Result<Self> {
        Ok(Self::over(backend, backend::open(backend)?))
    }

    fn over(backend: Backend, selector: Selected) -> Self {
        Self(Arc::new(Inner {
            selector,
            backend,
            readiness: Readiness::new(),
            always_ready: Mutex::default(),
            has_always_ready: AtomicBool::new(false),
            streaks: Streaks::default(),
        }))
    }

    /// The backend in use.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.0.backend
    }

    /// Begins to watch an object, which the registration then owns, until that is dropped.
    ///
    /// To keep it elsewhere, register a reference or an `Arc`. Nothing is changed on the object:
    /// whether it is non-blocking is the user's choice. What is ready already is reported too. An
    /// event may reach another thread before this returns: where that has to find the object in a
    /// table, ask for nothing until it is there ([an example](crate#several-threads)).
    ///
    /// # Errors
    ///
    /// The object comes back in the error.
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): this poller watches it already.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): it cannot be watched on this system, or not
    ///   for that interest. On Windows that is everything but sockets, a child's exit and what
    ///   `os::windows` has.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): [`Token::RESERVED`], or the poller's own
    ///   descriptor.
    /// - `EBADF`: the descriptor is not open, or only names a file (`O_PATH`; poll(2) takes that one,
    ///   and the first call on it fails).
    /// - `ELOOP`: pollers that watch each other's descriptors in a circle, or too many in a row.
    /// - The system's: out of memory, over the limit of watched objects
    ///   (`/proc/sys/fs/epoll/max_user_watches`), or out of descriptors where the kernel keeps no
    ///   registrations: there each has a duplicate of its object ([`has_edges`](Self::has_edges)).
    ///
    /// ```
    /// use anypoll::{Events, Interest, Mode, Poller, Token};
    ///
    /// let poller = Poller::new()?;
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let socket = poller.register(socket, Token(3), Interest::READABLE, Mode::Level)?;
    ///
    /// socket.get_ref().send_to(b"ready", socket.get_ref().local_addr()?)?;
    /// let mut events = Events::default();
    /// poller.wait(&mut events, None)?;
    /// assert!(events.iter().any(|e| e.token() == socket.token() && e.is_readable()));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn register<S: Source>(
        &self,
        source: S,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Result<Registered<S>, RegisterError<S>> {
        match self.add_handle(source.handle(), token, interest, mode, AlwaysReadyObject::Accept) {
            Ok(()) => Ok(Registered::new(self.clone(), source, token, interest, mode)),
            Err(error) => Err(RegisterError::new(error, source)),
        }
    }

    /// Waits until something is ready, and fills `events` with it.
    ///
    /// `events` is cleared first. Without a timeout the wait ends only with an event, one of zero
    /// only looks, and an empty return is never before the timeout by [`Instant`], unless
    /// [`interrupt`](Self::interrupt) was called. How much later it is depends on the kernel's timer
    /// (Linux: set in nanoseconds, before 5.11, and on Android, in milliseconds; by default the kernel
    /// adds up to 50 µs of slack, see `PR_SET_TIMERSLACK` in [prctl(2)]). A signal does not end it.
    ///
    /// When more is ready than fits, the rest is brought by later waits, in turn.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if `events` has no capacity; the system's
    /// otherwise, none of which a working program sees (poll(2) has `EINVAL` for more objects than
    /// `RLIMIT_NOFILE` allows, if that was lowered since).
    ///
    /// [prctl(2)]: https://man7.org/linux/man-pages/man2/prctl.2.html
    #[doc(alias = "epoll_wait")]
    #[doc(alias = "poll")]
    #[inline]
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.run(events, &Deadline::after(timeout, OnSignal::Continue))
    }

    /// Like [`wait`](Self::wait), until a moment. One that has passed only looks. The earlier of two
    /// that may be missing is `a.into_iter().chain(b).min()`.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    #[inline]
    pub fn wait_until(&self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()> {
        events.clear();
        self.run(events, &Deadline::at(deadline))
    }

    #[inline]
    fn run(&self, events: &mut Events, end: &Deadline) -> io::Result<()> {
        let before = events.len();
        let result = self.readiness().wait(&*self.0, &mut events.0, end);
        self.0.streaks.waited(events, before);
        result
    }

    /// Something that makes this poller report `token`, from any thread.
    #[must_use]
    pub fn waker(&self, token: Token) -> Waker {
        Waker::new(self.clone(), token)
    }

    /// The poller's own descriptor, for another poller, GLib or libuv to watch: it is readable
    /// whenever a wait with a timeout of zero would return something.
    ///
    /// `None` where the backend has none, or one that would not tell the truth (poll(2), event ports,
    /// Windows, WASI). From the first call on, each wake makes a system call unless one is on its way
    /// already. [`interrupt`](Self::interrupt) makes it readable, too, and it may be readable once more
    /// after all was taken: wait with a timeout of zero, and if the other loop has edges, until that
    /// brings nothing.
    ///
    /// What has to own it, as a [`Registered`] that stands beside its poller in one structure, takes a
    /// duplicate:
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use anypoll::{Events, Interest, Mode, Poller, Token};
    ///
    /// let (inner, outer) = (Poller::new()?, Poller::new()?);
    /// if let Some(descriptor) = inner.descriptor() {
    ///     let descriptor = descriptor.try_clone_to_owned()?;
    ///     let inside = outer.register(descriptor, Token(0), Interest::READABLE, Mode::Level)?;
    ///     inner.waker(Token(1)).wake();
    ///
    ///     let mut events = Events::default();
    ///     outer.wait(&mut events, None)?;
    ///     assert_eq!(events.get(0).unwrap().token(), inside.token());
    ///     inner.wait(&mut events, Some(std::time::Duration::ZERO))?;
    ///     assert_eq!(events.get(0).unwrap().token(), Token(1));
    /// }
    /// # }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn descriptor(&self) -> Option<Handle<'_>> {
        let descriptor = of_either!(self.selector(), selector => selector.descriptor())?;
        self.readiness().watch(self.kernel());
        Some(descriptor)
    }

    pub(crate) fn selector(&self) -> &Selected {
        &self.0.selector
    }

    pub(crate) fn kernel(&self) -> &dyn Kernel<Event = Event> {
        &*self.0
    }

    pub(crate) fn readiness(&self) -> &Readiness<Event> {
        &self.0.readiness
    }
}

/// # Low level
///
/// What [`Registered`] stands on, for those who build a face of their own: a registration is
/// named by the object's handle. Whoever closes an object without [`remove`](Self::remove) leaves
/// its registration behind: until the number is registered again, and with epoll, if a duplicate of
/// the object lives on, until that is closed. A `modify` or `remove` of another object with that number
/// may meanwhile act on what was left behind; wrong events are the worst that comes of it, since a
/// backend that must remember a handle has a duplicate of its own.
impl Poller {
    /// Like [`register`](Self::register), but the object stays the caller's.
    ///
    /// # Errors
    ///
    /// Those of [`register`](Self::register); with [`AlwaysReadyObject::Refuse`] also
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EPERM`) for an object that never
    /// blocks.
    pub fn add(
        &self,
        source: &(impl Source + ?Sized),
        token: Token,
        interest: Interest,
        mode: Mode,
        always_ready: AlwaysReadyObject,
    ) -> io::Result<()> {
        self.add_handle(source.handle(), token, interest, mode, always_ready)
    }

    /// Changes the token, interest and mode of an object, and re-arms it.
    ///
    /// A [`Registered`] does not learn of it: its next
    /// [`set_interest`](Registered::set_interest) is with its own token and mode again.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the object is not registered here.
    #[doc(alias = "reregister")]
    pub fn modify(
        &self,
        source: &(impl Source + ?Sized),
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let handle = source.handle();
        trace!(handle = sys::raw(handle), token = token.0, ?interest, ?mode, "change");
        self.modify_handle(handle, token, interest, mode)
    }

    /// Ends the watching of an object.
    ///
    /// A [`Registered`] does not learn of it: its `set_interest`, `into_inner` and drop act on whatever
    /// is registered under the handle by then. So drop it before the object is registered again.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the object is not registered here.
    #[doc(alias = "delete")]
    #[doc(alias = "deregister")]
    pub fn remove(&self, source: &(impl Source + ?Sized)) -> io::Result<()> {
        self.remove_handle(source.handle())
    }

    /// Whether the kernel itself sees edges and keeps the registrations, so that closing an object
    /// ends its watching.
    ///
    /// Where it does not, [`rearm`](Self::rearm) is needed, and the poller holds a duplicate of each
    /// object: only [`remove`](Self::remove) lets the peer of a closed one see the end.
    #[must_use]
    pub fn has_edges(&self) -> bool {
        self.backend().has_edges()
    }

    /// Tells an [`Edge`](Mode::Edge) registration that a call in these directions would have
    /// blocked. Does nothing where the kernel has edges.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the object is not registered here. (Where the kernel has
    /// edges nothing is looked up.)
    pub fn rearm(&self, source: &(impl Source + ?Sized), interest: Interest) -> io::Result<()> {
        self.rearm_handle(source.handle(), interest)
    }

    /// Like [`wait`](Self::wait), but adds to what is in `events`, and returns
    /// [`Interrupted`](io::ErrorKind::Interrupted) when a signal handler ran before there was
    /// anything to report.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait); [`Events::reserve`] makes room.
    #[inline]
    pub fn wait_append(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.run(events, &Deadline::after(timeout, OnSignal::Return))
    }

    /// Like [`wait_append`](Self::wait_append), but shows each event to `keep`, which may put another
    /// in its place. Those for which it returns `false` are left out, and a wait that brought nothing
    /// else goes on. When its time is up, it looks a hundred times at most for events that had no room
    /// beside them. So `keep` has to stop what it leaves out (`modify`, `remove`), or that comes again at
    /// once. If it panics, what it was not shown is in `events` all the same.
    ///
    /// For whoever gives registrations tokens of their own, and knows which of them are out of date.
    ///
    /// # Errors
    ///
    /// Those of [`wait_append`](Self::wait_append).
    ///
    /// ```
    /// use anypoll::{AlwaysReadyObject, Event, Events, Interest, Mode, Poller, Token};
    /// use std::net::UdpSocket;
    ///
    /// let poller = Poller::new()?;
    /// let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
    /// for (index, socket) in sockets.iter().enumerate() {
    ///     let (token, mode) = (Token(index), Mode::Oneshot);
    ///     poller.add(socket, token, Interest::WRITABLE, mode, AlwaysReadyObject::Refuse)?;
    /// }
    ///
    /// let mut events = Events::default();
    /// poller.wait_retain(&mut events, None, |event| {
    ///     let wanted = event.token() == Token(1);
    ///     *event = Event::new(Token(7), event.conditions());
    ///     wanted
    /// })?;
    /// let tokens: Vec<_> = events.iter().map(Event::token).collect();
    /// assert_eq!(tokens, [Token(7)]);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wait_retain(
        &self,
        events: &mut Events,
        timeout: Option<Duration>,
        mut keep: impl FnMut(&mut Event) -> bool,
    ) -> io::Result<()> {
        let start = events.len();
        let mut deadline = Deadline::after(timeout, OnSignal::Return);
        let mut looks = MOST_LOOKS;
        loop {
            self.run(events, &deadline)?;
            let brought_nothing = events.len() == start;
            events.0.extract_if(start.., |event| !keep(event)).for_each(drop);
            if brought_nothing || events.len() > start || deadline.was_interrupted() || looks == 0 {
                return Ok(());
            }
            deadline.go_on();
            looks -= u32::from(deadline.is_over());
        }
    }

    /// Makes one wait ([`wait`](Self::wait), [`wait_until`](Self::wait_until),
    /// [`wait_append`](Self::wait_append) or [`wait_retain`](Self::wait_retain)) return with what it
    /// has, which may be nothing: one that runs, or else the next. Several calls before one is seen
    /// count as one, so to end all waits, let each thread that comes out of one interrupt again
    /// ([an example](crate#several-threads)) and not go back: who waits after its own interrupt may be
    /// the one to see it. As [`Waker::wake`], it may be called by a signal handler.
    #[doc(alias = "notify")]
    pub fn interrupt(&self) {
        self.readiness().interrupt(self.kernel());
    }

    /// Has a wait report `event`, once; equal ones are not merged, and they come in no certain order. A
    /// removal of the object with its token takes none back, and there is no limit but memory.
    pub fn post(&self, event: Event) {
        let slot = self.readiness().slot(event, Repeat::Never);
        self.readiness().set(&slot, self.kernel());
        self.readiness().release(&slot);
    }

    // `add_handle`, `modify_handle` and `remove_handle` are inline but for what is rare, as waits are:
    // the first frame to return through after a system call costs some 37 ns, and each further one
    // six, on an AMD processor whose kernel has the mitigation "Safe RET".

    #[inline]
    fn add_handle(
        &self,
        handle: Handle<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
        always_ready: AlwaysReadyObject,
    ) -> io::Result<()> {
        trace!(handle = sys::raw(handle), token = token.0, ?interest, ?mode, "register");
        check(token)?;
        match of_either!(self.selector(), selector => selector.add(handle, token, interest, mode)) {
            Ok(()) => {
                // An object that was closed under this handle may have left this behind.
                self.remove_always_ready(handle);
                Ok(())
            }
            Err(AddError::Io(error)) => Err(said(error)),
            Err(AddError::AlwaysReady) if always_ready == AlwaysReadyObject::Refuse => {
                Err(sys::always_ready_refused())
            }
            Err(AddError::AlwaysReady) => self.add_always_ready(handle, token, interest, mode),
        }
    }

    #[inline]
    pub(crate) fn modify_handle(
        &self,
        handle: Handle<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        check(token)?;
        let result =
            of_either!(self.selector(), selector => selector.modify(handle, token, interest, mode));
        result.or_else(|error| self.modify_always_ready(error, handle, token, interest, mode))
    }

    #[cold]
    fn modify_always_ready(
        &self,
        error: io::Error,
        handle: Handle<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let mut objects = self.always_ready();
        let at = find(&objects, handle).map_err(|_| said(error))?;
        let object = &mut objects[at];
        self.readiness().remove(object.slot);
        object.slot = self.always_ready_slot(token, interest, mode);
        Ok(())
    }

    pub(crate) fn rearm_handle(&self, handle: Handle<'_>, interest: Interest) -> io::Result<()> {
        trace!(handle = sys::raw(handle), ?interest, "re-arm");
        of_either!(self.selector(), selector => selector.rearm(handle, interest)).or_else(|error| {
            // What never blocks has nothing to be re-armed for.
            let known = find(&self.always_ready(), handle);
            if known.is_ok() { Ok(()) } else { Err(said(error)) }
        })
    }

    #[inline]
    pub(crate) fn remove_handle(&self, handle: Handle<'_>) -> io::Result<()> {
        trace!(handle = sys::raw(handle), "remove");
        of_either!(self.selector(), selector => selector.remove(handle)).or_else(|error| {
            if self.remove_always_ready(handle) { Ok(()) } else { Err(said(error)) }
        })
    }

    #[inline]
    fn remove_always_ready(&self, handle: Handle<'_>) -> bool {
        self.0.has_always_ready.load(Ordering::Acquire) && self.forget_always_ready(handle)
    }

    #[cold]
    fn forget_always_ready(&self, handle: Handle<'_>) -> bool {
        let mut objects = self.always_ready();
        let Ok(at) = find(&objects, handle) else { return false };
        self.readiness().remove(objects.remove(at).slot);
        true
    }

    fn always_ready(&self) -> MutexGuard<'_, Vec<AlwaysReady>> {
        unpoisoned(self.0.always_ready.lock())
    }

    #[cold]
    fn add_always_ready(
        &self,
        handle: Handle<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let identity = sys::identity(handle)?;
        let mut objects = self.always_ready();
        self.0.has_always_ready.store(true, Ordering::Release);
        let at = find(&objects, handle);
        if at.is_ok_and(|at| objects[at].identity == identity) {
            return Err(said(io::ErrorKind::AlreadyExists.into()));
        }
        // As above, the other way round.
        let _ = of_either!(self.selector(), selector => selector.remove(handle));
        let slot = self.always_ready_slot(token, interest, mode);
        let object = AlwaysReady { handle: sys::raw(handle), identity, slot };
        match at {
            Ok(at) => {
                let old = std::mem::replace(&mut objects[at], object);
                self.readiness().remove(old.slot);
            }
            Err(at) => objects.insert(at, object),
        }
        Ok(())
    }

    fn always_ready_slot(&self, token: Token, interest: Interest, mode: Mode) -> usize {
        let conditions =
            Conditions::of(interest).intersection(Conditions::READ | Conditions::WRITE);
        let repeat = if mode == Mode::Level { Repeat::EachWait } else { Repeat::Never };
        let slot = self.readiness().slot(Event::new(token, conditions), repeat);
        if conditions != Conditions::NONE {
            self.readiness().set(&slot, self.kernel());
        }
        slot.index
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("backend", &self.0.backend).finish_non_exhaustive()
    }
}

/// Where the object is, or where it would be.
fn find(objects: &[AlwaysReady], handle: Handle<'_>) -> Result<usize, usize> {
    objects.binary_search_by_key(&sys::raw(handle), |object| object.handle)
}

/// Whether [`Poller::add`] takes an object that never blocks, such as a file of a disk, and reports
/// it as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlwaysReadyObject {
    /// As [`Poller::register`] does.
    Accept,
    /// As epoll does, with `EPERM`.
    Refuse,
}

/// A backend's error in words that are of help.
#[cold]
fn said(error: io::Error) -> io::Error {
    let words = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "the object is registered with this poller already: change that by `set_interest` or \
             `modify`, or end it first"
        }
        io::ErrorKind::NotFound => {
            "the object is not registered with this poller (any more): register it first"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}

#[inline]
fn check(token: Token) -> io::Result<()> {
    if Some(token) == Token::RESERVED {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this one token is the poller's own (Token::RESERVED): choose another",
        ));
    }
    Ok(())
}
