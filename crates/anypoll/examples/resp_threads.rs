//! The [Redis protocol](protocol) served by blocking threads, one a connection.
//!
//! `resp_threads [address]`, then `redis-cli`. `resp_poll` and `resp_async` serve the same file.

#[path = "resp/protocol.rs"]
mod protocol;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use protocol::{Connection, Store};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:6379".into());
    let listener = TcpListener::bind(address)?;
    println!("RESP at {}", listener.local_addr()?);
    let store = Arc::<Mutex<Store>>::default();
    for stream in listener.incoming() {
        let (stream, store) = (stream?, store.clone());
        // A client that is gone is no news.
        thread::spawn(move || drop(serve(&stream, &store)));
    }
    Ok(())
}

fn serve(mut stream: &TcpStream, store: &Mutex<Store>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut connection, mut buf) = (Connection::default(), [0; 16 * 1024]);
    loop {
        connection.advance(&mut store.lock().expect("no request panics"), Instant::now());
        if !connection.output().is_empty() {
            let count = stream.write(connection.output())?;
            connection.sent(count);
        } else if connection.is_over() {
            return Ok(());
        } else {
            match stream.read(&mut buf)? {
                0 => return Ok(()),
                count => connection.receive(&buf[..count]),
            }
        }
    }
}
