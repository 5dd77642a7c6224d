//! Where it is kept who answered what.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::ChatAnswer;
use crate::clock::UnixMicros;
use crate::ledger::query::AnswerFilter;
use crate::ledger::{Journal, QueryError, Reader, Recovery};

/// What came of an answer, as long as nothing did.
pub(super) const TAKEN: &str = "taken";

/// An answer that was taken before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Who took it; `None` where that is not known any more.
    pub who: Option<Arc<str>>,
    /// When, likewise.
    pub at: Option<UnixMicros>,
    /// Whether it was done; `None` where nothing was kept of what came of it: it is being done, or the
    /// process ended over it.
    pub done: Option<bool>,
}

/// Keeps who answered what. All of it may block.
pub trait AnswerLog: fmt::Debug + Send + Sync {
    /// Keeps an answer. `true` when it survives the process; `false` when the disk refuses it at
    /// present.
    fn answered(&self, answer: &ChatAnswer) -> bool;

    /// Whether all of what was kept survives the process.
    fn is_written(&self) -> bool;

    /// Whether an answer with this number was kept, by this process or an earlier one. Fails, in words
    /// for operators, where nobody can tell yet.
    fn used(&self, receiver: &str, nonce: u64, now: UnixMicros) -> Result<Option<Used>, String>;
}

/// The ledger: what is kept goes through its journal.
#[derive(Debug)]
pub struct LedgerLog {
    journal: Arc<Journal>,
    recovery: Recovery,
    data_dir: PathBuf,
}

impl LedgerLog {
    /// How long a question waits for what an earlier run left in the journal.
    const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(5);
    /// Pages that are looked through for who took an answer.
    const MOST_PAGES: usize = 10;

    /// The ledger in this folder.
    #[must_use]
    pub fn new(journal: Arc<Journal>, recovery: Recovery, data_dir: PathBuf) -> Self {
        Self {
            journal,
            recovery,
            data_dir,
        }
    }

    fn find(
        &self,
        receiver: &str,
        nonce: u64,
        now: UnixMicros,
    ) -> Result<Option<Used>, QueryError> {
        let reader = match Reader::open(&self.data_dir) {
            Err(QueryError::NoLedger { .. }) => return Ok(None),
            reader => reader?,
        };
        let used = reader.used_answers(now)?;
        if !used.iter().any(|used| used.nonce == nonce) {
            return Ok(None);
        }
        let mut filter = AnswerFilter {
            receiver: Some(receiver.to_owned()),
            limit: 1_000,
            ..AnswerFilter::default()
        };
        for _ in 0..Self::MOST_PAGES {
            let page = reader.answers(&filter)?;
            // The newest first: what came of it before that it was taken.
            let found = page.events.into_iter();
            let mut found = found.filter(|answer| answer.nonce == Some(nonce));
            if let Some(answer) = found.next() {
                let is_known = answer.done || &*answer.outcome != TAKEN;
                return Ok(Some(Used {
                    who: Some(answer.who),
                    at: Some(answer.at),
                    done: is_known.then_some(answer.done),
                }));
            }
            if page.next.is_none() {
                break;
            }
            filter.cursor = page.next;
        }
        Ok(Some(Used {
            who: None,
            at: None,
            done: None,
        }))
    }
}

impl AnswerLog for LedgerLog {
    fn answered(&self, answer: &ChatAnswer) -> bool {
        self.journal.answered(answer)
    }

    fn is_written(&self) -> bool {
        self.journal.is_writable()
    }

    fn used(&self, receiver: &str, nonce: u64, now: UnixMicros) -> Result<Option<Used>, String> {
        if !self.recovery.wait(Self::CAUGHT_UP_WITHIN) {
            let why = "the database does not have yet what an earlier run left in the journal";
            return Err(why.to_owned());
        }
        let found = self.find(receiver, nonce, now);
        found.map_err(|error| error.to_string())
    }
}
