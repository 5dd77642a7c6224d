//! What may be asked about usage.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::api::at_most;
use crate::admin::error::ApiError;
use crate::admin::json::HeatmapOf;
use crate::admin::moment::parse_span;
use crate::admin::parameters::{groupings, invalid, parsed, range, until_now, usage_filter, words};
use crate::clock::UnixMicros;
use crate::ledger::query::{
    ErrorQuery, GroupBy, Step, TimeseriesQuery, TopOrder, TopQuery, UsageQuery,
};
use crate::record::Outcome;

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

/// The end of a range that is compared with the one before. What is to come of it has no counterpart there: today
/// so far against a whole day would be a fall every morning.
fn so_far(range: (Option<UnixMicros>, Option<UnixMicros>), now: UnixMicros) -> UnixMicros {
    let latest = until_now((range.0, None), now);
    range.1.map_or(latest, |until| until.min(latest))
}

impl UsageParameters {
    pub(super) fn query(
        &self,
        now: UnixMicros,
        timezone: &TimeZone,
    ) -> Result<UsageQuery, ApiError> {
        let timezone = zone(self.timezone.as_deref(), timezone)?;
        let by = groupings(self.by.as_deref())?;
        let range = range([&self.since, &self.until], now, &timezone)?;
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
            filter: usage_filter([&self.channel, &self.model, &self.api, &self.key])?,
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
        let range = range([&self.since, &self.until], now, &timezone)?;
        Ok(TimeseriesQuery {
            usage: UsageQuery {
                since: range.0,
                until: Some(until_now(range, now)),
                filter: usage_filter([&self.channel, &self.model, &self.api, &self.key])?,
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
        let range = range([&self.since, &self.until], now, &timezone)?;
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
            filter: usage_filter([&self.channel, &self.model, &self.api, &self.key])?,
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
        let range = range([&self.since, &self.until], now, timezone)?;
        Ok(TopQuery {
            usage: UsageQuery {
                since: range.0,
                until: Some(so_far(range, now)),
                filter: usage_filter([&self.channel, &self.model, &self.api, &self.key])?,
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
        let (since, until) = range([&self.since, &self.until], now, timezone)?;
        Ok(ErrorQuery {
            since,
            until,
            filter: usage_filter([&self.channel, &self.model, &self.api, &self.key])?,
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
