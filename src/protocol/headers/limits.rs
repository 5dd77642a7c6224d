//! What an answer's header says of the provider's limits: rate limits of an API key
//! (`x-ratelimit-*`), and the windows of a plan (`x-codex-*`).

use std::time::Duration;

use http::HeaderMap;

use super::grouped_count;
use crate::clock::UnixMicros;
use crate::record::LimitKind;

/// Longest name of a family of limits that is kept.
const FAMILY_MAX: usize = 32;
/// Most families of limits that are read from one answer.
const MOST_FAMILIES: usize = 4;
/// Longest window that makes sense: five years.
const MOST_MINUTES: u32 = 5 * 366 * 24 * 60;
/// More percent of a limit than this nobody has used.
const MOST_PERCENT: f64 = 1_000.0;
/// Longer until a reset than this is nonsense.
const LONGEST_RESET: Duration = Duration::from_secs(366 * 24 * 3600);
/// Longest balance that is kept.
const BALANCE_MAX: usize = 24;

/// What one answer says of the provider's limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsSeen {
    /// By kind, in the order of [`LimitKind::ALL`]; `None` where the answer says nothing of it.
    pub rates: [Option<RateLimit>; LimitKind::ALL.len()],
    /// What a plan allows, each family of limits once; the plan's own first.
    pub quotas: Vec<QuotaSeen>,
    /// What was bought beside the plan.
    pub credits: Option<Credits>,
}

impl LimitsSeen {
    /// Whether the answer says nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rates.iter().all(Option::is_none) && self.quotas.is_empty() && self.credits.is_none()
    }
}

/// A rate limit by the provider's last word. `None` is unknown, also what is negative (Azure) or
/// nonsense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// How much there is while nothing is used.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// When all of it is there again.
    pub resets_at: Option<UnixMicros>,
}

/// One family of a plan's limits, of up to two windows.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaSeen {
    /// The family's name as its headers have it; `None` for the plan's own (`codex`).
    pub family: Option<Box<str>>,
    /// Those whose length and use are stated, no two of one length.
    pub windows: [Option<QuotaWindow>; 2],
}

/// How much of a window of time's allowance is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuotaWindow {
    /// Its length, as stated: a plan may have one window only, of any length.
    pub minutes: u32,
    /// 1 where all of it is used.
    pub used_ratio: f64,
    /// When it begins anew.
    pub resets_at: Option<UnixMicros>,
}

/// What was bought beside a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credits {
    /// Whether there are any.
    pub has_credits: Option<bool>,
    /// Whether they never end.
    pub unlimited: Option<bool>,
    /// How many are left: a decimal number, as it was written.
    pub balance: Option<Box<str>>,
}

/// Reads `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`,
/// `x-codex-{primary,secondary}-{used-percent,window-minutes,reset-at,reset-after-seconds}`, the
/// same of other families (`x-<family>-primary-…`), and `x-codex-credits-*`. Takes one look at each
/// header; only an answer of a plan allocates. Times are measured from `now`.
#[must_use]
pub fn limits_seen(response: &HeaderMap, now: UnixMicros) -> LimitsSeen {
    let mut seen = LimitsSeen::default();
    for (name, value) in response {
        let Some(name) = name.as_str().strip_prefix("x-") else {
            continue;
        };
        if let Some(of_rate) = name.strip_prefix("ratelimit-") {
            rate(&mut seen, of_rate, value.as_bytes(), now);
        } else if let Some(family) = family_of(name) {
            quota(&mut seen.quotas, response, family, now);
        } else if let Some(of_credits) = name.strip_prefix("codex-credits-") {
            credit(&mut seen, of_credits, value.as_bytes());
        }
    }
    seen.quotas.sort_by(|a, b| a.family.cmp(&b.family));
    seen
}

fn rate(seen: &mut LimitsSeen, name: &str, value: &[u8], now: UnixMicros) {
    let Some((what, of)) = name.split_once('-') else {
        return;
    };
    let kind = LimitKind::ALL.iter().find(|kind| kind.as_str() == of);
    let Some(slot) = kind.and_then(|&kind| seen.rates.get_mut(kind as usize)) else {
        return;
    };
    match what {
        "limit" => {
            let limit = grouped_count(value).filter(|&limit| limit > 0);
            slot.get_or_insert_default().limit = limit;
        }
        "remaining" => slot.get_or_insert_default().remaining = grouped_count(value),
        "reset" => {
            let until = std::str::from_utf8(value).ok().and_then(span);
            slot.get_or_insert_default().resets_at = until.map(|until| now.plus(until));
        }
        _ => {}
    }
}

