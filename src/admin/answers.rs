//! `/answers/{token}`: what the links in messages lead to, for receivers that cannot be answered in the
//! chat. A page says what would be done, and a button on it does it: chat apps and mail scanners look
//! at links before people do, and looking changes nothing.
//!
//! What guards it is the link's own signature (`dispatch::answering`), not the admin port's token.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use ring::digest;

use super::AdminState;
use super::access::names_this_machine_or;
use super::error::{ApiError, ErrorCode};
use super::serve::Peer;
use crate::clock::UnixMicros;
use crate::config::Language;
use crate::dispatch::answering::{Answerer, Peek, Standing};
use crate::notify::html::escaped;
use crate::notify::{Block, Message, Span};

/// What links need.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    answerer: Arc<Answerer>,
    /// The host of `admin.public_url`.
    host: Arc<str>,
}

impl Answers {
    pub(super) fn new(answerer: Arc<Answerer>, public_url: &Uri) -> Self {
        Self {
            answerer,
            host: public_url.host().unwrap_or_default().into(),
        }
    }
}

/// Which hosts may be named.
#[derive(Debug)]
struct Hosts {
    public: Arc<str>,
    loopback: bool,
}

/// The page, and what its button does. `loopback` says whether only this machine can reach the
/// listener.
pub(super) fn routes(answers: &Answers, loopback: bool) -> Router<Arc<AdminState>> {
    let hosts = Arc::new(Hosts {
        public: Arc::clone(&answers.host),
        loopback,
    });
    Router::new()
        .route("/answers/{token}", get(show).post(follow))
        .method_not_allowed_fallback(super::method_not_allowed)
        .layer(Extension(answers.clone()))
        .layer(middleware::from_fn(for_people))
        .layer(from_fn_with_state(hosts, known_host))
}

/// As elsewhere on this port, a name that a foreign web page brought along is refused; but a proxy
/// hands on the public name.
async fn known_host(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    if hosts.loopback && !names_this_machine_or(&request, &hosts.public) {
        return ApiError::new(
            ErrorCode::HostNotAllowed,
            "links are followed by the host of `admin.public_url` only",
        )
        .into_response();
    }
    next.run(request).await
}

/// Headers of a page for people: in no search, in no frame, nothing loaded.
async fn for_people(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let style = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex, nofollow, noarchive"),
    );
    response
}

/// What the link would do. Does nothing.
async fn show(Extension(answers): Extension<Answers>, Path(token): Path<String>) -> Response {
    let now = UnixMicros::now();
    let peeked = tokio::task::spawn_blocking(move || answers.answerer.peek(&token, now)).await;
    match peeked {
        Ok(peek) => page(&peek, true),
        Err(error) => fault(&error),
    }
}

/// Does what the link offers, once.
async fn follow(
    Extension(answers): Extension<Answers>,
    connection: Option<Extension<Peer>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let now = UnixMicros::now();
    let remote = remote(connection.map(|Extension(Peer(address))| address), &headers);
    let followed =
        tokio::task::spawn_blocking(move || answers.answerer.follow(&token, remote, now));
    match followed.await {
        Ok(peek) => page(&peek, false),
        Err(error) => fault(&error),
    }
}

fn fault(error: &tokio::task::JoinError) -> Response {
    tracing::error!(%error, "an answer by a link failed");
    ApiError::new(
        ErrorCode::Internal,
        "a fault of Tollgate's own; the log says which",
    )
    .into_response()
}

/// Who asks, for the audit. A proxy on this machine says whom it speaks for; of what stands in that
/// header only the last was written by it.
fn remote(peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let forwarded = || {
        let last = headers.get_all("x-forwarded-for").iter().next_back()?;
        let (_, last) = last
            .to_str()
            .ok()?
            .rsplit_once(',')
            .unwrap_or(("", last.to_str().ok()?));
        last.trim().parse().ok()
    };
    match peer {
        Some(peer) if peer.is_loopback() => forwarded().or(Some(peer)),
        peer => peer,
    }
}

const fn status(standing: Standing) -> StatusCode {
    match standing {
        Standing::Offered | Standing::Done => StatusCode::OK,
        Standing::Failed | Standing::Used => StatusCode::CONFLICT,
        Standing::Expired | Standing::Gone => StatusCode::GONE,
        Standing::Forged => StatusCode::FORBIDDEN,
        Standing::Unkept => StatusCode::SERVICE_UNAVAILABLE,
    }
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:12vh auto;\
                     padding:0 1.5em;color:#1c1e21;background:#fff}h1{font-size:1.1em}\
                     p,li{overflow-wrap:anywhere}button{font:inherit;padding:.6em 1.4em;border:0;\
                     border-radius:6px;background:#0b5fff;color:#fff}";

/// A page that stands by itself: no script, nothing loaded.
fn page(peek: &Peek, asks: bool) -> Response {
    let offers = asks && peek.standing == Standing::Offered;
    let (lang, confirm, heading) = match peek.language {
        Language::En if offers => ("en", "Do it", "Tollgate: do this?"),
        Language::En => ("en", "", "Tollgate"),
        Language::Zh if offers => ("zh-CN", "确认执行", "Tollgate：执行此操作？"),
        Language::Zh => ("zh-CN", "", "Tollgate"),
    };
    let mut body = format!(
        "<h1>{}</h1>\n<p>{}</p>\n",
        escaped(heading),
        escaped(&peek.text)
    );
    if let Some(message) = &peek.message {
        body.push_str(&blocks(message));
    }
    if offers {
        // Without an action it goes to the page's own address, whatever proxy is in front.
        let _infallible = writeln!(
            body,
            "<form method=\"post\"><button type=\"submit\">{}</button></form>",
            escaped(confirm)
        );
    }
    let html = format!(
        "<!doctype html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex, nofollow\">\n<title>Tollgate</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    );
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status(peek.standing), kind, html).into_response()
}

/// The body of a message, in plain words.
fn blocks(message: &Message) -> String {
    let mut html = String::new();
    for block in &message.body {
        let (spans, tag) = match block {
            Block::Heading(spans) => (spans, "h2"),
            Block::Line(spans) | Block::Item(spans) => (spans, "p"),
            Block::Divider => {
                html.push_str("<hr>\n");
                continue;
            }
        };
        let _infallible = write!(html, "<{tag}>");
        for span in spans {
            let (Span::Text(text) | Span::Bold(text) | Span::Code(text) | Span::Link { text, .. }) =
                span;
            html.push_str(&escaped(text));
        }
        let _infallible = writeln!(html, "</{tag}>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proxy_on_this_machine_speaks_for_others() {
        let headers = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_static(value));
            headers
        };
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let (local, other) = (address("127.0.0.1"), address("192.0.2.1"));
        for (peer, header, found) in [
            (local, "198.51.100.7", "198.51.100.7"),
            (local, "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            (local, "2001:db8::1", "2001:db8::1"),
            (local, "unknown", "127.0.0.1"),
            (local, "", "127.0.0.1"),
            (other, "198.51.100.7", "192.0.2.1"),
        ] {
            assert_eq!(remote(peer, &headers(header)), address(found), "{header}");
        }
        assert_eq!(remote(None, &headers("198.51.100.7")), None);
    }

    #[test]
    fn no_text_of_anybody_is_markup() {
        let hostile = "<script>alert('1')</script>\"&amp;";
        let escaped = escaped(hostile);
        assert!(!escaped.contains(['<', '>', '"', '\'']), "{escaped}");
        assert!(escaped.ends_with("&amp;amp;"), "{escaped}");
    }
}
