//! What only Linux has: names without a path, urgent data as an interest, queues that say that they are
//! full.

use std::io::ErrorKind;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use anypoll::Backend;
use mio::Interest;
use mio::net::{UnixDatagram, UnixListener, UnixStream};
use socket2::SockRef;

use crate::edges::{foreign_write, rearmed_by};
use crate::flags::check;
use crate::support::{on_every_backend, tcp};
use crate::unix::free_path;

const W: Interest = Interest::WRITABLE;

on_every_backend! {
    urgent_data
    datagrams_that_find_no_room
}

fn urgent_data(backend: Backend) {
    let (peer, mut stream) = tcp();
    SockRef::from(&peer).send_out_of_band(b"!").unwrap();
    check(backend, &mut stream, Interest::PRIORITY, "readable priority");
    check(backend, &mut stream, W | Interest::PRIORITY, "readable writable priority");
}

fn datagrams_that_find_no_room(backend: Backend) {
    let (socket, peer) = UnixDatagram::pair().unwrap();
    let feed = || while peer.recv(&mut [0; 4096]).is_ok() {};
    rearmed_by(
        backend,
        socket,
        W,
        feed,
        &[&|s: &UnixDatagram| s.send(&[0; 4096]).map(drop), &|s| s.try_io(|| foreign_write(s))],
    );

    let path = free_path("writing", backend);
    let peer = UnixDatagram::bind(&path).unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(&path).unwrap();
    let feed = || while peer.recv(&mut [0; 4096]).is_ok() {};
    rearmed_by(
        backend,
        socket,
        W,
        feed,
        &[&|s: &UnixDatagram| s.send_to(&[0; 4096], &path).map(drop)],
    );
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn unix_by_name() {
    let name = format!("mio-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let client = UnixStream::connect_addr(&address).unwrap();
    assert_eq!(client.peer_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
    assert!(listener.accept().unwrap().1.is_unnamed());

    // A client that has a name of its own.
    let own = SocketAddr::from_abstract_name(format!("{name}-own")).unwrap();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let as_path = |name: &str| socket2::SockAddr::unix(format!("\0{name}")).unwrap();
    socket.bind(&as_path(&format!("{name}-own"))).unwrap();
    socket.connect(&as_path(&name)).unwrap();
    let (_server, peer) = listener.accept().unwrap();
    assert_eq!(peer.as_abstract_name(), own.as_abstract_name());

    let _datagram = UnixDatagram::bind_addr(&own).unwrap();
    assert_eq!(UnixDatagram::bind_addr(&own).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_full_unix_queue_is_said_at_once() {
    let path = free_path("full", 0);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // The lowest limit there is.
    SockRef::from(&listener).listen(0).unwrap();
    let mut clients = Vec::new();
    let error = loop {
        match UnixStream::connect(&path) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(!clients.is_empty());
    std::fs::remove_file(&path).unwrap();
}
