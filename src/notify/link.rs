//! Addresses as every markup takes them.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::cut::LONGEST_URL;
use super::message::{Block, Button, ButtonTarget, Message, Span};

/// What ends an address in one markup or another, or opens something in it.
const ENDS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'`')
    .add(b'|');

/// The address, if it is one that a message can link to: over HTTP, and not too long. What a markup
/// could take for the end of it is percent-encoded.
#[must_use]
pub(super) fn linkable(url: &str) -> Option<String> {
    let scheme = url.split_once("://")?.0;
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let url = utf8_percent_encode(url, ENDS).to_string();
    (url.len() <= LONGEST_URL).then_some(url)
}

/// The buttons that open an address, row by row, as long as all of them together take at most `most`
/// bytes.
#[must_use]
pub(super) fn buttons(message: &Message, most: usize) -> Vec<Vec<(&str, String)>> {
    let mut room = most;
    let mut fitting = |button: &Button| {
        let ButtonTarget::Url(url) = &button.target else {
            return None;
        };
        let url = linkable(url)?;
        room = room.checked_sub(url.len() + button.label.len())?;
        Some(url)
    };
    let rows = message.buttons.iter().map(|row| {
        let row = row.iter();
        row.filter_map(|button| Some((button.label.as_str(), fitting(button)?)))
            .collect()
    });
    rows.filter(|row: &Vec<_>| !row.is_empty()).collect()
}

/// The links in a body, in order.
pub(super) fn in_body(body: &[Block]) -> impl Iterator<Item = (&str, String)> {
    let spans = body.iter().flat_map(super::cut::spans);
    spans.filter_map(|span| match span {
        Span::Link { text, url } => Some((text.as_str(), linkable(url)?)),
        Span::Text(_) | Span::Bold(_) | Span::Code(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_where_it_ends() {
        assert_eq!(
            linkable("https://g/d/x?var-key=a)b [c]<d>|e&f=%20").as_deref(),
            Some("https://g/d/x?var-key=a%29b%20%5Bc%5D%3Cd%3E%7Ce&f=%20")
        );
        for text in ["javascript:alert(1)", "//g/d", "", "tel://110"] {
            assert_eq!(linkable(text), None, "{text}");
        }
        assert_eq!(linkable(&format!("https://g/{}", "x".repeat(2000))), None);
    }
}
