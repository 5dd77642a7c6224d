//! Pricing history anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::Connection;
use tempfile::TempDir;

use super::listing::assert_rankings_are_of_the_rows;
use super::sample::{START, admission, any_record, record};
use super::windows::assert_windows_are_the_rows;
use super::{Manual, PATIENCE, open, query_number, rows, settings};
use crate::clock::UnixMicros;
use crate::ledger::query::{Reader, StoredRequest};
use crate::ledger::reprice::Pass;
use crate::ledger::{
    self, Closed, OpenError, PriceBook, QueryError, RepriceError, RepriceQuery, RepriceReport,
    Settings,
};
use crate::money::NanoUsd;
use crate::pricing::{Layer, PriceRow, PriceTable, Rate, Rates};
use crate::record::{Cost, Estimate, RequestRecord, Usage, UsageSource};

/// All there is.
fn everything() -> RepriceQuery {
    RepriceQuery {
        since: UnixMicros(0),
        until: UnixMicros(i64::MAX),
        model: None,
        who: "tester".to_owned(),
    }
}

/// Text at so many thousandths of a dollar a million tokens in; twice as much out.
fn row(model: &str, milli_usd: u64) -> PriceRow {
    let output = Some(Rate::milli_usd(2 * milli_usd));
    let rates = Rates::text(Rate::milli_usd(milli_usd), None, None, output);
    PriceRow::new("", model.to_owned(), "test", rates)
}

/// Only these prices, for a channel `azure` that is Azure's and some of which nobody knows whose.
fn table(version: &str, rows: impl IntoIterator<Item = PriceRow>) -> PriceBook {
    PriceBook {
        table: Arc::new(PriceTable::new([Arc::new(Layer::new(version, rows, []))])),
        sellers: Arc::new(
            ["azure", "openai", "", "a", "b", "ü—"]
                .map(|channel| {
                    (
                        channel.to_owned(),
                        Some(channel).filter(|&it| it == "azure"),
                    )
                })
                .into(),
        ),
    }
}

/// The 100 tokens in and 20 out of [`record`] at a price.
fn gpt_5_mini(milli_usd: u64) -> PriceBook {
    table("t", [row("gpt-5-mini", milli_usd)])
}

fn end(manual: &mut Manual, records: &[RequestRecord]) {
    for record in records {
        manual.journal.end(record);
    }
    manual.round();
}

/// To the end, in batches of so many rows.
fn reprice(
    manual: &mut Manual,
    query: RepriceQuery,
    prices: &PriceBook,
    rows_a_batch: u32,
) -> RepriceReport {
    let mut pass = Pass::new(query, prices.clone());
    pass.rows_a_batch = rows_a_batch;
    while !manual
        .writer
        .reprice_step(&mut pass, UnixMicros(START.0 + 7))
        .unwrap()
    {}
    pass.report()
}

type Sums = BTreeMap<(i64, String, String, String, String), (Option<i64>, i64, Option<i64>)>;

/// Cost, unpriced requests and estimated cost of each roll-up, from a query that gives its key and these.
fn sums(folder: &TempDir, sql: &str) -> Sums {
    let connection = Connection::open(super::super::database::path_in(folder.path())).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let sums = statement.query_map([], |row| {
        let key = (
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
        );
        Ok((key, (row.get(5)?, row.get(6)?, row.get(7)?)))
    });
    sums.unwrap().map(Result::unwrap).collect()
}

fn assert_rollups_are_the_rows(folder: &TempDir) {
    let rolled_up = sums(
        folder,
        "SELECT minute, channel, model, api, key, cost_nanousd, unpriced_requests, \
         estimated_cost_nanousd FROM usage_minutely",
    );
    let fresh = sums(
        folder,
        "SELECT started_at - started_at % 60000000, coalesce(channel, ''), \
         coalesce(served_model, requested_model, ''), api, coalesce(key, ''), sum(cost_nanousd), \
         sum(cost_nanousd IS NULL AND usage_source IN ('reported', 'partial', 'estimated')), \
         sum(estimated_cost_nanousd) \
         FROM requests GROUP BY 1, 2, 3, 4, 5",
    );
    assert_eq!(rolled_up, fresh);
    let by_hour = sums(
        folder,
        "SELECT hour, channel, model, api, key || '/' || tier, cost_nanousd, unpriced_requests, \
         estimated_cost_nanousd FROM usage_hourly",
    );
    let fresh = sums(
        folder,
        "SELECT started_at - started_at % 3600000000, coalesce(channel, ''), \
         coalesce(served_model, requested_model, ''), api, \
         coalesce(key, '') || '/' || iif(sequence > (SELECT value FROM meta \
         WHERE name = 'tiers_known_after'), coalesce(service_tier, ''), ''), sum(cost_nanousd), \
         sum(cost_nanousd IS NULL AND usage_source IN ('reported', 'partial', 'estimated')), \
         sum(estimated_cost_nanousd) \
         FROM requests GROUP BY 1, 2, 3, 4, 5",
    );
    assert_eq!(by_hour, fresh);
    assert_windows_are_the_rows(folder.path());
    assert_rankings_are_of_the_rows(folder.path());
}

