//! The example of a supervisor, with real children, on every backend.
#![cfg(target_os = "linux")]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use anypoll::Backend;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use support::{PATIENCE, on_every_backend};

on_every_backend! {
    lines_have_a_prefix
    the_last_words_of_a_command
    restarts_with_growing_delays
    one_thread_that_sleeps
    signals_are_forwarded
    a_stubborn_command_is_killed
    a_second_signal_kills_at_once
    what_a_command_has_started_ends_with_it
    a_pipe_that_stays_open_holds_nothing_up
    an_error_leaves_nothing_behind
}

/// Every process of a test has this in its environment.
const MARK: &str = "ANYPOLL_SUPERVISOR_TEST";

struct Supervisor {
    process: Process,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

/// Killed with all that it has started if a test fails.
struct Process {
    child: Child,
    mark: String,
}

fn supervisor(test: &str, backend: Backend, args: &[&str]) -> Supervisor {
    let profile = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let example = profile.join("examples/supervisor");
    assert!(example.exists(), "`cargo test` builds it, or `cargo build --example supervisor`");
    let mark = format!("{test}-{backend:?}-{}", std::process::id());
    let mut child = Command::new(example)
        .args(args)
        .env("ANYPOLL_BACKEND", format!("{backend:?}"))
        .env(MARK, &mark)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap()).lines();
    let err = BufReader::new(child.stderr.take().unwrap()).lines();
    Supervisor { process: Process { child, mark }, out, err }
}

impl Supervisor {
    fn out(&mut self) -> String {
        self.out.next().unwrap().unwrap()
    }

    fn err(&mut self) -> String {
        self.err.next().unwrap().unwrap()
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.child), signal).unwrap();
    }

    /// How many children it has, those that nobody waited for included.
    fn children(&self) -> usize {
        let id = self.process.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().count()
    }

    /// A number of `/proc/…/status`.
    fn status(&self, name: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id()));
        let status = status.unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap().trim().parse().unwrap()
    }

    /// It ends by itself, has said nothing more, and nothing is left of what it has started.
    fn ends(mut self) {
        assert_eq!(self.err.next().map(Result::unwrap), None);
        assert_eq!(self.out.next().map(Result::unwrap), None);
        assert!(self.process.child.wait().unwrap().success());
        wait_until_left(&self.process.mark, 0);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for id in processes(&self.mark) {
            kill(&id);
        }
    }
}

fn processes(mark: &str) -> Vec<String> {
    let mark = format!("{MARK}={mark}");
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    processes
        .filter(|process| {
            // One that is gone meanwhile, or is not ours, cannot be read.
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        })
        .map(|process| process.file_name().into_string().unwrap())
        .collect()
}

fn kill(id: &str) {
    let id = Pid::from_raw(id.parse().unwrap()).unwrap();
    let _ = kill_process(id, Signal::KILL);
}

/// Waits until no more than so many of a test's processes are left.
fn wait_until_left(mark: &str, left: usize) {
    loop {
        let there = processes(mark);
        if there.len() <= left {
            return;
        }
        let open = |id: &String| {
            pidfd_open(Pid::from_raw(id.parse().unwrap()).unwrap(), PidfdFlags::empty())
        };
        // One that is gone meanwhile is a reason to look again too.
        let Ok(ends) = there.iter().map(open).collect::<Result<Vec<_>, _>>() else { continue };
        let mut ends: Vec<_> = ends.iter().map(|end| PollFd::new(end, PollFlags::IN)).collect();
        let patience = Timespec::try_from(PATIENCE).unwrap();
        assert_ne!(poll(&mut ends, Some(&patience)).unwrap(), 0, "{there:?} do not end");
    }
}

fn lines_have_a_prefix(backend: Backend) {
    let mut this = supervisor(
        "prefix",
        backend,
        &[
            "printf 'one\\n\\ntw'; printf 'o\\nwithout end'; echo wrong >&2; exec 1>&- 2>&-; exec sleep 1000",
            "echo other; exec sleep 1000",
        ],
    );
    let mut lines: Vec<_> = (0..5).map(|_| this.out()).collect();
    // Those of one command are in order.
    lines.sort_by_key(|line| line[..3].to_owned());
    assert_eq!(lines, ["[1] one", "[1] ", "[1] two", "[1] without end", "[2] other"]);
    assert_eq!(this.err(), "[1] wrong");
    this.send(Signal::TERM);
    let mut notes = [this.err(), this.err()];
    notes.sort();
    assert_eq!(notes, ["[1] signal: 15 (SIGTERM)", "[2] signal: 15 (SIGTERM)"]);
    this.ends();
}

fn the_last_words_of_a_command(backend: Backend) {
    let mut this = supervisor(
        "last",
        backend,
        &["--delay", "1000", "printf %0100000d 7; printf end >&2; exit 3"],
    );
    // So long a line comes in pieces.
    let mut line = String::new();
    while line.len() < 100_000 {
        line += this.out().strip_prefix("[1] ").unwrap();
    }
    assert_eq!(line, format!("{}7", "0".repeat(99_999)));
    assert_eq!(this.err(), "[1] end");
    assert_eq!(this.err(), "[1] exit status: 3, again in 1000s");
    assert_eq!(this.children(), 0);
    // What waits to be started again is not waited for.
    this.send(Signal::INT);
    this.ends();
}

