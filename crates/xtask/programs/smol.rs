//! A server, its clients, timers and a child process over smol.

use std::time::{Duration, Instant};

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream, UdpSocket};
use smol::process::{Command, Stdio};
use smol::{Timer, future};

#[test]
fn echo_to_many_clients() {
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = smol::spawn(async move {
            let mut connections = Vec::new();
            for _ in 0..100 {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.push(smol::spawn(async move {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).await.unwrap();
                    stream.write_all(&all).await.unwrap();
                    stream.close().await.unwrap();
                }));
            }
            for connection in connections {
                connection.await;
            }
        });
        let clients: Vec<_> = (0..100_u8)
            .map(|n| {
                smol::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    let sent = vec![n; 300_000];
                    stream.write_all(&sent).await.unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut received = Vec::new();
                    stream.read_to_end(&mut received).await.unwrap();
                    assert!(received == sent);
                })
            })
            .collect();
        for client in clients {
            client.await;
        }
        server.await;
    });
}

#[test]
fn a_timer_ends_a_receive() {
    smol::block_on(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let start = Instant::now();
        let receive = async { Some(socket.recv_from(&mut [0; 16]).await.unwrap()) };
        let timer = async {
            Timer::after(Duration::from_millis(50)).await;
            None
        };
        assert_eq!(future::or(receive, timer).await, None);
        assert!(start.elapsed() >= Duration::from_millis(50));
    });
}

#[test]
fn a_child_is_fed_read_and_awaited() {
    smol::block_on(async {
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let sent = vec![b'x'; 300_000];
        let mut stdin = child.stdin.take().unwrap();
        let feed = async {
            stdin.write_all(&sent).await.unwrap();
            drop(stdin);
        };
        let (output, ()) = future::zip(child.output(), feed).await;
        let output = output.unwrap();
        assert!(output.status.success() && output.stdout == sent);
    });
}
