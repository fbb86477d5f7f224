//! The public face, as types: what is missing here does not compile.

use std::fmt::Debug;
use std::io::{Read, Result, Write};
use std::net::{self, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::{
    AsFd as AsHandle, AsRawFd as AsRaw, FromRawFd as FromRaw, IntoRawFd as IntoRaw,
    OwnedFd as Owned,
};
#[cfg(windows)]
use std::os::windows::io::{
    AsRawSocket as AsRaw, AsSocket as AsHandle, FromRawSocket as FromRaw, IntoRawSocket as IntoRaw,
    OwnedSocket as Owned,
};
use std::time::Duration;

use mio::event::{Event, Iter, Source};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Registry, Token, Waker};

fn shared<T: Send + Sync + Debug + 'static>() {}

fn handle<T>()
where
    T: Source + AsHandle + AsRaw + IntoRaw + FromRaw + From<Owned>,
    T: Send + Sync + Debug + 'static,
    Owned: From<T>,
{
}

/// A type that is the std type `S` inside, and converts from and into it.
fn socket<T, S: From<T>>(_from_std: fn(S) -> T) {}

fn reads<T: Read>()
where
    for<'a> &'a T: Read,
{
}

fn writes<T: Write>()
where
    for<'a> &'a T: Write,
{
}

#[test]
fn types() {
    shared::<Poll>();
    shared::<Registry>();
    shared::<Waker>();
    shared::<Events>();
    shared::<Event>();
    shared::<Token>();
    shared::<Interest>();
    shared::<Iter<'static>>();
    handle::<TcpListener>();
    socket(TcpListener::from_std as fn(net::TcpListener) -> _);
    handle::<TcpStream>();
    socket(TcpStream::from_std as fn(net::TcpStream) -> _);
    handle::<UdpSocket>();
    socket(UdpSocket::from_std as fn(net::UdpSocket) -> _);
    reads::<TcpStream>();
    writes::<TcpStream>();
}

#[test]
fn traits() {
    fn token<T: Copy + Ord + std::hash::Hash + Into<usize>>() {}
    token::<Token>();
    fn interest<T: Copy + Ord + std::ops::BitOr<Output = T> + std::ops::BitOrAssign>() {}
    interest::<Interest>();
    assert_eq!(size_of::<Option<Interest>>(), 1);
    assert_eq!(size_of::<Event>(), size_of::<anypoll::Event>());
    fn source<T: Source + ?Sized>() {}
    source::<dyn Source>();
    source::<Box<dyn Source>>();
    source::<Box<TcpStream>>();
    fn clones<T: Clone>() {}
    clones::<Event>();
    clones::<Iter<'_>>();
    fn iterates<'a, T: IntoIterator<Item = &'a Event, IntoIter = Iter<'a>>>() {}
    iterates::<&Events>();
}

type Get<S, T> = fn(&S) -> Result<T>;
type Set<S, T> = fn(&S, T) -> Result<()>;
type Fill<S, T> = fn(&S, &mut [u8]) -> Result<T>;
type Call = fn() -> Result<u8>;

#[test]
fn core_methods() {
    let _: fn() -> Result<Poll> = Poll::new;
    let _: fn(&Poll) -> &Registry = Poll::registry;
    let _: fn(&mut Poll, &mut Events, Option<Duration>) -> Result<()> = Poll::poll;
    type Register<S> = fn(&Registry, &mut S, Token, Interest) -> Result<()>;
    let _: Register<dyn Source> = Registry::register::<dyn Source>;
    let _: Register<dyn Source> = Registry::reregister::<dyn Source>;
    let _: fn(&Registry, &mut dyn Source) -> Result<()> = |r, s| r.deregister(s);
    let _: Get<Registry, Registry> = Registry::try_clone;
    let _: fn(&Registry, Token) -> Result<Waker> = Waker::new;
    let _: Get<Waker, ()> = Waker::wake;
    const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
    const _: () = assert!(BOTH.is_readable() && BOTH.is_writable() && !BOTH.is_priority());
    const _: () = assert!(!BOTH.is_aio() && !BOTH.is_lio());
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const _: () = assert!(Interest::PRIORITY.is_priority());
    let _: fn(Interest, Interest) -> Option<Interest> = Interest::remove;
    let _: fn(usize) -> Events = Events::with_capacity;
    let _: fn(&Events) -> usize = Events::capacity;
    let _: fn(&Events) -> bool = Events::is_empty;
    let _: fn(&Events) -> Iter<'_> = Events::iter;
    let _: fn(&mut Events) = Events::clear;
    let _: fn(&Event) -> Token = Event::token;
}

