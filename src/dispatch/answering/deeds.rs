//! What answers and commands change, done as an operator does it by the API: the same holds, the same
//! silences, with the name of who asked.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::answerer::{Answerer, Asking};
use super::details::hold_line;
use super::{AlertSubject, ToldOf};
use crate::alert::{AlertId, AlertState, Silence, SilenceMatcher};
use crate::channel::{Closing, GateStatus, Hold};
use crate::config::likeliest;
use crate::ledger::SilenceError;
use crate::record::{GateReason, GateState, Owner};

/// How long a button silences.
const AN_HOUR: Duration = Duration::from_secs(3600);

impl Answerer {
    /// Silences alerts for an hour.
    pub(super) fn silence_an_hour(
        &self,
        asking: &Asking<'_>,
        alerts: &AlertSubject,
    ) -> Result<String, String> {
        let comment = format!("button of {}", asking.told.name);
        self.silence(asking, alerts.matchers(), AN_HOUR, &comment)
    }

    /// Silences the alerts that fit.
    pub(super) fn silence(
        &self,
        asking: &Asking<'_>,
        matchers: Vec<SilenceMatcher>,
        span: Duration,
        comment: &str,
    ) -> Result<String, String> {
        let silence = Silence {
            id: Uuid::now_v7(),
            matchers,
            starts_at: asking.now,
            ends_at: asking.now.plus(span),
            created_at: asking.now,
            created_by: asking.who.into(),
            comment: comment.into(),
            ended_at: None,
        };
        let which: Vec<String> = silence
            .matchers
            .iter()
            .map(|matcher| format!("{}={}", matcher.name(), matcher.value()))
            .collect();
        let (which, until) = (which.join(" "), asking.moment(silence.ends_at));
        let fitting = self.firing(asking, &silence);
        self.silences.create(silence).map_err(|error| match error {
            SilenceError::Bad(bad) => asking.say(
                format!("This is no silence: {bad}."),
                "这不是有效的静默：至少需要一个条件，且结束时间须晚于开始时间。",
            ),
            SilenceError::NotWriter => asking.say(
                "Another process writes the ledger at the moment. Nothing was changed; try again.",
                "目前由另一个进程写入账本，未做任何更改，请重试。",
            ),
            error => {
                tracing::error!(%error, "a silence that was asked for in a chat cannot be kept");
                asking.say(
                    "The ledger cannot be written, so nothing was changed; the log says why.",
                    "账本无法写入，未做任何更改；原因见日志。",
                )
            }
        })?;
        Ok(asking.say(
            format!("Silenced until {until}: {which} ({fitting} firing now)."),
            format!("已静默至 {until}：{which}（当前触发 {fitting} 条）。"),
        ))
    }

    /// How many alerts fire now that a silence fits.
    fn firing(&self, asking: &Asking<'_>, silence: &Silence) -> usize {
        let views = self.rules.view(asking.now);
        let alerts = views.iter().flat_map(|view| {
            let firing = |alert: &&_| {
                let alert: &crate::rules::AlertView = alert;
                let id = AlertId {
                    rule: Arc::clone(&view.rule.name),
                    labels: alert.labels.clone(),
                };
                alert.state == AlertState::Firing
                    && silence.matches(&id, alert.severity, asking.now)
            };
            view.alerts.iter().filter(firing)
        });
        alerts.count()
    }

    /// Opens a channel that is held closed by nobody of whom its message did not tell.
    pub(super) fn reopen_as_told(
        &self,
        asking: &Asking<'_>,
        channel: &str,
        known: ToldOf,
    ) -> Result<String, String> {
        let gate = self.gate(asking, channel)?;
        let is_new = |hold: &&Hold| {
            let untold = hold.closing.owner == Owner::Operator && !known.operator;
            untold || hold.since > known.until
        };
        let Some(hold) = gate.holds.iter().find(is_new) else {
            return self.reopen(asking, channel);
        };
        let now = hold_line(asking, hold);
        Err(asking.say(
            format!(
                "{channel} was left closed: by now it is {now}, which this message does not tell of. \
                 /enable {channel} opens it all the same."
            ),
            format!(
                "{channel} 保持关闭：目前{now}，与此消息所述不同。仍要启用请发送 /enable {channel}。"
            ),
        ))
    }

