//! How the subject of a message stands now.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::answerer::{Answerer, Asking, Reply, Standing};
use super::{AlertSubject, Subject};
use crate::alert::{AlertEvent, AlertId, AlertState, Severity};
use crate::channel::Hold;
use crate::ledger::query::{NameFilter, Order, RequestFilter, StoredRequest};
use crate::notify::content::{actions_told, humane};
use crate::notify::{Block, Message, Span, Tone};
use crate::record::{GateReason, GateState, Owner};
use crate::rules::{AlertView, Rule};

/// Alerts that are listed.
const MOST_ALERTS: usize = 10;
/// Failed requests that are listed.
const MOST_ERRORS: u32 = 3;
/// How far back failures are looked for.
const ERRORS_SINCE: Duration = Duration::from_secs(24 * 3600);
/// Characters of a provider's error.
const LONGEST_ERROR: usize = 120;

impl Answerer {
    /// How a subject stands.
    pub(super) fn details(&self, asking: &Asking<'_>, subject: &Subject) -> Reply {
        let message = match subject {
            Subject::Alerts(alerts) => self.alerts_told(asking, alerts),
            Subject::Channel(channel) => self.channel_told(asking, channel),
        };
        Reply {
            text: message.title.clone(),
            standing: Standing::Done,
            message: Some(message),
        }
    }

    fn alerts_told(&self, asking: &Asking<'_>, subject: &AlertSubject) -> Message {
        let views = self.rules.view(asking.now);
        let mut found: Vec<(AlertId, &Arc<Rule>, &AlertView)> = Vec::new();
        for view in &views {
            for alert in &view.alerts {
                let id = AlertId {
                    rule: Arc::clone(&view.rule.name),
                    labels: alert.labels.clone(),
                };
                if subject.fits(&id) {
                    found.push((id, &view.rule, alert));
                }
            }
        }
        found.sort_by_key(|(_, _, alert)| std::cmp::Reverse((alert.state, alert.severity)));
        let worst = found.first().map(|(_, _, alert)| *alert);
        let tone = match worst {
            Some(alert) if alert.state == AlertState::Firing => {
                alert.severity.map_or(Tone::Warning, Tone::from)
            }
            Some(_) => Tone::Good,
            None => Tone::Neutral,
        };
        let mut body = Vec::new();
        for (id, rule, alert) in found.iter().take(MOST_ALERTS) {
            body.push(Block::Item(vec![
                Span::Code(id.to_string()),
                Span::Text(format!(": {}", alert_line(asking, rule, alert))),
            ]));
            let told = asking.told;
            let done = actions_told(
                &event(id, rule, alert),
                told.language,
                &told.timezone,
                asking.now,
            );
            body.extend(
                done.into_iter()
                    .map(|line| Block::Line(vec![Span::Text(line)])),
            );
        }
        body.extend(asking.more(found.len(), MOST_ALERTS));
        if found.is_empty() {
            let text = asking.say("No rule has it any more.", "已没有规则包含此告警。");
            body.push(Block::Line(vec![Span::Text(text)]));
        }
        asking.message(tone, subject.to_string(), body)
    }

    fn channel_told(&self, asking: &Asking<'_>, channel: &str) -> Message {
        let Ok(gate) = self.gate(asking, channel) else {
            return asking.message(Tone::Neutral, channel.to_owned(), Vec::new());
        };
        let mut body: Vec<Block> = gate
            .holds
            .iter()
            .map(|hold| Block::Item(vec![Span::Text(hold_line(asking, hold))]))
            .collect();
        let in_flight = asking.say(
            format!(
                "{} on their way",
                humane::requests(gate.in_flight.into(), asking.told.language)
            ),
            format!(
                "进行中：{}",
                humane::requests(gate.in_flight.into(), asking.told.language)
            ),
        );
        body.push(Block::Line(vec![Span::Text(in_flight)]));
        body.extend(self.errors_told(asking, Some(channel)));
        let title = format!("{channel}: {}", state_word(asking, gate.state));
        asking.message(gate_tone(gate.state), title, body)
    }

    /// The last requests that failed.
    pub(super) fn errors_told(&self, asking: &Asking<'_>, channel: Option<&str>) -> Vec<Block> {
        let filter = RequestFilter {
            since: Some(asking.now.minus(ERRORS_SINCE)),
            channel: channel.map(NameFilter::exactly).unwrap_or_default(),
            failed_only: true,
            order: Order::Newest,
            limit: MOST_ERRORS,
            ..RequestFilter::default()
        };
        let page = match self.read(|reader| reader.requests(&filter)) {
            Ok(page) => page.unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "the ledger cannot be read for an answer in a chat");
                return vec![asking.unread()];
            }
        };
        if page.requests.is_empty() {
            let text = asking.say("No failure in 24 h.", "24 小时内没有失败。");
            return vec![Block::Line(vec![Span::Text(text)])];
        }
        let heading = asking.say("Last failures", "最近的失败");
        let mut body = vec![Block::Heading(vec![Span::Text(heading)])];
        body.extend(page.requests.iter().map(|request| {
            let named = request.channel.as_deref().filter(|_| channel.is_none());
            Block::Item(error_line(asking, request, named))
        }));
        body
    }
}

impl Asking<'_> {
    /// A message in the receiver's language.
    pub(super) fn message(&self, tone: Tone, title: String, body: Vec<Block>) -> Message {
        Message {
            tone,
            language: self.told.language,
            title,
            body,
            buttons: Vec::new(),
            thread: None,
            image: None,
        }
    }

    /// A line where the ledger could not be asked.
    pub(super) fn unread(&self) -> Block {
        let text = self.say(
            "The ledger cannot be read; the log says why.",
            "账本无法读取；原因见日志。",
        );
        Block::Line(vec![Span::Text(text)])
    }

    /// A line that says how many were left out.
    pub(super) fn more(&self, all: usize, listed: usize) -> Option<Block> {
        let more = all.saturating_sub(listed);
        let text = self.say(format!("… {more} more"), format!("……另有 {more} 条"));
        (more > 0).then(|| Block::Line(vec![Span::Text(text)]))
    }
}

