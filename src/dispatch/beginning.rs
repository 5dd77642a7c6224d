//! How a run begins: with all that earlier ones left, where that can be known soon; with what is known
//! of it otherwise, because nobody being told anything is worse than being told twice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::restore::Left;
use crate::clock::UnixMicros;
use crate::ledger::{QueryError, Recovery};

/// From one try to read the ledger to the next.
const READ_AGAIN: Duration = Duration::from_millis(250);
/// The same, once telling began without.
const READ_LATER: Duration = Duration::from_secs(5);
/// After this it is said why nobody is told anything yet.
const SAID_AFTER: Duration = Duration::from_secs(10);
/// After this telling begins with what the database has.
const BEGUN_AFTER: Duration = Duration::from_secs(60);

/// What a run begins with.
pub(super) struct Beginning {
    pub(super) left: Left,
    /// Whether it is all there is.
    pub(super) is_whole: bool,
}

/// What a look found.
#[derive(Debug)]
enum Found {
    /// All of it.
    Whole(Left),
    /// What the database has; the journal has more.
    Part(Left),
    /// Nothing can be read.
    Unread(QueryError),
}

/// What is to be done after a look that did not find all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    LookAgain,
    SayWhy,
    Begin,
}

/// Whether it was said, and how long it was waited for.
const fn verdict(waited: Duration, said: bool) -> Verdict {
    if waited.as_nanos() >= BEGUN_AFTER.as_nanos() {
        Verdict::Begin
    } else if waited.as_nanos() >= SAID_AFTER.as_nanos() && !said {
        Verdict::SayWhy
    } else {
        Verdict::LookAgain
    }
}

/// Reads what earlier runs left, and this one by an earlier plan.
pub(super) async fn beginning(recovery: &Recovery, data_dir: &Path) -> Beginning {
    let began = Instant::now();
    let mut said = false;
    loop {
        let waited = began.elapsed();
        // What is there is read only where it is taken.
        let in_part = matches!(verdict(waited, said), Verdict::Begin | Verdict::SayWhy);
        let found = look(recovery.clone(), data_dir.to_owned(), in_part).await;
        let (left, why) = match found {
            Some(Found::Whole(left)) => {
                return Beginning {
                    left,
                    is_whole: true,
                };
            }
            Some(Found::Part(left)) => (
                left,
                "the database has not all of the journal yet".to_owned(),
            ),
            Some(Found::Unread(error)) => (Left::default(), error.to_string()),
            None => (
                Left::default(),
                "the database has not all of the journal yet".to_owned(),
            ),
        };
        match verdict(waited, said) {
            Verdict::LookAgain => {}
            Verdict::SayWhy => {
                said = true;
                tracing::warn!(
                    why,
                    "nobody is told anything until it is known what was told before"
                );
            }
            Verdict::Begin => {
                tracing::warn!(
                    why,
                    "people are told again without all that was told before; some of it may be repeated"
                );
                return Beginning {
                    left,
                    is_whole: false,
                };
            }
        }
        sleep(READ_AGAIN).await;
    }
}

/// Waits until all that earlier runs left can be read.
pub(super) async fn whole(recovery: &Recovery, data_dir: &Path) {
    loop {
        sleep(READ_LATER).await;
        let found = look(recovery.clone(), data_dir.to_owned(), false).await;
        if matches!(found, Some(Found::Whole(_))) {
            tracing::info!("what was told before is known now");
            return;
        }
    }
}

/// Looks once; at what the database has, too, where `in_part` says so.
async fn look(recovery: Recovery, data_dir: PathBuf, in_part: bool) -> Option<Found> {
    let read = move || {
        let is_whole = recovery.wait(READ_AGAIN) && recovery.flush(READ_AGAIN);
        if !is_whole && !in_part {
            return None;
        }
        Some(match Left::read(&data_dir, UnixMicros::now()) {
            Ok(left) if is_whole => Found::Whole(left),
            Ok(left) => Found::Part(left),
            Err(error) => Found::Unread(error),
        })
    };
    spawn_blocking(read).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Ledger, Settings, Takeover};

    #[test]
    fn a_wait_is_said_once_and_ends() {
        let after = |seconds, said| verdict(Duration::from_secs(seconds), said);
        assert_eq!(after(0, false), Verdict::LookAgain);
        assert_eq!(after(9, false), Verdict::LookAgain);
        assert_eq!(after(10, false), Verdict::SayWhy);
        assert_eq!(after(59, true), Verdict::LookAgain);
        assert_eq!(after(60, true), Verdict::Begin);
        assert_eq!(after(60, false), Verdict::Begin);
    }

    /// Another process is the writer, and stays.
    #[tokio::test]
    async fn what_the_database_has_is_there_while_the_journal_has_more() {
        let folder = tempfile::tempdir().unwrap();
        let files = Settings::new(folder.path());
        let writer = Ledger::open(&files, Takeover::Refuse).unwrap();
        assert!(writer.recovery().wait(Duration::from_secs(60)));
        let next = Ledger::open(&files, Takeover::Wait).unwrap();
        let data_dir = folder.path();
        let found = look(next.recovery(), data_dir.to_owned(), false).await;
        assert!(found.is_none());
        let found = look(next.recovery(), data_dir.to_owned(), true).await;
        assert!(matches!(found, Some(Found::Part(_))), "{found:?}");
        let found = look(writer.recovery(), data_dir.to_owned(), true).await;
        assert!(matches!(found, Some(Found::Whole(_))), "{found:?}");
    }
}
