//! What the commands that ask have in common: arguments that are times, who asks, and waiting for
//! answers.

use std::future::Future;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::failure::Failure;
use crate::admin::{parse_moment, parse_span};
use crate::clock::UnixMicros;
use crate::config::months;

/// The time that `--argument text` means.
pub(super) fn moment(
    argument: &'static str,
    text: &str,
    now: UnixMicros,
    timezone: &TimeZone,
) -> Result<UnixMicros, Failure> {
    refuse_months(argument, text)?;
    parse_moment(text, now, timezone).map_err(|source| Failure::Moment { argument, source })
}

/// The length of time that `--argument text` means.
pub(super) fn length(argument: &'static str, text: &str) -> Result<Duration, Failure> {
    refuse_months(argument, text)?;
    parse_span(text).map_err(|source| Failure::Span { argument, source })
}

/// `5M` are five months, and hardly ever meant: no answer shows that they were asked for.
fn refuse_months(argument: &'static str, text: &str) -> Result<(), Failure> {
    let Some(doubt) = months(text) else {
        return Ok(());
    };
    let remedy = doubt.remedy.unwrap_or_default();
    let message = format!("--{argument}: `{text}` {}; {remedy}", doubt.reason);
    Err(Failure::Usage(message))
}

/// Who is at the terminal, for the audit; at most 64 characters.
pub(super) fn login_name() -> Option<String> {
    let name = ["LOGNAME", "USER"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty());
    name.map(|name| name.chars().take(64).collect())
}

/// Waits for an answer. One thread is enough for one question at a time.
pub(super) fn wait<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(answer)
}

/// As [`login_name`], for what has to be signed.
pub(super) fn who() -> String {
    login_name().unwrap_or_else(|| "command line".to_owned())
}
