//! Receivers that judge like the real ones: they verify signatures, clocks, keywords and lengths in
//! bytes, keep the published rate limits, answer with the real words, and read what they are told as
//! the real clients do, so that a test sees what a reader would see.

#![allow(dead_code, reason = "not every test asks for all of it")]

pub(crate) mod alertmanager;
pub(crate) mod dingtalk;
pub(crate) mod feishu;
pub(crate) mod hook;
pub(crate) mod reading;
pub(crate) mod real_alertmanager;
pub(crate) mod slack;
pub(crate) mod smtp;
pub(crate) mod smtp_judge;
pub(crate) mod telegram;
pub(crate) mod webhook;
pub(crate) mod wecom;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use tollgate::clock::UnixMicros;

/// What is asked of a judge.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The path with its query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// When it came, by the judge's clock.
    pub(crate) at: UnixMicros,
}

impl Request {
    /// A parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What a judge answers.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What a judge does instead of judging.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It answers this.
    Answer(Answer),
    /// It answers this status with all that it was told, credentials included.
    Echo(u16),
    /// The connection breaks.
    Reset,
    /// It never answers.
    Hang,
}

/// What a reader sees of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shown {
    /// Title and text, without markup.
    pub(crate) text: String,
    /// Who is told in person.
    pub(crate) mentions: Vec<String>,
    /// Where its links and buttons lead.
    pub(crate) links: Vec<String>,
    /// What of the text is code.
    pub(crate) code: Vec<String>,
}

/// A receiver's rules: what it makes of a request, and what its readers see. The moment is what its
/// limits are counted by.
pub(crate) type Rules = Box<dyn FnMut(&Request, UnixMicros) -> (Answer, Option<Shown>) + Send>;

/// A receiver that judges.
pub(crate) struct Judge {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    rules: Rules,
    faults: VecDeque<Fault>,
    requests: Vec<Request>,
    shown: Vec<Shown>,
    /// How much time was let pass for its limits.
    passed: i64,
    /// How far its clock is before this machine's.
    skew: i64,
}

impl State {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            faults: VecDeque::new(),
            requests: Vec::new(),
            shown: Vec::new(),
            passed: 0,
            skew: 0,
        }
    }
}

impl Judge {
    pub(crate) async fn start(rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::new(rules)));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    /// The next requests meet these.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// So much time passes, as far as its limits go.
    pub(crate) fn advance(&self, time: Duration) {
        self.state.lock().unwrap().passed += i64::try_from(time.as_micros()).unwrap();
    }

    /// Its clock is before this machine's.
    pub(crate) fn skew(&self, time: Duration) {
        self.state.lock().unwrap().skew = i64::try_from(time.as_micros()).unwrap();
    }

    /// All that it accepted so far, as its readers see it.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        self.state.lock().unwrap().shown.clone()
    }

    /// All that it was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut request = read(&mut stream).await?;
    let (fault, answer) = {
        let mut state = state.lock().unwrap();
        request.at = UnixMicros(UnixMicros::now().0 + state.skew);
        let now = UnixMicros(UnixMicros::now().0 + state.passed);
        state.requests.push(request.clone());
        if let Some(fault) = state.faults.pop_front() {
            (Some(fault), None)
        } else {
            let (answer, shown) = (state.rules)(&request, now);
            state.shown.extend(shown);
            (None, Some(answer))
        }
    };
    let answer = match (fault, answer) {
        (Some(Fault::Reset), _) => {
            // What was not read, and a linger of nothing, make it a reset.
            stream.set_zero_linger().ok()?;
            return None;
        }
        (Some(Fault::Hang), _) => {
            std::future::pending::<()>().await;
            return None;
        }
        (Some(Fault::Echo(status)), _) => Answer::new(
            status,
            format!("you said: {} {:?}", request.target, request.headers),
        ),
        (Some(Fault::Answer(answer)), _) | (None, Some(answer)) => answer,
        (None, None) => unreachable!(),
    };
    let date = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&request.at.timestamp())
        .unwrap();
    let mut head = format!(
        "HTTP/1.1 {} Judged\r\ndate: {date}\r\ncontent-length: {}\r\nconnection: close\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let bytes = format!("{head}\r\n{}", answer.body);
    stream.write_all(bytes.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut lines = text.split("\r\n");
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name = http::HeaderName::try_from(name).ok()?;
        headers.append(name, value.trim().parse().ok()?);
    }
    let length: usize = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = bytes[head + 4..].to_vec();
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request {
        target,
        headers,
        body,
        at: UnixMicros(0),
    })
}

/// A published limit: so many in so long, wherever that begins.
pub(crate) struct Window {
    most: usize,
    per: Duration,
    taken: VecDeque<UnixMicros>,
}

impl Window {
    pub(crate) fn new(most: usize, per: Duration) -> Self {
        Self {
            most,
            per,
            taken: VecDeque::new(),
        }
    }

    /// Whether one more is within the limit at `now`; it counts if so.
    pub(crate) fn take(&mut self, now: UnixMicros) -> bool {
        while self
            .taken
            .front()
            .is_some_and(|taken| now.since(*taken) >= self.per)
        {
            self.taken.pop_front();
        }
        let fits = self.taken.len() < self.most;
        if fits {
            self.taken.push_back(now);
        }
        fits
    }
}

/// A moment as RFC 3339 writes it.
pub(crate) fn moment<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<jiff::Timestamp, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// HMAC-SHA256 in base64, computed apart from what is tested.
pub(crate) fn hmac_base64(key: &str, message: &str) -> String {
    use base64::Engine as _;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
    let tag = ring::hmac::sign(&key, message.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(tag)
}
