//! The table, the JSON and the plot.

use std::fmt::Write as _;
use std::{fs, io};

use plotters::prelude::*;
use serde_json::json;

use crate::counts::Count;
use crate::measure::Ratio;
use crate::{parts, runtimes};

pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) goals: &'static [(&'static str, f64)],
    pub(crate) ratios: Vec<Ratio>,
}

pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) runtimes: Vec<runtimes::Row>,
    pub(crate) counts: Vec<Count>,
    pub(crate) rounds: usize,
}

const PEERS: [&str; 4] = ["libc::epoll_wait", "mio", "polling", "calloop"];
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

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
            "Made by `cargo run --release -p bench -- --write`. The peers take turns, {} rounds of \
             the same work; a figure is a peer's time over anypoll's in the same round, so **above \
             1 anypoll is the faster**: the median, and the quartiles behind it. Bold where a goal \
             is missed.\n",
            self.rounds
        )?;
        writeln!(out, "{}\n", machine())?;
        self.write_table(out, &PEERS)?;
        self.write_runtimes(out)?;
        writeln!(out, "\n## Channels\n")?;
        self.write_table(out, parts::CHANNELS)?;
        writeln!(out, "\n## Timers\n")?;
        self.write_table(out, parts::TIMERS)?;
        writeln!(out, "\n## Counts\n")?;
        if self.counts.is_empty() {
            return writeln!(out, "None: valgrind and strace have to be installed for them.");
        }
        writeln!(
            out,
            "Instructions in user space (`valgrind --tool=callgrind`) and system calls (`strace -c`) \
             of one loop: each of N pipes is written, one wait reports them, each is read.\n"
        )?;
        writeln!(out, "| | instructions, N = 1 | an event, N = 64 | system calls a wait |")?;
        writeln!(out, "|---|---|---|---|")?;
        for count in &self.counts {
            writeln!(
                out,
                "| {} | {:.0} | {:.1} | {:.2} |",
                count.peer, count.instructions_one, count.instructions_64, count.calls
            )?;
        }
        Ok(())
    }

    fn write_runtimes(&self, out: &mut String) -> std::fmt::Result {
        if self.runtimes.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Runtimes over our drop-ins\n\nThe time over the runtime's own poller (mio 1.2, \
             polling 3.11) over the time on ours, likewise; system calls of one round trip, both \
             ends, counted by strace.\n"
        )?;
        writeln!(out, "| workload | ratio | system calls, own | ours |\n|---|---|---|---|")?;
        for row in &self.runtimes {
            let (low, high) = row.quartiles;
            write!(out, "| {} | {:.2} ({low:.2} to {high:.2}) |", row.name, row.median)?;
            match row.calls {
                Some((own, ours)) => writeln!(out, " {own:.2} | {ours:.2} |")?,
                None => writeln!(out, " | |")?,
            }
        }
        Ok(())
    }

    /// The rows in which any of these peers took part.
    fn rows(&self, peers: &[&str]) -> Vec<&Row> {
        let is_among = |row: &&Row| row.ratios.iter().any(|ratio| peers.contains(&ratio.peer));
        self.rows.iter().filter(is_among).collect()
    }

    fn write_table(&self, out: &mut String, peers: &[&str]) -> std::fmt::Result {
        writeln!(out, "| workload | {} |", peers.join(" | "))?;
        writeln!(out, "|---|{}", "---|".repeat(peers.len()))?;
        for row in self.rows(peers) {
            write!(out, "| {} |", row.name)?;
            for peer in peers {
                let Some(ratio) = row.ratios.iter().find(|ratio| ratio.peer == *peer) else {
                    write!(out, " |")?;
                    continue;
                };
                let goal = row.goals.iter().find(|(name, _)| name == peer).map(|(_, goal)| *goal);
                let mark = if goal.is_some_and(|goal| ratio.median < goal) { "**" } else { "" };
                let (low, high) = ratio.quartiles;
                write!(out, " {mark}{:.2}{mark} ({low:.2} to {high:.2}) |", ratio.median)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    pub(crate) fn write(&self) -> io::Result<()> {
        fs::create_dir_all(FOLDER)?;
        let plot = "performance.svg";
        let text = format!("{}\n![Each peer's time over anypoll's]({plot})\n", self.markdown());
        fs::write(format!("{FOLDER}/performance.md"), text)?;
        fs::write(format!("{FOLDER}/performance.json"), format!("{:#}\n", self.json()))?;
        self.plot(&format!("{FOLDER}/{plot}")).map_err(io::Error::other)
    }

    fn json(&self) -> serde_json::Value {
        let ratio = |ratio: &Ratio| json!({ "peer": ratio.peer, "median": ratio.median, "quartiles": ratio.quartiles });
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let ratios: Vec<_> = row.ratios.iter().map(ratio).collect();
                json!({ "workload": row.name, "ratios": ratios })
            })
            .collect();
        let counts: Vec<_> = self
            .counts
            .iter()
            .map(|count| {
                json!({
                    "peer": count.peer,
                    "instructions_one": count.instructions_one,
                    "instructions_64": count.instructions_64,
                    "calls": count.calls,
                })
            })
            .collect();
        let runtimes: Vec<_> = self
            .runtimes
            .iter()
            .map(|row| {
                json!({ "workload": row.name, "median": row.median, "quartiles": row.quartiles, "calls": row.calls })
            })
            .collect();
        json!({
            "machine": machine(),
            "rounds": self.rounds,
            "rows": rows,
            "runtimes": runtimes,
            "counts": counts,
        })
    }

    /// A bar for each peer in each workload, on a logarithmic axis.
    fn plot(&self, path: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        const BAR: usize = 7;
        let rows = self.rows(&PEERS);
        let row_height = (PEERS.len() + 1) * BAR;
        let height = u32::try_from(rows.len() * row_height + 90)?;
        let root = SVGBackend::new(path, (1000, height)).into_drawing_area();
        root.fill(&WHITE)?;
        let lines = rows.len() * (PEERS.len() + 1);
        let mut chart = ChartBuilder::on(&root)
            .caption(
                "A peer's time over anypoll's (above 1: anypoll is the faster)",
                ("sans-serif", 16),
            )
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(330)
            .build_cartesian_2d((0.25..64.0).log_scale(), (0..lines).into_segmented())?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_label_formatter(&|x| format!("{x}"))
            .draw()?;
        for (i, row) in rows.into_iter().enumerate() {
            let top = lines - i * (PEERS.len() + 1);
            for (j, peer) in PEERS.iter().enumerate() {
                let Some(ratio) = row.ratios.iter().find(|ratio| ratio.peer == *peer) else {
                    continue;
                };
                let line = top - j - 1;
                let corners = [
                    (1.0, SegmentValue::Exact(line)),
                    (ratio.median.clamp(0.25, 64.0), SegmentValue::Exact(line + 1)),
                ];
                chart.draw_series([Rectangle::new(corners, Palette99::pick(j).filled())])?;
            }
            let y = 40 + i32::try_from(i * row_height)?;
            root.draw(&Text::new(row.name.clone(), (10, y), ("sans-serif", 12)))?;
        }
        for (j, peer) in PEERS.iter().enumerate() {
            let x = 350 + 160 * i32::try_from(j)?;
            let color = Palette99::pick(j);
            let legend = ("sans-serif", 13).into_font().color(&color);
            root.draw(&Text::new(*peer, (x, i32::try_from(height)? - 22), legend))?;
        }
        root.present()?;
        Ok(())
    }
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {cores} cores, Linux {}. mio 1.2, polling 3.11, calloop 0.14.",
        cpu.map_or("An unknown processor", |(_, name)| name),
        kernel.trim(),
    )
}
