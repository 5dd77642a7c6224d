//! Making and revoking keys where no sidecar is running.

use std::sync::Arc;

use super::making::{drawn, revoked};
use super::rules::Rules;
use super::{KeysError, MadeKey, NewKey, Pepper, PepperError};
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::{self, KeyChange, StoredKey, stored_keys};

/// Makes a key in a ledger whose sidecar is not running, as [`Keys::create`](super::Keys::create) does with one that is.
/// Blocks.
pub fn make(settings: &Settings, key: NewKey, now: UnixMicros) -> Result<MadeKey, KeysError> {
    Rules::of(settings).check(&key, now)?;
    // In this order: a ledger that is in use stays as it is, and so does its folder.
    ledger::make_private_folder(&settings.data_dir).map_err(|source| PepperError::Make {
        action: "make the folder of",
        path: settings.data_dir.clone(),
        source,
    })?;
    let (pepper, _) = Pepper::open(&settings.data_dir)?;
    let made = drawn(&pepper, key, now)?;
    ledger::change_key(&settings.data_dir, &KeyChange::Create(made.kept.clone()))?;
    Ok(made)
}

/// Revokes a key in a ledger whose sidecar is not running, as [`Keys::revoke`](super::Keys::revoke) does with one that
/// is. Blocks.
pub fn revoke(
    settings: &Settings,
    name: &Arc<str>,
    now: UnixMicros,
) -> Result<StoredKey, KeysError> {
    let change = KeyChange::Revoke {
        name: Arc::clone(name),
        at: now,
    };
    ledger::change_key(&settings.data_dir, &change)
        .map_err(|error| Rules::of(settings).not_revoked(error.into()))?;
    Ok(revoked(&stored_keys(&settings.data_dir)?, name)?)
}

/// Stops requiring keys where no sidecar is running, as [`Keys::off`](super::Keys::off) does with one that is. Blocks.
pub fn off(settings: &Settings) -> Result<bool, KeysError> {
    Rules::of(settings).check_no_keys()?;
    let required = ledger::keys_required(&settings.data_dir);
    ledger::change_key(&settings.data_dir, &KeyChange::Off)?;
    Ok(required)
}
