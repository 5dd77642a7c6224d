//! What the loop needs of a chat's bot.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::UnixMicros;
use crate::notify::{Button, Message};

/// What a bot heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updates {
    /// What to ask for next time.
    pub next: i32,
    /// What can be understood of it, in order.
    pub heard: Vec<Update>,
}

/// Something that somebody did in a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its number.
    pub id: i32,
    /// The chat.
    pub chat: i64,
    /// The topic, where it was in one.
    pub topic: Option<i32>,
    /// Who did it.
    pub user: i64,
    /// What they call themselves: anybody can take any name.
    pub user_name: String,
    /// What they did.
    pub what: What,
}

/// What somebody did in a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// They pressed a button.
    Pressed {
        /// What the answer goes to.
        callback_id: String,
        /// The message with the button.
        message_id: i32,
        /// The button's characters.
        data: String,
        /// The buttons under the message; empty where that is not known.
        buttons: Vec<Vec<Button>>,
    },
    /// They wrote something.
    Wrote {
        /// The message.
        message_id: i32,
        /// Its text.
        text: String,
        /// When it was sent; `None` where that is not known.
        sent_at: Option<UnixMicros>,
    },
}

/// Why nothing was heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// The bot's token is not good (any more) (401, 404).
    #[error("the bot's token is refused")]
    Unauthorized,
    /// Another program polls with the same token, or a webhook is set (409).
    #[error("somebody else listens with the bot's token")]
    Conflict,
    /// Something that may pass.
    #[error("{detail}")]
    Again {
        /// Not before so long, where the service says.
        after: Option<Duration>,
        /// In words, without secrets.
        detail: String,
    },
}

/// A bot that hears what is pressed and written in its chats. No error's text holds a secret.
#[async_trait]
pub trait ChatBot: fmt::Debug + Send + Sync {
    /// What happened since `offset` ([`Updates::next`]; 0 for all there still is); waits as long as
    /// `wait` for it. What is before `offset` is confirmed by that and never told again.
    async fn poll(&self, offset: i32, wait: Duration) -> Result<Updates, PollError>;

    /// Its name in chats, without `@`; `None` where that is not known.
    async fn user_name(&self) -> Option<Arc<str>>;

    /// Answers who pressed a button, with up to 200 characters that only they see.
    async fn acknowledge(&self, callback_id: &str, text: &str) -> Result<(), PollError>;

    /// Says something in a chat: in a topic, and as an answer to a message, where there are such.
    async fn reply(
        &self,
        chat: i64,
        topic: Option<i32>,
        reply_to: Option<i32>,
        message: &Message,
    ) -> Result<(), PollError>;

    /// Puts these buttons under a message, in place of those that it had.
    async fn set_buttons(
        &self,
        chat: i64,
        message_id: i32,
        buttons: &[Vec<Button>],
    ) -> Result<(), PollError>;
}
