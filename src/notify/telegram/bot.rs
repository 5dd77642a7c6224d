//! A bot: what it can be asked to do, and what it hears.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, Url};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use teloxide::payloads::{
    AnswerCallbackQuery, AnswerCallbackQuerySetters as _, EditMessageReplyMarkup,
    EditMessageReplyMarkupSetters as _, GetMe, GetUpdates, GetUpdatesSetters as _, SendChatAction,
};
use teloxide::requests::Payload;
use teloxide::types::{
    AllowedUpdate, CallbackQueryId, ChatAction, ChatId, MessageId, Recipient, UpdateKind, User,
};
use tokio::time::{Instant, timeout_at};

use super::call::{self, CallError};
use super::post::{Outgoing, Plan};
use super::{Message, keyboard};
use crate::clock::UnixMicros;
use crate::config::{Secret, TelegramSettings};
use crate::notify::Button;
use crate::notify::pace::fingerprint;
use crate::sources::{Cause, http_client};

/// The longest text that is shown to whoever pressed a button, in characters.
const LONGEST_ACKNOWLEDGEMENT: usize = 200;

/// Why there is no bot.
#[derive(Debug, thiserror::Error)]
pub enum BotError {
    /// The token has not the shape of one.
    #[error("`telegram.token` is not a bot's token (`<number>:<letters>`)")]
    Token,
    /// The address cannot be used.
    #[error("`telegram.api_url` cannot be used")]
    Url,
    /// The HTTP client cannot be made.
    #[error("no HTTP client: {0}")]
    Client(Cause),
}

/// A bot: one for each token and address, whatever the number of its chats.
pub struct Bot {
    client: Client,
    api_url: Url,
    token: Secret,
    timeout: Duration,
}

/// What a bot heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updates {
    /// What to ask for next time. Telegram forgets what is before it then, and not sooner.
    pub next: i32,
    /// What can be understood of what was heard, in order.
    pub heard: Vec<Update>,
}

/// Something that somebody did in a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its number, by which it is told again or not.
    pub id: i32,
    /// The chat's number.
    pub chat: i64,
    /// The topic, where it was in one.
    pub topic: Option<i32>,
    /// The number of who did it.
    pub user: i64,
    /// That user's `@name`, or else the full one. Anybody can take any name.
    pub user_name: String,
    /// What it was.
    pub what: Heard,
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Pressed a button.
    Pressed {
        /// What to [acknowledge](Bot::acknowledge).
        callback_id: String,
        /// The message that the button is of.
        message_id: i32,
        /// What the button comes back with. It is whatever the user's program sent.
        data: String,
        /// The buttons under the message; empty where that is not known any more.
        buttons: Vec<Vec<Button>>,
    },
    /// Wrote a message.
    Wrote {
        /// The message.
        message_id: i32,
        /// Its text.
        text: String,
        /// When it was sent: Telegram keeps a day of what nobody asked for.
        sent_at: UnixMicros,
    },
}

impl Bot {
    /// The bot of these settings. A call may take `timeout`. Fails where the token is none.
    pub fn new(settings: &TelegramSettings, timeout: Duration) -> Result<Self, BotError> {
        if !is_token(settings.token.expose()) {
            return Err(BotError::Token);
        }
        let api_url: Url = settings
            .api_url
            .to_string()
            .parse()
            .map_err(|_| BotError::Url)?;
        if api_url.cannot_be_a_base() {
            return Err(BotError::Url);
        }
        let client = http_client()
            // An address that redirects is not the Bot API's, and the token is part of it.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeout)
            .build()
            .map_err(|error| BotError::Client(error.into()))?;
        Ok(Self {
            client,
            api_url,
            token: settings.token.clone(),
            timeout,
        })
    }

    /// Whether it is the bot of these settings, whatever their chat.
    #[must_use]
    pub fn is_of(&self, settings: &TelegramSettings) -> bool {
        let url: Result<Url, _> = settings.api_url.to_string().parse();
        self.token == settings.token && url.is_ok_and(|url| url == self.api_url)
    }

