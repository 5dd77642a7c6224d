//! How long a provider asked not to be called, for each model of a channel: providers limit by
//! model.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::UnixMicros;

/// No provider means longer: a nonsensical header must not take a channel away for ever.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Models that cool at the same time; of more, those that cool longest are kept.
const MOST_MODELS: usize = 256;

/// A model that cools down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooling {
    /// What the upstream calls it; `None` for requests without a model.
    pub model: Option<Arc<str>>,
    /// Until when.
    pub until: UnixMicros,
}

/// What cools down at one channel.
#[derive(Debug, Default)]
pub(super) struct Cooldowns {
    /// The latest end of all: a request that comes later need not look further.
    latest: AtomicI64,
    /// By the upstream's name of the model; empty for requests without one.
    ends: RwLock<HashMap<Arc<str>, UnixMicros>>,
}

impl Cooldowns {
    /// Whether anything may cool down: one load, which is all that it costs in the usual case.
    pub(super) fn any(&self, now: UnixMicros) -> bool {
        now.0 < self.latest.load(Ordering::Acquire)
    }

    /// Until when `model` cools down; `None` when it does not.
    pub(super) fn until(&self, model: Option<&str>, now: UnixMicros) -> Option<UnixMicros> {
        if !self.any(now) {
            return None;
        }
        let ends = self.ends.read().unwrap_or_else(PoisonError::into_inner);
        let end = ends.get(model.unwrap_or_default())?;
        (now < *end).then_some(*end)
    }

    /// Lets `model` cool down for `pause` from `now` on; one that does so for longer goes on.
    pub(super) fn set(&self, model: Option<&str>, pause: Duration, now: UnixMicros) {
        let end = now.plus(pause.min(LONGEST));
        let mut ends = self.ends.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ends.get_mut(model.unwrap_or_default()) {
            *known = end.max(*known);
        } else {
            if ends.len() >= MOST_MODELS {
                ends.retain(|_, end| now < *end);
            }
            if ends.len() >= MOST_MODELS
                && let Some(soonest) = soonest(&ends)
            {
                ends.remove(&soonest);
            }
            ends.insert(Arc::from(model.unwrap_or_default()), end);
        }
        self.latest.fetch_max(end.0, Ordering::AcqRel);
    }

    /// Everything that cools down, what ends first at the front.
    pub(super) fn all(&self, now: UnixMicros) -> Vec<Cooling> {
        if !self.any(now) {
            return Vec::new();
        }
        let ends = self.ends.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Cooling> = ends
            .iter()
            .filter(|(_, end)| now < **end)
            .map(|(model, end)| Cooling {
                model: (!model.is_empty()).then(|| Arc::clone(model)),
                until: *end,
            })
            .collect();
        all.sort_by(|a, b| (a.until, &a.model).cmp(&(b.until, &b.model)));
        all
    }
}

fn soonest(ends: &HashMap<Arc<str>, UnixMicros>) -> Option<Arc<str>> {
    let (model, _) = ends.iter().min_by_key(|(_, end)| **end)?;
    Some(Arc::clone(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMicros = UnixMicros(1_000_000_000);

    fn after(seconds: u64) -> UnixMicros {
        START.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_model_cools_for_exactly_as_long_as_was_asked() {
        let cooldowns = Cooldowns::default();
        assert!(!cooldowns.any(START));
        cooldowns.set(Some("gpt-5"), Duration::from_secs(30), START);
        let just_before = UnixMicros(after(30).0 - 1);
        assert_eq!(cooldowns.until(Some("gpt-5"), just_before), Some(after(30)));
        assert_eq!(cooldowns.until(Some("gpt-5"), after(30)), None);
        assert_eq!(cooldowns.until(Some("gpt-4"), START), None);
        assert_eq!(cooldowns.until(None, START), None);
    }

    #[test]
    fn a_shorter_pause_does_not_end_a_longer_one() {
        let cooldowns = Cooldowns::default();
        cooldowns.set(None, Duration::from_secs(60), START);
        cooldowns.set(None, Duration::from_secs(1), after(2));
        assert_eq!(cooldowns.until(None, after(5)), Some(after(60)));
    }

    #[test]
    fn nonsense_is_bounded_in_time_and_memory() {
        let cooldowns = Cooldowns::default();
        cooldowns.set(None, Duration::MAX, START);
        assert_eq!(cooldowns.until(None, START), Some(START.plus(LONGEST)));
        for number in 0..1_000 {
            let model = format!("model-{number}");
            cooldowns.set(Some(&model), Duration::from_secs(100 + number), START);
        }
        let all = cooldowns.all(START);
        assert_eq!(all.len(), MOST_MODELS);
        assert!(all.is_sorted_by_key(|cooling| cooling.until));
        assert_eq!(
            cooldowns.until(Some("model-999"), START),
            Some(after(1_099))
        );
        assert!(cooldowns.all(START.plus(LONGEST)).is_empty());
    }
}
