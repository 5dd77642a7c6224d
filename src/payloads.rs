//! Payloads: the bytes of requests and their answers, for looking into a failure. Off by default.
//!
//! # The way of a payload
//! `proxy` holds what passes of a request that is chosen ([`Payloads::choice`]) and hands it over
//! when the request has ended ([`Payloads::submit`]). One thread takes it from there: it decodes,
//! redacts, compresses and writes. Everything held, from a request's first byte to its file, counts
//! against one bound of memory; what finds no room is dropped and counted, and nobody ever waits.
//!
//! # What is kept
//! The request's method, path (without query) and headers as the client sent them, and its body as
//! it went to the upstream; the answer's status, headers and body as they went to the client. An
//! answer that Tollgate made itself is not kept: the ledger's row says all of it. Bodies in a
//! content coding are kept decoded. Of each body at most `payloads.max_bytes` are kept.
//!
//! # What is not
//! The values of headers that carry credentials, and those same values, the channel's and those of
//! the query, wherever else they stand. The values that `payloads.redact` names; and, where it names
//! any, everything that cannot be read as JSON or as events of JSON, because nobody could tell what
//! of it is meant.
//!
//! # Files
//! `payloads/<day>/<request id>.json.zst` in the data folder, readable by the owner only; the day is
//! that of the request's start, in UTC. Each is one JSON object, compressed, written under another
//! name first and then renamed. What waits is lost with a killed process, and the last files, which
//! are not synced, with a power cut. They are deleted by age alone, whatever became of their requests, and also while capture is off.

mod budget;
mod content;
mod events;
mod json;
mod secrets;
mod stats;
mod store;
mod stored;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use http::{HeaderMap, Method, Uri};

use crate::channel::Channel;
use crate::config::{PayloadCapture, PayloadSettings};
use crate::record::{Outcome, RequestId};

use budget::{Budget, Lease};
use writer::Task;

pub use budget::Kept;
pub use stats::PayloadStats;
pub use store::{ReadError, is_day, read};
pub use stored::{Content, StoredAnswer, StoredBody, StoredPayload, StoredRequest};
pub use writer::{StartError, Writer};

/// Memory for all that is held, in bytes; more where `max_bytes` is so large that little else
/// would fit.
const BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// What a payload takes besides its bodies and header values, in bytes, roughly.
const HEAD_BYTES: usize = 2 * 1024;

/// Where the bytes of requests and answers go. Shared by all workers.
#[derive(Debug)]
pub struct Payloads {
    capture: PayloadCapture,
    max_bytes: usize,
    budget: Arc<Budget>,
    stats: Arc<PayloadStats>,
    tasks: Sender<Task>,
}

/// Whether the bytes of a request are to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// No.
    No,
    /// Until its outcome is known: they are kept when it failed.
    IfFailed,
    /// Yes.
    Yes,
}

impl Choice {
    /// Whether a request that ended so is kept.
    #[must_use]
    pub const fn keeps(self, outcome: Outcome) -> bool {
        match self {
            Self::No => false,
            Self::IfFailed => outcome.is_error(),
            Self::Yes => true,
        }
    }
}

/// One request and its answer as they passed: nothing is redacted yet.
pub struct Payload {
    /// The request's id.
    pub id: RequestId,
    /// How it ended.
    pub outcome: Outcome,
    /// Whose credentials it went out with; `None` when it never got so far.
    pub channel: Option<Arc<Channel>>,
    /// The request.
    pub request: Request,
    /// The upstream's answer; `None` when there was none.
    pub answer: Option<Answer>,
}

/// A request as it passed.
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its target, query included.
    pub uri: Uri,
    /// The headers that the client sent.
    pub headers: HeaderMap,
    /// The body that went to the upstream.
    pub body: Kept,
}

/// An answer as it passed.
pub struct Answer {
    /// Its HTTP status.
    pub status: u16,
    /// The headers that went to the client.
    pub headers: HeaderMap,
    /// The body that went to the client.
    pub body: Kept,
}

impl Payload {
    fn head_bytes(&self) -> usize {
        let answer = self.answer.as_ref().map(|answer| &answer.headers);
        let headers = [Some(&self.request.headers), answer];
        let fields = headers.into_iter().flatten().flatten();
        let fields: usize = fields
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        HEAD_BYTES + fields
    }
}

/// Without any of its content, which may be secret.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("id", &self.id)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl Payloads {
    /// Starts the thread that writes below `data_dir`, and deletes there what is older than the
    /// retention. The folder is made when there is something to write.
    pub fn start(
        settings: &PayloadSettings,
        data_dir: &Path,
    ) -> Result<(Arc<Self>, Writer), StartError> {
        let stats = Arc::new(PayloadStats::default());
        let writer = Writer::start(settings, data_dir, Arc::clone(&stats))?;
        let budget = Budget::new(BUDGET_BYTES.max(settings.max_bytes.saturating_mul(4)));
        let payloads = Self {
            capture: settings.capture,
            max_bytes: settings.max_bytes,
            budget,
            stats,
            tasks: writer.tasks(),
        };
        Ok((Arc::new(payloads), writer))
    }

    /// What became of payloads so far.
    #[must_use]
    pub fn stats(&self) -> Arc<PayloadStats> {
        Arc::clone(&self.stats)
    }

    /// Whether the request of this id is chosen. A sample is drawn by the id alone, so that it is
    /// the same wherever it is asked for.
    #[must_use]
    pub fn choice(&self, id: RequestId) -> Choice {
        match self.capture {
            PayloadCapture::Errors => Choice::IfFailed,
            PayloadCapture::Sample(share) if share.includes(id.random()) => Choice::Yes,
            PayloadCapture::Off | PayloadCapture::Sample(_) => Choice::No,
            PayloadCapture::All => Choice::Yes,
        }
    }

    /// An empty body, to be filled as it passes.
    #[must_use]
    pub fn body(&self) -> Kept {
        Kept::new(self.max_bytes, Lease::of(&self.budget))
    }

    /// Hands a payload over to be written. Never waits: it is dropped and counted when there is no
    /// room for it.
    pub fn submit(&self, mut payload: Payload) {
        let mut head = Lease::of(&self.budget);
        let answer = payload.answer.as_mut();
        let fits = payload.request.body.seal()
            && answer.is_none_or(|answer| answer.body.seal())
            && head.cover(payload.head_bytes());
        if !fits
            || self
                .tasks
                .send(Task::Write(Box::new(payload), head))
                .is_err()
        {
            self.stats.count_dropped();
        }
    }
}

#[cfg(test)]
mod tests;
