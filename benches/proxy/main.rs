//! `make bench`: what a request through Tollgate costs, beside a direct call, nginx and a bare Pingora
//! proxy (`examples/bare_pingora.rs`), in one run, on the same upstream, in turns.
//!
//! CPU a request is the figure to trust: on a machine with other work it moves by a tenth where requests a
//! second move by half. Its ratio to bare Pingora is taken within each round; the table shows the median.
//! Everything is on loopback and bounded in count and time; whatever was started ends with the bench.
//!
//! `BENCH_QUICK=1` makes two short rounds, `BENCH_ONLY=nginx,bare` leaves the other proxies out.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints"
)]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a run are far below 2^52"
)]

mod load;
mod process;
mod proxies;
mod report;
mod upstream;

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::load::{Load, StreamLoad, WrkLoad};
use crate::proxies::{Proxy, Running};
use crate::report::{Report, Round};
use crate::upstream::{Answer, Upstream};

/// Far beyond what a run takes on a busy machine; a bench that hangs ends here.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// How many streams are open at once when memory is measured.
const OPEN_STREAMS: usize = 1_000;

/// How long and how often is measured.
struct Effort {
    rounds: usize,
    seconds: u32,
    memory_rounds: usize,
}

fn main() -> anyhow::Result<()> {
    let effort = if std::env::var("BENCH_QUICK").is_ok_and(|value| value == "1") {
        Effort {
            rounds: 2,
            seconds: 1,
            memory_rounds: 1,
        }
    } else {
        Effort {
            rounds: 7,
            seconds: 2,
            memory_rounds: 2,
        }
    };
    process::allow_open_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // The future is polled on this thread: children are asked to die with the thread that started them.
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = measure(&effort) => result,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
            () = tokio::time::sleep(TIME_LIMIT) => bail!("not done after {TIME_LIMIT:?}"),
        }
    })
}

async fn measure(effort: &Effort) -> anyhow::Result<()> {
    let proxies = Proxy::chosen()?;
    print!("{}", report::machine()?);

    let small = Load::Wrk(WrkLoad::small(effort.seconds));
    let alone = Load::Wrk(WrkLoad::alone());
    let body = Load::Wrk(WrkLoad::large(effort.seconds));
    let streams = Load::Streams(StreamLoad::crowd());

    let title = "Small JSON answer: 32 connections, request 250 bytes, answer 700 bytes";
    compare(title, &proxies, Answer::Json, &small, effort.rounds).await?;
    let title = "The same over one connection, so that nothing queues";
    compare(title, &proxies, Answer::Json, &alone, effort.rounds).await?;
    let title =
        "Request body of 300 KB: 32 connections, the upstream reads all of it before it answers";
    compare(title, &proxies, Answer::JsonAfterBody, &body, effort.rounds).await?;
    let title = "Streams: 128 at once, 200 chunks 10 ms apart; delay of a chunk between upstream and client";
    let answer = Answer::Stream {
        chunks: 200,
        gap: Duration::from_millis(10),
    };
    compare(title, &proxies, answer, &streams, effort.rounds).await?;
    open_streams(&proxies, effort.memory_rounds).await
}

/// Runs `load` through every proxy in turns and prints the comparison.
async fn compare(
    title: &'static str,
    proxies: &[Proxy],
    answer: Answer,
    load: &Load,
    rounds: usize,
) -> anyhow::Result<()> {
    let upstream = Upstream::start(answer).await?;
    let mut running = Vec::new();
    for proxy in proxies {
        running.push(Running::start(*proxy, &upstream).await?);
    }
    let warm_up = load.warm_up();
    for proxy in &mut running {
        let traffic = warm_up.run(proxy.address, &upstream).await;
        proxy.served += traffic.with_context(|| failed(proxy.proxy))?.requests;
    }

    let mut report = Report::new(title, load.unit());
    for round in 0..rounds {
        // There and back again: what changes on the machine meanwhile meets all of them.
        running.reverse();
        for proxy in &mut running {
            progress(&format!(
                "round {} of {rounds}: {}",
                round + 1,
                proxy.proxy.name()
            ));
            proxy.settle().await?;
            let before = proxy.cpu()?;
            let traffic = load
                .run(proxy.address, &upstream)
                .await
                .with_context(|| failed(proxy.proxy))?;
            // What a proxy does after the last answer, such as writing its ledger, counts as well.
            proxy.settle().await?;
            let cpu = proxy
                .cpu()?
                .map(|after| after.since(&before.unwrap_or_default()));
            proxy.served += traffic.requests;
            report.add(
                proxy.proxy,
                Round {
                    cpu,
                    resident_bytes: proxy.resident_bytes()?,
                    traffic,
                },
            );
        }
    }
    progress("");
    for proxy in &running {
        proxy.check_ledger().await?;
    }
    println!("{report}");
    Ok(())
}

fn failed(proxy: Proxy) -> String {
    format!("the load through {} failed", proxy.name())
}

/// Measures what a proxy's memory grows by for each open stream.
async fn open_streams(proxies: &[Proxy], rounds: usize) -> anyhow::Result<()> {
    let upstream = Upstream::start(Answer::Stream {
        chunks: 1,
        gap: Duration::from_millis(100),
    })
    .await?;
    let mut figures = Vec::new();
    for round in 0..rounds {
        for &proxy in proxies {
            if proxy == Proxy::Direct {
                continue;
            }
            progress(&format!(
                "round {} of {rounds}: {}",
                round + 1,
                proxy.name()
            ));
            // A fresh process each time: allocators seldom give back what they once had.
            let running = Running::start(proxy, &upstream).await?;
            load::held_streams(8, running.address, &upstream, || Ok(0)).await?;
            let before = running.resident_bytes()?.unwrap_or_default();
            let during = load::held_streams(OPEN_STREAMS, running.address, &upstream, || {
                Ok(running.resident_bytes()?.unwrap_or_default())
            })
            .await
            .with_context(|| failed(proxy))?;
            figures.push((proxy, before, during));
        }
    }
    progress("");
    println!("{}", report::open_streams(&figures, OPEN_STREAMS));
    Ok(())
}

/// Shows on a terminal what is being measured.
fn progress(text: &str) {
    use std::io::IsTerminal;
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}
