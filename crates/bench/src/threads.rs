//! Several threads that wait on one poller.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use crate::peers::{Common, Mode};
use crate::workloads::{pipes, seconds};

const PIPES: usize = 64;
const ACTIVE: usize = 16;
const END: usize = PIPES;

/// Bytes run along a ring of one-shot pipes, each moved by whichever thread gets its report.
pub(crate) fn ring<P: Common>(threads: usize, writes: usize) -> f64 {
    let pipes = pipes(PIPES);
    let pipes: &[_] = &pipes;
    let (end, ended) = std::io::pipe().unwrap();
    let mut peer = P::new();
    for (token, (reader, _)) in pipes.iter().enumerate() {
        peer.add(reader.as_fd(), token, Mode::Oneshot);
    }
    // All see it, since nobody reads it.
    peer.add(end.as_fd(), END, Mode::Level);
    let (sent, received) = (AtomicUsize::new(ACTIVE), AtomicUsize::new(0));
    let begin = Barrier::new(threads + 1);
    let work = |mut peer: P| {
        let mut again = Vec::with_capacity(PIPES);
        let mut is_over = false;
        begin.wait();
        while !is_over {
            peer.wait(None, |token| {
                if token == END {
                    is_over = true;
                    return;
                }
                let bytes = (&pipes[token].0).read(&mut [0; 64]).unwrap();
                for _ in 0..bytes {
                    if sent.fetch_add(1, Relaxed) < writes {
                        (&pipes[(token + 1) % PIPES].1).write_all(b"x").unwrap();
                    }
                }
                if received.fetch_add(bytes, Relaxed) + bytes == writes {
                    (&ended).write_all(b"x").unwrap();
                }
                again.push(token);
            });
            for token in again.drain(..) {
                peer.rearm(&(), pipes[token].0.as_fd(), token);
            }
        }
    };
    let start = thread::scope(|scope| {
        for _ in 0..threads {
            let peer = peer.another();
            scope.spawn(|| work(peer));
        }
        for i in 0..ACTIVE {
            (&pipes[i * (PIPES / ACTIVE)].1).write_all(b"x").unwrap();
        }
        let start = Instant::now();
        begin.wait();
        start
    });
    seconds(start, writes)
}
