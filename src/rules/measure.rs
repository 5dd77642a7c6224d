//! What a request adds to a rule's window, and what becomes of a window's sums.

use std::time::Duration;

use super::definition::{Metric, Rule, Stat};
use crate::clock::UnixMicros;
use crate::meter::window::{Entry, Keeps, Span, Totals, Window};
use crate::record::{MinuteSample, Sample, Sketch};

/// What the windows of a rule have to keep.
pub(super) fn keeps(rule: &Rule) -> Keeps {
    Keeps {
        sketch: rule.stat.permille().is_some(),
        max: rule.stat == Stat::Max,
        rate: rule.is_budget() || matches!(rule.stat, Stat::Forecast | Stat::TimeLeft),
    }
}

/// What a request adds; `None` where it has nothing that the rule looks at.
pub(super) fn entry(rule: &Rule, sample: &Sample<'_>) -> Option<Entry> {
    let amount = |known: Option<u64>| known.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let counted = match rule.metric {
        Metric::Requests | Metric::Errors | Metric::ErrorRatio if sample.settles => return None,
        // What has no cost at all (or no tokens) is a request all the same.
        Metric::Cost => sample.cost_nanousd.unwrap_or(0),
        Metric::Tokens => amount(sample.tokens).unwrap_or(0),
        Metric::InputTokens => amount(sample.input_tokens).unwrap_or(0),
        Metric::OutputTokens => amount(sample.output_tokens).unwrap_or(0),
        Metric::Requests | Metric::Errors | Metric::ErrorRatio => 1,
        Metric::Latency => amount(sample.latency_us)?,
        Metric::Ttft => amount(sample.ttft_us)?,
        Metric::TokensPerSecond => amount(sample.pace_milli)?,
        Metric::QuotaUsed => return None,
    };
    let hit = match rule.metric {
        Metric::Errors | Metric::ErrorRatio => sample.error,
        _ => rule
            .over
            .is_some_and(|over| is_beyond(rule.metric, counted, over)),
    };
    let at = if rule.is_by_start() {
        sample.started_at
    } else {
        sample.ended_at
    };
    Some(Entry {
        at,
        sum: counted,
        count: 1,
        hits: u64::from(hit),
        value: u64::try_from(counted).ok(),
    })
}

/// Whether a request's value is on the wrong side of `over`: a pace is wrong when it is slower. The
/// rule's `side` is about how many such requests there are, not about the requests.
const fn is_beyond(metric: Metric, value: i64, over: i64) -> bool {
    match metric {
        Metric::TokensPerSecond => value < over,
        _ => value > over,
    }
}

/// What a minute of requests adds, and when; `None` where it has nothing that the rule looks at.
pub(super) fn minute(rule: &Rule, sample: &MinuteSample<'_>) -> Option<(UnixMicros, Totals)> {
    let counted = |sum: i64, count: u64| Totals {
        sum,
        count,
        ..Totals::default()
    };
    let requests = sample.requests;
    let plain = |sum: i64| counted(sum, requests.saturating_add(sample.settled));
    let amount = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let totals = match rule.metric {
        Metric::Cost => plain(sample.cost_nanousd.unwrap_or(0)),
        Metric::Tokens => plain(amount(sample.tokens.unwrap_or(0))),
        Metric::InputTokens => plain(amount(sample.input_tokens.unwrap_or(0))),
        Metric::OutputTokens => plain(amount(sample.output_tokens.unwrap_or(0))),
        Metric::Requests => counted(amount(requests), requests),
        Metric::Errors | Metric::ErrorRatio => Totals {
            hits: sample.errors,
            ..counted(amount(requests), requests)
        },
        Metric::Latency => of_sketch(sample.latency_us.as_ref()?),
        Metric::Ttft => of_sketch(sample.ttft_us.as_ref()?),
        Metric::TokensPerSecond => of_sketch(sample.pace_milli.as_ref()?),
        Metric::QuotaUsed => return None,
    };
    let at = if rule.is_by_start() {
        sample.started
    } else {
        sample.ended
    };
    Some((at, totals))
}

fn of_sketch(sketch: &Sketch) -> Totals {
    Totals {
        count: sketch.count(),
        sketch: sketch.clone(),
        ..Totals::default()
    }
}

/// Whether a minute's sums and sketches are all that the rule's windows need: its window consists of
/// whole minutes, it looks at no tag, and at nothing that only single requests tell.
pub(super) fn is_of_minutes(rule: &Rule, whole_minutes: bool) -> bool {
    let by_tag = rule
        .by
        .iter()
        .any(|by| matches!(by, super::definition::Dimension::Tag(_)));
    let single = matches!(rule.stat, Stat::Max)
        || rule.over.is_some()
        || (rule.stat == Stat::Mean && is_distributed(rule.metric))
        || (rule.stat.permille().is_some() && !is_distributed(rule.metric));
    whole_minutes && !by_tag && rule.matcher.tags.is_empty() && !single
}

/// How far back the rule's windows need single requests at most, when they are rebuilt; `None` where a
/// minute's sums do, which are kept for longer than any window reaches.
pub(super) fn reach_of_requests(rule: &Rule) -> Option<Duration> {
    if rule.metric == Metric::QuotaUsed {
        return None;
    }
    let (longest, whole_minutes) = match &rule.span {
        Span::Rolling(length) => {
            let window = Window::new(&rule.span, keeps(rule), rule.compare);
            let step = rule.span.step().unwrap_or_default();
            // A rolling window's steps are the same at all times.
            (*length + step, window.is_by_minute(UnixMicros(0)))
        }
        Span::Calendar(calendar) => (calendar.longest(), true),
    };
    let reach = longest + rule.compare.unwrap_or_default();
    (!is_of_minutes(rule, whole_minutes)).then_some(reach)
}

