//! Where a channel's requests go.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A channel's base URL: what an SDK of that provider takes, split into what a connection needs.
/// Scheme http or https, a host, no user information, no query, no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Whether the connection is encrypted (https).
    pub tls: bool,
    /// The host in lower case, IPv6 without brackets: what is resolved, and the name in TLS' SNI.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The `Host` header (HTTP/2: `:authority`): the host, with the port unless it is the scheme's.
    pub authority: String,
    /// The path that `/<rest>` is put behind: empty, or `/…` without a slash at its end.
    pub path: String,
}

impl BaseUrl {
    /// OpenAI's own, `https://api.openai.com/v1`.
    #[must_use]
    pub fn openai() -> Self {
        Self {
            tls: true,
            host: "api.openai.com".to_owned(),
            port: 443,
            authority: "api.openai.com".to_owned(),
            path: "/v1".to_owned(),
        }
    }

    /// Whether requests stay on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// Why a text is no base URL. The text itself is not part of it: it may hold a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Not `scheme://host…` at all.
    #[error("is not a URL")]
    NotUrl,
    /// A scheme that is neither http nor https.
    #[error("is neither http:// nor https://")]
    Scheme,
    /// `user:password@host`.
    #[error("holds a user name or password")]
    UserInfo,
    /// `?…`
    #[error("has a query (`?…`)")]
    Query,
    /// `#…`
    #[error("has a fragment (`#…`)")]
    Fragment,
    /// A port that is 0 or beyond 65535.
    #[error("has a port that does not exist")]
    Port,
    /// `.` or `..` as a path segment.
    #[error("has a `.` or `..` segment in its path")]
    DotSegment,
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(BaseUrlError::NotUrl)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(BaseUrlError::Scheme),
        };
        // Looked for in the text, because a parsed URI drops its fragment in silence and a
        // password may hold any of these characters.
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if rest[..authority_end].contains('@') {
            return Err(BaseUrlError::UserInfo);
        }
        if rest.contains('#') {
            return Err(BaseUrlError::Fragment);
        }
        if rest.contains('?') {
            return Err(BaseUrlError::Query);
        }
        let authority: http::uri::Authority = rest[..authority_end]
            .parse()
            .map_err(|_| BaseUrlError::NotUrl)?;
        let path = &rest[authority_end..];
        if !path.is_empty() && path.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(BaseUrlError::NotUrl);
        }
        Self::assemble(tls, &authority, path)
    }
}

impl BaseUrl {
    fn assemble(
        tls: bool,
        authority: &http::uri::Authority,
        path: &str,
    ) -> Result<Self, BaseUrlError> {
        let bracketed = authority.host().to_ascii_lowercase();
        let host = bracketed
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(BaseUrlError::NotUrl);
        }
        let default_port = if tls { 443 } else { 80 };
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => default_port,
            Some(digits) => match digits.parse() {
                Ok(0) | Err(_) => return Err(BaseUrlError::Port),
                Ok(port) => port,
            },
        };
        let path = path.trim_end_matches('/');
        if path
            .split('/')
            .any(|segment| segment == "." || segment == "..")
        {
            return Err(BaseUrlError::DotSegment);
        }
        Ok(Self {
            tls,
            authority: if port == default_port {
                bracketed
            } else {
                format!("{bracketed}:{port}")
            },
            host,
            port,
            path: path.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BaseUrl, BaseUrlError> {
        text.parse()
    }

    #[test]
    fn splits_what_an_sdk_takes() {
        let url = parse("https://API.OpenAI.com/v1/").unwrap();
        assert_eq!(url, BaseUrl::openai());
        assert_eq!(
            (
                url.host.as_str(),
                url.port,
                url.authority.as_str(),
                url.path.as_str()
            ),
            ("api.openai.com", 443, "api.openai.com", "/v1")
        );
        assert_eq!(url.to_string(), "https://api.openai.com/v1");

        let url = parse("http://[::1]:9000").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", 9000));
        assert_eq!(
            (url.authority.as_str(), url.path.as_str()),
            ("[::1]:9000", "")
        );
        assert!(url.is_loopback());
        assert!(!parse("http://10.0.0.1").unwrap().is_loopback());
        assert!(parse("http://localhost:1/").unwrap().is_loopback());
    }

    #[test]
    fn refuses_what_is_not_a_base() {
        for (text, error) in [
            ("api.openai.com/v1", BaseUrlError::NotUrl),
            ("https://", BaseUrlError::NotUrl),
            ("https:///v1", BaseUrlError::NotUrl),
            ("https://a b/v1", BaseUrlError::NotUrl),
            ("https://a/v 1", BaseUrlError::NotUrl),
            ("ftp://a/v1", BaseUrlError::Scheme),
            ("https://me:pw@a/v1", BaseUrlError::UserInfo),
            ("https://a/v1?key=1", BaseUrlError::Query),
            ("https://a/v1#top", BaseUrlError::Fragment),
            ("https://a:0/v1", BaseUrlError::Port),
            ("https://a:70000/v1", BaseUrlError::Port),
            ("https://a/../v1", BaseUrlError::DotSegment),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
