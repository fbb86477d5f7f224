//! P10: the system calls of each operation, counted by strace, and what becomes of those that fail.
//!
//! A test runs itself once more under strace. The traced run marks what is counted by looking for
//! files under `MARK`; the first run reads the trace. Without strace the tests are skipped, with a
//! line that says so.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anypoll::{Backend, Event, Events, Interest, Mode, Poller, Token, net};

const MARK: &str = "/no/such/file/of/anypoll/";
const TRACED: &str = "ANYPOLL_TEST_TRACED";
const PATIENCE: Duration = Duration::from_secs(20);

/// What is counted under this name. Each name is used once.
fn section<T>(name: &str, run: impl FnOnce() -> T) -> T {
    let (begin, end) = (format!("{MARK}{name}"), format!("{MARK}-"));
    let begin = Path::new(&begin);
    let end = Path::new(&end);
    assert!(!begin.exists());
    let result = run();
    assert!(!end.exists());
    result
}

type Trace = BTreeMap<String, Vec<String>>;

/// The system calls of each section, each in its thread.
fn parse(trace: &str) -> Trace {
    let mut sections = Trace::new();
    let mut inside = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        // Not a signal, the second half of a call, or a thread's end.
        let Some((name, arguments)) = call.split_once('(') else { continue };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        if let Some((_, mark)) = arguments.split_once(MARK) {
            let mark = mark.split('"').next().unwrap();
            if mark == "-" {
                inside.remove(thread);
            } else {
                assert!(sections.insert(mark.to_owned(), Vec::new()).is_none(), "{mark} twice");
                inside.insert(thread, mark);
            }
        } else if let Some(section) = inside.get(thread) {
            let name = match name {
                // Where the clock is not read in user space.
                "clock_gettime" => continue,
                // With debug assertions std looks whether what it closes is open.
                "fcntl" if arguments.contains("F_GETFD") => continue,
                name => name,
            };
            sections.get_mut(*section).unwrap().push(name.to_owned());
        }
    }
    sections
}

/// Runs `body` under strace and gives its trace, or `None`: in the traced run itself, and without
/// strace.
fn traced(test: &str, options: &[&str], body: impl FnOnce()) -> Option<Trace> {
    if let Ok(traced) = std::env::var(TRACED) {
        if traced == options.join(" ") {
            body();
        }
        return None;
    }
    let strace = |options: &[&str]| {
        let mut command = Command::new("strace");
        command.args(options);
        command
    };
    if !strace(&["-f", "-o", "/dev/null", "true"]).output().is_ok_and(|o| o.status.success()) {
        // Not by `eprintln`, which a passing test keeps to itself.
        let line = format!("\nSKIPPED: {test} needs a strace that works\n");
        let _ = io::stderr().write_all(line.as_bytes());
        return None;
    }
    let name: String = format!("{test}{options:?}").replace(|c: char| !c.is_alphanumeric(), "_");
    let file =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id()));
    let run = strace(&["-f", "-o"])
        .arg(&file)
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(TRACED, options.join(" "))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{test} {options:?}:\n{said}");
    let trace = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    Some(parse(&trace))
}

fn expect(trace: &Trace, expected: &[(&str, &[&str])]) {
    for (section, calls) in expected {
        assert_eq!(trace[*section], *calls, "{section}");
    }
    let named: Vec<_> = expected.iter().map(|(section, _)| *section).collect();
    let more = trace.keys().find(|section| !named.contains(&section.as_str()));
    assert_eq!(more, None, "a section that nothing is expected of");
}

const NOW: Option<Duration> = Some(Duration::ZERO);

fn tokens(events: &Events) -> Vec<usize> {
    events.iter().map(|event| event.token().0).collect()
}

