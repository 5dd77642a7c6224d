//! What a JSON request body says about itself, and the injection of `include_usage`.

use std::ops::Range;

use super::api::{Asked, conventions};
use super::json::{Place, Progress, Scanner, Sink};
use super::rename::{ModelPlace, Splice, spliced};
use super::text;
use crate::record::Api;

/// Longest model, end user or service tier that is read.
const NAME_MAX: usize = 256;

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
    /// `safety_identifier`, else `user`; `None` also when longer than 256 bytes.
    pub end_user: Option<Box<str>>,
    /// `service_tier` as asked for.
    pub service_tier: Option<Box<str>>,
    /// The most output tokens the request allows, by the API's own key.
    pub max_output_tokens: Option<u64>,
    /// How many answers are asked for (`n`).
    pub choices: Option<u64>,
    /// Characters of the text to be spoken (Speech): Unicode scalar values.
    pub input_characters: Option<u64>,
    /// `background` (Responses).
    pub background: Option<bool>,
    /// `previous_response_id` (Responses): what only the channel that made it can go on from.
    pub previous_response: Option<Box<str>>,
    /// `data_sources`: Azure answers from the caller's own data, and refuses `stream_options` then.
    pub data_sources: bool,
    /// The body is one JSON object from its first to its last byte. The check is structural:
    /// what stands inside skipped values is not validated.
    pub well_formed: bool,
    /// Where `model` stands in the body.
    pub model_place: Option<ModelPlace>,
    body: Object,
    stream_options: Option<StreamOptions>,
}

impl RequestFacts {
    /// Nothing is known yet.
    pub(super) fn none(api: Api) -> Self {
        Self {
            api,
            model: None,
            stream: None,
            asked_for_usage: false,
            end_user: None,
            service_tier: None,
            max_output_tokens: None,
            choices: None,
            input_characters: None,
            background: None,
            previous_response: None,
            data_sources: false,
            well_formed: false,
            model_place: None,
            body: Object::default(),
            stream_options: None,
        }
    }

    /// What asks for usage in `body`, on which these facts were read; `None` when nothing is to be
    /// changed: not a Chat or Completions stream, asked for already, not well formed, or refused with
    /// it (`data_sources`).
    #[must_use]
    pub fn usage_injection(&self, body: &[u8]) -> Option<Splice> {
        let wanted = conventions(self.api).usage_on_request
            && self.well_formed
            && self.stream == Some(true)
            && !self.asked_for_usage
            && !self.data_sources
            // The scanner does not look into strings; JSON is UTF-8 in them too (RFC 8259, 8.1).
            && std::str::from_utf8(body).is_ok();
        wanted.then(|| self.injection())
    }

