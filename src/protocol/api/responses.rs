//! Responses: `POST /v1/responses`, and `/v1/responses/compact`, which is billed too.
//!
//! `input_tokens` includes what was cached, `output_tokens` includes reasoning. A stream has no
//! `[DONE]`: it ends with an event that carries the whole response once more, megabytes of it
//! perhaps, with `usage` and the final `service_tier`. A `response.failed` or an `error` event
//! inside a 200 is a failed request; so is a plain answer with `status: failed`. Searches are billed
//! by the call and counted in the response's `output`, so in a stream once, at its end.
//!
//! In background mode the answer is `queued` or `in_progress`; usage is in what a later
//! `GET /v1/responses/{id}` shows (a stream too, with `?stream=true`), or a cancellation.
//!
//! `GET /v1/responses` may become a WebSocket: the client sends `response.create`, which is a
//! request's body with a `type`, and gets the events of a stream, one response after the other.
//! With `stream_id` it has lanes: in each of them one response is made after the other, and its events
//! name the lane. An `error` event may state the HTTP status it would have had.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::{Count, UsageShape};
use super::super::words::{Part, Words};
use super::{Also, Asked, Conventions, ERROR, Live, Making, Said, Stage, TOOL, Turn, finders};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Responses,
    paths: &["responses"],
    creates: &["responses", "responses/compact"],
    usage_on_request: false,
    request: &REQUEST,
    answer: &RESPONSE,
    event: &EVENT,
    also: Also::Nothing,
    needles: LazyLock::new(|| finders(&["\"response\"", "\"error\""])),
    turn,
    usage: Some(UsageShape::OPENAI),
    making: Making {
        shown: &["responses"],
        stage,
        service_tier: None,
        results: None,
    },
    words: Some(&WORDS),
};

static WORDS: Words = Words {
    request: &Node::object(&[
        ("instructions", Node::leaf(Part::Talk)),
        ("input", Node::leaf(Part::Talk)),
        ("tools", Node::leaf(Part::Schema)),
        ("text", Node::leaf(Part::Schema)),
    ]),
    answer: Some(&Node::object(&[("output", Node::leaf(Part::Talk))])),
    // Events without a name (a compatible provider's) may be of any kind.
    brings_content: |name| name.is_empty() || name.ends_with(b".delta"),
};

fn stage(status: &str) -> Stage {
    match status {
        "queued" | "in_progress" => Stage::Pending,
        "failed" => Stage::Failed,
        _ => Stage::Done,
    }
}

fn turn(kind: &str) -> Turn {
    match kind {
        "response.completed" | "response.incomplete" | "response.done" => Turn::End,
        "response.failed" | "error" => Turn::Failure,
        _ => Turn::On,
    }
}

static REQUEST: Node<Asked> = Node::group(
    Asked::Body,
    &[
        ("model", Node::leaf(Asked::Model)),
        ("stream", Node::leaf(Asked::Stream)),
        ("user", Node::leaf(Asked::User)),
        ("safety_identifier", Node::leaf(Asked::SafetyIdentifier)),
        ("service_tier", Node::leaf(Asked::ServiceTier)),
        ("max_output_tokens", Node::leaf(Asked::MaxOutputTokens)),
        ("background", Node::leaf(Asked::Background)),
        ("previous_response_id", Node::leaf(Asked::PreviousResponse)),
    ],
);

pub(super) static CLIENT_EVENT: Node<Asked> = Node::object(&[
    ("type", Node::leaf(Asked::Kind)),
    ("event_id", Node::leaf(Asked::EventId)),
    ("stream_id", Node::leaf(Asked::Lane)),
    ("model", Node::leaf(Asked::Model)),
    ("user", Node::leaf(Asked::User)),
    ("safety_identifier", Node::leaf(Asked::SafetyIdentifier)),
    ("service_tier", Node::leaf(Asked::ServiceTier)),
    ("max_output_tokens", Node::leaf(Asked::MaxOutputTokens)),
    ("tools", Node::each(&TOOL)),
    ("prompt", Node::leaf(Asked::Endless)),
    ("context_management", Node::leaf(Asked::Endless)),
    (
        "response",
        Node::object(&[
            ("model", Node::leaf(Asked::Model)),
            ("user", Node::leaf(Asked::User)),
            ("safety_identifier", Node::leaf(Asked::SafetyIdentifier)),
            ("service_tier", Node::leaf(Asked::ServiceTier)),
            ("max_output_tokens", Node::leaf(Asked::MaxOutputTokens)),
            ("tools", Node::each(&TOOL)),
            ("prompt", Node::leaf(Asked::Endless)),
            ("context_management", Node::leaf(Asked::Endless)),
        ]),
    ),
]);

