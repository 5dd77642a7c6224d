//! All groups: where an alert belongs, which are due, and what is to be told of them. It knows no
//! clock, no storage and no receiver.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::alert::{AlertEvent, AlertId, AlertState, Silence};
use crate::clock::UnixMicros;
use crate::config::{InhibitSettings, NotifySettings};
use crate::rules::Rule;

use super::deduplicate::Told;
use super::facts::{Facts, named_receivers};
use super::group::{Earlier, Flushed, Group, KeptBack};
use super::inhibit::{ClosedChannel, Inhibition};
use super::routes::Route;
use super::times::Times;

/// All groups.
#[derive(Debug)]
pub(super) struct Board {
    top: Option<Arc<Route>>,
    inhibit: Vec<InhibitSettings>,
    times: Times,
    /// Whether a receiver wants to know of what resolved, by its name.
    receivers: HashMap<Arc<str>, bool>,
    groups: BTreeMap<Arc<str>, Group>,
    /// The groups that an alert belongs to.
    belongs: HashMap<AlertId, HashSet<Arc<str>>>,
    /// What earlier runs told, of groups that are not there (yet).
    earlier: HashMap<Arc<str>, Vec<Earlier>>,
    /// The alerts that were told of as firing in those, by their fingerprints.
    earlier_firing: HashMap<u64, Vec<Arc<str>>>,
}

/// What decides whether something is kept back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) silences: &'a [Silence],
    pub(super) closed: &'a [ClosedChannel],
}

impl Board {
    pub(super) fn new(settings: &NotifySettings) -> Self {
        let receivers = settings.receivers.iter();
        Self {
            top: settings.routes.as_ref().map(Route::top),
            inhibit: settings.inhibit.clone(),
            times: Times::new(&settings.mute_times),
            receivers: receivers
                .map(|receiver| (Arc::clone(&receiver.name), receiver.send_resolved))
                .collect(),
            groups: BTreeMap::new(),
            belongs: HashMap::new(),
            earlier: HashMap::new(),
            earlier_firing: HashMap::new(),
        }
    }

    /// Takes over what an earlier run told a receiver of a group.
    pub(super) fn was_told(&mut self, group: &Arc<str>, earlier: Earlier) {
        for fingerprint in earlier.told.firing() {
            let groups = self.earlier_firing.entry(fingerprint).or_default();
            groups.push(Arc::clone(group));
        }
        let of_group = self.earlier.entry(Arc::clone(group)).or_default();
        of_group.push(earlier);
    }

    /// An alert changed. `past` says that it did so before this run, as its `at` tells.
    pub(super) fn accept(&mut self, event: &Arc<AlertEvent>, rule: Option<&Rule>, past: bool) {
        if event.state == AlertState::Pending {
            return;
        }
        let facts = Arc::new(Facts::of(event, rule));
        let places = self.places(&facts, rule);
        let mut belongs = self.belongs.remove(&event.alert).unwrap_or_default();
        for key in std::mem::take(&mut belongs) {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            let is_there = places.iter().any(|place| place.key == key);
            if is_there || event.state != AlertState::Firing || !group.let_go(&event.alert) {
                group.accept(event, &facts, past);
                belongs.insert(key);
            }
        }
        for place in places {
            if belongs.contains(&place.key) {
                continue;
            }
            // What is over makes no group, but where it may be news after a restart.
            if event.state != AlertState::Firing && !past {
                continue;
            }
            let key = Arc::clone(&place.key);
            let group = place.group(event.at);
            self.group(group).accept(event, &facts, past);
            belongs.insert(key);
        }
        for key in self.told_elsewhere(event) {
            if belongs.insert(Arc::clone(&key))
                && let Some(group) = self.earlier_group(&key, event.at)
            {
                self.group(group).accept(event, &facts, past);
            }
        }
        if !belongs.is_empty() {
            self.belongs.insert(event.alert.clone(), belongs);
        }
    }

    /// The group of this key, which is `new` where there is none.
    fn group(&mut self, new: Group) -> &mut Group {
        let earlier = &mut self.earlier;
        let key = Arc::clone(&new.key);
        self.groups.entry(Arc::clone(&key)).or_insert_with(|| {
            let mut group = new;
            for earlier in earlier.remove(&key).unwrap_or_default() {
                group.was_told(earlier);
            }
            group
        })
    }

    /// The groups in which an earlier run told that this alert fires, wherever it belongs now.
    fn told_elsewhere(&mut self, event: &AlertEvent) -> Vec<Arc<str>> {
        if self.earlier_firing.is_empty() {
            return Vec::new();
        }
        let found = self.earlier_firing.remove(&event.alert.fingerprint());
        found.unwrap_or_default()
    }

