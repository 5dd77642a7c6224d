//! Audio: `POST /v1/audio/transcriptions`, `/translations` and `/speech`.
//!
//! A transcription states its usage in tokens (`type: tokens`, with the singular
//! `input_token_details`) or in seconds (`type: duration`), in a JSON answer or in the event
//! `transcript.text.done`. As text or subtitles it states none, and what the audio's length was
//! billed at nobody can tell: usage is then missing. So it is for a translation, which states none in
//! any format. `duration` in a verbose answer is the length of the audio, not said to be what is
//! billed, and is not read.
//!
//! Speech is sound without a word about usage, unless a stream of events is asked for, which ends
//! with `speech.audio.done`. Models billed by the character are billed by the request's: those are
//! counted there.

use std::sync::LazyLock;

use super::super::json::Node;
use super::super::usage::{Count, UsageShape};
use super::{Also, Asked, Conventions, ERROR, Making, Said, Turn, finders};
use crate::record::Api;

pub(super) static CONVENTIONS: Conventions = Conventions {
    api: Api::Audio,
    paths: &["audio"],
    creates: &["audio/transcriptions", "audio/translations", "audio/speech"],
    usage_on_request: false,
    request: &REQUEST,
    answer: &ANSWER,
    event: &EVENT,
    also: Also::Opaque,
    needles: LazyLock::new(|| {
        finders(&[
            "\"usage\"",
            "\"error\"",
            "\"transcript.text.done\"",
            "\"speech.audio.done\"",
        ])
    }),
    turn,
    usage: Some(UsageShape::OPENAI),
    making: Making::AT_ONCE,
    words: None,
};

fn turn(kind: &str) -> Turn {
    match kind {
        "transcript.text.done" => Turn::End,
        "speech.audio.done" => Turn::EndOfSpeech,
        "error" => Turn::Failure,
        _ => Turn::On,
    }
}

static REQUEST: Node<Asked> = Node::group(
    Asked::Body,
    &[
        ("model", Node::leaf(Asked::Model)),
        ("input", Node::leaf(Asked::Input)),
        ("stream_format", Node::leaf(Asked::StreamFormat)),
        ("user", Node::leaf(Asked::User)),
        ("safety_identifier", Node::leaf(Asked::SafetyIdentifier)),
    ],
);

static ANSWER: Node<Said> = Node::object(&[
    ("model", Node::leaf(Said::Model)),
    ("usage", USAGE),
    ("error", ERROR),
]);

static EVENT: Node<Said> = Node::object(&[
    ("type", Node::leaf(Said::Kind)),
    ("model", Node::leaf(Said::Model)),
    // Of the transcript, and of the sound.
    ("delta", Node::leaf(Said::Content)),
    ("audio", Node::leaf(Said::Content)),
    ("usage", USAGE),
    ("error", ERROR),
    ("code", Node::leaf(Said::ErrorCode)),
    ("message", Node::leaf(Said::ErrorMessage)),
]);

/// `usage` of a transcription, in Realtime too.
pub(super) const USAGE: Node<Said> = Node::group(
    Said::Usage,
    &[
        ("input_tokens", Node::leaf(Said::Count(Count::InputOfAudio))),
        ("output_tokens", Node::leaf(Said::Count(Count::Output))),
        ("total_tokens", Node::leaf(Said::Count(Count::Total))),
        (
            "input_token_details",
            Node::object(&[
                ("audio_tokens", Node::leaf(Said::Count(Count::InputAudio))),
                ("text_tokens", Node::leaf(Said::Count(Count::InputText))),
                ("cached_tokens", Node::leaf(Said::Count(Count::Cached))),
            ]),
        ),
        ("seconds", Node::leaf(Said::Seconds)),
    ],
);
