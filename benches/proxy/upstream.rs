//! The mock upstream: nginx for small answers, and a server in this process for what nginx cannot do,
//! reading a whole request before it answers and sending events at a pace. Its cost is not measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use memchr::memmem;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::process::Server;
use crate::proxies::{free_address, nginx_arguments};

/// An answer of Chat Completions, 700 bytes with its headers.
const JSON: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_bench"}"#;

/// What leads a chunk's content: the time it was sent follows, in [`STAMP_DIGITS`] digits.
pub(crate) const STAMP_MARK: &[u8] = br#""delta":{"content":""#;

pub(crate) const STAMP_DIGITS: usize = 16;

#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Json,
    JsonAfterBody,
    Stream { chunks: usize, gap: Duration },
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// Chunks of a stream, 0 when it does not stream.
    pub(crate) chunks: usize,
    /// While it is set, streams that have sent their chunks go on at the same pace.
    pub(crate) holding: Arc<AtomicBool>,
    /// The moment from which chunks count their time.
    pub(crate) epoch: Instant,
    // Both are only kept, to end with the upstream.
    _nginx: Option<(Server, TempDir)>,
    _here: JoinSet<()>,
}

impl Upstream {
    pub(crate) async fn start(answer: Answer) -> anyhow::Result<Self> {
        let address = free_address()?;
        let epoch = Instant::now();
        let holding = Arc::new(AtomicBool::new(false));
        let mut nginx = None;
        let mut here = JoinSet::new();
        if let Answer::Json = answer {
            let folder = tempfile::tempdir()?;
            let servers = format!(
                "server {{ listen {address}; location / {{ default_type application/json; return 200 '{JSON}'; }} }}"
            );
            let arguments = nginx_arguments(folder.path(), &servers)?;
            let log = folder.path().join("output");
            let server = Server::start("nginx".as_ref(), &arguments, "TERM", &log, address).await?;
            nginx = Some((server, folder));
        } else {
            let listener = TcpListener::bind(address).await?;
            here.spawn(accept(listener, answer, Arc::clone(&holding), epoch));
        }
        Ok(Self {
            address,
            chunks: match answer {
                Answer::Stream { chunks, .. } => chunks,
                Answer::Json | Answer::JsonAfterBody => 0,
            },
            holding,
            epoch,
            _nginx: nginx,
            _here: here,
        })
    }
}

async fn accept(listener: TcpListener, answer: Answer, holding: Arc<AtomicBool>, epoch: Instant) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        // A connection ends with an error when its client leaves, and the client says whether that was wrong.
        let holding = Arc::clone(&holding);
        connections.spawn(async move { serve(connection, answer, &holding, epoch).await });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    mut connection: TcpStream,
    answer: Answer,
    holding: &AtomicBool,
    epoch: Instant,
) -> anyhow::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Some(wants_usage) = read_request(&mut connection, &mut buffer).await? else {
            return Ok(());
        };
        if let Answer::Stream { chunks, gap } = answer {
            stream(&mut connection, (chunks, holding), gap, wants_usage, epoch).await?;
        } else {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{JSON}", JSON.len());
            connection.write_all(answer.as_bytes()).await?;
        }
    }
}

/// Reads one request to its end. Returns whether it asks for a usage chunk, or `None` when the client has
/// left.
async fn read_request(
    connection: &mut TcpStream,
    buffer: &mut [u8],
) -> anyhow::Result<Option<bool>> {
    let mut filled = 0;
    let head = loop {
        let count = connection.read(&mut buffer[filled..]).await?;
        if count == 0 {
            return Ok(None);
        }
        filled += count;
        if let Some(end) = memmem::find(&buffer[..filled], b"\r\n\r\n") {
            break end + 4;
        }
    };
    let fields = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
    let (_, length) = fields
        .split_once("\r\ncontent-length: ")
        .context("a request without content-length")?;
    let length: usize = length.lines().next().unwrap_or_default().parse()?;
    let wants_usage = |part: &[u8]| memmem::find(part, b"\"include_usage\":true").is_some();

    let mut found = wants_usage(&buffer[head..filled]);
    let mut missing = length.saturating_sub(filled - head);
    while missing > 0 {
        let count = connection.read(buffer).await?;
        if count == 0 {
            bail!("a request body that ends early");
        }
        found |= wants_usage(&buffer[..count]);
        missing = missing.saturating_sub(count);
    }
    Ok(Some(found))
}

/// Sends a stream of Chat Completions, one write a chunk, of so many chunks and as long as it is held.
async fn stream(
    connection: &mut TcpStream,
    (chunks, holding): (usize, &AtomicBool),
    gap: Duration,
    wants_usage: bool,
    epoch: Instant,
) -> anyhow::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.write_all(head.as_bytes()).await?;
    let start = r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_bench","choices":["#;
    let no_usage = if wants_usage { r#","usage":null"# } else { "" };
    let mut pace = interval(gap);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = 0;
    while sent < chunks || holding.load(Ordering::Relaxed) {
        sent += 1;
        pace.tick().await;
        let now = epoch.elapsed().as_micros();
        let event = format!(
            "{start}{{\"index\":0,\"delta\":{{\"content\":\"{now:0STAMP_DIGITS$}\"}},\"logprobs\":null,\"finish_reason\":null}}]{no_usage}}}\n\n"
        );
        send_chunk(connection, &event).await?;
    }
    let usage = if wants_usage {
        let total = 19 + sent;
        format!(
            "{start}],\"usage\":{{\"prompt_tokens\":19,\"completion_tokens\":{sent},\"total_tokens\":{total}}}}}\n\n"
        )
    } else {
        String::new()
    };
    let end = format!(
        "{start}{{\"index\":0,\"delta\":{{}},\"logprobs\":null,\"finish_reason\":\"stop\"}}]{no_usage}}}\n\n{usage}data: [DONE]\n\n"
    );
    send_chunk(connection, &end).await?;
    connection.write_all(b"0\r\n\r\n").await?;
    Ok(())
}

async fn send_chunk(connection: &mut TcpStream, data: &str) -> std::io::Result<()> {
    let framed = format!("{:x}\r\n{data}\r\n", data.len());
    connection.write_all(framed.as_bytes()).await
}
