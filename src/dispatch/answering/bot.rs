//! What the loop needs of a chat's bot.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::notify::telegram::{Bot, CallError, Updates};
use crate::notify::{Button, Message};

/// A bot that hears what is pressed and written in its chats.
#[async_trait]
pub trait ChatBot: fmt::Debug + Send + Sync {
    /// Its name in chats, without the `@`.
    async fn name(&self) -> Result<String, CallError>;

    /// What happened since `offset` ([`Updates::next`]; 0 for all there still is), as soon as there is
    /// something or when `wait` is over. What is before `offset` is confirmed by that and never told
    /// again.
    async fn poll(&self, offset: i32, wait: Duration) -> Result<Updates, CallError>;

    /// Which supergroup a group became; `None` where it is what it was.
    async fn moved_to(&self, chat: i64) -> Result<Option<i64>, CallError>;

    /// Answers who pressed a button, with a text that only they see; as an `alert` to be closed.
    async fn acknowledge(
        &self,
        callback_id: &str,
        text: &str,
        alert: bool,
    ) -> Result<(), CallError>;

    /// Says something in a chat: in a topic, and as an answer to a message, where there are such.
    async fn reply(
        &self,
        chat: i64,
        topic: Option<i32>,
        reply_to: Option<i32>,
        message: &Message,
    ) -> Result<(), CallError>;

    /// Puts these buttons under a message, in place of those that it had.
    async fn set_buttons(
        &self,
        chat: i64,
        message_id: i32,
        buttons: &[Vec<Button>],
    ) -> Result<(), CallError>;
}

#[async_trait]
impl ChatBot for Bot {
    async fn name(&self) -> Result<String, CallError> {
        Bot::name(self).await
    }

    async fn poll(&self, offset: i32, wait: Duration) -> Result<Updates, CallError> {
        Bot::poll(self, offset, wait).await
    }

    async fn moved_to(&self, chat: i64) -> Result<Option<i64>, CallError> {
        Bot::moved_to(self, chat).await
    }

    async fn acknowledge(
        &self,
        callback_id: &str,
        text: &str,
        alert: bool,
    ) -> Result<(), CallError> {
        Bot::acknowledge(self, callback_id, text, alert).await
    }

    async fn reply(
        &self,
        chat: i64,
        topic: Option<i32>,
        reply_to: Option<i32>,
        message: &Message,
    ) -> Result<(), CallError> {
        let said = Bot::reply(self, chat, topic, reply_to, message).await;
        said.map(|_| ())
    }

    async fn set_buttons(
        &self,
        chat: i64,
        message_id: i32,
        buttons: &[Vec<Button>],
    ) -> Result<(), CallError> {
        Bot::set_buttons(self, chat, message_id, buttons).await
    }
}
