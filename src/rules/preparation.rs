//! Rules on their way into force: windows read from the ledger while requests go on.
//!
//! What was observed before [`Rules::prepare`] is in the ledger's snapshot, if the snapshot is taken
//! once all that the journal then had is committed. What is observed later is kept, and added by
//! [`Preparation::install`] unless the snapshot has it too: each sample carries its offset in the
//! journal, and the snapshot says up to which offset it goes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::definition::{Metric, Rule, RuleSet};
use super::demand::Demand;
use super::engine::{Reservation, Rules};
use super::generation::Generation;
use super::holds::{Holds, Part};
use super::kept::KEPT;
use super::measure;
use super::series::Series;
use smallvec::SmallVec;

use crate::alert::{AlertEvent, AlertState, Labels};
use crate::clock::UnixMicros;
use crate::config::BudgetSettings;
use crate::meter::window::Window;
use crate::record::{Dimensions, MinuteSample, ModelNames, Sample, Worst};

/// Samples that are kept for a preparation; with more it has taken too long and begins anew.
const MOST_KEPT: usize = 1 << 20;

/// What a preparation wants to know of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Every minute in which requests ended since.
    pub minutes_since: Option<UnixMicros>,
    /// Of the minutes, the distributions as well.
    pub sketches: bool,
    /// Every request that ended since.
    pub rows_since: Option<UnixMicros>,
    /// What is held of budgets for requests that began since and whose end or usage is not known.
    pub held_since: Option<UnixMicros>,
}

impl Needs {
    /// Whether nothing has to be read.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.minutes_since.is_none() && self.rows_since.is_none() && self.held_since.is_none()
    }
}

/// A request of an earlier run whose end or usage nobody knows yet.
#[derive(Clone, Copy, Debug)]
pub struct HeldRequest<'a> {
    /// What it is known by: its own id, or that of what it makes.
    pub id: &'a str,
    /// When its header had arrived.
    pub started_at: UnixMicros,
    /// Whose it is.
    pub dimensions: Dimensions<'a>,
    /// The most that it may come to beside what the ledger counts for it.
    pub worst: Worst,
    /// Until when that is held.
    pub until: UnixMicros,
    /// Whether its usage is told by a later request, and counts when that one does. Otherwise nobody
    /// saw its end, and it counts when it began.
    pub awaited: bool,
}

/// A preparation took too long: too many requests ended meanwhile. It can be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests ended while the rules' windows were read")]
pub struct TookTooLong;

/// Samples that were observed since a preparation began.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Whose it is.
    number: u64,
    samples: Vec<OwnSample>,
    overflows: bool,
}

/// Rules that are not in force yet. Dropped, those in force go on.
#[derive(Debug)]
pub struct Preparation<'r> {
    rules: &'r Rules,
    listening: Listening<'r>,
    next: Generation,
    /// Of each rule: whether its windows are read from the ledger.
    read: Vec<Feed>,
    needs: Needs,
    budgets: BudgetSettings,
    /// What is to be held, under its id, until when.
    held: Vec<(Arc<str>, UnixMicros, Parts)>,
    /// Alerts of an earlier run whose rule is gone.
    orphans: Vec<AlertEvent>,
}

/// What is to be held for one request.
type Parts = SmallVec<[(Arc<Holds>, Part); 2]>;

/// Has what is observed kept, until dropped.
#[derive(Debug)]
struct Listening<'r> {
    rules: &'r Rules,
    number: u64,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.rules.kept.stop_listening(self.number);
        let mut buffer = self.rules.buffered();
        if buffer
            .as_ref()
            .is_some_and(|buffer| buffer.number == self.number)
        {
            *buffer = None;
            self.rules.buffering.store(false, Ordering::Release);
        }
    }
}

/// Where a rule's windows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feed {
    /// From the rule of the same name that is in force.
    InForce,
    /// From the ledger's minutes.
    Minutes,
    /// From its rows.
    Rows,
    /// From nothing that is past.
    Nothing,
}

