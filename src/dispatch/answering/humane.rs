//! Values as people read them.

use jiff::tz::TimeZone;

use crate::alert::{Quantity, Unit};
use crate::clock::UnixMicros;
use crate::config::Language;
use crate::money::NanoUsd;

/// `$3.40`.
pub(super) fn usd(amount: NanoUsd) -> String {
    let sign = if amount.0 < 0 { "-" } else { "" };
    let magnitude = amount.0.unsigned_abs();
    if magnitude > 0 && magnitude < 10_000_000 {
        return format!("{sign}<$0.01");
    }
    let cents = magnitude / 10_000_000;
    format!("{sign}${}.{:02}", cents / 100, cents % 100)
}

/// `950`, `12.3k`, `1.2M`.
pub(super) fn short_count(value: u64, _language: Language) -> String {
    let (step, unit) = match value {
        0..10_000 => return value.to_string(),
        10_000..1_000_000 => (1_000, "k"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "B"),
    };
    match value % step / (step / 10) {
        0 => format!("{}{unit}", value / step),
        tenth => format!("{}.{tenth}{unit}", value / step),
    }
}

/// `1.2M tokens`.
pub(super) fn tokens(value: u64, language: Language) -> String {
    let counted = short_count(value, language);
    match language {
        Language::En => format!("{counted} tokens"),
        Language::Zh => format!("{counted} token"),
    }
}

/// `1 request`.
pub(super) fn requests(value: u64, language: Language) -> String {
    let counted = short_count(value, language);
    match language {
        Language::En if value == 1 => format!("{counted} request"),
        Language::En => format!("{counted} requests"),
        Language::Zh => format!("{counted} 次请求"),
    }
}

/// `450 ms`, `4.5 s`.
pub(super) fn latency(us: u64, _language: Language) -> String {
    match us {
        0..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// `14:03` on the day that `now` is on, else `2026-11-20 14:03 +01:00`.
pub(super) fn moment(at: UnixMicros, now: UnixMicros, zone: &TimeZone) -> String {
    let local = at.timestamp().to_zoned(zone.clone());
    let today = now.timestamp().to_zoned(zone.clone());
    if local.date() == today.date() {
        local.strftime("%H:%M").to_string()
    } else {
        local.strftime("%Y-%m-%d %H:%M %:z").to_string()
    }
}

/// `$3.40`, `1.2M tokens`.
pub(super) fn quantity(quantity: Quantity, language: Language) -> String {
    match (quantity.unit, u64::try_from(quantity.value)) {
        (Unit::Usd, _) => usd(NanoUsd(quantity.value)),
        (Unit::Tokens, Ok(value)) => tokens(value, language),
        (Unit::Requests, Ok(value)) => requests(value, language),
        (Unit::Seconds, Ok(value)) => latency(value, language),
        _ => quantity.to_string(),
    }
}

/// `$103.20 of $100.00`.
pub(super) fn against(value: Quantity, limit: Quantity, language: Language) -> String {
    let (value, limit) = (quantity(value, language), quantity(limit, language));
    match language {
        Language::En => format!("{value} of {limit}"),
        Language::Zh => format!("{value} / {limit}"),
    }
}
