//! What a row is to cost by the present prices.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ledger::query::StoredRequest;
use crate::money::NanoUsd;
use crate::pricing::{ModelName, PriceTable};
use crate::protocol::writes_text;
use crate::record::{Cost, Usage, is_unpriced};

/// Whose prices hold at each channel of the settings, by its name
/// ([`crate::pricing::provider_of`]); `None` are those of the models' makers.
pub type Sellers = HashMap<String, Option<&'static str>>;

/// What rows are priced by. The ledger keeps the name of a channel and not whose it was. Of a
/// channel that the settings no longer name, the price that a row was computed with tells it.
#[derive(Clone, Debug)]
pub struct PriceBook {
    /// The present prices.
    pub table: Arc<PriceTable>,
    /// Whose of them hold where.
    pub sellers: Arc<Sellers>,
}

/// Whose prices hold for a row.
#[derive(Clone, Copy)]
enum Seller<'r> {
    /// Those of the models' makers.
    Makers,
    Provider(&'r str),
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
        let Some(seller) = self.seller(row) else {
            return Verdict::UnknownSeller;
        };
        match (&row.cost, self.price(row, &row.usage, seller)) {
            (None, None) => Verdict::Unpriced,
            (Some(_), None) => Verdict::Kept,
            (Some(old), Some(new)) if old.amount == new.amount => Verdict::Unchanged,
            (_, Some(new)) => Verdict::Changed(new),
        }
    }

    /// What Tollgate's own count beside a missing usage would cost now, where that is another amount
    /// than the row has.
    pub(super) fn estimate(&self, row: &StoredRequest) -> Option<NanoUsd> {
        let estimate = row.estimate?;
        // Half a usage has no price.
        if estimate.input_tokens.is_none()
            || (estimate.output_tokens.is_none() && writes_text(row.api))
        {
            return None;
        }
        let cost = self.price(row, &estimate.usage(), self.seller(row)?)?;
        Some(cost.amount).filter(|_| estimate.cost != Some(cost.amount))
    }

    fn price(&self, row: &StoredRequest, usage: &Usage, seller: Seller<'_>) -> Option<Cost> {
        let provider = match seller {
            Seller::Makers => None,
            Seller::Provider(provider) => Some(provider),
        };
        self.table.price_row(
            row.api,
            ModelName::at(provider, model_of(row)?),
            row.service_tier.as_deref(),
            usage,
            row.priced_at.unwrap_or(row.started_at),
        )
    }

    /// Whose prices hold for a row; `None` when nobody knows any more.
    fn seller<'r>(&'r self, row: &'r StoredRequest) -> Option<Seller<'r>> {
        let Some(channel) = &row.channel else {
            return Some(Seller::Makers);
        };
        if let Some(seller) = self.sellers.get(channel) {
            return Some(seller.map_or(Seller::Makers, Seller::Provider));
        }
        let provider = provider_in(&row.cost.as_ref()?.price_version)?;
        self.is_known(provider)
            .then_some(Seller::Provider(provider))
    }

    /// Whether anybody sells under this name: what stands there may be part of a model's.
    fn is_known(&self, provider: &str) -> bool {
        let mut rows = self.table.layers().iter().flat_map(|layer| layer.rows());
        rows.any(|row| row.provider == provider)
    }
}

/// The provider that a price version names, `layer/provider/model@since:rule`. A row of prices that
/// names none is `layer/model:rule`: then it is what a model's name begins with, or `None`.
fn provider_in(price_version: &str) -> Option<&str> {
    let (_, row) = price_version.split_once('/')?;
    Some(row.split_once('/')?.0)
}

/// What is to become of a row.
pub(super) enum Verdict {
    Changed(Cost),
    Unchanged,
    Kept,
    Unpriced,
    Stated,
    WithoutUsage,
    /// Its channel is gone, and nothing tells whose prices held there.
    UnknownSeller,
}

/// The model that answered, else the one that was asked for: what a row is priced and rolled up by.
pub(super) fn model_of(row: &StoredRequest) -> Option<&str> {
    row.served_model
        .as_deref()
        .or(row.requested_model.as_deref())
}
