//! An HTTP server over axum, hyper and tokio, and clients that keep their connections.

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

async fn exchange(stream: &mut BufReader<TcpStream>, request: &[u8]) -> (String, Vec<u8>) {
    stream.get_mut().write_all(request).await.unwrap();
    let (mut status, mut length) = (String::new(), 0);
    stream.read_line(&mut status).await.unwrap();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (status.trim_end().to_owned(), body)
}

async fn requests() {
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: String| async { body }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) });
    let server = tokio::spawn(server.into_future());
    let clients: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn(async move {
                let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
                for length in [1, 1000, 1_000_000] {
                    let hello = exchange(&mut stream, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
                    assert_eq!(hello, ("HTTP/1.1 200 OK".to_owned(), b"hello".to_vec()));
                    let mut request = format!(
                        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"
                    )
                    .into_bytes();
                    request.resize(request.len() + length, b'x');
                    let (status, body) = exchange(&mut stream, &request).await;
                    assert_eq!(status, "HTTP/1.1 200 OK");
                    assert!(body == vec![b'x'; length]);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_thread() {
    requests().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads() {
    requests().await;
}
