//! tokio and smol over their own poller and over our drop-in. A lock file has one patch, so each
//! runtime's program is built twice, as two packages below `target/`. They run in turn, each time as
//! new processes: with many connections two of one program differ by several hundredths, for as long
//! as they run.

use std::path::Path;
use std::process::Command;

use crate::measure::{Effort, Spread, order, spread};
use crate::one_core::OneCore;
use crate::programs::{Package, crates, output_of};
use crate::sections::grouped;

pub(crate) struct Runtime {
    pub(crate) name: &'static str,
    /// What both runtime and drop-in are about.
    poller: &'static str,
    source: &'static str,
    dependency: &'static str,
}

pub(crate) const REASON: &str = "One round trip is some ten system calls and a task switch or two: \
    what a poller saves is a small part of it. Under smol, the kernel is not told that a \
    connection is armed again, as long as its task has read all before the next wait; where 5,000 \
    take part at once that is not so, nor where threads take turns at waiting: there each event \
    and each re-arming pays for a table that saves nothing. Over one connection 8 of 18 system \
    calls are left, the reads and writes of both ends among them; where these are slow, as over \
    TCP on an AMD EPYC, they decide: there perf(1) finds 8 % of the time in the poller, 6 % of it \
    in `epoll_pwait` itself. With two threads on two cores the scheduler decides, and a row may \
    differ by several hundredths from run to run. Waking a sleeper takes some locked instructions \
    that mio's bare write does without; they spare that write when nobody sleeps.";

/// Words: workload, connections, threads, operations.
const WORKLOADS: [&str; 9] = [
    "echo 1 1 3000",
    "echo 100 1 50000",
    "echo 5000 1 60000",
    "echo 1 2 3000",
    "echo 100 2 50000",
    "echo 5000 2 60000",
    "wakes 0 2 5000",
    "churn 10 1 1000",
    "churn 10 2 1000",
];

pub(crate) const RUNTIMES: [Runtime; 2] = [
    Runtime {
        name: "tokio",
        poller: "mio",
        source: include_str!("../programs/tokio.rs"),
        dependency: "tokio = { version = '=1.54.1', features = ['full'] }",
    },
    Runtime {
        name: "smol",
        poller: "polling",
        source: include_str!("../programs/smol.rs"),
        dependency: "smol = '=2.0.2'",
    },
];

/// The original's time over ours: above 1, ours is the faster.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) ratio: Spread,
    /// System calls of a round trip: the original's and ours.
    pub(crate) calls: Option<[f64; 2]>,
}

pub(crate) struct Measured {
    /// The runtime's and the original poller's.
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) rows: Vec<Row>,
}

impl Runtime {
    pub(crate) fn measure(&self, effort: &Effort, filter: &str) -> Result<Measured, String> {
        let wanted = |workload: &&&str| describe(self.name, workload).contains(filter);
        let workloads: Vec<_> = WORKLOADS.iter().filter(wanted).collect();
        if workloads.is_empty() {
            return Ok(Measured { versions: Vec::new(), rows: Vec::new() });
        }
        let original = self.build("original")?;
        let programs = [original.program(), self.build("ours")?.program()];
        let mut versions = original.dependencies()?;
        versions.retain(|(name, _)| name == self.name || name == self.poller);
        let mut rows = Vec::new();
        for workload in workloads {
            let name = describe(self.name, workload);
            eprintln!("{name} …");
            let workload = scaled(workload, effort.divisor);
            let mut ratios = Vec::new();
            let one_core = workload.starts_with("wakes").then(OneCore::keep);
            effort.rounds(|round| {
                let mut times = [0.0; 2];
                for which in order(2, round) {
                    times[which] = seconds(&programs[which], &workload);
                }
                if round > 0 {
                    ratios.push(times[0] / times[1]);
                }
            });
            drop(one_core);
            let calls = if workload.starts_with("echo 1 1 ") {
                Some([counted_calls(&programs[0])?, counted_calls(&programs[1])?])
            } else {
                None
            };
            rows.push(Row { name, ratio: spread(ratios), calls });
        }
        Ok(Measured { versions, rows })
    }

    fn build(&self, side: &str) -> Result<Package, String> {
        let replaced = if side == "ours" {
            let replacement = crates().join(self.poller);
            let path = replacement.display();
            format!("[patch.crates-io]\n{} = {{ path = '{path}' }}\n", self.poller)
        } else {
            String::new()
        };
        let tail = format!("[dependencies]\n{}\n\n{replaced}", self.dependency);
        let folder = format!("bench-runtimes/{}/{side}", self.name);
        let package = Package::write(&folder, &tail, self.source);
        eprintln!("building {} over {side} …", self.name);
        package.cargo(&["build", "--quiet", "--release"])?;
        let tree = package.cargo(&["tree", "--quiet", "-i", self.poller])?;
        if tree.contains("crates/") == (side == "ours") {
            Ok(package)
        } else {
            Err(format!("{} over {side} was built with another {}", self.name, self.poller))
        }
    }
}

/// With so much fewer operations, which are the last word.
fn scaled(workload: &str, divisor: usize) -> String {
    let (words, operations) = workload.rsplit_once(' ').expect("there are several words");
    let operations: usize = operations.parse().expect("the last one is a number");
    format!("{words} {}", operations / divisor)
}

fn describe(runtime: &str, workload: &str) -> String {
    let words: Vec<_> = workload.split(' ').collect();
    let threads = if words[2] == "1" { "1 thread" } else { "2 threads" };
    match words[0] {
        "echo" => {
            let connections = grouped(words[1].parse().expect("it is a number"));
            format!("{runtime}: TCP echo, connections: {connections}, {threads}")
        }
        "churn" => format!("{runtime}: TCP churn, {} at a time, {threads}", words[1]),
        _ => format!("{runtime}: wakes between two threads, on one core"),
    }
}

/// Of one operation.
fn seconds(program: &Path, workload: &str) -> f64 {
    let output = output_of(Command::new(program).args(workload.split(' ')))
        .unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints a number")
}

/// Of a round trip of one connection: the difference between many and few, and of several such the
/// median. On one core, since strace slows a runtime's busy thread so much that an idle one steps in.
fn counted_calls(program: &Path) -> Result<f64, String> {
    let _one_core = OneCore::keep();
    let total = |operations: usize| {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "calls,name"]).arg(program);
        command.args(["echo", "1", "1", &operations.to_string()]);
        let output = output_of(&mut command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        crate::counts::strace_total(&said).ok_or_else(|| format!("strace: {said}"))
    };
    let difference = |_| Ok((total(1_100)? - total(100)?) / 1_000.0);
    let differences = (0..9).map(difference).collect::<Result<Vec<_>, String>>()?;
    Ok(spread(differences).median)
}