fn costs(rows: &[StoredRequest]) -> Vec<Option<Cost>> {
    rows.iter().map(|row| row.cost.clone()).collect()
}

fn any_table() -> impl Strategy<Value = PriceBook> {
    let names = select(vec!["", "a", "b", "ü—"]);
    proptest::collection::vec((names, 0..3_000_u64), 0..4).prop_map(|rows| {
        table(
            "any",
            rows.into_iter().map(|(model, price)| row(model, price)),
        )
    })
}

/// A record with one of few tiers, or a cost that the provider stated.
fn priceable() -> impl Strategy<Value = RequestRecord> {
    let tier = select(vec![None, Some("default"), Some("flex"), Some("scale")]);
    (any_record(), tier, any::<bool>()).prop_map(|(mut record, tier, stated)| {
        record.service_tier = tier.map(Arc::from);
        if let Some(cost) = record.cost.as_mut().filter(|_| stated) {
            cost.price_version = Cost::STATED.into();
        }
        record
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rollups_stay_the_sums_of_the_rows(
        records in proptest::collection::vec(priceable(), 0..40),
        tables in proptest::collection::vec(any_table(), 1..4),
        rows_a_batch in 1..8_u32,
        cut_off_after in 0..6_usize,
    ) {
        let folder = TempDir::new().unwrap();
        let mut manual = Manual::open(&settings(&folder));
        end(&mut manual, &records);
        for prices in &tables {
            let before = rows(folder.path());
            let foreseen = Reader::open(folder.path())
                .unwrap()
                .preview_repricing(everything(), prices.clone())
                .unwrap();
            // A crash after some batches, and a new process.
            let mut pass = Pass::new(everything(), prices.clone());
            pass.rows_a_batch = rows_a_batch;
            for _ in 0..cut_off_after {
                if manual.writer.reprice_step(&mut pass, START).unwrap() {
                    break;
                }
                assert_rollups_are_the_rows(&folder);
            }
            let begun = pass.report().total;
            manual.kill();
            manual = Manual::open(&settings(&folder));
            let finished = reprice(&mut manual, everything(), prices, rows_a_batch);
            assert_rollups_are_the_rows(&folder);

            let after = rows(folder.path());
            let sum = |rows: &[StoredRequest]| {
                rows.iter().filter_map(|row| row.cost.as_ref()).map(|cost| cost.amount.0).sum::<i64>()
            };
            let difference = sum(&after) - sum(&before);
            prop_assert_eq!(foreseen.total.difference().0, difference);
            prop_assert_eq!(foreseen.total.old_cost.unwrap_or_default().0, sum(&before));
            prop_assert_eq!(foreseen.total.new_cost.unwrap_or_default().0, sum(&after));
            prop_assert_eq!(foreseen.total.requests, records.len() as u64);
            prop_assert_eq!(foreseen.run, None);
            prop_assert_eq!(begun.difference().0 + finished.total.difference().0, difference);
            prop_assert_eq!(begun.changed + finished.total.changed, foreseen.total.changed);

            let again = reprice(&mut manual, everything(), prices, rows_a_batch);
            prop_assert_eq!((again.total.changed, again.run), (0, None));
            prop_assert_eq!(rows(folder.path()), after);
        }
        // Over all runs the audit's differences lead from the first costs to the present ones.
        let first: i64 = records.iter().filter_map(|r| r.cost.as_ref()).map(|c| c.amount.0).sum();
        let present: i64 = rows(folder.path()).iter().filter_map(|r| r.cost.as_ref()).map(|c| c.amount.0).sum();
        let number = |sql| query_number(folder.path(), sql);
        let audited = number(
            "SELECT coalesce(sum(new_cost_nanousd - coalesce(old_cost_nanousd, 0)), 0) FROM repricings",
        );
        prop_assert_eq!(audited, present - first);
        prop_assert_eq!(
            number("SELECT coalesce(sum(difference_nanousd), 0) FROM repricing_runs"),
            audited
        );
        prop_assert_eq!(
            number("SELECT coalesce(sum(requests), 0) FROM repricing_runs"),
            number("SELECT count(*) FROM repricings")
        );
    }
}

#[test]
fn what_was_assumed_gives_way_to_a_cost_or_follows_its_estimate() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    let with = |n, change: fn(&mut RequestRecord)| {
        let mut record = record(admission(n));
        record.cost = None;
        record.assumed_cost = Some(NanoUsd(7));
        change(&mut record);
        record
    };
    let missing = |record: &mut RequestRecord| {
        record.usage = Usage::absent(UsageSource::Missing);
    };
    let records = [
        with(0, |_| {}),
        with(1, |record| {
            record.usage = Usage::absent(UsageSource::Missing);
            record.estimate = Some(Estimate {
                input_tokens: Some(100),
                output_tokens: Some(20),
                cost: None,
            });
        }),
        with(2, missing),
        with(3, |record| record.served_model = Some("nameless".into())),
    ];
    end(&mut manual, &records);
    let summed = || {
        let sql = "SELECT sum(cost_nanousd) FROM window_minutely";
        query_number(folder.path(), sql)
    };
    assert_eq!(summed(), 4 * 7);
    reprice(&mut manual, everything(), &gpt_5_mini(1_000), 10);
    let assumed: Vec<_> = rows(folder.path())
        .iter()
        .map(|row| row.assumed_cost.map(|cost| cost.0))
        .collect();
    // 100 tokens in at a dollar a million, 20 out at two.
    assert_eq!(assumed, [None, Some(140_000), Some(7), Some(7)]);
    assert_eq!(summed(), 2 * 140_000 + 2 * 7);
    assert_rollups_are_the_rows(&folder);
}

#[test]
fn a_later_price_raises_the_dearest_of_an_hour_and_forgets_no_row() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    let with = |hour: i64, model: &str, cost: Option<i64>| {
        let mut record = record(admission(0));
        record.admission.started_at = UnixMicros(START.0 + hour * 3_600_000_000);
        record.served_model = Some(model.into());
        record.cost = cost.map(|amount| Cost {
            amount: NanoUsd(amount),
            price_version: "old".into(),
        });
        record
    };
    let records = [
        with(0, "gpt-5-mini", Some(10)),
        with(1, "other", Some(20)),
        with(2, "gpt-5-mini", None),
    ];
    end(&mut manual, &records);
    let dearest = || {
        let greatest = |hour: i64| {
            let hour = START.0 + hour * 3_600_000_000;
            let sql = "SELECT coalesce(max(dearest_nanousd), -1) FROM requests_hourly WHERE hour";
            query_number(folder.path(), &format!("{sql} = {hour}"))
        };
        [0, 1, 2].map(greatest)
    };
    assert_eq!(dearest(), [10, 20, -1]);
    reprice(&mut manual, everything(), &gpt_5_mini(1_000), 1);
    assert_eq!(dearest(), [140_000, 20, 140_000]);
    assert_rollups_are_the_rows(&folder);
    // What the writer remembers of the hour is less than the table has: it must not lower it.
    end(&mut manual, &[with(0, "gpt-5-mini", Some(70_000))]);
    assert_eq!(dearest(), [140_000, 20, 140_000]);
    // Cheaper now: the table may say more than there is.
    reprice(&mut manual, everything(), &gpt_5_mini(1), 10);
    assert_eq!(dearest(), [140_000, 20, 140_000]);
    assert_rollups_are_the_rows(&folder);
}

