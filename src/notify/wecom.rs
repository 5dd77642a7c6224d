//! WeCom: group robots, by Markdown or by cards.
//!
//! The page on message pushes says what is used here
//! (<https://developer.work.weixin.qq.com/document/path/99110>). Every answer has HTTP's 200; its
//! `errcode` says what came of it. WeCom's Markdown is a small part of Markdown, with `<font>` and
//! `<@userid>`, and knows no way to escape: what would begin something in it is written by its
//! full-width twin (`＊`), which looks the same and begins nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use serde_json::{Value, json};

use super::build::BuildError;
use super::content::{Content, Link, LinkKind};
use super::delivered::{Delivered, FailureReason};
use super::http::{Answer, Poster};
use super::markdown::Markdown;
use super::message::{Block, Message, Tone};
use super::pace::{Pace, Rate};
use super::plain::visible;
use super::{Answering, Delivery, Receiver, cut, link};
use crate::config::{ReceiverKind, WecomSettings, WecomStyle};

/// Bytes of Markdown.
const MOST_BYTES: usize = 4_096;

/// Characters of a title in Markdown.
const MOST_TITLE: usize = 120;

/// Bytes that buttons may take.
const MOST_BUTTONS: usize = 1_200;

/// Lines of a card, name and value each.
const MOST_ROWS: usize = 6;

/// Ways on from a card.
const MOST_JUMPS: usize = 3;

/// Characters of a card's parts. WeCom recommends fewer and shows what it has room for.
const MOST_CARD_TITLE: usize = 60;
const MOST_CARD_TEXT: usize = 220;
const MOST_ROW_NAME: usize = 16;
const MOST_ROW_VALUE: usize = 60;
const MOST_JUMP: usize = 26;

/// How long a robot that was told too much is left alone: its limits are by the minute.
const MINUTE: Duration = Duration::from_secs(60);

const MARKDOWN: Markdown = Markdown { escape, code: true };

/// The message is too long or malformed, which WeCom does not tell apart.
struct TooLong;

/// A group robot of WeCom.
#[derive(Debug)]
pub(super) struct Wecom {
    poster: Poster,
    style: WecomStyle,
    mention: Vec<Arc<str>>,
    timeout: Duration,
}

impl Wecom {
    pub(super) fn new(settings: &WecomSettings, timeout: Duration) -> Result<Self, BuildError> {
        let poster = Poster::new(&settings.url, &[], timeout)?;
        if !poster.has_parameter("key") {
            return Err(BuildError::NoParameter("key"));
        }
        Ok(Self {
            poster,
            style: settings.style,
            mention: settings.mention.clone(),
            timeout,
        })
    }

    /// The message, cut to `most` bytes of Markdown. A card leads somewhere and mentions nobody: what
    /// has no link, or somebody to mention, is Markdown in either style.
    fn body(&self, delivery: Delivery<'_>, most: usize) -> Value {
        let message = delivery.message;
        let mentions = message.tone == Tone::Critical && !self.mention.is_empty();
        match (self.style, destination(delivery)) {
            (WecomStyle::Card, Some(url)) if !mentions => card(message, &url),
            _ => self.plain_body(delivery, most),
        }
    }

    fn plain_body(&self, delivery: Delivery<'_>, most: usize) -> Value {
        json!({
            "msgtype": "markdown",
            "markdown": {"content": self.markdown(delivery.message, most)},
        })
    }

    fn markdown(&self, message: &Message, most: usize) -> String {
        let colour = match message.tone {
            Tone::Critical | Tone::Warning => "warning",
            Tone::Good => "info",
            Tone::Neutral => "comment",
        };
        let title = MARKDOWN.text(&cut::title(&visible(&message.title), MOST_TITLE));
        let mut after = Vec::new();
        for row in link::buttons(message, MOST_BUTTONS) {
            let row = row.iter().map(|(label, url)| MARKDOWN.link(label, url));
            after.push(row.collect::<Vec<_>>().join("  "));
        }
        if message.tone == Tone::Critical {
            let mentions = self.mention.iter().map(|user| format!("<@{user}>"));
            after.extend(Some(mentions.collect::<Vec<_>>().join(" ")));
        }
        let whole = |body: &[Block]| {
            let title = format!("### <font color=\"{colour}\">{title}</font>");
            let lines = body
                .iter()
                .map(|block| MARKDOWN.line(block).unwrap_or_default());
            let lines = std::iter::once(title)
                .chain(lines)
                .chain(after.iter().cloned());
            lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
        };
        let length = |body: &[Block]| whole(body).len();
        whole(&cut::body(&message.body, message.language, most, length))
    }