    /// What the bot is told apart by: of the token alone, which cannot be had back from it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(self.token.expose())
    }

    /// The bot's name, without the `@`: what `/command@name` is addressed to. Tells whether the token
    /// is good, too.
    pub async fn name(&self) -> Result<String, CallError> {
        #[derive(Deserialize)]
        struct Me {
            username: String,
        }
        let me: Me = self.call(&GetMe::new(), self.until()).await?;
        Ok(me.username)
    }

    /// What happened since `offset` ([`Updates::next`]; 0 for all that Telegram still has), as soon as
    /// there is something or when `wait` is over. What is before `offset` is forgotten there.
    pub async fn poll(&self, offset: i32, wait: Duration) -> Result<Updates, CallError> {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
        let payload = GetUpdates::new()
            .offset(offset)
            .timeout(seconds)
            .allowed_updates([AllowedUpdate::Message, AllowedUpdate::CallbackQuery]);
        let updates: Vec<teloxide::types::Update> =
            self.call(&payload, self.until() + wait).await?;
        let id = |update: &teloxide::types::Update| i32::try_from(update.id.0).unwrap_or(i32::MAX);
        let next = updates.iter().map(|update| id(update).saturating_add(1));
        Ok(Updates {
            next: next.fold(offset, i32::max),
            heard: updates
                .into_iter()
                .filter_map(|update| heard(id(&update), update.kind))
                .collect(),
        })
    }

    /// Tells who pressed a button what came of it: for a moment, or as an `alert` to be closed.
    pub async fn acknowledge(
        &self,
        callback_id: &str,
        text: &str,
        alert: bool,
    ) -> Result<(), CallError> {
        let text: String = text.chars().take(LONGEST_ACKNOWLEDGEMENT).collect();
        let payload = AnswerCallbackQuery::new(CallbackQueryId(callback_id.to_owned()))
            .text(text)
            .show_alert(alert);
        let _: IgnoredAny = self.call(&payload, self.until()).await?;
        Ok(())
    }

    /// Says something in a chat: in a topic, and as an answer to a message, where there are such.
    /// Returns the message's number.
    pub async fn reply(
        &self,
        chat: i64,
        topic: Option<i32>,
        reply_to: Option<i32>,
        message: &Message,
    ) -> Result<i32, CallError> {
        let mut outgoing = Outgoing {
            chat: Recipient::Id(ChatId(chat)),
            topic,
            silent: false,
            reply_to: reply_to.map(MessageId),
            callbacks: true,
            message,
            plan: Plan::Text,
        };
        self.post(&mut outgoing, self.until()).await
    }

    /// Gives a message other buttons, or takes them away.
    pub async fn set_buttons(
        &self,
        chat: i64,
        message_id: i32,
        rows: &[Vec<Button>],
    ) -> Result<(), CallError> {
        let payload = EditMessageReplyMarkup::new(ChatId(chat), MessageId(message_id))
            .reply_markup(keyboard::of(rows, keyboard::Shown::ALL));
        let result: Result<IgnoredAny, _> = self.call(&payload, self.until()).await;
        match result {
            Err(CallError::Refused(words)) if words.contains("message is not modified") => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Which supergroup a group became; `None` where it is what it was, and shows for a moment that
    /// the bot is about to write. Telegram tells it to who would write in the group, and to nobody
    /// else for longer than a day.
    pub async fn moved_to(&self, chat: i64) -> Result<Option<i64>, CallError> {
        let payload = SendChatAction::new(ChatId(chat), ChatAction::Typing);
        let result: Result<IgnoredAny, _> = self.call(&payload, self.until()).await;
        match result {
            Ok(_) => Ok(None),
            Err(CallError::Migrated(to)) => Ok(Some(to)),
            Err(error) => Err(error),
        }
    }

    /// When a call that is made now ends.
    fn until(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Calls a method of the Bot API, with what is asked as JSON.
    pub(super) async fn call<P, T>(&self, payload: &P, until: Instant) -> Result<T, CallError>
    where
        P: Payload + Serialize,
        T: DeserializeOwned,
    {
        let request = self.client.post(self.method(P::NAME)?).json(payload);
        self.exchange(request, until).await
    }

    /// The same, with a file. The payload names it as `attach://<part>` in its field `name`.
    pub(super) async fn upload<P, T>(
        &self,
        payload: &P,
        name: &str,
        file: reqwest::multipart::Part,
        until: Instant,
    ) -> Result<T, CallError>
    where
        P: Payload + Serialize,
        T: DeserializeOwned,
    {
        let refused = |_| CallError::Refused("it cannot be written as JSON".to_owned());
        let Value::Object(fields) = serde_json::to_value(payload).map_err(refused)? else {
            return Err(CallError::Refused("it has no fields".to_owned()));
        };
        let mut form = reqwest::multipart::Form::new().part(name.to_owned(), file);
        for (field, value) in fields {
            if field != name {
                let text = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                form = form.text(field, text);
            }
        }
        let request = self.client.post(self.method(P::NAME)?).multipart(form);
        self.exchange(request, until).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        until: Instant,
    ) -> Result<T, CallError> {
        let exchange = async {
            let response = request.send().await.map_err(call::broken)?;
            call::read(response, self.token.expose()).await
        };
        let result = timeout_at(until, exchange).await;
        result.unwrap_or(Err(CallError::Timeout))
    }

    fn method(&self, name: &str) -> Result<Url, CallError> {
        let mut url = self.api_url.clone();
        url.path_segments_mut()
            .map_err(|()| CallError::Refused("`telegram.api_url` cannot be used".to_owned()))?
            .pop_if_empty()
            .push(&format!("bot{}", self.token.expose()))
            .push(name);
        Ok(url)
    }
}

impl fmt::Debug for Bot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bot")
            .field("api_url", &self.api_url.as_str())
            .finish_non_exhaustive()
    }
}

