//! Usage over time, by calendar, and of those who used most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::usage::{name_of, named};
use super::{Moment, UsageSums};
use crate::ledger::query::{
    DayUsage, HourUsage, QueryError, Reader, Timeseries, TimeseriesQuery, TopOrder, TopQuery,
    TopRow, UsageQuery, WEEKDAYS,
};

/// Sums of one group in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimeseriesRowJson {
    /// When the step begins. That of the first step may be before the range: of what is before it
    /// nothing is counted.
    pub time: Moment,
    /// When it ends, exclusive: where the next begins. That of the last step may be after the range.
    pub until: Moment,
    /// What the group has in common, by grouping: `{"model": "gpt-5"}`. `null` where requests have
    /// none; `(other)` in the group of all that are not among the top ones.
    pub group: BTreeMap<String, Option<String>>,
    /// Its sums.
    #[serde(flatten)]
    pub sums: UsageSums,
}

/// Usage over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimeseriesJson {
    /// The start of the range, which is on a whole minute; `null` for that of an empty ledger.
    pub since: Option<Moment>,
    /// The end of the range, exclusive, on a whole minute.
    pub until: Option<Moment>,
    /// How long a step is: `1m`, `2h`, `7d`. Longer than asked for where there would be too many rows.
    pub step: String,
    /// So many groups at most have rows of their own: `top`, or fewer where the longest steps would have
    /// too many rows.
    pub top: usize,
    /// The time zone whose days steps begin with.
    pub timezone: String,
    /// The groupings, in the order asked for.
    pub by: Vec<String>,
    /// By time, then the groups that cost most in the range first. What had no requests in a step has
    /// no row of it.
    pub rows: Vec<TimeseriesRowJson>,
}

impl TimeseriesJson {
    /// The answer to `query`.
    #[must_use]
    pub fn new(query: &TimeseriesQuery, series: Timeseries) -> Self {
        let by: Vec<String> = query.usage.by.iter().map(ToString::to_string).collect();
        let rows = series.rows.into_iter().map(|mut row| TimeseriesRowJson {
            time: Moment(row.time),
            until: Moment(row.until),
            group: named(&by, std::mem::take(&mut row.usage.group)),
            sums: row.usage.into(),
        });
        Self {
            since: series.since.map(Moment),
            until: series.until.map(Moment),
            step: series.step.to_string(),
            top: series.top,
            timezone: name_of(&query.usage.timezone),
            rows: rows.collect(),
            by,
        }
    }
}

/// What a heatmap has a row of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeatmapOf {
    /// Each calendar day of the range.
    Days,
    /// Each hour of the week.
    Hours,
}

/// Sums of a calendar day, or of an hour of the week.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeatmapRowJson {
    /// The day, `2026-11-20`; `null` in hours of the week.
    pub day: Option<String>,
    /// The Monday of its week, `2026-11-16`; `null` in hours of the week.
    pub week: Option<String>,
    /// The day of the week, from `1 Mon` to `7 Sun`.
    pub weekday: String,
    /// The hour of the day, from `00` to `23`; `null` in days.
    pub hour: Option<String>,
    /// The sums.
    #[serde(flatten)]
    pub sums: UsageSums,
}

impl From<DayUsage> for HeatmapRowJson {
    fn from(day: DayUsage) -> Self {
        Self {
            day: Some(day.day.to_string()),
            week: Some(day.week.to_string()),
            weekday: weekday(day.weekday),
            hour: None,
            sums: day.usage.into(),
        }
    }
}

impl From<HourUsage> for HeatmapRowJson {
    fn from(hour: HourUsage) -> Self {
        Self {
            day: None,
            week: None,
            weekday: weekday(hour.weekday),
            hour: Some(format!("{:02}", hour.hour)),
            sums: hour.usage.into(),
        }
    }
}

fn weekday(number: usize) -> String {
    WEEKDAYS.get(number).copied().unwrap_or_default().to_owned()
}

/// Usage by calendar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeatmapJson {
    /// The start of the range, which is on a whole minute; `null` for the beginning of the ledger.
    pub since: Option<Moment>,
    /// The end of the range, exclusive, on a whole minute.
    pub until: Option<Moment>,
    /// The time zone of the days and hours.
    pub timezone: String,
    /// Every day of the range in order, or the 168 hours of the week from Monday on.
    pub rows: Vec<HeatmapRowJson>,
}

impl HeatmapJson {
    /// The answer to `query`.
    pub fn read(of: HeatmapOf, query: &UsageQuery, reader: &Reader) -> Result<Self, QueryError> {
        let rows = match of {
            HeatmapOf::Days => reader.days(query)?.into_iter().map(Into::into).collect(),
            HeatmapOf::Hours => reader
                .week_hours(query)?
                .into_iter()
                .map(Into::into)
                .collect(),
        };
        let (since, until) = query.range();
        Ok(Self {
            since: since.map(Moment),
            until: until.map(Moment),
            timezone: name_of(&query.timezone),
            rows,
        })
    }
}

/// One of those who used most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopRowJson {
    /// From 1 on.
    pub rank: usize,
    /// The value of the grouping; `null` where requests have none.
    pub name: Option<String>,
    /// Its part of the sum over all, 0 to 1; `null` where that sum is 0 or its own is not known.
    pub share: Option<f64>,
    /// Its rank in the range of the same length before; `null` where it had no requests then, or the
    /// ledger does not know of all of it.
    pub previous_rank: Option<usize>,
    /// Its sums.
    #[serde(flatten)]
    pub sums: UsageSums,
}

/// Those who used most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopJson {
    /// The start of the range, which is on a whole minute; `null` for the beginning of the ledger.
    pub since: Option<Moment>,
    /// The end of the range, exclusive, on a whole minute.
    pub until: Option<Moment>,
    /// The grouping.
    pub by: String,
    /// What decides the rank.
    pub order: TopOrder,
    /// By rank.
    pub rows: Vec<TopRowJson>,
}

impl TopJson {
    /// The answer to `query`.
    #[must_use]
    pub fn new(query: &TopQuery, rows: Vec<TopRow>) -> Self {
        let (since, until) = query.usage.range();
        let rows = rows.into_iter().map(|mut row| TopRowJson {
            rank: row.rank,
            name: row.usage.group.pop().flatten(),
            share: row.share,
            previous_rank: row.previous_rank,
            sums: row.usage.into(),
        });
        Self {
            since: since.map(Moment),
            until: until.map(Moment),
            by: query
                .usage
                .by
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
            order: query.order,
            rows: rows.collect(),
        }
    }
}
