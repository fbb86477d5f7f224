//! What is measured, in which order, how, and why a row is as it is.

use std::sync::mpsc;
use std::time::Duration;

use anypoll::timers::Timers;

use crate::measure::{Slice, Workload};
use crate::parts::{self, Channel as _, Deadlines as _};
use crate::peers::{Anypoll, Floor, Mio, Mode, Peer as _, Polling};
use crate::threads;
use crate::workloads::{Slack, Work, connections, objects, pipes};

pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// How it was taken.
    pub(crate) how: String,
    /// What there is to win or to lose.
    pub(crate) limit: &'static str,
    pub(crate) workloads: Vec<Workload>,
}

const ONE_EVENT: &str = "A wait that brings one event pays the whole price of announcing that this \
    thread will sleep, so that others may wake it without a system call when it does not: one locked \
    instruction. A hand-written loop has nobody to tell. Nor can it be left out \
    while there is no waker: one may be made by another thread at any time, and would not know whom to \
    wake. In a process with threads the C library's `epoll_wait` costs as much more, for being a \
    cancellation point, which anypoll does not call.";

const ONE_EVENT_GOALS: &[(&str, f64)] =
    &[(Floor::NAME, 0.99), (Mio::NAME, 1.0), (Polling::NAME, 1.5)];

const LOOK: &str = "Every second wait that has wakes to report looks at the kernel too, whose row \
    is above: without that who is woken all the time would never see another event. mio asks it \
    each time, and makes a system call more for each wake. The rest are four locked instructions: \
    the bit is set, the slots are locked, the bits are taken, the slots are unlocked. \
    Each further wake is one more: without it what was written before a wake that finds another \
    pending would not be ordered before the report.";

const NOISE: &str = "Other from run to run, and than in the neighbouring rows: the time is the kernel's, \
    at many objects that of memory.";

/// `limit` is how many descriptors there may be; counts of operations are divided by `divisor`.
pub(crate) fn all(limit: usize, divisor: usize) -> Vec<Section> {
    vec![
        chain(limit, divisor),
        sockets(limit, divisor),
        wakes(divisor),
        modes_and_time(divisor),
        several_threads(divisor),
        registration(limit),
        channels(divisor),
        timers(divisor),
    ]
}

pub(crate) const CHAIN: &str = "The chain";
pub(crate) const SOCKETS: &str = "Sockets";
pub(crate) const WAKES: &str = "Wakes";
pub(crate) const TIMEOUTS: &str = "One-shot and timeouts";

/// The longest ring that the limit of descriptors allows.
pub(crate) fn longest(limit: usize) -> usize {
    (limit.saturating_sub(500) / 2).min(100_000)
}

/// Pipes and how many of them are active: half at most, so that no byte is written into a pipe that
/// the same wait has reported. Else what order a peer reports in would decide how many bytes a read
/// finds.
pub(crate) fn chains(limit: usize) -> [(usize, usize); 5] {
    let longest = longest(limit);
    [(200, 100), (1_000, 100), (longest, 100), (longest, 1), (longest, 1_000)]
}

/// The number as it is read: 12,345.
pub(crate) fn grouped(number: usize) -> String {
    let (thousands, rest) = (number / 1_000, number % 1_000);
    if thousands == 0 { rest.to_string() } else { format!("{},{rest:03}", grouped(thousands)) }
}

pub(crate) fn chain_name(pipes: usize, active: usize, mode: Mode) -> String {
    format!("{} pipes, {} active, {mode}", grouped(pipes), grouped(active))
}

fn chain(limit: usize, divisor: usize) -> Section {
    let mut workloads = Vec::new();
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        for (all, active) in chains(limit) {
            let writes = (20_000 / divisor).max(3 * active);
            let work = Work::Chain { pipes: pipes(all), active, writes, mode };
            let workload = Workload::new(chain_name(all, active, mode), work);
            workloads.push(if active == 1 {
                workload.goals(ONE_EVENT_GOALS).reason(ONE_EVENT)
            } else {
                workload.reason(NOISE)
            });
        }
    }
    Section {
        title: CHAIN,
        how: format!(
            "The given number of pipes is watched; as many bytes as pipes are called active run \
             along them, each read from one pipe and written into the next. {} pipes is what the limit of {} descriptors \
             allows a process here; the last points of the picture are 200 pipes beside 100,000 idle \
             objects, see below.",
            grouped(longest(limit)),
            grouped(limit)
        ),
        limit: "A read and a write for each event are in every column and are most of the time: \
                the floor's column shows what is left for a poller to lose.",
        workloads,
    }
}

