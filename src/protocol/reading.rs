//! What one document or event states, and how it changes what is known of the answer.

use super::api::{Conventions, Said, Stage, Total, Turn};
use super::json::{Place, Progress, Sink};
use super::observed::{MissingReason, Observed, ProviderError};
use super::route::Operation;
use super::text;
use super::usage::{Count, Counts, add};
use super::words::Sample;
use crate::money::NanoUsd;
use crate::record::UsageSource;

/// Longest model, response id, tier or error code that is kept.
const NAME_MAX: usize = 256;
/// The tier of what was made in Anthropic's fast mode, which is priced apart.
const FAST: &str = "fast";
/// Most queries of one answer that are told apart; what comes after counts each.
const QUERIES_MAX: usize = 256;
/// Longest error message that is kept.
const MESSAGE_MAX: usize = 1024;

/// What is known of the answer.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) conventions: &'static Conventions,
    pub(super) observed: Observed,
    pub(super) captured: Captured,
    told: Told,
    operation: Operation,
    /// The status said so already: whatever the body states, it states an error.
    refused: bool,
    /// The body has ended.
    pub(super) ended: bool,
    /// Why usage is missing, should it be.
    pub(super) doubt: Option<MissingReason>,
    /// The beginning of the content, should it have to be counted here.
    pub(super) sample: Sample,
}

/// What the events so far add up to.
#[derive(Debug, Default)]
struct Told {
    /// The usage objects, put together as their API's convention says.
    usage: Counts,
    /// The searches that the answer shows.
    searches: Counts,
    /// The generation is at its end, whatever still follows.
    finished: bool,
    /// Usage was stated apart from content and after it, or by the event that ends the stream.
    last_word: bool,
}

impl Reading {
    pub(super) fn new(
        conventions: &'static Conventions,
        operation: Operation,
        refused: bool,
    ) -> Self {
        Self {
            conventions,
            observed: Observed::default(),
            captured: Captured::default(),
            told: Told::default(),
            operation,
            refused,
            ended: false,
            doubt: None,
            sample: Sample::default(),
        }
    }

    /// Notes why usage may be missing; what is malformed stays so.
    pub(super) fn note(&mut self, reason: MissingReason) {
        if self.doubt != Some(MissingReason::Malformed) {
            self.doubt = Some(reason);
        }
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.captured.retained_bytes()
            + self.observed.retained_bytes()
            + self.sample.retained_bytes()
    }

    /// The body ended. What was stated before the answer's end may not be all of it: where each
    /// statement adds to the one before, and where a statement came before the content or along
    /// with it.
    pub(super) fn settle(&mut self) {
        let cumulative = self.conventions.usage.is_some_and(|shape| shape.cumulative);
        let whole = self.whole() && !self.observed.failed;
        let final_word = whole || (self.told.last_word && !cumulative);
        if self.operation == Operation::Create
            && !final_word
            && let Some(usage) = &mut self.observed.usage
        {
            usage.source = UsageSource::Partial;
        }
    }

    /// Whether the answer is all there, by its own word.
    pub(super) fn whole(&self) -> bool {
        self.told.finished || self.observed.terminal_seen
    }

    /// Whether content is still awaited: until then every event is read, after it only what can
    /// change the end.
    fn early(&self) -> bool {
        !self.observed.first_content_seen
    }

    /// Whether reading this event could change anything; may say so in vain, never miss one that
    /// [`event_complete`](Self::event_complete) would act on.
    pub(super) fn can_matter(&self, name: &[u8], data: &[u8]) -> bool {
        self.early()
            || self.turn_of(name) != Turn::On
            || self.conventions.needles.iter().any(|needle| {
                needle
                    .find_iter(data)
                    .any(|at| !is_null_member(&data[at + needle.needle().len()..]))
            })
    }

