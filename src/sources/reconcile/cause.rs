//! Why ledger and bill differ: the likely causes, from the numbers of a day and a model.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::Date;

use super::{Pair, Terms};
use crate::money::NanoUsd;
use crate::record::closed_set;

closed_set! {
    /// Why ledger and bill are likely to differ.
    Cause ("cause") {
        /// The day has just been: bills lag behind.
        Delayed => "delayed",
        /// What is too much on one day is missing on the next.
        DayBorder => "day_border",
        /// The provider counted more requests.
        NotThroughTollgate => "not_through_tollgate",
        /// They may belong to other projects or keys: the bill is the whole organization's.
        OtherProjects => "other_projects",
        /// A batch is one request here and many there.
        Batch => "batch",
        /// The ledger has requests that the provider does not count.
        NotBilled => "not_billed",
        /// Requests without a price.
        Unpriced => "unpriced",
        /// Requests without usage.
        MissingUsage => "missing_usage",
        /// Requests that were cut off, with a part of their usage.
        Partial => "partial",
        /// Requests whose tokens were estimated.
        Estimated => "estimated",
        /// The same tokens cost something else.
        PriceDiffers => "price_differs",
        /// Fees for tools are on the bill as items of their own.
        FeesApart => "fees_apart",
        /// None of these.
        Unexplained => "unexplained",
        /// The provider counted some of the requests that failed here.
        Failed => "failed_requests",
    }
}

impl Cause {
    /// What it means and what to do, for people.
    #[must_use]
    pub const fn explained(self) -> &'static str {
        match self {
            Self::Delayed => "the bill of today and yesterday is not complete yet; ask again later",
            Self::DayBorder => {
                "requests around midnight UTC are on different days; both days together agree"
            }
            Self::NotThroughTollgate => {
                "the provider counted more requests than came through Tollgate"
            }
            Self::OtherProjects => {
                "the bill is the whole organization's; `sources.billing.project` narrows it down"
            }
            Self::Batch => {
                "the provider counts each request inside a batch, the ledger counts the batch"
            }
            Self::NotBilled => {
                "requests in the ledger that are not on the bill: another organization's key, or \
                 `sources.billing.project` names another project"
            }
            Self::Unpriced => {
                "requests without a price: add one under `prices`, then `tollgate prices reprice`"
            }
            Self::MissingUsage => "requests whose usage the ledger does not know",
            Self::Partial => "requests that were cut off, of which a part of the usage is known",
            Self::Estimated => "requests whose tokens Tollgate estimated",
            Self::PriceDiffers => {
                "the tokens agree and the cost does not: the prices differ, see `tollgate prices \
                 show` and `tollgate prices reprice`"
            }
            Self::FeesApart => "fees for tools are items of their own on the bill, listed below",
            Self::Unexplained => "no cause was found",
            Self::Failed => {
                "requests that failed here when the provider had them: it bills those that it had \
                 begun to answer"
            }
        }
    }
}

/// What is known of a day besides its numbers.
pub(super) struct Facts {
    pub(super) day: Date,
    pub(super) crosses_midnight: bool,
    pub(super) fees_apart: bool,
}

impl Pair {
    /// Ledger less bill: requests, input and output tokens.
    pub(super) fn difference(&self) -> [i64; 3] {
        [
            (self.ledger.requests, self.billed.requests),
            (self.ledger.input_tokens, self.billed.input_tokens),
            (self.ledger.output_tokens, self.billed.output_tokens),
        ]
        .map(|(ledger, billed)| less(ledger, billed))
    }

    /// Whether the tokens agree, as far as the provider counts any.
    fn same_tokens(&self) -> bool {
        [
            (self.ledger.input_tokens, self.billed.input_tokens),
            (self.ledger.output_tokens, self.billed.output_tokens),
        ]
        .into_iter()
        .all(|(ledger, billed)| billed.is_none() || less(ledger, billed) == 0)
    }

    /// Whether the costs agree. Each request is rounded to a nano-dollar, and a bill may be to a
    /// millionth.
    fn same_cost(&self) -> bool {
        const MICRO_USD: u64 = 1_000;
        let slack = MICRO_USD.max(self.ledger.requests.unwrap_or(0));
        let nanos = |cost: Option<NanoUsd>| cost.unwrap_or_default().0;
        nanos(self.ledger.cost).abs_diff(nanos(self.billed.cost)) <= slack
    }
}

fn less(one: Option<u64>, other: Option<u64>) -> i64 {
    let signed = |count: Option<u64>| i64::try_from(count.unwrap_or(0)).unwrap_or(i64::MAX);
    signed(one).saturating_sub(signed(other))
}

/// Why the two sides of a pair are likely to differ; nothing when they agree.
pub(super) fn causes(pair: &Pair, facts: &Facts, terms: &Terms<'_>) -> BTreeSet<Cause> {
    let mut causes = BTreeSet::new();
    let answered = pair.difference()[0];
    let failed = i64::try_from(pair.failed).unwrap_or(i64::MAX);
    // Of those that failed any number may be on the bill.
    let more_in_ledger = if answered < 0 {
        answered.saturating_add(failed).min(0)
    } else {
        answered
    };
    let (same_tokens, same_cost) = (pair.same_tokens(), pair.same_cost());
    // More requests alone are no difference: to ask for a batch's state, or for an answer that was
    // made in the background, is a request here and bills nothing.
    if more_in_ledger >= 0 && same_tokens && same_cost {
        return causes;
    }
    if terms
        .today
        .checked_sub(1.day())
        .is_ok_and(|yesterday| facts.day >= yesterday)
    {
        causes.insert(Cause::Delayed);
    }
    if facts.crosses_midnight {
        causes.insert(Cause::DayBorder);
    } else if more_in_ledger != 0 && pair.batch {
        causes.insert(Cause::Batch);
    } else if more_in_ledger < 0 {
        causes.insert(Cause::NotThroughTollgate);
        if !terms.one_project {
            causes.insert(Cause::OtherProjects);
        }
    } else if more_in_ledger > 0 && causes.is_empty() {
        causes.insert(Cause::NotBilled);
    }
    if !same_tokens || !same_cost {
        if answered < 0 && failed > 0 && !facts.crosses_midnight {
            causes.insert(Cause::Failed);
        }
        for (requests, cause) in [
            (pair.missing_usage, Cause::MissingUsage),
            (pair.partial, Cause::Partial),
            (pair.estimated, Cause::Estimated),
        ] {
            if requests > 0 {
                causes.insert(cause);
            }
        }
    }
    if !same_cost && pair.unpriced > 0 {
        causes.insert(Cause::Unpriced);
    }
    if causes.is_empty() && same_tokens && !same_cost {
        let dearer_here = pair.ledger.cost > pair.billed.cost;
        causes.insert(if dearer_here && facts.fees_apart {
            Cause::FeesApart
        } else {
            Cause::PriceDiffers
        });
    }
    if causes.is_empty() {
        causes.insert(Cause::Unexplained);
    }
    causes
}
