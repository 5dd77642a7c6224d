//! What may be done once: who was first has it, in this process and after it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::answerer::{Answerer, Asking, Reply, Standing, Told};
use super::log::TAKEN;
use super::replies::{unkept, used, used_up};
use crate::alert::ChatAnswer;
use crate::clock::UnixMicros;

/// How long an answer waits for a journal that the disk refuses.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// An answer that somebody took.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) who: Option<Arc<str>>,
    pub(super) at: Option<UnixMicros>,
    pub(super) expires_at: UnixMicros,
    /// `None` while it is being done, and where the process ended over it.
    pub(super) done: Option<bool>,
}

/// What was taken and could be taken again, by its number.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<u64, Claim>>);

/// What is done once.
#[derive(Debug)]
pub(super) struct Once<'a> {
    /// Its number.
    pub(super) nonce: u64,
    /// Until when the number could come again.
    pub(super) expires_at: UnixMicros,
    /// What is asked for, in the audit.
    pub(super) asked: &'a str,
    /// What it is about, there.
    pub(super) subject: &'a str,
    /// What can be written in a chat for the same.
    pub(super) instead: &'a str,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Claim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it for this process, where nobody has.
    fn take(&self, asking: &Asking<'_>, once: &Once<'_>) -> Result<(), Claim> {
        let mut claims = self.lock();
        claims.retain(|_, claim| claim.expires_at > asking.now);
        match claims.entry(once.nonce) {
            Entry::Occupied(taken) => Err(taken.get().clone()),
            Entry::Vacant(free) => {
                free.insert(Claim {
                    who: Some(asking.who.into()),
                    at: Some(asking.now),
                    expires_at: once.expires_at,
                    done: None,
                });
                Ok(())
            }
        }
    }

    fn give_back(&self, nonce: u64) {
        self.lock().remove(&nonce);
    }

    fn settle(&self, nonce: u64, done: bool) {
        if let Some(claim) = self.lock().get_mut(&nonce) {
            claim.done = Some(done);
        }
    }
}

impl Answerer {
    /// Does what nobody did yet: keeps who asks for it, does it, keeps what came of it.
    pub(super) fn once(
        &self,
        asking: &Asking<'_>,
        once: &Once<'_>,
        act: impl FnOnce() -> Result<String, String>,
    ) -> Reply {
        if let Err(claim) = self.claims.take(asking, once) {
            return used(asking, &claim);
        }
        // From here on nobody else can take it in this process. Was it taken before, by an earlier one?
        match self.earlier_run(asking.told, once.nonce, once.expires_at, asking.now) {
            Ok(None) => {}
            Ok(Some(claim)) => {
                self.claims.lock().insert(once.nonce, claim.clone());
                return used(asking, &claim);
            }
            Err(why) => {
                self.claims.give_back(once.nonce);
                return unkept(asking, &why);
            }
        }
        let mut answer = ChatAnswer {
            at: asking.now,
            receiver: Arc::clone(&asking.told.name),
            who: asking.who.into(),
            asked: once.asked.into(),
            subject: once.subject.into(),
            done: false,
            outcome: TAKEN.into(),
            nonce: Some(once.nonce),
            expires_at: Some(once.expires_at),
        };
        if !self.is_recorded() {
            self.claims.give_back(once.nonce);
            return unkept(asking, "the journal cannot be written");
        }
        let done = if self.log.answered(&answer) || self.is_recorded() {
            act()
        } else {
            tracing::error!("the journal fails under an answer from a chat, so it is not done");
            Err(used_up(asking, once.instead))
        };
        self.claims.settle(once.nonce, done.is_ok());
        answer.done = done.is_ok();
        let (Ok(text) | Err(text)) = done;
        answer.outcome = text.as_str().into();
        self.log.answered(&answer);
        let standing = if answer.done {
            Standing::Done
        } else {
            Standing::Failed
        };
        Reply {
            text,
            standing,
            message: None,
        }
    }

    /// Who took it before, in this process or an earlier one.
    pub(super) fn earlier(
        &self,
        told: &Told,
        nonce: u64,
        expires_at: UnixMicros,
        now: UnixMicros,
    ) -> Result<Option<Claim>, String> {
        if let Some(claim) = self.claims.lock().get(&nonce) {
            return Ok(Some(claim.clone()));
        }
        self.earlier_run(told, nonce, expires_at, now)
    }

    fn earlier_run(
        &self,
        told: &Told,
        nonce: u64,
        expires_at: UnixMicros,
        now: UnixMicros,
    ) -> Result<Option<Claim>, String> {
        let used = self.log.used(&told.name, nonce, now)?;
        Ok(used.map(|used| Claim {
            who: used.who,
            at: used.at,
            expires_at,
            done: used.done,
        }))
    }

    /// Waits a moment for a journal that the disk refuses; whether all of it is written.
    pub(super) fn is_recorded(&self) -> bool {
        let begin = Instant::now();
        while !self.log.is_written() {
            if begin.elapsed() >= RECORDED_WITHIN {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
        true
    }
}
