//! The traffic families in Prometheus' data model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::cell::ChannelCell;
use super::families::{self, Family, counter, family, float, gauge, seconds};
use super::histogram::Histogram;
use super::{Meter, read};
use crate::clock::UnixMicros;

const REQUESTS: Family = (
    "tollgate_requests_total",
    "Requests that ended, by how they ended.",
    &["channel", "model", "api", "outcome"],
);
const TOKENS: Family = (
    "tollgate_tokens_total",
    "Tokens, by type (disjoint: the types add up) and by where the number comes from.",
    &["channel", "model", "api", "type", "source"],
);
const COST: Family = (
    "tollgate_cost_usd_total",
    "Cost of the requests that have a price, in USD.",
    &["channel", "model", "api", "source"],
);
const DURATION: Family = (
    "tollgate_request_duration_seconds",
    "From a request's header to the end of its answer.",
    &["channel", "model", "api"],
);
const FIRST_TOKEN: Family = (
    "tollgate_time_to_first_token_seconds",
    "From a streamed request's header to its first content-bearing delta.",
    &["channel", "model", "api"],
);
const PER_TOKEN: Family = (
    "tollgate_time_per_output_token_seconds",
    "Pace of a stream after its first token.",
    &["channel", "model", "api"],
);
const PHASES: Family = (
    "tollgate_phase_duration_seconds",
    "Time in each phase of a request that was reached.",
    &["channel", "phase"],
);
const OVERHEAD: Family = (
    "tollgate_overhead_seconds",
    "Tollgate's own time in a request: the total less every wait for the client or the upstream.",
    &[],
);
const IN_FLIGHT: Family = (
    "tollgate_in_flight_requests",
    "Requests sent to a channel whose answer has not ended.",
    &["channel"],
);
const ATTEMPTS: Family = (
    "tollgate_upstream_attempts_total",
    "Tries at an upstream, by how they ended.",
    &["channel", "result"],
);
const RATELIMIT_REMAINING: Family = (
    "tollgate_channel_ratelimit_remaining",
    "What is left of the channel's own rate limits, by its last word; absent while unknown.",
    &["channel", "kind"],
);
const RATELIMIT_LIMIT: Family = (
    "tollgate_channel_ratelimit_limit",
    "The channel's own rate limits, by its last word; absent while unknown.",
    &["channel", "kind"],
);
const RATELIMIT_RESET: Family = (
    "tollgate_channel_ratelimit_reset_timestamp_seconds",
    "When a rate limit of the channel's is whole again, by its last word; absent while unknown.",
    &["channel", "kind"],
);
const QUOTA_USED: Family = (
    "tollgate_quota_used_ratio",
    "How much of a plan's window is used, 1 for all of it; the account is the channel. Absent while \
     unknown, and once the window began anew.",
    &["account", "window"],
);
const TRANSITIONS: Family = (
    "tollgate_channel_transitions_total",
    "Changes of a channel's gate, by what it became and why.",
    &["channel", "to", "reason"],
);
const UNPRICED: Family = (
    "tollgate_unpriced_requests_total",
    "Requests that used tokens no price row covers; their cost is unknown, not zero.",
    &["model"],
);
const MISSING: Family = (
    "tollgate_usage_missing_total",
    "Requests whose usage should be known and is not, by reason.",
    &["api", "reason"],
);
const FOLDED: Family = (
    "tollgate_folded_labels_total",
    "Requests counted under `other`: the label has too many values, or nothing knows this one.",
    &["label"],
);

const FAMILIES: &[Family] = &[
    REQUESTS,
    TOKENS,
    COST,
    DURATION,
    FIRST_TOKEN,
    PER_TOKEN,
    PHASES,
    OVERHEAD,
    IN_FLIGHT,
    ATTEMPTS,
    RATELIMIT_LIMIT,
    RATELIMIT_REMAINING,
    RATELIMIT_RESET,
    QUOTA_USED,
    TRANSITIONS,
    UNPRICED,
    MISSING,
    FOLDED,
];

/// Reads a [`Meter`] for the registry.
#[derive(Debug)]
pub struct TrafficCollector {
    meter: Arc<Meter>,
    descriptions: Vec<Desc>,
}

impl TrafficCollector {
    /// A collector over `meter`. Fails only when a family's declaration is malformed.
    pub fn new(meter: Arc<Meter>) -> prometheus::Result<Self> {
        Ok(Self {
            meter,
            descriptions: families::descriptions(FAMILIES)?,
        })
    }

