//! What a gate means for the same channel outside.

use crate::channel::{GateStatus, Hold};
use crate::clock::UnixMicros;
use crate::record::{GateState, Owner};

/// What an outside channel should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Whether Tollgate should hold it disabled.
    pub(super) disabled: bool,
    /// When the wish becomes another one by time alone.
    pub(super) until: Option<UnixMicros>,
}

impl Wish {
    /// What `gate` means.
    ///
    /// Where a request is to find out whether the channel works again, it has to get here: behind
    /// new-api no request comes to a channel that is disabled there. So as soon as a probe is due
    /// the channel is enabled outside, before any request came.
    pub(super) fn of(gate: &GateStatus, now: UnixMicros) -> Self {
        let mut wish = Self {
            disabled: false,
            until: None,
        };
        if gate.state != GateState::Closed {
            return wish;
        }
        wish.disabled = true;
        let closed = || {
            gate.holds
                .iter()
                .filter(|hold| hold.state == GateState::Closed)
        };
        if closed().any(|hold| hold.closing.owner != Owner::Breaker) {
            return wish;
        }
        // No time at all means that an operator has to.
        let probe: Option<UnixMicros> = closed().filter_map(probe_due).max();
        match probe {
            Some(due) if due <= now => wish.disabled = false,
            due => wish.until = due,
        }
        wish
    }
}

/// When a request may find out whether the breaker's hold is to end.
fn probe_due(hold: &Hold) -> Option<UnixMicros> {
    hold.closing.until
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::channel::Closing;
    use crate::record::GateReason;

    const NOW: UnixMicros = UnixMicros(1_000);

    fn hold(owner: Owner, state: GateState, until: Option<i64>) -> Hold {
        Hold {
            since: UnixMicros(0),
            closing: Closing {
                owner,
                reason: GateReason::Failures,
                until: until.map(UnixMicros),
                who: None,
                note: None,
            },
            state,
        }
    }

    fn gate(state: GateState, holds: Vec<Hold>) -> GateStatus {
        GateStatus {
            state,
            holds,
            in_flight: 0,
            next_probe: None,
            cooling: Vec::new(),
        }
    }

    fn wish(disabled: bool, until: Option<i64>) -> Wish {
        Wish {
            disabled,
            until: until.map(UnixMicros),
        }
    }

    #[test]
    fn a_channel_is_enabled_for_the_request_that_finds_out() {
        use GateState::{Closed, Open, Probing};
        use Owner::{Breaker, Operator};
        let alert = || Owner::Alert(Arc::from("Spend"));
        for (state, holds, expected) in [
            (Open, vec![], wish(false, None)),
            (Closed, vec![hold(Operator, Closed, None)], wish(true, None)),
            // Whoever sets a time for it says when it is over.
            (
                Closed,
                vec![hold(alert(), Closed, Some(10))],
                wish(true, None),
            ),
            (Closed, vec![hold(Breaker, Closed, None)], wish(true, None)),
            (
                Closed,
                vec![hold(Breaker, Closed, Some(1_001))],
                wish(true, Some(1_001)),
            ),
            (
                Closed,
                vec![hold(Breaker, Closed, Some(1_000))],
                wish(false, None),
            ),
            (
                Probing,
                vec![hold(Breaker, Probing, None)],
                wish(false, None),
            ),
            (
                Closed,
                vec![hold(Breaker, Closed, Some(1)), hold(Operator, Closed, None)],
                wish(true, None),
            ),
            (
                Closed,
                vec![hold(Breaker, Probing, None), hold(Operator, Closed, None)],
                wish(true, None),
            ),
        ] {
            let gate = gate(state, holds);
            assert_eq!(Wish::of(&gate, NOW), expected, "{gate:?}");
        }
    }
}
