//! Feishu and Lark: custom robots, by cards of the second format.
//!
//! The guide to custom robots and the page on rich text say what is used here
//! (<https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>). Every answer has HTTP's 200,
//! or may have; its `code` says what came of it. A card's Markdown is the common one with tags of Feishu's
//! (`<at id=all></at>` mentions everybody); all marks are written as numeric character references,
//! which that page asks for.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use ring::hmac;
use serde_json::{Value, json};

use super::build::BuildError;
use super::delivered::{Delivered, FailureReason};
use super::http::{Answer, Poster};
use super::markdown::Markdown;
use super::message::{Block, Message, Tone};
use super::pace::{Pace, Rate};
use super::plain::visible;
use super::{Answering, Delivery, Receiver, cut, link};
use crate::clock::UnixMicros;
use crate::config::{FeishuSettings, ReceiverKind, Secret};

/// Bytes of a request's body; the guide says 20 KB.
const MOST_BYTES: usize = 20_000;

/// Characters of a title.
const MOST_TITLE: usize = 200;

/// Bytes that buttons may take.
const MOST_BUTTONS: usize = 6_000;

/// A clock that is off by more than this makes signatures bad: Feishu takes an hour.
const CLOCKS_DIFFER: Duration = Duration::from_secs(50 * 60);

/// When the gateway in front takes requests again, in seconds.
const RESET: HeaderName = HeaderName::from_static("x-ogw-ratelimit-reset");

const MARKDOWN: Markdown = Markdown { escape, code: true };

/// A robot of Feishu or Lark.
#[derive(Debug)]
pub(super) struct Feishu {
    poster: Poster,
    secret: Option<Secret>,
    keyword: Option<String>,
}

impl Feishu {
    pub(super) fn new(settings: &FeishuSettings, timeout: Duration) -> Result<Self, BuildError> {
        Ok(Self {
            poster: Poster::new(&settings.url, &[settings.secret.as_ref()], timeout)?,
            secret: settings.secret.clone(),
            keyword: settings.keyword.as_deref().map(str::to_owned),
        })
    }

    /// The card, cut to what a request may have, and signed at `now`.
    fn body(&self, message: &Message, now: UnixMicros) -> Value {
        let title = visible(&message.title);
        let title = with_keyword(&cut::title(&title, MOST_TITLE), self.keyword.as_deref());
        let buttons = buttons(message);
        let whole = |body: &[Block]| {
            let mut elements = elements(body);
            elements.extend(buttons.iter().cloned());
            let mut whole = json!({
                "msg_type": "interactive",
                "card": {
                    "schema": "2.0",
                    "header": {
                        "template": template(message.tone),
                        "title": {"tag": "plain_text", "content": title},
                    },
                    "body": {"elements": elements},
                },
            });
            if let Some(secret) = &self.secret {
                let timestamp = now.0.div_euclid(1_000_000).to_string();
                whole["sign"] = signature(secret, &timestamp).into();
                whole["timestamp"] = timestamp.into();
            }
            whole
        };
        let length = |body: &[Block]| whole(body).to_string().len();
        whole(&cut::body(
            &message.body,
            message.language,
            MOST_BYTES,
            length,
        ))
    }

    fn delivered(&self, answer: &Answer, now: UnixMicros) -> Delivered {
        let said = answer.json();
        let said = said.as_ref();
        // Robots of the first format answered with `StatusCode`.
        let code = said.and_then(|said| said.get("code").or_else(|| said.get("StatusCode")));
        let Some(code) = code.and_then(Value::as_i64) else {
            return if answer.status.is_success() {
                self.poster.unreadable(answer, "an answer of Feishu's")
            } else {
                self.poster.refused(answer)
            };
        };
        let words = said
            .and_then(|said| said.get("msg"))
            .and_then(Value::as_str);
        let words = self.poster.quoted(words.unwrap_or_default());
        let give_up = |reason, hint: &str| Delivered::GiveUp {
            reason,
            detail: format!("Feishu says {code} ({words}): {hint}"),
        };
        match code {
            0 if answer.status.is_success() => Delivered::Sent { reference: None },
            // The robot's own limit, and that of the gateway in front of it.
            11232 | 99_991_400 => Delivered::Again {
                after: answer.retry_after().or_else(|| answer.seconds(&RESET)),
                reason: FailureReason::RateLimited,
                detail: format!("Feishu says {code} ({words}): too many messages at once"),
            },
            19001 => give_up(
                FailureReason::Credential,
                "there is no robot of this address; copy the address from the group's settings",
            ),
            19021 => give_up(FailureReason::Signature, &clocks(now, answer.date())),
            19022 => give_up(
                FailureReason::Policy,
                "this machine's address is not on the robot's list of addresses",
            ),
            19024 => give_up(
                FailureReason::Policy,
                "the robot asks for a keyword; name one of them as `keyword`",
            ),
            9499 => give_up(FailureReason::Refused, "it cannot read the message"),
            _ if answer.status.is_success() => {
                give_up(FailureReason::Refused, "it refuses the message")
            }
            _ => self.poster.refused(answer),
        }
    }
}

#[async_trait]
impl Receiver for Feishu {
    fn kind(&self) -> ReceiverKind {
        ReceiverKind::Feishu
    }

