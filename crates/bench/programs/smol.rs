//! smol's part of the benchmarks: its arguments are `WORKLOAD CONNECTIONS THREADS OPERATIONS`, and it
//! prints the seconds of one operation. Built twice, over the published polling and over ours.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use smol::channel;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, future};

fn main() {
    let mut words = std::env::args().skip(1);
    let workload = words.next().unwrap();
    let mut number = || words.next().unwrap().parse::<usize>().unwrap();
    let (connections, threads, operations) = (number(), number(), number());
    let seconds = match workload.as_str() {
        "echo" => {
            run(threads, async move |executor| echo(&executor, connections, operations).await)
        }
        "churn" => {
            run(threads, async move |executor| churn(&executor, connections, operations).await)
        }
        "wakes" => wakes(operations),
        _ => panic!("no such workload: {workload}"),
    };
    println!("{seconds}");
}

fn run(threads: usize, work: impl AsyncFnOnce(Arc<Executor<'static>>) -> f64) -> f64 {
    let executor = Arc::new(Executor::new());
    let (running, ended) = channel::bounded::<()>(1);
    let helpers: Vec<_> = (1..threads)
        .map(|_| {
            let (executor, ended) = (executor.clone(), ended.clone());
            std::thread::spawn(move || future::block_on(executor.run(ended.recv())))
        })
        .collect();
    let seconds = smol::block_on(executor.run(work(executor.clone())));
    drop(running);
    for helper in helpers {
        let _ = helper.join().unwrap();
    }
    seconds
}

async fn serve(executor: Arc<Executor<'static>>, listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let answer = async move {
            let mut buffer = [0; 64];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    break;
                }
            }
        };
        executor.spawn(answer).detach();
    }
}

async fn exchange(stream: &mut TcpStream) {
    let mut buffer = [7; 32];
    stream.write_all(&buffer).await.unwrap();
    stream.read_exact(&mut buffer).await.unwrap();
}

async fn echo(executor: &Arc<Executor<'static>>, connections: usize, operations: usize) -> f64 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = executor.spawn(serve(executor.clone(), listener));
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
        executor.spawn(async move {
            for _ in 0..each {
                exchange(&mut stream).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await;
    }
    let seconds = start.elapsed().as_secs_f64() / (each * connections) as f64;
    server.cancel().await;
    seconds
}

/// So many clients at a time, each of which connects, exchanges and closes.
async fn churn(executor: &Arc<Executor<'static>>, clients: usize, operations: usize) -> f64 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = executor.spawn(serve(executor.clone(), listener));
    let each = operations.div_ceil(clients);
    let start = Instant::now();
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            executor.spawn(async move {
                for _ in 0..each {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    exchange(&mut stream).await;
                }
            })
        })
        .collect();
    let operations = each * clients.len();
    for client in clients {
        client.await;
    }
    let seconds = start.elapsed().as_secs_f64() / operations as f64;
    server.cancel().await;
    seconds
}

/// A message between two threads: one sleeps in the poller, which is the process's, the other beside it.
fn wakes(operations: usize) -> f64 {
    let (to_there, from_here) = channel::unbounded::<()>();
    let (to_here, from_there) = channel::unbounded::<()>();
    let there = std::thread::spawn(move || {
        smol::block_on(async {
            while from_here.recv().await.is_ok() {
                to_here.send(()).await.unwrap();
            }
        });
    });
    let seconds = smol::block_on(async {
        let start = Instant::now();
        for _ in 0..operations {
            to_there.send(()).await.unwrap();
            from_there.recv().await.unwrap();
        }
        start.elapsed().as_secs_f64() / (2 * operations) as f64
    });
    drop(to_there);
    there.join().unwrap();
    seconds
}
