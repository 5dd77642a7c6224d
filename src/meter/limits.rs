//! What a channel's provider said last of its limits.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::UnixMicros;
use crate::protocol::{Credits, LimitsSeen, QuotaSeen, RateLimit};
use crate::record::LimitKind;

/// Beyond every count that is read from the wire.
const UNKNOWN: u64 = u64::MAX;
/// No moment that is read from the wire.
const NEVER: i64 = i64::MIN;
/// Most families of a plan's limits that a channel has; each has two windows at most.
const MOST_FAMILIES: usize = 4;
const MINUTES_A_DAY: u32 = 24 * 60;

/// A channel's limits by its provider's last word.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownLimits {
    /// Rate limits of which anything is known.
    pub rates: Vec<(LimitKind, RateLimit)>,
    /// Windows of a plan, each by a name of its own.
    pub quotas: Vec<QuotaUse>,
    /// What was bought beside the plan.
    pub credits: Option<Credits>,
}

/// How much of one window of a plan is used.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaUse {
    /// Its length (`5h`, `7d`), behind the family's name where it is not the plan's own.
    pub window: String,
    /// 1 where all of it is used.
    pub used_ratio: f64,
    /// When it begins anew.
    pub resets_at: Option<UnixMicros>,
}

/// Where a channel's limits are kept. A rate limit costs a few stores; only a plan takes a lock.
#[derive(Debug)]
pub(super) struct Limits {
    rates: [Rate; LimitKind::ALL.len()],
    plan: Mutex<Plan>,
}

#[derive(Debug)]
struct Rate {
    limit: AtomicU64,
    remaining: AtomicU64,
    resets_at: AtomicI64,
}

#[derive(Debug, Default)]
struct Plan {
    families: Vec<QuotaSeen>,
    credits: Option<Credits>,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self {
            rates: std::array::from_fn(|_| Rate {
                limit: AtomicU64::new(UNKNOWN),
                remaining: AtomicU64::new(UNKNOWN),
                resets_at: AtomicI64::new(NEVER),
            }),
            plan: Mutex::default(),
        }
    }

    /// Notes an answer's words; what it does not speak of stays.
    pub(super) fn note(&self, seen: LimitsSeen) {
        for (slot, rate) in self.rates.iter().zip(&seen.rates) {
            if let Some(rate) = rate {
                slot.store(rate);
            }
        }
        if seen.quotas.is_empty() && seen.credits.is_none() {
            return;
        }
        let mut plan = self.plan();
        for quota in seen.quotas {
            // Whole: a window that is stated no longer is none any more.
            plan.families.retain(|known| known.family != quota.family);
            if plan.families.len() < MOST_FAMILIES {
                plan.families.push(quota);
            }
        }
        plan.families.sort_by(|a, b| a.family.cmp(&b.family));
        if seen.credits.is_some() {
            plan.credits = seen.credits;
        }
    }

    /// Notes what is left of a rate limit, and nothing else of it.
    pub(super) fn note_remaining(&self, kind: LimitKind, remaining: Option<u64>) {
        let remaining = remaining.unwrap_or(UNKNOWN);
        self.rates[kind as usize]
            .remaining
            .store(remaining, Ordering::Relaxed);
    }

    /// What is known. A window that began anew since it was stated is not: nobody has said yet how
    /// much of it is used.
    pub(super) fn known(&self, now: UnixMicros) -> KnownLimits {
        let plan = self.plan();
        let windows = plan.families.iter().flat_map(|quota| {
            let windows = quota.windows.iter().flatten();
            let current = windows.filter(|window| window.resets_at.is_none_or(|at| at > now));
            current.map(|window| QuotaUse {
                window: window_name(quota.family.as_deref(), window.minutes),
                used_ratio: window.used_ratio,
                resets_at: window.resets_at,
            })
        });
        let rates = LimitKind::ALL.iter().zip(&self.rates);
        KnownLimits {
            rates: rates
                .map(|(&kind, rate)| (kind, rate.load()))
                .filter(|(_, rate)| *rate != RateLimit::default())
                .collect(),
            quotas: windows.collect(),
            credits: plan.credits.clone(),
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rate {
    fn store(&self, rate: &RateLimit) {
        let resets_at = rate.resets_at.map_or(NEVER, |at| at.0);
        self.limit
            .store(rate.limit.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.remaining
            .store(rate.remaining.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.resets_at.store(resets_at, Ordering::Relaxed);
    }

    fn load(&self) -> RateLimit {
        let count =
            |count: &AtomicU64| Some(count.load(Ordering::Relaxed)).filter(|&c| c != UNKNOWN);
        let resets_at = self.resets_at.load(Ordering::Relaxed);
        RateLimit {
            limit: count(&self.limit),
            remaining: count(&self.remaining),
            resets_at: (resets_at != NEVER).then_some(UnixMicros(resets_at)),
        }
    }
}

/// `5h`, `7d`, `90m`: the length as stated, in the largest unit that says it exactly.
fn window_name(family: Option<&str>, minutes: u32) -> String {
    let length = if minutes.is_multiple_of(MINUTES_A_DAY) {
        format!("{}d", minutes / MINUTES_A_DAY)
    } else if minutes.is_multiple_of(60) {
        format!("{}h", minutes / 60)
    } else {
        format!("{minutes}m")
    };
    match family {
        None => length,
        Some(family) => format!("{family} {length}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::QuotaWindow;

    const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000);

    fn plan(family: Option<&str>, minutes: &[u32], resets_at: Option<UnixMicros>) -> LimitsSeen {
        let mut windows = minutes.iter().map(|&minutes| QuotaWindow {
            minutes,
            used_ratio: 0.5,
            resets_at,
        });
        LimitsSeen {
            quotas: vec![QuotaSeen {
                family: family.map(Into::into),
                windows: std::array::from_fn(|_| windows.next()),
            }],
            ..LimitsSeen::default()
        }
    }

    fn names(limits: &Limits) -> Vec<String> {
        let known = limits.known(NOW).quotas;
        known.into_iter().map(|quota| quota.window).collect()
    }

    #[test]
    fn a_window_is_named_by_its_own_length() {
        let limits = Limits::new();
        limits.note(plan(None, &[300, 10_080], None));
        limits.note(plan(Some("codex-other"), &[90], None));
        assert_eq!(names(&limits), ["5h", "7d", "codex-other 90m"]);
        // The plan has changed.
        limits.note(plan(None, &[43_200], None));
        assert_eq!(names(&limits), ["30d", "codex-other 90m"]);
        limits.note(plan(None, &[], None));
        limits.note(LimitsSeen::default());
        assert_eq!(names(&limits), ["codex-other 90m"]);
    }

    #[test]
    fn a_window_that_began_anew_is_unknown_again() {
        let limits = Limits::new();
        limits.note(plan(None, &[300], Some(NOW.plus(Duration::from_secs(1)))));
        assert_eq!(names(&limits), ["5h"]);
        limits.note(plan(None, &[300], Some(NOW)));
        assert_eq!(names(&limits), [""; 0]);
    }

    #[test]
    fn families_do_not_grow_without_bound() {
        let limits = Limits::new();
        for n in 0..100 {
            limits.note(plan(Some(&format!("family{n}")), &[300, 600], None));
        }
        assert_eq!(names(&limits).len(), 2 * MOST_FAMILIES);
    }
}
