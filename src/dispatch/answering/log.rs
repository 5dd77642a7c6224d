//! Where it is kept who answered what.

use std::fmt;
use std::sync::Arc;

use crate::alert::ChatAnswer;
use crate::clock::UnixMicros;

/// An answer that was taken before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Who took it; `None` where that is not known any more.
    pub who: Option<Arc<str>>,
    /// When, likewise.
    pub at: Option<UnixMicros>,
    /// Whether it was done; otherwise it failed, or the process ended over it.
    pub done: bool,
}

/// Keeps who answered what. Both may block.
pub trait AnswerLog: fmt::Debug + Send + Sync {
    /// Keeps an answer. `true` when it survives the process; `false` when the disk refuses it at
    /// present.
    fn answered(&self, answer: &ChatAnswer) -> bool;

    /// Whether all of what was kept survives the process.
    fn is_written(&self) -> bool;

    /// Whether an answer with this number was kept, by this process or an earlier one. Fails, in words
    /// for operators, where nobody can tell yet.
    fn used(&self, receiver: &str, nonce: u64, now: UnixMicros) -> Result<Option<Used>, String>;
}
