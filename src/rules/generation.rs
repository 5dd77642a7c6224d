//! The rules in force and their alerts. Replaced whole when rules are edited or windows rebuilt; what
//! an alert has (its window, its state, what is held of it) goes over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::{HashMap, HashMapExt as _};

use super::definition::{Dimension, NoData, Rule, RuleSet};
use super::plan::{Index, Plan, Plans};
use super::series::{Series, Shared};
use crate::alert::Labels;
use crate::clock::UnixMicros;
use crate::record::Dimensions;

/// The value of every label of the alert that stands for all combinations beyond `max_series`.
const OTHER: &str = "other";

/// One rule in force.
#[derive(Debug)]
pub(super) struct InForce {
    /// Where it stands among all.
    at: usize,
    pub(super) rule: Arc<Rule>,
    pub(super) shared: Arc<Shared>,
    pub(super) series: RwLock<HashMap<Labels, Arc<Series>>>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) rules: Vec<InForce>,
    index: Index,
    plans: Plans,
    /// While the past is read every combination has an alert: which of them are of now is known after.
    feeding: AtomicBool,
    numbers: Arc<AtomicU64>,
}

impl Generation {
    /// The rules of `set` without alerts. What rules of the same name counted goes on from `before`.
    pub(super) fn new(set: &RuleSet, before: Option<&Self>) -> Self {
        let generation = Self {
            rules: set
                .rules
                .iter()
                .enumerate()
                .map(|(at, rule)| InForce {
                    at,
                    rule: Arc::clone(rule),
                    shared: before
                        .and_then(|before| before.named(&rule.name))
                        // What is held is held in the metric's unit.
                        .filter(|known| known.rule.metric == rule.metric)
                        .map(|known| Arc::clone(&known.shared))
                        .unwrap_or_default(),
                    series: RwLock::new(HashMap::new()),
                })
                .collect(),
            index: Index::new(&set.rules),
            plans: Plans::new(&set.rules),
            feeding: AtomicBool::new(before.is_some()),
            numbers: before.map_or_else(Arc::default, |before| Arc::clone(&before.numbers)),
        };
        for known in &generation.rules {
            if known.rule.by.is_empty() {
                // So that silence from the start on is seen.
                generation.series(known, Labels::default());
            }
        }
        generation
    }

    /// The rule of that name.
    pub(super) fn named(&self, name: &str) -> Option<&InForce> {
        self.rules.iter().find(|known| *known.rule.name == *name)
    }

    /// What a request concerns.
    pub(super) fn plan(&self, of: &Dimensions<'_>) -> Arc<Plan> {
        self.plans.of(of, || {
            let candidates = self.index.candidates(of);
            let rules = candidates.into_iter().filter_map(|at| self.rules.get(at));
            rules
                .filter(|known| known.rule.matcher.matches(of))
                // No request belongs to a plan's window.
                .filter(|known| !known.rule.by.contains(&Dimension::QuotaWindow))
                .map(|known| self.series(known, labels(&known.rule, of)))
                .collect()
        })
    }

    /// The alert of these labels, made where there is none; where there is no room for it, the one that
    /// stands for all such.
    pub(super) fn series(&self, known: &InForce, labels: Labels) -> Arc<Series> {
        let found = known.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = found.get(&labels) {
            return Arc::clone(series);
        }
        let others = others(&known.rule);
        // Once there is one for all others it stays theirs as long as it has anything: what was counted
        // there must not be forgotten because there is room again.
        let folds = found.len() >= known.rule.max_series || found.contains_key(&others);
        drop(found);
        let folds = folds && !known.rule.by.is_empty() && !self.feeding.load(Ordering::Relaxed);
        let labels = if folds { others } else { labels };
        let mut all = known.series.write().unwrap_or_else(PoisonError::into_inner);
        let made = all.entry(labels).or_insert_with_key(|labels| {
            Arc::new(Series::new(
                self.numbers.fetch_add(1, Ordering::Relaxed),
                known.at,
                Arc::clone(&known.rule),
                labels.clone(),
                Arc::clone(&known.shared),
                folds,
            ))
        });
        Arc::clone(made)
    }

    /// Takes an alert over from the generation before, its window kept.
    pub(super) fn carry_over(&self, known: &InForce, series: &Series) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let carried = Arc::new(series.under(number, known.at, &known.rule));
        let mut all = known.series.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(carried.alert.labels.clone(), carried);
    }

    /// Forgets which alerts requests concern, to find them anew.
    pub(super) fn forget_plans(&self) {
        self.plans.clear();
    }

    /// A rule's alert of these labels, where there is one.
    pub(super) fn alert_of(known: &InForce, labels: &Labels) -> Option<Arc<Series>> {
        let all = known.series.read().unwrap_or_else(PoisonError::into_inner);
        all.get(labels).map(Arc::clone)
    }

    /// Every alert of a rule, in the order in which they were first seen.
    pub(super) fn alerts_of(known: &InForce) -> Vec<Arc<Series>> {
        let all = known.series.read().unwrap_or_else(PoisonError::into_inner);
        let mut alerts: Vec<_> = all.values().map(Arc::clone).collect();
        drop(all);
        alerts.sort_by_key(|series| series.number);
        alerts
    }

    /// Every alert.
    pub(super) fn alerts(&self) -> impl Iterator<Item = Arc<Series>> + '_ {
        self.rules.iter().flat_map(Self::alerts_of)
    }

    /// The past was read: alerts that it made and that are not of now go, and `max_series` holds.
    pub(super) fn fed(&self, now: UnixMicros) {
        for known in &self.rules {
            if known.rule.by.is_empty() {
                continue;
            }
            let mut all = known.series.write().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, series| !series.is_idle(&mut series.cell(), now));
            if all.len() > known.rule.max_series {
                all.retain(|_, series| series.is_of_now(&mut series.cell(), now));
            }
        }
        self.forget_plans();
        self.feeding.store(false, Ordering::Relaxed);
    }

    /// Forgets alerts that have nothing to lose. Nobody may be using a plan meanwhile.
    pub(super) fn prune(&self, now: UnixMicros) {
        let mut pruned = false;
        for known in &self.rules {
            if known.rule.by.is_empty() || known.rule.no_data != NoData::Ok {
                continue;
            }
            let mut all = known.series.write().unwrap_or_else(PoisonError::into_inner);
            let before = all.len();
            all.retain(|_, series| !series.is_idle(&mut series.cell(), now));
            pruned |= all.len() < before;
        }
        if pruned {
            self.forget_plans();
            for known in &self.rules {
                known.shared.prune();
            }
        }
    }
}

/// The labels of the alert that a request belongs to.
pub(super) fn labels(rule: &Rule, of: &Dimensions<'_>) -> Labels {
    let values = rule.by.iter();
    Labels::new(values.map(|by| (by.label(), Arc::from(by.value(of)))))
}

fn others(rule: &Rule) -> Labels {
    let names = rule.by.iter().map(Dimension::label);
    Labels::new(names.map(|name| (name, Arc::from(OTHER))))
}

/// The labels of a plan's window at a channel.
pub(super) fn quota_labels(rule: &Rule, of: &Dimensions<'_>, window: &str) -> Labels {
    let values = rule.by.iter();
    Labels::new(values.map(|by| {
        let value = match by {
            Dimension::QuotaWindow => window,
            by => by.value(of),
        };
        (by.label(), Arc::from(value))
    }))
}
