//! Reads `keys`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::channels::{self, GivenChannel, name_of_own};
use super::models;
use super::problem::Place;
use super::reader::Reader;
use super::routing::{KeyGrant, KeySettings};
use super::secret::Secret;
use super::section::Section;
use super::tree::shown;
use super::units::{self, Refusal};
use crate::clock::UnixMicros;

/// Characters of a key; shorter ones can be guessed.
const SHORTEST: usize = 16;

/// How the ledger's names begin of callers without a key of this gateway's.
const FINGERPRINT: &str = "fp-";

/// Bounds of tags, as those of requests: how many, bytes of a name, bytes of a value.
const MOST_TAGS: usize = 16;
const LONGEST_TAG_NAME: usize = 64;
const LONGEST_TAG_VALUE: usize = 256;

/// A key and where its parts were set, for the checks that look at several settings.
pub(super) struct GivenKey {
    pub(super) settings: KeySettings,
    /// The key of its text, e.g. `keys[0].key`.
    secret_key: String,
    secret_place: Place,
    /// The key of its end, e.g. `keys[0].expires`.
    pub(super) expires_key: String,
    pub(super) expires_place: Option<Place>,
}

/// What keys may refer to, and what is taken.
struct Known<'a> {
    channels: &'a HashMap<Arc<str>, Place>,
    timezone: &'a TimeZone,
    names: HashMap<Arc<str>, Place>,
    secrets: Vec<(Secret, Place)>,
}

/// Reads `keys`. `channels` are the names of channels, also of those that were refused. What is
/// refused is left out.
pub(super) fn read(
    top: &mut Section<'_>,
    reader: &mut Reader<'_>,
    channels: &HashMap<Arc<str>, Place>,
    timezone: &TimeZone,
) -> Vec<GivenKey> {
    let mut known = Known {
        channels,
        timezone,
        names: HashMap::new(),
        secrets: Vec::new(),
    };
    let mut keys = Vec::new();
    top.list(reader, "keys", |section, reader| {
        keys.extend(key(section, reader, &mut known));
    });
    keys
}

fn key(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &mut Known<'_>,
) -> Option<GivenKey> {
    let name = name(section, reader, known);
    let secret = secret(section, reader, known);
    let mut grant = KeyGrant::default();
    let expires = |text: &str| units::moment(known.timezone)(text).map(Some);
    let expires_place = section.set(reader, "expires", &mut grant.expires_at, expires);
    grant.models = models::patterns(section, reader, "models");
    may_use(section, reader, known, &mut grant);
    grant.tags = tags(section, reader);
    let (secret, secret_key, secret_place) = secret?;
    Some(GivenKey {
        settings: KeySettings {
            name: name?,
            secret,
            grant,
        },
        secret_key,
        secret_place,
        expires_key: section.key("expires"),
        expires_place,
    })
}

fn name(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &mut Known<'_>,
) -> Option<Arc<str>> {
    let name = name_of_own(section, reader, &mut known.names, "key")?;
    if name.starts_with(FINGERPRINT) {
        let place = section.place_of(reader, "name")?;
        let message =
            format!("`{name}` could be taken for the fingerprint of a caller without a key");
        let hint = format!("choose a name that does not begin with `{FINGERPRINT}`");
        reader.problem(&place, &section.key("name"), message, Some(&hint));
        return None;
    }
    Some(name)
}

/// The key's text, the key that it is set by, and where.
fn secret(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &mut Known<'_>,
) -> Option<(Secret, String, Place)> {
    let secret = section.secret(reader, Some("key"), "key_file");
    let given = ["key", "key_file"]
        .into_iter()
        .find_map(|key| Some((section.key(key), section.place_of(reader, key)?)));
    let Some((path, place)) = given else {
        let hint = Some("give `key` or `key_file`; `openssl rand -hex 24` makes a good one");
        let message = "is missing; every key needs its text";
        let place = section.place.clone()?;
        reader.problem(&place, &section.key("key"), message, hint);
        return None;
    };
    let secret = secret?;
    if secret.expose().len() < SHORTEST {
        let message = format!("the key has fewer than {SHORTEST} characters, so it can be guessed");
        let hint = Some("`openssl rand -hex 24` makes a good one");
        reader.problem(&place, &path, message, hint);
        return None;
    }
    if let Some((_, first)) = known.secrets.iter().find(|(other, _)| *other == secret) {
        let message = format!("the key is the same as that at {first}");
        let hint = Some("give each caller a key of its own");
        reader.problem(&place, &path, message, hint);
        return None;
    }
    known.secrets.push((secret.clone(), place.clone()));
    Some((secret, path, place))
}