    fn injection(&self) -> Splice {
        let (place, text) = match &self.stream_options {
            None => (
                self.body.inside..self.body.inside,
                // A stream's body has members: it says `stream`.
                &br#""stream_options":{"include_usage":true},"#[..],
            ),
            Some(StreamOptions {
                object: None,
                value,
                ..
            }) => (value.clone(), &br#"{"include_usage":true}"#[..]),
            Some(StreamOptions {
                include_usage: Some(value),
                ..
            }) => (value.clone(), &b"true"[..]),
            Some(StreamOptions {
                object: Some(object),
                ..
            }) => (
                object.inside..object.inside,
                if object.empty {
                    &br#""include_usage":true"#[..]
                } else {
                    &br#""include_usage":true,"#[..]
                },
            ),
        };
        Splice::new(place, text)
    }
}

/// Where an object begins, after its `{`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Object {
    inside: usize,
    empty: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct StreamOptions {
    value: Range<usize>,
    /// What is in it, when it is an object.
    object: Option<Object>,
    include_usage: Option<Range<usize>>,
}

/// Reads the facts of `body` in one pass that builds no values. Never fails: a body that is no
/// JSON object yields what was read up to the fault, with `well_formed` false.
#[must_use]
pub fn read_request(api: Api, body: &[u8]) -> RequestFacts {
    let mut reader = Reader {
        facts: RequestFacts::none(api),
        is_object: false,
        user: None,
        max_output_tokens_old: None,
        input: None,
    };
    let mut scanner = Scanner::unescaping(conventions(api).request);
    scanner.feed(body, &mut reader);
    let Reader {
        mut facts,
        is_object,
        user,
        max_output_tokens_old,
        input,
    } = reader;
    facts.well_formed = is_object && scanner.progress() == Progress::Done && !scanner.trailing();
    facts.end_user = facts.end_user.or(user);
    facts.max_output_tokens = facts.max_output_tokens.or(max_output_tokens_old);
    facts.input_characters = input.and_then(|place| text::characters(body.get(place)?));
    facts
}

struct Reader {
    facts: RequestFacts,
    is_object: bool,
    user: Option<Box<str>>,
    max_output_tokens_old: Option<u64>,
    /// Where the text to be spoken stands: it may be longer than what a sink is handed.
    input: Option<Range<usize>>,
}

/// A string member; anything else is no name.
fn name(token: &[u8]) -> Option<Box<str>> {
    token
        .starts_with(b"\"")
        .then(|| text::whole(token, NAME_MAX))
        .flatten()
}

impl Sink<Asked> for Reader {
    fn scalar(&mut self, mark: Asked, token: &[u8], place: Place) {
        let facts = &mut self.facts;
        match mark {
            Asked::Body
            | Asked::Kind
            | Asked::EventId
            | Asked::Lane
            | Asked::Tool
            | Asked::Endless => {}
            Asked::Model => {
                facts.model = name(token);
                let place = place.start..place.end;
                facts.model_place = facts.model.is_some().then(|| ModelPlace::in_json(place));
            }
            Asked::Stream => facts.stream = text::boolean(token),
            Asked::StreamOptions => {
                facts.asked_for_usage = false;
                facts.stream_options = Some(StreamOptions {
                    value: place.start..place.end,
                    object: None,
                    include_usage: None,
                });
            }
            Asked::IncludeUsage => self.include_usage(text::boolean(token), place),
            Asked::User => self.user = name(token),
            Asked::SafetyIdentifier => facts.end_user = name(token),
            Asked::ServiceTier => facts.service_tier = name(token),
            Asked::MaxOutputTokens => facts.max_output_tokens = text::count(token),
            Asked::MaxOutputTokensOld => self.max_output_tokens_old = text::count(token),
            Asked::Choices => facts.choices = text::count(token),
            Asked::Background => facts.background = text::boolean(token),
            Asked::PreviousResponse => facts.previous_response = name(token),
            Asked::DataSources => facts.data_sources = false,
            Asked::Input => self.input = Some(place.start..place.end),
            Asked::StreamFormat => facts.stream = Some(token == b"\"sse\""),
        }
    }

    fn open(&mut self, mark: Asked, start: usize, array: bool) {
        let object = Object {
            inside: start + 1,
            empty: false,
        };
        match mark {
            Asked::Body => {
                self.is_object = !array;
                self.facts.body = object;
            }
            Asked::StreamOptions => {
                self.facts.asked_for_usage = false;
                self.facts.stream_options = Some(StreamOptions {
                    value: start..start,
                    object: (!array).then_some(object),
                    include_usage: None,
                });
            }
            // An object where a name or number belongs: the last one counts, and says nothing.
            Asked::Model => {
                self.facts.model = None;
                self.facts.model_place = None;
            }
            Asked::Stream | Asked::StreamFormat => self.facts.stream = None,
            Asked::User => self.user = None,
            Asked::SafetyIdentifier => self.facts.end_user = None,
            Asked::ServiceTier => self.facts.service_tier = None,
            Asked::MaxOutputTokens => self.facts.max_output_tokens = None,
            Asked::MaxOutputTokensOld => self.max_output_tokens_old = None,
            Asked::Choices => self.facts.choices = None,
            Asked::Background => self.facts.background = None,
            Asked::PreviousResponse => self.facts.previous_response = None,
            Asked::DataSources => self.facts.data_sources = true,
            Asked::Input => self.input = None,
            Asked::IncludeUsage
            | Asked::Kind
            | Asked::EventId
            | Asked::Lane
            | Asked::Tool
            | Asked::Endless => {}
        }
    }