    /// Opens a channel, whoever holds it closed.
    pub(super) fn reopen(&self, asking: &Asking<'_>, channel: &str) -> Result<String, String> {
        let before = self.gate(asking, channel)?;
        if before.state == GateState::Open && before.holds.is_empty() {
            return Ok(asking.say(
                format!("{channel} is open already."),
                format!("{channel} 已处于启用状态。"),
            ));
        }
        let by = Owner::Operator;
        let note = format!("from {}", asking.told.name);
        let opened = self
            .channels
            .reopen(channel, &by, Some(asking.who), Some(&note), asking.now);
        opened.map_err(|_| self.no_channel(asking, channel))?;
        Ok(self.recorded(
            asking,
            asking.say(
                format!("{channel} is open again."),
                format!("{channel} 已重新启用。"),
            ),
        ))
    }

    /// Closes a channel until somebody opens it, where it is closed for now.
    pub(super) fn keep_closed(&self, asking: &Asking<'_>, channel: &str) -> Result<String, String> {
        let before = self.gate(asking, channel)?;
        if before.state == GateState::Open {
            return Err(asking.say(
                format!(
                    "{channel} is open again, so it was left open. /disable {channel} closes it."
                ),
                format!("{channel} 已恢复启用，因此未作更改。/disable {channel} 可将其关闭。"),
            ));
        }
        let note = format!("kept closed from {}", asking.told.name);
        self.close(asking, channel, None, Some(&note))
    }

    /// Closes a channel, for a time or until somebody opens it. An operator's earlier hold is replaced.
    pub(super) fn close(
        &self,
        asking: &Asking<'_>,
        channel: &str,
        span: Option<Duration>,
        note: Option<&str>,
    ) -> Result<String, String> {
        let until = span.map(|span| asking.now.plus(span));
        let closing = Closing {
            owner: Owner::Operator,
            reason: GateReason::Operator,
            until,
            who: Some(asking.who.into()),
            note: note.map(Arc::from),
        };
        let closed = self.channels.close(channel, closing, asking.now);
        closed.map_err(|_| self.no_channel(asking, channel))?;
        let text = match until.map(|until| asking.moment(until)) {
            Some(until) => asking.say(
                format!("{channel} is closed until {until}."),
                format!("{channel} 已关闭至 {until}。"),
            ),
            None => asking.say(
                format!("{channel} is closed until somebody opens it."),
                format!("{channel} 已关闭，直到有人启用。"),
            ),
        };
        Ok(self.recorded(asking, text))
    }

    /// A channel's gate.
    pub(super) fn gate(&self, asking: &Asking<'_>, channel: &str) -> Result<GateStatus, String> {
        let gate = self.channels.gate_status(channel, asking.now);
        gate.map_err(|_| self.no_channel(asking, channel))
    }

    fn no_channel(&self, asking: &Asking<'_>, name: &str) -> String {
        let names = self.channels.iter().map(|channel| &*channel.name);
        match likeliest(name, names) {
            Some(near) => asking.say(
                format!("No channel is named “{name}”. Did you mean {near}?"),
                format!("没有名为“{name}”的渠道。您是要 {near} 吗？"),
            ),
            None => asking.say(
                format!("No channel is named “{name}”. /channels lists every one."),
                format!("没有名为“{name}”的渠道。/channels 列出全部渠道。"),
            ),
        }
    }

    /// The text, and whether the change does not survive the process yet.
    fn recorded(&self, asking: &Asking<'_>, text: String) -> String {
        if self.is_recorded() {
            return text;
        }
        let more = asking.say(
            "The disk does not take the journal at present: a restart may forget this.",
            "磁盘目前无法写入日志：重启后此更改可能丢失。",
        );
        format!("{text} {more}")
    }
}
