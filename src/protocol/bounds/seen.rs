//! What matters among the strings of a body, and where.

use memchr::memchr;

use super::super::text;
use super::super::words::writes_text;
use super::strings::{Strings, Text};
use super::{Bounds, CacheWrites, Media, dearer_tier, is_run_by_client};
use crate::record::Api;

/// Tokens that providers put before a request of their own accord: roles, dates, instructions.
pub(super) const UNSEEN_TOKENS: u64 = 1_024;

/// The same where it has tools: Anthropic states up to some 500 for their use, and up to 735 for each
/// tool of its own making ("Tool use with Claude", "Pricing").
pub(super) const UNSEEN_WITH_TOOLS: u64 = 4 * 1_024;

/// A number that a request may state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stated {
    Nothing,
    Most(u64),
    /// Something that is no count: whatever the provider makes of it.
    Unclear,
}

impl Stated {
    /// One more value, of the same or another name: which of them counts is the provider's choice.
    fn or(self, value: &[u8]) -> Self {
        match (self, number(value)) {
            (stated, None) => stated,
            (Self::Unclear, _) | (_, Some(None)) => Self::Unclear,
            (Self::Nothing, Some(Some(count))) => Self::Most(count),
            (Self::Most(before), Some(Some(count))) => Self::Most(before.max(count)),
        }
    }

    const fn known(self) -> Option<u64> {
        match self {
            Self::Most(count) => Some(count),
            Self::Nothing | Self::Unclear => None,
        }
    }
}

/// The number at the start of `value`; the outer `None` for null, the inner for what is no count.
#[allow(
    clippy::option_option,
    reason = "nothing stated and nothing understood are two things"
)]
fn number(value: &[u8]) -> Option<Option<u64>> {
    if value.starts_with(b"null") {
        return None;
    }
    let end = match value {
        [b'"', rest @ ..] => memchr(b'"', rest).map(|end| end + 2),
        _ => value
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace()),
    };
    Some(text::count(&value[..end.unwrap_or(value.len())]))
}

/// The member of the body that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Tools,
    /// What describes the answer or the request and is no content.
    Format,
    Generation,
    Prompt,
    Modalities,
    Context,
    Content,
}

/// The name whose value may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Kind,
    Lifetime,
    Tier,
    Speed,
    MediaType,
    Other,
}

/// What was seen of a body so far.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word that was seen or was not"
)]
pub(super) struct Seen {
    api: Api,
    within: Within,
    named: Named,
    /// Nobody can say what it may use.
    endless: bool,
    /// Some of the input is not here, or is no text.
    elsewhere: bool,
    media: Media,
    caches: bool,
    for_an_hour: bool,
    predicts: bool,
    tools: bool,
    output: Stated,
    choices: Stated,
    best_of: Stated,
    prompts: u64,
    /// Gemini: it asks for text and not for an embedding.
    generates: bool,
    tier: Option<Box<str>>,
}

impl Seen {
    pub(super) fn new(api: Api) -> Self {
        Self {
            api,
            within: Within::Content,
            named: Named::Other,
            endless: false,
            elsewhere: false,
            media: Media::default(),
            caches: false,
            for_an_hour: false,
            predicts: false,
            tools: false,
            output: Stated::Nothing,
            choices: Stated::Nothing,
            best_of: Stated::Nothing,
            prompts: 0,
            generates: api != Api::Gemini,
            tier: None,
        }
    }

    /// Nobody can say what it may use.
    pub(super) const fn is_endless(&self) -> bool {
        self.endless
    }

