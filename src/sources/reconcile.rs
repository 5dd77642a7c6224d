//! The ledger against the provider's own account, day by day and model by model: what differs, and
//! what the likely cause is. Nothing here asks anybody; both sides are handed in.
//!
//! Models are put together by name as prices find them: the very name, else the name without its
//! date. Another model's price (an alias, a family) makes no two models one.

mod cause;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Amount;
use crate::money::NanoUsd;
use crate::pricing::{Match, MatchRule, ModelName, PriceTable};

pub use cause::Cause;
use cause::{Facts, causes};

/// Whose models are on the bill, by the name prices use.
const PROVIDER: &str = "openai";

/// What the ledger has of a day and a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerUsage {
    /// The day, UTC, on which requests started.
    pub day: Date,
    /// The model that answered, else the one that was asked for.
    pub model: Option<String>,
    /// Requests that a provider answered; it counts others seldom, and of these not those that bill
    /// nothing.
    pub requests: u64,
    /// Requests that failed when a provider had them (it answered with an error, broke off, or
    /// nobody waited any longer): it counts those that it had begun to answer, and nobody else knows
    /// which.
    pub failed: u64,
    /// Input tokens of every type.
    pub input_tokens: Option<u64>,
    /// Output tokens of every type.
    pub output_tokens: Option<u64>,
    /// What the priced ones cost.
    pub cost: Option<NanoUsd>,
    /// Requests without a price.
    pub unpriced: u64,
    /// Requests without usage.
    pub missing_usage: u64,
    /// Requests with a part of their usage.
    pub partial: u64,
    /// Requests whose tokens were estimated.
    pub estimated: u64,
    /// Whether these are batches.
    pub batches: bool,
}

/// What the provider counted for a day and a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BilledUsage {
    /// The day, UTC.
    pub day: Date,
    /// The model.
    pub model: Option<String>,
    /// Requests.
    pub requests: u64,
    /// Input tokens of every type, cached ones included; `None` where this API counts none.
    pub input_tokens: Option<u64>,
    /// Output tokens of every type; `None` where this API counts none.
    pub output_tokens: Option<u64>,
    /// Whether they were in batches.
    pub batch: bool,
}

/// One item of the bill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BilledItem {
    /// The day, UTC.
    pub day: Date,
    /// The provider's words for it, e.g. `gpt-4o-2024-08-06, cached input`.
    pub line_item: Option<String>,
    /// The amount.
    pub amount: Amount,
}

/// The provider's account of some days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// What was used.
    pub usage: Vec<BilledUsage>,
    /// What it costs.
    pub items: Vec<BilledItem>,
}

/// How to compare.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    /// Finds models by name.
    pub prices: &'t PriceTable,
    /// The present day, UTC.
    pub today: Date,
    /// Whether the bill is that of one project.
    pub one_project: bool,
    /// One line a day.
    pub by_day: bool,
    /// One line a model.
    pub by_model: bool,
}

/// One side of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Requests; `None` when this side has none of this model.
    pub requests: Option<u64>,
    /// Input tokens.
    pub input_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: Option<u64>,
    /// The cost.
    pub cost: Option<NanoUsd>,
}

/// Ledger against bill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The day, UTC; `None` when lines are not by day.
    pub day: Option<Date>,
    /// The model; `None` when lines are not by model, or it is not known.
    pub model: Option<String>,
    /// What Tollgate says.
    pub ledger: Side,
    /// What the provider says.
    pub bill: Side,
    /// Why they are likely to differ; empty when they agree.
    pub causes: BTreeSet<Cause>,
}

/// A part of the bill that belongs to no model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmapped {
    /// The day, UTC; `None` when lines are not by day.
    pub day: Option<Date>,
    /// The provider's words for it.
    pub line_item: Option<String>,
    /// The amount.
    pub cost: NanoUsd,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// By day and model, as far as was asked for.
    pub lines: Vec<Line>,
    /// Everything with a line of a model.
    pub total: Line,
    /// Items of the bill without a model.
    pub unmapped: Vec<Unmapped>,
}

/// What is known of a day and a model.
#[derive(Clone, Debug, Default)]
struct Pair {
    ledger: Side,
    billed: Side,
    billed_amount: Option<Amount>,
    unpriced: u64,
    failed: u64,
    missing_usage: u64,
    partial: u64,
    estimated: u64,
    batch: bool,
}

type Pairs = BTreeMap<(Option<String>, Date), Pair>;

