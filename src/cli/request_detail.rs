//! One request in full.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use super::amounts::{
    UNKNOWN, count, duration, duration_or_unknown, moment, shown, usd_exact, zone,
};
use super::output::Output;
use super::request_table::models;
use crate::admin::json::{RequestDetailJson, RequestJson};
use crate::record::{ErrorSource, Phase, Phases, UsageSource};

/// Columns of a bar as long as the whole request.
const BAR: u64 = 40;

/// Blocks of an eighth to a whole column.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Phases that follow one another; the others measure from the start, or across all of them.
const CONSECUTIVE: [Phase; 6] = [
    Phase::ReadRequest,
    Phase::Admit,
    Phase::Connect,
    Phase::Wait,
    Phase::FirstByte,
    Phase::Stream,
];

/// Everything the ledger has of a request; what is unknown has no line.
pub(super) fn render(detail: &RequestDetailJson, timezone: &TimeZone, output: &Output) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = facts(&mut text, &detail.request, timezone, output);
    let _ = tokens(&mut text, &detail.request, output);
    let _ = phases(&mut text, detail.request.phases.into(), output);
    let _ = attempts(&mut text, detail, output);
    let _ = repricings(&mut text, detail, timezone, output);
    text
}

fn facts(
    text: &mut String,
    request: &RequestJson,
    timezone: &TimeZone,
    output: &Output,
) -> fmt::Result {
    writeln!(
        text,
        "{}",
        title(output, &format!("request {}", request.id))
    )?;
    let mut outcome = request.outcome.to_string();
    if let Some(status) = request.status {
        let _ = write!(outcome, ", HTTP {status}");
    }
    if request.outcome.is_error() {
        let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
        outcome = output.paint(red, &outcome);
    }
    let started = moment(request.started_at.0, timezone);
    fact(
        text,
        "started",
        Some(format!("{started} {}", zone(timezone))),
    )?;
    fact(text, "outcome", Some(outcome))?;
    fact(text, "error", error(request))?;
    fact(
        text,
        "called",
        Some(format!(
            "{} {} ({}{})",
            shown(&request.method),
            shown(&request.path),
            request.api,
            if request.stream == Some(true) {
                ", streamed"
            } else {
                ""
            }
        )),
    )?;
    fact(text, "model", Some(models(request)))?;
    for (name, value) in [
        ("tier", &request.service_tier),
        ("channel", &request.channel),
        ("key", &request.key),
        ("session", &request.session),
        ("end user", &request.end_user),
        ("upstream id", &request.upstream_request_id),
    ] {
        fact(text, name, value.as_deref().map(shown))?;
    }
    let tags: Vec<String> = request
        .tags
        .iter()
        .map(|(name, value)| format!("{}={}", shown(name), shown(value)))
        .collect();
    fact(text, "tags", (!tags.is_empty()).then(|| tags.join(", ")))?;
    let answered = match request.response_bytes {
        Some(bytes) => count(bytes),
        None => UNKNOWN.to_owned(),
    };
    let taken = request.upstream_bytes.map_or_else(String::new, |bytes| {
        format!(", {} taken from the upstream", count(bytes))
    });
    fact(
        text,
        "bytes",
        Some(format!(
            "{} in, {answered} out{taken}",
            count(request.request_bytes)
        )),
    )?;
    fact(text, "cost", Some(cost(request)))
}

/// The cost with where it comes from, or why there is none.
fn cost(request: &RequestJson) -> String {
    if let Some(cost) = request.cost_usd {
        let prices = request
            .price_version
            .as_deref()
            .map_or(UNKNOWN.into(), shown);
        return format!("{} (prices {prices})", usd_exact(cost.0));
    }
    match request.usage_source {
        UsageSource::None => "none: there is nothing to price",
        UsageSource::Missing => "unknown: the tokens are missing",
        UsageSource::Reported | UsageSource::Partial | UsageSource::Estimated => {
            "unknown: the model has no price"
        }
    }
    .to_owned()
}

