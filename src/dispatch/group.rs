//! A group: alerts that are told together, when that is due, and what of them is news for whom.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::alert::{AlertEvent, AlertId, AlertState, NotifyReason, Severity};
use crate::clock::UnixMicros;
use crate::notify::content::AlertChange;

use super::deduplicate::{Current, Decision, Told, Wishes, decide, told_after};
use super::facts::Facts;
use super::routes::Route;

/// How long what is over is remembered as told: as far back as a restart reads events again.
pub(super) const REMEMBERED: Duration = Duration::from_secs(2 * 3600);

/// Why an alert is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptBack {
    Silenced,
    Inhibited,
    Muted,
}

/// Alerts that are told together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: Arc<str>,
    pub(super) route: Arc<Route>,
    /// What its alerts have in common by the route's `group_by`.
    pub(super) facts: Vec<(Arc<str>, Arc<str>)>,
    /// Who is told.
    pub(super) receivers: Vec<Arc<str>>,
    members: BTreeMap<AlertId, Member>,
    /// When it is looked at next.
    pub(super) due: UnixMicros,
    /// When it was looked at last.
    flushed_at: Option<UnixMicros>,
    told: HashMap<Arc<str>, Listener>,
    /// Receivers that would have been told something in the mute time it is.
    muted: HashSet<Arc<str>>,
}

/// An alert of a group.
#[derive(Clone, Debug)]
struct Member {
    fingerprint: u64,
    event: Arc<AlertEvent>,
    facts: Arc<Facts>,
    came_and_went: bool,
}

/// What a receiver knows of a group.
#[derive(Debug, Default)]
struct Listener {
    /// What it was told, the notifications that wait included.
    told: Option<Arc<Told>>,
    /// What it took.
    delivered: Option<Arc<Told>>,
    /// Alerts that are over and were told in notifications that it did not take yet. The next one tells
    /// them too, as it takes the place of one that waits.
    owed: BTreeMap<u64, Arc<AlertEvent>>,
}

/// What an earlier run told a receiver of a group.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    pub(super) receiver: Arc<str>,
    pub(super) told: Arc<Told>,
    /// Whether the receiver took it.
    pub(super) delivered: bool,
    /// Alerts that are over by it, where it did not.
    pub(super) owed: Vec<Arc<AlertEvent>>,
}

/// What a receiver is to be told of a group.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    pub(super) receiver: Arc<str>,
    pub(super) group: Arc<str>,
    pub(super) facts: Vec<(Arc<str>, Arc<str>)>,
    pub(super) reason: NotifyReason,
    /// Each alert that concerns it.
    pub(super) alerts: Vec<AlertNews>,
    /// What is told with it.
    pub(super) told: Arc<Told>,
    /// The notification's id.
    pub(super) id: Uuid,
    pub(super) now: UnixMicros,
}

/// What is new about an alert since a receiver took the last message.
#[derive(Clone, Debug)]
pub(super) struct AlertNews {
    pub(super) event: Arc<AlertEvent>,
    pub(super) change: AlertChange,
    /// At which limit the receiver knows it as firing, where it does.
    pub(super) fired_as: Option<Severity>,
}

/// What came of looking at a group.
#[derive(Debug, Default)]
pub(super) struct Flushed {
    pub(super) tellings: Vec<Telling>,
    /// Receivers that would have been told something, had nothing kept it back.
    pub(super) kept_back: Vec<(Arc<str>, KeptBack)>,
    /// Alerts that are over and belong to the group no more.
    pub(super) left: Vec<AlertId>,
}

impl Group {
    /// Of alerts of which the first came at `at`.
    pub(super) fn new(
        key: Arc<str>,
        route: Arc<Route>,
        facts: Vec<(Arc<str>, Arc<str>)>,
        receivers: Vec<Arc<str>>,
        at: UnixMicros,
    ) -> Self {
        Self {
            due: at.plus(route.group_wait),
            key,
            route,
            facts,
            receivers,
            members: BTreeMap::new(),
            flushed_at: None,
            told: HashMap::new(),
            muted: HashSet::new(),
        }
    }

    /// Takes over what an earlier run told a receiver.
    pub(super) fn was_told(&mut self, earlier: Earlier) {
        self.flushed_at = self.flushed_at.max(Some(earlier.told.at));
        if let Some(at) = self.flushed_at {
            self.due = at.plus(self.route.group_interval);
        }
        let listener = self.told.entry(earlier.receiver).or_default();
        listener.delivered = earlier.delivered.then(|| Arc::clone(&earlier.told));
        listener.told = Some(earlier.told);
        let owed = earlier.owed.into_iter();
        listener
            .owed
            .extend(owed.map(|event| (event.alert.fingerprint(), event)));
    }

