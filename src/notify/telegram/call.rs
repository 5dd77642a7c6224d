//! One call of the Bot API, and what its answers mean.

use std::time::Duration;

use reqwest::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::FailureReason;
use crate::sources::Cause;

/// The longest answer that is read: a hundred updates with a long message each are less.
const LONGEST_ANSWER_BYTES: usize = 8 << 20;
/// The most of Telegram's own words that is repeated, in characters.
const LONGEST_DESCRIPTION: usize = 200;

/// Why the Bot API did not do what it was asked. No text of it holds the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It did not answer in time.
    #[error("the Bot API did not answer in time")]
    Timeout,
    /// No connection came about, or it broke.
    #[error("no answer of the Bot API: {0}")]
    Connect(String),
    /// It failed itself, with this status.
    #[error("the Bot API failed: status {0}")]
    Server(u16),
    /// Its answer is none of the Bot API.
    #[error("what answered is no Bot API ({0}); is `telegram.api_url` right?")]
    Unreadable(String),
    /// Too much was asked for at once.
    #[error("the bot sends more than Telegram allows")]
    TooOften(Option<Duration>),
    /// The token is not good (any more).
    #[error(
        "Telegram does not know the bot's token (any more): get one from @BotFather and put it into \
         `telegram.token`"
    )]
    Token,
    /// Another process asks for the bot's updates.
    #[error(
        "another process reads this bot's updates: only one may, so give each Tollgate a bot of its \
         own, or `telegram.answers` to one of them only"
    )]
    OtherPoller,
    /// The bot's updates go to a webhook.
    #[error(
        "a webhook takes this bot's updates: delete it (`deleteWebhook`), or use a bot of its own"
    )]
    WebhookSet,
    /// The group became a supergroup with this number.
    #[error("the group became a supergroup: set `telegram.chat` to {0}")]
    Migrated(i64),
    /// There is no such chat, or the bot was thrown out of it.
    #[error(
        "the bot cannot reach the chat ({0}): check `telegram.chat`, and that the bot is a member, or \
         was written to first where it is a private chat"
    )]
    Gone(String),
    /// The chat has no such topic.
    #[error("the chat has no such topic, or it is closed ({0}): check `telegram.topic`")]
    Topic(String),
    /// The bot may not write there.
    #[error("the bot may not write in the chat ({0}): give it the right to")]
    Rights(String),
    /// The message is too long.
    #[error("the message is too long for Telegram ({0})")]
    TooLong(String),
    /// The markup cannot be read.
    #[error("Telegram cannot read the markup ({0})")]
    Markup(String),
    /// A button's address cannot be opened from everywhere. The address, which may be a signed one, is
    /// not repeated.
    #[error("Telegram does not take a button's address")]
    ButtonUrl,
    /// The picture is not taken.
    #[error("Telegram does not take the picture ({0})")]
    Picture(String),
    /// It is refused for another reason.
    #[error("Telegram refused it ({0})")]
    Refused(String),
}

impl CallError {
    /// Why, among the reasons of all receivers.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Timeout => FailureReason::Timeout,
            Self::Connect(_) => FailureReason::Connect,
            Self::Server(_) => FailureReason::ServerError,
            Self::Unreadable(_) => FailureReason::Unreadable,
            Self::TooOften(_) => FailureReason::RateLimited,
            Self::Token => FailureReason::Credential,
            Self::OtherPoller | Self::WebhookSet | Self::Topic(_) | Self::Rights(_) => {
                FailureReason::Policy
            }
            Self::Migrated(_) | Self::Gone(_) => FailureReason::Gone,
            Self::TooLong(_) => FailureReason::TooLong,
            Self::Markup(_) | Self::ButtonUrl | Self::Picture(_) | Self::Refused(_) => {
                FailureReason::Refused
            }
        }
    }

    /// Whether the same call may be answered otherwise later, with nobody having changed anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::Connect(_)
                | Self::Server(_)
                | Self::Unreadable(_)
                | Self::TooOften(_)
                | Self::OtherPoller
        )
    }

    /// How long Telegram asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooOften(after) => *after,
            _ => None,
        }
    }
}