    /// What bounds it, its body having so many bytes.
    pub(super) fn bounds(self, body_bytes: u64) -> Bounds {
        let unseen = if self.tools {
            UNSEEN_WITH_TOOLS
        } else {
            UNSEEN_TOKENS
        };
        let writes = writes_text(self.api) && self.generates;
        let inputs = match self.api {
            Api::Completions => Some(self.prompts.max(1)),
            // As many texts as it has room for, each of them in a context of its own.
            Api::Embeddings => None,
            _ if !self.generates => None,
            _ => Some(1),
        };
        let choices = self.choices.known().max(self.best_of.known()).unwrap_or(1);
        let answers = choices.max(1).saturating_mul(inputs.unwrap_or(1));
        Bounds {
            input_tokens: (!self.elsewhere).then(|| body_bytes.saturating_add(unseen)),
            inputs,
            output_tokens: self.output.known(),
            answers: if writes { answers } else { 0 },
            predicted_tokens: if self.predicts { body_bytes } else { 0 },
            // Anthropic's is written to when it is asked to, others' whenever they like.
            cache: match (self.caches, self.for_an_hour) {
                (true, true) => CacheWrites::Hour,
                (false, _) if self.api == Api::Messages => CacheWrites::Nothing,
                _ => CacheWrites::Short,
            },
            media: self.media,
            service_tier: self.tier,
        }
    }

    /// A member of the body itself.
    fn member(&mut self, name: &str, value: &[u8]) {
        self.within = match name {
            "tools" | "functions" => Within::Tools,
            "response_format" | "text" | "metadata" | "toolConfig" | "tool_config"
            | "tool_choice" | "stream_options" => Within::Format,
            "generationConfig" | "generation_config" => Within::Generation,
            "prompt" => Within::Prompt,
            "modalities" => Within::Modalities,
            "context_management" => Within::Context,
            _ => Within::Content,
        };
        if says_nothing(value) {
            return;
        }
        match (self.api, name) {
            (_, "tools" | "functions") => self.tools = true,
            (Api::Chat, "max_tokens" | "max_completion_tokens")
            | (Api::Completions | Api::Messages, "max_tokens")
            | (Api::Responses, "max_output_tokens") => self.output = self.output.or(value),
            (Api::Chat | Api::Completions, "n") => self.choose(value),
            (Api::Completions, "best_of") => self.best_of = self.best_of.or(value),
            (Api::Gemini, "contents") => self.generates = true,
            (Api::Chat | Api::Completions, "prediction") => self.predicts = true,
            // What a stored prompt asks for, nobody here knows.
            (Api::Responses, "prompt")
            // Searches, other models, servers and containers of the provider's.
            | (
                _,
                "web_search_options" | "search_parameters" | "enable_search" | "plugins"
                | "models" | "fallbacks" | "mcp_servers" | "container" | "data_sources" | "audio"
                | "tool_resources",
            ) => self.endless = true,
            (
                _,
                "previous_response_id" | "conversation" | "cachedContent" | "cached_content",
            ) => self.elsewhere = true,
            _ => {}
        }
    }

    /// How many answers. What is not understood may be any number.
    fn choose(&mut self, value: &[u8]) {
        self.choices = self.choices.or(value);
        self.endless |= self.choices == Stated::Unclear;
    }

    /// A member of something that is said to the model.
    fn content_member(&mut self, name: &str, value: &[u8]) {
        match name {
            "cache_control" => self.caches |= !says_nothing(value),
            "image_url" | "images" => self.shown(),
            "input_audio" | "audio_url" => self.heard(),
            // Said by the model before, and kept by the provider.
            "audio" if !says_nothing(value) => self.heard(),
            "file_data" | "file_id" | "file_url" | "inlineData" | "inline_data"
                if !says_nothing(value) =>
            {
                self.shown();
            }
            // Of any kind.
            "video_url" | "input_video" | "fileData" | "fileUri" | "file_uri"
                if !says_nothing(value) =>
            {
                self.shown();
                self.heard();
            }
            _ => {}
        }
    }

    fn shown(&mut self) {
        (self.elsewhere, self.media.sees) = (true, true);
    }

    fn heard(&mut self) {
        (self.elsewhere, self.media.hears) = (true, true);
    }

    /// What a `type` says that is no tool's.
    fn content_kind(&mut self, kind: &str) {
        match kind {
            "image"
            | "image_url"
            | "input_image"
            | "computer_screenshot"
            | "document"
            | "file"
            | "input_file"
            | "container_upload" => self.shown(),
            "input_audio" | "audio" | "audio_url" | "video" | "video_url" | "input_video" => {
                self.shown();
                self.heard();
            }
            // Kept by the provider, and put before the model again.
            "item_reference" | "compaction" | "compaction_summary" => self.elsewhere = true,
            "reasoning" if self.api == Api::Responses => self.elsewhere = true,
            "function_call" | "custom_tool_call" | "local_shell_call" | "shell_call"
            | "apply_patch_call" | "computer_call" | "mcp_call" | "tool_result" => {}
            call if call.ends_with("_call") || call.ends_with("_tool_result") => self.shown(),
            _ => {}
        }
    }
}

