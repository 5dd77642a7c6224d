//! How what one document or event states changes what is known of the answer.

use super::api::{Conventions, Stage, Turn};
use super::captured::Captured;
use super::json::Progress;
use super::observed::{MissingReason, Observed};
use super::route::Operation;
use super::usage::{Count, Counts, add};
use super::words::Sample;
use crate::record::UsageSource;

/// The tier of what was made in Anthropic's fast mode, which is priced apart.
const FAST: &str = "fast";

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
    /// The generation is at its end, whatever still follows: by a stated reason.
    finished: bool,
    /// The last usage is not all numbers.
    unreadable: bool,
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
        let last_word = self.told.last_word && !self.is_cumulative();
        let whole = self.whole() && !self.observed.failed;
        let final_word = whole || last_word;
        // Some compatible providers send no more than the reason, or the usage, to end a stream.
        let ended = self.observed.terminal_seen || self.told.finished || last_word;
        self.observed.cut_short = self.operation == Operation::Create
            && self.observed.first_content_seen
            && !(ended || self.observed.failed)
            // The end may be what could not be read.
            && self.doubt != Some(MissingReason::Malformed);
        if self.operation == Operation::Create
            && !final_word
            && let Some(usage) = &mut self.observed.usage
        {
            usage.source = UsageSource::Partial;
        }
    }

    /// Whether the answer is all there, by its own word.
    pub(super) fn whole(&self) -> bool {
        self.observed.terminal_seen || (self.told.finished && self.is_cumulative())
    }

    /// Whether the last usage is not all numbers.
    pub(super) fn is_unreadable(&self) -> bool {
        self.told.unreadable
    }

    /// Whether usage is stated as it grows: the reason to end comes along with the last of it, not
    /// before it.
    fn is_cumulative(&self) -> bool {
        self.conventions.usage.is_some_and(|shape| shape.cumulative)
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
        if counts.is_unreadable() {
            self.doubt = Some(MissingReason::Malformed);
            return;
        }
        let Some(usage) = results.usage.usage(counts) else {
            return;
        };
        let sum = observed.usage.map_or(usage, |sum| add(&sum, &usage));
        observed.usage = Some(sum);
        // On its message; whether all lines came is for the body's end to tell.
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
            if (shape.other_tools)(model) {
                counts.set(Count::OtherTool, Some(1));
            }
            counts.overwrite(&self.told.usage);
            observed.several_models |= counts.get(Count::BesideInput).is_some()
                || counts.get(Count::BesideOutput).is_some();
            observed.usage = shape.usage(&counts).or(observed.usage);
            if counts.is_unreadable() {
                observed.usage = None;
            }
            self.told.unreadable = counts.is_unreadable();
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