fn error(request: &RequestJson) -> Option<String> {
    let parts = [
        request.error_source.map(ErrorSource::as_str),
        request.error_code.as_deref(),
        request.error_message.as_deref(),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().map(shown).collect();
    (!parts.is_empty()).then(|| parts.join(": "))
}

fn fact(text: &mut String, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    match value {
        Some(value) => writeln!(text, "  {name:<12} {value}"),
        None => Ok(()),
    }
}

fn tokens(text: &mut String, request: &RequestJson, output: &Output) -> fmt::Result {
    let source = match request.usage_source {
        UsageSource::Reported => "as the provider reported them",
        UsageSource::Partial => "in part Tollgate's own count: the answer was cut off",
        UsageSource::Estimated => "estimated by Tollgate",
        UsageSource::Missing => "missing: they should be known and are not",
        UsageSource::None => "none: nothing was used, or this API has none",
    };
    writeln!(text, "\n{} {source}", title(output, "tokens"))?;
    let total = request.tokens.total_tokens.map(|total| ("total", total));
    let by_type = request.tokens.by_type();
    let lines = by_type.iter().map(|(kind, count)| (kind.as_str(), count));
    for (name, tokens) in lines.chain(total) {
        writeln!(text, "  {name:<18} {:>12}", count(tokens))?;
    }
    for (unit, billed) in request.units.by_unit().iter() {
        writeln!(text, "  {:<18} {:>12}", unit.as_str(), count(billed))?;
    }
    if let Some(delivered) = request.delivered_output_tokens {
        let delivered = count(delivered);
        let remark = "of the output, by Tollgate's own count: the client had left";
        writeln!(text, "  {:<18} {delivered:>12}  {remark}", "delivered")?;
    }
    estimate(text, request, output)
}

/// What Tollgate counted itself because the provider stated nothing.
fn estimate(text: &mut String, request: &RequestJson, output: &Output) -> fmt::Result {
    let counts = [
        ("input", request.estimated_input_tokens),
        ("output", request.estimated_output_tokens),
    ];
    if counts.iter().all(|(_, tokens)| tokens.is_none()) {
        return Ok(());
    }
    let remark = "Tollgate's own count, no part of any sum of tokens or cost";
    writeln!(text, "\n{} {remark}", title(output, "estimate"))?;
    for (name, tokens) in counts {
        if let Some(tokens) = tokens {
            writeln!(text, "  {name:<18} {:>12}", count(tokens))?;
        }
    }
    match request.estimated_cost_usd {
        Some(cost) => writeln!(text, "  {:<18} {:>12}", "cost", usd_exact(cost.0)),
        None => Ok(()),
    }
}

fn phases(text: &mut String, phases: Phases, output: &Output) -> fmt::Result {
    writeln!(text, "\n{}", title(output, "time"))?;
    let total = phases[Phase::Total];
    for phase in CONSECUTIVE {
        if let Some(us) = phases[phase] {
            let bar = output.paint(
                Style::new().fg_color(Some(AnsiColor::Cyan.into())),
                &bar(us, total),
            );
            writeln!(text, "  {:<13}{:>10}  {bar}", phase.as_str(), duration(us))?;
        }
    }
    for (phase, remark) in [
        (Phase::Total, ""),
        (Phase::FirstToken, "  from the start"),
        (Phase::Overhead, "  Tollgate's own part"),
    ] {
        if let Some(us) = phases[phase] {
            writeln!(text, "  {:<13}{:>10}{remark}", phase.as_str(), duration(us))?;
        }
    }
    Ok(())
}

/// A bar as long as a phase's share of the total, to an eighth of a column; a phase that was
/// reached shows at least that.
fn bar(us: u64, total: Option<u64>) -> String {
    let Some(total) = total.filter(|&total| total > 0) else {
        return String::new();
    };
    let eighths =
        (u128::from(us) * u128::from(BAR) * 8 / u128::from(total)).clamp(1, u128::from(BAR) * 8);
    let eighths = usize::try_from(eighths).unwrap_or(1);
    let mut bar = "█".repeat(eighths / 8);
    if let Some(rest) = (eighths % 8).checked_sub(1) {
        bar.push(EIGHTHS[rest]);
    }
    bar
}

fn attempts(text: &mut String, detail: &RequestDetailJson, output: &Output) -> fmt::Result {
    if detail.attempt_details.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", title(output, "attempts"))?;
    for (n, attempt) in (1..).zip(&detail.attempt_details) {
        let status = attempt
            .status
            .map_or_else(String::new, |status| format!(", HTTP {status}"));
        let code = attempt
            .error_code
            .as_deref()
            .map_or_else(String::new, |code| format!(", {}", shown(code)));
        writeln!(
            text,
            "  {n}  {}  {}{status}{code}  connect {}, wait {}",
            shown(&attempt.channel),
            attempt.outcome,
            duration_or_unknown(attempt.connect_us),
            duration_or_unknown(attempt.wait_us),
        )?;
    }
    Ok(())
}

/// What it cost before prices were corrected.
fn repricings(
    text: &mut String,
    detail: &RequestDetailJson,
    timezone: &TimeZone,
    output: &Output,
) -> fmt::Result {
    if detail.repricings.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", title(output, "earlier prices"))?;
    for repricing in &detail.repricings {
        let old = match (&repricing.old_cost_usd, &repricing.old_price_version) {
            (Some(cost), version) => format!(
                "{} (prices {})",
                usd_exact(cost.0),
                version.as_deref().map_or(UNKNOWN.into(), shown)
            ),
            (None, _) => "no price".to_owned(),
        };
        writeln!(
            text,
            "  {old} until {} {} (run {}, {})",
            moment(repricing.at.0, timezone),
            zone(timezone),
            repricing.run,
            shown(&repricing.who),
        )?;
    }
    Ok(())
}

pub(super) fn title(output: &Output, text: &str) -> String {
    output.paint(Style::new().bold(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_the_share_of_the_total() {
        assert_eq!(bar(1_000, Some(1_000)), "█".repeat(40));
        assert_eq!(bar(500, Some(1_000)), "█".repeat(20));
        assert_eq!(bar(1_000, Some(16_000)), "██▌");
        assert_eq!(bar(1, Some(1_000_000)), "▏");
        assert_eq!(bar(9_000, Some(1_000)), "█".repeat(40));
        assert_eq!(bar(5, None), "");
        assert_eq!(bar(0, Some(0)), "");
    }
}
