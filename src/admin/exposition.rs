//! `/metrics`: the registry, and what the ledger and the build say of themselves.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Opts, Registry, TextEncoder};

use super::info::{REVISION, VERSION};
use crate::clock::micros;
use crate::ledger::{COMMIT_BUCKETS_US, LedgerStats};
use crate::meter::{Meter, TrafficCollector};

/// The text format's media type, as Prometheus asks for it.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A registry of everything this process exposes.
pub(super) fn registry(
    meter: Arc<Meter>,
    ledger: Arc<LedgerStats>,
) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(TrafficCollector::new(meter)?))?;
    registry.register(Box::new(LedgerCollector::new(ledger)?))?;
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let build = prometheus::Gauge::with_opts(
        Opts::new(
            "tollgate_build_info",
            "Always 1; the labels say which build this is.",
        )
        .const_label("version", VERSION)
        .const_label("revision", REVISION),
    )?;
    build.set(1.0);
    registry.register(Box::new(build))?;
    Ok(registry)
}

/// Everything in `registry` in the text format.
pub(super) fn encode(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

/// One family's identity: its name, its help text, its one label where it has one.
type Family = (&'static str, &'static str, Option<&'static str>);

const RECORDS: Family = (
    "tollgate_ledger_records_total",
    "What became of records: written and interrupted are rows in the database; dropped (the disk \
     refused them and memory was full) and rejected (set aside in journal/rejected) are lost to it.",
    Some("result"),
);
const ERRORS: Family = (
    "tollgate_ledger_errors_total",
    "Failed writes to the journal and failed transactions of the database. Each is tried again.",
    Some("store"),
);
const HELD: Family = (
    "tollgate_ledger_held_records",
    "Journal entries held in memory because the disk refuses them.",
    None,
);
const LAG: Family = (
    "tollgate_ledger_lag_seconds",
    "Upper bound of the age of the oldest entry that is not in the database yet.",
    None,
);
const JOURNAL: Family = (
    "tollgate_ledger_journal_bytes",
    "Bytes in the journal that are not in the database yet.",
    None,
);
const COMMIT: Family = (
    "tollgate_ledger_commit_seconds",
    "Time to commit one batch to the database.",
    None,
);

/// Reads a ledger's [`LedgerStats`] for the registry.
#[derive(Debug)]
struct LedgerCollector {
    stats: Arc<LedgerStats>,
    descriptions: Vec<Desc>,
}

impl LedgerCollector {
    fn new(stats: Arc<LedgerStats>) -> prometheus::Result<Self> {
        let descriptions = [RECORDS, ERRORS, HELD, LAG, JOURNAL, COMMIT]
            .into_iter()
            .map(|(name, help, label)| {
                Desc::new(
                    name.to_owned(),
                    help.to_owned(),
                    label.map(str::to_owned).into_iter().collect(),
                    HashMap::new(),
                )
            })
            .collect::<prometheus::Result<_>>()?;
        Ok(Self {
            stats,
            descriptions,
        })
    }
}

impl Collector for LedgerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = &self.stats;
        // Before `written`, which counts these too and only grows: the difference is never too small.
        let interrupted = stats.interrupted();
        let records = [
            ("written", stats.written().saturating_sub(interrupted)),
            ("interrupted", interrupted),
            ("dropped", stats.dropped()),
            ("rejected", stats.rejected()),
        ];
        let errors = [
            ("journal", stats.journal_errors()),
            ("database", stats.database_errors()),
        ];
        vec![
            counters(RECORDS, &records),
            counters(ERRORS, &errors),
            gauge(HELD, float(stats.held())),
            gauge(LAG, seconds(micros(stats.lag()))),
            gauge(JOURNAL, float(stats.journal_bytes())),
            commits(stats),
        ]
    }
}

fn commits(stats: &LedgerStats) -> MetricFamily {
    let durations = stats.commit_durations();
    let mut histogram = Histogram::default();
    histogram.set_sample_count(durations.count);
    histogram.set_sample_sum(seconds(durations.sum_us));
    let buckets = COMMIT_BUCKETS_US.iter().zip(durations.cumulative);
    histogram.set_bucket(
        buckets
            .map(|(&bound_us, count)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(seconds(bound_us));
                bucket.set_cumulative_count(count);
                bucket
            })
            .collect(),
    );
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family(COMMIT, MetricType::HISTOGRAM, vec![metric])
}

fn counters(identity: Family, counts: &[(&'static str, u64)]) -> MetricFamily {
    let metrics = counts.iter().map(|&(value, count)| {
        let mut pair = LabelPair::default();
        pair.set_name(identity.2.unwrap_or_default().to_owned());
        pair.set_value(value.to_owned());
        let mut metric = Metric::from_label(vec![pair]);
        let mut counter = Counter::default();
        counter.set_value(float(count));
        metric.set_counter(counter);
        metric
    });
    family(identity, MetricType::COUNTER, metrics.collect())
}

fn gauge(identity: Family, value: f64) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    family(identity, MetricType::GAUGE, vec![metric])
}

fn family((name, help, _): Family, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn seconds(us: u64) -> f64 {
    float(us) / 1e6
}

#[allow(
    clippy::cast_precision_loss,
    reason = "Prometheus' samples are f64; beyond 2^53 a counter loses its last digit"
)]
fn float(count: u64) -> f64 {
    count as f64
}
