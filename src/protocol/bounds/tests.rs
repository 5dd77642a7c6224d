use proptest::prelude::*;
use serde_json::{Value, json};

use super::seen::{UNSEEN_TOKENS, UNSEEN_WITH_TOOLS};
use super::*;
use crate::tokenizer::Encoding;

fn of(api: Api, body: &Value) -> Option<Bounds> {
    bounds(api, body.to_string().as_bytes())
}

/// What is known of a request that says nothing special, for a body of so many bytes.
fn plain(body_bytes: usize) -> Bounds {
    Bounds {
        input_tokens: Some(body_bytes as u64 + UNSEEN_TOKENS),
        inputs: Some(1),
        output_tokens: None,
        answers: 1,
        predicted_tokens: 0,
        cache: CacheWrites::Short,
        media: Media::default(),
        service_tier: None,
    }
}

/// `body` with `more` in it.
fn with(mut body: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut body, more) else {
        panic!("two objects");
    };
    members.extend(more);
    body
}

fn chat() -> Value {
    json!({"model": "gpt-5", "messages": [{"role": "user", "content": "hello"}]})
}

fn responses() -> Value {
    json!({"model": "gpt-5", "input": "hello"})
}

fn messages() -> Value {
    json!({"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]})
}

fn gemini() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]})
}

#[test]
fn text_is_bounded_by_its_bytes() {
    for (api, body) in [
        (Api::Chat, chat()),
        (Api::Responses, responses()),
        (Api::Gemini, gemini()),
    ] {
        assert_eq!(of(api, &body).unwrap(), plain(body.to_string().len()));
    }
    let claude = of(Api::Messages, &messages()).unwrap();
    assert_eq!(claude.cache, CacheWrites::Nothing);
    assert_eq!(claude.output_tokens, Some(9));
}

#[test]
fn each_api_says_in_its_own_words_how_much_it_may_write() {
    let generation = |more| json!({"generationConfig": more});
    for (api, body, more, output, answers) in [
        (Api::Chat, chat(), json!({"max_tokens": 7}), Some(7), 1),
        (
            Api::Chat,
            chat(),
            json!({"max_tokens": 7, "max_completion_tokens": 9, "n": 3}),
            Some(9),
            3,
        ),
        // Not its word: a provider passes it over.
        (Api::Chat, chat(), json!({"max_output_tokens": 7}), None, 1),
        (Api::Chat, chat(), json!({"max_tokens": -1}), None, 1),
        (
            Api::Chat,
            chat(),
            json!({"max_tokens": null, "n": null}),
            None,
            1,
        ),
        (
            Api::Responses,
            responses(),
            json!({"max_output_tokens": "12"}),
            Some(12),
            1,
        ),
        (
            Api::Gemini,
            gemini(),
            generation(json!({"maxOutputTokens": 5, "candidateCount": 2})),
            Some(5),
            2,
        ),
        (
            Api::Gemini,
            gemini(),
            generation(json!({"max_output_tokens": 5, "candidate_count": 2})),
            Some(5),
            2,
        ),
        (
            Api::Completions,
            json!({"prompt": ["a", "b", "c"]}),
            json!({"max_tokens": 4, "n": 2, "best_of": 5}),
            Some(4),
            15,
        ),
        (
            Api::Completions,
            json!({"prompt": [[1, 2], [3]]}),
            json!({"n": 2}),
            None,
            4,
        ),
        (
            Api::Completions,
            json!({"prompt": [1, 2, 3]}),
            json!({}),
            None,
            1,
        ),
        (
            Api::Embeddings,
            json!({"input": ["a", "b"]}),
            json!({}),
            None,
            0,
        ),
        (
            Api::Moderations,
            json!({"input": ["a", "b"]}),
            json!({}),
            None,
            0,
        ),
        (
            Api::Gemini,
            json!({"requests": [{"content": {"parts": [{"text": "a"}]}}]}),
            json!({}),
            None,
            0,
        ),
    ] {
        let body = with(body, more);
        let seen = of(api, &body).unwrap();
        assert_eq!(
            (seen.output_tokens, seen.answers),
            (output, answers),
            "{body}"
        );
    }
    let twice = br#"{"messages":[],"max_tokens":9,"max_tokens":3}"#;
    assert_eq!(bounds(Api::Chat, twice).unwrap().output_tokens, Some(9));
}

