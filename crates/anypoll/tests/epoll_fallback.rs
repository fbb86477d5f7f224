//! P6 where `epoll_pwait2` is forbidden, in a process of its own: timeouts are rounded up to the
//! next millisecond, and are never early.

#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use anypoll::os::linux::forbid_epoll_pwait2;
use anypoll::{Backend, Events};

#[path = "contract/p06_cases.rs"]
mod cases;
#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the contract uses all of it")]
mod support;

macro_rules! without_pwait2 {
    ($($name:ident)+) => {
        $(#[test] fn $name() {
            forbid_epoll_pwait2();
            cases::$name(Backend::Epoll);
        })+
    };
}

without_pwait2! {
    any_duration_is_accepted
    empty_is_never_early
    own_notices_keep_the_remaining_time
    until_a_moment
    zero_never_blocks
}

#[test]
fn timeouts_are_rounded_up() {
    forbid_epoll_pwait2();
    let poller = support::poller(Backend::Epoll);
    let mut events = Events::default();
    for (timeout, at_least) in [(1, 1), (999_999, 1), (1_000_001, 2), (2_500_000, 3)] {
        let start = Instant::now();
        poller.wait(&mut events, Some(Duration::from_nanos(timeout))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(at_least), "{timeout} ns");
    }
}
