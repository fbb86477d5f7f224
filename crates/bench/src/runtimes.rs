//! tokio and smol over their own poller and over our drop-in. A lock file has one patch, so each
//! runtime's program is built twice, as two packages below `target/`; both run side by side and are
//! asked for a slice in turn.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::measure::percentile;

pub(crate) struct Runtime {
    pub(crate) name: &'static str,
    /// What both runtime and drop-in are about.
    poller: &'static str,
    source: &'static str,
    dependency: &'static str,
    workloads: &'static [&'static str],
}

/// Words: workload, connections, threads, operations.
pub(crate) const RUNTIMES: [Runtime; 2] = [
    Runtime {
        name: "tokio",
        poller: "mio",
        source: include_str!("../programs/tokio.rs"),
        dependency: "tokio = { version = '=1.54.1', features = ['full'] }",
        workloads: &[
            "echo 1 1 3000",
            "echo 100 1 20000",
            "echo 5000 1 20000",
            "echo 1 2 3000",
            "echo 100 2 20000",
            "echo 5000 2 20000",
            "wakes 0 2 5000",
            "churn 10 1 1000",
            "churn 10 2 1000",
        ],
    },
    Runtime {
        name: "smol",
        poller: "polling",
        source: include_str!("../programs/smol.rs"),
        dependency: "smol = '=2.0.2'",
        workloads: &[
            "echo 1 1 3000",
            "echo 100 1 20000",
            "echo 5000 1 20000",
            "echo 1 2 3000",
            "echo 100 2 20000",
            "churn 10 1 1000",
        ],
    },
];

/// The original's time over ours: above 1, ours is the faster.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) median: f64,
    pub(crate) quartiles: (f64, f64),
    /// System calls of an operation: the original's and ours.
    pub(crate) calls: Option<(f64, f64)>,
}

impl Runtime {
    /// Builds both programs, and fails if that does not work.
    pub(crate) fn measure(&self, rounds: usize, filter: &str) -> Vec<Row> {
        let wanted = |workload: &&&str| format!("{} {workload}", self.name).contains(filter);
        let workloads: Vec<_> = self.workloads.iter().filter(wanted).collect();
        if workloads.is_empty() {
            return Vec::new();
        }
        let programs = ["original", "ours"].map(|side| self.build(side));
        let mut running = programs.each_ref().map(|program| Program::start(program));
        let row = |workload: &&str| {
            let name = describe(self.name, workload);
            eprintln!("{name} …");
            let mut ratios = Vec::new();
            for round in 0..=rounds {
                // Who begins takes turns, too. The first round warms up.
                let mut times = [0.0; 2];
                for i in 0..2 {
                    let which = (i + round) % 2;
                    times[which] = running[which].ask(workload);
                }
                if round > 0 {
                    ratios.push(times[0] / times[1]);
                }
            }
            ratios.sort_by(f64::total_cmp);
            let at = |percent| percentile(&ratios, percent);
            let calls =
                workload.starts_with("echo 1 1").then(|| counted_calls(&programs)).flatten();
            Row { name, median: at(50), quartiles: (at(25), at(75)), calls }
        };
        workloads.into_iter().map(row).collect()
    }

    fn build(&self, side: &str) -> PathBuf {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = crates.join("../target/bench-runtimes").join(self.name).join(side);
        let replacement = crates.join(self.poller);
        let mut manifest = format!(
            "[package]\nname = '{name}-{side}'\nversion = '0.0.0'\nedition = '2024'\n\n\
             [[bin]]\nname = 'program'\npath = 'main.rs'\n\n[workspace]\n\n[dependencies]\n{}\n",
            self.dependency,
            name = self.name,
        );
        if side == "ours" {
            manifest += &format!(
                "\n[patch.crates-io]\n{} = {{ path = '{}' }}\n",
                self.poller,
                replacement.display()
            );
        }
        fs::create_dir_all(&folder).expect("target/ can be written");
        fs::write(folder.join("Cargo.toml"), manifest).expect("target/ can be written");
        fs::write(folder.join("main.rs"), self.source).expect("target/ can be written");
        let cargo = |arguments: &[&str]| {
            let mut cargo = Command::new(env!("CARGO"));
            cargo
                .args(arguments)
                .current_dir(&folder)
                .env("CARGO_TARGET_DIR", folder.join("target"));
            cargo
        };
        let built = cargo(&["build", "--quiet", "--release"]).status().expect("cargo runs");
        assert!(built.success(), "{} over {side} does not build", self.name);
        let tree = cargo(&["tree", "--quiet", "-i", self.poller]).output().expect("cargo runs");
        let is_ours = String::from_utf8_lossy(&tree.stdout).contains("crates/");
        assert_eq!(is_ours, side == "ours", "another {} was built in", self.poller);
        folder.join("target/release/program")
    }
}

fn describe(runtime: &str, workload: &str) -> String {
    let words: Vec<_> = workload.split(' ').collect();
    let threads = if words[2] == "1" { "1 thread" } else { "2 threads" };
    match words[0] {
        "echo" => format!("{runtime}: TCP echo, connections: {}, {threads}", words[1]),
        "churn" => format!("{runtime}: TCP churn, {} at a time, {threads}", words[1]),
        _ => format!("{runtime}: wakes between two threads"),
    }
}

struct Program {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Program {
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built just now");
        let requests = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, requests, answers }
    }

    fn ask(&mut self, workload: &str) -> f64 {
        writeln!(self.requests, "{workload}").expect("the program reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the program answers");
        answer.trim().parse().unwrap_or_else(|_| panic!("{workload}: the program ended"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of a round trip of one connection: the difference between many and few.
fn counted_calls(programs: &[PathBuf; 2]) -> Option<(f64, f64)> {
    let total = |program: &Path, operations: usize| -> Option<f64> {
        let mut child = Command::new("strace")
            .args(["-f", "-c", "-U", "calls,name"])
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        writeln!(child.stdin.take()?, "echo 1 1 {operations}").ok()?;
        let output = child.wait_with_output().ok()?;
        crate::counts::strace_total(&String::from_utf8_lossy(&output.stderr))
    };
    let each = |program: &Path| Some((total(program, 1_100)? - total(program, 100)?) / 1_000.0);
    Some((each(&programs[0])?, each(&programs[1])?))
}
