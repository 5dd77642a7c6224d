//! The strings of a document with where they stand, in one pass that builds nothing.

use std::borrow::Cow;

use super::super::text;
use super::super::words::{next_mark, string_length};

/// Longest text that is told, in bytes: names and words of an API are no longer.
const TEXT_MAX: usize = 64;

/// What is told of a document. `depth` is 1 in the outermost object.
pub(super) trait Strings {
    /// A member's name, and the document from its value on.
    fn name(&mut self, depth: usize, name: Text<'_>, value: &[u8]);
    /// A string that is a value.
    fn value(&mut self, depth: usize, value: Text<'_>);
    /// An object or `array` begins; `depth` is that of its members.
    fn opens(&mut self, depth: usize, array: bool);
}

/// A string as written between its quotes.
#[derive(Clone, Copy)]
pub(super) struct Text<'j>(&'j [u8]);

impl<'j> Text<'j> {
    /// Its text, however it is escaped; empty where it is long.
    pub(super) fn get(self) -> Cow<'j, str> {
        let Self(raw) = self;
        // An escape takes six bytes at most for a byte.
        if raw.len() > TEXT_MAX * 6 {
            return Cow::Borrowed("");
        }
        match std::str::from_utf8(raw) {
            Ok(text) if !raw.contains(&b'\\') => Cow::Borrowed(text),
            _ => Cow::Owned(text::unescape(raw, TEXT_MAX)),
        }
    }
}

/// Tells of every string in `json`. Whether it is one whole object, as far as its brackets say.
pub(super) fn read(json: &[u8], told: &mut impl Strings) -> bool {
    let json = json.trim_ascii();
    let mut at = 0;
    let mut depth = 0_usize;
    while let Some(offset) = next_mark(&json[at..]) {
        at += offset + 1;
        match json[at - 1] {
            open @ (b'{' | b'[') => {
                depth += 1;
                told.opens(depth, open == b'[');
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            _ => {
                let raw = &json[at..at + string_length(&json[at..])];
                at = (at + raw.len() + 1).min(json.len());
                match json[at..].trim_ascii_start() {
                    [b':', value @ ..] => {
                        told.name(depth, Text(raw), value.trim_ascii_start());
                    }
                    _ => told.value(depth, Text(raw)),
                }
            }
        }
    }
    depth == 0 && at == json.len() && json.first() == Some(&b'{')
}
