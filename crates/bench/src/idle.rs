//! Objects that are watched and never ready: what 100,000 of them cost.
//!
//! A process may not have so many descriptors here, but it need not: a registration lasts as long as
//! anybody has the object open. So they are made and registered by the batch, and other processes
//! hold them open while ours are closed.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anypoll::{Interest, Token};

use crate::measure::{Effort, FLOOR_AND_MIO, Row, Spread, order, spread};
use crate::peers::{self, Mode, Peer};
use crate::sections::{REGISTERING, grouped};
use crate::workloads::{Pipe, pipes, ring};

pub(crate) const MANY: usize = 100_000;
const FEW: usize = 100;
const PIPES: usize = 200;
const ACTIVE: usize = 100;
/// The most that ours has open at a time, and one other process is lent.
const BATCH: usize = 10_000;
/// That one peer begins to watch before it is the next one's turn.
const CHUNK: usize = 1_000;

/// A poller with few idle objects, and one with many.
pub(crate) trait Crowd {
    fn watch(&mut self, objects: &[OwnedFd]);
    /// Bytes that the user has to keep of each.
    fn key_size(&self) -> usize;
    /// The time of a ring of pipes beside the few, and beside the many.
    fn rings(&mut self, pipes: &[Pipe], mode: Mode, many_first: bool) -> [f64; 2];
}

struct Pair<P: Peer> {
    few: P,
    many: P,
    /// As many as there are objects, so that making room for them is not in what is measured.
    keys: Vec<P::Key>,
}

pub(crate) fn crowd<P: Peer>() -> Box<dyn Crowd> {
    Box::new(Pair { few: P::new(), many: P::new(), keys: Vec::with_capacity(MANY + FEW) })
}

/// No event tells of an idle object.
const NEVER: usize = usize::MAX >> 16;

impl<P: Peer> Crowd for Pair<P> {
    fn watch(&mut self, objects: &[OwnedFd]) {
        let peer = if objects.len() == FEW { &mut self.few } else { &mut self.many };
        self.keys.extend(objects.iter().map(|object| peer.add(object.as_fd(), NEVER, Mode::Level)));
    }

    fn key_size(&self) -> usize {
        size_of::<P::Key>()
    }

    fn rings(&mut self, pipes: &[Pipe], mode: Mode, many_first: bool) -> [f64; 2] {
        let ring = |peer: &mut P| ring(peer, pipes, ACTIVE, 5_000, mode);
        if many_first {
            let many = ring(&mut self.many);
            [ring(&mut self.few), many]
        } else {
            [ring(&mut self.few), ring(&mut self.many)]
        }
    }
}

pub(crate) struct Idle {
    pub(crate) rows: Vec<Row>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) bytes: Vec<(&'static str, f64)>,
}

/// An event's time beside many idle objects over that beside few.
pub(crate) struct Growth {
    pub(crate) peer: &'static str,
    pub(crate) mode: Mode,
    pub(crate) ratio: Spread,
}

pub(crate) fn ring_name(mode: Mode) -> String {
    format!("{PIPES} pipes, {ACTIVE} active, beside {} idle objects, {mode}", grouped(MANY))
}

