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
use std::process::Command;
#[cfg(unix)]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use anypoll::{
    Backend, Conditions, Events, Interest, Mode, Poller, Registered, Source, Token, set_nonblocking,
};
#[cfg(unix)]
use rustix::event::{EventfdFlags, eventfd};
#[cfg(unix)]
use rustix::fs::{self, OFlags, open};
#[cfg(unix)]
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
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
    ($($(#[$meta:meta])* $name:ident)+) => {
        #[cfg(target_os = "linux")]
        on_every_backend!(@ epoll Epoll: $($(#[$meta])* $name)+);
        #[cfg(unix)]
        on_every_backend!(@ poll Poll: $($(#[$meta])* $name)+);
        #[cfg(target_os = "linux")]
        on_every_backend!(@ simulated Simulated: $($(#[$meta])* $name)+);
        #[cfg(windows)]
        on_every_backend!(@ afd Afd: $($(#[$meta])* $name)+);
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

/// Starts a thread, and returns when it sleeps (or has ended): if `run` locks nothing before, then
/// in a wait.
#[cfg(target_os = "linux")]
pub(crate) fn sleeping<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    use std::sync::{Arc, OnceLock};

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

/// Starts a thread, and returns when it is in the system call of a wait (or has ended).
#[cfg(windows)]
pub(crate) fn sleeping<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    use windows_sys::Win32::System::Threading::GetCurrentThreadId;

    let (tell, told) = mpsc::channel();
    let thread = scope.spawn(move || {
        // SAFETY: it has no conditions.
        tell.send(unsafe { GetCurrentThreadId() }).unwrap();
        run()
    });
    let id = told.recv().unwrap();
    while !thread.is_finished() && !is_in_wait(id) {
        thread::yield_now();
    }
    thread
}

/// Whether the thread's next instruction is behind the system call with which a poller waits.
#[cfg(windows)]
fn is_in_wait(thread: u32) -> bool {
    use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
    use windows_sys::Win32::System::Diagnostics::Debug as debug;
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
    use windows_sys::Win32::System::Threading::{
        OpenThread, ResumeThread, SuspendThread, THREAD_GET_CONTEXT, THREAD_SUSPEND_RESUME,
    };

    /// A function that makes a system call is not longer.
    const LENGTH: u64 = 32;

    /// What the call wants it to be.
    #[repr(align(16))]
    struct Aligned(debug::CONTEXT);

    // SAFETY: the name is a C string. Every process has this library for all its life.
    let ntdll = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    // SAFETY: as above.
    let call = unsafe { GetProcAddress(ntdll, c"NtRemoveIoCompletionEx".as_ptr().cast()) };
    let call = call.unwrap() as usize as u64;
    // SAFETY: it takes a number.
    let thread = unsafe { OpenThread(THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT, 0, thread) };
    if thread.is_null() {
        return false;
    }
    // SAFETY: it has just been made, and nobody else knows of it.
    let thread = unsafe { OwnedHandle::from_raw_handle(thread) };
    let mut context = Aligned(debug::CONTEXT::default());
    context.0.ContextFlags = debug::CONTEXT_CONTROL_AMD64;
    // Nothing that the thread may have locked is asked for until it goes on.
    // SAFETY: the handle is open.
    unsafe { SuspendThread(thread.as_raw_handle()) };
    // SAFETY: the handle is open, and there is room for the answer.
    let done = unsafe { debug::GetThreadContext(thread.as_raw_handle(), &raw mut context.0) };
    // SAFETY: the handle is open.
    unsafe { ResumeThread(thread.as_raw_handle()) };
    done != 0 && (call..call + LENGTH).contains(&context.0.Rip)
}

/// Starts a thread. Whether it sleeps cannot be seen here, so it gets time to: what a test shows does
/// not depend on that, only which of two interleavings it is shown for.
#[cfg(not(any(target_os = "linux", windows)))]
pub(crate) fn sleeping<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let thread = scope.spawn(run);
    thread::sleep(Duration::from_millis(10));
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
    let child = child.args(["--exact", &name, "--nocapture"]).env(CHILD, "").output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{name}:\n{said}");
}

/// How many handles this process has open: looked for one by one, since Wine's count is always 0.
#[cfg(windows)]
pub(crate) fn open_descriptors() -> usize {
    use windows_sys::Win32::Foundation::GetHandleInformation;

    // More in a row are never free below one that is open.
    const GAP: usize = 256;
    // What a thread's first use of sockets leaves open is Winsock's.
    drop(pipe().unwrap());
    let is_open = |number: usize| {
        // SAFETY: there is room for the answer; a number that is no handle is an error.
        unsafe { GetHandleInformation(std::ptr::without_provenance_mut(4 * number), &mut 0) != 0 }
    };
    let mut gap = 0;
    let near_one = |open: &bool| {
        gap = if *open { 0 } else { gap + 1 };
        gap < GAP
    };
    (1..).map(is_open).take_while(near_one).filter(|open| *open).count()
}

/// How many descriptors this process has open.
#[cfg(unix)]
pub(crate) fn open_descriptors() -> usize {
    // One of them reads the directory.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// An address of this machine that no other process uses, so that a port which was closed is not
/// at once another's. Wine has only the first of the loopback's addresses for UDP.
pub(crate) fn own_address() -> SocketAddr {
    if cfg!(windows) {
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
    let (unix, datagram) = (UnixStream::pair().unwrap(), UnixDatagram::pair().unwrap());
    #[cfg(unix)]
    let pipe = pipe().unwrap();
    let pairs = [
        ("TCP", pair(tcp.0, tcp.1)),
        #[cfg(unix)]
        ("Unix stream", pair(unix.0, unix.1)),
        #[cfg(unix)]
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
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = open(ptsname(&master, []).unwrap(), flags, fs::Mode::empty()).unwrap();
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
    let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let counted = counter.try_clone().unwrap();
    // The same in either byte order: qemu's user mode turns that of the one descriptor only.
    const ONE: u64 = 0x0100_0000_0000_0001;
    let count = move || assert_eq!(rustix::io::write(&counted, &ONE.to_ne_bytes()), Ok(8));
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
            Ok(usize::try_from(u64::from_ne_bytes(value) / ONE).unwrap())
        }),
    ]
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
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < end, "waited in vain");
        std::thread::yield_now();
    }
}
