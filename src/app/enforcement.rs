//! What the rules decide, carried out: channels are closed and reopened, and every change of an alert
//! is recorded, logged and passed on.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::alert::{ActionTaken, AlertEvent, AlertId, AlertState};
use crate::channel::{Closing, Guarded, NoSuchChannel, Registry};
use crate::clock::UnixMicros;
use crate::dispatch::Inbox;
use crate::ledger::Journal;
use crate::record::{GateReason, Owner};
use crate::rules::{Closed, Closure, Hands, Recovery};

/// The rules' hands. What it does takes a few locks and one write to the journal; it waits for nobody.
#[derive(Debug)]
pub(super) struct Enforcement {
    channels: Arc<Registry>,
    journal: Arc<Journal>,
    /// Where changes of alerts are heard, after they are in the journal.
    inbox: Arc<Inbox>,
    /// Whether another process decides now.
    retired: AtomicBool,
}

impl Enforcement {
    pub(super) fn new(channels: Arc<Registry>, journal: Arc<Journal>, inbox: Arc<Inbox>) -> Self {
        Self {
            channels,
            journal,
            inbox,
            retired: AtomicBool::new(false),
        }
    }

    /// From here on nothing is carried out: the process that takes over has the alerts as they are
    /// now, and this one, which sees only the rest of its own requests, must not resolve them.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    fn try_close(&self, closure: &Closure, now: UnixMicros) -> Result<Closed, NoSuchChannel> {
        let owner = owner(&closure.alert);
        let closing = Closing {
            owner: owner.clone(),
            reason: GateReason::Alert,
            until: closure.until,
            who: None,
            note: Some(Arc::clone(&closure.note)),
        };
        if closure.allow_last {
            self.channels.close(&closure.channel, closing, now)?;
        } else if let Guarded::LastOpen(model) =
            self.channels
                .close_unless_last(&closure.channel, closing, now)?
        {
            return Ok(Closed::LastOf(model));
        }
        if closure.recovery == Recovery::Probe {
            self.channels.probe_after(&closure.channel, &owner, now)?;
        }
        Ok(Closed::Done)
    }
}

/// Whose holds an alert's are.
fn owner(alert: &AlertId) -> Owner {
    Owner::Alert(Arc::from(alert.to_string()))
}

impl Hands for Enforcement {
    fn close(&self, closure: &Closure, now: UnixMicros) -> Closed {
        if self.is_retired() {
            return Closed::Done;
        }
        self.try_close(closure, now)
            .unwrap_or(Closed::NoSuchChannel)
    }

    fn reopen(&self, channel: &str, alert: &AlertId, recovery: Recovery, now: UnixMicros) {
        if self.is_retired() {
            return;
        }
        let owner = owner(alert);
        if recovery == Recovery::Probe {
            // The rule may not have asked for it yet when the hold began.
            let _no_such_channel_no_hold = self.channels.probe_after(channel, &owner, now);
        }
        let _no_such_channel_no_hold = self.channels.reopen(channel, &owner, None, None, now);
    }

    fn free(&self, alert: &AlertId, now: UnixMicros) {
        if self.is_retired() {
            return;
        }
        let owner = owner(alert);
        for (channel, gate) in self.channels.status(now) {
            if gate.holds.iter().any(|hold| hold.closing.owner == owner) {
                let note = Some("the rule is gone");
                let _it_is_known = self.channels.reopen(&channel.name, &owner, None, note, now);
            }
        }
    }

    fn changed(&self, event: &AlertEvent) {
        if self.is_retired() {
            return;
        }
        // First: what others see of the change shall survive.
        self.journal.alert_changed(event);
        if event.told {
            log(event);
            self.inbox.alert_changed(event);
        }
    }
}

fn log(event: &AlertEvent) {
    let actions: Vec<String> = event.actions.iter().map(told).collect();
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(
                alert = %event.alert,
                state = %event.state,
                severity = event.severity.map(tracing::field::display),
                value = event.value.map(tracing::field::display),
                limit = event.limit.map(tracing::field::display),
                window_end = event.window_end.map(tracing::field::display),
                mode = %event.mode,
                actions = (!actions.is_empty()).then(|| actions.join("; ")),
                "an alert changed"
            )
        };
    }
    if event.state == AlertState::Firing {
        say!(warn);
    } else {
        say!(info);
    }
}

fn told(taken: &ActionTaken) -> String {
    let not = if taken.done { "" } else { " (not done)" };
    format!("{}{not}: {}", taken.action, taken.detail)
}
