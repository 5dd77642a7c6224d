//! The atomics behind the series.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::record::{
    GateReason, GateState, Outcome, Phase, RequestRecord, TokenType, UsageSource, is_unpriced,
};

use super::histogram::{DURATION_US, FIRST_TOKEN_US, Histogram, PER_TOKEN_US, PHASE_US};
use super::limits::Limits;

const OUTCOMES: usize = Outcome::ALL.len();
const SOURCES: usize = UsageSource::ALL.len();
const TYPES: usize = TokenType::ALL.len();

/// Everything counted for one (channel, model, api).
#[derive(Debug)]
pub(super) struct Cell {
    requests: [AtomicU64; OUTCOMES],
    tokens: [[AtomicU64; SOURCES]; TYPES],
    cost_nanousd: [AtomicU64; SOURCES],
    unpriced: AtomicU64,
    pub(super) duration: Histogram,
    pub(super) first_token: Histogram,
    pub(super) per_token: Histogram,
}

impl Cell {
    pub(super) fn new() -> Self {
        Self {
            requests: zeros(),
            tokens: std::array::from_fn(|_| zeros()),
            cost_nanousd: zeros(),
            unpriced: AtomicU64::new(0),
            duration: Histogram::new(DURATION_US),
            first_token: Histogram::new(FIRST_TOKEN_US),
            per_token: Histogram::new(PER_TOKEN_US),
        }
    }

    pub(super) fn observe(&self, record: &RequestRecord) {
        self.requests[record.outcome as usize].fetch_add(1, Ordering::Relaxed);
        let source = record.usage.source as usize;
        for (kind, count) in record.usage.tokens.iter() {
            self.tokens[kind as usize][source].fetch_add(count, Ordering::Relaxed);
        }
        if let Some(cost) = &record.cost {
            let nanos = u64::try_from(cost.amount.0).unwrap_or(0);
            self.cost_nanousd[source].fetch_add(nanos, Ordering::Relaxed);
        }
        if is_unpriced(record.usage.source, record.cost.is_some()) {
            self.unpriced.fetch_add(1, Ordering::Relaxed);
        }
        let Some(total_us) = record.phases[Phase::Total] else {
            return;
        };
        self.duration.observe(total_us);
        if let Some(first_token_us) = record.phases[Phase::FirstToken] {
            self.first_token.observe(first_token_us);
            if let Some(per_token_us) = time_per_output_token_us(record, total_us, first_token_us) {
                self.per_token.observe(per_token_us);
            }
        }
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.iter().filter_map(|&outcome| {
            let count = self.requests[outcome as usize].load(Ordering::Relaxed);
            (count > 0).then_some((outcome, count))
        })
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = (TokenType, UsageSource, u64)> + '_ {
        TokenType::ALL.iter().flat_map(move |&kind| {
            UsageSource::ALL.iter().filter_map(move |&source| {
                let count = self.tokens[kind as usize][source as usize].load(Ordering::Relaxed);
                (count > 0).then_some((kind, source, count))
            })
        })
    }

    pub(super) fn costs_nanousd(&self) -> impl Iterator<Item = (UsageSource, u64)> + '_ {
        UsageSource::ALL.iter().filter_map(|&source| {
            let nanos = self.cost_nanousd[source as usize].load(Ordering::Relaxed);
            (nanos > 0).then_some((source, nanos))
        })
    }

    /// Requests that used tokens no price row covers.
    pub(super) fn unpriced(&self) -> u64 {
        self.unpriced.load(Ordering::Relaxed)
    }
}

/// Everything counted for one channel.
#[derive(Debug)]
pub(super) struct ChannelCell {
    pub(super) in_flight: AtomicI64,
    pub(super) limits: Limits,
    /// By the state that was reached, and why.
    transitions: [[AtomicU64; GateReason::ALL.len()]; GateState::ALL.len()],
    attempts: [AtomicU64; OUTCOMES],
    phases: [Histogram; Phase::ALL.len()],
}

impl ChannelCell {
    pub(super) fn new() -> Self {
        Self {
            in_flight: AtomicI64::new(0),
            limits: Limits::new(),
            transitions: std::array::from_fn(|_| zeros()),
            attempts: zeros(),
            phases: std::array::from_fn(|_| Histogram::new(PHASE_US)),
        }
    }

    /// Counts one change of the channel's gate.
    pub(super) fn observe_transition(&self, to: GateState, reason: GateReason) {
        self.transitions[to as usize][reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn transitions(&self) -> impl Iterator<Item = (GateState, GateReason, u64)> + '_ {
        GateState::ALL.iter().flat_map(move |&to| {
            GateReason::ALL.iter().filter_map(move |&reason| {
                let count = self.transitions[to as usize][reason as usize].load(Ordering::Relaxed);
                (count > 0).then_some((to, reason, count))
            })
        })
    }

    /// Counts the phases of a request that ended on this channel.
    pub(super) fn observe_phases(&self, record: &RequestRecord) {
        for (phase, us) in record.phases.iter() {
            self.phases[phase as usize].observe(us);
        }
    }

    /// Counts one try at this channel.
    pub(super) fn observe_attempt(&self, outcome: Outcome) {
        self.attempts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attempts(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.iter().filter_map(|&outcome| {
            let count = self.attempts[outcome as usize].load(Ordering::Relaxed);
            (count > 0).then_some((outcome, count))
        })
    }

    pub(super) fn phases(&self) -> impl Iterator<Item = (Phase, &Histogram)> + '_ {
        Phase::ALL
            .iter()
            .map(|&phase| (phase, &self.phases[phase as usize]))
    }
}

/// The pace after the first token, µs: needs at least two output tokens (visible and reasoning).
fn time_per_output_token_us(
    record: &RequestRecord,
    total_us: u64,
    first_token_us: u64,
) -> Option<u64> {
    let tokens = &record.usage.tokens;
    let generated = tokens[TokenType::Output]
        .unwrap_or(0)
        .saturating_add(tokens[TokenType::Reasoning].unwrap_or(0));
    total_us
        .saturating_sub(first_token_us)
        .checked_div(generated.checked_sub(1)?)
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}
