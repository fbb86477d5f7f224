//! Children, signals, fork and exec.
//!
//! In a process of their own, and one after another: what is forked holds every descriptor until it
//! runs something else.

#![cfg(unix)]

#[allow(dead_code, reason = "other tests need more of it")]
#[path = "dropin/support.rs"]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::thread::JoinHandleExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anypoll::Backend;
use mio::net::UnixStream;
use mio::unix::pipe;
use mio::{Events, Interest, Token};

use support::{PATIENCE, expect_nothing, expect_one, is_nonblocking, on_every_backend, poll};

on_every_backend! {
    pipes_of_a_child
    a_signal_interrupts
    exec_inherits_nothing
    fork_and_exit
}

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pipes_of_a_child(backend: Backend) {
    let _alone = alone();
    let mut poll = poll(backend);
    let mut child = Command::new("sh")
        .args(["-c", "cat; echo done >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = pipe::Sender::from(child.stdin.take().unwrap());
    let mut stdout = pipe::Receiver::from(child.stdout.take().unwrap());
    let mut stderr = pipe::Receiver::from(child.stderr.take().unwrap());
    assert!(!is_nonblocking(&stdin) && !is_nonblocking(&stdout) && !is_nonblocking(&stderr));
    stdin.set_nonblocking(true).unwrap();
    stdout.set_nonblocking(true).unwrap();
    stderr.set_nonblocking(true).unwrap();
    poll.registry().register(&mut stdin, Token(0), Interest::WRITABLE).unwrap();
    assert_eq!(expect_one(&mut poll, 0), "writable");
    poll.registry().register(&mut stdout, Token(1), Interest::READABLE).unwrap();
    expect_nothing(&mut poll);
    stdin.write_all(b"hello").unwrap();
    // The child's reading may report that there is room again.
    poll.registry().deregister(&mut stdin).unwrap();
    assert_eq!(expect_one(&mut poll, 1), "readable");
    let mut buf = [0; 16];
    assert_eq!(stdout.read(&mut buf).unwrap(), 5);
    assert_eq!(stdout.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    poll.registry().deregister(&mut stdout).unwrap();

    drop(stdin);
    assert!(child.wait().unwrap().success());
    poll.registry().register(&mut stderr, Token(2), Interest::READABLE).unwrap();
    // A kqueue tells of the own direction alone.
    let ended = if backend == Backend::Kqueue {
        "readable read_closed"
    } else {
        "readable read_closed write_closed"
    };
    assert_eq!(expect_one(&mut poll, 2), ended);
    assert_eq!(stderr.read(&mut buf).unwrap(), 5);
    assert_eq!(stderr.read(&mut buf).unwrap(), 0);
}

extern "C" fn ignore(_signal: libc::c_int) {}

fn a_signal_interrupts(backend: Backend) {
    let _alone = alone();
    // SAFETY: all zeroes is a valid `sigaction`: no flags, so that calls are not restarted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as *const () as usize;
    // SAFETY: the handler does nothing, and the signal is sent to one thread alone.
    assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) }, 0);

    let mut poll = poll(backend);
    let returned = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let returned = Arc::clone(&returned);
        move || {
            let mut events = Events::with_capacity(8);
            let result = poll.poll(&mut events, Some(PATIENCE));
            returned.store(true, SeqCst);
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
            assert!(events.is_empty());
            // The poll is as good as before.
            let (mut sender, mut receiver) = pipe::new().unwrap();
            poll.registry().register(&mut receiver, Token(0), Interest::READABLE).unwrap();
            sender.write_all(b"x").unwrap();
            while let Err(error) = poll.poll(&mut events, Some(PATIENCE)) {
                assert_eq!(error.kind(), ErrorKind::Interrupted);
            }
            assert_eq!(events.iter().count(), 1);
        }
    });
    // One that comes before the poll is missed.
    while !returned.load(SeqCst) {
        // Of another type where the C library is musl.
        let name = thread.as_pthread_t() as _;
        // SAFETY: the thread is not joined yet.
        assert_eq!(unsafe { libc::pthread_kill(name, libc::SIGUSR1) }, 0);
        // As long as the handler there takes, so that the thread comes further between two signals.
        // SAFETY: the handler does nothing.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        thread::yield_now();
    }
    thread.join().unwrap();
}

fn exec_inherits_nothing(backend: Backend) {
    let _alone = alone();
    let mut poll = poll(backend);
    let (one, mut peer) = StdUnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = UnixStream::from_std(one);
    poll.registry().register(&mut stream, Token(0), Interest::READABLE).unwrap();

    // It lives until its input ends.
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!(expect_one(&mut poll, 0), "readable");
    assert_eq!(stream.read(&mut [0; 2]).unwrap(), 1);
    drop(stream);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    expect_nothing(&mut poll);
}

fn fork_and_exit(backend: Backend) {
    let _alone = alone();
    let mut poll = poll(backend);
    let (mut stream, mut peer) = UnixStream::pair().unwrap();
    poll.registry().register(&mut stream, Token(0), Interest::READABLE).unwrap();
    // SAFETY: the child calls nothing but `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: always.
        unsafe { libc::_exit(7) };
    }
    let mut status = 0;
    // SAFETY: it is our child, and nobody else waits for it.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(libc::WEXITSTATUS(status), 7);
    peer.write_all(b"x").unwrap();
    assert_eq!(expect_one(&mut poll, 0), "readable");
    poll.registry().deregister(&mut stream).unwrap();
    peer.write_all(b"x").unwrap();
    expect_nothing(&mut poll);
}
