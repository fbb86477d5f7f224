//! Timers against a sorted list, and their allocations.

#![cfg(any(unix, windows))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use anypoll::timers::{Key, Timers};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the same promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// xorshift64*: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

/// What `Timers` is to be: a list kept in the order of deadlines, and of values, which count up.
#[derive(Default)]
struct Model(Vec<(Instant, u64)>);

impl Model {
    fn insert(&mut self, deadline: Instant, value: u64) {
        let place = self.0.partition_point(|other| *other <= (deadline, value));
        self.0.insert(place, (deadline, value));
    }

    fn cancel(&mut self, value: u64) -> Option<u64> {
        let place = self.0.iter().position(|(_, other)| *other == value)?;
        Some(self.0.remove(place).1)
    }

    fn expire(&mut self, now: Instant) -> Option<(Instant, u64)> {
        if self.0.first()?.0 <= now { Some(self.0.remove(0)) } else { None }
    }
}

#[test]
fn behaves_like_a_sorted_list() {
    for seed in 1..=300 {
        let mut random = Random(seed);
        let (mut timers, mut model) = (Timers::new(), Model::default());
        let mut keys: Vec<Key> = Vec::new();
        let start = Instant::now();
        let mut now = 0;
        // Deadlines are often the same, or hardly ever; a few timers live at a time, or hundreds.
        let spread = 1 << random.below(30);
        let inserts = 1 + random.below(60);
        for _ in 0..400 {
            match random.below(8 + inserts) {
                0..2 if !keys.is_empty() => {
                    let value = random.below(keys.len() as u64);
                    let key = keys[usize::try_from(value).unwrap()];
                    let at = start + Duration::from_nanos(now + random.below(spread));
                    let is_live = model.cancel(value).is_some();
                    if is_live {
                        model.insert(at, value);
                    }
                    assert_eq!(timers.reset(key, at), is_live, "seed {seed}");
                }
                2..4 if !keys.is_empty() => {
                    let value = random.below(keys.len() as u64);
                    let key = keys[usize::try_from(value).unwrap()];
                    assert_eq!(timers.cancel(key), model.cancel(value), "seed {seed}");
                }
                4..8 => {
                    now += random.below(spread);
                    let now = start + Duration::from_nanos(now);
                    loop {
                        let expired = timers.expire(now);
                        assert_eq!(expired, model.expire(now), "seed {seed}");
                        if expired.is_none() {
                            break;
                        }
                    }
                }
                _ => {
                    let at = now.saturating_sub(spread / 4) + random.below(spread * 2);
                    let at = start + Duration::from_nanos(at);
                    let value = keys.len() as u64;
                    keys.push(timers.insert(at, value));
                    model.insert(at, value);
                }
            }
            assert_eq!(timers.len(), model.0.len(), "seed {seed}");
            assert_eq!(timers.is_empty(), model.0.is_empty(), "seed {seed}");
            assert_eq!(timers.next_deadline(), model.0.first().map(|first| first.0));
        }
    }
}

#[test]
fn nanoseconds_count() {
    let mut timers = Timers::new();
    let now = Instant::now();
    timers.insert(now + Duration::from_nanos(1), 'b');
    timers.insert(now, 'a');
    assert_eq!(timers.expire(now), Some((now, 'a')));
    assert_eq!(timers.expire(now), None);
    let now = now + Duration::from_nanos(1);
    assert_eq!(timers.expire(now), Some((now, 'b')));
}

#[test]
fn a_stale_key_is_harmless() {
    let mut timers = Timers::new();
    let now = Instant::now();
    let cancelled = timers.insert(now, 1);
    assert_eq!(timers.cancel(cancelled), Some(1));
    let expired = timers.insert(now, 2);
    assert_eq!(timers.expire(now), Some((now, 2)));
    let live = timers.insert(now, 3);
    for stale in [cancelled, expired] {
        assert_ne!(stale, live);
        assert_eq!(timers.cancel(stale), None);
    }
    assert_eq!(timers.len(), 1);
    // One that names a slot which is not there.
    assert_eq!(Timers::<u32>::new().cancel(live), None);
}

#[test]
fn nothing_is_allocated_once_warm() {
    let mut timers = Timers::new();
    let start = Instant::now();
    let mut random = Random(1);
    let mut keys: Vec<Key> = Vec::with_capacity(1000);
    let mut round = |count: u64| {
        let before = ALLOCATIONS.get();
        for _ in 0..count {
            keys.push(timers.insert(start + Duration::from_nanos(random.below(1000)), [0; 8]));
        }
        for key in &keys {
            assert!(timers.reset(*key, start + Duration::from_nanos(random.below(1000))));
        }
        for key in keys.drain(..).step_by(2) {
            timers.cancel(key).unwrap();
        }
        while timers.expire(start + Duration::from_secs(1)).is_some() {}
        assert!(timers.is_empty());
        ALLOCATIONS.get() - before
    };
    assert_ne!(round(1000), 0);
    assert_eq!((0..20).map(|less| round(1000 - less)).sum::<usize>(), 0);
}
