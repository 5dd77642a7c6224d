//! HTTP/2 and TLS on either side: a client with prior knowledge or through ALPN, and an upstream
//! behind a certificate that a test made for itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate for `localhost` and 127.0.0.1 that nobody has signed, and its files.
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    key: Vec<u8>,
    /// Holds the files.
    _dir: TempDir,
    /// The certificate as PEM.
    pub(crate) cert_file: PathBuf,
    /// Its key as PEM.
    pub(crate) key_file: PathBuf,
}

impl Certificate {
    /// Makes one.
    pub(crate) fn make() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let dir = TempDir::new().unwrap();
        let (cert_file, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert_file, made.cert.pem()).unwrap();
        std::fs::write(&key_file, made.signing_key.serialize_pem()).unwrap();
        Self {
            der: made.cert.der().clone(),
            key: made.signing_key.serialize_der(),
            _dir: dir,
            cert_file,
            key_file,
        }
    }

    /// A client's view: trusts this certificate alone and offers these protocols.
    pub(crate) fn client(&self, protocols: &[&str]) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }

    /// A server's view: shows this certificate and agrees to the first of these protocols that is
    /// offered.
    pub(crate) fn server(&self, protocols: &[&str]) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }
}

/// The name in the certificate.
pub(crate) fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A POST over HTTP/2 in clear text, with prior knowledge (RFC 9113, section 3.3).
pub(crate) fn post_cleartext(to: SocketAddr, path: &str, body: &str) -> Response<Vec<u8>> {
    try_post_cleartext(to, path, body).unwrap()
}

/// As [`post_cleartext`]; an error when the answer breaks off.
pub(crate) fn try_post_cleartext(
    to: SocketAddr,
    path: &str,
    body: &str,
) -> Result<Response<Vec<u8>>, h2::Error> {
    block_on(async {
        let socket = TcpStream::connect(to).await.unwrap();
        exchange(socket, "http", path, body).await
    })
}

/// A POST over HTTP/2 over TLS, agreed through ALPN.
pub(crate) fn post_tls(
    to: SocketAddr,
    certificate: &Certificate,
    path: &str,
    body: &str,
) -> Response<Vec<u8>> {
    block_on(async {
        let socket = TcpStream::connect(to).await.unwrap();
        let connector = TlsConnector::from(certificate.client(&["h2", "http/1.1"]));
        let stream = connector.connect(localhost(), socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        exchange(stream, "https", path, body).await.unwrap()
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(super::PATIENCE, future).await.unwrap() })
}

/// As [`post_cleartext`], but resets the stream when `text` has arrived.
pub(crate) fn abandon_cleartext(to: SocketAddr, path: &str, body: &str, text: &str) {
    block_on(async {
        let socket = TcpStream::connect(to).await.unwrap();
        let (_, mut incoming) = begin(socket, "http", path, body).await.into_parts();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let piece = incoming.data().await.expect("ended before the text");
            seen.extend_from_slice(&piece.unwrap());
        }
        drop(incoming);
        // The connection's task sends the reset now, or closes when the runtime ends.
        tokio::task::yield_now().await;
    });
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    scheme: &str,
    path: &str,
    body: &str,
) -> Result<Response<Vec<u8>>, h2::Error> {
    let (head, incoming) = begin(stream, scheme, path, body).await.into_parts();
    Ok(Response::from_parts(head, collect(incoming).await?))
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    scheme: &str,
    path: &str,
    body: &str,
) -> Response<h2::RecvStream> {
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("{scheme}://localhost{path}"))
        .header("content-type", "application/json")
        .header("authorization", "Bearer sk-client-secret")
        .body(())
        .unwrap();
    let (response, mut upload) = sender.send_request(request, false).unwrap();
    upload
        .send_data(Bytes::copy_from_slice(body.as_bytes()), true)
        .unwrap();
    response.await.unwrap()
}

