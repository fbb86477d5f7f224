//! Ratios that a drifting machine does not bend: in each round every peer does the same slice of
//! work in turn, and only times of one round are divided.

use crate::peers::{Anypoll, Calloop, Floor, Mio, Mode, Peer, Polling};
use crate::{parts, workloads as work};
use std::sync::mpsc;
use std::time::Duration;

use anypoll::timers::Timers;

/// One workload: what each peer's slice took. `None` where the peer lacks what it takes.
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) goals: &'static [(&'static str, f64)],
    slices: Vec<(&'static str, Slice)>,
}

type Slice = Box<dyn Fn() -> f64>;

/// How often a peer's time goes into anypoll's… above 1, anypoll is the faster.
pub(crate) struct Ratio {
    pub(crate) peer: &'static str,
    pub(crate) median: f64,
    pub(crate) quartiles: (f64, f64),
}

impl Workload {
    /// Returns the ratios of each peer's time to anypoll's.
    pub(crate) fn measure(&self, rounds: usize) -> Vec<Ratio> {
        let mut times = vec![Vec::new(); self.slices.len()];
        for round in 0..=rounds {
            for i in 0..self.slices.len() {
                let which = (i + round) % self.slices.len();
                let time = self.slices[which].1();
                // The first round warms up.
                if round > 0 {
                    times[which].push(time);
                }
            }
        }
        let ours = self.slices.iter().position(|(peer, _)| *peer == Anypoll::NAME);
        let ours = times[ours.expect("anypoll takes part everywhere")].clone();
        let peers = self.slices.iter().zip(times).filter(|((peer, _), _)| *peer != Anypoll::NAME);
        peers
            .map(|((peer, _), theirs)| {
                let mut ratios: Vec<_> = theirs.iter().zip(&ours).map(|(t, o)| t / o).collect();
                ratios.sort_by(f64::total_cmp);
                let at = |percent| percentile(&ratios, percent);
                Ratio { peer, median: at(50), quartiles: (at(25), at(75)) }
            })
            .collect()
    }
}

/// Of sorted samples.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// A workload for every peer that has the mode.
macro_rules! workload {
    ($list:ident, $name:expr, $goals:expr, $modes:expr, $run:ident ( $($argument:expr),* )) => {{
        let modes: &[Mode] = $modes;
        let mut slices: Vec<(&'static str, Slice)> = Vec::new();
        workload!(@ slices, modes, $run ($($argument),*), Anypoll, Floor, Mio, Polling, Calloop);
        $list.push(Workload { name: $name.into(), goals: $goals, slices });
    }};
    (@ $slices:ident, $modes:ident, $run:ident $arguments:tt, $($peer:ident),*) => {
        $(if $modes.iter().all(|mode| $peer::MODES.contains(mode)) {
            $slices.push(($peer::NAME, Box::new(move || workload!(! $run $peer $arguments))));
        })*
    };
    (! $run:ident $peer:ident ($($argument:expr),*)) => { work::$run::<$peer>($($argument),*) };
}

/// A workload for the channels or the timers that are named.
macro_rules! part {
    ($list:ident, $name:expr, $trait:ident :: $run:ident $arguments:tt, $($peer:ty),*) => {{
        let slices: Vec<(&'static str, Slice)> = vec![$((
            <$peer as parts::$trait>::NAME,
            Box::new(move || parts::$run::<$peer> $arguments),
        )),*];
        $list.push(Workload { name: $name.into(), goals: &[], slices });
    }};
}

const FLOOR: (&str, f64) = (Floor::NAME, 0.99);
const MIO: (&str, f64) = (Mio::NAME, 1.0);

/// `pipes` is the longest ring that the limit of descriptors allows.
pub(crate) fn workloads(pipes: usize) -> Vec<Workload> {
    let mut list = Vec::new();
    for (mode, word) in [(Mode::Level, "level"), (Mode::Edge, "edge"), (Mode::Oneshot, "one-shot")]
    {
        for (idle, active) in [(100, 1), (1_000, 100), (pipes, 1_000), (pipes, 100)] {
            let name = format!("chain, {idle} pipes, {active} active, {word}");
            let writes = 20_000;
            workload!(list, name, &[FLOOR, MIO], &[mode], chain(idle, active, writes, mode));
        }
    }
    for count in [1, 100, 5_000] {
        let name = format!("TCP echo, {count} connections, edge");
        workload!(list, name, &[FLOOR, MIO], &[Mode::Edge], echo(count, 20_000, Mode::Edge));
    }
    let one = &[FLOOR, (Polling::NAME, 1.5)];
    workload!(
        list,
        "TCP echo, 1 connection, level",
        one,
        &[Mode::Level],
        echo(1, 5_000, Mode::Level)
    );
    workload!(list, "TCP churn, edge", &[MIO], &[Mode::Edge], churn(500, Mode::Edge));
    workload!(
        list,
        "UDP, there and back, edge",
        &[FLOOR, MIO],
        &[Mode::Edge],
        udp(3_000, Mode::Edge)
    );
    workload!(list, "one wake, then a wait", &[(Mio::NAME, 3.0)], &[], wakes(1, 20_000));
    workload!(list, "ten wakes, then a wait", &[(Mio::NAME, 12.0)], &[], wakes(10, 5_000));
    workload!(list, "a storm of wakes, 4 threads", &[MIO], &[], storm(10_000));
    workload!(list, "wake of a sleeping thread, median", &[MIO], &[], latency(50));
    workload!(list, "wake of a sleeping thread, p99", &[MIO], &[], latency(99));
    workload!(list, "one-shot re-arm", &[FLOOR], &[Mode::Oneshot], oneshot(20_000));
    for (timeout, word, count) in
        [(50_000, "50 µs", 100), (1_000_000, "1 ms", 20), (10_000_000, "10 ms", 3)]
    {
        let name = format!("timeout of {word}, time until the return");
        workload!(list, name, &[MIO], &[], timeout(Duration::from_nanos(timeout), count));
    }
    let name = format!("begin and end to watch, {} objects", pipes.min(10_000));
    workload!(list, name, &[FLOOR], &[Mode::Edge], register(pipes.min(10_000), Mode::Edge));
    parts(&mut list);
    list
}

fn parts(list: &mut Vec<Workload>) {
    type Crossbeam = parts::WithMio<crossbeam_channel::Receiver<usize>>;
    type Std = parts::WithMio<mpsc::Receiver<usize>>;
    use parts::{AnypollChannel, DelayQueue, LazyHeap, Tree};

    let name = "channel, a message, then a wait";
    part!(list, name, Channel::one_message(20_000), AnypollChannel, Crossbeam, Std);
    for senders in [1, 4] {
        let name = format!("channel, {senders} sending threads");
        let count = 40_000 / senders;
        part!(list, name, Channel::channel(senders, count), AnypollChannel, Crossbeam, Std);
    }
    for live in [1_000, 1_000_000] {
        let name = format!("timers, {live} live, one begins anew");
        if live > 1_000 {
            // With so many in DelayQueue a round takes too long to be measured here.
            part!(list, name, Deadlines::reset(live, 100_000), Timers<usize>, Tree, LazyHeap);
        } else {
            part!(
                list,
                name,
                Deadlines::reset(live, 100_000),
                Timers<usize>,
                Tree,
                LazyHeap,
                DelayQueue
            );
        }
        let name = format!("timers, {live} inserted, then expired");
        part!(list, name, Deadlines::expire(live), Timers<usize>, Tree, LazyHeap);
    }
}
