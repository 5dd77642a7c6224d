//! What templates may name of a digest.

use serde_json::{Value as Json, json};

use super::rendering::{Rendering, links};
use super::{DigestBudget, DigestContent, DigestFigures, DigestRow, alerts, humane, markup, words};
use crate::clock::UnixMicros;
use crate::config::Language;
use crate::money::NanoUsd;

/// Rows of a table that are told.
const MOST_ROWS: usize = 20;
/// Cells of a bar.
const BAR: usize = 10;
/// Characters of a name in a table: what fits beside the numbers on a phone.
const LONGEST_CELL: usize = 22;

pub(super) fn view(content: &DigestContent, rendering: &Rendering<'_>) -> Json {
    let language = rendering.language;
    let total = &content.total;
    let before = content.before.as_ref();
    let tops = content.top.iter().filter(|(_, rows)| !rows.is_empty());
    let tops = tops.map(|(dimension, rows)| {
        let heading = words::word(&format!("top_{dimension}"), language);
        json!({
            "dimension": &**dimension,
            "heading": heading.map_or_else(|| words::label(dimension, language), ToOwned::to_owned),
            "rows": table(rows, total, before.is_some(), language),
        })
    });
    let errors = content
        .errors
        .iter()
        .take(MOST_ROWS)
        .map(|(name, count)| json!({"name": &**name, "count": humane::count(*count)}));
    let budgets = content.budgets.iter().take(MOST_ROWS);
    json!({
        "title": title(content, rendering),
        "name": &*content.name,
        "since": full(content.since, rendering),
        "until": full(content.until, rendering),
        "period": period(content, rendering),
        "total": figures(total, before, language),
        "before": before.map(|before| figures(before, None, language)),
        "top": tops.collect::<Vec<_>>(),
        "errors": errors.collect::<Vec<_>>(),
        "budgets": budgets.map(|budget| budget_view(budget, rendering)).collect::<Vec<_>>(),
        "links": links(&content.links, language),
    })
}

/// What a digest's picture shows, in words: `Spending by hour, 2026-11-19`. It shows money as far as any
/// was spent, else tokens.
#[must_use]
pub fn picture_alt(content: &DigestContent, rendering: &Rendering<'_>) -> String {
    const HOUR_US: i64 = 3_600_000_000;
    let now = content.series.iter();
    let mut now = now.filter(|(begin, ..)| *begin >= content.since);
    let is_by_hour = now.clone().zip(now.clone().skip(1)).next();
    let is_by_hour = is_by_hour.is_none_or(|((one, ..), (next, ..))| next.0 - one.0 <= HOUR_US);
    let is_money = now.any(|(_, cost, _)| *cost > 0);
    let language = rendering.language;
    let what = match (is_money, is_by_hour) {
        (true, true) => words::either(language, "Spending by hour", "每小时花费"),
        (true, false) => words::either(language, "Spending by day", "每日花费"),
        (false, true) => words::either(language, "Tokens by hour", "每小时 token 用量"),
        (false, false) => words::either(language, "Tokens by day", "每日 token 用量"),
    };
    let period = period(content, rendering);
    format!("{what}{}{period}", words::either(language, ", ", "，"))
}

/// `daily: $12.34 (+23 %), 1,234 requests, 2026-11-19`.
fn title(content: &DigestContent, rendering: &Rendering<'_>) -> String {
    let language = rendering.language;
    let total = &content.total;
    let before = content.before.as_ref();
    let cost = money_or_unknown(total.cost_nanousd, language);
    let change = cost_change(total, before, language)
        .map_or_else(String::new, |change| words::bracketed(&change, language));
    let parts = [
        format!("{cost}{change}"),
        humane::requests(total.requests, language),
        period(content, rendering),
    ];
    let name = alerts::short(&content.name);
    format!(
        "{name}{}{}",
        words::colon(language),
        parts.join(words::either(language, ", ", "，"))
    )
}

/// Whole days as such: `2026-11-19`, `2026-11-13 – 2026-11-19`; else from and to.
fn period(content: &DigestContent, rendering: &Rendering<'_>) -> String {
    let zone = rendering.timezone;
    let midnight = |at: UnixMicros| {
        at.timestamp().to_zoned(zone.clone()).time() == jiff::civil::Time::midnight()
    };
    if midnight(content.since) && midnight(content.until) && content.since < content.until {
        let first = humane::date(content.since, zone);
        let last = humane::date(UnixMicros(content.until.0 - 1), zone);
        return if first == last {
            first
        } else {
            format!("{first} – {last}")
        };
    }
    let (since, until) = (
        full(content.since, rendering),
        full(content.until, rendering),
    );
    format!("{since} – {until}")
}

fn full(at: UnixMicros, rendering: &Rendering<'_>) -> String {
    let local = at.timestamp().to_zoned(rendering.timezone.clone());
    local.strftime("%Y-%m-%d %H:%M").to_string()
}

