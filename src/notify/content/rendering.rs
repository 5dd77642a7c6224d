//! From a content to a message.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use minijinja::Value;
use serde_json::{Value as Json, json};

use super::templates::Templates;
use super::{Content, Link, alerts, channel, digest, humane, markup, undelivered, words};
use crate::alert::NotificationKind;
use crate::clock::UnixMicros;
use crate::config::Language;
use crate::notify::{Block, Message, Span, Tone};

/// Characters of a title.
pub(super) const LONGEST_TITLE: usize = 100;

/// How deep a content may lie in what tells that it was not delivered.
const DEEPEST: usize = 4;

/// For whom a content is put into words, and when.
#[derive(Clone, Copy, Debug)]
pub struct Rendering<'a> {
    /// The language.
    pub language: Language,
    /// The zone of the times.
    pub timezone: &'a TimeZone,
    /// The templates.
    pub templates: &'a Templates,
    /// The present moment.
    pub now: UnixMicros,
}

impl Rendering<'_> {
    /// `14:03`.
    pub(super) fn moment(&self, at: UnixMicros) -> String {
        humane::moment(at, self.now, self.timezone)
    }

    /// `in 3 h`.
    pub(super) fn relative(&self, at: UnixMicros) -> String {
        humane::relative(at, self.now, self.language)
    }

    /// `14:03 (in 3 h)`.
    pub(super) fn moment_and_distance(&self, at: UnixMicros) -> String {
        let distance = words::bracketed(&self.relative(at), self.language);
        format!("{}{distance}", self.moment(at))
    }
}

impl Content {
    /// What kind of notification tells it.
    #[must_use]
    pub const fn kind(&self) -> NotificationKind {
        match self {
            Self::Alerts(_) => NotificationKind::Alert,
            Self::Channel(_) => NotificationKind::Channel,
            Self::Digest(_) => NotificationKind::Digest,
            Self::Undelivered(_) => NotificationKind::Undelivered,
        }
    }

    /// How its message looks at first sight.
    #[must_use]
    pub fn tone(&self) -> Tone {
        tone(self)
    }
}

/// A content in words: tone, title and body. Buttons, thread and image are the caller's.
///
/// It never fails: a template that does is told in the log, once, and Tollgate's own takes its place.
#[must_use]
pub fn render(content: &Content, rendering: &Rendering<'_>) -> Message {
    render_within(content, rendering, DEEPEST)
}

fn render_within(content: &Content, rendering: &Rendering<'_>, depth: usize) -> Message {
    let values = values(content, rendering);
    let plain_title = values["title"].as_str().unwrap_or_default().to_owned();
    let view = cleaned(&values);
    let kind = content.kind();
    let rendered = rendering.templates.render(kind, rendering.language, view);
    let (title, body) = rendered.as_deref().map(markup::parsed).unwrap_or_default();
    // A template that fails on what it was not tried with still leaves the title.
    let title = if title.is_empty() { plain_title } else { title };
    let mut message = Message {
        tone: tone(content),
        language: rendering.language,
        title: markup::clipped(&markup::one_line(&title), LONGEST_TITLE),
        body,
        buttons: Vec::new(),
        thread: None,
        image: None,
    };
    if let Content::Undelivered(undelivered) = content
        && let Some(last) = undelivered.content.as_deref().filter(|_| depth > 0)
    {
        let last = render_within(last, rendering, depth - 1);
        message.body.push(Block::Divider);
        message
            .body
            .push(Block::Heading(vec![Span::Text(last.title)]));
        message.body.extend(last.body);
    }
    message
}

/// What a template may name, for a content.
pub(super) fn view(content: &Content, rendering: &Rendering<'_>) -> Value {
    cleaned(&values(content, rendering))
}

fn values(content: &Content, rendering: &Rendering<'_>) -> Json {
    let mut values = match content {
        Content::Alerts(alerts) => alerts::view(alerts, rendering),
        Content::Channel(channel) => channel::view(channel, rendering),
        Content::Digest(digest) => digest::view(digest, rendering),
        Content::Undelivered(undelivered) => undelivered::view(undelivered, rendering),
    };
    values["language"] = Json::from(rendering.language.as_str());
    values["now"] = Json::from(rendering.moment(rendering.now));
    values
}

/// Where to look, as templates have it.
pub(super) fn links(links: &[Link], language: Language) -> Vec<Json> {
    const MOST: usize = 8;
    let told = links.iter().take(MOST).map(|link| {
        json!({
            "kind": link.kind.as_str(),
            "text": words::link(link.kind, language),
            "url": link.url,
        })
    });
    told.collect()
}

fn tone(content: &Content) -> Tone {
    match content {
        Content::Alerts(alerts) => alerts::tone(alerts),
        Content::Channel(channel) => channel::tone(channel),
        Content::Digest(_) => Tone::Neutral,
        Content::Undelivered(undelivered) => match undelivered.content.as_deref() {
            Some(lost) if tone(lost) == Tone::Critical => Tone::Critical,
            _ => Tone::Warning,
        },
    }
}

/// Values as a template gets them: no text in them has a mark.
fn cleaned(values: &Json) -> Value {
    match values {
        Json::Null => Value::from(()),
        Json::Bool(known) => Value::from(*known),
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(count), _) => Value::from(count),
            (_, Some(count)) => Value::from(count),
            _ => Value::from(number.to_string()),
        },
        Json::String(text) => Value::from(markup::cleaned(text)),
        Json::Array(members) => members.iter().map(cleaned).collect(),
        Json::Object(members) => members
            .iter()
            .map(|(name, member)| (markup::cleaned(name), cleaned(member)))
            .collect::<BTreeMap<_, _>>()
            .into(),
    }
}
