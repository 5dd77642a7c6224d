use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::alert::{AlertId, Labels, Mode, Quantity, Severity, Unit};
use crate::channel::Closing;
use crate::config::{BaseUrl, BudgetSettings, ChannelSettings, ModelPattern};
use crate::ledger::tests::sample::{START, any_record, record};
use crate::ledger::{Ledger, Settings as LedgerFiles, Takeover};
use crate::record::{
    GateReason, GateState, Outcome, Owner, Phase, RequestRecord, Sample, input_tokens,
};
use crate::rules::{KnownNames, NoHands, Reservation, RuleSet, parse};

/// More than any machine needs.
const FLUSH: Duration = Duration::from_secs(60);

pub(in crate::dispatch) fn rule_set(rules: &[&str]) -> RuleSet {
    let rules = rules.join("}\n  - {");
    let text = format!("groups:\n- name: g\n  rules:\n  - {{{rules}}}\n");
    let known = KnownNames::default();
    let loaded = parse(Path::new("r.yaml"), &text, &TimeZone::UTC, &known);
    loaded.unwrap_or_else(|told| panic!("{told}")).set
}

fn channel(name: &str, models: Option<&[&str]>) -> ChannelSettings {
    ChannelSettings {
        name: name.into(),
        models: models.map(|models| models.iter().map(|name| ModelPattern::new(name)).collect()),
        ..ChannelSettings::openai(BaseUrl::openai())
    }
}

/// A context over an empty folder, with a channel `openai` for everything and these rules.
pub(in crate::dispatch) fn context(folder: &Path, rules: &[&str]) -> Context {
    let channels = vec![channel("openai", None)];
    let set = if rules.is_empty() {
        RuleSet::default()
    } else {
        rule_set(rules)
    };
    let hands = Arc::new(NoHands);
    Context {
        rules: Arc::new(Rules::new(&set, BudgetSettings::default(), false, hands)),
        channels: Arc::new(Registry::of(channels).unwrap()),
        prices: Arc::new(Prices::builtin()),
        data_dir: folder.to_owned(),
        links: Links::new(Some(&"https://grafana.example.com".parse().unwrap()), None),
    }
}

/// Writes requests to the ledger in a folder.
pub(in crate::dispatch) fn keep(folder: &Path, records: &[RequestRecord]) {
    let files = LedgerFiles {
        tick: Duration::from_millis(5),
        retention: None,
        ..LedgerFiles::new(folder)
    };
    let ledger = Ledger::open(&files, Takeover::Refuse).unwrap();
    for record in records {
        ledger.journal().admit(&record.admission);
        ledger.journal().end(record);
    }
    assert!(ledger.flush(FLUSH));
    let _closed = ledger.close(FLUSH);
}

fn event(rule: &str, labels: &[(&str, &str)], at: UnixMicros) -> AlertEvent {
    let labels = labels.iter();
    AlertEvent {
        at,
        alert: AlertId {
            rule: rule.into(),
            labels: Labels::new(labels.map(|&(name, value)| (name.into(), value.into()))),
        },
        state: AlertState::Firing,
        severity: Some(Severity::Critical),
        active_since: None,
        fired_at: None,
        cleared_since: None,
        critical_since: None,
        critical_cleared_since: None,
        value: Some(Quantity {
            unit: Unit::Usd,
            value: 6_000_000_000,
        }),
        limit: Some(Quantity {
            unit: Unit::Usd,
            value: 5_000_000_000,
        }),
        window_end: None,
        mode: Mode::Notify,
        told: true,
        actions: Vec::new(),
    }
}

