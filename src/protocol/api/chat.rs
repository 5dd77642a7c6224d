//! Chat Completions: `POST /v1/chat/completions`.
//!
//! Usage is OpenAI's older shape: `prompt_tokens` includes what was cached, `completion_tokens`
//! includes reasoning and rejected predictions (which are billed). A stream states it only when
//! asked to, in one chunk with empty `choices` before `[DONE]`; every other chunk then carries
//! `"usage":null`. Compatible providers differ in where the cached part stands: DeepSeek has
//! `prompt_cache_hit_tokens`, Moonshot `usage.cached_tokens`, and its streams state the usage
//! inside the last choice, perhaps again at the top: the last one counts. Qwen says what it wrote
//! to its cache by Anthropic's name. xAI's `completion_tokens` leave reasoning out, which the total
//! tells; Gemini's OpenAI-shaped surface states its thoughts in the total alone. OpenRouter (`cost`; with the account's own key at the model's provider, which is charged
//! besides, `is_byok`), Perplexity (`cost.total_cost`) and xAI (`cost_in_usd_ticks`) state what they
//! charged. OpenRouter tells a failure of the model's provider inside the choice.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::{Count, UsageShape};
use super::super::words::{Part, Words, any_event};
use super::{Also, Asked, Conventions, ERROR, Making, Said, finders, no_turn};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Chat,
    paths: &["chat/completions"],
    creates: &["chat/completions"],
    usage_on_request: true,
    request: &REQUEST,
    answer: &ANSWER,
    event: &EVENT,
    also: Also::Nothing,
    needles: LazyLock::new(|| finders(&["\"usage\"", "\"error\"", "\"finish_reason\""])),
    turn: no_turn,
    usage: Some(UsageShape {
        other_tools: searches_always,
        ..UsageShape::OPENAI
    }),
    making: Making::AT_ONCE,
    words: Some(&WORDS),
};

/// The models that search the web for every answer are billed for that too, and state nothing of
/// it.
fn searches_always(model: &str) -> bool {
    model.contains("-search-preview") || model.contains("-search-api")
}

static WORDS: Words = Words {
    request: &Node::object(&[
        ("messages", Node::leaf(Part::Talk)),
        ("tools", Node::leaf(Part::Schema)),
        ("functions", Node::leaf(Part::Schema)),
        ("response_format", Node::leaf(Part::Schema)),
    ]),
    answer: Some(&Node::object(&[("choices", Node::leaf(Part::Talk))])),
    brings_content: any_event,
};

/// `stream_options`, as in Completions.
pub(super) const STREAM_OPTIONS: Node<Asked> = Node::group(
    Asked::StreamOptions,
    &[("include_usage", Node::leaf(Asked::IncludeUsage))],
);

static REQUEST: Node<Asked> = Node::group(
    Asked::Body,
    &[
        ("model", Node::leaf(Asked::Model)),
        ("stream", Node::leaf(Asked::Stream)),
        ("stream_options", STREAM_OPTIONS),
        ("user", Node::leaf(Asked::User)),
        ("safety_identifier", Node::leaf(Asked::SafetyIdentifier)),
        ("service_tier", Node::leaf(Asked::ServiceTier)),
        ("max_completion_tokens", Node::leaf(Asked::MaxOutputTokens)),
        ("max_tokens", Node::leaf(Asked::MaxOutputTokensOld)),
        ("n", Node::leaf(Asked::Choices)),
        ("data_sources", Node::leaf(Asked::DataSources)),
    ],
);

/// `usage`, as in Completions and Embeddings.
pub(super) const USAGE: Node<Said> = Node::group(
    Said::Usage,
    &[
        ("prompt_tokens", Node::leaf(Said::Count(Count::Input))),
        ("completion_tokens", Node::leaf(Said::Count(Count::Output))),
        ("total_tokens", Node::leaf(Said::Count(Count::Total))),
        (
            "prompt_tokens_details",
            Node::object(&[
                ("cached_tokens", Node::leaf(Said::Count(Count::Cached))),
                (
                    "cache_write_tokens",
                    Node::leaf(Said::Count(Count::CacheWrite)),
                ),
                (
                    "cache_creation_input_tokens",
                    Node::leaf(Said::Count(Count::CacheWrite)),
                ),
                ("audio_tokens", Node::leaf(Said::Count(Count::InputAudio))),
                ("image_tokens", Node::leaf(Said::Count(Count::InputImage))),
            ]),
        ),
        (
            "completion_tokens_details",
            Node::object(&[
                (
                    "reasoning_tokens",
                    Node::leaf(Said::Count(Count::Reasoning)),
                ),
                ("audio_tokens", Node::leaf(Said::Count(Count::OutputAudio))),
                ("image_tokens", Node::leaf(Said::Count(Count::OutputImage))),
            ]),
        ),
        (
            "prompt_cache_hit_tokens",
            Node::leaf(Said::Count(Count::CachedElsewhere)),
        ),
        (
            "cached_tokens",
            Node::leaf(Said::Count(Count::CachedElsewhere)),
        ),
        ("cost", Node::group(Said::Cost, PERPLEXITY_COST)),
        ("is_byok", Node::leaf(Said::OwnKey)),
        (
            "cost_details",
            Node::object(&[("upstream_inference_cost", Node::leaf(Said::UpstreamCost))]),
        ),
        ("cost_in_usd_ticks", Node::leaf(Said::CostTicks)),
        (
            "num_search_queries",
            Node::leaf(Said::Count(Count::WebSearch)),
        ),
        (
            "server_tool_use",
            Node::object(&[(
                "web_search_requests",
                Node::leaf(Said::Count(Count::WebSearch)),
            )]),
        ),
    ],
);

const PERPLEXITY_COST: &[(&str, Node<Said>)] = &[("total_cost", Node::leaf(Said::Cost))];

static ANSWER: Node<Said> = Node::object(&[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("service_tier", Node::leaf(Said::ServiceTier)),
    ("choices", Node::each(&WHOLE_CHOICE)),
    ("usage", USAGE),
    ("error", ERROR),
]);

static WHOLE_CHOICE: Node<Said> = Node::object(&[("error", ERROR)]);

static EVENT: Node<Said> = Node::object(&[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("service_tier", Node::leaf(Said::ServiceTier)),
    ("choices", Node::each(&CHOICE)),
    ("usage", USAGE),
    ("error", ERROR),
]);

static CHOICE: Node<Said> = Node::object(&[
    (
        "delta",
        Node::object(&[
            ("content", Node::leaf(Said::Content)),
            ("reasoning_content", Node::leaf(Said::Content)),
            ("reasoning", Node::leaf(Said::Content)),
            ("reasoning_details", Node::leaf(Said::Content)),
            ("refusal", Node::leaf(Said::Content)),
            ("tool_calls", Node::leaf(Said::Content)),
            ("function_call", Node::leaf(Said::Content)),
            (
                "audio",
                Node::object(&[
                    ("data", Node::leaf(Said::Content)),
                    ("transcript", Node::leaf(Said::Content)),
                ]),
            ),
            ("images", Node::leaf(Said::Content)),
        ]),
    ),
    ("finish_reason", Node::leaf(Said::Finish)),
    ("usage", USAGE),
    ("error", ERROR),
]);
