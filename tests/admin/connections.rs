//! What a client can hold.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Admin;
use crate::traffic::PATIENCE;

#[tokio::test]
async fn a_flood_of_headers_is_bounded() {
    let admin = Admin::start(None, None).await;
    let mut request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n".to_vec();
    for n in 0..2_000 {
        request.extend(format!("x-{n}: {}\r\n", "v".repeat(50)).into_bytes());
    }
    request.extend(b"\r\n");
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    // The refusal may come, and close the connection, before everything is written.
    let _ = stream.write_all(&request).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    assert_eq!(admin.get("/livez").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn idle_clients_hold_a_bounded_number_of_connections() {
    let admin = Admin::start(None, None).await;
    let mut idle = Vec::new();
    for _ in 0..128 {
        let mut stream = TcpStream::connect(admin.address).await.unwrap();
        // An answer shows that the connection has its slot.
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut byte = [0];
        timeout(PATIENCE, stream.read_exact(&mut byte))
            .await
            .unwrap()
            .unwrap();
        idle.push(stream);
    }
    let client = admin.client.clone();
    let url = admin.url("/livez");
    let mut waiting = tokio::spawn(async move { client.get(url).send().await.unwrap().status() });
    // One more has to wait; it is answered as soon as another leaves.
    assert!(
        timeout(Duration::from_millis(200), &mut waiting)
            .await
            .is_err()
    );
    idle.pop();
    assert_eq!(
        timeout(PATIENCE, waiting).await.unwrap().unwrap(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn stopping_does_not_wait_for_idle_connections() {
    let mut admin = Admin::start(None, None).await;
    let mut idle = TcpStream::connect(admin.address).await.unwrap();
    assert_eq!(admin.get("/livez").await.status(), StatusCode::OK);
    admin.stop.take().unwrap().send(()).unwrap();
    timeout(PATIENCE, &mut admin.serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, idle.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(admin.address).await.is_err());
}
