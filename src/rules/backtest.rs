//! Backtests: what rules would have done over requests of the past.
//!
//! Every rule is taken as enforced, whatever its mode: the question is what it would do. A request that
//! would have been refused is not counted as spent afterwards, so that the rest is judged as it would
//! have been. Nobody knows what a client would have done instead (tried again, gone to another channel),
//! so nothing is made up for it.

mod series;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::definition::{Rule, RuleSet};
use super::demand::Demand;
use super::engine::Reservation;
use super::trial::Trial;
use crate::alert::{AlertEvent, AlertId, AlertState, Labels, Mode, Quantity, Severity};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::{RequestId, Sample, Worst};
use series::Courses;
pub use series::{COLUMNS, Course};

/// Beats of the timer over the whole time, at most: a month has one every nine seconds.
const MOST_TICKS: u32 = 300_000;
/// Looks at every value over the whole time, at most.
const MOST_LOOKS: u32 = 4_096;

/// Rules on their way through the past.
#[derive(Debug)]
pub struct Backtest {
    trial: Trial,
    set: RuleSet,
    since: UnixMicros,
    until: UnixMicros,
    /// Requests that began and did not end yet, with what is held for them; `None` where one would
    /// have been refused.
    on_their_way: HashMap<RequestId, Option<Reservation>>,
    next_look: UnixMicros,
    look_every: Duration,
    firing: BTreeMap<AlertId, Firing>,
    reports: BTreeMap<Arc<str>, RuleBacktest>,
    courses: Courses,
    requests: Tally,
}

/// Requests, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub requests: u64,
    /// Of them, those that had succeeded.
    pub succeeded: u64,
    /// What they had cost.
    pub cost: NanoUsd,
}

impl Tally {
    fn add(&mut self, sample: &Sample<'_>) {
        self.requests += 1;
        self.succeeded += u64::from(!sample.error);
        let cost = sample.cost_nanousd.unwrap_or(0);
        self.cost = NanoUsd(self.cost.0.saturating_add(cost));
    }
}

/// A time in which an alert would have fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The alert's labels.
    pub labels: Labels,
    /// The highest limit that was passed.
    pub severity: Severity,
    /// From when on.
    pub fired_at: UnixMicros,
    /// Until when; `None` when it fires at the end.
    pub resolved_at: Option<UnixMicros>,
    /// The value that was furthest on the wrong side, of those that were looked at.
    pub peak: Option<Quantity>,
}

/// What a rule would have done.
#[derive(Clone, Debug)]
pub struct RuleBacktest {
    /// The rule, as it is written.
    pub rule: Arc<Rule>,
    /// When its alerts would have fired, in the order of time.
    pub firings: Vec<Firing>,
    /// Requests that its `block` would have refused.
    pub blocked: Tally,
    /// Requests to channels that its `disable_channel` would have closed.
    pub diverted: Tally,
    /// Its alerts.
    pub alerts: usize,
    /// The course of the alert that came nearest to a limit; `None` where there was no value.
    pub nearest: Option<Course>,
}

/// What came of a backtest.
#[derive(Clone, Debug)]
pub struct BacktestReport {
    /// From when on.
    pub since: UnixMicros,
    /// Up to when.
    pub until: UnixMicros,
    /// How often values were looked at: a peak between two looks is missed.
    pub look_every: Duration,
    /// All requests that were replayed.
    pub requests: Tally,
    /// Each rule, in the order of the files.
    pub rules: Vec<RuleBacktest>,
}

impl Backtest {
    /// Of the rules of `set` from `since` to `until`, over these channels and those that requests went
    /// to.
    #[must_use]
    pub fn new(
        set: &RuleSet,
        channels: impl IntoIterator<Item = Arc<str>>,
        since: UnixMicros,
        until: UnixMicros,
    ) -> Self {
        let enforced = |rule: &Arc<Rule>| {
            Arc::new(Rule {
                mode: Mode::Enforce,
                ..Rule::clone(rule)
            })
        };
        let trial_set = RuleSet {
            rules: set.rules.iter().map(enforced).collect(),
        };
        let channels: BTreeSet<Arc<str>> = channels.into_iter().collect();
        let mut trial = Trial::new(&trial_set, Some(channels), since);
        let length = until.since(since);
        trial.tick_at_least(length / MOST_TICKS);
        let look_every = (length / MOST_LOOKS).max(trial.tick());
        let reports = set.rules.iter().map(|rule| {
            let report = RuleBacktest {
                rule: Arc::clone(rule),
                firings: Vec::new(),
                blocked: Tally::default(),
                diverted: Tally::default(),
                alerts: 0,
                nearest: None,
            };
            (Arc::clone(&rule.name), report)
        });
        Self {
            trial,
            set: set.clone(),
            since,
            until,
            on_their_way: HashMap::new(),
            next_look: since.plus(look_every),
            look_every,
            firing: BTreeMap::new(),
            reports: reports.collect(),
            courses: Courses::new(since, until),
            requests: Tally::default(),
        }
    }

    /// From when on requests count for windows that look back from the beginning.
    #[must_use]
    pub fn reach(&self) -> UnixMicros {
        self.trial.reach()
    }

