//! Realtime: a WebSocket at `GET /v1/realtime?model=…` (Azure: `/openai/realtime?deployment=…` and
//! `/openai/v1/realtime`), over which each side sends JSON events.
//!
//! A session makes many responses; each states its own usage in `response.done`, under singular
//! names (`input_token_details`). `input_tokens` includes what was cached, `output_tokens`
//! everything. The details of the input count by kind, cached or not, and `cached_tokens_details`
//! says how much of each kind was cached: that part is counted as cached and not by its kind.
//!
//! The transcription of what the client said is another model's work, which the session names. It
//! is billed apart, in tokens or by the length of the audio, and its usage stands in
//! `conversation.item.input_audio_transcription.completed`.
//!
//! Shapes: the events of OpenAI's SDK for Python 3.51, and shared by Azure.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::{Count, UsageShape};
use super::{Also, Asked, Conventions, Live, Making, Said, Turn, audio, finders};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Realtime,
    paths: &["realtime"],
    creates: &["realtime"],
    usage_on_request: false,
    request: &REQUEST,
    answer: &ANSWER,
    event: &EVENT,
    also: Also::Nothing,
    needles: LazyLock::new(|| finders(&["\"response\"", "\"error\""])),
    turn,
    usage: Some(UsageShape::OPENAI),
    making: Making::AT_ONCE,
    words: None,
};

fn turn(kind: &str) -> Turn {
    match kind {
        // Its status says how it ended.
        "response.done" => Turn::End,
        "error" => Turn::Failure,
        _ => Turn::On,
    }
}

/// Of the calls beside the WebSocket, which make sessions and credentials for them.
static REQUEST: Node<Asked> = Node::group(Asked::Body, &[("model", Node::leaf(Asked::Model))]);

static ANSWER: Node<Said> = Node::object(&[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("error", ERROR),
]);

pub(super) static CLIENT_EVENT: Node<Asked> = Node::object(&[
    ("type", Node::leaf(Asked::Kind)),
    ("event_id", Node::leaf(Asked::EventId)),
    (
        "response",
        Node::object(&[
            ("model", Node::leaf(Asked::Model)),
            ("max_output_tokens", Node::leaf(Asked::MaxOutputTokens)),
        ]),
    ),
]);

const ERROR_FIELDS: &[(&str, Node<Said>)] = &[
    ("code", Node::leaf(Said::ErrorCode)),
    ("type", Node::leaf(Said::ErrorKind)),
    ("message", Node::leaf(Said::ErrorMessage)),
    ("event_id", Node::leaf(Said::Live(Live::EventId))),
];

const ERROR: Node<Said> = Node::group(Said::Error, ERROR_FIELDS);

const USAGE: Node<Said> = Node::group(
    Said::Usage,
    &[
        ("input_tokens", Node::leaf(Said::Count(Count::Input))),
        ("output_tokens", Node::leaf(Said::Count(Count::Output))),
        ("total_tokens", Node::leaf(Said::Count(Count::Total))),
        ("input_token_details", Node::object(INPUT_FIELDS)),
        ("output_token_details", Node::object(OUTPUT_FIELDS)),
    ],
);

const INPUT_FIELDS: &[(&str, Node<Said>)] = &[
    ("audio_tokens", Node::leaf(Said::Count(Count::InputAudio))),
    ("image_tokens", Node::leaf(Said::Count(Count::InputImage))),
    ("cached_tokens", Node::leaf(Said::Count(Count::Cached))),
    (
        "cache_write_tokens",
        Node::leaf(Said::Count(Count::CacheWrite)),
    ),
    (
        "cached_tokens_details",
        Node::object(&[
            ("audio_tokens", Node::leaf(Said::Count(Count::CachedAudio))),
            ("image_tokens", Node::leaf(Said::Count(Count::CachedImage))),
        ]),
    ),
];

const OUTPUT_FIELDS: &[(&str, Node<Said>)] = &[
    ("audio_tokens", Node::leaf(Said::Count(Count::OutputAudio))),
    (
        "reasoning_tokens",
        Node::leaf(Said::Count(Count::Reasoning)),
    ),
];

const TRANSCRIPTION: Node<Said> =
    Node::object(&[("model", Node::leaf(Said::Live(Live::TranscriptionModel)))]);

static EVENT: Node<Said> = Node::object(&[
    ("type", Node::leaf(Said::Kind)),
    ("response_id", Node::leaf(Said::Live(Live::ResponseId))),
    ("item_id", Node::leaf(Said::Live(Live::ItemId))),
    // Text, audio, its transcript, arguments: every `….delta` event.
    ("delta", Node::leaf(Said::Content)),
    (
        "response",
        Node::object(&[
            ("id", Node::leaf(Said::Id)),
            ("model", Node::leaf(Said::Model)),
            ("service_tier", Node::leaf(Said::ServiceTier)),
            ("status", Node::leaf(Said::Status)),
            ("status_details", Node::object(&[("error", ERROR)])),
            ("usage", USAGE),
        ]),
    ),
    ("usage", audio::USAGE),
    (
        "session",
        Node::object(&[
            ("model", Node::leaf(Said::Live(Live::SessionModel))),
            ("input_audio_transcription", TRANSCRIPTION),
            (
                "audio",
                Node::object(&[("input", Node::object(&[("transcription", TRANSCRIPTION)]))]),
            ),
        ]),
    ),
    ("rate_limits", Node::each(&RATE_LIMIT)),
    ("error", ERROR),
]);

static RATE_LIMIT: Node<Said> = Node::group(
    Said::Live(Live::Limit),
    &[
        ("name", Node::leaf(Said::Live(Live::LimitName))),
        ("remaining", Node::leaf(Said::Live(Live::LimitRemaining))),
    ],
);
