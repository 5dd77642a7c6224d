//! Where strings and containers end, searched at the speed of memory.

use memchr::memchr;

/// Strings up to this length are looked through byte by byte.
const SHORT: usize = 24;

/// Appends as much of `piece` as fits under `max`.
pub(super) fn keep(buffer: &mut Vec<u8>, piece: &[u8], max: usize) {
    let room = max.saturating_sub(buffer.len());
    buffer.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// The offset after the closing quote of a string whose text begins at `text`. `escaped` says
/// whether a backslash before it escapes its first byte, and carries that over to the next
/// fragment. Searching for quotes and counting the backslashes before them stops less often than
/// searching for both: text is full of `\n`.
pub(super) fn string_end(text: &[u8], escaped: &mut bool) -> Option<usize> {
    // Names and most values are short: a search costs more than looking.
    if !*escaped {
        for (at, byte) in text.iter().take(SHORT).enumerate() {
            match byte {
                b'"' => return Some(at + 1),
                b'\\' => break,
                _ => {}
            }
        }
    }
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

/// Not 0 for a bracket, brace or quote. Without branches, so that blocks become vector operations.
fn bracket_or_quote(byte: u8) -> u8 {
    // Setting bit 5 turns [ into { and ] into }, and maps no other byte onto them.
    let brace = byte | 0x20;
    u8::from(brace == b'{') | u8::from(brace == b'}') | u8::from(byte == b'"')
}

/// The offset of the next bracket, brace or quote. Blocks without any are passed as a whole.
pub(super) fn next_bracket_or_quote(bytes: &[u8]) -> Option<usize> {
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
    bytes[at..]
        .iter()
        .position(|&byte| bracket_or_quote(byte) != 0)
        .map(|offset| at + offset)
}
