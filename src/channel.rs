//! Channels: the upstreams requests can go to, each with one credential.
//!
//! The registry is built from the settings and shared by all workers; a request finds its channel
//! once, by name or by order.

mod credential;
mod gate;
mod path;
mod placing;
mod resolve;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{HeaderName, InvalidHeaderValue};

use crate::config::{
    BaseUrl, BreakerSettings, ChannelKind, ChannelSettings, RoutingSettings, Secret, Settings,
};
use crate::pricing::provider_of;

pub use credential::Credential;
pub use gate::{Closing, GateObserver, GateStatus, Hold, Unobserved};
pub use path::{Asked, Destination, key_in_pair};
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
    /// Where its paths begin.
    paths: path::Paths,
    /// The header that replaces the client's own credential at the provider's own APIs; `None`
    /// passes the client's through. [`credential_for`](Self::credential_for) tells which one goes.
    pub credential: Option<Credential>,
    /// The same key as a bearer token.
    bearer: Option<Credential>,
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
        let key = settings.api_key.as_ref().map(Secret::expose);
        let credential = key.map(|key| credential::credential(settings.kind, key));
        Ok(Self {
            name: Arc::clone(&settings.name),
            kind: settings.kind,
            base: settings.base_url.clone(),
            paths: path::Paths::new(settings),
            credential: credential.transpose()?,
            bearer: key.map(credential::bearer).transpose()?,
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
