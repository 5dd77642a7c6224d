//! The scanner's states and steps.

use memchr::memchr;

use super::super::text;
use super::lexical::{is_blank, keep, literal_end, next_bracket_or_quote, string_end};
use super::{Node, Place, Progress, SCALAR_MAX, Sink};

/// Longest member name that can match; longer than any declared name, escaped throughout.
const KEY_MAX: usize = 256;

/// Deepest path a [`Node`] tree may name.
const WALK_DEPTH: usize = 8;

/// Levels inside a skipped container whose brackets are checked to pair by kind.
const CHECKED_DEPTH: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value { may_close: bool },
    Key { may_close: bool },
    InKey,
    Colon,
    InString,
    InLiteral,
    Skip,
    AfterValue,
    Done,
    Broken,
}

#[derive(Debug)]
struct Frame<M: 'static> {
    node: &'static Node<M>,
    array: bool,
    /// Nothing in it so far.
    empty: bool,
    key: usize,
    start: usize,
}

// Not derived: that would ask `M` to be `Copy` for a reference to it.
impl<M> Clone for Frame<M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<M> Copy for Frame<M> {}

/// A container nobody looks into.
#[derive(Clone, Copy, Debug, Default)]
struct Skipping {
    depth: usize,
    /// One bit for each of the outermost levels, the outermost lowest: set for arrays.
    kinds: u64,
    in_string: bool,
    /// Whether it is empty is still open (only asked of marked containers).
    peeking: bool,
    empty: bool,
}

impl Skipping {
    fn enter(&mut self, array: bool) {
        if self.depth < CHECKED_DEPTH {
            let bit = 1 << self.depth;
            self.kinds = if array {
                self.kinds | bit
            } else {
                self.kinds & !bit
            };
        }
        self.depth += 1;
    }

    /// Whether the bracket closes what was opened.
    fn leave(&mut self, array: bool) -> bool {
        self.depth -= 1;
        self.depth >= CHECKED_DEPTH || (self.kinds >> self.depth & 1 == 1) == array
    }
}

/// Reads one document, fragment by fragment.
#[derive(Debug)]
pub(crate) struct Scanner<M: 'static> {
    root: &'static Node<M>,
    unescape_keys: bool,
    state: State,
    /// The node of the value to come or under way.
    current: Option<&'static Node<M>>,
    frames: [Option<Frame<M>>; WALK_DEPTH],
    depth: usize,
    skipping: Skipping,
    /// An odd number of backslashes stands right before the next byte of a string.
    escaped: bool,
    /// A key or scalar begun in an earlier fragment.
    scratch: Vec<u8>,
    /// Bytes of earlier fragments.
    base: usize,
    key: usize,
    start: usize,
    trailing: bool,
}

impl<M: Copy> Scanner<M> {
    /// A scanner that compares member names as they are written: what providers' serializers
    /// emit, and what a search for the same bytes finds.
    pub(crate) fn new(root: &'static Node<M>) -> Self {
        Self {
            root,
            unescape_keys: false,
            state: State::Value { may_close: false },
            current: Some(root),
            frames: [None; WALK_DEPTH],
            depth: 0,
            skipping: Skipping::default(),
            escaped: false,
            scratch: Vec::new(),
            base: 0,
            key: 0,
            start: 0,
            trailing: false,
        }
    }

    /// A scanner that unescapes member names first: a client must not hide `model` from the
    /// rules by writing `mod\u0065l`.
    pub(crate) fn unescaping(root: &'static Node<M>) -> Self {
        Self {
            unescape_keys: true,
            ..Self::new(root)
        }
    }

    /// Ready for another document; keeps its buffer.
    pub(crate) fn reset(&mut self) {
        self.state = State::Value { may_close: false };
        self.current = Some(self.root);
        self.depth = 0;
        self.escaped = false;
        self.scratch.clear();
        self.base = 0;
        self.trailing = false;
    }

    /// Something other than whitespace follows the document.
    pub(crate) fn trailing(&self) -> bool {
        self.trailing
    }

    pub(crate) fn progress(&self) -> Progress {
        match self.state {
            State::Done => Progress::Done,
            State::Broken => Progress::Broken,
            State::Value { .. } if self.depth == 0 => Progress::Empty,
            _ => Progress::Inside,
        }
    }

    /// The marked string under way, and where it began.
    pub(crate) fn open_string(&self) -> Option<(M, usize)> {
        let mark = self.current?.mark?;
        (self.state == State::InString).then_some((mark, self.start))
    }

    pub(crate) fn retained_bytes(&self) -> usize {
        self.scratch.capacity()
    }