#[test]
fn each_kind_of_row_gets_what_it_should() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    let with = |n, change: fn(&mut RequestRecord)| {
        let mut record = record(admission(n));
        change(&mut record);
        record
    };
    let records = [
        with(0, |_| {}),
        with(1, |record| record.cost = None),
        with(2, |record| {
            if let Some(cost) = &mut record.cost {
                cost.price_version = Cost::STATED.into();
            }
        }),
        with(3, |record| {
            record.usage = Usage::absent(UsageSource::Missing);
            record.cost = None;
        }),
        with(4, |record| record.served_model = Some("retired".into())),
        with(5, |record| {
            record.served_model = Some("nameless".into());
            record.cost = None;
        }),
        with(6, |record| {
            if let Some(cost) = &mut record.cost {
                cost.amount = NanoUsd(140_000);
            }
        }),
    ];
    end(&mut manual, &records);
    let before = rows(folder.path());
    // 100 in at 1 USD and 20 out at 2 USD a million: 140,000 nano-dollars.
    let report = reprice(&mut manual, everything(), &gpt_5_mini(1_000), 500);
    let after = rows(folder.path());
    let amounts: Vec<_> = costs(&after)
        .into_iter()
        .map(|cost| cost.map(|cost| cost.amount.0))
        .collect();
    assert_eq!(
        amounts,
        [
            Some(140_000),
            Some(140_000),
            Some(65_000),
            None,
            Some(65_000),
            None,
            Some(140_000)
        ]
    );
    let new_version = "t/gpt-5-mini:dated";
    assert_eq!(&*after[0].cost.as_ref().unwrap().price_version, new_version);
    // The same amount keeps the price it was computed with.
    assert_eq!(after[6], before[6]);
    let total = report.total;
    assert_eq!(
        (total.requests, total.changed, total.newly_priced),
        (7, 2, 1)
    );
    assert_eq!(
        (
            total.stated,
            total.without_usage,
            total.kept,
            total.unpriced
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(total.difference(), NanoUsd(75_000 + 140_000));
    let models: Vec<_> = report
        .models
        .iter()
        .map(|(name, _)| name.as_deref())
        .collect();
    assert_eq!(
        models,
        [
            Some("gpt-5-mini-2025-08-07"),
            Some("nameless"),
            Some("retired")
        ]
    );
    assert_rollups_are_the_rows(&folder);

    let reader = Reader::open(folder.path()).unwrap();
    let repriced = |n: usize| reader.request(after[n].id).unwrap().unwrap().repricings;
    assert_eq!(repriced(6), []);
    let history = repriced(0);
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].old, before[0].cost);
    assert_eq!(Some(&history[0].new), after[0].cost.as_ref());
    assert_eq!((history[0].run, &*history[0].who), (1, "tester"));
    assert_eq!(history[0].at, UnixMicros(START.0 + 7));
    assert_eq!(repriced(1)[0].old, None);

    reprice(&mut manual, everything(), &gpt_5_mini(2_000), 500);
    let history = repriced(0);
    assert_eq!(history.len(), 2);
    assert_eq!(history[1].old.as_ref(), Some(&history[0].new));
}

