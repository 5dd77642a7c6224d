//! `/metrics`: the registry, and what the ledger and the build say of themselves.

mod certificate;
mod channels;
mod followed;
mod notifications;
mod prices;
mod reloads;
mod rules;
mod storage;

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Opts, Registry, TextEncoder};

use super::info::{REVISION, VERSION};
use crate::admin::{CertificateValidity, ReloadStats};
use crate::channel::Registry as Pool;
use crate::clock::micros;
use crate::dispatch::DispatchStats;
use crate::ledger::{COMMIT_BUCKETS_US, LedgerStats, Storage};
use crate::meter::families::{self, Family, counter, family, float, seconds};
use crate::meter::{Meter, TrafficCollector};
use crate::payloads::PayloadStats;
use crate::pricing::Prices;
use crate::rules::Rules;
use crate::sources::new_api::FollowerStats;

use certificate::CertificateCollector;
use channels::ChannelsCollector;
use followed::FollowedCollector;
use notifications::NotificationsCollector;
use prices::PricesCollector;
use reloads::ReloadsCollector;
use rules::RulesCollector;
use storage::StorageCollector;

/// The text format's media type, as Prometheus asks for it.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A registry of everything this process exposes.
pub(super) fn registry(
    meter: Arc<Meter>,
    channels: Arc<Pool>,
    ledger: Arc<LedgerStats>,
    storage: Storage,
    payloads: Arc<PayloadStats>,
    prices: Arc<Prices>,
    rules: Arc<Rules>,
) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(TrafficCollector::new(meter)?))?;
    registry.register(Box::new(ChannelsCollector::new(channels)?))?;
    registry.register(Box::new(LedgerCollector::new(ledger)?))?;
    registry.register(Box::new(StorageCollector::new(storage)?))?;
    registry.register(Box::new(PayloadCollector::new(payloads)?))?;
    registry.register(Box::new(PricesCollector::new(prices)?))?;
    registry.register(Box::new(RulesCollector::new(rules)?))?;
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

/// Adds what channels outside do.
pub(super) fn add_followed(
    registry: &Registry,
    stats: Arc<FollowerStats>,
) -> prometheus::Result<()> {
    registry.register(Box::new(FollowedCollector::new(stats)?))
}

/// Adds until when the certificate in front is good.
pub(super) fn add_certificate(
    registry: &Registry,
    validity: CertificateValidity,
) -> prometheus::Result<()> {
    registry.register(Box::new(CertificateCollector::new(validity)?))
}

/// Adds what came of reading the settings again.
pub(super) fn add_reloads(registry: &Registry, stats: Arc<ReloadStats>) -> prometheus::Result<()> {
    registry.register(Box::new(ReloadsCollector::new(stats)?))
}

/// Adds what became of notifications.
pub(super) fn add_dispatch(
    registry: &Registry,
    stats: Arc<DispatchStats>,
) -> prometheus::Result<()> {
    registry.register(Box::new(NotificationsCollector::new(stats)?))
}

/// Everything in `registry` in the text format.
pub(super) fn encode(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

const RECORDS: Family = (
    "tollgate_ledger_records_total",
    "What became of records: written and interrupted are rows in the database; dropped (the disk \
     refused them and memory was full) and rejected (set aside in journal/rejected) are lost to it.",
    &["result"],
);
const ERRORS: Family = (
    "tollgate_ledger_errors_total",
    "Failed writes to the journal and failed transactions of the database. Each is tried again.",
    &["store"],
);
const HELD: Family = (
    "tollgate_ledger_held_records",
    "Journal entries held in memory because the disk refuses them.",
    &[],
);
const LAG: Family = (
    "tollgate_ledger_lag_seconds",
    "Upper bound of the age of the oldest entry that is not in the database yet.",
    &[],
);
const JOURNAL: Family = (
    "tollgate_ledger_journal_bytes",
    "Bytes in the journal that are not in the database yet.",
    &[],
);
const COMMIT: Family = (
    "tollgate_ledger_commit_seconds",
    "Time to commit one batch to the database.",
    &[],
);

/// Reads a ledger's [`LedgerStats`] for the registry.
#[derive(Debug)]
struct LedgerCollector {
    stats: Arc<LedgerStats>,
    descriptions: Vec<Desc>,
}

impl LedgerCollector {
    fn new(stats: Arc<LedgerStats>) -> prometheus::Result<Self> {
        Ok(Self {
            stats,
            descriptions: families::descriptions(&[RECORDS, ERRORS, HELD, LAG, JOURNAL, COMMIT])?,
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

const PAYLOADS: Family = (
    "tollgate_payloads_total",
    "What became of requests whose bytes were to be kept: written, dropped (too much was waiting \
     to be written) or failed (the disk refused them).",
    &["result"],
);

/// Reads [`PayloadStats`] for the registry.
#[derive(Debug)]
struct PayloadCollector {
    stats: Arc<PayloadStats>,
    descriptions: Vec<Desc>,
}

impl PayloadCollector {
    fn new(stats: Arc<PayloadStats>) -> prometheus::Result<Self> {
        Ok(Self {
            stats,
            descriptions: families::descriptions(&[PAYLOADS])?,
        })
    }
}

impl Collector for PayloadCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = &self.stats;
        let results = [
            ("written", stats.written()),
            ("dropped", stats.dropped()),
            ("failed", stats.failed()),
        ];
        vec![counters(PAYLOADS, &results)]
    }
}

fn commits(stats: &LedgerStats) -> MetricFamily {
    let durations = stats.commit_durations();
    let buckets = COMMIT_BUCKETS_US.into_iter().zip(durations.cumulative);
    let metric = families::histogram(COMMIT, &[], buckets, durations.count, durations.sum_us);
    family(COMMIT, MetricType::HISTOGRAM, vec![metric])
}

fn counters(identity: Family, counts: &[(&'static str, u64)]) -> MetricFamily {
    let metrics = counts
        .iter()
        .map(|&(value, count)| counter(identity, &[value], float(count)));
    family(identity, MetricType::COUNTER, metrics.collect())
}

fn gauge(identity: Family, value: f64) -> MetricFamily {
    let metric = families::gauge(identity, &[], value);
    family(identity, MetricType::GAUGE, vec![metric])
}