    /// Takes in the requests that ended before the beginning, as `tell` tells them. To be called once,
    /// before all others.
    pub fn remember<E>(
        &self,
        tell: impl FnOnce(&mut dyn FnMut(&Sample<'_>)) -> Result<(), E>,
    ) -> Result<(), E> {
        self.trial.begin(&[], tell)
    }

    /// A request begins. Requests are told in the order of time, beginnings and ends.
    pub fn begins(&mut self, id: RequestId, sample: &Sample<'_>) {
        if sample.started_at < self.since || sample.settles {
            // It was let go before any of this, or what it brings the usage of was.
            self.on_their_way.insert(id, Some(Reservation::default()));
            return;
        }
        self.advance(sample.started_at);
        let channel = sample.dimensions.channel;
        self.trial.channels().meet(channel);
        let admitted = if let Some(by) = self.trial.channels().closed_by(channel, self.trial.now())
        {
            if let Some(report) = self.reports.get_mut(&by.rule) {
                report.diverted.add(sample);
            }
            None
        } else {
            match self.trial.admit(&demand(sample)) {
                Ok(held) => Some(held),
                Err(blocked) => {
                    if let Some(report) = self.reports.get_mut(&blocked.alert.rule) {
                        report.blocked.add(sample);
                    }
                    None
                }
            }
        };
        self.on_their_way.insert(id, admitted);
    }

    /// A request that began ends.
    pub fn ends(&mut self, id: RequestId, sample: &Sample<'_>) {
        self.requests.add(sample);
        let Some(held) = self.on_their_way.remove(&id).flatten() else {
            return;
        };
        self.advance(sample.ended_at);
        self.trial.observe(sample, held);
    }

    /// What came of it.
    #[must_use]
    pub fn report(mut self) -> BacktestReport {
        self.advance(self.until);
        self.look();
        for (id, firing) in std::mem::take(&mut self.firing) {
            self.note_firing(&id.rule, firing);
        }
        let mut reports = self.reports;
        let rules = self.set.rules.iter().filter_map(|rule| {
            let mut report = reports.remove(&rule.name)?;
            report.firings.sort_by_key(|firing| firing.fired_at);
            (report.alerts, report.nearest) = self.courses.of(rule);
            Some(report)
        });
        BacktestReport {
            since: self.since,
            until: self.until,
            look_every: self.look_every,
            requests: self.requests,
            rules: rules.collect(),
        }
    }

    /// Lets time go on, looking at all values now and then.
    fn advance(&mut self, to: UnixMicros) {
        while self.next_look < to {
            let at = self.next_look;
            self.trial.advance(at);
            self.look();
            self.next_look = at.plus(self.look_every);
        }
        self.trial.advance(to);
    }

    /// Takes in what alerts did and what their values are.
    fn look(&mut self) {
        self.trial.settle();
        for event in self.trial.channels().take_events() {
            self.note(event);
        }
        let now = self.trial.now();
        for view in self.trial.view() {
            for alert in &view.alerts {
                let Some(value) = alert.value else { continue };
                self.courses
                    .note(&view.rule, &alert.labels, now, value.value);
                if alert.state == AlertState::Firing {
                    let id = AlertId {
                        rule: Arc::clone(&view.rule.name),
                        labels: alert.labels.clone(),
                    };
                    if let Some(firing) = self.firing.get_mut(&id) {
                        raise(firing, &view.rule, value);
                    }
                }
            }
        }
    }

    fn note(&mut self, event: AlertEvent) {
        let rule = self.reports.get(&event.alert.rule);
        let Some(rule) = rule.map(|report| Arc::clone(&report.rule)) else {
            return;
        };
        if let Some(value) = event.value {
            let (labels, at) = (&event.alert.labels, event.at);
            self.courses.note(&rule, labels, at, value.value);
        }
        match (event.state, event.severity) {
            (AlertState::Firing, Some(severity)) => {
                let labels = event.alert.labels.clone();
                let firing = self.firing.entry(event.alert).or_insert(Firing {
                    labels,
                    severity,
                    fired_at: event.fired_at.unwrap_or(event.at),
                    resolved_at: None,
                    peak: None,
                });
                firing.severity = firing.severity.max(severity);
                if let Some(value) = event.value {
                    raise(firing, &rule, value);
                }
            }
            (AlertState::Inactive, _) => {
                if let Some(mut firing) = self.firing.remove(&event.alert) {
                    firing.resolved_at = Some(event.at);
                    self.note_firing(&event.alert.rule, firing);
                }
            }
            _ => {}
        }
    }

    fn note_firing(&mut self, rule: &Arc<str>, firing: Firing) {
        if let Some(report) = self.reports.get_mut(rule) {
            report.firings.push(firing);
        }
    }
}

/// A request of the past asks for what it came to use.
fn demand<'s>(sample: &Sample<'s>) -> Demand<'s> {
    Demand {
        started_at: sample.started_at,
        dimensions: sample.dimensions,
        // What it did not use it did not need.
        worst: Worst {
            cost: Some(NanoUsd(sample.cost_nanousd.unwrap_or(0))),
            input_cost: None,
            input_tokens: Some(sample.input_tokens.unwrap_or(0)),
            output_tokens: Some(sample.output_tokens.unwrap_or(0)),
        },
    }
}

/// Takes a value for the peak if it is further on the wrong side.
fn raise(firing: &mut Firing, rule: &Rule, value: Quantity) {
    let further = firing
        .peak
        .is_none_or(|peak| series::is_further(rule.side, value.value, peak.value));
    if further {
        firing.peak = Some(value);
    }
}
