//! Asks the rules whether a request may go to a channel, and holds the most it may cost until it ends.
//!
//! | where | what happens |
//! |---|---|
//! | a place was taken | the rules are asked for this channel; one that they refuse for itself is left for the next |
//! | the rules say yes | what they hold for the request is its account's from then on |
//! | another channel is tried | what was held is given back, but where the first may bill it stays besides |
//! | the account is settled | the rules take the request in and what was held back, in one step; what an earlier channel may bill is in the bound from then on |
//!
//! What a request may use at most is read from its body only where a budget wants to know.

use std::sync::{Arc, OnceLock};

use crate::channel::{Channel, Fault};
use crate::clock::UnixMicros;
use crate::config::BudgetSettings;
use crate::pricing::{Ceiling, MediaSet, ModelName, Most, Prices};
use crate::protocol::{Bounds, CacheWrites, Operation, bounds, works_on_its_own};
use crate::record::{Admission, Dimensions, ModelNames, Worst};
use crate::rules::{Blocked, Demand};

use super::exchange::Exchange;
use super::failure::{Failure, Refusal};
use super::recorder::Recorder;

/// Provider whose `max_tokens` may leave out what a model thinks before it answers.
const THINKS_BESIDE: &str = "dashscope";

/// Where a request is about to go, and under which names.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) channel: Arc<str>,
    /// Whose prices hold there.
    pub(super) provider: Option<&'static str>,
    /// The model, aliases resolved.
    pub(super) meant: Option<Arc<str>>,
    /// As the channel calls it.
    pub(super) called: Option<Arc<str>>,
}

impl Destination {
    pub(super) fn at(channel: &Channel, meant: Option<&Arc<str>>) -> Self {
        let called = meant.map(|model| channel.upstream_model(model).unwrap_or(model));
        Self {
            channel: Arc::clone(&channel.name),
            provider: channel.provider,
            meant: meant.cloned(),
            called: called.cloned(),
        }
    }
}

/// What the rules are asked of a request.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// What its body says that it uses at most, once a budget wanted to know; `None` in it where nobody
    /// can say.
    bounds: OnceLock<Option<Box<Bounds>>>,
}

