//! How clients read markup: what is left of it on the screen, whom it mentions, where it leads.

use super::Shown;
use super::telegram::html::bare_addresses;

/// The Markdown of a chat, as its client reads it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing that a client knows or does not"
)]
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    /// Whether `&#42;` and `&lt;` are characters.
    pub(crate) entities: bool,
    /// Whether a backslash takes the meaning of the next mark away.
    pub(crate) backslash: bool,
    /// Whether `` ` `` makes code, in which nothing else means anything.
    pub(crate) code: bool,
    /// Marks that are gone from the screen where they stand unescaped.
    pub(crate) marks: &'static str,
    /// Whether whatever looks like an address is a link, but in code.
    pub(crate) addresses: bool,
    /// Whether `:NAME:` is a picture.
    pub(crate) emoji: bool,
}

impl Reader {
    pub(crate) fn read(self, markup: &str, shown: &mut Shown) {
        for line in markup.split('\n') {
            let line = line.trim_start_matches(['#', '>']);
            let (before, code) = (shown.text.len(), shown.code.len());
            self.line(line, shown);
            if self.addresses {
                let mut bare = shown.text[before..].to_owned();
                for code in &shown.code[code..] {
                    bare = bare.replacen(code.as_str(), " ", 1);
                }
                let bare = bare_addresses(&bare).into_iter().map(str::to_owned);
                shown.links.extend(bare);
            }
            // Nobody sees what keeps a name from being one.
            let seen = shown.text.split_off(before).replace('\u{2060}', "");
            shown.text.push_str(&seen);
            shown.text.push('\n');
        }
    }

    fn line(self, line: &str, shown: &mut Shown) {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            if let Some((taken, seen)) = self.taken(rest, shown) {
                shown.text.push_str(&seen);
                rest = &rest[taken..];
                continue;
            }
            if !self.marks.contains(first) {
                shown.text.push(first);
            }
            rest = &rest[first.len_utf8()..];
        }
    }

    /// What begins here and is more than a character: its bytes, and what is seen of it.
    fn taken(self, rest: &str, shown: &mut Shown) -> Option<(usize, String)> {
        if self.entities && rest.starts_with('&') {
            let end = rest.find(';').filter(|end| *end <= 8)?;
            let seen = match &rest[1..end] {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                number => char::from_u32(number.strip_prefix('#')?.parse().ok()?)?,
            };
            return Some((end + 1, seen.to_string()));
        }
        if self.backslash && rest.starts_with('\\') {
            let next = rest[1..]
                .chars()
                .next()
                .filter(char::is_ascii_punctuation)?;
            return Some((2, next.to_string()));
        }
        if self.code && rest.starts_with('`') {
            let end = rest[1..].find('`')?;
            shown.code.push(rest[1..=end].to_owned());
            return Some((end + 2, rest[1..=end].to_owned()));
        }
        if rest.starts_with('<') {
            let end = rest.find('>')?;
            let tag = &rest[1..end];
            if let Some(who) = tag
                .strip_prefix("at ")
                .or(tag.strip_prefix('@'))
                .or(tag.strip_prefix('!'))
            {
                shown.mentions.push(who.to_owned());
            }
            return Some((end + 1, String::new()));
        }
        if rest.starts_with('[') {
            let middle = rest.find("](")?;
            let end = middle + rest[middle..].find(')')?;
            shown.links.push(rest[middle + 2..end].to_owned());
            let mut inner = Shown::default();
            self.line(&rest[1..middle], &mut inner);
            shown.mentions.append(&mut inner.mentions);
            return Some((end + 1, inner.text));
        }
        if self.emoji && rest.starts_with(':') {
            let end = 1 + rest[1..].find(':')?;
            let name = &rest[1..end];
            let is_name = !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return is_name.then(|| (end + 1, "(emoji)".to_owned()));
        }
        None
    }
}
