//! Digests: what was used in a day, a week, or whatever a schedule says.

mod schedule;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};

use super::context::Context;
use crate::alert::{AlertId, Mode};
use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::config::DigestSettings;
use crate::ledger::query::{PeriodGroup, PeriodQuery, PeriodSums, PeriodUsage};
use crate::ledger::{QueryError, Reader};
use crate::notify::content::{DigestBudget, DigestContent, DigestFigures, DigestRow};
use crate::pricing::{CacheUse, ModelName, PriceTable};
use crate::record::{Outcome, TokenType, input_tokens, output_tokens};

pub use schedule::{BadSchedule, Period, Schedule};

/// Hours are told apart in periods of this many hours at most, days in longer ones.
const MOST_HOURS: i64 = 48;

/// Most parts of a period; days are put together beyond.
const MOST_PARTS: i64 = 62;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// What is told of a period; `None` of one that ended before the ledger's first minute. The series begins
/// with the parts of the time that it is compared with, as many as its own or fewer, where anything is
/// known of that. Reads one state of the ledger; blocks.
pub fn digest_content(
    context: &Context,
    settings: &DigestSettings,
    period: &Period,
    now: UnixMicros,
) -> Result<Option<DigestContent>, QueryError> {
    Reader::open(&context.data_dir)?
        .in_one_state(|reader| read(reader, context, settings, period, now))
}

fn read(
    reader: &Reader,
    context: &Context,
    settings: &DigestSettings,
    period: &Period,
    now: UnixMicros,
) -> Result<Option<DigestContent>, QueryError> {
    let Period {
        since,
        until,
        before,
    } = *period;
    // Nobody knows that nothing was used before.
    let Some(first) = reader.first_minute()?.filter(|first| *first < until) else {
        return Ok(None);
    };
    let parts = parts(since, until, &settings.timezone);
    let usage = reader.period(&PeriodQuery {
        since,
        until,
        parts: parts.clone(),
    })?;
    // Of a time that is known in part only, every change would be a mistake.
    let compared = if first <= before.minute() {
        let mut parts_before = self::parts(before, since, &settings.timezone);
        parts_before.truncate(parts.len());
        let usage = reader.period(&PeriodQuery {
            since: before,
            until: since,
            parts: parts_before.clone(),
        })?;
        Some((usage, parts_before))
    } else {
        None
    };
    let figures = |usage: &PeriodUsage, since, until| -> Result<DigestFigures, QueryError> {
        let durations = reader.durations(since, until)?;
        let mut figures = figures(context, &usage.groups, now);
        figures.latency_p50_us = durations.latency_us.quantile(500);
        figures.latency_p95_us = durations.latency_us.quantile(950);
        figures.ttft_p95_us = durations.ttft_us.quantile(950);
        Ok(figures)
    };
    let total = figures(&usage, since, until)?;
    let figures_before = compared.as_ref();
    let figures_before = figures_before
        .map(|(usage, _)| figures(usage, before, since))
        .transpose()?;
    let series_before = compared.iter();
    let series = series_before
        .map(|(usage, parts)| (usage, parts))
        .chain([(&usage, &parts)])
        .flat_map(|(usage, parts)| {
            let parts = parts.iter().zip(&usage.parts);
            parts.map(|(&begin, part)| (begin, part.cost_nanousd, part.tokens))
        });
    Ok(Some(DigestContent {
        name: Arc::clone(&settings.name),
        since,
        until,
        total,
        before: figures_before,
        top: top(
            &usage,
            compared.as_ref().map(|(usage, _)| usage),
            settings.top,
        ),
        errors: errors(&usage),
        budgets: budgets(context, settings.top, now),
        series: series.collect(),
        links: context.links.digest(since, until),
    }))
}

/// Where the parts of a period begin: hours, days, or several days, by the clocks of a zone.
fn parts(since: UnixMicros, until: UnixMicros, zone: &TimeZone) -> Vec<UnixMicros> {
    let length = until.0.saturating_sub(since.0);
    let begins: Box<dyn Iterator<Item = UnixMicros>> = if length <= MOST_HOURS * HOUR_US {
        Box::new((0..).map(move |hour| UnixMicros(since.0 + hour * HOUR_US)))
    } else {
        let days = length.div_euclid(DAY_US * MOST_PARTS) + 1;
        let first = since.timestamp().to_zoned(zone.clone());
        Box::new((0..).map_while(move |part: i64| {
            let begin: Zoned = first.checked_add((part * days).days()).ok()?;
            Some(begin.timestamp().into())
        }))
    };
    begins.take_while(|begin| *begin < until).collect()
}

fn figures(context: &Context, groups: &[PeriodGroup], now: UnixMicros) -> DigestFigures {
    let mut all = PeriodSums::default();
    for group in groups {
        all.merge(&group.sums);
    }
    DigestFigures {
        requests: all.requests,
        errors: all.errors,
        cost_nanousd: spent(&all),
        unpriced: all.unpriced,
        input_tokens: input_tokens(&all.tokens).unwrap_or(0),
        cached_tokens: all.tokens[TokenType::InputCached].unwrap_or(0),
        output_tokens: output_tokens(&all.tokens).unwrap_or(0),
        saved_nanousd: saved(&context.channels, &context.prices.table(), groups, now),
        ..DigestFigures::default()
    }
}

