//! How history is asked to be priced anew, and why it was not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use super::book::PriceBook;
use super::report::RepriceReport;
use super::{Pass, RepriceQuery, StepError};
use crate::ledger::OpenError;
use crate::ledger::control::Control;
use crate::ledger::query::{QueryError, ReadError};
use crate::ledger::rollup::MissingRollup;

/// Why history was not (or not to the end) priced anew. What was done before stays done; asking
/// again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RepriceError {
    /// This process does not write the ledger: it is closing, or another one has the role.
    #[error("this process is not (or no longer) the ledger's writer; ask again in a moment")]
    NotWriter,
    /// It is being done already.
    #[error("history is being priced anew already; ask again when that is done")]
    Busy,
    /// The ledger cannot be opened for writing.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] QueryError),
    /// A transaction failed.
    #[error(
        "cannot write the ledger at {path}: {source}; what was done so far stays done, ask again \
         for the rest"
    )]
    Write {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// Rows and roll-ups do not agree.
    #[error("{missing}. The database is {path}; what was done so far stays done")]
    NoRollup {
        /// The database.
        path: PathBuf,
        /// What is not there.
        missing: MissingRollup,
    },
    /// A fault of this program's own.
    #[error("the ledger's writer met a fault of its own; nothing is half done, ask again")]
    Fault,
}

impl RepriceError {
    pub(in crate::ledger) fn of_step(error: StepError, database: &Path) -> Self {
        let path = database.to_owned();
        match error {
            StepError::Read(ReadError::Database(source)) => Self::Write { path, source },
            StepError::Read(unreadable @ ReadError::Unreadable { .. }) => {
                Self::Read(unreadable.at(database))
            }
            StepError::Rollup(missing) => Self::NoRollup { path, missing },
        }
    }
}

/// The way to have a running ledger's history priced anew. Clones ask the same ledger.
#[derive(Clone, Debug)]
pub struct Repricer {
    control: Arc<Control>,
}

impl Repricer {
    pub(in crate::ledger) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Has the ledger's writer price rows anew, in between new records, and waits for it. One at a
    /// time; who asks meanwhile gets [`RepriceError::Busy`]. It goes on when nobody waits any more.
    pub fn reprice(
        &self,
        query: RepriceQuery,
        prices: PriceBook,
    ) -> Result<RepriceReport, RepriceError> {
        let (answer, answered) = mpsc::channel();
        self.control.ask_to_reprice(Job {
            pass: Pass::new(query, prices),
            answer,
        })?;
        // The writer went away without a word.
        answered.recv().unwrap_or(Err(RepriceError::NotWriter))
    }
}

/// A walk that the writer takes step by step, and who waits for its end.
#[derive(Debug)]
pub(in crate::ledger) struct Job {
    pub(in crate::ledger) pass: Pass,
    answer: Sender<Result<RepriceReport, RepriceError>>,
}

impl Job {
    /// Tells the end of it. Nobody listens any more: what was done is done.
    pub(in crate::ledger) fn tell(self, result: Result<(), RepriceError>) {
        let report = result.map(|()| self.pass.report());
        let _ = self.answer.send(report);
    }
}
