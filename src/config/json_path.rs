//! Paths to values in JSON: `messages[*].content`, `$.user`, `..text`.

use std::fmt;
use std::str::FromStr;

/// Which values of a JSON document are meant. The syntax is a part of RFC 9535's:
///
/// | form | means |
/// |---|---|
/// | `name`, `.name` | the member of that name |
/// | `["any name"]`, `['any name']` | the same, whatever characters the name has |
/// | `.*` | every member |
/// | `[3]` | that element of a list, from 0 |
/// | `[*]` | every element of a list |
/// | `..name` | the members of that name, at any depth |
///
/// A `$` for the whole document may stand in front.
#[derive(Clone, PartialEq, Eq)]
pub struct JsonPath {
    text: Box<str>,
    steps: Box<[PathStep]>,
}

/// One step of a [`JsonPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// The member of this name.
    Member(Box<str>),
    /// Every member.
    EveryMember,
    /// The element at this place.
    Element(usize),
    /// Every element.
    EveryElement,
    /// The members of this name, here or at any depth below.
    Anywhere(Box<str>),
}

impl JsonPath {
    /// The steps, from the whole document inwards; at least one and at most
    /// [`MOST_STEPS`].
    #[must_use]
    pub fn steps(&self) -> &[PathStep] {
        &self.steps
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonPath({})", self.text)
    }
}

/// Why a text is no path. Continues the sentence "`text` …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonPathError {
    /// Nothing is named.
    #[error("names no member")]
    Empty,
    /// A dot without a name behind it.
    #[error("has a dot without a name behind it")]
    NameMissing,
    /// A bracket that is not closed.
    #[error("has a bracket that is not closed")]
    Unclosed,
    /// Brackets around something else.
    #[error("has brackets around something other than a number, `*` or a quoted name")]
    Brackets,
    /// More than [`MOST_STEPS`].
    #[error("has more than {MOST_STEPS} steps")]
    TooLong,
    /// A character that may not stand where it stands.
    #[error("has `{0}` where a name, a dot or a bracket should be")]
    Unexpected(char),
}

/// Steps that a path may have.
pub const MOST_STEPS: usize = 32;

/// Characters that end a plain name.
const SPECIAL: &[char] = &[
    '.', '[', ']', '*', '$', '\'', '"', '?', '@', '(', ')', ',', ':',
];

impl FromStr for JsonPath {
    type Err = JsonPathError;

    fn from_str(text: &str) -> Result<Self, JsonPathError> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        if rest.len() == text.len() && rest.starts_with(|first| !matches!(first, '.' | '[')) {
            let (step, after) = member(rest)?;
            steps.push(step);
            rest = after;
        }
        while let Some(first) = rest.chars().next() {
            let (step, after) = if let Some(after) = rest.strip_prefix("..") {
                match name(after)? {
                    ("", _) => return Err(JsonPathError::NameMissing),
                    (name, after) => (PathStep::Anywhere(name.into()), after),
                }
            } else if let Some(after) = rest.strip_prefix('.') {
                member(after)?
            } else if let Some(after) = rest.strip_prefix('[') {
                bracket(after)?
            } else {
                return Err(JsonPathError::Unexpected(first));
            };
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() {
            return Err(JsonPathError::Empty);
        }
        if steps.len() > MOST_STEPS {
            return Err(JsonPathError::TooLong);
        }
        Ok(Self {
            text: text.into(),
            steps: steps.into(),
        })
    }
}

/// `name` or `*`, and what follows.
fn member(text: &str) -> Result<(PathStep, &str), JsonPathError> {
    if let Some(after) = text.strip_prefix('*') {
        return Ok((PathStep::EveryMember, after));
    }
    match name(text)? {
        ("", _) => Err(JsonPathError::NameMissing),
        (name, after) => Ok((PathStep::Member(name.into()), after)),
    }
}

/// A plain name, and what follows.
fn name(text: &str) -> Result<(&str, &str), JsonPathError> {
    let end = text
        .find(|c: char| SPECIAL.contains(&c) || c.is_whitespace() || c.is_control())
        .unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    match after.chars().next() {
        None | Some('.' | '[') => Ok((name, after)),
        Some(other) => Err(JsonPathError::Unexpected(other)),
    }
}