/// The family in `<family>-primary-used-percent`, or of its secondary window.
fn family_of(name: &str) -> Option<&str> {
    let of_window = name.strip_suffix("-used-percent")?;
    of_window
        .strip_suffix("-primary")
        .or_else(|| of_window.strip_suffix("-secondary"))
        .filter(|family| !family.is_empty() && family.len() <= FAMILY_MAX)
}

fn quota(quotas: &mut Vec<QuotaSeen>, response: &HeaderMap, family: &str, now: UnixMicros) {
    let name = (family != "codex").then_some(family);
    // Both windows are read at once.
    let known = quotas.iter().any(|quota| quota.family.as_deref() == name);
    if known || quotas.len() == MOST_FAMILIES {
        return;
    }
    let primary = window(response, family, "primary", now);
    let secondary = window(response, family, "secondary", now);
    let windows = match (primary, secondary) {
        (Some(one), Some(other)) if one.minutes == other.minutes => {
            let fuller = if other.used_ratio > one.used_ratio {
                other
            } else {
                one
            };
            [Some(fuller), None]
        }
        windows => windows.into(),
    };
    quotas.push(QuotaSeen {
        family: name.map(Into::into),
        windows,
    });
}

fn window(response: &HeaderMap, family: &str, which: &str, now: UnixMicros) -> Option<QuotaWindow> {
    let text = |what: &str| {
        let value = response.get(format!("x-{family}-{which}-{what}"))?;
        Some(value.to_str().ok()?.trim())
    };
    let minutes: u32 = text("window-minutes")?.parse().ok()?;
    let percent: f64 = text("used-percent")?.parse().ok()?;
    if !(1..=MOST_MINUTES).contains(&minutes) || !(0.0..=MOST_PERCENT).contains(&percent) {
        return None;
    }
    let at = || {
        let seconds: i64 = text("reset-at")?.parse().ok()?;
        seconds.checked_mul(1_000_000).map(UnixMicros)
    };
    let after = || {
        let seconds = text("reset-after-seconds")?.parse().ok()?;
        Some(now.plus(Duration::from_secs(seconds)))
    };
    let resets_at = at().or_else(after);
    Some(QuotaWindow {
        minutes,
        used_ratio: percent / 100.0,
        resets_at: resets_at.filter(|at| at.0 > 0 && at.since(now) <= LONGEST_RESET),
    })
}

fn credit(seen: &mut LimitsSeen, name: &str, value: &[u8]) {
    let Ok(text) = std::str::from_utf8(value) else {
        return;
    };
    let text = text.trim();
    let credits = seen.credits.get_or_insert_default();
    let switch = || {
        [true, false]
            .into_iter()
            .find(|is| text.eq_ignore_ascii_case(word(*is)))
    };
    match name {
        "has-credits" => credits.has_credits = switch(),
        "unlimited" => credits.unlimited = switch(),
        "balance" => {
            let number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let fits = (1..=BALANCE_MAX).contains(&text.len());
            credits.balance = (number && fits).then(|| text.into());
        }
        _ => {}
    }
}

const fn word(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}

/// A time as OpenAI writes resets (`12ms`, `6m0s`, `1h2m3.5s`), or a number of seconds.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<f64>() {
        return bounded(seconds);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit);
        let in_seconds = match unit {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * in_seconds;
        rest = next;
    }
    (!text.trim().is_empty())
        .then(|| bounded(seconds))
        .flatten()
}

