//! The clients' keys.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Moment;
use crate::clock::UnixMicros;
use crate::config::{ChannelSettings, KeyGrant, KeySettings, ModelPattern, Secret};
use crate::keys::{KeyOrigin, KeyState, MadeKey, missing_channels};
use crate::ledger::StoredKey;

/// A key to be made. What is left out is not bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`; no other key's.
    #[schema(example = "ci")]
    pub name: String,
    /// From when on it is good for nothing: how long from now (`90d`), a date, or RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "90d")]
    pub expires: Option<String>,
    /// The models it may ask for, as clients name them; `*` and `?` stand for any characters and
    /// for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The channels it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    /// The channel its requests go to that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Tags of every request made with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Who makes it, for the audit; at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A key, without what its client shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyJson {
    /// Its name, which requests have in the ledger.
    pub name: String,
    /// Whether it is good.
    pub state: KeyState,
    /// Where it comes from.
    pub origin: KeyOrigin,
    /// When it was made; `null` for one of the settings.
    pub created_at: Option<Moment>,
    /// Who made it; `null` for one of the settings.
    pub made_by: Option<String>,
    /// From when on it is good for nothing; `null` never expires.
    pub expires_at: Option<Moment>,
    /// When it was revoked; `null` when it was not.
    pub revoked_at: Option<Moment>,
    /// The models it may ask for; `null` for every model.
    pub models: Option<Vec<String>>,
    /// The channels it may use; `null` for every channel.
    pub channels: Option<Vec<String>>,
    /// The channel its requests go to that name none; `null` when they go to any.
    pub channel: Option<String>,
    /// Of these channels those that there are not, so that what would go there is refused.
    #[serde(default)]
    pub missing_channels: Vec<String>,
    /// Tags of every request made with it.
    pub tags: BTreeMap<String, String>,
}

/// Every key that there is or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// Whether every request must show one: from the first on until `keys off`.
    pub required: bool,
    /// Those of the settings, then those that were made, in the order of their making.
    pub keys: Vec<KeyJson>,
}

/// No request needs a key any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeysOffJson {
    /// Whether every request needed one until now.
    pub changed: bool,
}

/// A key that was made, with what its client shows. Nobody can tell that again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MadeKeyJson {
    /// What the client shows.
    pub key: String,
    /// The rest.
    #[serde(flatten)]
    pub about: KeyJson,
}

/// Without what the client shows.
impl fmt::Debug for MadeKeyJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeKeyJson")
            .field("key", &Secret::new(""))
            .field("about", &self.about)
            .finish()
    }
}

impl KeyJson {
    fn new(
        name: &str,
        origin: KeyOrigin,
        grant: &KeyGrant,
        channels: &[ChannelSettings],
        now: UnixMicros,
    ) -> Self {
        let expired = grant.expires_at.is_some_and(|end| end <= now);
        let texts = |list: &[std::sync::Arc<str>]| list.iter().map(ToString::to_string).collect();
        let models = grant.models.as_ref();
        let missing = missing_channels(grant, channels);
        Self {
            name: name.to_owned(),
            state: if expired {
                KeyState::Expired
            } else {
                KeyState::Good
            },
            origin,
            created_at: None,
            made_by: None,
            expires_at: grant.expires_at.map(Moment),
            revoked_at: None,
            models: models.map(|models| models.iter().map(ModelPattern::to_string).collect()),
            channels: grant.channels.as_deref().map(texts),
            channel: grant.channel.as_deref().map(str::to_owned),
            missing_channels: missing.iter().map(ToString::to_string).collect(),
            tags: grant.tags.clone(),
        }
    }

    /// One of the settings' keys, where there are these channels.
    #[must_use]
    pub fn of_settings(key: &KeySettings, channels: &[ChannelSettings], now: UnixMicros) -> Self {
        Self::new(&key.name, KeyOrigin::Settings, &key.grant, channels, now)
    }

    /// One that was made, where there are these channels.
    #[must_use]
    pub fn made(key: &StoredKey, channels: &[ChannelSettings], now: UnixMicros) -> Self {
        let mut json = Self::new(&key.name, KeyOrigin::Made, &key.grant, channels, now);
        json.created_at = Some(Moment(key.created_at));
        json.made_by = Some(key.made_by.to_string());
        json.revoked_at = key.revoked_at.map(Moment);
        if key.revoked_at.is_some() {
            json.state = KeyState::Revoked;
        }
        json
    }
}

impl KeyList {
    /// All of them, and whether one is required.
    #[must_use]
    pub fn new(
        required: bool,
        of_settings: &[KeySettings],
        made: &[StoredKey],
        channels: &[ChannelSettings],
        now: UnixMicros,
    ) -> Self {
        let of_settings = of_settings
            .iter()
            .map(|key| KeyJson::of_settings(key, channels, now));
        let made = made.iter().map(|key| KeyJson::made(key, channels, now));
        Self {
            required,
            keys: of_settings.chain(made).collect(),
        }
    }
}

impl MadeKeyJson {
    /// What is told once.
    #[must_use]
    pub fn new(made: &MadeKey, channels: &[ChannelSettings], now: UnixMicros) -> Self {
        Self {
            key: made.text.expose().to_owned(),
            about: KeyJson::made(&made.kept, channels, now),
        }
    }
}
