//! The contract of the crate's front page, a file a promise, on every backend that runs here.

#![cfg(any(unix, windows))]

mod support;
// Of event ports and of Haiku there is no table.
#[cfg(not(any(target_os = "haiku", target_os = "illumos", target_os = "solaris")))]
mod truth_table;

mod low_level;
mod p01_nothing_lost;
mod p02_modes;
mod p03_nothing_invented;
mod p04_off_is_off;
#[cfg(not(any(target_os = "haiku", target_os = "illumos", target_os = "solaris")))]
mod p05_errors_arrive;
mod p06_cases;
mod p06_time;
#[cfg(unix)]
mod p07_signals;
mod p08_wakes;
mod p09_threads;
mod p11_misuse;
mod p12_drop_order;
#[cfg(unix)]
mod p13_descriptor;
