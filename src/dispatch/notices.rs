//! What is told of channels' gates: who closed, probes and reopened which, whoever did it.
//!
//! Every change by an operator or an alert is news. Of the breaker it is that it closed a channel, that
//! it probes for the first time, and that the channel is open again; that a probe failed like the one
//! before is not. Changes of one channel are told together, and a channel that goes on flapping is told
//! of ever more rarely.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMicros;
use crate::config::NoticeSettings;
use crate::record::{ChannelEvent, GateState, Owner};

/// Most changes in one notice; of more the last ones are told.
const MOST: usize = 20;
/// The longest time between two notices of a channel that flaps.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// As far back as a restart looks for changes of a channel of which nothing was told yet, other than
/// holds that stand.
pub(super) const NEWS_FOR: Duration = Duration::from_secs(10 * 60);

/// What was told of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldChannel {
    /// When.
    at: UnixMicros,
    /// The last change that was told, or was no news.
    through: UnixMicros,
    /// Whether the breaker holds it, and what of that was told.
    breaker: BreakerTold,
    /// The time until the next, in microseconds; longer the more it flaps.
    interval_us: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum BreakerTold {
    /// It does not hold it.
    #[default]
    Open,
    /// That it closed it.
    Closed,
    /// That it probes, too.
    Probing,
}

/// A channel's changes that wait to be told.
#[derive(Debug, Default)]
struct Channel {
    told: ToldChannel,
    waiting: VecDeque<ChannelEvent>,
    more: usize,
    due: Option<UnixMicros>,
}

/// A notice.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) channel: Arc<str>,
    pub(super) events: Vec<ChannelEvent>,
    /// How many there were before those.
    pub(super) more: usize,
    pub(super) told: ToldChannel,
}

/// All channels' notices.
#[derive(Debug)]
pub(super) struct Notices {
    settings: NoticeSettings,
    channels: BTreeMap<Arc<str>, Channel>,
    /// Changes that were read after a restart, which may be heard of as well.
    read: HashSet<ChannelEvent>,
}

impl Notices {
    pub(super) fn new(settings: &NoticeSettings) -> Self {
        Self {
            settings: settings.clone(),
            channels: BTreeMap::new(),
            read: HashSet::new(),
        }
    }

    /// Whom they are for.
    pub(super) fn receivers(&self) -> &[Arc<str>] {
        &self.settings.channels
    }

    /// Takes over what an earlier run told.
    pub(super) fn was_told(&mut self, channel: &str, told: ToldChannel) {
        let known = self.channels.entry(channel.into()).or_default();
        if known.told.through <= told.through {
            known.told = told;
        }
    }

    /// A gate changed before this run: as now, but for what was told, and for what is old and over.
    pub(super) fn accept_past(&mut self, event: &ChannelEvent, holds: bool, now: UnixMicros) {
        let told = self.channels.get(&event.channel).map(|known| &known.told);
        let is_new = match told {
            Some(told) => event.at > told.through,
            None => holds || event.at > now.minus(NEWS_FOR),
        };
        if is_new && self.read.insert(event.clone()) {
            self.note(event);
        }
    }

    /// A gate changed.
    pub(super) fn accept(&mut self, event: &ChannelEvent) {
        if !self.read.remove(event) {
            self.note(event);
        }
    }

    fn note(&mut self, event: &ChannelEvent) {
        if self.settings.channels.is_empty() {
            return;
        }
        let known = self.channels.entry(Arc::clone(&event.channel)).or_default();
        let is_news = known.told.breaker.next(event);
        if known.waiting.is_empty() {
            known.told.through = known.told.through.max(event.at);
        }
        if !is_news {
            return;
        }
        known.waiting.push_back(event.clone());
        if known.waiting.len() > MOST {
            known.waiting.pop_front();
            known.more += 1;
        }
        let interval = Duration::from_micros(known.told.interval_us);
        let due = event
            .at
            .plus(self.settings.wait)
            .max(known.told.at.plus(interval));
        known.due.get_or_insert(due);
    }

    /// When something is due next. A time that is further away than any wait was set by another clock.
    pub(super) fn next_due(&self, now: UnixMicros) -> Option<UnixMicros> {
        let longest = self.longest();
        let dues = self.channels.values().filter_map(|known| known.due);
        dues.map(|due| if due.since(now) > longest { now } else { due })
            .min()
    }

    fn longest(&self) -> Duration {
        let NoticeSettings { wait, interval, .. } = &self.settings;
        LONGEST_INTERVAL.max(*wait).max(*interval)
    }

    /// What is to be told now.
    pub(super) fn flush(&mut self, now: UnixMicros) -> Vec<Notice> {
        let mut notices = Vec::new();
        let longest = self.longest();
        for (channel, known) in &mut self.channels {
            let waits = |due: UnixMicros| due > now && due.since(now) <= longest;
            if known.due.is_none_or(waits) {
                continue;
            }
            known.due = None;
            let Some(last) = known.waiting.back().map(|event| event.at) else {
                continue;
            };
            let usual = self.settings.interval;
            let before = Duration::from_micros(known.told.interval_us);
            // It changed again as soon as it could be told: it flaps.
            let flaps = now.since(known.told.at) <= before.saturating_mul(2);
            let interval = if flaps {
                before.saturating_mul(2).min(LONGEST_INTERVAL).max(usual)
            } else {
                usual
            };
            known.told.at = now;
            known.told.through = known.told.through.max(last);
            known.told.interval_us = crate::clock::micros(interval);
            notices.push(Notice {
                channel: Arc::clone(channel),
                events: known.waiting.drain(..).collect(),
                more: std::mem::take(&mut known.more),
                told: known.told.clone(),
            });
        }
        notices
    }
}