    async fn try_both(&self, delivery: Delivery<'_>) -> Delivered {
        match self.once(self.body(delivery, MOST_BYTES)).await {
            // It counts in another way than it says; half of it, and no card, is short enough by any.
            Err(TooLong) => {
                let again = self.once(self.plain_body(delivery, MOST_BYTES / 2)).await;
                again.unwrap_or_else(|TooLong| Delivered::GiveUp {
                    reason: FailureReason::TooLong,
                    detail:
                        "WeCom says that the message is too long or malformed, and so is half of it"
                            .to_owned(),
                })
            }
            Ok(delivered) => delivered,
        }
    }

    async fn once(&self, body: Value) -> Result<Delivered, TooLong> {
        let body = body.to_string().into_bytes();
        match self.poster.post(&[], HeaderMap::new(), body).await {
            Ok(answer) => self.delivered(&answer),
            Err(unsent) => Ok(unsent),
        }
    }

    fn delivered(&self, answer: &Answer) -> Result<Delivered, TooLong> {
        if !answer.status.is_success() {
            return Ok(self.poster.refused(answer));
        }
        let said = answer.json();
        let said = said.as_ref();
        let Some(code) = said
            .and_then(|said| said.get("errcode"))
            .and_then(Value::as_i64)
        else {
            return Ok(self.poster.unreadable(answer, "an answer of WeCom's"));
        };
        let words = said
            .and_then(|said| said.get("errmsg"))
            .and_then(Value::as_str);
        let words = self.poster.quoted(words.unwrap_or_default());
        let detail = |hint: &str| format!("WeCom says {code} ({words}): {hint}");
        let give_up = |reason, hint: &str| Delivered::GiveUp {
            reason,
            detail: detail(hint),
        };
        Ok(match code {
            0 => Delivered::Sent { reference: None },
            -1 => Delivered::Again {
                after: answer.retry_after(),
                reason: FailureReason::ServerError,
                detail: detail("it is busy"),
            },
            45009 | 45033 => Delivered::Again {
                after: answer.retry_after().or(Some(MINUTE)),
                reason: FailureReason::RateLimited,
                detail: detail("too many messages in a minute"),
            },
            40058 | 45002 => return Err(TooLong),
            93000 => give_up(
                FailureReason::Credential,
                "there is no robot of this key; copy the address from the group's settings",
            ),
            93004 | 93008 => give_up(
                FailureReason::Gone,
                "the robot is disabled or not in the group",
            ),
            _ => give_up(FailureReason::Refused, "it refuses the message"),
        })
    }
}

#[async_trait]
impl Receiver for Wecom {
    fn kind(&self) -> ReceiverKind {
        ReceiverKind::Wecom
    }

    fn pace(&self) -> Pace {
        Pace::of(self.poster.fingerprint(), vec![Rate::new(20, 60)])
    }

    fn answering(&self) -> Answering {
        Answering::Links
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        let both = tokio::time::timeout(self.timeout, self.try_both(delivery));
        both.await.unwrap_or_else(|_| Delivered::Again {
            after: None,
            reason: FailureReason::Timeout,
            detail: "it took too long".to_owned(),
        })
    }

    fn preview(&self, delivery: Delivery<'_>) -> String {
        format!("{:#}", self.body(delivery, MOST_BYTES))
    }
}

/// Where a card leads: to a dashboard of what it tells, or to whatever else there is to look at.
fn destination(delivery: Delivery<'_>) -> Option<String> {
    let links: Vec<&Link> = delivery.contents.iter().flat_map(links).collect();
    let dashboard = links.iter().find(|link| link.kind == LinkKind::Dashboard);
    let first = dashboard
        .into_iter()
        .chain(&links)
        .find_map(|link| link::linkable(&link.url));
    first.or_else(|| {
        link::in_body(&delivery.message.body)
            .map(|(_, url)| url)
            .next()
    })
}

