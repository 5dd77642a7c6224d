//! The texts of a request and of an answer, for a count of Tollgate's own.
//!
//! Nothing here runs unless an estimate is needed, but the keeping of a [`Sample`]: the first
//! [`SAMPLE_MAX`] bytes of an answer's content, and how many there were in all. What is not in the
//! sample counts in proportion. Of a long request some windows are counted, evenly spaced, and the
//! rest in proportion too. So an estimate takes a bounded time whatever the texts are.
//!
//! Only what is text counts: images, audio and files, which stand in a body as long runs of
//! base64 or as URLs, have token counts that no tokenizer knows.

mod strings;

use std::ops::Range;

use super::api::{Said, conventions};
use super::json::{Node, Place, Scanner, Sink};
use crate::record::Api;
use strings::{Size, Windows, strings};
pub(super) use strings::{next_mark, string_length};

/// Most bytes of an answer that are kept.
const SAMPLE_MAX: usize = 4 * 1024;

/// What chat models add to each message, its role included, in tokens (OpenAI Cookbook, "How to
/// count tokens with tiktoken").
const TOKENS_A_MESSAGE: u64 = 4;

/// Where an API's requests and answers have their texts.
#[derive(Debug)]
pub(super) struct Words {
    /// The members of a request that a model reads.
    pub(super) request: &'static Node<Part>,
    /// The members of a JSON answer that a model wrote; `None` where none has a text.
    pub(super) answer: Option<&'static Node<Part>>,
    /// Whether events of that name (empty where they have none) may bring content.
    pub(super) brings_content: fn(name: &[u8]) -> bool,
}

/// What the strings of a place are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What somebody says: values count, names of members do not.
    Talk,
    /// The description of a tool: names of members count too.
    Schema,
}

/// Events are not told apart by their names.
pub(super) fn any_event(_name: &[u8]) -> bool {
    true
}

/// Whether requests of `api` have texts whose tokens can be counted.
#[must_use]
pub fn reads_text(api: Api) -> bool {
    conventions(api).words.is_some()
}

/// Whether answers of `api` have texts whose tokens can be counted.
#[must_use]
pub fn writes_text(api: Api) -> bool {
    conventions(api)
        .words
        .is_some_and(|words| words.answer.is_some())
}

/// What is counted of a request's texts: a bounded part of them, evenly spaced.
#[derive(Debug)]
pub struct RequestText {
    texts: String,
    /// Where each text in it ends.
    ends: Vec<usize>,
    /// Bytes of the texts in the request, and of those that are counted.
    all: u64,
    counted: u64,
    messages: u64,
}

impl RequestText {
    /// Out of a request's body; `None` when the texts of the API's requests are not known. Takes
    /// time in proportion to the body.
    #[must_use]
    pub fn of(api: Api, body: &[u8]) -> Option<Self> {
        let words = conventions(api).words?;
        let places = places(words.request, body);
        let mut size = Size::default();
        for (part, place) in &places {
            strings(&body[place.clone()], *part, &mut size);
        }
        let (mut texts, mut ends) = (String::new(), Vec::new());
        let keep = &mut |text: &str| {
            texts.push_str(text);
            ends.push(texts.len());
            0
        };
        let mut windows = Windows::over(size.bytes, keep);
        for (part, place) in &places {
            strings(&body[place.clone()], *part, &mut windows);
        }
        windows.flush();
        let counted = windows.counted;
        Some(Self {
            texts,
            ends,
            all: size.bytes,
            counted,
            messages: size.messages,
        })
    }

    /// Tollgate's own count of the tokens of the request, by `count`.
    #[must_use]
    pub fn count(&self, count: &mut dyn FnMut(&str) -> u64) -> u64 {
        let mut start = 0;
        let mut tokens = 0;
        for &end in &self.ends {
            tokens += count(&self.texts[start..end]);
            start = end;
        }
        proportion(tokens, self.all, self.counted) + self.messages * TOKENS_A_MESSAGE
    }
}

/// The content of an answer as far as it was kept.
#[derive(Debug)]
pub struct AnswerText {
    api: Api,
    events: bool,
    kept: Vec<u8>,
    bytes: u64,
}

impl AnswerText {
    /// Bytes of content that passed, with the JSON around it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether what a model thought, where it is told, is part of what is counted here: of the
    /// provider's stated output it is then.
    #[must_use]
    pub fn may_show_reasoning(&self) -> bool {
        conventions(self.api)
            .usage
            .is_some_and(|shape| shape.output_includes_reasoning)
    }

    /// Tollgate's own count of the tokens in the first `bytes` of the content, by `count`.
    #[must_use]
    pub fn count_first(&self, bytes: u64, count: &mut dyn FnMut(&str) -> u64) -> u64 {
        let bytes = bytes.min(self.bytes);
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        let kept = &self.kept[..length.min(self.kept.len())];
        proportion(self.count_in(kept, count), bytes, kept.len() as u64)
    }

