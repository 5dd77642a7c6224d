//! The order in which notifications wait; found by group and by deadline, too, however many there are.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Waiting;
use crate::alert::{Notification, NotificationKind};
use crate::clock::UnixMicros;
use crate::dispatch::letters::whole_key;

/// Failed tries with others before a notification is tried by itself, and after those that did not
/// fail as often.
pub(super) const TOGETHER: u32 = 3;

/// What waits, in order.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// What may be merged, by place.
    together: BTreeMap<u64, Waiting>,
    /// What is sent by itself, by place.
    alone: BTreeMap<u64, Waiting>,
    /// The place of what a newer one may replace, by its group: there is one at most.
    groups: HashMap<(NotificationKind, Arc<str>), u64>,
    /// The places of parts of what a group tells, by the group.
    parts: HashMap<(NotificationKind, Arc<str>), BTreeSet<u64>>,
    deadlines: BTreeSet<(UnixMicros, u64)>,
    /// The next free place.
    next: u64,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.together.len() + self.alone.len()
    }

    /// How many may be merged.
    pub(super) fn mergeable(&self) -> usize {
        self.together.len()
    }

    /// At the end.
    pub(super) fn push(&mut self, mut new: Waiting) {
        new.place = self.next;
        self.next += 1;
        self.insert(new);
    }

    /// Where it was before it was taken out.
    pub(super) fn insert(&mut self, waiting: Waiting) {
        let (place, notification) = (waiting.place, &waiting.notification);
        self.deadlines.insert((notification.deadline, place));
        if let Some(whole) = whole_of_part(notification) {
            self.parts.entry(whole).or_default().insert(place);
        }
        if let Some(group) = group(notification) {
            self.groups.insert(group, place);
        }
        if waiting.is_alone() {
            self.alone.insert(place, waiting);
        } else {
            self.together.insert(place, waiting);
        }
    }

    /// What a newer one would replace.
    pub(super) fn replaceable(&self, newer: &Notification) -> Option<&Waiting> {
        let place = self.groups.get(&group(newer)?)?;
        self.together.get(place).or_else(|| self.alone.get(place))
    }

    /// The parts of what the group of a whole one told before, taken out.
    pub(super) fn take_parts(&mut self, newer: &Notification) -> Vec<Waiting> {
        let Some(whole) = group(newer) else {
            return Vec::new();
        };
        let Some(places) = self.parts.get(&whole) else {
            return Vec::new();
        };
        let is_older = |place: &&u64| {
            let part = self.together.get(place).or_else(|| self.alone.get(place));
            // The parts of one telling are of one moment.
            part.is_some_and(|part| part.notification.at != newer.at)
        };
        let older: Vec<u64> = places.iter().filter(is_older).copied().collect();
        older
            .into_iter()
            .filter_map(|place| self.take(place))
            .collect()
    }

    /// Whether parts wait of what the group of a whole one tells.
    pub(super) fn has_parts_of(&self, whole: &Notification) -> bool {
        group(whole).is_some_and(|whole| self.parts.contains_key(&whole))
    }

    /// What tells with its own parts all that an older part does, taken out.
    pub(super) fn take_newer_whole(&mut self, part: &Notification) -> Option<Waiting> {
        let place = *self.groups.get(&whole_of_part(part)?)?;
        let whole = self.together.get(&place).or_else(|| self.alone.get(&place));
        whole.filter(|whole| whole.notification.at != part.at)?;
        self.take(place)
    }

    /// The same as [`replaceable`](Self::replaceable), taken out.
    pub(super) fn take_replaceable(&mut self, newer: &Notification) -> Option<Waiting> {
        let place = *self.groups.get(&group(newer)?)?;
        self.take(place)
    }

    /// The place of what is next: what failed least, then what came first; nothing while all that waits
    /// pauses by itself.
    pub(super) fn first(&self, clock: Instant) -> Option<u64> {
        let together = self.together.keys().next().map(|place| (0, *place));
        let ready = self.alone.values();
        let ready = ready.filter(|waiting| waiting.pause(clock).is_zero());
        let alone = ready.map(|waiting| (waiting.in_doubt(), waiting.place));
        let first = together.into_iter().chain(alone).min();
        first.map(|(_, place)| place)
    }

    /// How long until the first of those that pause by themselves may be tried.
    pub(super) fn until_ready(&self, clock: Instant) -> Option<Duration> {
        let pauses = self.alone.values().map(|waiting| waiting.pause(clock));
        pauses.min()
    }

    /// Whether what is there is sent by itself.
    pub(super) fn is_alone(&self, place: u64) -> bool {
        self.alone.contains_key(&place)
    }

    /// The first ones of those that may be merged, taken out.
    pub(super) fn take_together(&mut self, most: usize) -> Vec<Waiting> {
        let places: Vec<u64> = self.together.keys().take(most).copied().collect();
        let taken = places.into_iter().filter_map(|place| self.take(place));
        taken.collect()
    }

    pub(super) fn take(&mut self, place: u64) -> Option<Waiting> {
        let taken = self.together.remove(&place);
        let taken = taken.or_else(|| self.alone.remove(&place))?;
        let notification = &taken.notification;
        self.deadlines.remove(&(notification.deadline, place));
        if let Some(whole) = whole_of_part(notification)
            && let Entry::Occupied(mut parts) = self.parts.entry(whole)
        {
            parts.get_mut().remove(&place);
            if parts.get().is_empty() {
                parts.remove();
            }
        }
        if let Some(group) = group(notification) {
            self.groups.remove(&group);
        }
        Some(taken)
    }

    /// All of it, taken out.
    pub(super) fn take_all(&mut self) -> Vec<Waiting> {
        let mut all = self.take_together(usize::MAX);
        let places: Vec<u64> = self.alone.keys().copied().collect();
        all.extend(places.into_iter().filter_map(|place| self.take(place)));
        all
    }

    /// What passed its deadline, taken out.
    pub(super) fn take_overdue(&mut self, now: UnixMicros) -> Vec<Waiting> {
        let mut overdue = Vec::new();
        while let Some(&(deadline, place)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            overdue.extend(self.take(place));
        }
        overdue
    }

    pub(super) fn first_deadline(&self) -> Option<UnixMicros> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Something was taken. What failed with others only may have failed for one of them, or for the
    /// receiver's sake: it may be merged again, once.
    pub(super) fn absolve(&mut self) {
        let of_others = |waiting: &&Waiting| {
            !waiting.refused && !waiting.absolved && waiting.failed == TOGETHER
        };
        let places = self.alone.values().filter(of_others);
        let places: Vec<u64> = places.map(|waiting| waiting.place).collect();
        for place in places {
            if let Some(mut waiting) = self.take(place) {
                waiting.failed = TOGETHER - 1;
                waiting.absolved = true;
                waiting.not_before = None;
                self.insert(waiting);
            }
        }
    }
}

/// The group of which it is a part.
fn whole_of_part(notification: &Notification) -> Option<(NotificationKind, Arc<str>)> {
    let (kind, own) = group(notification)?;
    let whole = whole_key(&own);
    (*whole != *own).then(|| (kind, whole.into()))
}

/// By what a newer one replaces it; nothing of what each one tells by itself.
fn group(notification: &Notification) -> Option<(NotificationKind, Arc<str>)> {
    let kind = notification.kind;
    let says_all = matches!(
        kind,
        NotificationKind::Alert | NotificationKind::Undelivered
    );
    says_all.then(|| (kind, Arc::clone(&notification.group)))
}