#[test]
fn an_alert_is_told_with_its_rule_its_window_and_where_to_look() {
    let folder = TempDir::new().unwrap();
    let rules = "alert: Spend, metric: cost, window: day, by: [channel], warning: 1 USD, \
         critical: 5 USD, annotations: {summary: '{{ labels.channel }} spent {{ value }}', \
         runbook: 'https://wiki/{{ labels.channel }}'}";
    let context = context(folder.path(), &[rules]);
    let mut spent = record(crate::ledger::tests::sample::admission(0));
    spent.cost.as_mut().unwrap().amount.0 = 2_000_000_000;
    let now = START.plus(Duration::from_secs(60));
    let sample = Sample::of(&spent, None, None, None).unwrap();
    context.rules.observe(&sample, Reservation::default(), now);

    let fired = event("Spend", &[("channel", "openai")], now);
    let told = context.alert_content(&fired, AlertChange::Fired, now);
    let rule = told.rule.unwrap();
    assert_eq!(
        (&*rule.metric, &*rule.stat, &*rule.window),
        ("cost", "sum", "day")
    );
    assert!(!rule.below);
    assert_eq!(told.annotations["summary"], "openai spent 6 USD");
    // Ten hours of the day passed.
    assert_eq!(
        told.window_start,
        Some(UnixMicros(START.0 - 10 * 3_600_000_000))
    );
    assert!(told.forecast.is_some_and(|sum| sum.value > 4_000_000_000));
    assert!(told.exhausted_at.is_some_and(|at| at > now));
    let kinds: Vec<_> = told.links.iter().map(|link| link.kind.as_str()).collect();
    assert_eq!(kinds, ["dashboard", "requests", "runbook"]);
    assert_eq!(told.links[2].url, "https://wiki/openai");

    // What is known of today says nothing of yesterday's value.
    let tomorrow = now.plus(Duration::from_secs(86_400));
    let late = context.alert_content(&fired, AlertChange::Same, tomorrow);
    assert_eq!((late.window_start, late.forecast), (None, None));
    let mut over = fired.clone();
    over.state = AlertState::Inactive;
    let over = context.alert_content(&over, AlertChange::Resolved, now);
    assert_eq!((over.window_start, over.exhausted_at), (None, None));

    // A rule that is no more.
    let gone = event("Gone", &[], now);
    let told = context.alert_content(&gone, AlertChange::Fired, now);
    assert_eq!(
        (told.rule, told.links.len(), told.annotations.len()),
        (None, 0, 0)
    );
}

#[test]
fn a_ledger_that_cannot_be_read_keeps_nobody_from_being_told() {
    let folder = TempDir::new().unwrap();
    let rules = "alert: Spend, metric: cost, window: 1h, critical: 5 USD";
    let context = context(folder.path(), &[rules]);
    let fired = event("Spend", &[], START);
    let mut told = [context.alert_content(&fired, AlertChange::Fired, START)];
    assert!(told[0].window_start.is_some());
    context.add_contributors(&mut told, Instant::now() + FLUSH);
    assert_eq!(told[0].contributors, []);
}

#[test]
fn who_used_most_is_not_waited_for_long() {
    let folder = TempDir::new().unwrap();
    let rules = "alert: Spend, metric: cost, window: 10m, critical: 5 USD";
    let context = context(folder.path(), &[rules]);
    let admission = crate::ledger::tests::sample::admission;
    let records: Vec<_> = (0..300).map(|n| record(admission(n))).collect();
    keep(folder.path(), &records);
    let reader = Reader::open(folder.path()).unwrap();
    let rule = context.rules.rule("Spend").unwrap();
    let found = |until| {
        contributors::of(&contributors::Question {
            rule: &rule,
            labels: &Labels::default(),
            since: UnixMicros(START.0 + 1),
            channels: &context.channels,
            until,
        })
        .read(&reader)
        .unwrap()
    };
    let over = Instant::now();
    assert_eq!(found(over), None);
    let found = found(over + FLUSH).unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|one| one.share_ppm == 1_000_000));
    assert_eq!(found[0].value.value, 300 * 65_000);
}

#[test]
fn a_closing_names_the_models_that_nobody_serves() {
    let folder = TempDir::new().unwrap();
    let mut context = context(folder.path(), &[]);
    let both: &[&str] = &["gpt-5", "gpt-4o", "gpt-4o"];
    let channels = vec![channel("a", Some(both)), channel("b", Some(&["gpt-4o"]))];
    context.channels = Arc::new(Registry::of(channels).unwrap());
    let close = |name: &str| {
        let closing = Closing {
            owner: Owner::Operator,
            reason: GateReason::Operator,
            until: None,
            who: None,
            note: None,
        };
        context.channels.close(name, closing, START).unwrap();
    };
    let event = ChannelEvent {
        at: START,
        channel: "a".into(),
        owner: Owner::Operator,
        hold: GateState::Closed,
        state: GateState::Closed,
        reason: GateReason::Operator,
        until: None,
        who: None,
        note: None,
    };
    let told = |events| context.channel_content(&"a".into(), events, START);
    assert_eq!(told(vec![event.clone()]).without_channel, []);
    close("a");
    assert_eq!(told(vec![event.clone()]).without_channel, ["gpt-5".into()]);
    close("b");
    let many = told(vec![event; 25]);
    assert_eq!(many.without_channel, ["gpt-4o".into(), "gpt-5".into()]);
    assert_eq!((many.events.len(), many.more), (20, 5));
    assert_eq!(many.links.len(), 2);
}

