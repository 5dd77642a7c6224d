//! What rules see of requests: one that ended, or a minute of them out of the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Api, Deferral, Outcome, Phase, Phases, RequestRecord, Sketch, TokenType, Tokens};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;

/// The names that a request's model goes by. A rule that names a model means a request by any of
/// them, so that an alias or a renaming upstream gets around no budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModelNames<'a> {
    /// As the client wrote it.
    pub asked: Option<&'a str>,
    /// With aliases resolved.
    pub meant: Option<&'a str>,
    /// At the channel.
    pub called: Option<&'a str>,
    /// By the upstream's word.
    pub served: Option<&'a str>,
}

impl<'a> ModelNames<'a> {
    /// Every name that is known; some may be the same.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let Self {
            asked,
            meant,
            called,
            served,
        } = *self;
        [asked, meant, called, served].into_iter().flatten()
    }

    /// The name that requests are grouped by: known before the request goes up, so that what is
    /// reserved and what is spent are in the same group. `None` for a request that names no model,
    /// whichever answers it.
    #[must_use]
    pub fn label(&self) -> Option<&'a str> {
        self.meant.or(self.asked).or(self.called)
    }
}

/// Whose request it is, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Dimensions<'a> {
    /// The channel; the last one that was tried.
    pub channel: &'a str,
    /// The API.
    pub api: Api,
    /// The client key's name.
    pub key: Option<&'a str>,
    /// The model.
    pub model: ModelNames<'a>,
    /// The tags; `None` where they are not known (a minute of the ledger).
    pub tags: Option<&'a BTreeMap<String, String>>,
}

/// A request that ended and had reached an upstream, or tried to.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// When its header had arrived: what calendar windows go by.
    pub started_at: UnixMicros,
    /// When it ended: what rolling windows go by.
    pub ended_at: UnixMicros,
    /// Whose it is.
    pub dimensions: Dimensions<'a>,
    /// Whether it counts as an error.
    pub error: bool,
    /// Whether it only brings the usage of an earlier request, which was counted then: its money and
    /// tokens count, and it is no request, no error, and has no latency.
    pub settles: bool,
    /// What it cost in nano-dollars, or is taken to have cost where nobody knows; `None` when there is
    /// nothing to pay.
    pub cost_nanousd: Option<i64>,
    /// All tokens.
    pub tokens: Option<u64>,
    /// Tokens of the input, cached or not.
    pub input_tokens: Option<u64>,
    /// Tokens of the output, reasoning too.
    pub output_tokens: Option<u64>,
    /// From its header to its end.
    pub latency_us: Option<u64>,
    /// From its header to the first content of a stream.
    pub ttft_us: Option<u64>,
    /// Thousandths of output tokens a second, from the first content to the end.
    pub pace_milli: Option<u64>,
    /// Where it ends in this process' journal; `None` where that is not known.
    pub position: Option<u64>,
}

/// Sums over the requests of one group that began in one minute and ended in another.
#[derive(Clone, Debug)]
pub struct MinuteSample<'a> {
    /// The start of the minute they began in.
    pub started: UnixMicros,
    /// The start of the minute they ended in.
    pub ended: UnixMicros,
    /// Whose they are, without tags.
    pub dimensions: Dimensions<'a>,
    /// How many.
    pub requests: u64,
    /// How many more only bring the usage of earlier ones (see [`Sample::settles`]).
    pub settled: u64,
    /// Of them, errors.
    pub errors: u64,
    /// As in [`Sample`], added up; `None` when none had any.
    pub cost_nanousd: Option<i64>,
    /// Likewise.
    pub tokens: Option<u64>,
    /// Likewise.
    pub input_tokens: Option<u64>,
    /// Likewise.
    pub output_tokens: Option<u64>,
    /// The distribution; `None` where it was not asked for, or cannot be read.
    pub latency_us: Option<Sketch>,
    /// Likewise.
    pub ttft_us: Option<Sketch>,
    /// Likewise.
    pub pace_milli: Option<Sketch>,
}

