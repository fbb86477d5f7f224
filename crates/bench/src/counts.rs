//! What can be counted to the unit: instructions by callgrind, system calls by strace. Both are
//! differences of two runs of `--loop`, so what happens before and after the loop drops out.

use std::process::Command;

use crate::peers::{Anypoll, Calloop, Floor, Mio, Peer, Polling};

pub(crate) struct Count {
    pub(crate) peer: &'static str,
    /// In user space, a wait that brings one event, with the read and write of its byte.
    pub(crate) instructions_one: f64,
    /// The same for each of 64 events that one wait brings.
    pub(crate) instructions_64: f64,
    /// System calls of a wait that brings one event, without those that read and write.
    pub(crate) calls: f64,
}

const FEW: usize = 100;
const MANY: usize = 1_100;

/// Nothing where a tool is missing: the report says so.
pub(crate) fn all() -> Vec<Count> {
    let peers = [Floor::NAME, Anypoll::NAME, Mio::NAME, Polling::NAME, Calloop::NAME];
    let count = |peer| {
        let a_round = |tool: fn(&str, usize, usize) -> Option<f64>, sources| {
            let few = tool(peer, sources, FEW)?;
            Some((tool(peer, sources, MANY)? - few) / (MANY - FEW) as f64)
        };
        Some(Count {
            peer,
            instructions_one: a_round(instructions, 1)?,
            instructions_64: a_round(instructions, 64)? / 64.0,
            calls: a_round(calls, 1)? - 2.0,
        })
    };
    peers.into_iter().map_while(count).collect()
}

fn looped(
    tool: &str,
    arguments: &[&str],
    peer: &str,
    sources: usize,
    rounds: usize,
) -> Option<String> {
    let bench = std::env::current_exe().expect("this program has a path");
    let output = Command::new(tool)
        .args(arguments)
        .arg(bench)
        .args(["--loop", peer, &sources.to_string(), &rounds.to_string()])
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn instructions(peer: &str, sources: usize, rounds: usize) -> Option<f64> {
    let arguments = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let text = looped("valgrind", &arguments, peer, sources, rounds)?;
    text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

fn calls(peer: &str, sources: usize, rounds: usize) -> Option<f64> {
    let text = looped("strace", &["-f", "-c", "-U", "calls,name"], peer, sources, rounds)?;
    strace_total(&text)
}

pub(crate) fn strace_total(text: &str) -> Option<f64> {
    let total = text.lines().find(|line| line.ends_with("total"))?;
    total.split_whitespace().next()?.parse().ok()
}
