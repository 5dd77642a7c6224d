//! The engine: what a request asks and tells, and what time does.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use smallvec::SmallVec;

use super::definition::{Metric, Rule, RuleSet};
use super::demand::{Blocked, Demand};
use super::generation::Generation;
use super::hands::{Hands, NoHands};
use super::holds::Hold;
use super::kept::KeptHolds;
use super::measure;
use super::preparation::Buffer;
use super::series::Series;
use crate::alert::Mode;
use crate::clock::UnixMicros;
use crate::config::BudgetSettings;
use crate::record::{Dimensions, ModelNames, Sample};

/// Ticks between two looks for alerts that have nothing to lose.
const PRUNE_EVERY: u32 = 64;

/// The rules in force. Shared by all workers.
#[derive(Debug)]
pub struct Rules {
    pub(super) hands: Arc<dyn Hands>,
    pub(super) generation: RwLock<Arc<Generation>>,
    pub(super) budgets: RwLock<BudgetSettings>,
    /// Whether a budget that nobody knows refuses: `ledger.on_failure: refuse`.
    pub(super) refuse_unknown: bool,
    /// What was observed since a preparation began.
    pub(super) buffer: Mutex<Option<Buffer>>,
    /// Whether there is one; changed only with the generation's lock held for writing.
    pub(super) buffering: AtomicBool,
    pub(super) kept: KeptHolds,
    ticks: AtomicU32,
    /// Preparations that were begun.
    pub(super) preparations: AtomicU64,
    /// Whether another process still has requests on their way that use up the same budgets.
    pub(super) shared: AtomicBool,
}

/// What is held of budgets for one request on its way. Dropped, it is given back.
#[derive(Debug, Default)]
pub struct Reservation {
    pub(super) holds: SmallVec<[Hold; 2]>,
}

impl Reservation {
    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    /// What is held for the same request elsewhere as well.
    pub fn join(&mut self, other: Self) {
        self.holds.extend(other.holds);
    }

    /// Gives it back at `at` without knowing what it came to: an upstream that never answered may have
    /// used that much beside what is counted, and budgets say so from here on.
    pub fn slip(self, at: UnixMicros) {
        for hold in self.holds {
            hold.slip(at, false);
        }
    }
}

impl Rules {
    /// The rules of `set`, nothing known of what was before. `refuse_unknown` refuses what a budget
    /// limits while its sums are not known.
    #[must_use]
    pub fn new(
        set: &RuleSet,
        budgets: BudgetSettings,
        refuse_unknown: bool,
        hands: Arc<dyn Hands>,
    ) -> Self {
        Self {
            hands,
            generation: RwLock::new(Arc::new(Generation::new(set, None))),
            budgets: RwLock::new(budgets),
            refuse_unknown,
            buffer: Mutex::new(None),
            buffering: AtomicBool::new(false),
            kept: KeptHolds::default(),
            ticks: AtomicU32::new(0),
            preparations: AtomicU64::new(0),
            shared: AtomicBool::new(false),
        }
    }

    /// No rules.
    #[must_use]
    pub fn none() -> Self {
        Self::new(
            &RuleSet::default(),
            BudgetSettings::default(),
            false,
            Arc::new(NoHands),
        )
    }

