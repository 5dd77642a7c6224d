//! From what a provider counted to Tollgate's disjoint token types.

use super::text;
use crate::record::{TokenType, Tokens, Unit, Units, Usage, UsageSource};

/// A number that a usage object states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// The input's total, as the provider counts it.
    Input,
    /// The output's total, as the provider counts it.
    Output,
    /// The stated total of both.
    Total,
    Cached,
    /// The cached part in a compatible provider's own place; counts where `Cached` is absent.
    CachedElsewhere,
    CacheWrite,
    InputAudio,
    InputImage,
    Reasoning,
    OutputAudio,
    OutputImage,
    /// Beside `Input`: what the provider's own tools put before the model (Gemini), and what its
    /// own summing up of the conversation took (Anthropic); the same beside the others.
    MoreInput,
    MoreCached,
    MoreCacheWrite,
    MoreCacheWrite1h,
    MoreOutput,
    /// How much of the cached part is audio, and images: it is no part of `InputAudio` and
    /// `InputImage` then.
    CachedAudio,
    CachedImage,
    /// The part of `CacheWrite` that lives an hour.
    CacheWrite1h,
    WebSearch,
    FileSearch,
    /// An input's total that is audio where no detail says otherwise.
    InputOfAudio,
    InputText,
    /// An output's total that is images where no detail says otherwise.
    OutputOfImages,
    /// An output's total that is audio.
    OutputOfAudio,
    OutputText,
    /// Milliseconds of audio: no token.
    AudioMs,
    /// Images made: no token.
    Image,
    /// What a second model used: text beside `Input` and `Output`.
    BesideInput,
    BesideOutput,
    /// Uses of tools that are billed and have no price here: no token.
    OtherTool,
}

/// The last of them.
const LAST: Count = Count::OtherTool;
const _: () = assert!((LAST as u32) < u64::BITS, "one bit for each");

/// The stated numbers of one usage object; `None` where unstated or unreadable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// One bit for each number that is stated.
    stated: u64,
    /// A number is stated that is none: what the others add up to would be too little.
    unreadable: bool,
    /// 0 where unstated.
    numbers: [u64; LAST as usize + 1],
}

impl Counts {
    pub(super) fn set(&mut self, count: Count, value: Option<u64>) {
        let bit = 1 << count as u32;
        self.stated = match value {
            Some(_) => self.stated | bit,
            None => self.stated & !bit,
        };
        self.numbers[count as usize] = value.unwrap_or(0);
    }

    /// Takes the number from what is written in its place; `null` states none.
    pub(super) fn read(&mut self, count: Count, token: &[u8]) {
        let value = text::count(token);
        self.set(count, value);
        self.unreadable |= value.is_none() && token != b"null";
    }

    /// Notes that something else stands where a number should.
    pub(super) fn is_no_number(&mut self) {
        self.unreadable = true;
    }

    /// Whether a number is stated that is none.
    pub(super) fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    pub(super) fn get(&self, count: Count) -> Option<u64> {
        (self.stated >> count as u32 & 1 == 1).then_some(self.numbers[count as usize])
    }

    /// What `count` becomes by `change`, where it is stated.
    pub(super) fn change(&mut self, count: Count, change: impl Fn(u64) -> u64) {
        self.set(count, self.get(count).map(change));
    }

    /// Counts `more` of it.
    pub(super) fn add(&mut self, count: Count, more: u64) {
        let sum = self.get(count).unwrap_or(0).saturating_add(more);
        self.set(count, Some(sum));
    }

    /// Counts all that `more` states.
    pub(super) fn sum_up(&mut self, more: &Self) {
        for at in 0..self.numbers.len() {
            self.numbers[at] = self.numbers[at].saturating_add(more.numbers[at]);
        }
        self.stated |= more.stated;
        self.unreadable |= more.unreadable;
    }

    /// Takes over what `later` states; what it does not state stays.
    pub(super) fn overwrite(&mut self, later: &Self) {
        for (at, number) in later.numbers.iter().enumerate() {
            if later.stated >> at & 1 == 1 {
                self.numbers[at] = *number;
            }
        }
        self.stated |= later.stated;
        self.unreadable |= later.unreadable;
    }

    /// What was counted is text that became sound, not sound that became text.
    pub(super) fn of_speech(&mut self) {
        for (from, to) in [
            (Count::InputOfAudio, Count::Input),
            (Count::Output, Count::OutputOfAudio),
        ] {
            if let Some(count) = self.get(from) {
                self.set(to, Some(count));
                self.set(from, None);
            }
        }
    }

