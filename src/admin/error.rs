//! The one place that turns a failure into an answer.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::ledger::QueryError;
use crate::record::closed_set;

closed_set! {
    /// What went wrong, for programs.
    ErrorCode ("error code") {
        /// No token, or not the right one.
        InvalidToken => "invalid_token",
        /// The `Host` header names another machine.
        HostNotAllowed => "host_not_allowed",
        /// A query parameter that does not exist.
        UnknownParameter => "unknown_parameter",
        /// A query or path parameter whose value makes no sense.
        InvalidParameter => "invalid_parameter",
        /// No such path, or no such request.
        NotFound => "not_found",
        /// The path exists, the method does not.
        MethodNotAllowed => "method_not_allowed",
        /// There is no ledger to read.
        NoLedger => "no_ledger",
        /// Too many questions at once.
        Busy => "busy",
        /// The ledger cannot be read, or a fault of Tollgate's own.
        Internal => "internal",
        /// A web page wants to change something, and there is no token.
        OriginNotAllowed => "origin_not_allowed",
        /// The name is in use.
        Conflict => "conflict",
        /// A price file is wrong: nothing is priced by it.
        InvalidPrices => "invalid_prices",
        /// The token shown may read and nothing else.
        ReadOnlyToken => "read_only_token",
    }
}

impl ErrorCode {
    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::HostNotAllowed | Self::OriginNotAllowed | Self::ReadOnlyToken => {
                StatusCode::FORBIDDEN
            }
            Self::UnknownParameter | Self::InvalidParameter => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoLedger | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal | Self::InvalidPrices => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The coarse kind, in the words of the APIs that are proxied.
    const fn kind(self) -> &'static str {
        match self {
            Self::InvalidToken => "authentication_error",
            Self::HostNotAllowed | Self::OriginNotAllowed | Self::ReadOnlyToken => {
                "permission_error"
            }
            Self::UnknownParameter
            | Self::InvalidParameter
            | Self::NotFound
            | Self::Conflict
            | Self::MethodNotAllowed => "invalid_request_error",
            Self::NoLedger | Self::Busy | Self::Internal | Self::InvalidPrices => "server_error",
        }
    }
}

/// Why a request to the admin port has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    parameter: Option<String>,
}

impl ApiError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            parameter: None,
        }
    }

    /// What went wrong.
    pub(super) const fn code(&self) -> ErrorCode {
        self.code
    }

    pub(super) fn parameter(code: ErrorCode, name: &str, message: impl Into<String>) -> Self {
        Self {
            parameter: Some(name.to_owned()),
            ..Self::new(code, message)
        }
    }

    /// The answer to a question the ledger could not answer. The reason is logged here and not
    /// told: it holds paths.
    pub(super) fn ledger(error: &QueryError) -> Self {
        if matches!(error, QueryError::NoLedger { .. }) {
            return Self::new(
                ErrorCode::NoLedger,
                "there is no ledger yet; the log says whether it can be opened",
            );
        }
        if matches!(error, QueryError::TierWithinHour) {
            return Self::parameter(ErrorCode::InvalidParameter, "by", error.to_string());
        }
        tracing::error!(%error, "the ledger cannot be read for the admin API");
        Self::new(
            ErrorCode::Internal,
            "the ledger cannot be read; the log says why",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ErrorBody {
            error: ErrorDetail {
                message: self.message,
                kind: self.code.kind().to_owned(),
                param: self.parameter,
                code: self.code.as_str().to_owned(),
            },
        };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, 11.6.1: a 401 says how to authenticate.
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Every failure's body, in OpenAI's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The failure.
    pub error: ErrorDetail,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// For people.
    pub message: String,
    /// The coarse kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The parameter that is at fault.
    pub param: Option<String>,
    /// What went wrong, for programs.
    #[schema(value_type = ErrorCode)]
    pub code: String,
}

/// The failures that any path under `/api/v1/` can answer with, for the OpenAPI document.
pub(super) struct AnyFailure;

impl IntoResponses for AnyFailure {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        [
            ("400", "A parameter is unknown or makes no sense."),
            ("401", "No token, or not the right one."),
            (
                "403",
                "The `Host` header names another machine, or a web page wants a change.",
            ),
            (
                "500",
                "The ledger cannot be read, or a price file is wrong.",
            ),
            ("503", "There is no ledger, or too many questions at once."),
        ]
        .into_iter()
        .map(|(status, description)| {
            let body = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("ErrorBody")))
                .build();
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/json", body)
                .build();
            (status.to_owned(), response.into())
        })
        .collect()
    }
}
