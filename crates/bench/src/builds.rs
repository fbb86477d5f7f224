//! What a peer costs before it runs: a program that watches one socket, built from nothing.

use std::fs;
use std::time::Instant;

use crate::measure::{Effort, Spread, spread};
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

const PEERS: [(&str, &str, &str); 4] = [
    (
        Anypoll::NAME,
        "",
        "let socket = UdpSocket::bind(\"127.0.0.1:0\")?;
    let poller = anypoll::Poller::new()?;
    let interest = anypoll::Interest::READABLE;
    let socket = poller.register(socket, anypoll::Token(1), interest, anypoll::Mode::Edge)?;
    socket.get_ref().send_to(b\"x\", socket.get_ref().local_addr()?)?;
    let mut events = anypoll::Events::default();
    poller.wait(&mut events, None)?;
    println!(\"{}\", events.iter().count());",
    ),
    (
        Mio::NAME,
        "mio = { version = '1.2', features = ['net', 'os-poll'] }",
        "let mut poll = mio::Poll::new()?;
    let mut socket = mio::net::UdpSocket::bind(\"127.0.0.1:0\".parse().unwrap())?;
    poll.registry().register(&mut socket, mio::Token(1), mio::Interest::READABLE)?;
    socket.send_to(b\"x\", socket.local_addr()?)?;
    let mut events = mio::Events::with_capacity(1024);
    poll.poll(&mut events, None)?;
    println!(\"{}\", events.iter().count());",
    ),
    (
        Polling::NAME,
        "polling = '3.11'",
        "let socket = UdpSocket::bind(\"127.0.0.1:0\")?;
    let poller = polling::Poller::new()?;
    unsafe { poller.add(&socket, polling::Event::readable(1))? };
    socket.send_to(b\"x\", socket.local_addr()?)?;
    let mut events = polling::Events::new();
    poller.wait(&mut events, None)?;
    println!(\"{}\", events.iter().count());
    poller.delete(&socket)?;",
    ),
    (
        Calloop::NAME,
        "calloop = '0.14'",
        "use calloop::{EventLoop, Interest, Mode, PostAction, generic::Generic};
    let socket = UdpSocket::bind(\"127.0.0.1:0\")?;
    socket.send_to(b\"x\", socket.local_addr()?)?;
    let mut events = EventLoop::<bool>::try_new()?;
    let source = Generic::new(socket, Interest::READ, Mode::Edge);
    let seen = |_, _: &mut _, seen: &mut bool| {
        *seen = true;
        Ok(PostAction::Continue)
    };
    events.handle().insert_source(source, seen)?;
    let mut seen = false;
    events.dispatch(None, &mut seen)?;
    println!(\"{seen}\");",
    ),
];

pub(crate) fn measure(effort: &Effort) -> Result<Vec<Build>, String> {
    let ours = format!("anypoll = {{ path = '{}' }}", crates().join("anypoll").display());
    let package = |(peer, dependency, body): &(&str, &str, &str)| {
        let dependency = if dependency.is_empty() { &*ours } else { dependency };
        let import =
            if body.contains(" UdpSocket::") { "use std::net::UdpSocket;\n\n" } else { "" };
        let source = format!(
            "{import}fn main() -> Result<(), Box<dyn std::error::Error>> {{\n    {body}\n    Ok(())\n}}\n"
        );
        let tail = format!("[dependencies]\n{dependency}\n\n[profile.release]\nstrip = true\n");
        let package = Package::write(&format!("bench-minimal/{peer}"), &tail, &source);
        package.cargo(&["fetch", "--quiet"])?;
        Ok::<_, String>(package)
    };
    let packages = PEERS.iter().map(package).collect::<Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::new(); packages.len()];
    let mut failed = None;
    effort.rounds(|round| {
        for i in 0..packages.len() {
            let which = (i + round) % packages.len();
            packages[which].forget_what_was_built();
            let start = Instant::now();
            let built = packages[which].cargo(&["build", "--quiet", "--release", "--offline"]);
            times[which].push(start.elapsed().as_secs_f64());
            failed = failed.take().or(built.err());
        }
    });
    if let Some(error) = failed {
        return Err(error);
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
