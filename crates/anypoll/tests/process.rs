//! A child's exit, by pidfd and by the thread that stands in for it, on every backend.

#![cfg(unix)]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anypoll::process::Exit;
use anypoll::{Backend, Interest, Mode, Token, set_nonblocking};

use support::{expect_nothing, on_every_backend, poller, wait_for};

const MODES: [Mode; 3] = [Mode::Level, Mode::Edge, Mode::Oneshot];

on_every_backend! {
    by_the_best_means
    #[cfg(target_os = "linux")] by_a_thread
    #[cfg(target_os = "linux")] the_thread_is_there_before_the_child_can_go
    #[cfg(target_os = "linux")] as_many_descriptors_as_it_takes
    #[cfg(target_os = "linux")] sigchld_is_the_programs
}

/// Exits with `status` when its input ends.
fn child(status: u8) -> Child {
    let script = format!("cat; exit {status}");
    Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap()
}

fn by_the_best_means(backend: Backend) {
    every_way(backend);
}

#[cfg(target_os = "linux")]
use on_linux::{
    as_many_descriptors_as_it_takes, by_a_thread, sigchld_is_the_programs,
    the_thread_is_there_before_the_child_can_go,
};

#[cfg(target_os = "linux")]
mod on_linux {
    use std::fs;
    use std::io::{self, Read};
    use std::iter;
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::Instant;

    use anypoll::process::Exit;
    use anypoll::{Backend, Interest, Mode, Token};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::support::{PATIENCE, alone, poller, wait_for};
    use super::{child, every_way, seen_when_it_comes};

    /// As in a container that answers `ENOSYS`, or before Linux 5.3.
    pub(crate) fn by_a_thread(backend: Backend) {
        thread::spawn(move || {
            forbid_pidfd_open();
            let exit = Exit::of(&mut child(0)).unwrap();
            assert!(what_it_is(&exit).starts_with("pipe:"));
            every_way(backend);
        })
        .join()
        .unwrap();
        assert!(what_it_is(&Exit::of(&mut child(0)).unwrap()).contains("pidfd"));
    }

    /// Later, the child's number might be another's, and the thread would sleep for that one.
    pub(crate) fn the_thread_is_there_before_the_child_can_go(backend: Backend) {
        alone(backend, "process", "the_thread_is_there_before_the_child_can_go", || {
            forbid_pidfd_open();
            let mut children = Vec::new();
            for count in 1..=50 {
                let mut child = child(0);
                let _exit = Exit::of(&mut child).unwrap();
                children.push(child);
                let tasks = fs::read_dir("/proc/self/task").unwrap();
                let stats = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")));
                let states = stats.filter_map(|stat| {
                    Some(stat.unwrap().split_once("(anypoll-exit) ")?.1.split_at(1).0.to_owned())
                });
                assert_eq!(states.collect::<Vec<_>>(), vec!["S"; count]);
            }
            for mut child in children {
                drop(child.stdin.take());
                child.wait().unwrap();
            }
        });
    }

    /// Two for the pipe, and one to see that the thread sleeps: with fewer it is an error.
    pub(crate) fn as_many_descriptors_as_it_takes(backend: Backend) {
        alone(backend, "process", "as_many_descriptors_as_it_takes", || {
            forbid_pidfd_open();
            let old = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..old }).unwrap();
            for free in 0..4 {
                let mut child = child(0);
                let another = || io::stdin().as_fd().try_clone_to_owned().ok();
                let mut taken: Vec<_> = iter::from_fn(another).collect();
                taken.truncate(taken.len() - free);
                let exit = Exit::of(&mut child);
                let error = exit.as_ref().err().and_then(io::Error::raw_os_error);
                assert_eq!(error, (free < 3).then_some(libc::EMFILE), "{free} are free");
                let start = Instant::now();
                // What a failed one has taken comes back while the child lives.
                while exit.is_err() && iter::from_fn(another).collect::<Vec<_>>().len() < free {
                    assert!(start.elapsed() < PATIENCE, "{free} were free");
                    thread::yield_now();
                }
                drop((taken, child.stdin.take()));
                child.wait().unwrap();
            }
        });
    }

    /// It comes as if nobody watched the child, and may be ignored.
    pub(crate) fn sigchld_is_the_programs(backend: Backend) {
        alone(backend, "process", "sigchld_is_the_programs", || {
            let (mut signals, handler) = UnixStream::pair().unwrap();
            signal_hook::low_level::pipe::register(libc::SIGCHLD, handler).unwrap();
            let mut one_child = || {
                seen_when_it_comes(backend, Mode::Level);
                assert_eq!(signals.read(&mut [0; 8]).unwrap(), 1);
            };
            one_child();
            forbid_pidfd_open();
            one_child();

            // SAFETY: no handler is given.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            let poller = poller(backend);
            let mut child = child(0);
            let exit = Exit::of(&mut child).unwrap();
            let _exit = poller.register(exit, Token(1), Interest::READABLE, Mode::Level).unwrap();
            drop(child.stdin.take());
            wait_for(&poller, &[1]);
            assert_eq!(child.try_wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
        });
    }

    fn what_it_is(exit: &Exit) -> String {
        let link = format!("/proc/self/fd/{}", exit.as_fd().as_raw_fd());
        fs::read_link(link).unwrap().to_str().unwrap().to_owned()
    }

    /// For this thread and those that it starts.
    fn forbid_pidfd_open() {
        let number = u32::try_from(libc::SYS_pidfd_open).unwrap();
        let enosys = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOSYS).unwrap();
        let statement = |code: u32, jf, k| libc::sock_filter {
            code: u16::try_from(code).unwrap(),
            jt: 0,
            jf,
            k,
        };
        let mut filter = [
            // The first word of what the filter is given is the number of the call.
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, number),
            statement(libc::BPF_RET | libc::BPF_K, 0, enosys),
            statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let len = u16::try_from(filter.len()).unwrap();
        let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
        // SAFETY: the call takes numbers.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
        // SAFETY: `program` and the filter that it points to outlive the call.
        let result = unsafe {
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
        };
        assert_eq!(result, 0);
    }
}

