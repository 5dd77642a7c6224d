//! What Tollgate ships beside a catalogue's row of the same model: a catalogue has no dates, and not
//! every catalogue has tiers and fees.

use super::rate::{Item, Rates};
use super::row::PriceRow;
use super::table::Layer;
use crate::clock::UnixMicros;
use crate::record::Unit;

/// The moment whose prices a catalogue states, by whose word.
#[derive(Clone, Copy, Debug)]
pub(super) enum AsOf {
    /// A server's, or that of the clock when it was fetched.
    Stated(UnixMicros),
    /// The time of a file, which may be anything: archives unpack with dates such as 1980.
    FileTime(UnixMicros),
}

impl AsOf {
    pub(super) const fn moment(self) -> UnixMicros {
        let (Self::Stated(at) | Self::FileTime(at)) = self;
        at
    }
}

/// What a catalogue's row says, in the periods that `shipped` knows of its model. Rates that are those
/// of a period are said of it, whenever the catalogue was written or fetched. Other rates hold in the
/// period of the catalogue's moment; by a file's time alone only from the model's newest known change
/// on. Where that leaves nothing, the shipped prices hold.
/// What data residency adds is the model's, whatever its rates are.
pub(super) fn dated(mut row: PriceRow, as_of: AsOf, shipped: &Layer) -> Vec<PriceRow> {
    let periods = shipped.periods(&row.provider, &row.model);
    row.residency = periods.iter().find_map(|period| period.residency);
    let said: Vec<PriceRow> = periods
        .iter()
        .filter(|period| period.standard.agree(&row.standard))
        .map(|period| completed(&row, period))
        .collect();
    if periods.is_empty() || !said.is_empty() {
        return if said.is_empty() { vec![row] } else { said };
    }
    let newest = periods
        .iter()
        .filter_map(|period| period.effective_from)
        .max();
    let is_too_old = match as_of {
        AsOf::Stated(_) => false,
        AsOf::FileTime(at) => newest.is_some_and(|newest| at < newest),
    };
    let mut holding = periods
        .iter()
        .filter(|period| !is_too_old && period.is_effective(as_of.moment()));
    let period = holding.next();
    Vec::from_iter(period.map(|period| PriceRow {
        effective_from: period.effective_from,
        effective_to: period.effective_to,
        ..row
    }))
}

/// `row` in the period of `shipped`, whose rates it has, with what it does not state itself: rates,
/// tiers, thresholds, fees.
fn completed(row: &PriceRow, shipped: &PriceRow) -> PriceRow {
    let mut whole = PriceRow {
        effective_from: shipped.effective_from,
        effective_to: shipped.effective_to,
        images_as_text: row.images_as_text || shipped.images_as_text,
        standard: filled(row.standard, &shipped.standard),
        ..row.clone()
    };
    whole.cache_not_of.audio |= shipped.cache_not_of.audio;
    whole.cache_not_of.image |= shipped.cache_not_of.image;
    for (tier, price) in &shipped.tiers {
        if !row.tiers.iter().any(|(stated, _)| stated == tier) {
            whole.tiers.push((*tier, *price));
        }
    }
    if row.thresholds.is_empty() {
        whole.thresholds.clone_from(&shipped.thresholds);
    }
    for (unit, fee) in shipped.fees.iter() {
        if row.fees.stated(unit).is_none() {
            whole.fees = whole.fees.with(unit, fee);
        }
    }
    let is_more = whole.standard != row.standard
        || whole.tiers != row.tiers
        || whole.thresholds != row.thresholds
        || whole.fees != row.fees;
    if is_more {
        let source = format!("{}; what it does not state: {}", row.source, shipped.source);
        whole.source = source.into();
    }
    whole
}

fn filled(stated: Rates, more: &Rates) -> Rates {
    let missing = |(item, _): &(Item, _)| stated.iter().all(|(other, _)| other != *item);
    more.iter()
        .filter(missing)
        .fold(stated, |rates, (item, rate)| match item {
            Item::Tokens(kind) => rates.with(kind, rate),
            Item::Unit(Unit::CacheWrite1h) => rates.with_cache_write_1h(rate),
            Item::Unit(_) => rates,
        })
}
