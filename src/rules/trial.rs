//! Rules in a what-if: the real engine over a clock that only moves when told to, with channels that
//! are names only. What tests of rules and backtests are made of.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::definition::{Recovery, Rule, RuleSet};
use super::demand::{Blocked, Demand};
use super::engine::{Reservation, Rules};
use super::hands::{Closed, Closure, Hands};
use super::preparation::Preparation;
use super::view::RuleView;
use crate::alert::{AlertEvent, AlertId};
use crate::clock::UnixMicros;
use crate::config::BudgetSettings;
use crate::meter::window::Span;
use crate::record::{MinuteSample, Sample, Sketch};

/// The timer's beat in a trial is at least that of the sidecar's.
const SHORTEST_TICK: Duration = Duration::from_secs(1);
/// And at most that.
const LONGEST_TICK: Duration = Duration::from_secs(60);
/// Ticks in the shortest time that a rule waits for.
const TICKS_A_WAIT: u32 = 10;
/// Steps of a rolling window.
const STEPS: u32 = 60;

/// Rules at work in a what-if.
#[derive(Debug)]
pub(super) struct Trial {
    rules: Rules,
    set: RuleSet,
    channels: Arc<TrialChannels>,
    now: UnixMicros,
    tick: Duration,
}

impl Trial {
    /// The rules of `set` from `start` on, nothing known of what was before. With `channels` only
    /// these can be closed; else any can, and there is always another one open.
    pub(super) fn new(
        set: &RuleSet,
        channels: Option<BTreeSet<Arc<str>>>,
        start: UnixMicros,
    ) -> Self {
        let channels = Arc::new(TrialChannels::new(channels));
        Self {
            rules: engine(set, &channels),
            set: set.clone(),
            channels,
            now: start,
            tick: tick_of(set),
        }
    }

    /// Lets the timer go no more often than this, for the sake of long trials.
    pub(super) fn tick_at_least(&mut self, tick: Duration) {
        self.tick = self.tick.max(tick);
    }

    /// What the rules show of themselves.
    pub(super) fn view(&self) -> Vec<RuleView> {
        self.rules.view(self.now)
    }

    /// What was noted of channels and alerts.
    pub(super) fn channels(&self) -> &TrialChannels {
        &self.channels
    }

    /// The moment the trial has come to.
    pub(super) const fn now(&self) -> UnixMicros {
        self.now
    }

    /// How often the timer goes while nothing happens.
    pub(super) const fn tick(&self) -> Duration {
        self.tick
    }

    /// Lets time go on up to `to`, the timer going at its beat.
    pub(super) fn advance(&mut self, to: UnixMicros) {
        let beat = i64::try_from(self.tick.as_micros()).unwrap_or(i64::MAX);
        // On the beats of the clock, as the steps of windows are.
        let mut next = self.now.0 - self.now.0.rem_euclid(beat) + beat;
        while next <= to.0 {
            self.rules.tick(UnixMicros(next));
            next += beat;
        }
        self.now = self.now.max(to);
    }

    /// Lets the timer go now, so that what is asked next is of this moment.
    pub(super) fn settle(&self) {
        self.rules.tick(self.now);
    }

    /// Asks for a request now.
    pub(super) fn admit(&self, demand: &Demand<'_>) -> Result<Reservation, Blocked> {
        self.rules.admit(demand, self.now)
    }

    /// Takes in a request that ends now.
    pub(super) fn observe(&self, sample: &Sample<'_>, held: Reservation) {
        self.rules.observe(sample, held, self.now);
    }

    /// Takes in a provider's word on a plan's window.
    pub(super) fn quota(&self, channel: &str, window: &str, used_ppm: i64) {
        self.rules.quota(channel, window, used_ppm, self.now);
    }

