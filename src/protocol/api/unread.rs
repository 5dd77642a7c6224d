//! APIs that state no usage. Their paths, their requests' models and their errors are known all the
//! same.

use std::sync::LazyLock;

use super::super::json::Node;
use super::{Also, Asked, Conventions, ERROR, Making, Said, finders, no_turn};
use crate::record::Api;

const fn unread(
    api: Api,
    paths: &'static [&'static str],
    creates: &'static [&'static str],
) -> Conventions {
    Conventions {
        api,
        paths,
        creates,
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
    }
}

pub(super) static MODELS: Conventions = unread(Api::Models, &["models"], &[]);
pub(super) static FILES: Conventions = unread(Api::Files, &["files", "uploads"], &[]);
pub(super) static OTHER: Conventions = unread(Api::Other, &[], &[]);

static REQUEST: Node<Asked> = Node::group(
    Asked::Body,
    &[
        ("model", Node::leaf(Asked::Model)),
        ("stream", Node::leaf(Asked::Stream)),
        ("user", Node::leaf(Asked::User)),
        ("service_tier", Node::leaf(Asked::ServiceTier)),
        ("max_tokens", Node::leaf(Asked::MaxOutputTokens)),
        ("n", Node::leaf(Asked::Choices)),
    ],
);

static ANSWER: Node<Said> = Node::object(&[
    ("id", Node::leaf(Said::Id)),
    ("model", Node::leaf(Said::Model)),
    ("error", ERROR),
]);
