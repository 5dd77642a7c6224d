//! The thread that writes payloads and deletes old ones.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::UnixMicros;
use crate::config::{JsonPath, PayloadSettings};

use super::budget::Lease;
use super::stats::PayloadStats;
use super::stored::StoredPayload;
use super::{Payload, store};

/// Old files are looked for at least so often.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// The thread cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the writer of payloads: {0}")]
pub struct StartError(io::Error);

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Task {
    /// Write this; the lease goes with it.
    Write(Box<Payload>, Lease),
    /// Write nothing more.
    Close,
}

/// The running thread. Dropped without [`Writer::close`] it goes on until the process ends.
#[derive(Debug)]
pub struct Writer {
    tasks: Sender<Task>,
    closed: Receiver<()>,
}

impl Writer {
    pub(super) fn start(
        settings: &PayloadSettings,
        data_dir: &Path,
        stats: Arc<PayloadStats>,
    ) -> Result<Self, StartError> {
        let (tasks, todo) = mpsc::channel();
        let (closing, closed) = mpsc::channel();
        let mut work = Work {
            folder: store::folder(data_dir),
            retention: settings.retention,
            redact: settings.redact.clone(),
            stats,
            failing: false,
        };
        thread::Builder::new()
            .name("payloads".to_owned())
            .spawn(move || {
                work.run(&todo);
                // Nobody waits for it any more only when the process ends.
                let _ = closing.send(());
            })
            .map_err(StartError)?;
        Ok(Self { tasks, closed })
    }

    pub(super) fn tasks(&self) -> Sender<Task> {
        self.tasks.clone()
    }

    /// Waits until everything submitted before is written, at most for `timeout`; false when it
    /// was not.
    #[must_use]
    pub fn close(self, timeout: Duration) -> bool {
        self.tasks.send(Task::Close).is_ok() && self.closed.recv_timeout(timeout).is_ok()
    }
}

/// What the thread has.
struct Work {
    folder: PathBuf,
    retention: Duration,
    redact: Vec<JsonPath>,
    stats: Arc<PayloadStats>,
    /// The last payload could not be written: the next failure is no news.
    failing: bool,
}

impl Work {
    fn run(&mut self, todo: &Receiver<Task>) {
        let every = (self.retention / 4).clamp(Duration::from_secs(1), LOOK_EVERY);
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            if now >= due {
                self.expire(UnixMicros::now());
                due = now + every;
            }
            match todo.recv_timeout(due.saturating_duration_since(now)) {
                Ok(Task::Write(payload, lease)) => {
                    self.write(&payload);
                    drop(lease);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Task::Close) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, payload: &Payload) {
        let stored = StoredPayload::of(payload, &self.redact);
        match store::write(&self.folder, &stored) {
            Ok(()) => {
                self.stats.count_written();
                self.failing = false;
            }
            Err(error) => {
                self.stats.count_failed();
                if !self.failing {
                    let folder = self.folder.display();
                    tracing::warn!(%folder, %error, "payloads cannot be written; requests go on");
                }
                self.failing = true;
            }
        }
    }

    fn expire(&self, now: UnixMicros) {
        if let Err(error) = store::expire(&self.folder, self.retention, now) {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "old payloads cannot be deleted; trying again");
        }
    }
}
