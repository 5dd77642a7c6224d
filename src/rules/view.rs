//! What rules show of themselves: to the API, the metrics and the command line.

use std::sync::Arc;
use std::time::Duration;

use super::definition::Rule;
use crate::alert::{ActionTaken, AlertState, Labels, Quantity, Severity};
use crate::clock::UnixMicros;

/// A rule and its alerts at a moment.
#[derive(Clone, Debug)]
pub struct RuleView {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Why it cannot be judged, where that is so: nothing of it fires or resolves meanwhile.
    pub unhealthy: Option<Arc<str>>,
    /// Combinations beyond `max_series`, which share the alert `other`: requests so far.
    pub folded: u64,
    /// Requests it refused so far.
    pub blocked: u64,
    /// Requests it would have refused, did its mode let it.
    pub would_block: u64,
    /// By how much what is spent may pass the limit, over all its alerts, with what is on its way now;
    /// `None` where nobody can say (a request without a known worst case), or where it is no budget.
    pub overshoot_bound: Option<Quantity>,
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
