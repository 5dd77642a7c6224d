//! What one document or event states, gathered from its marked places.

use super::api::{Said, Total};
use super::json::{Place, Sink};
use super::observed::ProviderError;
use super::text;
use super::usage::{Count, Counts};
use crate::money::NanoUsd;

/// Longest model, response id, tier or error code that is kept.
const NAME_MAX: usize = 256;
/// Most queries of one answer that are told apart; what comes after counts each.
const QUERIES_MAX: usize = 256;
/// Longest error message that is kept.
const MESSAGE_MAX: usize = 1024;

/// What one document or event states. Its buffers are used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Captured {
    pub(super) kind: String,
    pub(super) model: String,
    pub(super) id: String,
    pub(super) service_tier: String,
    pub(super) status: String,
    pub(super) counts: Counts,
    /// A usage or error object began.
    pub(super) touched: bool,
    /// The last usage object that was complete.
    pub(super) usage: Option<Counts>,
    pub(super) cost: StatedCost,
    pub(super) part: Part,
    pub(super) item: Item,
    pub(super) iteration: Iteration,
    /// What is counted one by one: searches among the items and in their grounding, images.
    pub(super) searches: Counts,
    /// The queries counted in them, as digests.
    pub(super) queries: Vec<u32>,
    pub(super) error: bool,
    /// Apart, because few answers have one.
    pub(super) stated_error: Option<Box<StatedError>>,
    pub(super) generation: Generation,
    /// When the thing shown was made, in seconds since 1970.
    pub(super) created_at_s: Option<u64>,
}

/// What is told of the generation itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Generation {
    /// There is content.
    pub(super) content: bool,
    /// It is at its end, for a stated reason.
    pub(super) finish: bool,
    /// It was made in the fast mode.
    pub(super) fast: bool,
}

/// A turn of the model under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Iteration {
    /// It is in no total.
    beside: bool,
    counts: Counts,
}

/// What a usage object says of money.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatedCost {
    charged: Option<NanoUsd>,
    /// What the account's own key at the model's provider is charged besides.
    upstream: Option<NanoUsd>,
    own_key: bool,
}

impl StatedCost {
    pub(super) fn total(self) -> Option<NanoUsd> {
        let upstream = self.upstream.filter(|_| self.own_key).unwrap_or_default();
        self.charged.map(|charged| charged + upstream)
    }
}

/// A share of a total under way: what it is a share of is known from its array.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    modality: Option<Modality>,
    tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Modality {
    Audio,
    Image,
}

/// An item of an answer's output under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Item {
    search: Option<Count>,
    /// It runs in a container of the provider's.
    hosted: bool,
    /// What it does is stated, and is no search.
    other_action: bool,
}

/// The members of an error object.
#[derive(Debug, Default)]
pub(super) struct StatedError {
    code: String,
    kind: String,
    status: String,
    reason: String,
    message: String,
}

impl Captured {
    pub(super) fn clear(&mut self) {
        let Self {
            kind,
            model,
            id,
            service_tier,
            status,
            counts,
            touched,
            usage,
            cost,
            part,
            item,
            iteration,
            searches,
            queries,
            error,
            stated_error,
            generation,
            created_at_s,
        } = self;
        for text in [kind, model, id, service_tier, status] {
            text.clear();
        }
        *stated_error = None;
        *created_at_s = None;
        *touched = false;
        *error = false;
        *generation = Generation::default();
        *counts = Counts::default();
        *usage = None;
        *cost = StatedCost::default();
        *part = Part::default();
        *item = Item::default();
        *iteration = Iteration::default();
        *searches = Counts::default();
        queries.clear();
    }

    /// Whether anything billed is in it.
    pub(super) fn counts(&self) -> bool {
        self.usage.is_some() || self.searches != Counts::default()
    }

    /// The event's `type`; empty while it is unknown.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// An error or a failed status was stated.
    pub(super) fn has_failed(&self) -> bool {
        self.error || self.status == "failed"
    }

    /// Generated content was stated.
    pub(super) fn has_content(&self) -> bool {
        self.generation.content
    }

    pub(super) fn retained_bytes(&self) -> usize {
        let error = self.stated_error.as_ref().map_or(0, |error| {
            size_of::<StatedError>()
                + [
                    &error.code,
                    &error.kind,
                    &error.status,
                    &error.reason,
                    &error.message,
                ]
                .map(String::capacity)
                .iter()
                .sum::<usize>()
        });
        let texts = [
            &self.kind,
            &self.model,
            &self.id,
            &self.service_tier,
            &self.status,
        ];
        error
            + self.queries.capacity() * size_of::<u32>()
            + texts.map(String::capacity).iter().sum::<usize>()
    }

    /// A query of a search: counts unless it is empty or was made before.
    fn query(&mut self, token: &[u8]) {
        let digest = crc32fast::hash(token);
        if token == b"\"\"" || self.queries.contains(&digest) {
            return;
        }
        if self.queries.len() < QUERIES_MAX {
            self.queries.push(digest);
        }
        self.searches.add(Count::WebSearch, 1);
    }

    fn stated_error(&mut self) -> &mut StatedError {
        self.stated_error.get_or_insert_default()
    }

    pub(super) fn provider_error(&self) -> ProviderError {
        self.stated_error
            .as_ref()
            .map_or_else(ProviderError::default, |error| {
                // Google calls a bad key a bad request; only the reason tells them apart.
                let is_key = error.reason == "API_KEY_INVALID";
                let status = if is_key { &error.reason } else { &error.status };
                ProviderError::new(&error.code, status, &error.kind, &error.message)
            })
    }
}

