//! What rules say now, as a table.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::admin::json::{ActionTakenJson, AlertJson, Decimal, RuleJson};
use crate::alert::{AlertState, Severity};
use crate::cli::amounts::{
    UNKNOWN, count, moment, name_or_unknown, quantity, quantity_bare, shown,
};
use crate::cli::channel_table::in_so_long;
use crate::cli::output::Output;
use crate::cli::table::{Sheet, Tone};
use crate::clock::UnixMicros;
use crate::rules::Side;

/// Inactive alerts of a rule that are shown, unless all are: those nearest to their limit.
const MOST_INACTIVE: usize = 10;

/// One row an alert, or a rule without any, those that fire at the front.
pub(super) fn alerts(
    rules: &[RuleJson],
    all: bool,
    now: UnixMicros,
    timezone: &TimeZone,
    output: &Output,
) -> String {
    let mut sheet = Sheet::new(output);
    sheet.column("rule", false, 0);
    sheet.column("labels", false, 0);
    sheet.column("state", false, 0);
    sheet.column("value", true, 0);
    sheet.column("limit", true, 0);
    sheet.column("of limit", true, 1);
    sheet.column("runs out", false, 2);
    sheet.column("reserved", true, 4);
    sheet.column("forecast", true, 5);
    sheet.column("window", false, 6);
    sheet.column("done", false, 3);
    let (mut lines, left_out) = lines(rules, all);
    lines.sort_by_key(Line::rank);
    for line in &lines {
        sheet.row(line.cells(now, timezone));
    }
    let mut text = sheet.render();
    // Writing to a String does not fail.
    for alert in lines.iter().filter_map(|line| line.alert) {
        let _ = annotations(&mut text, alert);
    }
    for rule in rules {
        if rule.folded > 0 {
            let _ = writeln!(
                text,
                "\n{} has more combinations than its `max_series` ({}); the others share one alert, \
                 requests so far: {}",
                shown(&rule.name),
                count(rule.max_series),
                count(rule.folded)
            );
        }
        if let Some(reason) = &rule.unhealthy_reason {
            let name = shown(&rule.name);
            let _ = writeln!(
                text,
                "\n{name} cannot be judged, so it neither fires nor resolves: {}",
                shown(reason)
            );
        }
    }
    if left_out > 0 {
        let left_out = count(u64::try_from(left_out).unwrap_or(u64::MAX));
        let _ = writeln!(
            text,
            "\n{left_out} more alerts are inactive; `--all` shows them."
        );
    }
    text
}

/// A row of the table.
struct Line<'r> {
    rule: &'r RuleJson,
    alert: Option<&'r AlertJson>,
    /// Whether it is the first of its rule, where what the rule did as a whole is told.
    first: bool,
}

/// The lines to show, and how many are left out.
fn lines(rules: &[RuleJson], all: bool) -> (Vec<Line<'_>>, usize) {
    let mut lines = Vec::new();
    let mut left_out = 0;
    for rule in rules {
        let mut alerts: Vec<Option<&AlertJson>> = rule.alerts.iter().map(Some).collect();
        if alerts.is_empty() {
            alerts.push(None);
        }
        let line = |alert| Line {
            rule,
            alert,
            first: false,
        };
        let mut own: Vec<Line<'_>> = alerts.into_iter().map(line).collect();
        own.sort_by_key(Line::rank);
        if let Some(first) = own.first_mut() {
            first.first = true;
        }
        let active = own.iter().take_while(|line| line.is_active()).count();
        let shown = if all {
            own.len()
        } else {
            own.len().min(active + MOST_INACTIVE)
        };
        left_out += own.len() - shown;
        own.truncate(shown);
        lines.append(&mut own);
    }
    (lines, left_out)
}

