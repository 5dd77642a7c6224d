//! Commands carried out, and what they answer.

use std::sync::Arc;
use std::time::Duration;

use super::answerer::{Answerer, Asking};
use super::claims::Once;
use super::details::{alert_line, gate_tone, hold_line, state_word};
use super::figures::{spent, traffic};
use super::{BadCommand, Command, SpendBy, SpendOver};
use crate::alert::{AlertId, AlertState, Quantity, SilenceMatcher};
use crate::clock::UnixMicros;
use crate::config::{Language, likeliest};
use crate::ledger::query::{Order, RequestFilter};
use crate::notify::content::humane;
use crate::notify::{Block, Message, Span, Tone};
use crate::record::{GateState, Phase};
use crate::rules::RuleView;

/// Lines of one list.
const MOST_LINES: usize = 10;
/// Budgets in a status.
const MOST_BUDGETS: usize = 5;
/// Characters of a command in the audit.
const LONGEST_COMMAND: usize = 500;

/// How long it is remembered which messages were carried out: longer than the chat's service tells a
/// command again of which nobody knows whether it was, and that still works.
const COMMANDS_REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// A message that may be a command.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Who wrote it.
    pub who: &'a str,
    /// The text.
    pub text: &'a str,
    /// The bot's name, where it is known.
    pub bot: Option<&'a str>,
    /// The chat it is in, by its number.
    pub chat: i64,
    /// Its number in the chat: what is told twice is carried out once.
    pub message_id: i32,
}

impl Answerer {
    /// Carries out what somebody wrote in a chat of this receiver, and says what came of it. `None` where
    /// that is no command, or one for another bot. What changes something is kept, and done once.
    #[must_use]
    pub fn command(
        &self,
        receiver: &str,
        written: &Written<'_>,
        now: UnixMicros,
    ) -> Option<Message> {
        let told = &self.told(receiver)?;
        let who = written.who;
        let asking = &Asking { told, who, now };
        let command = match Command::parse(written.text, written.bot)? {
            Ok(command) => command,
            Err(bad) => return Some(asking.remedy(&bad)),
        };
        Some(match command {
            Command::Status => self.status(asking),
            Command::Spend { over, by } => self.spend(asking, over, by),
            Command::Channels => self.channels_told(asking),
            Command::Slow { most } => self.slow(asking, most),
            Command::Disable {
                channel,
                span,
                reason,
            } => self.changed(asking, written, &channel, || {
                self.close(asking, &channel, span, reason.as_deref())
            }),
            Command::Enable { channel } => {
                self.changed(asking, written, &channel, || self.reopen(asking, &channel))
            }
            Command::Silence {
                matchers,
                span,
                comment,
            } => {
                let subject: Vec<String> = matchers
                    .iter()
                    .map(|matcher| format!("{}={}", matcher.name(), matcher.value()))
                    .collect();
                self.changed(asking, written, &subject.join(" "), || {
                    self.known_rule(asking, &matchers)
                        .and_then(|()| self.silence(asking, matchers, span, &comment))
                })
            }
            Command::Help => asking.help(),
        })
    }

    fn changed(
        &self,
        asking: &Asking<'_>,
        written: &Written<'_>,
        subject: &str,
        act: impl FnOnce() -> Result<String, String>,
    ) -> Message {
        let text = written.text.trim();
        let asked: String = text.chars().take(LONGEST_COMMAND).collect();
        let (chat, message_id) = (written.chat, written.message_id);
        let once = Once {
            nonce: self
                .signer
                .message_nonce(&asking.told.name, chat, message_id),
            expires_at: asking.now.plus(COMMANDS_REMEMBERED_FOR),
            asked: &asked,
            subject,
            instead: text,
        };
        let reply = self.once(asking, &once, act);
        let tone = if reply.taken() {
            Tone::Good
        } else {
            Tone::Warning
        };
        asking.message(tone, reply.text, Vec::new())
    }

