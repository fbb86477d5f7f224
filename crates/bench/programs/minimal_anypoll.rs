//! The least that one does with anypoll: one socket, one wait.

use std::net::{SocketAddr, UdpSocket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = UdpSocket::bind(address)?;
    let poller = anypoll::Poller::new()?;
    let interest = anypoll::Interest::READABLE;
    let socket = poller.register(socket, anypoll::Token(1), interest, anypoll::Mode::Edge)?;
    socket.get_ref().send_to(b"x", socket.get_ref().local_addr()?)?;
    let mut events = anypoll::Events::default();
    poller.wait(&mut events, None)?;
    println!("{}", events.iter().count());
    Ok(())
}