impl Rules {
    /// Prepares `set`. Windows that the rules in force have already are taken over, unless `anew` asks
    /// for all of them to be read. Only one preparation goes on at a time: a further one ends it.
    ///
    /// What the journal has when this returns must be in the snapshot that is told.
    #[must_use]
    pub fn prepare(
        &self,
        set: &RuleSet,
        budgets: BudgetSettings,
        anew: bool,
        now: UnixMicros,
    ) -> Preparation<'_> {
        let (before, number) = {
            // For writing: whatever is being observed now is done, the rest is kept.
            let generation = self.generation.write();
            let generation = generation.unwrap_or_else(PoisonError::into_inner);
            let number = self.preparations.fetch_add(1, Ordering::Relaxed);
            *self.buffered() = Some(Buffer {
                number,
                ..Buffer::default()
            });
            self.buffering.store(true, Ordering::Release);
            self.kept.listen(number);
            (Arc::clone(&generation), number)
        };
        let next = Generation::new(set, Some(&before));
        let feeds = set.rules.iter().map(|rule| {
            let known = before.named(&rule.name).filter(|_| !anew);
            if known.is_some_and(|known| rule.has_window_of(&known.rule)) {
                return Feed::InForce;
            }
            feed(rule, now)
        });
        let read: Vec<_> = feeds.collect();
        let needs = needs(set, &read, &budgets, now);
        Preparation {
            rules: self,
            listening: Listening {
                rules: self,
                number,
            },
            next,
            read,
            needs,
            budgets,
            held: Vec::new(),
            orphans: Vec::new(),
        }
    }

    pub(super) fn keep_for_preparation(&self, sample: &Sample<'_>) {
        if let Some(buffer) = &mut *self.buffered() {
            if buffer.samples.len() < MOST_KEPT {
                buffer.samples.push(OwnSample::of(sample));
            } else {
                buffer.overflows = true;
            }
        }
    }

    fn buffered(&self) -> std::sync::MutexGuard<'_, Option<Buffer>> {
        let buffer = self.buffer.lock();
        buffer.unwrap_or_else(PoisonError::into_inner)
    }
}

fn feed(rule: &Rule, now: UnixMicros) -> Feed {
    if rule.metric == Metric::QuotaUsed {
        Feed::Nothing
    } else if measure::is_of_minutes(rule, window(rule).is_by_minute(now)) {
        Feed::Minutes
    } else {
        Feed::Rows
    }
}

fn window(rule: &Rule) -> Window {
    Window::new(&rule.span, measure::keeps(rule), rule.compare)
}

fn needs(set: &RuleSet, read: &[Feed], budgets: &BudgetSettings, now: UnixMicros) -> Needs {
    let mut needs = Needs::default();
    let mut reads_budgets = false;
    for (rule, feed) in set.rules.iter().zip(read) {
        let since = window(rule).reach(now);
        let slot = match feed {
            Feed::Minutes => &mut needs.minutes_since,
            Feed::Rows => &mut needs.rows_since,
            Feed::InForce | Feed::Nothing => continue,
        };
        *slot = Some(slot.map_or(since, |known| known.min(since)));
        reads_budgets |= rule.is_budget();
        needs.sketches |= *feed == Feed::Minutes && measure::is_distributed(rule.metric);
    }
    if reads_budgets {
        // For all of them, since all that the ledger told before is replaced. What is given back when
        // its time is over stays in the bound of the window that it may have been used in.
        let kept = budgets.lease.max(KEPT);
        let budgets = set.rules.iter().filter(|rule| rule.is_budget());
        let reach = budgets.map(|rule| window(rule).reach(now)).min();
        needs.held_since = reach.map(|since| since.min(now).minus(kept));
    }
    needs
}

