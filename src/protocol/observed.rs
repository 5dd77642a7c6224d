//! What was seen in an answer.

use super::api::Stage;
use crate::money::NanoUsd;
use crate::record::{Usage, UsageSource};

/// What the passing bytes of an answer said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub struct Observed {
    /// The provider's numbers; `None` while none were stated. Their source is `reported`, or, once
    /// the body has ended, `partial` where more was to come when they were stated.
    pub usage: Option<Usage>,
    /// What the provider says it charged.
    pub stated_cost: Option<NanoUsd>,
    /// The model that answered.
    pub served_model: Option<Box<str>>,
    /// The service tier, by the provider's last word.
    pub service_tier: Option<Box<str>>,
    /// The response's own id (`chatcmpl-…`, `resp_…`).
    pub response_id: Option<Box<str>>,
    /// What was used is of several models: no price fits the sum.
    pub several_models: bool,
    /// When the thing that a batch's answer shows was made, in seconds since 1970.
    pub made_at_s: Option<u64>,
    /// How far what is made in a while is; `None` where the answer does not say.
    pub stage: Option<Stage>,
    /// The provider's error: an error body, an error event, or `response.error`; `None` also when
    /// it failed without a word.
    pub error: Option<ProviderError>,
    /// The answer is a failure whatever its status: an error event or `response.failed` in a 200.
    pub failed: bool,
    /// The end was announced: `[DONE]`, a terminal Responses event, or the whole JSON value.
    pub terminal_seen: bool,
    /// A content-bearing delta was seen; streams only.
    pub first_content_seen: bool,
    /// A stream with content whose body ended without any sign of the end that its API announces: a
    /// terminal event, a reason to finish, `[DONE]`. Set by
    /// [`ResponseMeter::finish`](super::ResponseMeter::finish), where the whole body was read.
    pub cut_short: bool,
    /// Why there is no usage; set by [`ResponseMeter::finish`](super::ResponseMeter::finish) when
    /// usage should be there and is not.
    pub missing_reason: Option<MissingReason>,
}

/// A provider's error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderError {
    /// `code`, else the Gemini `status` (of a bad key its `reason`), else `type`; at most 128 bytes.
    pub code: Option<Box<str>>,
    /// `type`; at most 128 bytes.
    pub kind: Option<Box<str>>,
    /// The text, at most 1 KiB, with what looks like a credential masked.
    pub message: Option<Box<str>>,
}

/// Why an answer that should state its usage has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissingReason {
    /// The answer is whole and states none.
    NoUsageInBody,
    /// The answer ended before it was complete.
    Truncated,
    /// The answer is not the JSON or the event stream it says it is.
    Malformed,
    /// `Content-Encoding` is unknown, or its bytes do not decode; a WebSocket agreed on an extension.
    Undecodable,
    /// Decoding was given up: far more decoded bytes than any answer has.
    TooLarge,
    /// The provider reported a failure after it had begun to answer.
    Failed,
    /// The response is still being made (background mode).
    Pending,
    /// The answer passed in a shape that Tollgate does not read.
    NotRead,
}

impl MissingReason {
    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoUsageInBody => "no_usage_in_body",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::NotRead => "not_read",
        }
    }
}

impl Observed {
    /// The usage to record: the provider's, else none at all with the source that
    /// `missing_reason` asks for.
    #[must_use]
    pub fn usage_or_absent(&self) -> Usage {
        self.usage
            .unwrap_or(Usage::absent(if self.missing_reason.is_some() {
                UsageSource::Missing
            } else {
                UsageSource::None
            }))
    }
}

impl Observed {
    pub(super) fn retained_bytes(&self) -> usize {
        let error = self.error.as_ref();
        [&self.served_model, &self.service_tier, &self.response_id]
            .into_iter()
            .chain(error.map(|error| &error.code))
            .chain(error.map(|error| &error.kind))
            .chain(error.map(|error| &error.message))
            .flatten()
            .map(|text| text.len())
            .sum()
    }
}

impl ProviderError {
    /// From the members of an error object; empty where one was not stated.
    pub(super) fn new(code: &str, status: &str, kind: &str, message: &str) -> Self {
        let stated = |text: &str| (!text.is_empty()).then(|| Box::from(text));
        // A numeric code repeats the HTTP status; any word says more.
        let numeric = code.bytes().all(|byte| byte.is_ascii_digit());
        let words = [if numeric { "" } else { code }, status, kind, code];
        Self {
            code: words
                .into_iter()
                .find(|word| !word.is_empty())
                .map(Box::from),
            kind: stated(kind),
            message: stated(&mask_credentials(message)),
        }
    }
}

/// How provider keys begin. Some providers repeat the key they refuse.
const KEY_PREFIXES: &[&str] = &[
    "sk-", "rk-", "pk-", "ek-", "ek_", "xai-", "gsk_", "AIza", "eyJ",
];

/// `text` with every word that looks like a provider key or a token (RFC 7519) replaced.
fn mask_credentials(text: &str) -> String {
    let is_key_character =
        |character: char| character.is_ascii_alphanumeric() || "-_.*".contains(character);
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_key_character) {
        let (between, word_on) = rest.split_at(start);
        let length = word_on
            .find(|character| !is_key_character(character))
            .unwrap_or(word_on.len());
        let (word, after) = word_on.split_at(length);
        masked.push_str(between);
        let is_key = length >= 8 && KEY_PREFIXES.iter().any(|prefix| word.starts_with(prefix));
        masked.push_str(if is_key { "[masked]" } else { word });
        rest = after;
    }
    masked.push_str(rest);
    masked
}
