//! The bytes of requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::payloads::{Content, StoredBody, StoredPayload};
use crate::record::{Outcome, RequestId};

/// The bytes of one request and its answer, as far as they were kept. Its parts are there always, so that
/// a reader of one part need not know whether there is any; what was not kept is `null` in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PayloadJson {
    /// The request's id.
    #[schema(value_type = String, format = "uuid")]
    pub id: RequestId,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the bytes were kept and have not expired; `payloads.capture` of the settings says of which
    /// requests they are.
    pub captured: bool,
    /// The request.
    pub request: RequestPayload,
    /// The upstream's answer.
    pub answer: AnswerPayload,
}

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestPayload {
    /// The HTTP method.
    pub method: Option<String>,
    /// The path, without its query.
    pub path: Option<String>,
    /// The headers as the client sent them, credentials replaced; empty where none were kept.
    pub headers: Vec<HeaderJson>,
    /// The body as it went to the upstream.
    pub body: BodyPayload,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerPayload {
    /// The HTTP status; `null` when no upstream answered, also where Tollgate itself did.
    pub status: Option<u16>,
    /// The headers as the client got them, credentials replaced; empty where none were kept.
    pub headers: Vec<HeaderJson>,
    /// The body as it went to the client.
    pub body: BodyPayload,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeaderJson {
    /// Its name, in lower case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A body: decoded, and with `[redacted]` in place of what must not be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BodyPayload {
    /// Its size as it passed, in bytes: before it was decoded, cut and redacted.
    pub bytes: Option<u64>,
    /// Whether only the beginning was kept.
    pub truncated: Option<bool>,
    /// What was kept, where it is text; else `null`.
    pub text: Option<String>,
    /// What was kept, in base64, where it is no text; else `null`.
    pub base64: Option<String>,
}

impl From<StoredBody> for BodyPayload {
    fn from(stored: StoredBody) -> Self {
        let (text, base64) = match stored.content {
            Content::Text(text) => (Some(text), None),
            Content::Base64(base64) => (None, Some(base64)),
        };
        Self {
            bytes: Some(stored.bytes),
            truncated: Some(stored.truncated),
            text,
            base64,
        }
    }
}

impl PayloadJson {
    /// That of a request whose bytes were not kept, or not any more.
    #[must_use]
    pub fn not_captured(id: RequestId, outcome: Outcome) -> Self {
        Self {
            id,
            outcome,
            captured: false,
            request: RequestPayload::default(),
            answer: AnswerPayload::default(),
        }
    }
}

impl From<StoredPayload> for PayloadJson {
    fn from(stored: StoredPayload) -> Self {
        let headers = |headers: Vec<(String, String)>| {
            let headers = headers.into_iter();
            headers
                .map(|(name, value)| HeaderJson { name, value })
                .collect()
        };
        Self {
            id: stored.id,
            outcome: stored.outcome,
            captured: true,
            request: RequestPayload {
                method: Some(stored.request.method),
                path: Some(stored.request.path),
                headers: headers(stored.request.headers),
                body: stored.request.body.into(),
            },
            answer: stored
                .answer
                .map_or_else(AnswerPayload::default, |answer| AnswerPayload {
                    status: Some(answer.status),
                    headers: headers(answer.headers),
                    body: answer.body.into(),
                }),
        }
    }
}