/// What says whether a request is one for rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it can be billed.
    pub billable: bool,
    /// Whether its making and its usage are told apart.
    pub deferral: Option<Deferral>,
}

impl Disposition {
    /// Whether it only brings the usage of an earlier request.
    #[must_use]
    pub fn settles(&self) -> bool {
        self.deferral == Some(Deferral::Settled)
    }

    /// Whether the usage of what it made is told later. `is_named` is whether an id is known to find it
    /// by. A batch that was taken in has none yet, and no word on that either.
    #[must_use]
    pub fn awaits_usage(&self, api: Api, is_named: bool) -> bool {
        let is_a_batch = api == Api::Batches && self.billable && self.outcome == Outcome::Ok;
        match self.deferral {
            Some(deferral) => deferral == Deferral::Opened,
            None => is_a_batch && is_named,
        }
    }

    /// Whether it is one for rules: what rules are not asked for uses nothing up either, unless it
    /// brings the usage of what they were asked for.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        is_sampled(self.outcome) && (self.billable || self.settles())
    }
}

/// Whether a request with this outcome is one for rules: what Tollgate itself turned away says nothing
/// of an upstream and costs nothing.
#[must_use]
pub const fn is_sampled(outcome: Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::Blocked | Outcome::Refused | Outcome::NoChannel
    )
}

/// Thousandths of output tokens a second between the first content and the end of a stream; `None`
/// where fewer than two tokens or no time passed.
#[must_use]
pub fn pace_milli(output_tokens: u64, latency_us: u64, ttft_us: u64) -> Option<u64> {
    let after_first = output_tokens.checked_sub(1).filter(|&tokens| tokens > 0)?;
    let writing_us = latency_us.checked_sub(ttft_us).filter(|&us| us > 0)?;
    let milli = u128::from(after_first) * 1_000_000_000 / u128::from(writing_us);
    u64::try_from(milli).ok()
}

/// Tokens of the input.
#[must_use]
pub fn input_tokens(tokens: &Tokens) -> Option<u64> {
    sum_of(tokens, |kind| !is_output(kind))
}

/// Tokens of the output.
#[must_use]
pub fn output_tokens(tokens: &Tokens) -> Option<u64> {
    sum_of(tokens, is_output)
}

const fn is_output(kind: TokenType) -> bool {
    match kind {
        TokenType::Output
        | TokenType::Reasoning
        | TokenType::OutputAudio
        | TokenType::OutputImage => true,
        TokenType::Input
        | TokenType::InputCached
        | TokenType::InputCacheWrite
        | TokenType::InputAudio
        | TokenType::InputImage => false,
    }
}

fn sum_of(tokens: &Tokens, wanted: impl Fn(TokenType) -> bool) -> Option<u64> {
    let counts = tokens.iter().filter(|&(kind, _)| wanted(kind));
    counts.map(|(_, count)| count).reduce(u64::saturating_add)
}

/// What there is to add up of a request. Computed in one place, so that what is summed in memory and
/// what is summed in the ledger is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// When it ended.
    pub ended_at: UnixMicros,
    /// As in [`Sample`], likewise all others.
    pub error: bool,
    /// Whether it only brings usage.
    pub settles: bool,
    /// Nano-dollars.
    pub cost_nanousd: Option<i64>,
    /// All tokens.
    pub tokens: Option<u64>,
    /// Tokens of the input.
    pub input_tokens: Option<u64>,
    /// Tokens of the output.
    pub output_tokens: Option<u64>,
    /// Microseconds.
    pub latency_us: Option<u64>,
    /// Microseconds.
    pub ttft_us: Option<u64>,
    /// Thousandths of output tokens a second.
    pub pace_milli: Option<u64>,
}

