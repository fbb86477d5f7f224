//! An echo server over an [executor](runtime) of 160 lines, that closes idle connections.
//!
//! Try it: `cargo run --example executor`, then `nc` to the address that it prints.

mod runtime;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use anypoll::{Interest, Poller, net};
pub(crate) use runtime::Executor;

async fn echo(executor: Rc<Executor>, stream: TcpStream, idle: Duration) -> io::Result<()> {
    let stream = executor.register(stream)?;
    let mut buf = [0; 4096];
    loop {
        let read = stream.io(Interest::READABLE, |mut stream| stream.read(&mut buf));
        let Some(count) = executor.timeout(idle, read).await else { return Ok(()) };
        let mut rest = &buf[..count?];
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let count = stream.io(Interest::WRITABLE, |mut stream| stream.write(rest)).await?;
            rest = &rest[count..];
        }
    }
}

/// Serves for ever.
pub(crate) async fn serve(executor: Rc<Executor>, listener: TcpListener, idle: Duration) {
    listener.set_nonblocking(true).unwrap();
    let listener = executor.register(listener).unwrap();
    loop {
        let (stream, _) = listener.io(Interest::READABLE, net::accept).await.unwrap();
        let echo = echo(executor.clone(), stream, idle);
        executor.spawn(async { drop(echo.await) });
    }
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("echo on {}", listener.local_addr()?);
    let executor = Executor::new(Poller::new()?);
    executor.spawn(serve(executor.clone(), listener, Duration::from_secs(30)));
    executor.run()
}
