//! What a row is to cost by the present prices.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ledger::query::StoredRequest;
use crate::pricing::{ModelName, PriceTable};
use crate::record::{Cost, is_unpriced};

/// Whose prices hold at a channel, by its name ([`crate::pricing::provider_of`]).
pub type Sellers = HashMap<String, &'static str>;

/// What rows are priced by. The ledger keeps the name of a channel and not whose it was: a channel
/// that the settings no longer name sells at the prices of the models' makers.
#[derive(Clone, Debug)]
pub struct PriceBook {
    /// The present prices.
    pub table: Arc<PriceTable>,
    /// Whose of them hold where.
    pub sellers: Arc<Sellers>,
}

impl PriceBook {
    /// What is to become of a row.
    pub(super) fn judge(&self, row: &StoredRequest) -> Verdict {
        if row
            .cost
            .as_ref()
            .is_some_and(|cost| &*cost.price_version == Cost::STATED)
        {
            return Verdict::Stated;
        }
        if !is_unpriced(row.usage.source, false) {
            return Verdict::WithoutUsage;
        }
        match (&row.cost, self.price(row)) {
            (None, None) => Verdict::Unpriced,
            (Some(_), None) => Verdict::Kept,
            (Some(old), Some(new)) if old.amount == new.amount => Verdict::Unchanged,
            (_, Some(new)) => Verdict::Changed(new),
        }
    }

    fn price(&self, row: &StoredRequest) -> Option<Cost> {
        let channel = row.channel.as_ref();
        let seller = channel.and_then(|channel| self.sellers.get(channel).copied());
        self.table.price_row(
            row.api,
            ModelName::at(seller, model_of(row)?),
            row.service_tier.as_deref(),
            &row.usage,
            row.started_at,
        )
    }
}

/// What is to become of a row.
pub(super) enum Verdict {
    Changed(Cost),
    Unchanged,
    Kept,
    Unpriced,
    Stated,
    WithoutUsage,
}

/// The model that answered, else the one that was asked for: what a row is priced and rolled up by.
pub(super) fn model_of(row: &StoredRequest) -> Option<&str> {
    row.served_model
        .as_deref()
        .or(row.requested_model.as_deref())
}
