//! Usage: sums however grouped, over whatever range.

mod single;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::sample::{START, admission, any_record, record};
use super::{Manual, settings};
use crate::clock::UnixMicros;
use crate::ledger::query::{
    ErrorQuery, GroupBy, NameFilter, OTHER, QueryError, Reader, Step, Timeseries, TimeseriesQuery,
    TopOrder, TopQuery, UsageFilter, UsageQuery, UsageRow,
};
use crate::ledger::sums::is_unbilled;
use crate::money::NanoUsd;
use crate::record::{Outcome, Phase, RequestRecord, TokenType, UsageSource};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

/// A ledger of these records, written in several transactions.
fn ledger_of(records: &[RequestRecord], rounds: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    for part in records.chunks(records.len().div_ceil(rounds).max(1)) {
        for record in part {
            ledger.journal.end(record);
        }
        ledger.round();
    }
    folder
}

/// A record of few names, in three days.
fn any_used() -> impl Strategy<Value = RequestRecord> {
    let at = (0..3 * 24 * 60_i64, 0..MINUTE).prop_map(|(minute, us)| minute * MINUTE + us);
    let names = (
        select(vec![None, Some("a"), Some("ab")]),
        select(vec![None, Some("k"), Some("l")]),
    );
    let models = select(vec![None, Some("gpt-5"), Some("gpt-5-mini")]);
    let tier = select(vec![None, Some("default"), Some("flex")]);
    (any_record(), at, names, models, tier).prop_map(
        |(mut record, at, (channel, key), model, tier)| {
            record.admission.started_at = UnixMicros(START.0 + at);
            record.admission.channel = channel.map(Into::into);
            record.admission.key = key.map(Into::into);
            record.served_model = model.map(Into::into);
            record.service_tier = tier.map(Into::into);
            record
        },
    )
}

fn any_filter() -> impl Strategy<Value = UsageFilter> {
    let names = select(vec!["*", "a", "a*", "ab,b", "?", "(none)"]);
    let models = select(vec!["*", "*", "gpt-5", "gpt-5*", "other"]);
    (
        names,
        models,
        select(vec!["*", "k", "k,l", "*l*", "(none)", "k,(none)"]),
    )
        .prop_map(|(channel, model, key)| UsageFilter {
            channel: channel.parse().unwrap(),
            model: model.parse().unwrap(),
            api: NameFilter::default(),
            key: key.parse().unwrap(),
        })
}

fn any_zone() -> impl Strategy<Value = TimeZone> {
    // Whole hours, half of one, three quarters, and the night in which clocks change.
    let names = vec![
        "UTC",
        "America/New_York",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
    ];
    select(names).prop_map(|name| TimeZone::get(name).unwrap())
}

/// Whether a question asks for the record.
fn is_asked(query: &UsageQuery, record: &RequestRecord) -> bool {
    let (since, until) = query.range();
    let admission = &record.admission;
    let at = admission.started_at;
    let filter = &query.filter;
    let name = |by| group_of(record, &by, &query.timezone);
    since.is_none_or(|since| at >= since)
        && until.is_none_or(|until| at < until)
        && filter.channel.matches(name(GroupBy::Channel).as_deref())
        && filter.model.matches(name(GroupBy::Model).as_deref())
        && filter.key.matches(name(GroupBy::Key).as_deref())
}

/// The sums of each group, from the records.
fn expected(query: &UsageQuery, records: &[RequestRecord]) -> Vec<UsageRow> {
    let mut groups: BTreeMap<Vec<Option<String>>, Vec<&RequestRecord>> = BTreeMap::new();
    for record in records.iter().filter(|record| is_asked(query, record)) {
        let group = query
            .by
            .iter()
            .map(|by| group_of(record, by, &query.timezone));
        groups.entry(group.collect()).or_default().push(record);
    }
    let rows = groups
        .into_iter()
        .map(|(group, records)| summed(&records, group));
    rows.collect()
}

fn whole(query: &UsageQuery, records: &[RequestRecord]) -> UsageRow {
    let asked = records.iter().filter(|record| is_asked(query, record));
    summed(&asked.collect::<Vec<_>>(), Vec::new())
}