fn every_way(backend: Backend) {
    for mode in MODES {
        seen_when_it_comes(backend, mode);
        seen_afterwards(backend, mode);
    }
    killed(backend);
    taken_by_another();
    nothing_is_kept(backend);
}

fn seen_when_it_comes(backend: Backend, mode: Mode) {
    let poller = poller(backend);
    let mut child = child(7);
    let exit = Exit::of(&mut child).unwrap();
    let exit = poller.register(exit, Token(1), Interest::READABLE, mode).unwrap();
    expect_nothing(&poller);
    drop(child.stdin.take());
    let seen = wait_for(&poller, &[1]);
    assert!(anypoll::Event::new(Token(1), seen[&Token(1)]).is_readable());
    // Nothing but the number is left of the child, which this gives up.
    assert_eq!(status(&mut child).code(), Some(7));
    exit.set_interest(Interest::READABLE).unwrap();
    wait_for(&poller, &[1]);
    drop(exit);
    expect_nothing(&poller);
}

/// Both of a child that has exited and of one whose number may be another's by now.
fn seen_afterwards(backend: Backend, mode: Mode) {
    let poller = poller(backend);
    let mut child = child(0);
    let first = Exit::of(&mut child).unwrap();
    let first = poller.register(first, Token(1), Interest::READABLE, mode).unwrap();
    drop(child.stdin.take());
    wait_for(&poller, &[1]);
    drop(first);
    for token in [2, 3] {
        let exit = Exit::of(&mut child).unwrap();
        let exit = poller.register(exit, Token(token), Interest::READABLE, mode).unwrap();
        wait_for(&poller, &[token]);
        drop(exit);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    expect_nothing(&poller);
}

fn killed(backend: Backend) {
    let poller = poller(backend);
    let mut child = child(0);
    let exit = Exit::of(&mut child).unwrap();
    let _exit = poller.register(exit, Token(1), Interest::READABLE, Mode::Level).unwrap();
    child.kill().unwrap();
    wait_for(&poller, &[1]);
    assert_eq!(status(&mut child).signal(), Some(libc::SIGKILL));
}

/// That of a child whose exit was reported.
fn status(child: &mut Child) -> ExitStatus {
    if cfg!(any(target_vendor = "apple", target_os = "openbsd")) {
        // It may be told a moment before.
        return child.wait().unwrap();
    }
    child.try_wait().unwrap().unwrap()
}

/// Something else in the program has waited for the child.
fn taken_by_another() {
    let mut child = child(0);
    drop(child.stdin.take());
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: no status is asked for, so no memory is touched.
    assert_eq!(unsafe { libc::waitpid(id, std::ptr::null_mut(), 0) }, id);
    let error = Exit::of(&mut child).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
}

/// The child's end of a pipe is closed when it exits, whoever else watches it.
fn nothing_is_kept(backend: Backend) {
    let poller = poller(backend);
    let mut child =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let exit = Exit::of(&mut child).unwrap();
    drop(exit);
    drop(child.stdin.take());
    let output = child.stdout.take().unwrap();
    set_nonblocking(&output, true).unwrap();
    let _output = poller.register(output, Token(1), Interest::READABLE, Mode::Level).unwrap();
    assert!(anypoll::Event::new(Token(1), wait_for(&poller, &[1])[&Token(1)]).is_read_closed());
    assert!(child.wait().unwrap().success());
}
