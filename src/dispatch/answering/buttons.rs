//! The buttons under a message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::{AlertSubject, AnswerAction, Offer, Signer, Subject, Way};
use crate::alert::{ActionTaken, AlertId, AlertState};
use crate::clock::UnixMicros;
use crate::config::Language;
use crate::notify::content::{AlertContent, AlertsContent, ChannelContent, Content};
use crate::notify::{Answering, Button, ButtonTarget};
use crate::record::{GateState, Owner};

/// How long a link works.
pub const LINKS_WORK_FOR: Duration = Duration::from_secs(24 * 3600);

/// Buttons under one message.
const MOST_BUTTONS: usize = 8;
/// Rules that get buttons of their own, where a group has nothing in common.
const MOST_RULES: usize = 2;
/// Characters of a name on a button, the mark of what was cut off included.
const LONGEST_NAME: usize = 24;

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
/// Alerts that fire can be silenced, all of a group by one silence: what they have in common (see
/// [`AlertSubject`]). Where that is nothing, each of the first rules has a button of its own. A
/// channel that an alert closed, or that was told to be closed, can be opened or kept closed. What
/// is over offers its details only.
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
        let subjects = subjects(group, &told);
        let is_one = subjects.len() == 1;
        for subject in subjects {
            let rule = subject.rule.clone().filter(|_| !is_one);
            let subject = Subject::Alerts(subject);
            let mut row = Vec::new();
            if !is_over {
                row.push((
                    AnswerAction::Silence,
                    silence_label(self.of.language, rule.as_deref()),
                ));
            }
            row.push((
                AnswerAction::Details,
                details_label(self.of.language, rule.as_deref()),
            ));
            self.row(&subject, row);
        }
        if is_over {
            return;
        }
        let mut closed: Vec<Arc<str>> = Vec::new();
        for alert in told {
            let channels = alert
                .event
                .actions
                .iter()
                .filter_map(|taken| closed_channel(taken, &alert.event.alert));
            for channel in channels {
                if !closed.contains(&channel) {
                    closed.push(channel);
                }
            }
        }
        for channel in closed {
            self.closed_channel(channel, true);
        }
    }

    fn channel(&mut self, notice: &ChannelContent) {
        let channel = &notice.channel;
        if let Some(last) = notice.events.last()
            && last.state != GateState::Open
        {
            let is_for_good = last.owner == Owner::Operator && last.until.is_none();
            self.closed_channel(Arc::clone(channel), !is_for_good);
        }
        let details = details_label(self.of.language, None);
        let subject = Subject::Channel(Arc::clone(channel));
        self.row(&subject, vec![(AnswerAction::Details, details)]);
    }

    fn closed_channel(&mut self, channel: Arc<str>, can_be_kept: bool) {
        let name = cut(&channel);
        let (reopen, keep) = match self.of.language {
            Language::En => (format!("Re-enable {name}"), format!("Keep {name} closed")),
            Language::Zh => (format!("重新启用 {name}"), format!("保持关闭 {name}")),
        };
        let mut row = vec![(AnswerAction::Reopen, reopen)];
        if can_be_kept {
            row.push((AnswerAction::KeepClosed, keep));
        }
        self.row(&Subject::Channel(channel), row);
    }

    /// A row, where there is room for all of it and it can be offered.
    fn row(&mut self, subject: &Subject, offers: Vec<(AnswerAction, String)>) {
        if offers.len() > self.left {
            return;
        }
        let buttons = offers.into_iter().map(|(action, label)| {
            let target = self.target(action, subject)?;
            Some(Button { label, target })
        });
        if let Some(row) = buttons.collect::<Option<Vec<_>>>() {
            self.left -= row.len();
            self.rows.push(row);
        }
    }

    fn target(&self, action: AnswerAction, subject: &Subject) -> Option<ButtonTarget> {
        let of = self.of;
        let offer = Offer {
            action,
            subject,
            expires_at: self.now.plus(of.expire_after),
            nonce: of.signer.nonce(of.receiver, action, subject, self.now),
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

/// What can be silenced or looked at of a group: all of it, or its first rules one by one.
fn subjects(group: &AlertsContent, told: &[&AlertContent]) -> Vec<AlertSubject> {
    let ids = || told.iter().map(|alert| &alert.event.alert);
    if let Some(common) = AlertSubject::common(ids()) {
        return vec![narrowed(common, group)];
    }
    let mut rules: BTreeMap<&Arc<str>, Vec<&AlertId>> = BTreeMap::new();
    let mut order = Vec::new();
    for id in ids() {
        let alerts = rules.entry(&id.rule).or_default();
        if alerts.is_empty() {
            order.push(&id.rule);
        }
        alerts.push(id);
    }
    let first = order.into_iter().take(MOST_RULES);
    first
        .filter_map(|rule| AlertSubject::common(rules.remove(rule)?))
        .collect()
}

/// Of a group that has more alerts than are listed, only what the whole group has in common, by the
/// route's own word; what the listed ones have, where the route groups by nothing of it.
fn narrowed(common: AlertSubject, group: &AlertsContent) -> AlertSubject {
    if group.more == 0 {
        return common;
    }
    let fact = |name: &str| group.facts.iter().find(|(known, _)| **known == *name);
    let grouped = AlertSubject {
        rule: common.rule.clone().filter(|_| fact("rule").is_some()),
        labels: crate::alert::Labels::new(
            common
                .labels
                .iter()
                .filter(|(name, _)| fact(name).is_some())
                .map(|(name, value)| (name.into(), value.into())),
        ),
    };
    if grouped.rule.is_none() && grouped.labels.is_empty() {
        return common;
    }
    grouped
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

fn silence_label(language: Language, rule: Option<&str>) -> String {
    match (language, rule) {
        (Language::En, None) => "Silence 1 h".to_owned(),
        (Language::En, Some(rule)) => format!("Silence {} 1 h", cut(rule)),
        (Language::Zh, None) => "静默 1 小时".to_owned(),
        (Language::Zh, Some(rule)) => format!("静默 {} 1 小时", cut(rule)),
    }
}

fn details_label(language: Language, rule: Option<&str>) -> String {
    let word = match language {
        Language::En => "Details",
        Language::Zh => "详情",
    };
    match rule {
        None => word.to_owned(),
        Some(rule) => format!("{word}: {}", cut(rule)),
    }
}

/// A name that fits on a button.
fn cut(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    let head: String = name.chars().take(LONGEST_NAME - 1).collect();
    format!("{head}…")
}
