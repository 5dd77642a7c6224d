//! Gemini: `POST /v1beta/models/<model>:generateContent` and its sisters, told by their verbs.
//!
//! `promptTokenCount` includes what was cached; what a tool put before the model is stated beside
//! it; `candidatesTokenCount` leaves the thoughts out. A stream is server-sent events (`alt=sse`) or
//! one JSON array of answers; each answer repeats the usage so far, some hold nothing else, and
//! nothing announces the end but the finish reason. A prompt that was blocked is billed as input.
//! Grounding with Google Search is billed by the query, each once and empty ones not, and before
//! Gemini 3 by the prompt; with Google Maps it is billed apart from it. Shares of the totals by modality come as
//! arrays. Embeddings state their usage on newer models only.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::{Count, UsageShape};
use super::super::words::{Part, Words, any_event};
use super::{Also, Asked, Conventions, ERROR, Making, Said, Total, finders, no_turn};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Gemini,
    paths: &[],
    creates: &[],
    usage_on_request: false,
    request: &REQUEST,
    answer: &ANSWER,
    event: &ANSWER,
    also: Also::Arrays,
    needles: LazyLock::new(|| {
        finders(&[
            "\"usageMetadata\"",
            "\"webSearchQueries\"",
            "\"maps\"",
            "\"finishReason\"",
            "\"blockReason\"",
            "\"error\"",
        ])
    }),
    turn: no_turn,
    usage: Some(UsageShape {
        input_includes_cache: true,
        output_includes_reasoning: false,
        cumulative: true,
        billed_searches,
        ..UsageShape::OPENAI
    }),
    making: Making::AT_ONCE,
    words: Some(&WORDS),
};

static WORDS: Words = Words {
    request: &Node::object(&[
        ("systemInstruction", Node::leaf(Part::Talk)),
        ("contents", Node::leaf(Part::Talk)),
        ("tools", Node::leaf(Part::Schema)),
        // Embeddings.
        ("content", Node::leaf(Part::Talk)),
        ("requests", Node::leaf(Part::Talk)),
    ]),
    answer: Some(&Node::one_or_each(WRITTEN, &WRITTEN_IN_ARRAY)),
    brings_content: any_event,
};

const WRITTEN: &[(&str, Node<Part>)] = &[("candidates", Node::leaf(Part::Talk))];
static WRITTEN_IN_ARRAY: Node<Part> = Node::object(WRITTEN);

/// Before Gemini 3 a prompt that was grounded is billed once, however many queries it took.
fn billed_searches(model: &str, searches: u64) -> u64 {
    if ["gemini-1", "gemini-2"]
        .iter()
        .any(|family| model.starts_with(family))
    {
        searches.min(1)
    } else {
        searches
    }
}

static REQUEST: Node<Asked> = Node::group(
    Asked::Body,
    &[(
        "generationConfig",
        Node::object(&[
            ("maxOutputTokens", Node::leaf(Asked::MaxOutputTokens)),
            ("candidateCount", Node::leaf(Asked::Choices)),
        ]),
    )],
);

const PART: &[(&str, Node<Said>)] = &[
    ("modality", Node::leaf(Said::Modality)),
    ("tokenCount", Node::leaf(Said::PartTokens)),
];
static INPUT_PART: Node<Said> = Node::group(Said::Part(Total::Input), PART);
static CACHED_PART: Node<Said> = Node::group(Said::Part(Total::Cached), PART);
static OUTPUT_PART: Node<Said> = Node::group(Said::Part(Total::Output), PART);

static ANSWER: Node<Said> = Node::object(&[
    ("responseId", Node::leaf(Said::Id)),
    ("modelVersion", Node::leaf(Said::Model)),
    ("candidates", Node::each(&CANDIDATE)),
    (
        "promptFeedback",
        Node::object(&[("blockReason", Node::leaf(Said::Finish))]),
    ),
    (
        "usageMetadata",
        Node::group(
            Said::Usage,
            &[
                ("promptTokenCount", Node::leaf(Said::Count(Count::Input))),
                (
                    "cachedContentTokenCount",
                    Node::leaf(Said::Count(Count::Cached)),
                ),
                (
                    "toolUsePromptTokenCount",
                    Node::leaf(Said::Count(Count::MoreInput)),
                ),
                (
                    "candidatesTokenCount",
                    Node::leaf(Said::Count(Count::Output)),
                ),
                (
                    "thoughtsTokenCount",
                    Node::leaf(Said::Count(Count::Reasoning)),
                ),
                ("totalTokenCount", Node::leaf(Said::Count(Count::Total))),
                ("serviceTier", Node::leaf(Said::ServiceTier)),
                ("promptTokensDetails", Node::each(&INPUT_PART)),
                ("toolUsePromptTokensDetails", Node::each(&INPUT_PART)),
                ("cacheTokensDetails", Node::each(&CACHED_PART)),
                ("candidatesTokensDetails", Node::each(&OUTPUT_PART)),
            ],
        ),
    ),
    ("error", ERROR),
]);

static CANDIDATE: Node<Said> = Node::object(&[
    (
        "content",
        Node::object(&[("parts", Node::each(&CONTENT_PART))]),
    ),
    ("finishReason", Node::leaf(Said::Finish)),
    (
        "groundingMetadata",
        Node::object(&[
            ("webSearchQueries", Node::each(&QUERY)),
            ("groundingChunks", Node::each(&SOURCE)),
        ]),
    ),
]);

static CONTENT_PART: Node<Said> = Node::object(&[
    ("text", Node::leaf(Said::Content)),
    ("inlineData", Node::leaf(Said::Content)),
    ("functionCall", Node::leaf(Said::Content)),
    ("executableCode", Node::leaf(Said::Content)),
    ("codeExecutionResult", Node::leaf(Said::Content)),
]);

static SOURCE: Node<Said> = Node::object(&[("maps", Node::leaf(Said::Maps))]);

static QUERY: Node<Said> = Node::leaf(Said::WebSearchQuery);
