//! Making and revoking keys, and what there is after it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    data_dir: PathBuf,
    writer: KeyWriter,
    /// Locked for as long as a change takes, so that the ring has the changes in the ledger's order.
    /// Whoever must not block asks the ring.
    known: Mutex<Known>,
    settled: AtomicBool,
}

/// What the ring is made of.
#[derive(Debug)]
struct Known {
    pepper: Arc<Pepper>,
    /// Every key of the ledger; `None` until it was read.
    stored: Option<Vec<StoredKey>>,
    /// It was read when nobody else could change it any more.
    complete: bool,
}

impl Keys {
    /// The keys of these settings and those that `writer`'s ledger has. Where the ledger cannot be
    /// read at present, the settings' keys alone are good until [`read`](Self::read) succeeds; who
    /// shows none of them is refused if the settings or the data folder say that a key is required.
    ///
    /// Fails where keys were made and their secret cannot be read. One that cannot be made keeps
    /// nobody from anything but making keys.
    pub fn open(settings: &Settings, writer: KeyWriter) -> Result<Self, PepperError> {
        let (pepper, new_pepper) = pepper_of(&settings.data_dir)?;
        let pepper = Arc::new(pepper);
        let ring = Keyring::new(Arc::clone(&pepper), Required::Unread, Vec::new());
        let keys = Self {
            ring: Arc::new(ring),
            rules: Rules::of(settings),
            settings: settings.keys.clone(),
            data_dir: settings.data_dir.clone(),
            writer,
            known: Mutex::new(Known {
                pepper,
                stored: None,
                complete: false,
            }),
            settled: AtomicBool::new(false),
        };
        let mut known = keys.lock();
        match keys.read(&mut known) {
            Ok(read) => keys.warn(read, new_pepper),
            Err(error) => keys.go_on_unread(&known, &error),
        }
        drop(known);
        Ok(keys)
    }

    /// Goes on with what is known without the ledger.
    fn go_on_unread(&self, known: &Known, error: &QueryError) {
        self.put_to_use(known);
        if self.ring.required() == Required::Unread {
            tracing::error!(
                %error,
                "cannot tell which keys were made; requests without one of the settings' `keys` are \
                 refused until that is known"
            );
        } else {
            tracing::warn!(
                %error,
                "cannot read the ledger's keys; none was made here, so the settings' are all there are"
            );
        }
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
        self.settings.is_empty() && self.ring.required() == Required::Unread
    }

    /// Whether [`settle`](Self::settle) has nothing to do any more. Does not block.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Does what the start could not: reads the ledger's keys until they can be read, and again
    /// until the process that hands over to this one cannot change them any more; keeps a secret
    /// that is in memory alone. To be called now and then until [`is_settled`](Self::is_settled).
    /// Blocks.
    pub fn settle(&self) {
        // Asked before the ledger is: who is alone then reads all that others will ever have done.
        let alone = self.writer.is_alone();
        let mut known = self.lock();
        // Why they fail was told at the start.
        let kept = self.keep_pepper(&mut known).is_ok();
        let unread = known.stored.is_none();
        if !known.complete && self.read(&mut known).is_ok() {
            known.complete = alone;
            if unread {
                tracing::info!("it is known which keys there are");
            }
        }
        self.settled
            .store(kept && known.complete, Ordering::Release);
    }

    /// Puts the secret into the data folder, where only memory has it.
    fn keep_pepper(&self, known: &mut Known) -> Result<(), PepperError> {
        if let Some(kept) = known.pepper.keep(&self.data_dir)? {
            known.pepper = Arc::new(kept);
            self.put_to_use(known);
            tracing::info!("the data folder has a key-secret now");
        }
        Ok(())
    }

