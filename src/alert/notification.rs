//! Notifications: what is told to whom, and what became of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::UnixMicros;
use crate::record::closed_set;

closed_set! {
    /// What a notification is about.
    NotificationKind ("kind of notification") {
        /// A group of alerts.
        Alert => "alert",
        /// A channel's gate: closed, probing, open again.
        Channel => "channel",
        /// What was used in a day, a week, or whatever a schedule says.
        Digest => "digest",
        /// Another receiver that cannot be reached.
        Undelivered => "undelivered",
    }
}

closed_set! {
    /// Why a group of alerts is told.
    NotifyReason ("reason to notify") {
        /// Nothing was told of the group yet.
        First => "first",
        /// An alert fires that was not told of.
        Firing => "firing",
        /// A warning became critical, or the other way round.
        Severity => "severity",
        /// Something was done about an alert, or is done no longer.
        Acted => "acted",
        /// An alert that was told of fires no longer.
        Resolved => "resolved",
        /// An alert came and went with something done about it before anybody was told.
        CameAndWent => "came_and_went",
        /// Nothing is new, but it was told long ago.
        Repeat => "repeat",
        /// It is no alert's: a notice, a digest.
        Notice => "notice",
    }
}

closed_set! {
    /// What became of a notification in the end.
    NotificationResult ("notification result") {
        /// The receiver took it.
        Sent => "sent",
        /// The receiver took another one, with what this one says in it.
        Merged => "merged",
        /// A newer one of the same group took its place before it was sent.
        Replaced => "replaced",
        /// It was given up: refused for good, or not taken before its deadline.
        Dead => "dead",
    }
}

/// One message to one receiver, from the moment it is kept until its fate is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its id, a UUIDv7.
    pub id: Uuid,
    /// When it was made.
    pub at: UnixMicros,
    /// The receiver's name.
    pub receiver: Arc<str>,
    /// What it is about.
    pub kind: NotificationKind,
    /// Why it is told.
    pub reason: NotifyReason,
    /// Which conversation it belongs to: the group of alerts, the channel, the digest and its period. A
    /// newer one of a receiver and group takes the place of one that was not sent yet.
    pub group: Arc<str>,
    /// In one line, for lists.
    pub title: Arc<str>,
    /// After this moment nobody wants it any more.
    pub deadline: UnixMicros,
    /// What is told: JSON of `notify::Content`; at most [`Notification::MOST_BYTES`].
    pub content: Arc<str>,
    /// What the group had told once this one is sent, for whoever starts anew: JSON of
    /// `dispatch`; at most [`Notification::MOST_BYTES`]. Empty where there is nothing to know.
    pub told: Arc<str>,
}

impl Notification {
    /// The most bytes of `content` and of `told`, so that an entry of the journal takes both.
    pub const MOST_BYTES: usize = 480 << 10;
}

/// What became of a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationFate {
    /// Which.
    pub id: Uuid,
    /// When that was known.
    pub at: UnixMicros,
    /// What.
    pub result: NotificationResult,
    /// How often it was tried.
    pub attempts: u32,
    /// What the receiver calls its message (Telegram's message id), for what is to be told under it.
    pub reference: Option<Arc<str>>,
    /// Which other one says it, of one that was merged or replaced.
    pub by: Option<Uuid>,
    /// Why, of one that is dead: in words, without secrets.
    pub error: Option<Arc<str>>,
}

/// Somebody answered a notification, or commanded from a chat: what is kept of it, so that it works
/// once and can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatAnswer {
    /// When.
    pub at: UnixMicros,
    /// The receiver it came by.
    pub receiver: Arc<str>,
    /// Who, as the chat calls them, with their id there.
    pub who: Arc<str>,
    /// What they asked for: an action's name, or the command as it was written.
    pub asked: Arc<str>,
    /// The alert or channel it is about.
    pub subject: Arc<str>,
    /// Whether it was done.
    pub done: bool,
    /// What came of it, in words.
    pub outcome: Arc<str>,
    /// The number that makes an answer or a command work once.
    pub nonce: Option<u64>,
    /// Until when that number must be remembered.
    pub expires_at: Option<UnixMicros>,
}