    /// A group that an earlier run told of, as far as it is known without an alert that belongs there:
    /// it is told how what it told ends.
    fn earlier_group(&self, key: &Arc<str>, at: UnixMicros) -> Option<Group> {
        let earlier = self.earlier.get(key)?;
        let top = self.top.as_ref()?;
        // A route that is no more leaves its groups to the topmost.
        let route = top.named(key).unwrap_or(top);
        let receivers = earlier.iter().map(|told| Arc::clone(&told.receiver));
        let facts = earlier.first().map(|told| told.told.facts.clone());
        Some(Group::new(
            Arc::clone(key),
            Arc::clone(route),
            facts.unwrap_or_default(),
            receivers.collect(),
            at,
        ))
    }

    /// When something is due next.
    pub(super) fn next_due(&self, now: UnixMicros) -> Option<UnixMicros> {
        let groups = self.groups.values();
        let dues = groups.map(|group| if group.is_due(now) { now } else { group.due });
        dues.min()
    }

    /// Looks at what is due.
    pub(super) fn flush(&mut self, now: UnixMicros, around: Around<'_>) -> Flushed {
        if !self.groups.values().any(|group| group.is_due(now)) {
            return Flushed::default();
        }
        let inhibition = {
            let firing = self.groups.values().flat_map(Group::firing);
            Inhibition::of(&self.inhibit, &firing, around.closed)
        };
        let active: Vec<&Silence> = around
            .silences
            .iter()
            .filter(|silence| silence.is_active(now))
            .collect();
        let kept_back = |event: &AlertEvent, facts: &Facts| {
            let mut silences = active.iter();
            if silences.any(|silence| silence.matches(&event.alert, event.severity, now)) {
                return Some(KeptBack::Silenced);
            }
            let inhibited = inhibition.inhibits(&event.alert, facts);
            inhibited.then_some(KeptBack::Inhibited)
        };
        let receivers = &self.receivers;
        let wishes = |name: &str| receivers.get(name).copied();
        let mut all = Flushed::default();
        let mut over = Vec::new();
        for group in self.groups.values_mut() {
            if !group.is_due(now) {
                continue;
            }
            if group.is_over(now) {
                over.push(Arc::clone(&group.key));
                continue;
            }
            if self.times.mute(&group.route, now) {
                all.kept_back.append(&mut group.postpone(now, &wishes));
                continue;
            }
            let mut flushed = group.flush(now, &wishes, &kept_back);
            all.tellings.append(&mut flushed.tellings);
            all.kept_back.append(&mut flushed.kept_back);
            for alert in flushed.left {
                if let Entry::Occupied(mut groups) = self.belongs.entry(alert) {
                    groups.get_mut().remove(&group.key);
                    if groups.get().is_empty() {
                        groups.remove();
                    }
                }
            }
        }
        for key in over {
            self.groups.remove(&key);
        }
        all
    }

    /// A receiver took a message.
    pub(super) fn delivered(
        &mut self,
        group: &str,
        receiver: &str,
        told: &Arc<Told>,
        reference: Option<&Arc<str>>,
    ) {
        if let Some(group) = self.groups.get_mut(group) {
            group.delivered(receiver, told, reference);
        }
    }

    /// What a receiver calls the first message of a group's conversation, where that is known by now.
    pub(super) fn reference(&self, group: &str, receiver: &str, told: &Told) -> Option<Arc<str>> {
        let known = self.groups.get(group);
        let known = known.and_then(|group| group.reference(receiver, told.thread));
        known.or_else(|| told.reference.clone())
    }

    fn places(&self, facts: &Facts, rule: Option<&Rule>) -> Vec<Place> {
        let Some(top) = &self.top else {
            return Vec::new();
        };
        let named = named_receivers(rule);
        let mut taken = top.taken(facts);
        if named.is_some() {
            // The rule says who, the route how.
            taken.truncate(1);
        }
        let places = taken
            .into_iter()
            .map(|route| Place::new(route, facts, named));
        places.collect()
    }
}

/// Where an alert belongs.
struct Place {
    key: Arc<str>,
    route: Arc<Route>,
    facts: Vec<(Arc<str>, Arc<str>)>,
    receivers: Vec<Arc<str>>,
}

impl Place {
    fn new(route: Arc<Route>, facts: &Facts, named: Option<&[Arc<str>]>) -> Self {
        use std::fmt::Write as _;

        let facts = facts.values(&route.group_by);
        let mut key = format!("{}:{{", route.name);
        for (index, (name, value)) in facts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(key, "{comma}{name}={value:?}");
        }
        key.push('}');
        if let Some(named) = named {
            let _ = write!(key, "@{}", named.join(","));
        }
        Self {
            key: key.into(),
            facts,
            receivers: named.map_or_else(|| route.receivers.clone(), <[_]>::to_vec),
            route,
        }
    }

    fn group(self, at: UnixMicros) -> Group {
        Group::new(self.key, self.route, self.facts, self.receivers, at)
    }
}

#[cfg(test)]
mod tests;