#[test]
fn what_lies_elsewhere_is_bounded_by_the_model_alone() {
    let part = |part| json!({"messages": [{"role": "user", "content": [part]}]});
    for (api, more, hears, sees) in [
        (
            Api::Responses,
            json!({"previous_response_id": "resp_1"}),
            false,
            false,
        ),
        (
            Api::Responses,
            json!({"conversation": {"id": "c"}}),
            false,
            false,
        ),
        (
            Api::Responses,
            json!({"input": [{"type": "item_reference", "id": "a"}]}),
            false,
            false,
        ),
        (
            Api::Responses,
            json!({"input": [{"type": "web_search_call", "id": "a"}]}),
            false,
            true,
        ),
        (
            Api::Chat,
            part(json!({"type": "image_url", "image_url": {"url": "https://a"}})),
            false,
            true,
        ),
        (
            Api::Chat,
            part(json!({"type": "file", "file": {"file_id": "a"}})),
            false,
            true,
        ),
        (
            Api::Chat,
            part(json!({"type": "input_audio", "input_audio": {"data": "aaaa"}})),
            true,
            true,
        ),
        (
            Api::Messages,
            part(json!({"type": "image", "source": {"type": "base64", "data": "aaaa"}})),
            false,
            true,
        ),
        (
            Api::Messages,
            part(json!({"type": "tool_result", "content": [{"type": "image", "source": {}}]})),
            false,
            true,
        ),
        (
            Api::Gemini,
            json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]}),
            false,
            true,
        ),
        (
            Api::Gemini,
            json!({"contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav"}}]}]}),
            true,
            true,
        ),
        (
            Api::Gemini,
            json!({"contents": [{"parts": [{"fileData": {"fileUri": "a"}}]}]}),
            true,
            true,
        ),
        (
            Api::Gemini,
            json!({"contents": [], "cachedContent": "a"}),
            false,
            false,
        ),
    ] {
        let seen = of(api, &more).unwrap();
        assert_eq!(
            (seen.input_tokens, seen.media.hears, seen.media.sees),
            (None, hears, sees),
            "{more}"
        );
    }
    let escaped = br#"{"input":"a","previous\u005fresponse_id":"resp_1"}"#;
    assert_eq!(bounds(Api::Responses, escaped).unwrap().input_tokens, None);
}

#[test]
fn what_the_provider_runs_has_no_bound() {
    let tool = |kind: &str| json!({"tools": [{"type": kind}]});
    for (api, body, more) in [
        (Api::Responses, responses(), tool("web_search")),
        (
            Api::Responses,
            responses(),
            tool("web_search_preview_2025_03_11"),
        ),
        (Api::Responses, responses(), tool("file_search")),
        (Api::Responses, responses(), tool("code_interpreter")),
        (Api::Responses, responses(), tool("mcp")),
        (Api::Responses, responses(), tool("image_generation")),
        (
            Api::Responses,
            responses(),
            json!({"prompt": {"id": "pmpt_1"}}),
        ),
        (
            Api::Responses,
            responses(),
            json!({"context_management": [{"type": "compaction"}]}),
        ),
        (
            Api::Chat,
            chat(),
            json!({"web_search_options": {"user_location": 1}}),
        ),
        // All of them the provider's defaults.
        (Api::Chat, chat(), json!({"web_search_options": {}})),
        (Api::Chat, chat(), json!({"search_parameters": {}})),
        (Api::Chat, chat(), json!({"modalities": ["text", "audio"]})),
        (Api::Chat, chat(), json!({"data_sources": [{}]})),
        (Api::Chat, chat(), json!({"models": ["a", "b"]})),
        (Api::Chat, chat(), json!({"n": "many"})),
        (Api::Messages, messages(), tool("web_search_20250305")),
        (Api::Messages, messages(), tool("code_execution_20250522")),
        (
            Api::Messages,
            messages(),
            json!({"mcp_servers": [{"url": "a"}]}),
        ),
        (
            Api::Messages,
            messages(),
            json!({"context_management": {"edits": [{"type": "compact_20260112"}]}}),
        ),
        (
            Api::Gemini,
            gemini(),
            json!({"tools": [{"googleSearch": {"a": 1}}]}),
        ),
        (
            Api::Gemini,
            gemini(),
            json!({"tools": [{"googleSearch": {}}]}),
        ),
        (
            Api::Gemini,
            gemini(),
            json!({"tools": [{"codeExecution": {}}]}),
        ),
        (
            Api::Gemini,
            gemini(),
            json!({"tools": [{"functionDeclarations": []}, {"url_context": { }}]}),
        ),
        // One tool, and no list of them.
        (
            Api::Gemini,
            gemini(),
            json!({"tools": {"googleSearch": {}}}),
        ),
        (
            Api::Responses,
            responses(),
            json!({"tools": {"type": "web_search"}}),
        ),
        (
            Api::Gemini,
            gemini(),
            json!({"generationConfig": {"responseModalities": ["Text", "Image"]}}),
        ),
    ] {
        let body = with(body, more);
        assert_eq!(of(api, &body), None, "{body}");
    }
}

