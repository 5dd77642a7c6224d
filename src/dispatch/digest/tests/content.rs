//! What a digest tells, of a real ledger.

use tempfile::TempDir;

use super::super::*;
use super::{at, nine, settings};
use crate::config::DigestSchedule;
use crate::dispatch::context::tests::{context, keep};
use crate::ledger::tests::sample::{admission, record};
use crate::money::NanoUsd;
use crate::notify::content::LinkKind;
use crate::pricing::{Factor, Layer, PriceRow, PriceTable, Rate, Rates, Threshold, ThresholdPrice};
use crate::record::{Api, RequestRecord, Sample, Usage, UsageSource};
use crate::rules::Reservation;

const USD: i64 = 1_000_000_000;

fn request(moment: &str, model: &str, key: &str, cost: Option<i64>) -> RequestRecord {
    let mut admission = admission(0);
    admission.started_at = at(moment);
    admission.requested_model = Some(model.into());
    admission.key = Some(key.into());
    let mut record = record(admission);
    record.served_model = Some(model.into());
    match cost {
        Some(cost) => record.cost.as_mut().unwrap().amount = NanoUsd(cost),
        None => record.cost = None,
    }
    record
}

/// Three days' requests and some budgets.
struct Kept {
    _folder: TempDir,
    context: Context,
    settings: DigestSettings,
}

impl Kept {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let budgets = [
            "alert: Month, metric: cost, window: month, critical: 100 USD",
            "alert: Keys, metric: cost, window: day, by: [key], critical: 1 USD",
            "alert: Tried, metric: cost, window: day, critical: 1 USD, mode: shadow",
            "alert: Slow, metric: latency, stat: p95, window: 5m, critical: 9s",
        ];
        let context = context(folder.path(), &budgets);
        let mut failed = request("2026-11-19T14:00:00Z", "b", "x", None);
        failed.outcome = Outcome::Timeout;
        let mut blocked = request("2026-11-19T15:00:00Z", "c", "y", None);
        blocked.outcome = Outcome::Blocked;
        blocked.usage = Usage::absent(UsageSource::None);
        let mut cached = request("2026-11-19T22:59:59Z", "a", "y", Some(3 * USD));
        cached.usage.tokens[TokenType::InputCached] = Some(50);
        let records = [
            request("2026-11-17T10:00:00Z", "a", "x", Some(1)),
            // The day before, in Berlin.
            request("2026-11-17T23:00:00Z", "a", "x", Some(USD)),
            // The day.
            request("2026-11-18T23:00:00Z", "a", "x", Some(2 * USD)),
            request("2026-11-18T23:30:00Z", "b", "x", Some(USD / 2)),
            failed,
            blocked,
            cached,
            // The day after.
            request("2026-11-20T01:00:00Z", "a", "x", Some(7 * USD)),
        ];
        keep(folder.path(), &records);
        for record in &records {
            if let Some(sample) = Sample::of(record, None, None, None) {
                let rules = &context.rules;
                rules.observe(&sample, Reservation::default(), Self::NOW);
            }
        }
        Self {
            _folder: folder,
            context,
            settings: settings(DigestSchedule::Daily(nine()), "Europe/Berlin"),
        }
    }

    /// 2026-11-20T08:00:05Z.
    const NOW: UnixMicros = UnixMicros(1_795_161_605_000_000);

    /// What is told at nine on this day.
    fn told(&self, day: &str) -> DigestContent {
        let schedule = Schedule::new(&self.settings).unwrap();
        let period = schedule.period_ending(at(&format!("{day}T08:00:00Z")));
        let period = period.unwrap();
        let told = digest_content(&self.context, &self.settings, &period, Self::NOW);
        let told = told.unwrap().unwrap();
        assert_eq!((told.since, told.until), (period.since, period.until));
        told
    }
}