    fn pace(&self) -> Pace {
        Pace::of(
            self.poster.fingerprint(),
            vec![Rate::new(100, 60), Rate::new(5, 1)],
        )
    }

    fn answering(&self) -> Answering {
        Answering::Links
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        let now = UnixMicros::now();
        let body = self.body(delivery.message, now).to_string().into_bytes();
        match self.poster.post(&[], HeaderMap::new(), body).await {
            Ok(answer) => self.delivered(&answer, now),
            Err(unsent) => unsent,
        }
    }

    fn preview(&self, delivery: Delivery<'_>) -> String {
        let mut body = self.body(delivery.message, UnixMicros::now());
        if let Some(sign) = body.get_mut("sign") {
            *sign = "[secret]".into();
        }
        format!("{body:#}")
    }
}

/// The signature: the key is the moment and the secret, and the message is empty.
fn signature(secret: &Secret, timestamp: &str) -> String {
    let key = format!("{timestamp}\n{}", secret.expose());
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    STANDARD.encode(hmac::sign(&key, b""))
}

/// The title with the keyword in it. It is looked for in texts and titles as they are, so it is put
/// where nothing is escaped.
pub(super) fn with_keyword(title: &str, keyword: Option<&str>) -> String {
    match keyword {
        Some(keyword) if !title.contains(keyword) => format!("{title} · {keyword}"),
        _ => title.to_owned(),
    }
}

fn template(tone: Tone) -> &'static str {
    match tone {
        Tone::Critical => "red",
        Tone::Warning => "orange",
        Tone::Good => "green",
        Tone::Neutral => "blue",
    }
}

/// The body: Markdown, with a rule where the message has one.
fn elements(body: &[Block]) -> Vec<Value> {
    let mut elements = Vec::new();
    for (index, part) in body.split(|block| *block == Block::Divider).enumerate() {
        if index > 0 {
            elements.push(json!({"tag": "hr"}));
        }
        let lines: Vec<String> = part
            .iter()
            .filter_map(|block| MARKDOWN.line(block))
            .collect();
        if !lines.is_empty() {
            elements.push(json!({"tag": "markdown", "content": lines.join("\n")}));
        }
    }
    elements
}

/// Rows of buttons that open an address.
fn buttons(message: &Message) -> Vec<Value> {
    let rows = link::buttons(message, MOST_BUTTONS).into_iter();
    let row = |row: Vec<(&str, String)>| {
        let columns = row.into_iter().map(|(label, url)| {
            json!({
                "tag": "column",
                "width": "auto",
                "elements": [{
                    "tag": "button",
                    "text": {"tag": "plain_text", "content": visible(label)},
                    "type": "default",
                    "behaviors": [{"type": "open_url", "default_url": url}],
                }],
            })
        });
        let columns: Vec<Value> = columns.collect();
        json!({"tag": "column_set", "flex_mode": "flow", "columns": columns})
    };
    rows.map(row).collect()
}

/// Every mark as a numeric reference, but those that begin nothing anywhere; so no name is a tag, an
/// emphasis, a list, a link or one of Feishu's `:EMOJI:`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    for shown in text.chars() {
        // A full stop makes a list of the number before it, and only that.
        let harmless =
            matches!(shown, ',' | ';' | '?' | '%') || (shown == '.' && !before.is_ascii_digit());
        if shown.is_ascii_punctuation() && !harmless {
            let _ = write!(escaped, "&#{};", u32::from(shown));
        } else {
            escaped.push(shown);
        }
        before = shown;
    }
    escaped
}

/// What to do about a signature that is not taken: mend the clock, or the secret.
fn clocks(here: UnixMicros, there: Option<UnixMicros>) -> String {
    let Some(there) = there else {
        return format!(
            "`secret` is not the robot's, or this machine's clock, at {here}, is more than an hour off"
        );
    };
    let apart = here.since(there).max(there.since(here));
    let seconds = apart.as_secs();
    if apart > CLOCKS_DIFFER {
        format!(
            "clock skew: this machine's clock is at {here} and Feishu's at {there}, {seconds} s apart; set the clock"
        )
    } else {
        format!(
            "`secret` is not the robot's; the clocks agree (here {here}, there {there}, {seconds} s apart)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_guide() {
        // Computed with the guide's Python: hmac.new(b"1599360473\ndemo", digestmod=sha256).
        assert_eq!(
            signature(&Secret::new("demo"), "1599360473"),
            "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
        );
    }

    #[test]
    fn no_mark_is_left_that_begins_anything() {
        assert_eq!(escape("<at id=all>"), "&#60;at id&#61;all&#62;");
        assert_eq!(
            escape("1. :OK: v1.5 a.b"),
            "1&#46; &#58;OK&#58; v1&#46;5 a.b"
        );
        assert_eq!(escape("你好 &amp;"), "你好 &#38;amp;");
    }

    #[test]
    fn a_bad_signature_is_told_from_a_bad_clock() {
        let here = UnixMicros(1_800_000_000_000_000);
        let hours = |hours: u64| Some(here.plus(Duration::from_secs(3600 * hours)));
        assert!(clocks(here, hours(2)).contains("set the clock"));
        assert!(clocks(here, hours(0)).contains("`secret` is not the robot's;"));
        assert!(clocks(here, None).contains("or this machine's clock"));
    }
}
