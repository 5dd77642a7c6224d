//! The answers of the usage and cost API: pages of buckets, one a day (UTC), each with results.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::{BillingError, strange};
use crate::sources::Amount;

#[derive(Deserialize)]
pub(super) struct Answer<T> {
    pub(super) data: Vec<Bucket<T>>,
    #[serde(default)]
    pub(super) has_more: bool,
    #[serde(default)]
    pub(super) next_page: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Bucket<T> {
    /// Seconds since the epoch.
    pub(super) start_time: i64,
    pub(super) results: Vec<T>,
}

/// One model's usage of a day. `input_tokens` has tokens of every type in it, cached ones too.
#[derive(Deserialize)]
pub(super) struct UsageResult {
    pub(super) model: Option<String>,
    pub(super) num_model_requests: u64,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) batch: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct CostResult {
    pub(super) amount: Option<StatedAmount>,
    pub(super) line_item: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct StatedAmount {
    #[serde(deserialize_with = "number_text")]
    value: String,
    currency: String,
}

impl StatedAmount {
    /// In USD, as it was written.
    pub(super) fn amount(&self, url: &str) -> Result<Amount, BillingError> {
        if !self.currency.eq_ignore_ascii_case("usd") {
            return Err(BillingError::Currency {
                url: url.to_owned(),
                currency: self.currency.chars().take(16).collect(),
            });
        }
        Amount::parse(&self.value).map_err(|error| strange(url, error.to_string()))
    }
}

/// The text of a number, or of a string that holds one: as it was written, without a float in
/// between.
fn number_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(raw.get().trim_matches('"').to_owned())
}

#[derive(Deserialize)]
pub(super) struct ErrorBody {
    pub(super) error: ErrorDetail,
}

#[derive(Deserialize)]
pub(super) struct ErrorDetail {
    pub(super) message: String,
}
