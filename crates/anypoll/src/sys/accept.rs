//! Sockets that are made non-blocking by a call of its own.

use std::io;

use socket2::{Domain, SockAddr, Socket, Type};

pub(crate) fn stream_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream, peer))
}
