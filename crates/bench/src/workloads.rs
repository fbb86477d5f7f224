//! What is measured. Each works for a while and gives the seconds of one operation; setting up and
//! taking down are not in them.

use std::cell::LazyCell;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::percentile;
use crate::one_core::OneCore;
use crate::peers::{Mode, Peer, WAKE};

pub(crate) type Pipe = (PipeReader, PipeWriter);
pub(crate) type Connection = (TcpStream, TcpStream);

/// Made when the first peer needs it, and then shared by all.
pub(crate) type Shared<T> = LazyCell<Vec<T>, Box<dyn FnOnce() -> Vec<T>>>;

/// What every peer can do that has the mode.
pub(crate) enum Work {
    Chain {
        pipes: Shared<Pipe>,
        active: usize,
        writes: usize,
        mode: Mode,
    },
    Echo {
        connections: Shared<Connection>,
        exchanges: usize,
        mode: Mode,
    },
    Churn {
        connections: usize,
        mode: Mode,
    },
    Udp {
        exchanges: usize,
        mode: Mode,
    },
    Look {
        waits: usize,
    },
    Wakes {
        wakes: usize,
        waits: usize,
    },
    Storm {
        wakes: usize,
    },
    Latency {
        percent: usize,
        samples: usize,
    },
    Oneshot {
        reports: usize,
    },
    Timeout {
        timeout: Duration,
        slack: Slack,
        samples: usize,
    },
    Register {
        objects: Shared<OwnedFd>,
        mode: Mode,
    },
    /// For tools that count: one object, again and again.
    Again {
        times: usize,
        mode: Mode,
    },
    /// For tools that count: a wait for so many events at a time, each written and read.
    Rounds {
        pipes: Shared<Pipe>,
        rounds: usize,
        mode: Mode,
    },
}

impl Work {
    /// What a peer must have to take part.
    pub(crate) fn mode(&self) -> Option<Mode> {
        match *self {
            Self::Chain { mode, .. }
            | Self::Echo { mode, .. }
            | Self::Churn { mode, .. }
            | Self::Udp { mode, .. }
            | Self::Register { mode, .. }
            | Self::Again { mode, .. }
            | Self::Rounds { mode, .. } => Some(mode),
            Self::Oneshot { .. } => Some(Mode::Oneshot),
            Self::Look { .. }
            | Self::Wakes { .. }
            | Self::Storm { .. }
            | Self::Latency { .. }
            | Self::Timeout { .. } => None,
        }
    }

    pub(crate) fn run<P: Peer>(&self) -> f64 {
        match *self {
            Self::Chain { ref pipes, active, writes, mode } => {
                ring(&mut P::new(), pipes, active, writes, mode)
            }
            Self::Echo { connections: ref streams, exchanges, mode } => {
                echo::<P>(streams, exchanges, mode)
            }
            Self::Churn { connections, mode } => churn::<P>(connections, mode),
            Self::Udp { exchanges, mode } => udp::<P>(exchanges, mode),
            Self::Look { waits } => looks::<P>(waits),
            Self::Wakes { wakes: at_once, waits } => wakes::<P>(at_once, waits),
            Self::Storm { wakes } => storm::<P>(wakes),
            Self::Latency { percent, samples } => latency::<P>(percent, samples),
            Self::Oneshot { reports } => oneshot::<P>(reports),
            Self::Timeout { timeout: after, slack, samples } => timeout::<P>(after, slack, samples),
            Self::Register { ref objects, mode } => register::<P>(objects, mode),
            Self::Again { times, mode } => again::<P>(times, mode),
            Self::Rounds { ref pipes, rounds: count, mode } => rounds::<P>(pipes, count, mode),
        }
    }
}

pub(crate) fn seconds(start: Instant, operations: usize) -> f64 {
    start.elapsed().as_secs_f64() / operations as f64
}

pub(crate) fn pipes(count: usize) -> Shared<Pipe> {
    LazyCell::new(Box::new(move || make_pipes(count)))
}

/// Both ends of pipes.
pub(crate) fn objects(count: usize) -> Shared<OwnedFd> {
    let ends = |(reader, writer): Pipe| [reader.into(), writer.into()];
    LazyCell::new(Box::new(move || make_pipes(count / 2).into_iter().flat_map(ends).collect()))
}

fn make_pipes(count: usize) -> Vec<Pipe> {
    let mut pipes: Vec<_> = (0..count).map(|_| std::io::pipe().unwrap()).collect();
    for (reader, _) in &mut pipes {
        anypoll::set_nonblocking(reader, true).unwrap();
    }
    pipes
}

/// Some peers put off telling the kernel until they wait.
fn look<P: Peer>(peer: &mut P) {
    peer.wait(Some(Duration::ZERO), |_| {});
}

