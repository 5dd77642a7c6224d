//! A sign of life from what takes long.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::timeout;

use super::output::Output;

/// What takes longer than this shows that it is at work.
const PATIENCE: Duration = Duration::from_millis(300);

/// Waits for `work`; when that takes long and a person looks on, with a line that says `what`.
pub(super) async fn patiently<T>(
    output: &Output,
    what: &'static str,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    if let Ok(done) = timeout(PATIENCE, work.as_mut()).await {
        return done;
    }
    let bar = if output.shows_progress() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    let done = work.await;
    bar.finish_and_clear();
    done
}