/// Whether it looks as Telegram makes them, so that no part of it means anything in an address.
fn is_token(text: &str) -> bool {
    text.split_once(':').is_some_and(|(number, letters)| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && !letters.is_empty()
            && letters.bytes().all(is_letter)
    })
}

/// What can be understood of it; `None` of a picture, a message of a channel, or what this version of
/// the library does not know.
fn heard(id: i32, kind: UpdateKind) -> Option<Update> {
    match kind {
        UpdateKind::Message(message) => {
            let user = message.from.as_ref()?;
            Some(Update {
                id,
                chat: message.chat.id.0,
                topic: topic(&message),
                user: number(user)?,
                user_name: name(user),
                what: Heard::Wrote {
                    message_id: message.id.0,
                    text: message.text()?.to_owned(),
                    sent_at: UnixMicros(message.date.timestamp_micros()),
                },
            })
        }
        UpdateKind::CallbackQuery(query) => {
            let message = query.message.as_ref()?;
            Some(Update {
                id,
                chat: message.chat().id.0,
                topic: message.regular_message().and_then(topic),
                user: number(&query.from)?,
                user_name: name(&query.from),
                what: Heard::Pressed {
                    callback_id: query.id.0,
                    message_id: message.id().0,
                    buttons: message
                        .regular_message()
                        .and_then(|message| message.reply_markup())
                        .map(keyboard::read)
                        .unwrap_or_default(),
                    data: query.data?,
                },
            })
        }
        _ => None,
    }
}

/// The topic of a message. In groups without topics, the same field names what a reply hangs on.
fn topic(message: &teloxide::types::Message) -> Option<i32> {
    let thread = message.thread_id.filter(|_| message.is_topic_message)?;
    Some(thread.0.0)
}

fn number(user: &User) -> Option<i64> {
    i64::try_from(user.id.0).ok()
}

fn name(user: &User) -> String {
    user.mention().unwrap_or_else(|| user.full_name())
}