/// What caching saved, by the prices of now.
fn saved(
    channels: &Registry,
    prices: &PriceTable,
    groups: &[PeriodGroup],
    now: UnixMicros,
) -> Option<i64> {
    let uses = groups.iter().map(|group| {
        let channel = channels.channel(&group.channel);
        CacheUse {
            name: ModelName::at(channel.and_then(|channel| channel.provider), &group.model),
            api: group.api,
            tokens: group.sums.tokens,
            cache_write_1h: group.sums.cache_write_1h,
        }
    });
    prices.saved_by_caches(uses, now)
}

/// What is known to have been spent: nothing where nothing was asked, or nothing that may have a cost.
fn spent(sums: &PeriodSums) -> Option<i64> {
    let is_known = sums.requests == 0 || sums.unpriced == 0;
    sums.cost_nanousd.or(is_known.then_some(0))
}

/// By what name a group is told.
type NameOf = fn(&PeriodGroup) -> &str;

/// The most used models, channels and keys, and what they came to before.
fn top(
    usage: &PeriodUsage,
    before: Option<&PeriodUsage>,
    most: usize,
) -> Vec<(Arc<str>, Vec<DigestRow>)> {
    let dimensions: [(&str, NameOf); 3] = [
        ("model", |group| &group.model),
        ("channel", |group| &group.channel),
        ("key", |group| &group.key),
    ];
    let tops = dimensions.into_iter().filter_map(|(dimension, name)| {
        let sums = by_name(usage, name);
        let sums_before = before.map(|before| by_name(before, name));
        let mut rows: Vec<DigestRow> = sums
            .into_iter()
            // Where Tollgate turned all away, nothing was used.
            .filter(|(_, sums)| sums.requests > 0)
            .map(|(name, sums)| DigestRow {
                name: name.into(),
                requests: sums.requests,
                tokens: sums.total_tokens.unwrap_or(0),
                cost_nanousd: spent(&sums),
                before_nanousd: sums_before
                    .as_ref()
                    .and_then(|before| before.get(name).map_or(Some(0), spent)),
            })
            .collect();
        if rows.iter().all(|row| row.name.is_empty()) {
            return None;
        }
        rows.sort_by(|a, b| {
            let weight = |row: &DigestRow| Reverse((row.cost_nanousd, row.tokens, row.requests));
            weight(a).cmp(&weight(b)).then_with(|| a.name.cmp(&b.name))
        });
        rows.truncate(most);
        Some((dimension.into(), rows))
    });
    tops.collect()
}

fn by_name(usage: &PeriodUsage, name: NameOf) -> BTreeMap<&str, PeriodSums> {
    let mut names: BTreeMap<&str, PeriodSums> = BTreeMap::new();
    for group in &usage.groups {
        names.entry(name(group)).or_default().merge(&group.sums);
    }
    names
}

/// How requests failed, those included that Tollgate turned away: what it refused is told nowhere else.
fn errors(usage: &PeriodUsage) -> Vec<(Arc<str>, u64)> {
    let outcomes = Outcome::ALL.iter().zip(usage.outcomes);
    let mut errors: Vec<(Arc<str>, u64)> = outcomes
        .filter(|(outcome, count)| outcome.is_error() && *count > 0)
        .map(|(outcome, count)| (outcome.as_str().into(), count))
        .collect();
    errors.sort_by_key(|(_, count)| Reverse(*count));
    errors
}

/// The budgets that are used most. Those that are only tried out, and those that nobody can judge at
/// present, are none to tell of.
fn budgets(context: &Context, most: usize, now: UnixMicros) -> Vec<DigestBudget> {
    let rules = context.rules.view(now).into_iter();
    let rules = rules.filter(|view| view.rule.mode != Mode::Shadow && view.unhealthy.is_none());
    let mut budgets: Vec<(i128, DigestBudget)> = Vec::new();
    for view in rules {
        let Some(limit) = view.rule.budget_limit().filter(|&limit| limit > 0) else {
            continue;
        };
        for alert in view.alerts {
            let Some(used) = alert.value else { continue };
            let id = AlertId {
                rule: Arc::clone(&view.rule.name),
                labels: alert.labels,
            };
            let budget = DigestBudget {
                alert: id.to_string().into(),
                used,
                limit: view.rule.quantity(limit),
                forecast: alert.forecast,
                window_end: alert.window_end,
            };
            budgets.push((
                i128::from(used.value) * 1_000_000 / i128::from(limit),
                budget,
            ));
        }
    }
    budgets.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.alert.cmp(&other.alert)));
    let budgets = budgets.into_iter().map(|(_, budget)| budget);
    budgets.take(most).collect()
}

#[cfg(test)]
mod tests;
