//! How long it takes to rebuild windows after a start: ten million requests of thirty days, ten groups
//! a minute. First the reading alone, then into rules: those that ship, and some that look far back.
//!
//! `cargo bench --bench rebuild [-- DAYS]`. The requests of the last hour are recorded as the sidecar
//! does it, and are read one by one. Of those before it only the sums by minute are made, with SQL:
//! ten million rows would take minutes to write, and nothing reads them.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its measurements and may stop at any fault"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tollgate::clock::UnixMicros;
use tollgate::config::BudgetSettings;
use tollgate::ledger::query::{Past, PastQuery};
use tollgate::ledger::{Closed, Ledger, Reader, Settings, Takeover};
use tollgate::money::NanoUsd;
use tollgate::record::{
    Admission, Api, Cost, Outcome, Phase, Phases, RequestId, RequestRecord, Sketch, Source,
    TokenType, Tokens, Units, Usage, UsageSource,
};
use tollgate::rules::{KnownNames, NoHands, RuleSet, Rules, load, parse};

/// The rules that ship.
const SHIPPED: [&str; 5] = ["burn", "errors", "latency", "quota", "spend"];
/// Rules that look far back.
const FAR: &str = "
groups:
- name: far
  rules:
  - {alert: MonthByChannel, metric: cost, window: month, by: [channel], critical: 9k USD}
  - {alert: MonthByKey, metric: tokens, window: month, by: [key], critical: 90B tokens}
  - {alert: ThirtyDays, metric: cost, window: 30d, by: [model, key], critical: 9k USD}
  - {alert: SlowWeek, metric: latency, stat: p95, window: 7d, by: [channel], critical: 90s}
  - {alert: SlowestHour, metric: latency, stat: max, window: 1h, by: ['tag:project'], critical: 90s}
";
/// 2026-11-20T10:00:00Z.
const END: UnixMicros = UnixMicros(1_795_168_800_000_000);
/// Channels, models and keys in use together.
const CALLERS: u64 = 5;
/// Requests of a caller that end in the minute they began in, and such that end in the next.
const A_MINUTE: [u64; 2] = [30, 16];

fn main() {
    // `cargo bench` says so; anything else (`cargo test --all-targets`) only tries whether it runs.
    let measure = std::env::args().any(|argument| argument == "--bench");
    let mut asked = std::env::args().filter_map(|argument| argument.parse().ok());
    let days: u64 = asked.next().unwrap_or(if measure { 30 } else { 1 });
    let folder = tempfile::tempdir().unwrap();
    let one_by_one = record_last_hour(folder.path());
    let summed = sum_up(folder.path(), days * 24 * 60 - 60);
    println!("{} requests in {days} days", one_by_one + summed);

    let reader = Reader::open(folder.path()).unwrap();
    let since = Some(END.minus(Duration::from_secs(days * 24 * 3600)));
    let requests_since = Some(END.minus(Duration::from_secs(3600)));
    println!("{:>32} {:>9} {:>9} {:>9}", "what", "groups", "rows", "ms");
    for (name, query) in [
        (
            "sums",
            PastQuery {
                minutes_since: since,
                ..PastQuery::default()
            },
        ),
        (
            "sums and distributions",
            PastQuery {
                minutes_since: since,
                sketches: true,
                ..PastQuery::default()
            },
        ),
        (
            "the last hour's requests",
            PastQuery {
                requests_since,
                tags: true,
                ..PastQuery::default()
            },
        ),
        (
            "all of it",
            PastQuery {
                minutes_since: since,
                sketches: true,
                requests_since,
                tags: true,
                interrupted_since: requests_since,
                deferred_since: requests_since,
            },
        ),
    ] {
        for _ in 0..3 {
            read(&reader, name, &query, one_by_one + summed);
        }
    }
    let set = rules();
    println!("into {} rules", set.rules.len());
    for _ in 0..3 {
        rebuild(&reader, &set);
    }
}

fn rules() -> RuleSet {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let files: Vec<PathBuf> = SHIPPED
        .map(|name| folder.join(name).with_extension("yaml"))
        .into();
    let (zone, known) = (jiff::tz::TimeZone::UTC, KnownNames::default());
    let mut set = load(&files, &zone, &known).unwrap().set;
    let far = parse(Path::new("far.yaml"), FAR, &zone, &known).unwrap();
    set.rules.extend(far.set.rules);
    set
}

/// As a start does it, but for one snapshot of all: what is summed and what is read one by one are told
/// apart.
fn rebuild(reader: &Reader, set: &RuleSet) {
    let budgets = BudgetSettings::default();
    let rules = Rules::new(set, budgets.clone(), false, Arc::new(NoHands));
    let mut preparation = rules.prepare(set, budgets, true, END);
    let needs = preparation.needs();
    for (name, query) in [
        (
            "sums into rules",
            PastQuery {
                minutes_since: needs.minutes_since,
                sketches: needs.sketches,
                ..PastQuery::default()
            },
        ),
        (
            "rows into rules",
            PastQuery {
                requests_since: needs.rows_since,
                tags: true,
                ..PastQuery::default()
            },
        ),
    ] {
        let (mut groups, mut rows) = (0, 0);
        let began = Instant::now();
        reader
            .past(&query, None, |past| match past {
                Past::Minute(minute) => {
                    groups += 1;
                    preparation.minute(minute, END);
                }
                Past::Request(sample) => {
                    rows += 1;
                    preparation.row(sample, END);
                }
                Past::Held(_) => {}
            })
            .unwrap();
        print(name, groups, rows, began.elapsed());
    }
    let began = Instant::now();
    preparation.install(None, END).unwrap();
    print("put into force", 0, 0, began.elapsed());
    let known = |name: &str| {
        let views = rules.view(END);
        let view = views.iter().find(|view| *view.rule.name == *name).unwrap();
        view.alerts.iter().any(|alert| alert.value.is_some())
    };
    assert!(known("MonthByKey") && known("SlowestHour"));
}