impl BreakerTold {
    /// Whether a change is news, and what is told with it.
    fn next(&mut self, event: &ChannelEvent) -> bool {
        if event.owner != Owner::Breaker {
            return true;
        }
        // A hold whose time is over from the start only makes one request go first.
        let is_due = event.until.is_some_and(|until| until <= event.at);
        let next = match event.hold {
            GateState::Open => Self::Open,
            GateState::Closed if *self == Self::Open && !is_due => Self::Closed,
            GateState::Probing if *self == Self::Closed => Self::Probing,
            GateState::Closed | GateState::Probing => return false,
        };
        std::mem::replace(self, next) != next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::GateReason;

    fn at(seconds: i64) -> UnixMicros {
        UnixMicros(seconds * 1_000_000)
    }

    fn event(owner: Owner, hold: GateState, seconds: i64) -> ChannelEvent {
        ChannelEvent {
            at: at(seconds),
            channel: "a".into(),
            owner,
            hold,
            state: hold,
            reason: GateReason::Operator,
            until: None,
            who: None,
            note: None,
        }
    }

    fn breaker(hold: GateState, seconds: i64) -> ChannelEvent {
        event(Owner::Breaker, hold, seconds)
    }

    fn notices() -> Notices {
        Notices::new(&NoticeSettings {
            channels: vec!["ops".into()],
            ..NoticeSettings::default()
        })
    }

    /// When something is told up to a moment, and of how many changes.
    fn told(notices: &mut Notices, until: i64) -> Vec<(i64, usize)> {
        let mut told = Vec::new();
        while let Some(due) = notices.next_due(at(until)).filter(|due| *due <= at(until)) {
            let flushed = notices.flush(due);
            told.extend(
                flushed
                    .iter()
                    .map(|notice| (due.0 / 1_000_000, notice.events.len())),
            );
        }
        told
    }

    #[test]
    fn a_breaker_that_goes_on_trying_is_told_of_once() {
        use GateState::{Closed, Open, Probing};
        let mut notices = notices();
        let mut count = 0;
        notices.accept(&breaker(Closed, 0));
        assert_eq!(told(&mut notices, 29), [(5, 1)]);
        for minute in 1..600 {
            notices.accept(&breaker(Probing, minute * 60));
            notices.accept(&breaker(Closed, minute * 60 + 1));
            count += told(&mut notices, minute * 60 + 59).len();
        }
        assert_eq!(count, 1);
        notices.accept(&breaker(Open, 36_000));
        assert_eq!(told(&mut notices, 40_000), [(36_005, 1)]);
    }

    #[test]
    fn what_others_do_is_told_and_what_happens_together_is_told_together() {
        use GateState::{Closed, Open};
        let mut notices = notices();
        notices.accept(&event(Owner::Operator, Closed, 0));
        notices.accept(&event(Owner::Alert("Spend".into()), Closed, 3));
        notices.accept(&event(Owner::Operator, Open, 20));
        assert_eq!(told(&mut notices, 1000), [(5, 3)]);
        // Another channel has a time of its own.
        let mut other = event(Owner::Operator, Closed, 6);
        other.channel = "b".into();
        notices.accept(&other);
        notices.accept(&event(Owner::Operator, Closed, 30));
        assert_eq!(told(&mut notices, 1000), [(11, 1), (65, 1)]);
    }

    #[test]
    fn one_that_flaps_is_told_of_ever_more_rarely_and_only_its_last_changes() {
        let mut notices = notices();
        let mut at_all = Vec::new();
        for turn in 0..8640 {
            let hold = if turn % 2 == 0 {
                GateState::Closed
            } else {
                GateState::Open
            };
            notices.accept(&breaker(hold, turn * 10));
            at_all.extend(told(&mut notices, turn * 10 + 9));
        }
        // A day of flapping every ten seconds.
        assert!((40..80).contains(&at_all.len()), "{at_all:?}");
        assert!(at_all.iter().all(|(_, events)| *events <= MOST));
    }

    #[test]
    fn a_restart_tells_what_was_not_told() {
        let mut first = notices();
        first.accept(&event(Owner::Operator, GateState::Closed, 1000));
        let notice = first.flush(at(1005)).remove(0);
        let mut second = notices();
        second.was_told("a", notice.told);
        let now = at(2000);
        second.accept_past(&event(Owner::Operator, GateState::Closed, 1000), true, now);
        assert_eq!(second.next_due(now), None);
        let opened = event(Owner::Operator, GateState::Open, 1200);
        second.accept_past(&opened, false, now);
        assert!(second.next_due(now).is_some());
        // Heard of as well, it is one change.
        second.accept(&opened);
        assert_eq!(second.flush(now).remove(0).events, [opened]);
        // Of one of which nothing was ever told, only what is recent or stands.
        let mut third = notices();
        third.accept_past(&event(Owner::Operator, GateState::Open, 1000), false, now);
        assert_eq!(third.next_due(now), None);
        third.accept_past(&event(Owner::Operator, GateState::Open, 1500), false, now);
        assert!(third.next_due(now).is_some());
        let mut fourth = notices();
        fourth.accept_past(&event(Owner::Operator, GateState::Closed, 1000), true, now);
        assert!(fourth.next_due(now).is_some());
    }
}
