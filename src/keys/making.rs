//! Making and revoking keys, and what there is after it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::pepper::random;
use super::{KeyEntry, Keyring, Pepper, PepperError, Required};
use crate::clock::UnixMicros;
use crate::config::{KeyGrant, KeySettings, Secret, Settings};
use crate::ledger::{self, KeyChange, KeyError, KeyWriter, QueryError, StoredKey, stored_keys};
use crate::protocol::parse_tags;

/// How every key that is made begins, so that people and scanners of secrets know it.
const PREFIX: &str = "tg-";

/// Longest name of who made a key, in characters.
const MAKER_MAX: usize = 64;

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`; no other key's.
    pub name: Arc<str>,
    /// What it is good for.
    pub grant: KeyGrant,
    /// Who makes it, as they call themselves; at most 64 characters.
    pub made_by: Arc<str>,
}

/// A key that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeKey {
    /// What its client shows. Nobody can tell it again.
    pub text: Secret,
    /// What is kept of it.
    pub kept: StoredKey,
}

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

/// Why keys cannot be read, made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It makes no sense.
    #[error(transparent)]
    Bad(#[from] BadKey),
    /// The settings have keys, which nobody can turn off elsewhere.
    #[error(
        "every request needs a key as long as the settings have `keys`: {0}; remove them there and \
         start again"
    )]
    InSettings(String),
    /// The ledger does not keep it.
    #[error(transparent)]
    Ledger(#[from] KeyError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] QueryError),
    /// There is no secret to hash it with.
    #[error(transparent)]
    Pepper(#[from] PepperError),
}

/// What a key may refer to: what of the settings concerns keys.
#[derive(Debug)]
struct Rules {
    channels: Vec<Arc<str>>,
    keys: Vec<Arc<str>>,
}

impl Rules {
    fn of(settings: &Settings) -> Self {
        let channels = settings.channels.iter();
        let keys = settings.keys.iter();
        Self {
            channels: channels.map(|channel| Arc::clone(&channel.name)).collect(),
            keys: keys.map(|key| Arc::clone(&key.name)).collect(),
        }
    }

    fn check(&self, key: &NewKey, now: UnixMicros) -> Result<(), BadKey> {
        check_name(&key.name)?;
        self.check_not_of_settings(&key.name)?;
        if key.made_by.chars().count() > MAKER_MAX {
            return Err(BadKey::Maker);
        }
        self.check_grant(&key.grant, now)
    }

    fn check_not_of_settings(&self, name: &Arc<str>) -> Result<(), BadKey> {
        if self.keys.contains(name) {
            return Err(BadKey::OfSettings(Arc::clone(name)));
        }
        Ok(())
    }

    fn check_no_keys(&self) -> Result<(), KeysError> {
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
        let mut named = allowed.unwrap_or_default().iter().chain(&grant.channel);
        if let Some(stranger) = named.find(|name| !self.channels.contains(name)) {
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

/// The text of a new key and what is kept of it.
fn drawn(pepper: &Pepper, key: NewKey, now: UnixMicros) -> Result<MadeKey, PepperError> {
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random()?));
    let kept = StoredKey {
        hash: pepper.hash(text.as_bytes()),
        name: key.name,
        created_at: now,
        revoked_at: None,
        grant: key.grant,
        made_by: key.made_by,
    };
    Ok(MadeKey {
        text: Secret::new(text),
        kept,
    })
}

/// The keys of a running sidecar: makes and revokes them, and keeps its [`Keyring`] up to date.
#[derive(Debug)]
pub struct Keys {
    ring: Arc<Keyring>,
    rules: Rules,
    settings: Vec<KeySettings>,
    of_settings: Vec<KeyEntry>,
    data_dir: PathBuf,
    writer: KeyWriter,
    /// Every key of the ledger; `None` until it was read. Locked for as long as a change takes, so
    /// that the ring has the changes in the ledger's order.
    stored: Mutex<Option<Vec<StoredKey>>>,
}

impl Keys {
    /// The keys of these settings and those that `writer`'s ledger has. Where the ledger cannot be
    /// read at present, the settings' keys alone are good until [`read`](Self::read) succeeds; who
    /// shows none of them is refused if the settings or the data folder say that a key is required.
    pub fn open(settings: &Settings, writer: KeyWriter) -> Result<Self, PepperError> {
        let (pepper, new_pepper) = Pepper::open(&settings.data_dir)?;
        let of_settings = settings
            .keys
            .iter()
            .map(|key| KeyEntry {
                hash: pepper.hash(key.secret.expose().as_bytes()),
                name: Arc::clone(&key.name),
                grant: Arc::new(key.grant.clone()),
            })
            .collect();
        let keys = Self {
            ring: Arc::new(Keyring::new(pepper, Required::Unread, Vec::new())),
            rules: Rules::of(settings),
            settings: settings.keys.clone(),
            of_settings,
            data_dir: settings.data_dir.clone(),
            writer,
            stored: Mutex::default(),
        };
        match keys.read() {
            Ok(read) => keys.warn(&read, new_pepper),
            Err(error) => keys.go_on_unread(&error),
        }
        Ok(keys)
    }

    /// What is known without the ledger.
    fn go_on_unread(&self, error: &QueryError) {
        let required = if ledger::keys_required(&self.data_dir) {
            tracing::error!(
                %error,
                "cannot tell which keys were made; requests without one of the settings' `keys` are \
                 refused until that is known"
            );
            Required::Unread
        } else {
            tracing::warn!(
                %error,
                "cannot read the ledger's keys; none was made here, so the settings' are all there are"
            );
            required(&self.settings, false)
        };
        self.ring.replace(required, self.of_settings.clone());
    }

    /// Where callers are looked up.
    #[must_use]
    pub fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.ring)
    }

    /// The keys of the settings.
    #[must_use]
    pub fn of_settings(&self) -> &[KeySettings] {
        &self.settings
    }

    /// Whether every request must show a key.
    #[must_use]
    pub fn are_required(&self) -> bool {
        self.ring.required() != Required::No
    }

    /// Whether everybody is refused, since it is not known yet which keys there are.
    #[must_use]
    pub fn refuse_everybody(&self) -> bool {
        self.of_settings.is_empty() && self.ring.required() == Required::Unread
    }

    /// Whether it is known which keys there are.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.lock().is_some()
    }

    /// Reads the ledger's keys anew and puts them to use. Blocks.
    pub fn read(&self) -> Result<Vec<StoredKey>, QueryError> {
        let mut stored = self.lock();
        Ok(self.read_into(&mut stored)?.clone())
    }

    fn read_into<'a>(
        &self,
        stored: &'a mut Option<Vec<StoredKey>>,
    ) -> Result<&'a mut Vec<StoredKey>, QueryError> {
        let read = stored_keys(&self.data_dir)?;
        // Not there in a folder that was put together from a backup, or by an earlier version.
        if read.iter().any(StoredKey::is_living)
            && let Err(error) = ledger::require_keys(&self.data_dir)
        {
            tracing::warn!(%error, "a start that cannot read the ledger would not know that keys are required");
        }
        self.put_to_use(&read);
        Ok(stored.insert(read))
    }

    /// Makes a key: good from before this returns. Blocks.
    pub fn create(&self, key: NewKey, now: UnixMicros) -> Result<MadeKey, KeysError> {
        self.rules.check(&key, now)?;
        let made = drawn(self.ring.pepper(), key, now)?;
        let change = KeyChange::Create(made.kept.clone());
        self.change(change, |stored| stored.push(made.kept.clone()))?;
        Ok(made)
    }

    /// Revokes a key: good for nothing from before this returns. Requests on their way go on. Blocks.
    pub fn revoke(&self, name: &Arc<str>, now: UnixMicros) -> Result<StoredKey, KeysError> {
        self.rules.check_not_of_settings(name)?;
        let change = KeyChange::Revoke {
            name: Arc::clone(name),
            at: now,
        };
        self.change(change, |stored| {
            let living = |key: &&mut StoredKey| key.name == *name && key.is_living();
            if let Some(key) = stored.iter_mut().find(living) {
                key.revoked_at = Some(now);
            }
        })?;
        Ok(revoked(self.lock().as_deref().unwrap_or_default(), name)?)
    }

    /// Stops requiring keys, from before this returns; whether they were required. Refused while any
    /// is left: one of the settings, or one that was made and not revoked. Blocks.
    pub fn off(&self) -> Result<bool, KeysError> {
        self.rules.check_no_keys()?;
        let required = self.are_required();
        self.change(KeyChange::Off, |_| {})?;
        Ok(required)
    }

    /// The ledger first: what is in use is kept.
    fn change(
        &self,
        change: KeyChange,
        apply: impl FnOnce(&mut Vec<StoredKey>),
    ) -> Result<(), KeysError> {
        let mut stored = self.lock();
        let stored = match &mut *stored {
            Some(stored) => stored,
            unread => self.read_into(unread)?,
        };
        self.writer.change(change)?;
        apply(stored);
        self.put_to_use(stored);
        Ok(())
    }

    fn put_to_use(&self, stored: &[StoredKey]) {
        let living = stored.iter().filter(|key| key.is_living());
        let entries = living.map(|key| KeyEntry {
            hash: key.hash,
            name: Arc::clone(&key.name),
            grant: Arc::new(key.grant.clone()),
        });
        let all = self.of_settings.iter().cloned().chain(entries).collect();
        let made = are_made_required(&self.data_dir, stored);
        self.ring.replace(required(&self.settings, made), all);
    }

    /// Says what an operator would wonder about.
    fn warn(&self, stored: &[StoredKey], new_pepper: bool) {
        if new_pepper && !stored.is_empty() {
            tracing::warn!(
                keys = stored.len(),
                "the data folder had no key-secret: keys that were made before are good for \
                 nothing; put the file back, or make them anew"
            );
        }
        let living = || stored.iter().filter(|key| key.is_living());
        if self.are_required() && self.of_settings.is_empty() && living().next().is_none() {
            tracing::warn!(
                "a key is required and none is left, so every request is refused; `tollgate keys \
                 create` makes one, `tollgate keys off` stops requiring them"
            );
        }
        for key in living() {
            if self.rules.keys.contains(&key.name) {
                tracing::warn!(
                    key = &*key.name,
                    "a key of the settings and one that was made have the same name; both are good"
                );
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<StoredKey>>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether every request must show a key, where the ledger has these.
#[must_use]
pub fn are_required(settings: &Settings, stored: &[StoredKey]) -> bool {
    let made = are_made_required(&settings.data_dir, stored);
    required(&settings.keys, made) != Required::No
}

/// Whether those that were made make one required.
fn are_made_required(data_dir: &Path, stored: &[StoredKey]) -> bool {
    stored.iter().any(StoredKey::is_living) || ledger::keys_required(data_dir)
}

fn required(of_settings: &[KeySettings], made: bool) -> Required {
    if made || !of_settings.is_empty() {
        Required::Yes
    } else {
        Required::No
    }
}

/// Makes a key in a ledger whose sidecar is not running, as [`Keys::create`] does with one that is.
/// Blocks.
pub fn make(settings: &Settings, key: NewKey, now: UnixMicros) -> Result<MadeKey, KeysError> {
    Rules::of(settings).check(&key, now)?;
    // In this order: a ledger that is in use stays as it is, and so does its folder.
    ledger::make_private_folder(&settings.data_dir).map_err(|source| PepperError::Io {
        action: "make the folder of",
        path: settings.data_dir.clone(),
        source,
    })?;
    let (pepper, _) = Pepper::open(&settings.data_dir)?;
    let made = drawn(&pepper, key, now)?;
    ledger::change_key(&settings.data_dir, &KeyChange::Create(made.kept.clone()))?;
    Ok(made)
}

/// Revokes a key in a ledger whose sidecar is not running, as [`Keys::revoke`] does with one that
/// is. Blocks.
pub fn revoke(
    settings: &Settings,
    name: &Arc<str>,
    now: UnixMicros,
) -> Result<StoredKey, KeysError> {
    Rules::of(settings).check_not_of_settings(name)?;
    let change = KeyChange::Revoke {
        name: Arc::clone(name),
        at: now,
    };
    ledger::change_key(&settings.data_dir, &change)?;
    Ok(revoked(&stored_keys(&settings.data_dir)?, name)?)
}

/// Stops requiring keys where no sidecar is running, as [`Keys::off`] does with one that is. Blocks.
pub fn off(settings: &Settings) -> Result<bool, KeysError> {
    Rules::of(settings).check_no_keys()?;
    let required = ledger::keys_required(&settings.data_dir);
    ledger::change_key(&settings.data_dir, &KeyChange::Off)?;
    Ok(required)
}

/// The key of this name that was revoked last.
fn revoked(stored: &[StoredKey], name: &Arc<str>) -> Result<StoredKey, KeyError> {
    let of_name = stored
        .iter()
        .filter(|key| key.name == *name && key.revoked_at.is_some());
    let last = of_name.max_by_key(|key| key.revoked_at).cloned();
    last.ok_or_else(|| KeyError::NoSuchKey(Arc::clone(name)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::{KeySettings, ModelPattern};
    use crate::keys::Denied;
    use crate::ledger::{Ledger, Takeover};

    const NOW: UnixMicros = UnixMicros(1_000);

    fn new(name: &str) -> NewKey {
        NewKey {
            name: name.into(),
            grant: KeyGrant::default(),
            made_by: "alice".into(),
        }
    }

    fn open(settings: &Settings) -> (Ledger, Keys) {
        let files = ledger::Settings::new(&settings.data_dir);
        let ledger = Ledger::open(&files, Takeover::Refuse).unwrap();
        let keys = Keys::open(settings, ledger.key_writer()).unwrap();
        (ledger, keys)
    }

    fn with_a_key(folder: &Path) -> Settings {
        let mut settings = Settings::defaults(folder);
        settings.keys.push(KeySettings {
            name: "file".into(),
            secret: Secret::new("of-the-settings"),
            grant: KeyGrant::default(),
        });
        settings
    }

    fn who(keys: &Keys, text: &str) -> Result<Option<Arc<str>>, Denied> {
        let found = keys.ring().identify(Some(text.as_bytes()), NOW);
        found.map(|caller| caller.name)
    }

    #[test]
    fn keys_are_made_kept_and_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::defaults(folder.path());
        let (ledger, keys) = open(&settings);
        assert!(who(&keys, "sk-own").is_ok());
        let made = keys.create(new("a"), NOW).unwrap();
        let text = made.text.expose();
        assert_eq!(text.len(), 46, "{text}");
        assert!(text.starts_with("tg-"));
        assert_eq!(who(&keys, text), Ok(Some("a".into())));
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
        assert_ne!(keys.create(new("b"), NOW).unwrap().text, made.text);
        drop(ledger);

        // Without a sidecar, and with the next one.
        let third = make(&settings, new("c"), NOW).unwrap();
        let (ledger, keys) = open(&settings);
        assert_eq!(who(&keys, text), Ok(Some("a".into())));
        assert_eq!(who(&keys, third.text.expose()), Ok(Some("c".into())));
        keys.revoke(&"a".into(), NOW).unwrap();
        assert_eq!(who(&keys, text), Err(Denied::Unknown));
        drop(ledger);
        revoke(&settings, &"b".into(), NOW).unwrap();
        revoke(&settings, &"c".into(), NOW).unwrap();
        let (_ledger, keys) = open(&settings);
        // The end of the last key opens nothing.
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
    }

    #[test]
    fn the_way_back_is_open_once_no_key_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::defaults(folder.path());
        let (ledger, keys) = open(&settings);
        assert!(!keys.off().unwrap());
        let mut short = new("short");
        short.grant.expires_at = Some(UnixMicros(1_001));
        keys.create(short, NOW).unwrap();
        let left = keys.off().unwrap_err();
        assert!(
            matches!(&left, KeysError::Ledger(KeyError::Living(names)) if **names == ["short".into()]),
            "{left}"
        );
        keys.revoke(&"short".into(), NOW).unwrap();
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
        assert!(keys.off().unwrap());
        assert!(who(&keys, "sk-own").is_ok() && !keys.are_required());
        assert!(!keys.off().unwrap());
        drop(ledger);
        let (ledger, keys) = open(&settings);
        assert!(who(&keys, "sk-own").is_ok());
        // And closed again by the next one.
        keys.create(new("next"), NOW).unwrap();
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
        drop(ledger);
        assert!(off(&settings).is_err());
        revoke(&settings, &"next".into(), NOW).unwrap();
        assert!(off(&settings).unwrap());
        assert!(!off(&settings).unwrap());
        let (_ledger, keys) = open(&settings);
        assert!(who(&keys, "sk-own").is_ok());
    }

    #[test]
    fn a_ledger_that_cannot_be_read_refuses_nobody_where_no_key_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::defaults(folder.path());
        let (ledger, _) = open(&settings);
        let writer = ledger.key_writer();
        drop(ledger);
        let database = settings.data_dir.join("tollgate.db");
        let kept = std::fs::read(&database).unwrap();
        std::fs::write(&database, "this is no database at all").unwrap();
        let open_unread = |settings: &Settings| {
            let keys = Keys::open(settings, writer.clone()).unwrap();
            assert!(!keys.is_read());
            keys
        };
        let keys = open_unread(&settings);
        assert!(who(&keys, "sk-own").is_ok() && !keys.refuse_everybody());
        let keys = open_unread(&with_a_key(folder.path()));
        assert_eq!(who(&keys, "of-the-settings"), Ok(Some("file".into())));
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));

        ledger::require_keys(&settings.data_dir).unwrap();
        let keys = open_unread(&with_a_key(folder.path()));
        assert_eq!(who(&keys, "of-the-settings"), Ok(Some("file".into())));
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unread));
        assert!(!keys.refuse_everybody());
        let keys = open_unread(&settings);
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unread));
        assert!(keys.refuse_everybody());
        // A change that fails reads them all the same.
        std::fs::write(&database, kept).unwrap();
        assert!(keys.create(new("a"), NOW).is_err());
        assert!(keys.is_read());
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
    }

    #[test]
    fn a_folder_from_before_there_were_markers_gets_one_when_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::defaults(folder.path());
        make(&settings, new("a"), NOW).unwrap();
        let marker = settings.data_dir.join("keys-required");
        std::fs::remove_file(&marker).unwrap();
        let (ledger, keys) = open(&settings);
        assert!(marker.exists());
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
        drop(ledger);
    }

    #[test]
    fn a_key_of_the_settings_is_one_as_any() {
        let folder = tempfile::tempdir().unwrap();
        let settings = with_a_key(folder.path());
        let (_ledger, keys) = open(&settings);
        assert_eq!(who(&keys, "of-the-settings"), Ok(Some("file".into())));
        assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
        for refused in [
            keys.create(new("file"), NOW).map(|_| ()),
            keys.revoke(&"file".into(), NOW).map(|_| ()),
        ] {
            assert!(
                matches!(refused, Err(KeysError::Bad(BadKey::OfSettings(_)))),
                "{refused:?}"
            );
        }
        let left = keys.off().unwrap_err().to_string();
        assert!(left.contains("`keys`: `file`;"), "{left}");
    }

    #[test]
    fn a_key_that_makes_no_sense_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let settings = with_a_key(folder.path());
        let rules = Rules::of(&settings);
        let with = |change: &dyn Fn(&mut KeyGrant)| {
            let mut key = new("a");
            change(&mut key.grant);
            rules.check(&key, NOW)
        };
        let tags = |tags: &[(&str, &str)]| -> BTreeMap<String, String> {
            let tags = tags.iter().copied();
            tags.map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        for name in ["", "..", "a b", "ä", "a/b", &"n".repeat(65)] {
            assert_eq!(
                rules.check(&new(name), NOW),
                Err(BadKey::Name(name.into())),
                "{name}"
            );
        }
        assert_eq!(
            with(&|grant| grant.expires_at = Some(NOW)),
            Err(BadKey::Expired(NOW))
        );
        assert_eq!(
            with(&|grant| grant.models = Some(vec![ModelPattern::new("")])),
            Err(BadKey::NoModel)
        );
        assert_eq!(
            with(&|grant| grant.channels = Some(Vec::new())),
            Err(BadKey::NoChannel)
        );
        assert_eq!(
            with(&|grant| grant.channel = Some("opnai".into())),
            Err(BadKey::NoSuchChannel("opnai".into()))
        );
        for bad in [("", "x"), ("a b", "x"), ("a", ""), ("a", "x,b=y")] {
            assert!(
                matches!(
                    with(&|grant| grant.tags = tags(&[("ok", "1"), bad])),
                    Err(BadKey::Tag(_))
                ),
                "{bad:?}"
            );
        }
        let fits = with(&|grant| {
            grant.expires_at = Some(UnixMicros(1_001));
            grant.models = Some(vec![ModelPattern::new("gpt-5*")]);
            grant.channels = Some(vec!["openai".into()]);
            grant.channel = Some("openai".into());
            grant.tags = tags(&[("team", "a b"), ("x", "1")]);
        });
        assert_eq!(fits, Ok(()));
    }

    #[test]
    fn a_made_key_does_not_print_itself() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::defaults(folder.path());
        let (_ledger, keys) = open(&settings);
        let made = keys.create(new("a"), NOW).unwrap();
        let printed = format!("{made:?} {keys:?}");
        assert!(!printed.contains(made.text.expose()), "{printed}");
        assert!(printed.contains("\"a\""), "{printed}");
    }
}
