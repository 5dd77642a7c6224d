//! The course of values over time, in columns, as charts have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alert::Labels;
use crate::clock::UnixMicros;
use crate::rules::definition::{Rule, Side};

/// Columns of a course.
pub const COLUMNS: usize = 60;

/// The values of an alert over a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// The alert's labels.
    pub labels: Labels,
    /// The value furthest on the wrong side.
    pub peak: i64,
    /// The same within each [`COLUMNS`]th of the time; `None` where there was no value.
    pub columns: Vec<Option<i64>>,
}

/// The courses of all alerts.
#[derive(Debug)]
pub(super) struct Courses {
    since: UnixMicros,
    until: UnixMicros,
    by_rule: BTreeMap<Arc<str>, BTreeMap<Labels, Course>>,
}

impl Courses {
    pub(super) fn new(since: UnixMicros, until: UnixMicros) -> Self {
        Self {
            since,
            until,
            by_rule: BTreeMap::new(),
        }
    }

    /// Notes a value.
    pub(super) fn note(&mut self, rule: &Rule, labels: &Labels, at: UnixMicros, value: i64) {
        let column = self.column(at);
        let of_rule = match self.by_rule.get_mut(&rule.name) {
            Some(known) => known,
            None => self.by_rule.entry(Arc::clone(&rule.name)).or_default(),
        };
        let course = match of_rule.get_mut(labels) {
            Some(known) => known,
            None => of_rule.entry(labels.clone()).or_insert_with(|| Course {
                labels: labels.clone(),
                peak: value,
                columns: vec![None; COLUMNS],
            }),
        };
        if is_further(rule.side, value, course.peak) {
            course.peak = value;
        }
        if let Some(slot) = course.columns.get_mut(column)
            && slot.is_none_or(|known| is_further(rule.side, value, known))
        {
            *slot = Some(value);
        }
    }

    /// How many alerts of a rule had a value, and the one that came nearest to its limits.
    pub(super) fn of(&mut self, rule: &Rule) -> (usize, Option<Course>) {
        let courses = self.by_rule.remove(&rule.name).unwrap_or_default();
        let count = courses.len();
        let nearest = courses.into_values().reduce(|nearest, other| {
            if is_further(rule.side, other.peak, nearest.peak) {
                other
            } else {
                nearest
            }
        });
        (count, nearest)
    }

    fn column(&self, at: UnixMicros) -> usize {
        let length = self.until.since(self.since).as_micros().max(1);
        let passed = at.since(self.since).as_micros();
        let column = passed * COLUMNS as u128 / length;
        usize::try_from(column).unwrap_or(COLUMNS).min(COLUMNS - 1)
    }
}

/// Whether `value` is further on the wrong side than `other`.
pub(super) const fn is_further(side: Side, value: i64, other: i64) -> bool {
    match side {
        Side::Above => value > other,
        Side::Below => value < other,
    }
}
