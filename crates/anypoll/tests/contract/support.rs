//! What the promises' tests share.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use anypoll::{Backend, Conditions, Events, Poller, Token};

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
        let me = fs::read_link("/proc/thread-self").unwrap();
        there.set(Path::new("/proc").join(me).join("stat")).unwrap();
        run()
    });
    while !thread.is_finished() {
        let stat = place.get().and_then(|place| fs::read_to_string(place).ok());
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
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}
