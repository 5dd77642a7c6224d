//! What rules show of themselves: to the API, the metrics and the command line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::definition::Rule;
use super::engine::Rules;
use super::generation::{Generation, InForce};
use super::series::{Cell, Series};
use crate::alert::{ActionTaken, AlertId, AlertState, Labels, Mode, Quantity, Severity};
use crate::clock::UnixMicros;

/// A rule and its alerts at a moment.
#[derive(Clone, Debug)]
pub struct RuleView {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Why it cannot be judged, where that is so: nothing of it fires or resolves meanwhile.
    pub unhealthy: Option<Arc<str>>,
    /// Requests so far of combinations beyond `max_series`, which share one alert.
    pub folded: u64,
    /// Requests it refused so far.
    pub blocked: u64,
    /// Requests it would have refused, did its mode let it.
    pub would_block: u64,
    /// By how much what is spent may pass the limit with what is on its way now: the largest of its
    /// alerts'. The outer `None` where it is no budget that is enforced, the inner where nobody can say
    /// (a request without a known worst case is on its way, or another process still has some).
    pub overshoot_bound: Option<Option<Quantity>>,
    /// Its alerts, those that fire at the front.
    pub alerts: Vec<AlertView>,
}

/// An alert at a moment.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// Its labels.
    pub labels: Labels,
    /// What it is doing.
    pub state: AlertState,
    /// At which limit.
    pub severity: Option<Severity>,
    /// Since when the value is beyond it.
    pub active_since: Option<UnixMicros>,
    /// Since when it fires.
    pub fired_at: Option<UnixMicros>,
    /// The value; `None` without data.
    pub value: Option<Quantity>,
    /// Requests in the window.
    pub requests: u64,
    /// Where the window begins.
    pub window_start: UnixMicros,
    /// Where it ends, where it is a calendar's.
    pub window_end: Option<UnixMicros>,
    /// Of a budget: what is reserved for requests on their way.
    pub reserved: Option<Quantity>,
    /// Of a budget: what the window comes to at its end at the present rate.
    pub forecast: Option<Quantity>,
    /// Of a budget: how long until the limit is reached at the present rate; `None` when it is not.
    pub exhausted_in: Option<Duration>,
    /// What was done about it.
    pub actions: Vec<ActionTaken>,
}

impl Rules {
    /// What the rules show of themselves.
    #[must_use]
    pub fn view(&self, now: UnixMicros) -> Vec<RuleView> {
        let generation = self.generation();
        generation
            .rules
            .iter()
            .map(|known| view(known, self.shared.load(Ordering::Relaxed), now))
            .collect()
    }

    /// One alert, where its rule is in force and it is known: no other alert is looked at.
    #[must_use]
    pub fn alert(&self, alert: &AlertId, now: UnixMicros) -> Option<AlertView> {
        let generation = self.generation();
        let known = generation.named(&alert.rule)?;
        let series = Generation::alert_of(known, &alert.labels)?;
        // What is read here is one alert's own: other rules need not wait for it.
        drop(generation);
        let mut cell = series.cell();
        Some(series.view(&mut cell, now))
    }

    /// The rule of that name, where it is in force.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<Arc<Rule>> {
        let generation = self.generation();
        generation.named(name).map(|known| Arc::clone(&known.rule))
    }

    /// The rules with more combinations than `max_series`, as in [`RuleView::folded`]. No alert is
    /// looked at, so that it may be asked often.
    #[must_use]
    pub fn folding(&self) -> Vec<Arc<Rule>> {
        let generation = self.generation();
        let rules = generation.rules.iter();
        rules
            .filter(|known| known.shared.folded.load(Ordering::Relaxed) > 0)
            .map(|known| Arc::clone(&known.rule))
            .collect()
    }
}

/// `shared`: another process has requests on their way as well.
fn view(known: &InForce, shared: bool, now: UnixMicros) -> RuleView {
    let rule = &known.rule;
    // Without an alert nothing is on its way.
    let enforced = rule.is_budget() && rule.mode == Mode::Enforce;
    let mut bound = enforced.then_some((!shared).then_some(0));
    let mut alerts = Vec::new();
    for series in Generation::alerts_of(known) {
        let mut cell = series.cell();
        if let Some(own) = series.overshoot_bound(&mut cell, now) {
            // The largest; unknown is larger than any.
            bound = Some(match (bound, own) {
                (None, own) => own,
                (Some(Some(known)), Some(own)) => Some(own.max(known)),
                _ => None,
            });
        }
        alerts.push(series.view(&mut cell, now));
    }
    alerts.sort_by_key(|alert| {
        std::cmp::Reverse((
            alert.state as usize,
            alert.severity.map(|severity| severity as usize),
        ))
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    RuleView {
        rule: Arc::clone(rule),
        unhealthy: known.shared.unhealthy(),
        folded: count(&known.shared.folded),
        blocked: count(&known.shared.blocked),
        would_block: count(&known.shared.would_block),
        overshoot_bound: bound.map(|bound| bound.map(|value| rule.quantity(value))),
        alerts,
    }
}

impl Series {
    fn view(&self, cell: &mut Cell, now: UnixMicros) -> AlertView {
        let reading = self.read(cell, now);
        let bounds = cell.window.bounds(now);
        let machine = &cell.machine;
        let (state, severity) = (machine.state(), machine.severity());
        let (active_since, fired_at) = (machine.active_since(), machine.fired_at());
        let budget = self.rule.is_budget();
        let held = self.holds.held(&bounds).amount;
        let forecast = cell.window.forecast(now).filter(|_| budget);
        let exhausted_in = self.exhausted_in(cell, now);
        let quantity = |value| self.rule.quantity(value);
        AlertView {
            labels: self.alert.labels.clone(),
            state,
            severity,
            active_since,
            fired_at,
            value: reading.value.map(quantity),
            requests: reading.requests,
            window_start: bounds.since,
            window_end: bounds.until,
            reserved: budget.then(|| quantity(held)),
            forecast: forecast.map(quantity),
            exhausted_in,
            actions: cell.actions.clone(),
        }
    }
}
