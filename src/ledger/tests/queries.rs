//! What readers are told.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use tempfile::TempDir;

use super::sample::{START, admission, any_record, record};
use super::{Manual, PATIENCE, open, settings};
use crate::clock::UnixMicros;
use crate::ledger::query::{
    Cursor, GroupBy, NameFilter, Order, Reader, RequestFilter, Sequence, StoredRequest, UsageQuery,
    UsageRow,
};
use crate::ledger::rollup::is_unbilled;
use crate::money::NanoUsd;
use crate::record::{Outcome, Phase, RequestRecord, TokenType, UsageSource};

/// What the ledger should say of a record.
fn as_stored(record: &RequestRecord, sequence: Sequence) -> StoredRequest {
    let record = record.clone();
    let admission = record.admission;
    let owned = |text: Option<std::sync::Arc<str>>| text.map(|text| text.to_string());
    StoredRequest {
        sequence,
        id: admission.id,
        started_at: admission.started_at,
        channel: owned(admission.channel),
        key: owned(admission.key),
        api: admission.api,
        method: admission.method.to_string(),
        path: admission.path.to_string(),
        requested_model: owned(admission.requested_model),
        served_model: owned(record.served_model),
        service_tier: owned(record.service_tier),
        stream: admission.stream,
        status: record.status,
        outcome: record.outcome,
        error_source: record.error_source,
        error_code: owned(record.error_code),
        error_message: owned(record.error_message),
        attempts: Some(u32::try_from(record.attempts.len()).unwrap()),
        usage: record.usage,
        assumed_cost: record.assumed_cost.filter(|_| record.cost.is_none()),
        cost: record.cost,
        phases: record.phases,
        request_bytes: admission.request_bytes,
        response_bytes: Some(record.response_bytes),
        upstream_request_id: owned(record.upstream_request_id),
        session: owned(admission.session),
        end_user: owned(admission.end_user),
        tags: admission.tags,
        source: record.source,
        response_id: owned(record.response_id),
        deferral: record.deferral,
        estimate: record.estimate,
        delivered_output_tokens: record.delivered_output_tokens,
        upstream_bytes: record.upstream_bytes,
        priced_at: record.priced_at,
        billable: admission.billable,
    }
}

/// The same sums, from the records.
fn summed(records: &[&RequestRecord], group: Vec<Option<String>>) -> UsageRow {
    let mut row = UsageRow {
        group,
        ..UsageRow::default()
    };
    let mut means = [(0, 0); 2];
    for record in records {
        let usage = &record.usage;
        row.requests += 1;
        row.errors += u64::from(!matches!(
            record.outcome,
            Outcome::Ok | Outcome::ClientClosed
        ));
        row.unbilled_requests += u64::from(is_unbilled(record.outcome));
        assert_eq!(
            record.outcome.is_error(),
            !matches!(record.outcome, Outcome::Ok | Outcome::ClientClosed)
        );
        for &kind in TokenType::ALL {
            if let Some(count) = usage.tokens[kind] {
                row.tokens[kind] = Some(row.tokens[kind].unwrap_or(0) + count);
            }
        }
        if let Some(total) = usage.total {
            row.total_tokens = Some(row.total_tokens.unwrap_or(0) + total);
        }
        if let Some(cost) = &record.cost {
            row.cost = Some(row.cost.unwrap_or(NanoUsd::ZERO) + cost.amount);
        }
        let counted = !matches!(usage.source, UsageSource::Missing | UsageSource::None);
        row.unpriced_requests += u64::from(counted && record.cost.is_none());
        row.missing_usage_requests += u64::from(usage.source == UsageSource::Missing);
        row.partial_requests += u64::from(usage.source == UsageSource::Partial);
        row.estimated_requests += u64::from(usage.source == UsageSource::Estimated);
        for (unit, count) in usage.units.iter() {
            row.units[unit] = Some(row.units[unit].unwrap_or(0) + count);
        }
        if let Some(cost) = record.estimate.and_then(|estimate| estimate.cost) {
            row.estimated_cost = Some(row.estimated_cost.unwrap_or(NanoUsd::ZERO) + cost);
        }
        row.request_bytes += record.admission.request_bytes;
        row.response_bytes += record.response_bytes;
        for (mean, phase) in means.iter_mut().zip([Phase::Total, Phase::FirstToken]) {
            if let Some(us) = record.phases[phase] {
                *mean = (mean.0 + us, mean.1 + 1);
            }
        }
    }
    let [total, first_token] = means.map(|(sum, of)| (of > 0).then(|| sum / of));
    row.mean_total_us = total;
    row.mean_first_token_us = first_token;
    row
}

