//! The request's head on its way to the upstream: whose credential it carries, and what is withheld.
//! And what is withheld of the answer's.

use std::borrow::Cow;

use http::HeaderName;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST,
    SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING,
};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{ErrorType, OrErr as _};

use crate::channel::{Channel, Credential, key_in_pair};
use crate::config::{CREDENTIAL_HEADERS, Secret, holds_credential, secrets_in};

/// The prefix of Tollgate's own headers.
const OWN_PREFIX: &str = "x-tollgate-";

/// Where proxies say whom they speak for. The upstream is not told: it would learn who stands
/// behind Tollgate.
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// Credentials of one request that are looked up.
const MOST_SHOWN: usize = 8;

/// Whether a header of that name carries a credential.
pub(super) fn is_credential(name: &HeaderName) -> bool {
    CREDENTIAL_HEADERS.contains(&name.as_str())
}

/// The credentials that a request came with and goes out with: the client's own and the channel's.
/// Longer ones first, since one may stand in another.
pub(super) fn credentials(head: &RequestHeader, channel: Option<&Channel>) -> Vec<Secret> {
    let in_headers = head
        .headers
        .iter()
        .filter(|(name, _)| holds_credential(name))
        .filter_map(|(_, value)| str::from_utf8(value.as_bytes()).ok())
        .flat_map(secrets_in);
    let as_protocols = protocols(head).filter_map(key_of_protocol);
    let mut credentials: Vec<_> = in_headers.chain(as_protocols).map(Secret::new).collect();
    for pair in head.uri.query().unwrap_or_default().split('&') {
        if let Some(decoded) = key_in_pair(pair) {
            // As it stands there, and as whoever reads it would quote it.
            let raw = pair.split_once('=').map_or("", |(_, value)| value);
            credentials.push(Secret::new(&*decoded));
            if raw != decoded {
                credentials.push(Secret::new(raw));
            }
        }
    }
    let of_channel = channel.map(|channel| channel.secrets.as_slice());
    credentials.extend_from_slice(of_channel.unwrap_or_default());
    credentials.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
    credentials
}

/// The headers in which the client shows a credential, as they stand.
pub(super) fn credential_fields(head: &RequestHeader) -> Vec<Credential> {
    let fields = head
        .headers
        .iter()
        .filter(|(name, _)| is_credential(name))
        .map(|(name, value)| {
            let mut value = value.clone();
            value.set_sensitive(true);
            (name.clone(), value)
        });
    fields.collect()
}

/// What the client shows of itself: its credentials in the order of the places that it may put them
/// in, none of them empty. No more than [`MOST_SHOWN`], for each is looked up.
pub(super) fn shown(head: &RequestHeader) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let in_headers = CREDENTIAL_HEADERS
        .iter()
        .flat_map(|&name| head.headers.get_all(name))
        .map(|value| Cow::Borrowed(without_bearer(value.as_bytes())));
    let as_protocols = protocols(head)
        .filter_map(key_of_protocol)
        .map(|key| Cow::Borrowed(key.as_bytes()));
    let query = head.uri.query().unwrap_or_default();
    let in_query = query
        .split('&')
        .filter_map(key_in_pair)
        .map(|key| match key {
            Cow::Borrowed(key) => Cow::Borrowed(key.as_bytes()),
            Cow::Owned(key) => Cow::Owned(key.into_bytes()),
        });
    in_headers
        .chain(as_protocols)
        .chain(in_query)
        .filter(|key| !key.is_empty())
        .take(MOST_SHOWN)
}

/// The token of an `Authorization` field, whose scheme has no case (RFC 9110, 11.1). Keys come with
/// no other scheme.
fn without_bearer(value: &[u8]) -> &[u8] {
    const BEARER: &[u8] = b"Bearer ";
    match value.split_at_checked(BEARER.len()) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(BEARER) => key.trim_ascii(),
        _ => value.trim_ascii(),
    }
}

/// Takes the client's credentials out, wherever it may have put them: they are this gateway's, and
/// nobody behind it is to see them.
pub(super) fn withhold_credentials(head: &mut RequestHeader) -> pingora::Result<()> {
    for name in CREDENTIAL_HEADERS {
        head.remove_header(name);
    }
    withhold_key(head)?;
    let Some(query) = head.uri.query() else {
        return Ok(());
    };
    let Cow::Owned(kept) = without_key(query) else {
        return Ok(());
    };
    let mut target = head.uri.path().to_owned();
    if !kept.is_empty() {
        target.push('?');
        target.push_str(&kept);
    }
    let mut parts = head.uri.clone().into_parts();
    let malformed = "the path fits no URI";
    parts.path_and_query = Some(
        target
            .parse()
            .or_err(ErrorType::InvalidHTTPHeader, malformed)?,
    );
    let uri = http::Uri::from_parts(parts).or_err(ErrorType::InvalidHTTPHeader, malformed)?;
    head.set_uri(uri);
    Ok(())
}