    fn count_in(&self, kept: &[u8], count: &mut dyn FnMut(&str) -> u64) -> u64 {
        let Some(words) = conventions(self.api).words else {
            return 0;
        };
        let mut windows = Windows::joining(count);
        if self.events {
            let mut event = EventText {
                places: Vec::new(),
                open: None,
            };
            let mut scanner = Scanner::new(conventions(self.api).event);
            for line in kept.split(|&byte| byte == b'\n') {
                scanner.reset();
                event.places.clear();
                event.open = None;
                scanner.feed(line, &mut event);
                if let Some((Said::Content, start)) = scanner.open_string() {
                    event.open.get_or_insert(start);
                }
                event.cut(line.len());
                for place in &event.places {
                    strings(&line[place.clone()], Part::Talk, &mut windows);
                }
            }
        } else if let Some(answer) = words.answer {
            for (part, place) in places(answer, kept) {
                strings(&kept[place], part, &mut windows);
            }
        }
        windows.tokens_in_all()
    }
}

/// `tokens` of `counted` bytes, taken to `all` bytes.
fn proportion(tokens: u64, all: u64, counted: u64) -> u64 {
    if counted == 0 || all <= counted {
        return tokens;
    }
    let scaled = u128::from(tokens) * u128::from(all) / u128::from(counted);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The beginning of an answer's content, kept while it passes.
#[derive(Debug, Default)]
pub(super) struct Sample {
    kept: Vec<u8>,
    /// Bytes of content in all.
    bytes: u64,
    /// Where the event under way began, while it comes in pieces.
    begun: Option<(usize, u64)>,
}

impl Sample {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// A piece of content; `\n` in it separates events.
    #[inline]
    pub(super) fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        if self.kept.len() < SAMPLE_MAX {
            self.keep(piece);
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.kept.capacity() == 0 {
            // Once and exactly: most answers fill it.
            self.kept.reserve_exact(SAMPLE_MAX);
        }
        let room = SAMPLE_MAX - self.kept.len();
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// A whole event.
    #[inline]
    pub(super) fn event(&mut self, data: &[u8]) {
        self.add(data);
        self.separate();
    }

    fn separate(&mut self) {
        self.bytes += 1;
        if self.kept.len() < SAMPLE_MAX {
            self.kept.push(b'\n');
        }
    }

    /// An event begins that comes in pieces.
    pub(super) fn event_begins(&mut self) {
        self.begun = Some((self.kept.len(), self.bytes));
    }

    /// It ended; only `content` is kept.
    pub(super) fn event_ends(&mut self, content: bool) {
        let Some((kept, bytes)) = self.begun.take() else {
            return;
        };
        if content {
            self.separate();
        } else {
            self.kept.truncate(kept);
            self.bytes = bytes;
        }
    }

    pub(super) fn take(&mut self, api: Api, events: bool) -> AnswerText {
        AnswerText {
            api,
            events,
            kept: std::mem::take(&mut self.kept),
            bytes: self.bytes,
        }
    }
}

/// The marked places of a document, also one that is cut off inside of the last.
fn places(root: &'static Node<Part>, document: &[u8]) -> Vec<(Part, Range<usize>)> {
    let mut found = Places::default();
    let mut scanner = Scanner::unescaping(root);
    scanner.feed(document, &mut found);
    if let Some((part, start)) = found.open {
        found.places.push((part, start..document.len()));
    }
    found.places
}

#[derive(Default)]
struct Places {
    places: Vec<(Part, Range<usize>)>,
    open: Option<(Part, usize)>,
}

/// A document that names a member again and again is somebody's joke.
const PLACES_MAX: usize = 256;

impl Sink<Part> for Places {
    fn scalar(&mut self, mark: Part, _token: &[u8], place: Place) {
        if self.places.len() < PLACES_MAX {
            self.places.push((mark, place.start..place.end));
        }
    }

    fn open(&mut self, mark: Part, start: usize, _array: bool) {
        self.open = Some((mark, start));
    }

    fn close(&mut self, mark: Part, place: Place, _empty: bool) {
        self.open = None;
        self.scalar(mark, &[], place);
    }
}

/// The content of one event.
struct EventText {
    places: Vec<Range<usize>>,
    open: Option<usize>,
}

impl EventText {
    /// The line ended; content that was open goes up to there.
    fn cut(&mut self, end: usize) {
        if let Some(start) = self.open.take() {
            self.places.push(start..end);
        }
    }
}

impl Sink<Said> for EventText {
    fn scalar(&mut self, mark: Said, _token: &[u8], place: Place) {
        if mark == Said::Content {
            self.places.push(place.start..place.end);
        }
    }

    fn open(&mut self, mark: Said, start: usize, _array: bool) {
        if mark == Said::Content {
            self.open = Some(start);
        }
    }

    fn close(&mut self, mark: Said, place: Place, _empty: bool) {
        if mark == Said::Content {
            self.open = None;
            self.places.push(place.start..place.end);
        }
    }
}
