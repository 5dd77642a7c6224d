//! The buttons under a message.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::{AlertSubject, AnswerAction, Offer, Signer, Subject, ToldOf, Way};
use crate::alert::{ActionTaken, AlertId, AlertState, Severity};
use crate::clock::UnixMicros;
use crate::config::Language;
use crate::notify::content::{AlertContent, AlertsContent, ChannelContent, Content};
use crate::notify::{Answering, Button, ButtonTarget};
use crate::record::{GateState, Owner};

/// How long a link works.
pub const LINKS_WORK_FOR: Duration = Duration::from_secs(24 * 3600);

/// Buttons under one message.
const MOST_BUTTONS: usize = 8;
/// Rules of a group that get buttons.
const MOST_RULES: usize = 3;
/// Characters of a name on a button, the mark of what was cut off included.
const LONGEST_NAME: usize = 24;
/// The same of a rule that its labels follow.
const LONGEST_RULE: usize = 16;

/// Whom it is offered, and how.
#[derive(Clone, Copy, Debug)]
pub struct Offers<'a> {
    /// What signs.
    pub signer: &'a Signer,
    /// How the receiver is answered.
    pub answering: Answering,
    /// `admin.public_url`, which links need.
    pub public_url: Option<&'a Uri>,
    /// The receiver's name.
    pub receiver: &'a str,
    /// Its language.
    pub language: Language,
    /// How long the buttons work (`answers.expire_after`; [`LINKS_WORK_FOR`]).
    pub expire_after: Duration,
}

/// What people can answer to `content`, in rows of at most eight buttons together; nothing where the
/// receiver cannot be answered.
///
/// Alerts that fire can be silenced, all of a rule by one silence: what they have in common (see
/// [`AlertSubject`]); where none of them is critical, only as warnings. A channel that an alert closed,
/// or that was told to be closed, can be opened or kept closed. What is over offers its details only.
/// What is done most urgently comes first, for receivers that show a few.
#[must_use]
pub fn buttons(content: &Content, of: &Offers<'_>, now: UnixMicros) -> Vec<Vec<Button>> {
    let mut keyboard = Keyboard {
        of,
        now,
        left: MOST_BUTTONS,
        rows: Vec::new(),
    };
    match content {
        Content::Alerts(alerts) => keyboard.alerts(alerts),
        Content::Channel(channel) => keyboard.channel(channel),
        Content::Digest(_) | Content::Undelivered(_) => {}
    }
    keyboard.rows
}

struct Keyboard<'a> {
    of: &'a Offers<'a>,
    now: UnixMicros,
    left: usize,
    rows: Vec<Vec<Button>>,
}

impl Keyboard<'_> {
    fn alerts(&mut self, group: &AlertsContent) {
        let firing = |alert: &&AlertContent| alert.event.state == AlertState::Firing;
        let of_firing: Vec<_> = group.alerts.iter().filter(firing).collect();
        let is_over = of_firing.is_empty();
        let told = if is_over {
            group.alerts.iter().collect()
        } else {
            of_firing
        };
        let rules = by_rule(&told);
        let first = &rules[..rules.len().min(MOST_RULES)];
        let subjects = first.iter().filter_map(|alerts| subject(group, alerts));
        let subjects: Vec<AlertSubject> = subjects.collect();
        let told_of = ToldOf {
            until: group.at,
            operator: false,
        };
        // Every rule has its details, whatever else there is room for.
        let reserved = subjects.len() * if is_over { 1 } else { 2 };
        self.left = self.left.saturating_sub(reserved);
        if !is_over {
            for channel in closed_channels(&told) {
                self.closed_channel(channel, true, told_of);
            }
        }
        self.left += reserved;
        let language = self.of.language;
        if !is_over {
            for (subject, alerts) in subjects.iter().zip(&rules) {
                let is_warning =
                    |alert: &&AlertContent| alert.event.severity == Some(Severity::Warning);
                let subject = if alerts.iter().all(is_warning) {
                    subject.clone().of_warnings()
                } else {
                    subject.clone()
                };
                let label = silence_label(language, &subject);
                let subject = Subject::Alerts(subject);
                self.row(vec![(AnswerAction::Silence, &subject, label)], told_of);
            }
        }
        let is_one = subjects.len() == 1;
        let subjects: Vec<_> = subjects
            .into_iter()
            .map(|subject| {
                let rule = Some(Arc::clone(&subject.rule)).filter(|_| !is_one);
                let label = details_label(language, rule.as_deref());
                (Subject::Alerts(subject), label)
            })
            .collect();
        let details = subjects
            .iter()
            .map(|(subject, label)| (AnswerAction::Details, subject, label.clone()));
        self.row(details.collect(), told_of);
    }

    fn channel(&mut self, notice: &ChannelContent) {
        let Some(last) = notice.events.last() else {
            return;
        };
        let channel = &notice.channel;
        let of_operators = notice
            .events
            .iter()
            .rfind(|event| event.owner == Owner::Operator);
        let told_of = ToldOf {
            until: last.at,
            operator: of_operators.is_some_and(|event| event.hold != GateState::Open),
        };
        if last.state != GateState::Open {
            let is_for_good = last.owner == Owner::Operator && last.until.is_none();
            self.closed_channel(Arc::clone(channel), !is_for_good, told_of);
        }
        let details = details_label(self.of.language, None);
        let subject = Subject::Channel(Arc::clone(channel));
        self.row(vec![(AnswerAction::Details, &subject, details)], told_of);
    }

    fn closed_channel(&mut self, channel: Arc<str>, can_be_kept: bool, told: ToldOf) {
        let name = cut(&channel, LONGEST_NAME);
        let (reopen, keep) = match self.of.language {
            Language::En => (format!("Re-enable {name}"), format!("Keep {name} closed")),
            Language::Zh => (format!("重新启用 {name}"), format!("保持关闭 {name}")),
        };
        let channel = Subject::Channel(channel);
        let mut row = vec![(AnswerAction::Reopen, &channel, reopen)];
        if can_be_kept {
            row.push((AnswerAction::KeepClosed, &channel, keep));
        }
        self.row(row, told);
    }

    /// A row, where there is room for all of it and it can be offered.
    fn row(&mut self, offers: Vec<(AnswerAction, &Subject, String)>, told: ToldOf) {
        if offers.is_empty() || offers.len() > self.left {
            return;
        }
        let buttons = offers.into_iter().map(|(action, subject, label)| {
            let target = self.target(action, subject, told)?;
            Some(Button { label, target })
        });
        if let Some(row) = buttons.collect::<Option<Vec<_>>>() {
            self.left -= row.len();
            self.rows.push(row);
        }
    }

    fn target(
        &self,
        action: AnswerAction,
        subject: &Subject,
        told: ToldOf,
    ) -> Option<ButtonTarget> {
        let of = self.of;
        let offer = Offer {
            action,
            subject,
            expires_at: self.now.plus(of.expire_after),
            nonce: of.signer.nonce(of.receiver, action, subject, self.now),
            told,
        };
        match of.answering {
            Answering::Buttons => {
                let sealed = of.signer.seal(Way::Button, of.receiver, &offer);
                Some(ButtonTarget::Callback(sealed))
            }
            Answering::Links => {
                let base = of.public_url?.to_string();
                let sealed = of.signer.seal(Way::Link, of.receiver, &offer);
                let url = format!("{}/answers/{sealed}", base.trim_end_matches('/'));
                Some(ButtonTarget::Url(url))
            }
            Answering::Never => None,
        }
    }
}

