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
    fn letters_of_every_script_stay() {
        for text in ["שלום", "مرحبا", "你好", "👩‍💻", "e\u{301}", "plain"] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }
}
