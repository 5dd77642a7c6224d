//! One alert of a rule: its window, its state, what is held of it. Everything about it that changes is
//! behind one lock, so that what a request takes, gives back and sets off is one step for all others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use smallvec::SmallVec;

use super::definition::{Metric, Rule, Stat, Unbounded};
use super::demand::{Blocked, BlockedBy, Demand};
use super::holds::{Holds, Part};
use super::machine::{Conditions, Machine, Observation};
use super::measure;
use crate::alert::{ActionTaken, AlertId, AlertState, Labels, Mode, Severity};
use crate::clock::UnixMicros;
use crate::config::BudgetSettings;
use crate::meter::window::{self, Bounds, Totals, Window};
use crate::record::Worst;

/// How long an alert of an earlier run goes on without a provider's word on the plan.
const FIRST_WORD: Duration = Duration::from_secs(60 * 60);

/// What is common to all alerts of a rule, and outlives a change of it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Requests refused.
    pub(super) blocked: AtomicU64,
    /// Requests that would have been.
    pub(super) would_block: AtomicU64,
    /// Requests that had no alert of their own for want of room.
    pub(super) folded: AtomicU64,
    health: Mutex<Option<Arc<str>>>,
    /// Whether there is a reason in it: what requests look at.
    is_unhealthy: AtomicBool,
    /// What is held of each alert's budget: what a request holds goes on when rules are replaced.
    holds: Mutex<HashMap<Labels, Arc<Holds>>>,
}

impl Shared {
    /// Why the rule cannot be judged; `None` while it can.
    pub(super) fn unhealthy(&self) -> Option<Arc<str>> {
        let health = self.health.lock();
        health.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is held of an alert's budget.
    fn holds(&self, labels: &Labels) -> Arc<Holds> {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(holds.entry(labels.clone()).or_default())
    }

    /// Forgets what slipped and the ledger tells again.
    pub(super) fn forget_told(&self) {
        let holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.values().for_each(|holds| holds.forget_told());
    }

    /// Forgets what nobody holds anything of.
    pub(super) fn prune(&self) {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.retain(|_, holds| Arc::strong_count(holds) > 1);
    }

    pub(super) fn set_health(&self, why_not: Option<Arc<str>>) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_unhealthy
            .store(why_not.is_some(), Ordering::Release);
        *health = why_not;
    }

    fn is_healthy(&self) -> bool {
        !self.is_unhealthy.load(Ordering::Acquire)
    }
}

/// One alert.
#[derive(Debug)]
pub(super) struct Series {
    /// Locks of several are taken in the order of their numbers.
    pub(super) number: u64,
    /// Where its rule stands among all.
    pub(super) at: usize,
    /// Whether it stands for all combinations that have none of their own.
    pub(super) folds: bool,
    pub(super) rule: Arc<Rule>,
    pub(super) alert: AlertId,
    pub(super) conditions: Conditions,
    pub(super) holds: Arc<Holds>,
    pub(super) shared: Arc<Shared>,
    pub(super) cell: Arc<Mutex<Cell>>,
}

/// What of an alert changes.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) window: Window,
    pub(super) machine: Machine,
    /// Up to which offset of this process' journal the window's sums are the ledger's.
    pub(super) through: u64,
    /// The last word on each plan's window.
    quotas: SmallVec<[QuotaSeen; 1]>,
    /// What was done, or would have been, since it began to fire.
    pub(super) actions: Vec<ActionTaken>,
    /// Actions that are to be done again: a closing that was withheld, or is for a time.
    pub(super) due: SmallVec<[Due; 1]>,
    /// Since when a provider's word on a plan is waited for.
    silent_since: Option<UnixMicros>,
    /// Whether there ever was one.
    heard: bool,
}

/// An action that is to be done again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// Its place in the rule.
    pub(super) action: usize,
    /// From when on.
    pub(super) at: UnixMicros,
}

#[derive(Clone, Debug)]
struct QuotaSeen {
    channel: Box<str>,
    window: Box<str>,
    used_ppm: i64,
}

/// What the window says at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) value: Option<i64>,
    pub(super) requests: u64,
}

impl Cell {
    /// Whether the actions are in force.
    pub(super) fn is_acting(&self) -> bool {
        self.machine.is_firing() && self.machine.severity() == Some(Severity::Critical)
    }