#[test]
fn operations() {
    let trace = traced("operations", &[], || {
        let poller = Poller::with_backend(Backend::Epoll).unwrap();
        let mut events = Events::with_capacity(64);

        // Empty waits of each kind of timeout.
        for (name, nanos) in [("zero", 0), ("whole", 2_000_000), ("part", 300_000)] {
            let timeout = Some(Duration::from_nanos(nanos));
            section(name, || poller.wait(&mut events, timeout)).unwrap();
            assert!(events.is_empty());
        }
        section("past", || poller.wait_until(&mut events, Some(Instant::now()))).unwrap();

        // A connection, from accept to close.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let register = |mode| {
            let one = TcpListener::bind("127.0.0.1:0").unwrap();
            poller.register(one, Token(9), Interest::READABLE, mode).unwrap()
        };
        drop(register(Mode::Edge));
        let listener = section("register", || {
            poller.register(listener, Token(0), Interest::READABLE, Mode::Level).unwrap()
        });
        let mut peer = TcpStream::connect(address).unwrap();
        section("event", || poller.wait(&mut events, None)).unwrap();
        assert_eq!(tokens(&events), [0]);
        let (stream, _) =
            section("accept", || listener.try_io(Interest::READABLE, net::accept)).unwrap();
        let mut stream = poller.register(stream, Token(1), Interest::READABLE, Mode::Edge).unwrap();
        peer.write_all(b"x").unwrap();
        poller.wait(&mut events, Some(PATIENCE)).unwrap();
        assert_eq!(tokens(&events), [1]);
        let mut buf = [0; 9];
        section("read", || stream.read(&mut buf)).unwrap();
        let blocked = section("would block", || stream.read(&mut buf)).unwrap_err();
        assert_eq!(blocked.kind(), ErrorKind::WouldBlock);
        section("write", || stream.write(b"y")).unwrap();
        section("rearm", || stream.rearm(Interest::READABLE)).unwrap();
        section("set_interest", || stream.set_interest(Interest::WRITABLE)).unwrap();
        section("drop", || drop(stream));
        assert_eq!(peer.read(&mut buf).unwrap(), 1);
        let inner = section("into_inner", || listener.into_inner());
        drop(inner);
        assert_eq!(tokens(&events), [1]);

        // Several are ready, and come in one wait.
        let pipes: Vec<_> = (0..8).map(|_| io::pipe().unwrap()).collect();
        let several: Vec<_> = pipes
            .iter()
            .enumerate()
            .map(|(token, (_, writer))| {
                poller.register(writer, Token(token), Interest::WRITABLE, Mode::Oneshot).unwrap()
            })
            .collect();
        section("several", || poller.wait(&mut events, Some(PATIENCE))).unwrap();
        assert_eq!(events.len(), several.len());

        // Wakes that nobody sleeps for.
        let wakers: Vec<_> = (0..10).map(|token| poller.waker(Token(token))).collect();
        section("waker", || drop(poller.waker(Token(99))));
        section("wake", || wakers[0].wake());
        section("clone", || wakers[1].clone().wake());
        section("woken wait", || poller.wait(&mut events, None)).unwrap();
        assert_eq!(events.len(), 2);
        section("ten wakes and a wait", || {
            wakers.iter().for_each(anypoll::Waker::wake);
            poller.wait(&mut events, None)
        })
        .unwrap();
        assert_eq!(events.len(), 10);
        section("ten times one wake, and a wait", || {
            (0..10).for_each(|_| wakers[4].wake());
            poller.wait(&mut events, Some(PATIENCE))
        })
        .unwrap();
        assert_eq!(tokens(&events), [4]);
        section("nothing is left to clear", || poller.wait(&mut events, NOW)).unwrap();
        assert!(events.is_empty());
        section("interrupted wait", || {
            poller.interrupt();
            poller.wait(&mut events, None)
        })
        .unwrap();
        let conditions = anypoll::Conditions::READ;
        section("post", || poller.post(Event::new(Token(3), conditions)));
        section("posted", || poller.wait(&mut events, None)).unwrap();
        assert_eq!(tokens(&events), [3]);

        // One that a thread sleeps for.
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                let place = fs::read_link("/proc/thread-self").unwrap();
                PLACE.set(Path::new("/proc").join(place).join("syscall")).unwrap();
                let mut events = Events::with_capacity(64);
                section("sleep", || poller.wait(&mut events, None)).unwrap();
                let tokens = tokens(&events);
                section("after the sleep", || poller.wait(&mut events, NOW)).unwrap();
                assert!(events.is_empty());
                tokens
            });
            while !is_waiting() {
                thread::yield_now();
            }
            section("wake a sleeper", || wakers[7].wake());
            assert_eq!(sleeper.join().unwrap(), [7]);
        });
        section("wake when it is up", || wakers[7].wake());

        // Somebody may sleep outside: one notice until a wait has received it.
        section("descriptor", || poller.descriptor().is_some());
        section("wake when noticed", || wakers[8].wake());
        section("wait after a notice", || poller.wait(&mut events, None)).unwrap();
        assert_eq!(events.len(), 2);
        section("wake outside", || wakers[8].wake());
        section("wake outside again", || wakers[9].wake());
        section("wait after one notice", || poller.wait(&mut events, None)).unwrap();
        assert_eq!(events.len(), 2);
    });
    let Some(trace) = trace else { return };
    let wait: &[&str] = &["epoll_pwait"];
    expect(
        &trace,
        &[
            ("zero", wait),
            ("whole", &[IN_MILLISECONDS]),
            ("part", &["epoll_pwait2"]),
            ("past", wait),
            ("register", &["epoll_ctl"]),
            ("event", wait),
            ("accept", &["accept4"]),
            ("read", &["recvfrom"]),
            ("would block", &["recvfrom"]),
            ("write", &["sendto"]),
            ("rearm", &[]),
            ("set_interest", &["epoll_ctl"]),
            ("drop", &["epoll_ctl", "close"]),
            ("into_inner", &["epoll_ctl"]),
            ("several", &[IN_MILLISECONDS]),
            ("waker", &[]),
            ("wake", &[]),
            ("clone", &[]),
            ("woken wait", wait),
            // Every second of them.
            ("ten wakes and a wait", &[]),
            ("ten times one wake, and a wait", wait),
            ("nothing is left to clear", wait),
            ("interrupted wait", wait),
            ("post", &[]),
            ("posted", wait),
            ("sleep", wait),
            ("after the sleep", wait),
            ("wake a sleeper", &["write"]),
            ("wake when it is up", &[]),
            ("descriptor", &["write"]),
            ("wake when noticed", &[]),
            ("wait after a notice", wait),
            ("wake outside", &["write"]),
            ("wake outside again", &[]),
            ("wait after one notice", wait),
        ],
    );
}

