//! An upstream of exact bytes: each request is answered by a script, and what arrived is kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::message::{Framing, Headers, Wire, chunks, framing};
use super::{Gate, eventually};

/// One request as it reached the upstream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// The method.
    pub(crate) method: String,
    /// The request target: path and query.
    pub(crate) target: String,
    /// The header fields.
    pub(crate) headers: Headers,
    /// The body so far.
    pub(crate) body: Vec<u8>,
    /// Whether the body arrived whole.
    pub(crate) complete: bool,
}

impl Received {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One step of an answer.
#[derive(Clone)]
pub(crate) enum Step {
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Writes this piece over and over, so many times.
    Repeat(Vec<u8>, usize),
    /// Waits until the test opens the gate.
    Await(Gate),
    /// Opens a gate that the test waits at: what comes before it is written.
    Open(Gate),
    /// Closes the connection.
    Close,
    /// Resets the connection (RST).
    Reset,
    /// Sends nothing more and waits until the peer closes.
    Hang,
}

/// The steps that answer one request.
pub(crate) type Script = Vec<Step>;

type Handler = dyn Fn(&Received) -> Script + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    received: Mutex<Vec<Received>>,
    sockets: Mutex<BTreeMap<usize, TcpStream>>,
    connections: AtomicUsize,
    /// Peers that closed while a script hung.
    abandoned: AtomicUsize,
    stopped: AtomicBool,
}

/// A server on a free port of the loopback interface; it stops when dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Upstream {
    /// Answers every request with what `handler` says. The handler is asked when the head and the
    /// body have arrived.
    pub(crate) fn start(handler: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            received: Mutex::default(),
            sockets: Mutex::default(),
            connections: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                shared
                    .sockets
                    .lock()
                    .unwrap()
                    .insert(number, socket.try_clone().unwrap());
                std::thread::spawn(move || {
                    // A peer that goes away in the middle is the test's business, not a fault here.
                    shared.serve(socket).ok();
                    shared.sockets.lock().unwrap().remove(&number);
                });
            }
        });
        Self { address, shared }
    }

    /// Answers every request the same way.
    pub(crate) fn always(script: Script) -> Self {
        Self::start(move |_| script.clone())
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL that an SDK would be given.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What arrived, in order of arrival.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The only request that arrived.
    pub(crate) fn only(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "{received:#?}");
        received.remove(0)
    }

    /// Waits until what arrived satisfies `condition`.
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&[Received]) -> bool) {
        eventually(what, || {
            condition(&self.shared.received.lock().unwrap()).then_some(())
        });
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.sockets.lock().unwrap().len()
    }

    /// Waits until it has done with all that was sent by peers who are gone.
    pub(crate) fn until_idle(&self) {
        // Connections are accepted in turn: behind this one nobody of them waits any more.
        let mut last = TcpStream::connect(self.address).unwrap();
        last.shutdown(Shutdown::Write).unwrap();
        io::copy(&mut last, &mut io::sink()).unwrap();
        eventually("the connections are over", || {
            (self.open() == 0).then_some(())
        });
    }

    /// How often a peer closed the connection while its script hung.
    pub(crate) fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for socket in self.shared.sockets.lock().unwrap().values() {
            socket.shutdown(Shutdown::Both).ok();
        }
        // The accepting thread sees the end at the next connection.
        TcpStream::connect(self.address).ok();
    }
}

impl Shared {
    fn serve(&self, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut wire = Wire::new(socket);
        while let Some(head) = wire.head()? {
            let mut words = head.start.split(' ').map(str::to_owned);
            let request = Received {
                method: words.next().unwrap_or_default(),
                target: words.next().unwrap_or_default(),
                headers: head.headers.clone(),
                ..Received::default()
            };
            let index = {
                let mut received = self.received.lock().unwrap();
                received.push(request);
                received.len() - 1
            };
            if head.headers.get("expect").is_some() {
                wire.stream().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            wire.body(framing(&head, Framing::Empty), |piece| {
                self.received.lock().unwrap()[index]
                    .body
                    .extend_from_slice(piece);
            })?;
            let request = {
                let mut received = self.received.lock().unwrap();
                received[index].complete = true;
                received[index].clone()
            };
            for step in (self.handler)(&request) {
                if !self.step(&mut wire, step)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes one step; false when the connection is over.
    fn step(&self, wire: &mut Wire<TcpStream>, step: Step) -> io::Result<bool> {
        match step {
            Step::Send(bytes) => wire.stream().write_all(&bytes)?,
            Step::Repeat(piece, times) => {
                for _ in 0..times {
                    wire.stream().write_all(&piece)?;
                }
            }
            Step::Await(gate) => assert!(gate.wait(), "the test never opened the gate"),
            Step::Open(gate) => gate.open(),
            Step::Close => {
                wire.stream().shutdown(Shutdown::Both)?;
                return Ok(false);
            }
            Step::Reset => {
                // Lingering for no time at all makes the close that follows a reset.
                rustix::net::sockopt::set_socket_linger(wire.stream(), Some(Duration::ZERO))?;
                return Ok(false);
            }
            Step::Hang => {
                // Whatever the peer does now other than closing is not expected of it.
                let closed = !matches!(wire.head(), Ok(Some(_)));
                self.abandoned
                    .fetch_add(usize::from(closed), Ordering::SeqCst);
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// An answer under construction: a status line, fields and a body.
#[derive(Clone)]
pub(crate) struct Answer {
    head: String,
}

impl Answer {
    /// An answer with that status code and reason, as in `200 OK`.
    pub(crate) fn new(status: &str) -> Self {
        Self {
            head: format!("HTTP/1.1 {status}\r\n"),
        }
    }

    /// Adds a field.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        write!(self.head, "{name}: {value}\r\n").unwrap();
        self
    }

    /// The head alone, with the empty line after it.
    pub(crate) fn head(&self) -> Step {
        Step::Send(format!("{}\r\n", self.head).into_bytes())
    }

    /// With a body of known length.
    pub(crate) fn body(self, body: impl AsRef<[u8]>) -> Script {
        let body = body.as_ref();
        let head = self
            .header("content-length", &body.len().to_string())
            .head();
        vec![head, Step::Send(body.to_vec())]
    }

    /// With a chunked body, one chunk a piece, each written on its own.
    pub(crate) fn chunked<'a>(self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Script {
        let mut script = self.open_chunked();
        script.extend(pieces.into_iter().map(chunk));
        script.push(last_chunk());
        script
    }

    /// The head of a chunked answer; [`chunk`]s and [`last_chunk`] follow.
    pub(crate) fn open_chunked(self) -> Script {
        vec![self.header("transfer-encoding", "chunked").head()]
    }

    /// With a body that ends where the connection does.
    pub(crate) fn until_close(self, body: impl AsRef<[u8]>) -> Script {
        let head = self.header("connection", "close").head();
        vec![head, Step::Send(body.as_ref().to_vec()), Step::Close]
    }
}

/// One chunk of a chunked body.
pub(crate) fn chunk(piece: &[u8]) -> Step {
    Step::Send(chunks([piece]))
}

/// The end of a chunked body.
pub(crate) fn last_chunk() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}
