//! The prices of a running sidecar: what is read for each request, and replaced as files and
//! catalogues change.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::builtin;
use super::dearest::{Ceiling, Dearest, Most};
use super::names::ModelName;
use super::reload::Files;
use super::row::ModelLimits;
use super::table::{Layer, PriceTable};
use crate::clock::UnixMicros;
use crate::record::{Api, Cost, Usage, closed_set};

closed_set! {
    /// What came of looking for a newer catalogue.
    Refresh ("refresh result") {
        /// There was one, and it is in use.
        Updated => "updated",
        /// There was none.
        Unchanged => "unchanged",
        /// It could not be had.
        Failed => "failed",
        /// What came makes no sense, and the old one stays.
        Refused => "refused",
    }
}

/// What happened to the catalogue, for the metrics. Plain atomics: reading them waits for nobody.
#[derive(Debug, Default)]
pub struct RefreshStats {
    counts: [AtomicU64; Refresh::ALL.len()],
    /// Index of the last result and 1; 0 before the first.
    last: AtomicU64,
    last_success_us: AtomicI64,
}

impl RefreshStats {
    /// Notes a result.
    pub fn note(&self, result: Refresh, now: UnixMicros) {
        self.counts[result as usize].fetch_add(1, Ordering::Relaxed);
        if matches!(result, Refresh::Updated | Refresh::Unchanged) {
            self.last_success_us.store(now.0, Ordering::Relaxed);
        }
        self.last.store(result as u64 + 1, Ordering::Relaxed);
    }

    /// Notes that the catalogue in use was known to be good at a moment before this process.
    pub fn note_last_good(&self, at: UnixMicros) {
        self.last_success_us.fetch_max(at.0, Ordering::Relaxed);
    }

    /// How often a result came.
    #[must_use]
    pub fn count(&self, result: Refresh) -> u64 {
        self.counts[result as usize].load(Ordering::Relaxed)
    }

    /// Whether the last attempt brought or confirmed a catalogue; `None` before the first.
    #[must_use]
    pub fn succeeded(&self) -> Option<bool> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(last == Refresh::Updated as u64 || last == Refresh::Unchanged as u64)
    }

    /// When a catalogue was last brought or confirmed; `None` when none ever was.
    #[must_use]
    pub fn last_success(&self) -> Option<UnixMicros> {
        match self.last_success_us.load(Ordering::Relaxed) {
            0 => None,
            at => Some(UnixMicros(at)),
        }
    }
}

/// The prices in use. A request reads them without waiting for whoever replaces them, and what was
/// priced before keeps its price.
#[derive(Debug)]
pub struct Prices {
    table: ArcSwap<PriceTable>,
    parts: Mutex<Parts>,
    pub(super) files: Files,
    /// What happened to the catalogue.
    pub refreshes: RefreshStats,
    /// What came of reading the operator's files again.
    pub reloads: RefreshStats,
}

/// What the table is put together from, but for what Tollgate ships.
#[derive(Debug)]
struct Parts {
    own: Vec<Arc<Layer>>,
    catalogue: Option<Arc<Layer>>,
}

impl Parts {
    fn table(&self) -> PriceTable {
        let own = self.own.iter().cloned().chain(self.catalogue.clone());
        PriceTable::new(own.chain([builtin::layer()]))
    }
}

impl Prices {
    /// The operator's own layers before what Tollgate ships.
    #[must_use]
    pub fn new(own: Vec<Arc<Layer>>) -> Self {
        let parts = Parts {
            own,
            catalogue: None,
        };
        Self {
            table: ArcSwap::from_pointee(parts.table()),
            parts: Mutex::new(parts),
            files: Files::default(),
            refreshes: RefreshStats::default(),
            reloads: RefreshStats::default(),
        }
    }

    /// What Tollgate ships alone.
    #[must_use]
    pub fn builtin() -> Self {
        Self::new(Vec::new())
    }

    /// The table in use.
    #[must_use]
    pub fn table(&self) -> Arc<PriceTable> {
        self.table.load_full()
    }

    /// What a row of `api` cost by the table in use, as [`PriceTable::price_row`].
    #[must_use]
    pub fn price<'n>(
        &self,
        api: Api,
        name: impl Into<ModelName<'n>>,
        service_tier: Option<&str>,
        usage: &Usage,
        at: UnixMicros,
    ) -> Option<Cost> {
        self.table
            .load()
            .price_row(api, name, service_tier, usage, at)
    }

    /// What a model takes and makes at most by the table in use, as [`PriceTable::limits`].
    #[must_use]
    pub fn limits<'n>(&self, name: impl Into<ModelName<'n>>, at: UnixMicros) -> ModelLimits {
        self.table.load().limits(name, at)
    }

    /// The most that a request can cost by the table in use, as [`PriceTable::dearest`].
    #[must_use]
    pub fn dearest<'n>(
        &self,
        name: impl Into<ModelName<'n>>,
        service_tier: Option<&str>,
        most: &Most,
        ceiling: &Ceiling,
        at: UnixMicros,
    ) -> Dearest {
        let table = self.table.load();
        table.dearest(name, service_tier, most, ceiling, at)
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Each part is replaced whole.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a catalogue in the place of the one before.
    pub fn set_catalogue(&self, catalogue: Arc<Layer>) {
        let mut parts = self.parts();
        parts.catalogue = Some(catalogue);
        self.table.store(Arc::new(parts.table()));
    }

    /// Puts the operator's layers in the place of those before, where they are others.
    pub(super) fn set_own(&self, own: Vec<Arc<Layer>>) -> Refresh {
        let mut parts = self.parts();
        let versions = |layers: &[Arc<Layer>]| -> Vec<String> {
            let version = |layer: &Arc<Layer>| layer.version().to_owned();
            layers.iter().map(version).collect()
        };
        if versions(&parts.own) == versions(&own) {
            return Refresh::Unchanged;
        }
        parts.own = own;
        self.table.store(Arc::new(parts.table()));
        Refresh::Updated
    }
}
