//! Takes the traces of an injected `include_usage` out of a Chat or Completions stream again.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memchr2;
use memchr::memmem::Finder;

use super::json::{Node, Place, Progress, Scanner, Sink};

/// Longest event that is held back until it is complete. A usage chunk is far shorter; a longer
/// event is passed on as it comes, its `"usage":null` with it.
const EVENT_MAX: usize = 32 * 1024;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));

/// Turns each plain (decoded) fragment of an event stream into the fragment to forward: the one
/// event with usage and empty `choices` is removed whole, `"usage":null` members are removed from
/// the others, the rest stays byte for byte. Only an event that is not complete yet is held back,
/// at most 32 KiB of it.
#[derive(Debug, Default)]
pub struct UsageStripper {
    boundary: Boundary,
    /// The event under way, as far as it came in earlier fragments.
    held: Vec<u8>,
    /// The event under way is too long to be held: the rest of it passes.
    passing: bool,
    /// The last event ended in a CR: whether an LF that follows is forwarded with it.
    after_cr: Option<bool>,
}

impl UsageStripper {
    /// A stripper at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What to forward for this fragment; a slice of it, not a copy, when nothing inside changes.
    pub fn feed(&mut self, fragment: Bytes) -> Bytes {
        let bytes = fragment.clone();
        let mut output = Output::new(fragment);
        let mut at = self.line_feed_after_cr(&bytes, 0, &mut output);
        while let Some(length) = self.boundary.find(&bytes[at..]) {
            let end = at + length;
            let kept = self.event(at..end, &mut output);
            if bytes[end - 1] == b'\r' {
                self.after_cr = Some(kept);
            }
            at = self.line_feed_after_cr(&bytes, end, &mut output);
        }
        self.tail(at..bytes.len(), &mut output);
        output.finish()
    }

    /// What was still held back when the body ended.
    pub fn finish(&mut self) -> Bytes {
        let mut output = Output::new(Bytes::new());
        output.insert_edited(&std::mem::take(&mut self.held));
        output.finish()
    }

    /// Bytes of heap held.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// An LF right after the CR that ended an event shares that event's fate, and must not wait
    /// for the next event to be complete.
    fn line_feed_after_cr(&mut self, fragment: &[u8], at: usize, output: &mut Output) -> usize {
        let (Some(kept), Some(&byte)) = (self.after_cr, fragment.get(at)) else {
            return at;
        };
        self.after_cr = None;
        if byte != b'\n' {
            return at;
        }
        self.boundary.after_cr = false;
        if kept {
            output.pass(at..at + 1);
        }
        at + 1
    }

    /// An event that ends in this fragment, of which `part` lies in it; whether it is kept.
    fn event(&mut self, part: Range<usize>, output: &mut Output) -> bool {
        if std::mem::take(&mut self.passing) {
            output.pass(part);
            return true;
        }
        if self.held.is_empty() {
            return output.pass_edited(part);
        }
        let mut event = std::mem::take(&mut self.held);
        event.extend_from_slice(&output.fragment[part]);
        let kept = output.insert_edited(&event);
        // Its room is for the next one.
        event.clear();
        self.held = event;
        kept
    }

    /// The beginning of an event that does not end in this fragment.
    fn tail(&mut self, part: Range<usize>, output: &mut Output) {
        if self.passing {
            output.pass(part);
        } else if self.held.len() + part.len() > EVENT_MAX {
            self.passing = true;
            output.insert(&std::mem::take(&mut self.held));
            output.pass(part);
        } else {
            self.held.extend_from_slice(&output.fragment[part]);
        }
    }
}

/// Finds the blank lines that end events, in lines that end in LF, CRLF or CR.
#[derive(Debug)]
struct Boundary {
    line_start: bool,
    after_cr: bool,
}

impl Default for Boundary {
    fn default() -> Self {
        Self {
            line_start: true,
            after_cr: false,
        }
    }
}

impl Boundary {
    /// The offset after the next blank line's end.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            at = usize::from(bytes[0] == b'\n');
        }
        while let Some(offset) = memchr2(b'\n', b'\r', &bytes[at..]) {
            let blank = offset == 0 && self.line_start;
            let end = at + offset;
            at = end + 1;
            self.line_start = true;
            if bytes[end] == b'\r' {
                // The LF behind the CR that makes a line blank is left for the next call: the
                // caller may not have it yet, and must not wait for it.
                match bytes.get(at) {
                    Some(b'\n') if !blank => at += 1,
                    next => self.after_cr = next.is_none_or(|&byte| byte == b'\n'),
                }
            }
            if blank {
                return Some(at);
            }
        }
        self.line_start &= at == bytes.len();
        None
    }
}

/// What of a fragment is forwarded: one slice of it as long as that is possible.
struct Output {
    fragment: Bytes,
    passed: Range<usize>,
    copied: Vec<u8>,
}

impl Output {
    fn new(fragment: Bytes) -> Self {
        Self {
            fragment,
            passed: 0..0,
            copied: Vec::new(),
        }
    }

    fn pass(&mut self, part: Range<usize>) {
        if self.passed.end == part.start {
            self.passed.end = part.end;
        } else if !part.is_empty() {
            self.flush();
            self.passed = part;
        }
    }

    fn insert(&mut self, bytes: &[u8]) {
        self.flush();
        self.copied.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        self.copied
            .extend_from_slice(&self.fragment[self.passed.clone()]);
        self.passed.start = self.passed.end;
    }