fn sockets(limit: usize, divisor: usize) -> Section {
    let most = 5_000.min(longest(limit));
    let echo = |count, mode| {
        let exchanges = (10_000 / divisor).max(count);
        let work = Work::Echo { connections: connections(count), exchanges, mode };
        Workload::new(format!("TCP echo, connections: {}, {mode}", grouped(count)), work)
    };
    let mut workloads = Vec::new();
    for mode in [Mode::Level, Mode::Edge] {
        workloads.push(echo(1, mode).reason(ONE_EVENT));
        workloads.extend([100, most].map(|count| echo(count, mode).reason(NOISE)));
        let work = Work::Churn { connections: 500 / divisor, mode };
        workloads.push(Workload::new(format!("TCP, connect to close, {mode}"), work).reason(NOISE));
        let work = Work::Udp { exchanges: 3_000 / divisor, mode };
        workloads
            .push(Workload::new(format!("UDP, there and back, {mode}"), work).reason(ONE_EVENT));
    }
    Section {
        title: SOCKETS,
        how:
            "Both ends of each connection are in one poller, on one thread, over the loopback. An \
              echo is 32 bytes there and back. From connect to close: the server's end is accepted \
              when the listener is ready, registered, serves one exchange and is taken off. libuv, \
              libev and libevent watch the same sockets (`uv_poll_t`, `ev_io`, `event`); their own \
              buffered streams are not used."
                .into(),
        limit: "The kernel's network stack is most of it: what the loop by hand is over polling, whose \
                wait is five system calls, no poller can exceed by much.",
        workloads,
    }
}

fn wakes(divisor: usize) -> Section {
    let samples = 1_000 / divisor;
    let latency = |percent| Work::Latency { percent, samples };
    let wakes = |wakes, waits| Work::Wakes { wakes, waits: waits / divisor };
    Section {
        title: WAKES,
        how: "The goals are against mio alone. One and ten: a thread wakes its own poller, which is \
              awake, then waits for the report. Storm: four threads wake a fifth all the time. Sleeping: two threads \
              on one core wake each other in turn; half of a round trip. The floor's waker writes into an \
              edge-triggered eventfd; libuv's is `uv_async_send`, libev's `ev_async_send`, \
              libevent's `event_active`."
            .into(),
        limit: "A sleeping thread costs a system call and the scheduler, whoever wakes it. A poller \
                that is awake needs neither.",
        workloads: vec![
            Workload::new("a look, and nothing is there", Work::Look { waits: 20_000 / divisor })
                .goals(&[(Mio::NAME, 1.0)])
                .reason(
                    "The kernel has nothing to do, so this is what a wait itself costs. anypoll looks \
                     before and after whether a waker is pending, and calls `epoll_pwait`, which every \
                     processor's Linux has, for `epoll_wait`: that alone is two nanoseconds.",
                ),
            Workload::new("one wake, then a wait", wakes(1, 10_000))
                .goals(&[(Mio::NAME, 3.0)])
                .reason(LOOK),
            Workload::new("ten wakes, then a wait", wakes(10, 3_000))
                .goals(&[(Mio::NAME, 12.0)])
                .reason(LOOK),
            Workload::new("storm, 4 threads", Work::Storm { wakes: 5_000 / divisor })
                .goals(&[(Mio::NAME, 1.0)])
                .reason(
                    "libuv's `uv_async_send` returns after a plain read if it finds one pending, \
                     and that is all of the difference: with such a read first anypoll takes a third \
                     of its time and is as fast. But a read orders nothing: what was written before \
                     it might not be seen after the report. So each wake is a locked instruction, on \
                     a word for which the threads contend. polling has one flag and no tokens.",
                ),
            Workload::new("a sleeping thread, median", latency(50)).goals(&[(Mio::NAME, 1.0)]),
            Workload::new("a sleeping thread, p99", latency(99)).goals(&[(Mio::NAME, 1.0)]),
        ],
    }
}

fn modes_and_time(divisor: usize) -> Section {
    let mut workloads = vec![
        Workload::new("one-shot, report and re-arm", Work::Oneshot { reports: 10_000 / divisor })
            .goals(ONE_EVENT_GOALS)
            .reason(ONE_EVENT),
    ];
    for (micros, word, samples) in [(50, "50 µs", 100), (1_000, "1 ms", 20), (10_000, "10 ms", 2)]
    {
        for slack in [Slack::Usual, Slack::Least] {
            let timeout = Duration::from_micros(micros);
            let samples = (samples / divisor).max(1);
            let (word, reason) = match slack {
                Slack::Usual => (
                    format!("timeout of {word}"),
                    "polling, and calloop over it, arm a timerfd, and its expiry is not rounded: \
                     timer slack is for sleeps alone. anypoll hands the timeout to the wait itself, \
                     one system call instead of three, and the kernel adds up to 50 µs of slack.",
                ),
                Slack::Least => (
                    format!("timeout of {word}, slack 1 ns"),
                    "Programs that need it exact set `PR_SET_TIMERSLACK`, as here; what is left is \
                     the waking itself, and libuv, which counts whole milliseconds from one that \
                     has begun, may return early.",
                ),
            };
            workloads.push(
                Workload::new(word, Work::Timeout { timeout, slack, samples })
                    .goals(&[(Mio::NAME, 1.0)])
                    .reason(reason),
            );
        }
    }
    Section {
        title: TIMEOUTS,
        how: "One-shot: a pipe that stays readable is reported, and armed again. Timeouts: the time \
              from the call to the return of a wait in which nothing happens (median), as the system \
              comes and with the thread's timer slack at its least (`PR_SET_TIMERSLACK` in \
              prctl(2)). The floor, mio, libuv, libev and libevent count in milliseconds and round \
              up; libevent besides reads the kernel's coarse clock, unless it is configured not to."
            .into(),
        limit: "The kernel's timer and the waking of a thread.",
        workloads,
    }
}