    /// Whether the content is sampled.
    pub(super) fn samples(&self) -> bool {
        let answer = self.conventions.words.and_then(|words| words.answer);
        self.operation == Operation::Create && !self.refused && answer.is_some()
    }

    /// Whether an event of that name may bring content, as told once content has begun.
    pub(super) fn may_bring_content(&self, name: &[u8]) -> bool {
        self.observed.first_content_seen
            && self
                .conventions
                .words
                .is_some_and(|words| (words.brings_content)(name))
    }

    fn turn_of(&self, name: &[u8]) -> Turn {
        std::str::from_utf8(name).map_or(Turn::On, self.conventions.turn)
    }

    /// A JSON answer is there to its last byte.
    pub(super) fn answer_complete(&mut self) {
        self.observed.terminal_seen = true;
        self.take_answer();
    }

    /// A JSON answer ended, whole or not: usage it stated before a cut was stated.
    pub(super) fn answer_ended(&mut self, progress: Progress) {
        match progress {
            Progress::Done => return,
            Progress::Broken => self.note(MissingReason::Malformed),
            Progress::Empty | Progress::Inside => self.note(MissingReason::Truncated),
        }
        // How many there would have been nobody can tell.
        self.captured.searches.set(Count::Image, None);
        self.take_answer();
    }

    fn take_answer(&mut self) {
        let stage = self.stage();
        if stage == Some(Stage::Pending) {
            self.note(MissingReason::Pending);
        }
        let failed = self.captured.error || stage == Some(Stage::Failed) || self.refused;
        self.take(failed, true);
    }

    /// How far the thing is that the answer shows.
    fn stage(&self) -> Option<Stage> {
        let status = self.captured.status.as_str();
        (!status.is_empty()).then(|| (self.conventions.making.stage)(status))
    }

    /// An event's payload is complete; told again at the event's end, when its name is known.
    pub(super) fn event_complete(&mut self, name: &[u8]) {
        let turn = if self.captured.kind.is_empty() {
            self.turn_of(name)
        } else {
            (self.conventions.turn)(&self.captured.kind)
        };
        let failed = self.captured.error || turn == Turn::Failure;
        if turn == Turn::EndOfSpeech
            && let Some(counts) = &mut self.captured.usage
        {
            counts.of_speech();
        }
        let early = self.early();
        if early || failed || turn != Turn::On || self.captured.counts() {
            let last = turn != Turn::On || !(early || self.captured.generation.content);
            self.take(failed, last);
        }
        self.told.finished |= self.captured.generation.finish;
        self.observed.first_content_seen |= self.captured.generation.content;
        self.observed.terminal_seen |= turn != Turn::On;
    }

    /// An event ended, its payload complete or not.
    pub(super) fn event_ended(&mut self, name: &[u8], progress: Progress) {
        // Events that cannot matter are not read when they lie whole in a fragment, so a fault in
        // one must not be told when it does not.
        let telling = self.early() || self.captured.touched;
        match progress {
            Progress::Inside if self.ended => self.note(MissingReason::Truncated),
            Progress::Inside | Progress::Broken if telling => self.note(MissingReason::Malformed),
            _ => {}
        }
        if progress != Progress::Empty {
            self.event_complete(name);
        }
    }

    /// One line of results is there, whole or not.
    pub(super) fn line_ended(&mut self, progress: Progress, trailing: bool) {
        match progress {
            Progress::Done if !trailing => {}
            Progress::Empty => return,
            _ => self.note(MissingReason::Malformed),
        }
        // Whether these are all lines is for the body's end to tell.
        self.told.last_word = true;
        let Self {
            conventions,
            observed,
            captured,
            told,
            ..
        } = self;
        let (Some(results), Some(counts)) = (&conventions.making.results, &captured.usage) else {
            return;
        };
        let Some(usage) = results.usage.usage(counts) else {
            return;
        };
        let sum = observed.usage.map_or(usage, |sum| add(&sum, &usage));
        observed.usage = Some(sum);
        // A line is the last word on its message; whether all lines came is asked elsewhere.
        told.last_word = true;
        observed.several_models |= observed
            .served_model
            .as_deref()
            .is_some_and(|model| model != captured.model);
        if observed.several_models {
            observed.served_model = None;
        } else {
            replace(&mut observed.served_model, &mut captured.model);
        }
        observed.service_tier = conventions.making.service_tier.map(Box::from);
    }

