//! What was measured, as Markdown, JSON and pictures.

use std::fmt::Write as _;
use std::{fs, io};

use serde_json::{Value, json};

use crate::builds::Build;
use crate::counts::{COLUMNS, Counts, Tool};
use crate::idle::{self, Idle};
use crate::measure::{Row, Spread, Verdict};
use crate::peers::{ALL, Anypoll, Floor, Mio, Mode, Peer as _};
use crate::plots::{self, Group, Panel};
use crate::sections::grouped;
use crate::{runtimes, sections};

pub(crate) struct Measured {
    pub(crate) title: &'static str,
    pub(crate) how: String,
    pub(crate) limit: &'static str,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) versions: String,
    pub(crate) command: String,
    pub(crate) limit: usize,
    pub(crate) sections: Vec<Measured>,
    pub(crate) idle: Option<Idle>,
    /// How many objects, and each peer's bytes for one.
    pub(crate) bytes: Option<(usize, Vec<(&'static str, f64)>)>,
    pub(crate) counts: Option<Counts>,
    pub(crate) builds: Vec<Build>,
    pub(crate) runtimes: Vec<runtimes::Measured>,
    /// What was not measured, and how to have it.
    pub(crate) left_out: Vec<String>,
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
const GROWTH_GOAL: f64 = 1.1;
const BYTES_GOAL: f64 = 48.0;
const BUILD_GOAL: f64 = 1.5;

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        self.write_markdown(&mut text).expect("a string takes everything");
        text
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "# Performance\n")?;
        writeln!(
            out,
            "Made by `{}`. {}\n\n{}\n\n\
             The column anypoll is its time for one operation. The others are a peer's time over \
             anypoll's, so **above 1 anypoll is the faster**: the peers take turns at the same \
             work, only times of one round are divided, and the figure is the median of these \
             ratios, with its quartiles behind it. `libc::epoll_wait` is a loop written by hand \
             over the C library, the floor. All watch raw descriptors (anypoll by \
             `Poller::add`, mio by `SourceFd`), for reading. The goals: at least 0.99 \
             of the floor and 1.0 of mio, if nothing else is said; 1.5 of polling where each \
             wait brings one event of a pipe; one wake 3 and ten wakes 12 times mio's. **Bold**: a goal is \
             missed; *italic*: anypoll is behind in three of four rounds. The reason is beside the \
             table. –: the peer cannot (mio has the mode edge alone, libuv and libev have \
             level alone, and only some can what a section is about).\n\n\
             All is called from one loop, into which the compiler inlines what it can, as in a \
             program's own. On an AMD processor whose kernel has the mitigation \"Safe RET\" the first \
             return from a function that was entered before a system call costs 37 ns and each \
             further one six: anypoll's calls have none, those by the C library have one. Whoever \
             returns from functions of his own between two waits, as runtimes do, pays the 37 anyway.\n",
            self.command, self.machine, self.versions
        )?;
        for left_out in &self.left_out {
            writeln!(out, "Left out: {left_out}\n")?;
        }
        for section in &self.sections {
            self.write_section(out, section)?;
        }
        if let Some(idle) = &self.idle {
            self.write_idle(out, idle)?;
        }
        if let Some(bytes) = &self.bytes {
            self.write_bytes(out, bytes)?;
        }
        if let Some(counts) = &self.counts {
            write_counts(out, counts)?;
        }
        self.write_builds(out)?;
        self.write_runtimes(out)
    }

    fn write_section(&self, out: &mut String, section: &Measured) -> std::fmt::Result {
        writeln!(out, "## {}\n\n{} {}\n", section.title, section.how, section.limit)?;
        self.write_plot(out, section.title)?;
        write_rows(out, &section.rows)
    }

    fn write_plot(&self, out: &mut String, title: &str) -> std::fmt::Result {
        if let Some(plot) = self.plots().iter().find(|plot| plot.section == title) {
            writeln!(out, "![{}](performance/{}.svg)\n", plot.title, plot.file)?;
        }
        Ok(())
    }

