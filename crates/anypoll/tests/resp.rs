//! The Redis protocol of the examples: by itself, and the same exchanges with each of its servers,
//! on every backend.
#![cfg(any(unix, windows))]

#[path = "../examples/resp/protocol.rs"]
mod protocol;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anypoll::Backend;
use protocol::{Connection, Store};

/// Requests and replies on one connection to an empty store, in order.
const EXCHANGES: &[(&str, &str)] = &[
    ("PING\r\n", "+PONG\r\n"),
    ("ping\n", "+PONG\r\n"),
    ("  PING   hello  \r\n", "$5\r\nhello\r\n"),
    ("\r\n", ""),
    ("*0\r\n", ""),
    ("*-1\r\n", ""),
    ("*1\r\n$4\r\nPING\r\n", "+PONG\r\n"),
    ("*2\r\n$4\r\nECHO\r\n$7\r\na\r\nb\0c\n\r\n", "$7\r\na\r\nb\0c\n\r\n"),
    ("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "$-1\r\n"),
    ("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "+OK\r\n"),
    ("GET k\r\n", "$0\r\n\r\n"),
    ("SET k v\r\n", "+OK\r\n"),
    ("GET k\r\n", "$1\r\nv\r\n"),
    ("EXISTS k k none\r\n", ":2\r\n"),
    ("DEL k none k\r\n", ":1\r\n"),
    ("EXISTS k\r\n", ":0\r\n"),
    ("INCR n\r\n", ":1\r\n"),
    ("INCR n\r\n", ":2\r\n"),
    ("GET n\r\n", "$1\r\n2\r\n"),
    ("SET n -1\r\nINCR n\r\n", "+OK\r\n:0\r\n"),
    ("SET n +1\r\nINCR n\r\n", "+OK\r\n-ERR value is not an integer or out of range\r\n"),
    ("SET n 01\r\nINCR n\r\n", "+OK\r\n-ERR value is not an integer or out of range\r\n"),
    (
        "SET n 9223372036854775807\r\nINCR n\r\n",
        "+OK\r\n-ERR increment or decrement would overflow\r\n",
    ),
    ("MSET a 1 b 2\r\n", "+OK\r\n"),
    ("MGET a none b\r\n", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n"),
    ("MSET a 1 b\r\n", "-ERR wrong number of arguments for 'mset' command\r\n"),
    ("GET\r\n", "-ERR wrong number of arguments for 'get' command\r\n"),
    ("SET a 1 EX 1000\r\n", "+OK\r\n"),
    ("SET a 1 px 1000000\r\n", "+OK\r\n"),
    ("SET a 1 EX\r\n", "-ERR syntax error\r\n"),
    ("SET a 1 FX 1\r\n", "-ERR syntax error\r\n"),
    ("SET a 1 EX x\r\n", "-ERR value is not an integer or out of range\r\n"),
    ("SET a 1 EX 0\r\n", "-ERR invalid expire time in 'set' command\r\n"),
    ("SET a 1 EX 9223372036854775807\r\n", "-ERR invalid expire time in 'set' command\r\n"),
    ("GET a\r\n", "$1\r\n1\r\n"),
    ("CONFIG GET save\r\n", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
    ("COMMAND DOCS\r\n", "*0\r\n"),
    ("INFO\r\n", "$31\r\n# Server\r\nredis_version:0.0.0\r\n\r\n"),
    ("NO'\tsuch\r\n", "-ERR unknown command 'no\\''\r\n"),
    ("PING\r\nINCR i\r\nINCR i\r\nGET i\r\n", "+PONG\r\n:1\r\n:2\r\n$1\r\n2\r\n"),
    // What follows the end is not answered.
    ("QUIT\r\nPING\r\n", "+OK\r\n"),
];

/// After these there is nothing to go on from, and the connection is closed.
const FAULTS: &[(&str, &str)] = &[
    ("*x\r\n", "invalid multibulk length"),
    ("*65537\r\n", "invalid multibulk length"),
    ("*9223372036854775807\r\n", "invalid multibulk length"),
    ("*1\r\n$x\r\n", "invalid bulk length"),
    ("*1\r\n$-1\r\n", "invalid bulk length"),
    ("*1\r\n$16777217\r\n", "invalid bulk length"),
    ("*1\r\nPING\r\n", "expected '$'"),
];

fn replies(exchanges: &[(&str, &str)]) -> (String, String) {
    exchanges.iter().copied().unzip()
}

/// All that comes back if so much is received at a time.
fn answers(store: &mut Store, now: Instant, requests: &str, piece: usize) -> String {
    let mut connection = Connection::default();
    let mut received = Vec::new();
    for bytes in requests.as_bytes().chunks(piece) {
        connection.receive(bytes);
        loop {
            connection.advance(store, now);
            let output = connection.output();
            if output.is_empty() {
                break;
            }
            // No more at a time than came in.
            let count = output.len().min(piece);
            received.extend_from_slice(&output[..count]);
            connection.sent(count);
        }
    }
    String::from_utf8(received).unwrap()
}

#[test]
fn it_does_not_matter_how_the_bytes_come() {
    let (requests, expected) = replies(EXCHANGES);
    for piece in [1, 2, 3, 7, 1000, requests.len()] {
        assert_eq!(answers(&mut Store::default(), Instant::now(), &requests, piece), expected);
    }
}

#[test]
fn values_expire() {
    let (mut store, start) = (Store::default(), Instant::now());
    let mut after = |millis, requests, expected: &str| {
        let now = start + Duration::from_millis(millis);
        assert_eq!(answers(&mut store, now, requests, 1000), expected);
    };
    after(0, "SET a 1 EX 2\r\nSET b 1 PX 5\r\nSET c 1 PX 5\r\n", "+OK\r\n+OK\r\n+OK\r\n");
    after(4, "INCR b\r\nSET c 2\r\n", ":2\r\n+OK\r\n");
    after(5, "GET b\r\nGET c\r\n", "$-1\r\n$1\r\n2\r\n");
    after(1_999, "EXISTS a\r\n", ":1\r\n");
    after(2_000, "EXISTS a\r\nDEL a\r\nINCR a\r\n", ":0\r\n:0\r\n:1\r\n");
}

#[test]
fn who_takes_no_replies_gets_no_more() {
    let (mut connection, mut store, now) =
        (Connection::default(), Store::default(), Instant::now());
    let request = format!("*2\r\n$4\r\nECHO\r\n$40000\r\n{}\r\n", "x".repeat(40_000));
    connection.receive(request.repeat(10).as_bytes());
    // The second goes beyond 64 KiB.
    let reply = request.len() - 14;
    for answered in [2, 4, 6, 8, 10] {
        connection.advance(&mut store, now);
        connection.advance(&mut store, now);
        assert_eq!(connection.output().len(), 2 * reply, "{answered}");
        connection.sent(reply);
        connection.advance(&mut store, now);
        assert_eq!(connection.output().len(), reply, "{answered}");
        connection.sent(reply);
    }
    connection.advance(&mut store, now);
    assert_eq!(connection.output(), b"");
}

#[test]
fn what_is_too_long_is_refused() {
    let refused = |input: &[u8], error: &str| {
        let (mut connection, mut store) = (Connection::default(), Store::default());
        connection.receive(input);
        connection.advance(&mut store, Instant::now());
        let expected = format!("-ERR Protocol error: {error}\r\n");
        assert_eq!(str::from_utf8(connection.output()).unwrap(), expected);
        connection.sent(expected.len());
        assert!(connection.is_over());
    };
    refused(&[b'x'; 64 << 10], "too big inline request");
    refused(&[b'*'; 64 << 10], "too big mbulk count string");
    refused(&[b"*1\r\n".as_slice(), &[b'$'; 64 << 10]].concat(), "too big bulk count string");
    let mut large = b"*3\r\n$16777216\r\n".to_vec();
    large.resize(large.len() + (16 << 20), b'x');
    refused(&large, "too big request");
}

/// Ends with the test.
struct Server(Child, SocketAddr);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server(name: &str, backend: Backend) -> Server {
    let profile = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let example =
        profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(example.exists(), "`cargo test` builds it, or `cargo build --example {name}`");
    let mut child = Command::new(example)
        .arg("127.0.0.1:0")
        .env("ANYPOLL_BACKEND", format!("{backend:?}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("RESP at ").unwrap().parse().unwrap();
    Server(child, address)
}

impl Server {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.1).unwrap();
        // A reply that is missing is to end the test.
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }
}

fn expect(mut stream: &TcpStream, expected: &str) {
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(str::from_utf8(&received).unwrap(), expected);
}

fn expect_end(mut stream: &TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

fn exchanges(name: &str, backend: Backend) {
    let server = server(name, backend);
    let mut stream = server.connect();
    for (request, reply) in EXCHANGES {
        stream.write_all(request.as_bytes()).unwrap();
        expect(&stream, reply);
    }
    expect_end(&stream);

    for (request, error) in FAULTS {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        expect(&stream, &format!("-ERR Protocol error: {error}\r\n"));
        expect_end(&stream);
    }

    // Who has no more to say still hears the answers.
    let mut stream = server.connect();
    stream.write_all(b"PING\r\nECHO x\r\n*2\r\n$3\r\nGE").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect(&stream, "+PONG\r\n$1\r\nx\r\n");
    expect_end(&stream);
}

/// A client that sends 64 requests of 1 MiB before it reads, another who stays away, and many
/// small ones that the two do not hold up.
fn many_clients(name: &str, backend: Backend) {
    const VALUE: usize = 1 << 20;
    let server = server(name, backend);
    let request = format!("*2\r\n$4\r\nECHO\r\n${VALUE}\r\n{}\r\n", "x".repeat(VALUE));
    let reply = &request[14..];
    let mut slow = server.connect();
    let mut writer = slow.try_clone().unwrap();
    let writing = thread::spawn({
        let request = request.clone();
        move || (0..64).for_each(|_| writer.write_all(request.as_bytes()).unwrap())
    });
    expect(&slow, &reply[..1]);

    let clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for _ in 0..10 {
        clients.iter().for_each(|mut client| client.write_all(b"INCR n\r\nINCR n\r\n").unwrap());
        for client in &clients {
            let mut lines = BufReader::new(client).lines().map(Result::unwrap);
            assert!(lines.by_ref().take(2).all(|line| line.starts_with(':')));
        }
    }
    drop(clients);
    let mut client = server.connect();
    client.write_all(b"GET n\r\n").unwrap();
    expect(&client, "$4\r\n1000\r\n");

    let mut received = vec![0; reply.len()];
    slow.read_exact(&mut received[1..]).unwrap();
    for _ in 1..64 {
        slow.read_exact(&mut received).unwrap();
        assert!(received == reply.as_bytes());
    }
    writing.join().unwrap();

    // One reply that no buffer takes.
    write!(slow, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n{}", &request[14..]).unwrap();
    write!(slow, "MGET{}\r\n", " k".repeat(32)).unwrap();
    expect(&slow, "+OK\r\n*32\r\n");
    for _ in 0..32 {
        slow.read_exact(&mut received).unwrap();
        assert!(received == reply.as_bytes());
    }
    slow.shutdown(Shutdown::Write).unwrap();
    expect_end(&slow);
}

macro_rules! servers {
    ($($name:ident)*) => {$(
        mod $name {
            use super::Backend;

            #[test]
            fn exchanges() {
                Backend::available().iter().for_each(|backend| super::exchanges(stringify!($name), *backend));
            }

            #[test]
            fn many_clients() {
                Backend::available().iter().for_each(|backend| super::many_clients(stringify!($name), *backend));
            }
        }
    )*};
}
servers! { resp_threads resp_poll resp_async }
