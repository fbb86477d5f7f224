//! The least that one does by hand, over what anypoll stands on: one socket, one wait.

use std::net::{SocketAddr, UdpSocket};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = UdpSocket::bind(address)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, &socket, epoll::EventData::new_u64(1), flags)?;
    socket.send_to(b"x", socket.local_addr()?)?;
    let mut events = Vec::with_capacity(1024);
    epoll::wait(&epoll, spare_capacity(&mut events), None)?;
    println!("{}", events.iter().count());
    Ok(())
}
