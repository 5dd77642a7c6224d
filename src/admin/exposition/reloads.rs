//! What `/metrics` says of settings and rules that are read again.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::gauge;
use crate::admin::ReloadStats;
use crate::meter::families::{self, Family, float, seconds};

const SUCCESS: Family = (
    "tollgate_config_reload_success",
    "Whether the settings and rules were good when they were last read; 0 while older ones are in \
     force because the files are wrong.",
    &[],
);
const LAST_SUCCESS: Family = (
    "tollgate_config_reload_timestamp_seconds",
    "When the settings and rules were last read and good.",
    &[],
);

/// Reads [`ReloadStats`] for the registry.
#[derive(Debug)]
pub(super) struct ReloadsCollector {
    stats: Arc<ReloadStats>,
    descriptions: Vec<Desc>,
}

impl ReloadsCollector {
    pub(super) fn new(stats: Arc<ReloadStats>) -> prometheus::Result<Self> {
        Ok(Self {
            stats,
            descriptions: families::descriptions(&[SUCCESS, LAST_SUCCESS])?,
        })
    }
}

impl Collector for ReloadsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let since_epoch = u64::try_from(self.stats.last_success().0).unwrap_or_default();
        vec![
            gauge(SUCCESS, float(u64::from(self.stats.succeeded()))),
            gauge(LAST_SUCCESS, seconds(since_epoch)),
        ]
    }
}