/// Whether the ledger's minutes have the metric as a sketch, and not as a sum.
pub(super) const fn is_distributed(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::Latency | Metric::Ttft | Metric::TokensPerSecond
    )
}

/// What becomes of the sums, but for what depends on time; `None` where they say nothing.
pub(super) fn value(rule: &Rule, totals: &Totals) -> Option<i64> {
    let count = i64::try_from(totals.count).unwrap_or(i64::MAX);
    let hits = i64::try_from(totals.hits).unwrap_or(i64::MAX);
    match rule.stat {
        Stat::Sum | Stat::Count if rule.metric == Metric::Errors => Some(hits),
        Stat::Sum => Some(totals.sum),
        Stat::Count if rule.over.is_some() => Some(hits),
        Stat::Count => Some(count),
        Stat::Ratio => share(hits, count),
        Stat::Mean => totals.sum.checked_div(count),
        Stat::P50 | Stat::P90 | Stat::P95 | Stat::P99 => {
            let told = totals.sketch.quantile(rule.stat.permille()?)?;
            i64::try_from(told).ok()
        }
        Stat::Max => totals.max.and_then(|max| i64::try_from(max).ok()),
        Stat::Forecast | Stat::TimeLeft => None,
    }
}

/// Millionths.
fn share(part: i64, whole: i64) -> Option<i64> {
    let millionths = i128::from(part) * 1_000_000;
    let share = millionths.checked_div(i128::from(whole))?;
    i64::try_from(share).ok()
}

/// How many times as much as `earlier`, in thousandths; `None` where there was nothing.
pub(super) fn times(now: i64, earlier: i64) -> Option<i64> {
    let thousandths = (i128::from(now) * 1_000).checked_div(i128::from(earlier))?;
    Some(i64::try_from(thousandths).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::record::{Api, Dimensions, ModelNames};
    use crate::rules::{KnownNames, parse};

    fn rule_of(rule: &str) -> Arc<Rule> {
        let text = format!("groups: [{{name: g, rules: [{{alert: a, window: 5m, {rule}}}]}}]");
        let known = KnownNames::default();
        let loaded = parse(Path::new("r.yaml"), &text, &TimeZone::UTC, &known);
        let rules = loaded.unwrap_or_else(|told| panic!("{told}")).set.rules;
        Arc::clone(&rules[0])
    }

    /// A request of 6 seconds and 10 tokens a second.
    fn request() -> Sample<'static> {
        Sample {
            started_at: UnixMicros(0),
            ended_at: UnixMicros(6_000_000),
            dimensions: Dimensions {
                channel: "main",
                api: Api::Chat,
                key: None,
                model: ModelNames::default(),
                tags: None,
            },
            error: false,
            settles: false,
            cost_nanousd: None,
            tokens: None,
            input_tokens: None,
            output_tokens: None,
            latency_us: Some(6_000_000),
            ttft_us: None,
            pace_milli: Some(10_000),
            position: None,
        }
    }

    fn is_counted(rule: &str) -> bool {
        entry(&rule_of(rule), &request()).unwrap().hits == 1
    }

    #[test]
    fn over_counts_what_takes_longer_and_paces_that_are_slower() {
        for (rule, counted) in [
            ("metric: latency, over: 5s, critical: 9 requests", true),
            ("metric: latency, over: 6s, critical: 9 requests", false),
            (
                "metric: latency, over: 5s, side: below, critical: 9 requests",
                true,
            ),
            (
                "metric: tokens_per_second, over: 20 tokens/s, critical: 9 requests",
                true,
            ),
            (
                "metric: tokens_per_second, over: 5 tokens/s, critical: 9 requests",
                false,
            ),
            (
                "metric: tokens_per_second, stat: ratio, over: 20 tokens/s, critical: 50%",
                true,
            ),
        ] {
            assert_eq!(is_counted(rule), counted, "{rule}");
        }
    }

    #[test]
    fn what_only_brings_usage_is_no_request() {
        for (rule, counts) in [
            ("metric: requests, critical: 9 requests", None),
            ("metric: errors, critical: 9 errors", None),
            ("metric: error_ratio, critical: 9%", None),
            ("metric: cost, critical: 9 USD", Some(7)),
            ("metric: tokens, critical: 9 tokens", Some(12)),
        ] {
            let rule = rule_of(rule);
            let sample = Sample {
                settles: true,
                cost_nanousd: Some(7),
                tokens: Some(12),
                latency_us: None,
                pace_milli: None,
                ..request()
            };
            let added = entry(&rule, &sample).map(|entry| entry.sum);
            assert_eq!(added, counts, "{}", rule.metric);
            let minute = MinuteSample {
                started: sample.started_at,
                ended: sample.ended_at.minute(),
                dimensions: sample.dimensions,
                requests: 0,
                settled: 1,
                errors: 0,
                cost_nanousd: sample.cost_nanousd,
                tokens: sample.tokens,
                input_tokens: None,
                output_tokens: None,
                latency_us: None,
                ttft_us: None,
                pace_milli: None,
            };
            let (_, totals) = super::minute(&rule, &minute).unwrap();
            let count = u64::from(counts.is_some());
            assert_eq!((totals.sum, totals.count), (counts.unwrap_or(0), count));
        }
    }
}
