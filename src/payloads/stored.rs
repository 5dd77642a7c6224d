//! A payload as it is stored: nothing in it is secret any more.

use serde::{Deserialize, Serialize};

use crate::config::JsonPath;
use crate::record::{Outcome, RequestId};

use super::secrets::Secrets;
use super::{Payload, content};

/// One request and its answer, as the file has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPayload {
    /// The request's id.
    pub id: RequestId,
    /// How it ended.
    pub outcome: Outcome,
    /// The request.
    pub request: StoredRequest,
    /// The upstream's answer; `None` when there was none.
    pub answer: Option<StoredAnswer>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRequest {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// Names and values, those of credentials replaced.
    pub headers: Vec<(String, String)>,
    /// The body as it went to the upstream.
    pub body: StoredBody,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Names and values, those of credentials replaced.
    pub headers: Vec<(String, String)>,
    /// The body as it went to the client.
    pub body: StoredBody,
}

/// A body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBody {
    /// Its size as it passed: before it was decoded, cut and redacted.
    pub bytes: u64,
    /// Only the beginning was kept, or only that could be decoded.
    pub truncated: bool,
    /// What was kept.
    #[serde(flatten)]
    pub content: Content,
}

/// What was kept of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// It is text.
    Text(String),
    /// It is not: its bytes in base64 (RFC 4648, section 4).
    Base64(String),
}

impl StoredPayload {
    /// Takes out what must not be stored.
    pub(super) fn of(payload: &Payload, paths: &[JsonPath]) -> Self {
        let secrets = Secrets::of(payload);
        let request = &payload.request;
        Self {
            id: payload.id,
            outcome: payload.outcome,
            request: StoredRequest {
                method: request.method.to_string(),
                path: secrets.masked_text(request.uri.path().as_bytes()),
                headers: secrets.headers(&request.headers),
                body: content::stored(&request.body, &request.headers, paths, &secrets),
            },
            answer: payload.answer.as_ref().map(|answer| StoredAnswer {
                status: answer.status,
                headers: secrets.headers(&answer.headers),
                body: content::stored(&answer.body, &answer.headers, paths, &secrets),
            }),
        }
    }
}