#[test]
fn a_range_and_a_model_leave_the_rest_alone() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    let records: Vec<_> = (0..10)
        .map(|n| {
            let mut record = record(admission(n));
            record.served_model = (n % 2 == 0).then(|| "gpt-5-mini".into());
            record.admission.requested_model = Some("other".into());
            record
        })
        .collect();
    end(&mut manual, &records);
    let prices = table("t", [row("gpt-5-mini", 1_000), row("other", 1_000)]);
    let query = RepriceQuery {
        since: records[2].admission.started_at,
        until: records[8].admission.started_at,
        model: Some("other".to_owned()),
        ..everything()
    };
    let report = reprice(&mut manual, query, &prices, 2);
    assert_eq!((report.total.requests, report.total.changed), (3, 3));
    let changed: Vec<usize> = (0..)
        .zip(rows(folder.path()))
        .filter(|(_, row)| row.cost != records[0].cost)
        .map(|(n, _)| n)
        .collect();
    assert_eq!(changed, [3, 5, 7]);
    assert_rollups_are_the_rows(&folder);
}

#[test]
fn a_channel_has_the_prices_of_its_provider() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    let records = ["openai", "azure"].map(|channel| {
        let mut admission = admission(0);
        admission.channel = Some(channel.into());
        record(admission)
    });
    end(&mut manual, &records);
    let of = |provider: &'static str, milli_usd| PriceRow {
        provider: provider.into(),
        ..row("gpt-5-mini", milli_usd)
    };
    let prices = table("t", [of("openai", 1_000), of("azure", 2_000)]);
    reprice(&mut manual, everything(), &prices, 500);
    let amounts: Vec<_> = costs(&rows(folder.path()))
        .into_iter()
        .map(|cost| cost.map(|cost| cost.amount.0))
        .collect();
    assert_eq!(amounts, [Some(140_000), Some(280_000)]);
}