    /// Whether a provider's first word on a plan may still come: until then an alert of an earlier run
    /// goes on. Where nothing comes (a closed channel gets no answers) it is not waited for for ever.
    fn awaits_word(&self, now: UnixMicros) -> bool {
        let since = self.silent_since.filter(|_| !self.heard);
        since.is_some_and(|since| now.since(since) < FIRST_WORD)
    }

    /// What the period comes to that a request which began at `at` counts in.
    fn sum_at(&mut self, at: UnixMicros, now: UnixMicros) -> i64 {
        // To the present first: the period before is asked for as the one before.
        self.window.totals(now);
        self.window.totals(at.min(now)).sum
    }

    /// Takes over what an alert is doing.
    pub(super) fn adopt(&mut self, other: &Self) {
        self.quotas.clone_from(&other.quotas);
        self.heard = other.heard;
        if other.machine.state() == AlertState::Inactive {
            // What an earlier run told of it counts.
            return;
        }
        self.machine = other.machine;
        self.actions.clone_from(&other.actions);
        self.due.clone_from(&other.due);
    }
}

impl Series {
    pub(super) fn new(
        number: u64,
        at: usize,
        rule: Arc<Rule>,
        labels: Labels,
        shared: Arc<Shared>,
        folds: bool,
    ) -> Self {
        let cell = Cell {
            window: Window::new(&rule.span, measure::keeps(&rule), rule.compare),
            machine: Machine::default(),
            through: 0,
            quotas: SmallVec::new(),
            actions: Vec::new(),
            due: SmallVec::new(),
            silent_since: None,
            heard: false,
        };
        Self {
            number,
            at,
            folds,
            conditions: Conditions::of(&rule),
            holds: shared.holds(&labels),
            alert: AlertId {
                rule: Arc::clone(&rule.name),
                labels,
            },
            rule,
            shared,
            cell: Arc::new(Mutex::new(cell)),
        }
    }

    /// The same alert under a rule that was edited, its window kept.
    pub(super) fn under(&self, number: u64, at: usize, rule: &Arc<Rule>) -> Self {
        Self {
            number,
            at,
            folds: self.folds,
            conditions: Conditions::of(rule),
            rule: Arc::clone(rule),
            alert: self.alert.clone(),
            holds: Arc::clone(&self.holds),
            shared: Arc::clone(&self.shared),
            cell: Arc::clone(&self.cell),
        }
    }

    pub(super) fn cell(&self) -> MutexGuard<'_, Cell> {
        // A panic under the lock is a fault of the program; what the window holds stays true.
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether requests ask it before they go up: budgets, for what is held of them, and what refuses.
    pub(super) fn is_asked(&self) -> bool {
        let blocks = self.rule.block().is_some();
        blocks || (self.rule.is_budget() && self.rule.mode == Mode::Enforce)
    }

    /// Whether it tells channels apart: another channel may do for a request that it refuses.
    fn is_of_channel(&self) -> bool {
        let named = self.rule.matcher.channel.as_ref();
        named.is_some_and(|pattern| pattern.as_str() != "*")
            || self.alert.labels.get("channel").is_some()
    }

