//! Runs the example of this name on every backend, and compares all that it prints.
#![cfg(unix)]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

use std::io::{self, Write};
use std::process::{Command, Stdio};

use anypoll::Backend;

use support::on_every_backend;

on_every_backend! {
    input_from_a_pipe
    input_that_never_blocks
    input_that_says_nothing
}

fn lines(backend: Backend, stdin: impl Into<Stdio>) -> Vec<String> {
    let profile = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let example = profile.join("examples/tour");
    assert!(example.exists(), "`cargo test` builds it, or `cargo build --example tour`");
    let mut command = Command::new(example);
    let output = command
        .env("ANYPOLL_BACKEND", format!("{backend:?}"))
        .stdin(stdin)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What each object says is in order; the objects take turns as they like.
const OBJECTS: [&[&str]; 8] = [
    &["listener: a connection", "TCP stream: hello from a client", "TCP stream: the end"],
    &["UDP socket: a datagram"],
    &["worker: 5050"],
    &["Unix stream: hello from next door", "Unix stream: the end"],
    &["pipe: a few bytes", "pipe: the end"],
    &["child: hello from a child", "child: the end, exit status: 0"],
    &["file: [package]", "file: the end"],
    &["timeout: nothing for 100 ms, the tour is over"],
];

fn check(lines: &[String], stdin: &[&str]) {
    let expected = || OBJECTS.iter().chain([&stdin]);
    for said in expected() {
        let found: Vec<_> = lines.iter().filter(|line| said.contains(&line.as_str())).collect();
        assert_eq!(&found, said, "{lines:#?}");
    }
    assert_eq!(lines.len(), expected().map(|said| said.len()).sum::<usize>(), "{lines:#?}");
    assert_eq!(lines.last().map(String::as_str), OBJECTS[7].first().copied());
}

fn input_from_a_pipe(backend: Backend) {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"a line\n").unwrap();
    drop(writer);
    check(&lines(backend, reader), &["stdin: a line", "stdin: the end"]);
}

fn input_that_never_blocks(backend: Backend) {
    check(&lines(backend, Stdio::null()), &["stdin: the end"]);
}

fn input_that_says_nothing(backend: Backend) {
    let (reader, _writer) = io::pipe().unwrap();
    check(&lines(backend, reader), &[]);
}
