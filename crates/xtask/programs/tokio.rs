//! Runtimes of tokio: under many short connections, and dropped while their sources live.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixStream, unix::pipe};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

const PATIENCE: Duration = Duration::from_secs(60);

fn multi_threaded() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(&all).await.unwrap();
        });
    }
}

async fn exchange(address: SocketAddr, number: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let said = number.to_string().repeat(number % 50 + 1);
    stream.write_all(said.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, said);
}

#[test]
fn thousands_of_short_connections() {
    const CONNECTIONS: usize = 5_000;
    const AT_ONCE: usize = 100;
    multi_threaded().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener));
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let mut clients = Vec::new();
        for number in 0..CONNECTIONS {
            let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
            clients.push(tokio::spawn(async move {
                exchange(address, number).await;
                drop(permit);
            }));
        }
        let all = async {
            for client in clients {
                client.await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("a connection hangs");
        assert!(!server.is_finished());
    });
}

/// A peer of which somebody in the runtime reads for ever.
fn read_by_a_task(runtime: &Runtime) -> std::net::TcpStream {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    let (reads, is_reading) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let mut stream = TcpStream::from_std(stream).unwrap();
        stream.write_all(b"!").await.unwrap();
        reads.send(()).unwrap();
        stream.read(&mut [0]).await
    });
    is_reading.recv().unwrap();
    peer
}

#[test]
fn a_runtime_is_dropped_with_tasks_that_wait() {
    for round in 0..20 {
        let runtime = if round % 2 == 0 {
            multi_threaded()
        } else {
            Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
        };
        let mut peers: Vec<_> = (0..50).map(|_| read_by_a_task(&runtime)).collect();
        drop(runtime);
        for peer in &mut peers {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            assert_eq!(all, b"!");
        }
    }
}

#[test]
fn sources_outlive_their_runtime() {
    for _ in 0..20 {
        let runtime = multi_threaded();
        let (listener, stream, peer, udp, (unix, _other), (sender, receiver)) =
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let peer = listener.accept().await.unwrap().0;
                let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                (listener, stream, peer, udp, UnixStream::pair().unwrap(), pipe::pipe().unwrap())
            });
        let address = listener.local_addr().unwrap();
        drop(runtime);
        // They cannot be waited for any more, but are what they were.
        assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let stream = stream.into_std().unwrap();
        drop(peer);
        assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
        stream.shutdown(Shutdown::Both).unwrap();
        drop(listener);
        let refused = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        drop((udp, unix, sender, receiver));

        // And may come to another.
        let another = multi_threaded();
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        another.block_on(async {
            let mut one = UnixStream::from_std(one).unwrap();
            let mut other = UnixStream::from_std(other).unwrap();
            one.write_all(b"x").await.unwrap();
            assert_eq!(other.read(&mut [0; 4]).await.unwrap(), 1);
        });
    }
}