    /// Fails where a silence names a rule that nobody knows: surely a slip.
    fn known_rule(&self, asking: &Asking<'_>, matchers: &[SilenceMatcher]) -> Result<(), String> {
        let names = matchers.iter().filter(|matcher| matcher.name() == "rule");
        for named in names {
            let name = named.value();
            if name.contains(['*', '?']) || self.rules.rule(name).is_some() {
                continue;
            }
            let views = self.rules.view(asking.now);
            let known = views.iter().map(|view| &*view.rule.name);
            return Err(match likeliest(name, known) {
                Some(near) => asking.say(
                    format!("No rule is named “{name}”. Did you mean {near}?"),
                    format!("没有名为“{name}”的规则。您是要 {near} 吗？"),
                ),
                None => asking.say(
                    format!(
                        "No rule is named “{name}”. /status lists what fires; a pattern as \
                         rule=Spend* is taken as it is."
                    ),
                    format!("没有名为“{name}”的规则。/status 列出正在触发的告警；也可写模式，如 rule=Spend*。"),
                ),
            });
        }
        Ok(())
    }

    fn status(&self, asking: &Asking<'_>) -> Message {
        let views = self.rules.view(asking.now);
        let mut body = vec![heading(asking.say("Today", "今天"))];
        let today = asking.beginning(SpendOver::Today);
        match self.used_since(asking, today, None) {
            Ok(summary) => {
                body.push(item(traffic(asking, &summary.total)));
                let spent = spent(asking, &summary.total);
                body.push(item(
                    asking.say(format!("{spent} spent"), format!("花费 {spent}")),
                ));
            }
            Err(error) => body.push(unread(asking, &error)),
        }
        match self.latencies(asking) {
            Ok(found) => {
                let told = |us: Option<u64>| us.map(|us| humane::latency(us, asking.told.language));
                if let Some(latency) = told(found.latency_us) {
                    let ttft = told(found.ttft_us).map(|ttft| {
                        asking.say(
                            format!(", first token {ttft}"),
                            format!("，首个 token {ttft}"),
                        )
                    });
                    let ttft = ttft.unwrap_or_default();
                    body.push(item(asking.say(
                        format!("p95 of the last hour {latency}{ttft}"),
                        format!("最近一小时 p95 {latency}{ttft}"),
                    )));
                }
            }
            Err(error) => body.push(unread(asking, &error)),
        }
        let shut = self.shut_channels(asking, &mut body);
        let (firing, critical) = firing_told(asking, &views, &mut body);
        budgets_told(asking, &views, &mut body);
        body.extend(self.errors_told(asking, None));
        let tone = match (critical, shut + firing) {
            (true, _) => Tone::Critical,
            (false, 0) => Tone::Good,
            (false, _) => Tone::Warning,
        };
        let title = if shut + firing == 0 {
            asking.say("All is well", "一切正常")
        } else {
            asking.say(
                format!("{shut} closed, {firing} firing"),
                format!("{shut} 个渠道关闭，{firing} 条告警触发"),
            )
        };
        asking.message(tone, title, body)
    }

    /// Lists the channels that are not open, and says how many.
    fn shut_channels(&self, asking: &Asking<'_>, body: &mut Vec<Block>) -> usize {
        let all = self.channels.status(asking.now);
        let count = all.len();
        let shut: Vec<_> = all
            .into_iter()
            .filter(|(_, gate)| gate.state != GateState::Open)
            .collect();
        if shut.is_empty() {
            body.push(item(asking.say(
                format!("Channels: {count} of {count} open"),
                format!("渠道：{count} 个全部启用"),
            )));
            return 0;
        }
        body.push(heading(asking.say(
            format!("Channels: {} of {count} closed", shut.len()),
            format!("渠道：{count} 个中有 {} 个关闭", shut.len()),
        )));
        for (channel, gate) in shut.iter().take(MOST_LINES) {
            let holds = gate.holds.iter().map(|hold| hold_line(asking, hold));
            let holds: Vec<String> = holds.collect();
            body.push(named(&channel.name, &holds.join("; ")));
        }
        body.extend(asking.more(shut.len(), MOST_LINES));
        shut.len()
    }