    /// A receiver took a message.
    pub(super) fn delivered(
        &mut self,
        receiver: &str,
        told: &Arc<Told>,
        reference: Option<&Arc<str>>,
    ) {
        let Some(listener) = self.told.get_mut(receiver) else {
            return;
        };
        listener.delivered = Some(Arc::clone(told));
        listener
            .owed
            .retain(|fingerprint, event| !told.knows(*fingerprint, event));
        let Some(reference) = reference else { return };
        // The first message of a conversation is what the others are told under.
        for known in [&mut listener.told, &mut listener.delivered] {
            let known = known.as_mut().filter(|known| known.thread == told.thread);
            if let Some(known) = known.filter(|known| known.reference.is_none()) {
                Arc::make_mut(known).reference = Some(Arc::clone(reference));
            }
        }
    }

    /// What a receiver calls the first message of its conversation.
    pub(super) fn reference(&self, receiver: &str, thread: Uuid) -> Option<Arc<str>> {
        let told = self.told.get(receiver)?.told.as_ref()?;
        told.reference.clone().filter(|_| told.thread == thread)
    }

    /// Whether somebody was told that this alert fires.
    pub(super) fn told_firing(&self, fingerprint: u64) -> bool {
        let fired = |listener: &Listener| {
            let told = listener.told.as_ref();
            told.is_some_and(|told| told.fired(fingerprint))
        };
        self.told.values().any(fired)
    }

    /// An alert of it changed. One that is over without having been a member is of no interest, unless
    /// it is `past`: read again after a restart, and told only where it matters.
    pub(super) fn accept(&mut self, event: &Arc<AlertEvent>, facts: &Arc<Facts>, past: bool) {
        let fingerprint = event.alert.fingerprint();
        let is_firing = event.state == AlertState::Firing;
        let new = Member {
            fingerprint,
            event: Arc::clone(event),
            facts: Arc::clone(facts),
            came_and_went: false,
        };
        let told_firing = self.told_firing(fingerprint);
        match self.members.get_mut(&event.alert) {
            Some(member) => {
                let fired = member.event.state == AlertState::Firing || member.came_and_went;
                *member = Member {
                    came_and_went: fired && !is_firing,
                    ..new
                };
            }
            None if is_firing || told_firing => {
                self.members.insert(event.alert.clone(), new);
            }
            None if past && event.fired_at.is_some() => {
                let came_and_went = Member {
                    came_and_went: true,
                    ..new
                };
                self.members.insert(event.alert.clone(), came_and_went);
            }
            None => {}
        }
    }

    /// An alert belongs elsewhere now. `false` where it stays, because somebody was told here.
    pub(super) fn let_go(&mut self, alert: &AlertId) -> bool {
        let told = self
            .members
            .get(alert)
            .is_some_and(|member| self.told_firing(member.fingerprint));
        if !told {
            self.members.remove(alert);
        }
        !told
    }

    /// Its alerts that fire.
    pub(super) fn firing(&self) -> impl Iterator<Item = (&AlertId, &Facts)> + Clone {
        let firing = |(_, member): &(&AlertId, &Member)| member.event.state == AlertState::Firing;
        let members = self.members.iter().filter(firing);
        members.map(|(alert, member)| (alert, &*member.facts))
    }

    /// Whether it is to be looked at. A time that is further away than any wait was set by another clock.
    pub(super) fn is_due(&self, now: UnixMicros) -> bool {
        let waits = self.route.group_wait.max(self.route.group_interval);
        self.due <= now || self.due.since(now) > waits
    }

    /// Nothing is to be sent now: it is looked at again before long. Returns who would have been told,
    /// each once in a mute time.
    pub(super) fn postpone(
        &mut self,
        now: UnixMicros,
        wishes: &dyn Fn(&str) -> Option<bool>,
    ) -> Vec<(Arc<str>, KeptBack)> {
        const A_WHILE: Duration = Duration::from_secs(60);
        self.due = now.plus(self.route.group_interval.min(A_WHILE));
        let alerts: Vec<Current> = self.members.values().map(Member::current).collect();
        let mut kept_back = Vec::new();
        for receiver in &self.receivers {
            let told = self.told.get(receiver);
            let told = told.and_then(|known| known.told.as_deref());
            let Some(wishes) = self.wishes(receiver, wishes) else {
                continue;
            };
            let would_tell = matches!(decide(told, &alerts, wishes, now), Decision::Tell(_));
            if would_tell && self.muted.insert(Arc::clone(receiver)) {
                kept_back.push((Arc::clone(receiver), KeptBack::Muted));
            }
        }
        kept_back
    }

    fn wishes(&self, receiver: &str, wishes: &dyn Fn(&str) -> Option<bool>) -> Option<Wishes> {
        Some(Wishes {
            repeat_interval: self.route.repeat_interval,
            send_resolved: wishes(receiver)?,
        })
    }