fn figures(figures: &DigestFigures, before: Option<&DigestFigures>, language: Language) -> Json {
    let change =
        |now: u64, before: Option<u64>| humane::change(signed(now), before.map(signed), language);
    let tokens = figures.input_tokens.saturating_add(figures.output_tokens);
    let tokens_before =
        before.map(|before| before.input_tokens.saturating_add(before.output_tokens));
    let latency = |us: Option<u64>| us.map(|us| humane::latency(us, language));
    let ppm = |part: u64, whole: u64| (whole > 0).then(|| humane::share(ppm(part, whole)));
    json!({
        "cost": figures.cost_nanousd.map(|nanos| humane::usd(NanoUsd(nanos))),
        "cost_change": cost_change(figures, before, language),
        "unpriced": figures.unpriced,
        "requests": humane::requests(figures.requests, language),
        "requests_change": change(figures.requests, before.map(|before| before.requests)),
        "errors": figures.errors,
        "error_share": ppm(figures.errors, figures.requests),
        "error_share_before": before.and_then(|before| ppm(before.errors, before.requests)),
        "tokens": humane::tokens(tokens, language),
        "tokens_change": change(tokens, tokens_before),
        "input": humane::short_count(figures.input_tokens, language),
        "output": humane::short_count(figures.output_tokens, language),
        "cached": humane::short_count(figures.cached_tokens, language),
        "cached_share": ppm(figures.cached_tokens, figures.input_tokens),
        "saved": figures.saved_nanousd.map(|nanos| humane::usd(NanoUsd(nanos))),
        "latency_p50": latency(figures.latency_p50_us),
        "latency_p95": latency(figures.latency_p95_us),
        "latency_change": figures
            .latency_p95_us
            .and_then(|now| change(now, before.and_then(|before| before.latency_p95_us))),
        "ttft_p95": latency(figures.ttft_p95_us),
    })
}

fn cost_change(
    figures: &DigestFigures,
    before: Option<&DigestFigures>,
    language: Language,
) -> Option<String> {
    humane::change(figures.cost_nanousd?, before?.cost_nanousd, language)
}

/// Rows, each also as one line whose columns stand below one another.
fn table(
    rows: &[DigestRow],
    total: &DigestFigures,
    compares: bool,
    language: Language,
) -> Vec<Json> {
    let of_all = total
        .cost_nanousd
        .and_then(|nanos| u64::try_from(nanos).ok());
    let cells: Vec<[String; 4]> = rows
        .iter()
        .take(MOST_ROWS)
        .map(|row| {
            let cost = row.cost_nanousd.and_then(|nanos| u64::try_from(nanos).ok());
            let share = cost.zip(of_all).filter(|(_, whole)| *whole > 0);
            let change = row.cost_nanousd.filter(|_| compares);
            [
                alerts::name_or_none(&row.name, language),
                money_or_unknown(row.cost_nanousd, language),
                share.map_or_else(String::new, |(part, whole)| humane::share(ppm(part, whole))),
                change
                    .and_then(|now| humane::change(now, row.before_nanousd, language))
                    .unwrap_or_default(),
            ]
        })
        .collect();
    let name = |cells: &[String; 4]| markup::clipped(&markup::one_line(&cells[0]), LONGEST_CELL);
    let width = |text: &str| {
        let columns = text.chars().map(|c| if words::is_wide(c) { 2 } else { 1 });
        columns.sum::<usize>()
    };
    let gap = |text: &str, widest: usize| " ".repeat(widest.saturating_sub(width(text)));
    let widest = |column: usize| {
        cells
            .iter()
            .map(|row| width(&row[column]))
            .max()
            .unwrap_or(0)
    };
    let widest_name = cells.iter().map(|row| width(&name(row))).max().unwrap_or(0);
    let (cost, share, change) = (widest(1), widest(2), widest(3));
    let lines = cells.iter().zip(rows).map(|(row, figures)| {
        let name = name(row);
        let mut line = format!("{name}{}", gap(&name, widest_name));
        for (cell, widest) in row[1..].iter().zip([cost, share, change]) {
            line.extend(["  ", &gap(cell, widest), cell]);
        }
        json!({
            "name": row[0],
            "cost": row[1],
            "share": row[2],
            "change": row[3],
            "requests": humane::requests(figures.requests, language),
            "tokens": humane::tokens(figures.tokens, language),
            "line": line.trim_end(),
        })
    });
    lines.collect()
}

fn budget_view(budget: &DigestBudget, rendering: &Rendering<'_>) -> Json {
    let language = rendering.language;
    let percent = humane::percent_of(budget.used, budget.limit);
    json!({
        "name": &*budget.alert,
        "bar": percent.map(bar),
        "percent": percent.map(|percent| format!("{} %", humane::count(percent))),
        "standing": humane::against(budget.used, budget.limit, language),
        "forecast": budget.forecast.map(|forecast| humane::quantity(forecast, language)),
        "ends": budget.window_end.map(|at| rendering.moment_and_distance(at)),
    })
}

/// `███████░░░`: full only from 100 % on.
fn bar(percent: u64) -> String {
    let full = usize::try_from(percent).unwrap_or(100).min(100) * BAR / 100;
    let empty = BAR - full;
    format!("{}{}", "█".repeat(full), "░".repeat(empty))
}

fn money_or_unknown(nanos: Option<i64>, language: Language) -> String {
    nanos.map_or_else(
        || {
            words::word("unknown", language)
                .unwrap_or_default()
                .to_owned()
        },
        |nanos| humane::usd(NanoUsd(nanos)),
    )
}

/// A part in millionths.
fn ppm(part: u64, whole: u64) -> u64 {
    let ppm = u128::from(part) * 1_000_000 / u128::from(whole.max(1));
    u64::try_from(ppm).unwrap_or(u64::MAX)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
