//! Who used most: groups ranked, with their share and their rank before.

use std::collections::HashMap;

use rusqlite::Connection;

use super::UsageError;
use super::ranking::{Weights, ranked, weights};
use super::reading::is_known_from_its_start;
use super::summary::{GroupKey, groups};
use super::usage::{UsageQuery, UsageRow};
use crate::record::closed_set;

closed_set! {
    /// What groups are ranked by.
    TopOrder ("order") {
        /// What they cost.
        Cost => "cost",
        /// All their tokens.
        Tokens => "tokens",
        /// How many requests.
        Requests => "requests",
        /// How many of them failed.
        Errors => "errors",
    }
}

/// A question about who used most.
#[derive(Clone, Debug)]
pub struct TopQuery {
    /// Whose usage, when, and what it is grouped by; `compare` asks for the ranks before.
    pub usage: UsageQuery,
    /// What decides.
    pub order: TopOrder,
    /// So many groups.
    pub limit: usize,
}

/// One of those who used most.
#[derive(Clone, Debug, PartialEq)]
pub struct TopRow {
    /// From 1 on.
    pub rank: usize,
    /// What part it has of all, 0 to 1; `None` where nothing is known of that.
    pub share: Option<f64>,
    /// Its rank in the range of the same length before; `None` where it had no requests then, or the
    /// ledger does not know of all of it.
    pub previous_rank: Option<usize>,
    /// Its sums.
    pub usage: UsageRow,
}

/// Reads who used most; see [`super::Reader::top`].
pub(super) fn top(connection: &Connection, query: &TopQuery) -> Result<Vec<TopRow>, UsageError> {
    let range = query.usage.spanned();
    let now = groups(connection, &query.usage, range)?;
    let before = match range.before().filter(|_| query.usage.compare) {
        Some(before) if is_known_from_its_start(connection, before)? => {
            weights(connection, &query.usage, before)?
        }
        _ => HashMap::default(),
    };
    let before = before.iter().map(|(key, &weights)| (key.as_str(), weights));
    let before: HashMap<_, _> = ranked(before, query.order).into_iter().zip(1..).collect();
    let whole = Weights::of(&now.total().sums).by(query.order);
    let whole = whole.filter(|&whole| whole > 0);
    let groups = now.totals.iter();
    let groups = groups.map(|(key, total)| (key.as_str(), Weights::of(&total.sums)));
    let first = ranked(groups, query.order).into_iter().take(query.limit);
    let rows = first.zip(1..).filter_map(|(key, rank)| {
        let total = now.totals.get(key)?;
        Some(TopRow {
            rank,
            share: share(Weights::of(&total.sums).by(query.order), whole),
            previous_rank: before.get(key).copied(),
            usage: total.row(GroupKey::values(key), &now.offers),
        })
    });
    Ok(rows.collect())
}

/// In millionths, which is finer than anybody reads.
fn share(part: Option<i64>, whole: Option<i64>) -> Option<f64> {
    let millionths = i128::from(part?)
        .saturating_mul(1_000_000)
        .checked_div(whole?.into())?;
    Some(f64::from(i32::try_from(millionths).ok()?) / 1e6)
}