/// What is known beforehand of what a request uses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent<'b> {
    /// Nothing by itself: what is made over its connection is asked for apart.
    Nothing,
    /// No more than this.
    Within(&'b Bounds),
    /// As much, of a model whose limits are known; of any other nobody can say.
    OfTheModel(&'b Bounds),
    /// Nobody can say.
    Endless,
}

impl Exchange {
    /// Asks the rules whether the request may go to `channel`. What they hold for it is its account's.
    pub(super) fn ask(&mut self, channel: &Channel, now: UnixMicros) -> Result<(), Blocked> {
        if !self.recorder.asks_rules() {
            return Ok(());
        }
        let destination = Destination::at(channel, self.way.meant());
        let (api, body, known) = (self.api, &self.body, &self.asking.bounds);
        let socket = self.socket.is_asked_for();
        // What a path means that is not known here, no body says.
        let is_known = self.operation == Operation::Create;
        self.recorder.ask(&destination, now, || {
            if socket {
                return Extent::Nothing;
            }
            if !is_known {
                return Extent::Endless;
            }
            let read = || body.json().and_then(|body| bounds(api, body));
            match known.get_or_init(|| read().map(Box::new)) {
                Some(bounds) => Extent::Within(bounds),
                None => Extent::Endless,
            }
        })
    }

    /// The try in progress failed, and another channel is about to be asked for: what is held for it is
    /// given back, unless its upstream had the request and never said what came of it.
    pub(super) fn give_back_unbilled(&mut self, fault: Option<Fault>) {
        if !matches!(fault, Some(Fault::Silent | Fault::Broken)) {
            self.recorder.give_back();
        }
    }
}

impl Recorder {
    /// Asks the rules whether the request may go to `destination`; `extent` is asked for where a budget
    /// wants to know what it may use. What is held for an earlier channel stays held besides.
    pub(super) fn ask<'b>(
        &mut self,
        destination: &Destination,
        now: UnixMicros,
        extent: impl FnOnce() -> Extent<'b>,
    ) -> Result<(), Blocked> {
        self.ask_at(destination, now, false, extent)
    }

    /// As [`ask`](Self::ask), for what has begun by itself: it is held where it is refused, too.
    pub(super) fn ask_late<'b>(
        &mut self,
        destination: &Destination,
        now: UnixMicros,
        extent: impl FnOnce() -> Extent<'b>,
    ) -> Result<(), Blocked> {
        self.ask_at(destination, now, true, extent)
    }

    /// The failure of a request that is `blocked` at `now`.
    pub(super) fn refusal(&self, blocked: Blocked, now: UnixMicros) -> Failure {
        let (_, admission) = self.view();
        let of = blocked.alert.labels.get("key").map(|name| &**name);
        Failure::Blocked(Box::new(Refusal {
            is_own: of.is_some() && of == admission.key.as_deref(),
            wait: blocked.until.map(|until| until.since(now)),
            blocked,
        }))
    }

    /// Whether a rule may refuse what is asked for at `destination`, of this model where it is one of its
    /// own.
    pub(super) fn may_be_refused(&self, destination: &Destination, asked: Option<&str>) -> bool {
        let (sinks, admission) = self.view();
        let mut dimensions = dimensions(admission, destination);
        dimensions.model.asked = asked.or(dimensions.model.asked);
        sinks.rules.may_refuse(&dimensions)
    }

    fn ask_at<'b>(
        &mut self,
        destination: &Destination,
        now: UnixMicros,
        begun: bool,
        extent: impl FnOnce() -> Extent<'b>,
    ) -> Result<(), Blocked> {
        let (sinks, admission) = self.view();
        let dimensions = dimensions(admission, destination);
        let names = dimensions.model;
        let wanted = sinks.rules.wants(&dimensions);
        let mut opens_only = false;
        let worst = if wanted {
            let extent = extent();
            opens_only = matches!(extent, Extent::Nothing);
            let (prices, budgets) = (&sinks.prices, sinks.rules.budgets());
            let at = admission.started_at;
            worst(prices, &budgets, destination.provider, &names, extent, at)
        } else {
            Worst::default()
        };
        let demand = Demand {
            started_at: admission.started_at,
            dimensions,
            worst,
        };
        let (held, refused) = match sinks.rules.admit(&demand, now) {
            Ok(held) => (held, Ok(())),
            Err(blocked) if begun => (sinks.rules.hold(&demand), Err(blocked)),
            Err(blocked) => return Err(blocked),
        };
        // What is made over a connection has rows of its own. Where it cannot be read nobody knows what
        // that was, so that nothing may be no bound for it.
        let kept = (wanted && !opens_only).then(|| {
            // Where nobody knows, all of what is taken for granted is spent if the end is never seen.
            let unbounded = sinks.rules.budgets().unbounded_cost;
            (worst, worst.input_cost.unwrap_or(unbounded))
        });
        self.hold(&destination.channel, held, kept);
        refused
    }
}

/// Whose a request is at `destination`.
fn dimensions<'a>(admission: &'a Admission, destination: &'a Destination) -> Dimensions<'a> {
    Dimensions {
        channel: &destination.channel,
        api: admission.api,
        key: admission.key.as_deref(),
        model: ModelNames {
            asked: admission.requested_model.as_deref(),
            meant: destination.meant.as_deref(),
            called: destination.called.as_deref(),
            served: None,
        },
        tags: Some(&admission.tags),
    }
}