#[test]
fn tcp_methods() {
    type Listener = TcpListener;
    let _: fn(SocketAddr) -> Result<Listener> = Listener::bind;
    let _: Get<Listener, (TcpStream, SocketAddr)> = Listener::accept;
    let _: Get<Listener, SocketAddr> = Listener::local_addr;
    let _: Set<Listener, u32> = Listener::set_ttl;
    let _: Get<Listener, u32> = Listener::ttl;
    let _: Get<Listener, Option<std::io::Error>> = Listener::take_error;
    type Stream = TcpStream;
    let _: fn(SocketAddr) -> Result<Stream> = Stream::connect;
    let _: Get<Stream, SocketAddr> = Stream::peer_addr;
    let _: Get<Stream, SocketAddr> = Stream::local_addr;
    let _: Set<Stream, Shutdown> = Stream::shutdown;
    let _: Set<Stream, bool> = Stream::set_nodelay;
    let _: Get<Stream, bool> = Stream::nodelay;
    let _: Set<Stream, u32> = Stream::set_ttl;
    let _: Get<Stream, u32> = Stream::ttl;
    let _: Get<Stream, Option<std::io::Error>> = Stream::take_error;
    let _: Fill<Stream, usize> = Stream::peek;
    let _: fn(&Stream, Call) -> Result<u8> = Stream::try_io;
}

#[test]
fn udp_methods() {
    type Udp = UdpSocket;
    let _: fn(SocketAddr) -> Result<Udp> = Udp::bind;
    let _: Get<Udp, SocketAddr> = Udp::local_addr;
    let _: Get<Udp, SocketAddr> = Udp::peer_addr;
    let _: Set<Udp, SocketAddr> = Udp::connect;
    let _: fn(&Udp, &[u8], SocketAddr) -> Result<usize> = Udp::send_to;
    let _: fn(&Udp, &[u8]) -> Result<usize> = Udp::send;
    let _: Fill<Udp, (usize, SocketAddr)> = Udp::recv_from;
    let _: Fill<Udp, (usize, SocketAddr)> = Udp::peek_from;
    let _: Fill<Udp, usize> = Udp::recv;
    let _: Fill<Udp, usize> = Udp::peek;
    let _: [Set<Udp, bool>; 3] =
        [Udp::set_broadcast, Udp::set_multicast_loop_v4, Udp::set_multicast_loop_v6];
    let _: [Get<Udp, bool>; 4] =
        [Udp::broadcast, Udp::multicast_loop_v4, Udp::multicast_loop_v6, Udp::only_v6];
    let _: [Set<Udp, u32>; 2] = [Udp::set_multicast_ttl_v4, Udp::set_ttl];
    let _: [Get<Udp, u32>; 2] = [Udp::multicast_ttl_v4, Udp::ttl];
    type GroupV4 = fn(&Udp, &Ipv4Addr, &Ipv4Addr) -> Result<()>;
    type GroupV6 = fn(&Udp, &Ipv6Addr, u32) -> Result<()>;
    let _: [GroupV4; 2] = [Udp::join_multicast_v4, Udp::leave_multicast_v4];
    let _: [GroupV6; 2] = [Udp::join_multicast_v6, Udp::leave_multicast_v6];
    let _: Get<Udp, Option<std::io::Error>> = Udp::take_error;
    let _: fn(&Udp, Call) -> Result<u8> = Udp::try_io;
}

#[cfg(unix)]
mod unix {
    use std::os::fd::RawFd;
    use std::os::unix::net as unix;
    use std::path::Path;
    use std::process::{ChildStderr, ChildStdin, ChildStdout};

    use mio::net::{UnixDatagram, UnixListener, UnixStream};
    use mio::unix::{SourceFd, pipe};

    use super::*;

    #[test]
    fn unix_types() {
        shared::<SourceFd<'static>>();
        handle::<UnixListener>();
        socket(UnixListener::from_std as fn(unix::UnixListener) -> _);
        handle::<UnixStream>();
        socket(UnixStream::from_std as fn(unix::UnixStream) -> _);
        handle::<UnixDatagram>();
        socket(UnixDatagram::from_std as fn(unix::UnixDatagram) -> _);
        handle::<pipe::Sender>();
        handle::<pipe::Receiver>();
        reads::<UnixStream>();
        writes::<UnixStream>();
        writes::<pipe::Sender>();
        reads::<pipe::Receiver>();
        fn source<T: Source + ?Sized>() {}
        source::<SourceFd<'_>>();
        fn from<T: From<S>, S>() {}
        from::<pipe::Sender, ChildStdin>();
        from::<pipe::Receiver, ChildStdout>();
        from::<pipe::Receiver, ChildStderr>();
    }

