//! Figures out of the ledger, for what commands answer.

use std::time::Duration;

use super::answerer::{Answerer, Asking};
use super::{SpendBy, SpendOver};
use crate::clock::UnixMicros;
use crate::ledger::QueryError;
use crate::ledger::query::{GroupBy, Past, PastQuery, UsageQuery, UsageRow, UsageSummary};
use crate::notify::content::humane;
use crate::record::Sketch;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// Over what time latencies are told.
const LATELY: Duration = Duration::from_secs(3600);

/// Latencies that 95 % did not exceed, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Latencies {
    pub(super) latency_us: Option<u64>,
    pub(super) ttft_us: Option<u64>,
}

impl Asking<'_> {
    /// When a time began, by the receiver's calendar.
    pub(super) fn beginning(&self, over: SpendOver) -> UnixMicros {
        let today = self.now.timestamp().to_zoned(self.told.timezone.clone());
        let begin = match over {
            SpendOver::Week => return self.now.minus(WEEK),
            SpendOver::Today => today.start_of_day(),
            SpendOver::Month => today
                .first_of_month()
                .and_then(|first| first.start_of_day()),
        };
        // A zone without a beginning of this day lies at the end of all time.
        begin.map_or(self.now, |begin| begin.timestamp().into())
    }
}

impl Answerer {
    /// What was used since a moment.
    pub(super) fn used_since(
        &self,
        asking: &Asking<'_>,
        since: UnixMicros,
        by: Option<SpendBy>,
    ) -> Result<UsageSummary, QueryError> {
        let by = by.map(|by| match by {
            SpendBy::Model => GroupBy::Model,
            SpendBy::Channel => GroupBy::Channel,
            SpendBy::Key => GroupBy::Key,
        });
        let query = UsageQuery {
            since: Some(since),
            until: None,
            by: by.into_iter().collect(),
            timezone: asking.told.timezone.clone(),
            ..UsageQuery::default()
        };
        let summary = self.read(|reader| reader.usage(&query))?;
        Ok(summary.unwrap_or_default())
    }

    /// Latencies of the last hour.
    pub(super) fn latencies(&self, asking: &Asking<'_>) -> Result<Latencies, QueryError> {
        let query = PastQuery {
            minutes_since: Some(asking.now.minus(LATELY)),
            sketches: true,
            ..PastQuery::default()
        };
        let (mut latency, mut ttft) = (Sketch::default(), Sketch::default());
        self.read(|reader| {
            reader.past(&query, None, |past| {
                if let Past::Minute(minute) = past {
                    for (sum, part) in [
                        (&mut latency, &minute.latency_us),
                        (&mut ttft, &minute.ttft_us),
                    ] {
                        if let Some(part) = part {
                            sum.merge(part);
                        }
                    }
                }
            })
        })?;
        Ok(Latencies {
            latency_us: latency.quantile(950),
            ttft_us: ttft.quantile(950),
        })
    }
}

/// What a row comes to in money; what has no price is said, and never counts as nothing.
pub(super) fn spent(asking: &Asking<'_>, row: &UsageRow) -> String {
    let money = match row.cost {
        Some(cost) => humane::usd(cost),
        None if row.unpriced_requests > 0 => asking.say("unknown", "未知"),
        None => humane::usd(crate::money::NanoUsd::ZERO),
    };
    if row.unpriced_requests == 0 {
        return money;
    }
    let unpriced = humane::requests(row.unpriced_requests, asking.told.language);
    asking.say(
        format!("{money} (and {unpriced} without a price)"),
        format!("{money}（另有 {unpriced} 无价格）"),
    )
}

/// `1,234 requests, 12 failed, 1.2M tokens`.
pub(super) fn traffic(asking: &Asking<'_>, row: &UsageRow) -> String {
    let language = asking.told.language;
    let mut parts = vec![humane::requests(row.requests, language)];
    if row.errors > 0 {
        let failed = humane::short_count(row.errors, language);
        parts.push(asking.say(format!("{failed} failed"), format!("失败 {failed} 次")));
    }
    if let Some(tokens) = row.total_tokens {
        parts.push(humane::tokens(tokens, language));
    }
    parts.join(&asking.say(", ", "，"))
}
