//! YAML as a tree that remembers where everything stood.
//!
//! Deserialising into types would stop at the first mismatch; a tree lets the reader name every
//! problem of a file at once. Scalars keep their text as written, so an API key of digits stays a
//! text and `no` stays a word. What settings do not need and what could surprise or grow (anchors,
//! aliases, tags, further documents, keys that are not plain texts) is refused by name.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::Position;

/// A value and where it stood.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// The shapes of a value.
#[derive(Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A text; numbers and booleans are texts too.
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Already complained about.
    Refused,
}

impl Value {
    /// The shape's name, for an error.
    pub(crate) fn shape(&self) -> &'static str {
        match self {
            Self::Null | Self::Refused => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "keys and values",
        }
    }
}

/// A key with its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Position,
    pub(crate) node: Node,
}

/// Something the YAML itself has wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) at: Position,
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

/// Nesting that settings never need; it bounds the recursion below.
const MAX_DEPTH: usize = 24;

/// Parses one document. Returns what could be read, and every flaw; `None` where the syntax is
/// broken, because what follows a syntax error is guesswork.
pub(crate) fn parse(text: &str) -> (Option<Node>, Vec<Flaw>) {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        flaws: Vec::new(),
    };
    let root = builder.document();
    let mut flaws = builder.flaws;
    if let (None, Some(flaw)) = (&root, flaws.last_mut()) {
        let line = text.lines().nth(flaw.at.line.saturating_sub(1));
        if flaw.hint.is_none() && line.is_some_and(|line| line.contains("${")) {
            flaw.hint = Some("inside { } and [ ] a value with `${…}` needs quotes");
        }
    }
    (root, flaws)
}

struct Builder<P> {
    events: P,
    flaws: Vec<Flaw>,
}

impl<'t, P> Builder<P>
where
    P: Iterator<Item = Result<(Event<'t>, Span), granit_parser::ScanError>>,
{
    fn document(&mut self) -> Option<Node> {
        let mut root = Node {
            at: Position { line: 1, column: 1 },
            value: Value::Null,
        };
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Some(root),
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents > 1 {
                        self.flaw(
                            position(&span),
                            "a second YAML document begins here",
                            Some("settings are one document; remove the `---` and what follows"),
                        );
                        return Some(root);
                    }
                }
                Event::StreamStart | Event::DocumentEnd => {}
                event => root = self.node(event, &span)?,
            }
        }
    }

    /// The next event; `None` after a syntax error, which is noted.
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        match self.events.next()? {
            Ok(next) => Some(next),
            Err(error) => {
                let marker = error.marker();
                let at = Position {
                    line: marker.line(),
                    column: marker.col() + 1,
                };
                let tab = error.info().contains("tab");
                self.flaw(
                    at,
                    &format!("this is not YAML: {}", error.kind()),
                    tab.then_some("indent with spaces"),
                );
                None
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span) -> Option<Node> {
        let at = position(span);
        self.refuse_properties(&event, span);
        let value = match event {
            Event::Scalar(text, style, _, _) => scalar(&text, style),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Value::List(items),
                        (event, span) => items.push(self.node(event, &span)?),
                    }
                }
            }
            Event::MappingStart(..) => self.map()?,
            _ => Value::Refused,
        };
        Some(Node { at, value })
    }

    fn map(&mut self) -> Option<Value> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut first_lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Some(Value::Map(entries));
            }
            let key = self.node(event, &span)?;
            let (event, span) = self.next()?;
            let node = self.node(event, &span)?;
            let name = match key.value {
                Value::Scalar(name) => name,
                Value::Refused => continue,
                shape @ (Value::Null | Value::List(_) | Value::Map(_)) => {
                    let shape = shape.shape();
                    self.flaw(
                        key.at,
                        &format!("a key has to be a name, not {shape}"),
                        None,
                    );
                    continue;
                }
            };
            if let Some(line) = first_lines.get(&name) {
                let message = format!(
                    "the key `{}` is given twice, first in line {line}",
                    shown(&name)
                );
                self.flaw(key.at, &message, Some("keep one of the two"));
                continue;
            }
            first_lines.insert(name.clone(), key.at.line);
            entries.push(Entry {
                key: name,
                key_at: key.at,
                node,
            });
        }
    }

    fn refuse_properties(&mut self, event: &Event<'t>, span: &Span) {
        const PLAIN: Option<&str> = Some("write the value out where it is needed");
        if event.is_alias() || matches!(event, Event::UnresolvedAlias(_)) {
            self.flaw(position(span), "aliases (`*name`) are not supported", PLAIN);
        }
        if event.anchor_id().is_some() {
            self.flaw(position(span), "anchors (`&name`) are not supported", PLAIN);
        }
        if event.tag().is_some() {
            self.flaw(
                position(span),
                "tags (`!name`) are not supported",
                Some("write the value without it"),
            );
        }
    }

    fn flaw(&mut self, at: Position, message: &str, hint: Option<&'static str>) {
        self.flaws.push(Flaw {
            at,
            message: message.to_owned(),
            hint,
        });
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let plain = matches!(style, ScalarStyle::Plain);
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        Value::Null
    } else {
        Value::Scalar(text.to_owned())
    }
}

