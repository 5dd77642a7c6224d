//! Puts `"[redacted]"` in place of the values that paths name, in JSON that may be cut anywhere.
//!
//! The text is copied, not parsed into values and written anew: what is not redacted stays as it
//! was, and of a body that was cut off everything up to the cut is kept. A value is judged before
//! its first byte is copied, so no cut and no fault further on can let a part of it out.

use crate::config::{JsonPath, PathStep};

/// What stands in place of a value.
const REDACTED: &[u8] = b"\"[redacted]\"";

/// Deeper nesting is taken for no JSON: it would cost memory, and no API has it.
const DEEPEST: usize = 512;

/// Where in a document a value stands: one for each level.
enum Level {
    /// In an object, as the member of this name.
    Member(String),
    /// In a list, at this place.
    Element(usize),
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// In a list that was just opened.
    ValueOrEnd,
    Key,
    /// In an object that was just opened.
    KeyOrEnd,
    /// A value is over.
    After,
}

/// Why reading stopped before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The text ends inside a value.
    Cut,
    /// What follows is no JSON.
    Unreadable,
}

/// Copies `text`, a series of JSON documents, as far as it can be read.
pub(super) fn redact(text: &[u8], paths: &[JsonPath]) -> (Vec<u8>, Option<Stop>) {
    let mut copy = Copy {
        text,
        at: 0,
        paths,
        location: Vec::new(),
        hidden: None,
        out: Vec::with_capacity(text.len()),
    };
    let stop = copy.run().err();
    (copy.out, stop)
}

struct Copy<'t> {
    text: &'t [u8],
    at: usize,
    paths: &'t [JsonPath],
    location: Vec<Level>,
    /// The depth of the value that is being passed over.
    hidden: Option<usize>,
    out: Vec<u8>,
}

impl Copy<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        let mut next = Next::Value;
        loop {
            self.space();
            let Some(&byte) = self.text.get(self.at) else {
                let between = self.location.is_empty() && matches!(next, Next::Value | Next::After);
                return if between { Ok(()) } else { Err(Stop::Cut) };
            };
            next = match (next, byte) {
                (Next::ValueOrEnd, b']') | (Next::KeyOrEnd, b'}') => self.close(),
                (Next::Value | Next::ValueOrEnd, _) => self.value(byte)?,
                (Next::Key | Next::KeyOrEnd, b'"') => self.key()?,
                (Next::Key | Next::KeyOrEnd, _) => return Err(Stop::Unreadable),
                (Next::After, _) => self.after(byte)?,
            };
            if next == Next::After && self.hidden == Some(self.location.len()) {
                self.hidden = None;
            }
        }
    }

    /// A value begins.
    fn value(&mut self, byte: u8) -> Result<Next, Stop> {
        if self.hidden.is_none() && self.paths.iter().any(|path| leads_to(path, &self.location)) {
            self.hidden = Some(self.location.len());
            self.out.extend_from_slice(REDACTED);
        }
        match byte {
            b'{' => self.open(Level::Member(String::new()), Next::KeyOrEnd),
            b'[' => self.open(Level::Element(0), Next::ValueOrEnd),
            b'"' => {
                self.string()?;
                Ok(Next::After)
            }
            _ => self.scalar(),
        }
    }

    fn open(&mut self, level: Level, next: Next) -> Result<Next, Stop> {
        if self.location.len() == DEEPEST {
            return Err(Stop::Unreadable);
        }
        self.location.push(level);
        self.take(1);
        Ok(next)
    }

    fn close(&mut self) -> Next {
        self.location.pop();
        self.take(1);
        Next::After
    }

    /// A member's name and the colon.
    fn key(&mut self) -> Result<Next, Stop> {
        let start = self.at;
        self.string()?;
        let name: String =
            serde_json::from_slice(&self.text[start..self.at]).map_err(|_| Stop::Unreadable)?;
        if let Some(level) = self.location.last_mut() {
            *level = Level::Member(name);
        }
        self.space();
        match self.text.get(self.at) {
            Some(b':') => {
                self.take(1);
                Ok(Next::Value)
            }
            Some(_) => Err(Stop::Unreadable),
            None => Err(Stop::Cut),
        }
    }

    /// What follows a value.
    fn after(&mut self, byte: u8) -> Result<Next, Stop> {
        match (self.location.last_mut(), byte) {
            // The next document, as in JSON Lines.
            (None, _) => Ok(Next::Value),
            (Some(Level::Member(_)), b',') => {
                self.take(1);
                Ok(Next::Key)
            }
            (Some(Level::Element(index)), b',') => {
                *index += 1;
                self.take(1);
                Ok(Next::Value)
            }
            (Some(Level::Member(_)), b'}') | (Some(Level::Element(_)), b']') => Ok(self.close()),
            _ => Err(Stop::Unreadable),
        }
    }

    /// A string, quotes included.
    fn string(&mut self) -> Result<(), Stop> {
        let mut from = self.at + 1;
        while let Some(rest) = self.text.get(from..) {
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                break;
            };
            if rest[found] == b'"' {
                self.take(from + found + 1 - self.at);
                return Ok(());
            }
            from += found + 2;
        }
        self.take(self.text.len() - self.at);
        Err(Stop::Cut)
    }

    /// A number or a word.
    fn scalar(&mut self) -> Result<Next, Stop> {
        let rest = &self.text[self.at..];
        let ends = |byte: &u8| b",]}:[{\" \t\r\n".contains(byte);
        let Some(length) = rest.iter().position(ends) else {
            // Whole only between documents; elsewhere something has to follow.
            let whole = self.location.is_empty() && is_scalar(rest);
            return if whole {
                self.take(rest.len());
                Ok(Next::After)
            } else if self.location.is_empty() {
                Err(Stop::Unreadable)
            } else {
                Err(Stop::Cut)
            };
        };
        if !is_scalar(&rest[..length]) {
            return Err(Stop::Unreadable);
        }
        self.take(length);
        Ok(Next::After)
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        let length = rest
            .iter()
            .take_while(|byte| b" \t\r\n".contains(byte))
            .count();
        self.take(length);
    }

    fn take(&mut self, length: usize) {
        if self.hidden.is_none() {
            self.out
                .extend_from_slice(&self.text[self.at..self.at + length]);
        }
        self.at += length;
    }
}