fn filled(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn group_of(record: &RequestRecord, by: &GroupBy) -> Option<String> {
    let admission = &record.admission;
    match by {
        GroupBy::Model => filled(
            record
                .served_model
                .as_deref()
                .or(admission.requested_model.as_deref()),
        ),
        GroupBy::Channel => filled(admission.channel.as_deref()),
        GroupBy::Key => filled(admission.key.as_deref()),
        GroupBy::Api => Some(admission.api.to_string()),
        GroupBy::Day => Some(admission.started_at.timestamp().to_string()[..10].to_owned()),
        GroupBy::Tag(name) => admission.tags.get(name).cloned(),
    }
}

fn any_grouping() -> impl Strategy<Value = Vec<GroupBy>> {
    prop::sample::subsequence(
        vec![
            GroupBy::Model,
            GroupBy::Channel,
            GroupBy::Key,
            GroupBy::Api,
            GroupBy::Day,
            GroupBy::Tag("a".to_owned()),
        ],
        0..=6,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_field_of_every_record_comes_back(records in prop::collection::vec(any_record(), 1..20)) {
        let folder = TempDir::new().unwrap();
        let mut ledger = Manual::open(&settings(&folder));
        for record in &records {
            ledger.journal.admit(&record.admission);
            ledger.journal.end(record);
        }
        ledger.round();
        let reader = Reader::open(folder.path()).unwrap();
        for (record, sequence) in records.iter().zip(1..) {
            let detail = reader.request(record.admission.id).unwrap().unwrap();
            prop_assert_eq!(detail.request, as_stored(record, Sequence(sequence)));
            prop_assert_eq!(&detail.attempts, &record.attempts);
        }
    }

    #[test]
    fn usage_is_the_sum_over_the_requests_however_grouped(
        records in prop::collection::vec(any_record(), 1..40),
        by in any_grouping(),
        rounds in 1..4_usize,
        range in prop::option::of((0..180_i64, 0..180_i64)),
    ) {
        let folder = TempDir::new().unwrap();
        let mut ledger = Manual::open(&settings(&folder));
        for part in records.chunks(records.len().div_ceil(rounds)) {
            for record in part {
                ledger.journal.end(record);
            }
            ledger.round();
        }
        let minute = |n: i64| UnixMicros(START.0 + n * 60_000_000);
        let query = UsageQuery {
            // A moment within the minute counts the whole minute.
            since: range.map(|(since, _)| UnixMicros(minute(since).0 + 59_999_999)),
            until: range.map(|(since, length)| UnixMicros(minute(since + length).0 + 1)),
            by: by.clone(),
            ..UsageQuery::default()
        };
        let summary = Reader::open(folder.path()).unwrap().usage(&query).unwrap();

        let counted: Vec<_> = records.iter().filter(|record| {
            let at = record.admission.started_at;
            range.is_none_or(|(since, length)| at >= minute(since) && at < minute(since + length + 1))
        }).collect();
        let mut groups: BTreeMap<Vec<Option<String>>, Vec<&RequestRecord>> = BTreeMap::new();
        for record in &counted {
            let group = by.iter().map(|by| group_of(record, by)).collect();
            groups.entry(group).or_default().push(record);
        }
        prop_assert_eq!(summary.total, summed(&counted, Vec::new()));
        let mut rows = summary.rows;
        rows.sort_by(|a, b| a.group.cmp(&b.group));
        let expected: Vec<_> = groups.into_iter().map(|(group, records)| summed(&records, group)).collect();
        prop_assert_eq!(rows, expected);
    }
}

#[test]
fn days_are_those_of_the_time_zone() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    // The night in which Berlin's clocks go back: 25 hours.
    for at in [
        "2026-10-24T21:59:59Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T22:59:59Z",
        "2026-10-25T23:00:00Z",
    ] {
        let mut admission = admission(0);
        admission.started_at = at.parse::<jiff::Timestamp>().unwrap().into();
        ledger.journal.end(&record(admission));
    }
    ledger.round();
    let query = UsageQuery {
        by: vec![GroupBy::Day],
        timezone: TimeZone::get("Europe/Berlin").unwrap(),
        ..UsageQuery::default()
    };
    let summary = Reader::open(folder.path()).unwrap().usage(&query).unwrap();
    let days: Vec<_> = summary
        .rows
        .iter()
        .map(|row| (row.group[0].as_deref().unwrap(), row.requests))
        .collect();
    assert_eq!(
        days,
        [("2026-10-24", 1), ("2026-10-25", 2), ("2026-10-26", 1)]
    );
}

#[test]
fn the_costliest_group_comes_first() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    for (n, key, cost) in [(0, "cheap", 1), (1, "dear", 9), (2, "cheap", 2)] {
        let mut record = record(admission(n));
        record.admission.key = Some(key.into());
        record.cost.as_mut().unwrap().amount = NanoUsd(cost);
        ledger.journal.end(&record);
    }
    ledger.round();
    let query = UsageQuery {
        by: vec![GroupBy::Key],
        ..UsageQuery::default()
    };
    let summary = Reader::open(folder.path()).unwrap().usage(&query).unwrap();
    let keys: Vec<_> = summary
        .rows
        .iter()
        .map(|row| row.group[0].as_deref().unwrap())
        .collect();
    assert_eq!(keys, ["dear", "cheap"]);
    assert_eq!(summary.total.cost, Some(NanoUsd(12)));
}

