//! Completions, the legacy text API: `POST /v1/completions`. Usage and its request are as in Chat
//! Completions; content stands in `choices[].text`.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::UsageShape;
use super::super::words::{Part, Words, any_event};
use super::chat::{STREAM_OPTIONS, USAGE};
use super::{Also, Asked, Conventions, ERROR, Making, Said, finders, no_turn};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Completions,
    paths: &["completions"],
    creates: &["completions"],
    usage_on_request: true,
    request: &REQUEST,
    answer: &ANSWER,
    event: &EVENT,
    also: Also::Nothing,
    needles: LazyLock::new(|| finders(&["\"usage\"", "\"error\"", "\"finish_reason\""])),
    turn: no_turn,
    usage: Some(UsageShape::OPENAI),
    making: Making::AT_ONCE,
    words: Some(&WORDS),
};

static WORDS: Words = Words {
    request: &Node::object(&[
        ("prompt", Node::leaf(Part::Talk)),
        ("suffix", Node::leaf(Part::Talk)),
    ]),
    answer: Some(&Node::object(&[("choices", Node::leaf(Part::Talk))])),
    brings_content: any_event,
};

static REQUEST: Node<Asked> = Node::group(
    Asked::Body,
    &[
        ("model", Node::leaf(Asked::Model)),
        ("stream", Node::leaf(Asked::Stream)),
        ("stream_options", STREAM_OPTIONS),
        ("user", Node::leaf(Asked::User)),
        ("max_tokens", Node::leaf(Asked::MaxOutputTokens)),
        ("n", Node::leaf(Asked::Choices)),
    ],
);

static ANSWER: Node<Said> = Node::object(&[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("service_tier", Node::leaf(Said::ServiceTier)),
    ("usage", USAGE),
    ("error", ERROR),
]);

static EVENT: Node<Said> = Node::object(&[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("service_tier", Node::leaf(Said::ServiceTier)),
    ("choices", Node::each(&CHOICE)),
    ("usage", USAGE),
    ("error", ERROR),
]);

static CHOICE: Node<Said> = Node::object(&[
    ("text", Node::leaf(Said::Content)),
    ("finish_reason", Node::leaf(Said::Finish)),
    ("usage", USAGE),
]);