    fn close(&mut self, mark: Asked, place: Place, empty: bool) {
        match mark {
            Asked::Body => self.facts.body.empty = empty,
            Asked::StreamOptions => {
                if let Some(options) = &mut self.facts.stream_options {
                    options.value.end = place.end;
                    if let Some(object) = &mut options.object {
                        object.empty = empty;
                    }
                }
            }
            Asked::IncludeUsage => self.include_usage(None, place),
            _ => {}
        }
    }
}

impl Reader {
    fn include_usage(&mut self, value: Option<bool>, place: Place) {
        self.facts.asked_for_usage = value == Some(true);
        if let Some(options) = &mut self.facts.stream_options {
            options.include_usage = Some(place.start..place.end);
        }
    }
}

/// Whether the upstream knows `stream_options`, by the query it is asked with: classic Azure refuses
/// requests that have it where `api-version` is before 2024-09-01.
#[must_use]
pub fn knows_stream_options(query: Option<&str>) -> bool {
    const FIRST: &str = "2024-09-01";
    let mut pairs = query.unwrap_or_default().split('&');
    let version = pairs.find_map(|pair| pair.strip_prefix("api-version="));
    let is_date = |version: &&str| version.starts_with(|first: char| first.is_ascii_digit());
    version.filter(is_date).is_none_or(|date| date >= FIRST)
}

/// The body with `stream_options.include_usage: true` spliced in, all else byte for byte the same;
/// `None` when nothing is to be changed ([`RequestFacts::usage_injection`]). `facts` must come from
/// [`read_request`] on this very `body`.
#[must_use]
pub fn inject_include_usage(body: &[u8], facts: &RequestFacts) -> Option<Vec<u8>> {
    spliced(body, [&facts.usage_injection(body)?])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn injected(api: Api, body: &str) -> Option<String> {
        let facts = read_request(api, body.as_bytes());
        inject_include_usage(body.as_bytes(), &facts).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn old_versions_of_azure_do_not_know_stream_options() {
        for (query, knows) in [
            (None, true),
            (Some(""), true),
            (Some("api-version=2024-10-21"), true),
            (Some("a=b&api-version=2024-09-01-preview"), true),
            (Some("api-version=preview"), true),
            (Some("api-version=2024-08-01-preview"), false),
            (Some("api-version=2023-05-15&a=b"), false),
        ] {
            assert_eq!(knows_stream_options(query), knows, "{query:?}");
        }
    }

    #[test]
    fn facts_of_a_chat_request() {
        let body = r#"{"messages":[{"role":"user","content":"say \"model\": \\"}], "user":"u-1",
            "temperature":0.5,"stream":true,"stream_options":{"include_usage":true},"n":2,
            "max_tokens":10,"max_completion_tokens":"50","service_tier":"flex",
            "metadata":{"model":"not this","stream":false},"model":"gpt-\u0035.1\/x"}"#;
        let facts = read_request(Api::Chat, body.as_bytes());
        assert_eq!(facts.model.as_deref(), Some("gpt-5.1/x"));
        assert_eq!(facts.stream, Some(true));
        assert!(facts.asked_for_usage);
        assert_eq!(facts.end_user.as_deref(), Some("u-1"));
        assert_eq!(facts.service_tier.as_deref(), Some("flex"));
        assert_eq!(facts.max_output_tokens, Some(50));
        assert_eq!(facts.choices, Some(2));
        assert!(facts.well_formed);
    }

    #[test]
    fn facts_of_a_responses_request() {
        let body = br#"{"model":"gpt-5","input":[{"role":"user","content":[]}],"stream":true,
            "user":"old","safety_identifier":"new","max_output_tokens":9,"background":true}"#;
        let facts = read_request(Api::Responses, body);
        assert_eq!(facts.end_user.as_deref(), Some("new"));
        assert_eq!(facts.max_output_tokens, Some(9));
        assert_eq!(facts.background, Some(true));
        assert_eq!(inject_include_usage(body, &facts), None);
    }