    /// Ends the process and begins another: the windows are read from `past`, as from a ledger, the
    /// alerts go on as their last events have them. What was held is given back.
    pub(super) fn restart(&mut self, past: &[Sample<'_>]) {
        let last = self.channels.last_events();
        self.rules = engine(&self.set, &self.channels);
        let tell: Result<(), Infallible> = self.begin(&last, |remember| {
            past.iter().for_each(remember);
            Ok(())
        });
        let Ok(()) = tell;
    }

    /// Reads the windows from what `tell` tells of the past, and takes the alerts over from their last
    /// events.
    pub(super) fn begin<E>(
        &self,
        last: &[AlertEvent],
        tell: impl FnOnce(&mut dyn FnMut(&Sample<'_>)) -> Result<(), E>,
    ) -> Result<(), E> {
        let budgets = BudgetSettings::default();
        let mut preparation = self.rules.prepare(&self.set, budgets, true, self.now);
        tell(&mut |sample| remember(&mut preparation, sample, self.now))?;
        for event in last {
            preparation.alert(event);
        }
        // Nothing is observed meanwhile that could be too much.
        let _ = preparation.install(None, self.now);
        Ok(())
    }

    /// The earliest moment that the windows look back to.
    pub(super) fn reach(&self) -> UnixMicros {
        let budgets = BudgetSettings::default();
        let needs = self
            .rules
            .prepare(&self.set, budgets, true, self.now)
            .needs();
        let since = [needs.minutes_since, needs.rows_since];
        since.into_iter().flatten().min().unwrap_or(self.now)
    }
}

fn engine(set: &RuleSet, channels: &Arc<TrialChannels>) -> Rules {
    let hands: Arc<dyn Hands> = Arc::clone(channels) as Arc<dyn Hands>;
    Rules::new(set, BudgetSettings::default(), false, hands)
}

/// Gives a request of the past to whatever of a preparation wants it: alone, it is the sum of its
/// minute.
fn remember(preparation: &mut Preparation<'_>, sample: &Sample<'_>, now: UnixMicros) {
    let needs = preparation.needs();
    if needs
        .rows_since
        .is_some_and(|since| sample.ended_at >= since)
    {
        preparation.row(sample, now);
    }
    if needs
        .minutes_since
        .is_some_and(|since| sample.ended_at >= since)
    {
        preparation.minute(&minute_of(sample), now);
    }
}

fn minute_of<'s>(sample: &Sample<'s>) -> MinuteSample<'s> {
    let sketch = |value: Option<u64>| {
        let mut sketch = Sketch::default();
        sketch.add(value?);
        Some(sketch)
    };
    MinuteSample {
        started: sample.started_at.minute(),
        ended: sample.ended_at.minute(),
        dimensions: sample.dimensions,
        requests: u64::from(!sample.settles),
        settled: u64::from(sample.settles),
        errors: u64::from(sample.error),
        cost_nanousd: sample.cost_nanousd,
        tokens: sample.tokens,
        input_tokens: sample.input_tokens,
        output_tokens: sample.output_tokens,
        latency_us: sketch(sample.latency_us),
        ttft_us: sketch(sample.ttft_us),
        pace_milli: sketch(sample.pace_milli),
    }
}

/// A beat that no wait and no window's step is much shorter than, so that long trials stay short.
fn tick_of(set: &RuleSet) -> Duration {
    let waits = |rule: &Rule| {
        let step = match rule.span {
            Span::Rolling(length) => length / STEPS,
            Span::Calendar(_) => LONGEST_TICK,
        };
        let waits = [rule.hold, rule.keep_firing].map(|wait| wait / TICKS_A_WAIT);
        waits
            .into_iter()
            .filter(|wait| !wait.is_zero())
            .fold(step, Duration::min)
    };
    let shortest = set.rules.iter().map(|rule| waits(rule)).min();
    let shortest = shortest.unwrap_or(LONGEST_TICK);
    Duration::from_secs(shortest.clamp(SHORTEST_TICK, LONGEST_TICK).as_secs())
}

/// Channels that are names, and what rules do with them.
#[derive(Debug)]
pub(super) struct TrialChannels {
    inner: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
    known: Option<BTreeSet<Arc<str>>>,
    holds: Vec<Held>,
    events: Vec<AlertEvent>,
}

#[derive(Clone, Debug)]
struct Held {
    channel: Arc<str>,
    alert: AlertId,
    until: Option<UnixMicros>,
}

impl Held {
    fn is_in_force(&self, now: UnixMicros) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl TrialChannels {
    fn new(known: Option<BTreeSet<Arc<str>>>) -> Self {
        Self {
            inner: Mutex::new(Noted {
                known,
                holds: Vec::new(),
                events: Vec::new(),
            }),
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channels that alerts hold closed, in order.
    pub(super) fn closed(&self, now: UnixMicros) -> BTreeSet<Arc<str>> {
        let noted = self.noted();
        let holds = noted.holds.iter().filter(|held| held.is_in_force(now));
        holds.map(|held| Arc::clone(&held.channel)).collect()
    }

    /// The alert that holds a channel closed.
    pub(super) fn closed_by(&self, channel: &str, now: UnixMicros) -> Option<AlertId> {
        let noted = self.noted();
        let mut holds = noted.holds.iter().filter(|held| held.is_in_force(now));
        let held = holds.find(|held| *held.channel == *channel)?;
        Some(held.alert.clone())
    }

    /// Notes that there is such a channel.
    pub(super) fn meet(&self, channel: &str) {
        if let Some(known) = &mut self.noted().known
            && !known.contains(channel)
        {
            known.insert(channel.into());
        }
    }

    /// The changes of alerts since this was asked last.
    pub(super) fn take_events(&self) -> Vec<AlertEvent> {
        std::mem::take(&mut self.noted().events)
    }

    /// The last event of each alert.
    fn last_events(&self) -> Vec<AlertEvent> {
        let mut last: Vec<AlertEvent> = Vec::new();
        for event in &self.noted().events {
            last.retain(|known| known.alert != event.alert);
            last.push(event.clone());
        }
        last
    }
}

impl Hands for TrialChannels {
    fn close(&self, closure: &Closure, now: UnixMicros) -> Closed {
        let mut noted = self.noted();
        if let Some(known) = &noted.known {
            if !known.contains(&closure.channel) {
                return Closed::NoSuchChannel;
            }
            let is_closed = |channel: &Arc<str>| {
                let mut holds = noted.holds.iter();
                holds.any(|held| held.channel == *channel && held.is_in_force(now))
            };
            let mut others = known.iter().filter(|&channel| *channel != closure.channel);
            if !closure.allow_last && others.all(is_closed) {
                return Closed::LastOf("*".into());
            }
        }
        let is_same = |held: &Held| held.channel == closure.channel && held.alert == closure.alert;
        noted
            .holds
            .retain(|held| held.is_in_force(now) && !is_same(held));
        noted.holds.push(Held {
            channel: Arc::clone(&closure.channel),
            alert: closure.alert.clone(),
            until: closure.until,
        });
        Closed::Done
    }

    fn reopen(&self, channel: &str, alert: &AlertId, _recovery: Recovery, _now: UnixMicros) {
        let is_meant = |held: &Held| *held.channel == *channel && held.alert == *alert;
        self.noted().holds.retain(|held| !is_meant(held));
    }

    fn free(&self, alert: &AlertId, _now: UnixMicros) {
        self.noted().holds.retain(|held| held.alert != *alert);
    }

    fn changed(&self, event: &AlertEvent) {
        self.noted().events.push(event.clone());
    }
}
