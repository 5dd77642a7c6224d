//! A server on this machine that answers as a test tells it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What the server does with a request.
#[derive(Clone)]
pub(super) enum Answer {
    /// These bytes, and the connection's end.
    Bytes(Vec<u8>),
    /// A body that never ends.
    Endless,
    /// Nothing, with the connection open.
    Silence,
}

impl Answer {
    pub(super) fn new(status: &str, headers: &str, body: &str) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
            body.len()
        );
        Self::Bytes((head + body).into_bytes())
    }

    pub(super) fn good(body: &str) -> Self {
        Self::new("200 OK", "etag: \"one\"\r\n", body)
    }
}

/// A server that gives one answer after the other, and the heads of the requests it got.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) heads: mpsc::UnboundedReceiver<String>,
}

impl Server {
    pub(super) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                // Whoever does not care what was asked may have gone.
                let _ = told.send(String::from_utf8(head).unwrap());
                match answer {
                    Answer::Bytes(bytes) => {
                        let _ = stream.write_all(&bytes).await;
                        let _ = stream.shutdown().await;
                    }
                    Answer::Endless => {
                        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                        stream.write_all(head).await.unwrap();
                        // Until the other side has had enough.
                        while stream.write_all(&[b' '; 4096]).await.is_ok() {}
                    }
                    Answer::Silence => {
                        let _ = stream.read_u8().await;
                    }
                }
            }
        });
        Self { address, heads }
    }
}
