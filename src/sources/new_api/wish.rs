//! What a gate means for the same channel outside.

use crate::channel::GateStatus;
use crate::clock::UnixMicros;
use crate::record::GateState;

/// What an outside channel should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Whether Tollgate should hold it disabled.
    pub(super) disabled: bool,
    /// When the wish becomes another one by time alone.
    pub(super) until: Option<UnixMicros>,
}

impl Wish {
    const ENABLED: Self = Self {
        disabled: false,
        until: None,
    };

    /// What `gate` means.
    ///
    /// Where a request is to find out whether the channel works again, it has to get here: behind
    /// new-api no request comes to a channel that is disabled there. So as soon as a probe is due
    /// the channel is enabled outside, before any request came.
    pub(super) fn of(gate: &GateStatus, now: UnixMicros) -> Self {
        match (gate.state, gate.next_probe) {
            (GateState::Closed, Some(due)) if due <= now => Self::ENABLED,
            (GateState::Closed, due) => Self {
                disabled: true,
                until: due,
            },
            (GateState::Open | GateState::Probing, _) => Self::ENABLED,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::channel::{Closing, Registry};
    use crate::config::{BaseUrl, ChannelSettings};
    use crate::record::{GateReason, Owner};

    const NOW: UnixMicros = UnixMicros(1_000);
    const ENABLED: Wish = Wish::ENABLED;

    const fn disabled(until: Option<UnixMicros>) -> Wish {
        Wish {
            disabled: true,
            until,
        }
    }

    #[test]
    fn a_channel_is_enabled_for_the_request_that_finds_out() {
        let alert = Owner::Alert(Arc::from("Spend"));
        let (past, present, later) = (UnixMicros(1), NOW, UnixMicros(1_001));
        for (holds, expected) in [
            (vec![], ENABLED),
            (vec![(Owner::Operator, None)], disabled(None)),
            // Whoever sets a time for it says when it is over: then its gate changes.
            (vec![(alert, Some(later))], disabled(None)),
            (vec![(Owner::Breaker, None)], disabled(None)),
            (vec![(Owner::Breaker, Some(later))], disabled(Some(later))),
            (vec![(Owner::Breaker, Some(present))], ENABLED),
            (
                vec![(Owner::Breaker, Some(past)), (Owner::Operator, None)],
                disabled(None),
            ),
        ] {
            let channel = ChannelSettings::openai(BaseUrl::openai());
            let registry = Registry::of(vec![channel]).unwrap();
            for (owner, until) in &holds {
                let closing = Closing {
                    owner: owner.clone(),
                    reason: GateReason::Failures,
                    until: *until,
                    who: None,
                    note: None,
                };
                registry.close("openai", closing, NOW).unwrap();
            }
            let gate = registry.gate_status("openai", NOW).unwrap();
            assert_eq!(Wish::of(&gate, NOW), expected, "{holds:?}");
        }
    }
}
