//! Who used most of an alert's window.
//!
//! The ledger's minutes say it where the window consists of them, which all of an hour and longer do;
//! requests are read for short windows and where tags matter. What is counted is what the rule counts,
//! so that shares are of its value.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::alert::{Labels, Quantity, Unit};
use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::config::ModelPattern;
use crate::ledger::query::{Past, PastQuery};
use crate::ledger::{QueryError, Reader};
use crate::notify::content::Contributor;
use crate::record::{Dimensions, MinuteSample, Sample};
use crate::rules::{Dimension, Metric, Rule, Span, Stat};

/// How many of each dimension are told.
const TOP: usize = 3;

/// Names of a dimension that are told apart; a window with more has no contributors to speak of.
const MOST_NAMES: usize = 20_000;

/// The longest window whose requests are read because it does not consist of minutes. Of a longer one
/// a minute too much is little.
const SHORT: Duration = Duration::from_secs(15 * 60);

/// The longest window whose requests are read because the rule looks at tags.
const SHORT_TAGGED: Duration = Duration::from_secs(60 * 60);

/// How many samples pass between two looks at the clock.
const STRIDE: u32 = 256;

/// Of whom contributors are asked.
pub(super) struct Question<'q> {
    pub(super) rule: &'q Rule,
    pub(super) labels: &'q Labels,
    /// Where the window begins.
    pub(super) since: UnixMicros,
    pub(super) channels: &'q Registry,
    /// When nobody waits for the answer any more.
    pub(super) until: Instant,
}

/// What is counted of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Cost,
    Tokens,
    InputTokens,
    OutputTokens,
    Requests,
    Errors,
}

impl Counted {
    /// `None` where nobody contributes: quantiles, and what is only counted beyond a bound.
    fn of(rule: &Rule) -> Option<Self> {
        let adds_up = match rule.stat {
            Stat::Sum | Stat::Forecast | Stat::TimeLeft => true,
            Stat::Count | Stat::Ratio => {
                let counted = [Metric::Requests, Metric::Errors, Metric::ErrorRatio];
                counted.contains(&rule.metric)
            }
            Stat::Mean | Stat::P50 | Stat::P90 | Stat::P95 | Stat::P99 | Stat::Max => false,
        };
        if !adds_up || rule.over.is_some() {
            return None;
        }
        match rule.metric {
            Metric::Cost => Some(Self::Cost),
            Metric::Tokens => Some(Self::Tokens),
            Metric::InputTokens => Some(Self::InputTokens),
            Metric::OutputTokens => Some(Self::OutputTokens),
            Metric::Requests => Some(Self::Requests),
            Metric::Errors | Metric::ErrorRatio => Some(Self::Errors),
            Metric::Latency | Metric::Ttft | Metric::TokensPerSecond | Metric::QuotaUsed => None,
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Cost => Unit::Usd,
            Self::Tokens | Self::InputTokens | Self::OutputTokens => Unit::Tokens,
            Self::Requests | Self::Errors => Unit::Requests,
        }
    }

    fn request(self, sample: &Sample<'_>) -> i64 {
        match self {
            Self::Cost => sample.cost_nanousd.unwrap_or(0),
            Self::Tokens => amount(sample.tokens),
            Self::InputTokens => amount(sample.input_tokens),
            Self::OutputTokens => amount(sample.output_tokens),
            Self::Requests => i64::from(!sample.settles),
            Self::Errors => i64::from(sample.error),
        }
    }

    fn minute(self, minute: &MinuteSample<'_>) -> i64 {
        match self {
            Self::Cost => minute.cost_nanousd.unwrap_or(0),
            Self::Tokens => amount(minute.tokens),
            Self::InputTokens => amount(minute.input_tokens),
            Self::OutputTokens => amount(minute.output_tokens),
            Self::Requests => amount(Some(minute.requests)),
            Self::Errors => amount(Some(minute.errors)),
        }
    }
}

fn amount(count: Option<u64>) -> i64 {
    i64::try_from(count.unwrap_or(0)).unwrap_or(i64::MAX)
}

/// The question, ready to be read.
pub(super) struct Reading<'q> {
    question: &'q Question<'q>,
    counted: Option<Counted>,
    totals: Vec<(Dimension, HashMap<Box<str>, i64>)>,
    total: i64,
    seen: u32,
}

