//! A key in the header where its provider looks for it.

use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName, InvalidHeaderValue};

use super::Channel;
use crate::config::ChannelKind;

/// A header that carries a credential; its value is marked sensitive.
pub type Credential = (HeaderName, HeaderValue);

impl Channel {
    /// The channel's own credential for that path of its upstream; `None` passes the client's
    /// through. What other providers have of OpenAI's APIs takes the token as OpenAI does.
    #[must_use]
    pub fn credential_for(&self, path: &str) -> Option<&Credential> {
        if self.paths.is_openais(path) {
            self.bearer.as_ref()
        } else {
            self.credential.as_ref()
        }
    }
}

/// A key for a provider's own APIs.
pub(super) fn credential(kind: ChannelKind, key: &str) -> Result<Credential, InvalidHeaderValue> {
    let name = match kind {
        ChannelKind::Openai => return bearer(key),
        ChannelKind::Azure => "api-key",
        ChannelKind::Anthropic => "x-api-key",
        ChannelKind::Gemini => "x-goog-api-key",
    };
    sensitive(HeaderName::from_static(name), key)
}

/// A key as OpenAI's SDKs send it.
pub(super) fn bearer(key: &str) -> Result<Credential, InvalidHeaderValue> {
    sensitive(AUTHORIZATION, &format!("Bearer {key}"))
}

fn sensitive(name: HeaderName, value: &str) -> Result<Credential, InvalidHeaderValue> {
    let mut value = HeaderValue::try_from(value)?;
    value.set_sensitive(true);
    Ok((name, value))
}