fn is_scalar(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether `path` names the value at `location`. The steps that may come next are kept as a set,
/// level by level, so that no path takes longer than its length times the depth.
fn leads_to(path: &JsonPath, location: &[Level]) -> bool {
    let steps = path.steps();
    let mut reached = 1_u64;
    for level in location {
        let mut next = 0;
        for (at, step) in steps.iter().enumerate() {
            if reached & 1 << at == 0 {
                continue;
            }
            let fits = match (step, level) {
                (PathStep::EveryMember, Level::Member(_))
                | (PathStep::EveryElement, Level::Element(_)) => true,
                (PathStep::Member(name) | PathStep::Anywhere(name), Level::Member(found)) => {
                    **name == **found
                }
                (PathStep::Element(index), Level::Element(found)) => index == found,
                _ => false,
            };
            if fits {
                next |= 1 << (at + 1);
            }
            if matches!(step, PathStep::Anywhere(_)) {
                next |= 1 << at;
            }
        }
        reached = next;
        if reached == 0 {
            return false;
        }
    }
    reached & 1 << steps.len() != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn paths(texts: &[&str]) -> Vec<JsonPath> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn redacted(text: &str, names: &[&str]) -> (String, Option<Stop>) {
        let (out, stop) = redact(text.as_bytes(), &paths(names));
        (String::from_utf8(out).unwrap(), stop)
    }

    #[test]
    fn values_are_replaced_and_the_rest_stays_as_it_was() {
        for (text, names, expected) in [
            (
                r#"{"a" : 1.50, "b":[ ]}"#,
                &["x"][..],
                r#"{"a" : 1.50, "b":[ ]}"#,
            ),
            (
                r#"{"user":"u", "n": 1}"#,
                &["user"],
                r#"{"user":"[redacted]", "n": 1}"#,
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"text":"s"}]},{"content":"s"}]}"#,
                &["messages[*].content"],
                r#"{"messages":[{"role":"user","content":"[redacted]"},{"content":"[redacted]"}]}"#,
            ),
            (
                r#"[1,{"a":[2,3]},4]"#,
                &["[1].a[1]", "[2]"],
                r#"[1,{"a":[2,"[redacted]"]},"[redacted]"]"#,
            ),
            (
                r#"{"x":{"text":"s"},"y":[{"text":{"text":1}}]}"#,
                &["..text"],
                r#"{"x":{"text":"[redacted]"},"y":[{"text":"[redacted]"}]}"#,
            ),
            (
                r#"{"a":{"b":1,"c":{"b":2}}}"#,
                &["a.*"],
                r#"{"a":{"b":"[redacted]","c":"[redacted]"}}"#,
            ),
            // A name is what it means, however it is written.
            (
                r#"{"us\u0065r":"s","user":"s"}"#,
                &["user"],
                r#"{"us\u0065r":"[redacted]","user":"[redacted]"}"#,
            ),
            (
                r#"{"user":"quote \" and } inside","b":2}"#,
                &["user"],
                r#"{"user":"[redacted]","b":2}"#,
            ),
            (
                "{\"input\":\"a\"}\n{\"input\":\"b\"}\n",
                &["input"],
                "{\"input\":\"[redacted]\"}\n{\"input\":\"[redacted]\"}\n",
            ),
            ("null", &["a"], "null"),
        ] {
            assert_eq!(redacted(text, names), (expected.to_owned(), None), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_stops_the_copy() {
        for (text, expected) in [
            ("secret", ""),
            ("{'user': 'secret'}", "{"),
            ("{user: \"secret\"}", "{"),
            (r#"{"a":1,"b":x,"user":"secret"}"#, r#"{"a":1,"b":"#),
            (r#"{"a":[1},"user":"secret"]"#, r#"{"a":[1"#),
            (r#"{"user":[}],"secret":1}"#, r#"{"user":"[redacted]""#),
            (r#"{"a":1 "user":"secret"}"#, r#"{"a":1 "#),
            ("\u{feff}{}", ""),
            ("--boundary\r\nsecret", ""),
        ] {
            let (out, stop) = redacted(text, &["user"]);
            assert_eq!(
                (out.as_str(), stop),
                (expected, Some(Stop::Unreadable)),
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        let (out, stop) = redacted(&deep, &["a"]);
        assert_eq!((out.len(), stop), (DEEPEST, Some(Stop::Unreadable)));
    }

    #[test]
    fn many_descents_take_no_time_that_grows_out_of_hand() {
        let path = "..a".repeat(20);
        let text = r#"{"a":"#.repeat(500) + "1" + &"}".repeat(500);
        let (out, stop) = redacted(&text, &[&path]);
        assert_eq!(stop, None);
        assert_eq!(out.matches("redacted").count(), 1);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\é\n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same by values: every place of `value` that `path` names, replaced.
    fn by_value(value: &mut Value, steps: &[PathStep]) {
        let Some((step, rest)) = steps.split_first() else {
            *value = json!("[redacted]");
            return;
        };
        match (step, value) {
            (PathStep::Member(name), Value::Object(members)) => {
                if let Some(member) = members.get_mut(&**name) {
                    by_value(member, rest);
                }
            }
            (PathStep::EveryMember, Value::Object(members)) => {
                members
                    .values_mut()
                    .for_each(|member| by_value(member, rest));
            }
            (PathStep::Element(index), Value::Array(elements)) => {
                if let Some(element) = elements.get_mut(*index) {
                    by_value(element, rest);
                }
            }
            (PathStep::EveryElement, Value::Array(elements)) => {
                for element in elements {
                    by_value(element, rest);
                }
            }
            (PathStep::Anywhere(name), Value::Object(members)) => {
                for (found, member) in members {
                    by_value(member, steps);
                    if **found == **name {
                        by_value(member, rest);
                    }
                }
            }
            (PathStep::Anywhere(_), Value::Array(elements)) => {
                for element in elements {
                    by_value(element, steps);
                }
            }
            _ => {}
        }
    }

    fn any_path() -> impl Strategy<Value = JsonPath> {
        let step = prop_oneof![
            "\\.[abc]",
            Just(".*".to_owned()),
            "\\[[0-3]\\]",
            Just("[*]".to_owned()),
            "\\.\\.[abc]",
        ];
        prop::collection::vec(step, 1..4).prop_map(|steps| steps.concat().parse().unwrap())
    }

    proptest! {
        #[test]
        fn copying_redacts_what_replacing_values_does(value in any_json(), path in any_path(), pretty: bool) {
            let text = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let (out, stop) = redact(text.as_bytes(), std::slice::from_ref(&path));
            prop_assert_eq!(stop, None);
            let mut expected = value;
            by_value(&mut expected, path.steps());
            prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
        }

        #[test]
        fn a_cut_never_lets_more_out(value in any_json(), path in any_path(), at: prop::sample::Index) {
            let text = value.to_string();
            let whole = redact(text.as_bytes(), std::slice::from_ref(&path)).0;
            let cut = at.index(text.len() + 1);
            let (out, _) = redact(&text.as_bytes()[..cut], std::slice::from_ref(&path));
            prop_assert!(whole.starts_with(&out), "{:?}", String::from_utf8_lossy(&out));
        }

        #[test]
        fn any_bytes_are_copied_or_refused(bytes: Vec<u8>, path in any_path()) {
            let (out, _) = redact(&bytes, std::slice::from_ref(&path));
            prop_assert!(out.len() <= bytes.len() * REDACTED.len());
        }
    }
}
