//! What one message says. Each is a JSON event with a `type`; the places that matter are the API's
//! own, and what an event that cannot matter holds is not looked at once its type is known.

use std::str::FromStr;
use std::sync::Arc;
use std::vec::Drain;

use super::super::api::{Asked, Conventions, Live, Said, Turn};
use super::super::bounds::{dearer_tier, is_run_by_client};
use super::super::captured::Captured;
use super::super::json::{Node, Place, Progress, Scanner, Sink};
use super::super::reading::Reading;
use super::super::route::Operation;
use super::super::text;
use super::frames::Reader;
use super::{Advance, Create, Told};
use crate::record::{Api, LimitKind};

/// Longest id, model or end user that is kept.
const NAME_MAX: usize = 256;
/// Limits that one event may state; there are two kinds.
const LIMITS_MAX: usize = 8;

/// Reads the client's events.
#[derive(Debug)]
pub(super) struct ClientReader {
    api: Api,
    scanner: Scanner<Asked>,
    event: ClientEvent,
    created: Vec<Create>,
    /// Whether an event is passed over once its type says that it cannot matter. Of two types the
    /// last one counts for an upstream: only where nothing depends on it.
    skips: bool,
}

#[derive(Debug)]
struct ClientEvent {
    api: Api,
    kind: String,
    create: Create,
    user: Option<Box<str>>,
}

impl ClientEvent {
    fn of(api: Api) -> Self {
        Self {
            api,
            kind: String::new(),
            create: Create::default(),
            user: None,
        }
    }

    fn can_matter(&self) -> bool {
        self.kind.is_empty() || self.kind == "response.create"
    }
}

impl ClientReader {
    pub(super) fn new(api: Api, event: &'static Node<Asked>, skips: bool) -> Self {
        Self {
            api,
            scanner: Scanner::unescaping(event),
            event: ClientEvent::of(api),
            created: Vec::new(),
            skips,
        }
    }

    /// What was asked for since this was last called.
    pub(super) fn take(&mut self) -> Drain<'_, Create> {
        self.created.drain(..)
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.scanner.retained_bytes() + self.event.kind.capacity()
    }
}

impl Reader for ClientReader {
    fn piece(&mut self, piece: &[u8]) -> bool {
        self.scanner.feed(piece, &mut self.event);
        (!self.skips || self.event.can_matter()) && self.scanner.progress() != Progress::Broken
    }

    fn end(&mut self, bytes: u64) {
        self.scanner.reset();
        let event = std::mem::replace(&mut self.event, ClientEvent::of(self.api));
        if event.kind == "response.create" {
            let mut create = event.create;
            create.bytes = bytes;
            create.end_user = create.end_user.or(event.user);
            self.created.push(create);
        }
    }
}

impl Sink<Asked> for ClientEvent {
    fn scalar(&mut self, mark: Asked, token: &[u8], _place: Place) {
        let name = || {
            token
                .starts_with(b"\"")
                .then(|| text::whole(token, NAME_MAX))
                .flatten()
        };
        match mark {
            Asked::Kind => text::read_into(&mut self.kind, token, NAME_MAX),
            Asked::EventId => self.create.event_id = name(),
            Asked::Lane => self.create.lane = name(),
            Asked::Model => self.create.model = name(),
            Asked::SafetyIdentifier => self.create.end_user = name(),
            Asked::User => self.user = name(),
            Asked::ServiceTier => {
                if let Some(stated) = name() {
                    let before = self.create.service_tier.take();
                    self.create.service_tier = dearer_tier(before, &stated);
                }
            }
            Asked::MaxOutputTokens => {
                // Of two the larger: which of them counts is the provider's choice.
                let before = self.create.max_output_tokens;
                self.create.max_output_tokens = before.max(text::count(token));
            }
            Asked::Tool => {
                let client = name().is_some_and(|kind| is_run_by_client(self.api, &kind));
                self.create.endless |= !client;
            }
            _ => {}
        }
    }

    fn open(&mut self, mark: Asked, _start: usize, _array: bool) {
        self.create.endless |= mark == Asked::Endless;
    }

    fn close(&mut self, _mark: Asked, _place: Place, _empty: bool) {}
}