    /// A total, and the part of it that is `kind`: as detailed, else all that is no text.
    fn total_of(&self, total: Count, kind: Count, text: Count) -> Option<(u64, u64)> {
        let total = self.get(total)?;
        let rest = total.saturating_sub(self.get(text).unwrap_or(0));
        Some((total, self.get(kind).unwrap_or(rest)))
    }
}

/// What a provider's totals include. Each API declares it once.
#[derive(Clone, Copy, Debug)]
pub(super) struct UsageShape {
    /// `Input` includes what was read from and written to the cache (OpenAI), or does not
    /// (Anthropic). Audio and images are part of it everywhere.
    pub(super) input_includes_cache: bool,
    /// `Output` includes reasoning (OpenAI), or does not (Gemini). Where it should and the stated
    /// total adds up only without (xAI's Chat Completions), the total is believed; also where it
    /// alone tells of reasoning (Gemini's OpenAI-shaped surface).
    pub(super) output_includes_reasoning: bool,
    /// A stream states its usage again and again as it grows: a later statement overwrites what it
    /// states and leaves the rest, and what was stated before the end is partial. Else a statement
    /// stands alone, and the last one counts.
    pub(super) cumulative: bool,
    /// How many of the searches that an answer of that model shows are billed.
    pub(super) billed_searches: fn(model: &str, searches: u64) -> u64,
    /// Whether every answer of that model uses a tool that is billed and not stated.
    pub(super) other_tools: fn(model: &str) -> bool,
}

impl UsageShape {
    /// What OpenAI counts, and who follows it.
    pub(super) const OPENAI: Self = Self {
        input_includes_cache: true,
        output_includes_reasoning: true,
        cumulative: false,
        billed_searches: |_, searches| searches,
        other_tools: |_| false,
    };

    /// The reasoning, and whether it stands beside the output.
    fn reasoning(self, counts: &Counts) -> (Option<u64>, bool) {
        let stated = counts.get(Count::Reasoning);
        if !self.output_includes_reasoning {
            return (stated, true);
        }
        let cache = [Count::Cached, Count::CachedElsewhere, Count::CacheWrite];
        let is_cache = |beyond| {
            cache.iter().any(|&count| counts.get(count) == Some(beyond)) || cache_is_beside(counts)
        };
        match (stated, beyond(counts)) {
            (Some(stated), Some(beyond)) if stated == beyond => (Some(stated), true),
            (None, Some(beyond)) if !is_cache(beyond) => (Some(beyond), true),
            _ => (stated, false),
        }
    }