impl Total {
    fn count(self, modality: Modality) -> Count {
        match (self, modality) {
            (Self::Input, Modality::Audio) => Count::InputAudio,
            (Self::Input, Modality::Image) => Count::InputImage,
            (Self::Cached, Modality::Audio) => Count::CachedAudio,
            (Self::Cached, Modality::Image) => Count::CachedImage,
            (Self::Output, Modality::Audio) => Count::OutputAudio,
            (Self::Output, Modality::Image) => Count::OutputImage,
        }
    }
}

impl Sink<Said> for Captured {
    fn scalar(&mut self, mark: Said, token: &[u8], _place: Place) {
        let name = |text: &mut String| text::read_into(text, token, NAME_MAX);
        match mark {
            Said::Kind => name(&mut self.kind),
            Said::Model => name(&mut self.model),
            Said::Id => name(&mut self.id),
            Said::ServiceTier => name(&mut self.service_tier),
            Said::Status => name(&mut self.status),
            Said::ErrorCode => name(&mut self.stated_error().code),
            Said::ErrorKind => name(&mut self.stated_error().kind),
            Said::ErrorStatus => name(&mut self.stated_error().status),
            Said::ErrorReason => name(&mut self.stated_error().reason),
            Said::ErrorMessage => {
                text::read_into(&mut self.stated_error().message, token, MESSAGE_MAX);
            }
            // An error that is just its text; `null` and `false` are none.
            Said::Error if token.starts_with(b"\"") && token != b"\"\"" => {
                self.error = true;
                text::read_into(&mut self.stated_error().message, token, MESSAGE_MAX);
            }
            Said::Count(count) => self.counts.read(count, token),
            Said::Cost => self.cost.charged = text::usd(token),
            Said::CostTicks => self.cost.charged = text::usd_ticks(token),
            Said::UpstreamCost => self.cost.upstream = text::usd(token),
            Said::OwnKey => self.cost.own_key = token == b"true",
            Said::Modality => {
                self.part.modality = match token {
                    b"\"AUDIO\"" => Some(Modality::Audio),
                    b"\"IMAGE\"" => Some(Modality::Image),
                    _ => None,
                }
            }
            Said::PartTokens => {
                self.part.tokens = text::count(token);
                if self.part.tokens.is_none() && token != b"null" {
                    self.counts.is_no_number();
                }
            }
            Said::ItemKind => {
                self.item.search = match token {
                    b"\"web_search_call\"" => Some(Count::WebSearch),
                    b"\"file_search_call\"" => Some(Count::FileSearch),
                    // A container is billed by its session, an image by tokens of a model that is
                    // not stated.
                    b"\"code_interpreter_call\"" | b"\"image_generation_call\"" => {
                        Some(Count::OtherTool)
                    }
                    _ => None,
                }
            }
            // Only a shell states one. On the caller's machine it costs nothing.
            Said::ItemPlace if token == b"\"container_reference\"" => {
                self.item.hosted = true;
            }
            Said::ItemAction => self.item.other_action = token != b"\"search\"",
            Said::IterationKind => self.iteration.beside = token == b"\"compaction\"",
            Said::IterationCount(count) => self.iteration.counts.read(count, token),
            Said::Speed => self.generation.fast = token == b"\"fast\"",
            Said::WebSearchQuery => self.query(token),
            Said::Finish => self.generation.finish |= token.starts_with(b"\"") && token != b"\"\"",
            Said::Content => {
                self.generation.content |= token.starts_with(b"\"") && token != b"\"\"";
            }
            Said::Beside(count) => self.searches.read(count, token),
            Said::CreatedAt => self.created_at_s = text::count(token),
            Said::Seconds => self.counts.set(Count::AudioMs, text::milliseconds(token)),
            Said::Error
            | Said::Usage
            | Said::Part(_)
            | Said::Item
            | Said::ItemPlace
            | Said::Iteration
            | Said::Maps
            | Said::Image
            | Said::Live(_) => {}
        }
    }

    fn open(&mut self, mark: Said, _start: usize, _array: bool) {
        match mark {
            // The last usage object counts; nothing of an earlier one is left in it.
            Said::Usage => {
                self.touched = true;
                self.counts = Counts::default();
                self.cost = StatedCost::default();
            }
            Said::Error => self.touched = true,
            Said::Count(_) | Said::PartTokens => self.counts.is_no_number(),
            Said::IterationCount(_) => self.iteration.counts.is_no_number(),
            Said::Beside(_) => self.searches.is_no_number(),
            // By the prompt, however many places it showed.
            Said::Maps => self.searches.set(Count::OtherTool, Some(1)),
            Said::Part(_) => self.part = Part::default(),
            Said::Item => self.item = Item::default(),
            Said::Iteration => self.iteration = Iteration::default(),
            _ => {}
        }
    }

    fn close(&mut self, mark: Said, _place: Place, empty: bool) {
        match mark {
            Said::Usage => self.usage = Some(self.counts),
            Said::Part(of) => {
                if let (Some(modality), Some(tokens)) = (self.part.modality, self.part.tokens) {
                    self.counts.add(of.count(modality), tokens);
                }
            }
            Said::Iteration if self.iteration.beside => self.counts.sum_up(&self.iteration.counts),
            Said::Item => {
                let search = self.item.search.filter(|_| !self.item.other_action);
                let hosted = self.item.hosted.then_some(Count::OtherTool);
                if let Some(billed) = search.or(hosted) {
                    self.searches.add(billed, 1);
                }
            }
            Said::Error => self.error |= !empty,
            Said::Content => self.generation.content |= !empty,
            Said::Image => self.searches.add(Count::Image, 1),
            _ => {}
        }
    }
}
