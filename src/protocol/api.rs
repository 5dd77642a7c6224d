//! One file per API. Each declares its provider's conventions, and nothing else knows them: which
//! paths are its own, what its requests say where, where its answers state what, and what a stated
//! number includes.

mod audio;
mod batches;
mod chat;
mod completions;
mod embeddings;
mod gemini;
mod images;
mod messages;
mod moderations;
mod realtime;
mod responses;
mod unread;

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::json::Node;
use super::usage::{Count, UsageShape};
use super::words::Words;
use crate::record::Api;

/// Everything that sets one API apart.
pub(super) struct Conventions {
    /// Whose they are.
    pub(super) api: Api,
    /// The paths below `/v1/` that are this API's, each with everything below it.
    pub(super) paths: &'static [&'static str],
    /// Those of its paths to which a POST makes something that is billed.
    pub(super) creates: &'static [&'static str],
    /// Whether streams state usage only when `stream_options.include_usage` asks for it.
    pub(super) usage_on_request: bool,
    /// A request body.
    pub(super) request: &'static Node<Asked>,
    /// A JSON answer, an error body included.
    pub(super) answer: &'static Node<Said>,
    /// The data of one server-sent event, or one answer of a streamed array.
    pub(super) event: &'static Node<Said>,
    /// What its good answers may be besides JSON and server-sent events.
    pub(super) also: Also,
    /// Once content was seen, only an event that holds one of these, with a value other than
    /// `null`, is looked into: every event that can still change what is known holds one.
    pub(super) needles: LazyLock<Vec<Finder<'static>>>,
    /// What an event's `type` (or name) says of the stream.
    pub(super) turn: fn(kind: &str) -> Turn,
    /// How its usage counts; `None` when it states none.
    pub(super) usage: Option<UsageShape>,
    /// How what it makes is told of later, by its id.
    pub(super) making: Making,
    /// Where its texts are, for a count of Tollgate's own; `None` when they make no tokens, or
    /// none that such a count could tell.
    pub(super) words: Option<&'static Words>,
}

/// What an answer may be besides one JSON document or server-sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Also {
    Nothing,
    /// A stream: one JSON array of answers.
    Arrays,
    /// Sound, subtitles, plain text.
    Opaque,
}

/// What is made in a while: its usage is told when somebody asks for it by its id.
pub(super) struct Making {
    /// Paths below which an id names something made: `responses` for `GET responses/resp_1`.
    pub(super) shown: &'static [&'static str],
    /// How far a `status` says it is.
    pub(super) stage: fn(status: &str) -> Stage,
    /// The tier that all of it is billed at.
    pub(super) service_tier: Option<&'static str>,
    /// Its results, where only those state usage: `GET messages/batches/msgbatch_1/results`.
    pub(super) results: Option<Results>,
}

/// Results in JSON lines, each with a usage of its own.
#[derive(Clone, Copy)]
pub(super) struct Results {
    /// The path below which an id and `results` name them.
    pub(super) path: &'static str,
    /// One line.
    pub(super) line: &'static Node<Said>,
    /// How its usage counts.
    pub(super) usage: UsageShape,
}

impl Making {
    /// Everything is made while the client waits.
    pub(super) const AT_ONCE: Self = Self {
        shown: &[],
        stage: |_| Stage::Done,
        service_tier: None,
        results: None,
    };
}

impl std::fmt::Debug for Conventions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conventions")
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

/// How far something is that is made in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is still being made.
    Pending,
    /// It is made, or given up: its usage is final.
    Done,
    /// Making it failed.
    Failed,
}

/// What one event means for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on.
    On,
    /// It ends well.
    End,
    /// It ends well, and its tokens are text that became sound.
    EndOfSpeech,
    /// It ends in a failure.
    Failure,
}

/// The places of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Body,
    Model,
    Stream,
    StreamOptions,
    IncludeUsage,
    User,
    SafetyIdentifier,
    ServiceTier,
    MaxOutputTokens,
    /// An older spelling, where the newer one is absent.
    MaxOutputTokensOld,
    Choices,
    Background,
    /// What a response goes on from.
    PreviousResponse,
    /// Azure's search in the caller's own data.
    DataSources,
    /// The text to be spoken.
    Input,
    /// `sse` asks for a stream.
    StreamFormat,
    /// The `type` of a WebSocket's event.
    Kind,
    /// The client's id of a WebSocket's event.
    EventId,
    /// Which of a WebSocket's lanes an event is for.
    Lane,
    /// The `type` of a tool, in a WebSocket's event.
    Tool,
    /// What makes the cost of a response unknown, in a WebSocket's event: a prompt that is stored, a
    /// compaction.
    Endless,
}

/// One tool of a response that is asked for over a WebSocket.
pub(super) static TOOL: Node<Asked> = Node::object(&[("type", Node::leaf(Asked::Tool))]);