    fn channels_told(&self, asking: &Asking<'_>) -> Message {
        let all = self.channels.status(asking.now);
        let shut = all.iter().filter(|(_, gate)| gate.state != GateState::Open);
        let (count, shut) = (all.len(), shut.count());
        let mut body = Vec::new();
        // Those that are not open first.
        let mut order: Vec<_> = all.iter().collect();
        order.sort_by_key(|(_, gate)| gate.state == GateState::Open);
        for (channel, gate) in order.iter().take(4 * MOST_LINES) {
            let mut text = state_word(asking, gate.state);
            let holds: Vec<String> = gate
                .holds
                .iter()
                .map(|hold| hold_line(asking, hold))
                .collect();
            if !holds.is_empty() {
                text = holds.join("; ");
            }
            body.push(named(&channel.name, &text));
        }
        body.extend(asking.more(count, 4 * MOST_LINES));
        let title = asking.say(
            format!("Channels: {} of {count} open", count - shut),
            format!("渠道：{count} 个中有 {} 个启用", count - shut),
        );
        let tone = gate_tone(if shut == 0 {
            GateState::Open
        } else {
            GateState::Closed
        });
        asking.message(tone, title, body)
    }

    fn spend(&self, asking: &Asking<'_>, over: SpendOver, by: Option<SpendBy>) -> Message {
        let since = asking.beginning(over);
        let summary = match self.used_since(asking, since, by) {
            Ok(summary) => summary,
            Err(error) => {
                return asking.message(
                    Tone::Warning,
                    over.to_string(),
                    vec![unread(asking, &error)],
                );
            }
        };
        let mut body = vec![Block::Line(vec![Span::Text(traffic(
            asking,
            &summary.total,
        ))])];
        if by.is_some() {
            for row in summary.rows.iter().take(MOST_LINES) {
                let name = row.group.first().and_then(Option::as_deref);
                let name = name.map_or_else(|| asking.say("(none)", "（无）"), str::to_owned);
                let text = format!("{}, {}", spent(asking, row), traffic(asking, row));
                body.push(named(&name, &text));
            }
            body.extend(asking.more(summary.rows.len(), MOST_LINES));
        }
        let time = match over {
            SpendOver::Today => asking.say("Today", "今天"),
            SpendOver::Week => asking.say("Last 7 days", "最近 7 天"),
            SpendOver::Month => asking.say("This month", "本月"),
        };
        let title = format!("{time}: {}", spent(asking, &summary.total));
        asking.message(Tone::Neutral, title, body)
    }

    fn slow(&self, asking: &Asking<'_>, most: u32) -> Message {
        let filter = RequestFilter {
            since: Some(asking.beginning(SpendOver::Today)),
            order: Order::Slowest,
            limit: most,
            ..RequestFilter::default()
        };
        let title = asking.say("Slowest requests of today", "今天最慢的请求");
        let page = match self.read(|reader| reader.requests(&filter)) {
            Ok(page) => page.unwrap_or_default(),
            Err(error) => {
                return asking.message(Tone::Warning, title, vec![unread(asking, &error)]);
            }
        };
        let mut body = Vec::new();
        for request in &page.requests {
            let language = asking.told.language;
            let took = request.phases[Phase::Total].map(|us| humane::latency(us, language));
            let first = request.phases[Phase::FirstToken].map(|us| humane::latency(us, language));
            let first = first.map(|first| {
                asking.say(
                    format!("first token {first}"),
                    format!("首个 token {first}"),
                )
            });
            let model = request
                .served_model
                .as_ref()
                .or(request.requested_model.as_ref());
            let failed = request.outcome.as_str();
            let parts = [
                model.cloned(),
                request.channel.clone(),
                first,
                (failed != "ok").then(|| failed.to_owned()),
                Some(asking.moment(request.started_at)),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            body.push(named(&took.unwrap_or_default(), &parts.join(", ")));
        }
        if page.requests.is_empty() {
            let none = asking.say("No request yet.", "暂无请求。");
            body.push(Block::Line(vec![Span::Text(none)]));
        }
        asking.message(Tone::Neutral, title, body)
    }
}

impl Asking<'_> {
    fn remedy(&self, bad: &BadCommand) -> Message {
        self.message(Tone::Neutral, bad.remedy(self.told.language), Vec::new())
    }

