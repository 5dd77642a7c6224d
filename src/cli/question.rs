//! What the commands that ask have in common: arguments that are times, and waiting for answers.

use std::future::Future;

use jiff::tz::TimeZone;

use super::failure::Failure;
use crate::admin::parse_moment;
use crate::clock::UnixMicros;

/// The time that `--argument text` means.
pub(super) fn moment(
    argument: &'static str,
    text: &str,
    now: UnixMicros,
    timezone: &TimeZone,
) -> Result<UnixMicros, Failure> {
    parse_moment(text, now, timezone).map_err(|source| Failure::Moment { argument, source })
}

/// Waits for an answer. One thread is enough for one question at a time.
pub(super) fn wait<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(answer)
}