/// What a rule's window has of a record, and under which names, by hand.
fn counted(
    metric: &str,
    record: &RequestRecord,
    since: UnixMicros,
    by_start: bool,
) -> Option<(i64, BTreeMap<&'static str, String>)> {
    let admission = &record.admission;
    let turned_away = [Outcome::Blocked, Outcome::Refused, Outcome::NoChannel];
    if turned_away.contains(&record.outcome) || !admission.billable {
        return None;
    }
    let took = i64::try_from(record.phases[Phase::Total].unwrap_or(0)).unwrap();
    let at = admission.started_at.0 + if by_start { 0 } else { took };
    if at < since.0 {
        return None;
    }
    let cost = record
        .cost
        .as_ref()
        .map(|cost| cost.amount)
        .or(record.assumed_cost);
    let number = |count: Option<u64>| i64::try_from(count.unwrap_or(0)).unwrap();
    let value = match metric {
        "cost" => cost.map_or(0, |cost| cost.0),
        "tokens" => number(record.usage.total),
        "input_tokens" => number(input_tokens(&record.usage.tokens)),
        "requests" => 1,
        _ => i64::from(!matches!(
            record.outcome,
            Outcome::Ok | Outcome::ClientClosed
        )),
    };
    let name = |name: &Option<Arc<str>>| name.as_deref().unwrap_or_default().to_owned();
    let names = BTreeMap::from([
        ("model", name(&admission.requested_model)),
        ("served", name(&record.served_model)),
        ("channel", name(&admission.channel)),
        ("key", name(&admission.key)),
    ]);
    Some((value, names))
}

/// The first three of each dimension.
fn ranked(
    of: &[(i64, BTreeMap<&'static str, String>)],
    open: &[&'static str],
) -> Vec<(String, String, i64, u32)> {
    let total: i64 = of.iter().map(|(value, _)| value).sum();
    let mut ranked = Vec::new();
    for dimension in open {
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for (value, names) in of.iter().filter(|(value, _)| *value > 0) {
            *sums.entry(&names[dimension]).or_default() += value;
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        if sums.len() == 1 && sums[0].0.is_empty() {
            continue;
        }
        sums.sort_by_key(|&(name, value)| (-value, name));
        ranked.extend(sums.into_iter().take(3).map(|(name, value)| {
            let share = u32::try_from(i128::from(value) * 1_000_000 / i128::from(total)).unwrap();
            ((*dimension).to_owned(), name.to_owned(), value, share)
        }));
    }
    ranked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn contributors_are_those_of_the_rows(
        mut records in prop::collection::vec(any_record(), 1..40),
        case in 0..6_usize,
        minutes in 0..150_i64,
        odd in 0..60_000_000_i64,
    ) {
        for (at, record) in records.iter_mut().enumerate() {
            if at % 3 > 0 {
                record.admission.tags.insert("team".into(), "x".into());
            }
        }
        let (metric, rule, labels, exact, by_start): (_, _, &[(&str, &str)], _, _) = match case {
            0 => ("cost", "window: 2h, by: [channel], critical: 1 USD", &[("channel", "a")], false, false),
            1 => ("tokens", "window: day, critical: 9 tokens", &[], true, true),
            2 => ("requests", "window: 10m, by: [key], critical: 9 requests", &[("key", "")], true, false),
            3 => ("errors", "window: 1h, match: {model: 'a*'}, critical: 9 errors", &[], false, false),
            4 => ("input_tokens", "window: 30m, by: ['tag:team', model], critical: 9 tokens",
                  &[("tag:team", "x"), ("model", "b")], true, false),
            _ => ("cost", "window: hour, match: {channel: a, tags: {team: x}}, critical: 1 USD", &[], true, true),
        };
        let folder = TempDir::new().unwrap();
        keep(folder.path(), &records);
        let text = format!("alert: A, metric: {metric}, {rule}");
        let context = context(folder.path(), &[&text]);
        let odd = if exact && !by_start { odd } else { 0 };
        let since = UnixMicros(START.0 + minutes * 60_000_000 + odd);
        let now = START.plus(Duration::from_secs(4 * 3_600));
        let mut told = [context.alert_content(&event("A", labels, now), AlertChange::Fired, now)];
        told[0].window_start = Some(since);
        context.add_contributors(&mut told, Instant::now() + FLUSH);

        let counted: Vec<_> = records
            .iter()
            .filter(|record| match case {
                4 | 5 => record.admission.tags.contains_key("team"),
                _ => true,
            })
            .filter_map(|record| counted(metric, record, since, by_start))
            .filter(|(_, names)| match case {
                0 | 5 => names["channel"] == "a",
                2 => names["key"].is_empty(),
                3 => names["model"].starts_with('a') || names["served"].starts_with('a'),
                4 => names["model"] == "b",
                _ => true,
            })
            .collect();
        let open: &[&str] = match case {
            0 | 5 => &["model", "key"],
            2 => &["model", "channel"],
            4 => &["channel", "key"],
            _ => &["model", "channel", "key"],
        };
        let found: Vec<_> = told[0]
            .contributors
            .iter()
            .map(|found| (found.dimension.to_string(), found.name.to_string(), found.value.value, found.share_ppm))
            .collect();
        prop_assert_eq!(found, ranked(&counted, open));
    }
}
