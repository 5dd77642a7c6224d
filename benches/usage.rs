//! How long questions about usage take over 90 days of 10 million requests.
//!
//! `cargo bench --bench usage`. The roll-ups are written by SQL, as the ledger writes them: what these
//! questions read, without the gigabytes of rows that they do not. Of each question the best of the times
//! is told, on the clock and of the processor: where others work too, only these say what it takes.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its measurements and may stop at any fault"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use rusqlite::Connection;
use tollgate::clock::UnixMicros;
use tollgate::ledger::query::{
    GroupBy, PricesAt, Step, TimeseriesQuery, TopOrder, TopQuery, UsageQuery,
};
use tollgate::ledger::{Closed, Ledger, PriceBook, Reader, Settings, Takeover};
use tollgate::pricing::PriceTable;

/// 2026-11-20T00:00:00Z, a minute past it.
const UNTIL: i64 = 1_795_132_800_000_000 + 60_000_000;

const MINUTE: i64 = 60_000_000;

/// How often each question is asked.
const TIMES: usize = 9;

fn main() {
    // `cargo bench` says so; anything else (`cargo test --all-targets`) only tries whether it runs.
    let measure = std::env::args().any(|argument| argument == "--bench");
    let days = if measure { 90 } else { 1 };
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&Settings::new(folder.path()), Takeover::Refuse).unwrap();
    assert_eq!(ledger.close(Duration::from_secs(60)), Closed::Complete);
    let [requests, minutes, hours] = fill(folder.path(), days);
    println!("{days} days, {requests} requests, {minutes} roll-ups by minute, {hours} by hour");

    let reader = Reader::open(folder.path()).unwrap();
    let prices = PricesAt {
        book: PriceBook {
            table: Arc::new(PriceTable::builtin()),
            sellers: Arc::default(),
        },
        at: UnixMicros(UNTIL),
    };
    let query = |by: Vec<GroupBy>, zone: &str| UsageQuery {
        // Neither end on an hour.
        since: Some(UnixMicros(UNTIL - days * 24 * 60 * MINUTE)),
        until: Some(UnixMicros(UNTIL)),
        by,
        timezone: TimeZone::get(zone).unwrap(),
        prices: Some(prices.clone()),
        ..UsageQuery::default()
    };
    ask("summary", || reader.usage(&query(vec![], "UTC")).unwrap());
    ask("summary by model, with the time before", || {
        let compared = UsageQuery {
            compare: true,
            ..query(vec![GroupBy::Model], "UTC")
        };
        reader.usage(&compared).unwrap()
    });
    ask("summary by day", || {
        reader
            .usage(&query(vec![GroupBy::Day], "Europe/Berlin"))
            .unwrap()
    });
    ask("summary by day, half an hour off", || {
        reader
            .usage(&query(vec![GroupBy::Day], "Asia/Kolkata"))
            .unwrap()
    });
    for (name, step) in [("1d", 24), ("2h", 2)] {
        ask(&format!("timeseries by model, step {name}"), || {
            let series = TimeseriesQuery {
                usage: query(vec![GroupBy::Model], "UTC"),
                step: Some(Step::at_least(Duration::from_secs(step * 3_600))),
                top: 10,
            };
            reader.timeseries(&series).unwrap()
        });
    }
    ask("top keys, with their ranks before", || {
        let top = TopQuery {
            usage: UsageQuery {
                compare: true,
                ..query(vec![GroupBy::Key], "UTC")
            },
            order: TopOrder::Cost,
            limit: 10,
        };
        reader.top(&top).unwrap()
    });
    ask("heatmap of days", || {
        reader.days(&query(vec![], "Europe/Berlin")).unwrap()
    });
    ask("heatmap of hours", || {
        reader.week_hours(&query(vec![], "Europe/Berlin")).unwrap()
    });
    ask("heatmap of hours, half an hour off", || {
        reader.week_hours(&query(vec![], "Asia/Kolkata")).unwrap()
    });
}

fn ask<T>(name: &str, question: impl Fn() -> T) {
    let times: Vec<[Duration; 2]> = (0..TIMES)
        .map(|_| {
            let (began, worked) = (Instant::now(), processor_time());
            let answer = question();
            let took = [began.elapsed(), processor_time().saturating_sub(worked)];
            drop(answer);
            took
        })
        .collect();
    let best = |which: usize| {
        let took = times.iter().map(|took| took[which].as_secs_f64() * 1e3);
        took.fold(f64::INFINITY, f64::min)
    };
    println!(
        "{name:<42} {:>8.1} ms, of the processor {:>8.1}",
        best(0),
        best(1),
    );
}

/// How long this thread has run, as Linux tells it.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(told.split(' ').next().unwrap().parse().unwrap())
}

/// Names that have prices.
const MODELS: [&str; 7] = [
    "gpt-5",
    "gpt-5-mini",
    "gpt-4.1",
    "gpt-4o",
    "claude-opus-4-5",
    "claude-haiku-4-5",
    "gemini-2.5-pro",
];

/// 26 groups of models, channels and keys, of which each minute has 13 with 6 requests each. Tells the
/// requests and the roll-ups.
fn fill(data_dir: &Path, days: i64) -> [i64; 3] {
    let connection = Connection::open(data_dir.join("tollgate.db")).unwrap();
    let first = UNTIL - days * 24 * 60 * MINUTE;
    let sums = "requests, errors, ok_requests, upstream_error_requests, rate_limited_requests, \
                quota_exhausted_requests, timeout_requests, connect_error_requests, \
                client_closed_requests, blocked_requests, refused_requests, no_channel_requests, \
                interrupted_requests, internal_requests, unpriced_requests, missing_usage_requests, \
                total_us_sum, total_us_count, first_token_us_sum, first_token_us_count, \
                request_bytes, response_bytes, input_tokens, input_cached_tokens, output_tokens, \
                reasoning_tokens, total_tokens, cost_nanousd";
    let added: Vec<String> = sums
        .split(", ")
        .map(|name| format!("sum({})", name.trim()))
        .collect();
    let models = format!("{MODELS:?}");
    connection
        .execute_batch(&format!(
            "BEGIN;
             WITH RECURSIVE minutes(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM minutes \
             WHERE n < {last}), groups(g) AS (SELECT 0 UNION ALL SELECT g + 1 FROM groups WHERE g < 25)
             INSERT INTO usage_minutely (minute, channel, model, api, key, {sums})
             SELECT {first} + n * {MINUTE}, 'channel-' || (g % 3), \
             json_extract('{models}', '$[' || (g % 7) || ']'), 'chat', 'team-' || (g % 13), 6, 1, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 18000000 + n, 6, \
             4000000 + n, 6, 30720, 288000, 7200 + n % 100, 6144, 1800, 384, 15528, 7407000 + n \
             FROM minutes, groups WHERE (n + g) % 2 = 0;
             INSERT INTO usage_hourly (hour, channel, model, api, key, tier, partial_requests, \
             estimated_requests, {sums})
             SELECT minute - minute % 3600000000, channel, model, api, key, 'default', 0, 0, {added} \
             FROM usage_minutely GROUP BY 1, 2, 3, 4, 5;
             COMMIT;
             PRAGMA wal_checkpoint(TRUNCATE);",
            last = days * 24 * 60 - 1,
            added = added.join(", "),
        ))
        .unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get(0)).unwrap();
    [
        count("SELECT sum(requests) FROM usage_hourly"),
        count("SELECT count(*) FROM usage_minutely"),
        count("SELECT count(*) FROM usage_hourly"),
    ]
}
