//! The load: wrk for answers that come whole, a client of streams here. Both are bounded.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::upstream::{STAMP_DIGITS, STAMP_MARK, Upstream};

/// What clients saw of one run.
pub(crate) struct Traffic {
    /// Requests that were answered whole.
    pub(crate) requests: u64,
    /// What CPU time is divided by: requests, or chunks of streams.
    pub(crate) units: u64,
    pub(crate) elapsed: Duration,
    /// Of the whole answer, or of a chunk on its way through.
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

pub(crate) enum Load {
    Wrk(WrkLoad),
    Streams(StreamLoad),
}

impl Load {
    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::Wrk(_) => "request",
            Self::Streams(_) => "chunk",
        }
    }

    pub(crate) async fn run(
        &self,
        address: SocketAddr,
        upstream: &Upstream,
    ) -> anyhow::Result<Traffic> {
        match self {
            Self::Wrk(load) => load.run(address).await,
            Self::Streams(load) => load.run(address, upstream).await,
        }
    }

    /// The same for a short while, to open connections and fill caches.
    pub(crate) fn warm_up(&self) -> Self {
        match self {
            Self::Wrk(load) => Self::Wrk(WrkLoad {
                seconds: 1,
                body: load.body.clone(),
                ..*load
            }),
            Self::Streams(_) => Self::Streams(StreamLoad { streams: 8 }),
        }
    }
}

/// As many requests as connections can carry, one after the other on each.
pub(crate) struct WrkLoad {
    connections: u32,
    seconds: u32,
    body: String,
}

impl WrkLoad {
    pub(crate) fn small(seconds: u32) -> Self {
        Self {
            connections: 32,
            seconds,
            body: request_body(250, false),
        }
    }

    pub(crate) fn alone() -> Self {
        Self {
            connections: 1,
            ..Self::small(1)
        }
    }

    pub(crate) fn large(seconds: u32) -> Self {
        Self {
            connections: 32,
            seconds,
            body: request_body(300_000, false),
        }
    }