    /// Judges whether a request may go: what it takes of the budget, where it is one.
    pub(super) fn ask(
        &self,
        cell: &mut Cell,
        demand: &Demand<'_>,
        budgets: &BudgetSettings,
        refuse_unknown: bool,
        now: UnixMicros,
    ) -> Result<Option<Part>, Blocked> {
        let refusal = |why, bounds: Bounds| Blocked {
            alert: self.alert.clone(),
            status: self.rule.block().map_or(429, |(status, _)| status),
            until: bounds.until,
            of_channel: self.is_of_channel(),
            why,
        };
        let block = self.rule.block();
        let known = self.shared.is_healthy() && !cell.window.is_stale(now);
        if !self.rule.is_budget() {
            let fires = known && block.is_some() && cell.is_acting();
            return if fires {
                let limit = self.rule.critical.map(|limit| self.rule.quantity(limit));
                Err(refusal(
                    BlockedBy::Firing { limit },
                    cell.window.bounds(now),
                ))
            } else {
                Ok(None)
            };
        }
        let part = self.part(demand, budgets);
        let (Some((_, unbounded)), Some(limit)) = (block, self.rule.critical) else {
            return Ok(Some(part));
        };
        let bounds = cell.window.bounds(demand.started_at);
        if !known {
            return if refuse_unknown {
                Err(refusal(BlockedBy::Unknown, bounds))
            } else {
                Ok(Some(part))
            };
        }
        if part.unbounded && unbounded == Unbounded::Refuse {
            let whenever = Bounds {
                until: None,
                ..bounds
            };
            return Err(refusal(BlockedBy::Unbounded, whenever));
        }
        let used = cell.sum_at(demand.started_at, now);
        let held = self.holds.held(&bounds).amount;
        // Of a request without a known most it is enough that something is left.
        let least = if part.unbounded { 1 } else { part.amount };
        let total = used.saturating_add(held).saturating_add(least);
        if total <= limit {
            return Ok(Some(part));
        }
        let quantity = |value| self.rule.quantity(value);
        let bounds = if least > limit {
            // It would not fit an empty window either.
            Bounds {
                until: None,
                ..bounds
            }
        } else {
            bounds
        };
        let why = BlockedBy::Budget {
            limit: quantity(limit),
            used: quantity(used),
            reserved: quantity(held),
            worst: quantity(part.amount),
        };
        Err(refusal(why, bounds))
    }

    /// Counts a refusal, and says whether it holds: whether the rule's mode lets it refuse.
    pub(super) fn refuses(&self) -> bool {
        let enforced = self.rule.mode == Mode::Enforce;
        let counter = if enforced {
            &self.shared.blocked
        } else {
            &self.shared.would_block
        };
        counter.fetch_add(1, Ordering::Relaxed);
        enforced
    }

    /// What a request may use of the budget.
    pub(super) fn part(&self, demand: &Demand<'_>, budgets: &BudgetSettings) -> Part {
        let known = most(&self.rule, &demand.worst);
        Part {
            started_at: demand.started_at,
            amount: known.unwrap_or_else(|| taken_for_granted(&self.rule, budgets)),
            unbounded: known.is_none(),
            awaited: false,
            of_row: self.rule.metric == Metric::Requests,
        }
    }

    /// What the window says now.
    pub(super) fn read(&self, cell: &mut Cell, now: UnixMicros) -> Reading {
        if self.rule.metric == Metric::QuotaUsed {
            if cell.quotas.is_empty() {
                cell.silent_since.get_or_insert(now);
            }
            let used = cell.quotas.iter().map(|seen| seen.used_ppm);
            return Reading {
                value: used.max(),
                requests: 0,
            };
        }
        let totals = cell.window.totals(now);
        let (requests, value) = (totals.count, measure::value(&self.rule, totals));
        let value = match self.rule.stat {
            Stat::Forecast => cell.window.forecast(now),
            Stat::TimeLeft => self.rule.budget.and_then(|budget| {
                let left = time_left(cell, budget, now)?;
                i64::try_from(left.as_micros()).ok()
            }),
            _ => value,
        };
        let value = match cell.window.earlier(now) {
            None => value,
            // A few requests then are no measure for now.
            Some(earlier) if earlier.count < self.rule.min_requests => None,
            Some(earlier) => {
                let before = measure::value(&self.rule, &Totals::of(earlier));
                let both = value.zip(before);
                both.and_then(|(value, before)| measure::times(value, before))
            }
        };
        Reading { value, requests }
    }

    /// What the machine is shown of it.
    pub(super) fn observation(
        &self,
        cell: &Cell,
        reading: &Reading,
        now: UnixMicros,
    ) -> Observation {
        if !self.shared.is_healthy() || cell.window.is_stale(now) {
            return Observation::Unknown;
        }
        match reading.value {
            Some(value) if self.rule.metric == Metric::QuotaUsed => Observation::Value(value),
            _ if cell.awaits_word(now) => Observation::Unknown,
            _ if reading.requests == 0 => Observation::NoData,
            _ if reading.requests < self.rule.min_requests => Observation::TooFew,
            Some(value) => Observation::Value(value),
            // At the present rate the budget lasts for ever, or nothing was there before to compare
            // with.
            None => Observation::TooFew,
        }
    }

