//! Channels: the upstreams requests can go to, each with one credential.
//!
//! The registry is built from the settings and shared by all workers. A request asks it for a
//! *placing*: the channels that could take it (`index`), of which the strategy chooses one after
//! another (`selection`) that its gate, its cooldowns and its free places let through. What a try
//! came to goes back to the channel's breaker with the *place* that it had.

mod affinity;
mod breaker;
mod chance;
mod control;
mod cooldown;
mod credential;
mod gate;
mod index;
mod path;
mod place;
mod places;
mod placing;
mod queue;
mod recent;
mod resolve;
mod safeguard;
mod selection;
mod verdict;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::HeaderValue;
use http::header::{HeaderName, InvalidHeaderValue};
use tokio::sync::Notify;

use crate::clock::UnixMicros;
use crate::config::{
    BaseUrl, ChannelKind, ChannelSettings, ModelPattern, Secret, Settings, Strategy,
};
use crate::pricing::provider_of;
use crate::record::{Dimensions, ModelNames};

use affinity::Affinity;
use breaker::{Breaker, Pace};
use chance::Chance;
use cooldown::Cooldowns;
use gate::Gate;
use index::Index;
use places::Places;
use selection::Rotation;

pub use cooldown::Cooling;
pub use credential::Credential;
pub use gate::{Closing, GateObserver, GateStatus, Hold, Unobserved};
pub use path::{Asked, Destination, key_in_pair};
pub use place::Place;
pub use placing::{Bond, NoPlace, Placing, Wanted};
pub use resolve::Resolver;
pub use safeguard::Guarded;
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
    /// What it shows its upstream and nobody else is to see; longer ones first.
    pub secrets: Vec<Secret>,
    /// The `Host` its upstream expects.
    pub host: HeaderValue,
    /// Its name, as answers carry it.
    pub name_header: HeaderValue,
    /// Whose prices hold there; `None` when neither its kind nor its host says.
    pub provider: Option<&'static str>,
    /// Finds the addresses behind its host name.
    pub resolver: Resolver,
    /// Where it stands among all channels.
    index: u32,
    /// What it serves; `None` for every model.
    models: Option<Vec<ModelPattern>>,
    /// What models are called there that are called otherwise here.
    model_map: HashMap<Arc<str>, Arc<str>>,
    priority: i32,
    weight: u32,
    gate: Gate,
    breaker: Breaker,
    cooldowns: Cooldowns,
    places: Places,
    chance: Arc<Chance>,
}

impl Channel {
    fn new(
        settings: &ChannelSettings,
        index: u32,
        common: &Common<'_>,
    ) -> Result<Self, InvalidHeaderValue> {
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
            secrets: settings.secrets(),
            host: HeaderValue::try_from(settings.base_url.authority.as_str())?,
            name_header: HeaderValue::try_from(&*settings.name)?,
            provider: provider_of(settings.kind, &settings.base_url.host),
            resolver: Resolver::new(&settings.base_url.host, settings.base_url.port),
            index,
            models: settings.models.clone(),
            model_map: settings.model_map.iter().cloned().collect(),
            priority: settings.priority,
            weight: settings.weight.max(1),
            gate: Gate::new(
                Arc::clone(&settings.name),
                Pace::new(&common.settings.breaker),
                Arc::clone(&common.observer),
                Arc::clone(&common.changed),
            ),
            breaker: Breaker::new(common.settings.breaker.clone()),
            cooldowns: Cooldowns::default(),
            places: Places::new(settings.max_in_flight),
            chance: Arc::clone(&common.chance),
        })
    }

    /// What the upstream calls `model`; `None` where it is called the same.
    #[must_use]
    pub fn upstream_model(&self, model: &str) -> Option<&Arc<str>> {
        self.model_map.get(model)
    }

    /// Requests on their way through it.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.places.taken()
    }

    /// Whether it serves `model`: every channel serves what names no model.
    fn serves(&self, model: Option<&str>) -> bool {
        let (Some(model), Some(models)) = (model, &self.models) else {
            return true;
        };
        self.model_map.contains_key(model) || models.iter().any(|pattern| pattern.matches(model))
    }

    /// Whether the provider asked not to be called for `model`.
    fn cools(&self, model: Option<&str>, now: UnixMicros) -> bool {
        self.cooldowns.any(now) && self.cooldowns.until(self.limited(model), now).is_some()
    }

    /// The model that the provider limits by.
    fn limited<'m>(&'m self, model: Option<&'m str>) -> Option<&'m str> {
        model.map(|model| self.upstream_model(model).map_or(model, |name| name))
    }
}

