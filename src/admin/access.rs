//! Who may ask: tokens, and the guard against foreign web pages.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, header};

use super::error::{ApiError, ErrorCode};
use crate::config::Secret;

/// The rule of one part of the admin port.
#[derive(Debug)]
pub(super) struct Access {
    /// What to show; nothing where `None`.
    pub(super) token: Option<Secret>,
    /// What also opens it to those who change nothing; nothing without a `token`.
    pub(super) read_token: Option<Secret>,
    /// Whether only this machine can reach the listener.
    pub(super) loopback: bool,
}

/// Lets a request pass that the rule allows.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    match access.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

impl Access {
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        match &self.token {
            Some(token) => self.check_token(token, request),
            // Without a token, being on this machine is what lets a client in. A web page that a
            // user of this machine opens is on this machine too: through DNS rebinding its own
            // host name comes to point at 127.0.0.1, and the browser lets the page read the
            // answers as its own. But the browser still sends the page's name as `Host`.
            None if self.loopback && !names_this_machine(request) => Err(ApiError::new(
                ErrorCode::HostNotAllowed,
                "without a token this port answers only to `localhost`, 127.0.0.0/8 and [::1] as \
                 `Host`; ask there, or set `admin.token_file`",
            )),
            // A page need not be able to read an answer to change something by asking. It cannot
            // hide where it comes from, though (Fetch, 3.1 "Origin header").
            None if changes_something(request.method())
                && request.headers().contains_key(header::ORIGIN) =>
            {
                Err(ApiError::new(
                    ErrorCode::OriginNotAllowed,
                    "without a token nothing is changed for a web page (the request has an \
                     `Origin`); ask from a program, or set `admin.token_file`",
                ))
            }
            None => Ok(()),
        }
    }

    fn check_token(&self, token: &Secret, request: &Request) -> Result<(), ApiError> {
        let shown = bearer(request.headers()).unwrap_or_default();
        if token.matches(shown) {
            return Ok(());
        }
        let reads = self.read_token.as_ref();
        if !reads.is_some_and(|token| token.matches(shown)) {
            return Err(ApiError::new(
                ErrorCode::InvalidToken,
                "this path wants `Authorization: Bearer <token>` with a token of the settings: for \
                 /api/v1/ that of `admin.read_token_file`, which reads and is the one for Grafana, \
                 or that of `admin.token_file`, which may change everything; for the rest that of \
                 `admin.metrics_token_file`",
            ));
        }
        if changes_something(request.method()) {
            return Err(ApiError::new(
                ErrorCode::ReadOnlyToken,
                "the token of `admin.read_token_file` changes nothing; show that of \
                 `admin.token_file`",
            ));
        }
        Ok(())
    }
}

fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The token that a request shows (RFC 6750, 2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

/// Whether every name a request gives its host (none in HTTP/1.0) means this machine.
fn names_this_machine(request: &Request) -> bool {
    names_only(request, is_loopback_authority)
}

/// Whether every name a request gives its host means this machine, or is `public`: that of the
/// address by which people reach this port, whatever proxy is in between.
pub(super) fn names_this_machine_or(request: &Request, public: &str) -> bool {
    names_only(request, |authority| {
        let named = authority.parse::<http::uri::Authority>();
        is_loopback_authority(authority)
            || named.is_ok_and(|named| named.host().eq_ignore_ascii_case(public))
    })
}

fn names_only(request: &Request, is_known: impl Fn(&str) -> bool) -> bool {
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    let hosts = request.headers().get_all(header::HOST);
    hosts
        .iter()
        .map(|host| host.to_str().unwrap_or(""))
        .chain(target)
        .all(is_known)
}

/// Whether `host[:port]` is a loopback address or a name that always means one (RFC 6761, 6.3).
fn is_loopback_authority(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else {
        return false;
    };
    let host = authority.host().to_ascii_lowercase();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.strip_suffix('.').unwrap_or(host);
    name == "localhost"
        || name.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Headers of every answer: nothing here is for a browser to interpret, embed or keep. A page for
/// people says itself what it may load.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_machine() {
        for host in [
            "localhost",
            "LOCALHOST:8081",
            "localhost.",
            "tollgate.localhost:1",
            "127.0.0.1:8081",
            "127.9.9.9",
            "[::1]:8081",
            "[::1]",
        ] {
            assert!(is_loopback_authority(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::2]",
            "localhost@evil.example",
        ] {
            assert!(!is_loopback_authority(host), "{host}");
        }
    }

    #[test]
    fn reads_a_bearer_token() {
        let shown = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(shown("Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(shown("bearer  abc "), Some(b"abc".to_vec()));
        assert_eq!(shown("Basic abc"), None);
        assert_eq!(shown("Bearer"), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