#[test]
fn a_digest_tells_what_was_used_and_what_changed() {
    let told = Kept::new().told("2026-11-20");
    let total = &told.total;
    assert_eq!((total.requests, total.errors, total.unpriced), (4, 1, 1));
    assert_eq!(total.cost_nanousd, Some(5 * USD + USD / 2));
    assert_eq!((total.input_tokens, total.cached_tokens), (450, 50));
    assert_eq!(total.output_tokens, 80);
    let half = total.latency_p50_us.unwrap();
    assert!((1_500_000..1_550_000).contains(&half), "{half}");
    assert!(total.ttft_p95_us.is_some());
    // There is a cache, and nobody states what the model costs.
    assert_eq!(total.saved_nanousd, None);
    let before = told.before.unwrap();
    assert_eq!((before.requests, before.cost_nanousd), (1, Some(USD)));
    assert_eq!(before.saved_nanousd, Some(0));
    assert_eq!(told.errors, [("timeout".into(), 1), ("blocked".into(), 1)]);
    assert_eq!(told.links[0].kind, LinkKind::Dashboard);

    assert_eq!(told.series.len(), 48);
    let spent = told.series.iter().filter(|(_, cost, _)| *cost > 0);
    let spent: Vec<_> = spent.map(|&(begin, cost, _)| (begin, cost)).collect();
    assert_eq!(
        spent,
        [
            (at("2026-11-17T23:00:00Z"), USD),
            (at("2026-11-18T23:00:00Z"), 2 * USD + USD / 2),
            (at("2026-11-19T22:00:00Z"), 3 * USD),
        ]
    );
}

#[test]
fn the_most_used_come_first_with_what_they_were_before() {
    let kept = Kept::new();
    let tops = |told: DigestContent| -> Vec<_> {
        let tops = told.top.into_iter().flat_map(|(what, rows)| {
            rows.into_iter().map(move |row| {
                let spent = (row.cost_nanousd, row.before_nanousd);
                (format!("{what} {}", row.name), row.requests, spent)
            })
        });
        tops.collect()
    };
    let row =
        |name: &str, requests, cost, before| (name.to_owned(), requests, (Some(cost), before));
    assert_eq!(
        tops(kept.told("2026-11-20")),
        [
            row("model a", 2, 5 * USD, Some(USD)),
            row("model b", 2, USD / 2, Some(0)),
            row("channel openai", 4, 5 * USD + USD / 2, Some(USD)),
            row("key y", 1, 3 * USD, Some(0)),
            row("key x", 3, 2 * USD + USD / 2, Some(USD)),
        ]
    );
    // Of the day before that the ledger knows a part only.
    let first = kept.told("2026-11-19");
    assert_eq!((&first.before, first.series.len()), (&None, 24));
    assert_eq!(tops(first)[0], row("model a", 1, USD, None));
}

#[test]
fn budgets_are_told_as_they_stand_the_fullest_first() {
    let told = Kept::new().told("2026-11-20");
    let budgets: Vec<_> = told
        .budgets
        .iter()
        .map(|budget| format!("{} {} {}", budget.alert, budget.used, budget.limit))
        .collect();
    let keys = "Keys{key=\"x\"} 7 USD 1 USD";
    let month = "Month 13.500000001 USD 100 USD";
    assert_eq!(budgets[0], keys);
    assert!(budgets.iter().any(|budget| budget == month), "{budgets:?}");
    let others = |budget: &&String| budget.starts_with("Tried") || budget.starts_with("Slow");
    assert_eq!(budgets.iter().find(others), None);
}

#[test]
fn without_a_ledger_there_is_no_digest() {
    let nowhere = TempDir::new().unwrap();
    let settings = settings(DigestSchedule::Daily(nine()), "UTC");
    let schedule = Schedule::new(&settings).unwrap();
    let period = schedule.period_ending(Kept::NOW).unwrap();
    let context = context(nowhere.path(), &[]);
    assert!(digest_content(&context, &settings, &period, Kept::NOW).is_err());
}

