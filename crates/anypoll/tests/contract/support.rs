//! What the promises' tests share.

use std::collections::BTreeMap;
#[cfg(unix)]
use std::env;
#[cfg(windows)]
use std::io::Read;
#[cfg(unix)]
use std::io::Write;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use std::ops::Deref;
#[cfg(unix)]
use std::os::fd::AsRawFd;
#[cfg(unix)]
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
#[cfg(unix)]
use std::path::PathBuf;
use std::process;
use std::process::{Child, Command, Stdio};
#[cfg(unix)]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anypoll::{
    Backend, Conditions, Events, Interest, Mode, Poller, Registered, Source, Token, set_nonblocking,
};
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::event::{EventfdFlags, eventfd};
#[cfg(unix)]
use rustix::fs::{self, OFlags, open};
#[cfg(unix)]
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use socket2::SockRef;

/// Any object that can be registered.
#[cfg(unix)]
pub(crate) type Object = std::os::fd::OwnedFd;
#[cfg(windows)]
pub(crate) type Object = std::os::windows::io::OwnedSocket;

#[cfg(unix)]
pub(crate) fn read(object: &Object, buf: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(object, buf)?)
}

#[cfg(unix)]
pub(crate) fn write(object: &Object, buf: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(object, buf)?)
}

#[cfg(windows)]
pub(crate) fn read(object: &Object, buf: &mut [u8]) -> io::Result<usize> {
    (&*SockRef::from(object)).read(buf)
}

#[cfg(windows)]
pub(crate) fn write(object: &Object, buf: &[u8]) -> io::Result<usize> {
    SockRef::from(object).send(buf)
}

/// Makes one test a backend of each function, in modules named after the backends.
macro_rules! on_every_backend {
    ($($tests:tt)+) => {
        $crate::support::on_every_documented_backend! { $($tests)+ }
        #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
        $crate::support::on_backend!(poll Poll: $($tests)+);
        #[cfg(any(target_os = "illumos", target_os = "solaris"))]
        $crate::support::on_backend!(event_ports EventPorts: $($tests)+);
    };
}
pub(crate) use on_every_backend;

/// As `on_every_backend`, on those whose events the documentation of `Event` has a table for.
macro_rules! on_every_documented_backend {
    ($($tests:tt)+) => {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        $crate::support::on_backend!(epoll Epoll: $($tests)+);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        $crate::support::on_backend!(poll Poll: $($tests)+);
        #[cfg(target_os = "linux")]
        $crate::support::on_backend!(simulated Simulated: $($tests)+);
        #[cfg(any(
            target_vendor = "apple",
            target_os = "dragonfly",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
        ))]
        $crate::support::on_backend!(kqueue Kqueue: $($tests)+);
        #[cfg(windows)]
        $crate::support::on_backend!(afd Afd: $($tests)+);
    };
}
pub(crate) use on_every_documented_backend;

