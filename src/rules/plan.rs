//! Which alerts a request concerns, found once for each combination of what rules look at.
//!
//! A request costs one lookup by hash. Only a combination that was not seen before is matched against
//! rules, and only against those that could fit: rules that name a channel, a key or a model outright
//! are found by that name.

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt as _};
use smallvec::SmallVec;

use super::definition::{Dimension, Rule};
use super::series::Series;
use crate::record::{Api, Dimensions, ModelNames};

/// Combinations that are remembered; beyond, all are forgotten and found anew.
const MOST_PLANS: usize = 1 << 16;

/// What a request concerns.
#[derive(Debug)]
pub(super) struct Plan {
    key: PlanKey,
    /// Every alert, in the order of their numbers.
    pub(super) series: Box<[Arc<Series>]>,
    /// Those of them that are asked before a request goes up.
    pub(super) asked: Box<[Arc<Series>]>,
    /// Whether one of these wants to know what the request may use.
    pub(super) wants_worst: bool,
}

impl Plan {
    pub(super) fn new(key: PlanKey, mut series: Vec<Arc<Series>>) -> Self {
        // In one order for all requests: locks of several are taken in it.
        series.sort_by_key(|series| series.number);
        let asked: Vec<_> = series
            .iter()
            .filter(|series| series.is_asked())
            .map(Arc::clone)
            .collect();
        Self {
            key,
            wants_worst: asked.iter().any(|series| series.rule.is_budget()),
            asked: asked.into(),
            series: series.into(),
        }
    }
}

/// What rules look at, of one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlanKey {
    channel: Box<str>,
    api: Api,
    key: Option<Box<str>>,
    model: [Option<Box<str>>; 4],
    /// The values of the tags that rules look at, in their order.
    tags: SmallVec<[Option<Box<str>>; 2]>,
}

impl PlanKey {
    fn of(of: &Dimensions<'_>, tags: &[Arc<str>]) -> Self {
        let ModelNames {
            asked,
            meant,
            called,
            served,
        } = of.model;
        Self {
            channel: of.channel.into(),
            api: of.api,
            key: of.key.map(Into::into),
            model: [asked, meant, called, served].map(|name| name.map(Into::into)),
            tags: tags
                .iter()
                .map(|name| tag(of, name).map(Into::into))
                .collect(),
        }
    }

    fn is_of(&self, of: &Dimensions<'_>, tags: &[Arc<str>]) -> bool {
        let ModelNames {
            asked,
            meant,
            called,
            served,
        } = of.model;
        *self.channel == *of.channel
            && self.api == of.api
            && self.key.as_deref() == of.key
            && self
                .model
                .iter()
                .map(Option::as_deref)
                .eq([asked, meant, called, served])
            && self
                .tags
                .iter()
                .map(Option::as_deref)
                .eq(tags.iter().map(|name| tag(of, name)))
    }
}

fn tag<'a>(of: &Dimensions<'a>, name: &str) -> Option<&'a str> {
    of.tags?.get(name).map(String::as_str)
}

/// The plans that were made.
#[derive(Debug)]
pub(super) struct Plans {
    by_hash: RwLock<HashMap<u64, Arc<Plan>>>,
    hasher: RandomState,
    /// Names of the tags that rules look at.
    tags: Box<[Arc<str>]>,
}

impl Plans {
    pub(super) fn new(rules: &[Arc<Rule>]) -> Self {
        let mut tags: Vec<_> = rules
            .iter()
            .flat_map(|rule| {
                let grouped = rule.by.iter().filter_map(|by| match by {
                    Dimension::Tag(name) => Some(Arc::clone(name)),
                    _ => None,
                });
                grouped.chain(rule.matcher.tags.keys().map(Arc::clone))
            })
            .collect();
        tags.sort();
        tags.dedup();
        Self {
            by_hash: RwLock::new(HashMap::new()),
            hasher: RandomState::default(),
            tags: tags.into(),
        }
    }

    /// The plan of such a request; `make` finds the alerts where it is a new one.
    pub(super) fn of(
        &self,
        of: &Dimensions<'_>,
        make: impl FnOnce() -> Vec<Arc<Series>>,
    ) -> Arc<Plan> {
        let hash = self.hash(of);
        let known = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = known.get(&hash)
            && plan.key.is_of(of, &self.tags)
        {
            return Arc::clone(plan);
        }
        drop(known);
        let plan = Arc::new(Plan::new(PlanKey::of(of, &self.tags), make()));
        let mut known = self.by_hash.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_PLANS {
            known.clear();
        }
        // Of two with one hash the later is remembered.
        known.insert(hash, Arc::clone(&plan));
        plan
    }

    /// Forgets every plan.
    pub(super) fn clear(&self) {
        let mut known = self.by_hash.write().unwrap_or_else(PoisonError::into_inner);
        known.clear();
    }

    fn hash(&self, of: &Dimensions<'_>) -> u64 {
        let ModelNames {
            asked,
            meant,
            called,
            served,
        } = of.model;
        let mut tags = SmallVec::<[Option<&str>; 4]>::new();
        tags.extend(self.tags.iter().map(|name| tag(of, name)));
        self.hasher.hash_one((
            of.channel, of.api, of.key, asked, meant, called, served, tags,
        ))
    }
}

/// Rules by what they name outright.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_channel: HashMap<Box<str>, Vec<usize>>,
    by_key: HashMap<Box<str>, Vec<usize>>,
    by_model: HashMap<Box<str>, Vec<usize>>,
    others: Vec<usize>,
}

impl Index {
    pub(super) fn new(rules: &[Arc<Rule>]) -> Self {
        let mut index = Self::default();
        for (number, rule) in rules.iter().enumerate() {
            let exact = |pattern: &Option<crate::config::ModelPattern>| {
                let pattern = pattern.as_ref().filter(|pattern| pattern.is_exact())?;
                Some(Box::<str>::from(pattern.as_str()))
            };
            let matcher = &rule.matcher;
            let list = if let Some(key) = exact(&matcher.key) {
                index.by_key.entry(key).or_default()
            } else if let Some(model) = exact(&matcher.model) {
                index.by_model.entry(model).or_default()
            } else if let Some(channel) = exact(&matcher.channel) {
                index.by_channel.entry(channel).or_default()
            } else {
                &mut index.others
            };
            list.push(number);
        }
        index
    }

    /// The rules that could be about such a request, each once.
    pub(super) fn candidates(&self, of: &Dimensions<'_>) -> Vec<usize> {
        let mut found = self.others.clone();
        found.extend(self.by_channel.get(of.channel).into_iter().flatten());
        let key = of.key.unwrap_or_default();
        found.extend(self.by_key.get(key).into_iter().flatten());
        for name in of.model.iter() {
            found.extend(self.by_model.get(name).into_iter().flatten());
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