/// The classic: `active` bytes run along a ring of pipes, all of which are watched.
pub(crate) fn ring<P: Peer>(
    peer: &mut P,
    pipes: &[Pipe],
    active: usize,
    writes: usize,
    mode: Mode,
) -> f64 {
    let all = pipes.len();
    let mut keys = Vec::with_capacity(all);
    for (token, (reader, _)) in pipes.iter().enumerate() {
        keys.push(peer.add(reader.as_fd(), token, mode));
    }
    look(peer);
    for i in 0..active {
        (&pipes[i * (all / active)].1).write_all(b"x").unwrap();
    }
    let (mut sent, mut received) = (active, 0);
    let mut again = Vec::with_capacity(active);
    let start = Instant::now();
    while received < sent {
        peer.wait(None, |token| {
            let bytes = (&pipes[token].0).read(&mut [0; 64]).unwrap();
            received += bytes;
            for _ in 0..bytes {
                if sent < writes {
                    (&pipes[(token + 1) % all].1).write_all(b"x").unwrap();
                    sent += 1;
                }
            }
            if mode == Mode::Oneshot {
                again.push(token);
            }
        });
        for token in again.drain(..) {
            peer.rearm(&keys[token], pipes[token].0.as_fd(), token);
        }
    }
    let result = seconds(start, received);
    for (key, (reader, _)) in keys.into_iter().zip(pipes) {
        peer.remove(key, reader.as_fd());
    }
    result
}

pub(crate) fn connections(count: usize) -> Shared<Connection> {
    LazyCell::new(Box::new(move || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connection = |_| {
            let client = TcpStream::connect(address).unwrap();
            let (server, _) = listener.accept().unwrap();
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
            }
            (client, server)
        };
        (0..count).map(connection).collect()
    }))
}

/// Both ends of each connection in one poller; a message goes there and back.
fn echo<P: Peer>(streams: &[Connection], exchanges: usize, mode: Mode) -> f64 {
    let mut peer = P::new();
    let ends = || streams.iter().flat_map(|(client, server)| [client.as_fd(), server.as_fd()]);
    let keys: Vec<_> = ends().enumerate().map(|(token, end)| peer.add(end, token, mode)).collect();
    look(&mut peer);
    let message = [7; 32];
    for (client, _) in streams {
        (&mut &*client).write_all(&message).unwrap();
    }
    let (mut done, mut open) = (0, streams.len());
    let start = Instant::now();
    while open > 0 {
        peer.wait(None, |token| {
            let (client, server) = &streams[token / 2];
            let is_client = token % 2 == 0;
            let mut stream = if is_client { client } else { server };
            let Ok(n) = stream.read(&mut [0; 64]) else { return };
            assert_eq!(n, message.len());
            done += usize::from(is_client);
            if is_client && done + open > exchanges {
                open -= 1;
            } else {
                stream.write_all(&message).unwrap();
            }
        });
    }
    let result = seconds(start, done);
    for (key, end) in keys.into_iter().zip(ends()) {
        peer.remove(key, end);
    }
    result
}

/// A connection from connect to close, with one exchange.
fn churn<P: Peer>(count: usize, mode: Mode) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let mut peer = P::new();
    let listening = peer.add(listener.as_fd(), 0, mode);
    let start = Instant::now();
    for _ in 0..count {
        let mut client = TcpStream::connect(address).unwrap();
        wait_for(&mut peer, 0);
        let (mut server, _) = anypoll::net::accept(&listener).unwrap();
        let key = peer.add(server.as_fd(), 1, mode);
        client.write_all(b"request").unwrap();
        wait_for(&mut peer, 1);
        assert_eq!(server.read(&mut [0; 64]).unwrap(), 7);
        server.write_all(b"response").unwrap();
        peer.remove(key, server.as_fd());
        drop(server);
        assert_eq!(client.read(&mut [0; 64]).unwrap(), 8);
    }
    let result = seconds(start, count);
    peer.remove(listening, listener.as_fd());
    result
}

fn wait_for<P: Peer>(peer: &mut P, expected: usize) {
    let mut seen = false;
    while !seen {
        peer.wait(None, |token| seen |= token == expected);
    }
}

/// A datagram there and back.
fn udp<P: Peer>(count: usize, mode: Mode) -> f64 {
    let sockets = [(); 2].map(|()| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    });
    sockets[0].connect(sockets[1].local_addr().unwrap()).unwrap();
    sockets[1].connect(sockets[0].local_addr().unwrap()).unwrap();
    let mut peer = P::new();
    let keys = [0, 1].map(|token| peer.add(sockets[token].as_fd(), token, mode));
    let start = Instant::now();
    for _ in 0..count {
        for here in 0..2 {
            sockets[here].send(b"ping").unwrap();
            wait_for(&mut peer, 1 - here);
            assert_eq!(sockets[1 - here].recv(&mut [0; 64]).unwrap(), 4);
        }
    }
    let result = seconds(start, count);
    for (key, socket) in keys.into_iter().zip(&sockets) {
        peer.remove(key, socket.as_fd());
    }
    result
}

fn looks<P: Peer>(count: usize) -> f64 {
    let mut peer = P::new();
    let _wake = peer.waker();
    let start = Instant::now();
    for _ in 0..count {
        look(&mut peer);
    }
    seconds(start, count)
}

