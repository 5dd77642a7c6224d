//! DingTalk: custom robots, by Markdown.
//!
//! The pages on custom robots say what is used here
//! (<https://open.dingtalk.com/document/orgapp/custom-robot-access>). Every answer has HTTP's 200; its
//! `errcode` says what came of it. Somebody is mentioned by `at` alone, so no text mentions anybody;
//! marks are escaped with a backslash, and tags as in HTML.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use ring::hmac;
use serde_json::{Value, json};

use super::build::BuildError;
use super::delivered::{Delivered, FailureReason};
use super::feishu::with_keyword;
use super::http::{Answer, Poster};
use super::markdown::Markdown;
use super::message::{Block, Message, Tone};
use super::pace::{Pace, Rate};
use super::plain::visible;
use super::{Answering, Delivery, Receiver, cut, link};
use crate::clock::UnixMicros;
use crate::config::{DingtalkSettings, ReceiverKind, Secret};

/// Bytes of a request's body.
const MOST_BYTES: usize = 20_000;

/// Characters of a title.
const MOST_TITLE: usize = 200;

/// Bytes that buttons may take.
const MOST_BUTTONS: usize = 6_000;

/// How long a robot that was told too much takes nothing.
const BLOCKED: Duration = Duration::from_secs(600);

/// Not every client of DingTalk shows code.
const MARKDOWN: Markdown = Markdown {
    escape,
    code: false,
};

/// A custom robot of DingTalk.
#[derive(Debug)]
pub(super) struct Dingtalk {
    poster: Poster,
    secret: Option<Secret>,
    keyword: Option<Arc<str>>,
    mention: Vec<Arc<str>>,
}

impl Dingtalk {
    pub(super) fn new(settings: &DingtalkSettings, timeout: Duration) -> Result<Self, BuildError> {
        let poster = Poster::new(&settings.url, &[settings.secret.as_ref()], timeout)?;
        if !poster.has_parameter("access_token") {
            return Err(BuildError::NoParameter("access_token"));
        }
        Ok(Self {
            poster,
            secret: settings.secret.clone(),
            keyword: settings.keyword.clone(),
            mention: settings.mention.clone(),
        })
    }

    fn body(&self, message: &Message) -> Value {
        let keyword = self.keyword.as_deref();
        let title = visible(&message.title);
        let title = with_keyword(&cut::title(&title, MOST_TITLE), keyword);
        let mut heading = format!("### {} {}", message.tone.sign(), MARKDOWN.text(&title));
        if let Some(keyword) = keyword.filter(|keyword| !heading.contains(keyword)) {
            // It has marks in it, and is looked for as it is.
            let _ = write!(heading, " · {keyword}");
        }
        let mentioned: &[Arc<str>] = match message.tone {
            Tone::Critical => &self.mention,
            Tone::Warning | Tone::Good | Tone::Neutral => &[],
        };
        let mut after = Vec::new();
        for row in link::buttons(message, MOST_BUTTONS) {
            let row = row.iter().map(|(label, url)| MARKDOWN.link(label, url));
            after.push(row.collect::<Vec<_>>().join("  "));
        }
        if !mentioned.is_empty() {
            // Only who is named in the text, too, is told.
            let names = mentioned.iter().map(|mobile| format!("@{mobile}"));
            after.push(names.collect::<Vec<_>>().join(" "));
        }
        let whole = |body: &[Block]| {
            let lines = body
                .iter()
                .map(|block| MARKDOWN.line(block).unwrap_or_else(|| "---".to_owned()));
            let lines: Vec<String> = lines.chain(after.iter().cloned()).collect();
            // A line ends where two spaces stand before the break; before a rule there must be an empty
            // line, or what is above it becomes a heading.
            let lines = lines
                .join("  \n")
                .replace("  \n---", "\n\n---")
                .replace("---  \n", "---\n\n");
            json!({
                "msgtype": "markdown",
                "markdown": {"title": title, "text": format!("{heading}\n\n{lines}")},
                "at": {"atMobiles": mentioned, "isAtAll": false},
            })
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
        if !answer.status.is_success() {
            return self.poster.refused(answer);
        }
        let said = answer.json();
        let said = said.as_ref();
        let Some(code) = said
            .and_then(|said| said.get("errcode"))
            .and_then(Value::as_i64)
        else {
            return self.poster.unreadable(answer, "an answer of DingTalk's");
        };
        let words = said
            .and_then(|said| said.get("errmsg"))
            .and_then(Value::as_str);
        let words = words.unwrap_or_default();
        let detail = |hint: &str| {
            format!(
                "DingTalk says {code} ({}): {hint}",
                self.poster.quoted(words)
            )
        };
        let give_up = |reason, hint: &str| Delivered::GiveUp {
            reason,
            detail: detail(hint),
        };
        match code {
            0 => Delivered::Sent { reference: None },
            -1 => Delivered::Again {
                after: answer.retry_after(),
                reason: FailureReason::ServerError,
                detail: detail("it is busy"),
            },
            130_101 | 410_100 => Delivered::Again {
                after: Some(BLOCKED),
                reason: FailureReason::RateLimited,
                detail: detail("more than 20 messages in a minute; it takes none for ten minutes"),
            },
            310_000 => {
                let (reason, hint) = insecure(words);
                let date = answer
                    .date()
                    .map(|there| format!(" and DingTalk's at {there}"));
                let clocks = match reason {
                    FailureReason::Signature => {
                        format!(
                            "; this machine's clock is at {now}{}",
                            date.unwrap_or_default()
                        )
                    }
                    _ => String::new(),
                };
                give_up(reason, &format!("{hint}{clocks}"))
            }
            300_001 | 300_005 | 400_101 => give_up(
                FailureReason::Credential,
                "there is no robot of this token; copy the address from the group's settings",
            ),
            400_013 | 400_102 | 400_106 => give_up(
                FailureReason::Gone,
                "the robot or its group is disabled or gone",
            ),
            430_101..=430_104 => give_up(
                FailureReason::Policy,
                "it does not like what is in the message",
            ),
            460_101 => give_up(FailureReason::TooLong, "it is too long"),
            _ => give_up(FailureReason::Refused, "it refuses the message"),
        }
    }
}

#[async_trait]
impl Receiver for Dingtalk {
    fn kind(&self) -> ReceiverKind {
        ReceiverKind::Dingtalk
    }

