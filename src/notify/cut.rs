//! What a receiver has no room for is left out, and it is said how much.
//!
//! It is the text that is cut, before a receiver writes it in its markup. So no cut falls into an
//! escape or leaves a tag open, whatever the markup is; a receiver only says how long a body is once
//! it is written.

use std::borrow::Cow;

use super::message::{Block, Span};
use crate::config::Language;

/// Characters as most chats count them.
pub(super) fn utf16(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Lines are cut before whole ones are left out, so that one endless name does not push everything else
/// out of the message; but no line to less than this many characters.
const SHORTEST_LINE: usize = 160;

/// Nor to less than this part of the room, ...
const LEAST_SHARE: usize = 64;

/// ... where that is small: this part of it.
const MOST_SHARE: usize = 8;

/// The longest address that a message links to, in bytes; what leads further is told without its link.
/// Chat clients cut or refuse longer ones.
pub(super) const LONGEST_URL: usize = 2_000;

/// As much of `body` as is at most `most` long, by `measure`, to which every character of text counts
/// one at least. All of it, where it fits. Else long lines are cut on character borders, as little as
/// possible; where that is not enough, whole lines are left out from the end. Each cut says in
/// `language` how much is missing.
///
/// Only where `measure` finds nothing but the notice too long is more than `most` returned: a receiver
/// keeps what it adds to the body well below its limit.
#[must_use]
pub(super) fn body(
    body: &[Block],
    language: Language,
    most: usize,
    measure: impl Fn(&[Block]) -> usize,
) -> Vec<Block> {
    if body.iter().map(characters).sum::<usize>() <= most && measure(body) <= most {
        return body.to_vec();
    }
    let shortened = |cap: usize| -> Vec<Block> {
        let lines = body.iter();
        lines.map(|block| shorten(block, cap, language)).collect()
    };
    let shortest = (most / LEAST_SHARE).max(SHORTEST_LINE);
    let shortest = shortest.min(most / MOST_SHARE).max(1);
    let (mut fits, mut beyond) = (shortest, most + 1);
    let lines = shortened(fits);
    if measure(&lines) > most {
        return first_lines(&lines, language, |lines| measure(lines) <= most);
    }
    let mut best = lines;
    while beyond - fits > 1 {
        let middle = usize::midpoint(fits, beyond);
        let lines = shortened(middle);
        if measure(&lines) <= most {
            (fits, best) = (middle, lines);
        } else {
            beyond = middle;
        }
    }
    best
}

/// A title of at most `most` characters; where it is cut, its end says how many are missing.
#[must_use]
pub(super) fn title(title: &str, most: usize) -> Cow<'_, str> {
    let all = title.chars().count();
    if all <= most {
        return Cow::Borrowed(title);
    }
    // As long as the notice can become.
    let room = most.saturating_sub(format!("… (+{all})").chars().count());
    let kept: String = title.chars().take(room).collect();
    Cow::Owned(format!("{kept}… (+{})", all - room))
}

/// The most first lines that fit, with how many are missing.
fn first_lines(lines: &[Block], language: Language, fits: impl Fn(&[Block]) -> bool) -> Vec<Block> {
    let first = |count: usize| {
        let mut kept = &lines[..count];
        // Nothing follows them any more.
        while let [rest @ .., Block::Heading(_) | Block::Divider] = kept {
            kept = rest;
        }
        let left = lines[kept.len()..].iter();
        let left = left.filter(|block| **block != Block::Divider).count();
        let mut kept = kept.to_vec();
        kept.push(Block::Line(vec![Span::Text(more_lines(left, language))]));
        kept
    };
    let (mut known, mut beyond) = (0, lines.len());
    while beyond - known > 1 {
        let middle = usize::midpoint(known, beyond);
        if fits(&first(middle)) {
            known = middle;
        } else {
            beyond = middle;
        }
    }
    first(known)
}

/// The block with at most `cap` characters of text, and with how many are missing.
fn shorten(block: &Block, cap: usize, language: Language) -> Block {
    let all = characters(block);
    if all <= cap {
        return block.clone();
    }
    match block {
        Block::Heading(spans) => Block::Heading(shorten_spans(spans, cap, all, language)),
        Block::Line(spans) => Block::Line(shorten_spans(spans, cap, all, language)),
        Block::Item(spans) => Block::Item(shorten_spans(spans, cap, all, language)),
        Block::Divider => Block::Divider,
    }
}

fn shorten_spans(spans: &[Span], cap: usize, all: usize, language: Language) -> Vec<Span> {
    let mut room = cap;
    let mut kept = Vec::new();
    for span in spans {
        if room == 0 {
            break;
        }
        let part: String = text(span).chars().take(room).collect();
        room -= part.chars().count();
        kept.push(match span {
            Span::Text(_) => Span::Text(part),
            Span::Bold(_) => Span::Bold(part),
            Span::Code(_) => Span::Code(part),
            Span::Link { url, .. } => Span::Link {
                text: part,
                url: url.clone(),
            },
        });
    }
    kept.push(Span::Text(more_characters(all - cap, language)));
    kept
}

