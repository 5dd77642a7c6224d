//! A message's words in Telegram's HTML: escaped and cut, in this one place.

use std::borrow::Cow;

use crate::config::Language;
use crate::notify::cut::utf16;
use crate::notify::plain::{WORD_JOINER, unlinked, visible};
use crate::notify::{Block, Button, ButtonTarget, Message, Span};

/// Lines of text.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    lines: Vec<Line<'a>>,
    language: Language,
}

#[derive(Clone, Debug, Default)]
struct Line<'a>(Vec<Piece<'a>>);

/// A part of a line that looks the same all over.
#[derive(Clone, Debug)]
struct Piece<'a> {
    look: Look<'a>,
    /// Not empty, and without control characters.
    text: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look<'a> {
    Plain,
    Bold,
    Code,
    /// Leads to this address.
    Link(&'a str),
    /// An address, which is not to be touched.
    Address,
}

impl<'a> Text<'a> {
    /// All of a message.
    pub(super) fn of(message: &'a Message) -> Self {
        let mut text = Self::title_of(message);
        for block in &message.body {
            match block {
                Block::Heading(spans) => {
                    text.separate();
                    text.write(Line::default(), spans, Look::Bold);
                }
                Block::Line(spans) => text.write(Line::default(), spans, Look::Plain),
                Block::Item(spans) => {
                    let bullet = Line(vec![Piece::new(Look::Plain, "• ")]);
                    text.write(bullet, spans, Look::Plain);
                }
                Block::Divider => text.separate(),
            }
        }
        text
    }

    /// Its title alone.
    pub(super) fn title_of(message: &'a Message) -> Self {
        let title: String = message
            .title
            .split('\n')
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        let sign = format!("{} ", message.tone.sign());
        let mut line = Line(vec![Piece::new(Look::Plain, sign)]);
        line.push(Look::Bold, title);
        Self {
            lines: vec![line],
            language: message.language,
        }
    }

    /// With the addresses of buttons below, for where they cannot be buttons.
    pub(super) fn and_addresses_of(mut self, rows: &'a [Vec<Button>]) -> Self {
        self.separate();
        for button in rows.iter().flatten() {
            if let ButtonTarget::Url(url) = &button.target {
                let mut line = Line::default();
                line.push(
                    Look::Plain,
                    format!("{}: ", button.label.replace('\n', " ")),
                );
                line.push(Look::Address, url.as_str());
                self.lines.push(line);
            }
        }
        self
    }

    /// How long it is as people read it, in UTF-16 code units, before anything is cut.
    pub(super) fn length(&self) -> usize {
        length_of(&self.clone().guarded().lines)
    }

    /// In HTML, with no more than `limit` UTF-16 code units beside the tags.
    pub(super) fn html(&self, limit: usize) -> String {
        let cut = self.clone().guarded().cut(limit);
        let mut html = String::new();
        for (at, line) in cut.lines.iter().enumerate() {
            if at > 0 {
                html.push('\n');
            }
            line.0.iter().for_each(|piece| piece.write_html(&mut html));
        }
        html
    }

    /// Without markup, addresses written out.
    pub(super) fn plain(&self, limit: usize) -> String {
        let mut text = self.clone();
        for line in &mut text.lines {
            let pieces = std::mem::take(line).0;
            for piece in pieces {
                let Look::Link(url) = piece.look else {
                    let is_address = piece.look == Look::Address;
                    let look = if is_address {
                        Look::Address
                    } else {
                        Look::Plain
                    };
                    line.push(look, piece.text);
                    continue;
                };
                line.push(Look::Plain, piece.text);
                line.push(Look::Plain, " (");
                line.push(Look::Address, url);
                line.push(Look::Plain, ")");
            }
        }
        let cut = text.guarded().cut(limit);
        let lines: Vec<String> = cut.lines.iter().map(Line::text).collect();
        lines.join("\n")
    }

    /// Leaves a line free, where there is not one already.
    fn separate(&mut self) {
        if self.lines.last().is_some_and(|line| !line.0.is_empty()) {
            self.lines.push(Line::default());
        }
    }

    /// Writes spans behind what begins the line. What is not marked looks as `usual`.
    fn write(&mut self, mut line: Line<'a>, spans: &'a [Span], usual: Look<'a>) {
        for span in spans {
            let (look, text) = match span {
                Span::Bold(text) => (Look::Bold, text),
                Span::Code(text) => (Look::Code, text),
                Span::Link { text, url } if is_address(url) => (Look::Link(url), text),
                Span::Text(text) | Span::Link { text, .. } => (usual, text),
            };
            let mut parts = text.split('\n');
            line.push(look, parts.next().unwrap_or_default());
            for part in parts {
                self.lines.push(std::mem::take(&mut line));
                line.push(look, part);
            }
        }
        self.lines.push(line);
    }

