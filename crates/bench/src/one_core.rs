//! Threads that wake each other are measured on one core: on two, where the scheduler puts them would
//! decide, not who wakes them.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps a thread, and those that it starts meanwhile, on one core.
pub(crate) struct OneCore {
    thread: Option<Pid>,
    before: CpuSet,
}

impl OneCore {
    /// For the calling thread, or the first one of a process.
    pub(crate) fn keep(thread: Option<Pid>) -> Self {
        let before = sched_getaffinity(thread).expect("it runs");
        let mut one = CpuSet::new();
        let first = (0..CpuSet::MAX_CPU).find(|core| before.is_set(*core));
        one.set(first.expect("it may run somewhere"));
        sched_setaffinity(thread, &one).expect("it may run there");
        Self { thread, before }
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        let _ = sched_setaffinity(self.thread, &self.before);
    }
}