    fn cell_families(&self, families: &mut Vec<MetricFamily>) {
        let cells = read(&self.meter.series).snapshot();
        let mut unpriced = BTreeMap::<&str, u64>::new();
        let mut requests = Vec::new();
        let mut tokens = Vec::new();
        let mut costs = Vec::new();
        let mut durations = Vec::new();
        let mut first_tokens = Vec::new();
        let mut per_tokens = Vec::new();
        for ((channel, model, api), cell) in &cells {
            let (channel, model, api) = (&**channel, &**model, api.as_str());
            let labels = [channel, model, api];
            requests.extend(cell.requests().map(|(outcome, count)| {
                let labels = [channel, model, api, outcome.as_str()];
                counter(REQUESTS, &labels, float(count))
            }));
            tokens.extend(cell.tokens().map(|(kind, source, count)| {
                let labels = [channel, model, api, kind.as_str(), source.as_str()];
                counter(TOKENS, &labels, float(count))
            }));
            costs.extend(cell.costs_nanousd().map(|(source, nanos)| {
                let labels = [channel, model, api, source.as_str()];
                counter(COST, &labels, float(nanos) / 1e9)
            }));
            *unpriced.entry(model).or_default() += cell.unpriced();
            durations.push(observed(DURATION, &labels, &cell.duration));
            first_tokens.push(observed(FIRST_TOKEN, &labels, &cell.first_token));
            per_tokens.push(observed(PER_TOKEN, &labels, &cell.per_token));
        }
        let unpriced = unpriced
            .into_iter()
            .filter(|&(_, count)| count > 0)
            .map(|(model, count)| counter(UNPRICED, &[model], float(count)))
            .collect();
        families.extend([
            family(REQUESTS, MetricType::COUNTER, requests),
            family(TOKENS, MetricType::COUNTER, tokens),
            family(COST, MetricType::COUNTER, costs),
            family(DURATION, MetricType::HISTOGRAM, durations),
            family(FIRST_TOKEN, MetricType::HISTOGRAM, first_tokens),
            family(PER_TOKEN, MetricType::HISTOGRAM, per_tokens),
            family(UNPRICED, MetricType::COUNTER, unpriced),
        ]);
    }

    fn channel_families(&self, families: &mut Vec<MetricFamily>) {
        let mut channels: Vec<_> = read(&self.meter.channels)
            .iter()
            .map(|(name, cell)| (Arc::clone(name), Arc::clone(cell)))
            .collect();
        channels.sort_by(|left, right| left.0.cmp(&right.0));
        let mut in_flight = Vec::new();
        let mut attempts = Vec::new();
        let mut transitions = Vec::new();
        let mut phases = Vec::new();
        for (name, cell) in &channels {
            #[allow(
                clippy::cast_precision_loss,
                reason = "a count of open requests is far below 2^52"
            )]
            let open = cell.in_flight.load(Ordering::Relaxed) as f64;
            in_flight.push(gauge(IN_FLIGHT, &[name], open));
            attempts.extend(cell.attempts().map(|(outcome, count)| {
                counter(ATTEMPTS, &[name, outcome.as_str()], float(count))
            }));
            transitions.extend(cell.transitions().map(|(to, reason, count)| {
                let labels = [name, to.as_str(), reason.as_str()];
                counter(TRANSITIONS, &labels, float(count))
            }));
            phases.extend(
                cell.phases()
                    .map(|(phase, values)| observed(PHASES, &[name, phase.as_str()], values)),
            );
        }
        families.extend([
            family(IN_FLIGHT, MetricType::GAUGE, in_flight),
            family(ATTEMPTS, MetricType::COUNTER, attempts),
            family(TRANSITIONS, MetricType::COUNTER, transitions),
            family(PHASES, MetricType::HISTOGRAM, phases),
        ]);
        limit_families(&channels, families);
    }

    fn doubt_families(&self, families: &mut Vec<MetricFamily>) {
        let missing = self
            .meter
            .missing_usage
            .counts()
            .map(|(api, reason, count)| counter(MISSING, &[api.as_str(), reason], float(count)))
            .collect();
        let folded = self.meter.folded_models.load(Ordering::Relaxed);
        families.extend([
            family(MISSING, MetricType::COUNTER, missing),
            family(
                FOLDED,
                MetricType::COUNTER,
                vec![counter(FOLDED, &["model"], float(folded))],
            ),
        ]);
    }
}

fn limit_families(channels: &[(Arc<str>, Arc<ChannelCell>)], families: &mut Vec<MetricFamily>) {
    let now = UnixMicros::now();
    let mut limits = Vec::new();
    let mut remaining = Vec::new();
    let mut resets = Vec::new();
    let mut quotas = Vec::new();
    for (name, cell) in channels {
        let known = cell.limits.known(now);
        for (kind, rate) in known.rates {
            let series = |family, value| gauge(family, &[name, kind.as_str()], value);
            limits.extend(
                rate.limit
                    .map(|limit| series(RATELIMIT_LIMIT, float(limit))),
            );
            remaining.extend(
                rate.remaining
                    .map(|left| series(RATELIMIT_REMAINING, float(left))),
            );
            resets.extend(rate.resets_at.map(|at| {
                let since_epoch = u64::try_from(at.0).unwrap_or_default();
                series(RATELIMIT_RESET, seconds(since_epoch))
            }));
        }
        let used = known.quotas.into_iter();
        quotas
            .extend(used.map(|quota| gauge(QUOTA_USED, &[name, &quota.window], quota.used_ratio)));
    }
    families.extend([
        family(RATELIMIT_LIMIT, MetricType::GAUGE, limits),
        family(RATELIMIT_REMAINING, MetricType::GAUGE, remaining),
        family(RATELIMIT_RESET, MetricType::GAUGE, resets),
        family(QUOTA_USED, MetricType::GAUGE, quotas),
    ]);
}

impl Collector for TrafficCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::with_capacity(FAMILIES.len());
        self.cell_families(&mut families);
        self.channel_families(&mut families);
        self.doubt_families(&mut families);
        families.push(family(
            OVERHEAD,
            MetricType::HISTOGRAM,
            vec![observed(OVERHEAD, &[], &self.meter.overhead)],
        ));
        // The exposition format has no way to say "no series yet".
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

fn observed(family: Family, values: &[&str], histogram: &Histogram) -> Metric {
    let snapshot = histogram.snapshot();
    let (count, sum_us) = (snapshot.count, snapshot.sum);
    families::histogram(family, values, snapshot.cumulative, count, sum_us)
}
