//! What the Markdowns of the chats have in common. Each knows another part of it, and escapes in its
//! own way, if it knows one; the receivers say how.

use super::link::linkable;
use super::message::{Block, Span};
use super::plain::{unlinked, visible};

/// A chat's Markdown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Markdown {
    /// Writes text so that it reads as it is. It gets text without breaks or control characters.
    pub escape: fn(&str) -> String,
    /// Whether there is code in a line.
    pub code: bool,
}

impl Markdown {
    /// Plain text, escaped, in which nothing is an address.
    pub(super) fn text(&self, text: &str) -> String {
        (self.escape)(&unlinked(&visible(text)))
    }

    /// A link, or the text alone where the address is none to link to.
    pub(super) fn link(&self, text: &str, url: &str) -> String {
        let text = self.text(text);
        match linkable(url) {
            Some(url) => format!("[{text}]({url})"),
            None => text,
        }
    }

    /// A line; `None` of a divider.
    pub(super) fn line(&self, block: &Block) -> Option<String> {
        let line = match block {
            Block::Heading(spans) => {
                // Bold as a whole, for which its parts must not be.
                let parts = spans.iter().map(|span| match span {
                    Span::Bold(text) | Span::Code(text) | Span::Text(text) => self.text(text),
                    Span::Link { text, url } => self.link(text, url),
                });
                bold(&parts.collect::<String>())
            }
            Block::Line(spans) => self.spans(spans),
            Block::Item(spans) => format!("• {}", self.spans(spans)),
            Block::Divider => return None,
        };
        // Four spaces would begin a block of code.
        Some(line.trim().to_owned())
    }

    fn spans(&self, spans: &[Span]) -> String {
        let mut line = String::new();
        let mut apart = false;
        for span in spans {
            let (piece, keeps_apart) = match span {
                Span::Bold(text) => {
                    let text = self.text(text);
                    let edges = [text.chars().next(), text.chars().last()];
                    let word = |edge: &Option<char>| edge.is_some_and(char::is_alphanumeric);
                    (bold(&text), !edges.iter().all(word))
                }
                Span::Code(text) if self.code && is_name(text) => (format!("`{text}`"), false),
                Span::Text(text) | Span::Code(text) => (self.text(text), false),
                Span::Link { text, url } => (self.link(text, url), false),
            };
            if piece.is_empty() {
                continue;
            }
            // `a**(b)**` is not bold: between a letter and a mark, stars neither open nor close.
            let joined = !line.is_empty() && !line.ends_with(' ') && !piece.starts_with(' ');
            if (apart || keeps_apart) && joined {
                line.push(' ');
            }
            line.push_str(&piece);
            apart = keeps_apart;
        }
        line
    }
}

/// Escaped text in bold; stars open only before what is no space.
fn bold(escaped: &str) -> String {
    match escaped.trim() {
        "" => String::new(),
        text => format!("**{text}**"),
    }
}

/// Whether a text is no more than a name or a number, with which no markup begins anything, and so can
/// be written as code, where nothing can be escaped.
fn is_name(text: &str) -> bool {
    let fits = |shown: char| shown.is_alphanumeric() || "-_./ ".contains(shown);
    !text.trim().is_empty() && text.trim() == text && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: Markdown = Markdown {
        escape: |text| text.replace('*', "(star)"),
        code: true,
    };

    fn line(spans: &[Span]) -> String {
        LOUD.line(&Block::Line(spans.to_vec())).unwrap()
    }

    #[test]
    fn bold_next_to_letters_is_kept_apart_where_it_begins_with_a_mark() {
        let text = |text: &str| Span::Text(text.to_owned());
        let bold = |text: &str| Span::Bold(text.to_owned());
        assert_eq!(line(&[text("值"), bold("$3"), text("，")]), "值 **$3** ，");
        assert_eq!(line(&[text("a "), bold("b"), text(", c")]), "a **b**, c");
        assert_eq!(line(&[bold("*"), bold(" ")]), "**(star)**");
    }

    #[test]
    fn code_holds_names_only() {
        let code = |text: &str| line(&[Span::Code(text.to_owned())]);
        assert_eq!(code("gpt-5.1_mini/x"), "`gpt-5.1_mini/x`");
        assert_eq!(code("a`*b"), "a`(star)b");
    }

    #[test]
    fn no_text_makes_a_second_line_or_an_indent() {
        assert_eq!(line(&[Span::Text("    a\n# b".into())]), "a # b");
        assert_eq!(LOUD.line(&Block::Divider), None);
    }
}
