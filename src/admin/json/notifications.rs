//! What was told to whom, and what was answered.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Moment;
use crate::alert::{ChatAnswer, NotificationKind, NotifyReason};
use crate::ledger::query::{NotificationState, StoredNotification};

/// A notification: one message to one receiver, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationJson {
    /// Its id, a UUID.
    pub id: String,
    /// When it was made.
    pub at: Moment,
    /// The receiver's name.
    pub receiver: String,
    /// What it is about.
    pub kind: NotificationKind,
    /// Why it is told.
    pub reason: NotifyReason,
    /// The conversation that it belongs to.
    pub group: String,
    /// What it says, in one line.
    pub title: String,
    /// When it is given up.
    pub deadline: Moment,
    /// What became of it; `open` while it is still to be sent.
    pub result: NotificationState,
    /// Since when that is known; `null` while it is open.
    pub settled_at: Option<Moment>,
    /// How often it was tried; `null` while it is open.
    pub attempts: Option<u32>,
    /// What the receiver calls its message, where it says.
    pub reference: Option<String>,
    /// The id of the notification that was sent in its place, of one that was merged or replaced.
    pub by: Option<String>,
    /// Why it is dead.
    pub error: Option<String>,
}

impl From<&StoredNotification> for NotificationJson {
    fn from(stored: &StoredNotification) -> Self {
        let told = &stored.notification;
        let fate = stored.fate.as_ref();
        Self {
            id: told.id.to_string(),
            at: Moment(told.at),
            receiver: told.receiver.as_ref().to_owned(),
            kind: told.kind,
            reason: told.reason,
            group: told.group.as_ref().to_owned(),
            title: told.title.as_ref().to_owned(),
            deadline: Moment(told.deadline),
            result: stored.state(),
            settled_at: fate.map(|fate| Moment(fate.at)),
            attempts: fate.map(|fate| fate.attempts),
            reference: fate
                .and_then(|fate| fate.reference.as_deref())
                .map(str::to_owned),
            by: fate.and_then(|fate| fate.by).map(|by| by.to_string()),
            error: fate
                .and_then(|fate| fate.error.as_deref())
                .map(str::to_owned),
        }
    }
}

/// Notifications, the newest first, and how to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationList {
    /// The notifications.
    pub notifications: Vec<NotificationJson>,
    /// The `cursor` of the next page; `null` when this was the last.
    pub next: Option<String>,
}

/// One notification with what it tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationDetailJson {
    /// The notification, its fields at this level.
    #[serde(flatten)]
    pub notification: NotificationJson,
    /// What it tells, in values; each version has its own fields here. `null` where it was too large
    /// to be kept.
    pub content: Value,
}

impl From<&StoredNotification> for NotificationDetailJson {
    fn from(stored: &StoredNotification) -> Self {
        let content = serde_json::from_str(&stored.notification.content);
        Self {
            notification: stored.into(),
            content: content.unwrap_or(Value::Null),
        }
    }
}

/// What somebody answered or commanded from a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChatAnswerJson {
    /// When.
    pub at: Moment,
    /// The receiver that it came by.
    pub receiver: String,
    /// Who, as the chat calls them, with their id there.
    pub who: String,
    /// What they asked for: an action, or the command as it was written.
    pub asked: String,
    /// The alert or channel it is about.
    pub subject: String,
    /// Whether it was done.
    pub done: bool,
    /// What came of it, in words.
    pub outcome: String,
}

impl From<&ChatAnswer> for ChatAnswerJson {
    fn from(answer: &ChatAnswer) -> Self {
        Self {
            at: Moment(answer.at),
            receiver: answer.receiver.as_ref().to_owned(),
            who: answer.who.as_ref().to_owned(),
            asked: answer.asked.as_ref().to_owned(),
            subject: answer.subject.as_ref().to_owned(),
            done: answer.done,
            outcome: answer.outcome.as_ref().to_owned(),
        }
    }
}

/// What was answered from chats, the newest first, and how to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChatAnswerList {
    /// The answers.
    pub answers: Vec<ChatAnswerJson>,
    /// The `cursor` of the next page; `null` when this was the last.
    pub next: Option<String>,
}
