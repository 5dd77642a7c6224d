//! The engine over its public face, with an explicit clock.

mod background;
mod budgets;
mod crashes;
mod deeds;
mod rebuilding;

use std::sync::{Arc, Mutex};

use super::definition::{
    Action, Dimension, Matcher, Metric, NoData, Recovery, Rule, RuleSet, Side, Stat, Unbounded,
    Until,
};
use super::demand::Demand;
use super::engine::Rules;
use super::hands::{Closed, Closure, Hands};
use crate::alert::{AlertEvent, AlertId, Mode};
use crate::clock::UnixMicros;
use crate::config::{BudgetSettings, Place};
use crate::meter::window::{Calendar, CalendarUnit, Span};
use crate::money::NanoUsd;
use crate::record::{Api, Dimensions, MinuteSample, ModelNames, Sample, Worst};

/// 2026-11-20T12:00:00Z.
const NOON: UnixMicros = UnixMicros(1_795_176_000_000_000);
const SECOND: i64 = 1_000_000;
const USD: i64 = 1_000_000_000;

/// Remembers what was decided.
#[derive(Debug, Default)]
struct Seen {
    events: Mutex<Vec<AlertEvent>>,
    closed: Mutex<Vec<Closure>>,
    reopened: Mutex<Vec<Arc<str>>>,
    freed: Mutex<Vec<AlertId>>,
    /// Whatever is closed is the last of this model.
    last_of: Mutex<Option<Arc<str>>>,
    /// The last open channel.
    last: Mutex<Option<Arc<str>>>,
}

impl Hands for Seen {
    fn close(&self, closure: &Closure, _now: UnixMicros) -> Closed {
        if let Some(model) = self.last_of.lock().unwrap().clone() {
            return Closed::LastOf(model);
        }
        if *self.last.lock().unwrap() == Some(Arc::clone(&closure.channel)) {
            return Closed::LastOf("*".into());
        }
        self.closed.lock().unwrap().push(closure.clone());
        Closed::Done
    }

    fn reopen(&self, channel: &str, _alert: &AlertId, _recovery: Recovery, _now: UnixMicros) {
        self.reopened.lock().unwrap().push(channel.into());
    }

    fn free(&self, alert: &AlertId, _now: UnixMicros) {
        self.freed.lock().unwrap().push(alert.clone());
    }

    fn changed(&self, event: &AlertEvent) {
        self.events.lock().unwrap().push(event.clone());
    }
}

/// A rule over today's spend that blocks at `critical` dollars.
fn daily_block(critical_nanousd: i64) -> Rule {
    Rule {
        name: "DailySpend".into(),
        group: "budgets".into(),
        place: Place::Default,
        metric: Metric::Cost,
        stat: Stat::Sum,
        over: None,
        budget: None,
        compare: None,
        span: Span::Calendar(Calendar {
            unit: CalendarUnit::Day,
            zone: jiff::tz::TimeZone::UTC,
            week_start: jiff::civil::Weekday::Monday,
            month_start: 1,
            resets_at_s: 0,
        }),
        matcher: Matcher::default(),
        by: Vec::new(),
        side: Side::Above,
        warning: None,
        critical: Some(critical_nanousd),
        clear_permille: 1_000,
        hold: std::time::Duration::ZERO,
        keep_firing: std::time::Duration::ZERO,
        min_requests: 0,
        no_data: NoData::Ok,
        mode: Mode::Enforce,
        actions: vec![Action::Block {
            status: 429,
            unbounded: Unbounded::Admit,
        }],
        max_series: 1_000,
        annotations: std::collections::BTreeMap::new(),
    }
}

fn set(rules: impl IntoIterator<Item = Rule>) -> RuleSet {
    RuleSet {
        rules: rules.into_iter().map(Arc::new).collect(),
    }
}

fn rules(set: &RuleSet) -> (Rules, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let hands = Arc::clone(&seen) as Arc<dyn Hands>;
    let rules = Rules::new(set, BudgetSettings::default(), false, hands);
    (rules, seen)
}

fn at(seconds: i64) -> UnixMicros {
    UnixMicros(NOON.0 + seconds * SECOND)
}

fn of(channel: &str) -> Dimensions<'_> {
    Dimensions {
        channel,
        api: Api::Chat,
        key: None,
        model: ModelNames {
            asked: Some("gpt-5"),
            ..ModelNames::default()
        },
        tags: None,
    }
}

fn demand(channel: &str, worst_nanousd: Option<i64>, started_at: UnixMicros) -> Demand<'_> {
    Demand {
        started_at,
        dimensions: of(channel),
        worst: Worst {
            cost: worst_nanousd.map(NanoUsd),
            ..Worst::default()
        },
    }
}

fn sample(channel: &str, cost_nanousd: i64, started_at: UnixMicros) -> Sample<'_> {
    Sample {
        started_at,
        ended_at: started_at,
        dimensions: of(channel),
        error: false,
        settles: false,
        cost_nanousd: Some(cost_nanousd),
        tokens: None,
        input_tokens: None,
        output_tokens: None,
        latency_us: None,
        ttft_us: None,
        pace_milli: None,
        position: None,
    }
}

/// The same with labels by channel.
fn by_channel(rule: Rule) -> Rule {
    Rule {
        by: vec![Dimension::Channel],
        ..rule
    }
}

/// So many requests of this minute.
fn minute(cost: i64, requests: u64) -> MinuteSample<'static> {
    MinuteSample {
        started: NOON.minute(),
        ended: NOON.minute(),
        dimensions: of("a"),
        requests,
        settled: 0,
        errors: 0,
        cost_nanousd: Some(cost),
        tokens: None,
        input_tokens: None,
        output_tokens: None,
        latency_us: None,
        ttft_us: None,
        pace_milli: None,
    }
}

/// A rule over today's spend that closes the channel.
fn closing(until: Until) -> Rule {
    by_channel(Rule {
        actions: vec![Action::DisableChannel {
            channel: None,
            until,
            recovery: Recovery::Open,
            allow_last: true,
        }],
        ..daily_block(10)
    })
}