    /// A whole event of the fragment; whether it is kept.
    fn pass_edited(&mut self, event: Range<usize>) -> bool {
        match edit(&self.fragment[event.clone()]) {
            Edit::Keep => self.pass(event),
            Edit::Remove => return false,
            Edit::Cut(cut) => {
                self.pass(event.start..event.start + cut.start);
                self.pass(event.start + cut.end..event.end);
            }
        }
        true
    }

    /// A whole event that began in an earlier fragment; whether it is kept.
    fn insert_edited(&mut self, event: &[u8]) -> bool {
        match edit(event) {
            Edit::Keep => self.insert(event),
            Edit::Remove => return false,
            Edit::Cut(cut) => {
                self.insert(&event[..cut.start]);
                self.insert(&event[cut.end..]);
            }
        }
        true
    }

    fn finish(mut self) -> Bytes {
        if self.copied.is_empty() {
            return self.fragment.slice(self.passed);
        }
        self.flush();
        Bytes::from(self.copied)
    }
}

enum Edit {
    Keep,
    Remove,
    /// Without these bytes.
    Cut(Range<usize>),
}

/// What is to be done with one event.
fn edit(event: &[u8]) -> Edit {
    if event.len() > EVENT_MAX || USAGE.find(event).is_none() {
        return Edit::Keep;
    }
    let Some(payload) = Payload::of(event) else {
        return Edit::Keep;
    };
    let mut chunk = Chunk::default();
    let mut scanner = Scanner::new(&CHUNK);
    scanner.feed(payload.text(event), &mut chunk);
    if scanner.progress() != Progress::Done || scanner.trailing() {
        return Edit::Keep;
    }
    match chunk {
        Chunk {
            stated: true,
            no_choices: true,
            ..
        } => Edit::Remove,
        Chunk {
            stated: false,
            nulls: 1,
            null: Some(place),
            ..
        } => member(payload.text(event), place).map_or(Edit::Keep, |cut| {
            Edit::Cut(payload.in_event(cut.start)..payload.in_event(cut.end))
        }),
        _ => Edit::Keep,
    }
}

/// The bytes of a member together with one adjoining comma: the one before it and the whitespace
/// around that comma, as the member would not have been written; the one after a first member.
fn member(text: &[u8], place: Place) -> Option<Range<usize>> {
    let blanks_before = |end: usize| text[..end].trim_ascii_end().len();
    let blanks_after = |start: usize| text.len() - text[start..].trim_ascii_start().len();
    let before = blanks_before(place.key);
    match text.get(before.checked_sub(1)?)? {
        b',' => Some(blanks_before(before - 1)..place.end),
        b'{' => {
            let after = blanks_after(place.end);
            let comma = text.get(after) == Some(&b',');
            Some(
                place.key..if comma {
                    blanks_after(after + 1)
                } else {
                    place.end
                },
            )
        }
        _ => None,
    }
}

/// The data of an event.
enum Payload {
    /// One line of it.
    Line(Range<usize>),
    /// Several, joined by line feeds; and where each lies in the event.
    Joined(Vec<u8>, Vec<Range<usize>>),
}

impl Payload {
    fn of(event: &[u8]) -> Option<Self> {
        let mut lines = Vec::new();
        let mut at = if event.starts_with(b"\xEF\xBB\xBF") {
            3
        } else {
            0
        };
        while at < event.len() {
            let end = memchr2(b'\n', b'\r', &event[at..]).map_or(event.len(), |end| at + end);
            if event[at..end].starts_with(b"data:") {
                let value = at + b"data:".len();
                lines.push(value + usize::from(event[value..end].starts_with(b" "))..end);
            }
            at = end + 1;
        }
        match &lines[..] {
            [] => None,
            [line] => Some(Self::Line(line.clone())),
            _ => {
                let texts: Vec<&[u8]> = lines.iter().map(|line| &event[line.clone()]).collect();
                Some(Self::Joined(texts.join(&b'\n'), lines))
            }
        }
    }

    fn text<'t>(&'t self, event: &'t [u8]) -> &'t [u8] {
        match self {
            Self::Line(line) => &event[line.clone()],
            Self::Joined(text, _) => text,
        }
    }

    /// Where byte `at` of the payload lies in the event.
    fn in_event(&self, at: usize) -> usize {
        match self {
            Self::Line(line) => line.start + at,
            Self::Joined(_, lines) => {
                let mut left = at;
                for line in lines {
                    if left <= line.len() {
                        return line.start + left;
                    }
                    left -= line.len() + 1;
                }
                lines.last().map_or(0, |line| line.end)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Mark {
    Usage,
    Choices,
}

static CHUNK: Node<Mark> = Node::object(&[
    ("usage", Node::leaf(Mark::Usage)),
    ("choices", Node::leaf(Mark::Choices)),
]);

/// What a chunk says of its usage.
#[derive(Default)]
struct Chunk {
    /// `usage` is there and not `null`.
    stated: bool,
    /// `choices` is an empty array.
    no_choices: bool,
    nulls: usize,
    null: Option<Place>,
}

impl Sink<Mark> for Chunk {
    fn scalar(&mut self, mark: Mark, token: &[u8], place: Place) {
        match mark {
            Mark::Usage if token == b"null" => {
                self.nulls += 1;
                self.null = Some(place);
            }
            Mark::Usage => self.stated = true,
            Mark::Choices => self.no_choices = false,
        }
    }

    fn open(&mut self, mark: Mark, _start: usize, array: bool) {
        match mark {
            Mark::Usage => self.stated = true,
            Mark::Choices => self.no_choices = array,
        }
    }

    fn close(&mut self, mark: Mark, _place: Place, empty: bool) {
        if let Mark::Choices = mark {
            self.no_choices &= empty;
        }
    }
}