    /// The usage that `counts` state; `None` when they state nothing, or not in numbers.
    pub(super) fn usage(self, counts: &Counts) -> Option<Usage> {
        if counts.unreadable {
            return None;
        }
        let cached = counts
            .get(Count::Cached)
            .or(counts.get(Count::CachedElsewhere));
        let cached = sum([cached, counts.get(Count::MoreCached)]);
        let both = |stated: Count, more: Count| sum([counts.get(stated), counts.get(more)]);
        let written = both(Count::CacheWrite, Count::MoreCacheWrite);
        let mut tokens = Tokens::default();
        let audio = counts.total_of(Count::InputOfAudio, Count::InputAudio, Count::InputText);
        let stated_input = both(Count::Input, Count::MoreInput);
        let mut input = Portion::of(audio.map(|(total, _)| total).or(stated_input));
        let outside = &mut Portion::of(None);
        // Cached tokens are taken out first: a cached token stays a cached one whatever it encodes.
        // Gemini's total holds more that is beside the input.
        let against = self.output_includes_reasoning && cache_is_beside(counts);
        let cache_source = if self.input_includes_cache && !against {
            &mut input
        } else {
            outside
        };
        tokens[TokenType::InputCached] = cache_source.take(cached);
        tokens[TokenType::InputCacheWrite] = cache_source.take(written);
        let uncached = |all: Count, cached: Count| {
            let all = counts.get(all)?;
            Some(all.saturating_sub(counts.get(cached).unwrap_or(0)))
        };
        tokens[TokenType::InputAudio] = input.take(
            audio
                .map(|(_, audio)| audio)
                .or(uncached(Count::InputAudio, Count::CachedAudio)),
        );
        tokens[TokenType::InputImage] = input.take(uncached(Count::InputImage, Count::CachedImage));
        tokens[TokenType::Input] = input.rest;

        let images = counts.total_of(Count::OutputOfImages, Count::OutputImage, Count::OutputText);
        let speech = counts.total_of(Count::OutputOfAudio, Count::OutputAudio, Count::OutputText);
        let mut output = Portion::of(
            images
                .or(speech)
                .map(|(total, _)| total)
                .or(both(Count::Output, Count::MoreOutput)),
        );
        let (reasoning, beside) = self.reasoning(counts);
        let reasoning_source = if beside {
            &mut Portion::of(None)
        } else {
            &mut output
        };
        tokens[TokenType::Reasoning] = reasoning_source.take(reasoning);
        tokens[TokenType::OutputAudio] = output.take(
            speech
                .map(|(_, audio)| audio)
                .or(counts.get(Count::OutputAudio)),
        );
        tokens[TokenType::OutputImage] = output.take(
            images
                .map(|(_, images)| images)
                .or(counts.get(Count::OutputImage)),
        );
        tokens[TokenType::Output] = output.rest;
        for (beside, kind) in [
            (Count::BesideInput, TokenType::Input),
            (Count::BesideOutput, TokenType::Output),
        ] {
            tokens[kind] = sum([tokens[kind], counts.get(beside)]);
        }

        let total = match counts.get(Count::Total) {
            Some(total) => sum([Some(total), both(Count::BesideInput, Count::BesideOutput)]),
            None => tokens.sum(),
        };
        let mut units = Units::NONE;
        if total.is_none() {
            // Billed by the piece or by time: what states tokens is billed by those.
            units[Unit::AudioMs] = counts.get(Count::AudioMs);
            units[Unit::Image] = counts.get(Count::Image);
            if units == Units::NONE {
                return None;
            }
        }
        units[Unit::WebSearch] = counts.get(Count::WebSearch);
        units[Unit::FileSearch] = counts.get(Count::FileSearch);
        units[Unit::OtherTool] = counts.get(Count::OtherTool);
        let written = tokens[TokenType::InputCacheWrite];
        units[Unit::CacheWrite1h] = both(Count::CacheWrite1h, Count::MoreCacheWrite1h)
            .map(|hour| written.map_or(hour, |written| hour.min(written)));
        Some(Usage {
            tokens,
            units,
            total,
            source: UsageSource::Reported,
        })
    }
}

/// What is stated of them, added up.
fn sum(parts: [Option<u64>; 2]) -> Option<u64> {
    parts.into_iter().flatten().reduce(u64::saturating_add)
}

/// Two usages, added up.
pub(super) fn add(one: &Usage, other: &Usage) -> Usage {
    let mut both = *one;
    for &kind in TokenType::ALL {
        both.tokens[kind] = sum([one.tokens[kind], other.tokens[kind]]);
    }
    for &unit in Unit::ALL {
        both.units[unit] = sum([one.units[unit], other.units[unit]]);
    }
    both.total = sum([one.total, other.total]);
    both
}

/// How much the stated total is more than input and output.
fn beyond(counts: &Counts) -> Option<u64> {
    let sum = counts
        .get(Count::Input)?
        .checked_add(counts.get(Count::Output)?)?;
    let beyond = counts.get(Count::Total)?.checked_sub(sum)?;
    (beyond > 0).then_some(beyond)
}

/// Whether the stated total tells that the input leaves out what was read from the cache and
/// written to it, against the convention (gateways in OpenAI's shape before Claude do).
fn cache_is_beside(counts: &Counts) -> bool {
    let beyond = beyond(counts);
    let read = counts
        .get(Count::Cached)
        .or(counts.get(Count::CachedElsewhere));
    let cache = sum([read, counts.get(Count::CacheWrite)]);
    // What was thought may be beside the output, and as much by chance.
    beyond.is_some() && beyond == cache && beyond != counts.get(Count::Reasoning)
}

/// A total from which its details are taken, so that the parts add up to it.
struct Portion {
    rest: Option<u64>,
}

impl Portion {
    fn of(total: Option<u64>) -> Self {
        Self { rest: total }
    }