macro_rules! on_backend {
    ($module:ident $backend:ident: $($(#[$meta:meta])* $name:ident)+) => {
        mod $module {
            $(#[test] $(#[$meta])* fn $name() { super::$name(::anypoll::Backend::$backend) })+
        }
    };
}
pub(crate) use on_backend;

/// Whether the kernel is Linux, for what no standard says.
pub(crate) const LINUX: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Whether any object can be watched for it; of a kqueue at the most a socket.
pub(crate) fn has_priority(backend: Backend) -> bool {
    backend != Backend::Kqueue
}

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

#[cfg(unix)]
pub(crate) use std::io::{PipeReader, PipeWriter, pipe};

/// Where a pipe has no readiness, connected sockets stand in for it.
#[cfg(windows)]
pub(crate) type PipeReader = std::net::TcpStream;
#[cfg(windows)]
pub(crate) type PipeWriter = std::net::TcpStream;

#[cfg(windows)]
pub(crate) fn pipe() -> std::io::Result<(PipeReader, PipeWriter)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let writer = PipeWriter::connect(listener.local_addr()?)?;
    writer.set_nodelay(true)?;
    Ok((listener.accept()?.0, writer))
}

/// The reader was closed.
pub(crate) fn expect_reader_gone(writer: &mut PipeWriter) {
    #[cfg(unix)]
    assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    // A reset if something was left unread.
    #[cfg(windows)]
    match writer.read(&mut [0]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

#[cfg(unix)]
pub(crate) type Stream = std::os::unix::net::UnixStream;
#[cfg(windows)]
pub(crate) type Stream = std::net::TcpStream;

pub(crate) fn stream_pair() -> (Stream, Stream) {
    #[cfg(unix)]
    return Stream::pair().unwrap();
    #[cfg(windows)]
    return pipe().unwrap();
}

#[cfg(unix)]
pub(crate) fn never_blocking() -> std::fs::File {
    std::fs::File::open("Cargo.toml").unwrap()
}

/// Files cannot be registered here; a socket that has something to read stands in for them.
#[cfg(windows)]
pub(crate) fn never_blocking() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    socket
}

/// How a thread is known, and whether it sleeps.
#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "asleep/linux.rs")]
#[cfg_attr(windows, path = "asleep/windows.rs")]
#[cfg_attr(target_vendor = "apple", path = "asleep/apple.rs")]
#[cfg_attr(
    any(target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"),
    path = "asleep/bsd.rs"
)]
#[cfg_attr(
    any(
        target_os = "dragonfly",
        target_os = "haiku",
        target_os = "illumos",
        target_os = "solaris"
    ),
    path = "asleep/unseen.rs"
)]
mod asleep;

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
        there.set(asleep::this_thread()).unwrap();
        run()
    });
    let end = Instant::now() + PATIENCE;
    while !thread.is_finished() && !place.get().is_some_and(asleep::is_asleep) {
        assert!(Instant::now() < end, "the thread is not seen to sleep");
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

/// Starts a program.
pub(crate) fn start(command: &mut Command) -> Child {
    /// Wine's answer if a process has ended before it was set up.
    const ERROR_INTERNAL_ERROR: i32 = 1359;
    let mut child = None;
    eventually(|| match command.spawn() {
        Err(error) if cfg!(windows) && error.raw_os_error() == Some(ERROR_INTERNAL_ERROR) => false,
        started => {
            child = Some(started.unwrap());
            true
        }
    });
    child.unwrap()
}

/// Runs the body of a test in a process of its own, for what belongs to the process: its
/// descriptors and its limits. `module` is `module_path!()`, `test` the function's name.
pub(crate) fn alone(backend: Backend, module: &str, test: &str, body: impl FnOnce()) {
    const CHILD: &str = "ANYPOLL_TEST_ALONE";
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let module = module.split_once("::").map_or(String::new(), |(_, module)| format!("{module}::"));
    let name = format!("{module}{}::{test}", format!("{backend:?}").to_lowercase());
    let this = std::env::current_exe().unwrap();
    let mut child = Command::new(&this);
    // An emulator does not follow a program that starts another.
    if let Ok(emulator) = std::env::var("ANYPOLL_TEST_EMULATOR") {
        let mut words = emulator.split(' ');
        child = Command::new(words.next().unwrap());
        child.args(words).arg(this);
    }
    child.args(["--exact", &name, "--nocapture"]).env(CHILD, "");
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = start(&mut child).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{name}:\n{said}");
}

/// How many descriptors or handles this process has open: looked for one by one, since the list of
/// them is another on each system, and Wine's count is always 0.
pub(crate) fn open_descriptors() -> usize {
    // More in a row are never free below one that is open.
    const GAP: usize = 256;
    // What a thread's first use of sockets leaves open is Winsock's.
    drop(stream_pair());
    let mut gap = 0;
    let near_one = |open: &bool| {
        gap = if *open { 0 } else { gap + 1 };
        gap < GAP
    };
    (0..).map(is_open).take_while(near_one).filter(|open| *open).count()
}

#[cfg(unix)]
fn is_open(number: libc::c_int) -> bool {
    // SAFETY: it only asks; a number that is no descriptor is an error.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

#[cfg(windows)]
fn is_open(number: usize) -> bool {
    use windows_sys::Win32::Foundation::GetHandleInformation;

    let handle = std::ptr::without_provenance_mut(4 * (number + 1));
    // SAFETY: there is room for the answer; a number that is no handle is an error.
    unsafe { GetHandleInformation(handle, &mut 0) != 0 }
}

/// An address of this machine that no other process uses, so that a port which was closed is not
/// at once another's. Where it is not Linux, the loopback has only the first of its addresses.
pub(crate) fn own_address() -> SocketAddr {
    if !LINUX {
        return SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    }
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

/// Until the error is there: a datagram may still find the peer open, in a process that is being
/// started.
#[cfg(all(unix, not(any(target_os = "haiku", target_os = "illumos", target_os = "solaris"))))]
pub(crate) fn send_to_nobody(socket: &UdpSocket) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    eventually(|| {
        let _ = socket.send(b"nobody");
        // Where there is no flag for an error, it counts as something to read.
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    });
}

#[cfg(windows)]
#[allow(dead_code, reason = "the contract has rows of its own for it")]
pub(crate) fn send_to_nobody(socket: &UdpSocket) {
    assert_eq!(socket.send(b"nobody").unwrap(), 6);
}

/// Writes until there is no room.
pub(crate) fn fill(fd: &Object) -> io::Error {
    loop {
        if let Err(error) = write(fd, &[0; 4096]) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            return error;
        }
    }
}

/// Reads until there is nothing left. Returns how much that was.
pub(crate) fn empty(fd: &Object) -> usize {
    let mut count = 0;
    loop {
        match read(fd, &mut [0; 4096]) {
            Ok(more) => count += more,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return count;
            }
        }
    }
}