fn position(span: &Span) -> Position {
    Position {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

/// A text fit for one line of a terminal: cut, without control characters.
pub(crate) fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let mut shown: String = text
        .chars()
        .take(MAX_CHARS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn flaws(text: &str) -> Vec<(usize, usize, String)> {
        parse(text)
            .1
            .into_iter()
            .map(|flaw| (flaw.at.line, flaw.at.column, flaw.message))
            .collect()
    }

    #[test]
    fn remembers_where_things_stood_and_how_they_were_written() {
        let (root, flaws) = parse("# top\na: 007\nbé: {c: 'no', d: [~, x]}\n");
        assert!(flaws.is_empty());
        let Value::Map(entries) = root.unwrap().value else {
            panic!("a map");
        };
        assert_eq!((entries[0].key.as_str(), entries[0].key_at.line), ("a", 2));
        assert!(matches!(&entries[0].node.value, Value::Scalar(text) if text == "007"));
        let Value::Map(inner) = &entries[1].node.value else {
            panic!("a map");
        };
        let Value::List(items) = &inner[1].node.value else {
            panic!("a list");
        };
        assert!(matches!(items[0].value, Value::Null));
        assert_eq!(
            items[1].at,
            Position {
                line: 3,
                column: 22
            }
        );
    }

    #[test]
    fn an_empty_file_is_nothing() {
        for text in ["", "\n", "# only words\n", "---\n", "---\n...\n"] {
            let (root, flaws) = parse(text);
            assert!(flaws.is_empty(), "{text:?}");
            assert!(matches!(root.unwrap().value, Value::Null), "{text:?}");
        }
    }

    #[test]
    fn names_every_duplicate_and_unsupported_thing() {
        let found = flaws("a: 1\na: 2\nb: &x 1\nc: *x\nd: *y\ne: !!str 1\n? [f]\n: 1\na: 3\n");
        let lines: Vec<usize> = found.iter().map(|(line, ..)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 9], "{found:?}");
        assert_eq!(found[0].2, "the key `a` is given twice, first in line 1");
    }

    #[test]
    fn an_alias_bomb_costs_its_own_length() {
        let mut bomb = "a0: &a0 [x,x]\n".to_owned();
        for level in 1..200 {
            let below = level - 1;
            writeln!(bomb, "a{level}: &a{level} [*a{below},*a{below}]").unwrap();
        }
        assert_eq!(flaws(&bomb).len(), 200 + 2 * 199);
    }

    #[test]
    fn depth_is_bounded_without_recursing_to_death() {
        for text in ["[".repeat(100_000), "- ".repeat(100_000)] {
            let (root, flaws) = parse(&text);
            assert!(root.is_none());
            assert_eq!(flaws.len(), 1);
        }
    }

    #[test]
    fn a_tab_is_named_with_its_place() {
        let (root, flaws) = parse("limits:\n\tidle: 5s\n");
        assert!(root.is_none());
        assert_eq!(flaws[0].at.line, 2);
        assert_eq!(flaws[0].hint, Some("indent with spaces"));
    }
}
