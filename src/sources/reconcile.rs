//! The ledger against the provider's own account, day by day and model by model: what differs, and
//! what the likely cause is. Nothing here asks anybody; both sides are handed in.
//!
//! Models are put together by name as prices find them: the very name, else the name without its
//! date. Another model's price (an alias, a family) makes no two models one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Amount;
use crate::money::NanoUsd;
use crate::pricing::{Match, MatchRule, ModelName, PriceTable};
use crate::record::closed_set;

/// Whose models are on the bill, by the name prices use.
const PROVIDER: &str = "openai";

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
        }
    }
}

/// What the ledger has of a day and a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerUsage {
    /// The day, UTC, on which requests started.
    pub day: Date,
    /// The model that answered, else the one that was asked for.
    pub model: Option<String>,
    /// Requests that a provider answered; it counts no others, and of these not those that bill
    /// nothing.
    pub requests: u64,
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

/// What is known of a day besides its numbers.
struct Facts {
    day: Date,
    crosses_midnight: bool,
    fees_apart: bool,
}

impl Pair {
    /// Ledger less bill: requests, input and output tokens.
    fn difference(&self) -> [i64; 3] {
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

fn causes(pair: &Pair, facts: &Facts, terms: &Terms<'_>) -> BTreeSet<Cause> {
    let mut causes = BTreeSet::new();
    let more_in_ledger = pair.difference()[0];
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

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const DAY: Date = date(2026, 11, 10);

    fn usd(text: &str) -> NanoUsd {
        text.parse().unwrap()
    }

    fn ledger(model: &str) -> LedgerUsage {
        LedgerUsage {
            day: DAY,
            model: Some(model.to_owned()),
            requests: 10,
            input_tokens: Some(1_000),
            output_tokens: Some(200),
            cost: Some(usd("0.00065")),
            ..LedgerUsage::default()
        }
    }

    fn billed(model: &str) -> BilledUsage {
        BilledUsage {
            day: DAY,
            model: Some(model.to_owned()),
            requests: 10,
            input_tokens: Some(1_000),
            output_tokens: Some(200),
            batch: false,
        }
    }

    fn item(line_item: &str, amount: &str) -> BilledItem {
        BilledItem {
            day: DAY,
            line_item: Some(line_item.to_owned()),
            amount: Amount::parse(amount).unwrap(),
        }
    }

    /// The bill of [`ledger`], item by item.
    fn items(model: &str) -> Vec<BilledItem> {
        vec![
            item(&format!("{model}, input"), "0.00025"),
            item(&format!("{model}, output"), "0.0004"),
        ]
    }

    fn compare(ledger: &[LedgerUsage], bill: &Bill) -> Reconciliation {
        compare_by(ledger, bill, true, true)
    }

    fn compare_by(
        ledger: &[LedgerUsage],
        bill: &Bill,
        by_day: bool,
        by_model: bool,
    ) -> Reconciliation {
        let prices = PriceTable::builtin();
        let terms = Terms {
            prices: &prices,
            today: date(2026, 11, 20),
            one_project: false,
            by_day,
            by_model,
        };
        reconcile(ledger, bill, &terms)
    }

    /// The causes of one model's line when both sides are changed.
    fn causes_of(change: impl Fn(&mut LedgerUsage, &mut Bill)) -> Vec<Cause> {
        let mut usage = ledger("gpt-5-mini-2025-08-07");
        let mut bill = Bill {
            usage: vec![billed("gpt-5-mini-2025-08-07")],
            items: items("gpt-5-mini-2025-08-07"),
        };
        change(&mut usage, &mut bill);
        let result = compare(&[usage], &bill);
        assert_eq!(result.lines.len(), 1, "{result:#?}");
        result.lines[0].causes.iter().copied().collect()
    }

    #[test]
    fn what_agrees_has_no_cause() {
        assert_eq!(causes_of(|_, _| {}), []);
        // Rounding is no difference.
        assert_eq!(
            causes_of(|usage, _| usage.cost = Some(usd("0.000650007"))),
            []
        );
    }

    #[test]
    fn requests_that_bill_nothing_are_no_difference() {
        assert_eq!(causes_of(|usage, _| usage.requests = 12), []);
    }

    #[test]
    fn each_difference_has_its_cause() {
        use Cause::*;
        let fewer = |usage: &mut LedgerUsage| {
            usage.requests = 8;
            usage.input_tokens = Some(800);
            usage.cost = Some(usd("0.0006"));
        };
        assert_eq!(
            causes_of(|usage, _| fewer(usage)),
            [NotThroughTollgate, OtherProjects]
        );
        assert_eq!(
            causes_of(|usage, bill| {
                fewer(usage);
                bill.usage[0].batch = true;
            }),
            [Batch]
        );
        assert_eq!(
            causes_of(|usage, _| {
                usage.cost = Some(usd("0.0005"));
                usage.unpriced = 2;
            }),
            [Unpriced]
        );
        assert_eq!(
            causes_of(|usage, _| {
                usage.input_tokens = Some(900);
                usage.cost = Some(usd("0.0005"));
                usage.missing_usage = 1;
            }),
            [MissingUsage]
        );
        assert_eq!(
            causes_of(|usage, _| {
                usage.output_tokens = Some(150);
                usage.partial = 1;
                usage.estimated = 1;
            }),
            [Partial, Estimated]
        );
        assert_eq!(
            causes_of(|usage, _| usage.cost = Some(usd("0.0013"))),
            [PriceDiffers]
        );
        assert_eq!(
            causes_of(|usage, bill| {
                usage.cost = Some(usd("0.01065"));
                bill.items.push(item("web search tool calls", "0.01"));
            }),
            [FeesApart]
        );
        assert_eq!(
            causes_of(|usage, _| {
                usage.requests = 12;
                usage.input_tokens = Some(1_200);
            }),
            [NotBilled]
        );
        assert_eq!(
            causes_of(|usage, _| usage.output_tokens = Some(150)),
            [Unexplained]
        );
        assert_eq!(
            causes_of(|usage, bill| {
                let yesterday = date(2026, 11, 19);
                usage.day = yesterday;
                bill.usage[0].day = yesterday;
                bill.usage[0].requests = 4;
                bill.usage[0].input_tokens = Some(400);
                for item in &mut bill.items {
                    item.day = yesterday;
                }
            }),
            [Delayed]
        );
    }

    #[test]
    fn requests_around_midnight_are_recognised() {
        let next = date(2026, 11, 11);
        let mut usage = [ledger("gpt-5-mini"), ledger("gpt-5-mini")];
        usage[1].day = next;
        let mut bill = Bill {
            usage: vec![billed("gpt-5-mini"), billed("gpt-5-mini")],
            items: Vec::new(),
        };
        bill.usage[1].day = next;
        bill.usage[0].requests -= 1;
        bill.usage[0].input_tokens = Some(900);
        bill.usage[1].requests += 1;
        bill.usage[1].input_tokens = Some(1_100);
        for line in compare(&usage, &bill).lines {
            assert!(line.causes.contains(&Cause::DayBorder), "{line:?}");
            assert!(
                !line.causes.contains(&Cause::NotThroughTollgate),
                "{line:?}"
            );
        }
    }

    #[test]
    fn names_are_put_together_as_prices_do() {
        let mut bill = Bill {
            usage: vec![billed("gpt-5-mini-2025-08-07")],
            items: vec![
                item("gpt-5-mini-2025-08-07, input", "0.00025"),
                item("priority | gpt-5-mini, output, long context", "0.0004"),
                // A model of its own that has an older model's name in front.
                item("gpt-4o-2024-05-13, input", "1"),
                item("house-model-7 image, output", "2"),
                item("web search tool calls", "0.02"),
                item("assistants api | file search", "0.03"),
            ],
        };
        bill.items.push(BilledItem {
            line_item: None,
            ..item("", "0.04")
        });
        let mut house = ledger("house-model-7");
        house.cost = Some(usd("2"));
        let result = compare(&[ledger("gpt-5-mini"), house], &bill);
        let line = |model: &str| {
            let found = result
                .lines
                .iter()
                .find(|line| line.model.as_deref() == Some(model));
            found.unwrap_or_else(|| panic!("{model}: {result:#?}"))
        };
        assert_eq!(line("gpt-5-mini").causes, BTreeSet::new());
        assert_eq!(line("gpt-4o-2024-05-13").bill.cost, Some(usd("1")));
        assert_eq!(line("house-model-7").bill.cost, Some(usd("2")));
        let unmapped: Vec<_> = result
            .unmapped
            .iter()
            .map(|item| (item.line_item.as_deref(), item.cost))
            .collect();
        assert_eq!(
            unmapped,
            [
                (None, usd("0.04")),
                (Some("assistants api | file search"), usd("0.03")),
                (Some("web search tool calls"), usd("0.02")),
            ]
        );
    }

    #[test]
    fn lines_are_by_what_was_asked_for() {
        let mut other_day = ledger("gpt-5-mini");
        other_day.day = date(2026, 11, 9);
        let usage = [ledger("gpt-5-mini"), ledger("o3"), other_day];
        let bill = Bill {
            usage: vec![billed("o3")],
            items: vec![item("fee", "1"), item("fee", "0.5")],
        };
        let by = |day, model| {
            let result = compare_by(&usage, &bill, day, model);
            assert_eq!(result.total.ledger.requests, Some(30));
            assert_eq!(result.total.bill.requests, Some(10));
            assert_eq!(result.unmapped.len(), 1);
            assert_eq!(result.unmapped[0].cost, usd("1.5"));
            result.lines.len()
        };
        assert_eq!(by(true, true), 3);
        assert_eq!(by(true, false), 2);
        assert_eq!(by(false, true), 2);
        assert_eq!(by(false, false), 1);
    }
}
