//! The request's head on its way to the upstream: where it goes, whose credential it carries, and
//! what is withheld. And what is withheld of the answer's.

use http::HeaderName;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING,
};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::channel::Channel;
use crate::config::Secret;
use crate::protocol::PathBase;

/// The prefix of Tollgate's own headers.
const OWN_PREFIX: &str = "x-tollgate-";

/// Where proxies say whom they speak for. The upstream is not told: it would learn who stands
/// behind Tollgate.
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// Headers that carry a credential of one API or another. All go when the channel has its own.
const CREDENTIALS: [&str; 4] = ["authorization", "api-key", "x-api-key", "x-goog-api-key"];

/// The credentials that a request went out with: the client's own and the channel's.
pub(super) fn credentials(head: &RequestHeader, channel: Option<&Channel>) -> Vec<Secret> {
    let of_client = CREDENTIALS
        .iter()
        .flat_map(|&name| head.headers.get_all(name));
    let of_channel = channel.and_then(|channel| channel.authorization.as_ref());
    of_client
        .chain(of_channel)
        .filter_map(|value| value.to_str().ok())
        .map(|value| Secret::new(value.strip_prefix("Bearer ").unwrap_or(value).trim()))
        .collect()
}

/// Puts `rest` behind the channel's base and returns the path to ask the upstream for; `None` when
/// it is the one the request has already.
pub(super) fn upstream_path(
    channel: &Channel,
    base: PathBase,
    rest: &str,
    query: Option<&str>,
    current: &str,
) -> Option<String> {
    let prefix = match base {
        PathBase::BaseUrl => channel.base.path.as_str(),
        PathBase::Origin => "",
    };
    let unchanged = current
        .strip_prefix(prefix)
        .and_then(|tail| tail.strip_prefix(rest))
        .is_some_and(str::is_empty);
    if unchanged {
        return None;
    }
    let mut path = String::with_capacity(prefix.len() + rest.len() + query.map_or(0, str::len) + 2);
    path.push_str(prefix);
    path.push_str(rest);
    if path.is_empty() {
        path.push('/');
    }
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    Some(path)
}

/// What the body means for the head.
pub(super) struct Framing {
    /// The body was read whole and has this many bytes.
    pub(super) whole_bytes: Option<usize>,
    /// The answer must come plain, because traces of the usage asked for are taken out of it.
    pub(super) plain_answer: bool,
}

/// Makes `head` the one the upstream gets. Hop-by-hop fields are gone already: Pingora removes
/// them, and those that `Connection` names, before this.
pub(super) fn prepare(
    head: &mut RequestHeader,
    channel: &Channel,
    framing: &Framing,
) -> pingora::Result<()> {
    withhold(head);
    if let Some(authorization) = &channel.authorization {
        for name in CREDENTIALS {
            head.remove_header(name);
        }
        head.insert_header(AUTHORIZATION, authorization.clone())?;
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
    if framing.plain_answer {
        head.insert_header(ACCEPT_ENCODING, "identity")?;
    }
    Ok(())
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
    use super::*;
    use crate::channel::Registry;
    use crate::config::ChannelSettings;

    fn channel(base: &str, key: Option<&str>) -> std::sync::Arc<Channel> {
        let settings = ChannelSettings {
            api_key: key.map(Secret::new),
            ..ChannelSettings::openai(base.parse().unwrap())
        };
        let registry = Registry::new(&[settings]).unwrap();
        std::sync::Arc::clone(registry.select(None).unwrap())
    }

    #[test]
    fn the_path_is_put_behind_the_base() {
        let path = |base: &str, kind, rest, query, current| {
            upstream_path(&channel(base, None), kind, rest, query, current)
        };
        let base = PathBase::BaseUrl;
        assert_eq!(
            path("http://a/v1", base, "/models", None, "/v1/models"),
            None
        );
        assert_eq!(
            path(
                "http://a/openai/v1",
                base,
                "/models",
                Some("a=1"),
                "/v1/models"
            )
            .as_deref(),
            Some("/openai/v1/models?a=1")
        );
        assert_eq!(
            path("http://a", base, "/models", None, "/c/a/v1/models").as_deref(),
            Some("/models")
        );
        assert_eq!(
            path("http://a", base, "", None, "/v1").as_deref(),
            Some("/")
        );
        assert_eq!(
            path("http://a/v1", PathBase::Origin, "/health", None, "/health"),
            None
        );
    }

    #[test]
    fn a_clients_credential_never_goes_with_the_channels_own() {
        let mut head = RequestHeader::build("POST", b"/v1/models", None).unwrap();
        for name in CREDENTIALS {
            head.insert_header(name, "sk-client").unwrap();
        }
        head.insert_header("x-forwarded-for", "10.0.0.1").unwrap();
        head.insert_header("x-tollgate-tags", "a=b").unwrap();
        head.insert_header("via", "1.1 a").unwrap();
        let framing = Framing {
            whole_bytes: None,
            plain_answer: false,
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