impl Strings for Seen {
    fn name(&mut self, depth: usize, name: Text<'_>, value: &[u8]) {
        let name = name.get();
        if depth == 1 {
            self.member(&name, value);
        }
        self.named = match &*name {
            "type" => Named::Kind,
            "ttl" => Named::Lifetime,
            "service_tier" | "serviceTier" if depth == 1 => Named::Tier,
            "speed" if depth == 1 => Named::Speed,
            "mimeType" | "mime_type" => Named::MediaType,
            _ => Named::Other,
        };
        match self.within {
            Within::Content | Within::Prompt => self.content_member(&name, value),
            Within::Tools => {
                if &*name == "cache_control" {
                    self.content_member(&name, value);
                }
                // Gemini's have no `type`: each is a member, of one in a list or of the only one.
                let declared = ["functionDeclarations", "function_declarations"];
                let is_tool = depth == 3 || depth == 2;
                if self.api == Api::Gemini && is_tool && !declared.contains(&&*name) {
                    // With nothing set it is on.
                    self.endless |= !is_off(value);
                }
            }
            Within::Generation if depth == 2 => match &*name {
                "maxOutputTokens" | "max_output_tokens" => self.output = self.output.or(value),
                "candidateCount" | "candidate_count" => self.choose(value),
                "speechConfig" | "speech_config" => self.endless = true,
                "responseModalities" | "response_modalities" => {
                    let end = memchr(b']', value).unwrap_or(value.len());
                    let list = value[..end].to_ascii_uppercase();
                    let makes = |kind: &[u8]| memchr::memmem::find(&list, kind).is_some();
                    self.endless |= makes(b"IMAGE") || makes(b"AUDIO") || makes(b"VIDEO");
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn value(&mut self, depth: usize, value: Text<'_>) {
        let named = std::mem::replace(&mut self.named, Named::Other);
        if self.within == Within::Prompt && self.api == Api::Completions && depth == 2 {
            self.prompts = self.prompts.saturating_add(1);
        }
        if named == Named::Other && self.within != Within::Modalities {
            return;
        }
        let value = value.get();
        match (named, self.within) {
            // In a list, or the only one.
            (Named::Kind, Within::Tools) if depth == 3 || depth == 2 => {
                self.endless |= !is_run_by_client(self.api, &value);
            }
            (Named::Kind, Within::Content) => self.content_kind(&value),
            (Named::Kind, Within::Context) => self.endless |= value.starts_with("compact"),
            (Named::MediaType, Within::Content)
                if value.starts_with("audio/") || value.starts_with("video/") =>
            {
                self.heard();
            }
            (Named::Lifetime, _) => self.for_an_hour |= &*value == "1h",
            (Named::Tier, _) => {
                self.tier = dearer_tier(self.tier.take(), &value);
            }
            (Named::Speed, _) if &*value == "fast" => {
                self.tier = dearer_tier(self.tier.take(), &value);
            }
            (_, Within::Modalities) => self.endless |= &*value != "text",
            _ => {}
        }
    }

    fn opens(&mut self, depth: usize, array: bool) {
        // A prompt of token ids among several.
        if array && depth == 3 && self.within == Within::Prompt && self.api == Api::Completions {
            self.prompts = self.prompts.saturating_add(1);
        }
    }
}

/// Whether a value says no more than none would. An empty object may: it asks for what it is the value
/// of, with everything in it as the provider likes.
fn says_nothing(value: &[u8]) -> bool {
    let is_empty_list = match value {
        [b'[', rest @ ..] => rest.trim_ascii_start().first() == Some(&b']'),
        _ => false,
    };
    is_off(value) || value.starts_with(b"\"\"") || is_empty_list
}

/// Whether a value takes back what its name asks for.
fn is_off(value: &[u8]) -> bool {
    value.starts_with(b"null") || value.starts_with(b"false")
}
