//! A backtest for people: what each rule would have done, and a chart.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::chart;
use crate::alert::{Quantity, Severity, Unit};
use crate::cli::amounts::{self, UNKNOWN, count, shown, usd};
use crate::cli::output::Output;
use crate::cli::table::{Sheet, Tone};
use crate::clock::UnixMicros;
use crate::rules::Rule;
use crate::rules::backtest::{BacktestReport, Firing, RuleBacktest, Tally};

/// Firings that are listed of a rule; JSON has all.
const MOST_FIRINGS: usize = 20;

/// The report as text.
pub(super) fn render(report: &BacktestReport, timezone: &TimeZone, output: &Output) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = head(&mut text, report, timezone);
    for rule in &report.rules {
        let _ = of_rule(&mut text, rule, report, timezone, output);
    }
    text
}

fn head(text: &mut String, report: &BacktestReport, timezone: &TimeZone) -> std::fmt::Result {
    writeln!(
        text,
        "Backtest from {} to {} ({}) over {}.",
        amounts::moment(report.since, timezone),
        amounts::moment(report.until, timezone),
        amounts::zone(timezone),
        requests(&report.requests),
    )?;
    writeln!(
        text,
        "Every rule is taken as enforced. What it would have refused is not counted as spent \
         afterwards.\nThe most that a request may use is taken to be what it came to use."
    )
}

fn of_rule(
    text: &mut String,
    of: &RuleBacktest,
    report: &BacktestReport,
    timezone: &TimeZone,
    output: &Output,
) -> std::fmt::Result {
    let rule = &*of.rule;
    writeln!(text, "\n{}: {}", rule.name, limits(rule))?;
    // A block keeps the value at its limit or below it, where there need not be an alert.
    let mut before = "";
    if of.firings.is_empty() && of.blocked.requests > 0 {
        before = "no alert; ";
    } else if of.firings.is_empty() {
        writeln!(text, "  would not have fired")?;
    } else {
        for line in firings(of, timezone, output).lines() {
            writeln!(text, "  {line}")?;
        }
        if of.firings.len() > MOST_FIRINGS {
            let more = of.firings.len() - MOST_FIRINGS;
            writeln!(text, "  and {more} more (--format json has all)")?;
        }
    }
    for (tally, what) in [
        (&of.blocked, "would have been refused"),
        (&of.diverted, "would have found their channel closed"),
    ] {
        if tally.requests > 0 {
            let succeeded = count(tally.succeeded);
            let all = requests(tally);
            let before = std::mem::take(&mut before);
            writeln!(
                text,
                "  {before}{all} {what}; {succeeded} of them had succeeded"
            )?;
        }
    }
    let Some(nearest) = &of.nearest else {
        return writeln!(text, "  no value in this time");
    };
    let labels = nearest.labels.to_string();
    let peak = value(rule.quantity(nearest.peak));
    match (of.alerts, labels.is_empty()) {
        (_, true) => writeln!(text, "\n  up to {peak}")?,
        (1, false) => writeln!(text, "\n  {} up to {peak}", shown(&labels))?,
        (all, false) => writeln!(
            text,
            "\n  {} up to {peak}, of {} alerts the nearest to a limit",
            shown(&labels),
            count(all as u64)
        )?,
    }
    let ends = (
        amounts::moment(report.since, timezone),
        amounts::moment(report.until, timezone),
    );
    for line in chart::draw(nearest, rule, &ends, output).lines() {
        writeln!(text, "  {line}")?;
    }
    Ok(())
}

fn limits(rule: &Rule) -> String {
    let limits = [
        (Severity::Warning, rule.warning),
        (Severity::Critical, rule.critical),
    ];
    let limits = limits.into_iter().filter_map(|(severity, limit)| {
        let limit = rule.quantity(limit?);
        Some(format!("{severity} {limit}"))
    });
    let limits: Vec<String> = limits.collect();
    format!("{} {}, {}", rule.metric, rule.stat, limits.join(", "))
}

fn firings(of: &RuleBacktest, timezone: &TimeZone, output: &Output) -> String {
    let mut sheet = Sheet::new(output);
    let labelled = of.firings.iter().any(|firing| !firing.labels.is_empty());
    if labelled {
        sheet.column("alert", false, 0);
    }
    sheet.column("severity", false, 0);
    sheet.column("fired", false, 0);
    sheet.column("resolved", false, 2);
    sheet.column("for", true, 1);
    sheet.column("peak", true, 0);
    for firing in of.firings.iter().take(MOST_FIRINGS) {
        let tone = match firing.severity {
            Severity::Warning => Tone::Doubtful,
            Severity::Critical => Tone::Bad,
        };
        let labels = shown(&firing.labels.to_string()).into_owned();
        let plain = |text: String| (text, Tone::Plain);
        let cells = labelled.then(|| plain(labels)).into_iter().chain([
            (firing.severity.to_string(), tone),
            plain(amounts::moment(firing.fired_at, timezone)),
            plain(resolved(firing, timezone)),
            plain(length(firing)),
            plain(firing.peak.map_or(UNKNOWN.to_owned(), value)),
        ]);
        sheet.row(cells);
    }
    sheet.render()
}

fn resolved(firing: &Firing, timezone: &TimeZone) -> String {
    let at = |at: UnixMicros| amounts::moment(at, timezone);
    firing.resolved_at.map_or("not yet".to_owned(), at)
}

fn length(firing: &Firing) -> String {
    let Some(resolved_at) = firing.resolved_at else {
        return UNKNOWN.to_owned();
    };
    let length = resolved_at.since(firing.fired_at);
    let seconds = (length + Duration::from_millis(500)).as_secs();
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// A value for a line: a time in the unit that fits.
pub(super) fn value(of: Quantity) -> String {
    match (of.unit, u64::try_from(of.value)) {
        (Unit::Seconds, Ok(us)) => amounts::duration(us),
        _ => of.to_string(),
    }
}

/// Requests and what they cost.
fn requests(tally: &Tally) -> String {
    let plural = if tally.requests == 1 { "" } else { "s" };
    format!(
        "{} request{plural} ({})",
        count(tally.requests),
        usd(tally.cost)
    )
}