/// What every channel is built with.
struct Common<'a> {
    settings: &'a Settings,
    observer: Arc<dyn GateObserver>,
    changed: Arc<Notify>,
    chance: Arc<Chance>,
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
    pool: Arc<Pool>,
    /// What clients may call a model, and what that means.
    aliases: HashMap<Arc<str>, Arc<str>>,
    /// Held by who closes a channel for as long as others stay open.
    closing: Mutex<()>,
}

/// What requests on their way share with the registry.
#[derive(Debug)]
struct Pool {
    index: Index,
    strategy: Strategy,
    /// Whether the breaker may close the last channel of a model.
    allow_last: bool,
    rotation: Rotation,
    affinity: Affinity,
    chance: Arc<Chance>,
    /// Told when a gate changed.
    changed: Arc<Notify>,
}

impl Registry {
    /// The channels of the settings; `observer` is told of every change of a gate.
    pub fn new(
        settings: &Settings,
        observer: Arc<dyn GateObserver>,
    ) -> Result<Self, RegistryError> {
        Self::with_chance(settings, observer, Chance::new())
    }

    fn with_chance(
        settings: &Settings,
        observer: Arc<dyn GateObserver>,
        chance: Chance,
    ) -> Result<Self, RegistryError> {
        let common = Common {
            settings,
            observer,
            changed: Arc::new(Notify::new()),
            chance: Arc::new(chance),
        };
        let channels = (0..).zip(&settings.channels).map(|(index, channel)| {
            Channel::new(channel, index, &common)
                .map(Arc::new)
                .map_err(|_| RegistryError::Unsendable(Arc::clone(&channel.name)))
        });
        let channels = channels.collect::<Result<Vec<_>, _>>()?;
        if channels.is_empty() {
            return Err(RegistryError::Empty);
        }
        Ok(Self {
            pool: Arc::new(Pool {
                index: Index::new(channels),
                strategy: settings.routing.strategy,
                allow_last: settings.breaker.allow_last,
                rotation: Rotation::default(),
                affinity: Affinity::default(),
                chance: common.chance,
                changed: common.changed,
            }),
            aliases: settings.models.aliases.iter().cloned().collect(),
            closing: Mutex::new(()),
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

    /// What a client means by `model`: where it is an alias, the name it stands for.
    #[must_use]
    pub fn meaning(&self, model: Arc<str>) -> Arc<str> {
        self.aliases.get(&model).map_or(model, Arc::clone)
    }

    /// The names of a model that is asked for as `asked` at the channel of that name, as far as the
    /// settings say.
    #[must_use]
    pub fn names<'a>(&'a self, channel: &str, asked: Option<&'a str>) -> ModelNames<'a> {
        let meant = asked.map(|asked| self.aliases.get(asked).map_or(asked, |meant| &**meant));
        let at = self.channel(channel);
        let called = meant
            .zip(at)
            .and_then(|(meant, at)| at.upstream_model(meant));
        ModelNames {
            asked,
            meant,
            called: called.map(|name| &**name),
            served: None,
        }
    }

    /// What the ledger keeps of a request, with the names of its model that it does not keep.
    #[must_use]
    pub fn named<'a>(&'a self, of: Dimensions<'a>) -> Dimensions<'a> {
        Dimensions {
            model: ModelNames {
                served: of.model.served,
                ..self.names(of.channel, of.model.asked)
            },
            ..of
        }
    }

    /// The channel of that name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<&Arc<Channel>> {
        self.pool.index.channel(name)
    }

    /// Every channel, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.pool.index.channels().iter()
    }

    /// Remembers that `channel` made the thing called `id` (a response, a batch), which no other
    /// channel knows: for [`Bond::Made`].
    pub fn note_made(&self, id: &str, channel: &Channel) {
        self.pool.affinity.note_made(id, channel.index);
    }
}