/// `usage`, as in Batches.
pub(super) const USAGE: Node<Said> = Node::group(
    Said::Usage,
    &[
        ("input_tokens", Node::leaf(Said::Count(Count::Input))),
        ("output_tokens", Node::leaf(Said::Count(Count::Output))),
        ("total_tokens", Node::leaf(Said::Count(Count::Total))),
        // OpenRouter, xAI.
        ("cost", Node::leaf(Said::Cost)),
        ("is_byok", Node::leaf(Said::OwnKey)),
        (
            "cost_details",
            Node::object(&[("upstream_inference_cost", Node::leaf(Said::UpstreamCost))]),
        ),
        ("cost_in_usd_ticks", Node::leaf(Said::CostTicks)),
        (
            "input_tokens_details",
            Node::object(&[
                ("cached_tokens", Node::leaf(Said::Count(Count::Cached))),
                (
                    "cache_write_tokens",
                    Node::leaf(Said::Count(Count::CacheWrite)),
                ),
                ("audio_tokens", Node::leaf(Said::Count(Count::InputAudio))),
                ("image_tokens", Node::leaf(Said::Count(Count::InputImage))),
            ]),
        ),
        (
            "output_tokens_details",
            Node::object(&[
                (
                    "reasoning_tokens",
                    Node::leaf(Said::Count(Count::Reasoning)),
                ),
                ("audio_tokens", Node::leaf(Said::Count(Count::OutputAudio))),
                ("image_tokens", Node::leaf(Said::Count(Count::OutputImage))),
            ]),
        ),
    ],
);

const RESPONSE_FIELDS: &[(&str, Node<Said>)] = &[
    ("id", Node::leaf(Said::Id)),
    ("created_at", Node::leaf(Said::CreatedAt)),
    ("model", Node::leaf(Said::Model)),
    ("service_tier", Node::leaf(Said::ServiceTier)),
    ("status", Node::leaf(Said::Status)),
    ("output", Node::each(&ITEM)),
    ("usage", USAGE),
    ("error", ERROR),
];

/// A search of the web or of files is billed by the call. Opening a page that was found, or
/// searching in it, is an action of the same kind of item, and is not. Containers and images made
/// on the way are billed apart, too; calls of functions, MCP servers and computers are not.
static ITEM: Node<Said> = Node::group(
    Said::Item,
    &[
        ("type", Node::leaf(Said::ItemKind)),
        (
            "action",
            Node::object(&[("type", Node::leaf(Said::ItemAction))]),
        ),
        (
            "environment",
            Node::object(&[("type", Node::leaf(Said::ItemPlace))]),
        ),
    ],
);

static RESPONSE: Node<Said> = Node::object(RESPONSE_FIELDS);

static EVENT: Node<Said> = Node::object(&[
    ("type", Node::leaf(Said::Kind)),
    ("response", Node::object(RESPONSE_FIELDS)),
    // Text, reasoning, refusals, arguments, audio: every `….delta` event.
    ("delta", Node::leaf(Said::Content)),
    ("partial_image_b64", Node::leaf(Said::Content)),
    // An `error` event states its members at the top, or in `error`.
    ("error", ERROR),
    ("code", Node::leaf(Said::ErrorCode)),
    ("message", Node::leaf(Said::ErrorMessage)),
    ("status", Node::leaf(Said::Live(Live::Status))),
    ("response_id", Node::leaf(Said::Live(Live::ResponseId))),
    ("stream_id", Node::leaf(Said::Live(Live::Lane))),
]);
