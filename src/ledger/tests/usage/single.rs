//! Single cases of each question about usage.

use super::*;

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

#[test]
fn tiers_are_known_by_the_hour() {
    let mut records = Vec::new();
    for (n, tier) in [
        (0, None),
        (10, Some("flex")),
        (70, Some("flex")),
        (130, Some("priority")),
    ] {
        let mut record = record(admission(0));
        record.admission.started_at = UnixMicros(START.0 + n * MINUTE);
        record.service_tier = tier.map(Into::into);
        records.push(record);
    }
    let folder = ledger_of(&records, 1);
    let reader = Reader::open(folder.path()).unwrap();
    let query = UsageQuery {
        since: Some(UnixMicros(START.0 + 5 * MINUTE)),
        until: Some(UnixMicros(START.0 + 61 * MINUTE)),
        by: vec![GroupBy::Tier],
        ..UsageQuery::default()
    };
    let (since, until) = query.range();
    assert_eq!(
        (since, until),
        (Some(START), Some(UnixMicros(START.0 + 2 * HOUR)))
    );
    let rows = by_group(reader.usage(&query).unwrap().rows);
    let tiers: Vec<_> = rows
        .iter()
        .map(|row| (row.group[0].as_deref(), row.requests))
        .collect();
    assert_eq!(tiers, [(None, 1), (Some("flex"), 2)]);
    let query = UsageQuery {
        by: vec![GroupBy::Tier, GroupBy::Day],
        timezone: TimeZone::get("Asia/Kolkata").unwrap(),
        ..query
    };
    let error = reader.usage(&query).unwrap_err().to_string();
    assert!(error.contains("name another time zone"), "{error}");
}

