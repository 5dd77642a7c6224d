//! From alerts and events to messages: who is told what, when, and once.

mod stats;

pub use stats::{DispatchResult, DispatchStats, ReceiverStats};
