//! Which channel a request's kin went to.

use std::hash::{BuildHasher, RandomState};

use super::recent::Recent;

/// Things and conversations that are remembered, of each kind.
const MOST: usize = 65_536;

/// Remembers by keyed hash, so that nobody can make two ids meet on purpose; ids themselves are not
/// kept.
#[derive(Debug)]
pub(super) struct Affinity {
    hasher: RandomState,
    made: Recent<u32>,
    sessions: Recent<u32>,
}

impl Default for Affinity {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            made: Recent::new(MOST),
            sessions: Recent::new(MOST),
        }
    }
}

/// A conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionKey(u64);

impl Affinity {
    /// The channel, by its index, that made `id`.
    pub(super) fn maker(&self, id: &str) -> Option<u32> {
        self.made.get(self.hasher.hash_one(id))
    }

    pub(super) fn note_made(&self, id: &str, channel: u32) {
        self.made.put(self.hasher.hash_one(id), channel, 1);
    }

    pub(super) fn session(&self, text: &str) -> SessionKey {
        SessionKey(self.hasher.hash_one(text))
    }

    /// The channel, by its index, that took the conversation last.
    pub(super) fn last(&self, session: SessionKey) -> Option<u32> {
        self.sessions.get(session.0)
    }

    pub(super) fn note_taken(&self, session: SessionKey, channel: u32) {
        if self.last(session) != Some(channel) {
            self.sessions.put(session.0, channel, 1);
        }
    }
}
