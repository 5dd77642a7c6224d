//! What people are told of a time is the sum of its rows.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::sample::{START, admission, any_record, record};
use super::{Manual, settings};
use crate::clock::UnixMicros;
use crate::ledger::query::{Durations, PeriodGroup, PeriodPart, PeriodQuery, PeriodSums, Reader};
use crate::record::{Outcome, Phase, RequestRecord, TokenType, Unit, UsageSource};

fn minute(n: i64) -> UnixMicros {
    UnixMicros(START.0 + n * 60_000_000)
}

/// The same from one record.
fn sums(record: &RequestRecord) -> PeriodSums {
    let usage = &record.usage;
    let turned_away = [Outcome::Blocked, Outcome::Refused, Outcome::NoChannel];
    let reached = !turned_away.contains(&record.outcome);
    let failed = !matches!(record.outcome, Outcome::Ok | Outcome::ClientClosed);
    let missing = usage.source == UsageSource::Missing;
    let unpriced = record.cost.is_none() && usage.source != UsageSource::None && !missing;
    PeriodSums {
        requests: u64::from(reached),
        errors: u64::from(reached && failed),
        cost_nanousd: record.cost.as_ref().map(|cost| cost.amount.0),
        unpriced: u64::from(unpriced || missing),
        total_tokens: usage.total,
        tokens: usage.tokens,
        cache_write_1h: usage.units[Unit::CacheWrite1h],
    }
}

fn add(sum: &mut PeriodSums, more: &PeriodSums) {
    let known = |a: Option<u64>, b: Option<u64>| a.map_or(b, |a| Some(a + b.unwrap_or(0)));
    sum.requests += more.requests;
    sum.errors += more.errors;
    sum.unpriced += more.unpriced;
    sum.cost_nanousd = match (sum.cost_nanousd, more.cost_nanousd) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    };
    sum.total_tokens = known(sum.total_tokens, more.total_tokens);
    for &kind in TokenType::ALL {
        sum.tokens[kind] = known(sum.tokens[kind], more.tokens[kind]);
    }
    sum.cache_write_1h = known(sum.cache_write_1h, more.cache_write_1h);
}

type Key = (String, String, String, String);

fn key_of(record: &RequestRecord) -> Key {
    let admission = &record.admission;
    let text = |name: Option<&std::sync::Arc<str>>| name.map(ToString::to_string);
    let model = text(record.served_model.as_ref()).or(text(admission.requested_model.as_ref()));
    (
        text(admission.channel.as_ref()).unwrap_or_default(),
        model.unwrap_or_default(),
        admission.api.to_string(),
        text(admission.key.as_ref()).unwrap_or_default(),
    )
}

#[test]
fn what_is_read_in_one_state_agrees_whatever_is_written_meanwhile() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let mut keep = |n| {
        ledger.journal.end(&record(admission(n)));
        ledger.round();
    };
    keep(0);
    let reader = Reader::open(folder.path()).unwrap();
    let query = PeriodQuery {
        since: START,
        until: minute(1),
        parts: Vec::new(),
    };
    let counts = |reader: &Reader| {
        let requests = reader.period(&query)?.groups[0].sums.requests;
        let ended = reader.durations(START, minute(1))?.latency_us;
        Ok((requests, ended.count()))
    };
    let (first, second) = reader
        .in_one_state(|reader| {
            let first = counts(reader)?;
            keep(1);
            Ok((first, counts(reader)?))
        })
        .unwrap();
    assert_eq!((first, second), ((1, 1), (1, 1)));
    assert_eq!(reader.in_one_state(counts).unwrap(), (2, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_period_is_the_sum_of_its_rows(
        records in prop::collection::vec(any_record(), 1..40),
        since in 0..120_i64,
        length in 0..120_i64,
        parts in prop::collection::btree_set(0..180_i64, 0..6),
    ) {
        let folder = TempDir::new().unwrap();
        let mut ledger = Manual::open(&settings(&folder));
        for part in records.chunks(7) {
            for record in part {
                ledger.journal.end(record);
            }
            ledger.round();
        }
        let reader = Reader::open(folder.path()).unwrap();
        let (since, until) = (minute(since), minute(since + length));
        let query = PeriodQuery { since, until, parts: parts.into_iter().map(minute).collect() };
        let told = reader.period(&query).unwrap();

        let within = |at: UnixMicros| at >= since && at < until;
        let mut groups: BTreeMap<Key, PeriodSums> = BTreeMap::new();
        let mut outcomes = [0; Outcome::ALL.len()];
        let mut part_sums = vec![PeriodPart::default(); query.parts.len()];
        let mut durations = Durations::default();
        for record in &records {
            let started = record.admission.started_at;
            let phases = &record.phases;
            if within(started) {
                let sums = sums(record);
                outcomes[record.outcome as usize] += 1;
                if let Some(at) = query.parts.iter().rposition(|&begin| begin <= started) {
                    part_sums[at].cost_nanousd += sums.cost_nanousd.unwrap_or(0);
                    part_sums[at].tokens += sums.total_tokens.unwrap_or(0);
                }
                add(groups.entry(key_of(record)).or_default(), &sums);
            }
            let us = phases[Phase::Total].unwrap_or(0);
            let ended = UnixMicros(started.0 + i64::try_from(us).unwrap());
            let turned_away = [Outcome::Blocked, Outcome::Refused, Outcome::NoChannel];
            let reached = !turned_away.contains(&record.outcome) && record.admission.billable;
            if within(ended) && reached {
                if let Some(us) = phases[Phase::Total] {
                    durations.latency_us.add(us);
                }
                if let Some(us) = phases[Phase::FirstToken] {
                    durations.ttft_us.add(us);
                }
            }
        }
        let by_key = |group: PeriodGroup| {
            let PeriodGroup { channel, model, api, key, sums } = group;
            ((channel, model, api.to_string(), key), sums)
        };
        let count = told.groups.len();
        let told_groups: BTreeMap<Key, PeriodSums> = told.groups.into_iter().map(by_key).collect();
        prop_assert_eq!(count, told_groups.len());
        prop_assert_eq!(told_groups, groups);
        prop_assert_eq!(told.outcomes, outcomes);
        prop_assert_eq!(told.parts, part_sums);
        prop_assert_eq!(reader.durations(since, until).unwrap(), durations);
        let first = records.iter().map(|record| record.admission.started_at.minute()).min();
        prop_assert_eq!(reader.first_minute().unwrap(), first);
    }
}
