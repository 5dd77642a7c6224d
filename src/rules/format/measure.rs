//! What a rule looks at: `metric`, `stat`, `over`, `compare`.

use std::time::Duration;

use super::words::word;
use crate::alert::Unit;
use crate::config::{Place, Reader, Refusal, Section, duration, quantity};
use crate::rules::{Metric, Stat};

/// A metric and what becomes of its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) metric: Metric,
    pub(super) stat: Stat,
    pub(super) over: Option<i64>,
    pub(super) compare: Option<Duration>,
}

impl Measure {
    /// What its value counts; also what the limits are in.
    pub(super) const fn unit(&self) -> Unit {
        if self.compare.is_some() {
            Unit::Times
        } else {
            self.stat.unit(self.metric)
        }
    }

    /// Whether little of it is wrong rather than much: a pace, the time that is left.
    pub(super) const fn is_wrong_below(&self) -> bool {
        match self.stat {
            Stat::TimeLeft => true,
            Stat::Count | Stat::Ratio => false,
            _ => matches!(self.metric, Metric::TokensPerSecond),
        }
    }
}

/// The stats that make sense of a metric, the usual one at the front.
const fn stats_of(metric: Metric) -> &'static [Stat] {
    match metric {
        Metric::Cost | Metric::Tokens | Metric::InputTokens | Metric::OutputTokens => {
            &[Stat::Sum, Stat::Mean, Stat::Forecast, Stat::TimeLeft]
        }
        Metric::Requests => &[Stat::Count, Stat::Sum, Stat::Forecast, Stat::TimeLeft],
        Metric::Errors => &[Stat::Count, Stat::Sum, Stat::Ratio],
        Metric::ErrorRatio => &[Stat::Ratio],
        Metric::QuotaUsed => &[Stat::Max],
        Metric::Latency | Metric::Ttft | Metric::TokensPerSecond => &[
            Stat::P95,
            Stat::P50,
            Stat::P90,
            Stat::P99,
            Stat::Mean,
            Stat::Max,
            Stat::Count,
            Stat::Ratio,
        ],
    }
}

/// Whether a metric is a value of each request, which can be compared with `over`.
const fn is_of_each_request(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::Latency | Metric::Ttft | Metric::TokensPerSecond
    )
}

/// Reads what a rule looks at. Everything is read and judged as far as it can be; `None` where it
/// cannot be known.
pub(super) fn read(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Measure> {
    let rule_at = section.place.clone().unwrap_or(Place::Default);
    let mut metric = None;
    section.set(
        reader,
        "metric",
        &mut metric,
        word(Metric::ALL, Metric::as_str),
    );
    if !section.has("metric") {
        let names: Vec<&str> = Metric::ALL.iter().map(|known| known.as_str()).collect();
        let hint = format!("say what the rule looks at: {}", names.join(", "));
        reader.problem(&rule_at, &section.key("metric"), "is missing", Some(&hint));
    }
    let mut stat = None;
    section.set(reader, "stat", &mut stat, word(Stat::ALL, Stat::as_str));
    let mut compare = None;
    section.set_duration(reader, "compare", &mut compare, |text| {
        duration(text).map(Some)
    });
    let Some(metric) = metric else {
        // So that the key is known; in which unit, nobody can say.
        section.ask(reader, "over");
        return None;
    };
    let over = over(section, reader, metric);
    if !section.has("stat") {
        stat = usual(section, reader, metric, over.is_some());
    }
    // Of a bad `compare` nobody can say what the limits count.
    if section.has("compare") {
        compare?;
    }
    let measure = Measure {
        metric,
        stat: stat?,
        over,
        compare,
    };
    combine(section, reader, &measure).then_some(measure)
}

/// The stat of a rule that names none.
fn usual(
    section: &Section<'_>,
    reader: &mut Reader<'_>,
    metric: Metric,
    over: bool,
) -> Option<Stat> {
    if over {
        return Some(Stat::Count);
    }
    if is_of_each_request(metric) {
        let place = section.place.clone().unwrap_or(Place::Default);
        let hint = format!("write one of {}", names(stats_of(metric)));
        reader.problem(&place, &section.key("stat"), "is missing", Some(&hint));
        return None;
    }
    stats_of(metric).first().copied()
}

fn over(section: &mut Section<'_>, reader: &mut Reader<'_>, metric: Metric) -> Option<i64> {
    let mut over = None;
    let unit = Stat::Mean.unit(metric);
    section.set(reader, "over", &mut over, |text| {
        if is_of_each_request(metric) {
            return quantity(unit)(text).map(Some);
        }
        Err(Refusal::new(
            format!("cannot be a bound for `{metric}`"),
            "only each request's `latency`, `ttft` and `tokens_per_second` can be over something",
        ))
    });
    over
}

/// Whether its parts fit one another; problems where not.
fn combine(section: &Section<'_>, reader: &mut Reader<'_>, measure: &Measure) -> bool {
    let &Measure {
        metric,
        stat,
        over,
        compare,
    } = measure;
    let place_of = |reader: &Reader<'_>, key| {
        let place = section.place_of(reader, key).or(section.place.clone());
        place.unwrap_or(Place::Default)
    };
    if !stats_of(metric).contains(&stat) {
        let place = place_of(reader, "stat");
        let message = format!("`{metric}` has no `{stat}`");
        let hint = format!("write one of {}", names(stats_of(metric)));
        reader.problem(&place, &section.key("stat"), message, Some(&hint));
        return false;
    }
    let counts = matches!(stat, Stat::Count | Stat::Ratio) && is_of_each_request(metric);
    if counts && over.is_none() && !section.has("over") {
        let place = place_of(reader, "stat");
        let message = format!("a `{stat}` of `{metric}` says not beyond what");
        let hint = match metric {
            Metric::TokensPerSecond => "write `over: 20 tokens/s`: slower ones are counted",
            _ => "write `over: 5s`: those that take longer are counted",
        };
        reader.problem(&place, &section.key("over"), message, Some(hint));
        return false;
    }
    if over.is_some() && !counts {
        let place = place_of(reader, "over");
        let message = format!("a `{stat}` counts nothing that is over a bound");
        let hint = Some("write `stat: count` or `stat: ratio`, or take `over` away");
        reader.problem(&place, &section.key("over"), message, hint);
        return false;
    }
    if compare.is_some() && !can_compare(measure) {
        let place = place_of(reader, "compare");
        let message = format!("a `{stat}` of `{metric}` cannot be compared with an earlier one");
        let hint = Some("take it away, or write `stat: sum`, `count`, `ratio` or `mean`");
        reader.problem(&place, &section.key("compare"), message, hint);
        return false;
    }
    true
}

/// Whether an earlier value is known: of what is long ago only sums are kept, no distributions.
const fn can_compare(measure: &Measure) -> bool {
    matches!(
        measure.stat,
        Stat::Sum | Stat::Count | Stat::Ratio | Stat::Mean
    )
}

fn names(stats: &[Stat]) -> String {
    let names: Vec<&str> = stats.iter().map(|stat| stat.as_str()).collect();
    names.join(", ")
}
