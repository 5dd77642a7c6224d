//! The plain bytes of an answer: one JSON document, several in lines, or an event stream.

use super::api::{Also, Conventions, REFUSAL, Said};
use super::headers::MediaType;
use super::json::{Progress, Scanner};
use super::meter::ResponseKind;
use super::observed::MissingReason;
use super::reading::Reading;
use super::route::Operation;
use super::sse::{EventReader, EventSink};
use super::words::AnswerText;

const DONE: &[u8] = b"[DONE]";

/// A body under way.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) reading: Reading,
    framing: Framing,
    refused: bool,
    /// Content is sampled.
    samples: bool,
}

#[derive(Debug)]
enum Framing {
    /// Not known from the header: the first byte that is no whitespace tells.
    Unknown,
    Json(Scanner<Said>),
    /// An array of answers, each of them as good as an event.
    Answers(Answers),
    Events(Events),
    /// A document a line.
    Lines(Scanner<Said>),
    /// Neither: nothing to read in it.
    Opaque,
}

#[derive(Debug)]
struct Answers {
    scanner: Scanner<Said>,
    place: Place,
}

/// Where in the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before it.
    Outside,
    /// Before an answer or the end.
    Between,
    Answer,
    /// Behind it, or where something stands that belongs in no array of answers.
    Over,
}

#[derive(Debug)]
struct Events {
    reader: EventReader,
    event: Event,
}

/// The event under way, when it is read in pieces.
#[derive(Debug)]
struct Event {
    scanner: Scanner<Said>,
    /// `data` lines begun.
    lines: usize,
    /// How much of `[DONE]` was matched; `None` once the payload is something else.
    done: Option<usize>,
}

impl Body {
    /// A body of the given kind, the answer to such a call.
    pub(super) fn new(
        conventions: &'static Conventions,
        operation: Operation,
        kind: ResponseKind<'_>,
    ) -> Self {
        let refused = kind.status >= 400;
        let results = conventions.making.results;
        let framing = match MediaType::of(kind.content_type) {
            // A part of them (206) is no sum.
            _ if operation == Operation::Results && kind.status == 200 => results
                .map_or(Framing::Opaque, |results| {
                    Framing::Lines(Scanner::new(results.line))
                }),
            MediaType::EventStream => Framing::events(conventions),
            MediaType::Json if conventions.also == Also::Arrays && !refused => Framing::Unknown,
            MediaType::Json => Framing::json(conventions, refused),
            MediaType::Other => Framing::Unknown,
        };
        let reading = Reading::new(conventions, operation, refused);
        Self {
            samples: reading.samples(),
            reading,
            framing,
            refused,
        }
    }

    pub(super) fn feed(&mut self, plain: &[u8]) {
        let mut plain = plain;
        if matches!(self.framing, Framing::Unknown) {
            let blank = plain
                .iter()
                .position(|byte| !byte.is_ascii_whitespace())
                .unwrap_or(plain.len());
            plain = &plain[blank..];
            let Some(&first) = plain.first() else {
                return;
            };
            self.framing = Framing::sniffed(first, self.reading.conventions, self.refused);
        }
        match &mut self.framing {
            Framing::Json(scanner) => {
                let before = scanner.progress();
                if self.samples {
                    self.reading.sample.add(plain);
                }
                scanner.feed(plain, &mut self.reading.captured);
                if before != Progress::Done && scanner.progress() == Progress::Done {
                    self.reading.answer_complete();
                }
            }
            Framing::Lines(scanner) => feed_lines(scanner, plain, &mut self.reading),
            Framing::Answers(answers) => {
                if self.samples {
                    self.reading.sample.add(plain);
                }
                answers.feed(plain, &mut self.reading);
            }
            Framing::Events(events) => {
                let mut pass = Pass {
                    event: &mut events.event,
                    reading: &mut self.reading,
                    samples: self.samples,
                };
                events.reader.feed(plain, &mut pass);
            }
            Framing::Unknown | Framing::Opaque => {}
        }
    }

