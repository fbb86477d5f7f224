//! What the promises' tests share.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;
use std::{env, process};

use anypoll::{
    Backend, Conditions, Events, Interest, Mode, Poller, Registered, Source, Token, set_nonblocking,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{self, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use socket2::SockRef;

/// Makes one test a backend of each function, in modules named after the backends.
macro_rules! on_every_backend {
    ($($(#[$meta:meta])* $name:ident)+) => {
        on_every_backend!(@ epoll Epoll: $($(#[$meta])* $name)+);
        on_every_backend!(@ poll Poll: $($(#[$meta])* $name)+);
        on_every_backend!(@ simulated Simulated: $($(#[$meta])* $name)+);
    };
    (@ $module:ident $backend:ident: $($(#[$meta:meta])* $name:ident)+) => {
        mod $module {
            $(#[test] $(#[$meta])* fn $name() { super::$name(::anypoll::Backend::$backend) })+
        }
    };
}
pub(crate) use on_every_backend;

/// Long enough that a test which needs all of it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn poller(backend: Backend) -> Poller {
    Poller::with_backend(backend).unwrap()
}

/// What one or more waits brought, joined by token: a backend may use several records for one
/// object.
pub(crate) type Seen = BTreeMap<Token, Conditions>;

pub(crate) fn add(seen: &mut Seen, events: &Events) {
    for event in events {
        let conditions = seen.entry(event.token()).or_insert(event.conditions());
        *conditions = *conditions | event.conditions();
    }
}

/// What is ready now.
pub(crate) fn look(poller: &Poller) -> Seen {
    let mut events = Events::default();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    let mut seen = Seen::new();
    add(&mut seen, &events);
    seen
}

/// Waits until each of these tokens was reported at least once, and fails on any other.
pub(crate) fn wait_for(poller: &Poller, tokens: &[usize]) -> Seen {
    let mut events = Events::default();
    let mut seen = Seen::new();
    while seen.len() < tokens.len() {
        poller.wait(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "waited in vain for {tokens:?}, saw only {seen:?}");
        add(&mut seen, &events);
    }
    let mut expected: Vec<_> = tokens.iter().copied().map(Token).collect();
    expected.sort_unstable();
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), expected);
    seen
}

/// Fails if anything is reported.
pub(crate) fn expect_nothing(poller: &Poller) {
    assert_eq!(look(poller), Seen::new());
}

/// Starts a thread, and returns when it sleeps (or has ended): if `run` locks nothing before, then
/// in a wait.
pub(crate) fn sleeping<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    // Looked at in turn, so that the thread does not sleep for that.
    let place = Arc::new(OnceLock::new());
    let there = Arc::clone(&place);
    let thread = scope.spawn(move || {
        let me = std::fs::read_link("/proc/thread-self").unwrap();
        there.set(PathBuf::from("/proc").join(me).join("stat")).unwrap();
        run()
    });
    while !thread.is_finished() {
        let stat = place.get().and_then(|place| std::fs::read_to_string(place).ok());
        if stat.is_some_and(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('S')) {
            break;
        }
        thread::yield_now();
    }
    thread
}

/// Fails, instead of hanging, if this does not end.
pub(crate) fn within_patience(run: impl FnOnce() + Send + 'static) {
    let (done, end) = mpsc::channel();
    let thread = thread::spawn(move || {
        run();
        done.send(()).unwrap();
    });
    if end.recv_timeout(2 * PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it hangs");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs the body of a test in a process of its own, for what belongs to the process: its
/// descriptors and its limits. `module` is `module_path!()`, `test` the function's name.
pub(crate) fn alone(backend: Backend, module: &str, test: &str, body: impl FnOnce()) {
    const CHILD: &str = "ANYPOLL_TEST_ALONE";
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let module = module.split_once("::").unwrap().1;
    let name = format!("{module}::{}::{test}", format!("{backend:?}").to_lowercase());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, "")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{name}:\n{said}");
}

/// How many descriptors this process has open.
pub(crate) fn open_descriptors() -> usize {
    // One of them reads the directory.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// An address of this machine that no other process uses, so that a port which was closed is not
/// at once another's.
pub(crate) fn own_address() -> SocketAddr {
    let [_, high, middle, low] = process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, high | 64, middle, low), 0))
}

pub(crate) fn tcp_listener() -> TcpListener {
    TcpListener::bind(own_address()).unwrap()
}

pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = tcp_listener();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Each connected to the other.
pub(crate) fn udp_pair() -> (UdpSocket, UdpSocket) {
    let [a, b] = [(); 2].map(|()| UdpSocket::bind(own_address()).unwrap());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    (a, b)
}

/// Writes until there is no room.
pub(crate) fn fill(fd: &OwnedFd) -> io::Error {
    loop {
        if let Err(error) = rustix::io::write(fd, &[0; 4096]) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            return error.into();
        }
    }
}

/// Reads until there is nothing left. Returns how much that was.
pub(crate) fn empty(fd: &OwnedFd) -> usize {
    let mut count = 0;
    loop {
        match rustix::io::read(fd, &mut [0; 4096]) {
            Ok(more) => count += more,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return count;
            }
        }
    }
}

/// Pairs of one of each kind whose first can be filled, and its other end.
pub(crate) fn pipelines() -> Vec<(&'static str, OwnedFd, OwnedFd)> {
    fn pair(a: impl Into<OwnedFd>, b: impl Into<OwnedFd>) -> (OwnedFd, OwnedFd) {
        (a.into(), b.into())
    }
    let (tcp, unix) = (tcp_pair(), UnixStream::pair().unwrap());
    let (datagram, pipe) = (UnixDatagram::pair().unwrap(), io::pipe().unwrap());
    let pairs = [
        ("TCP", pair(tcp.0, tcp.1)),
        ("Unix stream", pair(unix.0, unix.1)),
        ("Unix datagram", pair(datagram.0, datagram.1)),
        ("pipe", pair(pipe.1, pipe.0)),
    ];
    pairs
        .map(|(kind, (ours, theirs))| {
            set_nonblocking(&ours, true).unwrap();
            set_nonblocking(&theirs, true).unwrap();
            (kind, ours, theirs)
        })
        .into()
}

pub(crate) fn both() -> Interest {
    Interest::READABLE | Interest::WRITABLE
}

/// The master and the slave of a pseudo-terminal that changes nothing of what passes.
pub(crate) fn pty() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = open(ptsname(&master, []).unwrap(), flags, fs::Mode::empty()).unwrap();
    let mut settings = tcgetattr(&slave).unwrap();
    settings.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &settings).unwrap();
    (master, slave)
}

/// A path that is gone when the test is done.
pub(crate) struct Path(PathBuf);

impl Deref for Path {
    type Target = std::path::Path;

    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) fn unix_listener() -> (UnixListener, Path) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("anypoll-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
    let path = Path(env::temp_dir().join(name));
    (UnixListener::bind(&*path).unwrap(), path)
}

/// A non-blocking object of some kind, with nothing to read.
pub(crate) struct Subject {
    pub(crate) kind: &'static str,
    pub(crate) object: OwnedFd,
    provoke: Box<dyn Fn() + Send + Sync>,
    take: fn(&OwnedFd) -> io::Result<usize>,
}

impl Subject {
    fn new(
        kind: &'static str,
        object: impl Into<OwnedFd>,
        provoke: impl Fn() + Send + Sync + 'static,
        take: fn(&OwnedFd) -> io::Result<usize>,
    ) -> Self {
        let object = object.into();
        set_nonblocking(&object, true).unwrap();
        Self { kind, object, provoke: Box::new(provoke), take }
    }

    fn written_to(
        kind: &'static str,
        (ours, theirs): (impl Into<OwnedFd>, impl Into<OwnedFd>),
    ) -> Self {
        let theirs = theirs.into();
        let provoke = move || assert_eq!(rustix::io::write(&theirs, b"!"), Ok(1));
        Self::new(kind, ours, provoke, |fd| Ok(rustix::io::read(fd, &mut [0; 64])?))
    }

    fn connected_to(
        kind: &'static str,
        listener: impl Into<OwnedFd>,
        connect: impl Fn() -> OwnedFd + Send + Sync + 'static,
    ) -> Self {
        let clients = Mutex::new(Vec::new());
        let provoke = move || clients.lock().unwrap().push(connect());
        Self::new(kind, listener, provoke, |fd| SockRef::from(fd).accept().map(|_| 1))
    }

    /// Makes it readable by one byte, datagram, connection or count.
    pub(crate) fn provoke(&self) {
        (self.provoke)();
    }

    /// Uses up what there is, until it would block. Returns how much that was.
    pub(crate) fn drain(&self, registered: &Registered<impl Source>) -> usize {
        let mut count = 0;
        loop {
            match registered.try_io(Interest::READABLE, |_| (self.take)(&self.object)) {
                Ok(more) => count += more,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{}", self.kind);
                    return count;
                }
            }
        }
    }
}

/// One of each kind.
pub(crate) fn subjects() -> Vec<Subject> {
    let tcp = tcp_listener();
    let address = tcp.local_addr().unwrap();
    let (unix, path) = unix_listener();
    let (master, slave) = pty();
    let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let counted = counter.try_clone().unwrap();
    let count = move || assert_eq!(rustix::io::write(&counted, &1_u64.to_ne_bytes()), Ok(8));
    vec![
        Subject::written_to("TCP", tcp_pair()),
        Subject::written_to("Unix stream", UnixStream::pair().unwrap()),
        Subject::written_to("UDP", udp_pair()),
        Subject::written_to("Unix datagram", UnixDatagram::pair().unwrap()),
        Subject::written_to("pipe", io::pipe().unwrap()),
        Subject::written_to("pty, master", pty()),
        Subject::written_to("pty, slave", (slave, master)),
        Subject::connected_to("TCP listener", tcp, move || {
            TcpStream::connect(address).unwrap().into()
        }),
        Subject::connected_to("Unix listener", unix, move || {
            UnixStream::connect(&*path).unwrap().into()
        }),
        Subject::new("eventfd", counter, count, |fd| {
            let mut value = [0; 8];
            rustix::io::read(fd, &mut value)?;
            Ok(usize::try_from(u64::from_ne_bytes(value)).unwrap())
        }),
    ]
}

pub(crate) const MODES: [Mode; 3] = [Mode::Level, Mode::Edge, Mode::Oneshot];

/// Waits for what is only hindered by a process that is being started: until its `exec` it has all
/// of our descriptors open.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < end, "waited in vain");
        std::thread::yield_now();
    }
}
