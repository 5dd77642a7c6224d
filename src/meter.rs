//! The meter: what `/metrics` says of the traffic.
//!
//! A record that ends adds to one [`cell::Cell`] per (channel, model, api) and to one
//! [`cell::ChannelCell`] per channel. Cells are plain atomics, found once a request; a scrape reads
//! them through [`expose::TrafficCollector`]. Prometheus' own label vectors are not used: they
//! hash label values without a separator, so two different label sets can share a series.
//!
//! A cell and its channel are found under a read lock that is only ever held for a lookup; a label
//! set seen for the first time takes the write lock once.

mod cell;
mod expose;
mod histogram;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::HashMap;

use crate::record::{Api, Phase, RequestRecord, UsageSource, is_unpriced};

use cell::{Cell, ChannelCell};
pub use expose::TrafficCollector;
use histogram::Histogram;

/// The model label of everything beyond the configured number of models.
pub const OTHER_MODELS: &str = "other";

/// The channel label of requests that never found one.
pub const NO_CHANNEL: &str = "";

/// Channel, model, API.
type Labels = (Arc<str>, Arc<str>, Api);

/// A channel's cells, nested so that a lookup needs no owned key.
type Models = HashMap<Arc<str>, HashMap<Api, Arc<Cell>>>;

/// Counts every request that ends. Shared by all workers.
#[derive(Debug)]
pub struct Meter {
    max_models: usize,
    models: AtomicUsize,
    cells: RwLock<HashMap<Arc<str>, Models>>,
    channels: RwLock<HashMap<Arc<str>, Arc<ChannelCell>>>,
    overhead: Histogram,
    /// By model; bounded like the models of the cells.
    unpriced: RwLock<HashMap<Arc<str>, u64>>,
    /// By API and reason, both closed sets.
    missing_usage: RwLock<HashMap<(Api, &'static str), u64>>,
    folded_models: AtomicU64,
}

impl Meter {
    /// A meter that gives at most `max_models` models a series of their own.
    #[must_use]
    pub fn new(max_models: usize) -> Self {
        Self {
            max_models,
            models: AtomicUsize::new(0),
            cells: RwLock::default(),
            channels: RwLock::default(),
            overhead: Histogram::new(histogram::OVERHEAD_US),
            unpriced: RwLock::default(),
            missing_usage: RwLock::default(),
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
        let model = model_label(record);
        let cell = self.cell(channel, model, admission.api);
        cell.observe(record);
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
        if is_unpriced(record.usage.source, record.cost.is_some()) {
            self.count_unpriced(model);
        }
        if record.usage.source == UsageSource::Missing {
            let reason = missing_reason.unwrap_or("unknown");
            let mut counts = write(&self.missing_usage);
            *counts.entry((admission.api, reason)).or_default() += 1;
        }
    }

    /// The live state of a channel: for the gauge of requests in flight.
    #[must_use]
    pub fn in_flight(&self, channel: &str) -> InFlight {
        let cell = self.channel(channel);
        cell.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(cell)
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

    fn cell(&self, channel: &str, model: &str, api: Api) -> Arc<Cell> {
        let found = |model: &str| {
            read(&self.cells)
                .get(channel)
                .and_then(|models| models.get(model))
                .and_then(|apis| apis.get(&api))
                .map(Arc::clone)
        };
        if let Some(cell) = found(model) {
            return cell;
        }
        let mut cells = write(&self.cells);
        let known = cells.values().any(|models| models.contains_key(model));
        let model = if known || model.is_empty() {
            model
        } else if self.models.load(Ordering::Relaxed) < self.max_models {
            self.models.fetch_add(1, Ordering::Relaxed);
            model
        } else {
            self.folded_models.fetch_add(1, Ordering::Relaxed);
            OTHER_MODELS
        };
        let models = cells.entry(Arc::from(channel)).or_default();
        let apis = models.entry(Arc::from(model)).or_default();
        Arc::clone(apis.entry(api).or_insert_with(|| Arc::new(Cell::new())))
    }

    fn count_unpriced(&self, model: &str) {
        let mut counts = write(&self.unpriced);
        if let Some(count) = counts.get_mut(model) {
            *count += 1;
            return;
        }
        let label = if counts.len() < self.max_models {
            model
        } else {
            OTHER_MODELS
        };
        *counts.entry(Arc::from(label)).or_default() += 1;
    }

    /// Every cell with its labels, in a stable order.
    fn snapshot(&self) -> Vec<(Labels, Arc<Cell>)> {
        let mut cells: Vec<_> = read(&self.cells)
            .iter()
            .flat_map(|(channel, models)| {
                models.iter().flat_map(move |(model, apis)| {
                    apis.iter().map(move |(&api, cell)| {
                        (
                            (Arc::clone(channel), Arc::clone(model), api),
                            Arc::clone(cell),
                        )
                    })
                })
            })
            .collect();
        cells.sort_by(|left, right| left.0.cmp(&right.0));
        cells
    }
}

/// A request in flight on a channel, until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<ChannelCell>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The model a request is counted under: the one that answered, else the one asked for. The same
/// choice as the ledger's roll-ups, so that sums agree.
fn model_label(record: &RequestRecord) -> &str {
    record
        .served_model
        .as_deref()
        .or(record.admission.requested_model.as_deref())
        .unwrap_or("")
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
    use crate::clock::UnixMicros;
    use crate::money::NanoUsd;
    use crate::record::{
        Admission, Attempt, Cost, Outcome, Phases, RequestId, Source, TokenType, Tokens, Usage,
    };

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
            },
            served_model: None,
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
