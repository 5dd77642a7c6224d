//! Several messages in one.

use super::markup::clipped;
use super::rendering::LONGEST_TITLE;
use crate::config::Language;
use crate::notify::{Block, Button, Message, Span, Thread, Tone};

impl Message {
    /// The most buttons of a merged message.
    const MOST_BUTTONS: usize = 8;

    /// One message that says what all of these do: in the worst tone, with their bodies one after
    /// another under their titles, and the buttons of all as long as there is room. It belongs to a
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
            .max_by_key(|tone| rank(*tone));
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
                let row: Vec<Button> = row.into_iter().take(room).collect();
                room -= row.len();
                if !row.is_empty() {
                    merged.buttons.push(row);
                }
            }
            merged.image = merged.image.or(message.image);
        }
        merged
    }
}

/// How bad a tone is.
const fn rank(tone: Tone) -> u8 {
    match tone {
        Tone::Neutral => 0,
        Tone::Good => 1,
        Tone::Warning => 2,
        Tone::Critical => 3,
    }
}