    async fn run(&self, address: SocketAddr) -> anyhow::Result<Traffic> {
        let folder = tempfile::tempdir()?;
        let script = folder.path().join("load.lua");
        std::fs::write(
            &script,
            format!(
                r#"wrk.method = "POST"
                wrk.headers["content-type"] = "application/json"
                wrk.headers["authorization"] = "Bearer sk-bench"
                wrk.body = [[{}]]
                function done(summary, latency)
                    local errors = summary.errors
                    io.write(string.format("\nmeasured %d %d %d %d %d\n", summary.requests, summary.duration,
                        latency:percentile(50), latency:percentile(99),
                        errors.connect + errors.read + errors.write + errors.timeout + errors.status))
                end"#,
                self.body
            ),
        )?;
        let child = Command::new("wrk")
            .args(["-t1", "--timeout", "10s", "-s"])
            .arg(script)
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", self.seconds))
            .arg(format!("http://{address}/v1/chat/completions"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("wrk does not start")?;
        let output = Wrk(child).output().await?;
        let measured = output
            .lines()
            .find_map(|line| line.strip_prefix("measured "))
            .with_context(|| format!("wrk says:\n{output}"))?;
        let figures: Vec<u64> = measured
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let &[requests, microseconds, p50, p99, errors] = figures.as_slice() else {
            bail!("wrk printed {} figures", figures.len());
        };
        ensure!(
            errors == 0 && requests > 0,
            "{errors} errors; wrk says:\n{output}"
        );
        Ok(Traffic {
            requests,
            units: requests,
            elapsed: Duration::from_micros(microseconds),
            p50: Duration::from_micros(p50),
            p99: Duration::from_micros(p99),
        })
    }
}

/// A running wrk, which ends with the bench.
struct Wrk(Child);

impl Wrk {
    async fn output(mut self) -> anyhow::Result<String> {
        while self.0.try_wait()?.is_none() {
            sleep(Duration::from_millis(20)).await;
        }
        let output = self.0.stdout.take().context("wrk has no output")?;
        Ok(std::io::read_to_string(output)?)
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Streams that all begin at once.
pub(crate) struct StreamLoad {
    streams: usize,
}

impl StreamLoad {
    pub(crate) fn crowd() -> Self {
        Self { streams: 128 }
    }

    async fn run(&self, address: SocketAddr, upstream: &Upstream) -> anyhow::Result<Traffic> {
        let started = Instant::now();
        let mut streams = JoinSet::new();
        for _ in 0..self.streams {
            streams.spawn(read_stream(
                address,
                upstream.epoch,
                upstream.chunks,
                Arc::default(),
            ));
        }
        let mut delays = Vec::with_capacity(self.streams * upstream.chunks);
        let reading = async {
            while let Some(ended) = streams.join_next().await {
                delays.extend(ended??);
            }
            anyhow::Ok(())
        };
        timeout(Duration::from_secs(60), reading)
            .await
            .context("the streams do not end")??;
        let elapsed = started.elapsed();
        delays.sort_unstable();
        Ok(Traffic {
            requests: self.streams as u64,
            units: delays.len() as u64,
            elapsed,
            p50: delays[delays.len() / 2],
            p99: delays[delays.len() * 99 / 100],
        })
    }
}

/// Opens `count` streams, calls `sample` for a while when all of them flow, reads them to their end, and
/// returns the largest sample.
pub(crate) async fn held_streams(
    count: usize,
    address: SocketAddr,
    upstream: &Upstream,
    sample: impl Fn() -> anyhow::Result<u64>,
) -> anyhow::Result<u64> {
    upstream.holding.store(true, Ordering::Relaxed);
    let flowing = Arc::new(AtomicUsize::new(0));
    let mut streams = JoinSet::new();
    for _ in 0..count {
        streams.spawn(read_stream(
            address,
            upstream.epoch,
            upstream.chunks,
            Arc::clone(&flowing),
        ));
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while flowing.load(Ordering::Relaxed) < count {
        if let Some(ended) = streams.try_join_next() {
            ended??;
            bail!("a stream ended before all {count} had begun");
        }
        ensure!(Instant::now() < deadline, "the streams do not begin");
        sleep(Duration::from_millis(5)).await;
    }
    let mut largest = 0;
    for _ in 0..10 {
        largest = largest.max(sample()?);
        sleep(Duration::from_millis(100)).await;
    }
    if let Some(ended) = streams.try_join_next() {
        ended??;
        bail!("a stream ended while memory was measured");
    }
    upstream.holding.store(false, Ordering::Relaxed);
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    Ok(largest)
}

/// Reads one stream to its end and returns how long each chunk took from the upstream to here. `flowing`
/// counts the streams whose first chunk has come.
async fn read_stream(
    address: SocketAddr,
    epoch: Instant,
    chunks: usize,
    flowing: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    let body = request_body(250, true);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nauthorization: Bearer sk-bench\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await?;

    let mut delays = Vec::with_capacity(chunks);
    // What has arrived and was not looked at yet; a stamp may come in two parts.
    let mut unread = Vec::with_capacity(16 * 1024);
    loop {
        let count = connection.read_buf(&mut unread).await?;
        ensure!(
            count > 0,
            "a stream ended after {} of {chunks} chunks: {}",
            delays.len(),
            String::from_utf8_lossy(&unread)
        );
        let now = epoch.elapsed();
        let mut looked_at = 0;
        while let Some(at) = memmem::find(&unread[looked_at..], STAMP_MARK) {
            let start = looked_at + at + STAMP_MARK.len();
            let Some(stamp) = unread.get(start..start + STAMP_DIGITS) else {
                break;
            };
            let sent = Duration::from_micros(std::str::from_utf8(stamp)?.parse()?);
            if delays.is_empty() {
                flowing.fetch_add(1, Ordering::Relaxed);
            }
            delays.push(now.saturating_sub(sent));
            looked_at = start + STAMP_DIGITS;
        }
        if unread.ends_with(b"0\r\n\r\n") && memmem::find(&unread, b"data: [DONE]").is_some() {
            ensure!(
                delays.len() >= chunks,
                "{} of {chunks} chunks came",
                delays.len()
            );
            return Ok(delays);
        }
        unread.drain(..looked_at);
    }
}

/// A request of Chat Completions with `length` bytes, its model last, as agents send it.
fn request_body(length: usize, stream: bool) -> String {
    let body = |content: &str| {
        format!(
            r#"{{"messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"{content}"}}],"temperature":0.2,"max_completion_tokens":256,"stream":{stream},"model":"gpt-4o-mini"}}"#
        )
    };
    let words = "The quick brown fox jumps over the lazy dog. ";
    let missing = length.saturating_sub(body("").len());
    body(&words.repeat(missing / words.len() + 1)[..missing])
}
