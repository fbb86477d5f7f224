//! What can be run under WASI: time, wakers and files everywhere, TCP from the second preview on.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use anypoll::{Backend, Events, Interest, Mode, Poller, Token};

fn tokens(poller: &Poller, timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let mut events = Events::default();
    poller.wait(&mut events, timeout)?;
    Ok(events.iter().map(|event| event.token().0).collect())
}

fn main() -> io::Result<()> {
    let poller = Poller::new()?;
    assert_eq!(poller.backend(), Backend::Wasi);
    let start = Instant::now();
    let wait = Duration::from_micros(20_500);
    assert_eq!(tokens(&poller, Some(wait))?, [0; 0]);
    assert!(start.elapsed() >= wait);
    println!("time");

    let waker = poller.waker(Token(7));
    waker.wake();
    waker.wake();
    assert_eq!(tokens(&poller, None)?, [7]);
    assert_eq!(tokens(&poller, Some(Duration::ZERO))?, [0; 0]);
    println!("wakers");

    if let Ok(file) = File::open("file") {
        let file = poller.register(file, Token(8), Interest::READABLE, Mode::Level)?;
        assert_eq!(tokens(&poller, None)?, [8]);
        drop(file);
        assert_eq!(tokens(&poller, Some(Duration::ZERO))?, [0; 0]);
        println!("a file");
    }

    if cfg!(target_env = "p2") {
        tcp(&poller)?;
        println!("TCP");
    }
    Ok(())
}

fn tcp(poller: &Poller) -> io::Result<()> {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = poller.register(listener, Token(1), Interest::READABLE, Mode::Edge)?;
    assert_eq!(tokens(poller, Some(Duration::ZERO))?, [0; 0]);
    let mut client = TcpStream::connect(address)?;
    assert_eq!(tokens(poller, None)?, [1]);
    let (server, _) = listener.try_io(Interest::READABLE, TcpListener::accept)?;
    server.set_nonblocking(true)?;
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
        let mut server = poller.register(&server, Token(2), Interest::READABLE, mode)?;
        assert_eq!(tokens(poller, Some(Duration::from_millis(5)))?, [0; 0]);
        for _ in 0..3 {
            client.write_all(b"x")?;
            assert_eq!(tokens(poller, None)?, [2], "{mode:?}");
            assert_eq!(server.read(&mut [0; 2])?, 1);
            let again = server.read(&mut [0; 2]).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::WouldBlock);
            assert_eq!(tokens(poller, Some(Duration::ZERO))?, [0; 0]);
            server.set_interest(Interest::READABLE)?;
        }
    }
    let registered = poller.register(server, Token(3), Interest::READABLE, Mode::Level)?;
    drop(client);
    assert_eq!(tokens(poller, None)?, [3]);
    assert_eq!((&*registered.get_ref()).read(&mut [0])?, 0);
    Ok(())
}
