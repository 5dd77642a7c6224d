//! From alerts and events to messages: who is told what, when, and once; and what people answer.

pub mod answering;
mod board;
mod deduplicate;
mod facts;
mod group;
mod inhibit;
mod notices;
mod pacing;
mod queue;
mod routes;
mod context;
mod digest;
mod links;
mod stats;
#[cfg(test)]
mod tests;
mod times;

pub use context::Context;
pub use digest::{BadSchedule, Period, Schedule, digest_content};
pub use links::{Links, runbook};
pub use stats::{DispatchResult, DispatchStats, ReceiverStats};
