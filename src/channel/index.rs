//! Which channels could take a request: found once for each model and API, then kept.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use super::Channel;
use super::recent::Recent;
use crate::config::ChannelKind;
use crate::record::Api;

/// Channels in all lists together that are kept: clients can ask for any number of models, and
/// every list may hold every channel.
const MOST_LISTED: usize = 1 << 20;

/// What a list weighs beside its channels.
const LIST_WEIGHT: usize = 16;

/// Whose conventions a request follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fit {
    Openai,
    Messages,
    Gemini,
}

impl Fit {
    const fn of(api: Api) -> Self {
        match api {
            Api::Messages => Self::Messages,
            Api::Gemini => Self::Gemini,
            _ => Self::Openai,
        }
    }

    /// How well a kind of channel fits, the best first: hosts that are shaped like OpenAI's often
    /// serve the others' shapes too; the rest is asked only where there is nobody else.
    const fn rank(self, kind: ChannelKind) -> u8 {
        match (self, kind) {
            (Self::Openai, ChannelKind::Openai | ChannelKind::Azure)
            | (Self::Messages, ChannelKind::Anthropic)
            | (Self::Gemini, ChannelKind::Gemini) => 0,
            (_, ChannelKind::Openai) => 1,
            _ => 2,
        }
    }
}

/// Which channels are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Among<'a> {
    /// All.
    All,
    /// Only that one, whatever it serves: the request or its key names it.
    One(u32),
    /// Those that the caller's key may use.
    These(&'a [Arc<str>]),
}

/// What candidates are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Question<'a> {
    among: Among<'a>,
    fit: Fit,
    model: Option<&'a str>,
}

/// The channels that could take a request, by priority, then in the order of the settings.
#[derive(Debug)]
pub(super) struct Candidates {
    only: Option<u32>,
    allowed: Option<Box<[Arc<str>]>>,
    fit: Fit,
    /// The model that they serve.
    pub(super) model: Option<Arc<str>>,
    /// Tells this list from others.
    pub(super) key: u64,
    pub(super) channels: Box<[Arc<Channel>]>,
    pub(super) tiers: Box<[Tier]>,
    /// The index of each, in order.
    members: Box<[u32]>,
}

/// Candidates of one priority.
#[derive(Debug)]
pub(super) struct Tier {
    /// Where they stand in the list.
    pub(super) range: Range<usize>,
    /// The weight of each and of those before it.
    pub(super) cumulative: Box<[u64]>,
}

impl Tier {
    /// The weight of all.
    pub(super) fn weight(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(0)
    }

    /// Where each stands, round and round from the one whose turn it is.
    pub(super) fn from(&self, turn: u64) -> impl Iterator<Item = usize> + use<> {
        let length = u64::try_from(self.range.len()).unwrap_or(u64::MAX);
        let offset = usize::try_from(turn % length.max(1)).unwrap_or(0);
        let start = self.range.start + offset;
        (start..self.range.end).chain(self.range.start..start)
    }

    /// Who has the share of the whole weight that `point` falls into.
    pub(super) fn at(&self, point: u64) -> usize {
        let within = self.cumulative.partition_point(|sum| *sum <= point);
        self.range.start + within
    }
}

impl Candidates {
    /// Whether the channel of that index is among them.
    pub(super) fn has(&self, index: u32) -> bool {
        self.members.binary_search(&index).is_ok()
    }

    fn answers(&self, question: &Question<'_>) -> bool {
        let among = match (self.only, &self.allowed) {
            (Some(index), _) => Among::One(index),
            (None, Some(names)) => Among::These(names),
            (None, None) => Among::All,
        };
        among == question.among
            && self.fit == question.fit
            && self.model.as_deref() == question.model
    }
}

/// All channels, and the candidates found so far.
#[derive(Debug)]
pub(super) struct Index {
    channels: Vec<Arc<Channel>>,
    by_name: HashMap<Arc<str>, Arc<Channel>, foldhash::fast::RandomState>,
    hasher: RandomState,
    kept: Recent<Arc<Candidates>>,
}

impl Index {
    pub(super) fn new(channels: Vec<Arc<Channel>>) -> Self {
        let named = channels.iter();
        Self {
            by_name: named
                .map(|channel| (Arc::clone(&channel.name), Arc::clone(channel)))
                .collect(),
            channels,
            hasher: RandomState::new(),
            kept: Recent::new(MOST_LISTED),
        }
    }

    pub(super) fn channels(&self) -> &[Arc<Channel>] {
        &self.channels
    }

    pub(super) fn channel(&self, name: &str) -> Option<&Arc<Channel>> {
        self.by_name.get(name)
    }

    pub(super) fn at(&self, index: u32) -> Option<&Arc<Channel>> {
        self.channels.get(usize::try_from(index).ok()?)
    }

    /// The channels among those that could take a request for `model` (aliases resolved).
    pub(super) fn candidates(
        &self,
        among: Among<'_>,
        api: Api,
        model: Option<&str>,
    ) -> Arc<Candidates> {
        let fit = Fit::of(api);
        let question = Question { among, fit, model };
        let key = self.hasher.hash_one(question);
        if let Some(known) = self.kept.get(key)
            && known.answers(&question)
        {
            return known;
        }
        let found = Arc::new(self.find(&question, key));
        let named_bytes = model.map_or(0, str::len);
        let weight = LIST_WEIGHT + found.channels.len() + named_bytes / 8;
        self.kept.put(key, Arc::clone(&found), weight);
        found
    }

    fn find(&self, question: &Question<'_>, key: u64) -> Candidates {
        let Question { among, fit, model } = *question;
        let mut channels = match among {
            Among::All => serving(&self.channels, model),
            Among::One(index) => self.at(index).cloned().into_iter().collect(),
            Among::These(names) => {
                serving(names.iter().filter_map(|name| self.channel(name)), model)
            }
        };
        let best = channels.iter().map(|channel| fit.rank(channel.kind)).min();
        channels.retain(|channel| Some(fit.rank(channel.kind)) == best);
        channels.sort_by_key(|channel| (std::cmp::Reverse(channel.priority), channel.index));
        channels.dedup_by_key(|channel| channel.index);
        let mut members: Box<[u32]> = channels.iter().map(|channel| channel.index).collect();
        members.sort_unstable();
        Candidates {
            only: match among {
                Among::One(index) => Some(index),
                _ => None,
            },
            allowed: match among {
                Among::These(names) => Some(names.into()),
                _ => None,
            },
            fit,
            model: model.map(Arc::from),
            key,
            tiers: tiers(&channels),
            channels: channels.into(),
            members,
        }
    }
}

fn serving<'c>(
    channels: impl IntoIterator<Item = &'c Arc<Channel>>,
    model: Option<&str>,
) -> Vec<Arc<Channel>> {
    let serving = channels
        .into_iter()
        .filter(|channel| channel.serves(model))
        .cloned();
    serving.collect()
}

fn tiers(channels: &[Arc<Channel>]) -> Box<[Tier]> {
    let mut start = 0;
    let runs = channels.chunk_by(|a, b| a.priority == b.priority);
    runs.map(|run| {
        let range = start..start + run.len();
        start = range.end;
        let mut sum = 0;
        let sums = run.iter().map(|channel| {
            sum += u64::from(channel.weight);
            sum
        });
        Tier {
            range,
            cumulative: sums.collect(),
        }
    })
    .collect()
}
