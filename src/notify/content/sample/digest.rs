//! Sample digests.

use super::{DAY, HOUR, cents, link, quantity};
use crate::alert::Unit;
use crate::clock::UnixMicros;
use crate::notify::content::{DigestBudget, DigestContent, DigestFigures, DigestRow, LinkKind};

fn figures(percent: u64) -> DigestFigures {
    let of = |value: u64| value * percent / 100;
    DigestFigures {
        requests: of(18_240),
        errors: of(210),
        cost_nanousd: i64::try_from(of(123_450_000_000)).ok(),
        unpriced: of(12),
        input_tokens: of(48_000_000),
        cached_tokens: of(21_000_000),
        output_tokens: of(6_300_000),
        saved_nanousd: i64::try_from(of(18_700_000_000)).ok(),
        latency_p50_us: Some(of(1_900_000)),
        latency_p95_us: Some(of(9_400_000)),
        ttft_p95_us: Some(of(1_200_000)),
    }
}

/// Yesterday, whole days by UTC.
pub(super) fn digest(now: UnixMicros) -> DigestContent {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    let until = UnixMicros(now.0 - now.0.rem_euclid(day));
    let since = until.minus(DAY);
    let row = |name: &str, requests: u64, tokens: u64, cents: Option<i64>, before: Option<i64>| {
        DigestRow {
            name: name.into(),
            requests,
            tokens,
            cost_nanousd: cents.map(|cents| cents * 10_000_000),
            before_nanousd: before.map(|cents| cents * 10_000_000),
        }
    };
    let hours = (0..24).map(|hour| {
        let cents = 200 + i64::from(hour) * 25;
        (
            since.plus(HOUR * hour),
            cents * 10_000_000,
            1_000_000 + u64::from(hour) * 90_000,
        )
    });
    DigestContent {
        name: "daily".into(),
        since,
        until,
        total: figures(100),
        before: Some(figures(81)),
        top: vec![
            (
                "model".into(),
                vec![
                    row("gpt-5", 9_120, 31_000_000, Some(9_120), Some(7_000)),
                    row("gpt-5-mini", 7_020, 19_000_000, Some(2_410), Some(2_500)),
                    row(
                        "a-model-with-a-very-long-name-2026-11-20",
                        2_000,
                        4_000_000,
                        Some(815),
                        Some(0),
                    ),
                    row("local", 100, 300_000, None, None),
                ],
            ),
            (
                "channel".into(),
                vec![row(
                    "azure-1",
                    18_240,
                    54_300_000,
                    Some(12_345),
                    Some(9_999),
                )],
            ),
            (
                "key".into(),
                vec![
                    row("team-search", 12_000, 40_000_000, Some(8_000), Some(7_900)),
                    row("", 6_240, 14_300_000, Some(4_345), None),
                ],
            ),
        ],
        errors: vec![("rate_limited".into(), 180), ("timeout".into(), 30)],
        budgets: vec![
            DigestBudget {
                alert: "ChannelDailySpend{channel=\"azure-1\"}".into(),
                used: cents(9_200),
                limit: cents(10_000),
                forecast: Some(cents(13_100)),
                window_end: Some(now.plus(10 * HOUR)),
            },
            DigestBudget {
                alert: "KeyTokens{key=\"team-search\"}".into(),
                used: quantity(Unit::Tokens, 1_200_000),
                limit: quantity(Unit::Tokens, 50_000_000),
                forecast: None,
                window_end: None,
            },
        ],
        series: hours.collect(),
        links: vec![link(
            LinkKind::Dashboard,
            "https://grafana.example.com/d/tollgate-overview",
        )],
    }
}

/// A time in which nothing happened.
pub(super) fn empty_digest(now: UnixMicros) -> DigestContent {
    DigestContent {
        name: "hourly".into(),
        since: now.minus(HOUR),
        until: now,
        total: DigestFigures {
            // Nothing asked is nothing spent.
            cost_nanousd: Some(0),
            ..DigestFigures::default()
        },
        before: None,
        top: Vec::new(),
        errors: Vec::new(),
        budgets: Vec::new(),
        series: Vec::new(),
        links: Vec::new(),
    }
}
