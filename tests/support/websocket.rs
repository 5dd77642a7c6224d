//! WebSockets as bytes: frames, an upstream that answers a handshake and then follows a script, and
//! a client that keeps exactly what came back.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::message::{Head, Headers, Wire};
use super::{Gate, PATIENCE};

const MASK: [u8; 4] = [0x37, 0xFA, 0, 0x80];

/// A whole text message from a server.
pub(crate) fn from_server(event: &serde_json::Value) -> Vec<u8> {
    frame(0x81, None, event.to_string().as_bytes())
}

/// A whole text message from a client.
pub(crate) fn from_client(event: &serde_json::Value) -> Vec<u8> {
    frame(0x81, Some(MASK), event.to_string().as_bytes())
}

/// A close frame from a server.
pub(crate) fn close_from_server(code: u16) -> Vec<u8> {
    frame(0x88, None, &code.to_be_bytes())
}

/// A close frame from a client.
pub(crate) fn close_from_client(code: u16) -> Vec<u8> {
    frame(0x88, Some(MASK), &code.to_be_bytes())
}

/// A frame with that first byte (RFC 6455, section 5.2).
pub(crate) fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80_u8 } else { 0 };
    let mut bytes = vec![first];
    match u16::try_from(payload.len()) {
        Ok(short @ 0..=125) => bytes.push(masked | u8::try_from(short).unwrap()),
        Ok(short) => {
            bytes.push(masked | 0x7E);
            bytes.extend(short.to_be_bytes());
        }
        Err(_) => {
            bytes.push(masked | 0x7F);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    let masks = mask.iter().cycle();
    bytes.extend(payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The answer to a handshake, with `fields` added.
pub(crate) fn agreement(fields: &[(&str, &str)]) -> String {
    let mut answer = String::from(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    );
    for (name, value) in fields {
        write!(answer, "{name}: {value}\r\n").unwrap();
    }
    answer + "\r\n"
}

/// One step of the upstream's, after the handshake.
#[derive(Clone)]
pub(crate) enum Turn {
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Waits until so many bytes of the client's have arrived.
    Expect(usize),
    /// Waits until the test opens the gate.
    Await(Gate),
    /// Closes the connection.
    Close,
    /// Resets it (RST).
    Reset,
    /// Waits until the peer closes.
    Hang,
}

/// The handshake and all bytes that one connection brought.
#[derive(Default)]
struct Arrived {
    head: Option<Head>,
    bytes: Vec<u8>,
    ended: bool,
}

/// An upstream that agrees to every WebSocket and then follows its script.
pub(crate) struct SocketUpstream {
    address: SocketAddr,
    arrived: Arc<(Mutex<Arrived>, Condvar)>,
}

impl SocketUpstream {
    /// Agrees with `fields` added to the handshake, then takes these turns.
    pub(crate) fn start(fields: &[(&str, &str)], turns: Vec<Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arc::<(Mutex<Arrived>, Condvar)>::default();
        let answer = agreement(fields);
        let shared = Arc::clone(&arrived);
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            // A peer that goes away in the middle is the test's business, not a fault here.
            serve(stream, &answer, turns, &shared).ok();
        });
        Self { address, arrived }
    }

    /// The base URL that an SDK would be given.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The handshake that arrived.
    pub(crate) fn handshake(&self) -> Head {
        self.until(|arrived| arrived.head.clone())
    }

    /// What the client sent after it, once the connection is over.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.until(|arrived| arrived.ended.then(|| arrived.bytes.clone()))
    }

    fn until<T>(&self, condition: impl Fn(&Arrived) -> Option<T>) -> T {
        until(&self.arrived, condition)
    }
}

fn until<T>(
    (arrived, changed): &(Mutex<Arrived>, Condvar),
    condition: impl Fn(&Arrived) -> Option<T>,
) -> T {
    let guard = arrived.lock().unwrap();
    let (guard, _) = changed
        .wait_timeout_while(guard, PATIENCE, |arrived| condition(arrived).is_none())
        .unwrap();
    condition(&guard).expect("the upstream waited in vain")
}

fn serve(
    stream: TcpStream,
    answer: &str,
    turns: Vec<Turn>,
    arrived: &Arc<(Mutex<Arrived>, Condvar)>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writing = stream.try_clone()?;
    let mut wire = Wire::new(stream);
    let head = wire.head()?.expect("a handshake");
    let note = |change: &dyn Fn(&mut Arrived)| {
        change(&mut arrived.0.lock().unwrap());
        arrived.1.notify_all();
    };
    note(&|arrived| arrived.head = Some(head.clone()));
    writing.write_all(answer.as_bytes())?;
    let shared = Arc::clone(arrived);
    std::thread::spawn(move || {
        wire.until_close(|piece| {
            shared.0.lock().unwrap().bytes.extend_from_slice(piece);
            shared.1.notify_all();
        })
        .ok();
        shared.0.lock().unwrap().ended = true;
        shared.1.notify_all();
    });
    for turn in turns {
        match turn {
            Turn::Send(bytes) => writing.write_all(&bytes)?,
            Turn::Expect(count) => {
                until(arrived, |arrived| {
                    (arrived.bytes.len() >= count || arrived.ended).then_some(())
                });
            }
            Turn::Await(gate) => assert!(gate.wait(), "the test never opened the gate"),
            Turn::Close => return writing.shutdown(Shutdown::Both),
            Turn::Reset => {
                rustix::net::sockopt::set_socket_linger(&writing, Some(Duration::ZERO))?;
                // Both halves have to go for the reset to be sent.
                return writing.shutdown(Shutdown::Read);
            }
            Turn::Hang => until(arrived, |arrived| arrived.ended.then_some(())),
        }
    }
    Ok(())
}

/// A client's end of a WebSocket.
pub(crate) struct Socket {
    wire: Wire<TcpStream>,
    /// The answer to the handshake.
    pub(crate) head: Head,
    /// What came after it so far.
    pub(crate) received: Vec<u8>,
}

impl Socket {
    /// Shakes hands with these fields beside those that every handshake has.
    pub(crate) fn open(to: SocketAddr, target: &str, fields: &[(&str, &str)]) -> Self {
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in fields {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut wire = Wire::new(stream);
        let head = wire.head().unwrap().expect("an answer to the handshake");
        Self {
            wire,
            head,
            received: Vec::new(),
        }
    }

    /// The fields of the handshake's answer.
    pub(crate) fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// The id of the connection's request.
    pub(crate) fn request_id(&self) -> String {
        let id = self.headers().get("x-tollgate-request-id");
        id.expect("marked with the request's id").to_owned()
    }

    /// Writes these bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.wire.stream().write_all(bytes).unwrap();
    }

    /// Reads until so many bytes have come after the handshake.
    pub(crate) fn read(&mut self, count: usize) {
        let missing = count.saturating_sub(self.received.len()) as u64;
        let received = &mut self.received;
        self.wire
            .exactly(missing, &mut |piece| received.extend_from_slice(piece))
            .unwrap();
    }

    /// Reads to the end of the connection.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let received = &mut self.received;
        // A connection that is broken off has an end too.
        self.wire
            .until_close(|piece| received.extend_from_slice(piece))
            .ok();
        self.received
    }
}
