//! What a template's marks mean: from rendered text to spans and blocks.
//!
//! Marks are characters of a private-use plane. They are taken out of every value before a template sees
//! it, so that only a template's own filters make any. What structures lines (`# `, `- `, `---`) counts
//! in the template's own text only: a mark stands in front of each value, and a value's line breaks are
//! marks too.

use crate::notify::{Block, Span};

const BOLD: char = '\u{10fff0}';
const CODE: char = '\u{10fff1}';
const LINK: char = '\u{10fff2}';
/// Between a link's text and its address.
const TO: char = '\u{10fff3}';
const END: char = '\u{10fff4}';
/// A line break of a value.
const BREAK: char = '\u{10fff5}';
/// A value begins.
const VALUE: char = '\u{10fff6}';

/// Characters of a value that are told; nobody reads more in a chat.
const LONGEST_VALUE: usize = 2_000;

fn is_mark(c: char) -> bool {
    (BOLD..=VALUE).contains(&c)
}

/// A value without marks and without what would reorder or break what is around it. Line breaks stay.
pub(super) fn cleaned(value: &str) -> String {
    let reorders = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept = value.chars().filter(|c| !is_mark(*c) && *c != '\r');
    let kept = kept.map(|c| match c {
        '\n' => c,
        '\t' => ' ',
        c if c.is_control() || reorders(c) => '\u{fffd}',
        // Other line ends than the one.
        '\u{2028}' | '\u{2029}' => '\n',
        c => c,
    });
    // One more than fits, so that it shows that something was left out.
    let kept: String = kept.take(LONGEST_VALUE + 1).collect();
    clipped(&kept, LONGEST_VALUE)
}

/// A text without line breaks.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most so many characters, with an ellipsis where some were left out.
pub(super) fn clipped(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => {
            let kept = text.chars().take(most.saturating_sub(1));
            kept.chain(['…']).collect()
        }
        None => text.to_owned(),
    }
}

/// A value as it is written among a template's own text.
pub(super) fn value(text: &str) -> String {
    format!("{VALUE}{}", broken(text))
}

/// What matters.
pub(super) fn bold(text: &str) -> String {
    enclosed(BOLD, &plain(text))
}

/// As it is written elsewhere.
pub(super) fn code(text: &str) -> String {
    enclosed(CODE, &plain(text))
}

/// Leads somewhere. An address that is none leaves the text alone.
pub(super) fn link(text: &str, url: &str) -> String {
    let url = plain(url);
    if is_address(&url) {
        enclosed(LINK, &format!("{}{TO}{url}", plain(text)))
    } else {
        value(&plain(text))
    }
}

fn enclosed(mark: char, text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        _ => format!("{mark}{}{END}", broken(text)),
    }
}

fn broken(text: &str) -> String {
    text.replace('\n', &BREAK.to_string())
}

/// What is read of a text that may have marks already: spans do not lie within one another.
fn plain(text: &str) -> String {
    let mut read = String::with_capacity(text.len());
    let mut hidden = false;
    for c in text.chars() {
        match c {
            TO => hidden = true,
            END => hidden = false,
            BREAK if !hidden => read.push('\n'),
            c if !is_mark(c) && !hidden => read.push(c),
            _ => {}
        }
    }
    read
}

/// Whether something is a whole `http` or `https` address.
pub(super) fn is_address(url: &str) -> bool {
    let known = url.parse::<http::Uri>().ok();
    known.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// The title and the body that a template came to: the title is the first line with something in it.
pub(super) fn parsed(rendered: &str) -> (String, Vec<Block>) {
    let mut blocks = rendered.lines().flat_map(blocks_of);
    let title = blocks.find_map(|block| match block {
        Block::Heading(spans) | Block::Line(spans) | Block::Item(spans) => Some(read(&spans)),
        Block::Divider => None,
    });
    let mut body: Vec<Block> = Vec::new();
    for block in blocks {
        let after_divider = matches!(body.last(), None | Some(Block::Divider));
        if block != Block::Divider || !after_divider {
            body.push(block);
        }
    }
    body.pop_if(|last| *last == Block::Divider);
    (title.unwrap_or_default(), body)
}

/// The text of spans, without what links lead to.
fn read(spans: &[Span]) -> String {
    let texts = spans.iter().map(|span| match span {
        Span::Text(text) | Span::Bold(text) | Span::Code(text) | Span::Link { text, .. } => {
            text.as_str()
        }
    });
    texts.collect::<String>().trim().to_owned()
}

/// What makes a block of a line.
type Kind = fn(Vec<Span>) -> Block;

/// The blocks of one line of a template: one, or more where a value in it has several lines.
fn blocks_of(line: &str) -> Vec<Block> {
    let line = line.trim_matches(|c: char| c.is_ascii_whitespace());
    if line == "---" {
        return vec![Block::Divider];
    }
    let (kind, rest): (Kind, &str) = match (line.strip_prefix("# "), line.strip_prefix("- ")) {
        (Some(rest), _) => (Block::Heading, rest),
        (_, Some(rest)) => (Block::Item, rest),
        _ => (Block::Line, line),
    };
    let lines = spans(rest)
        .into_iter()
        .filter(|spans| !read(spans).is_empty());
    lines
        .enumerate()
        .map(|(index, spans)| match index {
            0 => kind(spans),
            _ => Block::Line(spans),
        })
        .collect()
}

/// The spans of each line that a line of a template came to.
fn spans(line: &str) -> Vec<Vec<Span>> {
    let mut lines = vec![Vec::new()];
    let mut text = String::new();
    let mut kind = None;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let at = rest;
        rest = &rest[c.len_utf8()..];
        match c {
            BOLD | CODE | LINK => {
                push(&mut lines, kind.take(), &mut text, at);
                kind = Some(c);
            }
            TO | END => {
                push(&mut lines, kind.take(), &mut text, at);
                if c == TO {
                    rest = rest.split_once(END).map_or("", |(_, after)| after);
                }
            }
            BREAK => {
                push(&mut lines, kind, &mut text, at);
                lines.push(Vec::new());
            }
            VALUE => {}
            c => text.push(c),
        }
    }
    push(&mut lines, kind, &mut text, "");
    for spans in &mut lines {
        trim_end(spans);
    }
    lines
}

