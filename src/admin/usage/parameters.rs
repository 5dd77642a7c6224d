//! What may be asked about usage.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::api::at_most;
use crate::admin::error::ApiError;
use crate::admin::json::HeatmapOf;
use crate::admin::moment::parse_span;
use crate::admin::parameters::{invalid, names, parsed, range, words};
use crate::clock::UnixMicros;
use crate::ledger::query::{
    ErrorQuery, GroupBy, Step, TimeseriesQuery, TopOrder, TopQuery, UsageFilter, UsageQuery,
};
use crate::record::{Api, Outcome};

/// Most days of a calendar.
const MOST_DAYS: Duration = Duration::from_secs(3_700 * 24 * 3_600);

/// Groups of a series, and rows of a top, where none are named.
const USUAL_TOP: u32 = 10;

/// Kinds of failures where no `limit` is given.
const USUAL_ERRORS: u32 = 100;

/// Which usage.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct UsageParameters {
    /// From this time on: RFC 3339, a date, or how long ago (`90m`, `7d`). Rounded down to the
    /// minute. Not given: from the beginning.
    #[param(example = "7d")]
    since: Option<String>,
    /// Up to but without this time; rounded up to the minute.
    until: Option<String>,
    /// Sent to one of these channels: names or patterns (`*`, `?`), separated by commas.
    channel: Option<String>,
    /// Answered by one of these models, likewise; where the provider named none, asked for it.
    #[param(example = "gpt-5*,o4-mini")]
    model: Option<String>,
    /// Calling one of these APIs, likewise.
    api: Option<String>,
    /// Of client keys of these names, likewise.
    key: Option<String>,
    /// One row for each combination of these, separated by commas: `model`, `channel`, `key`,
    /// `api`, `tier` (the range is rounded to whole hours of UTC then), `day`, `tag:NAME`.
    #[param(example = "day,model")]
    by: Option<String>,
    /// Whose calendar days are meant, an IANA name; the settings' `timezone` when not given.
    #[param(example = "Europe/Berlin")]
    timezone: Option<String>,
    /// `previous`: with the range of the same length before. Needs `since`; not with `by=day`.
    #[param(pattern = "^previous$")]
    compare: Option<String>,
}

/// Which usage over time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct TimeseriesParameters {
    /// From this time on: RFC 3339, a date, or how long ago (`90m`, `7d`). Rounded down to the
    /// minute. Not given: from the beginning.
    #[param(example = "7d")]
    since: Option<String>,
    /// Up to but without this time; rounded up to the minute. Not given: until now.
    until: Option<String>,
    /// How long a step is: `1m`, `2m`, `5m`, `10m`, `15m`, `30m`, `1h`, `2h`, `3h`, `6h`, `12h`, `1d`
    /// or `7d`; other lengths are rounded up to one of these, and short ones to what gives at most 2,000
    /// steps, and 25,000 rows where there are many groups. Not given: about 100 steps.
    #[param(example = "1h")]
    step: Option<String>,
    /// One series for each combination of these, separated by commas: `model`, `channel`, `key`, `api`,
    /// `tier` (steps are at least an hour then), `tag:NAME`.
    #[param(example = "model")]
    by: Option<String>,
    /// So many groups, those that cost most in the range, 1 to 1,000; 10 when not given. All others are
    /// one group whose values are `(other)`. Fewer where even steps of `7d` would give more than 25,000
    /// rows.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    top: Option<String>,
    /// Whose days steps of more than an hour begin with, an IANA name; the settings' `timezone` when not
    /// given.
    #[param(example = "Europe/Berlin")]
    timezone: Option<String>,
    /// Sent to one of these channels: names or patterns (`*`, `?`), separated by commas.
    channel: Option<String>,
    /// Answered by one of these models, likewise; where the provider named none, asked for it.
    model: Option<String>,
    /// Calling one of these APIs, likewise.
    api: Option<String>,
    /// Of client keys of these names, likewise.
    key: Option<String>,
}

/// Which usage by calendar.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct HeatmapParameters {
    /// `days` (the default): each calendar day of the range. `hours`: each of the 168 hours of a week;
    /// in a time zone whose offset is no whole number of hours this takes longer.
    #[param(pattern = "^(days|hours)$")]
    of: Option<String>,
    /// From this time on: RFC 3339, a date, or how long ago (`90m`, `7d`). Rounded down to the
    /// minute. Not given: from the beginning.
    #[param(example = "90d")]
    since: Option<String>,
    /// Up to but without this time; rounded up to the minute. Not given: until now.
    until: Option<String>,
    /// Whose days and hours are meant, an IANA name; the settings' `timezone` when not given.
    #[param(example = "Europe/Berlin")]
    timezone: Option<String>,
    /// Sent to one of these channels: names or patterns (`*`, `?`), separated by commas.
    channel: Option<String>,
    /// Answered by one of these models, likewise; where the provider named none, asked for it.
    model: Option<String>,
    /// Calling one of these APIs, likewise.
    api: Option<String>,
    /// Of client keys of these names, likewise.
    key: Option<String>,
}