static PLACE: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();

/// Whether the thread at `PLACE` is in the system call of a wait.
fn is_waiting() -> bool {
    let call = PLACE.get().map(|place| fs::read_to_string(place).unwrap());
    let number = call.as_deref().and_then(|call| call.split(' ').next()?.parse().ok());
    number == Some(libc::SYS_epoll_pwait)
}

/// What the C library makes of `epoll_wait`.
const IN_MILLISECONDS: &str =
    if cfg!(target_arch = "x86_64") { "epoll_wait" } else { "epoll_pwait" };

/// rustix calls `epoll_pwait2` where `epoll_pwait` is here, once any package asks for its feature
/// `linux_5_11`; the kernel may lack it all the same.
#[test]
fn without_the_call_of_rustix() {
    for (errno, timeout) in [("ENOSYS", NOW), ("EPERM", None)] {
        let inject = format!("inject=epoll_pwait:error={errno}:when=1");
        let trace = traced("without_the_call_of_rustix", &["-e", &inject], || {
            let poller = Poller::with_backend(Backend::Epoll).unwrap();
            let (_reader, writer) = io::pipe().unwrap();
            let (interest, mode) = (Interest::WRITABLE, Mode::Level);
            let writer = poller.register(writer, Token(1), interest, mode).unwrap();
            let mut events = Events::default();
            for name in ["first", "second"] {
                section(name, || poller.wait(&mut events, timeout)).unwrap();
                assert_eq!(tokens(&events), [writer.token().0]);
            }
        });
        let Some(trace) = trace else { continue };
        expect(
            &trace,
            &[("first", &["epoll_pwait", IN_MILLISECONDS]), ("second", &[IN_MILLISECONDS])],
        );
    }
}

/// A kernel or a sandbox that does not know the newer call is asked once.
#[test]
fn without_pwait2() {
    for errno in ["ENOSYS", "EPERM"] {
        let inject = format!("inject=epoll_pwait2:error={errno}");
        let trace = traced("without_pwait2", &["-e", &inject], || {
            let poller = Poller::with_backend(Backend::Epoll).unwrap();
            let mut events = Events::default();
            for name in ["first", "second"] {
                // Rounded up.
                let start = Instant::now();
                let timeout = Some(Duration::from_micros(300));
                section(name, || poller.wait(&mut events, timeout)).unwrap();
                assert!(events.is_empty() && start.elapsed() >= Duration::from_millis(1));
            }
            let other = Poller::with_backend(Backend::Epoll).unwrap();
            section("other", || other.wait(&mut events, Some(Duration::from_nanos(1)))).unwrap();
        });
        let Some(trace) = trace else { continue };
        expect(
            &trace,
            &[
                ("first", &["epoll_pwait2", IN_MILLISECONDS]),
                ("second", &[IN_MILLISECONDS]),
                ("other", &[IN_MILLISECONDS]),
            ],
        );
    }
}

/// Another error of the newer call is no reason to give it up.
#[test]
fn interrupted_pwait2() {
    let inject = ["-e", "inject=epoll_pwait2:error=EINTR:when=1"];
    let trace = traced("interrupted_pwait2", &inject, || {
        let poller = Poller::with_backend(Backend::Epoll).unwrap();
        let mut events = Events::default();
        let (start, timeout) = (Instant::now(), Duration::from_micros(10_300));
        section("wait", || poller.wait(&mut events, Some(timeout))).unwrap();
        assert!(events.is_empty() && start.elapsed() >= timeout);
    });
    let Some(trace) = trace else { return };
    expect(&trace, &[("wait", &["epoll_pwait2", "epoll_pwait2"])]);
}

