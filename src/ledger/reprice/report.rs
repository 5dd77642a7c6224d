//! What pricing anew did, by model.

use super::Looked;
use super::book::Verdict;
use crate::money::NanoUsd;

/// What pricing anew did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepriceReport {
    /// The number of this run in the audit; `None` when nothing was changed.
    pub run: Option<i64>,
    /// The versions of the price layers it was done with, the one that is asked first at the front.
    pub layers: Vec<String>,
    /// By model, in the order of the names.
    pub models: Vec<(Option<String>, Repriced)>,
    /// Everything.
    pub total: Repriced,
    /// Requests of the range whose rows retention has deleted: their part of the roll-ups cannot be
    /// priced anew.
    pub expired_requests: u64,
}

/// Rows of one model in the range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repriced {
    /// How many there are.
    pub requests: u64,
    /// Of them, those whose cost changed, the newly priced ones included.
    pub changed: u64,
    /// Those that had no cost and have one now.
    pub newly_priced: u64,
    /// Those that have no price now: they keep the cost they had.
    pub kept: u64,
    /// Those without a cost, before and after.
    pub unpriced: u64,
    /// Those whose cost the provider stated.
    pub stated: u64,
    /// Those of whose usage nothing is known, or that have none.
    pub without_usage: u64,
    /// Those whose channel the settings no longer name, and of which no price tells whose prices
    /// held there: they stay as they are.
    pub unknown_seller: u64,
    /// Those of the ones without usage whose estimate has another cost now. Estimates are no part of
    /// the costs here.
    pub changed_estimates: u64,
    /// What those with a cost cost together before; `None` when none had one.
    pub old_cost: Option<NanoUsd>,
    /// What those with a cost cost together now; `None` when none has one.
    pub new_cost: Option<NanoUsd>,
}

impl Repriced {
    /// New less old, by which the sums of what is known change.
    #[must_use]
    pub fn difference(&self) -> NanoUsd {
        let known = |cost: Option<NanoUsd>| cost.unwrap_or_default().0;
        NanoUsd(known(self.new_cost).saturating_sub(known(self.old_cost)))
    }

    pub(super) fn count(&mut self, looked: &Looked) {
        let Looked {
            row,
            verdict,
            estimate,
        } = looked;
        let old = row.cost.as_ref().map(|cost| cost.amount);
        let new = match verdict {
            Verdict::Changed(new) => Some(new.amount),
            _ => old,
        };
        self.requests += 1;
        self.changed_estimates += u64::from(estimate.is_some());
        add_known(&mut self.old_cost, old);
        add_known(&mut self.new_cost, new);
        match verdict {
            Verdict::Changed(_) => {
                self.changed += 1;
                self.newly_priced += u64::from(row.cost.is_none());
            }
            Verdict::Unchanged => {}
            Verdict::Kept => self.kept += 1,
            Verdict::Unpriced => self.unpriced += 1,
            Verdict::Stated => self.stated += 1,
            Verdict::WithoutUsage => self.without_usage += 1,
            Verdict::UnknownSeller => self.unknown_seller += 1,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.changed += other.changed;
        self.newly_priced += other.newly_priced;
        self.kept += other.kept;
        self.unpriced += other.unpriced;
        self.stated += other.stated;
        self.without_usage += other.without_usage;
        self.unknown_seller += other.unknown_seller;
        self.changed_estimates += other.changed_estimates;
        add_known(&mut self.old_cost, other.old_cost);
        add_known(&mut self.new_cost, other.new_cost);
    }
}

fn add_known(sum: &mut Option<NanoUsd>, amount: Option<NanoUsd>) {
    if let Some(amount) = amount {
        *sum = Some(sum.unwrap_or_default() + amount);
    }
}
