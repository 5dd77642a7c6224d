//! What the wire says: which API a path calls, what a request asks for, what the passing bytes of
//! an answer report, and how Tollgate answers in an API's own shape.
//!
//! Nothing here does I/O or knows time. Everything that reads a body works on fragments cut
//! anywhere, in bounded memory, and never fails a request: what cannot be read becomes a
//! [`MissingReason`].

mod answer;
mod api;
mod body;
mod bounds;
mod captured;
mod decode;
mod headers;
mod json;
mod meter;
mod models;
mod multipart;
mod observed;
mod reading;
mod rename;
mod request;
mod route;
mod sse;
mod strip;
mod text;
mod usage;
mod websocket;
mod words;

pub use answer::{ErrorAnswer, error_body, outcome_of};
pub use api::Stage;
pub use bounds::{Bounds, CacheWrites, Media, bounds, works_on_its_own};
pub use decode::{DecodeError, Decoder, UnsupportedEncoding};
pub use headers::{
    Credits, LimitsSeen, MediaType, ParsedTags, Pause, QuotaSeen, QuotaWindow, RateLimit,
    limits_seen, parse_tags, pause, retry_after, session, upstream_request_id,
};
pub use meter::{ResponseKind, ResponseMeter, Signals, states_usage};
pub use models::{ListShape, ListedModel, ModelsCall, ModelsPage, models_body, read_models};
pub use multipart::{FormReader, StatedModel};
pub use observed::{MissingReason, Observed, ProviderError};
pub use rename::{ModelPlace, Splice, spliced};
pub use request::{RequestFacts, inject_include_usage, knows_stream_options, read_request};
pub use route::{
    MalformedPath, Operation, PathBase, Route, classify, made_in_path, makes_to_keep,
    model_in_query, names_one_model,
};
pub use strip::UsageStripper;
pub use websocket::{Advance, Create, Dialogue, Leave, Refusal, Told, farewell, reads_socket};
pub use words::{AnswerText, RequestText, reads_text, writes_text};

#[cfg(test)]
mod tests;