pub(crate) fn measure(effort: &Effort, limit: usize) -> Result<Idle, String> {
    let at_once = limit.saturating_sub(1_000).min(BATCH) / CHUNK * CHUNK;
    if at_once == 0 {
        return Err(format!("{limit} descriptors are too few: ulimit -n 4096"));
    }
    let entries: Vec<_> = peers::ALL.iter().filter(|entry| entry.takes_a_number_twice).collect();
    let mut crowds: Vec<_> = entries.iter().map(|entry| (entry.crowd)()).collect();
    let few = eventfds(FEW);
    for crowd in &mut crowds {
        crowd.watch(&few);
    }
    let mut watching = vec![Vec::new(); entries.len()];
    let mut heap = vec![0; entries.len()];
    let mut holders = Vec::new();
    let mut begun = 0;
    while begun < MANY {
        let objects = eventfds(at_once.min(MANY - begun));
        for chunk in objects.chunks(CHUNK) {
            begun += chunk.len();
            for which in order(crowds.len(), begun / CHUNK) {
                let before = heap_in_use();
                let start = Instant::now();
                crowds[which].watch(chunk);
                watching[which].push(start.elapsed().as_secs_f64() / chunk.len() as f64);
                heap[which] += heap_in_use() - before;
            }
        }
        holders.push(Holder::start());
    }
    let row = |name: String, goals, times: Vec<Vec<f64>>, modes: Option<Mode>| Row {
        name,
        goals,
        reason: if modes.is_none() { REGISTERING } else { "" },
        times: entries
            .iter()
            .zip(times)
            .filter(|(entry, _)| modes.is_none_or(|mode| entry.modes.contains(&mode)))
            .map(|(entry, times)| (entry.name, times))
            .collect(),
    };
    let mut rows =
        vec![row(format!("begin to watch, {} objects", grouped(MANY)), &[], watching, None)];
    let mut growth = Vec::new();
    let pipes = pipes(PIPES);
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        let mut times = vec![[const { Vec::new() }; 2]; entries.len()];
        effort.rounds(|round| {
            for which in order(crowds.len(), round) {
                if !entries[which].modes.contains(&mode) {
                    continue;
                }
                let ring = crowds[which].rings(&pipes, mode, round % 2 == 0);
                if round > 0 {
                    for (times, time) in times[which].iter_mut().zip(ring) {
                        times.push(time);
                    }
                }
            }
        });
        for (entry, [few, many]) in entries.iter().zip(&times) {
            if entry.modes.contains(&mode) {
                let ratio = spread(many.iter().zip(few).map(|(many, few)| many / few).collect());
                growth.push(Growth { peer: entry.name, mode, ratio });
            }
        }
        let many = times.into_iter().map(|[_, many]| many).collect();
        rows.push(row(ring_name(mode), FLOOR_AND_MIO, many, Some(mode)));
    }
    let bytes = entries
        .iter()
        .zip(&heap)
        .zip(&crowds)
        .map(|((entry, heap), crowd)| {
            (entry.name, *heap as f64 / MANY as f64 + crowd.key_size() as f64)
        })
        .collect();
    // The peers first: what they still ask of numbers that are closed concerns nobody then.
    drop(crowds);
    drop(holders);
    Ok(Idle { rows, growth, bytes })
}

/// Not close-on-exec: another process is to hold them.
fn eventfds(count: usize) -> Vec<OwnedFd> {
    let eventfd = |_| {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: it was opened just now, and nobody else has it.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    (0..count).map(eventfd).collect()
}

/// A process that has what this one had open when it was started.
struct Holder(Child);

impl Holder {
    fn start() -> Self {
        let bench = std::env::current_exe().expect("this program has a path");
        let child = Command::new(bench).arg("--hold").stdin(Stdio::piped()).spawn();
        Self(child.expect("a process can be started"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The end of its input ends it, as it does if this process is killed.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What a holder does.
pub(crate) fn hold() {
    let _ = std::io::stdin().read(&mut [0]);
}

/// Bytes in use on the C library's heap, which every peer takes its memory from.
fn heap_in_use() -> usize {
    // SAFETY: it takes nothing.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// User-space bytes of each watched object: on the heap, and what the user has to keep.
pub(crate) fn bytes<P: Peer>(objects: &[OwnedFd]) -> f64 {
    let mut peer = P::new();
    let mut keys = Vec::with_capacity(objects.len());
    // What a peer makes once is no matter of the objects' number.
    peer.wait(Some(Duration::ZERO), |_| {});
    let before = heap_in_use();
    for object in objects {
        keys.push(peer.add(object.as_fd(), NEVER, Mode::Level));
    }
    peer.wait(Some(Duration::ZERO), |_| {});
    let heap = heap_in_use() - before;
    for (key, object) in keys.into_iter().zip(objects) {
        peer.remove(key, object.as_fd());
    }
    heap as f64 / objects.len() as f64 + size_of::<P::Key>() as f64
}

/// The same for anypoll's `Registered`, without the object that it owns.
pub(crate) fn bytes_registered(objects: &[OwnedFd]) -> f64 {
    let poller = anypoll::Poller::new().unwrap();
    let mut registered = Vec::with_capacity(objects.len());
    let before = heap_in_use();
    for object in objects {
        let fd = object.as_fd();
        registered.push(
            poller.register(fd, Token(NEVER), Interest::READABLE, anypoll::Mode::Level).unwrap(),
        );
    }
    let heap = heap_in_use() - before;
    let own = size_of_val(&registered[0]) - size_of_val(&objects[0].as_raw_fd());
    heap as f64 / objects.len() as f64 + own as f64
}
