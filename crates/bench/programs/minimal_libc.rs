//! The least that one does by hand, over libc: one socket, one wait.

use std::io::Error;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

fn checked(result: i32) -> Result<i32, Error> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = UdpSocket::bind(address)?;
    // SAFETY: it makes a descriptor of its own.
    let epoll = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: it has just been made.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 1 };
    // SAFETY: both are open, and the record lives as long as the call.
    checked(unsafe {
        libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event)
    })?;
    socket.send_to(b"x", socket.local_addr()?)?;
    let mut events = Vec::with_capacity(1024);
    // SAFETY: there is room for so many, and as many as it returns were written.
    unsafe {
        let count = checked(libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), 1024, -1))?;
        events.set_len(count as usize);
    }
    println!("{}", events.iter().count());
    Ok(())
}