/// An alert as far as what was done about it is put into words.
fn event(id: &AlertId, rule: &Rule, alert: &AlertView) -> AlertEvent {
    AlertEvent {
        at: alert.active_since.unwrap_or(alert.window_start),
        alert: id.clone(),
        state: alert.state,
        severity: alert.severity,
        active_since: alert.active_since,
        fired_at: alert.fired_at,
        cleared_since: None,
        critical_since: None,
        critical_cleared_since: None,
        value: alert.value,
        limit: None,
        window_end: alert.window_end,
        mode: rule.mode,
        told: true,
        actions: alert.actions.clone(),
    }
}

/// What an alert is doing: `critical since 14:03, $103.20 of $100.00`.
pub(super) fn alert_line(asking: &Asking<'_>, rule: &Rule, alert: &AlertView) -> String {
    let mut text = match (alert.state, alert.severity) {
        (AlertState::Firing, Some(Severity::Critical)) => asking.say("critical", "严重"),
        (AlertState::Firing, _) => asking.say("warning", "警告"),
        (AlertState::Pending, _) => asking.say("pending", "待触发"),
        (AlertState::Inactive, _) => asking.say("as it should be", "正常"),
    };
    let since = match alert.state {
        AlertState::Firing => alert.fired_at,
        _ => alert.active_since,
    };
    if let Some(since) = since.filter(|_| alert.state != AlertState::Inactive) {
        let since = asking.moment(since);
        text = asking.say(
            format!("{text} since {since}"),
            format!("{text}，自 {since}"),
        );
    }
    let limit = match alert.severity {
        Some(Severity::Warning) => rule.warning.or(rule.critical),
        _ => rule.critical.or(rule.warning),
    };
    if let Some(value) = alert.value {
        let language = asking.told.language;
        let value = match limit.map(|limit| rule.quantity(limit)) {
            Some(limit) => humane::against(value, limit, language),
            None => humane::quantity(value, language),
        };
        let comma = asking.say(", ", "，");
        let _infallible = write!(text, "{comma}{value}");
    }
    text
}

/// Who holds a channel: `closed by the alert Spend until 16:00: $103 …`.
pub(super) fn hold_line(asking: &Asking<'_>, hold: &Hold) -> String {
    let closing = &hold.closing;
    let owner = match &closing.owner {
        Owner::Operator => match &closing.who {
            Some(who) => who.to_string(),
            None => asking.say("an operator", "操作员"),
        },
        Owner::Breaker => asking.say("its breaker", "熔断器"),
        Owner::Alert(alert) => asking.say(format!("the alert {alert}"), format!("告警 {alert}")),
    };
    let since = asking.moment(hold.since);
    let until = closing.until.map(|until| asking.moment(until));
    let mut text = match (until, closing.owner == Owner::Breaker) {
        (Some(until), false) => asking.say(
            format!("closed by {owner} since {since} until {until}"),
            format!("由 {owner} 于 {since} 关闭，至 {until}"),
        ),
        (Some(until), true) => asking.say(
            format!("closed by {owner} since {since}, tried again at {until}"),
            format!("由 {owner} 于 {since} 关闭，{until} 重试"),
        ),
        (None, _) => asking.say(
            format!("closed by {owner} since {since}"),
            format!("由 {owner} 于 {since} 关闭"),
        ),
    };
    let reason = match closing.reason {
        GateReason::OutOfMoney => Some(asking.say("out of money", "余额不足")),
        GateReason::BadCredential => Some(asking.say("its credential is refused", "凭据被拒")),
        GateReason::Failures => Some(asking.say("too many failures", "失败过多")),
        _ => None,
    };
    // An alert's note is its value and limit as the rule writes them; the alert itself says them better.
    let is_alerts = matches!(closing.owner, Owner::Alert(_));
    let note = closing.note.as_deref().filter(|_| !is_alerts);
    for part in [reason.as_deref(), note].into_iter().flatten() {
        let _infallible = write!(text, "; {part}");
    }
    text
}

pub(super) fn state_word(asking: &Asking<'_>, state: GateState) -> String {
    match state {
        GateState::Open => asking.say("open", "启用"),
        GateState::Probing => asking.say("probing", "试探中"),
        GateState::Closed => asking.say("closed", "已关闭"),
    }
}

pub(super) const fn gate_tone(state: GateState) -> Tone {
    match state {
        GateState::Open => Tone::Good,
        GateState::Probing | GateState::Closed => Tone::Warning,
    }
}

fn error_line(asking: &Asking<'_>, request: &StoredRequest, channel: Option<&str>) -> Vec<Span> {
    let mut head = asking.moment(request.started_at);
    for part in [channel, request.requested_model.as_deref()]
        .into_iter()
        .flatten()
    {
        let _infallible = write!(head, " {part}");
    }
    let status = request.status.map(|status| status.to_string());
    let code = request.error_code.as_deref();
    let why = [status.as_deref(), Some(request.outcome.as_str()), code];
    let why: Vec<&str> = why.into_iter().flatten().collect();
    let mut text = format!(": {}", why.join(" "));
    if let Some(message) = request.error_message.as_deref() {
        let cut: String = message.chars().take(LONGEST_ERROR).collect();
        let mark = if cut.len() < message.len() { "…" } else { "" };
        let _infallible = write!(text, ", {cut}{mark}");
    }
    vec![Span::Text(head), Span::Text(text)]
}
