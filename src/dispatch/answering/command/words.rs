//! The parts of a command: words, lengths of time, matchers.

use std::time::Duration;

use super::{BadCommand, LONGEST_SPAN, MOST_MATCHERS};
use crate::alert::SilenceMatcher;

/// What stands before the word `for` and after it; a `for` between quotation marks is none.
pub(super) fn before_for(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let (at, word) = next_word(text, from)?;
        let end = at + word.len();
        if word.eq_ignore_ascii_case("for") {
            return Some((text[..at].trim(), text[end..].trim()));
        }
        from = end;
    }
}

/// The next word from a place on, and where it is; white space between quotation marks is part of it.
fn next_word(text: &str, from: usize) -> Option<(usize, &str)> {
    let rest = text.get(from..)?;
    let begin = from + (rest.len() - rest.trim_start().len());
    let rest = text.get(begin..).filter(|rest| !rest.is_empty())?;
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.find(|char: char| {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return char.is_whitespace() && !quoted,
        }
        false
    });
    Some((begin, &rest[..end.unwrap_or(rest.len())]))
}

/// The matchers of `rule=Spend channel=a*`, of `Spend{channel="a"}` as alerts are written, or of a
/// rule's name, which may have spaces in it.
pub(super) fn matchers(text: &str) -> Result<Vec<SilenceMatcher>, BadCommand> {
    let bad = |part: &str| BadCommand::Matcher(part.to_owned());
    let (rule, pairs) = match text.split_once('{') {
        Some((rule, labels)) if !rule.contains('=') => {
            let labels = labels.strip_suffix('}').ok_or_else(|| bad(text))?;
            (rule.trim(), labels)
        }
        _ if !text.contains('=') => (text, ""),
        _ => ("", text),
    };
    let mut matchers = Vec::new();
    if !rule.is_empty() {
        matchers.push(SilenceMatcher::new("rule".into(), rule.into()));
    }
    let mut rest = pairs.trim_matches([',', ' ']);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| bad(rest))?;
        let name = name.trim();
        let (value, after) = value(after).ok_or_else(|| bad(rest))?;
        if name.is_empty() || name.contains(char::is_whitespace) || value.is_empty() {
            return Err(bad(rest));
        }
        matchers.push(SilenceMatcher::new(name.into(), value.into()));
        rest = after.trim_start_matches([',', ' ', '\t', '\n', '\u{3000}']);
    }
    match matchers.len() {
        0 => Err(BadCommand::SilenceNothing),
        1..=MOST_MATCHERS => Ok(matchers),
        _ => Err(BadCommand::TooLong),
    }
}

/// A value and what is behind it: quoted as in JSON, or up to the next white space or comma.
fn value(text: &str) -> Option<(String, &str)> {
    if text.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let value = values.next()?.ok()?;
        let rest = text.get(values.byte_offset()..)?;
        return Some((value, rest));
    }
    let end = text.find(|char: char| char == ',' || char.is_whitespace());
    let (value, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((value.to_owned(), rest))
}

/// The first word and the rest.
pub(super) fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

/// The length of time that `text` begins with (`1h 30m`), above zero, and the rest.
pub(super) fn leading_span(text: &str) -> Result<(Duration, &str), BadCommand> {
    let (first, _) = word(text);
    let mut found = None;
    let mut end = 0;
    while let Some((at, word)) = next_word(text, end) {
        end = at + word.len();
        match humantime::parse_duration(&text[..end]) {
            Ok(span) => found = Some((span, &text[end..])),
            // `1 h`: the number alone is none.
            Err(_) if found.is_none() && word == first => {}
            Err(_) => break,
        }
    }
    match found {
        Some((span, rest)) if !span.is_zero() && span <= LONGEST_SPAN => Ok((span, rest.trim())),
        _ => Err(BadCommand::Span(first.to_owned())),
    }
}