/// The query without what is a credential in it.
fn without_key(query: &str) -> Cow<'_, str> {
    let is_key = |pair: &str| key_in_pair(pair).is_some();
    if !query.split('&').any(is_key) {
        return Cow::Borrowed(query);
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_key(pair)).collect();
    Cow::Owned(kept.join("&"))
}

/// What the body means for the head.
pub(super) struct Framing {
    /// The body was read whole and has this many bytes.
    pub(super) whole_bytes: Option<usize>,
    /// The answer must come plain, because traces of the usage asked for are taken out of it.
    pub(super) plain_answer: bool,
    /// The client compressed the body, and it goes unpacked.
    pub(super) unpacked: bool,
}

/// Makes `head`, whose path is the upstream's already, the one it gets. Hop-by-hop fields are gone:
/// Pingora removes them, and those that `Connection` names, before this.
pub(super) fn prepare(
    head: &mut RequestHeader,
    channel: &Channel,
    framing: &Framing,
) -> pingora::Result<()> {
    withhold(head);
    if let Some((credential, value)) = channel.credential_for(head.uri.path()) {
        for name in CREDENTIAL_HEADERS {
            head.remove_header(name);
        }
        withhold_key(head)?;
        head.insert_header(credential.clone(), value.clone())?;
    }
    for (name, value) in &channel.headers {
        head.insert_header(name.clone(), value.clone())?;
    }
    head.insert_header(HOST, channel.host.clone())?;
    if let Some(bytes) = framing.whole_bytes {
        if stated_length(head) != Some(bytes) {
            head.insert_header(CONTENT_LENGTH, bytes)?;
        }
        // Answered here, when the body was read.
        head.remove_header(&EXPECT);
    }
    if framing.unpacked {
        head.remove_header(&CONTENT_ENCODING);
    }
    if framing.plain_answer {
        head.insert_header(ACCEPT_ENCODING, "identity")?;
    }
    Ok(())
}

/// Where a browser, which cannot set a header on a WebSocket, puts its credential.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

/// Takes a credential out of the protocols that a WebSocket's client offers.
fn withhold_key(head: &mut RequestHeader) -> pingora::Result<()> {
    if !head.headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(());
    }
    let offered: Vec<String> = protocols(head)
        .filter(|name| key_of_protocol(name).is_none())
        .map(str::to_owned)
        .collect();
    head.remove_header(&SEC_WEBSOCKET_PROTOCOL);
    if !offered.is_empty() {
        head.insert_header(SEC_WEBSOCKET_PROTOCOL, offered.join(", "))?;
    }
    Ok(())
}

/// The protocols that a WebSocket's client offers.
fn protocols(head: &RequestHeader) -> impl Iterator<Item = &str> {
    head.headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn key_of_protocol(name: &str) -> Option<&str> {
    let (prefix, key) = name.split_at_checked(KEY_PROTOCOL.len())?;
    prefix.eq_ignore_ascii_case(KEY_PROTOCOL).then_some(key)
}

fn stated_length(head: &RequestHeader) -> Option<usize> {
    let value = head.headers.get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// One pass over the names: most requests carry nothing that is withheld.
fn withhold(head: &mut RequestHeader) {
    let withheld: Vec<HeaderName> = head
        .headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with(FORWARDED_PREFIX)
                || name.starts_with(OWN_PREFIX)
                || matches!(name, "forwarded" | "via" | "x-real-ip")
        })
        .cloned()
        .collect();
    for name in &withheld {
        head.remove_header(name);
    }
}

