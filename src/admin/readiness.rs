//! Whether this process should be given traffic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::config::OnLedgerFailure;
use crate::keys::Keys;
use crate::ledger::Journal;

/// Where the process stands between its start and its end. The composition writes it, `/readyz`
/// reads it.
#[derive(Debug, Default)]
pub struct Readiness {
    ledger: OnceLock<Guard>,
    gates_known: AtomicBool,
    rules_known: AtomicBool,
    listening: AtomicBool,
    draining: AtomicBool,
}

/// The journal, where requests may be refused for its sake.
#[derive(Debug)]
struct Guard {
    journal: Arc<Journal>,
    on_failure: OnLedgerFailure,
}

/// Why this process should not be given traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The ledger is not open yet.
    #[error("starting: the ledger is not open yet")]
    OpeningLedger,
    /// What earlier runs left of the channels' gates is not known yet.
    #[error("starting: reading which channels are closed")]
    ReadingGates,
    /// What the rules are to know of the past is not read yet.
    #[error("starting: reading from the ledger what the rules are to know")]
    ReadingRules,
    /// The data plane does not accept connections yet.
    #[error("starting: the data plane does not listen yet")]
    NotListening,
    /// The journal cannot be written, and `ledger.on_failure` is `refuse`.
    #[error(
        "refusing: the journal cannot be written and `ledger.on_failure` is `refuse`; \
         see the disk of `data_dir`"
    )]
    LedgerFails,
    /// A key is required, and which keys there are cannot be read.
    #[error(
        "refusing: a key is required, and the ledger's keys cannot be read yet; the log says why"
    )]
    KeysUnread,
    /// The process was told to stop and lets running requests end.
    #[error("draining: told to stop, running requests end")]
    Draining,
}

impl Readiness {
    /// Notes that the ledger is open. A journal that cannot be written makes the process unready
    /// only where requests would be refused for it: otherwise they go on, and taking the process
    /// out of a load balancer would do what metering must never do.
    pub fn ledger_opened(&self, journal: Arc<Journal>, on_failure: OnLedgerFailure) {
        // Set once: there is one ledger in the life of a process.
        let _ = self.ledger.set(Guard {
            journal,
            on_failure,
        });
    }

    /// Notes that what earlier runs left of the gates is known, or is not waited for any longer.
    pub fn gates_known(&self) {
        self.gates_known.store(true, Ordering::Release);
    }

    /// Notes that the rules know the past, or that it is not waited for any longer.
    pub fn rules_known(&self) {
        self.rules_known.store(true, Ordering::Release);
    }

    /// Notes that the data plane accepts connections.
    pub fn listening(&self) {
        self.listening.store(true, Ordering::Release);
    }

    /// Notes that the process was told to stop. It does not become ready again.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether traffic is welcome, or why not. Keys that cannot be read are a reason only where they
    /// leave nobody who would be let in.
    pub fn check(&self, keys: &Keys) -> Result<(), NotReady> {
        // Draining first: it is the last word whatever else holds.
        if self.draining.load(Ordering::Acquire) {
            return Err(NotReady::Draining);
        }
        let guard = self.ledger.get().ok_or(NotReady::OpeningLedger)?;
        if !self.listening.load(Ordering::Acquire) {
            return Err(if !self.gates_known.load(Ordering::Acquire) {
                NotReady::ReadingGates
            } else if !self.rules_known.load(Ordering::Acquire) {
                NotReady::ReadingRules
            } else {
                NotReady::NotListening
            });
        }
        if guard.on_failure == OnLedgerFailure::Refuse && !guard.journal.is_writable() {
            return Err(NotReady::LedgerFails);
        }
        if keys.refuse_everybody() {
            return Err(NotReady::KeysUnread);
        }
        Ok(())
    }
}