impl Line<'_> {
    fn is_active(&self) -> bool {
        self.alert
            .is_some_and(|alert| alert.state != AlertState::Inactive)
    }

    /// What stands at the front is the least.
    fn rank(&self) -> impl Ord + use<> {
        let state = self.alert.map(|alert| (alert.state, alert.severity));
        Reverse((state, self.share()))
    }

    /// The share of the limit that the value comes to, in millionths, of a rule for which more is
    /// worse.
    fn share(&self) -> Option<i128> {
        let rule = self.rule;
        let limit = rule.critical.or(rule.warning)?.quantity(rule.unit).value;
        let value = self.alert?.value?.quantity(rule.unit).value;
        if rule.side == Side::Below {
            return None;
        }
        (i128::from(value) * 1_000_000).checked_div(i128::from(limit))
    }

    fn cells(&self, now: UnixMicros, timezone: &TimeZone) -> [(String, Tone); 11] {
        let plain = |text: String| (text, Tone::Plain);
        let rule = self.rule;
        let alert = self.alert;
        let value = alert.and_then(|alert| alert.value);
        let share = self.share().map(|millionths| millionths / 10_000);
        [
            plain(name_or_unknown(Some(&rule.name))),
            plain(alert.map_or_else(String::new, labels)),
            self.state(),
            plain(value.map_or_else(
                || UNKNOWN.to_owned(),
                |value| quantity(value.quantity(rule.unit)),
            )),
            plain(limits(rule)),
            plain(share.map_or_else(String::new, |percent| format!("{percent}%"))),
            plain(self.runs_out()),
            plain(self.bare(alert.and_then(|alert| alert.reserved))),
            plain(self.bare(alert.and_then(|alert| alert.forecast))),
            plain(self.window(now, timezone)),
            plain(self.done()),
        ]
    }

    fn state(&self) -> (String, Tone) {
        if !self.rule.healthy {
            return ("unknown".to_owned(), Tone::Doubtful);
        }
        let state = self.alert.map_or(AlertState::Inactive, |alert| alert.state);
        let severity = self.alert.and_then(|alert| alert.severity);
        let tone = match (state, severity) {
            (AlertState::Inactive, _) => return (state.to_string(), Tone::Plain),
            (AlertState::Firing, Some(Severity::Critical)) => Tone::Bad,
            _ => Tone::Doubtful,
        };
        let severity = severity.map_or_else(String::new, |severity| format!(" {severity}"));
        let silenced = self.alert.and_then(|alert| alert.silenced_by.as_deref());
        let silenced = silenced.map_or("", |by| if by.is_empty() { "" } else { ", silenced" });
        (format!("{state}{severity}{silenced}"), tone)
    }

    fn runs_out(&self) -> String {
        match self.alert {
            Some(alert) if self.rule.is_budget => match alert.exhausted_in_us {
                Some(us) => in_so_long(Duration::from_micros(us)),
                None if alert.forecast.is_some() => "not in this window".to_owned(),
                None => UNKNOWN.to_owned(),
            },
            _ => String::new(),
        }
    }

    /// What budgets alone have.
    fn bare(&self, value: Option<Decimal>) -> String {
        match value {
            Some(value) => quantity_bare(value.quantity(self.rule.unit)),
            None if self.rule.is_budget => UNKNOWN.to_owned(),
            None => String::new(),
        }
    }

    fn window(&self, now: UnixMicros, timezone: &TimeZone) -> String {
        let window = shown(&self.rule.window);
        let Some(end) = self.alert.and_then(|alert| alert.window_end) else {
            return window.into_owned();
        };
        // Whose clocks it goes by matters less than when it ends.
        let unit = window.split(' ').next().unwrap_or_default();
        let left = in_so_long(end.0.since(now));
        format!("{unit} until {} ({left})", moment(end.0, timezone))
    }

    fn done(&self) -> String {
        let actions = self.alert.map(|alert| alert.actions.as_slice());
        let mut parts: Vec<String> = actions.unwrap_or_default().iter().map(done).collect();
        if self.first {
            for (requests, what) in [
                (self.rule.blocked, "refused"),
                (self.rule.would_block, "would have been refused"),
                (self.rule.folded, "folded"),
            ] {
                if requests > 0 {
                    parts.push(format!("{} {what}", count(requests)));
                }
            }
        }
        parts.join("; ")
    }
}

/// What an alert that fires says in its rule's words.
fn annotations(text: &mut String, alert: &AlertJson) -> std::fmt::Result {
    if alert.state != AlertState::Firing || alert.annotations.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", shown(&alert.alert))?;
    for (name, told) in &alert.annotations {
        // Of several lines each is safe to print.
        let told: Vec<_> = told.trim_end().lines().map(shown).collect();
        writeln!(text, "  {}: {}", shown(name), told.join("\n    "))?;
    }
    Ok(())
}

/// What an action came to, in words.
fn done(taken: &ActionTakenJson) -> String {
    let detail = shown(&taken.detail);
    match taken.action.as_str() {
        "notify" if taken.done => format!("notify {detail}"),
        "notify" => format!("would notify {detail}"),
        _ => detail.into_owned(),
    }
}

fn labels(alert: &AlertJson) -> String {
    let labels = alert.labels.iter().map(|(name, value)| {
        let value = Some(value.as_str()).filter(|value| !value.is_empty());
        format!("{}={}", shown(name), name_or_unknown(value))
    });
    let labels: Vec<String> = labels.collect();
    labels.join(" ")
}

/// Both limits, the unit told once.
fn limits(rule: &RuleJson) -> String {
    let told = |limit: Option<Decimal>| limit.map(|limit| limit.quantity(rule.unit));
    match (told(rule.warning), told(rule.critical)) {
        (Some(warning), Some(critical)) => {
            format!("{} / {}", quantity_bare(warning), quantity(critical))
        }
        (limit, other) => limit.or(other).map_or_else(String::new, quantity),
    }
}
