//! Logging: one subscriber for our own events and those of the libraries.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogSettings};

/// Pingora logs failures with raw headers in them, credentials included; ours are logged without.
/// An operator who names these targets in `log.level` gets them all the same.
const QUIET: [&str; 3] = ["pingora_core=off", "pingora_proxy=off", "pingora=off"];

/// Installs the subscriber. Lines go to standard error. A second call does nothing.
pub(super) fn install(settings: &LogSettings) {
    let quiet = QUIET
        .iter()
        .filter(|_| !settings.level.contains("pingora"))
        .copied();
    let directives: Vec<&str> = quiet.chain([settings.level.as_str()]).collect();
    let filter = EnvFilter::builder().parse_lossy(directives.join(","));
    let builder = fmt::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would report a line that cannot be written with a macro that panics when it cannot
        // write: a full disk under the log, or a reader that went away, would end the process.
        .log_internal_errors(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // An error says that there is a subscriber already.
    let _ = match settings.format {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
}
