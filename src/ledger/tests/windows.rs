//! What windows are rebuilt from is the sum of the rows, whatever became of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::sample::{START, admission, any_record, record};
use super::{Manual, WITHOUT_HOURS, query_number, rows, settings};
use crate::clock::UnixMicros;
use crate::ledger::query::{Past, PastQuery, Reader};
use crate::ledger::{catch_up, database, migrations, windows};
use crate::money::NanoUsd;
use crate::record::{
    Api, Deferral, Outcome, Phase, RequestRecord, Sketch, TokenType, Usage, UsageSource, Worst,
};

/// Ended and started minute, channel, asked and served model, API and key.
type Key = (i64, i64, String, String, String, String, String);

/// Everything else of a group.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    requests: i64,
    settled: i64,
    errors: i64,
    cost: Option<i64>,
    tokens: Option<i64>,
    input: Option<i64>,
    output: Option<i64>,
    latency: Sketch,
    ttft: Sketch,
    pace: Sketch,
}

fn stored_sums(data_dir: &Path) -> BTreeMap<Key, Sums> {
    let connection = Connection::open(database::path_in(data_dir)).unwrap();
    let mut statement = connection
        .prepare("SELECT * FROM window_minutely ORDER BY 1, 2, 3, 4, 5, 6, 7")
        .unwrap();
    let sums = statement.query_map([], |row| {
        let key = (
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
            row.get(6)?,
        );
        let sketch = |column| Sketch::decode(&row.get::<_, Vec<u8>>(column).unwrap()).unwrap();
        let sums = Sums {
            requests: row.get(7)?,
            settled: row.get(8)?,
            errors: row.get(9)?,
            cost: row.get(10)?,
            tokens: row.get(11)?,
            input: row.get(12)?,
            output: row.get(13)?,
            latency: sketch(14),
            ttft: sketch(15),
            pace: sketch(16),
        };
        Ok((key, sums))
    });
    sums.unwrap().map(Result::unwrap).collect()
}

/// The same from the rows, one by one and without what the ledger has for it.
fn sums_of_rows(data_dir: &Path) -> BTreeMap<Key, Sums> {
    let minute = |at: i64| at.div_euclid(60_000_000) * 60_000_000;
    let number = |count: u64| i64::try_from(count).unwrap();
    let mut groups: BTreeMap<Key, Sums> = BTreeMap::new();
    for row in rows(data_dir) {
        if ["blocked", "refused", "no_channel"].contains(&row.outcome.as_str()) {
            continue;
        }
        let settles = row.deferral == Some(Deferral::Settled);
        if !row.billable && !settles {
            continue;
        }
        let latency = row.phases[Phase::Total];
        let ttft = row.phases[Phase::FirstToken];
        let started = row.started_at.0;
        let key = (
            minute(started + number(latency.unwrap_or(0))),
            minute(started),
            row.channel.unwrap_or_default(),
            row.requested_model.unwrap_or_default(),
            row.served_model.unwrap_or_default(),
            row.api.to_string(),
            row.key.unwrap_or_default(),
        );
        let sums = groups.entry(key).or_default();
        let add = |sum: &mut Option<i64>, value: Option<i64>| {
            *sum = sum.map_or(value, |sum| Some(sum + value.unwrap_or(0)));
        };
        sums.requests += i64::from(!settles);
        sums.settled += i64::from(settles);
        sums.errors += i64::from(row.outcome.is_error() && !settles);
        let cost = row.cost.map(|cost| cost.amount).or(row.assumed_cost);
        add(&mut sums.cost, cost.map(|cost| cost.0));
        add(&mut sums.tokens, row.usage.total.map(number));
        let mut output = None;
        for (kind, count) in row.usage.tokens.iter() {
            let out = matches!(
                kind,
                TokenType::Output
                    | TokenType::Reasoning
                    | TokenType::OutputAudio
                    | TokenType::OutputImage
            );
            if out {
                add(&mut output, Some(number(count)));
            } else {
                add(&mut sums.input, Some(number(count)));
            }
        }
        add(&mut sums.output, output);
        if settles {
            continue;
        }
        if let Some(us) = latency {
            sums.latency.add(us);
        }
        if let Some(us) = ttft {
            sums.ttft.add(us);
        }
        if let (Some(output), Some(latency), Some(ttft)) = (output, latency, ttft)
            && output > 1
            && latency > ttft
        {
            let after_first = output.unsigned_abs() - 1;
            sums.pace
                .add(after_first * 1_000_000_000 / (latency - ttft));
        }
    }
    groups
}