/// Pairs of one of each kind whose first can be filled, and its other end.
pub(crate) fn pipelines() -> Vec<(&'static str, Object, Object)> {
    fn pair(a: impl Into<Object>, b: impl Into<Object>) -> (Object, Object) {
        (a.into(), b.into())
    }
    let tcp = tcp_pair();
    #[cfg(unix)]
    let (unix, pipe) = (UnixStream::pair().unwrap(), pipe().unwrap());
    // Elsewhere one that finds no room is an error.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let datagram = UnixDatagram::pair().unwrap();
    let pairs = [
        ("TCP", pair(tcp.0, tcp.1)),
        #[cfg(unix)]
        ("Unix stream", pair(unix.0, unix.1)),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        ("Unix datagram", pair(datagram.0, datagram.1)),
        #[cfg(unix)]
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

#[cfg(unix)]
/// The master and the slave of a pseudo-terminal that changes nothing of what passes.
pub(crate) fn pty() -> (Object, Object) {
    // Not every system has a name for the last.
    let close_on_exec = OpenptFlags::from_bits_retain(OFlags::CLOEXEC.bits());
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | close_on_exec).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = open(slave_of(&master), flags, fs::Mode::empty()).unwrap();
    if cfg!(any(target_os = "illumos", target_os = "solaris")) {
        // It is a terminal once modules were pushed on it; until then it changes nothing.
        return (master, slave);
    }
    // By the C library: qemu's user mode lacks the call that rustix makes, `TCGETS2`.
    let mut settings = std::mem::MaybeUninit::uninit();
    // SAFETY: the call writes one `termios`, and there is room for one.
    assert_eq!(unsafe { libc::tcgetattr(slave.as_raw_fd(), settings.as_mut_ptr()) }, 0);
    // SAFETY: it was written.
    let mut settings: libc::termios = unsafe { settings.assume_init() };
    // SAFETY: these read and write one `termios`.
    unsafe { libc::cfmakeraw(&raw mut settings) };
    let now = libc::TCSANOW;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::tcsetattr(slave.as_raw_fd(), now, &raw const settings) }, 0);
    (master, slave)
}

#[cfg(unix)]
fn slave_of(master: &Object) -> std::ffi::CString {
    // The one call that every system has, which answers in a place of its own.
    static PLACE: Mutex<()> = Mutex::new(());
    let _its = PLACE.lock();
    // SAFETY: nobody else calls it meanwhile.
    let name = unsafe { libc::ptsname(master.as_raw_fd()) };
    assert!(!name.is_null());
    // SAFETY: it is a C string, and stays until the next call.
    unsafe { std::ffi::CStr::from_ptr(name) }.to_owned()
}