    /// Looks at it: what is to be told whom. `kept_back` says what keeps an alert from being told.
    pub(super) fn flush(
        &mut self,
        now: UnixMicros,
        wishes: &dyn Fn(&str) -> Option<bool>,
        kept_back: &dyn Fn(&AlertEvent, &Facts) -> Option<KeptBack>,
    ) -> Flushed {
        let mut by = None;
        let alerts: Vec<Current> = self
            .members
            .values()
            .map(|member| {
                let kept = kept_back(&member.event, &member.facts);
                by = by.or(kept);
                Current {
                    kept_back: kept.is_some(),
                    ..member.current()
                }
            })
            .collect();
        let mut flushed = Flushed::default();
        for receiver in &self.receivers {
            let Some(wishes) = self.wishes(receiver, wishes) else {
                continue;
            };
            let listener = self.told.entry(Arc::clone(receiver)).or_default();
            match decide(listener.told.as_deref(), &alerts, wishes, now) {
                Decision::Tell(reason) => {
                    let id = Uuid::now_v7();
                    let before = listener.told.as_deref();
                    let told = Arc::new(Told {
                        facts: self.facts.clone(),
                        ..told_after(before, &alerts, id, REMEMBERED, now)
                    });
                    let news = listener.news(&alerts, wishes);
                    listener.owe(&news);
                    flushed.tellings.push(Telling {
                        receiver: Arc::clone(receiver),
                        group: Arc::clone(&self.key),
                        facts: self.facts.clone(),
                        reason,
                        alerts: news,
                        told: Arc::clone(&told),
                        id,
                        now,
                    });
                    listener.told = Some(told);
                }
                Decision::Skip(_) => {
                    listener.forget_ended(&alerts);
                    let free = |alert: &Current| Current {
                        kept_back: false,
                        ..alert.clone()
                    };
                    // Asked once more only where something was kept back.
                    if let Some(by) = by {
                        let free: Vec<_> = alerts.iter().map(free).collect();
                        let told = decide(listener.told.as_deref(), &free, wishes, now);
                        if matches!(told, Decision::Tell(_)) {
                            flushed.kept_back.push((Arc::clone(receiver), by));
                        }
                    }
                }
            }
        }
        self.members.retain(|alert, member| {
            let stays = member.event.state == AlertState::Firing;
            if !stays {
                flushed.left.push(alert.clone());
            }
            stays
        });
        self.muted.clear();
        self.flushed_at = Some(now);
        self.due = now.plus(self.route.group_interval);
        flushed
    }

    /// Whether there is nothing left to tell, and nothing left to wait for.
    pub(super) fn is_over(&self, now: UnixMicros) -> bool {
        let waited = |at: UnixMicros| now.since(at) >= self.route.group_interval;
        self.members.is_empty() && self.flushed_at.is_none_or(waited)
    }
}

impl Member {
    /// As it is, with nothing that keeps it back.
    fn current(&self) -> Current {
        Current {
            fingerprint: self.fingerprint,
            event: Arc::clone(&self.event),
            came_and_went: self.came_and_went,
            kept_back: false,
        }
    }
}

impl Listener {
    /// What concerns a receiver of these alerts, and of those that it is owed, since it took the last
    /// message.
    fn news(&self, alerts: &[Current], wishes: Wishes) -> Vec<AlertNews> {
        let owed = self.owed.iter().filter(|(fingerprint, _)| {
            let mut alerts = alerts.iter();
            !alerts.any(|alert| alert.fingerprint == **fingerprint)
        });
        let owed = owed.map(|(fingerprint, event)| Current {
            fingerprint: *fingerprint,
            event: Arc::clone(event),
            came_and_went: true,
            kept_back: false,
        });
        let all = alerts.iter().cloned().chain(owed);
        all.filter_map(|alert| self.news_of(&alert, wishes))
            .collect()
    }

    fn news_of(&self, alert: &Current, wishes: Wishes) -> Option<AlertNews> {
        let delivered = self.delivered.as_deref();
        let change = alert.change(delivered).or_else(|| {
            // It was told as firing in a message that still waits, and is over; or its end was.
            let told = alert.change(self.told.as_deref());
            let owed = self.owed.contains_key(&alert.fingerprint);
            (told.is_some() || owed).then_some(AlertChange::CameAndWent)
        })?;
        let unwanted = change == AlertChange::Resolved && !wishes.send_resolved;
        (!unwanted).then(|| AlertNews {
            event: Arc::clone(&alert.event),
            change,
            fired_as: delivered.and_then(|told| told.fired_as(alert.fingerprint)),
        })
    }

    /// Notes what of this is over, until the receiver took it.
    fn owe(&mut self, news: &[AlertNews]) {
        for news in news {
            let fingerprint = news.event.alert.fingerprint();
            if news.event.state == AlertState::Firing {
                self.owed.remove(&fingerprint);
            } else {
                self.owed.insert(fingerprint, Arc::clone(&news.event));
            }
        }
    }

    /// What is over is known to be, though nobody was told.
    fn forget_ended(&mut self, alerts: &[Current]) {
        for known in [&mut self.told, &mut self.delivered].into_iter().flatten() {
            if alerts.iter().any(|alert| known.ends(alert)) {
                Arc::make_mut(known).end(alerts);
            }
        }
    }
}
