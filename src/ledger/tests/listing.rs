//! A page of a listing is what going through every row would find, whichever way it is found.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};
use tempfile::TempDir;

use super::sample::{START, admission, any_record, record};
use super::{Manual, query_number, rows, settings};
use crate::clock::UnixMicros;
use crate::ledger::database::path_in;
use crate::ledger::migrations;
use crate::ledger::query::{NameFilter, Order, Reader, RequestFilter, StoredRequest};
use crate::money::NanoUsd;
use crate::record::{Outcome, Phase, UsageSource, is_unpriced};

/// What a listing is ordered by.
fn place(row: &StoredRequest, order: Order) -> Option<(i64, i64)> {
    let value = match order {
        Order::Newest => row.started_at.0,
        Order::Slowest => i64::try_from(row.phases[Phase::Total]?).unwrap(),
        Order::Dearest => row.cost.as_ref()?.amount.0,
    };
    Some((value, row.sequence.0))
}

fn matches(row: &StoredRequest, filter: &RequestFilter) -> bool {
    let model = row.served_model.as_ref().or(row.requested_model.as_ref());
    let source = row.usage.source;
    filter.since.is_none_or(|since| row.started_at >= since)
        && filter.until.is_none_or(|until| row.started_at < until)
        && filter.channel.matches(row.channel.as_deref())
        && filter.model.matches(model.map(String::as_str))
        && filter.api.matches(Some(row.api.as_str()))
        && filter.key.matches(row.key.as_deref())
        && filter.outcome.matches(Some(row.outcome.as_str()))
        && filter.usage_source.matches(Some(source.as_str()))
        && filter.session.matches(row.session.as_deref())
        && filter
            .status
            .is_none_or(|status| row.status == Some(status))
        && (!filter.failed_only || row.outcome.is_error())
        && (!filter.unpriced_only || is_unpriced(source, row.cost.is_some()))
        && filter
            .min_total_us
            .is_none_or(|least| row.phases[Phase::Total].is_some_and(|total| total >= least))
}

/// The listing, by going through every row.
fn naive(rows: &[StoredRequest], filter: &RequestFilter) -> Vec<i64> {
    let found = rows.iter().filter(|row| matches(row, filter));
    let mut found: Vec<_> = found.filter_map(|row| place(row, filter.order)).collect();
    found.sort_unstable_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, sequence)| sequence).collect()
}

/// The listing, page by page.
fn listed(reader: &Reader, filter: &RequestFilter) -> Vec<i64> {
    let mut filter = filter.clone();
    let mut listed = Vec::new();
    loop {
        let page = reader.requests(&filter).unwrap();
        assert!(page.requests.len() <= filter.limit as usize);
        listed.extend(page.requests.iter().map(|row| row.sequence.0));
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return listed;
        }
    }
}

/// Pages of one row and of a few: the fewer there are, the more hours are not looked into.
pub(super) fn assert_rankings_are_of_the_rows(data_dir: &Path) {
    let rows = rows(data_dir);
    let reader = Reader::open(data_dir).unwrap();
    for order in [Order::Slowest, Order::Dearest] {
        for limit in [1, 3] {
            let filter = RequestFilter {
                order,
                limit,
                ..RequestFilter::default()
            };
            assert_eq!(listed(&reader, &filter), naive(&rows, &filter), "{order}");
        }
    }
}

/// Names of which the sample's have some.
fn names() -> impl Strategy<Value = NameFilter> {
    select(vec![
        "*", "*", "*", "a", "a,b", "?", "ü*", "nobody", "[ab]", "(none)", "a,(none)",
    ])
    .prop_map(|text| text.parse().unwrap())
}

fn words(all: impl Iterator<Item = &'static str>) -> impl Strategy<Value = NameFilter> {
    let all: Vec<&str> = all.collect();
    let none = "*".parse().unwrap();
    prop_oneof![
        2 => Just(none),
        1 => select(all.clone()).prop_map(NameFilter::exactly),
        1 => proptest::sample::subsequence(all, 2..5)
            .prop_map(|names| names.join(",").parse().unwrap()),
    ]
}

