//! What the writer does besides committing the journal, because it alone writes the database: keys and
//! silences are changed, history is priced anew.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::Writer;
use crate::clock::UnixMicros;
use crate::ledger::control::{Change, Control};
use crate::ledger::keys::{KeyChange, KeyError};
use crate::ledger::reprice::{Pass, RepriceError};
use crate::ledger::silences::SilenceError;
use crate::ledger::{OpenError, database};

impl Writer {
    /// The changes that were asked for.
    pub(super) fn serve_changes(&mut self, control: &Control, closing: bool) {
        for change in control.take_changes() {
            let is_writer = !closing && self.lock.is_some();
            match change {
                Change::Key(wish) => {
                    let done = if is_writer {
                        self.change_key(&wish.change)
                    } else {
                        Err(KeyError::NotWriter)
                    };
                    wish.tell(done);
                }
                Change::Silence(wish) => {
                    let done = if is_writer {
                        self.change(|connection, data_dir| wish.change.commit(connection, data_dir))
                            .unwrap_or(Err(SilenceError::Fault))
                    } else {
                        Err(SilenceError::NotWriter)
                    };
                    // First: who asked may rely on it.
                    self.stats.silence_changes.fetch_add(1, Ordering::Release);
                    wish.tell(done);
                }
            }
        }
    }

    /// Makes or revokes a key, or stops requiring them.
    pub(in crate::ledger) fn change_key(&mut self, change: &KeyChange) -> Result<(), KeyError> {
        self.change(|connection, data_dir| change.commit(connection, data_dir))
            .unwrap_or(Err(KeyError::Fault))
    }

    /// Changes the database; a power cut later does not undo it. `None` on a fault of this program's
    /// own.
    fn change<E: From<OpenError>>(
        &mut self,
        commit: impl Fn(&mut Connection, &Path) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let mut work = || {
            let opened = self.open_store();
            opened.map_err(|error| OpenError::store(&self.data_dir, error))?;
            let Some(store) = &mut self.store else {
                return Ok(None);
            };
            commit(&mut store.database.connection, &self.data_dir)?;
            if let Err(error) = store.database.sync() {
                tracing::warn!(%error, "a change may not outlive a power cut");
            }
            Ok(Some(()))
        };
        // As in a round: the thread outlives a fault. The transaction is rolled back by its drop.
        let done = panic::catch_unwind(AssertUnwindSafe(&mut work)).ok()?;
        done.transpose()
    }

    /// A step of pricing history anew, when that is asked for; `true` while there is more to do.
    pub(super) fn serve_repricing(&mut self, control: &Control, closing: bool) -> bool {
        if self.repricing.is_none() {
            self.repricing = control.take_reprice();
        }
        let Some(mut job) = self.repricing.take() else {
            return false;
        };
        let step = if closing || self.lock.is_none() {
            Err(RepriceError::NotWriter)
        } else {
            self.reprice_step(&mut job.pass, UnixMicros::now())
        };
        if let Ok(false) = step {
            self.repricing = Some(job);
            return true;
        }
        if let Err(error) = &step {
            tracing::warn!(%error, "history is not priced anew to the end");
        }
        self.stats.repricings.fetch_add(1, Ordering::Release);
        // In this order: who hears of the end can ask for more.
        control.repriced();
        job.tell(step.map(|_| ()));
        false
    }

    /// One batch; `true` when it was the last.
    pub(in crate::ledger) fn reprice_step(
        &mut self,
        pass: &mut Pass,
        now: UnixMicros,
    ) -> Result<bool, RepriceError> {
        let path = database::path_in(&self.data_dir);
        let mut step = || {
            self.open_store()
                .map_err(|error| OpenError::store(&self.data_dir, error))?;
            match &mut self.store {
                Some(store) => pass
                    .step(&mut store.database.connection, now)
                    .map_err(|error| RepriceError::of_step(error, &path)),
                None => Err(RepriceError::NotWriter),
            }
        };
        // As in a round: the thread outlives a fault. The transaction is rolled back by its drop.
        panic::catch_unwind(AssertUnwindSafe(&mut step)).unwrap_or(Err(RepriceError::Fault))
    }
}
