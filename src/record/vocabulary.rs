//! The closed vocabularies. Their names are public: labels, columns and API values.

/// A word that is not in a closed vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no {vocabulary}; one of: {known}")]
pub struct UnknownName {
    value: String,
    vocabulary: &'static str,
    known: String,
}

impl UnknownName {
    /// `value` where one of `known` was expected.
    #[must_use]
    pub fn new(value: &str, vocabulary: &'static str, known: &[&str]) -> Self {
        Self {
            value: value.to_owned(),
            vocabulary,
            known: known.join(", "),
        }
    }
}

/// Declares a closed set of names: an enum with `ALL`, `as_str`, `Display` and `FromStr`.
/// The journal stores the variant's index, so variants are only ever appended.
macro_rules! closed_set {
    ($(#[$meta:meta])* $name:ident ($vocabulary:literal) { $($(#[$doc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        pub enum $name { $($(#[$doc])* #[serde(rename = $text)] $variant,)+ }

        impl $name {
            /// Every member, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The public name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::record::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err($crate::record::UnknownName::new(other, $vocabulary, &[$($text),+])),
                }
            }
        }
    };
}

pub(crate) use closed_set;

closed_set! {
    /// Which API a request called.
    Api ("api") {
        /// Chat Completions.
        Chat => "chat",
        /// Responses.
        Responses => "responses",
        /// Completions, the legacy text API.
        Completions => "completions",
        /// Embeddings.
        Embeddings => "embeddings",
        /// Image generation, edits and variations.
        Images => "images",
        /// Transcription, translation and speech.
        Audio => "audio",
        /// Realtime, over WebSocket.
        Realtime => "realtime",
        /// Anthropic Messages.
        Messages => "messages",
        /// Gemini generateContent and its kin.
        Gemini => "gemini",
        /// Moderations.
        Moderations => "moderations",
        /// The list of models.
        Models => "models",
        /// Batches.
        Batches => "batches",
        /// Files and uploads.
        Files => "files",
        /// Anything else: proxied and recorded all the same.
        Other => "other",
    }
}

closed_set! {
    /// How a request, or one try at an upstream, ended.
    Outcome ("outcome") {
        /// The upstream's answer reached the client whole.
        Ok => "ok",
        /// The upstream failed: a 5xx, a broken answer, an error event inside a 200, or it judged
        /// the request wrong (4xx).
        UpstreamError => "upstream_error",
        /// The upstream asked to slow down.
        RateLimited => "rate_limited",
        /// The upstream's account is out of money.
        QuotaExhausted => "quota_exhausted",
        /// The upstream took longer than a limit.
        Timeout => "timeout",
        /// No connection to the upstream came about.
        ConnectError => "connect_error",
        /// The client left before the end.
        ClientClosed => "client_closed",
        /// A rule refused it.
        Blocked => "blocked",
        /// Tollgate refused it: a key, a size, a malformed path.
        Refused => "refused",
        /// No channel serves it.
        NoChannel => "no_channel",
        /// Tollgate itself was stopped in the middle.
        Interrupted => "interrupted",
        /// A fault of Tollgate's own.
        Internal => "internal",
    }
}

impl Outcome {
    /// Whether it counts as an error: all but an answer that reached the client whole and a client
    /// that left, which is no fault of the provider's or Tollgate's.
    #[must_use]
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::Ok | Self::ClientClosed)
    }
}

closed_set! {
    /// What a provider's rate limit counts.
    LimitKind ("rate limit") {
        /// Requests.
        Requests => "requests",
        /// Tokens.
        Tokens => "tokens",
    }
}

closed_set! {
    /// Where a request's token counts come from.
    UsageSource ("usage source") {
        /// The provider stated them.
        Reported => "reported",
        /// The provider stated a part before the answer was cut off.
        Partial => "partial",
        /// Counted by Tollgate.
        Estimated => "estimated",
        /// They should be there and are not.
        Missing => "missing",
        /// The API has no usage, or nothing was billed.
        None => "none",
    }
}

closed_set! {
    /// A kind of token. Disjoint: counts of all types add up.
    TokenType ("token type") {
        /// Input text that was not cached.
        Input => "input",
        /// Input read from the provider's cache.
        InputCached => "input_cached",
        /// Input written to the provider's cache.
        InputCacheWrite => "input_cache_write",
        /// Visible output text.
        Output => "output",
        /// Output spent on reasoning.
        Reasoning => "reasoning",
        /// Audio in.
        InputAudio => "input_audio",
        /// Audio out.
        OutputAudio => "output_audio",
        /// Images in.
        InputImage => "input_image",
        /// Images out.
        OutputImage => "output_image",
    }
}

closed_set! {
    /// What is billed besides tokens.
    Unit ("unit") {
        /// Searches of the web that the provider made for the answer.
        WebSearch => "web_search",
        /// Searches of the provider's file store.
        FileSearch => "file_search",
        /// Images made.
        Image => "image",
        /// Audio, in milliseconds.
        AudioMs => "audio_ms",
        /// Characters turned into speech.
        Character => "character",
        /// How many of the `input_cache_write` tokens live an hour: a part of that count, at a
        /// price of its own (Anthropic).
        CacheWrite1h => "cache_write_1h",
        /// Uses of the provider's tools that are billed and have no price here (a container for
        /// code, an image made on the way, maps): what has some has no cost.
        OtherTool => "other_tool",
    }
}

impl Unit {
    /// The ledger's column and the API's member: the name, counted.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Self::WebSearch => "web_searches",
            Self::FileSearch => "file_searches",
            Self::Image => "images",
            Self::AudioMs => "audio_ms",
            Self::Character => "characters",
            Self::CacheWrite1h => "cache_write_1h_tokens",
            Self::OtherTool => "other_tools",
        }
    }
}

closed_set! {
    /// That a row's usage belongs to something whose making and whose usage are told apart.
    Deferral ("deferral") {
        /// The usage is still to come, under the row's response id (background mode).
        Opened => "opened",
        /// The row carries the usage of something made earlier, counted once by its response id.
        Settled => "settled",
    }
}

closed_set! {
    /// A phase of a request's life.
    Phase ("phase") {
        /// The client's body, as far as it was read before an upstream was chosen.
        ReadRequest => "read_request",
        /// Choosing a channel and checking rules.
        Admit => "admit",
        /// Until a connection to the upstream was there.
        Connect => "connect",
        /// From the request sent to the response headers.
        Wait => "wait",
        /// From the response headers to the first body byte.
        FirstByte => "first_byte",
        /// From the start to the first content-bearing delta; streams only.
        FirstToken => "first_token",
        /// From the first to the last body byte.
        Stream => "stream",
        /// From the request's header to the end of the answer.
        Total => "total",
        /// Total less every wait for the client or the upstream.
        Overhead => "overhead",
    }
}

closed_set! {
    /// Whose fault a failure was.
    ErrorSource ("error source") {
        /// The provider or the way to it.
        Upstream => "upstream",
        /// The client or the way to it.
        Downstream => "downstream",
        /// Tollgate.
        Internal => "internal",
    }
}

closed_set! {
    /// Where a row comes from.
    Source ("source") {
        /// A request that passed through the proxy.
        Proxy => "proxy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_told_the_vocabulary() {
        for &api in Api::ALL {
            assert_eq!(api.as_str().parse::<Api>().unwrap(), api);
        }
        let error = "chatt".parse::<Api>().unwrap_err().to_string();
        assert!(error.starts_with("`chatt` is no api; one of: chat, responses"));
    }
}
