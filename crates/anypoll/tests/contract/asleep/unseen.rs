//! Nothing that is easily asked tells of a thread's sleep, so it gets time to: what a test shows does
//! not depend on that, only which of two interleavings it is shown for.

use std::time::{Duration, Instant};

pub(crate) fn this_thread() -> Instant {
    Instant::now()
}

pub(crate) fn is_asleep(since: &Instant) -> bool {
    since.elapsed() >= Duration::from_millis(10)
}
