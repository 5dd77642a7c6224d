//! Where strings and containers end, searched at the speed of memory.

use memchr::memchr;

/// Most names, short values and gaps between them end within so many words: looked through in
/// place, because a call costs more…
const SHORT: usize = 2;
/// …and within so many more nearly all: a search over blocks costs more than that to begin.
const LONGER: usize = 4;

/// Every byte of a word its lowest bit, and its highest.
const LOWEST: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x8080_8080_8080_8080;

/// The highest bit of each byte of `word` that is `byte`. Above the lowest such byte others may be
/// marked wrongly, never below it.
const fn marked(word: u64, byte: u8) -> u64 {
    let difference = word ^ (LOWEST * byte as u64);
    difference.wrapping_sub(LOWEST) & !difference & HIGHEST
}

/// Looks through up to `words` whole words: the offset of the first byte that `marks` marks, or
/// where the looking ended.
fn in_words(bytes: &[u8], words: usize, marks: impl Fn(u64) -> u64) -> Result<usize, usize> {
    let mut at = 0;
    for word in bytes.as_chunks::<8>().0.iter().take(words) {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return Ok(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    Err(at)
}

/// Appends as much of `piece` as fits under `max`.
pub(super) fn keep(buffer: &mut Vec<u8>, piece: &[u8], max: usize) {
    let room = max.saturating_sub(buffer.len());
    buffer.extend_from_slice(&piece[..piece.len().min(room)]);
}

fn quotes_and_backslashes(word: u64) -> u64 {
    marked(word, b'"') | marked(word, b'\\')
}

/// The offset after the closing quote of a string whose text begins at `text`. `escaped` says
/// whether a backslash before it escapes its first byte, and carries that over to the next
/// fragment. Searching for quotes and counting the backslashes before them stops less often than
/// searching for both: text is full of `\n`.
#[inline]
pub(super) fn string_end(text: &[u8], escaped: &mut bool) -> Option<usize> {
    if !*escaped {
        match in_words(text, SHORT, quotes_and_backslashes) {
            Ok(at) if text[at] == b'"' => return Some(at + 1),
            Ok(_) => {}
            Err(passed) => return longer_string_end(text, passed, escaped),
        }
    }
    any_string_end(text, escaped)
}

/// As [`string_end`], when there is neither quote nor backslash in the first `passed` bytes.
#[inline(never)]
fn longer_string_end(text: &[u8], passed: usize, escaped: &mut bool) -> Option<usize> {
    match in_words(&text[passed..], LONGER, quotes_and_backslashes) {
        Ok(at) if text[passed + at] == b'"' => Some(passed + at + 1),
        _ => any_string_end(text, escaped),
    }
}

/// As [`string_end`], by searching.
#[inline(never)]
fn any_string_end(text: &[u8], escaped: &mut bool) -> Option<usize> {
    let mut from = 0;
    while let Some(offset) = memchr(b'"', &text[from..]) {
        let quote = from + offset;
        let odd = odd_backslashes(&text[from..quote], *escaped);
        *escaped = false;
        from = quote + 1;
        if !odd {
            return Some(from);
        }
    }
    *escaped = odd_backslashes(&text[from..], *escaped);
    None
}

/// Whether `text` ends in an odd number of backslashes, one before it counted when `escaped`.
fn odd_backslashes(text: &[u8], escaped: bool) -> bool {
    let run = text.iter().rev().take_while(|&&byte| byte == b'\\').count();
    (run % 2 == 1) ^ (escaped && run == text.len())
}

pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Whether a number or a word (`true`, `null`) may go on with a byte.
const IN_LITERAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = matches!(
            byte,
            b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.'
        );
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// The offset after a number or word.
pub(super) fn literal_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .iter()
        .position(|&byte| !IN_LITERAL[usize::from(byte)])
}

/// Not 0 for a bracket, brace or quote. Without branches, so that blocks become vector operations.
fn bracket_or_quote(byte: u8) -> u8 {
    // Setting bit 5 turns [ into { and ] into }, and maps no other byte onto them.
    let brace = byte | 0x20;
    u8::from(brace == b'{') | u8::from(brace == b'}') | u8::from(byte == b'"')
}

/// As [`bracket_or_quote`], for the bytes of a word.
fn brackets_and_quotes(word: u64) -> u64 {
    let braces = word | (LOWEST * 0x20);
    marked(braces, b'{') | marked(braces, b'}') | marked(word, b'"')
}

/// The offset of the next bracket, brace or quote. Blocks without any are passed as a whole.
#[inline]
pub(super) fn next_bracket_or_quote(bytes: &[u8]) -> Option<usize> {
    match in_words(bytes, SHORT, brackets_and_quotes) {
        Ok(at) => Some(at),
        Err(at) => far_bracket_or_quote(&bytes[at..]).map(|offset| at + offset),
    }
}

/// As [`next_bracket_or_quote`]; apart, so that the way of short gaps is inlined.
#[inline(never)]
fn far_bracket_or_quote(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        if block
            .iter()
            .fold(0, |found, &byte| found | bracket_or_quote(byte))
            != 0
        {
            break;
        }
        at += BLOCK;
    }
    match in_words(&bytes[at..], BLOCK / 8, brackets_and_quotes) {
        Ok(offset) => Some(at + offset),
        Err(passed) => {
            at += passed;
            bytes[at..]
                .iter()
                .position(|&byte| bracket_or_quote(byte) != 0)
                .map(|offset| at + offset)
        }
    }
}