    /// The body ended, whole or cut off.
    pub(super) fn finish(&mut self) {
        self.reading.ended = true;
        match &mut self.framing {
            Framing::Json(scanner) => self.reading.answer_ended(scanner.progress()),
            Framing::Lines(scanner) => {
                self.reading
                    .line_ended(scanner.progress(), scanner.trailing());
            }
            Framing::Answers(answers) => answers.finish(&mut self.reading),
            Framing::Events(events) => {
                let mut pass = Pass {
                    event: &mut events.event,
                    reading: &mut self.reading,
                    samples: self.samples,
                };
                events.reader.finish(&mut pass);
            }
            Framing::Unknown => {}
            Framing::Opaque if self.reading.conventions.also == Also::Opaque => {
                self.reading.note(MissingReason::NoUsageInBody);
            }
            Framing::Opaque => self.reading.note(MissingReason::Malformed),
        }
    }

    /// Hands out what was kept of the content; `None` where it cannot be told from the rest.
    pub(super) fn take_text(&mut self) -> Option<AnswerText> {
        let events = match self.framing {
            Framing::Events(_) => true,
            Framing::Json(_) | Framing::Answers(_) => false,
            _ => return None,
        };
        let readable = self.samples && self.reading.doubt != Some(MissingReason::Malformed);
        let api = self.reading.conventions.api;
        readable.then(|| self.reading.sample.take(api, events))
    }

    pub(super) fn retained_bytes(&self) -> usize {
        let framing = match &self.framing {
            Framing::Json(scanner) | Framing::Lines(scanner) => scanner.retained_bytes(),
            Framing::Answers(answers) => answers.scanner.retained_bytes(),
            Framing::Events(events) => {
                events.reader.retained_bytes() + events.event.scanner.retained_bytes()
            }
            Framing::Unknown | Framing::Opaque => 0,
        };
        framing + self.reading.retained_bytes()
    }
}

impl Framing {
    fn json(conventions: &'static Conventions, refused: bool) -> Self {
        let root = if refused {
            &REFUSAL
        } else {
            conventions.answer
        };
        Self::Json(Scanner::new(root))
    }

    fn events(conventions: &'static Conventions) -> Self {
        Self::Events(Events {
            reader: EventReader::new(),
            event: Event {
                scanner: Scanner::new(conventions.event),
                lines: 0,
                done: None,
            },
        })
    }

    /// By the first byte of the body that is no whitespace.
    fn sniffed(first: u8, conventions: &'static Conventions, refused: bool) -> Self {
        match first {
            b'[' if conventions.also == Also::Arrays && !refused => Self::Answers(Answers {
                scanner: Scanner::new(conventions.event),
                place: Place::Outside,
            }),
            b'{' => Self::json(conventions, refused),
            _ if conventions.also == Also::Opaque && !refused => Self::Opaque,
            b'[' => Self::json(conventions, refused),
            // A comment, or the first letter of data, event, id, retry; or a byte order mark.
            b':' | b'd' | b'e' | b'i' | b'r' | 0xEF => Self::events(conventions),
            _ => Self::Opaque,
        }
    }
}

impl Answers {
    fn feed(&mut self, plain: &[u8], reading: &mut Reading) {
        let mut at = 0;
        while at < plain.len() {
            match (self.place, plain[at]) {
                (Place::Over, _) => return,
                (Place::Answer, _) => {
                    at += self
                        .scanner
                        .feed_document(&plain[at..], &mut reading.captured);
                    match self.scanner.progress() {
                        Progress::Done => {
                            reading.event_complete(b"");
                            self.place = Place::Between;
                        }
                        Progress::Broken => {
                            reading.note(MissingReason::Malformed);
                            self.place = Place::Over;
                        }
                        Progress::Empty | Progress::Inside => {}
                    }
                    continue;
                }
                (Place::Outside, b'[') => self.place = Place::Between,
                (Place::Between, b']') => {
                    reading.observed.terminal_seen = true;
                    self.place = Place::Over;
                }
                (Place::Between, b'{') => {
                    self.scanner.reset();
                    reading.captured.clear();
                    self.place = Place::Answer;
                    continue;
                }
                (Place::Between, b',') => {}
                (_, byte) if byte.is_ascii_whitespace() => {}
                _ => {
                    reading.note(MissingReason::Malformed);
                    self.place = Place::Over;
                }
            }
            at += 1;
        }
    }

