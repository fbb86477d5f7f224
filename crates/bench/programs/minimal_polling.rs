//! The least that one does with polling: one socket, one wait.

use std::net::{SocketAddr, UdpSocket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = UdpSocket::bind(address)?;
    let poller = polling::Poller::new()?;
    // SAFETY: the poller, dropped first, watches it no longer than it lives.
    unsafe { poller.add(&socket, polling::Event::readable(1))? };
    socket.send_to(b"x", socket.local_addr()?)?;
    let mut events = polling::Events::new();
    poller.wait(&mut events, None)?;
    println!("{}", events.iter().count());
    poller.delete(&socket)?;
    Ok(())
}