#[test]
fn of_a_time_before_the_ledger_nothing_is_told_and_of_an_idle_one_that_nothing_was_spent() {
    let kept = Kept::new();
    let at_nine = |day: &str| {
        let schedule = Schedule::new(&kept.settings).unwrap();
        let period = schedule.period_ending(at(&format!("{day}T08:00:00Z")));
        digest_content(&kept.context, &kept.settings, &period.unwrap(), Kept::NOW).unwrap()
    };
    // The first request was on the 17th.
    assert_eq!(at_nine("2026-11-17"), None);
    let first = at_nine("2026-11-18").unwrap();
    assert_eq!((first.total.requests, first.before), (1, None));
    let idle = at_nine("2026-11-23").unwrap().total;
    assert_eq!((idle.requests, idle.cost_nanousd), (0, Some(0)));
    // What nobody can price is no nothing.
    let sums = |requests, unpriced| PeriodSums {
        requests,
        unpriced,
        ..PeriodSums::default()
    };
    assert_eq!(spent(&sums(3, 0)), Some(0));
    assert_eq!(spent(&sums(3, 1)), None);
}

#[test]
fn parts_are_hours_days_or_more_and_never_many() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let begin = at("2026-03-27T23:00:00Z");
    for (until, count, second) in [
        // The day in between has 23 hours.
        ("2026-03-29T22:00:00Z", 47, "2026-03-28T00:00:00Z"),
        ("2026-03-30T22:00:00Z", 3, "2026-03-28T23:00:00Z"),
        ("2026-05-27T22:00:00Z", 61, "2026-03-28T23:00:00Z"),
        ("2027-03-27T23:00:00Z", 61, "2026-04-02T22:00:00Z"),
    ] {
        let parts = parts(begin, at(until), &zone);
        assert_eq!(
            (parts.len(), parts[0], parts[1]),
            (count, begin, at(second)),
            "{until}"
        );
    }
    assert_eq!(parts(begin, begin, &zone), []);
}

#[test]
fn caching_saves_what_other_input_would_have_cost() {
    let rates = Rates::text(
        Rate::milli_usd(3_000),
        Some(Rate::milli_usd(300)),
        Some(Rate::milli_usd(3_750)),
        Some(Rate::milli_usd(15_000)),
    )
    .with_cache_write_1h(Rate::milli_usd(6_000));
    let mut row = PriceRow::new("openai", "m", "test", rates);
    row.thresholds = vec![Threshold {
        above_input_tokens: 1,
        price: ThresholdPrice::Times {
            input: Factor(9_000),
            output: Factor(9_000),
        },
    }];
    let table = PriceTable::new([Arc::new(Layer::new("test", [row], []))]);
    let folder = TempDir::new().unwrap();
    let channels = context(folder.path(), &[]).channels;
    let group = |model: &str, cached: Option<u64>, written: Option<u64>, hour: Option<u64>| {
        let mut sums = PeriodSums::default();
        sums.tokens[TokenType::Input] = Some(1_000_000);
        sums.tokens[TokenType::InputCached] = cached;
        sums.tokens[TokenType::InputCacheWrite] = written;
        sums.cache_write_1h = hour;
        PeriodGroup {
            channel: "openai".to_owned(),
            model: model.to_owned(),
            api: Api::Chat,
            key: String::new(),
            sums,
        }
    };
    let saved =
        |groups: &[PeriodGroup]| saved(&channels, &table, groups, at("2026-11-20T00:00:00Z"));
    let million = Some(1_000_000);
    for (groups, nanousd) in [
        (vec![], Some(0)),
        (vec![group("m", None, Some(0), None)], Some(0)),
        // 3 USD less 0.30.
        (vec![group("m", million, None, None)], Some(2_700_000_000)),
        // Writing costs 0.75 more than reading saves nothing of yet.
        (vec![group("m", None, million, None)], Some(-750_000_000)),
        // Half of it for an hour: 0.375 and 1.50.
        (
            vec![group("m", million, million, Some(500_000))],
            Some(825_000_000),
        ),
        (vec![group("unheard-of", million, None, None)], None),
        (
            vec![
                group("unheard-of", million, None, None),
                group("m", million, None, None),
            ],
            Some(2_700_000_000),
        ),
    ] {
        assert_eq!(saved(&groups), nanousd, "{groups:?}");
    }
}