/// Reads `channels` and `channel`.
fn may_use(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    known: &Known<'_>,
    grant: &mut KeyGrant,
) {
    let channel = |text: &str| existing(text, known.channels);
    if let Some((place, given)) = section.listed(reader, "channels") {
        let path = section.key("channels");
        if given.is_empty() {
            let hint = Some("take the key away for every channel");
            let message = "the list is empty, so the key would be good for nothing";
            reader.problem(&place, &path, message, hint);
        }
        let channels = grant.channels.insert(Vec::new());
        for given in given {
            match channel(&given.text) {
                Ok(name) => channels.push(name),
                Err(refusal) => reader.refuse(&given, &path, &refusal),
            }
        }
    }
    let place = section.set(reader, "channel", &mut grant.channel, |text| {
        channel(text).map(Some)
    });
    if let (Some(place), Some(channel), Some(channels)) = (place, &grant.channel, &grant.channels)
        && !channels.contains(channel)
    {
        let message = format!("`{channel}` is not one of the key's `channels`");
        let hint = Some("add it there, or choose one of them");
        reader.problem(&place, &section.key("channel"), message, hint);
    }
}

fn existing(text: &str, channels: &HashMap<Arc<str>, Place>) -> Result<Arc<str>, Refusal> {
    if let Some((name, _)) = channels.get_key_value(text) {
        return Ok(Arc::clone(name));
    }
    let mut names: Vec<String> = channels.keys().map(|name| format!("`{name}`")).collect();
    names.sort();
    names.truncate(8);
    let remedy = format!("write the name of a channel, as {}", names.join(" or "));
    Err(Refusal::new("is the name of no channel", &remedy))
}

fn tags(section: &mut Section<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for entry in section.names(reader, "tags") {
        let path = format!("{}.{}", section.key("tags"), shown(&entry.key));
        let place = reader.at(entry.key_at);
        let Some(given) = reader.scalar(entry, &path) else {
            continue;
        };
        if !channels::is_name(&entry.key, LONGEST_TAG_NAME) {
            let message = format!("`{}` is not a tag's name", shown(&entry.key));
            let hint = Some("write 1 to 64 of the characters A-Z a-z 0-9 . _ -");
            reader.problem(&place, &path, message, hint);
        } else if !fits_tag(&given.text) {
            let remedy = "write 1 to 256 bytes on one line";
            reader.refuse(&given, &path, &Refusal::new("is not a tag's value", remedy));
        } else if tags.len() == MOST_TAGS {
            let message = format!("a request has at most {MOST_TAGS} tags");
            reader.problem(&place, &path, message, None);
        } else {
            tags.insert(entry.key.clone(), given.text);
        }
    }
    tags
}

fn fits_tag(text: &str) -> bool {
    (1..=LONGEST_TAG_VALUE).contains(&text.len()) && !text.contains(char::is_control)
}

/// Notes keys that are a channel's credential too: whoever has one could go to its upstream without
/// Tollgate.
pub(super) fn not_a_channels(
    reader: &mut Reader<'_>,
    keys: &[GivenKey],
    channels: &[GivenChannel],
) {
    for channel in channels {
        let secrets = channel.settings.secrets();
        for key in keys {
            let text = key.settings.secret.expose().as_bytes();
            if secrets.iter().any(|secret| secret.matches(text)) {
                let name = &channel.settings.name;
                let message = format!("the key is a credential of the channel `{name}` too");
                let hint = Some(
                    "give each caller a key of its own; `openssl rand -hex 24` makes a good one",
                );
                reader.problem(&key.secret_place, &key.secret_key, message, hint);
            }
        }
    }
}

/// Notes keys that are good no longer.
pub(super) fn expired(reader: &mut Reader<'_>, keys: &[GivenKey], now: UnixMicros) {
    for key in keys {
        let over = key.settings.grant.expires_at.is_some_and(|end| end <= now);
        if let Some(place) = key.expires_place.as_ref().filter(|_| over) {
            let name = &key.settings.name;
            let message = format!("the key `{name}` has expired, so it opens nothing");
            let hint = Some("give it more time, or take it away");
            reader.warning(place, &key.expires_key, message, hint);
        }
    }
}