fn any_filter() -> impl Strategy<Value = RequestFilter> {
    let moment = || proptest::option::weighted(0.4, -3_600_000_000_i64..14_400_000_000);
    let sources = UsageSource::ALL.iter().map(|source| source.as_str());
    let outcomes = Outcome::ALL.iter().map(|outcome| outcome.as_str());
    (
        (moment(), moment(), select(Order::ALL), 1..6_u32),
        (names(), names(), names(), names()),
        (
            words(outcomes),
            words(sources),
            words(["chat", "audio", "files", "images"].into_iter()),
        ),
        (
            proptest::option::weighted(0.1, select(vec![200_u16, 429])),
            proptest::bool::weighted(0.2),
            proptest::bool::weighted(0.2),
            proptest::option::weighted(0.2, 0..1_000_000_u64),
        ),
    )
        .prop_map(|(range, (channel, model, key, session), words, rest)| {
            let (since, until, order, limit) = range;
            let (outcome, usage_source, api) = words;
            let (status, failed_only, unpriced_only, min_total_us) = rest;
            let moment = |after: Option<i64>| after.map(|after| UnixMicros(START.0 + after));
            RequestFilter {
                since: moment(since),
                until: moment(until),
                channel,
                model,
                api,
                key,
                outcome,
                usage_source,
                status,
                session,
                failed_only,
                unpriced_only,
                min_total_us,
                order,
                cursor: None,
                limit,
            }
        })
}

/// Every row of `requests_hourly`.
fn hours(data_dir: &Path) -> Vec<Vec<Value>> {
    let connection = Connection::open(path_in(data_dir)).unwrap();
    let sql = "SELECT * FROM requests_hourly ORDER BY hour, channel, model, api, key";
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &Row<'_>| (0..columns).map(|at| row.get(at)).collect();
    let rows = statement.query_map([], row).unwrap();
    rows.map(Result::unwrap).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_way_finds_what_going_through_all_rows_does(
        records in proptest::collection::vec(any_record(), 1..60),
        // Totals, costs and moments that meet, statuses and sessions that repeat.
        shapes in proptest::collection::vec((0..40_u64, 0..3_i64, 0..4_usize), 60),
        batch in 1..20_usize,
        filters in proptest::collection::vec(any_filter(), 40),
    ) {
        let folder = TempDir::new().unwrap();
        let mut ledger = Manual::open(&settings(&folder));
        for (record, (total, moment, kind)) in records.iter().zip(&shapes) {
            let mut record = record.clone();
            if *total < 30 {
                record.phases[Phase::Total] = Some(total / 4 * 30_000);
            }
            if let Some(cost) = record.cost.as_mut().filter(|_| *total % 4 > 0) {
                cost.amount = NanoUsd(i64::try_from(total / 4 % 3).unwrap());
            }
            if *moment > 0 {
                record.admission.started_at = UnixMicros(START.0 + moment * 3_600_000_000);
            }
            record.status = [None, Some(200), Some(429), record.status][*kind];
            record.admission.session = ["a", "b", "ü-"].get(*kind).map(|&name| name.into());
            ledger.journal.end(&record);
            if usize::try_from(*total).unwrap() < batch {
                ledger.round();
            }
        }
        ledger.round();
        let rows = rows(folder.path());
        prop_assert_eq!(rows.len(), records.len());
        let reader = Reader::open(folder.path()).unwrap();
        for filter in &filters {
            prop_assert_eq!(listed(&reader, filter), naive(&rows, filter), "{:?}", filter);
        }
        // A step from an older version makes the same of the rows that there are.
        let kept = hours(folder.path());
        let connection = Connection::open(path_in(folder.path())).unwrap();
        connection.execute_batch("DELETE FROM requests_hourly").unwrap();
        connection.execute_batch(migrations::hours_of_requests()).unwrap();
        prop_assert_eq!(hours(folder.path()), kept);
    }
}

#[test]
fn an_hour_goes_once_all_of_its_requests_are_old() {
    let folder = TempDir::new().unwrap();
    let mut settings = settings(&folder);
    settings.retention = Some(Duration::from_secs(3_600));
    let mut ledger = Manual::open(&settings);
    let hours = || query_number(folder.path(), "SELECT count(*) FROM requests_hourly");
    let end = |ledger: &Manual, after: i64| {
        let mut record = record(admission(0));
        record.admission.started_at = UnixMicros(START.0 + after);
        ledger.journal.end(&record);
    };
    let hour = 3_600_000_000;
    end(&ledger, 0);
    end(&ledger, hour);
    ledger.round_at(START);
    assert_eq!(hours(), 2);
    // The last moment of the first hour is not an hour old yet.
    ledger.round_at(UnixMicros(START.0 + 2 * hour - 1));
    assert_eq!(hours(), 2);
    ledger.round_at(UnixMicros(START.0 + 2 * hour + 60_000_000));
    assert_eq!(hours(), 1);
    let filter = RequestFilter {
        channel: NameFilter::exactly("openai"),
        ..RequestFilter::default()
    };
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(
        listed(&reader, &filter),
        naive(&rows(folder.path()), &filter)
    );
}