/// Prepares a question.
pub(super) fn of<'q>(question: &'q Question<'q>) -> Reading<'q> {
    let matcher = &question.rule.matcher;
    let named = |pattern: &Option<ModelPattern>| {
        let pattern = pattern.as_ref();
        pattern.is_some_and(ModelPattern::is_exact)
    };
    // What the alert says by itself is no news.
    let open = [
        (Dimension::Model, named(&matcher.model)),
        (Dimension::Channel, named(&matcher.channel)),
        (Dimension::Key, named(&matcher.key)),
    ];
    let open = open
        .into_iter()
        .filter(|(dimension, named)| !named && question.labels.get(&dimension.label()).is_none());
    Reading {
        question,
        counted: Counted::of(question.rule),
        totals: open
            .map(|(dimension, _)| (dimension, HashMap::new()))
            .collect(),
        total: 0,
        seen: 0,
    }
}

impl Reading<'_> {
    /// Reads who used most; `None` where that is not asked, or takes too long.
    pub(super) fn read(mut self, reader: &Reader) -> Result<Option<Vec<Contributor>>, QueryError> {
        let Some(counted) = self.counted.filter(|_| !self.totals.is_empty()) else {
            return Ok(None);
        };
        let Some(query) = self.query() else {
            return Ok(None);
        };
        let ended = reader.past_until(&query, |past| match past {
            Past::Minute(minute) => {
                let began = minute.started >= self.question.since;
                self.add(&minute.dimensions, began, counted.minute(minute))
            }
            Past::Request(sample) => {
                let began = sample.started_at >= self.question.since;
                self.add(&sample.dimensions, began, counted.request(sample))
            }
            Past::Held(_) => ControlFlow::Continue(()),
        })?;
        Ok(ended
            .is_continue()
            .then(|| self.contributors(counted.unit())))
    }

    /// What is read; `None` where it would be too much.
    fn query(&self) -> Option<PastQuery> {
        let Question { rule, since, .. } = self.question;
        let by_tag = |by: &Dimension| matches!(by, Dimension::Tag(_));
        let tags = !rule.matcher.tags.is_empty() || rule.by.iter().any(by_tag);
        let longest = match &rule.span {
            Span::Rolling(length) => *length,
            Span::Calendar(calendar) => calendar.longest(),
        };
        let by_request = PastQuery {
            requests_since: Some(*since),
            tags,
            ..PastQuery::default()
        };
        if tags {
            return (longest <= SHORT_TAGGED).then_some(by_request);
        }
        if *since != since.minute() && longest <= SHORT {
            return Some(by_request);
        }
        Some(PastQuery {
            minutes_since: Some(*since),
            ..PastQuery::default()
        })
    }

    /// Takes in what requests came to; `began` says that they did so in the window.
    fn add(&mut self, of: &Dimensions<'_>, began: bool, value: i64) -> ControlFlow<()> {
        self.seen = self.seen.wrapping_add(1);
        if self.seen.is_multiple_of(STRIDE) && Instant::now() >= self.question.until {
            return ControlFlow::Break(());
        }
        let rule = self.question.rule;
        if value <= 0 || (rule.is_by_start() && !began) {
            return ControlFlow::Continue(());
        }
        let of = self.question.channels.named(*of);
        let mut labels = rule.by.iter();
        let is_of_alert = labels.all(|by| {
            let label = self.question.labels.get(&by.label());
            label.is_some_and(|label| **label == *by.value(&of))
        });
        if !is_of_alert || !rule.matcher.matches(&of) {
            return ControlFlow::Continue(());
        }
        self.total = self.total.saturating_add(value);
        for (dimension, names) in &mut self.totals {
            let name = dimension.value(&of);
            if let Some(sum) = names.get_mut(name) {
                *sum = sum.saturating_add(value);
            } else if names.len() < MOST_NAMES {
                names.insert(name.into(), value);
            } else {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn contributors(self, unit: Unit) -> Vec<Contributor> {
        let total = self.total;
        let mut contributors = Vec::new();
        for (dimension, names) in self.totals {
            let mut names: Vec<_> = names.into_iter().collect();
            if let [(name, _)] = names.as_slice()
                && name.is_empty()
            {
                // Where nobody shows a key, that says nothing.
                continue;
            }
            names.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
            let label = dimension.label();
            contributors.extend(
                names
                    .into_iter()
                    .take(TOP)
                    .map(|(name, value)| Contributor {
                        dimension: Arc::clone(&label),
                        name: Arc::from(name),
                        value: Quantity { unit, value },
                        share_ppm: share_ppm(value, total),
                    }),
            );
        }
        contributors
    }
}

fn share_ppm(part: i64, whole: i64) -> u32 {
    let millionths = (i128::from(part) * 1_000_000).checked_div(i128::from(whole));
    u32::try_from(millionths.unwrap_or(0)).unwrap_or(u32::MAX)
}
