//! What `/metrics` says of the data folder's disk.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::gauge;
use crate::ledger::Storage;
use crate::meter::families::{self, Family, float};

const DATABASE: Family = (
    "tollgate_ledger_database_bytes",
    "Size of the ledger's database with its write-ahead log.",
    &[],
);
const FREE: Family = (
    "tollgate_data_dir_free_bytes",
    "What Tollgate may still write to the file system of data_dir. Absent while it does not say.",
    &[],
);
const SIZE: Family = (
    "tollgate_data_dir_size_bytes",
    "Size of the file system of data_dir. Absent while it does not say.",
    &[],
);

/// Asks the file system at each scrape: three calls.
#[derive(Debug)]
pub(super) struct StorageCollector {
    storage: Storage,
    descriptions: Vec<Desc>,
}

impl StorageCollector {
    pub(super) fn new(storage: Storage) -> prometheus::Result<Self> {
        Ok(Self {
            storage,
            descriptions: families::descriptions(&[DATABASE, FREE, SIZE])?,
        })
    }
}

impl Collector for StorageCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut collected = Vec::new();
        if let Some(bytes) = self.storage.database_bytes() {
            collected.push(gauge(DATABASE, float(bytes)));
        }
        if let Some(room) = self.storage.room() {
            collected.push(gauge(FREE, float(room.free_bytes)));
            collected.push(gauge(SIZE, float(room.size_bytes)));
        }
        collected
    }
}
