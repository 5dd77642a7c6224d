//! A backtest as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::admin::json::{Moment, Usd};
use crate::alert::{Labels, Quantity, Severity, Unit};
use crate::clock::UnixMicros;
use crate::rules::Rule;
use crate::rules::backtest::{BacktestReport, Course, Firing, RuleBacktest, Tally};

#[derive(Serialize)]
struct ReportJson<'r> {
    since: Moment,
    until: Moment,
    /// Seconds.
    looked_every: u64,
    requests: TallyJson,
    rules: Vec<RuleJson<'r>>,
}

#[derive(Serialize)]
struct TallyJson {
    requests: u64,
    succeeded: u64,
    cost: Usd,
}

#[derive(Serialize)]
struct RuleJson<'r> {
    rule: &'r str,
    unit: Unit,
    warning: Option<String>,
    critical: Option<String>,
    alerts: usize,
    firings: Vec<FiringJson<'r>>,
    blocked: TallyJson,
    diverted: TallyJson,
    nearest: Option<CourseJson<'r>>,
}

#[derive(Serialize)]
struct FiringJson<'r> {
    labels: BTreeMap<&'r str, &'r str>,
    severity: Severity,
    fired_at: Moment,
    resolved_at: Option<Moment>,
    /// Decimal, of the rule's unit.
    peak: Option<String>,
}

#[derive(Serialize)]
struct CourseJson<'r> {
    labels: BTreeMap<&'r str, &'r str>,
    peak: String,
    /// Equal parts of the time; null where there was no value.
    values: Vec<Option<String>>,
}

/// The report, each number exact.
pub(super) fn render(report: &BacktestReport) -> Result<String, serde_json::Error> {
    let json = ReportJson {
        since: Moment(report.since),
        until: Moment(report.until),
        looked_every: report.look_every.as_secs(),
        requests: tally(&report.requests),
        rules: report.rules.iter().map(rule).collect(),
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&json)?))
}

fn rule(of: &RuleBacktest) -> RuleJson<'_> {
    let rule = &*of.rule;
    let decimal = |value: i64| rule.quantity(value).decimal();
    RuleJson {
        rule: &rule.name,
        unit: rule.unit(),
        warning: rule.warning.map(decimal),
        critical: rule.critical.map(decimal),
        alerts: of.alerts,
        firings: of.firings.iter().map(firing).collect(),
        blocked: tally(&of.blocked),
        diverted: tally(&of.diverted),
        nearest: of.nearest.as_ref().map(|nearest| course(nearest, rule)),
    }
}

fn firing(of: &Firing) -> FiringJson<'_> {
    let moment = |at: UnixMicros| Moment(at);
    FiringJson {
        labels: labels(&of.labels),
        severity: of.severity,
        fired_at: moment(of.fired_at),
        resolved_at: of.resolved_at.map(moment),
        peak: of.peak.map(Quantity::decimal),
    }
}

fn course<'r>(of: &'r Course, rule: &Rule) -> CourseJson<'r> {
    let decimal = |value: i64| rule.quantity(value).decimal();
    CourseJson {
        labels: labels(&of.labels),
        peak: decimal(of.peak),
        values: of.columns.iter().map(|value| value.map(decimal)).collect(),
    }
}

fn tally(of: &Tally) -> TallyJson {
    TallyJson {
        requests: of.requests,
        succeeded: of.succeeded,
        cost: Usd(of.cost),
    }
}

fn labels(of: &Labels) -> BTreeMap<&str, &str> {
    of.iter().collect()
}
