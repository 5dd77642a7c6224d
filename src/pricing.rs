//! What tokens cost: price rows with dates, tiers and context thresholds, and the sum of a
//! request in exact integers.
//!
//! A row says where its figures come from ([`PriceRow::source`]); a computed [`Cost`] says which
//! table, row and rule it was computed with. What nobody states has no price: the answer is then
//! `None`, never zero.
//!
//! [`Cost`]: crate::record::Cost

mod builtin;
mod rate;
mod row;
mod table;

pub use rate::{Rate, Rates, Tenths};
pub use row::{LongContext, PriceRow, Tier, TierPrice};
pub use table::{Match, MatchRule, PriceTable};