    fn write_idle(&self, out: &mut String, idle: &Idle) -> std::fmt::Result {
        writeln!(
            out,
            "## Beside {} idle objects\n\nThis process may have {} descriptors. A registration lasts \
             as long as any process has the object open, so eventfds are made and registered by the \
             batch, and other processes hold them. libuv, libev and libevent cannot take part: they \
             know an object by its number, and the numbers come again. Beside the idle objects 100 \
             bytes run along 200 pipes.\n",
            grouped(idle::MANY),
            grouped(self.limit)
        )?;
        write_rows(out, &idle.rows)?;
        writeln!(
            out,
            "\nAn event's time beside {} idle objects over that beside 100 (the goal is at most \
             {GROWTH_GOAL} for anypoll):\n\n| | level | edge | one-shot |\n|---|---|---|---|",
            grouped(idle::MANY)
        )?;
        for entry in ALL {
            let of = |mode| idle.growth.iter().find(|g| g.peer == entry.name && g.mode == mode);
            let all = [Mode::Level, Mode::Edge, Mode::Oneshot].map(of);
            if all.iter().all(Option::is_none) {
                continue;
            }
            write!(out, "| {} |", entry.name)?;
            for growth in all {
                let is_missed =
                    |g: &&idle::Growth| g.peer == Anypoll::NAME && g.ratio.median > GROWTH_GOAL;
                let mark = if growth.filter(is_missed).is_some() { "**" } else { "" };
                match growth {
                    Some(growth) => write!(out, " {} |", marked(mark, growth.ratio))?,
                    None => write!(out, " – |")?,
                }
            }
            writeln!(out)?;
        }
        writeln!(out)
    }

