//! The clients' own keys: who calls, and what they may do.
//!
//! Where any key exists, one is required. Where none does, callers are told apart by a fingerprint
//! of the credential they bring for the provider.
//!
//! A key stands in the settings (`keys`), or is made by `tollgate keys create` and kept in the
//! ledger. Of neither kind is the text kept beyond the start: a [`Keyring`] holds keyed hashes,
//! whose secret is a file in the data folder (`pepper`). It is swapped in whole when a key is made
//! or revoked ([`Keys`]), and read without a lock.
//!
//! The end of the last key that was made, revoked or expired, must not open the gateway to
//! everybody: a file in the data folder (`keys-required`) says from the first one on that a key is
//! required, until [`Keys::off`] takes that back. It says so too when the ledger cannot be read at
//! the start. Without it no key was ever made, and a ledger that cannot be read refuses nobody.

mod keyring;
mod making;
mod offline;
mod pepper;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::config::{KeyGrant, ModelPattern};
use crate::record::closed_set;

pub use keyring::{KeyEntry, Keyring, Required};
pub use making::{Keys, KeysError, MadeKey, NewKey, are_required};
pub use offline::{make, off, revoke};
pub use pepper::{Pepper, PepperError};
pub use rules::{BadKey, check_name, missing_channels};

/// Who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// As the ledger has it: a key's name, or a fingerprint; `None` for a caller without a
    /// credential.
    pub name: Option<Arc<str>>,
    /// What the key is good for; `None` where no key is required.
    pub grant: Option<Arc<KeyGrant>>,
    /// A number that is evenly distributed over callers.
    pub number: u64,
}

impl Caller {
    /// Whether the caller may use the channel of this name.
    #[must_use]
    pub fn may_use(&self, channel: &str) -> bool {
        let channels = self
            .grant
            .as_ref()
            .and_then(|grant| grant.channels.as_ref());
        channels.is_none_or(|channels| channels.iter().any(|allowed| **allowed == *channel))
    }

    /// Whether the caller may ask for this model, named as the client does; for one that nobody
    /// knows, whether it may ask for any.
    #[must_use]
    pub fn may_ask_for(&self, model: Option<&str>) -> bool {
        match (self.models(), model) {
            (None, _) => true,
            (Some(models), Some(model)) => models.iter().any(|allowed| allowed.matches(model)),
            (Some(_), None) => false,
        }
    }

    /// Whether only some models may be asked for, so that a request's model must be known.
    #[must_use]
    pub fn is_bound_to_models(&self) -> bool {
        self.models().is_some()
    }

    fn models(&self) -> Option<&[ModelPattern]> {
        self.grant.as_ref()?.models.as_deref()
    }
}

closed_set! {
    /// Whether a key is good.
    KeyState ("key state") {
        /// It is.
        Good => "good",
        /// It was, until its time was over.
        Expired => "expired",
        /// It was, until somebody said otherwise.
        Revoked => "revoked",
    }
}

closed_set! {
    /// Where a key comes from.
    KeyOrigin ("key origin") {
        /// It stands in the settings.
        Settings => "settings",
        /// It was made by `tollgate keys create` or the admin API.
        Made => "made",
    }
}

/// Why a caller is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A key is required, and the request has no credential.
    #[error("a key of this gateway is required")]
    Missing,
    /// The credential is none of the keys.
    #[error("the key is not one of this gateway's")]
    Unknown,
    /// The key was good until it expired.
    #[error("the key has expired")]
    Expired,
    /// Which keys were made could not be read yet, and this is none of the settings.
    #[error("this gateway cannot tell yet which keys there are")]
    Unread,
}
