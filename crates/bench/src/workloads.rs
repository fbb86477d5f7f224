//! What is measured. Each function sets up, works for a while, and returns the seconds of one
//! operation; setting up and taking down are not in them.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::percentile;
use crate::peers::{Mode, Peer, WAKE};

pub(crate) fn seconds(start: Instant, operations: usize) -> f64 {
    start.elapsed().as_secs_f64() / operations as f64
}

fn pipes(count: usize) -> Vec<(PipeReader, PipeWriter)> {
    let mut pipes: Vec<_> = (0..count).map(|_| std::io::pipe().unwrap()).collect();
    for (reader, _) in &mut pipes {
        anypoll::set_nonblocking(reader, true).unwrap();
    }
    pipes
}

/// The classic: `active` bytes run along a ring of `idle` pipes.
pub(crate) fn chain<P: Peer>(idle: usize, active: usize, writes: usize, mode: Mode) -> f64 {
    let pipes = pipes(idle);
    let mut peer = P::new();
    for (token, (reader, _)) in pipes.iter().enumerate() {
        peer.add(reader.as_fd(), token, mode);
    }
    for i in 0..active {
        (&pipes[i * (idle / active)].1).write_all(b"x").unwrap();
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
                    (&pipes[(token + 1) % idle].1).write_all(b"x").unwrap();
                    sent += 1;
                }
            }
            if mode == Mode::Oneshot {
                again.push(token);
            }
        });
        for token in again.drain(..) {
            peer.rearm(pipes[token].0.as_fd(), token);
        }
    }
    let result = seconds(start, received);
    drop(peer);
    result
}

fn connections(count: usize) -> Vec<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut made = Vec::with_capacity(count);
    for _ in 0..count {
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
        }
        made.push((client, server));
    }
    made
}

/// Both ends of each connection in one poller; a message goes there and back.
pub(crate) fn echo<P: Peer>(count: usize, exchanges: usize, mode: Mode) -> f64 {
    let streams = connections(count);
    let mut peer = P::new();
    for (i, (client, server)) in streams.iter().enumerate() {
        peer.add(client.as_fd(), 2 * i, mode);
        peer.add(server.as_fd(), 2 * i + 1, mode);
    }
    let message = [7; 32];
    for (client, _) in &streams {
        (&mut &*client).write_all(&message).unwrap();
    }
    let (mut done, mut open) = (0, count);
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
    drop(peer);
    result
}

/// A connection from connect to close, with one exchange.
pub(crate) fn churn<P: Peer>(count: usize, mode: Mode) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let mut peer = P::new();
    peer.add(listener.as_fd(), 0, mode);
    let start = Instant::now();
    for _ in 0..count {
        let mut client = TcpStream::connect(address).unwrap();
        wait_for(&mut peer, 0);
        let (mut server, _) = anypoll::net::accept(&listener).unwrap();
        peer.add(server.as_fd(), 1, mode);
        client.write_all(b"request").unwrap();
        wait_for(&mut peer, 1);
        assert_eq!(server.read(&mut [0; 64]).unwrap(), 7);
        server.write_all(b"response").unwrap();
        peer.remove(server.as_fd());
        drop(server);
        assert_eq!(client.read(&mut [0; 64]).unwrap(), 8);
    }
    seconds(start, count)
}

fn wait_for<P: Peer>(peer: &mut P, expected: usize) {
    let mut seen = false;
    while !seen {
        peer.wait(None, |token| seen |= token == expected);
    }
}

/// A datagram there and back.
pub(crate) fn udp<P: Peer>(count: usize, mode: Mode) -> f64 {
    let sockets = [(); 2].map(|()| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    });
    sockets[0].connect(sockets[1].local_addr().unwrap()).unwrap();
    sockets[1].connect(sockets[0].local_addr().unwrap()).unwrap();
    let mut peer = P::new();
    for (token, socket) in sockets.iter().enumerate() {
        peer.add(socket.as_fd(), token, mode);
    }
    let start = Instant::now();
    for _ in 0..count {
        for here in 0..2 {
            sockets[here].send(b"ping").unwrap();
            wait_for(&mut peer, 1 - here);
            assert_eq!(sockets[1 - here].recv(&mut [0; 64]).unwrap(), 4);
        }
    }
    let result = seconds(start, count);
    drop(peer);
    result
}

/// So many wakes by this thread, then the wait that reports them.
pub(crate) fn wakes<P: Peer>(wakes: usize, count: usize) -> f64 {
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
pub(crate) fn storm<P: Peer>(count: usize) -> f64 {
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
pub(crate) fn latency<P: Peer>(percent: usize) -> f64 {
    let count = 1_000;
    let mut here = P::new();
    let to_here = here.waker();
    let mut samples = Vec::with_capacity(count);
    let (sender, receiver) = std::sync::mpsc::channel();
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
    samples.sort_by(f64::total_cmp);
    percentile(&samples, percent)
}

/// One report and the arming for the next.
pub(crate) fn oneshot<P: Peer>(count: usize) -> f64 {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let mut peer = P::new();
    peer.add(reader.as_fd(), 0, Mode::Oneshot);
    let start = Instant::now();
    for _ in 0..count {
        wait_for(&mut peer, 0);
        peer.rearm(reader.as_fd(), 0);
    }
    let result = seconds(start, count);
    drop(peer);
    result
}

/// How much of the time beyond a timeout passes before the wait returns: 1 is exact.
pub(crate) fn timeout<P: Peer>(timeout: Duration, count: usize) -> f64 {
    let mut peer = P::new();
    let _waker = peer.waker();
    let mut late: Vec<_> = (0..count)
        .map(|_| {
            let start = Instant::now();
            peer.wait(Some(timeout), |_| {});
            start.elapsed().as_secs_f64() / timeout.as_secs_f64()
        })
        .collect();
    late.sort_by(f64::total_cmp);
    percentile(&late, 50)
}

/// Beginning and ending to watch an object.
pub(crate) fn register<P: Peer>(count: usize, mode: Mode) -> f64 {
    let objects: Vec<OwnedFd> =
        pipes(count / 2).into_iter().flat_map(|(r, w)| [r.into(), w.into()]).collect();
    let mut peer = P::new();
    let start = Instant::now();
    for (token, object) in objects.iter().enumerate() {
        peer.add(object.as_fd(), token, mode);
    }
    for object in &objects {
        peer.remove(object.as_fd());
    }
    seconds(start, objects.len())
}

/// For counting tools: a wait for `sources` events at a time, each written and read.
pub(crate) fn counted_loop<P: Peer>(sources: usize, rounds: usize) -> usize {
    let pipes = pipes(sources);
    let mut peer = P::new();
    for (token, (reader, _)) in pipes.iter().enumerate() {
        peer.add(reader.as_fd(), token, Mode::Edge);
    }
    let mut events = 0;
    for _ in 0..rounds {
        for (_, writer) in &pipes {
            (&*writer).write_all(b"x").unwrap();
        }
        peer.wait(None, |token| {
            events += (&pipes[token].0).read(&mut [0; 1]).unwrap();
        });
    }
    assert_eq!(events, sources * rounds);
    drop(peer);
    events
}