    /// Notes a provider's word on a plan's window.
    pub(super) fn note_quota(cell: &mut Cell, channel: &str, window: &str, used_ppm: i64) {
        cell.heard = true;
        let known = cell
            .quotas
            .iter_mut()
            .find(|seen| *seen.channel == *channel && *seen.window == *window);
        match known {
            Some(seen) => seen.used_ppm = used_ppm,
            None => cell.quotas.push(QuotaSeen {
                channel: channel.into(),
                window: window.into(),
                used_ppm,
            }),
        }
    }

    /// Forgets a channel's windows but for these. Returns whether there were others.
    pub(super) fn forget_quotas(cell: &mut Cell, channel: &str, but: &[&str]) -> bool {
        let before = cell.quotas.len();
        cell.quotas
            .retain(|seen| *seen.channel != *channel || but.contains(&&*seen.window));
        cell.quotas.len() < before
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_idle(&self, cell: &mut Cell, now: UnixMicros) -> bool {
        !self.is_of_now(cell, now)
            && self.holds.slipped(&cell.window.bounds(now)) == 0
            // What is silent now is what a later window is compared with.
            && self.rule.compare.is_none()
            // Of a calendar the period before may still be asked for.
            && cell.window.totals(cell.window.reach(now)).count == 0
    }

    /// Whether it has anything that is not of an earlier period alone.
    pub(super) fn is_of_now(&self, cell: &mut Cell, now: UnixMicros) -> bool {
        cell.machine.state() != AlertState::Inactive
            || !cell.quotas.is_empty()
            || !self.holds.is_empty()
            || cell.window.totals(now).count > 0
    }

    /// By how much its limit may be passed; the outer `None` where it is no budget that is enforced,
    /// the inner where nobody can say.
    #[expect(
        clippy::option_option,
        reason = "no such budget and nobody can say are two things"
    )]
    pub(super) fn overshoot_bound(&self, cell: &mut Cell, now: UnixMicros) -> Option<Option<i64>> {
        if !self.rule.is_budget() || self.rule.mode != Mode::Enforce {
            return None;
        }
        let bounds = cell.window.bounds(now);
        let held = self.holds.held(&bounds);
        if held.unbounded > 0 {
            return Some(None);
        }
        let unreserved = match (self.rule.block(), self.rule.critical) {
            // What had begun before anybody could refuse it is held beyond the limit.
            (Some(_), Some(limit)) => {
                let used = cell.window.totals(now).sum;
                let all = used.saturating_add(held.amount);
                all.saturating_sub(limit).clamp(0, held.amount.max(0))
            }
            _ => held.amount,
        };
        let slipped = self.holds.slipped(&bounds);
        Some(Some(slipped.saturating_add(unreserved)))
    }

    /// How long until the limit is reached at the present rate; `None` when it is not, in this window.
    pub(super) fn exhausted_in(&self, cell: &mut Cell, now: UnixMicros) -> Option<Duration> {
        let left = time_left(cell, self.rule.budget_limit()?, now)?;
        // A rolling window's sum stays what it is at its own rate: as much leaves it as is added.
        let reached = match cell.window.bounds(now).until {
            Some(until) => left < until.since(now),
            None => left.is_zero(),
        };
        reached.then_some(left)
    }
}

/// How long until the window's sum comes to `budget` at the present rate; `None` when there is none.
fn time_left(cell: &mut Cell, budget: i64, now: UnixMicros) -> Option<Duration> {
    let rate = cell.window.rate(now)?;
    let sum = cell.window.totals(now).sum;
    window::time_left(sum, budget, &rate)
}

/// The most a request may use, in the rule's unit; `None` where nobody knows.
fn most(rule: &Rule, worst: &Worst) -> Option<i64> {
    let tokens = match rule.metric {
        Metric::Cost => return worst.cost.map(|cost| cost.0),
        Metric::Tokens => worst.tokens(),
        Metric::InputTokens => worst.input_tokens,
        Metric::OutputTokens => worst.output_tokens,
        _ => Some(1),
    };
    tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX))
}

/// What counts where nobody knows.
fn taken_for_granted(rule: &Rule, budgets: &BudgetSettings) -> i64 {
    let (input, output) = (budgets.max_input_tokens, budgets.max_output_tokens);
    let tokens = match rule.metric {
        Metric::Cost => return budgets.unbounded_cost.0,
        Metric::InputTokens => input,
        Metric::OutputTokens => output,
        _ => input.saturating_add(output),
    };
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
