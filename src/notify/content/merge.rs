//! Several messages in one.

use super::markup::clipped;
use super::rendering::LONGEST_TITLE;
use crate::config::Language;
use crate::notify::{Block, Content, Message, Span, Thread, Tone};

/// Characters of a name on a button.
const LONGEST_NAME: usize = 24;

impl Message {
    /// The most buttons of a merged message.
    const MOST_BUTTONS: usize = 8;

    /// The same with `name` on each button that does not have it: what the button is about, where others
    /// stand beside it.
    #[must_use]
    pub fn with_buttons_of(mut self, name: &str) -> Self {
        for button in self.buttons.iter_mut().flatten() {
            if !button.label.contains(name) {
                button.label = format!("{} · {name}", button.label);
            }
        }
        self
    }

    /// One message that says what all of these do: in the worst tone, with their bodies one after
    /// another under their titles, and the rows of buttons that there is room for. It belongs to a
    /// conversation where all of them belong to the same one.
    ///
    /// The first one says the language. Without any message it is empty.
    #[must_use]
    pub fn merged(mut messages: Vec<Self>) -> Self {
        if messages.len() == 1
            && let Some(only) = messages.pop()
        {
            return only;
        }
        let language = messages
            .first()
            .map_or(Language::En, |first| first.language);
        let titles: Vec<&str> = messages.iter().map(|one| one.title.as_str()).collect();
        let titles = titles.join(match language {
            Language::En => "; ",
            Language::Zh => "；",
        });
        let title = match language {
            Language::En => format!("{} notifications: {titles}", messages.len()),
            Language::Zh => format!("{} 条通知：{titles}", messages.len()),
        };
        let worst = messages
            .iter()
            .map(|one| one.tone)
            .max_by_key(|tone| tone.rank());
        let thread = messages.first().and_then(|first| first.thread.clone());
        let is_shared = |one: &Self| {
            let key = |message: &Option<Thread>| message.as_ref().map(|thread| thread.key.clone());
            key(&one.thread) == key(&thread)
        };
        let thread = thread.clone().filter(|_| messages.iter().all(is_shared));
        let mut merged = Self {
            tone: worst.unwrap_or(Tone::Neutral),
            language,
            title: clipped(&title, LONGEST_TITLE),
            body: Vec::new(),
            buttons: Vec::new(),
            thread,
            image: None,
        };
        let mut room = Self::MOST_BUTTONS;
        for message in messages {
            if !merged.body.is_empty() {
                merged.body.push(Block::Divider);
            }
            let title = Span::Text(message.title);
            merged.body.push(Block::Heading(vec![title]));
            merged.body.extend(message.body);
            for row in message.buttons {
                // Half a row would offer to do and not to undo.
                if let Some(left) = room.checked_sub(row.len()) {
                    room = left;
                    merged.buttons.push(row);
                }
            }
            merged.image = merged.image.or(message.image);
        }
        merged
    }
}

impl Tone {
    /// How bad it is: the worst has the highest.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Neutral => 0,
            Self::Good => 1,
            Self::Warning => 2,
            Self::Critical => 3,
        }
    }
}

impl Content {
    /// What it is about, in a word that fits on a button: what a group has in common, or its first rule; a
    /// channel. Nothing of what nobody answers.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let name = match self {
            Self::Alerts(alerts) => {
                let facts = alerts.facts.iter().map(|(_, value)| &**value);
                let facts: Vec<&str> = facts.filter(|value| !value.is_empty()).collect();
                let first = || Some(alerts.alerts.first()?.event.alert.rule.to_string());
                Some(facts.join("/"))
                    .filter(|name| !name.is_empty())
                    .or_else(first)?
            }
            Self::Channel(channel) => channel.channel.to_string(),
            Self::Digest(_) | Self::Undelivered(_) => return None,
        };
        Some(clipped(&name, LONGEST_NAME))
    }
}
