//! Runs the example of this name and compares all that it prints.
#![cfg(unix)]

use std::io::{self, Write};
use std::process::{Command, Stdio};

fn lines(stdin: impl Into<Stdio>) -> Vec<String> {
    let profile = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let example = profile.join("examples/tour");
    assert!(example.exists(), "`cargo test` builds it, or `cargo build --example tour`");
    let output = Command::new(example).stdin(stdin).stderr(Stdio::inherit()).output().unwrap();
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

#[test]
fn input_from_a_pipe() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"a line\n").unwrap();
    drop(writer);
    check(&lines(reader), &["stdin: a line", "stdin: the end"]);
}

#[test]
fn input_that_never_blocks() {
    check(&lines(Stdio::null()), &["stdin: the end"]);
}

#[test]
fn input_that_says_nothing() {
    let (reader, _writer) = io::pipe().unwrap();
    check(&lines(reader), &[]);
}
