//! The strings of a document that are text, and the windows of them that are counted.

use super::super::text;
use super::{Part, proportion};

/// Most bytes of a request's text that are counted…
const COUNTED_MAX: u64 = 32 * 1024;
/// …in windows of this many.
const WINDOW: u64 = 1024;

/// A string without a space in so many bytes is no text.
const OPAQUE_BYTES: usize = 256;

/// What is told of the strings of a place.
pub(super) trait Strings {
    /// The raw text of a string, as written between its quotes.
    fn string(&mut self, raw: &[u8]);
    /// A message begins.
    fn message(&mut self) {}
}

/// Members whose values no model reads as text: names for the machine, and what is no text.
const NO_TEXT: [&[u8]; 26] = [
    b"type",
    b"id",
    b"call_id",
    b"item_id",
    b"tool_call_id",
    b"tool_use_id",
    b"index",
    b"url",
    b"image_url",
    b"data",
    b"file_data",
    b"file_id",
    b"mimeType",
    b"media_type",
    b"encrypted_content",
    b"signature",
    b"thoughtSignature",
    b"finish_reason",
    b"finishReason",
    b"stop_reason",
    b"status",
    b"logprobs",
    b"safetyRatings",
    b"groundingMetadata",
    b"cache_control",
    b"detail",
];

/// Tells of every string in `json` that is text. Never fails: what is no JSON yields what looks
/// like strings in it.
pub(super) fn strings(json: &[u8], part: Part, told: &mut impl Strings) {
    let mut at = 0;
    let mut depth = 0_usize;
    // A container that is no text is passed over: to the end of what stands at this depth.
    let mut skipping: Option<usize> = None;
    while let Some(offset) = next_mark(&json[at..]) {
        at += offset + 1;
        match json[at - 1] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                skipping = skipping.filter(|&outside| depth > outside);
            }
            _ => {
                let length = string_length(&json[at..]);
                let raw = &json[at..at + length];
                at = (at + length + 1).min(json.len());
                let after = json[at..].trim_ascii_start();
                if skipping.is_some() {
                    continue;
                }
                let Some(value) = after.strip_prefix(b":") else {
                    if !is_opaque(raw) {
                        told.string(raw);
                    }
                    continue;
                };
                if part == Part::Schema {
                    told.string(raw);
                    continue;
                }
                let role = raw == b"role";
                if role {
                    told.message();
                }
                if role || NO_TEXT.contains(&raw) {
                    let value = value.trim_ascii_start();
                    match value.first() {
                        Some(b'{' | b'[') => skipping = Some(depth),
                        Some(b'"') => {
                            at = json.len() - value.len() + 1;
                            at = (at + string_length(&json[at..]) + 1).min(json.len());
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Bytes before the next string, object, array or end of one.
pub(in crate::protocol) fn next_mark(json: &[u8]) -> Option<usize> {
    json.iter()
        .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))
}

/// Bytes up to the quote that ends a string, or to the end.
pub(in crate::protocol) fn string_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', &text[at..]) {
        at += offset;
        if text[at] == b'"' {
            return at;
        }
        at = (at + 2).min(text.len());
    }
    text.len()
}

/// Whether a string is base64 or a data URL rather than text.
fn is_opaque(raw: &[u8]) -> bool {
    raw.starts_with(b"data:")
        || raw.get(..OPAQUE_BYTES).is_some_and(|start| {
            start
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte))
        })
}

/// How much text there is.
#[derive(Default)]
pub(super) struct Size {
    pub(super) bytes: u64,
    pub(super) messages: u64,
}

impl Strings for Size {
    fn string(&mut self, raw: &[u8]) {
        self.bytes += raw.len() as u64;
    }

    fn message(&mut self) {
        self.messages += 1;
    }
}

/// Counts the tokens of evenly spaced windows of a text that comes in pieces.
pub(super) struct Windows<'c> {
    count: &'c mut dyn FnMut(&str) -> u64,
    /// Bytes from the start of one window to that of the next.
    stride: u64,
    all: u64,
    /// Bytes passed, of them counted, and their tokens.
    at: u64,
    pub(super) counted: u64,
    tokens: u64,
    /// Text that was not counted yet.
    text: String,
    /// The strings are one text, cut anywhere; otherwise each is its own.
    joined: bool,
}

impl Strings for Windows<'_> {
    fn string(&mut self, raw: &[u8]) {
        let mut rest = raw;
        while !rest.is_empty() {
            let within = self.at % self.stride;
            let counted = within < WINDOW;
            let length = if counted { WINDOW } else { self.stride } - within;
            let length = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (piece, after) = rest.split_at(length);
            rest = after;
            self.at += length as u64;
            if counted {
                self.counted += length as u64;
                self.text.push_str(&text::unescape(piece, piece.len()));
                if within + length as u64 == WINDOW {
                    self.flush();
                }
            }
        }
        if !self.joined {
            self.flush();
        }
    }
}

impl<'c> Windows<'c> {
    /// Over strings of so many bytes in all.
    pub(super) fn over(all: u64, count: &'c mut dyn FnMut(&str) -> u64) -> Self {
        let windows = COUNTED_MAX / WINDOW;
        Self {
            count,
            stride: if all > COUNTED_MAX {
                all.div_ceil(windows)
            } else {
                WINDOW
            },
            all,
            at: 0,
            counted: 0,
            tokens: 0,
            text: String::new(),
            joined: false,
        }
    }

    /// Over the pieces of one text, all of them counted.
    pub(super) fn joining(count: &'c mut dyn FnMut(&str) -> u64) -> Self {
        Self {
            joined: true,
            ..Self::over(0, count)
        }
    }

    pub(super) fn flush(&mut self) {
        if !self.text.is_empty() {
            self.tokens += (self.count)(&self.text);
            self.text.clear();
        }
    }

    pub(super) fn tokens_in_all(&mut self) -> u64 {
        self.flush();
        proportion(self.tokens, self.all, self.counted)
    }
}