/// The alerts rule by rule, in the order of the first of each.
fn by_rule<'a>(told: &[&'a AlertContent]) -> Vec<Vec<&'a AlertContent>> {
    let mut rules: Vec<Vec<&AlertContent>> = Vec::new();
    for &alert in told {
        let rule = &alert.event.alert.rule;
        let own = rules.iter_mut().find(|alerts| {
            let first = alerts.first();
            first.is_some_and(|first| first.event.alert.rule == *rule)
        });
        match own {
            Some(alerts) => alerts.push(alert),
            None => rules.push(vec![alert]),
        }
    }
    rules
}

/// What can be silenced or looked at of a rule's alerts in a group. Of a group that has more than are
/// listed, only what the whole group has in common by the route's own word.
fn subject(group: &AlertsContent, alerts: &[&AlertContent]) -> Option<AlertSubject> {
    let common = AlertSubject::common(alerts.iter().map(|alert| &alert.event.alert))?;
    if group.more == 0 {
        return Some(common);
    }
    let facts = &group.facts;
    Some(common.with_labels(|name, _| facts.iter().any(|(known, _)| **known == *name)))
}

/// The channels that these alerts closed, each once.
fn closed_channels(told: &[&AlertContent]) -> Vec<Arc<str>> {
    let mut closed: Vec<Arc<str>> = Vec::new();
    for alert in told {
        let actions = alert.event.actions.iter();
        let channels = actions.filter_map(|taken| closed_channel(taken, &alert.event.alert));
        for channel in channels {
            if !closed.contains(&channel) {
                closed.push(channel);
            }
        }
    }
    closed
}

/// The channel that an action closed. A rule may close another one than its alert is about; then only
/// the action's words say which.
fn closed_channel(taken: &ActionTaken, alert: &AlertId) -> Option<Arc<str>> {
    if &*taken.action != "disable_channel" || !taken.done {
        return None;
    }
    let quoted = taken.detail.split('`').nth(1).map(Arc::from);
    quoted.or_else(|| alert.labels.get("channel").cloned())
}

/// What is silenced: the rule and its labels' values.
fn silence_label(language: Language, alerts: &AlertSubject) -> String {
    let values: Vec<&str> = alerts.labels.iter().map(|(_, value)| value).collect();
    let what = if values.is_empty() {
        cut(&alerts.rule, LONGEST_NAME)
    } else {
        format!(
            "{} {}",
            cut(&alerts.rule, LONGEST_RULE),
            cut(&values.join(" "), LONGEST_NAME)
        )
    };
    match (language, alerts.only_warnings) {
        (Language::En, false) => format!("Silence {what} 1 h"),
        (Language::En, true) => format!("Silence warnings of {what} 1 h"),
        (Language::Zh, false) => format!("静默 {what} 1 小时"),
        (Language::Zh, true) => format!("静默 {what} 的警告 1 小时"),
    }
}

fn details_label(language: Language, rule: Option<&str>) -> String {
    let word = match language {
        Language::En => "Details",
        Language::Zh => "详情",
    };
    match rule {
        None => word.to_owned(),
        Some(rule) => format!("{word}: {}", cut(rule, LONGEST_NAME)),
    }
}

/// A name that fits on a button.
fn cut(name: &str, longest: usize) -> String {
    if name.chars().count() <= longest {
        return name.to_owned();
    }
    let head: String = name.chars().take(longest - 1).collect();
    format!("{head}…")
}