async fn collect(mut incoming: h2::RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(piece) = incoming.data().await {
        let piece = piece?;
        incoming.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What reached an upstream behind TLS.
pub(crate) struct Arrived {
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub(crate) version: http::Version,
    /// The host that was asked for: `Host`, or `:authority`.
    pub(crate) authority: String,
    /// The name in the TLS handshake (SNI).
    pub(crate) server_name: Option<String>,
    /// The header fields; for HTTP/1.1 left out.
    pub(crate) headers: HeaderMap,
}

/// An upstream behind TLS; it answers every request the same way.
pub(crate) struct TlsUpstream {
    address: SocketAddr,
    arrived: std::sync::mpsc::Receiver<Arrived>,
    _runtime: Runtime,
}

impl TlsUpstream {
    /// Starts it; `protocol` is what it agrees to through ALPN: `h2` or `http/1.1`.
    pub(crate) fn start(certificate: &Certificate, protocol: &str, answer: String) -> Self {
        Self::refusing(certificate, protocol, 200, answer)
    }

    /// As [`start`](Self::start); over HTTP/2 with another status, and without a body where that is
    /// empty.
    pub(crate) fn refusing(
        certificate: &Certificate,
        protocol: &str,
        status: u16,
        answer: String,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(certificate.server(&[protocol]));
        let two = protocol == "h2";
        let (sender, arrived) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(socket).await else {
                    continue;
                };
                let (sender, answer) = (sender.clone(), answer.clone());
                if two {
                    tokio::spawn(serve_two(stream, sender, status, answer));
                } else {
                    tokio::spawn(serve_one(stream, sender, answer));
                }
            }
        });
        Self {
            address,
            arrived,
            _runtime: runtime,
        }
    }

    /// The base URL that an SDK would be given.
    pub(crate) fn base_url(&self) -> String {
        format!("https://localhost:{}/v1", self.address.port())
    }

    /// The next request that arrived.
    pub(crate) fn next(&self) -> Arrived {
        self.arrived.recv_timeout(super::PATIENCE).unwrap()
    }
}

type Tls = tokio_rustls::server::TlsStream<TcpStream>;
type Sender = std::sync::mpsc::Sender<Arrived>;

fn server_name(stream: &Tls) -> Option<String> {
    stream.get_ref().1.server_name().map(str::to_owned)
}

async fn serve_two(stream: Tls, sender: Sender, status: u16, answer: String) {
    let server_name = server_name(&stream);
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (sender, answer, server_name) = (sender.clone(), answer.clone(), server_name.clone());
        tokio::spawn(async move {
            let (head, body) = request.into_parts();
            collect(body).await.unwrap();
            let arrived = Arrived {
                version: head.version,
                authority: head
                    .uri
                    .authority()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                server_name,
                headers: head.headers,
            };
            sender.send(arrived).ok();
            let head = Response::builder()
                .status(status)
                .header("content-type", "application/json")
                .header("x-request-id", super::answers::UPSTREAM_REQUEST_ID)
                .body(())
                .unwrap();
            let bodiless = answer.is_empty();
            let mut stream = respond.send_response(head, bodiless).unwrap();
            if !bodiless {
                stream.send_data(Bytes::from(answer), true).unwrap();
            }
        });
    }
}

async fn serve_one(mut stream: Tls, sender: Sender, answer: String) {
    let mut bytes = vec![0; 64 * 1024];
    let mut length = 0;
    // The requests of these tests end with the closing brace of their JSON.
    while !bytes[..length].ends_with(b"}") {
        let count = stream.read(&mut bytes[length..]).await.unwrap();
        assert!(count > 0, "closed in the middle of a request");
        length += count;
    }
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    let host = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("host").then(|| value.to_owned())
    });
    let arrived = Arrived {
        version: http::Version::HTTP_11,
        authority: host.unwrap_or_default(),
        server_name: server_name(&stream),
        headers: HeaderMap::new(),
    };
    sender.send(arrived).ok();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.ok();
}