/// What every answer of the Bot API looks like.
#[derive(Deserialize)]
struct Answer<T> {
    ok: bool,
    result: Option<T>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

/// What of an answer to `getUpdates` and others is wanted, or why there is none. `token` is masked
/// wherever the answer repeats it.
pub(super) async fn read<T: DeserializeOwned>(
    response: Response,
    token: &str,
) -> Result<T, CallError> {
    let status = response.status().as_u16();
    let waits = response
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = body(response).await?;
    if status >= 500 {
        return Err(CallError::Server(status));
    }
    match serde_json::from_slice::<Answer<T>>(&body) {
        Ok(Answer {
            ok: true,
            result: Some(result),
            ..
        }) => Ok(result),
        Ok(answer) if !answer.ok => Err(meaning(status, &answer, token)),
        _ if status == 429 => Err(CallError::TooOften(waits)),
        // A Bot API says in JSON that it has no such bot. Whatever else says so, as a server in front of
        // it that is being renewed, says nothing of the token.
        _ => Err(CallError::Unreadable(format!("status {status}"))),
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if body.len() + piece.len() > LONGEST_ANSWER_BYTES {
            return Err(CallError::Unreadable("it does not end".to_owned()));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Why there was no answer. The address, which holds the token, is left out.
pub(super) fn broken(error: reqwest::Error) -> CallError {
    if error.is_timeout() {
        CallError::Timeout
    } else {
        CallError::Connect(Cause::from(error).to_string())
    }
}

fn meaning<T>(status: u16, answer: &Answer<T>, token: &str) -> CallError {
    if let Some(chat) = answer.parameters.migrate_to_chat_id {
        return CallError::Migrated(chat);
    }
    let words = masked(&answer.description, token);
    let says = |parts: &[&str]| {
        let words = words.to_ascii_lowercase();
        parts.iter().any(|part| words.contains(part))
    };
    match status {
        401 | 404 => CallError::Token,
        403 => CallError::Gone(words),
        409 if says(&["webhook"]) => CallError::WebhookSet,
        409 => CallError::OtherPoller,
        413 => CallError::TooLong(words),
        429 => CallError::TooOften(answer.parameters.retry_after.map(Duration::from_secs)),
        _ if says(&["can't parse entities"]) => CallError::Markup(words),
        _ if says(&[
            "button_url_invalid",
            "keyboard button url",
            "wrong http url",
        ]) =>
        {
            CallError::ButtonUrl
        }
        _ if says(&["message thread not found", "topic_closed", "topic_deleted"]) => {
            CallError::Topic(words)
        }
        _ if says(&[
            "chat not found",
            "chat_id is empty",
            "group chat was deactivated",
            "group is deactivated",
            "peer_id_invalid",
            "user not found",
        ]) =>
        {
            CallError::Gone(words)
        }
        _ if says(&["photo", "image_process_failed", "media"]) => CallError::Picture(words),
        _ if says(&[
            "not enough rights",
            "have no rights",
            "chat_write_forbidden",
            "administrator rights",
            "chat_restricted",
        ]) =>
        {
            CallError::Rights(words)
        }
        _ if says(&["too long", "too_long"]) => CallError::TooLong(words),
        _ => CallError::Refused(words),
    }
}

/// Telegram's words, short, without the token whole or its secret part.
fn masked(words: &str, token: &str) -> String {
    let secret = token.split_once(':').map_or(token, |(_, secret)| secret);
    let mut words = words.to_owned();
    for part in [token, secret] {
        if !part.is_empty() {
            words = words.replace(part, "[secret]");
        }
    }
    if words.chars().count() > LONGEST_DESCRIPTION {
        words = words
            .chars()
            .take(LONGEST_DESCRIPTION)
            .chain(['…'])
            .collect();
    }
    words
}