    /// Reads the next fragment.
    pub(crate) fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink<M>) {
        let read = self.feed_document(bytes, sink);
        if self.state == State::Done {
            self.trailing |= bytes[read..].iter().any(|byte| !is_blank(*byte));
        }
        self.base += bytes.len() - read;
    }

    /// Reads the next fragment up to the document's end in it, and returns how much that was. What
    /// is no JSON is not read on.
    pub(crate) fn feed_document(&mut self, bytes: &[u8], sink: &mut impl Sink<M>) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Skip => self.skip(bytes, at, sink),
                State::InString => self.in_string(bytes, at, sink),
                State::InKey => self.in_key(bytes, at, sink),
                State::InLiteral => self.in_literal(bytes, at, sink),
                State::Broken | State::Done => break,
                _ => self.structure(bytes, at, sink),
            };
        }
        self.base += at;
        at
    }

    /// One byte between tokens.
    fn structure(&mut self, bytes: &[u8], at: usize, sink: &mut impl Sink<M>) -> usize {
        let byte = bytes[at];
        if is_blank(byte) {
            return at + 1;
        }
        match (self.state, byte) {
            (State::Key { .. }, b'"') => {
                return self.key(bytes, at, sink);
            }
            (State::Colon, b':') => self.state = State::Value { may_close: false },
            (State::AfterValue, b',') => {
                self.state = if self.frame().is_some_and(|frame| frame.array) {
                    self.expect_element();
                    State::Value { may_close: false }
                } else if bytes.get(at + 1) == Some(&b'"') {
                    // From one member to the next without a turn for each token.
                    return self.key(bytes, at + 1, sink);
                } else {
                    State::Key { may_close: false }
                };
            }
            (State::Key { may_close: true } | State::AfterValue, b'}') => {
                self.close(at, false, sink);
            }
            (State::Value { may_close: true } | State::AfterValue, b']') => {
                self.close(at, true, sink);
            }
            (State::Value { .. }, _) => {
                if self.frame().is_none_or(|frame| frame.array) {
                    self.key = self.base + at;
                    self.note_member();
                }
                return self.value(bytes, at, sink);
            }
            _ => self.state = State::Broken,
        }
        at + 1
    }

    fn frame(&mut self) -> Option<&mut Frame<M>> {
        self.frames
            .get_mut(self.depth.checked_sub(1)?)
            .and_then(Option::as_mut)
    }

    fn note_member(&mut self) {
        if let Some(frame) = self.frame() {
            frame.empty = false;
        }
    }

    /// The next value is an element of the innermost array.
    fn expect_element(&mut self) {
        self.current = self.frame().and_then(|frame| frame.node.each);
    }

    fn value(&mut self, bytes: &[u8], at: usize, sink: &mut impl Sink<M>) -> usize {
        self.start = self.base + at;
        match bytes[at] {
            b'"' => {
                self.state = State::InString;
                self.escaped = false;
                // The opening quote belongs to the token, not to the text searched for its end.
                self.string_rest(bytes, at, at + 1, sink)
            }
            opening @ (b'{' | b'[') => {
                self.open(opening == b'[', sink);
                at + 1
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.state = State::InLiteral;
                self.in_literal(bytes, at, sink)
            }
            _ => {
                self.state = State::Broken;
                at
            }
        }
    }

    fn open(&mut self, array: bool, sink: &mut impl Sink<M>) {
        let mark = self.current.and_then(|node| node.mark);
        if let Some(mark) = mark {
            sink.open(mark, self.start, array);
        }
        let walked = self.current.filter(|node| {
            self.depth < WALK_DEPTH
                && if array {
                    node.each.is_some()
                } else {
                    !node.fields.is_empty()
                }
        });
        let Some(node) = walked else {
            self.skipping = Skipping {
                peeking: mark.is_some(),
                ..Skipping::default()
            };
            self.skipping.enter(array);
            self.state = State::Skip;
            return;
        };
        self.frames[self.depth] = Some(Frame {
            node,
            array,
            empty: true,
            key: self.key,
            start: self.start,
        });
        self.depth += 1;
        self.state = if array {
            self.expect_element();
            State::Value { may_close: true }
        } else {
            State::Key { may_close: true }
        };
    }

    fn close(&mut self, at: usize, array: bool, sink: &mut impl Sink<M>) {
        let Some(frame) = self.frame().map(|frame| *frame) else {
            self.state = State::Broken;
            return;
        };
        if frame.array != array {
            self.state = State::Broken;
            return;
        }
        self.depth -= 1;
        if let Some(mark) = frame.node.mark {
            let place = Place {
                key: frame.key,
                start: frame.start,
                end: self.base + at + 1,
            };
            sink.close(mark, place, frame.empty);
        }
        self.after_value();
    }

    fn after_value(&mut self) {
        self.state = if self.depth == 0 {
            State::Done
        } else {
            State::AfterValue
        };
    }

    /// A member name begins at `at`.
    #[inline]
    fn key(&mut self, bytes: &[u8], at: usize, sink: &mut impl Sink<M>) -> usize {
        self.key = self.base + at;
        self.note_member();
        self.state = State::InKey;
        self.in_key(bytes, at + 1, sink)
    }

    /// Inside a member name; `at` is past its opening quote.
    #[inline]
    fn in_key(&mut self, bytes: &[u8], at: usize, sink: &mut impl Sink<M>) -> usize {
        let Some(end) = string_end(&bytes[at..], &mut self.escaped) else {
            keep(&mut self.scratch, &bytes[at..], KEY_MAX + 1);
            return bytes.len();
        };
        let end = at + end;
        let text = &bytes[at..end - 1];
        let node = self.frame().map(|frame| frame.node);
        self.current = if self.scratch.is_empty() {
            node.and_then(|node| named(node, text, self.unescape_keys))
        } else {
            keep(&mut self.scratch, text, KEY_MAX + 1);
            let found = node.and_then(|node| named(node, &self.scratch, self.unescape_keys));
            self.scratch.clear();
            found
        };
        if bytes.get(end) == Some(&b':') {
            self.state = State::Value { may_close: false };
            let next = end + 1 + usize::from(bytes.get(end + 1) == Some(&b' '));
            return match bytes.get(next) {
                Some(byte) if !is_blank(*byte) => self.value(bytes, next, sink),
                _ => next,
            };
        }
        self.state = State::Colon;
        end
    }

    /// Inside a string value; `at` is the first byte of this fragment.
    fn in_string(&mut self, bytes: &[u8], at: usize, sink: &mut impl Sink<M>) -> usize {
        self.string_rest(bytes, at, at, sink)
    }

    fn string_rest(
        &mut self,
        bytes: &[u8],
        token: usize,
        text: usize,
        sink: &mut impl Sink<M>,
    ) -> usize {
        let end = string_end(&bytes[text..], &mut self.escaped).map(|end| text + end);
        if let Some(mark) = self.current.and_then(|node| node.mark) {
            self.scalar_piece(&bytes[token..end.unwrap_or(bytes.len())], end, mark, sink);
        }
        if end.is_some() {
            self.after_value();
        }
        end.unwrap_or(bytes.len())
    }

    /// Hands a scalar out when it is complete (`end`, in this fragment), else keeps its piece.
    fn scalar_piece(&mut self, piece: &[u8], end: Option<usize>, mark: M, sink: &mut impl Sink<M>) {
        let Some(end) = end else {
            keep(&mut self.scratch, piece, SCALAR_MAX);
            return;
        };
        let place = Place {
            key: self.key,
            start: self.start,
            end: self.base + end,
        };
        if self.scratch.is_empty() {
            sink.scalar(mark, &piece[..piece.len().min(SCALAR_MAX)], place);
        } else {
            keep(&mut self.scratch, piece, SCALAR_MAX);
            sink.scalar(mark, &self.scratch, place);
            self.scratch.clear();
        }
    }

    fn in_literal(&mut self, bytes: &[u8], at: usize, sink: &mut impl Sink<M>) -> usize {
        let end = literal_end(&bytes[at..]).map(|length| at + length);
        let piece = &bytes[at..end.unwrap_or(bytes.len())];
        if let Some(mark) = self.current.and_then(|node| node.mark) {
            self.scalar_piece(piece, end, mark, sink);
        }
        if end.is_some() {
            self.after_value();
        }
        end.unwrap_or(bytes.len())
    }

    /// Inside a container nobody looks into.
    fn skip(&mut self, bytes: &[u8], from: usize, sink: &mut impl Sink<M>) -> usize {
        let mut at = from;
        if self.skipping.peeking {
            let blank = bytes[at..].iter().position(|byte| !is_blank(*byte));
            let Some(blank) = blank else {
                return bytes.len();
            };
            at += blank;
            self.skipping.peeking = false;
            self.skipping.empty = matches!(bytes[at], b'}' | b']');
        }
        // Held apart from `self` while it changes with every token.
        let mut skipping = self.skipping;
        let end = loop {
            if skipping.in_string {
                let Some(end) = string_end(&bytes[at..], &mut self.escaped) else {
                    break None;
                };
                at += end;
                skipping.in_string = false;
            }
            let Some(offset) = next_bracket_or_quote(&bytes[at..]) else {
                break None;
            };
            at += offset + 1;
            match bytes[at - 1] {
                b'"' => {
                    skipping.in_string = true;
                    self.escaped = false;
                }
                opening @ (b'{' | b'[') => skipping.enter(opening == b'['),
                closing => {
                    if !skipping.leave(closing == b']') {
                        self.state = State::Broken;
                        break Some(at);
                    }
                    if skipping.depth == 0 {
                        if let Some(mark) = self.current.and_then(|node| node.mark) {
                            let place = Place {
                                key: self.key,
                                start: self.start,
                                end: self.base + at,
                            };
                            sink.close(mark, place, skipping.empty);
                        }
                        self.after_value();
                        break Some(at);
                    }
                }
            }
        };
        self.skipping = skipping;
        end.unwrap_or(bytes.len())
    }
}

fn named<M>(node: &Node<M>, text: &[u8], unescape: bool) -> Option<&'static Node<M>> {
    if text.len() > KEY_MAX {
        return None;
    }
    let found = node.field(text);
    if found.is_none() && unescape && memchr(b'\\', text).is_some() {
        let name = text::unescape(text, KEY_MAX);
        return node.field(name.as_bytes());
    }
    found
}
