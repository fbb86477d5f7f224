//! The least that one does with mio: one socket, one wait.

use std::net::SocketAddr;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut poll = mio::Poll::new()?;
    let mut socket = mio::net::UdpSocket::bind(address)?;
    poll.registry().register(&mut socket, mio::Token(1), mio::Interest::READABLE)?;
    socket.send_to(b"x", socket.local_addr()?)?;
    let mut events = mio::Events::with_capacity(1024);
    poll.poll(&mut events, None)?;
    println!("{}", events.iter().count());
    Ok(())
}
