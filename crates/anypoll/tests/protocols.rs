//! Protocol crates as they are, over `Registered<TcpStream>`: rustls with curl at the other end,
//! tungstenite with a client of bare frames and with a Python one. In level and edge mode, on every
//! backend.
//!
//! Under Wine a program of the system beneath can be started, but not waited for. So there
//! `.ci/protocols` runs the clients: a line names each, another answers with its status.

#![cfg(any(unix, windows))]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;

use anypoll::{Backend, Events, Interest, Mode, Registered, Token, net};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::server::{NoCallback, ServerHandshake};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, HandshakeError, Message, WebSocket};

use support::{PATIENCE, on_every_backend, poller};

on_every_backend! {
    #[cfg_attr(windows, ignore = "`.ci/protocols` runs the client")] rustls_over_registered
    #[cfg_attr(windows, ignore = "`.ci/protocols` runs the client")] rustls_by_hand
    tungstenite_over_registered
    #[ignore = "`.ci/protocols` brings the client"] tungstenite_with_a_client_of_another_make
}

type Stream = Registered<TcpStream>;

/// A server's side of one connection.
trait Connection {
    fn stream(&mut self) -> &Stream;

    /// Goes on until it is done, or until the stream would block.
    fn advance(&mut self) -> io::Result<()>;

    /// What to wait for then.
    fn wants(&mut self) -> Interest;
}

/// Serves one connection. The small send buffer makes large answers wait for room.
fn serve<C: Connection>(
    backend: Backend,
    mode: Mode,
    client: impl FnOnce(SocketAddr) + Send,
    connection: impl FnOnce(Stream) -> C,
) {
    let poller = poller(backend);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || client(address));
        // A client that could not start does not come.
        let listener = poller.register(listener, Token(0), Interest::READABLE, Mode::Level);
        let listener = listener.unwrap();
        let mut events = Events::default();
        poller.wait(&mut events, Some(PATIENCE)).unwrap();
        assert_eq!(events.len(), 1, "no client came");
        let (stream, _) = net::accept(listener.get_ref()).unwrap();
        drop(listener);
        socket2::SockRef::from(&stream).set_send_buffer_size(65536).unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        let mut connection = connection(poller.register(stream, Token(1), both, mode).unwrap());
        while let Err(error) = connection.advance() {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            if mode == Mode::Level {
                let wants = connection.wants();
                connection.stream().set_interest(wants).unwrap();
            }
            poller.wait(&mut events, Some(PATIENCE)).unwrap();
            assert!(!events.is_empty(), "waited in vain");
        }
    });
}

#[cfg(unix)]
fn run_client(program: &str, args: &[&str]) {
    let status = std::process::Command::new(program).args(args).status();
    assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).success());
}

#[cfg(windows)]
fn run_client(program: &str, args: &[&str]) {
    println!("\nCLIENT\t{program}\t{}", args.join("\t"));
    let mut status = String::new();
    io::stdin().read_line(&mut status).unwrap();
    assert_eq!(status, "0\n");
}

/// rustls and its stream, held together in one way or another.
trait Tls: Read + Write {
    fn parts(&mut self) -> (&mut ServerConnection, &Stream);
}

impl Tls for StreamOwned<ServerConnection, Stream> {
    fn parts(&mut self) -> (&mut ServerConnection, &Stream) {
        (&mut self.conn, &self.sock)
    }
}

/// The same by `read_tls` and `write_tls`.
struct ByHand {
    connection: ServerConnection,
    stream: Stream,
}

impl Tls for ByHand {
    fn parts(&mut self) -> (&mut ServerConnection, &Stream) {
        (&mut self.connection, &self.stream)
    }
}

impl Read for ByHand {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.flush()?;
            self.connection.read_tls(&mut self.stream)?;
            self.connection.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Write for ByHand {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.flush()?;
        self.connection.writer().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.stream)?;
        }
        Ok(())
    }
}

