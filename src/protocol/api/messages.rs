//! Anthropic Messages: `POST /v1/messages`.
//!
//! `input_tokens` leaves out what was read from the cache and what was written to it: both are
//! added. A stream states its usage in `message_start`, then again and again in `message_delta`,
//! cumulatively and with members left out: the split of what was written by its time to live, the
//! tier and often the input stand in the start only. `output_tokens` includes thinking. Searches of
//! the web are billed by the request. What a compaction of the conversation took is billed and is in
//! no total: it stands among the iterations. The fast mode has prices of its own, so it is kept as
//! the tier. A stream ends with `message_stop`, or in an `error` event; with the last `message_delta`,
//! which states the reason to stop, the generation is at its end.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::{Count, UsageShape};
use super::super::words::{Part, Words};
use super::{Also, Asked, Conventions, ERROR, Making, Said, Turn, finders};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Messages,
    paths: &["messages"],
    creates: &["messages"],
    usage_on_request: false,
    request: &REQUEST,
    answer: &MESSAGE,
    event: &EVENT,
    also: Also::Nothing,
    needles: LazyLock::new(|| {
        finders(&[
            "\"usage\"",
            "\"error\"",
            "\"stop_reason\"",
            "\"message_stop\"",
        ])
    }),
    turn,
    usage: Some(USAGE_SHAPE),
    making: Making::AT_ONCE,
    words: Some(&WORDS),
};

static WORDS: Words = Words {
    request: &Node::object(&[
        ("system", Node::leaf(Part::Talk)),
        ("messages", Node::leaf(Part::Talk)),
        ("tools", Node::leaf(Part::Schema)),
    ]),
    answer: Some(&Node::object(&[("content", Node::leaf(Part::Talk))])),
    // Events without a name (a compatible provider's) may be of any kind.
    brings_content: |name| name.is_empty() || name == b"content_block_delta",
};

/// How usage counts, as in the results of batches.
pub(super) const USAGE_SHAPE: UsageShape = UsageShape {
    input_includes_cache: false,
    output_includes_reasoning: true,
    cumulative: true,
    ..UsageShape::OPENAI
};

fn turn(kind: &str) -> Turn {
    match kind {
        "message_stop" => Turn::End,
        "error" => Turn::Failure,
        _ => Turn::On,
    }
}

static REQUEST: Node<Asked> = Node::group(
    Asked::Body,
    &[
        ("model", Node::leaf(Asked::Model)),
        ("stream", Node::leaf(Asked::Stream)),
        ("max_tokens", Node::leaf(Asked::MaxOutputTokens)),
        ("service_tier", Node::leaf(Asked::ServiceTier)),
        (
            "metadata",
            Node::object(&[("user_id", Node::leaf(Asked::User))]),
        ),
    ],
);

/// `usage`, as in the results of batches.
pub(super) const USAGE: Node<Said> = Node::group(
    Said::Usage,
    &[
        ("input_tokens", Node::leaf(Said::Count(Count::Input))),
        ("output_tokens", Node::leaf(Said::Count(Count::Output))),
        (
            "cache_read_input_tokens",
            Node::leaf(Said::Count(Count::Cached)),
        ),
        (
            "cache_creation_input_tokens",
            Node::leaf(Said::Count(Count::CacheWrite)),
        ),
        (
            "cache_creation",
            Node::object(&[(
                "ephemeral_1h_input_tokens",
                Node::leaf(Said::Count(Count::CacheWrite1h)),
            )]),
        ),
        (
            "output_tokens_details",
            Node::object(&[("thinking_tokens", Node::leaf(Said::Count(Count::Reasoning)))]),
        ),
        (
            "server_tool_use",
            Node::object(&[(
                "web_search_requests",
                Node::leaf(Said::Count(Count::WebSearch)),
            )]),
        ),
        ("service_tier", Node::leaf(Said::ServiceTier)),
        ("speed", Node::leaf(Said::Speed)),
        ("iterations", Node::each(&ITERATION)),
    ],
);

/// One turn of the model inside a message. Those of kind `message` are in the totals.
const ITERATION: Node<Said> = Node::group(
    Said::Iteration,
    &[
        ("type", Node::leaf(Said::IterationKind)),
        (
            "input_tokens",
            Node::leaf(Said::IterationCount(Count::MoreInput)),
        ),
        (
            "output_tokens",
            Node::leaf(Said::IterationCount(Count::MoreOutput)),
        ),
        (
            "cache_read_input_tokens",
            Node::leaf(Said::IterationCount(Count::MoreCached)),
        ),
        (
            "cache_creation_input_tokens",
            Node::leaf(Said::IterationCount(Count::MoreCacheWrite)),
        ),
        (
            "cache_creation",
            Node::object(&[(
                "ephemeral_1h_input_tokens",
                Node::leaf(Said::IterationCount(Count::MoreCacheWrite1h)),
            )]),
        ),
    ],
);

const MESSAGE_FIELDS: &[(&str, Node<Said>)] = &[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("usage", USAGE),
    ("error", ERROR),
];

static MESSAGE: Node<Said> = Node::object(MESSAGE_FIELDS);

static EVENT: Node<Said> = Node::object(&[
    ("type", Node::leaf(Said::Kind)),
    // `message_start`
    ("message", Node::object(MESSAGE_FIELDS)),
    // `content_block_delta`
    (
        "delta",
        Node::object(&[
            ("text", Node::leaf(Said::Content)),
            ("thinking", Node::leaf(Said::Content)),
            ("partial_json", Node::leaf(Said::Content)),
            // Of `message_delta`: the usage beside it is final.
            ("stop_reason", Node::leaf(Said::Finish)),
        ]),
    ),
    // `message_delta`
    ("usage", USAGE),
    ("error", ERROR),
]);
