//! What a key may be called, and what it may be good for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::keyring::FINGERPRINT;
use super::{KeysError, NewKey};
use crate::clock::UnixMicros;
use crate::config::{ChannelSettings, KeyGrant, Settings};
use crate::ledger::KeyError;
use crate::protocol::parse_tags;

/// Longest name of who made a key, in characters.
const MAKER_MAX: usize = 64;

/// Why a key that is asked for cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Its name.
    #[error(
        "`{0}` is not a key name; write 1 to 64 of the characters A-Z a-z 0-9 . _ -, \
         not dots and dashes alone"
    )]
    Name(Arc<str>),
    /// One of the settings' keys has the name.
    #[error("`{0}` is one of the settings' `keys`; change it there, or take another name")]
    OfSettings(Arc<str>),
    /// It looks like what callers without a key are called.
    #[error(
        "`{0}` could pass for the fingerprint of a caller without a key; take a name that does not \
         begin with `{FINGERPRINT}`"
    )]
    Fingerprint(Arc<str>),
    /// It would never be good.
    #[error("the key would expire at {0}, which is not in the future")]
    Expired(UnixMicros),
    /// It could ask for no model.
    #[error("the list of models is empty or has an empty name; leave it out to allow every model")]
    NoModel,
    /// It could use no channel.
    #[error("the list of channels is empty; leave it out to allow every channel")]
    NoChannel,
    /// A channel that there is not.
    #[error("no channel is named `{0}`; see `channels` in the settings")]
    NoSuchChannel(Arc<str>),
    /// Its own channel is none that it may use.
    #[error("the key's own channel `{0}` is none of the channels that it may use")]
    Channel(Arc<str>),
    /// A tag.
    #[error(
        "the tag `{0}` does not fit: write up to 16, a name of up to 64 of the characters \
         A-Z a-z 0-9 . _ - and a value of up to 256 bytes without commas"
    )]
    Tag(String),
    /// Who makes it.
    #[error("who makes the key is a name of at most {MAKER_MAX} characters")]
    Maker,
}

/// What a key may refer to: what of the settings concerns keys.
#[derive(Debug)]
pub(super) struct Rules {
    channels: Vec<Arc<str>>,
    pub(super) keys: Vec<Arc<str>>,
}

impl Rules {
    pub(super) fn of(settings: &Settings) -> Self {
        let channels = settings.channels.iter();
        let keys = settings.keys.iter();
        Self {
            channels: channels.map(|channel| Arc::clone(&channel.name)).collect(),
            keys: keys.map(|key| Arc::clone(&key.name)).collect(),
        }
    }

    pub(super) fn check(&self, key: &NewKey, now: UnixMicros) -> Result<(), BadKey> {
        check_name(&key.name)?;
        if key.name.starts_with(FINGERPRINT) {
            return Err(BadKey::Fingerprint(Arc::clone(&key.name)));
        }
        if self.keys.contains(&key.name) {
            return Err(BadKey::OfSettings(Arc::clone(&key.name)));
        }
        if key.made_by.chars().count() > MAKER_MAX {
            return Err(BadKey::Maker);
        }
        self.check_grant(&key.grant, now)
    }

    /// Why a key was not revoked: where none of its name was made, one of the settings may have it.
    pub(super) fn not_revoked(&self, error: KeysError) -> KeysError {
        match error {
            KeysError::Ledger(KeyError::NoSuchKey(name)) if self.keys.contains(&name) => {
                BadKey::OfSettings(name).into()
            }
            error => error,
        }
    }

    /// The channels that a key is bound to and that there are not.
    pub(super) fn missing_channels<'g>(&self, grant: &'g KeyGrant) -> BTreeSet<&'g Arc<str>> {
        missing(grant, |name| self.channels.contains(name))
    }

    pub(super) fn check_no_keys(&self) -> Result<(), KeysError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.keys.iter().map(|name| format!("`{name}`")).collect();
        Err(KeysError::InSettings(names.join(", ")))
    }

    fn check_grant(&self, grant: &KeyGrant, now: UnixMicros) -> Result<(), BadKey> {
        if let Some(end) = grant.expires_at.filter(|&end| end <= now) {
            return Err(BadKey::Expired(end));
        }
        if let Some(models) = &grant.models
            && (models.is_empty() || models.iter().any(|model| model.as_str().is_empty()))
        {
            return Err(BadKey::NoModel);
        }
        let allowed = grant.channels.as_deref();
        if allowed.is_some_and(<[_]>::is_empty) {
            return Err(BadKey::NoChannel);
        }
        if let Some(stranger) = self.missing_channels(grant).first() {
            return Err(BadKey::NoSuchChannel(Arc::clone(stranger)));
        }
        if let (Some(channel), Some(allowed)) = (&grant.channel, allowed)
            && !allowed.contains(channel)
        {
            return Err(BadKey::Channel(Arc::clone(channel)));
        }
        let written: Vec<String> = grant
            .tags
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        // As a request's own: read as its header is.
        if parse_tags(&written.join(",")).tags != grant.tags {
            let alone = |tag: &&String| parse_tags(tag).tags.len() != 1;
            let tag = written.iter().find(alone).or(written.last());
            return Err(BadKey::Tag(tag.cloned().unwrap_or_default()));
        }
        Ok(())
    }
}

/// The channels that a key is bound to and that these settings do not have: they had them when it
/// was made.
#[must_use]
pub fn missing_channels<'g>(
    grant: &'g KeyGrant,
    channels: &[ChannelSettings],
) -> BTreeSet<&'g Arc<str>> {
    missing(grant, |name| {
        channels.iter().any(|channel| channel.name == *name)
    })
}

fn missing(grant: &KeyGrant, exists: impl Fn(&Arc<str>) -> bool) -> BTreeSet<&Arc<str>> {
    let allowed = grant.channels.iter().flatten();
    let named = allowed.chain(&grant.channel);
    named.filter(|name| !exists(name)).collect()
}

/// Fails on what no key can be named.
pub fn check_name(name: &str) -> Result<(), BadKey> {
    let fits = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        // It stands in paths, where dots alone mean something else.
        && name.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if fits {
        Ok(())
    } else {
        Err(BadKey::Name(name.into()))
    }
}
