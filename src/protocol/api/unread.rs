//! APIs that state no usage. Their paths, their requests' models and their errors are known all the
//! same.

use std::sync::LazyLock;

use super::super::json::Node;
use super::{Also, Asked, Conventions, ERROR, Making, Said, finders, no_turn};
use crate::record::Api;

/// The conventions of an API without usage, whose requests say what `request` reads.
pub(super) const fn unread(
    api: Api,
    paths: &'static [&'static str],
    creates: &'static [&'static str],
    request: &'static Node<Asked>,
) -> Conventions {
    Conventions {
        api,
        paths,
        creates,
        usage_on_request: false,
        request,
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

pub(super) static MODELS: Conventions = unread(Api::Models, &["models"], &[], &REQUEST);
pub(super) static FILES: Conventions = unread(Api::Files, &["files", "uploads"], &[], &REQUEST);
pub(super) static OTHER: Conventions = unread(Api::Other, &[], &[], &REQUEST);

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