    /// What one event states by itself, with nothing of those before it.
    pub(super) fn take_event(&mut self, failed: bool) -> Observed {
        self.take(failed, true);
        self.told = Told::default();
        std::mem::take(&mut self.observed)
    }

    /// Takes over what was captured; usage in it is the `last` word on the matter or not.
    fn take(&mut self, failed: bool, last: bool) {
        let stage = self.stage();
        let counts_usage = match self.operation {
            Operation::Create => true,
            // What is still being made states no final usage.
            Operation::Retrieve => stage.is_some_and(|stage| stage != Stage::Pending),
            // It is counted line by line, or was when it arose.
            Operation::Results | Operation::Manage => false,
        };
        let Self {
            observed, captured, ..
        } = self;
        observed.stage = stage.or(observed.stage);
        observed.made_at_s = captured.created_at_s.or(observed.made_at_s);
        replace(&mut observed.served_model, &mut captured.model);
        replace(&mut observed.response_id, &mut captured.id);
        if captured.generation.fast {
            FAST.clone_into(&mut captured.service_tier);
        }
        replace(&mut observed.service_tier, &mut captured.service_tier);
        if counts_usage
            && captured.counts()
            && let Some(shape) = self.conventions.usage
        {
            if let Some(counts) = &captured.usage {
                if !shape.cumulative {
                    self.told.usage = Counts::default();
                }
                self.told.usage.overwrite(counts);
            }
            self.told.searches.overwrite(&captured.searches);
            let mut counts = self.told.searches;
            let model = observed.served_model.as_deref().unwrap_or_default();
            counts.change(Count::WebSearch, |searches| {
                (shape.billed_searches)(model, searches)
            });
            counts.overwrite(&self.told.usage);
            observed.several_models |= counts.get(Count::BesideInput).is_some()
                || counts.get(Count::BesideOutput).is_some();
            observed.usage = shape.usage(&counts).or(observed.usage);
            observed.stated_cost = captured.cost.total().or(observed.stated_cost);
            if let (Some(_), Some(tier)) = (observed.usage, self.conventions.making.service_tier) {
                observed.service_tier = Some(Box::from(tier));
            }
            if captured.usage.is_some() {
                self.told.last_word = last;
            }
        }
        if failed {
            observed.failed = true;
            let error = captured.provider_error();
            if error.code.is_some() || error.message.is_some() {
                observed.error = Some(error);
            }
        }
    }
}

/// Empty texts say nothing: Azure's first chunk has an empty model.
fn replace(known: &mut Option<Box<str>>, stated: &mut String) {
    if !stated.is_empty() && known.as_deref() != Some(stated) {
        *known = Some(std::mem::take(stated).into_boxed_str());
    }
}

/// Whether what follows a quoted name makes it a member that is `null`.
fn is_null_member(after: &[u8]) -> bool {
    after
        .trim_ascii_start()
        .strip_prefix(b":")
        .is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
}

/// What one document or event states. Its buffers are used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Captured {
    kind: String,
    model: String,
    id: String,
    service_tier: String,
    status: String,
    counts: Counts,
    /// A usage or error object began.
    touched: bool,
    /// The last usage object that was complete.
    usage: Option<Counts>,
    cost: StatedCost,
    part: Part,
    item: Item,
    iteration: Iteration,
    /// What is counted one by one: searches among the items and in their grounding, images.
    searches: Counts,
    /// The queries counted in them, as digests.
    queries: Vec<u32>,
    error: bool,
    /// Apart, because few answers have one.
    stated_error: Option<Box<StatedError>>,
    generation: Generation,
    /// When the thing shown was made, in seconds since 1970.
    created_at_s: Option<u64>,
}

