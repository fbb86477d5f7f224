//! What a peer costs before it runs: a program that watches one socket, built from nothing.

use std::fs;
use std::time::Instant;

use crate::measure::{Spread, order, spread};
use crate::peers::{Anypoll, Calloop, Mio, Peer, Polling};
use crate::programs::{Package, crates};

pub(crate) struct Build {
    pub(crate) peer: &'static str,
    /// Seconds over mio's.
    pub(crate) time: Spread,
    pub(crate) seconds: f64,
    /// Packages, the peer's own among them.
    pub(crate) packages: usize,
    /// Of the program, stripped.
    pub(crate) bytes: u64,
}

/// What it depends on, and its source. anypoll's path is found out later.
const PEERS: [(&str, &str, &str); 6] = [
    (Anypoll::NAME, "", include_str!("../programs/minimal_anypoll.rs")),
    (
        Mio::NAME,
        "mio = { version = '1.2', features = ['net', 'os-poll'] }",
        include_str!("../programs/minimal_mio.rs"),
    ),
    (Polling::NAME, "polling = '3.11'", include_str!("../programs/minimal_polling.rs")),
    (Calloop::NAME, "calloop = '0.14'", include_str!("../programs/minimal_calloop.rs")),
    ("libc, by hand", "libc = '0.2'", include_str!("../programs/minimal_libc.rs")),
    (
        "rustix and libc, by hand",
        "libc = '0.2'\n\
         rustix = { version = '1.1', default-features = false, features = ['event', 'std'] }",
        include_str!("../programs/minimal_rustix.rs"),
    ),
];

pub(crate) fn measure(rounds: usize) -> Result<Vec<Build>, String> {
    let ours = format!("anypoll = {{ path = '{}' }}", crates().join("anypoll").display());
    let package = |(peer, dependency, source): &(&str, &str, &str)| {
        let dependency = if dependency.is_empty() { &*ours } else { dependency };
        let tail = format!("[dependencies]\n{dependency}\n\n[profile.release]\nstrip = true\n");
        let package = Package::write(&format!("bench-minimal/{peer}"), &tail, source);
        package.cargo(&["fetch", "--quiet"])?;
        Ok::<_, String>(package)
    };
    let packages = PEERS.iter().map(package).collect::<Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::new(); packages.len()];
    for round in 0..rounds {
        for which in order(packages.len(), round) {
            packages[which].forget_what_was_built();
            let start = Instant::now();
            packages[which].cargo(&["build", "--quiet", "--release", "--offline"])?;
            times[which].push(start.elapsed().as_secs_f64());
        }
    }
    let mio = PEERS.iter().position(|(peer, ..)| *peer == Mio::NAME);
    let of_mio = times[mio.expect("mio is among them")].clone();
    let build =
        |((peer, ..), (package, times)): (&(&'static str, &str, &str), (&Package, &Vec<f64>))| {
            let ran = std::process::Command::new(package.program()).output();
            if !ran.is_ok_and(|ran| ran.status.success()) {
                return Err(format!("the minimal program over {peer} does not run"));
            }
            let program = fs::metadata(package.program()).map_err(|error| error.to_string())?;
            Ok(Build {
                peer,
                time: spread(times.iter().zip(&of_mio).map(|(time, mio)| time / mio).collect()),
                seconds: spread(times.clone()).median,
                packages: package.dependencies()?.len(),
                bytes: program.len(),
            })
        };
    PEERS.iter().zip(packages.iter().zip(&times)).map(build).collect()
}
