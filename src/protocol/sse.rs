//! An incremental reader of server-sent events (WHATWG HTML §9.2, "Server-sent events").
//!
//! Lines end in LF, CRLF or CR; `event` may stand before or after `data`; several `data` lines
//! make one payload, joined by line feeds. An event that lies whole in a fragment, in the usual
//! form, is handed out as one slice. Any other is handed out in pieces, nothing of it kept, so an
//! event of any size takes no memory.

use memchr::memchr2;

/// Longest event name that is read; what is longer is no name anyone knows.
const NAME_MAX: usize = 64;

/// What is told of a stream, in order. `whole` alone, or any number of the others up to `end`.
pub(crate) trait EventSink {
    /// A whole event: its name and its payload, from a single `data` line.
    fn whole(&mut self, name: &[u8], data: &[u8]);
    /// A `data` line begins.
    fn line(&mut self);
    /// A piece of the current `data` line.
    fn data(&mut self, piece: &[u8]);
    /// The event is complete; `name` is empty when it has none.
    fn end(&mut self, name: &[u8]);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// In its field's name, of which so many bytes were read.
    Field {
        length: usize,
    },
    /// Right after the colon, where one space is dropped.
    Colon(Value),
    In(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Data,
    Name,
    Ignored,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct EventReader {
    line: Line,
    field: [u8; 5],
    name: Vec<u8>,
    /// Something of the current event was read.
    begun: bool,
    /// The last byte was a CR: a following LF belongs to it.
    after_cr: bool,
    /// How much of a byte order mark was read; `None` once the stream has begun.
    bom: Option<usize>,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

impl EventReader {
    pub(crate) fn new() -> Self {
        Self {
            line: Line::Field { length: 0 },
            field: [0; 5],
            name: Vec::new(),
            begun: false,
            after_cr: false,
            bom: Some(0),
        }
    }

    pub(crate) fn retained_bytes(&self) -> usize {
        self.name.capacity()
    }

    /// Reads the next fragment.
    pub(crate) fn feed(&mut self, bytes: &[u8], sink: &mut impl EventSink) {
        let mut at = self.skip_bom(bytes);
        while at < bytes.len() {
            if self.after_cr {
                self.after_cr = false;
                if bytes[at] == b'\n' {
                    at += 1;
                    continue;
                }
            }
            if !self.begun
                && self.line == (Line::Field { length: 0 })
                && let Some((event, length)) = whole_event(&bytes[at..])
            {
                sink.whole(event.name, event.data);
                at += length;
                continue;
            }
            at = self.step(bytes, at, sink);
        }
    }

    /// The stream ended. An event without its blank line counts as one: what was stated was
    /// stated.
    pub(crate) fn finish(&mut self, sink: &mut impl EventSink) {
        if self.begun || self.line != (Line::Field { length: 0 }) {
            self.end_line(sink);
            self.end_event(sink);
        }
    }

    fn skip_bom(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(matched) = self.bom {
            let Some(byte) = bytes.get(at) else {
                return at;
            };
            if BOM.get(matched) == Some(byte) {
                self.bom = Some(matched + 1);
                at += 1;
            } else {
                // A mark that breaks off leaves bytes that begin no known field either.
                if matched > 0 && matched < BOM.len() {
                    self.begun = true;
                    self.line = Line::In(Value::Ignored);
                }
                self.bom = None;
            }
        }
        at
    }

    fn step(&mut self, bytes: &[u8], at: usize, sink: &mut impl EventSink) -> usize {
        match self.line {
            Line::Field { length } => self.in_field(bytes, at, length, sink),
            Line::Colon(value) => {
                self.line = Line::In(value);
                at + usize::from(bytes[at] == b' ')
            }
            Line::In(value) => {
                let end = memchr2(b'\n', b'\r', &bytes[at..]).map(|offset| at + offset);
                let piece = &bytes[at..end.unwrap_or(bytes.len())];
                match value {
                    Value::Data if !piece.is_empty() => sink.data(piece),
                    Value::Name => {
                        // One byte more than a name may have tells that it is none.
                        let room = (NAME_MAX + 1).saturating_sub(self.name.len());
                        self.name.extend_from_slice(&piece[..piece.len().min(room)]);
                    }
                    _ => {}
                }
                self.line_end(bytes, end, sink)
            }
        }
    }

    /// One byte of a field's name.
    fn in_field(
        &mut self,
        bytes: &[u8],
        at: usize,
        length: usize,
        sink: &mut impl EventSink,
    ) -> usize {
        match bytes[at] {
            b'\n' | b'\r' if length == 0 => {
                self.end_event(sink);
                self.after_cr = bytes[at] == b'\r';
                at + 1
            }
            b'\n' | b'\r' => self.line_end(bytes, Some(at), sink),
            b':' => {
                self.begun = true;
                let value = match &self.field[..length] {
                    b"data" => {
                        sink.line();
                        Value::Data
                    }
                    b"event" => {
                        self.name.clear();
                        Value::Name
                    }
                    _ => Value::Ignored,
                };
                self.line = Line::Colon(value);
                at + 1
            }
            byte => {
                self.begun = true;
                self.line = match self.field.get_mut(length) {
                    Some(slot) => {
                        *slot = byte;
                        Line::Field { length: length + 1 }
                    }
                    None => Line::In(Value::Ignored),
                };
                at + 1
            }
        }
    }

    fn line_end(&mut self, bytes: &[u8], end: Option<usize>, sink: &mut impl EventSink) -> usize {
        let Some(end) = end else {
            return bytes.len();
        };
        self.end_line(sink);
        self.after_cr = bytes[end] == b'\r';
        end + 1
    }

    fn end_line(&mut self, sink: &mut impl EventSink) {
        // A field without a colon has an empty value.
        if let Line::Field { length } = self.line {
            match &self.field[..length] {
                b"data" => sink.line(),
                b"event" => self.name.clear(),
                _ => {}
            }
        }
        self.line = Line::Field { length: 0 };
    }

    fn end_event(&mut self, sink: &mut impl EventSink) {
        if self.begun {
            let name = if self.name.len() <= NAME_MAX {
                &self.name[..]
            } else {
                &[]
            };
            sink.end(name);
        }
        self.name.clear();
        self.begun = false;
    }
}

struct Event<'b> {
    name: &'b [u8],
    data: &'b [u8],
}

/// An event at the start of `bytes`, when it lies whole in them and consists of at most one
/// `event` line, one `data` line and a blank line, all ending in LF or all in CRLF; and its length.
fn whole_event(bytes: &[u8]) -> Option<(Event<'_>, usize)> {
    let mut at = 0;
    let mut name = &bytes[..0];
    if bytes.starts_with(b"event:") {
        let (value, length) = line_value(bytes, b"event:".len())?;
        if value.len() <= NAME_MAX {
            name = value;
        }
        at = length;
    }
    if !bytes[at..].starts_with(b"data:") {
        return None;
    }
    let (data, length) = line_value(&bytes[at..], b"data:".len())?;
    at += length;
    // A lone CR ends a line too; `line_value` has left that form to the reader in steps.
    let blank = match &bytes[at..] {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => return None,
    };
    Some((Event { name, data }, at + blank))
}

/// The value of the line at the start of `bytes`, after its field's name, and the line's length.
fn line_value(bytes: &[u8], field: usize) -> Option<(&[u8], usize)> {
    let end = field + memchr2(b'\n', b'\r', &bytes[field..])?;
    let length = match &bytes[end..] {
        [b'\n', ..] => end + 1,
        [b'\r', b'\n', ..] => end + 2,
        _ => return None,
    };
    let value = &bytes[field..end];
    Some((value.strip_prefix(b" ").unwrap_or(value), length))
}
