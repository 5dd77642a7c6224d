//! Which API a method and path call, and what of the path goes to the upstream.

use std::borrow::Cow;

use http::Method;

use crate::record::Api;

/// What a request's method and path say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'p> {
    /// The API called.
    pub api: Api,
    /// Whether the call makes something that is billed, or only looks after it.
    pub operation: Operation,
    /// The channel named by `/c/<channel>/…`, percent-decoded; `None` when the path names none.
    pub channel: Option<Cow<'p, str>>,
    /// The model a path names instead of the body: a classic Azure deployment, a Gemini model.
    pub model: Option<Cow<'p, str>>,
    /// What is appended to the upstream's base, as the client wrote it: starts with `/`, or is
    /// empty (`/v1` itself), or is `*` (`OPTIONS *`).
    pub rest: &'p str,
    /// What `rest` is appended to.
    pub base: PathBase,
}

/// Whether a call makes something billed. Usage is counted only where it arises: an answer that
/// shows a stored response again must not count it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A generation, an embedding, …: its answer's usage counts.
    Create,
    /// Retrieval, listing, deletion, cancelling, counting: usage in the answer is not new.
    Manage,
}

/// What the path's rest is appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathBase {
    /// The channel's whole `base_url` (`/v1/<rest>`).
    BaseUrl,
    /// Scheme and authority of the channel's `base_url` (every other path).
    Origin,
}

/// Why a path is refused with 400. Such a path could mean one thing to Tollgate and another to the
/// upstream (RFC 3986 §6.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPath {
    /// Neither `/…` nor `OPTIONS *`.
    #[error("the path does not begin with a slash; send an absolute path")]
    NotAbsolute,
    /// A `.` or `..` segment, plain or percent-encoded.
    #[error("the path has a dot segment; send it resolved")]
    DotSegment,
    /// A backslash, plain or percent-encoded.
    #[error("the path holds a backslash; separate segments by slashes")]
    Backslash,
    /// A space, NUL or control character, plain or percent-encoded, or a `?` or `#`.
    #[error("the path holds a character that no path may hold")]
    ForbiddenCharacter,
    /// A percent sign without two hexadecimal digits.
    #[error("the path holds a percent sign that begins no escape; write it as %25")]
    BadEscape,
    /// `/c/` without a channel name, or with one that is not UTF-8.
    #[error("the path names no channel after /c/; write /c/<channel>/v1/…")]
    BadChannel,
}

/// Reads the method and the path (without its query).
pub fn classify<'p>(method: &Method, path: &'p str) -> Result<Route<'p>, MalformedPath> {
    let _ = method;
    Ok(Route {
        api: Api::Other,
        operation: Operation::Manage,
        channel: None,
        model: None,
        rest: path,
        base: PathBase::Origin,
    })
}
