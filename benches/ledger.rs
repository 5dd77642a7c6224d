//! What a row costs: CPU microseconds of the appending thread and of the writer, the database's
//! growth and the memory, over a million rows and at an everyday pace.
//!
//! `cargo bench --bench ledger [-- ROWS]`. CPU time and not elapsed time: it is what can be trusted
//! on a machine that others use too.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its measurements and may stop at any fault"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tollgate::clock::UnixMicros;
use tollgate::ledger::{Closed, Ledger, Settings, Takeover};
use tollgate::money::NanoUsd;
use tollgate::record::{
    Admission, Api, Attempt, Cost, Outcome, Phase, Phases, RequestId, RequestRecord, Source,
    TokenType, Tokens, Units, Usage, UsageSource,
};

/// Rows between two lines of the report.
const STEP: u64 = 100_000;

fn main() {
    // `cargo bench` says so; anything else (`cargo test --all-targets`) only tries whether it runs.
    let measure = std::env::args().any(|argument| argument == "--bench");
    let mut asked = std::env::args().filter_map(|argument| argument.parse().ok());
    let rows: u64 = asked
        .next()
        .unwrap_or(if measure { 1_000_000 } else { 1_000 });
    let paces: &[u64] = if measure { &[100, 1_000, 5_000] } else { &[] };
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&Settings::new(folder.path()), Takeover::Refuse).unwrap();

    println!(
        "{:>9} {:>12} {:>12} {:>9} {:>10} {:>8}",
        "rows", "append µs", "writer µs", "sum µs", "bytes/row", "RSS MiB"
    );
    let mut number = 0;
    while number < rows {
        let cost = ingest(&ledger, number, STEP.min(rows - number), None);
        number += STEP.min(rows - number);
        report(&format!("{number}"), cost, folder.path(), number);
    }
    for &pace in paces {
        let cost = ingest(&ledger, number, pace * 4, Some(pace));
        number += pace * 4;
        report(&format!("{pace}/s"), cost, folder.path(), number);
    }
    assert_eq!(ledger.stats().written(), number);
    assert_eq!(ledger.close(Duration::from_secs(60)), Closed::Complete);
}

/// CPU microseconds a row, of the appending thread and of the writer's.
#[derive(Clone, Copy)]
struct RowCost {
    append: f64,
    writer: f64,
}

/// Records requests: as fast as possible, or so many a second.
fn ingest(ledger: &Ledger, first: u64, rows: u64, pace: Option<u64>) -> RowCost {
    let journal = ledger.journal();
    let mut append = 0;
    let others_before = cpu(ClockId::ProcessCPUTime) - cpu(ClockId::ThreadCPUTime);
    let began = Instant::now();
    let mut done = 0;
    while done < rows {
        let chunk = if pace.is_some() { 10 } else { 1_000 }.min(rows - done);
        let records: Vec<_> = (0..chunk).map(|n| record(first + done + n)).collect();
        let start = cpu(ClockId::ThreadCPUTime);
        for record in &records {
            journal.admit(&record.admission);
            journal.end(record);
        }
        append += cpu(ClockId::ThreadCPUTime) - start;
        done += chunk;
        if let Some(pace) = pace {
            let due = Duration::from_micros(done * 1_000_000 / pace);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    assert!(ledger.flush(Duration::from_secs(60)));
    let others = cpu(ClockId::ProcessCPUTime) - cpu(ClockId::ThreadCPUTime);
    let per_row = |nanos: i64| {
        Duration::from_nanos(nanos.unsigned_abs()).as_secs_f64() * 1e6
            / f64::from(u32::try_from(rows).unwrap())
    };
    RowCost {
        append: per_row(append),
        writer: per_row(others - others_before),
    }
}

fn report(name: &str, cost: RowCost, folder: &Path, rows: u64) {
    let database = fs::metadata(folder.join("tollgate.db")).unwrap().len();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    println!(
        "{name:>9} {:>12.2} {:>12.2} {:>9.2} {:>10} {:>8}",
        cost.append,
        cost.writer,
        cost.append + cost.writer,
        database / rows,
        kib / 1024
    );
}

/// CPU time so far, in nanoseconds.
fn cpu(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A streamed chat request as most are; three models, two keys, five requests a millisecond.
fn record(number: u64) -> RequestRecord {
    let models = [
        "gpt-5-mini-2025-08-07",
        "gpt-5-2025-08-07",
        "gpt-4.1-2025-04-14",
    ];
    let started_at = UnixMicros(1_795_168_800_000_000 + i64::try_from(number).unwrap() * 200);
    let mut tokens = Tokens::default();
    tokens[TokenType::Input] = Some(1_200 + number % 100);
    tokens[TokenType::InputCached] = Some(1_024);
    tokens[TokenType::Output] = Some(300 + number % 50);
    tokens[TokenType::Reasoning] = Some(64);
    let mut phases = Phases::default();
    for &phase in Phase::ALL {
        phases[phase] = Some(1_000 + number % 1_000 * (phase as u64 + 1));
    }
    RequestRecord {
        admission: Admission {
            id: RequestId::generate(),
            started_at,
            channel: Some("openai".into()),
            key: Some(
                if number.is_multiple_of(2) {
                    "team-a"
                } else {
                    "team-b"
                }
                .into(),
            ),
            api: Api::Chat,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            requested_model: Some("gpt-5-mini".into()),
            stream: Some(true),
            request_bytes: 5_120,
            session: None,
            end_user: None,
            tags: BTreeMap::from([("project".to_owned(), "search".to_owned())]),
            billable: true,
            worst: None,
            interrupted_cost: None,
        },
        served_model: Some(models[usize::try_from(number % 3).unwrap()].into()),
        service_tier: Some("default".into()),
        status: Some(200),
        outcome: Outcome::Ok,
        error_source: None,
        error_code: None,
        error_message: None,
        attempts: vec![Attempt {
            channel: "openai".into(),
            started_at,
            outcome: Outcome::Ok,
            status: Some(200),
            error_code: None,
            connect_us: Some(0),
            wait_us: Some(250_000),
        }],
        usage: Usage {
            tokens,
            units: Units::NONE,
            total: tokens.sum(),
            source: UsageSource::Reported,
        },
        cost: Some(Cost {
            amount: NanoUsd(1_234_500),
            price_version: "builtin-2026-11:gpt-5-mini".into(),
        }),
        phases,
        response_bytes: 48_000,
        upstream_request_id: Some("req_0123456789abcdef0123456789abcdef".into()),
        source: Source::Proxy,
        response_id: None,
        deferral: None,
        estimate: None,
        delivered_output_tokens: None,
        upstream_bytes: None,
        priced_at: None,
        assumed_cost: None,
    }
}
