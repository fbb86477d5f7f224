//! Signals among other events.
//!
//! A poller needs nothing of its own for them. A handler may only do what is async-signal-safe,
//! and there are two such things that end a wait:
//!
//! - to write into a socket whose other end is registered (`signal_hook::low_level::pipe` does, so
//!   this needs no `unsafe`), which also counts;
//! - [`Waker::wake`](anypoll::Waker::wake), without descriptors, where the handler is one's own.
//!
//! Try it: `cargo run --example signals`, then `kill -HUP`, `-USR1` and `-TERM`.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;

use anypoll::{Events, Interest, Mode, Poller, Registered, Token};
use signal_hook::consts::{SIGHUP, SIGTERM, SIGUSR1};
use signal_hook::low_level;

const RELOAD: Token = Token(0);
const END: Token = Token(1);
const WOKEN: Token = Token(2);

/// What is readable after each of these signals.
fn watch(poller: &Poller, signal: i32, token: Token) -> io::Result<Registered<UnixStream>> {
    let (ours, handlers) = UnixStream::pair()?;
    low_level::pipe::register(signal, handlers)?;
    ours.set_nonblocking(true)?;
    Ok(poller.register(ours, token, Interest::READABLE, Mode::Level)?)
}

/// Returns how often the signal came.
fn take(mut signals: &Registered<UnixStream>) -> io::Result<usize> {
    let mut count = 0;
    loop {
        match signals.read(&mut [0; 64]) {
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(count),
            Err(error) => return Err(error),
        }
    }
}

/// Runs until `SIGTERM`.
pub fn main() -> io::Result<()> {
    let poller = Poller::new()?;
    let reload = watch(&poller, SIGHUP, RELOAD)?;
    let _end = watch(&poller, SIGTERM, END)?;
    let waker = poller.waker(WOKEN);
    // SAFETY: `wake` is async-signal-safe, and does not panic.
    unsafe { low_level::register(SIGUSR1, move || waker.wake()) }?;

    println!("process {}", std::process::id());
    let mut events = Events::default();
    loop {
        poller.wait(&mut events, None)?;
        for event in &events {
            match event.token() {
                RELOAD => println!("reload {}", take(&reload)?),
                WOKEN => println!("woken"),
                _ => {
                    println!("end");
                    return Ok(());
                }
            }
        }
    }
}