    fn write_bytes(
        &self,
        out: &mut String,
        (count, bytes): &(usize, Vec<(&'static str, f64)>),
    ) -> std::fmt::Result {
        writeln!(
            out,
            "## Bytes of an idle object\n\nIn user space, besides the object: what the C library's \
             heap grows by (`mallinfo2`) and what the user has to keep in order to change or remove \
             a registration. The kernel's own share is the same for all. The goal is at most \
             {BYTES_GOAL} for anypoll. \"anypoll\" is its low level, `Poller::add`; \"Registered\" \
             owns the object.\n"
        )?;
        let (here, many) = (grouped(*count), grouped(idle::MANY));
        writeln!(out, "| | {here} objects | {many} objects |\n|---|---|---|")?;
        let many = self.idle.as_ref().map_or(&[] as &[_], |idle| &idle.bytes);
        for (peer, bytes) in bytes {
            let is_ours = [Anypoll::NAME, "Registered"].contains(peer);
            let mark = if is_ours && *bytes > BYTES_GOAL { "**" } else { "" };
            write!(out, "| {peer} | {mark}{bytes:.0}{mark} |")?;
            match many.iter().find(|(name, _)| name == peer) {
                Some((_, bytes)) => writeln!(out, " {bytes:.0} |")?,
                None => writeln!(out, " – |")?,
            }
        }
        writeln!(out)
    }

    fn write_builds(&self, out: &mut String) -> std::fmt::Result {
        if self.builds.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "## Building\n\nA program that watches one UDP socket, built from nothing (`cargo build \
             --release`, stripped), in turn. The goals for anypoll: {BUILD_GOAL} of mio's time, no \
             larger than with mio. Packages: all that are built, the peer's own among them. libuv, \
             libev and libevent come built and shared. The last two rows call the kernel by hand, over libc \
             alone and over what anypoll stands on: between the first of them and mio there is no room \
             for what anypoll promises. On trial all of it was taken out, one after the other: objects that are \
             always ready (8.4 KB), wakers (4.8 KB), timeouts in nanoseconds and waits that go on after a \
             signal (5.1 KB), `Registered` (1.4 KB). What was left, `epoll_ctl` and `epoll_wait` behind a handle \
             that threads share, still was larger than with mio (1.007). What the program does not reach, \
             poll(2) and a child's exit, is `#[inline]`: only who uses it compiles it.\n\n\
             | | seconds | over mio's | packages | bytes | over mio's |\n|---|---|---|---|---|---|"
        )?;
        let of_mio = self.builds.iter().find(|build| build.peer == Mio::NAME);
        let of_mio = of_mio.expect("mio is among them").bytes as f64;
        for build in &self.builds {
            let size = build.bytes as f64 / of_mio;
            let is_ours = build.peer == Anypoll::NAME;
            let slow = if is_ours && build.time.median > BUILD_GOAL { "**" } else { "" };
            let large = if is_ours && size > 1.0 { "**" } else { "" };
            writeln!(
                out,
                "| {} | {:.1} | {} | {} | {} | {large}{size:.3}{large} |",
                build.peer,
                build.seconds,
                marked(slow, build.time),
                build.packages,
                build.bytes,
            )?;
        }
        writeln!(out)
    }

    fn write_runtimes(&self, out: &mut String) -> std::fmt::Result {
        if self.runtimes.iter().all(|runtime| runtime.rows.is_empty()) {
            return Ok(());
        }
        let versions: Vec<_> = self
            .runtimes
            .iter()
            .flat_map(|runtime| &runtime.versions)
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        writeln!(
            out,
            "## {RUNTIMES}\n\nThe time with the runtime's own poller, divided by the time with ours \
             ({}); likewise in turn, each time in new processes, above 1 ours is the faster. System \
             calls of one round trip, both ends, counted by strace.\n",
            versions.join(", ")
        )?;
        self.write_plot(out, RUNTIMES)?;
        writeln!(out, "| workload | ratio | system calls, own | ours |\n|---|---|---|---|")?;
        for row in self.runtimes.iter().flat_map(|runtime| &runtime.rows) {
            let slow = if row.ratio.high < 1.0 { "*" } else { "" };
            write!(out, "| {} | {} |", row.name, marked(slow, row.ratio))?;
            match row.calls {
                Some([own, ours]) => writeln!(out, " {own:.2} | {ours:.2} |")?,
                None => writeln!(out, " | |")?,
            }
        }
        writeln!(out, "\n{}", runtimes::REASON)
    }

    /// Returns the files that were written.
    pub(crate) fn write(&self) -> io::Result<Vec<String>> {
        let plots = format!("{FOLDER}/performance");
        fs::create_dir_all(&plots)?;
        let mut files =
            vec![format!("{FOLDER}/performance.md"), format!("{plots}/performance.json")];
        fs::write(&files[0], format!("{}\n", self.markdown().trim_end()))?;
        fs::write(&files[1], format!("{:#}\n", self.json()))?;
        for plot in self.plots() {
            let file = format!("{plots}/{}.svg", plot.file);
            plot.draw(&file).map_err(io::Error::other)?;
            files.push(file);
        }
        Ok(files)
    }

    fn json(&self) -> Value {
        let sections: Vec<_> = self
            .sections
            .iter()
            .map(|section| json!({ "title": section.title, "rows": rows_json(&section.rows) }))
            .collect();
        let idle = self.idle.as_ref().map(|idle| {
            let growth: Vec<_> = idle
                .growth
                .iter()
                .map(|growth| {
                    json!({
                        "peer": growth.peer,
                        "mode": growth.mode.to_string(),
                        "ratio": spread_json(growth.ratio),
                    })
                })
                .collect();
            json!({ "objects": idle::MANY, "rows": rows_json(&idle.rows), "growth": growth,
                    "bytes": pairs_json(&idle.bytes) })
        });
        let bytes = self
            .bytes
            .as_ref()
            .map(|(count, bytes)| json!({ "objects": count, "bytes": pairs_json(bytes) }));
        let counts = self.counts.as_ref().map(|counts| {
            let of = |(peer, counts): &(&str, Vec<f64>)| {
                let counts: serde_json::Map<_, _> = COLUMNS
                    .iter()
                    .zip(counts)
                    .map(|(column, count)| {
                        (format!("{}, {}", column.tool, column.title), json!(count))
                    })
                    .collect();
                ((*peer).to_owned(), Value::Object(counts))
            };
            counts.iter().map(of).collect::<serde_json::Map<_, _>>()
        });
        let build = |build: &Build| {
            json!({
                "peer": build.peer,
                "seconds": build.seconds,
                "over_mio": spread_json(build.time),
                "packages": build.packages,
                "bytes": build.bytes,
            })
        };
        let runtime = |row: &runtimes::Row| {
            json!({
                "workload": row.name,
                "ratio": spread_json(row.ratio),
                "calls": row.calls,
            })
        };
        json!({
            "command": self.command,
            "machine": self.machine,
            "versions": self.versions,
            "left_out": self.left_out,
            "sections": sections,
            "idle": idle,
            "bytes": bytes,
            "counts": counts,
            "builds": self.builds.iter().map(build).collect::<Vec<_>>(),
            "runtimes": self.runtimes.iter().flat_map(|r| &r.rows).map(runtime).collect::<Vec<_>>(),
        })
    }

    /// Those for which there is something to show.
    fn plots(&self) -> Vec<Plot> {
        let mut plots = Vec::new();
        let panels: Vec<_> = [Mode::Level, Mode::Edge, Mode::Oneshot]
            .map(|mode| self.chain_panel(mode))
            .into_iter()
            .filter(|panel| panel.lines.iter().any(|(_, line)| line.len() > 1))
            .collect();
        if !panels.is_empty() {
            plots.push(Plot {
                section: sections::CHAIN,
                file: "chain",
                title: "An event's time divided by that in a hand-written epoll loop (lower is faster)",
                picture: Picture::Lines(panels),
            });
        }
        for (section, file, title) in [
            (sections::SOCKETS, "sockets", "Sockets: each peer's time over anypoll's"),
            (sections::WAKES, "wakes", "Wakes: each peer's time over anypoll's"),
            (sections::TIMEOUTS, "timeouts", "One-shot and timeouts: time over anypoll's"),
        ] {
            let measured = self.sections.iter().find(|measured| measured.title == section);
            let Some(measured) = measured.filter(|measured| !measured.rows.is_empty()) else {
                continue;
            };
            let group = |row: &Row| {
                let peers = ALL.iter().filter(|entry| entry.name != Anypoll::NAME);
                let ratio = |name| Some((name, row.ratio(name, Anypoll::NAME)?));
                (row.name.clone(), peers.filter_map(|entry| ratio(entry.name)).collect())
            };
            let picture = Picture::Ratios(measured.rows.iter().map(group).collect());
            plots.push(Plot { section, file, title, picture });
        }
        let row = |row: &runtimes::Row| (row.name.clone(), vec![("", row.ratio)]);
        let groups: Vec<_> = self.runtimes.iter().flat_map(|r| &r.rows).map(row).collect();
        if !groups.is_empty() {
            let title = "Runtimes: time with their own poller, divided by the time with anypoll";
            let picture = Picture::Ratios(groups);
            plots.push(Plot { section: RUNTIMES, file: "runtimes", title, picture });
        }
        plots
    }

    /// The rings with 100 active pipes, by length; the last beside idle objects.
    fn chain_panel(&self, mode: Mode) -> Panel {
        let rings = sections::chains(self.limit);
        let rings = rings.iter().filter(|(_, active)| *active == 100);
        let named = rings.map(|(all, active)| (*all, sections::chain_name(*all, *active, mode)));
        let idle = [(idle::MANY, idle::ring_name(mode))];
        let idle = idle.into_iter().filter(|_| sections::longest(self.limit) < idle::MANY);
        let named: Vec<_> = named.chain(idle).collect();
        let rows = || {
            let sections = self.sections.iter().flat_map(|section| &section.rows);
            sections.chain(self.idle.iter().flat_map(|idle| &idle.rows))
        };
        let line = |peer: &'static str| {
            let point = |(all, name): &(usize, String)| {
                let ratio = rows().find(|row| row.name == *name)?.ratio(peer, Floor::NAME)?;
                Some((*all as f64, ratio.median))
            };
            (peer, named.iter().filter_map(point).collect::<Vec<_>>())
        };
        let lines = ALL.iter().filter(|entry| entry.name != Floor::NAME).map(|e| line(e.name));
        Panel {
            name: mode.to_string(),
            lines: lines.filter(|(_, line)| !line.is_empty()).collect(),
        }
    }
}