    /// A detail, at most what is left: details that overlap (cached audio) or exceed their total
    /// must not count a token twice. Without a total the detail stands as stated.
    fn take(&mut self, detail: Option<u64>) -> Option<u64> {
        let detail = detail?;
        let Some(rest) = &mut self.rest else {
            return Some(detail);
        };
        let taken = detail.min(*rest);
        *rest -= taken;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENAI: UsageShape = UsageShape::OPENAI;

    fn counts(stated: &[(Count, u64)]) -> Counts {
        let mut counts = Counts::default();
        for &(count, value) in stated {
            counts.set(count, Some(value));
        }
        counts
    }

    #[test]
    fn details_are_taken_out_of_their_totals() {
        let usage = OPENAI
            .usage(&counts(&[
                (Count::Input, 100),
                (Count::Cached, 60),
                (Count::InputAudio, 10),
                (Count::Output, 50),
                (Count::Reasoning, 30),
                (Count::Total, 150),
            ]))
            .unwrap();
        assert_eq!(
            usage.tokens.iter().collect::<Vec<_>>(),
            [
                (TokenType::Input, 30),
                (TokenType::InputCached, 60),
                (TokenType::Output, 20),
                (TokenType::Reasoning, 30),
                (TokenType::InputAudio, 10),
            ]
        );
        assert_eq!(usage.tokens.sum(), usage.total);
    }

    #[test]
    fn a_token_never_counts_twice_even_where_details_overlap_or_lie() {
        let usage = OPENAI
            .usage(&counts(&[
                (Count::Input, 100),
                (Count::Cached, 60),
                (Count::InputAudio, 80),
            ]))
            .unwrap();
        assert_eq!(usage.tokens[TokenType::InputAudio], Some(40));
        assert_eq!(usage.tokens[TokenType::Input], Some(0));
        assert_eq!(usage.total, Some(100));
    }

    #[test]
    fn the_total_tells_where_reasoning_stands() {
        for (stated, expected) in [
            // In the output, as declared.
            (
                vec![(Count::Reasoning, 30), (Count::Total, 150)],
                (20, Some(30)),
            ),
            // Beside it.
            (
                vec![(Count::Reasoning, 30), (Count::Total, 180)],
                (50, Some(30)),
            ),
            // Nowhere but in the total.
            (vec![(Count::Total, 180)], (50, Some(30))),
            // Something else is in the total.
            (
                vec![(Count::Reasoning, 30), (Count::Total, 190)],
                (20, Some(30)),
            ),
            (vec![(Count::Cached, 30), (Count::Total, 180)], (50, None)),
            (vec![(Count::Total, 140)], (50, None)),
            (
                vec![(Count::Reasoning, 0), (Count::Total, 150)],
                (50, Some(0)),
            ),
        ] {
            let mut all = vec![(Count::Input, 100), (Count::Output, 50)];
            all.extend(&stated);
            let tokens = OPENAI.usage(&counts(&all)).unwrap().tokens;
            assert_eq!(
                (tokens[TokenType::Output], tokens[TokenType::Reasoning]),
                (Some(expected.0), expected.1),
                "{stated:?}"
            );
        }
    }

    #[test]
    fn the_total_tells_where_the_cache_stands() {
        for (cached, written, total, expected) in [
            (Some(1000), Some(200), 1260, [10, 1000, 200, 50]),
            (Some(1000), None, 1060, [10, 1000, 0, 50]),
            (None, Some(200), 260, [10, 0, 200, 50]),
            // In the input, as declared.
            (Some(6), Some(4), 60, [0, 6, 4, 50]),
        ] {
            let mut all = counts(&[
                (Count::Input, 10),
                (Count::Output, 50),
                (Count::Total, total),
            ]);
            all.set(Count::Cached, cached);
            all.set(Count::CacheWrite, written);
            let usage = OPENAI.usage(&all).unwrap();
            let kinds = [
                TokenType::Input,
                TokenType::InputCached,
                TokenType::InputCacheWrite,
                TokenType::Output,
            ];
            assert_eq!(kinds.map(|kind| usage.tokens[kind].unwrap_or(0)), expected);
            assert_eq!(usage.tokens.sum(), Some(total));
            assert_eq!(usage.tokens[TokenType::Reasoning], None);
        }
    }

    #[test]
    fn cache_beside_the_input_is_added() {
        let beside = UsageShape {
            input_includes_cache: false,
            ..OPENAI
        };
        let usage = beside
            .usage(&counts(&[
                (Count::Input, 5),
                (Count::Cached, 60),
                (Count::CacheWrite, 7),
            ]))
            .unwrap();
        assert_eq!(usage.tokens[TokenType::Input], Some(5));
        assert_eq!(usage.total, Some(72));
    }

    #[test]
    fn zero_is_stated_and_nothing_is_not() {
        let usage = OPENAI
            .usage(&counts(&[(Count::Input, 0), (Count::Output, 0)]))
            .unwrap();
        assert_eq!(usage.total, Some(0));
        assert_eq!(usage.tokens[TokenType::InputCached], None);
        assert_eq!(OPENAI.usage(&Counts::default()), None);
    }
}
