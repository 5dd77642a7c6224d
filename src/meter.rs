//! The meter: what `/metrics` says of the traffic, and what it comes to over a time ([`window`]).
//!
//! A record that ends adds to one `cell::Cell` per (channel, model, api) and to one
//! `cell::ChannelCell` per channel. Cells are plain atomics, found once a request; a scrape reads
//! them through [`TrafficCollector`]. Prometheus' own label vectors are not used: they
//! hash label values without a separator, so two different label sets can share a series.
//!
//! A cell and its channel are found under a read lock that is only ever held for a lookup; a label
//! set seen for the first time takes the write lock once. Models that fold into `other` are found
//! under the read lock too (`series`).

mod cell;
mod expose;
pub mod families;
mod histogram;
mod limits;
mod missing;
mod series;
pub mod window;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::HashMap;

use crate::clock::UnixMicros;
use crate::protocol::LimitsSeen;
use crate::record::{Api, GateReason, GateState, LimitKind, Phase, RequestRecord, UsageSource};

use cell::{Cell, ChannelCell};
pub use expose::TrafficCollector;
use histogram::Histogram;
pub use limits::{KnownLimits, QuotaUse};
use missing::MissingUsage;
pub use series::OTHER_MODELS;
use series::{Model, Series};

/// The channel label of requests that never found one.
pub const NO_CHANNEL: &str = "";

/// Counts every request that ends. Shared by all workers.
#[derive(Debug)]
pub struct Meter {
    series: RwLock<Series>,
    channels: RwLock<HashMap<Arc<str>, Arc<ChannelCell>>>,
    overhead: Histogram,
    missing_usage: MissingUsage,
    folded_models: AtomicU64,
}

impl Meter {
    /// A meter that gives at most `max_models` models a series of their own: the first that an
    /// upstream served or a price row covers. The rest is counted under [`OTHER_MODELS`].
    #[must_use]
    pub fn new(max_models: usize) -> Self {
        Self {
            series: RwLock::new(Series::new(max_models)),
            channels: RwLock::default(),
            overhead: Histogram::new(histogram::OVERHEAD_US),
            missing_usage: MissingUsage::new(),
            folded_models: AtomicU64::new(0),
        }
    }

    /// Counts one request that ended. `missing_reason` says why usage is missing, where it is;
    /// `in_flight` is what [`Meter::in_flight`] gave for its channel.
    pub fn observe(
        &self,
        record: &RequestRecord,
        missing_reason: Option<&'static str>,
        in_flight: Option<&InFlight>,
    ) {
        let admission = &record.admission;
        let channel = admission.channel.as_deref().unwrap_or(NO_CHANNEL);
        self.cell(channel, Model::of(record), admission.api)
            .observe(record);
        let found;
        let own = if let Some(in_flight) = in_flight {
            &in_flight.0
        } else {
            found = self.channel(channel);
            &found
        };
        own.observe_phases(record);
        for attempt in &record.attempts {
            if *attempt.channel == *channel {
                own.observe_attempt(attempt.outcome);
            } else {
                self.channel(&attempt.channel)
                    .observe_attempt(attempt.outcome);
            }
        }
        if let Some(overhead_us) = record.phases[Phase::Overhead] {
            self.overhead.observe(overhead_us);
        }
        if record.usage.source == UsageSource::Missing {
            self.missing_usage.count(admission.api, missing_reason);
        }
    }

    /// The live state of a channel: for the gauge of requests in flight.
    #[must_use]
    pub fn in_flight(&self, channel: &str) -> InFlight {
        let cell = self.channel(channel);
        cell.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(cell)
    }

    /// Counts that a channel's gate is something else now.
    pub fn gate_changed(&self, channel: &str, to: GateState, reason: GateReason) {
        self.channel(channel).observe_transition(to, reason);
    }

    /// What a channel's provider said last of its limits.
    #[must_use]
    pub fn limits(&self, channel: &str, now: UnixMicros) -> KnownLimits {
        let channels = read(&self.channels);
        let cell = channels.get(channel);
        cell.map_or_else(KnownLimits::default, |cell| cell.limits.known(now))
    }