const RUNTIMES: &str = "Runtimes over our drop-ins";

struct Plot {
    section: &'static str,
    file: &'static str,
    title: &'static str,
    picture: Picture,
}

enum Picture {
    Lines(Vec<Panel>),
    Ratios(Vec<Group>),
}

impl Plot {
    fn draw(&self, path: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match &self.picture {
            Picture::Lines(panels) => {
                let (x, y) =
                    ("objects that are watched, 100 of them active", "time over the floor's");
                plots::lines(path, self.title, x, y, panels)
            }
            Picture::Ratios(groups) => {
                let x = "times as long as with anypoll (right of 1: anypoll is the faster); \
                         thin line: quartiles";
                plots::ratios(path, self.title, x, groups)
            }
        }
    }
}

fn write_rows(out: &mut String, rows: &[Row]) -> std::fmt::Result {
    let takes_part = |peer: &&str| rows.iter().any(|row| row.seconds(peer).is_some());
    // Channels and timers have peers of their own.
    let mut peers: Vec<_> = ALL.iter().map(|entry| entry.name).filter(takes_part).collect();
    for (peer, _) in rows.iter().flat_map(|row| &row.times) {
        if !peers.contains(peer) {
            peers.push(peer);
        }
    }
    writeln!(out, "| workload | {} | rounds |", peers.join(" | "))?;
    writeln!(out, "|---|{}---|", "---|".repeat(peers.len()))?;
    for row in rows {
        write!(out, "| {} |", row.name)?;
        for peer in &peers {
            if *peer == Anypoll::NAME {
                let seconds = row.seconds(peer).expect("anypoll takes part everywhere");
                write!(out, " {} |", in_words(seconds.median))?;
                continue;
            }
            let Some((ratio, verdict)) = row.verdict(peer) else {
                write!(out, " – |")?;
                continue;
            };
            let mark = match verdict {
                Verdict::Well => "",
                Verdict::Behind => "*",
                Verdict::Missed => "**",
            };
            write!(out, " {} |", marked(mark, ratio))?;
        }
        writeln!(out, " {} |", row.rounds())?;
    }
    writeln!(out)?;
    let is_behind = |row: &&Row| {
        let verdicts = row.times.iter().filter_map(|(peer, _)| row.verdict(peer));
        verdicts.into_iter().any(|(_, verdict)| verdict != Verdict::Well)
    };
    let behind: Vec<_> = rows.iter().filter(is_behind).collect();
    let mut reasons: Vec<&str> = behind.iter().map(|row| row.reason).collect();
    let mut seen = std::collections::HashSet::new();
    reasons.retain(|reason| seen.insert(*reason));
    for reason in reasons {
        let of: Vec<_> =
            behind.iter().filter(|row| row.reason == reason).map(|row| &*row.name).collect();
        let reason = if reason.is_empty() { "No reason is known." } else { reason };
        writeln!(out, "- {}: {reason}", of.join("; "))?;
    }
    writeln!(out)
}