#[test]
fn of_a_channel_that_is_gone_the_old_price_tells_the_provider() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    let of_gone = |version: Option<&str>| {
        let mut admission = admission(0);
        admission.channel = Some("gone".into());
        let mut record = record(admission);
        record.cost = version.map(|version| Cost {
            amount: NanoUsd(1),
            price_version: version.into(),
        });
        record
    };
    let records = [
        of_gone(Some("builtin/azure/gpt-5-mini:exact")),
        of_gone(Some("old/openai/gpt-5-mini@2026-01-01:exact")),
        of_gone(Some("mine.yaml-0a/gpt-5-mini:exact")),
        of_gone(Some("mine.yaml-0a/meta-llama/llama-3:exact")),
        of_gone(Some("test/1")),
        of_gone(None),
    ];
    end(&mut manual, &records);
    let of = |provider: &'static str, milli_usd| PriceRow {
        provider: provider.into(),
        ..row("gpt-5-mini", milli_usd)
    };
    let prices = table("t", [of("openai", 1_000), of("azure", 2_000)]);
    let report = reprice(&mut manual, everything(), &prices, 500);
    let amounts: Vec<_> = costs(&rows(folder.path()))
        .into_iter()
        .map(|cost| cost.map(|cost| cost.amount.0))
        .collect();
    let kept = Some(1);
    assert_eq!(
        amounts,
        [Some(280_000), Some(140_000), kept, kept, kept, None]
    );
    let total = report.total;
    assert_eq!((total.changed, total.unknown_seller), (2, 4));
    assert_rollups_are_the_rows(&folder);
}

#[test]
fn an_estimate_is_priced_anew_with_its_rollup() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    let estimated = |output_tokens, cost| {
        let mut record = record(admission(0));
        record.usage = Usage::absent(UsageSource::Missing);
        record.cost = None;
        record.estimate = Some(Estimate {
            input_tokens: Some(100),
            output_tokens,
            cost,
        });
        record
    };
    let records = [
        estimated(Some(20), Some(NanoUsd(65_000))),
        estimated(Some(20), None),
        // Half a usage.
        estimated(None, None),
    ];
    end(&mut manual, &records);
    let report = reprice(&mut manual, everything(), &gpt_5_mini(1_000), 500);
    let amounts: Vec<_> = rows(folder.path())
        .into_iter()
        .map(|row| row.estimate.unwrap().cost)
        .collect();
    let new = Some(NanoUsd(140_000));
    assert_eq!(amounts, [new, new, None]);
    assert_eq!(
        (report.total.changed, report.total.changed_estimates),
        (0, 2)
    );
    assert_eq!(report.total.new_cost, None);
    assert!(report.run.is_some());
    assert_rollups_are_the_rows(&folder);
    let report = reprice(&mut manual, everything(), &gpt_5_mini(1_000), 500);
    assert_eq!((report.total.changed_estimates, report.run), (0, None));
}

#[test]
fn a_rollup_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    end(&mut manual, &[record(admission(0))]);
    let connection = Connection::open(super::super::database::path_in(folder.path())).unwrap();
    connection
        .execute("DELETE FROM usage_minutely", [])
        .unwrap();
    let before = rows(folder.path());
    let mut pass = Pass::new(everything(), gpt_5_mini(1_000));
    let error = manual.writer.reprice_step(&mut pass, START).unwrap_err();
    assert!(matches!(error, RepriceError::NoRollup { .. }), "{error:?}");
    let told = error.to_string();
    let minute = START.minute().timestamp().to_string();
    for part in [minute.as_str(), "channel \"openai\"", "--until"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(rows(folder.path()), before);
}

