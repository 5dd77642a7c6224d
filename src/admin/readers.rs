//! Connections that read the ledger, off the reactor.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::{ApiError, ErrorCode};
use crate::ledger::{QueryError, Reader};

/// Questions answered at once. SQLite answers on the asking thread, so more of them would take
/// processors from the traffic.
const MAX_READERS: usize = 4;

/// How long a question waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// A small pool of [`Reader`]s.
#[derive(Debug)]
pub(super) struct Readers {
    data_dir: PathBuf,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Reader>>,
}

impl Readers {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            turns: Arc::new(Semaphore::new(MAX_READERS)),
            idle: Mutex::default(),
        }
    }

    /// Waits for a turn. Keep it for as long as the question takes.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        timeout(TURN, Arc::clone(&self.turns).acquire_owned())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| {
                ApiError::new(
                    ErrorCode::Busy,
                    "too many questions at once; ask again, or for a shorter range",
                )
            })
    }

    /// Asks the ledger on a thread that may block.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.turn().await?;
        let readers = Arc::clone(self);
        let answer = tokio::task::spawn_blocking(move || {
            // Here and not in the caller: a client that leaves does not stop the question, so it
            // keeps its turn.
            let _turn = turn;
            readers.answer(question)
        })
        .await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ApiError::ledger(&error)),
            Err(error) => {
                tracing::error!(%error, "a question to the ledger failed");
                Err(ApiError::new(
                    ErrorCode::Internal,
                    "a fault of Tollgate's own; the log says which",
                ))
            }
        }
    }

    fn answer<T>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let idle = self.lock().pop();
        let reader = match idle {
            Some(reader) => reader,
            None => Reader::open(&self.data_dir)?,
        };
        // A reader that failed is not used again: whatever is wrong with it ends here.
        let answer = question(&reader)?;
        self.lock().push(reader);
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
