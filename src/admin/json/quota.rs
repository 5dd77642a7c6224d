//! Plans and what is used of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Moment;
use crate::meter::QuotaUse;

/// How much of each window of a plan is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuotaList {
    /// By channel, in the order of the settings. A window of which no answer spoke since it began is
    /// not among them: nobody knows yet how much of it is used.
    pub rows: Vec<QuotaRowJson>,
}

/// How much of one window of a plan is used, by the provider's last word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuotaRowJson {
    /// Whose plan: the channel.
    pub account: String,
    /// Its length, as `5h` or `7d`, behind the family's name where it is not the plan's own.
    pub window: String,
    /// 1 where all of it is used.
    pub used_ratio: f64,
    /// When it begins anew.
    pub resets_at: Option<Moment>,
}

impl QuotaRowJson {
    /// That of a channel's plan.
    #[must_use]
    pub fn new(account: &str, quota: QuotaUse) -> Self {
        Self {
            account: account.to_owned(),
            window: quota.window,
            used_ratio: quota.used_ratio,
            resets_at: quota.resets_at.map(Moment),
        }
    }
}
