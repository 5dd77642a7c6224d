//! What `/metrics` says of the prices.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::{counters, gauge};
use crate::meter::families::{self, Family, float, seconds};
use crate::pricing::{Prices, Refresh};

const REFRESHES: Family = (
    "tollgate_prices_refreshes_total",
    "Looks for a newer price catalogue: updated and unchanged went well, failed brought nothing, \
     refused brought something that makes no sense.",
    &["result"],
);
const REFRESH_SUCCESS: Family = (
    "tollgate_prices_refresh_success",
    "Whether the last look for a newer price catalogue went well. Absent before the first.",
    &[],
);
const LAST_SUCCESS: Family = (
    "tollgate_prices_last_success_timestamp_seconds",
    "When the price catalogue in use was last fetched or confirmed. Absent without a catalogue.",
    &[],
);

const RELOADS: Family = (
    "tollgate_prices_file_reloads_total",
    "Price files that changed and were read again: updated are in use, unchanged say the same as \
     before, refused are wrong and left the prices before in use.",
    &["result"],
);
const RELOAD_SUCCESS: Family = (
    "tollgate_prices_file_reload_success",
    "Whether the price files were good when they were last read again. Absent before the first \
     change.",
    &[],
);

/// Reads what happened to the prices for the registry.
#[derive(Debug)]
pub(super) struct PricesCollector {
    prices: Arc<Prices>,
    descriptions: Vec<Desc>,
}

impl PricesCollector {
    pub(super) fn new(prices: Arc<Prices>) -> prometheus::Result<Self> {
        Ok(Self {
            prices,
            descriptions: families::descriptions(&[
                REFRESHES,
                REFRESH_SUCCESS,
                LAST_SUCCESS,
                RELOADS,
                RELOAD_SUCCESS,
            ])?,
        })
    }
}

impl Collector for PricesCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = &self.prices.refreshes;
        let counts: Vec<_> = Refresh::ALL
            .iter()
            .map(|&result| (result.as_str(), stats.count(result)))
            .collect();
        let mut collected = vec![counters(REFRESHES, &counts)];
        if let Some(succeeded) = stats.succeeded() {
            collected.push(gauge(REFRESH_SUCCESS, float(u64::from(succeeded))));
        }
        if let Some(at) = stats.last_success() {
            let since_epoch = u64::try_from(at.0).unwrap_or_default();
            collected.push(gauge(LAST_SUCCESS, seconds(since_epoch)));
        }
        let reloads = &self.prices.reloads;
        let results = [Refresh::Updated, Refresh::Unchanged, Refresh::Refused];
        let counts = results.map(|result| (result.as_str(), reloads.count(result)));
        collected.push(counters(RELOADS, &counts));
        if let Some(succeeded) = reloads.succeeded() {
            collected.push(gauge(RELOAD_SUCCESS, float(u64::from(succeeded))));
        }
        collected
    }
}
