//! A filter of requests as SQL.

use std::fmt::Write;

use rusqlite::types::Value;

use super::names::NameFilter;
use super::requests::RequestFilter;
use crate::ledger::rows::stored;
use crate::record::{Outcome, UsageSource, is_unpriced};

/// The model of a row, as the index of failures has it too.
pub(super) const MODEL: &str = "coalesce(served_model, requested_model)";

/// Conditions of a question and the values they speak of.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// Empty, or from WHERE on.
    pub(super) sql: String,
    /// In the order of their places.
    pub(super) values: Vec<Value>,
}

impl Conditions {
    pub(super) fn add(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(if self.sql.is_empty() {
            " WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    pub(super) fn add_names(&mut self, column: &str, names: &NameFilter) {
        if let Some((condition, values)) = names.condition(column) {
            self.add(&condition, values);
        }
    }

    /// What a row has to fit; its moment too.
    pub(super) fn matching(filter: &RequestFilter) -> Self {
        let mut conditions = Self::default();
        if let Some(since) = filter.since {
            conditions.add("started_at >= ?", [since.0.into()]);
        }
        if let Some(until) = filter.until {
            conditions.add("started_at < ?", [until.0.into()]);
        }
        conditions.add_features(filter);
        conditions
    }

    /// What a row has to fit, its moment aside.
    pub(super) fn add_features(&mut self, filter: &RequestFilter) {
        for (column, names) in [
            ("channel", &filter.channel),
            (MODEL, &filter.model),
            ("api", &filter.api),
            ("key", &filter.key),
            ("outcome", &filter.outcome),
            ("usage_source", &filter.usage_source),
            ("session", &filter.session),
        ] {
            self.add_names(column, names);
        }
        if let Some(status) = filter.status {
            self.add("status = ?", [i64::from(status).into()]);
        }
        if let Some(total_us) = filter.min_total_us {
            self.add("total_us >= ?", [stored(total_us).into()]);
        }
        if filter.failed_only {
            let fine = Outcome::ALL.iter().filter(|outcome| !outcome.is_error());
            self.add(&format!("outcome NOT IN ({})", quoted(fine)), []);
        }
        if filter.unpriced_only {
            let sources = UsageSource::ALL.iter();
            let priceable = sources.filter(|&&source| is_unpriced(source, false));
            let sources = quoted(priceable);
            self.add(
                &format!("cost_nanousd IS NULL AND usage_source IN ({sources})"),
                [],
            );
        }
    }
}

/// Names of a vocabulary as SQL.
fn quoted(names: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let mut list = String::new();
    for name in names {
        let separator = if list.is_empty() { "" } else { ", " };
        let _infallible = write!(list, "{separator}'{name}'");
    }
    list
}
