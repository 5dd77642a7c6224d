//! Channels: the upstreams requests can go to, each with one credential.
//!
//! The registry is built from the settings and shared by all workers; a request finds its channel
//! once, by name or by order.

mod gate;
mod placing;
mod resolve;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName, InvalidHeaderValue};

use crate::config::{
    BaseUrl, BreakerSettings, ChannelKind, ChannelSettings, RoutingSettings, Settings,
};
use crate::pricing::provider_of;

pub use gate::{Closing, GateObserver, GateStatus, Hold, Unobserved};
pub use placing::{Bond, NoPlace, Place, Placing, Wanted};
pub use resolve::Resolver;
pub use verdict::{Effect, Fault, Sighted, Verdict};

/// One upstream with one credential.
#[derive(Debug)]
pub struct Channel {
    /// Its name: label, column, and what clients may ask for.
    pub name: Arc<str>,
    /// Which provider's conventions it follows.
    pub kind: ChannelKind,
    /// Where requests go.
    pub base: BaseUrl,
    /// The path that what follows `/v1` in a client's path is put behind.
    pub v1_prefix: String,
    /// The path that any other path of a client's is put behind, whole.
    pub prefix: String,
    /// The header that replaces the client's own credential; `None` passes the client's through.
    /// Marked sensitive.
    pub credential: Option<(HeaderName, HeaderValue)>,
    /// Set on every request to the upstream.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The `Host` its upstream expects.
    pub host: HeaderValue,
    /// Its name, as answers carry it.
    pub name_header: HeaderValue,
    /// Whose prices hold there; `None` when neither its kind nor its host says.
    pub provider: Option<&'static str>,
    /// Finds the addresses behind its host name.
    pub resolver: Resolver,
}

impl Channel {
    fn new(settings: &ChannelSettings) -> Result<Self, InvalidHeaderValue> {
        let credential = match &settings.api_key {
            Some(key) => {
                let name = credential_header(settings.kind);
                let mut value = if name == AUTHORIZATION {
                    HeaderValue::try_from(format!("Bearer {}", key.expose()))?
                } else {
                    HeaderValue::try_from(key.expose())?
                };
                value.set_sensitive(true);
                Some((name, value))
            }
            None => None,
        };
        let (v1_prefix, prefix) = prefixes(settings.kind, &settings.base_url.path);
        Ok(Self {
            name: Arc::clone(&settings.name),
            kind: settings.kind,
            base: settings.base_url.clone(),
            v1_prefix,
            prefix,
            credential,
            headers: settings.headers.clone(),
            host: HeaderValue::try_from(settings.base_url.authority.as_str())?,
            name_header: HeaderValue::try_from(&*settings.name)?,
            provider: provider_of(settings.kind, &settings.base_url.host),
            resolver: Resolver::new(&settings.base_url.host, settings.base_url.port),
        })
    }
}

/// Whose prices hold at each channel, by its name; `None` where that is not known.
#[must_use]
pub fn sellers(channels: &[ChannelSettings]) -> HashMap<String, Option<&'static str>> {
    channels
        .iter()
        .map(|channel| {
            let seller = provider_of(channel.kind, &channel.base_url.host);
            (channel.name.to_string(), seller)
        })
        .collect()
}

/// Where a provider looks for the key.
fn credential_header(kind: ChannelKind) -> HeaderName {
    match kind {
        ChannelKind::Openai => AUTHORIZATION,
        ChannelKind::Azure => HeaderName::from_static("api-key"),
        ChannelKind::Anthropic => HeaderName::from_static("x-api-key"),
        ChannelKind::Gemini => HeaderName::from_static("x-goog-api-key"),
    }
}

/// What a client's path is put behind: what follows its `/v1`, and any other path. OpenAI's SDKs
/// take a base URL that has the version, and other paths of such a host stand at its root. Those of
/// Anthropic and Gemini put the version behind it; one that has it all the same means the same.
fn prefixes(kind: ChannelKind, path: &str) -> (String, String) {
    match kind {
        ChannelKind::Openai | ChannelKind::Azure => (path.to_owned(), String::new()),
        ChannelKind::Anthropic | ChannelKind::Gemini => {
            let unversioned = ["/v1", "/v1beta"]
                .iter()
                .find_map(|version| path.strip_suffix(version))
                .unwrap_or(path);
            (format!("{unversioned}/v1"), unversioned.to_owned())
        }
    }
}

/// Why the registry cannot be built. Validated settings never lead here.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No channel at all.
    #[error("there is no channel; name one under `channels` or set `upstream`")]
    Empty,
    /// A host or credential that fits no header.
    #[error("channel `{0}`: its host or api_key holds a character that no header may hold")]
    Unsendable(Arc<str>),
}

/// No channel has the name a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no channel is named `{0}`")]
pub struct NoSuchChannel(pub String);

/// All channels, in the order of the settings.
#[derive(Debug)]
pub struct Registry {
    first: Arc<Channel>,
    rest: Vec<Arc<Channel>>,
    by_name: HashMap<Arc<str>, Arc<Channel>>,
    routing: RoutingSettings,
    breaker: BreakerSettings,
    observer: Arc<dyn GateObserver>,
}

impl Registry {
    /// The channels of the settings; `observer` is told of every change of a gate.
    pub fn new(
        settings: &Settings,
        observer: Arc<dyn GateObserver>,
    ) -> Result<Self, RegistryError> {
        let mut channels = settings.channels.iter().map(|channel| {
            Channel::new(channel)
                .map(Arc::new)
                .map_err(|_| RegistryError::Unsendable(Arc::clone(&channel.name)))
        });
        let first = channels.next().ok_or(RegistryError::Empty)??;
        let rest = channels.collect::<Result<Vec<_>, _>>()?;
        let all = std::iter::once(&first).chain(&rest);
        Ok(Self {
            by_name: all
                .map(|channel| (Arc::clone(&channel.name), Arc::clone(channel)))
                .collect(),
            first,
            rest,
            routing: settings.routing.clone(),
            breaker: settings.breaker.clone(),
            observer,
        })
    }

    /// A registry of these channels with every other setting at its default, whose gates nobody
    /// observes.
    pub fn of(channels: Vec<ChannelSettings>) -> Result<Self, RegistryError> {
        let settings = Settings {
            channels,
            ..Settings::defaults(std::path::Path::new(""))
        };
        Self::new(&settings, Arc::new(Unobserved))
    }

    /// The channel of that name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<&Arc<Channel>> {
        self.by_name.get(name)
    }

    /// Every channel, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn settings(name: &str) -> ChannelSettings {
        ChannelSettings {
            name: Arc::from(name),
            ..ChannelSettings::openai(BaseUrl::openai())
        }
    }

    #[test]
    fn a_named_channel_is_found_and_a_stranger_is_not() {
        let registry = Registry::of(vec![settings("a"), settings("b")]).unwrap();
        assert_eq!(&*registry.channel("b").unwrap().name, "b");
        assert!(registry.channel("c").is_none());
    }

    #[test]
    fn a_channels_key_does_not_print_itself() {
        let registry = Registry::of(vec![ChannelSettings {
            api_key: Some(Secret::new("sk-canary")),
            ..settings("a")
        }])
        .unwrap();
        assert!(!format!("{registry:?}").contains("canary"));
    }
}
