//! Pricing history anew.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Moment, Usd};
use crate::ledger::query::Repricing;
use crate::ledger::{RepriceQuery, RepriceReport, Repriced};

/// Rows of one model in the range that was priced anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepricedJson {
    /// The model that answered, else the one that was asked for. `null` where neither is known, and
    /// in the total.
    pub model: Option<String>,
    /// How many requests there are.
    pub requests: u64,
    /// Of them, those whose cost changed, the newly priced ones included.
    pub changed_requests: u64,
    /// Those that had no cost and have one now.
    pub newly_priced_requests: u64,
    /// Those that have no price now: they keep the cost they had.
    pub kept_requests: u64,
    /// Those without a cost, before and after.
    pub unpriced_requests: u64,
    /// Those whose cost the provider stated, which no price changes.
    pub stated_requests: u64,
    /// Those of whose usage nothing is known, or that have none.
    pub without_usage_requests: u64,
    /// Those whose channel the settings no longer name, and of which no price tells whose prices
    /// held there: they stay as they are.
    pub unknown_seller_requests: u64,
    /// Those of the ones without usage whose estimate has another cost now. Estimates are no part of
    /// the costs here, and the audit keeps no earlier ones.
    pub changed_estimates: u64,
    /// What those with a cost cost together before; `null` when none had one.
    pub old_cost_usd: Option<Usd>,
    /// What those with a cost cost together with the present prices; `null` when none has one.
    pub new_cost_usd: Option<Usd>,
    /// New less old, by which the usage sums change.
    pub difference_usd: Usd,
}

impl RepricedJson {
    fn new(model: Option<String>, repriced: &Repriced) -> Self {
        Self {
            model,
            requests: repriced.requests,
            changed_requests: repriced.changed,
            newly_priced_requests: repriced.newly_priced,
            kept_requests: repriced.kept,
            unpriced_requests: repriced.unpriced,
            stated_requests: repriced.stated,
            without_usage_requests: repriced.without_usage,
            unknown_seller_requests: repriced.unknown_seller,
            changed_estimates: repriced.changed_estimates,
            old_cost_usd: repriced.old_cost.map(Usd),
            new_cost_usd: repriced.new_cost.map(Usd),
            difference_usd: Usd(repriced.difference()),
        }
    }
}

/// What pricing history anew did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepriceReportJson {
    /// Started at this time or later.
    pub since: Moment,
    /// Started before this time.
    pub until: Moment,
    /// Whether nothing was changed because that was asked for.
    pub dry_run: bool,
    /// The number of this run in the audit (`repricing_runs`); `null` when nothing changed.
    pub run: Option<i64>,
    /// The versions of the price layers it was done with, in the order they are asked in.
    pub layers: Vec<String>,
    /// One row for each model, in the order of the names.
    pub models: Vec<RepricedJson>,
    /// Everything.
    pub total: RepricedJson,
    /// Requests of the range whose rows retention has deleted: their part of the usage sums cannot
    /// be priced anew.
    pub expired_requests: u64,
}

impl RepriceReportJson {
    /// The answer to a query.
    #[must_use]
    pub fn new(query: &RepriceQuery, dry_run: bool, report: RepriceReport) -> Self {
        Self {
            since: Moment(query.since),
            until: Moment(query.until),
            dry_run,
            run: report.run,
            layers: report.layers,
            models: report
                .models
                .into_iter()
                .map(|(model, repriced)| RepricedJson::new(model, &repriced))
                .collect(),
            total: RepricedJson::new(None, &report.total),
            expired_requests: report.expired_requests,
        }
    }
}

/// One change of a request's cost by a later price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepricingJson {
    /// The run that did it.
    pub run: i64,
    /// When.
    pub at: Moment,
    /// Who asked for it.
    pub who: String,
    /// The cost before; `null` when it had none.
    pub old_cost_usd: Option<Usd>,
    /// Which prices gave the cost before.
    pub old_price_version: Option<String>,
    /// The cost after.
    pub new_cost_usd: Usd,
    /// Which prices gave the cost after.
    pub new_price_version: String,
}

impl From<Repricing> for RepricingJson {
    fn from(repricing: Repricing) -> Self {
        let old = repricing.old;
        Self {
            run: repricing.run,
            at: Moment(repricing.at),
            who: repricing.who,
            old_cost_usd: old.as_ref().map(|cost| Usd(cost.amount)),
            old_price_version: old.map(|cost| cost.price_version.as_ref().to_owned()),
            new_cost_usd: Usd(repricing.new.amount),
            new_price_version: repricing.new.price_version.as_ref().to_owned(),
        }
    }
}
