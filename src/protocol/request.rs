//! What a JSON request body says about itself, and the injection of `include_usage`.

use crate::record::Api;

/// What the top level of a request body says. Where a key is written twice, the last one counts,
/// as in most JSON parsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// The API the body was read for.
    pub api: Api,
    /// `model`, unescaped; `None` when absent, no string, empty or longer than 256 bytes.
    pub model: Option<Box<str>>,
    /// `stream`; `None` when absent or no boolean.
    pub stream: Option<bool>,
    /// `stream_options.include_usage` is `true`.
    pub asked_for_usage: bool,
    /// `safety_identifier`, else `user`; at most 256 bytes.
    pub end_user: Option<Box<str>>,
    /// `service_tier` as asked for.
    pub service_tier: Option<Box<str>>,
    /// The most output tokens the request allows, by the API's own key.
    pub max_output_tokens: Option<u64>,
    /// How many answers are asked for (`n`).
    pub choices: Option<u64>,
    /// `background` (Responses).
    pub background: Option<bool>,
    /// The body is one JSON object from its first to its last byte. The check is structural:
    /// what stands inside skipped values is not validated.
    pub well_formed: bool,
}

/// Reads the facts of `body` in one pass that builds no values. Never fails: a body that is no
/// JSON object yields what was read up to the fault, with `well_formed` false.
#[must_use]
pub fn read_request(api: Api, body: &[u8]) -> RequestFacts {
    let _ = body;
    RequestFacts {
        api,
        model: None,
        stream: None,
        asked_for_usage: false,
        end_user: None,
        service_tier: None,
        max_output_tokens: None,
        choices: None,
        background: None,
        well_formed: false,
    }
}

/// The body with `stream_options.include_usage: true` spliced in, all else byte for byte the same;
/// `None` when nothing is to be changed: not a Chat or Completions stream, asked for already, or
/// not well formed. `facts` must come from [`read_request`] on this very `body`.
#[must_use]
pub fn inject_include_usage(body: &[u8], facts: &RequestFacts) -> Option<Vec<u8>> {
    let _ = (body, facts);
    None
}