#[test]
fn absurd_counts_neither_wrap_nor_stop_the_ledger() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    for n in 0..4 {
        let mut record = record(admission(n));
        record.usage.tokens[TokenType::Output] = Some(u64::MAX);
        record.usage.total = Some(u64::MAX);
        ledger.journal.end(&record);
        if n % 2 == 1 {
            ledger.round();
        }
    }
    let summary = Reader::open(folder.path())
        .unwrap()
        .usage(&UsageQuery::default())
        .unwrap();
    assert_eq!(summary.total.requests, 4);
    assert_eq!(summary.total.total_tokens, Some(i64::MAX.unsigned_abs()));
    assert_eq!(ledger.stats.rejected(), 0);
}

/// A ledger of 25 requests of two channels, every fifth failed, slower by the number.
fn listing() -> (TempDir, Reader) {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    for n in 0..25 {
        let mut record = record(admission(n / 2));
        record.admission.channel = Some(if n % 2 == 0 { "even" } else { "odd" }.into());
        record.admission.session = (n % 10 == 0).then(|| "s1".into());
        if n % 5 == 0 {
            record.outcome = Outcome::UpstreamError;
            record.status = Some(500);
            record.served_model = None;
        }
        record.phases[Phase::Total] = (n != 24).then_some(1_000 + n % 7);
        ledger.journal.end(&record);
    }
    ledger.round();
    let reader = Reader::open(folder.path()).unwrap();
    (folder, reader)
}

fn sequences(requests: &[StoredRequest]) -> Vec<i64> {
    requests.iter().map(|request| request.sequence.0).collect()
}

