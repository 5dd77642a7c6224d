//! Batches: `/v1/batches`, and Anthropic's `/v1/messages/batches`.
//!
//! Making a batch bills nothing yet. A batch that came to its end states the `usage` of everything
//! in it, in the shape of Responses, at batch rates, and the one model of its requests: it counts when
//! `GET /v1/batches/{id}` shows it first. A list of batches counts nothing, nor do the lines of an
//! output file, which state the same usage once more.
//!
//! Anthropic's batches state usage by the line of their results only. Their sum counts, once, when
//! `GET /v1/messages/batches/{id}/results` was answered whole; where their messages are of several
//! models, no price fits the sum.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::UsageShape;
use super::responses::USAGE;
use super::{
    Also, Asked, Conventions, ERROR, Making, Results, Said, Stage, finders, messages, no_turn,
};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Batches,
    paths: &["batches", "messages/batches"],
    creates: &[],
    usage_on_request: false,
    request: &REQUEST,
    answer: &ANSWER,
    event: &ANSWER,
    also: Also::Nothing,
    needles: LazyLock::new(|| finders(&["\"error\""])),
    turn: no_turn,
    usage: Some(UsageShape::OPENAI),
    making: Making {
        shown: &["batches"],
        stage,
        service_tier: Some("batch"),
        results: Some(Results {
            path: "messages/batches",
            line: &RESULT,
            usage: messages::USAGE_SHAPE,
        }),
    },
    words: None,
};

/// A batch that failed did not pass its validation; asking for it succeeded.
fn stage(status: &str) -> Stage {
    match status {
        "completed" | "expired" | "cancelled" | "failed" => Stage::Done,
        _ => Stage::Pending,
    }
}

static REQUEST: Node<Asked> = Node::group(Asked::Body, &[("model", Node::leaf(Asked::Model))]);

static ANSWER: Node<Said> = Node::object(&[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("status", Node::leaf(Said::Status)),
    ("created_at", Node::leaf(Said::CreatedAt)),
    ("usage", USAGE),
    ("error", ERROR),
]);

/// One line of Anthropic's results.
static RESULT: Node<Said> = Node::object(&[(
    "result",
    Node::object(&[(
        "message",
        Node::object(&[
            ("model", Node::leaf(Said::Model)),
            ("usage", messages::USAGE),
        ]),
    )]),
)]);
