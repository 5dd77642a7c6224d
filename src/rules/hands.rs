//! What a rule's decisions are carried out by. The engine knows neither channels nor storage nor
//! delivery; it is handed these.

use std::fmt;
use std::sync::Arc;

use super::definition::Recovery;
use crate::alert::{AlertEvent, AlertId};
use crate::clock::UnixMicros;

/// A channel that an alert wants closed.
#[derive(Clone, Debug)]
pub struct Closure {
    /// Which.
    pub channel: Arc<str>,
    /// Whose hold it is.
    pub alert: AlertId,
    /// When the hold ends by itself; `None` for an operator to end it, or the alert.
    pub until: Option<UnixMicros>,
    /// How the channel comes back.
    pub recovery: Recovery,
    /// Whether the last open channel of a model may be closed.
    pub allow_last: bool,
    /// In words.
    pub note: Arc<str>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is closed: no request is admitted to it any more.
    Done,
    /// It is not: it is the last open one of this model (`*` for every model).
    LastOf(Arc<str>),
    /// There is no such channel.
    NoSuchChannel,
}

/// Carries out what rules decide. Called with the lock of the alert's series held, so that the order
/// of events is that of the decisions: must not block and must not call the rules back.
pub trait Hands: fmt::Debug + Send + Sync {
    /// Closes a channel before it returns. A hold that the alert has already is replaced.
    fn close(&self, closure: &Closure, now: UnixMicros) -> Closed;

    /// Ends the alert's own hold on a channel; everybody else's stays.
    fn reopen(&self, channel: &str, alert: &AlertId, recovery: Recovery, now: UnixMicros);

    /// Ends every hold of an alert that is no more, on whatever channel.
    fn free(&self, alert: &AlertId, now: UnixMicros);

    /// An alert changed. Survives the process once this has returned.
    fn changed(&self, event: &AlertEvent);
}

/// Carries out nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoHands;

impl Hands for NoHands {
    fn close(&self, _closure: &Closure, _now: UnixMicros) -> Closed {
        Closed::Done
    }

    fn reopen(&self, _channel: &str, _alert: &AlertId, _recovery: Recovery, _now: UnixMicros) {}

    fn free(&self, _alert: &AlertId, _now: UnixMicros) {}

    fn changed(&self, _event: &AlertEvent) {}
}
