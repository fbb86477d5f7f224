//! The example of signals, in a process of its own that is sent real ones, on every backend.

#![cfg(unix)]

#[path = "../examples/signals.rs"]
#[allow(unreachable_pub, reason = "the example is a program")]
mod example;
#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

use std::io::{BufRead, BufReader, Lines};
use std::process::{Command, Stdio};

use anypoll::{Backend, Poller};
use rustix::process::{Pid, Signal, kill_process};

use support::{on_every_backend, within_patience};

on_every_backend! {
    the_example
}

/// Says that this process is the one to be sent signals.
const ENVIRONMENT: &str = "ANYPOLL_SIGNALS_EXAMPLE";

fn the_example(backend: Backend) {
    let name = format!("{backend:?}");
    if std::env::var(ENVIRONMENT).is_ok() {
        assert_eq!(Poller::new().unwrap().backend(), backend);
        return example::main().unwrap();
    }
    within_patience(move || drive(&name));
}

fn drive(backend: &str) {
    let mut program = Command::new(std::env::current_exe().unwrap());
    // With one thread the harness would print into the program's first line.
    let test = format!("{}::the_example", backend.to_lowercase());
    program.args(["--exact", &test, "--nocapture", "--test-threads=2"]);
    program.env(ENVIRONMENT, "").env("ANYPOLL_BACKEND", backend);
    let mut program = program.stdout(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&program);
    let send = |signal| kill_process(pid, signal).unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();

    expect(&mut lines, &format!("process {}", program.id()));
    for _ in 0..3 {
        send(Signal::HUP);
        expect(&mut lines, "reload 1");
        send(Signal::USR1);
        expect(&mut lines, "woken");
    }
    send(Signal::TERM);
    expect(&mut lines, "end");
    assert!(program.wait().unwrap().success());
}

/// Skips what the test harness prints before the program begins.
fn expect(lines: &mut Lines<impl BufRead>, expected: &str) {
    let own = |line: &String| {
        ["process ", "reload ", "woken", "end"].iter().any(|word| line.starts_with(word))
    };
    assert_eq!(lines.map(Result::unwrap).find(own).unwrap(), expected);
}