fn links(content: &Content) -> Vec<&Link> {
    match content {
        Content::Alerts(alerts) => alerts
            .alerts
            .iter()
            .flat_map(|alert| &alert.links)
            .collect(),
        Content::Channel(channel) => channel.links.iter().collect(),
        Content::Digest(digest) => digest.links.iter().collect(),
        Content::Undelivered(undelivered) => undelivered
            .content
            .as_deref()
            .map(links)
            .unwrap_or_default(),
    }
}

/// A card: what reads `name: value` in its rows, the rest as its text. All of it is plain text.
fn card(message: &Message, url: &str) -> Value {
    let (mut rows, mut lines, mut left) = (Vec::new(), Vec::new(), 0);
    let mut room = MOST_CARD_TEXT;
    for block in &message.body {
        let line: String = cut::spans(block).iter().map(cut::text).collect();
        let line = visible(line.trim()).into_owned();
        if line.is_empty() {
            continue;
        }
        match row(&line) {
            Some((name, value)) if rows.len() < MOST_ROWS => {
                let value = cut::title(value, MOST_ROW_VALUE);
                rows.push(json!({"keyname": name, "value": value}));
            }
            _ if room > 0 => {
                let line = cut::title(&line, room).into_owned();
                room = room.saturating_sub(line.chars().count() + 1);
                lines.push(line);
            }
            _ => left += 1,
        }
    }
    if left > 0 {
        lines.push(cut::more_lines(left, message.language));
    }
    let buttons = link::buttons(message, MOST_BUTTONS).into_iter().flatten();
    let ways = buttons.chain(link::in_body(&message.body)).take(MOST_JUMPS);
    let jumps = ways.map(|(title, url)| {
        json!({"type": 1, "title": cut::title(&visible(title), MOST_JUMP), "url": url})
    });
    let colour = match message.tone {
        Tone::Critical | Tone::Warning => 2,
        Tone::Good => 3,
        Tone::Neutral => 0,
    };
    json!({
        "msgtype": "template_card",
        "template_card": {
            "card_type": "text_notice",
            "source": {"desc": "Tollgate", "desc_color": colour},
            "main_title": {"title": cut::title(&visible(&message.title), MOST_CARD_TITLE)},
            "sub_title_text": lines.join("\n"),
            "horizontal_content_list": rows,
            "jump_list": jumps.collect::<Vec<_>>(),
            "card_action": {"type": 1, "url": url},
        },
    })
}

/// A line as a name and a value, if the name is short.
fn row(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(": ").or_else(|| line.split_once('：'))?;
    let (name, value) = (name.trim(), value.trim());
    let fits = !name.is_empty() && !value.is_empty() && name.chars().count() <= MOST_ROW_NAME;
    fits.then_some((name, value))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut begins = true;
    let mut before = ' ';
    for (at, shown) in text.char_indices() {
        let after = text[at + shown.len_utf8()..].chars().next().unwrap_or(' ');
        escaped.push(match shown {
            '<' => '＜',
            '>' => '＞',
            '*' => '＊',
            '`' => '｀',
            '[' => '［',
            ']' => '］',
            // In a word it begins nothing, and names are full of it.
            '_' if !before.is_alphanumeric() || !after.is_alphanumeric() => '＿',
            '#' if begins => '＃',
            other => other,
        });
        begins = begins && (shown == '#' || shown.is_whitespace());
        before = shown;
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_a_mention_or_a_mark() {
        assert_eq!(escape("<@all> **b** [a](b)"), "＜@all＞ ＊＊b＊＊ ［a］(b)");
        assert_eq!(escape("## gpt_4 _x_ C#"), "＃＃ gpt_4 ＿x＿ C#");
    }

    #[test]
    fn a_line_is_a_row_where_its_name_is_short() {
        assert_eq!(
            row("Channel: azure: east"),
            Some(("Channel", "azure: east"))
        );
        assert_eq!(row("渠道：甲"), Some(("渠道", "甲")));
        assert_eq!(row("a sentence of many words: and more"), None);
        assert_eq!(row("no colon"), None);
    }
}
