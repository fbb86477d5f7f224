//! P6: an empty return is never before the timeout, by `Instant`. Zero never blocks. Any `Duration`
//! is accepted.
//!
//! The cases have a file of their own because `tests/epoll_fallback.rs` runs them too.

use crate::p06_cases::{
    any_duration_is_accepted, empty_is_never_early, own_notices_keep_the_remaining_time,
    until_a_moment, zero_never_blocks,
};
use crate::support::on_every_backend;

on_every_backend! {
    any_duration_is_accepted
    empty_is_never_early
    own_notices_keep_the_remaining_time
    until_a_moment
    zero_never_blocks
}
