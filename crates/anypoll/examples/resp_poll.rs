//! The [Redis protocol](protocol) served by one thread in a readiness loop.
//!
//! `resp_poll [address]`, then `redis-cli`. `resp_threads` and `resp_async` serve the same file.

#[path = "resp/protocol.rs"]
mod protocol;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use anypoll::{Events, Interest, Mode, Poller, Registered, Token, net};
use protocol::{Connection, Store};

const LISTENER: Token = Token(0);

struct Client {
    stream: Registered<TcpStream>,
    connection: Connection,
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:6379".into());
    let poller = Poller::new()?;
    let listener = TcpListener::bind(address)?;
    println!("RESP at {}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let listener = poller.register(listener, LISTENER, Interest::READABLE, Mode::Level)?;
    let (mut clients, mut store) = (HashMap::new(), Store::default());
    let (mut events, mut last_token) = (Events::default(), LISTENER);
    loop {
        poller.wait(&mut events, None)?;
        for event in &events {
            let token = event.token();
            if token == LISTENER {
                let stream = match listener.try_io(Interest::READABLE, net::accept) {
                    Ok((stream, _)) => stream,
                    Err(error) if is_passing(&error) => continue,
                    Err(error) => return Err(error),
                };
                stream.set_nodelay(true)?;
                // Never one that was there before: this batch may still speak of that.
                last_token.0 += 1;
                let stream =
                    poller.register(stream, last_token, Interest::READABLE, Mode::Level)?;
                clients.insert(last_token, Client { stream, connection: Connection::default() });
            } else if let Some(client) = clients.get_mut(&token) {
                // A client that is gone is no news.
                if !client.serve(&mut store).unwrap_or(false) {
                    clients.remove(&token);
                }
            }
        }
    }
}

/// The client did not wait, or another thread of the program was quicker.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted)
}

impl Client {
    /// Receives once and sends once, so that nobody is kept waiting by a client who is quick.
    /// Returns whether there is more to come.
    fn serve(&mut self, store: &mut Store) -> io::Result<bool> {
        let Self { stream, connection } = self;
        if connection.output().is_empty() {
            let mut buf = [0; 16 * 1024];
            match stream.read(&mut buf) {
                Ok(0) => return Ok(false),
                Ok(count) => connection.receive(&buf[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            connection.advance(store, Instant::now());
        }
        if !connection.output().is_empty() {
            match stream.write(connection.output()) {
                Ok(count) => connection.sent(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            connection.advance(store, Instant::now());
        }
        // In one direction at a time: who does not read is not read from.
        let is_sent = connection.output().is_empty();
        let interest = if is_sent { Interest::READABLE } else { Interest::WRITABLE };
        if stream.interest() != interest {
            stream.set_interest(interest)?;
        }
        Ok(!connection.is_over())
    }
}