/// The places of an answer or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The event's `type`.
    Kind,
    Model,
    Id,
    ServiceTier,
    /// When the thing shown was made, in seconds since 1970.
    CreatedAt,
    /// A response's `status`, where that is a word.
    Status,
    Usage,
    Count(Count),
    /// What was charged, in USD.
    Cost,
    /// What was charged, in units of 1e-10 USD.
    CostTicks,
    /// What the model's provider charges besides, in USD, where `OwnKey` is `true`.
    UpstreamCost,
    OwnKey,
    /// A share of a total by modality, in an array of them.
    Part(Total),
    Modality,
    PartTokens,
    /// An item of the output: a tool call may be billed.
    Item,
    ItemKind,
    ItemAction,
    /// Where a tool runs.
    ItemPlace,
    /// A turn of the model inside an answer, which may be billed beside the totals.
    Iteration,
    IterationKind,
    IterationCount(Count),
    /// The mode that was billed, where it is not the tier that says so.
    Speed,
    /// One search of the web.
    WebSearchQuery,
    /// A place on Google's maps that the answer rests on: an object.
    Maps,
    /// Why the answer ends, when not empty.
    Finish,
    /// Seconds of audio, as a decimal number.
    Seconds,
    /// One image made.
    Image,
    /// What a second model used.
    Beside(Count),
    /// The error: an object, or just its text.
    Error,
    ErrorCode,
    ErrorKind,
    /// Gemini's word beside a numeric code.
    ErrorStatus,
    /// Google's more exact word (`google.rpc.ErrorInfo`).
    ErrorReason,
    ErrorMessage,
    /// Generated content, when not empty.
    Content,
    /// What only events of a WebSocket say.
    Live(Live),
}

/// The places that only events of a WebSocket have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Live {
    /// The response an event belongs to.
    ResponseId,
    /// The lane an event came on.
    Lane,
    /// The conversation's item an event belongs to.
    ItemId,
    /// The client's event that an error is about.
    EventId,
    /// The HTTP status that an error would have.
    Status,
    /// The model that a session speaks with.
    SessionModel,
    /// The model that transcribes what a session hears.
    TranscriptionModel,
    /// One rate limit: an object.
    Limit,
    LimitName,
    LimitRemaining,
}

/// The totals whose shares by modality are stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    Input,
    Cached,
    Output,
}

/// The members of an error object, as any provider writes them.
pub(super) const ERROR_FIELDS: &[(&str, Node<Said>)] = &[
    ("code", Node::leaf(Said::ErrorCode)),
    ("type", Node::leaf(Said::ErrorKind)),
    ("status", Node::leaf(Said::ErrorStatus)),
    ("message", Node::leaf(Said::ErrorMessage)),
    ("details", Node::each(&ERROR_DETAIL)),
];

static ERROR_DETAIL: Node<Said> = Node::object(&[("reason", Node::leaf(Said::ErrorReason))]);

/// `error` in any answer.
pub(super) const ERROR: Node<Said> = Node::group(Said::Error, ERROR_FIELDS);

/// The body of a refusal (a status of 400 or more) by any provider: OpenAI's shape, Anthropic's,
/// Gemini's (alone or in an array), or just a text.
pub(super) static REFUSAL: Node<Said> = Node::one_or_each(REFUSAL_FIELDS, &WRAPPED_REFUSAL);

static WRAPPED_REFUSAL: Node<Said> = Node::object(REFUSAL_FIELDS);

const REFUSAL_FIELDS: &[(&str, Node<Said>)] = &[
    ("error", ERROR),
    ("code", Node::leaf(Said::ErrorCode)),
    ("message", Node::leaf(Said::ErrorMessage)),
    ("detail", Node::leaf(Said::ErrorMessage)),
];

/// The conventions of an API.
pub(super) fn conventions(api: Api) -> &'static Conventions {
    match api {
        Api::Chat => &chat::CONVENTIONS,
        Api::Responses => &responses::CONVENTIONS,
        Api::Completions => &completions::CONVENTIONS,
        Api::Embeddings => &embeddings::CONVENTIONS,
        Api::Images => &images::CONVENTIONS,
        Api::Audio => &audio::CONVENTIONS,
        Api::Realtime => &realtime::CONVENTIONS,
        Api::Messages => &messages::CONVENTIONS,
        Api::Gemini => &gemini::CONVENTIONS,
        Api::Moderations => &moderations::CONVENTIONS,
        Api::Models => &unread::MODELS,
        Api::Batches => &batches::CONVENTIONS,
        Api::Files => &unread::FILES,
        Api::Other => &unread::OTHER,
    }
}

/// What a client says over a WebSocket of this API; `None` where Tollgate reads none. What the
/// upstream says there is the conventions' `event`.
pub(super) fn client_event(api: Api) -> Option<&'static Node<Asked>> {
    match api {
        Api::Realtime => Some(&realtime::CLIENT_EVENT),
        Api::Responses => Some(&responses::CLIENT_EVENT),
        _ => None,
    }
}

/// The finders for `names` as quoted in JSON.
fn finders(names: &[&'static str]) -> Vec<Finder<'static>> {
    names.iter().map(|name| Finder::new(*name)).collect()
}

/// No event type ends the stream or fails it: `[DONE]` and `error` members do.
fn no_turn(_kind: &str) -> Turn {
    Turn::On
}
