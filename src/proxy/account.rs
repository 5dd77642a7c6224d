//! Everything that will be said of a request, and the one place where it is said: to the journal, the
//! meter and the rules.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::ledger::{Deferred, Journal, Opener};
use crate::meter::{InFlight, Meter};
use crate::money::NanoUsd;
use crate::pricing::{Ceiling, ModelName, Prices};
use crate::protocol::writes_text;
use crate::record::{
    Cost, Deferral, RequestRecord, Sample, Usage, UsageSource, Worst, input_tokens, output_tokens,
};
use crate::rules::{Reservation, Rules};

/// Where a closed account goes.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) journal: Arc<Journal>,
    pub(super) deferred: Arc<Deferred>,
    pub(super) meter: Arc<Meter>,
    pub(super) prices: Arc<Prices>,
    pub(super) rules: Arc<Rules>,
    pub(super) channels: Arc<Registry>,
}

/// What budgets hold for a request at a channel, which may use that much.
#[derive(Debug)]
pub(super) struct HeldAt {
    pub(super) channel: Arc<str>,
    pub(super) reservation: Reservation,
    /// With what counts if nobody sees its end.
    pub(super) most: Option<(Worst, NanoUsd)>,
}

/// Everything that will be said of a request, and to whom.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) sinks: Arc<Sinks>,
    pub(super) record: RequestRecord,
    pub(super) missing_reason: Option<&'static str>,
    /// What the provider says it charged.
    pub(super) stated_cost: Option<NanoUsd>,
    /// Whose prices hold; `None` when the channel says nothing of it.
    pub(super) provider: Option<&'static str>,
    pub(super) in_flight: Option<InFlight>,
    /// What budgets hold for it: for each channel that may bill it, the one that it was sent to last at
    /// the end.
    pub(super) held: SmallVec<[HeldAt; 1]>,
    /// The model it asks for, aliases resolved.
    pub(super) meant: Option<Arc<str>>,
    /// As the channel calls it.
    pub(super) called: Option<Arc<str>>,
}

impl Account {
    /// Prices the usage, and tells journal, meter and rules. The last thing done with an account.
    pub(super) fn settle(&mut self, now: UnixMicros) {
        self.record.cost = self.cost();
        self.record.assumed_cost = self.assumed_cost();
        // The journal first: what a crash after this line loses is a count in memory.
        let position = self.sinks.journal.end(&self.record);
        let (mut held, earlier) = self.take_held();
        // They had the request and never said what came of it. This row is not of them.
        for reservation in earlier {
            reservation.slip(now);
        }
        let rules = &self.sinks.rules;
        if let Some(id) = &self.record.response_id {
            if self.record.awaits_usage() {
                // Before anybody may find it awaited.
                held = rules.keep(held, id, now);
                // Before the last byte leaves: who asks by the id then finds it awaited.
                let opener = Opener::of(&self.record.admission);
                self.sinks.deferred.open(id, opener);
            } else if self.record.deferral == Some(Deferral::Settled) {
                held.join(rules.take_kept(id));
            }
        }
        let in_flight = self.in_flight.take();
        self.sinks
            .meter
            .observe(&self.record, self.missing_reason, in_flight.as_ref());
        if rules.is_empty() {
            return;
        }
        let admission = &self.record.admission;
        let (meant, called) = if self.record.deferral == Some(Deferral::Settled) {
            // The way went to the channel, not to a model: the names are those of the opener's.
            let (channel, asked) = (&admission.channel, &admission.requested_model);
            let channel = channel.as_deref().unwrap_or_default();
            let names = self.sinks.channels.names(channel, asked.as_deref());
            (names.meant, names.called)
        } else {
            (self.meant.as_deref(), self.called.as_deref())
        };
        if let Some(sample) = Sample::of(&self.record, meant, called, position) {
            rules.observe(&sample, held, now);
        }
    }

    /// What is held at the channel that the row is of, and at those before.
    fn take_held(&mut self) -> (Reservation, impl Iterator<Item = Reservation> + use<>) {
        let mut held = std::mem::take(&mut self.held);
        let channel = self.record.admission.channel.as_deref();
        let is_own = |last: &HeldAt| channel.is_none_or(|channel| *last.channel == *channel);
        let own = if held.last().is_some_and(is_own) {
            held.pop()
        } else {
            None
        };
        let earlier = held.into_iter().map(|earlier| earlier.reservation);
        (own.map(|own| own.reservation).unwrap_or_default(), earlier)
    }

    /// What budgets count where the cost is not known and may not be nothing.
    fn assumed_cost(&self) -> Option<NanoUsd> {
        let record = &self.record;
        if record.cost.is_some() || record.deferral == Some(Deferral::Opened) {
            return None;
        }
        let tokens = match record.usage.source {
            UsageSource::None => return None,
            UsageSource::Missing => {
                if let Some(cost) = record.estimate.and_then(|estimate| estimate.cost) {
                    return Some(cost);
                }
                let of_text = writes_text(record.admission.api);
                record.estimate.and_then(|estimate| {
                    let output = estimate.output_tokens.or((!of_text).then_some(0));
                    Some((estimate.input_tokens?, output?))
                })
            }
            UsageSource::Reported | UsageSource::Partial | UsageSource::Estimated => {
                let usage = &record.usage;
                let (input, output) = (input_tokens(&usage.tokens), output_tokens(&usage.tokens));
                let stated = input.or(output).is_some();
                // Of a total alone nobody knows which side it is of.
                let total = usage.total.map(|total| (0, total));
                let sides = (input.unwrap_or(0), output.unwrap_or(0));
                stated.then_some(sides).or(total)
            }
        };
        let budgets = self.sinks.rules.budgets();
        if let Some((input, output)) = tokens {
            return Some(Ceiling::from(&budgets).cost(input, output).cost);
        }
        let worst = record.admission.worst.and_then(|worst| worst.cost);
        Some(worst.unwrap_or(budgets.unbounded_cost))
    }

    /// The provider's own figure, else what the prices say.
    fn cost(&self) -> Option<Cost> {
        if let Some(amount) = self.stated_cost {
            return Some(Cost {
                amount,
                price_version: Arc::from(Cost::STATED),
            });
        }
        self.price(&self.record.usage)
    }

    /// The model that answered, else the one asked for.
    pub(super) fn model(&self) -> Option<&str> {
        let served = self.record.served_model.as_deref();
        served.or(self.record.admission.requested_model.as_deref())
    }

    /// What `usage` costs by the prices, for the model and tier of this account.
    pub(super) fn price(&self, usage: &Usage) -> Option<Cost> {
        let name = ModelName::at(self.provider, self.model()?);
        let tier = self.record.service_tier.as_deref();
        let admission = &self.record.admission;
        let at = self.record.priced_at.unwrap_or(admission.started_at);
        self.sinks
            .prices
            .price(admission.api, name, tier, usage, at)
    }
}