#[test]
fn what_was_there_before_the_hours_is_counted_without_a_tier() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    let of_a_tier = || {
        let mut record = record(admission(0));
        record.service_tier = Some("default".into());
        record.cost = None;
        record
    };
    end(&mut manual, &[of_a_tier()]);
    // As the migration leaves it.
    let connection = Connection::open(super::super::database::path_in(folder.path())).unwrap();
    connection
        .execute_batch(
            "UPDATE usage_hourly SET tier = ''; \
             UPDATE meta SET value = 1 WHERE name = 'tiers_known_after'",
        )
        .unwrap();
    end(&mut manual, &[of_a_tier()]);
    let report = reprice(&mut manual, everything(), &gpt_5_mini(1_000), 500);
    assert_eq!(report.total.changed, 2);
    assert_rollups_are_the_rows(&folder);
}

#[test]
fn what_retention_deleted_is_told() {
    let folder = TempDir::new().unwrap();
    let hour = Duration::from_secs(3_600);
    let mut manual = Manual::open(&Settings {
        retention: Some(hour),
        ..settings(&folder)
    });
    let records: Vec<_> = (0..10)
        .map(|n: i64| {
            let mut record = record(admission(0));
            record.admission.started_at = UnixMicros(START.0 + n * 20_000_000);
            record
        })
        .collect();
    end(&mut manual, &records);
    reprice(&mut manual, everything(), &gpt_5_mini(1_000), 500);
    assert_eq!(
        query_number(folder.path(), "SELECT count(*) FROM repricings"),
        10
    );

    // The first four expire: a minute and a third.
    manual.round_at(records[4].admission.started_at.plus(hour));
    assert_eq!(rows(folder.path()).len(), 6);
    // What is known of a row goes with it; what explains the roll-ups stays.
    assert_eq!(
        query_number(folder.path(), "SELECT count(*) FROM repricings"),
        6
    );
    assert_eq!(
        query_number(folder.path(), "SELECT requests FROM repricing_runs"),
        10
    );
    let report = reprice(&mut manual, everything(), &gpt_5_mini(2_000), 500);
    assert_eq!((report.total.changed, report.expired_requests), (6, 4));
    let recent = RepriceQuery {
        since: records[4].admission.started_at,
        ..everything()
    };
    let report = reprice(&mut manual, recent, &gpt_5_mini(3_000), 500);
    assert_eq!((report.total.changed, report.expired_requests), (6, 0));
}

#[test]
fn a_running_ledger_prices_its_own_history() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    for n in 0..1_200 {
        ledger.journal().end(&record(admission(n)));
    }
    assert!(ledger.flush(PATIENCE));
    let repricer = ledger.repricer();
    let busy = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| repricer.reprice(everything(), gpt_5_mini(1_000))))
            .collect();
        // New records go on meanwhile.
        for n in 1_200..1_300 {
            ledger.journal().end(&record(admission(n)));
        }
        let mut changed = 0;
        let mut busy = 0;
        for asker in askers {
            match asker.join().unwrap() {
                Ok(report) => changed += report.total.changed,
                Err(RepriceError::Busy) => busy += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(changed >= 1_200, "{changed}");
        busy
    });
    assert!(busy < 4);
    assert!(ledger.flush(PATIENCE));
    repricer.reprice(everything(), gpt_5_mini(1_000)).unwrap();
    assert_rollups_are_the_rows(&folder);

    // Nobody else may write meanwhile.
    assert!(matches!(
        ledger::reprice(folder.path(), everything(), gpt_5_mini(2_000)),
        Err(RepriceError::Open(OpenError::InUse { .. }))
    ));
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    assert!(matches!(
        repricer.reprice(everything(), gpt_5_mini(2_000)),
        Err(RepriceError::NotWriter)
    ));
}

#[test]
fn without_a_sidecar_the_journal_is_committed_first() {
    let folder = TempDir::new().unwrap();
    assert!(matches!(
        ledger::reprice(folder.path(), everything(), gpt_5_mini(1_000)),
        Err(RepriceError::Read(QueryError::NoLedger { .. }))
    ));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let mut manual = Manual::open(&settings(&folder));
    end(&mut manual, &[record(admission(0))]);
    manual.journal.end(&record(admission(1)));
    manual.kill();
    let report = ledger::reprice(folder.path(), everything(), gpt_5_mini(1_000)).unwrap();
    assert_eq!(report.total.changed, 2);
    assert_rollups_are_the_rows(&folder);
}
