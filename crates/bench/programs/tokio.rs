//! tokio's part of the benchmarks: its arguments are `WORKLOAD CONNECTIONS THREADS OPERATIONS`, and it
//! prints the seconds of one operation. Built twice, over the published mio and over ours.

use std::future::Future;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

fn main() {
    let mut words = std::env::args().skip(1);
    let workload = words.next().unwrap();
    let mut number = || words.next().unwrap().parse::<usize>().unwrap();
    let (connections, threads, operations) = (number(), number(), number());
    let seconds = match workload.as_str() {
        "echo" => run(threads, echo(connections, operations)),
        "churn" => run(threads, churn(connections, operations)),
        "wakes" => wakes(operations),
        _ => panic!("no such workload: {workload}"),
    };
    println!("{seconds}");
}

fn run(threads: usize, work: impl Future<Output = f64> + Send + 'static) -> f64 {
    let runtime = if threads == 1 {
        Builder::new_current_thread().enable_all().build()
    } else {
        Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    };
    let runtime = runtime.unwrap();
    runtime.block_on(async { tokio::spawn(work).await.unwrap() })
}

async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn exchange(stream: &mut TcpStream) {
    let mut buffer = [7; 32];
    stream.write_all(&buffer).await.unwrap();
    stream.read_exact(&mut buffer).await.unwrap();
}

async fn echo(connections: usize, operations: usize) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener));
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        exchange(&mut stream).await;
        clients.push(stream);
    }
    let each = operations.div_ceil(connections);
    let start = Instant::now();
    let clients = clients.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            for _ in 0..each {
                exchange(&mut stream).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let seconds = start.elapsed().as_secs_f64() / (each * connections) as f64;
    server.abort();
    seconds
}

/// So many clients at a time, each of which connects, exchanges and closes.
async fn churn(clients: usize, operations: usize) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener));
    let each = operations.div_ceil(clients);
    let start = Instant::now();
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..each {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    exchange(&mut stream).await;
                }
            })
        })
        .collect();
    let operations = each * clients.len();
    for client in clients {
        client.await.unwrap();
    }
    let seconds = start.elapsed().as_secs_f64() / operations as f64;
    server.abort();
    seconds
}

/// A message between two runtimes that each sleep on a thread of their own.
fn wakes(operations: usize) -> f64 {
    let (to_there, mut from_here) = mpsc::unbounded_channel::<()>();
    let (to_here, mut from_there) = mpsc::unbounded_channel::<()>();
    let runtime = || -> Runtime { Builder::new_current_thread().enable_all().build().unwrap() };
    let there = std::thread::spawn(move || {
        runtime().block_on(async {
            while from_here.recv().await.is_some() {
                to_here.send(()).unwrap();
            }
        });
    });
    let seconds = runtime().block_on(async {
        let start = Instant::now();
        for _ in 0..operations {
            to_there.send(()).unwrap();
            from_there.recv().await.unwrap();
        }
        start.elapsed().as_secs_f64() / (2 * operations) as f64
    });
    drop(to_there);
    there.join().unwrap();
    seconds
}