/// So many wakes by this thread, then the wait that reports them.
fn wakes<P: Peer>(wakes: usize, count: usize) -> f64 {
    let mut peer = P::new();
    let wake = peer.waker();
    let start = Instant::now();
    for _ in 0..count {
        for _ in 0..wakes {
            wake();
        }
        wait_for(&mut peer, WAKE);
    }
    seconds(start, count)
}

/// Four threads wake one that waits.
fn storm<P: Peer>(count: usize) -> f64 {
    const THREADS: usize = 4;
    let mut peer = P::new();
    let wake = peer.waker();
    let running = AtomicUsize::new(THREADS);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (wake, running) = (wake.clone(), &running);
            scope.spawn(move || {
                for _ in 0..count {
                    wake();
                }
                running.fetch_sub(1, Relaxed);
                wake();
            });
        }
        while running.load(Relaxed) > 0 {
            peer.wait(None, |_| {});
        }
    });
    seconds(start, THREADS * count)
}

/// The time from a wake to the return of a wait that slept: half of a round trip.
fn latency<P: Peer>(percent: usize, count: usize) -> f64 {
    let mut here = P::new();
    // mio's last waker takes a wake with it that was not seen yet: this one stays.
    let kept = here.waker();
    let to_here = kept.clone();
    let mut samples = Vec::with_capacity(count);
    let (sender, receiver) = std::sync::mpsc::channel();
    let _one_core = OneCore::keep();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut there = P::new();
            sender.send(there.waker()).unwrap();
            for _ in 0..count {
                wait_for(&mut there, WAKE);
                to_here();
            }
        });
        let to_there = receiver.recv().unwrap();
        for _ in 0..count {
            let start = Instant::now();
            to_there();
            wait_for(&mut here, WAKE);
            samples.push(start.elapsed().as_secs_f64() / 2.0);
        }
    });
    drop(kept);
    samples.sort_by(f64::total_cmp);
    percentile(&samples, percent)
}

/// One report and the arming for the next.
fn oneshot<P: Peer>(count: usize) -> f64 {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let mut peer = P::new();
    let key = peer.add(reader.as_fd(), 0, Mode::Oneshot);
    let start = Instant::now();
    for _ in 0..count {
        wait_for(&mut peer, 0);
        peer.rearm(&key, reader.as_fd(), 0);
    }
    let result = seconds(start, count);
    peer.remove(key, reader.as_fd());
    result
}

/// How late the kernel may end a thread's sleep in order to end several at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slack {
    /// Every thread's, unless it says otherwise: 50 µs.
    Usual,
    /// 1 ns, the least.
    Least,
}

/// From the call to the return of a wait in which nothing happens.
fn timeout<P: Peer>(timeout: Duration, slack: Slack, count: usize) -> f64 {
    let set_slack = |nanos: libc::c_ulong| {
        // SAFETY: it takes a number, and no memory.
        let result = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanos) };
        assert_eq!(result, 0);
    };
    let mut peer = P::new();
    let _waker = peer.waker();
    if slack == Slack::Least {
        set_slack(1);
    }
    let mut times: Vec<_> = (0..count)
        .map(|_| {
            let start = Instant::now();
            peer.wait(Some(timeout), |_| {});
            start.elapsed().as_secs_f64()
        })
        .collect();
    // Zero is the usual one again.
    set_slack(0);
    times.sort_by(f64::total_cmp);
    percentile(&times, 50)
}

/// Beginning and ending to watch an object, with a look after each.
fn register<P: Peer>(objects: &[OwnedFd], mode: Mode) -> f64 {
    let mut peer = P::new();
    let mut keys = Vec::with_capacity(objects.len());
    let start = Instant::now();
    for (token, object) in objects.iter().enumerate() {
        keys.push(peer.add(object.as_fd(), token, mode));
    }
    look(&mut peer);
    for (key, object) in keys.into_iter().zip(objects) {
        peer.remove(key, object.as_fd());
    }
    look(&mut peer);
    seconds(start, objects.len())
}

/// Beginning and ending to watch.
fn again<P: Peer>(times: usize, mode: Mode) -> f64 {
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut peer = P::new();
    let start = Instant::now();
    for token in 0..times {
        let key = peer.add(reader.as_fd(), token, mode);
        look(&mut peer);
        peer.remove(key, reader.as_fd());
    }
    seconds(start, times)
}

fn rounds<P: Peer>(pipes: &[Pipe], count: usize, mode: Mode) -> f64 {
    let mut peer = P::new();
    let add = |(token, (reader, _)): (usize, &Pipe)| peer.add(reader.as_fd(), token, mode);
    let keys: Vec<_> = pipes.iter().enumerate().map(add).collect();
    let mut events = 0;
    let start = Instant::now();
    for round in 1..=count {
        for (_, writer) in pipes {
            (&*writer).write_all(b"x").unwrap();
        }
        while events < round * pipes.len() {
            peer.wait(None, |token| {
                events += (&pipes[token].0).read(&mut [0; 1]).unwrap();
            });
        }
    }
    let result = seconds(start, events);
    for (key, (reader, _)) in keys.into_iter().zip(pipes) {
        peer.remove(key, reader.as_fd());
    }
    result
}