    /// With every name that Telegram would make a mention, a command or a link of kept from it. It looks
    /// for nothing in code.
    fn guarded(mut self) -> Self {
        for piece in self.lines.iter_mut().flat_map(|line| &mut line.0) {
            let is_safe = matches!(piece.look, Look::Code | Look::Address);
            // What is a link already leads where it says.
            let is_link = matches!(piece.look, Look::Link(_));
            if !is_safe && !is_link && piece.text.contains(['.', ':']) {
                piece.text = unlinked(&piece.text).into_owned().into();
            }
            if !is_safe && piece.text.contains(['@', '/']) {
                piece.text = guard(&piece.text).into();
            }
        }
        self
    }

    /// No longer than `limit`. A line that is much too long by itself is cut; then whole lines are left
    /// out from the end, and how many is said.
    fn cut(mut self, limit: usize) -> Self {
        let mut length = length_of(&self.lines);
        if length <= limit {
            return self;
        }
        for line in &mut self.lines {
            line.cut(limit / 4);
        }
        length = length_of(&self.lines);
        let mut left_out = 0;
        loop {
            let note = (left_out > 0).then(|| note(self.language, left_out));
            let with_note = length + note.as_ref().map_or(0, |note| 1 + note.length());
            if with_note <= limit || self.lines.len() <= 1 {
                self.lines.extend(note);
                return self;
            }
            if let Some(line) = self.lines.pop() {
                length -= 1 + line.length();
                left_out += usize::from(!line.0.is_empty());
            }
        }
    }
}

/// That so many lines are left out.
fn note(language: Language, lines: usize) -> Line<'static> {
    let words = match (language, lines) {
        (Language::En, 1) => "… 1 more line".to_owned(),
        (Language::En, _) => format!("… {lines} more lines"),
        (Language::Zh, _) => format!("… 还有 {lines} 行"),
    };
    Line(vec![Piece {
        look: Look::Plain,
        text: words.into(),
    }])
}

impl<'a> Line<'a> {
    fn push(&mut self, look: Look<'a>, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        if !text.is_empty() {
            self.0.push(Piece::new(look, text));
        }
    }

    fn length(&self) -> usize {
        self.0.iter().map(|piece| utf16(&piece.text)).sum()
    }

    fn text(&self) -> String {
        self.0.iter().map(|piece| &*piece.text).collect()
    }

    /// No longer than `limit`, which is more than nothing, with a sign where something is missing.
    fn cut(&mut self, limit: usize) {
        if self.length() <= limit {
            return;
        }
        let mut left = limit.saturating_sub(1);
        for at in 0..self.0.len() {
            let piece = &mut self.0[at];
            let length = utf16(&piece.text);
            if length <= left {
                left -= length;
                continue;
            }
            let mut kept = String::new();
            for char in piece.text.chars() {
                if char.len_utf16() > left {
                    break;
                }
                left -= char.len_utf16();
                kept.push(char);
            }
            kept.push('…');
            piece.text = kept.into();
            self.0.truncate(at + 1);
            return;
        }
    }
}

impl<'a> Piece<'a> {
    /// Control characters, which Telegram does not show or refuses, are made visible; so is what turns
    /// the text around it.
    fn new(look: Look<'a>, text: impl Into<Cow<'a, str>>) -> Self {
        let mut text = text.into();
        if let Cow::Owned(shown) = visible(&text) {
            text = shown.into();
        }
        Self { look, text }
    }

    fn write_html(&self, html: &mut String) {
        let (open, close) = match self.look {
            Look::Plain | Look::Address => ("", ""),
            Look::Bold => ("<b>", "</b>"),
            Look::Code => ("<code>", "</code>"),
            Look::Link(url) => {
                html.push_str("<a href=\"");
                escape(url, html);
                ("\">", "</a>")
            }
        };
        html.push_str(open);
        escape(&self.text, html);
        html.push_str(close);
    }
}

/// The only place where text becomes HTML.
fn escape(text: &str, html: &mut String) {
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
}

/// Puts a [`WORD_JOINER`] behind every `@` and `/` that a name may follow, at the end of a piece too:
/// what comes next stands in another. Within a word (`a@b.c`, `a/b`) there is no need.
fn guard(text: &str) -> String {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    let mut guarded = String::with_capacity(text.len() + 8);
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        guarded.push(char);
        let begins = before.is_none_or(|before| !is_word(before) && (char, before) != ('/', '/'));
        let goes_on = chars.peek().is_none_or(|&next| is_word(next));
        if matches!(char, '@' | '/') && begins && goes_on {
            guarded.push(WORD_JOINER);
        }
        before = Some(char);
    }
    guarded
}

fn is_address(url: &str) -> bool {
    let is_odd = |char: char| char.is_whitespace() || char.is_control();
    (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(is_odd)
}

/// How long lines are together, with what is between them.
fn length_of(lines: &[Line<'_>]) -> usize {
    let texts: usize = lines.iter().map(Line::length).sum();
    texts + lines.len().saturating_sub(1)
}

#[cfg(test)]
#[path = "../../../tests/support/receivers/telegram/html.rs"]
#[allow(dead_code, reason = "the double asks for more of it")]
mod html;
#[cfg(test)]
mod tests;