/// Compares the two.
#[must_use]
pub fn reconcile(ledger: &[LedgerUsage], bill: &Bill, terms: &Terms<'_>) -> Reconciliation {
    let mut pairs = Pairs::new();
    for usage in ledger {
        count_ledger(&mut pairs, usage, terms);
    }
    for usage in &bill.usage {
        count_billed(&mut pairs, usage, terms);
    }
    let known: BTreeSet<String> = pairs
        .keys()
        .filter_map(|(model, _)| model.clone())
        .collect();
    let mut unmapped: BTreeMap<(Option<Date>, Option<&str>), Amount> = BTreeMap::new();
    let mut days_with_fees = BTreeSet::new();
    for item in &bill.items {
        if let Some(model) = model_of_item(item, &known, terms) {
            let pair = pairs.entry((Some(model), item.day)).or_default();
            let sum = pair.billed_amount.unwrap_or_default() + item.amount;
            pair.billed_amount = Some(sum);
        } else {
            days_with_fees.insert(item.day);
            let day = terms.by_day.then_some(item.day);
            let sum = unmapped
                .entry((day, item.line_item.as_deref()))
                .or_default();
            *sum = *sum + item.amount;
        }
    }
    for pair in pairs.values_mut() {
        pair.billed.cost = pair.billed_amount.map(Amount::rounded);
    }
    let borders = across_midnight(&pairs);
    let mut lines: BTreeMap<(Option<Date>, Option<String>), Line> = BTreeMap::new();
    let mut total = Line::default();
    for (key, pair) in &pairs {
        let (model, day) = key;
        let facts = Facts {
            day: *day,
            crosses_midnight: borders.contains(key),
            fees_apart: days_with_fees.contains(day),
        };
        let causes = causes(pair, &facts, terms);
        let by = (
            terms.by_day.then_some(*day),
            model.clone().filter(|_| terms.by_model),
        );
        let line = lines.entry(by.clone()).or_insert_with(|| Line {
            day: by.0,
            model: by.1,
            ..Line::default()
        });
        for sum in [line, &mut total] {
            sum.ledger.add(&pair.ledger);
            sum.bill.add(&pair.billed);
            sum.causes.extend(causes.iter().copied());
        }
    }
    Reconciliation {
        lines: lines.into_values().collect(),
        total,
        unmapped: unmapped
            .into_iter()
            .map(|((day, line_item), amount)| Unmapped {
                day,
                line_item: line_item.map(str::to_owned),
                cost: amount.rounded(),
            })
            .collect(),
    }
}

impl Side {
    fn add(&mut self, other: &Self) {
        let add = |sum: &mut Option<u64>, value: Option<u64>| {
            if let Some(value) = value {
                *sum = Some(sum.unwrap_or(0).saturating_add(value));
            }
        };
        add(&mut self.requests, other.requests);
        add(&mut self.input_tokens, other.input_tokens);
        add(&mut self.output_tokens, other.output_tokens);
        if let Some(cost) = other.cost {
            self.cost = Some(self.cost.unwrap_or_default() + cost);
        }
    }
}

fn count_ledger(pairs: &mut Pairs, usage: &LedgerUsage, terms: &Terms<'_>) {
    let key = key(usage.model.as_deref(), usage.day, terms.prices);
    let pair = pairs.entry((key, usage.day)).or_default();
    pair.ledger.add(&Side {
        requests: Some(usage.requests),
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cost: usage.cost,
    });
    pair.unpriced += usage.unpriced;
    pair.failed += usage.failed;
    pair.missing_usage += usage.missing_usage;
    pair.partial += usage.partial;
    pair.estimated += usage.estimated;
    pair.batch |= usage.batches;
}

fn count_billed(pairs: &mut Pairs, usage: &BilledUsage, terms: &Terms<'_>) {
    let key = key(usage.model.as_deref(), usage.day, terms.prices);
    let pair = pairs.entry((key, usage.day)).or_default();
    pair.billed.add(&Side {
        requests: Some(usage.requests),
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cost: None,
    });
    pair.batch |= usage.batch;
}

/// The name under which both sides know a model.
fn key(model: Option<&str>, day: Date, prices: &PriceTable) -> Option<String> {
    let model = model?;
    Some(match price_of(model, day, prices) {
        Some(found) if found.rule == MatchRule::Dated => found.row.model.to_string(),
        _ => model.to_owned(),
    })
}

fn price_of<'t>(model: &str, day: Date, prices: &'t PriceTable) -> Option<Match<'t>> {
    prices.find(ModelName::at(Some(PROVIDER), model), noon(day))
}

/// A moment of a day, for prices that have a date.
fn noon(day: Date) -> crate::clock::UnixMicros {
    day.at(12, 0, 0, 0)
        .to_zoned(TimeZone::UTC)
        .map_or(crate::clock::UnixMicros(0), |zoned| {
            zoned.timestamp().into()
        })
}

/// The model that an item of the bill is for. Items read `gpt-4o-2024-08-06, cached input`,
/// `priority | gpt-5.6-sol, output, long context` or `gpt-image-1 image, output`; others are fees
/// for tools and storage.
fn model_of_item(item: &BilledItem, known: &BTreeSet<String>, terms: &Terms<'_>) -> Option<String> {
    let text = item.line_item.as_deref()?;
    let (_, text) = text.rsplit_once(" | ").unwrap_or(("", text));
    let (head, _) = text.split_once(',').unwrap_or((text, ""));
    let name = head.split_whitespace().next()?;
    let model = key(Some(name), item.day, terms.prices)?;
    let has_price = || price_of(name, item.day, terms.prices).is_some();
    (known.contains(&model) || has_price()).then_some(model)
}

/// Days and models whose differences are those of the day beside, the other way round.
fn across_midnight(pairs: &Pairs) -> BTreeSet<(Option<String>, Date)> {
    let mut found = BTreeSet::new();
    for ((model, day), pair) in pairs {
        let Ok(next) = day.checked_add(1.day()) else {
            continue;
        };
        let next = (model.clone(), next);
        let Some(other) = pairs.get(&next) else {
            continue;
        };
        let (one, two) = (pair.difference(), other.difference());
        let opposite = one.iter().zip(two).all(|(a, b)| *a == b.saturating_neg());
        if opposite && one.iter().any(|difference| *difference != 0) {
            found.insert((model.clone(), *day));
            found.insert(next);
        }
    }
    found
}