fn bounded(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|&span| span <= LONGEST_RESET)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000); // 2025-11-20T10:00:00Z

    fn seen(lines: &[(&'static str, &str)]) -> LimitsSeen {
        let headers: HeaderMap = lines
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        limits_seen(&headers, NOW)
    }

    #[test]
    fn rate_limits_are_read_by_kind_and_nonsense_is_unknown() {
        let limits = seen(&[
            ("x-ratelimit-limit-requests", "10,000"),
            ("x-ratelimit-remaining-requests", " 1,234 "),
            ("x-ratelimit-reset-requests", "6m0.5s"),
            ("x-ratelimit-limit-tokens", "-1"),
            ("x-ratelimit-remaining-tokens", "-1"),
            ("x-ratelimit-reset-tokens", "soon"),
            ("x-ratelimit-remaining-images", "4"),
            ("x-request-id", "r"),
        ]);
        let requests = RateLimit {
            limit: Some(10_000),
            remaining: Some(1_234),
            resets_at: Some(NOW.plus(Duration::from_millis(360_500))),
        };
        assert_eq!(limits.rates, [Some(requests), Some(RateLimit::default())]);
        assert!(!limits.is_empty());
        assert!(seen(&[("x-request-id", "r")]).is_empty());
    }

    #[test]
    fn what_is_left_may_be_grouped_and_is_never_negative() {
        for (stated, expected) in [
            ("0", Some(0)),
            (" 1,234,567 ", Some(1_234_567)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807)),
            ("9223372036854775808", None),
            ("-1", None),
            ("1.5", None),
            (",", None),
            ("", None),
            ("many", None),
        ] {
            let limits = seen(&[("x-ratelimit-remaining-tokens", stated)]);
            let tokens = limits.rates[LimitKind::Tokens as usize].unwrap();
            assert_eq!(tokens.remaining, expected, "{stated:?}");
        }
    }

    #[test]
    fn resets_are_read_as_providers_write_them() {
        for (text, millis) in [
            ("12ms", Some(12)),
            ("6m0s", Some(360_000)),
            ("1h2m3.5s", Some(3_723_500)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("7.66", Some(7_660)),
            ("2000µs", Some(2)),
            ("", None),
            ("s", None),
            ("5", Some(5_000)),
            ("5x", None),
            ("-5s", None),
            ("1s2", None),
            ("9999999h", None),
            ("NaN", None),
        ] {
            assert_eq!(span(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn a_plans_windows_are_as_long_as_stated() {
        let limits = seen(&[
            ("x-codex-primary-used-percent", "42.5"),
            ("x-codex-primary-window-minutes", "300"),
            ("x-codex-primary-reset-at", "1763636400"),
            ("x-codex-secondary-used-percent", "7"),
            ("x-codex-secondary-window-minutes", "10080"),
            ("x-codex-secondary-reset-after-seconds", "60"),
            ("x-codex-other-primary-used-percent", "100"),
            ("x-codex-other-primary-window-minutes", "60"),
            ("x-codex-credits-has-credits", "True"),
            ("x-codex-credits-unlimited", "false"),
            ("x-codex-credits-balance", "12.50"),
        ]);
        let window = |minutes, used_ratio, resets_at| {
            Some(QuotaWindow {
                minutes,
                used_ratio,
                resets_at,
            })
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(
            limits.quotas,
            [
                QuotaSeen {
                    family: None,
                    windows: [
                        window(300, 0.425, Some(NOW.plus(hour))),
                        window(10_080, 0.07, Some(NOW.plus(hour / 60))),
                    ],
                },
                QuotaSeen {
                    family: Some("codex-other".into()),
                    windows: [window(60, 1.0, None), None],
                },
            ]
        );
        let credits = Credits {
            has_credits: Some(true),
            unlimited: Some(false),
            balance: Some("12.50".into()),
        };
        assert_eq!(limits.credits, Some(credits));
    }

    #[test]
    fn a_window_that_does_not_state_its_length_is_none() {
        for (minutes, percent) in [
            (None, "5"),
            (Some("0"), "5"),
            (Some("-300"), "5"),
            (Some("forever"), "5"),
            (Some("300"), "-1"),
            (Some("300"), "NaN"),
            (Some("300"), "1e9"),
        ] {
            let mut lines = vec![("x-codex-primary-used-percent", percent)];
            lines.extend(minutes.map(|minutes| ("x-codex-primary-window-minutes", minutes)));
            let quotas = seen(&lines).quotas;
            // The family was stated all the same: what was known of it is out of date.
            assert_eq!(quotas.len(), 1, "{lines:?}");
            assert_eq!(quotas[0].windows, [None, None], "{lines:?}");
        }
    }

    #[test]
    fn two_windows_of_one_length_are_the_fuller_one() {
        let quotas = seen(&[
            ("x-codex-primary-used-percent", "5"),
            ("x-codex-primary-window-minutes", "300"),
            ("x-codex-secondary-used-percent", "50"),
            ("x-codex-secondary-window-minutes", "300"),
        ])
        .quotas;
        let ratios = quotas[0].windows.map(|w| w.map(|w| w.used_ratio));
        assert_eq!(ratios, [Some(0.5), None]);
    }

    #[test]
    fn families_are_bounded() {
        let names: Vec<String> = (0..20)
            .map(|n| format!("x-family{n}-primary-used-percent"))
            .collect();
        let headers: HeaderMap = names
            .iter()
            .map(|name| (name.parse().unwrap(), "1".parse().unwrap()))
            .collect();
        assert_eq!(limits_seen(&headers, NOW).quotas.len(), MOST_FAMILIES);
    }
}