/// Reads the upstream's events.
#[derive(Debug)]
pub(super) struct UpstreamReader {
    scanner: Scanner<Said>,
    reading: Reading,
    live: LivePlaces,
    told: Vec<Told>,
}

/// The places of an event that answers and streams over HTTP do not have.
#[derive(Debug, Default)]
struct LivePlaces {
    response_id: Repeated,
    lane: Repeated,
    item_id: Repeated,
    event_id: Option<Box<str>>,
    session_model: Option<Box<str>>,
    transcription_model: Option<Box<str>>,
    status: Option<u16>,
    limit: (Option<LimitKind>, Option<u64>),
    limits: Vec<(LimitKind, Option<u64>)>,
}

impl LivePlaces {
    fn clear(&mut self) {
        let Self {
            response_id,
            lane,
            item_id,
            event_id,
            session_model,
            transcription_model,
            status,
            limit,
            limits,
        } = self;
        for name in [response_id, lane, item_id] {
            name.text.clear();
        }
        for name in [event_id, session_model, transcription_model] {
            *name = None;
        }
        *status = None;
        *limit = (None, None);
        limits.clear();
    }

    fn retained_bytes(&self) -> usize {
        [&self.response_id, &self.lane, &self.item_id]
            .into_iter()
            .map(|name| name.text.capacity() + name.shared.as_deref().map_or(0, str::len))
            .sum()
    }
}

/// A name that one event after the other repeats: memory is taken only for another one.
#[derive(Debug, Default)]
struct Repeated {
    /// As the present event has it.
    text: String,
    /// As the last event that had one was told.
    shared: Option<Arc<str>>,
}

impl Repeated {
    fn read(&mut self, token: &[u8]) {
        text::read_into(&mut self.text, token, NAME_MAX + 1);
        if self.text.len() > NAME_MAX {
            self.text.clear();
        }
    }

    fn name(&mut self) -> Option<Arc<str>> {
        if self.text.is_empty() {
            return None;
        }
        if self.shared.as_deref() != Some(&self.text) {
            self.shared = Some(Arc::from(self.text.as_str()));
        }
        self.shared.clone()
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Session,
    Response,
    Transcription(Advance),
    Error,
    RateLimits,
    Nothing,
}

impl Subject {
    fn of(kind: &str) -> Self {
        const TRANSCRIPTION: &str = "conversation.item.input_audio_transcription.";
        match kind {
            "session.created"
            | "session.updated"
            | "transcription_session.created"
            | "transcription_session.updated" => Self::Session,
            "error" => Self::Error,
            "rate_limits.updated" => Self::RateLimits,
            // Whether a response takes more input while it is made is no end of it.
            kind if kind.starts_with("response.steer.") => Self::Nothing,
            kind if kind.starts_with("response.") => Self::Response,
            kind => match kind.strip_prefix(TRANSCRIPTION) {
                Some("completed" | "failed") => Self::Transcription(Advance::Ended),
                Some("delta") => Self::Transcription(Advance::UnderWay),
                _ => Self::Nothing,
            },
        }
    }
}

impl UpstreamReader {
    pub(super) fn new(conventions: &'static Conventions) -> Self {
        Self {
            scanner: Scanner::new(conventions.event),
            reading: Reading::new(conventions, Operation::Create, false),
            live: LivePlaces::default(),
            told: Vec::new(),
        }
    }

    /// What was told since this was last called.
    pub(super) fn take(&mut self) -> Drain<'_, Told> {
        self.told.drain(..)
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.scanner.retained_bytes() + self.reading.retained_bytes() + self.live.retained_bytes()
    }

