//! The least that one does with calloop: one socket, one wait.

use std::net::{SocketAddr, UdpSocket};

use calloop::{EventLoop, Interest, Mode, PostAction, generic::Generic};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = UdpSocket::bind(address)?;
    socket.send_to(b"x", socket.local_addr()?)?;
    let mut events = EventLoop::<bool>::try_new()?;
    let source = Generic::new(socket, Interest::READ, Mode::Edge);
    let seen = |_, _: &mut _, seen: &mut bool| {
        *seen = true;
        Ok(PostAction::Continue)
    };
    events.handle().insert_source(source, seen)?;
    let mut seen = false;
    events.dispatch(None, &mut seen)?;
    println!("{seen}");
    Ok(())
}