impl Preparation<'_> {
    /// What is to be told before it is installed.
    #[must_use]
    pub const fn needs(&self) -> Needs {
        self.needs
    }

    /// Takes in a minute of the past.
    pub fn minute(&mut self, sample: &MinuteSample<'_>, now: UnixMicros) {
        for series in &self.next.plan(&sample.dimensions).series {
            if self.feed_of(series) == Feed::Minutes
                && let Some((at, totals)) = measure::minute(&series.rule, sample)
            {
                series.cell().window.merge(at, &totals, now);
            }
        }
    }

    /// Takes in a request of the past.
    pub fn row(&mut self, sample: &Sample<'_>, now: UnixMicros) {
        for series in &self.next.plan(&sample.dimensions).series {
            if self.feed_of(series) == Feed::Rows
                && let Some(entry) = measure::entry(&series.rule, sample)
            {
                series.cell().window.add(&entry, now);
            }
        }
    }

    /// Takes in a request of an earlier run whose end or usage is not known.
    pub fn held(&mut self, request: &HeldRequest<'_>) {
        let demand = Demand {
            started_at: request.started_at,
            dimensions: request.dimensions,
            worst: request.worst,
        };
        let plan = self.next.plan(&request.dimensions);
        let budgets = plan.asked.iter().filter(|series| series.rule.is_budget());
        let parts = budgets.filter_map(|series| {
            let part = Part {
                awaited: request.awaited,
                ..series.part(&demand, &self.budgets)
            };
            // What its row counts is counted.
            (!part.of_row).then(|| (Arc::clone(&series.holds), part))
        });
        // Held from the installation on: until then it may be what the rules in force hold.
        self.held
            .push((Arc::from(request.id), request.until, parts.collect()));
    }

    /// Takes in the last event of an alert of an earlier run.
    pub fn alert(&mut self, event: &AlertEvent) {
        if event.state == AlertState::Inactive {
            return;
        }
        let known = self.next.named(&event.alert.rule);
        let known = known.filter(|known| fits(&known.rule, &event.alert.labels));
        let series = known.map(|known| self.next.series(known, event.alert.labels.clone()));
        // The alert that stands for all others is none of theirs.
        match series.filter(|series| series.alert == event.alert) {
            Some(series) if series.has_done(event) => series.restore(&mut series.cell(), event),
            _ => self.orphans.push(event.clone()),
        }
    }

    /// Puts the rules into force. `position` is the offset in this process' journal up to which
    /// the snapshot goes; `None` where nothing of this process was in it.
    pub fn install(self, position: Option<u64>, now: UnixMicros) -> Result<(), TookTooLong> {
        let rules = self.rules;
        let generation = rules.generation.write();
        let mut generation = generation.unwrap_or_else(PoisonError::into_inner);
        let before = Arc::clone(&generation);
        let own = |buffer: &mut Buffer| buffer.number == self.listening.number;
        let buffer = rules.buffered().take_if(own);
        let buffer = buffer
            .filter(|buffer| !buffer.overflows)
            .ok_or(TookTooLong)?;
        rules.buffering.store(false, Ordering::Release);
        // First: what another rule of the same name did is not what this one does.
        retire(&before, &self.next, rules, now);
        self.inherit(&before, now);
        for sample in &buffer.samples {
            self.catch_up(&sample.sample(), position.unwrap_or(0), now);
        }
        for (known, feed) in self.next.rules.iter().zip(&self.read) {
            if matches!(feed, Feed::Minutes | Feed::Rows) {
                for series in Generation::alerts_of(known) {
                    series.cell().through = position.unwrap_or(0);
                }
            }
            known.shared.set_health(None);
        }
        if self.needs.held_since.is_some() {
            for known in &self.next.rules {
                known.shared.forget_told();
            }
            rules.kept.replace(self.held, |parts, until| {
                let is_over = until <= now;
                let holds = parts.into_iter().filter_map(|(holds, part)| {
                    if is_over {
                        holds.slip(&part, until, true);
                        return None;
                    }
                    Some(holds.hold(part))
                });
                let holds = holds.collect();
                (!is_over).then_some(Reservation { holds })
            });
        }
        *rules
            .budgets
            .write()
            .unwrap_or_else(PoisonError::into_inner) = self.budgets;
        for event in &self.orphans {
            rules.hands.free(&event.alert, now);
            rules.hands.changed(&AlertEvent {
                at: now,
                state: AlertState::Inactive,
                told: true,
                ..event.clone()
            });
        }
        let next = Arc::new(self.next);
        for series in next.alerts() {
            let mut cell = series.cell();
            series.settle_in(&mut cell, &*rules.hands, now);
            series.judge(&mut cell, &*rules.hands, now);
        }
        *generation = next;
        Ok(())
    }

    /// Takes over what goes on: windows that need not be read, states of alerts, what is held.
    fn inherit(&self, before: &Generation, now: UnixMicros) {
        for (known, feed) in self.next.rules.iter().zip(&self.read) {
            let Some(old) = before.named(&known.rule.name) else {
                continue;
            };
            for series in Generation::alerts_of(old) {
                if *feed == Feed::InForce {
                    self.next.carry_over(known, &series);
                } else if fits(&known.rule, &series.alert.labels) {
                    // The window is read anew; what the alert is doing stays.
                    let fresh = self.next.series(known, series.alert.labels.clone());
                    fresh.cell().adopt(&series.cell());
                }
            }
        }
        // Plans were made while windows were read: some lead to alerts that were replaced.
        self.next.fed(now);
    }

    fn catch_up(&self, sample: &Sample<'_>, position: u64, now: UnixMicros) {
        if sample.position.is_some_and(|at| at < position) {
            return;
        }
        for series in &self.next.plan(&sample.dimensions).series {
            if matches!(self.feed_of(series), Feed::Minutes | Feed::Rows)
                && let Some(entry) = measure::entry(&series.rule, sample)
            {
                series.cell().window.add(&entry, now);
            }
        }
    }

    fn feed_of(&self, series: &Series) -> Feed {
        self.read.get(series.at).copied().unwrap_or(Feed::Nothing)
    }
}

