//! The contract of the crate's front page, a file a promise, on every backend that runs here.

mod support;
mod truth_table;

mod p01_nothing_lost;
mod p02_modes;
mod p03_nothing_invented;
mod p04_off_is_off;
mod p05_errors_arrive;
mod p08_wakes;