fn several_threads(divisor: usize) -> Section {
    let writes = 20_000 / divisor;
    let row = |count| Workload {
        name: format!("ring of 64 pipes, waiting threads: {count}"),
        goals: &[(Floor::NAME, 0.99)],
        reason: NOISE,
        slices: vec![
            (Anypoll::NAME, Box::new(move || threads::ring::<Anypoll>(count, writes)) as Slice),
            (Floor::NAME, Box::new(move || threads::ring::<Floor>(count, writes))),
        ],
    };
    Section {
        title: "Several threads on one poller",
        how: "16 bytes run along 64 one-shot pipes; whichever thread gets a report reads, writes \
              and arms again."
            .into(),
        limit: "No other peer can: mio's wait takes `&mut self`, calloop's loop is not \
                `Send`, a loop of libuv, libev and libevent is one thread's, and \
                the second wait on polling's poller returns at once.",
        workloads: [1, 2, 4].map(row).into(),
    }
}

pub(crate) const REGISTERING: &str = "libev never tells the kernel that an object is not watched any \
    more, and makes half of the calls; libuv makes more than two.";

fn registration(limit: usize) -> Section {
    let count = 2 * longest(limit);
    let row = |mode| {
        let work = Work::Register { objects: objects(count), mode };
        let name = format!("begin and end to watch, {} objects, {mode}", grouped(count));
        Workload::new(name, work).reason(REGISTERING)
    };
    Section {
        title: "Registration",
        how: "Each object begins to be watched; one look; each ends to be watched; one look."
            .into(),
        limit: "Two system calls an object.",
        workloads: [Mode::Level, Mode::Edge].map(row).into(),
    }
}

/// A workload for the channels or the timers that are named.
macro_rules! part {
    ($name:expr, $trait:ident :: $run:ident $arguments:tt, $($peer:ty),*) => {
        Workload {
            name: $name.into(),
            goals: &[],
            reason: "",
            slices: vec![$((
                <$peer>::NAME,
                Box::new(move || parts::$run::<$peer> $arguments) as Slice,
            )),*],
        }
    };
}

fn channels(divisor: usize) -> Section {
    type Crossbeam = parts::WithMio<crossbeam_channel::Receiver<usize>>;
    type Std = parts::WithMio<mpsc::Receiver<usize>>;
    use parts::AnypollChannel;

    let count = 10_000 / divisor;
    let mut workloads = vec![part!(
        "a message, then a wait",
        Channel::one_message(count),
        AnypollChannel,
        Crossbeam,
        Std
    )];
    for senders in [1, 4] {
        let name = format!("sending threads: {senders}");
        let each = 4 * count / senders;
        let run = part!(name, Channel::channel(senders, each), AnypollChannel, Crossbeam, Std);
        workloads.push(run);
    }
    Section {
        title: "Channels",
        how:
            "Messages to a thread that waits in a poller, by a bounded queue (1,024) and a waker; \
              the peers' queues are joined to mio's waker, which is woken after each message. With \
              sending threads they send as fast as they can, and give way when the queue is full."
                .into(),
        limit: "The queue's cache lines going from core to core.",
        workloads,
    }
}

fn timers(divisor: usize) -> Section {
    use parts::{DelayQueue, LazyHeap, Tree};

    let mut workloads = Vec::new();
    for live in [1_000, 1_000_000 / divisor] {
        let count = 20_000 / divisor;
        let name = format!("{} live, one begins anew", grouped(live));
        let mut run = part!(name, Deadlines::reset(live, count), Timers<usize>, Tree, LazyHeap);
        // With many in it a round takes too long to be measured here.
        if live == 1_000 {
            let slice: Slice = Box::new(move || parts::reset::<DelayQueue>(live, count));
            run.slices.push((DelayQueue::NAME, slice));
        }
        let reason = "The lazy heap cancels by forgetting: what was cancelled stays in it until it \
                      comes up or is most of it, and takes the memory of as many again.";
        workloads.push(run.reason(reason));
        let name = format!("{} inserted, then expired", grouped(live));
        let run = part!(name, Expire::expire(live), Timers<usize>, Tree, LazyHeap);
        workloads.push(run.reason(
            "To take out all in order is a tree's best case: its leaves are in order, while a heap \
             sifts for each. Few timeouts expire; most begin anew, as in the other rows.",
        ));
    }
    Section {
        title: "Timers",
        how: "Deadlines in user space. One begins anew: the usual life of a timeout, which is \
              replaced long before it is due, and the look at the next deadline. tokio-util's \
              DelayQueue counts milliseconds and sleeps for its user: it takes no part in expiring, \
              nor with very many, and a look at its next deadline is left out, in its favour."
            .into(),
        limit: "Memory: a million deadlines do not fit the cache.",
        workloads,
    }
}