/// Undoes what alerts did that are no more.
fn retire(before: &Generation, next: &Generation, rules: &Rules, now: UnixMicros) {
    for old in &before.rules {
        let known = next.named(&old.rule.name);
        for series in Generation::alerts_of(old) {
            let goes_on = known.is_some_and(|known| fits(&known.rule, &series.alert.labels));
            let same = known.is_some_and(|known| known.rule.acts_as(&old.rule));
            if !goes_on || !same {
                series.retire(&mut series.cell(), &*rules.hands, now);
            }
            if !goes_on {
                // Also what was closed for a time, or for an operator to open.
                rules.hands.free(&series.alert, now);
            }
        }
    }
}

/// Whether an alert of these labels can be one of the rule's.
fn fits(rule: &Rule, labels: &Labels) -> bool {
    labels.iter().count() == rule.by.len()
        && rule.by.iter().all(|by| labels.get(&by.label()).is_some())
}

/// A sample that owns what it says.
#[derive(Debug)]
struct OwnSample {
    channel: Box<str>,
    key: Option<Box<str>>,
    model: [Option<Box<str>>; 4],
    tags: Option<BTreeMap<String, String>>,
    plain: Sample<'static>,
}

impl OwnSample {
    fn of(sample: &Sample<'_>) -> Self {
        let Dimensions {
            channel,
            api,
            key,
            model,
            tags,
        } = sample.dimensions;
        let names = [model.asked, model.meant, model.called, model.served];
        Self {
            channel: channel.into(),
            key: key.map(Into::into),
            model: names.map(|name| name.map(Into::into)),
            tags: tags.cloned(),
            plain: Sample {
                dimensions: Dimensions {
                    channel: "",
                    api,
                    key: None,
                    model: ModelNames::default(),
                    tags: None,
                },
                ..*sample
            },
        }
    }

    fn sample(&self) -> Sample<'_> {
        let [asked, meant, called, served] = &self.model;
        Sample {
            dimensions: Dimensions {
                channel: &self.channel,
                api: self.plain.dimensions.api,
                key: self.key.as_deref(),
                model: ModelNames {
                    asked: asked.as_deref(),
                    meant: meant.as_deref(),
                    called: called.as_deref(),
                    served: served.as_deref(),
                },
                tags: self.tags.as_ref(),
            },
            ..self.plain
        }
    }
}
