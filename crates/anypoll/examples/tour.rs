//! A tour: one of each kind of object that a poller watches, one thread, one loop.
//!
//! Each object gets something to say before the loop begins, so the program ends by itself. Type a
//! line while it runs, or pipe one in: standard input is watched as well.
//!
//! Everything is [`Mode::Level`], where an object is reported for as long as there is something to
//! do, and one read after a report does not block: even objects that are blocking may be read so.

use std::collections::HashMap;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use std::os::{fd::AsFd, unix::net::UnixStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[cfg(windows)]
use anypoll::os::windows::ChildPipe;
use anypoll::{Events, Interest, Mode, Poller, Registered, Source, Token, net};

/// Whatever can be watched and read, so that one map holds them all.
trait Reader: Read + Source {}
impl<T: Read + Source> Reader for T {}

type Readers = HashMap<Token, Box<Registered<dyn Reader>>>;

// A token is any number that the program can make sense of.
const LISTENER: Token = Token(0);
const UDP: Token = Token(1);
const WORKER: Token = Token(2);
const TCP: Token = Token(3);
const CHILD: Token = Token(4);
const STDIN: Token = Token(5);
#[cfg(unix)]
const UNIX: Token = Token(6);
#[cfg(unix)]
const PIPE: Token = Token(7);
#[cfg(unix)]
const FILE: Token = Token(8);
const NAMES: [&str; 9] = [
    "listener",
    "UDP socket",
    "worker",
    "TCP stream",
    "child",
    "stdin",
    "Unix stream",
    "pipe",
    "file",
];

fn main() -> io::Result<()> {
    let poller = Poller::new()?;
    let mut readers = Readers::new();

    // A listener is readable when a connection can be accepted. Its client may be gone again by
    // then, so it is non-blocking. Registering changes nothing on an object: that is up to you.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    TcpStream::connect(listener.local_addr()?)?.write_all(b"hello from a client")?;
    let listener = poller.register(listener, LISTENER, Interest::READABLE, Mode::Level)?;

    let udp = UdpSocket::bind("127.0.0.1:0")?;
    udp.set_nonblocking(true)?;
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"a datagram", udp.local_addr()?)?;
    let udp = poller.register(udp, UDP, Interest::READABLE, Mode::Level)?;

    // A thread hands over its result by whatever means, then wakes the poller.
    let (sender, results) = mpsc::channel();
    let waker = poller.waker(WORKER);
    thread::spawn(move || {
        sender.send((1..=100).sum::<u32>()).expect("the loop waits for it");
        waker.wake();
    });

    // Its output ends when it does.
    #[cfg(unix)]
    let mut command = Command::new("echo");
    #[cfg(windows)]
    let mut command = Command::new("cmd");
    #[cfg(windows)]
    command.args(["/c", "echo"]);
    let mut child = command.arg("hello from a child").stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().expect("it is piped");
    #[cfg(windows)]
    let output = ChildPipe::from(output);
    watch(&poller, &mut readers, CHILD, output)?;

    let mut ends_to_see = 4;

    // On Windows none of these can be watched.
    #[cfg(unix)]
    {
        let (stream, mut peer) = UnixStream::pair()?;
        peer.write_all(b"hello from next door")?;
        drop(peer);
        watch(&poller, &mut readers, UNIX, stream)?;

        let (reader, mut writer) = io::pipe()?;
        writer.write_all(b"a few bytes")?;
        drop(writer);
        watch(&poller, &mut readers, PIPE, reader)?;

        // Never blocks, and so is always ready.
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?;
        watch(&poller, &mut readers, FILE, file)?;

        // A terminal, a pipe or a file. `Stdin` has a buffer, into which a poller cannot see: its
        // descriptor is read instead.
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        watch(&poller, &mut readers, STDIN, stdin)?;

        ends_to_see += 3;
    }

    let mut events = Events::with_capacity(64);
    loop {
        poller.wait(&mut events, Some(Duration::from_millis(100)))?;
        if events.is_empty() && ends_to_see == 0 {
            println!("timeout: nothing for 100 ms, the tour is over");
            return Ok(());
        }
        for event in &events {
            let Token(number) = event.token();
            let name = NAMES[number];
            match event.token() {
                LISTENER => match listener.try_io(Interest::READABLE, net::accept) {
                    Ok((stream, _)) => {
                        println!("{name}: a connection");
                        watch(&poller, &mut readers, TCP, stream)?;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                },
                UDP => {
                    let mut buffer = [0; 1500];
                    let receive = |socket: &UdpSocket| socket.recv(&mut buffer);
                    let length = udp.try_io(Interest::READABLE, receive)?;
                    println!("{name}: {}", first_line(&buffer[..length]));
                    ends_to_see -= 1;
                }
                WORKER => {
                    // However often it was woken, there is one event: take all there is.
                    for result in results.try_iter() {
                        println!("{name}: {result}");
                    }
                    ends_to_see -= 1;
                }
                token => {
                    let mut buffer = [0; 16 * 1024];
                    let Some(reader) = readers.get_mut(&token) else { continue };
                    let length = reader.read(&mut buffer)?;
                    if length > 0 {
                        println!("{name}: {}", first_line(&buffer[..length]));
                        continue;
                    }
                    // The end can be read again and again, and would be reported without end:
                    // dropping the object ends its registration.
                    readers.remove(&token);
                    match token {
                        CHILD => println!("{name}: the end, {}", child.wait()?),
                        _ => println!("{name}: the end"),
                    }
                    if token != STDIN {
                        ends_to_see -= 1;
                    }
                }
            }
        }
    }
}

fn watch(
    poller: &Poller,
    readers: &mut Readers,
    token: Token,
    reader: impl Reader + 'static,
) -> io::Result<()> {
    let registered = poller.register(reader, token, Interest::READABLE, Mode::Level)?;
    readers.insert(token, Box::new(registered));
    Ok(())
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned()
}