    fn help(&self) -> Message {
        const COMMANDS: [(&str, &str, &str); 8] = [
            ("/status", "how it stands", "当前状态"),
            (
                "/spend [today|7d|month] [by model|channel|key]",
                "what was spent",
                "花费",
            ),
            (
                "/channels",
                "every channel and who holds it",
                "全部渠道及其状态",
            ),
            (
                "/slow [5]",
                "the slowest requests of today",
                "今天最慢的请求",
            ),
            (
                "/disable CHANNEL [for 1h] [reason]",
                "closes a channel",
                "关闭渠道",
            ),
            ("/enable CHANNEL", "opens it, whoever closed it", "启用渠道"),
            (
                "/silence RULE for 2h [comment]",
                "nobody is told of it; also rule=Spend channel=a*",
                "静默告警，也可写 rule=Spend channel=a*",
            ),
            ("/help", "this", "本帮助"),
        ];
        let lines = COMMANDS.iter().map(|&(command, english, chinese)| {
            let words = match self.told.language {
                Language::En => english,
                Language::Zh => chinese,
            };
            named(command, words)
        });
        let body = lines.collect();
        self.message(Tone::Neutral, self.say("Commands", "命令"), body)
    }
}

/// Lists the alerts that fire; how many, and whether one is critical.
fn firing_told(asking: &Asking<'_>, views: &[RuleView], body: &mut Vec<Block>) -> (usize, bool) {
    let firing: Vec<_> = views
        .iter()
        .flat_map(|view| view.alerts.iter().map(move |alert| (view, alert)))
        .filter(|(_, alert)| alert.state == AlertState::Firing)
        .collect();
    if firing.is_empty() {
        body.push(item(asking.say("No alert fires", "没有告警触发")));
        return (0, false);
    }
    body.push(heading(asking.say(
        format!("Alerts: {} firing", firing.len()),
        format!("告警：{} 条触发", firing.len()),
    )));
    let mut order = firing.clone();
    order.sort_by_key(|(_, alert)| std::cmp::Reverse(alert.severity));
    for (view, alert) in order.iter().take(MOST_LINES) {
        let id = AlertId {
            rule: Arc::clone(&view.rule.name),
            labels: alert.labels.clone(),
        };
        body.push(named(
            &id.to_string(),
            &alert_line(asking, &view.rule, alert),
        ));
    }
    body.extend(asking.more(firing.len(), MOST_LINES));
    let is_critical = |severity| severity == Some(crate::alert::Severity::Critical);
    let critical = firing.iter().any(|(_, alert)| is_critical(alert.severity));
    (firing.len(), critical)
}

/// Lists the budgets that are used most, those that were used at all.
fn budgets_told(asking: &Asking<'_>, views: &[RuleView], body: &mut Vec<Block>) {
    let mut budgets: Vec<(f64, String, Quantity, Quantity)> = Vec::new();
    for view in views {
        let Some(limit) = view
            .rule
            .budget_limit()
            .map(|limit| view.rule.quantity(limit))
        else {
            continue;
        };
        for alert in &view.alerts {
            if let Some(value) = alert.value.filter(|value| value.value > 0) {
                let name = format!("{}{}", view.rule.name, alert.labels);
                let share = value.as_f64() / limit.as_f64().max(f64::MIN_POSITIVE);
                budgets.push((share, name, value, limit));
            }
        }
    }
    if budgets.is_empty() {
        return;
    }
    budgets.sort_by(|left, right| right.0.total_cmp(&left.0));
    body.push(heading(asking.say("Budgets", "预算")));
    for (_, name, value, limit) in budgets.iter().take(MOST_BUDGETS) {
        body.push(named(
            name,
            &humane::against(*value, *limit, asking.told.language),
        ));
    }
    body.extend(asking.more(budgets.len(), MOST_BUDGETS));
}

fn unread(asking: &Asking<'_>, error: &crate::ledger::QueryError) -> Block {
    tracing::error!(%error, "the ledger cannot be read for a command in a chat");
    asking.unread()
}

fn heading(text: String) -> Block {
    Block::Heading(vec![Span::Text(text)])
}

fn item(text: String) -> Block {
    Block::Item(vec![Span::Text(text)])
}

/// A name and what is said of it.
fn named(name: &str, text: &str) -> Block {
    Block::Item(vec![
        Span::Code(name.to_owned()),
        Span::Text(format!(" {text}")),
    ])
}
