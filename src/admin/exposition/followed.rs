//! What `/metrics` says of channels outside that follow the gates.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use crate::meter::families::{self, Family, counter, family, float, gauge};
use crate::sources::new_api::{FollowerStats, SyncResult};

const SYNCS: Family = (
    "tollgate_new_api_sync_total",
    "What came of making the same channel in new-api follow the gate: changed (and seen to be), \
     unchanged (it needed none) or failed (it is tried again).",
    &["channel", "result"],
);
const SYNCED: Family = (
    "tollgate_new_api_synced",
    "1 while the same channel in new-api is as the gate wishes; 0 until it was seen to be.",
    &["channel"],
);

/// Reads [`FollowerStats`] for the registry.
#[derive(Debug)]
pub(super) struct FollowedCollector {
    stats: Arc<FollowerStats>,
    descriptions: Vec<Desc>,
}

impl FollowedCollector {
    pub(super) fn new(stats: Arc<FollowerStats>) -> prometheus::Result<Self> {
        Ok(Self {
            stats,
            descriptions: families::descriptions(&[SYNCS, SYNCED])?,
        })
    }
}

impl Collector for FollowedCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let channels = self.stats.channels();
        let syncs = channels.iter().flat_map(|channel| {
            SyncResult::ALL.iter().map(|&result| {
                let labels = [&**channel.name(), result.as_str()];
                counter(SYNCS, &labels, float(channel.count(result)))
            })
        });
        let synced = channels.iter().map(|channel| {
            let synced = float(u64::from(channel.synced()));
            gauge(SYNCED, &[&**channel.name()], synced)
        });
        vec![
            family(SYNCS, MetricType::COUNTER, syncs.collect()),
            family(SYNCED, MetricType::GAUGE, synced.collect()),
        ]
    }
}
