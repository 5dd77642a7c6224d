//! What `/metrics` says of the channels' gates.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::meter::families::{self, Family, family, float, gauge};
use crate::record::GateState;

const OPEN: Family = (
    "tollgate_channel_open",
    "1 while requests may go through a channel; 0 while somebody holds it closed, also while a \
     request finds out whether others may.",
    &["channel"],
);

/// Reads the gates for the registry of metrics.
#[derive(Debug)]
pub(super) struct ChannelsCollector {
    channels: Arc<Registry>,
    descriptions: Vec<Desc>,
}

impl ChannelsCollector {
    pub(super) fn new(channels: Arc<Registry>) -> prometheus::Result<Self> {
        Ok(Self {
            channels,
            descriptions: families::descriptions(&[OPEN])?,
        })
    }
}

impl Collector for ChannelsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = UnixMicros::now();
        let gates = self.channels.iter().filter_map(|channel| {
            let status = self.channels.gate_status(&channel.name, now).ok()?;
            let is_open = status.state == GateState::Open;
            Some(gauge(OPEN, &[&channel.name], float(u64::from(is_open))))
        });
        vec![family(OPEN, MetricType::GAUGE, gates.collect())]
    }
}