pub(super) fn assert_windows_are_the_rows(data_dir: &Path) {
    assert_eq!(stored_sums(data_dir), sums_of_rows(data_dir));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_sums_are_those_of_the_rows_in_any_batching(
        records in prop::collection::vec((any_record(), any::<bool>()), 0..60),
        batches in prop::collection::vec(1..20_usize, 0..8),
    ) {
        let folder = TempDir::new().unwrap();
        let mut ledger = Manual::open(&settings(&folder));
        let mut left = records.iter();
        for batch in batches {
            for (record, ends) in left.by_ref().take(batch) {
                ledger.journal.admit(&record.admission);
                if *ends {
                    ledger.journal.end(record);
                }
            }
            ledger.round();
            assert_windows_are_the_rows(folder.path());
        }
        for (record, _) in left {
            ledger.journal.end(record);
        }
        ledger.kill();
        catch_up(folder.path()).unwrap();
        if !records.is_empty() {
            assert_windows_are_the_rows(folder.path());
        }

        // And if there had been no such table.
        let connection = Connection::open(database::path_in(folder.path()));
        if let Ok(mut connection) = connection.and_then(|connection| {
            connection.execute("DELETE FROM window_minutely", []).map(|_| connection)
        }) {
            windows::register(&connection).unwrap();
            let transaction = connection.transaction().unwrap();
            windows::backfill(&transaction).unwrap();
            transaction.commit().unwrap();
            assert_windows_are_the_rows(folder.path());
        }
    }
}

pub(super) fn worst(cost: i64, input_cost: i64) -> Worst {
    Worst {
        cost: Some(NanoUsd(cost)),
        input_cost: Some(NanoUsd(input_cost)),
        ..Worst::default()
    }
}

#[test]
fn an_interrupted_request_has_spent_its_input_and_may_have_spent_the_rest() {
    let folder = TempDir::new().unwrap();
    let ledger = Manual::open(&settings(&folder));
    let mut admitted = admission(0);
    admitted.worst = Some(worst(900, 100));
    admitted.interrupted_cost = Some(NanoUsd(100));
    ledger.journal.admit(&admitted);
    ledger.journal.admit(&admission(1));
    ledger.kill();
    catch_up(folder.path()).unwrap();
    let number = |sql| query_number(folder.path(), sql);
    assert_eq!(
        number("SELECT worst_cost_nanousd FROM requests WHERE assumed_cost_nanousd = 100"),
        900
    );
    let sums = "FROM window_minutely WHERE ended_minute = started_minute AND requests = 2 \
                AND errors = 2 AND total_tokens IS NULL";
    assert_eq!(number(&format!("SELECT cost_nanousd {sums}")), 100);
    assert_windows_are_the_rows(folder.path());
}

#[test]
fn only_a_request_that_is_not_settled_keeps_its_worst_case() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let with = |n, change: fn(&mut RequestRecord)| {
        let mut record = record(admission(n));
        record.admission.worst = Some(worst(900, 100));
        record.assumed_cost = Some(NanoUsd(7));
        change(&mut record);
        record
    };
    for record in [
        with(0, |_| {}),
        with(1, |record| record.cost = None),
        with(2, |record| {
            record.cost = None;
            record.usage = Usage::absent(UsageSource::Missing);
            record.response_id = Some("resp_1".into());
            record.deferral = Some(Deferral::Opened);
        }),
        // Nobody awaits it: it is counted elsewhere.
        with(3, |record| {
            record.cost = None;
            record.response_id = Some("resp_2".into());
            record.deferral = Some(Deferral::Settled);
        }),
    ] {
        ledger.journal.end(&record);
    }
    ledger.round();
    let connection = Connection::open(database::path_in(folder.path())).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT assumed_cost_nanousd, worst_cost_nanousd FROM requests ORDER BY started_at",
        )
        .unwrap();
    let kept: Vec<(Option<i64>, Option<i64>)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    // One that has a cost needs none assumed.
    assert_eq!(
        kept,
        [
            (None, None),
            (Some(7), None),
            (Some(7), Some(900)),
            (None, None)
        ]
    );
    assert_windows_are_the_rows(folder.path());
}

#[test]
fn what_tollgate_turned_away_is_in_no_window() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    for (n, &outcome) in (0..).zip(Outcome::ALL) {
        let mut record = record(admission(n));
        record.outcome = outcome;
        ledger.journal.end(&record);
    }
    ledger.round();
    let sum = "SELECT sum(requests) FROM window_minutely";
    let all = i64::try_from(Outcome::ALL.len()).unwrap();
    assert_eq!(query_number(folder.path(), sum), all - 3);
    assert_windows_are_the_rows(folder.path());
}