    /// Whether there is no rule at all: nothing of a request need be asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.generation().rules.is_empty()
    }

    /// What budgets take for granted.
    #[must_use]
    pub fn budgets(&self) -> BudgetSettings {
        let budgets = self.budgets.read();
        budgets.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a budget wants to know what such a request may use at most.
    #[must_use]
    pub fn wants(&self, dimensions: &Dimensions<'_>) -> bool {
        let generation = self.generation();
        !generation.rules.is_empty() && generation.plan(dimensions).wants_worst
    }

    /// Whether a rule may refuse such a request.
    #[must_use]
    pub fn may_refuse(&self, dimensions: &Dimensions<'_>) -> bool {
        let generation = self.generation();
        if generation.rules.is_empty() {
            return false;
        }
        let plan = generation.plan(dimensions);
        let enforced = |rule: &Rule| rule.block().is_some() && rule.mode == Mode::Enforce;
        plan.asked.iter().any(|series| enforced(&series.rule))
    }

    /// Asks for a request that is about to go to a channel. Where a budget limits it, its worst case is
    /// held from here on.
    pub fn admit(&self, demand: &Demand<'_>, now: UnixMicros) -> Result<Reservation, Blocked> {
        let generation = self.generation();
        if generation.rules.is_empty() {
            return Ok(Reservation::default());
        }
        let plan = generation.plan(&demand.dimensions);
        if plan.asked.is_empty() {
            return Ok(Reservation::default());
        }
        let budgets = self.budgets.read().unwrap_or_else(PoisonError::into_inner);
        // All of them before the first is judged: what one request asks and takes is one step, and
        // what a refusal of one would give back to the others was never taken.
        let mut cells: SmallVec<[_; 4]> = plan.asked.iter().map(|series| series.cell()).collect();
        let mut granted = SmallVec::<[_; 4]>::new();
        let mut refused: Option<Blocked> = None;
        for (series, cell) in plan.asked.iter().zip(&mut cells) {
            self.catch_up(series, cell, now);
            match series.ask(cell, demand, &budgets, self.refuse_unknown, now) {
                Ok(part) => granted.extend(part.map(|part| (series, part))),
                Err(blocked) if series.refuses() => {
                    // What no other channel gets around is what counts.
                    if refused
                        .as_ref()
                        .is_none_or(|first| first.of_channel && !blocked.of_channel)
                    {
                        refused = Some(blocked);
                    }
                }
                Err(_) if series.rule.is_budget() => {
                    granted.push((series, series.part(demand, &budgets)));
                }
                Err(_) => {}
            }
        }
        if let Some(blocked) = refused {
            return Err(blocked);
        }
        let holds = granted
            .into_iter()
            .map(|(series, part)| series.holds.hold(part));
        Ok(Reservation {
            holds: holds.collect(),
        })
    }

    /// Holds the worst case of what is on its way already: nobody can refuse it any more.
    #[must_use]
    pub fn hold(&self, demand: &Demand<'_>) -> Reservation {
        let generation = self.generation();
        if generation.rules.is_empty() {
            return Reservation::default();
        }
        let plan = generation.plan(&demand.dimensions);
        let budgets = self.budgets.read().unwrap_or_else(PoisonError::into_inner);
        let limited = plan.asked.iter().filter(|series| series.rule.is_budget());
        let holds = limited.map(|series| series.holds.hold(series.part(demand, &budgets)));
        Reservation {
            holds: holds.collect(),
        }
    }

    /// An alert that fires may have ended by the clock alone; who asks must not wait for the timer.
    fn catch_up(&self, series: &Series, cell: &mut super::series::Cell, now: UnixMicros) {
        if !series.rule.is_budget() && cell.is_acting() {
            series.judge(cell, &*self.hands, now);
        }
    }

    /// Takes in a request that ended, and gives back what was held for it, in one step. What it makes
    /// of alerts is carried out before this returns.
    pub fn observe(&self, sample: &Sample<'_>, held: Reservation, now: UnixMicros) {
        let generation = self.generation();
        if generation.rules.is_empty() {
            return;
        }
        let mut held = held;
        for series in &generation.plan(&sample.dimensions).series {
            if series.folds {
                series.shared.folded.fetch_add(1, Ordering::Relaxed);
            }
            let mut cell = series.cell();
            let known = sample.position.is_some_and(|at| at < cell.through);
            if !known && let Some(entry) = measure::entry(&series.rule, sample) {
                cell.window.add(&entry, now);
            }
            // In the same step: what is given back is spent now.
            held.holds
                .retain(|hold| !Arc::ptr_eq(&hold.of, &series.holds));
            series.judge(&mut cell, &*self.hands, now);
        }
        if self.buffering.load(Ordering::Acquire) {
            self.keep_for_preparation(sample);
        }
    }

    /// Takes in how much of a plan's window is used, in millionths.
    pub fn quota(&self, channel: &str, window: &str, used_ppm: i64, now: UnixMicros) {
        let generation = self.generation();
        let of = Dimensions {
            channel,
            api: crate::record::Api::Other,
            key: None,
            model: ModelNames::default(),
            tags: None,
        };
        for known in &generation.rules {
            let rule = &known.rule;
            if rule.metric != Metric::QuotaUsed || !rule.matcher.matches(&of) {
                continue;
            }
            let labels = super::generation::quota_labels(rule, &of, window);
            let series = generation.series(known, labels);
            let mut cell = series.cell();
            Series::note_quota(&mut cell, channel, window, used_ppm);
            series.judge(&mut cell, &*self.hands, now);
        }
    }

    /// Forgets what was said of a plan's windows but for those that are still known: one that began anew
    /// is used as much as nobody has said yet.
    pub fn forget_quotas(&self, channel: &str, but: &[&str], now: UnixMicros) {
        let generation = self.generation();
        for known in &generation.rules {
            if known.rule.metric != Metric::QuotaUsed {
                continue;
            }
            for series in Generation::alerts_of(known) {
                let mut cell = series.cell();
                if Series::forget_quotas(&mut cell, channel, but) {
                    series.judge(&mut cell, &*self.hands, now);
                }
            }
        }
    }

    /// Does what only time changes. To be called about once a second.
    pub fn tick(&self, now: UnixMicros) {
        self.end_leases(now);
        let generation = self.generation();
        for series in generation.alerts() {
            series.judge(&mut series.cell(), &*self.hands, now);
        }
        drop(generation);
        if self.ticks.fetch_add(1, Ordering::Relaxed) % PRUNE_EVERY == PRUNE_EVERY - 1 {
            // For writing: nobody holds a plan then.
            let generation = self.generation.write();
            let generation = generation.unwrap_or_else(PoisonError::into_inner);
            generation.prune(now);
        }
    }

    /// Whether sums are no longer known (the clock was set) and are to be read from the ledger again.
    #[must_use]
    pub fn is_stale(&self, now: UnixMicros) -> bool {
        let generation = self.generation();
        let mut alerts = generation.alerts();
        alerts.any(|series| series.cell().window.is_stale(now))
    }

    /// Whether another process, whose requests are in no sum here, still has some on their way: one that
    /// handed over. Nobody can say meanwhile by how much budgets may be passed.
    pub fn set_shared(&self, shared: bool) {
        self.shared.store(shared, Ordering::Relaxed);
    }

    /// Nothing fires or resolves, and budgets are not known, until the next preparation is installed.
    pub fn set_unknown(&self, why: &str) {
        for known in &self.generation().rules {
            known.shared.set_health(Some(Arc::from(why)));
        }
    }

    pub(super) fn generation(&self) -> RwLockReadGuard<'_, Arc<Generation>> {
        let generation = self.generation.read();
        generation.unwrap_or_else(PoisonError::into_inner)
    }
}