fn write_counts(out: &mut String, counts: &Counts) -> std::fmt::Result {
    writeln!(
        out,
        "## Counts\n\nEach is the difference between a long run and a short one, divided by what the \
         former did more. An event is a byte that is written into a pipe, a wait, and a read of it.\n"
    )?;
    for (tool, how) in [
        (
            Tool::SystemCalls,
            "System calls, by `strace -c`: a wait without the write and the read; a connection's \
             are those of both of its ends, from connect to close.",
        ),
        (
            Tool::Instructions,
            "Instructions in user space, by `valgrind --tool=callgrind`: with the write and the \
             read, and the work of this program around them.",
        ),
        (Tool::Allocations, "Allocations, by valgrind's memcheck."),
    ] {
        let columns = || COLUMNS.iter().enumerate().filter(|(_, column)| column.tool == tool);
        writeln!(out, "{how}\n")?;
        let titles: Vec<_> = columns().map(|(_, column)| column.title).collect();
        let rule = "---|".repeat(titles.len());
        writeln!(out, "| | {} |\n|---|{rule}", titles.join(" | "))?;
        for (peer, counts) in counts {
            write!(out, "| {peer} |")?;
            for (i, _) in columns() {
                // Rounded so that nearly nothing is not "-0".
                let hundredths = (counts[i] * 100.0).round() / 100.0 + 0.0;
                write!(out, " {hundredths} |")?;
            }
            writeln!(out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn marked(mark: &str, ratio: Spread) -> String {
    format!("{mark}{:.2}{mark} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high)
}

fn in_words(seconds: f64) -> String {
    match seconds {
        ..1e-6 => format!("{:.0} ns", seconds * 1e9),
        ..1e-3 => format!("{:.2} µs", seconds * 1e6),
        _ => format!("{:.2} ms", seconds * 1e3),
    }
}

fn spread_json(spread: Spread) -> Value {
    json!({ "median": spread.median, "quartiles": [spread.low, spread.high] })
}

fn pairs_json(pairs: &[(&'static str, f64)]) -> Value {
    pairs.iter().map(|(peer, value)| ((*peer).to_owned(), json!(value))).collect()
}

fn rows_json(rows: &[Row]) -> Vec<Value> {
    let row = |row: &Row| {
        let peers: serde_json::Map<_, _> = row
            .times
            .iter()
            .map(|(peer, _)| {
                let seconds = row.seconds(peer).map(spread_json);
                let ratio = row.ratio(peer, Anypoll::NAME).map(spread_json);
                ((*peer).to_owned(), json!({ "seconds": seconds, "over_anypoll": ratio }))
            })
            .collect();
        json!({ "workload": row.name, "rounds": row.rounds(), "peers": peers })
    };
    rows.iter().map(row).collect()
}

/// The processor and the kernel.
pub(crate) fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (kernel, processor) = (read("/proc/sys/kernel/osrelease"), read("/proc/cpuinfo"));
    let value = |key| {
        let mut lines = processor.lines().filter(|line| line.starts_with(key));
        lines.next().and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    };
    let is_virtual = value("flags").is_some_and(|flags| flags.contains("hypervisor"));
    format!(
        "{}, {} {}cores, Linux {}.",
        value("model name").unwrap_or("An unknown processor"),
        std::thread::available_parallelism().map_or(0, usize::from),
        if is_virtual { "virtual " } else { "" },
        kernel.split('-').next().unwrap_or_default().trim(),
    )
}
