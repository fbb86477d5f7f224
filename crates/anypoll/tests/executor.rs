//! The example of an async executor, with clients that talk all at once, on every backend.

#![cfg(any(unix, windows))]

#[path = "../examples/executor/main.rs"]
#[allow(dead_code, reason = "a test has no main")]
mod executor;
#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use anypoll::Backend;
use executor::{Executor, serve};
use support::{PATIENCE, on_every_backend, poller};

on_every_backend! {
    many_clients_at_once
    an_idle_connection_is_closed
    it_ends_with_its_tasks
}

/// A listener, and what makes a client of it.
fn listen() -> (TcpListener, impl Fn() -> TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = move || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    (listener, connect)
}

/// Serves until the test ends.
fn begin(backend: Backend, listener: TcpListener, idle: Duration) {
    thread::spawn(move || {
        let executor = Executor::new(poller(backend));
        executor.spawn(serve(executor.clone(), listener, idle));
        executor.run().unwrap();
    });
}

fn many_clients_at_once(backend: Backend) {
    const LARGE: usize = 1 << 20;
    let (listener, connect) = listen();
    begin(backend, listener, Duration::from_secs(60));
    let silent = connect();
    thread::scope(|scope| {
        for client in 0..20 {
            let mut stream = connect();
            scope.spawn(move || {
                let message: Vec<u8> =
                    (0..LARGE).map(|n| u8::try_from((n + client) % 251).unwrap()).collect();
                let mut reader = stream.try_clone().unwrap();
                let reading = thread::spawn(move || {
                    let mut echo = vec![0; LARGE];
                    reader.read_exact(&mut echo).unwrap();
                    echo
                });
                stream.write_all(&message).unwrap();
                assert!(reading.join().unwrap() == message);
            });
        }
    });
    drop(silent);
}

fn an_idle_connection_is_closed(backend: Backend) {
    let idle = Duration::from_millis(50);
    let (listener, connect) = listen();
    let (mut first, mut second) = (connect(), connect());
    // Sent before it can be idle.
    first.write_all(b"x").unwrap();
    let start = Instant::now();
    begin(backend, listener, idle);
    let mut received = Vec::new();
    first.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"x");
    assert!(start.elapsed() >= idle);
    assert_eq!(second.read(&mut [0]).unwrap(), 0);
}

fn it_ends_with_its_tasks(backend: Backend) {
    let executor = Executor::new(poller(backend));
    executor.run().unwrap();
    let done = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let done = done.clone();
        executor.spawn(async move { done.set(done.get() + 1) });
    }
    executor.run().unwrap();
    assert_eq!(done.get(), 3);
}
