//! Which groups come first. Of a group's sums only those are read by which groups are ranked: of the
//! dozens that there are, reading is what takes time.

use std::cmp::Reverse;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::Connection;

use super::UsageError;
use super::reading::{Amounts, Entry, Range};
use super::summary::{GroupKey, grouped};
use super::top::TopOrder;
use super::usage::UsageQuery;
use crate::ledger::sums::{Stated, Sums, add, add_known};
use crate::record::Outcome;

/// What groups are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weights {
    requests: i64,
    errors: i64,
    total_tokens: Option<i64>,
    cost: Option<i64>,
}

impl Amounts for Weights {
    fn columns() -> String {
        "requests, errors, total_tokens, cost_nanousd".to_owned()
    }

    fn read(mut next: impl FnMut() -> rusqlite::Result<Option<i64>>) -> rusqlite::Result<Self> {
        Ok(Self {
            requests: next()?.unwrap_or(0),
            errors: next()?.unwrap_or(0),
            total_tokens: next()?,
            cost: next()?,
        })
    }

    fn of_request(sums: Sums) -> Self {
        Self::of(&sums)
    }
}

impl Weights {
    pub(super) fn of(sums: &Sums) -> Self {
        Self {
            requests: sums.requests(|_| true),
            errors: sums.requests(Outcome::is_error),
            total_tokens: sums.stated(Stated::TotalTokens),
            cost: sums.stated(Stated::Cost),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        add(&mut self.requests, other.requests);
        add(&mut self.errors, other.errors);
        add_known(&mut self.total_tokens, other.total_tokens);
        add_known(&mut self.cost, other.cost);
    }

    /// What is compared; what is not known comes last.
    pub(super) const fn by(&self, order: TopOrder) -> Option<i64> {
        match order {
            TopOrder::Cost => self.cost,
            TopOrder::Tokens => self.total_tokens,
            TopOrder::Requests => Some(self.requests),
            TopOrder::Errors => Some(self.errors),
        }
    }
}

/// Reads what the groups of a range are ranked by, each with its key.
pub(super) fn weights(
    connection: &Connection,
    query: &UsageQuery,
    range: Range,
) -> Result<HashMap<String, Weights, RandomState>, UsageError> {
    grouped(
        connection,
        query,
        range,
        |sum: &mut Weights, entry: &Entry<'_, Weights>| sum.merge(&entry.sums),
    )
}

/// The keys of groups, the first of that order first. Of equals, the one with more tokens comes first
/// where they are ranked by cost, then the one with more requests, then the names decide.
pub(super) fn ranked<'g>(
    groups: impl IntoIterator<Item = (&'g str, Weights)>,
    order: TopOrder,
) -> Vec<&'g str> {
    let mut rows: Vec<_> = groups
        .into_iter()
        .map(|(key, weights)| {
            let tokens = match order {
                TopOrder::Cost => weights.total_tokens,
                TopOrder::Tokens | TopOrder::Requests | TopOrder::Errors => None,
            };
            let weight = Reverse((weights.by(order), tokens, weights.requests));
            (weight, GroupKey::values(key), key)
        })
        .collect();
    rows.sort_unstable();
    rows.into_iter().map(|(_, _, key)| key).collect()
}