/// Of the older calls, the first, the third and the fifth are interrupted.
#[test]
fn interrupted_wait() {
    let inject: &[_] = if IN_MILLISECONDS == "epoll_pwait" {
        &["-e", "inject=epoll_pwait:error=EINTR:when=1+2"]
    } else {
        // Counted apart.
        &["-e", "inject=epoll_wait:error=EINTR", "-e", "inject=epoll_pwait:error=EINTR:when=3"]
    };
    let trace = traced("interrupted_wait", inject, || {
        let poller = Poller::with_backend(Backend::Epoll).unwrap();
        let mut events = Events::default();
        let (start, timeout) = (Instant::now(), Duration::from_millis(10));
        section("goes on", || poller.wait(&mut events, Some(timeout))).unwrap();
        assert!(events.is_empty() && start.elapsed() >= timeout);
        poller.wait(&mut events, NOW).unwrap();

        let result = section("returns", || poller.wait_append(&mut events, Some(PATIENCE)));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
        poller.wait(&mut events, NOW).unwrap();

        // What has come to the rest of the wait is kept.
        poller.waker(Token(5)).wake();
        section("keeps", || poller.wait_append(&mut events, None)).unwrap();
        assert_eq!(tokens(&events), [5]);
    });
    let Some(trace) = trace else { return };
    expect(
        &trace,
        &[
            // What is left of whole milliseconds is not whole.
            ("goes on", &[IN_MILLISECONDS, "epoll_pwait2"]),
            ("returns", &[IN_MILLISECONDS]),
            ("keeps", &["epoll_pwait"]),
        ],
    );
}

/// An error of the kernel's comes back with the object, and changes nothing. The poller's own
/// notice is the first that is added.
#[test]
fn failing_changes() {
    for (errno, kind) in [("ENOMEM", ErrorKind::OutOfMemory), ("ENOSPC", ErrorKind::StorageFull)] {
        let inject = format!("inject=epoll_ctl:error={errno}:when=2+2");
        let trace = traced("failing_changes", &["-e", &inject], || {
            let poller = Poller::with_backend(Backend::Epoll).unwrap();
            let mut events = Events::default();
            let (reader, mut writer) = io::pipe().unwrap();
            let register =
                |reader| poller.register(reader, Token(1), Interest::READABLE, Mode::Oneshot);
            let (error, reader) =
                section("register", || register(reader)).unwrap_err().into_parts();
            assert_eq!(error.kind(), kind);
            writer.write_all(b"x").unwrap();
            poller.wait(&mut events, NOW).unwrap();
            assert!(events.is_empty());

            let reader = register(reader).unwrap();
            let error = section("change", || reader.set_interest(Interest::NONE)).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(reader.interest(), Interest::READABLE);
            poller.wait(&mut events, None).unwrap();
            assert_eq!(tokens(&events), [1]);

            reader.set_interest(Interest::READABLE).unwrap();
            // A removal that fails leaves the closing to end the watching.
            section("drop", || drop(reader));
            poller.wait(&mut events, NOW).unwrap();
            assert!(events.is_empty());
            assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
        let Some(trace) = trace else { continue };
        let change: &[&str] = &["epoll_ctl"];
        expect(
            &trace,
            &[("register", change), ("change", change), ("drop", &["epoll_ctl", "close"])],
        );
    }
}

/// What is refused at once: the poller, for want of memory; nothing of it stays.
#[test]
fn a_poller_that_cannot_be_made() {
    for call in ["epoll_create1", "eventfd2", "epoll_ctl"] {
        let inject = format!("inject={call}:error=ENOMEM");
        let trace = traced("a_poller_that_cannot_be_made", &["-e", &inject], || {
            let open = || fs::read_dir("/proc/self/fd").unwrap().count();
            let before = open();
            let poller = section("new", || Poller::with_backend(Backend::Epoll));
            assert_eq!(poller.unwrap_err().kind(), ErrorKind::OutOfMemory);
            assert_eq!(open(), before);
        });
        let Some(trace) = trace else { continue };
        assert_eq!(trace["new"][0], "epoll_create1");
        assert!(trace["new"].iter().any(|made| made == call));
    }
}

/// epoll cannot watch a file; that it is reported costs a wait no more.
#[test]
fn a_file_that_never_blocks() {
    let trace = traced("a_file_that_never_blocks", &[], || {
        let poller = Poller::with_backend(Backend::Epoll).unwrap();
        let mut events = Events::default();
        let register = |file| poller.register(file, Token(1), Interest::READABLE, Mode::Level);
        let file = register(File::open("Cargo.toml").unwrap()).unwrap();
        section("wait", || poller.wait(&mut events, None)).unwrap();
        assert_eq!(tokens(&events), [1]);
        drop(file);
    });
    let Some(trace) = trace else { return };
    expect(&trace, &[("wait", &["epoll_pwait"])]);
}