#[cfg(unix)]
/// A path that is gone when the test is done.
pub(crate) struct Path(PathBuf);

#[cfg(unix)]
impl Deref for Path {
    type Target = std::path::Path;

    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

#[cfg(unix)]
impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(unix)]
pub(crate) fn unix_listener() -> (UnixListener, Path) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("anypoll-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
    let path = Path(env::temp_dir().join(name));
    (UnixListener::bind(&*path).unwrap(), path)
}

/// A non-blocking object of some kind, with nothing to read.
pub(crate) struct Subject {
    pub(crate) kind: &'static str,
    pub(crate) object: Object,
    provoke: Box<dyn Fn() + Send + Sync>,
    take: fn(&Object) -> io::Result<usize>,
}

impl Subject {
    fn new(
        kind: &'static str,
        object: impl Into<Object>,
        provoke: impl Fn() + Send + Sync + 'static,
        take: fn(&Object) -> io::Result<usize>,
    ) -> Self {
        let object = object.into();
        set_nonblocking(&object, true).unwrap();
        Self { kind, object, provoke: Box::new(provoke), take }
    }

    fn written_to(
        kind: &'static str,
        (ours, theirs): (impl Into<Object>, impl Into<Object>),
    ) -> Self {
        let theirs = theirs.into();
        let provoke = move || assert_eq!(write(&theirs, b"!").unwrap(), 1);
        Self::new(kind, ours, provoke, |fd| read(fd, &mut [0; 64]))
    }

    fn connected_to(
        kind: &'static str,
        listener: impl Into<Object>,
        connect: impl Fn() -> Object + Send + Sync + 'static,
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
#[cfg(unix)]
pub(crate) fn subjects() -> Vec<Subject> {
    let tcp = tcp_listener();
    let address = tcp.local_addr().unwrap();
    let (unix, path) = unix_listener();
    let (master, slave) = pty();
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
        #[cfg(any(target_os = "linux", target_os = "android"))]
        counter(),
    ]
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn counter() -> Subject {
    // The same in either byte order: qemu's user mode turns that of the one descriptor only.
    const ONE: u64 = 0x0100_0000_0000_0001;
    let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let counted = counter.try_clone().unwrap();
    let count = move || assert_eq!(rustix::io::write(&counted, &ONE.to_ne_bytes()), Ok(8));
    Subject::new("eventfd", counter, count, |fd| {
        let mut value = [0; 8];
        rustix::io::read(fd, &mut value)?;
        Ok(usize::try_from(u64::from_ne_bytes(value) / ONE).unwrap())
    })
}

#[cfg(windows)]
pub(crate) fn subjects() -> Vec<Subject> {
    let tcp = tcp_listener();
    let address = tcp.local_addr().unwrap();
    vec![
        Subject::written_to("TCP", tcp_pair()),
        Subject::written_to("UDP", udp_pair()),
        Subject::connected_to("TCP listener", tcp, move || {
            TcpStream::connect(address).unwrap().into()
        }),
    ]
}

pub(crate) const MODES: [Mode; 3] = [Mode::Level, Mode::Edge, Mode::Oneshot];

/// Waits for what is only hindered by a process that is being started: until its `exec` it has all
/// of our descriptors open.
#[track_caller]
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < end, "waited in vain");
        std::thread::yield_now();
    }
}

/// Whether a program is installed; if not, what needs it is skipped.
#[cfg(unix)]
#[allow(dead_code, reason = "the contract needs none")]
pub(crate) fn is_installed(program: &str, test: &str) -> bool {
    let is_there = Command::new(program).arg("-V").stdout(Stdio::null()).status().is_ok();
    if !is_there {
        // Past the harness, which would keep it to itself.
        let _ = writeln!(io::stderr(), "SKIPPED: {test}: there is no {program}");
    }
    is_there
}
