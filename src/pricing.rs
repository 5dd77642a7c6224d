//! What a request costs: price rows with dates, tiers, thresholds and fees, and the sum of a request
//! in exact integers.
//!
//! Rows come in layers that are asked in turn: the operator's files, a public catalogue, what
//! Tollgate ships. A row says where its figures come from ([`PriceRow::source`]); a computed
//! [`Cost`] says which layer, row and rule it was computed with. What nobody states has no price:
//! the answer is then `None`, never zero.
//!
//! [`Cost`]: crate::record::Cost

mod builtin;
mod catalogue;
mod changes;
mod dearest;
mod decimal;
mod explain;
mod file;
mod known;
mod load;
mod names;
mod rate;
mod reload;
mod row;
mod running;
mod savings;
mod table;

pub use catalogue::{Catalogue, CatalogueError, Shape, Skipped};
pub use changes::{Change, Changes};
pub use dearest::{Ceiling, Dearest, Most};
pub use explain::{Explanation, Unpriced};
pub use load::{MOST_CATALOGUE_BYTES, catalogue_layer, load_files};
pub use names::{ModelName, provider_of};
pub use rate::{Factor, Fees, Item, Rate, Rates, Tier};
pub use row::{Charge, MediaSet, ModelLimits, PriceRow, Threshold, ThresholdPrice, TierPrice};
pub use running::{Prices, Refresh, RefreshStats};
pub use savings::{CachePrice, CacheUse, all_saved};
pub use table::{Alias, Layer, Match, MatchRule, PriceTable};

impl PriceTable {
    /// The prices that Tollgate ships, and no others.
    #[must_use]
    pub fn builtin() -> Self {
        Self::new([builtin::layer()])
    }
}
