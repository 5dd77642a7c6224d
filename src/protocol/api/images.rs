//! Images: `POST /v1/images/generations`, `/edits` and `/variations`.
//!
//! GPT image models are billed by tokens and state them, in an answer behind megabytes of base64, or
//! in the event that ends a stream; their output tokens are image tokens where no detail says
//! otherwise. The older models (DALL·E) are billed by the image and state nothing: there the
//! elements of `data` are counted. One or the other, never both: a model that states tokens is not
//! billed by the image, and catalogues hold both rates for some.
//!
//! Vector images are written by a model of text, whose tokens are stated apart (`svg_usage`): they are
//! added as text, and no price fits the sum of two models.
//!
//! What an image costs depends on its size and quality too; that is for the prices to know, and a
//! model without a rate for images has no cost rather than a wrong one.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::{Count, UsageShape};
use super::{Also, Asked, Conventions, ERROR, Making, Said, Turn, finders};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Images,
    paths: &["images"],
    creates: &["images/generations", "images/edits", "images/variations"],
    usage_on_request: false,
    request: &REQUEST,
    answer: &ANSWER,
    event: &EVENT,
    also: Also::Nothing,
    needles: LazyLock::new(|| {
        finders(&[
            "\"usage\"",
            "\"error\"",
            "\"image_generation.completed\"",
            "\"image_edit.completed\"",
        ])
    }),
    turn,
    usage: Some(UsageShape::OPENAI),
    making: Making::AT_ONCE,
    words: None,
};

fn turn(kind: &str) -> Turn {
    match kind {
        "image_generation.completed" | "image_edit.completed" => Turn::End,
        "error" => Turn::Failure,
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
        ("n", Node::leaf(Asked::Choices)),
    ],
);

const USAGE: Node<Said> = Node::group(
    Said::Usage,
    &[
        ("input_tokens", Node::leaf(Said::Count(Count::Input))),
        (
            "output_tokens",
            Node::leaf(Said::Count(Count::OutputOfImages)),
        ),
        ("total_tokens", Node::leaf(Said::Count(Count::Total))),
        (
            "input_tokens_details",
            Node::object(&[
                ("cached_tokens", Node::leaf(Said::Count(Count::Cached))),
                ("image_tokens", Node::leaf(Said::Count(Count::InputImage))),
            ]),
        ),
        (
            "output_tokens_details",
            Node::object(&[
                ("image_tokens", Node::leaf(Said::Count(Count::OutputImage))),
                ("text_tokens", Node::leaf(Said::Count(Count::OutputText))),
                (
                    "reasoning_tokens",
                    Node::leaf(Said::Count(Count::Reasoning)),
                ),
            ]),
        ),
    ],
);

static ANSWER: Node<Said> = Node::object(&[
    ("model", Node::leaf(Said::Model)),
    ("data", Node::each(&IMAGE)),
    ("usage", USAGE),
    (
        "svg_usage",
        Node::object(&[
            ("input_tokens", Node::leaf(Said::Beside(Count::BesideInput))),
            (
                "output_tokens",
                Node::leaf(Said::Beside(Count::BesideOutput)),
            ),
        ]),
    ),
    ("error", ERROR),
]);

static IMAGE: Node<Said> = Node::leaf(Said::Image);

static EVENT: Node<Said> = Node::object(&[
    ("type", Node::leaf(Said::Kind)),
    ("model", Node::leaf(Said::Model)),
    // Of a partial image as of the last one.
    ("b64_json", Node::leaf(Said::Content)),
    ("usage", USAGE),
    ("error", ERROR),
    ("code", Node::leaf(Said::ErrorCode)),
    ("message", Node::leaf(Said::ErrorMessage)),
]);