/// Reads one request, answers it and says goodbye.
struct Http<S> {
    tls: S,
    request: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
}

impl<S: Tls> Connection for Http<S> {
    fn stream(&mut self) -> &Stream {
        self.tls.parts().1
    }

    fn advance(&mut self) -> io::Result<()> {
        let mut piece = [0; 1024];
        while !self.request.ends_with(b"\r\n\r\n") {
            let count = self.tls.read(&mut piece)?;
            assert_ne!(count, 0);
            self.request.extend_from_slice(&piece[..count]);
        }
        while self.sent < self.answer.len() {
            self.sent += self.tls.write(&self.answer[self.sent..])?;
        }
        self.tls.parts().0.send_close_notify();
        self.tls.flush()
    }

    fn wants(&mut self) -> Interest {
        let connection = self.tls.parts().0;
        let mut wants = Interest::NONE;
        if connection.wants_read() {
            wants |= Interest::READABLE;
        }
        if connection.wants_write() {
            wants |= Interest::WRITABLE;
        }
        wants
    }
}

const LARGE: usize = 1 << 20;

/// Bytes in which a piece that is lost or doubled shows.
fn large() -> Vec<u8> {
    (0..LARGE).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn curl_over<S: Tls>(backend: Backend, how: &str, join: impl Fn(ServerConnection, Stream) -> S) {
    #[cfg(unix)]
    if !support::is_installed("curl", &format!("rustls, {how}")) {
        return;
    }
    let localhost = include_bytes!("localhost.pem");
    let certificate = CertificateDer::from_pem_slice(localhost).unwrap();
    let key = PrivateKeyDer::from_pem_slice(localhost).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![certificate], key).unwrap());

    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/localhost.pem");
    let folder = env!("CARGO_TARGET_TMPDIR");
    let received = format!("{folder}/{}-{backend:?}-{how}-received", std::process::id());
    for mode in [Mode::Level, Mode::Edge] {
        let client = |address: SocketAddr| {
            let port = address.port();
            let (resolve, url) =
                (format!("localhost:{port}:127.0.0.1"), format!("https://localhost:{port}/"));
            let mut args = vec!["--silent", "--show-error", "--fail", "--noproxy", "*"];
            args.extend(["--max-time", "60", "--cacert", authority, "--output", &received]);
            args.extend(["--resolve", &resolve, &url]);
            run_client("curl", &args);
        };
        serve(backend, mode, client, |stream| {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
            let answer = [head.into_bytes(), large()].concat();
            Http { tls: join(connection, stream), request: Vec::new(), answer, sent: 0 }
        });
        assert!(std::fs::read(&received).unwrap() == large());
    }
    std::fs::remove_file(received).unwrap();
}

fn rustls_over_registered(backend: Backend) {
    curl_over(backend, "stream", StreamOwned::new);
}

fn rustls_by_hand(backend: Backend) {
    curl_over(backend, "by-hand", |connection, stream| ByHand { connection, stream });
}

type Role = ServerHandshake<Stream, NoCallback>;

/// Sends back each message until the client says goodbye.
struct Echo<'a> {
    state: State,
    unsent: bool,
    /// Told when the handshake has to wait, or an answer for room.
    waits: mpsc::Sender<()>,
    /// What came beside messages.
    controls: &'a mut Vec<Message>,
}

enum State {
    Handshake(Option<Box<MidHandshake<Role>>>),
    Open(Box<WebSocket<Stream>>),
}

impl State {
    fn of(result: Result<WebSocket<Stream>, HandshakeError<Role>>) -> Self {
        match result {
            Ok(open) => Self::Open(Box::new(open)),
            Err(HandshakeError::Interrupted(handshake)) => {
                Self::Handshake(Some(Box::new(handshake)))
            }
            Err(HandshakeError::Failure(error)) => panic!("{error}"),
        }
    }
}