/// Who used most of what.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct TopParameters {
    /// One row for each of these: `model` (the default), `channel`, `key`, `api`, `tier` (the range is
    /// rounded to whole hours of UTC then) or `tag:NAME`.
    #[param(example = "key")]
    by: Option<String>,
    /// What decides: `cost` (the default), `tokens`, `requests` or `errors`.
    #[param(value_type = Option<TopOrder>, inline)]
    order: Option<String>,
    /// At most so many rows, 1 to 1,000; 10 when not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// From this time on: RFC 3339, a date, or how long ago (`90m`, `7d`). Rounded down to the
    /// minute. Not given: from the beginning, and there are no previous ranks.
    #[param(example = "7d")]
    since: Option<String>,
    /// Up to but without this time; rounded up to the minute. Not given: until now.
    until: Option<String>,
    /// Sent to one of these channels: names or patterns (`*`, `?`), separated by commas.
    channel: Option<String>,
    /// Answered by one of these models, likewise; where the provider named none, asked for it.
    model: Option<String>,
    /// Calling one of these APIs, likewise.
    api: Option<String>,
    /// Of client keys of these names, likewise.
    key: Option<String>,
}

/// Which failures.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct ErrorsParameters {
    /// Of requests that started at this time or later: RFC 3339, a date, or how long ago (`90m`, `7d`).
    #[param(example = "24h")]
    since: Option<String>,
    /// Of requests that started before this time.
    until: Option<String>,
    /// Sent to one of these channels: names or patterns (`*`, `?`), separated by commas.
    channel: Option<String>,
    /// Answered by one of these models, likewise; where the provider named none, asked for it.
    model: Option<String>,
    /// Calling one of these APIs, likewise.
    api: Option<String>,
    /// Of client keys of these names, likewise.
    key: Option<String>,
    /// That ended in one of these ways, likewise.
    outcome: Option<String>,
    /// At most so many kinds, 1 to 1,000; 100 when not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// The range that all of these have.
macro_rules! range {
    ($given:expr, $now:expr, $timezone:expr) => {
        range(
            $given.since.as_deref(),
            $given.until.as_deref(),
            $now,
            $timezone,
        )
    };
}

/// The end of a range that has one: now when none is given, or its beginning where that is to come.
fn until_now(
    (since, until): (Option<UnixMicros>, Option<UnixMicros>),
    now: UnixMicros,
) -> UnixMicros {
    until.unwrap_or_else(|| since.map_or(now, |since| since.max(now)))
}

/// The end of a range that is compared with the one before. What is to come of it has no counterpart there: today
/// so far against a whole day would be a fall every morning.
fn so_far(range: (Option<UnixMicros>, Option<UnixMicros>), now: UnixMicros) -> UnixMicros {
    let until = until_now(range, now);
    until.min(range.0.map_or(now, |since| since.max(now)))
}

/// The filters that all of these have.
macro_rules! filter {
    ($given:expr) => {
        filter(
            $given.channel.as_deref(),
            $given.model.as_deref(),
            $given.api.as_deref(),
            $given.key.as_deref(),
        )
    };
}

fn filter(
    channel: Option<&str>,
    model: Option<&str>,
    api: Option<&str>,
    key: Option<&str>,
) -> Result<UsageFilter, ApiError> {
    Ok(UsageFilter {
        channel: names("channel", channel)?,
        model: names("model", model)?,
        api: words("api", api, Api::ALL.iter().map(|api| api.as_str()))?,
        key: names("key", key)?,
    })
}

impl UsageParameters {
    pub(super) fn query(
        &self,
        now: UnixMicros,
        timezone: &TimeZone,
    ) -> Result<UsageQuery, ApiError> {
        let timezone = zone(self.timezone.as_deref(), timezone)?;
        let by = groupings(self.by.as_deref())?;
        let range = range!(self, now, &timezone)?;
        let (since, until) = range;
        let compare = match self.compare.as_deref() {
            None => false,
            Some("previous") if since.is_none() => {
                let message = "`compare=previous` needs `since`: a range without a beginning has \
                               none before it";
                return Err(invalid("compare", message));
            }
            Some("previous") if by.contains(&GroupBy::Day) => {
                let message = "`compare=previous` and `by=day` do not go together: the range \
                               before has other days; ask for each range by itself";
                return Err(invalid("compare", message));
            }
            Some("previous") => true,
            Some(other) => {
                let message = format!("`{other}` is nothing to compare with; one of: previous");
                return Err(invalid("compare", message));
            }
        };
        Ok(UsageQuery {
            since,
            until: if compare {
                Some(so_far(range, now))
            } else {
                until
            },
            filter: filter!(self)?,
            by,
            timezone,
            prices: None,
            compare,
        })
    }
}