#[test]
fn pages_together_are_the_whole_listing_in_order() {
    let (_folder, reader) = listing();
    for (order, count) in [(Order::Newest, 25), (Order::Slowest, 24)] {
        let mut filter = RequestFilter {
            order,
            limit: 4,
            ..RequestFilter::default()
        };
        let mut all = Vec::new();
        loop {
            let page = reader.requests(&filter).unwrap();
            assert!(page.requests.len() <= 4);
            all.extend(page.requests);
            let Some(next) = page.next else { break };
            // As a client does: the cursor travels as text.
            filter.cursor = Some(next.to_string().parse().unwrap());
        }
        let key = |request: &StoredRequest| match order {
            Order::Newest => (request.started_at.0, request.sequence.0),
            Order::Slowest => (
                i64::try_from(request.phases[Phase::Total].unwrap()).unwrap(),
                request.sequence.0,
            ),
        };
        assert_eq!(all.len(), count);
        assert!(all.windows(2).all(|pair| key(&pair[0]) > key(&pair[1])));
    }
    assert!("x1_2".parse::<Cursor>().is_err());
    assert!("".parse::<Cursor>().is_err());
}

#[test]
fn filters_choose() {
    let (_folder, reader) = listing();
    let found = |filter: RequestFilter| {
        let mut found = sequences(&reader.requests(&filter).unwrap().requests);
        found.sort_unstable();
        found
    };
    let all = RequestFilter::default;
    let failed = vec![1, 6, 11, 16, 21];
    assert_eq!(
        found(RequestFilter {
            failed_only: true,
            ..all()
        }),
        failed
    );
    assert_eq!(
        found(RequestFilter {
            outcome: NameFilter::exactly("upstream_error"),
            ..all()
        }),
        failed
    );
    assert_eq!(
        found(RequestFilter {
            status: Some(500),
            ..all()
        }),
        failed
    );
    assert_eq!(
        found(RequestFilter {
            model: NameFilter::exactly("gpt-5-mini"),
            ..all()
        }),
        failed
    );
    assert_eq!(
        found(RequestFilter {
            session: NameFilter::exactly("s1"),
            ..all()
        }),
        [1, 11, 21]
    );
    assert_eq!(
        found(RequestFilter {
            channel: NameFilter::exactly("odd"),
            failed_only: true,
            ..all()
        }),
        [6, 16]
    );
    assert_eq!(
        found(RequestFilter {
            key: NameFilter::exactly("nobody"),
            ..all()
        }),
        [0; 0]
    );
    let (since, until) = (admission(3).started_at, admission(5).started_at);
    assert_eq!(
        found(RequestFilter {
            since: Some(since),
            until: Some(until),
            ..all()
        }),
        [7, 8, 9, 10]
    );
}

#[test]
fn following_sees_each_new_request_once() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    let end = |n, channel: &str| {
        let mut admission = admission(n);
        admission.channel = Some(channel.into());
        ledger.journal().end(&record(admission));
        assert!(ledger.flush(PATIENCE));
    };
    end(0, "a");
    let reader = Reader::open(folder.path()).unwrap();
    let filter = RequestFilter {
        channel: NameFilter::exactly("a"),
        limit: 2,
        ..RequestFilter::default()
    };
    let mut position = reader.newest().unwrap();
    let mut seen = Vec::new();
    for n in 1..8 {
        end(n, if n % 2 == 0 { "b" } else { "a" });
        if n % 3 == 0 {
            let page = reader.follow(&filter, position).unwrap();
            position = page.position;
            seen.extend(sequences(&page.requests));
        }
    }
    for _ in 0..3 {
        let page = reader.follow(&filter, position).unwrap();
        position = page.position;
        seen.extend(sequences(&page.requests));
    }
    assert_eq!(seen, [2, 4, 6, 8]);
    assert_eq!(position, reader.newest().unwrap());
}

#[test]
fn a_reader_sees_what_is_committed_while_it_is_open() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    let reader = Reader::open(folder.path()).unwrap();
    let id = admission(0).id;
    assert_eq!(reader.request(id).unwrap(), None);
    let mut admission = admission(0);
    admission.id = id;
    ledger.journal().end(&record(admission));
    assert!(ledger.flush(Duration::from_secs(60)));
    assert_eq!(reader.request(id).unwrap().unwrap().request.id, id);
}