fn by_group(mut rows: Vec<UsageRow>) -> Vec<UsageRow> {
    rows.sort_by(|a, b| a.group.cmp(&b.group));
    rows
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
        row.outcomes[record.outcome as usize] += 1;
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

fn group_of(record: &RequestRecord, by: &GroupBy, zone: &TimeZone) -> Option<String> {
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
        GroupBy::Tier => filled(record.service_tier.as_deref()),
        GroupBy::Day => {
            let zoned = admission.started_at.timestamp().to_zoned(zone.clone());
            Some(zoned.date().to_string())
        }
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
            GroupBy::Tier,
            GroupBy::Day,
            GroupBy::Tag("a".to_owned()),
        ],
        0..=4,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn usage_is_the_sum_over_the_requests_however_grouped(
        records in prop::collection::vec(any_used(), 1..40),
        by in any_grouping(),
        rounds in 1..3_usize,
        range in prop::option::of((-60..4_400_i64, 0..4_400_i64)),
        filter in any_filter(),
        timezone in any_zone(),
    ) {
        let folder = ledger_of(&records, rounds);
        let minute = |n: i64| UnixMicros(START.0 + n * MINUTE);
        let query = UsageQuery {
            // A moment within the minute counts the whole minute.
            since: range.map(|(since, _)| UnixMicros(minute(since).0 + MINUTE - 1)),
            until: range.map(|(since, length)| UnixMicros(minute(since + length).0 + 1)),
            by,
            filter,
            timezone,
            compare: true,
            ..UsageQuery::default()
        };
        let summary = match Reader::open(folder.path()).unwrap().usage(&query) {
            Err(QueryError::TierWithinHour) => {
                prop_assert!(query.by.contains(&GroupBy::Tier) && query.by.contains(&GroupBy::Day));
                return Ok(());
            }
            summary => summary.unwrap(),
        };
        prop_assert_eq!(&summary.total, &whole(&query, &records));
        let groups: Vec<_> = summary.rows.iter().map(|row| row.group.clone()).collect();
        prop_assert_eq!(by_group(summary.rows), expected(&query, &records));
        let Some(previous) = summary.previous else {
            prop_assert!(range.is_none() || query.by.contains(&GroupBy::Day));
            return Ok(());
        };
        let before = UsageQuery {
            since: Some(previous.since),
            until: Some(previous.until),
            ..query.clone()
        };
        let (since, until) = query.range();
        prop_assert_eq!(since, Some(previous.until));
        prop_assert_eq!(until.unwrap().0 - since.unwrap().0, previous.until.0 - previous.since.0);
        let first = records.iter().map(|record| record.admission.started_at.minute());
        let is_known = first.min().is_some_and(|first| first <= previous.since);
        prop_assert_eq!(previous.sums.is_some(), is_known);
        let Some(sums) = previous.sums else {
            return Ok(());
        };
        prop_assert_eq!(sums.total, whole(&before, &records));
        let all = expected(&before, &records);
        for (group, row) in groups.iter().zip(sums.rows) {
            let nothing = UsageRow { group: group.clone(), ..UsageRow::default() };
            prop_assert_eq!(&row, all.iter().find(|row| row.group == *group).unwrap_or(&nothing));
        }
    }

    #[test]
    fn calendars_and_series_hold_every_request_once(
        records in prop::collection::vec(any_used(), 1..30),
        since in -60..4_400_i64,
        length in 0..4_400_i64,
        filter in any_filter(),
        timezone in any_zone(),
        step in prop::option::of(60..200_000_u64),
        top in 1..4_usize,
    ) {
        let folder = ledger_of(&records, 1);
        let reader = Reader::open(folder.path()).unwrap();
        let query = UsageQuery {
            since: Some(UnixMicros(START.0 + since * MINUTE)),
            until: Some(UnixMicros(START.0 + (since + length) * MINUTE)),
            filter,
            timezone,
            ..UsageQuery::default()
        };
        let asked: Vec<_> = records.iter().filter(|record| is_asked(&query, record)).collect();
        let local = |record: &RequestRecord| {
            record.admission.started_at.timestamp().to_zoned(query.timezone.clone())
        };

        let days = reader.days(&query).unwrap();
        prop_assert!(length == 0 || days.windows(2).all(|two| two[0].day.tomorrow().unwrap() == two[1].day));
        for day in &days {
            let of_day: Vec<_> = asked.iter().copied().filter(|record| local(record).date() == day.day).collect();
            prop_assert_eq!(&day.usage, &summed(&of_day, Vec::new()));
        }
        let sum: u64 = days.iter().map(|day| day.usage.requests).sum();
        prop_assert_eq!(sum, asked.len() as u64);

        let hours = reader.week_hours(&query).unwrap();
        prop_assert_eq!(hours.len(), 168);
        for hour in &hours {
            let of_hour: Vec<_> = asked.iter().copied().filter(|record| {
                let at = local(record);
                let weekday = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap();
                (weekday, usize::try_from(at.hour()).unwrap()) == (hour.weekday, hour.hour)
            }).collect();
            prop_assert_eq!(&hour.usage, &summed(&of_hour, Vec::new()));
        }

        let by = UsageQuery { by: vec![GroupBy::Channel, GroupBy::Model], ..query.clone() };
        let series = TimeseriesQuery {
            usage: by.clone(),
            step: step.map(|seconds| Step::at_least(Duration::from_secs(seconds))),
            top,
        };
        let series = reader.timeseries(&series).unwrap();
        let top = series.top;
        // So few in tests.
        prop_assert!(series.rows.len() <= 24, "{} rows", series.rows.len());
        prop_assert!(series.rows.is_sorted_by_key(|row| row.time));
        let sum: u64 = series.rows.iter().map(|row| row.usage.requests).sum();
        prop_assert_eq!(sum, asked.len() as u64);
        let mut ranked = expected(&by, &records);
        ranked.sort_by(|a, b| {
            let weight = |row: &UsageRow| (row.cost, row.total_tokens, row.requests);
            weight(b).cmp(&weight(a)).then_with(|| a.group.cmp(&b.group))
        });
        for row in &series.rows {
            prop_assert!(row.time < row.until);
            let other = row.usage.group == [Some(OTHER.to_owned()), Some(OTHER.to_owned())];
            let of_row: Vec<_> = asked.iter().copied().filter(|record| {
                let at = record.admission.started_at;
                let group: Vec<_> = by.by.iter().map(|by| group_of(record, by, &query.timezone)).collect();
                let rank = ranked.iter().position(|row| row.group == group).unwrap();
                let is_of = if other { rank >= top } else { group == row.usage.group };
                is_of && at >= row.time && at < row.until
            }).collect();
            prop_assert_eq!(&row.usage, &summed(&of_row, row.usage.group.clone()));
        }
    }
}
