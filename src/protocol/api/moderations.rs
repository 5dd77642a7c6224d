//! Moderations: `POST /v1/moderations`. They are free, and state no usage.

use std::sync::LazyLock;

use super::super::json::Node;
use super::{Also, Asked, Conventions, ERROR, Making, Said, finders, no_turn};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Moderations,
    paths: &["moderations"],
    creates: &["moderations"],
    usage_on_request: false,
    request: &REQUEST,
    answer: &ANSWER,
    event: &ANSWER,
    also: Also::Nothing,
    needles: LazyLock::new(|| finders(&["\"error\""])),
    turn: no_turn,
    usage: None,
    making: Making::AT_ONCE,
    words: None,
};

static REQUEST: Node<Asked> = Node::group(Asked::Body, &[("model", Node::leaf(Asked::Model))]);

static ANSWER: Node<Said> = Node::object(&[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("error", ERROR),
]);
