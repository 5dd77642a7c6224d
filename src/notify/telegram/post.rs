//! A message on its way: tried again at once where Telegram says how it would take it.

use serde::Deserialize;
use teloxide::payloads::{SendMessage, SendMessageSetters as _, SendPhoto, SendPhotoSetters as _};
use teloxide::types::{
    ChatId, InputFile, LinkPreviewOptions, MessageId, ParseMode, Recipient, ReplyParameters,
    ThreadId,
};
use tokio::time::Instant;

use super::call::CallError;
use super::text::Text;
use super::{Bot, LONGEST_CAPTION, LONGEST_TEXT, Message, keyboard};
use crate::notify::Image;

/// How it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan<'a> {
    /// Its text.
    Text,
    /// The picture, with the text below it.
    Picture(&'a Image),
    /// The picture, with the title below it and no buttons.
    TitledPicture(&'a Image),
}

/// A message and where it goes.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    /// The chat; where it moved to, after it was sent.
    pub(super) chat: Recipient,
    /// The topic.
    pub(super) topic: Option<i32>,
    /// Without a sound.
    pub(super) silent: bool,
    /// What it answers.
    pub(super) reply_to: Option<MessageId>,
    /// Whether somebody listens for buttons.
    pub(super) callbacks: bool,
    /// What is said.
    pub(super) message: &'a Message,
    /// How.
    pub(super) plan: Plan<'a>,
}

/// What of a sent message is read. It was sent whatever else is in its description.
#[derive(Deserialize)]
struct Sent {
    message_id: i32,
}

/// What had to be left out for Telegram to take it.
#[derive(Clone, Copy, Debug, Default)]
struct Without {
    markup: bool,
    addresses: bool,
}

impl Bot {
    /// Sends it, and once more for each reason that sending it otherwise would help: the group moved,
    /// the markup or a button's address is not taken. Returns the message's number.
    pub(super) async fn post(
        &self,
        outgoing: &mut Outgoing<'_>,
        until: Instant,
    ) -> Result<i32, CallError> {
        let mut without = Without::default();
        let mut moved = false;
        loop {
            let error = match self.post_once(outgoing, without, until).await {
                Ok(Sent { message_id }) => return Ok(message_id),
                Err(error) => error,
            };
            match error {
                CallError::Migrated(chat) if !moved => {
                    moved = true;
                    outgoing.chat = Recipient::Id(ChatId(chat));
                    // The new chat counts its messages anew.
                    outgoing.reply_to = None;
                }
                CallError::Markup(_) if !without.markup => {
                    tracing::warn!(%error, "a message is sent to Telegram as plain text");
                    without.markup = true;
                }
                CallError::ButtonUrl if !without.addresses => without.addresses = true,
                error => return Err(error),
            }
        }
    }

    async fn post_once(
        &self,
        outgoing: &Outgoing<'_>,
        without: Without,
        until: Instant,
    ) -> Result<Sent, CallError> {
        let message = outgoing.message;
        let topic = outgoing.topic.map(|topic| ThreadId(MessageId(topic)));
        let reply = outgoing
            .reply_to
            .map(|id| ReplyParameters::new(id).allow_sending_without_reply());
        let shown = keyboard::Shown {
            callbacks: outgoing.callbacks,
            addresses: !without.addresses,
        };
        let keyboard = keyboard::of(&message.buttons, shown);
        let text = match outgoing.plan {
            Plan::TitledPicture(_) => Text::title_of(message),
            Plan::Text | Plan::Picture(_) => Text::of(message),
        };
        let text = if without.addresses {
            text.and_addresses_of(&message.buttons)
        } else {
            text
        };
        let write = |limit| {
            if without.markup {
                text.plain(limit)
            } else {
                text.html(limit)
            }
        };
        match outgoing.plan {
            Plan::Text => {
                let mut payload = SendMessage::new(outgoing.chat.clone(), write(LONGEST_TEXT))
                    .disable_notification(outgoing.silent)
                    .link_preview_options(LinkPreviewOptions {
                        is_disabled: true,
                        url: None,
                        prefer_small_media: false,
                        prefer_large_media: false,
                        show_above_text: false,
                    });
                payload.message_thread_id = topic;
                payload.reply_parameters = reply;
                payload.parse_mode = (!without.markup).then_some(ParseMode::Html);
                if !keyboard.inline_keyboard.is_empty() {
                    payload = payload.reply_markup(keyboard);
                }
                self.call(&payload, until).await
            }
            Plan::Picture(image) | Plan::TitledPicture(image) => {
                let mut payload =
                    SendPhoto::new(outgoing.chat.clone(), InputFile::memory(Vec::new()))
                        .disable_notification(outgoing.silent)
                        .caption(write(LONGEST_CAPTION));
                payload.message_thread_id = topic;
                payload.reply_parameters = reply;
                payload.parse_mode = (!without.markup).then_some(ParseMode::Html);
                if matches!(outgoing.plan, Plan::Picture(_)) && !keyboard.inline_keyboard.is_empty()
                {
                    payload = payload.reply_markup(keyboard);
                }
                let file = reqwest::multipart::Part::bytes(image.png.to_vec())
                    .file_name("picture.png")
                    .mime_str("image/png")
                    .map_err(super::call::broken)?;
                self.upload(&payload, "photo", file, until).await
            }
        }
    }
}

/// What would be sent, as people read it.
pub(super) fn preview(outgoing: &Outgoing<'_>) -> String {
    let message = outgoing.message;
    let mut lines = vec![match (&outgoing.chat, outgoing.topic) {
        (chat, Some(topic)) => format!("Telegram, chat {chat}, topic {topic}"),
        (chat, None) => format!("Telegram, chat {chat}"),
    }];
    if let Some(image) = &message.image {
        lines.push(format!("[{}]", image.alt));
    }
    lines.push(String::new());
    lines.push(Text::of(message).plain(LONGEST_TEXT));
    let shown = keyboard::Shown {
        callbacks: outgoing.callbacks,
        addresses: true,
    };
    let keyboard = keyboard::of(&message.buttons, shown);
    for row in keyboard.inline_keyboard {
        let labels: Vec<_> = row
            .iter()
            .map(|button| format!("[{}]", button.text))
            .collect();
        lines.push(labels.join(" "));
    }
    lines.join("\n")
}