#[test]
fn what_is_not_understood_has_no_bound() {
    for api in [
        Api::Images,
        Api::Audio,
        Api::Batches,
        Api::Realtime,
        Api::Other,
    ] {
        assert_eq!(of(api, &chat()), None, "{api}");
    }
    for body in [
        &b""[..],
        b"[]",
        b"null",
        b"{\"messages\":[",
        b"{} {}",
        b"\xff",
    ] {
        assert_eq!(bounds(Api::Chat, body), None, "{body:?}");
    }
}

#[test]
fn tools_that_the_client_runs_have_no_fees() {
    let schema = json!({"type": "object", "properties": {
        "type": {"type": "string"}, "web_search": {"type": "array", "items": {"type": "object"}}}});
    for (api, body, tools) in [
        (
            Api::Chat,
            chat(),
            json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]),
        ),
        (
            Api::Responses,
            responses(),
            json!([{"type": "function", "name": "web_search", "parameters": schema},
                {"type": "custom", "name": "patch"}, {"type": "local_shell"}]),
        ),
        (
            Api::Messages,
            messages(),
            json!([{"name": "f", "input_schema": schema}, {"type": "bash_20250124", "name": "bash"}]),
        ),
        (
            Api::Gemini,
            gemini(),
            json!([{"functionDeclarations": [{"name": "f", "parameters": schema}]}]),
        ),
        (
            Api::Gemini,
            gemini(),
            json!({"functionDeclarations": [{"name": "f", "parameters": schema}]}),
        ),
        (
            Api::Gemini,
            gemini(),
            json!([{"googleSearch": null, "functionDeclarations": [{"name": "f"}]}]),
        ),
    ] {
        let body = with(body, json!({ "tools": tools }));
        let bytes = body.to_string().len() as u64;
        let seen = of(api, &body).unwrap();
        assert_eq!(seen.input_tokens, Some(bytes + UNSEEN_WITH_TOOLS), "{body}");
    }
    let nothing = json!({"tools": [], "plugins": [], "enable_search": false, "audio": null});
    assert!(of(Api::Chat, &with(chat(), nothing)).is_some());
}

#[test]
fn talk_of_these_words_is_text() {
    let words = r#""web_search" "image_url": {"cache_control": "1h"} \"type\": \"mcp\""#;
    let body = json!({"messages": [{"role": "user", "content": words}, {"content": "web_search"}]});
    assert_eq!(of(Api::Chat, &body).unwrap(), plain(body.to_string().len()));
}

