//! Slack: incoming webhooks, by blocks.
//!
//! The pages on incoming webhooks and blocks say what is used here
//! (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
//! <https://docs.slack.dev/reference/block-kit/blocks>). Slack's `mrkdwn` cannot escape `*` or `_`. So
//! the body is rich text, whose pieces are text and style apart: nothing in them is read as anything.
//! `mrkdwn` is only what settings say, the mentions, and the line for previews and pagers, in which the
//! three characters are escaped that can be and that begin every mention.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use serde_json::{Value, json};

use super::build::BuildError;
use super::delivered::{Delivered, FailureReason};
use super::http::{Answer, Poster};
use super::message::{Block, Message, Span, Tone};
use super::pace::{Pace, Rate};
use super::plain::visible;
use super::{Answering, Delivery, Receiver, cut, link};
use crate::config::{ReceiverKind, SlackSettings};

/// Characters of a header.
const MOST_HEADER: usize = 150;

/// Characters of a part of the body: Slack's limit of a section, kept well below.
const MOST_PART: usize = 2_800;

/// Characters of the body: four parts and what cuts between them cost.
const MOST_BODY: usize = 11_000;

/// Pieces of text of one part.
const MOST_PIECES: usize = 200;

/// Blocks; Slack takes 50.
const MOST_PARTS: usize = 40;

/// Characters of an answer's label.
const MOST_LABEL: usize = 75;

/// Bytes that answers may take.
const MOST_ANSWERS: usize = 6_000;

/// An incoming webhook of Slack.
#[derive(Debug)]
pub(super) struct Slack {
    poster: Poster,
    mention: Vec<Arc<str>>,
}

impl Slack {
    pub(super) fn new(settings: &SlackSettings, timeout: Duration) -> Result<Self, BuildError> {
        Ok(Self {
            poster: Poster::new(&settings.url, &[], timeout)?,
            mention: settings.mention.clone(),
        })
    }

    fn body(&self, message: &Message) -> Value {
        let title = format!("{} {}", message.tone.sign(), visible(&message.title));
        let title = cut::title(&title, MOST_HEADER);
        let mut blocks = vec![json!({
            "type": "header",
            // Without Slack's `:names:` of emoji; those of Unicode are text.
            "text": {"type": "plain_text", "text": title, "emoji": false},
        })];
        if message.tone == Tone::Critical && !self.mention.is_empty() {
            let mentions = self.mention.iter().map(|id| mention(id));
            let mentions = mentions.collect::<Vec<_>>().join(" ");
            blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": mentions}}));
        }
        let length = |body: &[Block]| {
            let parts = parts(body);
            if parts.len() > MOST_PARTS {
                return usize::MAX;
            }
            parts.iter().map(|part| part.characters).sum()
        };
        let body = cut::body(&message.body, message.language, MOST_BODY, length);
        blocks.extend(parts(&body).into_iter().map(Part::block));
        blocks.extend(links(message).into_iter().map(Part::block));
        blocks.truncate(50);
        json!({
            "text": escape(&title),
            "blocks": blocks,
            "unfurl_links": false,
            "unfurl_media": false,
        })
    }

    fn delivered(&self, answer: &Answer) -> Delivered {
        let said = answer.text();
        let said = said.trim();
        if answer.status.is_success() && said == "ok" {
            return Delivered::Sent { reference: None };
        }
        let (reason, hint) = match said {
            "invalid_token" => (
                FailureReason::Credential,
                "the webhook's address is not good any more; make a new one",
            ),
            "no_service" | "no_active_hooks" | "no_team" | "no_service_id" => (
                FailureReason::Gone,
                "there is no webhook of this address any more; make a new one",
            ),
            "channel_not_found" | "channel_is_archived" | "user_not_found" => {
                (FailureReason::Gone, "the webhook's channel is gone")
            }
            "action_prohibited" | "posting_to_general_channel_denied" | "team_disabled" => (
                FailureReason::Policy,
                "an administrator of the workspace does not allow it",
            ),
            "invalid_blocks"
            | "invalid_blocks_format"
            | "invalid_payload"
            | "no_text"
            | "too_many_attachments"
            | "invalid_attachments" => (FailureReason::Refused, "it cannot read the message"),
            "msg_too_long" | "msg_blocks_too_long" => (FailureReason::TooLong, "it is too long"),
            _ if answer.status.is_success() => {
                return self.poster.unreadable(answer, "Slack's `ok`");
            }
            _ => return self.poster.refused(answer),
        };
        Delivered::GiveUp {
            reason,
            detail: format!("Slack says {said}: {hint}"),
        }
    }
}

#[async_trait]
impl Receiver for Slack {
    fn kind(&self) -> ReceiverKind {
        ReceiverKind::Slack
    }

    fn pace(&self) -> Pace {
        Pace::of(self.poster.fingerprint(), vec![Rate::new(1, 1)])
    }

    fn answering(&self) -> Answering {
        Answering::Links
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        let body = self.body(delivery.message).to_string().into_bytes();
        match self.poster.post(&[], HeaderMap::new(), body).await {
            Ok(answer) => self.delivered(&answer),
            Err(unsent) => unsent,
        }
    }

    fn preview(&self, delivery: Delivery<'_>) -> String {
        format!("{:#}", self.body(delivery.message))
    }
}

fn mention(id: &str) -> String {
    if id.starts_with('S') {
        format!("<!subteam^{id}>")
    } else {
        format!("<@{id}>")
    }
}