    fn channel(&self, channel: &str) -> Arc<ChannelCell> {
        if let Some(cell) = read(&self.channels).get(channel) {
            return Arc::clone(cell);
        }
        let mut channels = write(&self.channels);
        Arc::clone(
            channels
                .entry(Arc::from(channel))
                .or_insert_with(|| Arc::new(ChannelCell::new())),
        )
    }

    fn cell(&self, channel: &str, model: Model<'_>, api: Api) -> Arc<Cell> {
        let found = read(&self.series).find(channel, model, api);
        let found =
            found.unwrap_or_else(|| write(&self.series).find_or_insert(channel, model, api));
        if found.folded {
            self.folded_models.fetch_add(1, Ordering::Relaxed);
        }
        found.cell
    }
}

/// A request in flight on a channel, until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<ChannelCell>);

impl InFlight {
    /// Notes what is left of a rate limit of the channel's, by its own word; `None` when it does
    /// not say, or nothing that could be so.
    pub fn ratelimit_remaining(&self, kind: LimitKind, remaining: Option<u64>) {
        self.0.limits.note_remaining(kind, remaining);
    }

    /// Notes what an answer of the channel's says of its limits.
    pub fn note_limits(&self, seen: LimitsSeen) {
        self.0.limits.note(seen);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{Encoder, TextEncoder};

    use super::*;
    use crate::money::NanoUsd;
    use crate::record::{
        Admission, Attempt, Cost, Outcome, Phases, RequestId, Source, TokenType, Tokens, Units,
        Usage,
    };

    /// A request that `channel` served with `model`.
    fn record(channel: &str, model: &str, output: Option<u64>) -> RequestRecord {
        let mut tokens = Tokens::default();
        tokens[TokenType::Output] = output;
        let mut phases = Phases::default();
        phases[Phase::Total] = Some(2_000_000);
        phases[Phase::FirstToken] = Some(1_000_000);
        RequestRecord {
            admission: Admission {
                id: RequestId::generate(),
                started_at: UnixMicros(0),
                channel: Some(Arc::from(channel)),
                key: None,
                api: Api::Chat,
                method: Arc::from("POST"),
                path: Arc::from("/v1/chat/completions"),
                requested_model: Some(Arc::from(model)),
                stream: Some(true),
                request_bytes: 0,
                session: None,
                end_user: None,
                tags: std::collections::BTreeMap::new(),
                billable: true,
                worst: None,
                interrupted_cost: None,
            },
            served_model: Some(Arc::from(model)),
            service_tier: None,
            status: Some(200),
            outcome: Outcome::Ok,
            error_source: None,
            error_code: None,
            error_message: None,
            attempts: vec![Attempt {
                channel: Arc::from(channel),
                started_at: UnixMicros(0),
                outcome: Outcome::Ok,
                status: Some(200),
                error_code: None,
                connect_us: None,
                wait_us: None,
            }],
            usage: Usage {
                tokens,
                units: Units::NONE,
                total: output,
                source: match output {
                    Some(_) => UsageSource::Reported,
                    None => UsageSource::None,
                },
            },
            cost: None,
            phases,
            response_bytes: 0,
            upstream_request_id: None,
            source: Source::Proxy,
            response_id: None,
            deferral: None,
            estimate: None,
            delivered_output_tokens: None,
            upstream_bytes: None,
            priced_at: None,
            assumed_cost: None,
        }
    }

    /// A request for `model` that the upstream of `channel` does not know.
    fn unserved(channel: &str, model: &str) -> RequestRecord {
        RequestRecord {
            served_model: None,
            status: Some(404),
            outcome: Outcome::UpstreamError,
            ..record(channel, model, None)
        }
    }

    fn scrape(meter: &Arc<Meter>) -> String {
        let collector = TrafficCollector::new(Arc::clone(meter)).unwrap();
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&collector.collect(), &mut text)
            .unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn label_sets_that_look_alike_when_joined_stay_apart() {
        let meter = Arc::new(Meter::new(10));
        meter.observe(&record("ab", "c", Some(1)), None, None);
        meter.observe(&record("a", "bc", Some(2)), None, None);
        let text = scrape(&meter);
        for (channel, model, count) in [("ab", "c", 1), ("a", "bc", 2)] {
            let line = format!(
                "tollgate_tokens_total{{channel=\"{channel}\",model=\"{model}\",api=\"chat\",\
                 type=\"output\",source=\"reported\"}} {count}\n"
            );
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }

    #[test]
    fn models_beyond_the_limit_fold_and_are_counted() {
        let meter = Arc::new(Meter::new(2));
        for model in ["a", "b", "c", "d", "a"] {
            meter.observe(&record("x", model, Some(1)), None, None);
        }
        let text = scrape(&meter);
        let requests = |model: &str| {
            text.contains(&format!(
                "tollgate_requests_total{{channel=\"x\",model=\"{model}\","
            ))
        };
        assert!(requests("a") && requests("b") && requests("other"));
        assert!(!requests("c") && !requests("d"));
        assert!(text.contains("tollgate_folded_labels_total{label=\"model\"} 2\n"));
    }

    #[test]
    fn names_nobody_answers_to_take_no_places() {
        let meter = Arc::new(Meter::new(2));
        for junk in 0..200 {
            meter.observe(&unserved("x", &format!("junk-{junk}")), None, None);
        }
        meter.observe(&record("x", "real", Some(1)), None, None);
        // A price row vouches for a name as well as an upstream does.
        meter.observe(
            &RequestRecord {
                cost: Some(Cost {
                    amount: NanoUsd(1),
                    price_version: Arc::from("v"),
                }),
                ..unserved("x", "priced")
            },
            None,
            None,
        );
        let text = scrape(&meter);
        for (model, outcome, count) in [
            ("real", "ok", 1),
            ("priced", "upstream_error", 1),
            ("other", "upstream_error", 200),
        ] {
            let line = format!(
                "tollgate_requests_total{{channel=\"x\",model=\"{model}\",api=\"chat\",\
                 outcome=\"{outcome}\"}} {count}\n"
            );
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert!(!text.contains("junk"), "{text}");
        assert!(text.contains("tollgate_folded_labels_total{label=\"model\"} 200\n"));
    }

    #[test]
    fn a_failure_of_a_served_model_counts_under_it_and_one_without_a_model_under_none() {
        let meter = Arc::new(Meter::new(1));
        meter.observe(&record("x", "real", Some(1)), None, None);
        meter.observe(&unserved("x", "real"), None, None);
        meter.observe(&unserved("y", "real"), None, None);
        let mut nameless = unserved("x", "");
        nameless.admission.requested_model = None;
        meter.observe(&nameless, None, None);
        let text = scrape(&meter);
        for (channel, model) in [("x", "real"), ("y", "real"), ("x", "")] {
            let line = format!(
                "tollgate_requests_total{{channel=\"{channel}\",model=\"{model}\",api=\"chat\",\
                 outcome=\"upstream_error\"}} 1\n"
            );
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert!(text.contains("tollgate_folded_labels_total{label=\"model\"} 0\n"));
    }

    #[test]
    fn unpriced_requests_add_up_over_the_channels_of_a_model() {
        let meter = Arc::new(Meter::new(1));
        for (channel, model) in [("x", "a"), ("y", "a"), ("x", "b"), ("y", "c")] {
            meter.observe(&record(channel, model, Some(1)), None, None);
        }
        let text = scrape(&meter);
        for model in ["a", "other"] {
            let line = format!("tollgate_unpriced_requests_total{{model=\"{model}\"}} 2\n");
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_has_no_price_is_unpriced_and_what_used_nothing_is_not() {
        let meter = Arc::new(Meter::new(10));
        meter.observe(&record("x", "mystery", Some(1)), None, None);
        meter.observe(&record("x", "idle", None), None, None);
        meter.observe(
            &RequestRecord {
                cost: Some(Cost {
                    amount: NanoUsd(1_500_000_000),
                    price_version: Arc::from("v"),
                }),
                ..record("x", "priced", Some(1))
            },
            None,
            None,
        );
        let text = scrape(&meter);
        assert!(text.contains("tollgate_unpriced_requests_total{model=\"mystery\"} 1\n"));
        assert_eq!(text.matches("tollgate_unpriced_requests_total{").count(), 1);
        assert!(text.contains("source=\"reported\"} 1.5\n"), "{text}");
    }

    #[test]
    fn the_pace_after_the_first_token_needs_two_tokens() {
        let meter = Arc::new(Meter::new(10));
        meter.observe(&record("x", "m", Some(1)), None, None);
        meter.observe(&record("x", "m", Some(11)), None, None);
        let text = scrape(&meter);
        assert!(text.contains(
            "tollgate_time_per_output_token_seconds_sum{channel=\"x\",model=\"m\",api=\"chat\"} 0.1\n"
        ));
        assert!(text.contains(
            "tollgate_time_per_output_token_seconds_count{channel=\"x\",model=\"m\",api=\"chat\"} 1\n"
        ));
    }

    #[test]
    fn limits_are_shown_while_they_are_known() {
        let meter = Arc::new(Meter::new(10));
        let flight = meter.in_flight("x");
        let note = |lines: &[(&'static str, &'static str)]| {
            let headers = lines.iter().map(|&(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, http::HeaderValue::from_static(value))
            });
            let now = UnixMicros(1_000_000);
            flight.note_limits(crate::protocol::limits_seen(&headers.collect(), now));
        };
        note(&[
            ("x-ratelimit-limit-tokens", "1,000"),
            ("x-ratelimit-remaining-tokens", "400"),
            ("x-ratelimit-reset-tokens", "2s"),
            ("x-codex-primary-used-percent", "25"),
            ("x-codex-primary-window-minutes", "300"),
        ]);
        let text = scrape(&meter);
        for line in [
            "tollgate_channel_ratelimit_limit{channel=\"x\",kind=\"tokens\"} 1000\n",
            "tollgate_channel_ratelimit_remaining{channel=\"x\",kind=\"tokens\"} 400\n",
            "tollgate_channel_ratelimit_reset_timestamp_seconds{channel=\"x\",kind=\"tokens\"} 3\n",
            "tollgate_quota_used_ratio{account=\"x\",window=\"5h\"} 0.25\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("kind=\"requests\""), "{text}");
        // An answer that says nothing of it changes nothing; nonsense is unknown.
        note(&[("x-request-id", "r")]);
        assert_eq!(scrape(&meter), text);
        note(&[
            ("x-ratelimit-limit-tokens", "0"),
            ("x-ratelimit-remaining-tokens", "-1"),
            ("x-codex-primary-used-percent", "25"),
        ]);
        let text = scrape(&meter);
        assert!(!text.contains("ratelimit"), "{text}");
        assert!(!text.contains("quota"), "{text}");
    }

    #[test]
    fn transitions_are_counted_by_what_was_reached_and_why() {
        let meter = Arc::new(Meter::new(10));
        for _ in 0..2 {
            meter.gate_changed("x", GateState::Closed, GateReason::Failures);
        }
        meter.gate_changed("x", GateState::Open, GateReason::Recovered);
        let text = scrape(&meter);
        for (to, reason, count) in [("closed", "failures", 2), ("open", "recovered", 1)] {
            let line = format!(
                "tollgate_channel_transitions_total{{channel=\"x\",to=\"{to}\",\
                 reason=\"{reason}\"}} {count}\n"
            );
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert_eq!(text.matches("transitions_total{").count(), 2);
    }

    #[test]
    fn missing_usage_is_counted_with_its_reason_and_flight_ends_with_the_guard() {
        let meter = Arc::new(Meter::new(10));
        let flight = meter.in_flight("x");
        assert!(scrape(&meter).contains("tollgate_in_flight_requests{channel=\"x\"} 1\n"));
        drop(flight);
        let mut record = record("x", "m", None);
        record.usage = Usage::absent(UsageSource::Missing);
        meter.observe(&record, Some("truncated"), None);
        let text = scrape(&meter);
        assert!(text.contains("tollgate_in_flight_requests{channel=\"x\"} 0\n"));
        assert!(text.contains("tollgate_usage_missing_total{api=\"chat\",reason=\"truncated\"} 1"));
    }
}
