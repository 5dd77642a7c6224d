//! What bounds the input and the output of a request, by what its body says.
//!
//! The bounds are for budgets, so they are never too low; where that cannot be had there are none. A
//! token stands for a byte of text at least, so text has no more tokens than bytes, and as JSON it has
//! more bytes. What lies elsewhere (an earlier response, a file, an image behind a URL) is bounded by
//! the model's context alone, and so is what has tokens by its dimensions and not by its bytes (images,
//! pages). Tools that the provider runs call the model again and have fees: nobody knows beforehand how
//! often. Likewise searches of the model's own, and sound that is made.
//!
//! One pass over the strings of the body, whatever its nesting: a name in a place of its own matters
//! wherever it stands, so that it may matter too often but never too seldom.

mod seen;
mod strings;

use self::seen::Seen;
use self::strings::read;
use crate::record::Api;

/// The tier of a request that states several: one without a price.
const SEVERAL_TIERS: &str = "several";

/// What a request may use at most, as far as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Tokens of the input that is at hand; `None` where some lies elsewhere or is no text: the model's
    /// context bounds it then.
    pub input_tokens: Option<u64>,
    /// How many inputs there are, each in a context of its own; `None` where nobody counted.
    pub inputs: Option<u64>,
    /// Tokens of one answer; `None` where the request does not say: the model's limit.
    pub output_tokens: Option<u64>,
    /// How many answers are asked for, over all inputs; 0 where the API writes nothing.
    pub answers: u64,
    /// Tokens of output besides: predictions that may be rejected, which are billed.
    pub predicted_tokens: u64,
    /// What it may write to a cache.
    pub cache: CacheWrites,
    /// What it may have beside text.
    pub media: Media,
    /// The service tier it asks for, where that is not the usual one; a name without a price where it
    /// asks for several.
    pub service_tier: Option<Box<str>>,
}

/// What a request may write to a cache, the cheaper first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheWrites {
    /// Nothing.
    Nothing,
    /// What lives for minutes.
    Short,
    /// What lives for an hour, too.
    Hour,
}

/// What a request may have beside text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// Sound in its input.
    pub hears: bool,
    /// Images in its input.
    pub sees: bool,
    /// Sound in its answer.
    pub speaks: bool,
}

impl Bounds {
    /// Of one response that is made over a WebSocket of `api`: its input is the conversation so far.
    #[must_use]
    pub fn of_a_session(api: Api, output_tokens: Option<u64>, tier: Option<Box<str>>) -> Self {
        let sounds = api == Api::Realtime;
        Self {
            input_tokens: None,
            inputs: Some(1),
            output_tokens,
            answers: 1,
            predicted_tokens: 0,
            cache: CacheWrites::Short,
            media: Media {
                hears: sounds,
                sees: true,
                speaks: sounds,
            },
            service_tier: tier.filter(|tier| !is_usual(tier)),
        }
    }
}

/// Whether a request that asks for this tier is served in the usual one.
fn is_usual(tier: &str) -> bool {
    matches!(tier, "auto" | "default" | "standard" | "standard_only")
}

/// The tier that counts where `before` was stated and now `stated` is: the one that is not the usual,
/// since the usual one counts in any case. Of two such the provider chooses, so that it is none that
/// anybody knows a price of.
pub(super) fn dearer_tier(before: Option<Box<str>>, stated: &str) -> Option<Box<str>> {
    match before {
        before if is_usual(stated) => before,
        Some(before) if *before != *stated => Some(SEVERAL_TIERS.into()),
        _ => Some(stated.into()),
    }
}

/// Whether a tool of this `type` is run by the client: what it does costs nothing here.
pub(super) fn is_run_by_client(api: Api, kind: &str) -> bool {
    if api == Api::Messages {
        let own = ["bash_", "text_editor_", "computer_", "memory_"];
        return kind == "custom" || own.iter().any(|tool| kind.starts_with(tool));
    }
    matches!(
        kind,
        "function"
            | "custom"
            | "local_shell"
            | "apply_patch"
            | "computer"
            | "computer_use_preview"
            | "namespace"
    )
}

/// What bounds a request of `api` with this JSON `body`; `None` where nobody can say: the body is none
/// that is understood, or it makes what no count of tokens bounds.
#[must_use]
pub fn bounds(api: Api, body: &[u8]) -> Option<Bounds> {
    let bounded = matches!(
        api,
        Api::Chat
            | Api::Responses
            | Api::Completions
            | Api::Embeddings
            | Api::Messages
            | Api::Gemini
            | Api::Moderations
    );
    if !bounded {
        return None;
    }
    let mut seen = Seen::new(api);
    (read(body, &mut seen) && !seen.is_endless()).then(|| seen.bounds(body.len() as u64))
}

/// Whether a model searches the web, or works on its own, for whatever it is asked: that has fees
/// that no request bounds.
#[must_use]
pub fn works_on_its_own(model: &str) -> bool {
    const MARKS: [&str; 5] = [
        "-search-preview",
        "-search-api",
        "-deep-research",
        ":online",
        "compound",
    ];
    let name = model.rsplit('/').next().unwrap_or(model);
    name.starts_with("sonar") || MARKS.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests;