fn characters(block: &Block) -> usize {
    spans(block)
        .iter()
        .map(|span| text(span).chars().count())
        .sum()
}

/// The spans of a block.
pub(super) fn spans(block: &Block) -> &[Span] {
    match block {
        Block::Heading(spans) | Block::Line(spans) | Block::Item(spans) => spans,
        Block::Divider => &[],
    }
}

/// What is read of a span.
pub(super) fn text(span: &Span) -> &str {
    match span {
        Span::Text(text) | Span::Bold(text) | Span::Code(text) | Span::Link { text, .. } => text,
    }
}

/// `… 12 more lines`, in `language`.
pub(super) fn more_lines(count: usize, language: Language) -> String {
    match language {
        Language::En if count == 1 => "… 1 more line".to_owned(),
        Language::En => format!("… {count} more lines"),
        Language::Zh => format!("…… 还有 {count} 行"),
    }
}

/// `… 12 more characters`, in `language`.
pub(super) fn more_characters(count: usize, language: Language) -> String {
    match language {
        Language::En if count == 1 => "… 1 more character".to_owned(),
        Language::En => format!("… {count} more characters"),
        Language::Zh => format!("…… 还有 {count} 个字符"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Block {
        Block::Line(vec![Span::Text(text.to_owned())])
    }

    /// Bytes, and one for the break after each line.
    fn bytes(body: &[Block]) -> usize {
        let of = |block: &Block| {
            spans(block)
                .iter()
                .map(|span| text(span).len())
                .sum::<usize>()
        };
        body.iter().map(|block| of(block) + 1).sum()
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let short = [line("one"), Block::Divider, line("two")];
        assert_eq!(body(&short, Language::En, 9, bytes), short);
    }

    #[test]
    fn whole_lines_go_from_the_end_and_are_counted() {
        let lines: Vec<Block> = (0..100)
            .map(|number| line(&format!("line {number:02}")))
            .collect();
        let cut = body(&lines, Language::En, 100, bytes);
        assert_eq!(cut[..10], lines[..10]);
        assert_eq!(cut[10..], [line("… 90 more lines")]);
        let cut = body(&lines, Language::Zh, 100, bytes);
        assert_eq!(cut.last(), Some(&line("…… 还有 91 行")));
    }

    #[test]
    fn one_endless_line_leaves_the_others_in() {
        let lines = [line("first"), line(&"x".repeat(1 << 20)), line("last")];
        let cut = body(&lines, Language::En, 200, bytes);
        assert_eq!((&cut[0], &cut[2]), (&lines[0], &lines[2]));
        assert!(
            text(&spans(&cut[1])[1]).ends_with("more characters"),
            "{cut:?}"
        );
        // As much of it as there is room for.
        assert!(bytes(&cut) > 190, "{}", bytes(&cut));
    }

    #[test]
    fn a_heading_over_nothing_goes_too() {
        let mut lines = vec![
            line("a"),
            Block::Divider,
            Block::Heading(vec![Span::Bold("h".into())]),
        ];
        lines.extend((0..50).map(|_| line("xxxxxxxxxx")));
        let cut = body(&lines, Language::En, 26, bytes);
        assert_eq!(cut, [line("a"), line("… 51 more lines")]);
    }

    #[test]
    fn a_title_says_how_many_characters_it_lost() {
        assert_eq!(title("short", 5), "short");
        let cut = title(&"é".repeat(100), 20).into_owned();
        assert_eq!(cut, format!("{}… (+88)", "é".repeat(12)));
    }

    proptest! {
        #[test]
        fn it_fits_says_so_and_begins_as_it_began(
            texts in prop::collection::vec("\\PC{0,80}", 0..40),
            most in 64_usize..600,
            chinese: bool,
        ) {
            let language = if chinese { Language::Zh } else { Language::En };
            let lines: Vec<Block> = texts.iter().map(|text| line(text)).collect();
            let cut = body(&lines, language, most, bytes);
            prop_assert!(bytes(&cut) <= most);
            if bytes(&lines) <= most {
                prop_assert_eq!(&cut, &lines);
            } else {
                let sign = if chinese { "还有" } else { "more" };
                let says = cut.iter().flat_map(spans).any(|span| text(span).contains(sign));
                prop_assert!(says);
            }
            for (before, after) in lines.iter().zip(&cut[..cut.len().saturating_sub(1)]) {
                let after = spans(after).first().map_or("", text);
                prop_assert!(spans(before).first().map_or("", text).starts_with(after));
            }
        }
    }
}
