//! Telegram: a bot that tells a chat, and hears what people press and write there.
//!
//! What is asked and answered has the library's types; the way there is Tollgate's own HTTP client, as
//! for every other receiver. The library's own holds a 5xx back for ten seconds, which is as long as
//! a receiver usually has, takes a message whose description it cannot read for one that was not
//! sent, and has the token in the addresses of its errors.

mod bot;
mod call;
mod keyboard;
mod post;
mod text;

pub use bot::{Bot, BotError, Heard, Update, Updates};
pub use call::CallError;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use teloxide::types::{MessageId, Recipient};
use tokio::time::Instant;

use super::{
    Answering, Delivered, Delivery, FailureReason, Message, Pace, Rate, Receiver, SharedRates,
};
use crate::config::{ChatName, ReceiverKind, TelegramSettings};

use post::{Outgoing, Plan};
use text::Text;

/// The longest text with markup taken out, in UTF-16 code units.
const LONGEST_TEXT: usize = 4096;
/// The longest text under a picture.
const LONGEST_CAPTION: usize = 1024;

/// A chat that a bot tells.
#[derive(Debug)]
pub struct TelegramReceiver {
    bot: Arc<Bot>,
    /// Where messages go: as set, or where the group moved to since.
    chat: ArcSwap<Recipient>,
    settings: TelegramSettings,
    timeout: Duration,
}

impl TelegramReceiver {
    /// The chat of the settings, told by `bot`, which is theirs. A delivery may take `timeout`.
    #[must_use]
    pub fn new(bot: Arc<Bot>, settings: &TelegramSettings, timeout: Duration) -> Self {
        let chat = match &settings.chat {
            ChatName::Id(id) => Recipient::Id(teloxide::types::ChatId(*id)),
            ChatName::Name(name) => Recipient::ChannelUsername(name.to_string()),
        };
        Self {
            bot,
            chat: ArcSwap::from_pointee(chat),
            settings: settings.clone(),
            timeout,
        }
    }

    /// The bot that tells it.
    #[must_use]
    pub fn bot(&self) -> &Arc<Bot> {
        &self.bot
    }

    fn outgoing<'a>(&self, message: &'a Message, plan: Plan<'a>) -> Outgoing<'a> {
        let first = message
            .thread
            .as_ref()
            .and_then(|thread| thread.first.as_ref());
        Outgoing {
            chat: Recipient::clone(&self.chat.load()),
            topic: self.settings.topic,
            silent: self.settings.silent,
            reply_to: first.and_then(|first| first.parse().ok()).map(MessageId),
            callbacks: self.settings.answers.is_some(),
            message,
            plan,
        }
    }

    /// Posts it, and remembers where the group moved to.
    async fn post(&self, mut outgoing: Outgoing<'_>, until: Instant) -> Result<i32, CallError> {
        let result = self.bot.post(&mut outgoing, until).await;
        if outgoing.chat != **self.chat.load() {
            tracing::warn!(
                chat = %outgoing.chat,
                "the Telegram group became a supergroup; set `telegram.chat` to this number"
            );
            self.chat.store(Arc::new(outgoing.chat));
        }
        result
    }

    async fn deliver(&self, message: &Message) -> Result<i32, CallError> {
        let until = Instant::now() + self.timeout;
        let Some(image) = &message.image else {
            return self.post(self.outgoing(message, Plan::Text), until).await;
        };
        if Text::of(message).length() <= LONGEST_CAPTION {
            let outgoing = self.outgoing(message, Plan::Picture(image));
            match self.post(outgoing, until).await {
                Err(CallError::Picture(_)) => {}
                result => return result,
            }
            return self.post(self.outgoing(message, Plan::Text), until).await;
        }
        // The words come first, so that a picture that fails makes nobody read them twice.
        let id = self.post(self.outgoing(message, Plan::Text), until).await?;
        let mut picture = self.outgoing(message, Plan::TitledPicture(image));
        picture.reply_to = Some(MessageId(id));
        picture.silent = true;
        if let Err(error) = self.post(picture, until).await {
            tracing::warn!(%error, "a message's picture was not sent to Telegram");
        }
        Ok(id)
    }
}

#[async_trait]
impl Receiver for TelegramReceiver {
    fn kind(&self) -> ReceiverKind {
        ReceiverKind::Telegram
    }

    fn pace(&self) -> Pace {
        let is_private = matches!(&**self.chat.load(), Recipient::Id(id) if id.0 > 0);
        let mut of_chat = vec![Rate::new(1, 1)];
        if !is_private {
            of_chat.push(Rate::new(20, 60));
        }
        let bot = self.bot.fingerprint();
        // Two receivers with topics of one group are one chat to Telegram.
        let mut hasher = DefaultHasher::new();
        (bot, self.chat.load().to_string()).hash(&mut hasher);
        let shared = [(bot, vec![Rate::new(30, 1)]), (hasher.finish(), of_chat)];
        Pace {
            own: Vec::new(),
            shared: shared.map(|(by, rates)| SharedRates { by, rates }).to_vec(),
        }
    }

    fn shows_images(&self) -> bool {
        true
    }

    fn answering(&self) -> Answering {
        if self.settings.answers.is_some() {
            Answering::Buttons
        } else {
            Answering::Never
        }
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        match self.deliver(delivery.message).await {
            Ok(id) => Delivered::Sent {
                reference: Some(id.to_string().into()),
            },
            Err(error) => error.into(),
        }
    }

    fn preview(&self, delivery: Delivery<'_>) -> String {
        post::preview(&self.outgoing(delivery.message, Plan::Text))
    }
}

impl From<CallError> for Delivered {
    fn from(error: CallError) -> Self {
        let detail = error.to_string();
        let reason = error.reason();
        if error.may_pass() {
            let after = error.retry_after();
            Self::Again {
                after,
                reason,
                detail,
            }
        } else {
            Self::GiveUp { reason, detail }
        }
    }
}
