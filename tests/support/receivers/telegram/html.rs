//! Telegram's HTML as its server reads it: strict, with the server's words.

/// A text and what of it has a meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The text without tags.
    pub(crate) text: String,
    /// What is marked, in order of its end.
    pub(crate) entities: Vec<Entity>,
}

/// A part of a text that is marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entity {
    /// The tag's name.
    pub(crate) tag: String,
    /// `href`, of a link.
    pub(crate) url: Option<String>,
    /// Where it begins, in bytes of the text.
    pub(crate) from: usize,
    /// Where it ends.
    pub(crate) to: usize,
}

const TAGS: [&str; 13] = [
    "a",
    "b",
    "blockquote",
    "code",
    "del",
    "em",
    "i",
    "ins",
    "pre",
    "s",
    "strike",
    "strong",
    "u",
];

/// How long a text is to Telegram.
pub(crate) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

impl Parsed {
    /// The text of an entity.
    pub(crate) fn text_of(&self, entity: &Entity) -> &str {
        &self.text[entity.from..entity.to]
    }

    /// Everything marked with this tag.
    pub(crate) fn marked(&self, tag: &str) -> Vec<&str> {
        let entities = self.entities.iter().filter(|entity| entity.tag == tag);
        entities.map(|entity| self.text_of(entity)).collect()
    }

    /// What Telegram would make a link of by itself: addresses outside of code and links.
    pub(crate) fn bare_links(&self) -> Vec<String> {
        let is_marked = |at: usize| {
            let covers = |entity: &Entity| {
                matches!(entity.tag.as_str(), "a" | "code" | "pre")
                    && (entity.from..entity.to).contains(&at)
            };
            self.entities.iter().any(covers)
        };
        let chars = self.text.char_indices();
        let free = chars.map(|(at, char)| if is_marked(at) { ' ' } else { char });
        let free: String = free.collect();
        bare_addresses(&free)
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// Whom Telegram would tell of it and which commands it would offer: `@name` and `/name` that no
    /// word is in front of, outside of code.
    pub(crate) fn mentions(&self) -> Vec<&str> {
        let is_word = |char: char| char.is_alphanumeric() || char == '_';
        let in_code = |at: usize| {
            let covers = |entity: &Entity| {
                matches!(entity.tag.as_str(), "code" | "pre")
                    && (entity.from..entity.to).contains(&at)
            };
            self.entities.iter().any(covers)
        };
        let mut found = Vec::new();
        for (at, sign) in self.text.match_indices(['@', '/']) {
            let before = self.text[..at].chars().next_back();
            let after = &self.text[at + 1..];
            let end = after.find(|char| !is_word(char)).unwrap_or(after.len());
            let is_free = before.is_none_or(|char| {
                let in_path = sign == "/" && matches!(char, '/' | '<' | '>');
                !is_word(char) && !in_path
            });
            if is_free && end > 0 && !in_code(at) {
                found.push(&self.text[at..=at + end]);
            }
        }
        found
    }
}

/// What programs make links of by themselves: words with `://`, and words with a dot and two letters
/// behind it or the four numbers of an address. Whatever stands in brackets or between quotation marks
/// is a word of its own.
pub(crate) fn bare_addresses(text: &str) -> Vec<&str> {
    let words = text.split(|char: char| {
        char.is_whitespace() || char == '\u{2060}' || "()[]<>\"'，。：；（）".contains(char)
    });
    let is_host = |word: &str| {
        let host = word.split(['/', '?', '#', ':']).next().unwrap_or_default();
        let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
        let last = labels.last().copied().unwrap_or_default();
        let is_name = last.chars().count() >= 2 && last.chars().all(char::is_alphabetic);
        let is_number =
            |label: &&str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
        let is_host = labels.len() > 1 && labels.iter().all(|label| !label.is_empty());
        is_host && (is_name || labels.len() == 4 && labels.iter().all(is_number))
    };
    let is_address = |word: &&str| {
        let (scheme, rest) = word.split_once("://").unwrap_or_default();
        let leads =
            scheme.ends_with(char::is_alphabetic) && rest.starts_with(char::is_alphanumeric);
        leads || is_host(word)
    };
    words.filter(is_address).collect()
}

/// Reads a text with markup; an error is what the server says.
pub(crate) fn parse(html: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut open: Vec<Entity> = Vec::new();
    let mut rest = html;
    while let Some(first) = rest.chars().next() {
        let at = html.len() - rest.len();
        match first {
            '&' => {
                let (char, length) = reference(rest);
                parsed.text.push(char);
                rest = &rest[length..];
            }
            '<' => {
                let end = rest
                    .find('>')
                    .ok_or_else(|| format!("Unclosed start tag at byte offset {at}"))?;
                let inside = &rest[1..end];
                rest = &rest[end + 1..];
                if let Some(name) = inside.strip_prefix('/') {
                    let entity = open
                        .pop()
                        .ok_or_else(|| format!("Unexpected end tag at byte offset {at}"))?;
                    if !name.eq_ignore_ascii_case(&entity.tag) {
                        return Err(format!(
                            "Unmatched end tag at byte offset {at}, expected \"</{}>\", found \
                             \"</{name}>\"",
                            entity.tag
                        ));
                    }
                    if entity.from < parsed.text.len() {
                        let to = parsed.text.len();
                        parsed.entities.push(Entity { to, ..entity });
                    }
                } else {
                    open.push(begin(inside, at, parsed.text.len())?);
                }
            }
            other => {
                parsed.text.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    match open.pop() {
        Some(entity) => Err(format!(
            "Can't find end tag corresponding to start tag \"{}\"",
            entity.tag
        )),
        None => Ok(parsed),
    }
}

fn begin(inside: &str, at: usize, from: usize) -> Result<Entity, String> {
    let (tag, attributes) = inside.split_once(' ').unwrap_or((inside, ""));
    let tag = tag.to_ascii_lowercase();
    if !TAGS.contains(&tag.as_str()) {
        return Err(format!(
            "Unsupported start tag \"{tag}\" at byte offset {at}"
        ));
    }
    let mut url = None;
    if !attributes.is_empty() {
        let value = attributes
            .strip_prefix("href=\"")
            .and_then(|value| value.strip_suffix('"'))
            .filter(|value| tag == "a" && !value.contains(['"', '<']))
            .ok_or_else(|| {
                format!(
                    "Expected equal sign in declaration of an attribute of the tag \"{tag}\" at \
                     byte offset {at}"
                )
            })?;
        url = Some(unescaped(value));
    }
    Ok(Entity {
        tag,
        url,
        from,
        to: from,
    })
}

fn unescaped(text: &str) -> String {
    let mut unescaped = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (char, length) = match first {
            '&' => reference(rest),
            other => (other, other.len_utf8()),
        };
        unescaped.push(char);
        rest = &rest[length..];
    }
    unescaped
}

/// What a text that begins with `&` stands for, and how long that is. What is no reference is itself.
fn reference(text: &str) -> (char, usize) {
    const NAMED: [(&str, char); 4] = [
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&amp;", '&'),
        ("&quot;", '"'),
    ];
    for (name, char) in NAMED {
        if text.starts_with(name) {
            return (char, name.len());
        }
    }
    ('&', 1)
}
