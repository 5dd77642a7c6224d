//! Two ranges of time as what shows a change in percent reads them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Moment, UsageSums};

/// What stands for a number that nothing can be compared with: as Prometheus writes it, and as the
/// Infinity plugin reads it. From there to anything is no percentage, so Grafana shows none.
const NO_CHANGE: &str = "+Inf";

/// A rise to more than so many times of what was before is no change that says anything: before was
/// nearly nothing.
const MOST_TIMES: f64 = 100.0;

/// Sums over a range, made for showing a change in percent: numbers as text. In the range before, a
/// sum is `+Inf` where no change can be told: one of the two is unknown, as everything is where the
/// ledger began after that range, that before was not above 0, or the other is more than 100 times as much. In the range asked for it is as in `total`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComparedJson {
    /// The start of the range.
    pub since: Option<Moment>,
    /// How many requests.
    pub requests: Option<String>,
    /// The share of them that failed.
    pub error_ratio: Option<String>,
    /// All their tokens.
    pub total_tokens: Option<String>,
    /// What the priced ones cost together.
    pub cost_usd: Option<String>,
    /// What caching saved.
    pub cached_saved_usd: Option<String>,
    /// Those whose tokens are known but have no price.
    pub unpriced_requests: Option<String>,
    /// Those whose tokens should be known and are not.
    pub missing_usage_requests: Option<String>,
}

impl ComparedJson {
    fn new(since: Option<Moment>, sums: &UsageSums) -> Self {
        Self {
            since,
            requests: Some(sums.requests.to_string()),
            error_ratio: sums.error_ratio.map(|ratio| ratio.to_string()),
            total_tokens: sums.tokens.total_tokens.map(|tokens| tokens.to_string()),
            cost_usd: sums.cost_usd.map(|cost| cost.0.to_string()),
            cached_saved_usd: sums.cached_saved_usd.map(|saved| saved.0.to_string()),
            unpriced_requests: Some(sums.unpriced_requests.to_string()),
            missing_usage_requests: Some(sums.missing_usage_requests.to_string()),
        }
    }

    /// The range before and then the one asked for.
    pub(super) fn both(
        before: (Option<Moment>, Option<&UsageSums>),
        now: (Option<Moment>, &UsageSums),
    ) -> [Self; 2] {
        let now = Self::new(now.0, now.1);
        let mut before = match before {
            (since, Some(sums)) => Self::new(since, sums),
            (since, None) => Self {
                since,
                ..Self::default()
            },
        };
        for (before, now) in [
            (&mut before.requests, &now.requests),
            (&mut before.error_ratio, &now.error_ratio),
            (&mut before.total_tokens, &now.total_tokens),
            (&mut before.cost_usd, &now.cost_usd),
            (&mut before.cached_saved_usd, &now.cached_saved_usd),
            (&mut before.unpriced_requests, &now.unpriced_requests),
            (
                &mut before.missing_usage_requests,
                &now.missing_usage_requests,
            ),
        ] {
            if !is_comparable(before.as_deref(), now.as_deref()) {
                *before = Some(NO_CHANGE.to_owned());
            }
        }
        [before, now]
    }
}

fn is_comparable(before: Option<&str>, now: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    match (number(before), number(now)) {
        (Some(before), Some(now)) => before > 0.0 && now <= before * MOST_TIMES,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_where_there_is_one() {
        for (before, now) in [("5", "0"), ("5", "7"), ("0.01", "1"), ("0.5", "-0.5")] {
            assert!(is_comparable(Some(before), Some(now)), "{before} to {now}");
        }
        for (before, now) in [
            (None, Some("5")),
            (Some("5"), None),
            (None, None),
            (Some("0"), Some("0")),
            (Some("0"), Some("5")),
            (Some("-0.5"), Some("5")),
            (Some("0.01"), Some("1.01")),
        ] {
            assert!(!is_comparable(before, now), "{before:?} to {now:?}");
        }
    }
}
