//! anypoll beside its peers, in one run.
//!
//! ```text
//! cargo run --release -p bench [-- --quick] [--filter TEXT] [--runtimes] [--write]
//! ```
//!
//! `--runtimes` adds tokio and smol over their own poller and over our drop-in, which have to be
//! built first. Prints a Markdown table of ratios and counts as it goes; `--write` puts it into
//! `docs/performance.md`, beside a JSON file and the plots.
//!
//! `--loop PEER SOURCES ROUNDS` runs one loop and nothing else, for tools that count.

mod counts;
mod measure;
mod parts;
mod peers;
mod report;
mod runtimes;
mod workloads;

use std::process::ExitCode;

use peers::{Anypoll, Calloop, Floor, Mio, Peer, Polling};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (mut quick, mut write, mut with_runtimes, mut filter) = (false, false, false, "");
    let mut rest = words.as_slice();
    loop {
        rest = match rest {
            [] => break,
            ["--quick", rest @ ..] => {
                quick = true;
                rest
            }
            ["--write", rest @ ..] => {
                write = true;
                rest
            }
            ["--runtimes", rest @ ..] => {
                with_runtimes = true;
                rest
            }
            ["--filter", text, rest @ ..] => {
                filter = text;
                rest
            }
            ["--loop", peer, sources, rounds] => return counted(peer, sources, rounds),
            _ => {
                eprintln!("usage: bench [--quick] [--filter TEXT] [--runtimes] [--write]");
                return ExitCode::from(2);
            }
        };
    }
    let rounds = if quick { 3 } else { 15 };
    let mut rows = Vec::new();
    for workload in measure::workloads(pipes_within_the_limit()) {
        if workload.name.contains(filter) {
            eprintln!("{} …", workload.name);
            let ratios = workload.measure(rounds);
            rows.push(report::Row { name: workload.name, goals: workload.goals, ratios });
        }
    }
    let mut runtimes = Vec::new();
    for runtime in runtimes::RUNTIMES.iter().filter(|_| with_runtimes) {
        runtimes.extend(runtime.measure(rounds, filter));
    }
    let report = report::Report { rows, runtimes, counts: counts::all(), rounds };
    println!("{}", report.markdown());
    if write {
        report.write().expect("docs/ can be written");
    }
    ExitCode::SUCCESS
}

/// Two descriptors a pipe, 100,000 pipes if they may be had.
fn pipes_within_the_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = 2 * 100_000 + 1_000;
    let limit = Rlimit { current: Some(wanted), maximum: Some(wanted) };
    if getrlimit(Resource::Nofile).current.is_some_and(|now| now < wanted) {
        // Without the right to raise it, the rows say how many there were.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(wanted).min(wanted);
    usize::try_from(now.saturating_sub(1_000) / 2).expect("so many fit")
}

fn counted(peer: &str, sources: &str, rounds: &str) -> ExitCode {
    let (Ok(sources), Ok(rounds)) = (sources.parse(), rounds.parse()) else {
        eprintln!("SOURCES and ROUNDS are numbers");
        return ExitCode::from(2);
    };
    match peer {
        Anypoll::NAME => workloads::counted_loop::<Anypoll>(sources, rounds),
        Floor::NAME => workloads::counted_loop::<Floor>(sources, rounds),
        Mio::NAME => workloads::counted_loop::<Mio>(sources, rounds),
        Polling::NAME => workloads::counted_loop::<Polling>(sources, rounds),
        Calloop::NAME => workloads::counted_loop::<Calloop>(sources, rounds),
        _ => {
            eprintln!("no such peer: {peer}");
            return ExitCode::from(2);
        }
    };
    ExitCode::SUCCESS
}
