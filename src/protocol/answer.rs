//! What a provider's failure means, and Tollgate's own errors in the shape of the API called.

use bytes::Bytes;

use crate::record::{Api, Outcome};

/// What an upstream's answer means for the request, the same for every room that asks: `status` is
/// the HTTP status, `code` the provider's error code ([`ProviderError::code`](super::ProviderError)),
/// also when it came in an event inside a 200.
#[must_use]
pub fn outcome_of(status: u16, code: Option<&str>) -> Outcome {
    let _ = (status, code);
    Outcome::Ok
}

/// An error answer of Tollgate's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// An error body in the shape of `api`: `kind` becomes `error.type`, `code` becomes `error.code`.
/// Anthropic's and Gemini's shapes have their own closed words, chosen by `status`.
#[must_use]
pub fn error_body(api: Api, status: u16, kind: &str, code: &str, message: &str) -> ErrorAnswer {
    let _ = (api, status, kind, code, message);
    ErrorAnswer {
        content_type: "application/json",
        body: Bytes::new(),
    }
}
