//! What a provider's failure means, and Tollgate's own errors in the shape of the API called.

use bytes::Bytes;
use serde_json::json;

use crate::record::{Api, Outcome};

/// What an upstream's answer means for the request, the same for every room that asks: `status` is
/// the HTTP status, `code` the provider's error code ([`ProviderError::code`](super::ProviderError)),
/// also when it came in an event inside a 200. The code decides before the status does: some
/// providers say out-of-money with 403 or inside a 200.
#[must_use]
pub fn outcome_of(status: u16, code: Option<&str>) -> Outcome {
    match (status, code) {
        (
            _,
            Some(
                "insufficient_quota"
                | "credit_balance_exhausted"
                | "organization_spend_limit_exceeded"
                | "project_spend_limit_exceeded"
                | "organization_usage_limit_exceeded"
                | "billing_not_active"
                | "billing_error"
                // OpenRouter repeats the status as the code, inside a 200 too.
                | "402",
            ),
        )
        | (402, _) => Outcome::QuotaExhausted,
        (
            _,
            Some(
                "rate_limit_exceeded" | "slow_down" | "rate_limit_error" | "RESOURCE_EXHAUSTED"
                | "429",
            ),
        )
        | (429, _) => Outcome::RateLimited,
        (_, Some(_)) | (400.., None) => Outcome::UpstreamError,
        (_, None) => Outcome::Ok,
    }
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
    let body = match api {
        Api::Messages => json!({
            "type": "error",
            "error": {"type": anthropic_type(status), "message": message},
        }),
        Api::Gemini => json!({
            "error": {"code": status, "message": message, "status": gemini_status(status)},
        }),
        _ => json!({
            "error": {"message": message, "type": kind, "param": null, "code": code},
        }),
    };
    ErrorAnswer {
        content_type: "application/json",
        body: Bytes::from(body.to_string()),
    }
}

/// Anthropic API, "Errors".
fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// `google.rpc.Code`, by its HTTP mapping.
fn gemini_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_before_the_status() {
        for (status, code, outcome) in [
            (200, None, Outcome::Ok),
            (304, None, Outcome::Ok),
            (429, Some("rate_limit_exceeded"), Outcome::RateLimited),
            (429, Some("slow_down"), Outcome::RateLimited),
            (429, None, Outcome::RateLimited),
            (429, Some("insufficient_quota"), Outcome::QuotaExhausted),
            (403, Some("billing_not_active"), Outcome::QuotaExhausted),
            (402, None, Outcome::QuotaExhausted),
            (401, Some("invalid_api_key"), Outcome::UpstreamError),
            (400, None, Outcome::UpstreamError),
            (503, Some("server_is_overloaded"), Outcome::UpstreamError),
            (529, None, Outcome::UpstreamError),
            (200, Some("server_error"), Outcome::UpstreamError),
            (200, Some("rate_limit_exceeded"), Outcome::RateLimited),
            (200, Some("RESOURCE_EXHAUSTED"), Outcome::RateLimited),
            (200, Some("429"), Outcome::RateLimited),
            (200, Some("402"), Outcome::QuotaExhausted),
            (200, Some("502"), Outcome::UpstreamError),
            (200, Some("overloaded_error"), Outcome::UpstreamError),
        ] {
            assert_eq!(outcome_of(status, code), outcome, "{status} {code:?}");
        }
    }

    #[test]
    fn errors_have_the_shape_of_the_api() {
        let text = |api| {
            let answer = error_body(api, 413, "invalid_request_error", "too_large", "a \"b\"");
            String::from_utf8(answer.body.to_vec()).unwrap()
        };
        let parse = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        assert_eq!(
            parse(text(Api::Chat)),
            json!({"error": {"message": "a \"b\"", "type": "invalid_request_error",
                "param": null, "code": "too_large"}})
        );
        assert_eq!(
            parse(text(Api::Messages)),
            json!({"type": "error", "error": {"type": "request_too_large", "message": "a \"b\""}})
        );
        assert_eq!(
            parse(text(Api::Gemini)),
            json!({"error": {"code": 413, "message": "a \"b\"", "status": "INVALID_ARGUMENT"}})
        );
    }
}
