//! Text as it may be shown: what steers a screen instead of being read on it is made visible.

use std::borrow::Cow;

/// `text` in one line. Breaks and tabs become spaces, other control characters their pictures (`␛`),
/// and what turns the direction of the text around it, the replacement character; letters of every
/// script stay as they are.
#[must_use]
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(|shown| stand_in(shown) == shown) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(stand_in).collect())
}

fn stand_in(shown: char) -> char {
    match shown {
        '\n' | '\r' | '\t' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(shown)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        // C1 controls; embeddings, overrides and isolates.
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    }
}

/// Stands where a name would become something that a chat's program looks for. Nobody sees it.
pub(super) const WORD_JOINER: char = '\u{2060}';

/// `text` with whatever chats would take for an address kept from being one: they make a link of
/// `evil.example` as of `https://evil.example`, and names are anybody's.
#[must_use]
pub(super) fn unlinked(text: &str) -> Cow<'_, str> {
    if !text.contains(['.', ':']) {
        return Cow::Borrowed(text);
    }
    let mut unlinked = String::with_capacity(text.len() + 8);
    for (at, shown) in text.char_indices() {
        unlinked.push(shown);
        let (before, after) = (&text[..at], &text[at + shown.len_utf8()..]);
        let breaks = match shown {
            '.' => joins_host(before, after),
            '/' => before.ends_with(":/"),
            _ => false,
        };
        if breaks {
            unlinked.push(WORD_JOINER);
        }
    }
    Cow::Owned(unlinked)
}

/// Whether a dot may be one of a host's: a word goes on behind it with two letters, as the last part
/// of every host's name does, or it is one of an IPv4 address's. The dots of versions and figures are
/// not.
fn joins_host(before: &str, after: &str) -> bool {
    let is_joined = before
        .chars()
        .next_back()
        .is_some_and(char::is_alphanumeric);
    if !is_joined {
        return false;
    }
    let mut next = after.chars();
    let letters = [next.next(), next.next()];
    if letters
        .iter()
        .all(|letter| letter.is_some_and(char::is_alphabetic))
    {
        return true;
    }
    let number = |char: char| char.is_ascii_digit() || char == '.';
    let begin = before.trim_end_matches(number).len();
    let end = after.find(|char| !number(char)).unwrap_or(after.len());
    let dots = |part: &str| part.matches('.').count();
    dots(&before[begin..]) + dots(&after[..end]) >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_screen_is_seen_and_steers_nothing() {
        assert_eq!(visible("a\u{1b}[2Jb\u{7f}"), "a\u{241b}[2Jb\u{2421}");
        assert_eq!(visible("one\r\ntwo\tthree"), "one  two three");
        assert_eq!(visible("\u{202e}txt.exe"), "\u{fffd}txt.exe");
    }

    #[test]
    fn no_name_is_an_address() {
        let shown = |text: &str| unlinked(text).replace(WORD_JOINER, "|");
        for (text, broken) in [
            ("evil.example", "evil.|example"),
            ("https://evil.example/a.b", "https://|evil.|example/a.b"),
            ("tg://resolve?x", "tg://|resolve?x"),
            ("www.a.co.uk.", "www.a.|co.|uk."),
            ("ann@evil.example", "ann@evil.|example"),
            ("пример.рф", "пример.|рф"),
            ("evil.xn--p1ai", "evil.|xn--p1ai"),
            ("http://127.0.0.1:80", "http://|127.|0.|0.|1:80"),
        ] {
            assert_eq!(shown(text), broken);
        }
        for text in [
            "gpt-5.1",
            "gpt_4_turbo-2024.04",
            "$12.50",
            "12.5 %",
            "a. Then",
            "…",
            "14:03",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn letters_of_every_script_stay() {
        for text in ["שלום", "مرحبا", "你好", "👩‍💻", "e\u{301}", "plain"] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }
}