impl Figures {
    /// Those of a request that began then and ended so; `total` is its usage's total and `cost` what
    /// it cost, or is taken to have cost. `None` when it is nothing for rules.
    #[must_use]
    pub fn of(
        started_at: UnixMicros,
        disposition: Disposition,
        tokens: &Tokens,
        total: Option<u64>,
        phases: &Phases,
        cost: Option<NanoUsd>,
    ) -> Option<Self> {
        if !disposition.is_sampled() {
            return None;
        }
        let settles = disposition.settles();
        let total_us = phases[Phase::Total];
        let latency_us = total_us.filter(|_| !settles);
        let ttft_us = phases[Phase::FirstToken].filter(|_| !settles);
        let output_tokens = output_tokens(tokens);
        let length = Duration::from_micros(total_us.unwrap_or(0));
        Some(Self {
            ended_at: started_at.plus(length),
            error: disposition.outcome.is_error() && !settles,
            settles,
            cost_nanousd: cost.map(|cost| cost.0),
            tokens: total,
            input_tokens: input_tokens(tokens),
            output_tokens,
            latency_us,
            ttft_us,
            pace_milli: latency_us
                .zip(ttft_us)
                .zip(output_tokens)
                .and_then(|((latency, ttft), output)| pace_milli(output, latency, ttft)),
        })
    }
}

impl<'a> Sample<'a> {
    /// What rules see of `record`; `None` when it is nothing for them. `meant` and `called` are the
    /// names of its model that the record does not have.
    #[must_use]
    pub fn of(
        record: &'a RequestRecord,
        meant: Option<&'a str>,
        called: Option<&'a str>,
        position: Option<u64>,
    ) -> Option<Self> {
        let admission = &record.admission;
        let cost = record.cost.as_ref().map(|cost| cost.amount);
        let figures = Figures::of(
            admission.started_at,
            record.disposition(),
            &record.usage.tokens,
            record.usage.total,
            &record.phases,
            cost.or(record.assumed_cost),
        )?;
        let dimensions = Dimensions {
            channel: admission.channel.as_deref().unwrap_or_default(),
            api: admission.api,
            key: admission.key.as_deref(),
            model: ModelNames {
                asked: admission.requested_model.as_deref(),
                meant,
                called,
                served: record.served_model.as_deref(),
            },
            tags: Some(&admission.tags),
        };
        Some(Self::new(
            admission.started_at,
            dimensions,
            &figures,
            position,
        ))
    }

    /// A request that began then, with these figures.
    #[must_use]
    pub const fn new(
        started_at: UnixMicros,
        dimensions: Dimensions<'a>,
        figures: &Figures,
        position: Option<u64>,
    ) -> Self {
        let Figures {
            ended_at,
            error,
            settles,
            cost_nanousd,
            tokens,
            input_tokens,
            output_tokens,
            latency_us,
            ttft_us,
            pace_milli,
        } = *figures;
        Self {
            started_at,
            ended_at,
            dimensions,
            error,
            settles,
            cost_nanousd,
            tokens,
            input_tokens,
            output_tokens,
            latency_us,
            ttft_us,
            pace_milli,
            position,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_label_before_and_after_it_was_answered() {
        let asked = ModelNames {
            asked: Some("fast"),
            meant: Some("gpt-5"),
            called: Some("deployment"),
            served: None,
        };
        for before in [asked, ModelNames::default()] {
            let after = ModelNames {
                served: Some("gpt-5-2025-08-07"),
                ..before
            };
            assert_eq!(before.label(), after.label());
        }
        assert_eq!(asked.label(), Some("gpt-5"));
    }

    #[test]
    fn what_cannot_be_billed_is_nothing_for_rules_unless_it_brings_usage() {
        let of = |billable, deferral| Disposition {
            outcome: Outcome::Ok,
            billable,
            deferral,
        };
        assert!(of(true, None).is_sampled());
        assert!(!of(false, None).is_sampled());
        let told = of(false, Some(Deferral::Settled));
        assert!(told.is_sampled() && told.settles());
        let blocked = Outcome::Blocked;
        assert!(
            !Disposition {
                outcome: blocked,
                ..told
            }
            .is_sampled()
        );
        assert!(of(true, None).awaits_usage(Api::Batches, true));
        assert!(!of(false, None).awaits_usage(Api::Batches, true));
        assert!(!of(true, None).awaits_usage(Api::Responses, true));
        assert!(of(true, Some(Deferral::Opened)).awaits_usage(Api::Responses, true));
    }
}