impl TimeseriesParameters {
    pub(super) fn query(
        &self,
        now: UnixMicros,
        timezone: &TimeZone,
    ) -> Result<TimeseriesQuery, ApiError> {
        let timezone = zone(self.timezone.as_deref(), timezone)?;
        let by = groupings(self.by.as_deref())?;
        if by.contains(&GroupBy::Day) {
            let message = "by: `day` is no series; write `step=1d`";
            return Err(invalid("by", message));
        }
        let step = self.step.as_deref().map(|step| {
            parse_span(step)
                .map(Step::at_least)
                .map_err(|error| invalid("step", format!("step: {error}")))
        });
        let range = range!(self, now, &timezone)?;
        Ok(TimeseriesQuery {
            usage: UsageQuery {
                since: range.0,
                until: Some(until_now(range, now)),
                filter: filter!(self)?,
                by,
                timezone,
                ..UsageQuery::default()
            },
            step: step.transpose()?,
            top: limit("top", self.top.as_deref(), USUAL_TOP)?,
        })
    }
}

impl HeatmapParameters {
    pub(super) fn query(
        &self,
        now: UnixMicros,
        timezone: &TimeZone,
    ) -> Result<(HeatmapOf, UsageQuery), ApiError> {
        let timezone = zone(self.timezone.as_deref(), timezone)?;
        let range = range!(self, now, &timezone)?;
        let (since, until) = (range.0, until_now(range, now));
        if since.is_some_and(|since| until.since(since) > MOST_DAYS) {
            let message = "a calendar has at most 3,700 days; give a later `since`";
            return Err(invalid("since", message));
        }
        let of = match self.of.as_deref() {
            None | Some("days") => HeatmapOf::Days,
            Some("hours") => HeatmapOf::Hours,
            Some(other) => {
                let message = format!("`{other}` is nothing to show; one of: days, hours");
                return Err(invalid("of", message));
            }
        };
        let query = UsageQuery {
            since,
            until: Some(until),
            filter: filter!(self)?,
            timezone,
            ..UsageQuery::default()
        };
        Ok((of, query))
    }
}

impl TopParameters {
    pub(super) fn query(&self, now: UnixMicros, timezone: &TimeZone) -> Result<TopQuery, ApiError> {
        let by = match self.by.as_deref() {
            None => vec![GroupBy::Model],
            given => groupings(given)?,
        };
        if by.len() != 1 || by.contains(&GroupBy::Day) {
            let message = "by: a top is of one of: model, channel, key, api, tier, tag:NAME";
            return Err(invalid("by", message));
        }
        let range = range!(self, now, timezone)?;
        Ok(TopQuery {
            usage: UsageQuery {
                since: range.0,
                until: Some(so_far(range, now)),
                filter: filter!(self)?,
                by,
                compare: true,
                ..UsageQuery::default()
            },
            order: parsed("order", self.order.as_deref())?.unwrap_or(TopOrder::Cost),
            limit: limit("limit", self.limit.as_deref(), USUAL_TOP)?,
        })
    }
}

impl ErrorsParameters {
    pub(super) fn query(
        &self,
        now: UnixMicros,
        timezone: &TimeZone,
    ) -> Result<ErrorQuery, ApiError> {
        let outcomes = Outcome::ALL.iter().map(|outcome| outcome.as_str());
        let (since, until) = range!(self, now, timezone)?;
        Ok(ErrorQuery {
            since,
            until,
            filter: filter!(self)?,
            outcome: words("outcome", self.outcome.as_deref(), outcomes)?,
            limit: limit("limit", self.limit.as_deref(), USUAL_ERRORS)?,
        })
    }
}

fn limit(name: &str, given: Option<&str>, usual: u32) -> Result<usize, ApiError> {
    let limit = at_most(name, given, usual)?;
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn zone(given: Option<&str>, usual: &TimeZone) -> Result<TimeZone, ApiError> {
    match given {
        None => Ok(usual.clone()),
        Some(name) => TimeZone::get(name).map_err(|_| {
            let message =
                format!("`{name}` is no time zone; write an IANA name as `Europe/Berlin`");
            invalid("timezone", message)
        }),
    }
}

fn groupings(given: Option<&str>) -> Result<Vec<GroupBy>, ApiError> {
    let mut by: Vec<GroupBy> = Vec::new();
    for name in given.iter().flat_map(|names| names.split(',')) {
        let group = name
            .trim()
            .parse()
            .map_err(|error| invalid("by", format!("by: {error}")))?;
        if by.contains(&group) {
            return Err(invalid("by", format!("by: `{group}` is named twice")));
        }
        by.push(group);
    }
    Ok(by)
}
