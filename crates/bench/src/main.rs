//! anypoll beside its peers, in one run.
//!
//! Shows what it does, prints a report in Markdown, and with `--write` puts that into
//! `docs/performance.md`, beside pictures and a JSON file. `--help` says the rest.

mod builds;
#[cfg(feature = "c-peers")]
mod c_peers;
mod counts;
mod idle;
mod measure;
mod one_core;
mod parts;
mod peers;
mod plots;
mod programs;
mod report;
mod runtimes;
mod sections;
mod threads;
mod workloads;

use std::process::ExitCode;
use std::time::Duration;

use measure::Effort;
use report::{Measured, Report};

const HELP: &str = "\
usage: cargo run --release -p bench [--features c-peers] --
           [--quick] [--filter TEXT] [--runtimes] [--write]

  --features c-peers  libuv, libev and libevent, too:
                      apt-get install libuv1-dev libev-dev libevent-dev
  --quick             half a minute: fewer rounds of less work; counts and builds only if
                      filtered for
  --filter TEXT       only rows whose section or name has this in it
                      (also: \"idle\", \"bytes\", \"counts\", \"builds\")
  --runtimes          tokio and smol, too, over their own poller and over our drop-in; they are
                      built first, which takes minutes once
  --write             puts the report into docs/performance.md, pictures and JSON into
                      docs/performance

For its own use: --loop PEER WORK TIMES, which tools count, and --hold, which keeps descriptors
open.";

#[derive(Default)]
struct Options {
    quick: bool,
    write: bool,
    runtimes: bool,
    filter: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *words {
        ["--hold"] => {
            idle::hold();
            Ok(())
        }
        ["--loop", peer, work, times] => looped(peer, work, times),
        ["--help"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => options(&words).and_then(|options| run(&options, &words.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: &[&str]) -> Result<Options, String> {
    let mut options = Options::default();
    loop {
        words = match words {
            [] => return Ok(options),
            ["--quick", rest @ ..] => {
                options.quick = true;
                rest
            }
            ["--write", rest @ ..] => {
                options.write = true;
                rest
            }
            ["--runtimes", rest @ ..] => {
                options.runtimes = true;
                rest
            }
            ["--filter", text, rest @ ..] => {
                (*text).clone_into(&mut options.filter);
                rest
            }
            [word, ..] => return Err(format!("not understood: {word}\n\n{HELP}")),
        };
    }
}

fn run(options: &Options, arguments: &str) -> Result<(), String> {
    if options.write && cfg!(debug_assertions) {
        return Err("figures worth writing down take `cargo run --release`".into());
    }
    let filter = options.filter.as_str();
    let effort = if options.quick {
        Effort { for_each: Duration::from_millis(100), at_least: 1, divisor: 10 }
    } else {
        Effort { for_each: Duration::from_millis(2_500), at_least: 9, divisor: 1 }
    };
    // By name only, or else if there is time.
    let wanted =
        |name: &str| if filter.is_empty() { !options.quick } else { name.contains(filter) };
    let counts = wanted("counts");
    if counts || options.runtimes {
        counts::check_tools()?;
    }
    let limit = raise_the_limit();
    let mut sections = Vec::new();
    for section in sections::all(limit, effort.divisor) {
        let mut rows = Vec::new();
        for workload in section.workloads {
            let name = format!("{}: {}", section.title, workload.name);
            if name.contains(filter) {
                eprintln!("{name} …");
                rows.push(workload.measure(&effort));
            }
        }
        if !rows.is_empty() {
            let (how, limit) = (section.how, section.limit);
            sections.push(Measured { title: section.title, how, limit, rows });
        }
    }
    let idle = "idle".contains(filter).then(|| {
        eprintln!("{} idle objects …", sections::grouped(idle::MANY));
        idle::measure(&effort, limit)
    });
    let bytes = "bytes".contains(filter).then(|| {
        let objects = workloads::objects(2 * sections::longest(limit));
        let mut bytes = vec![("Registered", idle::bytes_registered(&objects))];
        bytes.extend(peers::ALL.iter().map(|entry| (entry.name, (entry.bytes)(&objects))));
        bytes.swap(0, 1);
        (objects.len(), bytes)
    });
    let counts = counts.then(|| {
        eprintln!("counts …");
        counts::all()
    });
    let builds = if wanted("builds") {
        eprintln!("builds …");
        builds::measure(if options.quick { 1 } else { 3 })?
    } else {
        Vec::new()
    };
    let mut runtimes = Vec::new();
    for runtime in runtimes::RUNTIMES.iter().filter(|_| options.runtimes) {
        runtimes.push(runtime.measure(&effort, filter)?);
    }
    let has_runtimes = runtimes.iter().any(|runtime| !runtime.rows.is_empty());
    if sections.is_empty()
        && idle.is_none()
        && bytes.is_none()
        && counts.is_none()
        && builds.is_empty()
        && !has_runtimes
    {
        return Err(format!("nothing has \"{filter}\" in its name\n\n{HELP}"));
    }
    let report = Report {
        machine: report::machine(),
        versions: versions()?,
        command: command(arguments),
        limit,
        sections,
        idle: idle.transpose()?,
        bytes,
        counts: counts.transpose()?,
        builds,
        runtimes,
        left_out: left_out(options),
    };
    println!("{}", report.markdown());
    if options.write {
        for file in report.write().map_err(|error| format!("docs/ cannot be written: {error}"))? {
            eprintln!("{file} was written");
        }
    }
    Ok(())
}

/// As many descriptors as 100,000 pipes take, or as may be had.
fn raise_the_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = 2 * 100_000 + 500;
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: Some(wanted), maximum: Some(wanted) };
    if limit.current.is_some_and(|now| now < wanted) && setrlimit(Resource::Nofile, all).is_err() {
        // Without the right to more there is what one may have.
        let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let _ = setrlimit(Resource::Nofile, most);
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(wanted).min(wanted);
    now.try_into().expect("so many fit")
}

/// The libraries and the compiler.
fn versions() -> Result<String, String> {
    let direct = programs::own_dependencies()?;
    let shown = ["mio", "polling", "calloop", "crossbeam-channel", "tokio-util"];
    let mut all: Vec<_> = shown
        .iter()
        .filter_map(|name| direct.iter().find(|(direct, _)| direct == name))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    if all.len() != shown.len() {
        return Err(format!("cargo tree says nothing of some of {shown:?}"));
    }
    all.extend(c_versions());
    Ok(format!("{}.", all.join(", ")))
}

#[cfg(feature = "c-peers")]
fn c_versions() -> [String; 3] {
    use c_peers::{Libev, Libevent, Libuv, version};
    [version::<Libuv>(), version::<Libev>(), version::<Libevent>()]
}

#[cfg(not(feature = "c-peers"))]
fn c_versions() -> [String; 0] {
    []
}

fn command(arguments: &str) -> String {
    let features = if cfg!(feature = "c-peers") { " --features c-peers" } else { "" };
    let arguments = if arguments.is_empty() { String::new() } else { format!(" -- {arguments}") };
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    format!("cargo run{release} -p bench{features}{arguments}")
}

fn left_out(options: &Options) -> Vec<String> {
    let mut all = Vec::new();
    if !cfg!(feature = "c-peers") {
        all.push(
            "libuv, libev and libevent; `apt-get install libuv1-dev libev-dev libevent-dev`, then \
             `cargo run --release -p bench --features c-peers` has them."
                .to_owned(),
        );
    }
    if !options.runtimes {
        all.push("tokio and smol; `-- --runtimes` has them.".to_owned());
    }
    if options.quick {
        all.push(
            "whatever takes long, since this is `--quick`: take no figure from it.".to_owned(),
        );
    }
    if !options.filter.is_empty() {
        all.push(format!("all without \"{}\" in their names.", options.filter));
    }
    all
}

fn looped(peer: &str, work: &str, times: &str) -> Result<(), String> {
    let entry = peers::ALL.iter().find(|entry| entry.name == peer);
    let entry = entry.ok_or_else(|| format!("no such peer: {peer}"))?;
    let times = times.parse().map_err(|error| format!("{times}: {error}"))?;
    let work = counts::work(work, times, entry).ok_or_else(|| format!("no such work: {work}"))?;
    (entry.run)(&work);
    Ok(())
}
