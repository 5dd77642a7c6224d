//! Embeddings: `POST /v1/embeddings`. Usage states `prompt_tokens` and `total_tokens`, after
//! megabytes of floats or base64; there is no output and no stream.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::UsageShape;
use super::super::words::{Part, Words, any_event};
use super::chat::USAGE;
use super::{Also, Asked, Conventions, ERROR, Making, Said, finders, no_turn};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Embeddings,
    paths: &["embeddings"],
    creates: &["embeddings"],
    usage_on_request: false,
    request: &REQUEST,
    answer: &ANSWER,
    event: &ANSWER,
    also: Also::Nothing,
    needles: LazyLock::new(|| finders(&["\"usage\"", "\"error\""])),
    turn: no_turn,
    usage: Some(UsageShape::OPENAI),
    making: Making::AT_ONCE,
    words: Some(&WORDS),
};

static WORDS: Words = Words {
    request: &Node::object(&[("input", Node::leaf(Part::Talk))]),
    answer: None,
    brings_content: any_event,
};

static REQUEST: Node<Asked> = Node::group(
    Asked::Body,
    &[
        ("model", Node::leaf(Asked::Model)),
        ("user", Node::leaf(Asked::User)),
    ],
);

static ANSWER: Node<Said> = Node::object(&[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("usage", USAGE),
    ("error", ERROR),
]);