    /// The body ended: what an answer that is not whole stated was stated.
    fn finish(&mut self, reading: &mut Reading) {
        if self.place != Place::Over {
            reading.note(MissingReason::Truncated);
        }
        if self.place == Place::Answer {
            reading.event_complete(b"");
        }
    }
}

/// One fragment's way through lines of JSON. No line feed stands inside a document (RFC 8259 §7).
fn feed_lines(scanner: &mut Scanner<Said>, plain: &[u8], reading: &mut Reading) {
    for piece in plain.split_inclusive(|&byte| byte == b'\n') {
        scanner.feed(piece, &mut reading.captured);
        if piece.ends_with(b"\n") {
            reading.line_ended(scanner.progress(), scanner.trailing());
            scanner.reset();
            reading.captured.clear();
        }
    }
}

/// One fragment's way through the events.
struct Pass<'p> {
    event: &'p mut Event,
    reading: &'p mut Reading,
    samples: bool,
}

impl EventSink for Pass<'_> {
    fn whole(&mut self, name: &[u8], data: &[u8]) {
        if data.starts_with(DONE) {
            self.reading.observed.terminal_seen = true;
            return;
        }
        if self.reading.can_matter(name, data) {
            self.event.scanner.reset();
            self.reading.captured.clear();
            self.event.scanner.feed(data, &mut self.reading.captured);
            let progress = self.event.scanner.progress();
            self.reading.event_ended(name, progress);
        }
        if self.samples && self.reading.may_bring_content(name) {
            self.reading.sample.event(data);
        }
    }

    fn line(&mut self) {
        if self.event.lines == 0 {
            self.event.scanner.reset();
            self.reading.captured.clear();
            self.event.done = Some(0);
            if self.samples {
                self.reading.sample.event_begins();
            }
        } else {
            // Several lines are one payload, joined by line feeds.
            self.not_done();
            self.event.scanner.feed(b"\n", &mut self.reading.captured);
        }
        self.event.lines += 1;
    }

    fn data(&mut self, piece: &[u8]) {
        if self.samples {
            self.reading.sample.add(piece);
        }
        let mut piece = piece;
        while let Some(matched) = self.event.done {
            let Some(expected) = DONE.get(matched) else {
                return;
            };
            match piece.split_first() {
                None => return,
                Some((byte, rest)) if byte == expected => {
                    piece = rest;
                    self.event.done = Some(matched + 1);
                    // Clients act on this line without waiting for the blank one.
                    self.reading.observed.terminal_seen |= matched + 1 == DONE.len();
                }
                Some(_) => self.not_done(),
            }
        }
        let before = self.event.scanner.progress();
        self.event.scanner.feed(piece, &mut self.reading.captured);
        if before != Progress::Done && self.event.scanner.progress() == Progress::Done {
            self.reading.event_complete(b"");
        }
    }

    fn end(&mut self, name: &[u8]) {
        if self.event.lines == 0 {
            return;
        }
        self.event.lines = 0;
        if self.event.done == Some(DONE.len()) {
            self.reading.sample.event_ends(false);
            return;
        }
        self.not_done();
        let progress = self.event.scanner.progress();
        self.reading.event_ended(name, progress);
        let content = self.reading.may_bring_content(name);
        self.reading.sample.event_ends(content);
    }
}

impl Pass<'_> {
    /// What looked like `[DONE]` so far is the beginning of something else, unless it is whole.
    fn not_done(&mut self) {
        match self.event.done {
            Some(matched) if matched < DONE.len() => {
                self.event.done = None;
                self.event
                    .scanner
                    .feed(&DONE[..matched], &mut self.reading.captured);
            }
            _ => {}
        }
    }
}