impl Echo<'_> {
    /// Goes on until an error, of which the connection's end is one.
    fn echo(&mut self) -> tungstenite::Result<Infallible> {
        if let State::Handshake(handshake) = &mut self.state {
            self.state = State::of(handshake.take().unwrap().handshake());
        }
        let State::Open(open) = &mut self.state else {
            let _ = self.waits.send(());
            return Err(tungstenite::Error::Io(ErrorKind::WouldBlock.into()));
        };
        loop {
            if self.unsent {
                open.flush().inspect_err(|_| _ = self.waits.send(()))?;
                self.unsent = false;
            }
            let message = open.read()?;
            self.unsent = true;
            if message.is_binary() || message.is_text() {
                // What would block is kept, and the flush tells.
                let _ = open.write(message);
            } else {
                // tungstenite answers.
                self.controls.push(message);
            }
        }
    }
}

impl Connection for Echo<'_> {
    fn stream(&mut self) -> &Stream {
        match &self.state {
            State::Handshake(handshake) => handshake.as_ref().unwrap().get_ref().get_ref(),
            State::Open(open) => open.get_ref(),
        }
    }

    fn advance(&mut self) -> io::Result<()> {
        match self.echo() {
            Ok(never) => match never {},
            Err(tungstenite::Error::ConnectionClosed) => Ok(()),
            Err(tungstenite::Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn wants(&mut self) -> Interest {
        if self.unsent { Interest::WRITABLE } else { Interest::READABLE }
    }
}

/// A client without a library: the handshake of RFC 6455's own example, and bare frames.
fn bare_frames(address: SocketAddr, waits: &mpsc::Receiver<()>) {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut stream = TcpStream::connect(address).unwrap();
    // Fixed, or else it grows until an answer fits.
    socket2::SockRef::from(&stream).set_recv_buffer_size(65536).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // In two parts, so that the handshake has to wait too.
    let (first, second) = request.split_at(40);
    stream.write_all(first.as_bytes()).unwrap();
    waits.recv().unwrap();
    stream.write_all(second.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.windows(28).any(|part| part == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));

    let forget = || while waits.try_recv().is_ok() {};
    forget();
    let message = large();
    let length = (LARGE as u64).to_be_bytes();
    let masked: Vec<u8> = message.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b).collect();
    for _ in 0..2 {
        stream.write_all(&[&[0x82, 0xff], &length[..], &MASK, &masked].concat()).unwrap();
        waits.recv().unwrap();
        let mut echo = vec![0; 2 + length.len() + LARGE];
        stream.read_exact(&mut echo).unwrap();
        assert!(echo == [&[0x82, 0x7f], &length[..], &message].concat());
        forget();
    }
    stream.write_all(&[0x88, 0x80, 1, 2, 3, 4]).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [0x88, 0]);
}

fn echo_over(
    backend: Backend,
    client: impl Fn(SocketAddr, &mpsc::Receiver<()>) + Send + Sync,
    controls: &[Message],
) {
    let client = &client;
    for mode in [Mode::Level, Mode::Edge] {
        let (waits, told) = mpsc::channel();
        let client = move |address| client(address, &told);
        let mut seen = Vec::new();
        serve(backend, mode, client, |stream| {
            let state = State::of(tungstenite::accept(stream));
            Echo { state, unsent: false, waits, controls: &mut seen }
        });
        assert_eq!(seen, controls);
    }
}

fn tungstenite_over_registered(backend: Backend) {
    echo_over(backend, bare_frames, &[Message::Close(None)]);
}

fn tungstenite_with_a_client_of_another_make(backend: Backend) {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let client = |address: SocketAddr, _: &_| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/websocket_client.py");
        run_client(&python, &[script, &address.port().to_string()]);
    };
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: "that is all".into() };
    let ping = |text| Message::Ping(Bytes::from_static(text));
    echo_over(
        backend,
        client,
        &[ping(b"alone"), ping(b"between fragments"), Message::Close(Some(goodbye))],
    );
}
