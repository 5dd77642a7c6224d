//! The bytes of requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::payloads::{Content, StoredBody, StoredPayload};
use crate::record::{Outcome, RequestId};

/// The bytes of one request and its answer, as far as they were kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PayloadJson {
    /// The request's id.
    #[schema(value_type = String, format = "uuid")]
    pub id: RequestId,
    /// How it ended.
    pub outcome: Outcome,
    /// The request.
    pub request: RequestPayload,
    /// The upstream's answer; `null` when there was none, also where Tollgate itself answered.
    pub answer: Option<AnswerPayload>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestPayload {
    /// The HTTP method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The headers as the client sent them, credentials replaced.
    pub headers: Vec<HeaderJson>,
    /// The body as it went to the upstream.
    pub body: BodyPayload,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerPayload {
    /// The HTTP status.
    pub status: u16,
    /// The headers as the client got them, credentials replaced.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BodyPayload {
    /// Its size as it passed, in bytes: before it was decoded, cut and redacted.
    pub bytes: u64,
    /// Whether only the beginning was kept.
    pub truncated: bool,
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
            bytes: stored.bytes,
            truncated: stored.truncated,
            text,
            base64,
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
            request: RequestPayload {
                method: stored.request.method,
                path: stored.request.path,
                headers: headers(stored.request.headers),
                body: stored.request.body.into(),
            },
            answer: stored.answer.map(|answer| AnswerPayload {
                status: answer.status,
                headers: headers(answer.headers),
                body: answer.body.into(),
            }),
        }
    }
}
