//! What can be counted to the unit: system calls by strace, instructions and allocations by
//! valgrind. Each is the difference of two runs of `--loop`, so what happens before and after the
//! loop drops out.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::peers::{self, Entry, Mode};
use crate::programs::output_of;
use crate::workloads::{Slack, Work, pipes};
use Tool::{Allocations, Instructions, SystemCalls};

/// Of each peer, in the order of `COLUMNS`.
pub(crate) type Counts = Vec<(&'static str, Vec<f64>)>;

pub(crate) struct Column {
    pub(crate) tool: Tool,
    pub(crate) title: &'static str,
    work: &'static str,
    /// Those that are wanted of one loop.
    per: f64,
    /// What every peer's loop does besides.
    other: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    SystemCalls,
    Instructions,
    Allocations,
}

const fn column(tool: Tool, title: &'static str, work: &'static str) -> Column {
    Column { tool, title, work, per: 1.0, other: 0.0 }
}

const OBJECT: &str = "an object, begun and ended to be watched, and a look between";

pub(crate) const COLUMNS: &[Column] = &[
    // Without those that write and read the byte.
    Column { other: 2.0, ..column(SystemCalls, "a wait that brings one event", "event") },
    column(SystemCalls, "a wait that times out", "timeout"),
    column(SystemCalls, "a connection, both ends", "connection"),
    column(SystemCalls, OBJECT, "object"),
    column(SystemCalls, "a wake and the wait that reports it", "wake"),
    column(SystemCalls, "ten wakes and their wait", "wakes"),
    column(Instructions, "an event, one a wait", "event"),
    Column { per: 64.0, ..column(Instructions, "an event, 64 a wait", "events") },
    column(Instructions, OBJECT, "object"),
    column(Instructions, "a wake and the wait that reports it", "wake"),
    column(Allocations, "a wait that brings one event", "event"),
    column(Allocations, "a connection", "connection"),
];

/// What `--loop` does, so many times.
pub(crate) fn work(name: &str, times: usize, entry: &Entry) -> Option<Work> {
    let mode = if entry.modes.contains(&Mode::Edge) { Mode::Edge } else { Mode::Level };
    Some(match name {
        "event" => Work::Rounds { pipes: pipes(1), rounds: times, mode },
        "events" => Work::Rounds { pipes: pipes(64), rounds: times, mode },
        "connection" => Work::Churn { connections: times, mode },
        "wake" => Work::Wakes { wakes: 1, waits: times },
        "wakes" => Work::Wakes { wakes: 10, waits: times },
        "object" => Work::Again { times, mode },
        "timeout" => {
            let (timeout, slack) = (Duration::from_millis(1), Slack::Usual);
            Work::Timeout { timeout, slack, samples: times }
        }
        _ => return None,
    })
}

/// Says how to get what is missing.
pub(crate) fn check_tools() -> Result<(), String> {
    for tool in ["strace", "valgrind"] {
        Command::new(tool).arg("--version").output().map_err(|error| {
            format!("{tool} is needed to count, and does not run ({error}): apt-get install {tool}")
        })?;
    }
    Ok(())
}

/// Counts do not mind neighbours: all processors work at them.
pub(crate) fn all() -> Result<Counts, String> {
    let of_columns = |entry: &'static Entry| COLUMNS.iter().map(move |column| (entry, column));
    let jobs: Vec<_> = peers::ALL.iter().flat_map(of_columns).collect();
    let results = Mutex::new(vec![Ok(0.0); jobs.len()]);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let which = next.fetch_add(1, Relaxed);
                    let Some((entry, column)) = jobs.get(which) else { break };
                    let result = column.count(entry.name);
                    results.lock().unwrap()[which] = result;
                }
            });
        }
    });
    let results: Vec<f64> = results.into_inner().unwrap().into_iter().collect::<Result<_, _>>()?;
    let rows = results.chunks(COLUMNS.len()).map(<[f64]>::to_vec);
    Ok(peers::ALL.iter().map(|entry| entry.name).zip(rows).collect())
}

impl Column {
    fn count(&self, peer: &str) -> Result<f64, String> {
        let (few, many) = match self.tool {
            Tool::SystemCalls => (50, 250),
            Tool::Instructions | Tool::Allocations => (100, 1_100),
        };
        let counted = |times| self.tool.run(peer, self.work, times);
        let a_loop = (counted(many)? - counted(few)?) / f64::from(many - few);
        Ok(a_loop / self.per - self.other)
    }
}

impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::SystemCalls => "system calls",
            Self::Instructions => "instructions",
            Self::Allocations => "allocations",
        })
    }
}

impl Tool {
    fn run(self, peer: &str, work: &str, times: i32) -> Result<f64, String> {
        let bench = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(self.words()[0]);
        command.args(&self.words()[1..]).arg(bench);
        command.args(["--loop", peer, work, &times.to_string()]);
        let output = output_of(&mut command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        self.total(&said).ok_or_else(|| format!("{command:?}: {said}"))
    }

    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::SystemCalls => &["strace", "-f", "-c", "-U", "calls,name"],
            Self::Instructions => {
                &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
            }
            Self::Allocations => &["valgrind", "--tool=memcheck", "--undef-value-errors=no"],
        }
    }

    fn total(self, said: &str) -> Option<f64> {
        match self {
            Self::SystemCalls => strace_total(said),
            Self::Instructions => number_behind(said, "Collected : "),
            Self::Allocations => number_behind(said, "total heap usage: "),
        }
    }
}

fn number_behind(text: &str, words: &str) -> Option<f64> {
    let (_, behind) = text.split_once(words)?;
    behind.split_whitespace().next()?.replace(',', "").parse().ok()
}

pub(crate) fn strace_total(text: &str) -> Option<f64> {
    let total = text.lines().find(|line| line.ends_with("total"))?;
    total.split_whitespace().next()?.parse().ok()
}
