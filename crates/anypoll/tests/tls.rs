//! Both ends of a TLS connection on one thread, over `Registered<TcpStream>`, in edge and level
//! mode, on every backend.

#![cfg(any(unix, windows))]

#[path = "contract/support.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the contract's tests")]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::DerefMut;
use std::sync::Arc;

use anypoll::{Backend, Events, Interest, Mode, Poller, Registered, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, RootCertStore};
use rustls::{ServerConfig, ServerConnection, SideData};

use support::{PATIENCE, both, expect_nothing, on_every_backend, poller, tcp_pair};

on_every_backend! {
    tls_in_edge_mode
    tls_in_level_mode
}

const TLS_BYTES: usize = 300_000;

fn tls_in_edge_mode(backend: Backend) {
    tls(backend, Mode::Edge);
}

fn tls_in_level_mode(backend: Backend) {
    tls(backend, Mode::Level);
}

/// One end of a connection that encrypts, reading and writing through `&Registered`.
struct Tls<C> {
    connection: C,
    stream: Registered<TcpStream>,
    sent: usize,
    received: usize,
}

impl<D: SideData, C: DerefMut<Target = ConnectionCommon<D>>> Tls<C> {
    fn new(poller: &Poller, stream: TcpStream, token: usize, mode: Mode, connection: C) -> Self {
        stream.set_nonblocking(true).unwrap();
        let stream = poller.register(stream, Token(token), both(), mode).unwrap();
        Self { connection, stream, sent: 0, received: 0 }
    }

    fn byte(at: usize) -> u8 {
        at.to_le_bytes()[0] ^ at.to_le_bytes()[1]
    }

    /// Goes on until it would block.
    fn run(&mut self) {
        while !self.is_done() {
            let chunk: Vec<_> = (self.sent..TLS_BYTES).take(10_000).map(Self::byte).collect();
            // Takes a part when its own buffer is full.
            self.sent += self.connection.writer().write(&chunk).unwrap();
            let mut blocked = true;
            while self.connection.wants_write() {
                match self.connection.write_tls(&mut &self.stream) {
                    Ok(_) => blocked = false,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
            match self.connection.read_tls(&mut &self.stream) {
                Ok(count) => {
                    assert_ne!(count, 0, "the end, after {} bytes", self.received);
                    blocked = false;
                    let plain = self.connection.process_new_packets().unwrap();
                    let mut buf = vec![0; plain.plaintext_bytes_to_read()];
                    self.connection.reader().read_exact(&mut buf).unwrap();
                    for byte in buf {
                        assert_eq!(byte, Self::byte(self.received));
                        self.received += 1;
                    }
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            if blocked {
                break;
            }
        }
        if self.stream.mode() == Mode::Level {
            let interest = if self.connection.wants_write() { both() } else { Interest::READABLE };
            self.stream.set_interest(interest).unwrap();
        }
    }

    fn is_done(&self) -> bool {
        self.sent == TLS_BYTES && self.received == TLS_BYTES && !self.connection.wants_write()
    }
}

fn tls(backend: Backend, mode: Mode) {
    let poller = poller(backend);
    let (client, server) = tcp_pair();
    let (client_tls, server_tls) = tls_connections();
    let mut client = Tls::new(&poller, client, 1, mode, client_tls);
    let mut server = Tls::new(&poller, server, 2, mode, server_tls);
    let mut events = Events::default();
    while !(client.is_done() && server.is_done()) {
        poller.wait(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "an edge was lost");
        for event in &events {
            match event.token() {
                Token(1) => client.run(),
                Token(2) => server.run(),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!([client.received, server.received], [TLS_BYTES; 2]);
    drop((client, server));
    expect_nothing(&poller);
}

fn tls_connections() -> (ClientConnection, ServerConnection) {
    let localhost = include_bytes!("localhost.pem");
    let certificate = CertificateDer::from_pem_slice(localhost).unwrap();
    let key = PrivateKeyDer::from_pem_slice(localhost).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate], key).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    (
        ClientConnection::new(Arc::new(client), name).unwrap(),
        ServerConnection::new(Arc::new(server)).unwrap(),
    )
}
