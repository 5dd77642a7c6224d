//! Making and revoking keys, and what there is after it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::pepper::random;
use super::rules::Rules;
use super::{BadKey, KeyEntry, Keyring, Pepper, PepperError, Required};
use crate::clock::UnixMicros;
use crate::config::{KeyGrant, KeySettings, Secret, Settings};
use crate::ledger::{self, KeyChange, KeyError, KeyWriter, QueryError, StoredKey, stored_keys};

/// How every key that is made begins, so that people and scanners of secrets know it.
const PREFIX: &str = "tg-";

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

/// The text of a new key and what is kept of it.
pub(super) fn drawn(pepper: &Pepper, key: NewKey, now: UnixMicros) -> Result<MadeKey, PepperError> {
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

/// The key of this name that was revoked last.
pub(super) fn revoked(stored: &[StoredKey], name: &Arc<str>) -> Result<StoredKey, KeyError> {
    let of_name = stored
        .iter()
        .filter(|key| key.name == *name && key.revoked_at.is_some());
    let last = of_name.max_by_key(|key| key.revoked_at).cloned();
    last.ok_or_else(|| KeyError::NoSuchKey(Arc::clone(name)))
}
