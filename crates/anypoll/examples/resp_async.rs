//! The [Redis protocol](protocol) served by tasks, over the executor of the example of that name.
//!
//! `resp_async [address]`, then `redis-cli`. `resp_threads` and `resp_poll` serve the same file.

#[path = "resp/protocol.rs"]
mod protocol;
#[path = "executor/runtime.rs"]
#[allow(dead_code, reason = "it can more than is needed here")]
mod runtime;

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Instant;

use anypoll::{Interest, Poller, net};
use protocol::{Connection, Store};
use runtime::Executor;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:6379".into());
    let listener = TcpListener::bind(address)?;
    println!("RESP at {}", listener.local_addr()?);
    let executor = Executor::new(Poller::new()?);
    let accepting = accept(executor.clone(), listener);
    executor.spawn(async { accepting.await.expect("the listener can be used") });
    executor.run()
}

async fn accept(executor: Rc<Executor>, listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = executor.register(listener)?;
    let store = Rc::<RefCell<Store>>::default();
    loop {
        let stream = match listener.io(Interest::READABLE, net::accept).await {
            Ok((stream, _)) => stream,
            // The client did not wait.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        let serving = serve(executor.clone(), stream, store.clone());
        // A client that is gone is no news.
        executor.spawn(async { drop(serving.await) });
    }
}

async fn serve(
    executor: Rc<Executor>,
    stream: TcpStream,
    store: Rc<RefCell<Store>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = executor.register(stream)?;
    let (mut connection, mut buf) = (Connection::default(), [0; 16 * 1024]);
    loop {
        connection.advance(&mut store.borrow_mut(), Instant::now());
        if !connection.output().is_empty() {
            let write = |mut stream: &TcpStream| stream.write(connection.output());
            let count = stream.io(Interest::WRITABLE, write).await?;
            connection.sent(count);
        } else if connection.is_over() {
            return Ok(());
        } else {
            match stream.io(Interest::READABLE, |mut stream| stream.read(&mut buf)).await? {
                0 => return Ok(()),
                count => connection.receive(&buf[..count]),
            }
        }
    }
}
