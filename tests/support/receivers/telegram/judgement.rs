//! What is taken of a request and what is refused, in Telegram's words.

use std::time::Instant;

use serde_json::{Value, json};

use super::html::{self, Parsed};
use super::request::{Parameters, TelegramFile};
use super::{Acknowledged, Membership, Refusal, Sent, State, Target, bad, forbidden};

impl State {
    fn chat(&self, parameters: &Parameters) -> Result<i64, Refusal> {
        let id = match parameters.text("chat_id") {
            Some(name) => self.names.get(name).copied(),
            None => parameters.number("chat_id"),
        };
        let id = id.filter(|id| self.chats.contains_key(id));
        id.ok_or_else(|| bad("chat not found"))
    }

    pub(super) fn send(
        &mut self,
        parameters: &Parameters,
        photo: Option<TelegramFile>,
    ) -> Result<Value, Refusal> {
        let chat = self.chat(parameters)?;
        self.may_write(chat, photo.is_some())?;
        let parsed = text(parameters, photo.is_some())?;
        if let Some(file) = &photo
            && !file.bytes.starts_with(b"\x89PNG\r\n\x1a\n")
        {
            return Err(bad("IMAGE_PROCESS_FAILED"));
        }
        let topic = parameters.number("message_thread_id");
        let topic = topic.map(|topic| i32::try_from(topic).unwrap());
        let room = &self.chats[&chat];
        if topic.is_some_and(|topic| !room.topics.contains(&topic)) {
            return Err(bad("message thread not found"));
        }
        let mut reply_to = None;
        if let Some(reply) = parameters.object("reply_parameters") {
            let id = i32::try_from(reply["message_id"].as_i64().unwrap()).unwrap();
            if room.messages.contains(&id) {
                reply_to = Some(id);
            } else if reply["allow_sending_without_reply"] != true {
                return Err(bad("message to be replied not found"));
            }
        }
        let keyboard = keyboard(parameters)?;
        if let Some(limits) = &mut self.limits
            && let Err(refusal) = limits.take(chat, Instant::now())
        {
            self.too_often += 1;
            return Err(refusal);
        }
        let previews = parameters
            .object("link_preview_options")
            .is_none_or(|options| options["is_disabled"] != true);
        let sent = Sent {
            id: self.chats.get_mut(&chat).unwrap().next_message(),
            chat,
            topic,
            text: parsed.text.replace('\u{2060}', ""),
            parsed,
            silent: parameters.is_true("disable_notification"),
            previews: previews && photo.is_none(),
            reply_to,
            keyboard,
            photo: photo.map(|file| file.bytes),
        };
        let result = sent.json();
        self.sent.push(sent);
        Ok(result)
    }

    fn may_write(&self, chat: i64, photo: bool) -> Result<(), Refusal> {
        match self.chats[&chat].membership {
            Membership::Member => Ok(()),
            Membership::NoPhotos if !photo => Ok(()),
            Membership::NoPhotos => Err(bad("not enough rights to send photos to the chat")),
            Membership::Kicked if chat > 0 => Err(forbidden("bot was blocked by the user")),
            Membership::Kicked => Err(forbidden("bot was kicked from the supergroup chat")),
            Membership::Muted => Err(bad("not enough rights to send text messages to the chat")),
            Membership::MovedTo(to) => {
                let (status, words, _) = bad("group chat was upgraded to a supergroup chat");
                Err((status, words, json!({"migrate_to_chat_id": to})))
            }
        }
    }

    /// Shows that the bot is about to write.
    pub(super) fn look(&self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.chat(parameters)?;
        self.may_write(chat, false)?;
        Ok(true.into())
    }

    pub(super) fn acknowledge(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let id = parameters.text("callback_query_id").unwrap_or_default();
        let Some(said @ None) = self.presses.get_mut(id) else {
            return Err(bad(
                "query is too old and response timeout expired or query ID is invalid",
            ));
        };
        let text = parameters.text("text").unwrap_or_default();
        if html::length(text) > 200 {
            return Err(bad("MESSAGE_TOO_LONG"));
        }
        *said = Some(Acknowledged {
            text: text.to_owned(),
            alert: parameters.is_true("show_alert"),
        });
        Ok(true.into())
    }

    pub(super) fn edit(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.chat(parameters)?;
        let id = parameters.number("message_id");
        let keyboard = keyboard(parameters)?;
        let mut sent = self.sent.iter_mut();
        let message = sent.find(|sent| sent.chat == chat && Some(i64::from(sent.id)) == id);
        let message = message.ok_or_else(|| bad("message to edit not found"))?;
        if message.keyboard == keyboard {
            return Err(bad(
                "message is not modified: specified new message content and reply markup are \
                 exactly the same as a current content and reply markup of the message",
            ));
        }
        message.keyboard = keyboard;
        Ok(message.json())
    }
}

fn text(parameters: &Parameters, is_caption: bool) -> Result<Parsed, Refusal> {
    let (field, longest) = if is_caption {
        ("caption", 1024)
    } else {
        ("text", 4096)
    };
    let raw = parameters.text(field).unwrap_or_default();
    let parsed = match parameters.text("parse_mode") {
        Some("HTML") => {
            html::parse(raw).map_err(|words| bad(&format!("can't parse entities: {words}")))?
        }
        None => Parsed {
            text: raw.to_owned(),
            entities: Vec::new(),
        },
        Some(_) => return Err(bad("unsupported parse_mode")),
    };
    if parsed.text.trim().is_empty() && !is_caption {
        return Err(bad("message text is empty"));
    }
    if html::length(&parsed.text) > longest {
        return Err(bad(if is_caption {
            "message caption is too long"
        } else {
            "message is too long"
        }));
    }
    Ok(parsed)
}

fn keyboard(parameters: &Parameters) -> Result<Vec<Vec<(String, Target)>>, Refusal> {
    let Some(markup) = parameters.object("reply_markup") else {
        return Ok(Vec::new());
    };
    let rows = markup["inline_keyboard"].as_array().unwrap();
    let row = |row: &Value| row.as_array().unwrap().iter().map(button).collect();
    rows.iter().map(row).collect()
}

fn button(button: &Value) -> Result<(String, Target), Refusal> {
    let label = button["text"].as_str().unwrap_or_default();
    if label.trim().is_empty() {
        return Err(bad("BUTTON_TEXT_INVALID"));
    }
    let target = match (&button["callback_data"], &button["url"]) {
        (Value::String(data), Value::Null) => {
            if data.is_empty() || data.len() > 64 {
                return Err(bad("BUTTON_DATA_INVALID"));
            }
            Target::Callback(data.clone())
        }
        (Value::Null, Value::String(url)) => {
            let host = url.split("://").nth(1).unwrap_or_default();
            let host = host.split(['/', ':']).next().unwrap_or_default();
            // A name without a dot leads nowhere from outside.
            if !host.contains('.') {
                return Err(bad(&format!(
                    "inline keyboard button URL '{url}' is invalid: Wrong HTTP URL"
                )));
            }
            Target::Url(url.clone())
        }
        _ => {
            return Err(bad(
                "can't parse inline keyboard button: Text buttons are unallowed in the inline \
                 keyboard",
            ));
        }
    };
    Ok((label.to_owned(), target))
}