#[test]
fn what_is_never_asked_for_uses_nothing_up() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let looked_after = |n, change: fn(&mut RequestRecord)| {
        let mut record = record(admission(n));
        record.admission.api = Api::Responses;
        record.admission.billable = false;
        record.response_id = Some("resp_1".into());
        change(&mut record);
        record
    };
    for record in [
        looked_after(0, |record| record.usage = Usage::absent(UsageSource::None)),
        looked_after(1, |record| {
            record.admission.billable = true;
            record.deferral = Some(Deferral::Opened);
            record.usage = Usage::absent(UsageSource::Missing);
            record.cost = None;
        }),
        // It failed, and that is told by who looks first.
        looked_after(2, |record| {
            record.deferral = Some(Deferral::Settled);
            record.outcome = Outcome::UpstreamError;
        }),
    ] {
        ledger.journal.end(&record);
    }
    ledger.round();
    let connection = Connection::open(database::path_in(folder.path())).unwrap();
    let (requests, settled, errors, cost): (i64, i64, i64, i64) = connection
        .query_row(
            "SELECT sum(requests), sum(settled), sum(errors), sum(cost_nanousd) \
             FROM window_minutely",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!((requests, settled, errors, cost), (1, 1, 0, 65_000));
    assert_windows_are_the_rows(folder.path());
    let mut seen = Vec::new();
    let query = PastQuery {
        requests_since: Some(UnixMicros(0)),
        ..PastQuery::default()
    };
    let reader = Reader::open(folder.path()).unwrap();
    let note = |past: Past<'_>| {
        if let Past::Request(sample) = past {
            let latency = sample.latency_us.is_some();
            seen.push((sample.settles, sample.error, latency, sample.cost_nanousd));
        }
    };
    reader.past(&query, None, note).unwrap();
    let made = (false, false, true, None);
    assert_eq!(seen, [made, (true, false, false, Some(65_000))]);
}

#[test]
fn minutes_go_after_400_days_however_long_rows_are_kept() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let hours = 30_u64;
    for hour in 0..hours {
        // More groups than one step takes.
        for n in 0..20 {
            let mut record = record(admission(0));
            record.admission.started_at = START.plus(Duration::from_secs(hour * 3600));
            record.admission.key = Some(format!("key-{n}").into());
            ledger.journal.end(&record);
        }
    }
    let later = |hours: u64| {
        START
            .plus(windows::KEPT)
            .plus(Duration::from_secs(hours * 3600))
    };
    ledger.round_at(later(0));
    let count = || query_number(folder.path(), "SELECT count(*) FROM window_minutely");
    assert_eq!(count(), 600);
    for minutes in 0..4 {
        ledger.round_at(later(hours - 2).plus(Duration::from_secs(60 * minutes)));
    }
    assert_eq!(count(), 20, "the last hour stays");
    assert_eq!(rows(folder.path()).len(), 600);
}

#[test]
fn damaged_bytes_do_not_keep_the_writer_from_going_on() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    ledger.journal.end(&record(admission(0)));
    ledger.round();
    let connection = Connection::open(database::path_in(folder.path())).unwrap();
    connection
        .execute(
            "UPDATE window_minutely SET latency_us = x'ffffffffffff'",
            [],
        )
        .unwrap();
    ledger.journal.end(&record(admission(1)));
    ledger.round();
    let sums = stored_sums(folder.path());
    let sums: Vec<_> = sums.values().collect();
    assert_eq!((sums[0].requests, sums[0].latency.count()), (2, 1));
}

#[test]
fn a_ledger_of_an_earlier_version_gets_its_windows_at_the_start() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    for n in 0..50 {
        ledger.journal.end(&record(admission(n * 1_000)));
    }
    ledger.round();
    ledger.kill();
    // As version 6 left it.
    let connection = Connection::open(database::path_in(folder.path())).unwrap();
    connection
        .execute_batch(&format!(
            "{WITHOUT_HOURS} DROP TABLE notifications; DROP TABLE chat_answers; DROP VIEW alert_states; DROP TABLE alert_events; DROP TABLE silences; \
             DROP TABLE window_minutely; DROP INDEX requests_worst; \
             ALTER TABLE requests DROP COLUMN assumed_cost_nanousd; \
             ALTER TABLE requests DROP COLUMN billable; \
             ALTER TABLE requests DROP COLUMN worst_unbounded; \
             ALTER TABLE requests DROP COLUMN worst_cost_nanousd; \
             ALTER TABLE requests DROP COLUMN worst_input_tokens; \
             ALTER TABLE requests DROP COLUMN worst_output_tokens; PRAGMA user_version = 6",
        ))
        .unwrap();
    drop(connection);
    let mut ledger = Manual::open(&settings(&folder));
    ledger.round();
    assert_eq!(
        query_number(folder.path(), "PRAGMA user_version"),
        migrations::VERSION
    );
    assert_eq!(rows(folder.path()).len(), 50);
    assert_windows_are_the_rows(folder.path());
    let hours = "SELECT sum(requests) FROM usage_hourly WHERE tier = ''";
    assert_eq!(query_number(folder.path(), hours), 50);
}