#[test]
fn the_top_is_ranked_and_has_its_rank_before() {
    let mut records = Vec::new();
    for (n, key, cost) in [
        (0, "b", 5),
        (1, "a", 3),
        (60, "a", 6),
        (61, "c", 3),
        (62, "b", 1),
        (63, "b", 0),
    ] {
        let mut record = record(admission(0));
        record.admission.started_at = UnixMicros(START.0 + n * MINUTE);
        record.admission.key = Some(key.into());
        record.cost.as_mut().unwrap().amount = NanoUsd(cost);
        records.push(record);
    }
    let folder = ledger_of(&records, 1);
    let reader = Reader::open(folder.path()).unwrap();
    let top = |order, limit| {
        let query = TopQuery {
            usage: UsageQuery {
                since: Some(UnixMicros(START.0 + HOUR)),
                until: Some(UnixMicros(START.0 + 2 * HOUR)),
                by: vec![GroupBy::Key],
                compare: true,
                ..UsageQuery::default()
            },
            order,
            limit,
        };
        let rows = reader.top(&query).unwrap().into_iter();
        rows.map(|row| {
            (
                row.rank,
                row.usage.group[0].clone().unwrap(),
                row.share,
                row.previous_rank,
            )
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(
        top(TopOrder::Cost, 2),
        [
            (1, "a".to_owned(), Some(0.6), Some(2)),
            (2, "c".to_owned(), Some(0.3), None)
        ]
    );
    assert_eq!(
        top(TopOrder::Requests, 1),
        [(1, "b".to_owned(), Some(0.5), Some(2))]
    );
    assert_eq!(top(TopOrder::Errors, 1)[0].2, None, "a share of nothing");
}

#[test]
fn failures_are_told_by_their_kind_with_the_last_of_each() {
    let mut records = Vec::new();
    for (n, outcome, code) in [
        (0, Outcome::Ok, None),
        (1, Outcome::UpstreamError, Some("overloaded")),
        (3, Outcome::UpstreamError, Some("overloaded")),
        (2, Outcome::UpstreamError, Some("overloaded")),
        (4, Outcome::Timeout, None),
        (5, Outcome::ClientClosed, None),
    ] {
        let mut record = record(admission(u64::try_from(n).unwrap()));
        record.admission.started_at = UnixMicros(START.0 + n * MINUTE);
        record.outcome = outcome;
        record.error_code = code.map(Into::into);
        record.error_message = Some(format!("number {n}").into());
        records.push(record);
    }
    let folder = ledger_of(&records, 1);
    let reader = Reader::open(folder.path()).unwrap();
    let query = ErrorQuery {
        since: Some(START),
        limit: 10,
        ..ErrorQuery::default()
    };
    let errors = reader.errors(&query).unwrap();
    assert_eq!(errors.len(), 2);
    let [overloaded, timeout] = &errors[..] else {
        unreachable!()
    };
    assert_eq!(
        (overloaded.requests, overloaded.error_code.as_deref()),
        (3, Some("overloaded"))
    );
    assert_eq!(overloaded.first_at, UnixMicros(START.0 + MINUTE));
    assert_eq!(overloaded.last_at, UnixMicros(START.0 + 3 * MINUTE));
    assert_eq!(overloaded.last_id, records[2].admission.id);
    assert_eq!(overloaded.last_message.as_deref(), Some("number 3"));
    assert_eq!(timeout.outcome, Outcome::Timeout);
    let query = ErrorQuery {
        outcome: "time*".parse().unwrap(),
        until: Some(UnixMicros(START.0 + 10 * MINUTE)),
        ..query
    };
    assert_eq!(reader.errors(&query).unwrap().len(), 1);
}

#[test]
fn kinds_of_failures_beyond_a_number_are_told_together() {
    // In tests eight are told apart: those that failed last.
    let mut records = Vec::new();
    for n in 0..20 {
        let mut record = record(admission(0));
        record.admission.started_at = UnixMicros(START.0 + n * MINUTE);
        record.outcome = if n % 2 == 0 {
            Outcome::UpstreamError
        } else {
            Outcome::Timeout
        };
        record.error_code = Some(format!("code {n}").into());
        record.error_message = Some(format!("number {n}").into());
        records.push(record);
    }
    let folder = ledger_of(&records, 1);
    let query = ErrorQuery {
        limit: 1_000,
        ..ErrorQuery::default()
    };
    let errors = Reader::open(folder.path()).unwrap().errors(&query).unwrap();
    let told: Vec<_> = errors
        .iter()
        .map(|error| (error.error_code.as_deref().unwrap(), error.requests))
        .collect();
    let apart = [19, 18, 17, 16, 15, 14, 13, 12].map(|n| (format!("code {n}"), 1));
    let apart = apart
        .iter()
        .map(|(code, requests)| (code.as_str(), *requests));
    let expected: Vec<_> = [(OTHER, 6), (OTHER, 6)].into_iter().chain(apart).collect();
    assert_eq!(told, expected);
    let [timeout, upstream] = &errors[..2] else {
        unreachable!()
    };
    assert_eq!(timeout.outcome, Outcome::Timeout);
    assert_eq!(upstream.outcome, Outcome::UpstreamError);
    assert_eq!(
        (&timeout.channel, &timeout.model),
        (&timeout.error_code, &timeout.error_code)
    );
    assert_eq!((timeout.status, timeout.error_source), (None, None));
    assert_eq!(timeout.first_at, UnixMicros(START.0 + MINUTE));
    assert_eq!(timeout.last_at, UnixMicros(START.0 + 11 * MINUTE));
    assert_eq!(timeout.last_id, records[11].admission.id);
    assert_eq!(timeout.last_message.as_deref(), Some("number 11"));
}

#[test]
fn a_series_of_many_groups_has_longer_steps_and_then_fewer_groups() {
    // Ten keys in each of twenty weeks.
    let week = 7 * 24 * HOUR;
    let mut records = Vec::new();
    for n in 0..200 {
        let mut record = record(admission(0));
        record.admission.started_at = UnixMicros(START.0 + n / 10 * week);
        record.admission.key = Some(format!("key-{}", n % 10).into());
        record.cost.as_mut().unwrap().amount = NanoUsd(n % 10 + 1);
        records.push(record);
    }
    let folder = ledger_of(&records, 1);
    let reader = Reader::open(folder.path()).unwrap();
    let series = |weeks: i64, top| {
        let query = TimeseriesQuery {
            usage: UsageQuery {
                since: Some(START),
                until: Some(UnixMicros(START.0 + (weeks - 1) * week + HOUR)),
                by: vec![GroupBy::Key],
                ..UsageQuery::default()
            },
            step: Some(Step::at_least(Duration::from_secs(24 * 3600))),
            top,
        };
        reader.timeseries(&query).unwrap()
    };
    let sum =
        |series: &Timeseries| -> u64 { series.rows.iter().map(|row| row.usage.requests).sum() };
    // 24 rows at most in tests. Ten groups and all others would have 88 in eight days,
    // 22 in two weeks.
    let two = series(2, 10);
    assert_eq!((two.step.to_string(), two.top), ("7d".to_owned(), 10));
    assert_eq!(sum(&two), 20);
    // And 33 in three.
    let three = series(3, 10);
    assert_eq!((three.step.to_string(), three.top), ("7d".to_owned(), 7));
    assert_eq!(sum(&three), 30);
    let others = three
        .rows
        .iter()
        .filter(|row| row.usage.group == [Some(OTHER.to_owned())]);
    assert_eq!(
        others.map(|row| row.usage.requests).collect::<Vec<_>>(),
        [3, 3, 3]
    );
    let few = series(1, 1);
    assert_eq!((few.step.to_string(), few.top), ("1d".to_owned(), 1));
    assert_eq!(sum(&few), 10);
    // Where nobody can be told apart there is one row a week.
    let all = series(20, 10);
    assert_eq!((all.step.to_string(), all.top), ("7d".to_owned(), 0));
    assert_eq!(sum(&all), 200);
    assert!(
        all.rows
            .iter()
            .all(|row| row.usage.group == [Some(OTHER.to_owned())])
    );
}