/// The three characters that Slack asks to escape.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A block of the body.
#[derive(Default)]
struct Part {
    elements: Vec<Value>,
    /// In UTF-16, which is never less than Slack counts.
    characters: usize,
    divider: bool,
}

impl Part {
    fn block(self) -> Value {
        if self.divider {
            return json!({"type": "divider"});
        }
        json!({
            "type": "rich_text",
            "elements": [{"type": "rich_text_section", "elements": self.elements}],
        })
    }

    fn push(&mut self, element: Value, characters: usize) {
        self.elements.push(element);
        self.characters += characters;
    }

    fn is_full(&self, more: usize) -> bool {
        self.characters + more > MOST_PART || self.elements.len() >= MOST_PIECES
    }
}

/// The body in blocks of which none is too long.
fn parts(body: &[Block]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = Part::default();
    for block in body {
        if *block == Block::Divider {
            parts.push(std::mem::take(&mut part));
            parts.push(Part {
                divider: true,
                ..Part::default()
            });
            continue;
        }
        if part.characters > 0 {
            if part.is_full(characters_of(block)) {
                parts.push(std::mem::take(&mut part));
            } else {
                part.push(text("\n", false, false), 1);
            }
        }
        if matches!(block, Block::Item(_)) {
            part.push(text("• ", false, false), 2);
        }
        let heading = matches!(block, Block::Heading(_));
        for span in cut::spans(block) {
            let shown = visible(cut::text(span)).into_owned();
            let mut rest = shown.as_str();
            while !rest.is_empty() {
                if part.is_full(1) {
                    parts.push(std::mem::take(&mut part));
                }
                let (piece, after) = rest.split_at(fitting(rest, MOST_PART - part.characters));
                let element = match span {
                    Span::Text(_) => text(piece, heading, false),
                    Span::Bold(_) => text(piece, true, false),
                    Span::Code(_) => text(piece, heading, true),
                    Span::Link { url, .. } => match link::linkable(url) {
                        Some(url) => json!({"type": "link", "url": url, "text": piece}),
                        None => text(piece, heading, false),
                    },
                };
                part.push(element, cut::utf16(piece));
                if piece.is_empty() {
                    // Half a pair is left: one of the next part.
                    parts.push(std::mem::take(&mut part));
                }
                rest = after;
            }
        }
    }
    parts.push(part);
    parts.retain(|part| part.divider || part.characters > 0);
    parts
}

/// The answers, as links: each row a line. Buttons would need an app that takes interactions: Slack says
/// of each click on one that it failed, though the link in it opens.
fn links(message: &Message) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = Part::default();
    for row in link::buttons(message, MOST_ANSWERS) {
        for (index, (label, url)) in row.into_iter().enumerate() {
            let label = cut::title(&visible(label), MOST_LABEL).into_owned();
            if label.is_empty() {
                continue;
            }
            if part.is_full(MOST_LABEL + 5) {
                parts.push(std::mem::take(&mut part));
            }
            if part.characters > 0 {
                let between = if index == 0 { "\n" } else { "  ·  " };
                part.push(text(between, false, false), cut::utf16(between));
            }
            let length = cut::utf16(&label);
            part.push(json!({"type": "link", "url": url, "text": label}), length);
        }
    }
    parts.push(part);
    parts.retain(|part| part.characters > 0);
    parts
}

fn characters_of(block: &Block) -> usize {
    3 + cut::spans(block)
        .iter()
        .map(|span| cut::utf16(cut::text(span)))
        .sum::<usize>()
}

/// The bytes of the beginning of `text` that has at most `room` characters.
fn fitting(text: &str, room: usize) -> usize {
    let mut left = room;
    for (at, shown) in text.char_indices() {
        match left.checked_sub(shown.len_utf16()) {
            Some(rest) => left = rest,
            None => return at,
        }
    }
    text.len()
}

fn text(text: &str, bold: bool, code: bool) -> Value {
    let mut element = json!({"type": "text", "text": text});
    if bold {
        element["style"]["bold"] = true.into();
    }
    if code {
        element["style"]["code"] = true.into();
    }
    element
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn settings_mention_users_and_groups() {
        assert_eq!(mention("U012"), "<@U012>");
        assert_eq!(mention("S012"), "<!subteam^S012>");
    }

    #[test]
    fn what_begins_a_mention_is_escaped() {
        assert_eq!(
            escape("<!channel> & &lt;"),
            "&lt;!channel&gt; &amp; &amp;lt;"
        );
    }

    proptest! {
        #[test]
        fn parts_are_short_enough_and_lose_nothing(
            lines in prop::collection::vec("(\\PC|😀){0,200}", 0..60),
        ) {
            let lines: Vec<String> = lines.iter().map(|line| line.repeat(12)).collect();
            let body: Vec<Block> = lines
                .iter()
                .map(|line| Block::Line(vec![Span::Text(line.clone())]))
                .collect();
            let mut read = String::new();
            for part in parts(&body) {
                prop_assert!(part.characters <= MOST_PART + 1);
                for element in &part.elements {
                    read.push_str(element["text"].as_str().unwrap());
                }
            }
            let told: String = lines.concat().chars().filter(|shown| *shown != '\n').collect();
            prop_assert_eq!(read.replace('\n', ""), visible(&told).into_owned());
        }
    }
}