    #[test]
    fn a_response_that_goes_on_from_another_says_so() {
        let body = br#"{"previous_response_id":"resp_1","model":"gpt-5"}"#;
        let facts = read_request(Api::Responses, body);
        assert_eq!(facts.previous_response.as_deref(), Some("resp_1"));
        let facts = read_request(Api::Chat, body);
        assert_eq!(facts.previous_response, None);
    }

    #[test]
    fn the_last_of_two_equal_members_counts() {
        let facts = read_request(
            Api::Chat,
            br#"{"model":"a","stream":true,"model":"b","stream":false,"user":"u","user":{}}"#,
        );
        assert_eq!(facts.model.as_deref(), Some("b"));
        assert_eq!(facts.stream, Some(false));
        assert_eq!(facts.end_user, None);
        let facts = read_request(Api::Chat, br#"{"model":"a","model":7}"#);
        assert_eq!(facts.model, None);
    }

    #[test]
    fn an_escaped_member_name_hides_nothing() {
        let facts = read_request(Api::Chat, br#"{"mod\u0065l":"gpt-5","\u0073tream":true}"#);
        assert_eq!(facts.model.as_deref(), Some("gpt-5"));
        assert_eq!(facts.stream, Some(true));
    }

    #[test]
    fn malformed_bodies_say_what_came_before_the_fault() {
        for body in [
            r#"{"model":"m","stream":true"#,
            r#"{"model":"m","stream":true,}"#,
            r#"{"model":"m","stream":true}}"#,
            r#"{"model":"m","stream":true} x"#,
            r#"{"model":"m","stream":true,"messages":[}"#,
            r#"{"model":"m","stream":true,"messages":[{]}]}"#,
            r#"{"model":"m","stream":true,"messages" []}"#,
            r#"{"model":"m","stream":true,"messages":["unclosed]}"#,
            r#"{"model":"m","stream":true,]"#,
        ] {
            let facts = read_request(Api::Chat, body.as_bytes());
            assert!(!facts.well_formed, "{body}");
            assert_eq!(facts.model.as_deref(), Some("m"), "{body}");
            assert_eq!(
                inject_include_usage(body.as_bytes(), &facts),
                None,
                "{body}"
            );
        }
        for body in [
            "",
            " ",
            "null",
            "[]",
            "[{\"model\":\"m\"}]",
            "\"x\"",
            "\u{feff}{}",
            "{\"a\"}",
        ] {
            let facts = read_request(Api::Chat, body.as_bytes());
            assert!(!facts.well_formed, "{body}");
            assert_eq!(facts.model, None, "{body}");
        }
    }

    #[test]
    fn names_are_bounded_and_numbers_tolerant() {
        let long = format!(
            r#"{{"model":"{}","n":"3","max_tokens":-1}}"#,
            "m".repeat(257)
        );
        let facts = read_request(Api::Chat, long.as_bytes());
        assert_eq!(facts.model, None);
        assert_eq!(facts.choices, Some(3));
        assert_eq!(facts.max_output_tokens, None);
        assert!(facts.well_formed);
    }

    #[test]
    fn usage_is_asked_for_by_the_smallest_change() {
        for (body, expected) in [
            (
                r#"{ "stream" : true }"#,
                Some(r#"{"stream_options":{"include_usage":true}, "stream" : true }"#),
            ),
            (
                r#"{"stream":true,"stream_options":{}}"#,
                Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
            ),
            (
                r#"{"stream":true,"stream_options": { "include_obfuscation":false } }"#,
                Some(
                    r#"{"stream":true,"stream_options": {"include_usage":true, "include_obfuscation":false } }"#,
                ),
            ),
            (
                r#"{"stream":true,"stream_options":{"a":1,"include_usage": false ,"b":2}}"#,
                Some(r#"{"stream":true,"stream_options":{"a":1,"include_usage": true ,"b":2}}"#),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":{"x":[1]}}}"#,
                Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
            ),
            (
                r#"{"stream_options":null,"stream":true}"#,
                Some(r#"{"stream_options":{"include_usage":true},"stream":true}"#),
            ),
            (
                r#"{"stream_options":"x","stream":true}"#,
                Some(r#"{"stream_options":{"include_usage":true},"stream":true}"#),
            ),
            (
                r#"{"stream_options":["include_usage"],"stream":true}"#,
                Some(r#"{"stream_options":{"include_usage":true},"stream":true}"#),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":true},"stream_options":{}}"#,
                Some(
                    r#"{"stream":true,"stream_options":{"include_usage":true},"stream_options":{"include_usage":true}}"#,
                ),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":true,"include_usage":false}}"#,
                Some(
                    r#"{"stream":true,"stream_options":{"include_usage":true,"include_usage":true}}"#,
                ),
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
                None,
            ),
            (
                r#"{"stream":true,"stream_options":{},"stream_options":{"include_usage":true}}"#,
                None,
            ),
            (r#"{"stream":false}"#, None),
            (r#"{"stream":"true"}"#, None),
            (r#"{"stream":true,"stream":false}"#, None),
            ("{}", None),
        ] {
            assert_eq!(injected(Api::Chat, body).as_deref(), expected, "{body}");
            assert_eq!(
                injected(Api::Completions, body).as_deref(),
                expected,
                "{body}"
            );
            assert_eq!(injected(Api::Responses, body), None);
            assert_eq!(injected(Api::Embeddings, body), None);
        }
    }

    /// JSON as clients write it: any value, any spacing.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|number| json!(f64::from(number) / 4.0)),
            any::<String>().prop_map(Value::from),
            Just(json!("\"stream\":true,\\")),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key(), inner), 0..4)
                    .prop_map(|members| Value::from(Map::from_iter(members))),
            ]
        })
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("model".to_owned()),
            Just("stream".to_owned()),
            Just("stream_options".to_owned()),
            Just("include_usage".to_owned()),
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn injection_means_what_a_json_parser_would_make_of_it(
            members in prop::collection::vec((key(), value()), 0..6),
            stream in prop_oneof![Just(json!(true)), value()],
            pretty: bool,
        ) {
            let mut object = Map::from_iter(members);
            object.insert("stream".into(), stream);
            let before = Value::from(object);
            let text = if pretty {
                serde_json::to_string_pretty(&before).unwrap()
            } else {
                before.to_string()
            };
            let facts = read_request(Api::Chat, text.as_bytes());
            prop_assert!(facts.well_formed);
            prop_assert_eq!(facts.stream, before["stream"].as_bool());
            let asked = before["stream_options"]["include_usage"] == json!(true);
            prop_assert_eq!(facts.asked_for_usage, asked);
            let after = inject_include_usage(text.as_bytes(), &facts);
            if before["stream"] != json!(true) || asked {
                prop_assert_eq!(after, None);
                return Ok(());
            }
            let after = after.unwrap();
            let mut expected = before.clone();
            if !expected["stream_options"].is_object() {
                expected["stream_options"] = json!({});
            }
            expected["stream_options"]["include_usage"] = json!(true);
            prop_assert_eq!(serde_json::from_slice::<Value>(&after).unwrap(), expected);
            // A single splice: what stands before and after it is untouched.
            let prefix = text.bytes().zip(&after).take_while(|(old, new)| old == *new).count();
            let suffix = text.bytes().rev().zip(after.iter().rev())
                .take_while(|(old, new)| old == *new).count();
            let replaced = before["stream_options"].to_string().len().max(
                serde_json::to_string_pretty(&before["stream_options"]).unwrap().len() * 2);
            prop_assert!(prefix + suffix + replaced >= text.len());
        }

        #[test]
        fn any_bytes_are_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let facts = read_request(Api::Chat, &body);
            let injected = inject_include_usage(&body, &facts);
            prop_assert!(injected.is_none() || facts.well_formed);
        }
    }
}