/// What is told of the generation itself.
#[derive(Clone, Copy, Debug, Default)]
struct Generation {
    /// There is content.
    content: bool,
    /// It is at its end, for a stated reason.
    finish: bool,
    /// It was made in the fast mode.
    fast: bool,
}

/// A turn of the model under way.
#[derive(Clone, Copy, Debug, Default)]
struct Iteration {
    /// It is in no total.
    beside: bool,
    counts: Counts,
}

/// What a usage object says of money.
#[derive(Clone, Copy, Debug, Default)]
struct StatedCost {
    charged: Option<NanoUsd>,
    /// What the account's own key at the model's provider is charged besides.
    upstream: Option<NanoUsd>,
    own_key: bool,
}

impl StatedCost {
    fn total(self) -> Option<NanoUsd> {
        let upstream = self.upstream.filter(|_| self.own_key).unwrap_or_default();
        self.charged.map(|charged| charged + upstream)
    }
}

/// A share of a total under way: what it is a share of is known from its array.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
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
struct Item {
    search: Option<Count>,
    /// What it does is stated, and is no search.
    other_action: bool,
}

/// The members of an error object.
#[derive(Debug, Default)]
struct StatedError {
    code: String,
    kind: String,
    status: String,
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
    fn counts(&self) -> bool {
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

    fn retained_bytes(&self) -> usize {
        let error = self.stated_error.as_ref().map_or(0, |error| {
            size_of::<StatedError>()
                + [&error.code, &error.kind, &error.status, &error.message]
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

    fn provider_error(&self) -> ProviderError {
        self.stated_error
            .as_ref()
            .map_or_else(ProviderError::default, |error| {
                ProviderError::new(&error.code, &error.status, &error.kind, &error.message)
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
            Said::ErrorMessage => {
                text::read_into(&mut self.stated_error().message, token, MESSAGE_MAX);
            }
            // An error that is just its text; `null` and `false` are none.
            Said::Error if token.starts_with(b"\"") && token != b"\"\"" => {
                self.error = true;
                text::read_into(&mut self.stated_error().message, token, MESSAGE_MAX);
            }
            Said::Count(count) => self.counts.set(count, text::count(token)),
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
            Said::PartTokens => self.part.tokens = text::count(token),
            Said::ItemKind => {
                self.item.search = match token {
                    b"\"web_search_call\"" => Some(Count::WebSearch),
                    b"\"file_search_call\"" => Some(Count::FileSearch),
                    _ => None,
                }
            }
            Said::ItemAction => self.item.other_action = token != b"\"search\"",
            Said::IterationKind => self.iteration.beside = token == b"\"compaction\"",
            Said::IterationCount(count) => self.iteration.counts.set(count, text::count(token)),
            Said::Speed => self.generation.fast = token == b"\"fast\"",
            Said::WebSearchQuery => self.query(token),
            Said::Finish => self.generation.finish |= token.starts_with(b"\"") && token != b"\"\"",
            Said::Content => {
                self.generation.content |= token.starts_with(b"\"") && token != b"\"\"";
            }
            Said::Beside(count) => self.searches.set(count, text::count(token)),
            Said::CreatedAt => self.created_at_s = text::count(token),
            Said::Seconds => self.counts.set(Count::AudioMs, text::milliseconds(token)),
            Said::Error
            | Said::Usage
            | Said::Part(_)
            | Said::Item
            | Said::Iteration
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
                if let Some(search) = self.item.search.filter(|_| !self.item.other_action) {
                    self.searches.add(search, 1);
                }
            }
            Said::Error => self.error |= !empty,
            Said::Content => self.generation.content |= !empty,
            Said::Image => self.searches.add(Count::Image, 1),
            _ => {}
        }
    }
}