    #[test]
    fn pipe_methods() {
        let _ = pipe::new as fn() -> Result<(pipe::Sender, pipe::Receiver)>;
        let _: Set<pipe::Sender, bool> = pipe::Sender::set_nonblocking;
        let _: Set<pipe::Receiver, bool> = pipe::Receiver::set_nonblocking;
        let _: fn(&pipe::Sender, Call) -> Result<u8> = pipe::Sender::try_io;
        let _: fn(&pipe::Receiver, Call) -> Result<u8> = pipe::Receiver::try_io;
        let fd: RawFd = 0;
        assert_eq!(format!("{:?}", SourceFd(&fd)), "SourceFd(0)");
    }

    #[test]
    fn unix_methods() {
        type Listener = UnixListener;
        let _: fn(&'static str) -> Result<Listener> = Listener::bind;
        let _: fn(&unix::SocketAddr) -> Result<Listener> = Listener::bind_addr;
        let _: Get<Listener, (UnixStream, unix::SocketAddr)> = Listener::accept;
        let _: Get<Listener, unix::SocketAddr> = Listener::local_addr;
        let _: Get<Listener, Option<std::io::Error>> = Listener::take_error;
        type Stream = UnixStream;
        let _: fn(&'static Path) -> Result<Stream> = Stream::connect;
        let _: fn(&unix::SocketAddr) -> Result<Stream> = Stream::connect_addr;
        let _: fn() -> Result<(Stream, Stream)> = Stream::pair;
        let _: [Get<Stream, unix::SocketAddr>; 2] = [Stream::local_addr, Stream::peer_addr];
        let _: Get<Stream, Option<std::io::Error>> = Stream::take_error;
        let _: Set<Stream, Shutdown> = Stream::shutdown;
        let _: fn(&Stream, Call) -> Result<u8> = Stream::try_io;
        type Datagram = UnixDatagram;
        let _: fn(&'static str) -> Result<Datagram> = Datagram::bind;
        let _: fn(&unix::SocketAddr) -> Result<Datagram> = Datagram::bind_addr;
        let _: Set<Datagram, &'static str> = Datagram::connect;
        let _: fn() -> Result<Datagram> = Datagram::unbound;
        let _: fn() -> Result<(Datagram, Datagram)> = Datagram::pair;
        let _: [Get<Datagram, unix::SocketAddr>; 2] = [Datagram::local_addr, Datagram::peer_addr];
        let _: Fill<Datagram, (usize, unix::SocketAddr)> = Datagram::recv_from;
        let _: Fill<Datagram, usize> = Datagram::recv;
        let _: fn(&Datagram, &[u8], &'static str) -> Result<usize> = Datagram::send_to;
        let _: fn(&Datagram, &[u8]) -> Result<usize> = Datagram::send;
        let _: Get<Datagram, Option<std::io::Error>> = Datagram::take_error;
        let _: Set<Datagram, Shutdown> = Datagram::shutdown;
        let _: fn(&Datagram, Call) -> Result<u8> = Datagram::try_io;
    }
}

#[cfg(windows)]
mod windows {
    use std::os::windows::io::{AsRawHandle, FromRawHandle};

    use mio::windows::NamedPipe;

    use super::*;

    #[test]
    fn named_pipes() {
        fn pipe<T: Source + Read + Write + AsRawHandle + FromRawHandle>() {}
        pipe::<NamedPipe>();
        shared::<NamedPipe>();
        reads::<NamedPipe>();
        writes::<NamedPipe>();
        let _: fn(String) -> Result<NamedPipe> = NamedPipe::new;
        let _: [Get<NamedPipe, ()>; 2] = [NamedPipe::connect, NamedPipe::disconnect];
        let _: Get<NamedPipe, Option<std::io::Error>> = NamedPipe::take_error;
    }
}

#[test]
fn words_of_debug() {
    assert_eq!(format!("{:?}", Interest::READABLE | Interest::WRITABLE), "READABLE | WRITABLE");
    #[cfg(target_os = "linux")]
    assert_eq!(format!("{:?}", Interest::PRIORITY), "PRIORITY");
    assert_eq!(format!("{:?}", Token(3)), "Token(3)");
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let inner = format!("{listener:?}");
    assert_eq!(format!("{:?}", TcpListener::from_std(listener)), inner);
}

#[test]
fn sets_of_interests() {
    let mut all = Interest::WRITABLE;
    all |= Interest::READABLE;
    #[cfg(target_os = "linux")]
    {
        all |= Interest::PRIORITY;
        assert_eq!(all.remove(Interest::PRIORITY), Some(Interest::READABLE | Interest::WRITABLE));
    }
    assert_eq!(all.remove(all), None);
    assert!(Interest::READABLE < Interest::WRITABLE);
}
