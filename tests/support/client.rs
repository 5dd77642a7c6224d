//! A raw HTTP/1.1 client: it writes exactly what a test says and keeps exactly what came back.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;
use super::message::{Framing, Head, Headers, Wire, chunks, framing};

/// A request under construction.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// A request of that method and target, with a Host.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            head: format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n"),
            body: Vec::new(),
        }
    }

    /// A POST of JSON with a bearer token, as the SDKs send it.
    pub(crate) fn json(target: &str, body: &serde_json::Value) -> Self {
        Self::new("POST", target)
            .header("authorization", "Bearer sk-client-secret")
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Adds a field.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        write!(self.head, "{name}: {value}\r\n").unwrap();
        self
    }

    /// A body of known length.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        body.as_ref().clone_into(&mut self.body);
        let length = self.body.len();
        self.header("content-length", &length.to_string())
    }

    /// A chunked body, one chunk a piece.
    pub(crate) fn chunked<'a>(mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        self.body = chunks(pieces);
        self.body.extend_from_slice(b"0\r\n\r\n");
        self.header("transfer-encoding", "chunked")
    }

    /// The head alone, with the empty line after it.
    pub(crate) fn head_bytes(&self) -> Vec<u8> {
        format!("{}\r\n", self.head).into_bytes()
    }

    /// The whole message.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head_bytes(), self.body.clone()].concat()
    }

    /// Sends it on a connection of its own and reads the whole answer.
    pub(crate) fn send(&self, to: SocketAddr) -> Response {
        self.start(to).finish()
    }

    /// Sends it on a connection of its own and reads the answer's head.
    pub(crate) fn start(&self, to: SocketAddr) -> Incoming {
        let mut connection = Connection::open(to);
        // A server may answer and close before it has read everything; its answer counts.
        connection.write(&self.bytes()).ok();
        connection.incoming(&self.method)
    }
}

/// What a client may speak over.
pub(crate) trait Transport: Read + Write + Send {}
impl<T: Read + Write + Send> Transport for T {}

/// A client's connection.
pub(crate) struct Connection(Wire<Box<dyn Transport>>);

impl Connection {
    /// Connects in clear text.
    pub(crate) fn open(to: SocketAddr) -> Self {
        Self::over(Box::new(socket(to)))
    }

    /// Speaks over what is already connected.
    pub(crate) fn over(transport: Box<dyn Transport>) -> Self {
        Self(Wire::new(transport))
    }

    /// Writes these bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.0.stream();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// The head of the answer to a request of that method. Interim answers are passed over.
    pub(crate) fn incoming(self, method: &str) -> Incoming {
        self.try_incoming(method).expect("closed without an answer")
    }

    /// As [`incoming`](Self::incoming); `None` when the server closed or broke off instead.
    pub(crate) fn try_incoming(mut self, method: &str) -> Option<Incoming> {
        loop {
            let head = self.first()?;
            let status = status(&head).unwrap_or_default();
            if status >= 200 {
                // RFC 9110, section 6.4.1: these never have a body, whatever their fields say.
                let framing = if method == "HEAD" || status == 204 || status == 304 {
                    Framing::Empty
                } else {
                    framing(&head, Framing::UntilClose)
                };
                return Some(Incoming {
                    connection: self,
                    head,
                    framing,
                });
            }
        }
    }

    /// The next head, interim answers (1xx) included.
    pub(crate) fn head(&mut self) -> Head {
        self.0.head().unwrap().expect("closed without an answer")
    }

    /// The next head; `None` when the server closed or broke off instead.
    pub(crate) fn first(&mut self) -> Option<Head> {
        self.0.head().ok().flatten()
    }
}

/// A connected socket that fails rather than hangs.
pub(crate) fn socket(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// An answer whose head has arrived. Dropping it closes the connection.
pub(crate) struct Incoming {
    connection: Connection,
    head: Head,
    framing: Framing,
}

impl Incoming {
    /// The status code.
    pub(crate) fn status(&self) -> u16 {
        status(&self.head).expect("no status line")
    }

    /// The header fields.
    pub(crate) fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// Reads chunks into `seen` until it contains `text`. The answer must be chunked, as streams
    /// are.
    pub(crate) fn read_until(&mut self, seen: &mut Vec<u8>, text: &str) {
        assert_eq!(self.framing, Framing::Chunked);
        while !contains(seen, text.as_bytes()) {
            match self.connection.0.chunk().unwrap() {
                Some(piece) => seen.extend_from_slice(&piece),
                None => panic!("ended without {text:?}: {}", String::from_utf8_lossy(seen)),
            }
        }
    }

    /// Reads to the end.
    pub(crate) fn finish(self) -> Response {
        self.finish_on().0
    }

    /// Reads to the end and hands back the connection.
    pub(crate) fn finish_on(mut self) -> (Response, Connection) {
        let mut body = Vec::new();
        let end = self
            .connection
            .0
            .body(self.framing, |piece| body.extend_from_slice(piece));
        let response = Response {
            status: self.status(),
            start: self.head.start,
            headers: self.head.headers,
            body,
            whole: end.is_ok(),
            trailers: end.unwrap_or_default(),
        };
        (response, self.connection)
    }
}

/// An answer that has ended, one way or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The status line.
    pub(crate) start: String,
    /// The header fields.
    pub(crate) headers: Headers,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its framing promised, and was not cut off.
    pub(crate) whole: bool,
    /// Trailer fields.
    pub(crate) trailers: Headers,
}

impl Response {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The id that Tollgate gave this request.
    pub(crate) fn request_id(&self) -> String {
        let id = self.headers.get("x-tollgate-request-id");
        id.unwrap_or_else(|| panic!("no request id: {self:?}"))
            .to_owned()
    }

    /// What a client must find the same with and without Tollgate: status line, fields but for
    /// those of one hop and Tollgate's own, body, trailers, and whether it ended well. The date is
    /// out of it: Pingora always states its own.
    pub(crate) fn seen(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        const OF_ONE_HOP: &[&str] = &[
            "connection",
            "date",
            "keep-alive",
            "transfer-encoding",
            "x-tollgate-channel",
            "x-tollgate-request-id",
        ];
        (
            self.start.clone(),
            self.headers.without(OF_ONE_HOP),
            Digest(self.body.clone()),
            self.trailers.clone(),
            self.whole,
        )
    }
}

/// Bytes that do not flood a failure's message.
#[derive(PartialEq)]
struct Digest(Vec<u8>);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.0[..self.0.len().min(2000)];
        write!(
            f,
            "{} bytes: {:?}",
            self.0.len(),
            String::from_utf8_lossy(start)
        )
    }
}

fn status(head: &Head) -> Option<u16> {
    head.start.split(' ').nth(1)?.parse().ok()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