#[test]
fn caches_tiers_and_predictions_are_seen() {
    let cached = json!({"system": [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]});
    let seen = of(Api::Messages, &with(messages(), cached)).unwrap();
    assert_eq!(seen.cache, CacheWrites::Hour);
    for (api, more, tier) in [
        (
            Api::Chat,
            json!({"service_tier": "priority"}),
            Some("priority"),
        ),
        (Api::Chat, json!({"service_tier": "auto"}), None),
        (
            Api::Messages,
            json!({"service_tier": "standard_only"}),
            None,
        ),
        (Api::Messages, json!({"speed": "fast"}), Some("fast")),
    ] {
        let seen = of(api, &with(messages(), more)).unwrap();
        assert_eq!(seen.service_tier.as_deref(), tier);
    }
    // Which of two counts is the provider's choice; the usual one counts in any case.
    for (api, body, tier) in [
        (
            Api::Chat,
            r#"{"service_tier": "priority", "service_tier": "flex"}"#,
            Some("several"),
        ),
        (
            Api::Chat,
            r#"{"service_tier": "priority", "service_tier": "auto"}"#,
            Some("priority"),
        ),
        (
            Api::Chat,
            r#"{"service_tier": "flex", "service_tier": "flex"}"#,
            Some("flex"),
        ),
        (
            Api::Messages,
            r#"{"speed": "fast", "speed": "standard"}"#,
            Some("fast"),
        ),
        (
            Api::Messages,
            r#"{"speed": "fast", "service_tier": "priority"}"#,
            Some("several"),
        ),
    ] {
        let seen = bounds(api, body.as_bytes()).unwrap();
        assert_eq!(seen.service_tier.as_deref(), tier, "{body}");
    }
    let predicting = with(
        chat(),
        json!({"prediction": {"type": "content", "content": "a"}}),
    );
    let seen = of(Api::Chat, &predicting).unwrap();
    assert_eq!(seen.predicted_tokens, predicting.to_string().len() as u64);
}

#[test]
fn models_that_search_are_known_by_their_names() {
    for (model, alone) in [
        ("gpt-4o-search-preview", true),
        ("o3-deep-research-2025-06-26", true),
        ("openai/gpt-5:online", true),
        ("perplexity/sonar-pro", true),
        ("gpt-5", false),
    ] {
        assert_eq!(works_on_its_own(model), alone, "{model}");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-zA-Z ,.]{0,200}",
        "[\u{4e00}-\u{4fff}]{0,80}",
        "[\u{1f300}-\u{1f6ff}]{0,40}",
        "[\\\\\"\n\t{}\\[\\]:]{0,80}",
    ]
}

proptest! {
    #[test]
    fn no_text_has_more_tokens_than_its_bound(
        texts in prop::collection::vec(any_text(), 1..6),
        escapes in any::<bool>(),
    ) {
        let said: Vec<_> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let mut body = json!({"model": "gpt-5", "messages": said}).to_string();
        if escapes {
            // As clients write it that keep to ASCII.
            body = body.chars().flat_map(|character| {
                let mut units = [0; 2];
                let escaped: Vec<char> = if character.is_ascii() {
                    vec![character]
                } else {
                    let units = character.encode_utf16(&mut units).iter();
                    units.flat_map(|unit| format!("\\u{unit:04x}").chars().collect::<Vec<_>>()).collect()
                };
                escaped
            }).collect();
        }
        // Each message has four tokens more (OpenAI Cookbook), and the answer begins with three.
        let beside = 4 * texts.len() as u64 + 3;
        for encoding in [Encoding::O200k, Encoding::Cl100k] {
            let tokens: u64 = texts.iter().map(|text| encoding.count(text)).sum();
            let seen = bounds(Api::Chat, body.as_bytes()).unwrap();
            prop_assert!(seen.input_tokens.unwrap() >= tokens + beside);
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = bounds(Api::Chat, &bytes);
        let mut body = br#"{"tools":[{"type":"#.to_vec();
        body.extend_from_slice(&bytes);
        let _ = bounds(Api::Responses, &body);
    }

    /// Whatever else a request holds, it is not hidden by it.
    #[test]
    fn nothing_hides_a_tool_that_the_provider_runs(
        before in any_text(),
        key in any_text(),
        after in any_text(),
    ) {
        let mut body = json!({"input": before, "tools": [{"type": "web_search"}], "user": after});
        if let Value::Object(members) = &mut body {
            members.entry(key).or_insert_with(|| json!({"tools": null, "type": [before]}));
        }
        prop_assert_eq!(of(Api::Responses, &body), None);
    }
}
