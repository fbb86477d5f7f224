//! Ratios that a drifting machine does not bend: in each round every peer does the same slice of
//! work in turn, and only times of one round are divided.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::peers::{self, Anypoll, Floor, Mio, Peer as _};
use crate::workloads::Work;

/// How much time there is.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds are begun until it is used up.
    pub(crate) for_each: Duration,
    pub(crate) at_least: usize,
    /// What an operation's count is divided by.
    pub(crate) divisor: usize,
}

impl Effort {
    /// Calls `round` with 0, which warms up, then with 1 and so on.
    pub(crate) fn rounds(&self, mut round: impl FnMut(usize)) {
        round(0);
        let start = Instant::now();
        for number in 1.. {
            round(number);
            if number >= self.at_least && start.elapsed() >= self.for_each {
                break;
            }
        }
    }
}

pub(crate) type Slice = Box<dyn Fn() -> f64>;

/// Work that each peer's slice does, and takes so many seconds for one operation of.
pub(crate) struct Workload {
    pub(crate) name: String,
    /// What a peer's time over anypoll's should be at least.
    pub(crate) goals: &'static [(&'static str, f64)],
    /// Why anypoll is behind, where it is known to be.
    pub(crate) reason: &'static str,
    pub(crate) slices: Vec<(&'static str, Slice)>,
}

pub(crate) const FLOOR_AND_MIO: &[(&str, f64)] = &[(Floor::NAME, 0.99), (Mio::NAME, 1.0)];

impl Workload {
    /// For every peer that has the mode.
    pub(crate) fn new(name: impl Into<String>, work: Work) -> Self {
        let work = Rc::new(work);
        let takes_part =
            |entry: &&peers::Entry| work.mode().is_none_or(|mode| entry.modes.contains(&mode));
        let slice = |entry: &'static peers::Entry| {
            let work = work.clone();
            (entry.name, Box::new(move || (entry.run)(&work)) as Slice)
        };
        let slices = peers::ALL.iter().filter(takes_part).map(slice).collect();
        Self { name: name.into(), goals: FLOOR_AND_MIO, reason: "", slices }
    }

    pub(crate) fn goals(self, goals: &'static [(&'static str, f64)]) -> Self {
        Self { goals, ..self }
    }

    pub(crate) fn reason(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    pub(crate) fn measure(self, effort: &Effort) -> Row {
        let mut times: Vec<_> = self.slices.iter().map(|(peer, _)| (*peer, Vec::new())).collect();
        effort.rounds(|round| {
            for which in order(self.slices.len(), round) {
                let time = self.slices[which].1();
                if round > 0 {
                    times[which].1.push(time);
                }
            }
        });
        Row { name: self.name, goals: self.goals, reason: self.reason, times }
    }
}

/// Who comes when in a round, shuffled, and in each run of this program otherwise: none always
/// follows the same one, whose traces in the cache and in the allocator would be its lot.
pub(crate) fn order(count: usize, round: usize) -> Vec<usize> {
    static RUN: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let mut random = RUN.hash_one(round) | 1;
    let mut order: Vec<_> = (0..count).collect();
    for i in (1..count).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let other = usize::try_from(random % (i as u64 + 1)).expect("it is at most i");
        order.swap(i, other);
    }
    order
}

/// The seconds of one operation in each round.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) goals: &'static [(&'static str, f64)],
    pub(crate) reason: &'static str,
    pub(crate) times: Vec<(&'static str, Vec<f64>)>,
}

impl Row {
    pub(crate) fn rounds(&self) -> usize {
        self.times[0].1.len()
    }

    fn times(&self, peer: &str) -> Option<&[f64]> {
        self.times.iter().find(|(name, _)| *name == peer).map(|(_, times)| times.as_slice())
    }

    pub(crate) fn seconds(&self, peer: &str) -> Option<Spread> {
        self.times(peer).map(|times| spread(times.to_vec()))
    }

    pub(crate) fn ratio(&self, peer: &str, over: &str) -> Option<Spread> {
        let (times, over) = (self.times(peer)?, self.times(over)?);
        Some(spread(times.iter().zip(over).map(|(time, over)| time / over).collect()))
    }

    /// Of the peer's time to anypoll's: above 1, anypoll is the faster.
    pub(crate) fn verdict(&self, peer: &str) -> Option<(Spread, Verdict)> {
        let ratio = self.ratio(peer, Anypoll::NAME)?;
        let goal = self.goals.iter().find(|(name, _)| *name == peer).map(|(_, goal)| *goal);
        // As they are shown.
        let hundredths = |ratio: f64| (ratio * 100.0).round() / 100.0;
        let verdict = if goal.is_some_and(|goal| hundredths(ratio.median) < goal) {
            Verdict::Missed
        } else if hundredths(ratio.high) < 1.0 {
            Verdict::Behind
        } else {
            Verdict::Well
        };
        Some((ratio, verdict))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Well,
    /// In three of four rounds, without a goal that says how far is too far.
    Behind,
    /// A goal.
    Missed,
}

/// A median and its quartiles.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

pub(crate) fn spread(mut samples: Vec<f64>) -> Spread {
    samples.sort_by(f64::total_cmp);
    let at = |percent| percentile(&samples, percent);
    Spread { median: at(50), low: at(25), high: at(75) }
}

/// Of sorted samples; between two of them in proportion.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() - 1) * percent;
    let (below, part) = (place / 100, (place % 100) as f64 / 100.0);
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * part
}