    /// What the event said, all of it having been read.
    fn event(&mut self, bytes: u64) -> Option<Told> {
        let kind = self.reading.captured.kind();
        let subject = Subject::of(kind);
        let turn = (self.reading.conventions.turn)(kind);
        let failed = turn == Turn::Failure
            || turn == Turn::End && self.reading.captured.has_failed()
            || matches!(subject, Subject::Transcription(_)) && kind.ends_with(".failed");
        let begun = kind == "response.created";
        let captured = &self.reading.captured;
        let content = captured.has_content();
        let goes_on = turn == Turn::On && !begun && !failed && subject != Subject::Error;
        let ends = matches!(subject, Subject::Transcription(Advance::Ended));
        // Nearly every event is a piece of content, and states nothing else.
        let states_more = !goes_on || ends || states_something(captured);
        let live = &mut self.live;
        match subject {
            Subject::Session => {
                return Some(Told::Session {
                    model: live.session_model.take(),
                    transcription_model: live.transcription_model.take(),
                });
            }
            Subject::RateLimits => return Some(Told::RateLimits(std::mem::take(&mut live.limits))),
            Subject::Nothing => return None,
            _ => {}
        }
        if subject == Subject::Error {
            return Some(Told::Error {
                lane: live.lane.name(),
                event_id: live.event_id.take(),
                status: live.status,
                observed: Box::new(self.reading.take_event(failed)),
                bytes,
            });
        }
        if !captured.id.is_empty() {
            live.response_id.text.clone_from(&captured.id);
        }
        let observed = states_more.then(|| Box::new(self.reading.take_event(failed)));
        Some(match subject {
            Subject::Transcription(advance) => Told::Transcription {
                item_id: live.item_id.name(),
                advance,
                content,
                observed,
                bytes,
            },
            _ => Told::Response {
                id: live.response_id.name(),
                lane: live.lane.name(),
                advance: match turn {
                    Turn::On if begun => Advance::Begun,
                    Turn::On => Advance::UnderWay,
                    _ => Advance::Ended,
                },
                content,
                observed,
                bytes,
            },
        })
    }
}

impl Reader for UpstreamReader {
    fn piece(&mut self, piece: &[u8]) -> bool {
        let mut places = Places {
            captured: &mut self.reading.captured,
            live: &mut self.live,
        };
        self.scanner.feed(piece, &mut places);
        let kind = self.reading.captured.kind();
        let can_matter = kind.is_empty() || Subject::of(kind) != Subject::Nothing;
        can_matter && self.scanner.progress() != Progress::Broken
    }

    fn end(&mut self, bytes: u64) {
        // Of an event that is no JSON to its end, what was read may be half of a number.
        if self.scanner.progress() == Progress::Done {
            let told = self.event(bytes);
            self.told.extend(told);
        }
        self.scanner.reset();
        self.reading.captured.clear();
        self.live.clear();
    }
}

/// Whether an event states anything of what is made but its content.
fn states_something(captured: &Captured) -> bool {
    let names = [&captured.model, &captured.id, &captured.service_tier];
    captured.counts() || captured.error || names.into_iter().any(|name| !name.is_empty())
}

/// Both kinds of places of one event.
struct Places<'p> {
    captured: &'p mut Captured,
    live: &'p mut LivePlaces,
}

impl Sink<Said> for Places<'_> {
    fn scalar(&mut self, mark: Said, token: &[u8], place: Place) {
        let Said::Live(mark) = mark else {
            self.captured.scalar(mark, token, place);
            return;
        };
        let name = || text::whole(token, NAME_MAX);
        let live = &mut *self.live;
        match mark {
            Live::ResponseId => live.response_id.read(token),
            Live::Lane => live.lane.read(token),
            Live::ItemId => live.item_id.read(token),
            Live::EventId => live.event_id = name(),
            Live::SessionModel => live.session_model = name(),
            Live::TranscriptionModel => live.transcription_model = name(),
            Live::Status => live.status = text::count(token).and_then(|code| code.try_into().ok()),
            Live::LimitName => {
                live.limit.0 = name().and_then(|name| LimitKind::from_str(&name).ok());
            }
            Live::LimitRemaining => live.limit.1 = text::count(token),
            Live::Limit => {}
        }
    }

    fn open(&mut self, mark: Said, start: usize, array: bool) {
        match mark {
            Said::Live(_) => self.live.limit = (None, None),
            mark => self.captured.open(mark, start, array),
        }
    }

    fn close(&mut self, mark: Said, place: Place, empty: bool) {
        match mark {
            Said::Live(Live::Limit) => {
                if let (Some(kind), remaining) = self.live.limit
                    && self.live.limits.len() < LIMITS_MAX
                {
                    self.live.limits.push((kind, remaining));
                }
            }
            Said::Live(_) => {}
            mark => self.captured.close(mark, place, empty),
        }
    }
}
