//! What `/metrics` says of notifications. Every receiver has every series from the start: a rate knows
//! the first failure only where there was a 0 before it.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::gauge;
use crate::dispatch::{DispatchResult, DispatchStats};
use crate::meter::families::{self, Family, counter, family, float};
use crate::notify::FailureReason;

const NOTIFICATIONS: Family = (
    "tollgate_notifications_total",
    "What became of notifications: sent, merged (told in another message), replaced (by a newer one of \
     its group) and dead (given up) are final; retried counts tries that are followed by another; of \
     silenced, inhibited and muted ones nobody was told.",
    &["receiver", "result"],
);
const FAILURES: Family = (
    "tollgate_notification_failures_total",
    "Tries to tell a receiver that failed, by reason.",
    &["receiver", "reason"],
);
const QUEUE: Family = (
    "tollgate_notification_queue",
    "Notifications that wait to be sent.",
    &[],
);

/// Reads [`DispatchStats`] for the registry.
#[derive(Debug)]
pub(super) struct NotificationsCollector {
    stats: Arc<DispatchStats>,
    descriptions: Vec<Desc>,
}

impl NotificationsCollector {
    pub(super) fn new(stats: Arc<DispatchStats>) -> prometheus::Result<Self> {
        Ok(Self {
            stats,
            descriptions: families::descriptions(&[NOTIFICATIONS, FAILURES, QUEUE])?,
        })
    }
}

impl Collector for NotificationsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut results = Vec::new();
        let mut failures = Vec::new();
        for receiver in self.stats.receivers() {
            for &result in DispatchResult::ALL {
                let labels = [&*receiver.name, result.as_str()];
                let count = float(receiver.results(result));
                results.push(counter(NOTIFICATIONS, &labels, count));
            }
            for &reason in FailureReason::ALL {
                let labels = [&*receiver.name, reason.as_str()];
                let count = float(receiver.failures(reason));
                failures.push(counter(FAILURES, &labels, count));
            }
        }
        vec![
            family(NOTIFICATIONS, MetricType::COUNTER, results),
            family(FAILURES, MetricType::COUNTER, failures),
            gauge(QUEUE, float(self.stats.queued())),
        ]
    }
}