/// The most that a request may use of a model by these names. Unknown throughout where nobody can say.
fn worst(
    prices: &Prices,
    budgets: &BudgetSettings,
    provider: Option<&str>,
    names: &ModelNames<'_>,
    extent: Extent<'_>,
    at: UnixMicros,
) -> Worst {
    let model = names.called.or(names.meant).or(names.asked);
    let name = ModelName::at(provider, model.unwrap_or_default());
    let limits = prices.limits(name, at);
    let is_known = limits.max_input_tokens.is_some() && limits.max_output_tokens.is_some();
    let bounds = match extent {
        Extent::Nothing => return Worst::NOTHING,
        Extent::Within(bounds) => bounds,
        Extent::OfTheModel(bounds) if is_known => bounds,
        Extent::OfTheModel(_) | Extent::Endless => return Worst::default(),
    };
    if names.iter().any(works_on_its_own) {
        return Worst::default();
    }
    let context = limits.max_input_tokens.unwrap_or(budgets.max_input_tokens);
    let contexts = bounds.inputs.map(|inputs| context.saturating_mul(inputs));
    let Some(input_tokens) = bounds.input_tokens.into_iter().chain(contexts).min() else {
        return Worst::default();
    };
    let longest = limits
        .max_output_tokens
        .unwrap_or(budgets.max_output_tokens);
    let answer = match bounds.output_tokens {
        Some(stated) if provider == Some(THINKS_BESIDE) => stated.saturating_add(longest),
        stated => stated.unwrap_or(longest),
    };
    let output_tokens = answer
        .saturating_mul(bounds.answers)
        .saturating_add(bounds.predicted_tokens);
    let most = Most {
        input_tokens,
        output_tokens,
        writes_cache: bounds.cache >= CacheWrites::Short,
        writes_cache_1h: bounds.cache >= CacheWrites::Hour,
        input_media: MediaSet {
            audio: bounds.media.hears,
            image: bounds.media.sees,
        },
        output_media: MediaSet {
            audio: bounds.media.speaks,
            image: false,
        },
    };
    let tier = bounds.service_tier.as_deref();
    let dearest = prices.dearest(name, tier, &most, &Ceiling::from(budgets), at);
    Worst {
        cost: Some(dearest.cost),
        input_cost: Some(dearest.input_cost),
        input_tokens: Some(input_tokens),
        output_tokens: Some(output_tokens),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::money::NanoUsd;
    use crate::record::Api;

    const NOW: UnixMicros = UnixMicros(1_795_132_800_000_000);

    fn names(called: &str) -> ModelNames<'_> {
        ModelNames {
            asked: Some("fast"),
            meant: Some("fast"),
            called: Some(called),
            served: None,
        }
    }

    fn of(provider: &str, model: &str, extent: Extent<'_>) -> Worst {
        let budgets = BudgetSettings::default();
        let (prices, names) = (Prices::builtin(), names(model));
        worst(&prices, &budgets, Some(provider), &names, extent, NOW)
    }

    fn chat(more: &Value) -> Bounds {
        let mut body = json!({"messages": []});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        bounds(Api::Chat, body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_a_request_says_bounds_it_and_else_its_model_does() {
        // gpt-4o: 128,000 in, 16,384 out, 2.5 and 10 USD a million.
        let short = chat(&json!({"max_tokens": 10, "n": 3}));
        let input = short.input_tokens.unwrap();
        let worst = of("openai", "gpt-4o", Extent::Within(&short));
        assert_eq!(worst.input_tokens, Some(input));
        assert_eq!(worst.output_tokens, Some(30));
        let nanos = i64::try_from(input).unwrap() * 2_500;
        assert_eq!(worst.input_cost, Some(NanoUsd(nanos)));
        assert_eq!(worst.cost, Some(NanoUsd(nanos + 30 * 10_000)));
        let worst = of("openai", "gpt-4o", Extent::Within(&chat(&json!({}))));
        assert_eq!(worst.output_tokens, Some(16_384));
        let elsewhere = chat(&json!({"messages": [{"content": [{"type": "image_url"}]}]}));
        let worst = of("openai", "gpt-4o", Extent::Within(&elsewhere));
        assert_eq!(worst.input_tokens, Some(128_000));
        let long = chat(&json!({"messages": [{"content": "a".repeat(200_000)}]}));
        let worst = of("openai", "gpt-4o", Extent::Within(&long));
        assert_eq!(worst.input_tokens, Some(128_000));
    }

    #[test]
    fn a_model_that_nobody_knows_is_bounded_by_the_settings() {
        let worst = of("openai", "nobody's", Extent::Within(&chat(&json!({}))));
        assert_eq!(worst.output_tokens, Some(128_000));
        // 180 USD a million.
        let output = worst.cost.unwrap().0 - worst.input_cost.unwrap().0;
        assert_eq!(output, 128_000 * 180_000);
    }

    #[test]
    fn what_nobody_can_bound_has_no_worst_case() {
        let unknown = Worst::default();
        assert_eq!(of("openai", "gpt-4o", Extent::Endless), unknown);
        let bounds = chat(&json!({"max_tokens": 10}));
        for model in ["gpt-4o-search-preview", "o3-deep-research"] {
            assert_eq!(of("openai", model, Extent::Within(&bounds)), unknown);
        }
        let session = Bounds::of_a_session(Api::Realtime, None, None);
        let extent = Extent::OfTheModel(&session);
        assert_eq!(of("openai", "nobody's", extent), unknown);
        assert_eq!(
            of("openai", "gpt-realtime", extent).input_tokens,
            Some(32_000)
        );
        assert_eq!(of("openai", "nobody's", Extent::Nothing), Worst::NOTHING);
    }

    #[test]
    fn thinking_beside_the_answer_is_not_bounded_by_what_the_answer_may_have() {
        let bounds = chat(&json!({"max_tokens": 10}));
        let worst = of("dashscope", "qwen-nobody-knows", Extent::Within(&bounds));
        assert_eq!(worst.output_tokens, Some(128_010));
    }
}
