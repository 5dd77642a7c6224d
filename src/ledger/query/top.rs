//! Who used most: groups ranked, with their share and their rank before.

use std::cmp::Reverse;
use std::collections::HashMap;

use rusqlite::Connection;

use super::UsageError;
use super::summary::{Groups, groups};
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
    /// Its rank in the range of the same length before; `None` where it had no requests then, or there
    /// is no such range.
    pub previous_rank: Option<usize>,
    /// Its sums.
    pub usage: UsageRow,
}

/// Reads who used most; see [`super::Reader::top`].
pub(super) fn top(connection: &Connection, query: &TopQuery) -> Result<Vec<TopRow>, UsageError> {
    let range = query.usage.spanned();
    let now = groups(connection, &query.usage, range)?;
    let before = match range.before().filter(|_| query.usage.compare) {
        Some(before) => {
            let unpriced = UsageQuery {
                prices: None,
                ..query.usage.clone()
            };
            let groups = groups(connection, &unpriced, before)?;
            let ranked = ranked(&groups, &unpriced, query.order);
            let keys = ranked.into_iter().map(|(key, _)| key.to_owned());
            keys.zip(1..).collect()
        }
        None => HashMap::new(),
    };
    let all = now.total.row(Vec::new(), &now.offers, &query.usage);
    let whole = weight(&all, query.order).filter(|&whole| whole > 0);
    let rows = ranked(&now, &query.usage, query.order);
    let rows = rows.into_iter().take(query.limit).zip(1..);
    let rows = rows.map(|((key, usage), rank)| TopRow {
        rank,
        share: share(weight(&usage, query.order), whole),
        previous_rank: before.get(key).copied(),
        usage,
    });
    Ok(rows.collect())
}

fn ranked<'g>(groups: &'g Groups, query: &UsageQuery, order: TopOrder) -> Vec<(&'g str, UsageRow)> {
    let mut rows = groups.rows(query);
    rows.sort_by(|(_, a), (_, b)| {
        let weight = |row: &UsageRow| Reverse((weight(row, order), row.requests));
        weight(a)
            .cmp(&weight(b))
            .then_with(|| a.group.cmp(&b.group))
    });
    rows
}

/// What is compared; what is not known comes last.
fn weight(row: &UsageRow, order: TopOrder) -> Option<i128> {
    match order {
        TopOrder::Cost => row.cost.map(|cost| i128::from(cost.0)),
        TopOrder::Tokens => row.total_tokens.map(i128::from),
        TopOrder::Requests => Some(row.requests.into()),
        TopOrder::Errors => Some(row.errors.into()),
    }
}

/// In millionths, which is finer than anybody reads.
fn share(part: Option<i128>, whole: Option<i128>) -> Option<f64> {
    let millionths = part?.saturating_mul(1_000_000).checked_div(whole?)?;
    Some(f64::from(i32::try_from(millionths).ok()?) / 1e6)
}