/// What stands between brackets, and what follows them.
fn bracket(text: &str) -> Result<(PathStep, &str), JsonPathError> {
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            let (name, after) = quoted.split_once(quote).ok_or(JsonPathError::Unclosed)?;
            let after = after.strip_prefix(']').ok_or(JsonPathError::Unclosed)?;
            return Ok((PathStep::Member(name.into()), after));
        }
    }
    let (inside, after) = text.split_once(']').ok_or(JsonPathError::Unclosed)?;
    if inside == "*" {
        return Ok((PathStep::EveryElement, after));
    }
    let digits = !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_digit());
    match inside.parse() {
        Ok(index) if digits => Ok((PathStep::Element(index), after)),
        _ => Err(JsonPathError::Brackets),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(text: &str) -> Vec<PathStep> {
        text.parse::<JsonPath>().unwrap().steps().to_vec()
    }

    #[test]
    fn every_form_is_read() {
        use PathStep::{Anywhere, Element, EveryElement, EveryMember, Member};
        for (text, expected) in [
            ("input", vec![Member("input".into())]),
            ("$.user", vec![Member("user".into())]),
            (".user", vec![Member("user".into())]),
            (
                "messages[*].content",
                vec![
                    Member("messages".into()),
                    EveryElement,
                    Member("content".into()),
                ],
            ),
            ("a[12]", vec![Member("a".into()), Element(12)]),
            (
                "$[0]['a.b'][\"c]d\"]",
                vec![Element(0), Member("a.b".into()), Member("c]d".into())],
            ),
            ("*.b", vec![EveryMember, Member("b".into())]),
            ("$..text", vec![Anywhere("text".into())]),
            ("a..b", vec![Member("a".into()), Anywhere("b".into())]),
            ("größe-1_x", vec![Member("größe-1_x".into())]),
        ] {
            assert_eq!(steps(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        use JsonPathError::{Brackets, Empty, NameMissing, Unclosed, Unexpected};
        for (text, expected) in [
            ("", Empty),
            ("$", Empty),
            ("a.", NameMissing),
            ("a...b", NameMissing),
            ("..", NameMissing),
            ("a[", Unclosed),
            ("a[0", Unclosed),
            ("a['b]", Unclosed),
            ("a['b'", Unclosed),
            ("a[]", Brackets),
            ("a[-1]", Brackets),
            ("a[+1]", Brackets),
            ("a[b]", Brackets),
            ("a[99999999999999999999999]", Brackets),
            ("a b", Unexpected(' ')),
            ("a]", Unexpected(']')),
            ("a$", Unexpected('$')),
            ("$a", Unexpected('a')),
            ("**", Unexpected('*')),
            ("a[0]b", Unexpected('b')),
        ] {
            assert_eq!(text.parse::<JsonPath>(), Err(expected), "{text}");
        }
        let long = ".a".repeat(MOST_STEPS + 1);
        assert_eq!(long.parse::<JsonPath>(), Err(JsonPathError::TooLong));
    }

    fn any_step() -> impl Strategy<Value = (PathStep, String)> {
        let plain = "[a-zA-Z_][a-zA-Z0-9_-]{0,8}";
        prop_oneof![
            plain.prop_map(|name| (PathStep::Member(name.as_str().into()), format!(".{name}"))),
            "[^']{0,8}".prop_map(|name| (
                PathStep::Member(name.as_str().into()),
                format!("['{name}']")
            )),
            Just((PathStep::EveryMember, ".*".to_owned())),
            Just((PathStep::EveryElement, "[*]".to_owned())),
            any::<u32>()
                .prop_map(|index| (PathStep::Element(index as usize), format!("[{index}]"))),
            plain.prop_map(|name| (
                PathStep::Anywhere(name.as_str().into()),
                format!("..{name}")
            )),
        ]
    }

    proptest! {
        #[test]
        fn paths_mean_their_steps(parts in prop::collection::vec(any_step(), 1..8)) {
            let text: String = parts.iter().map(|(_, text)| text.as_str()).collect();
            let expected: Vec<PathStep> = parts.into_iter().map(|(step, _)| step).collect();
            prop_assert_eq!(steps(&text), expected.clone());
            prop_assert_eq!(steps(&format!("${text}")), expected);
        }

        #[test]
        fn no_text_is_read_as_another(text in ".{0,24}") {
            if let Ok(path) = text.parse::<JsonPath>() {
                prop_assert_eq!(path.to_string(), text);
                prop_assert!(!path.steps().is_empty());
            }
        }
    }
}