/// Takes the fields out of an answer that concern the upstream's connection only: those that its
/// `Connection` names, and those that some servers do not name (RFC 9110, 7.6.1). Framing stays:
/// it is Pingora's to translate. `Connection` itself Pingora writes anew.
pub(super) fn withhold_from_client(header: &mut ResponseHeader) {
    const OF_THE_CONNECTION: [&str; 2] = ["keep-alive", "proxy-connection"];
    let concerned =
        |name: &HeaderName| *name == CONNECTION || OF_THE_CONNECTION.contains(&name.as_str());
    if !header.headers.keys().any(concerned) {
        return;
    }
    let named: Vec<HeaderName> = header
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| ![CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
        .collect();
    for name in &named {
        header.remove_header(name);
    }
    for name in OF_THE_CONNECTION {
        header.remove_header(name);
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::channel::Registry;
    use crate::config::ChannelSettings;

    fn channel(base: &str, key: Option<&str>) -> std::sync::Arc<Channel> {
        let settings = ChannelSettings {
            api_key: key.map(Secret::new),
            ..ChannelSettings::openai(base.parse().unwrap())
        };
        let registry = Registry::of(vec![settings]).unwrap();
        std::sync::Arc::clone(registry.iter().next().unwrap())
    }

    #[test]
    fn credentials_are_found_wherever_clients_put_them() {
        let target = b"/v1/realtime?api-key=a%2Bb&model=m&key=plain";
        let mut head = RequestHeader::build("GET", target, None).unwrap();
        head.insert_header(AUTHORIZATION, "Bearer sk-client")
            .unwrap();
        let offered = "realtime, openai-insecure-api-key.ek_client";
        head.insert_header(SEC_WEBSOCKET_PROTOCOL, offered).unwrap();
        let found = credentials(&head, Some(&channel("http://a", Some("sk-channel"))));
        assert_eq!(
            found.iter().map(Secret::expose).collect::<Vec<_>>(),
            [
                "sk-channel",
                "sk-client",
                "ek_client",
                "a%2Bb",
                "plain",
                "a+b"
            ]
        );
    }

    fn full(target: &[u8]) -> RequestHeader {
        let mut head = RequestHeader::build("GET", target, None).unwrap();
        for (name, value) in [
            ("authorization", "bEARER  tg-1 "),
            ("x-api-key", "tg-3"),
            ("x-goog-api-key", "tg-4"),
            (
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.tg-5",
            ),
            ("api-key", "tg-2"),
            ("user-agent", "x"),
        ] {
            head.append_header(name, value).unwrap();
        }
        head
    }

    #[test]
    fn what_a_client_shows_is_found_wherever_it_puts_it() {
        let head = full(b"/v1/models?a=1&key=t%67-6&api-key=tg-7&key=");
        let found: Vec<_> = shown(&head)
            .map(|key| String::from_utf8(key.into_owned()).unwrap())
            .collect();
        let expected = ["tg-1", "tg-2", "tg-3", "tg-4", "tg-5", "tg-6", "tg-7"];
        assert_eq!(found, expected);
        let many = format!("/?{}", "key=x&".repeat(1_000));
        let head = RequestHeader::build("GET", many.as_bytes(), None).unwrap();
        assert_eq!(shown(&head).count(), MOST_SHOWN);
        let none = RequestHeader::build("GET", b"/?monkey=1", None).unwrap();
        assert_eq!(shown(&none).count(), 0);
    }

    #[test]
    fn nothing_that_a_client_shows_is_left_once_it_is_withheld() {
        for (target, left) in [
            (
                &b"/v1/models?a=1&key=tg-6&b=%20&Api-Key=tg-7"[..],
                "/v1/models?a=1&b=%20",
            ),
            (b"/v1/models?key=tg-6", "/v1/models"),
            (b"/v1/models?a=tg", "/v1/models?a=tg"),
            (b"http://host:1/v1/models?key=tg-6&a", "/v1/models?a"),
        ] {
            let mut head = full(target);
            withhold_credentials(&mut head).unwrap();
            assert_eq!(shown(&head).count(), 0);
            assert_eq!(head.uri.to_string(), left);
            assert!(!String::from_utf8_lossy(head.raw_path()).contains("tg-"));
            assert_eq!(head.headers[SEC_WEBSOCKET_PROTOCOL], "realtime");
            assert_eq!(head.headers.len(), 2);
        }
    }

    #[test]
    fn a_credential_goes_where_its_provider_looks() {
        for (base, header) in [
            ("https://r.openai.azure.com", "api-key"),
            ("https://api.anthropic.com", "x-api-key"),
            (
                "https://generativelanguage.googleapis.com",
                "x-goog-api-key",
            ),
        ] {
            let mut head = RequestHeader::build("POST", b"/", None).unwrap();
            head.insert_header(AUTHORIZATION, "Bearer sk-client")
                .unwrap();
            head.insert_header(header, "sk-client").unwrap();
            let framing = Framing {
                whole_bytes: None,
                plain_answer: false,
                unpacked: false,
            };
            prepare(&mut head, &channel(base, Some("sk-channel")), &framing).unwrap();
            assert_eq!(head.headers[header], "sk-channel");
            assert!(!head.headers.contains_key(AUTHORIZATION), "{base}");
        }
    }

    #[test]
    fn a_clients_credential_never_goes_with_the_channels_own() {
        let mut head = RequestHeader::build("POST", b"/v1/models", None).unwrap();
        for name in CREDENTIAL_HEADERS {
            head.insert_header(name, "sk-client").unwrap();
        }
        head.insert_header("x-forwarded-for", "10.0.0.1").unwrap();
        head.insert_header("x-tollgate-tags", "a=b").unwrap();
        head.insert_header("via", "1.1 a").unwrap();
        let framing = Framing {
            whole_bytes: None,
            plain_answer: false,
            unpacked: false,
        };
        prepare(
            &mut head,
            &channel("http://a/v1", Some("sk-channel")),
            &framing,
        )
        .unwrap();
        let sent = format!(
            "{:?}",
            head.headers
                .values()
                .map(http::HeaderValue::as_bytes)
                .collect::<Vec<_>>()
        );
        assert!(!sent.contains(&format!("{:?}", b"sk-client")));
        assert_eq!(head.headers[AUTHORIZATION], "Bearer sk-channel");
        assert_eq!(head.headers[HOST], "a");
        let names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}