    /// Reads the ledger's keys anew and puts them to use.
    fn read<'k>(&self, known: &'k mut Known) -> Result<&'k [StoredKey], QueryError> {
        let read = stored_keys(&self.data_dir)?;
        // Not there in a folder that was put together from a backup, or by an earlier version.
        if read.iter().any(StoredKey::is_living)
            && let Err(error) = ledger::require_keys(&self.data_dir)
        {
            tracing::warn!(%error, "a start that cannot read the ledger would not know that keys are required");
        }
        known.stored = Some(read);
        self.put_to_use(known);
        Ok(known.stored.as_deref().unwrap_or_default())
    }

    /// Makes a key: good from before this returns. Blocks.
    pub fn create(&self, key: NewKey, now: UnixMicros) -> Result<MadeKey, KeysError> {
        self.rules.check(&key, now)?;
        let mut known = self.lock();
        self.keep_pepper(&mut known)?;
        let made = drawn(&known.pepper, key, now)?;
        let change = KeyChange::Create(made.kept.clone());
        self.change(&mut known, change, |stored| stored.push(made.kept.clone()))?;
        Ok(made)
    }

    /// Revokes a key: good for nothing from before this returns. Requests on their way go on. Blocks.
    pub fn revoke(&self, name: &Arc<str>, now: UnixMicros) -> Result<StoredKey, KeysError> {
        let change = KeyChange::Revoke {
            name: Arc::clone(name),
            at: now,
        };
        let mut known = self.lock();
        self.change(&mut known, change, |stored| {
            let living = |key: &&mut StoredKey| key.name == *name && key.is_living();
            if let Some(key) = stored.iter_mut().find(living) {
                key.revoked_at = Some(now);
            }
        })
        .map_err(|error| self.rules.not_revoked(error))?;
        Ok(revoked(known.stored.as_deref().unwrap_or_default(), name)?)
    }

    /// Stops requiring keys, from before this returns; whether they were required. Refused while any
    /// is left: one of the settings, or one that was made and not revoked. Blocks.
    pub fn off(&self) -> Result<bool, KeysError> {
        self.rules.check_no_keys()?;
        let required = self.are_required();
        self.change(&mut self.lock(), KeyChange::Off, |_| {})?;
        Ok(required)
    }

    /// The ledger first: what is in use is kept.
    fn change(
        &self,
        known: &mut Known,
        change: KeyChange,
        apply: impl FnOnce(&mut Vec<StoredKey>),
    ) -> Result<(), KeysError> {
        if !known.complete {
            self.read(known)?;
        }
        self.writer.change(change)?;
        apply(known.stored.get_or_insert_default());
        self.put_to_use(known);
        Ok(())
    }

    fn put_to_use(&self, known: &Known) {
        let of_settings = self.settings.iter().map(|key| KeyEntry {
            hash: known.pepper.hash(key.secret.expose().as_bytes()),
            name: Arc::clone(&key.name),
            grant: Arc::new(key.grant.clone()),
        });
        let stored = known.stored.as_deref().unwrap_or_default();
        let living = stored.iter().filter(|key| key.is_living());
        let living = living.map(|key| KeyEntry {
            hash: key.hash,
            name: Arc::clone(&key.name),
            grant: Arc::new(key.grant.clone()),
        });
        let made = are_made_required(&self.data_dir, stored);
        let required = if made && known.stored.is_none() {
            Required::Unread
        } else {
            required(&self.settings, made)
        };
        let pepper = Arc::clone(&known.pepper);
        self.ring
            .replace(pepper, required, of_settings.chain(living).collect());
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
        if self.are_required() && self.settings.is_empty() && living().next().is_none() {
            tracing::warn!(
                "a key is required and none is left, so every request is refused; `tollgate keys \
                 create` makes one, `tollgate keys off` stops requiring them"
            );
        }
        for key in living() {
            for channel in self.rules.missing_channels(&key.grant) {
                tracing::warn!(
                    key = &*key.name,
                    channel = &**channel,
                    "a key is bound to a channel that there is not, so what would go there is \
                     refused; bring the channel back, or revoke the key and make another"
                );
            }
            if self.rules.keys.contains(&key.name) {
                tracing::warn!(
                    key = &*key.name,
                    "a key of the settings and one that was made have the same name; both are good, and \
                     `tollgate keys revoke` ends the one that was made"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secret of the data folder, and whether it is new. Where it cannot be had and no key was made
/// with it, one in memory does for fingerprints.
fn pepper_of(data_dir: &Path) -> Result<(Pepper, bool), PepperError> {
    let error = match Pepper::open(data_dir) {
        Ok(opened) => return Ok(opened),
        Err(error) => error,
    };
    // What is there may be the right one: another would have every key that was made refused.
    let is_there = !matches!(error, PepperError::Make { .. });
    let were_made = || {
        let stored = stored_keys(data_dir).unwrap_or_default();
        are_made_required(data_dir, &stored)
    };
    if is_there && were_made() {
        return Err(error);
    }
    tracing::warn!(
        %error,
        "the clients' keys have no secret on disk: until it can be kept no key can be made, and \
         callers without one have other fingerprints after a restart"
    );
    Ok((Pepper::in_memory()?, true))
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