    fn pace(&self) -> Pace {
        Pace::of(self.poster.fingerprint(), vec![Rate::new(20, 60)])
    }

    fn answering(&self) -> Answering {
        Answering::Links
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        let now = UnixMicros::now();
        let timestamp = now.0.div_euclid(1_000).to_string();
        let sign = self
            .secret
            .as_ref()
            .map(|secret| signature(secret, &timestamp));
        let parameters = match &sign {
            Some(sign) => vec![("timestamp", timestamp.as_str()), ("sign", sign.as_str())],
            None => Vec::new(),
        };
        let body = self.body(delivery.message).to_string().into_bytes();
        match self.poster.post(&parameters, HeaderMap::new(), body).await {
            Ok(answer) => self.delivered(&answer, now),
            Err(unsent) => unsent,
        }
    }

    fn preview(&self, delivery: Delivery<'_>) -> String {
        format!("{:#}", self.body(delivery.message))
    }
}

/// The signature, before it is encoded for an address: the key is the secret, and the message the
/// moment with the secret.
fn signature(secret: &Secret, timestamp: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let message = format!("{timestamp}\n{}", secret.expose());
    STANDARD.encode(hmac::sign(&key, message.as_bytes()))
}

/// Which of the robot's securities is not met, by its words: the code is the same for all.
fn insecure(words: &str) -> (FailureReason, &'static str) {
    let has = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    if has(&["keyword", "关键词"]) {
        let hint = "the robot asks for a keyword; name one of them as `keyword`";
        (FailureReason::Policy, hint)
    } else if has(&["timestamp", "签名过期", "时间戳"]) && !has(&["不匹配"]) {
        let hint = "clock skew: a signature is good for an hour; set this machine's clock";
        (FailureReason::Signature, hint)
    } else if has(&["sign", "签名"]) {
        let hint = "`secret` is not the robot's, or is missing";
        (FailureReason::Signature, hint)
    } else {
        let hint = "this machine's address is not on the robot's list, or another of its securities is not met";
        (FailureReason::Policy, hint)
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut begins = true;
    let mut before = ' ';
    for shown in text.chars() {
        match shown {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '|' => escaped.extend(['\\', shown]),
            // The middle of a link, for clients that look for no more than that.
            '(' if before == ']' => escaped.push_str("\\("),
            '#' | '+' | '-' | '=' if begins => escaped.extend(['\\', shown]),
            '.' | ')' if before.is_ascii_digit() && begins_number(&escaped) => {
                escaped.extend(['\\', shown]);
            }
            other => escaped.push(other),
        }
        begins = begins && (shown.is_whitespace() || "#+-=".contains(shown));
        before = shown;
    }
    escaped
}

/// Whether there is nothing but a number so far, of which a full stop makes a list.
fn begins_number(text: &str) -> bool {
    text.trim_start().bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_guide() {
        // Computed with Python: hmac.new(b"SECdemo", b"1599360473000\nSECdemo", sha256).
        assert_eq!(
            signature(&Secret::new("SECdemo"), "1599360473000"),
            "tGWkA5eQOQNCNPDgphtxIoNLO+/gD8Lcb705KQoRzeY="
        );
    }

    #[test]
    fn marks_and_tags_begin_nothing() {
        assert_eq!(escape("<b>*a* gpt_4"), "&lt;b&gt;\\*a\\* gpt\\_4");
        assert_eq!(escape("# x #"), "\\# x #");
        assert_eq!(escape("[a](b) (c)"), "\\[a\\]\\(b) (c)");
        assert_eq!(escape("1. a 2. $3.40"), "1\\. a 2. $3.40");
        assert_eq!(escape("--- a-b"), "\\-\\-\\- a-b");
    }

    #[test]
    fn what_is_insecure_is_told_apart_by_words() {
        for (words, reason) in [
            (
                "keywords not in content, more: [https://…]",
                FailureReason::Policy,
            ),
            (
                "sign not match, more: [https://…]",
                FailureReason::Signature,
            ),
            (
                "invalid timestamp, more: [https://…]",
                FailureReason::Signature,
            ),
            ("ip 1.2.3.4 not in whitelist", FailureReason::Policy),
            (
                "description:机器人发送签名不匹配;solution:请确认签名和时间戳",
                FailureReason::Signature,
            ),
            (
                "description:机器人发送签名过期;solution:…",
                FailureReason::Signature,
            ),
            ("description:关键词不匹配;…", FailureReason::Policy),
        ] {
            assert_eq!(insecure(words).0, reason, "{words}");
        }
        assert!(insecure("invalid timestamp").1.contains("clock"));
        assert!(!insecure("机器人发送签名不匹配;时间戳").1.contains("clock"));
    }
}