/// Ends a span. `rest` begins with what ends it: a link's address is in there.
fn push(lines: &mut [Vec<Span>], kind: Option<char>, text: &mut String, rest: &str) {
    let text = std::mem::take(text);
    let Some(line) = lines.last_mut().filter(|_| !text.is_empty()) else {
        return;
    };
    let span = match kind {
        Some(BOLD) => Span::Bold(text),
        Some(CODE) => Span::Code(text),
        Some(LINK) => match address(rest) {
            Some(url) => Span::Link {
                text,
                url: url.to_owned(),
            },
            None => Span::Text(text),
        },
        _ => Span::Text(text),
    };
    match (line.last_mut(), span) {
        (Some(Span::Text(before)), Span::Text(more)) => before.push_str(&more),
        (_, span) => line.push(span),
    }
}

/// The address of the link that goes on in `rest`.
fn address(rest: &str) -> Option<&str> {
    let (_, after) = rest.split_once(TO)?;
    let (url, _) = after.split_once(END)?;
    is_address(url).then_some(url)
}

fn trim_end(spans: &mut Vec<Span>) {
    if let Some(Span::Text(text)) = spans.last_mut() {
        text.truncate(text.trim_end().len());
        if text.is_empty() {
            spans.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Span {
        Span::Text(text.to_owned())
    }

    #[test]
    fn lines_are_what_their_beginning_says() {
        let (title, body) = parsed("\n  Title \n# Head\n- item\n\n---\n---\nline\n---\n");
        assert_eq!(title, "Title");
        assert_eq!(
            body,
            [
                Block::Heading(vec![text("Head")]),
                Block::Item(vec![text("item")]),
                Block::Divider,
                Block::Line(vec![text("line")]),
            ]
        );
    }

    #[test]
    fn filters_make_spans() {
        let line = format!(
            "a {} {}{} {}",
            bold("b"),
            code("c"),
            link(&bold("d"), "https://e.example/?f=g"),
            bold(&link("h", "https://i.example")),
        );
        assert_eq!(
            spans(&line),
            [vec![
                text("a "),
                Span::Bold("b".into()),
                text(" "),
                Span::Code("c".into()),
                Span::Link {
                    text: "d".into(),
                    url: "https://e.example/?f=g".into()
                },
                text(" "),
                Span::Bold("h".into()),
            ]]
        );
    }

    #[test]
    fn a_value_of_several_lines_stays_a_value() {
        let (_, body) = parsed(&format!(
            "t\n- {} b\n{}",
            value("# a\n- b\n---"),
            bold("x\ny")
        ));
        assert_eq!(
            body,
            [
                Block::Item(vec![text("# a")]),
                Block::Line(vec![text("- b")]),
                Block::Line(vec![text("--- b")]),
                Block::Line(vec![Span::Bold("x".into())]),
                Block::Line(vec![Span::Bold("y".into())]),
            ]
        );
        let (_, body) = parsed(&format!("t\n{}", value("# a")));
        assert_eq!(body, [Block::Line(vec![text("# a")])]);
    }

    #[test]
    fn only_addresses_of_the_web_are_led_to() {
        for url in [
            "javascript:alert(1)",
            "https://",
            "/a",
            "https://a b",
            "ftp://a.example",
        ] {
            assert_eq!(spans(&link("x", url)), [vec![text("x")]], "{url}");
        }
    }

    proptest! {
        #[test]
        fn a_value_is_never_markup(raw in any::<String>(), marks in "[\u{10fff0}-\u{10fff6}#\\- \nab]{0,40}") {
            for hostile in [&raw, &marks] {
                let shown = cleaned(hostile);
                prop_assert!(!shown.chars().any(is_mark));
                let (_, body) = parsed(&format!("t\n{}\nx {}", value(&shown), value(&shown)));
                for block in body {
                    let Block::Line(spans) = block else {
                        return Err(TestCaseError::fail(format!("{block:?}")));
                    };
                    let is_text = |span: &Span| matches!(span, Span::Text(_));
                    prop_assert!(spans.iter().all(is_text), "{spans:?}");
                }
                for made in [bold(&shown), code(&shown)] {
                    let whole: String = spans(&made).iter().map(|line| read(line)).collect();
                    let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
                    prop_assert_eq!(letters(&whole), letters(&shown));
                }
            }
        }

        #[test]
        fn whatever_was_rendered_is_read(rendered in "[\u{10fff0}-\u{10fff6}#\\- \nab:/.]{0,80}") {
            let _ = parsed(&rendered);
        }
    }
}
