//! Threads that wake each other are measured on one core: on two, where the scheduler puts them would
//! decide, not who wakes them.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread, and what it starts meanwhile, on one core.
pub(crate) struct OneCore {
    before: CpuSet,
}

impl OneCore {
    pub(crate) fn keep() -> Self {
        let before = sched_getaffinity(None).expect("it runs");
        let mut one = CpuSet::new();
        let first = (0..CpuSet::MAX_CPU).find(|core| before.is_set(*core));
        one.set(first.expect("it may run somewhere"));
        sched_setaffinity(None, &one).expect("it may run there");
        Self { before }
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.before);
    }
}