fn restarts_with_growing_delays(backend: Backend) {
    let runs =
        std::env::temp_dir().join(format!("anypoll-supervisor-{backend:?}-{}", std::process::id()));
    let file = runs.to_str().unwrap();
    let command = format!(
        "echo >>{file}; echo run $(wc -l <{file}); [ $(wc -l <{file}) = 5 ] || exit 1; exec sleep 1000"
    );
    let mut this = supervisor("restarts", backend, &["--delay", "0.001", &command]);
    for (run, delay) in ["1ms", "2ms", "4ms", "8ms"].iter().enumerate() {
        assert_eq!(this.out(), format!("[1] run {}", run + 1));
        assert_eq!(this.err(), format!("[1] exit status: 1, again in {delay}"));
    }
    assert_eq!(this.out(), "[1] run 5");
    assert_eq!(this.children(), 1);
    this.send(Signal::TERM);
    assert_eq!(this.err(), "[1] signal: 15 (SIGTERM)");
    this.ends();
    fs::remove_file(runs).unwrap();
}

fn one_thread_that_sleeps(backend: Backend) {
    let mut this = supervisor("sleeps", backend, &["--delay", "0.25", "exit 1", "exec sleep 1000"]);
    assert_eq!(this.err(), "[1] exit status: 1, again in 250ms");
    let before = this.status("voluntary_ctxt_switches");
    assert_eq!(this.err(), "[1] exit status: 1, again in 500ms");
    let sleeps = this.status("voluntary_ctxt_switches") - before;
    // Until the delay is over, while the command starts, and for each of its ends.
    assert!(sleeps <= 8, "{sleeps}");
    assert_eq!(this.status("Threads"), 1);
    this.send(Signal::TERM);
    assert_eq!(this.err(), "[2] signal: 15 (SIGTERM)");
    this.ends();
}

fn signals_are_forwarded(backend: Backend) {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT")] {
        let command = format!(
            "trap 'echo got {name}; exit 0' {name}; echo ready; while :; do sleep 1000 & wait; done"
        );
        let mut this = supervisor("forward", backend, &[&command]);
        assert_eq!(this.out(), "[1] ready");
        this.send(signal);
        assert_eq!(this.out(), format!("[1] got {name}"));
        assert_eq!(this.err(), "[1] exit status: 0");
        this.ends();
    }
}

/// Ignores SIGTERM, and so does what it starts.
const STUBBORN: &str = "trap '' TERM; echo ready; while :; do sleep 1000; done";

fn a_stubborn_command_is_killed(backend: Backend) {
    let mut this = supervisor("stubborn", backend, &["--grace", "0.05", STUBBORN]);
    assert_eq!(this.out(), "[1] ready");
    this.send(Signal::TERM);
    assert_eq!(this.err(), "[1] signal: 9 (SIGKILL)");
    this.ends();
}

fn a_second_signal_kills_at_once(backend: Backend) {
    let mut this = supervisor(
        "second",
        backend,
        &[
            "--grace",
            "1000",
            STUBBORN,
            "trap 'echo got it' TERM; echo ready; while :; do sleep 1000 & wait; done",
        ],
    );
    let mut ready = [this.out(), this.out()];
    ready.sort();
    assert_eq!(ready, ["[1] ready", "[2] ready"]);
    this.send(Signal::TERM);
    assert_eq!(this.out(), "[2] got it");
    this.send(Signal::TERM);
    let mut notes = [this.err(), this.err()];
    notes.sort();
    assert_eq!(notes, ["[1] signal: 9 (SIGKILL)", "[2] signal: 9 (SIGKILL)"]);
    this.ends();
}

fn what_a_command_has_started_ends_with_it(backend: Backend) {
    let mut this =
        supervisor("started", backend, &["--delay", "1000", "sleep 1000 & sleep 1000 & exit 4"]);
    assert_eq!(this.err(), "[1] exit status: 4, again in 1000s");
    // Only the supervisor itself.
    wait_until_left(&this.process.mark, 1);
    this.send(Signal::TERM);
    this.ends();
}

/// Even where that has left the group, and so is not killed.
fn a_pipe_that_stays_open_holds_nothing_up(backend: Backend) {
    // The inner shell is elsewhere, and has only the error output, when the outer one goes on.
    let start = "setsid sh -c 'echo $$; exec sleep 1000 >&2' &";
    let command = format!("echo $({start}); printf end >&2; exit 5");
    let mut this = supervisor("open", backend, &["--delay", "1000", &command]);
    let held = this.out();
    let held = held.strip_prefix("[1] ").unwrap();
    assert_eq!(this.err(), "[1] end");
    assert_eq!(this.err(), "[1] exit status: 5, again in 1000s");
    assert_eq!(this.children(), 0);
    assert!(processes(&this.process.mark).contains(&held.to_owned()));
    kill(held);
    this.send(Signal::TERM);
    this.ends();
}

/// Nobody takes what is printed: that is an error, and the commands do not outlive it.
fn an_error_leaves_nothing_behind(backend: Backend) {
    let Supervisor { mut process, out, err } =
        supervisor("error", backend, &["exec sleep 1000", "exec yes"]);
    let mut out = out.map(Result::unwrap);
    assert_eq!(out.next().unwrap(), "[2] y");
    drop(out);
    assert_eq!(process.child.wait().unwrap().code(), Some(1));
    let said: Vec<_> = err.map(Result::unwrap).collect();
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("BrokenPipe"), "{said:?}");
    wait_until_left(&process.mark, 0);
}