fn print(name: &str, groups: u64, rows: u64, took: Duration) {
    let ms = took.as_secs_f64() * 1e3;
    println!("{name:>32} {groups:>9} {rows:>9} {ms:>9.1}");
}

fn read(reader: &Reader, name: &str, query: &PastQuery, all: u64) {
    let (mut groups, mut rows, mut requests, mut timed) = (0, 0, 0, 0);
    let began = Instant::now();
    reader
        .past(query, None, |past| match past {
            Past::Minute(minute) => {
                groups += 1;
                requests += minute.requests;
                timed += minute.latency_us.as_ref().map_or(0, Sketch::count);
            }
            Past::Request(_) => rows += 1,
            Past::Held(_) => {}
        })
        .unwrap();
    let took = began.elapsed();
    assert!(query.minutes_since.is_none() || requests == all);
    assert!(!query.sketches || timed == all);
    print(name, groups, rows, took);
}

/// The requests of the last hour, as the sidecar records them; how many.
fn record_last_hour(data_dir: &Path) -> u64 {
    let settings = Settings {
        retention: None,
        ..Settings::new(data_dir)
    };
    let ledger = Ledger::open(&settings, Takeover::Refuse).unwrap();
    let journal = ledger.journal();
    let mut recorded = 0;
    for minute in 0..60 {
        let start = END.minus(Duration::from_secs(3600 - minute * 60));
        for caller in 0..CALLERS {
            for n in 0..A_MINUTE[0] + A_MINUTE[1] {
                let (after, total_us) = if n < A_MINUTE[0] {
                    (n * 1_000_000, latency_us(recorded))
                } else {
                    (59_000_000, 1_000_000 + latency_us(recorded))
                };
                let started_at = start.plus(Duration::from_micros(after));
                journal.end(&record(caller, started_at, total_us));
                recorded += 1;
            }
        }
    }
    assert_eq!(ledger.close(Duration::from_secs(600)), Closed::Complete);
    recorded
}

/// The sums of the minutes before that, as their requests would have made them; of how many.
fn sum_up(data_dir: &Path, minutes: u64) -> u64 {
    let mut connection = Connection::open(data_dir.join("tollgate.db")).unwrap();
    let transaction = connection.transaction().unwrap();
    let mut insert = transaction
        .prepare(
            "INSERT INTO window_minutely (ended_minute, started_minute, channel, requested_model, \
             served_model, api, key, requests, settled, errors, cost_nanousd, total_tokens, input_tokens, \
             output_tokens, latency_us, ttft_us, pace_milli) \
             VALUES (?, ?, ?, ?, ?, 'chat', ?, ?, 0, 0, 1000000, 1000, 700, 300, ?, ?, ?)",
        )
        .unwrap();
    let mut summed = 0;
    let last = END.minus(Duration::from_secs(3600));
    for minute in 0..minutes {
        let ended = last.minus(Duration::from_secs(60 * (minute + 1)));
        for caller in 0..CALLERS {
            for (later, requests) in (0..).zip(A_MINUTE) {
                let mut sketches = [0, 1, 2].map(|_| Sketch::default());
                for n in 0..requests {
                    let us = latency_us(summed + n);
                    for (sketch, value) in sketches.iter_mut().zip([us, us / 5, us / 40]) {
                        sketch.add(value);
                    }
                }
                let [latency, ttft, pace] = sketches.map(|sketch| sketch.encode());
                insert
                    .execute((
                        ended.0,
                        ended.minus(Duration::from_secs(60 * later)).0,
                        format!("channel-{}", caller % 3),
                        "gpt-5-mini",
                        "gpt-5-mini-2025-08-07",
                        format!("team-{caller}"),
                        i64::try_from(requests).unwrap(),
                        latency,
                        ttft,
                        pace,
                    ))
                    .unwrap();
                summed += requests;
            }
        }
    }
    drop(insert);
    transaction.commit().unwrap();
    summed
}

/// Spread over four seconds, the same at every run.
fn latency_us(n: u64) -> u64 {
    50_000 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 4_000_000
}

fn record(caller: u64, started_at: UnixMicros, total_us: u64) -> RequestRecord {
    let mut tokens = Tokens::default();
    tokens[TokenType::Input] = Some(700);
    tokens[TokenType::Output] = Some(300);
    let mut phases = Phases::default();
    phases[Phase::Total] = Some(total_us);
    phases[Phase::FirstToken] = Some(total_us / 5);
    RequestRecord {
        admission: Admission {
            id: RequestId::generate_at(started_at),
            started_at,
            channel: Some(format!("channel-{}", caller % 3).into()),
            key: Some(format!("team-{caller}").into()),
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
        served_model: Some("gpt-5-mini-2025-08-07".into()),
        service_tier: None,
        status: Some(200),
        outcome: Outcome::Ok,
        error_source: None,
        error_code: None,
        error_message: None,
        attempts: Vec::new(),
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
        upstream_request_id: None,
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
