//! What the promises' tests share.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use std::{env, process};

use anypoll::{Backend, Conditions, Events, Poller, Token};
use rustix::fs::{self, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

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

pub(crate) fn tcp_listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = tcp_listener();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Each connected to the other.
pub(crate) fn udp_pair() -> (UdpSocket, UdpSocket) {
    let [a, b] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    (a, b)
}

/// Writes until there is no room.
pub(crate) fn fill(fd: &OwnedFd) {
    let error = loop {
        if let Err(error) = rustix::io::write(fd, &[0; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
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
