//! The texts that Tollgate counts itself.

use proptest::prelude::*;

use super::fixtures::*;
use super::*;
use crate::record::UsageSource;

/// What would be counted, and of how much.
fn read(api: Api, body: &[u8]) -> (String, Option<u64>) {
    let mut texts = String::new();
    let counted = RequestText::of(api, body).map(|text| {
        text.count(&mut |text| {
            texts.push_str(text);
            texts.push('|');
            text.len() as u64
        })
    });
    (texts, counted)
}

fn text_of<'b>(
    api: Api,
    kind: ResponseKind<'_>,
    fragments: impl IntoIterator<Item = &'b [u8]>,
) -> Option<AnswerText> {
    let mut meter = ResponseMeter::new(api, Operation::Create, kind);
    for fragment in fragments {
        meter.feed(fragment);
    }
    meter.finish();
    meter.take_text()
}

fn written(text: &AnswerText) -> String {
    let mut written = String::new();
    let _ = text.count_first(u64::MAX, &mut |piece| {
        written.push_str(piece);
        0
    });
    written
}

#[test]
fn requests_are_read_where_each_api_has_its_texts() {
    let long_image = format!("data:image/png;base64,{}", "QUJD".repeat(100));
    let cases = [
        (
            Api::Chat,
            format!(
                r#"{{"model":"m","messages":[{{"role":"system","content":"Be brief."}},{{"role":"user","content":[{{"type":"text","text":"Gr\u00fc\u00df \"x\""}},{{"type":"image_url","image_url":{{"url":"{long_image}"}}}}]}}],"tools":[{{"type":"function","function":{{"name":"f"}}}}],"user":"u"}}"#
            ),
            "Be brief.|Grüß \"x\"|type|function|function|name|f|",
            2,
        ),
        (
            Api::Responses,
            r#"{"instructions":"Be brief.","input":"Why?","user":"u"}"#.to_owned(),
            "Be brief.|Why?|",
            0,
        ),
        (
            Api::Completions,
            r#"{"prompt":["Once","upon"],"max_tokens":5}"#.to_owned(),
            "Once|upon|",
            0,
        ),
        (
            Api::Embeddings,
            r#"{"input":["a b","c"],"model":"m"}"#.to_owned(),
            "a b|c|",
            0,
        ),
        (
            Api::Messages,
            r#"{"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"Why?"},{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}}]}]}"#.to_owned(),
            "Be brief.|Why?|",
            2,
        ),
        (
            Api::Gemini,
            r#"{"contents":[{"role":"user","parts":[{"text":"Why?"},{"inlineData":{"mimeType":"image/png","data":"QUJD"}}]}],"systemInstruction":{"parts":[{"text":"Be brief."}]}}"#.to_owned(),
            "Why?|Be brief.|",
            1,
        ),
    ];
    for (api, body, texts, messages) in cases {
        let (seen, counted) = read(api, body.as_bytes());
        assert_eq!(seen, texts, "{api}");
        let raw = texts.replace('|', "").len() as u64;
        assert_eq!(counted, Some(raw + messages * 4), "{api}");
    }
    assert_eq!(read(Api::Images, b"{}"), (String::new(), None));
}

#[test]
fn a_long_request_is_counted_in_windows() {
    let long = "word ".repeat(1_000_000);
    let body = format!(r#"{{"input":"{long}"}}"#);
    let mut read = 0;
    let text = RequestText::of(Api::Responses, body.as_bytes()).unwrap();
    let counted = text.count(&mut |text| {
        read += text.len();
        // A token a word.
        text.len() as u64 / 5
    });
    assert!(read <= 33 * 1024, "{read}");
    assert!((990_000..1_010_000).contains(&counted), "{counted}");
}

#[test]
fn answers_are_sampled_from_their_first_content_on() {
    let stream = responses_stream("completed", "null", 90_000);
    let text = text_of(Api::Responses, EVENTS, [stream.as_bytes()]).unwrap();
    // The events that repeat the whole text are no content.
    assert!(text.bytes() < 10_000, "{}", text.bytes());
    let answer = text_of(Api::Chat, JSON, [chat_answer().as_bytes()]).unwrap();
    assert_eq!(answer.bytes(), chat_answer().len() as u64);
    assert!(text_of(Api::Embeddings, JSON, [embeddings_answer(3).as_bytes()]).is_none());
    let refused = ResponseKind {
        status: 500,
        ..JSON
    };
    assert!(text_of(Api::Chat, refused, [&b"{\"choices\":[\"x\"]}"[..]]).is_none());
}

#[test]
fn what_is_not_in_the_sample_counts_in_proportion() {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\" word\"}}]}\n\n";
    let stream = event.repeat(10_000);
    let text = text_of(Api::Chat, EVENTS, [stream.as_bytes()]).unwrap();
    let mut read = 0;
    let words = &mut |piece: &str| {
        read += piece.len();
        piece.matches('d').count() as u64
    };
    let counted = text.count_first(text.bytes(), words);
    assert!((9_900..=10_100).contains(&counted), "{counted}");
    let half = text.count_first(text.bytes() / 2, words);
    assert!((4_950..=5_050).contains(&half), "{half}");
    assert_eq!(text.count_first(0, words), 0);
    assert!(read < 20_000, "{read}");
}

#[test]
fn an_event_larger_than_the_sample_counts_in_proportion() {
    let words = " word".repeat(8 * 1024 / 5);
    let small = r#"data: {"choices":[{"delta":{"content":" word"}}]}"#;
    let large = small.replace(" word", &words);
    let tools = format!(
        r#"data: {{"choices":[{{"delta":{{"tool_calls":[{{"function":{{"arguments":"{words}"}}}}]}}}}]}}"#
    );
    for (stream, least) in [
        (format!("{large}\n\n"), 1_600),
        (format!("{small}\n\n{large}\n\n"), 1_600),
        (format!("{tools}\n\n"), 1_600),
        // The upstream broke off in it.
        (large.clone(), 1_600),
    ] {
        let text = text_of(Api::Chat, EVENTS, [stream.as_bytes()]).unwrap();
        let counted =
            text.count_first(text.bytes(), &mut |piece| piece.matches('d').count() as u64);
        assert!((least..=least + 60).contains(&counted), "{counted}");
    }
}

#[test]
fn an_answer_that_is_cut_off_is_read_up_to_there() {
    let answer = br#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"Half a senten"#;
    let text = text_of(Api::Chat, JSON, [&answer[..]]).unwrap();
    assert_eq!(written(&text), "Half a senten");
    let array = br#"[{"candidates":[{"content":{"role":"model","parts":[{"text":"One"}]},"finishReason":"STOP"}]},{"candidates":[{"content":{"parts":[{"text":" two"#;
    let text = text_of(Api::Gemini, JSON, [&array[..]]).unwrap();
    assert_eq!(written(&text), "One two");
}

#[test]
fn usage_is_the_last_word_where_content_came_before_and_none_with_it() {
    let content = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let with =
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":1}}\n\n";
    let apart = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
    let done = "data: [DONE]\n\n";
    for (stream, source) in [
        (format!("{content}{apart}"), UsageSource::Reported),
        (format!("{content}{with}"), UsageSource::Partial),
        (format!("{content}{with}{done}"), UsageSource::Reported),
        (apart.to_owned(), UsageSource::Partial),
        (format!("{apart}{done}"), UsageSource::Reported),
    ] {
        let seen = observed(Api::Chat, EVENTS, &stream);
        let stated = seen.usage.map(|usage| usage.source);
        assert_eq!(stated, Some(source), "{stream}");
    }
    let cut = br#"{"choices":[],"usage":{"prompt_tokens":1},"service_tier":"#;
    let seen = observed(Api::Chat, JSON, cut);
    assert_eq!(
        seen.usage.map(|usage| usage.source),
        Some(UsageSource::Reported)
    );
}

fn streams() -> Vec<(Api, Vec<u8>)> {
    let mut streams = vec![
        (Api::Completions, completions_stream().into_bytes()),
        (
            Api::Responses,
            responses_stream("completed", RESPONSES_USAGE, 9_000).into_bytes(),
        ),
        // Events whose names stand behind their data, and several data lines.
        (
            Api::Responses,
            b"data: {\"delta\":\"x\"}\nevent: a.delta\n\ndata: {\"delta\":\ndata: \"y\"}\nevent: a.delta\n\ndata: {\"delta\":\"z\"}\nevent: a.done\n\n"
                .to_vec(),
        ),
    ];
    for &style in STYLES {
        streams.push((Api::Chat, chat_stream(style, true).into_bytes()));
    }
    streams
}

proptest! {
    /// The sample does not depend on where the answer was cut.
    #[test]
    fn samples_do_not_depend_on_the_cuts(which in 0..7_usize, cuts in prop::collection::vec(0..20_000_usize, 0..30)) {
        let (api, stream) = streams().swap_remove(which);
        let fragments = pieces(&stream, &cuts);
        let whole = text_of(api, EVENTS, [&stream[..]]).unwrap();
        let cut = text_of(api, EVENTS, fragments).unwrap();
        prop_assert_eq!(written(&whole), written(&cut));
        prop_assert_eq!(whole.bytes(), cut.bytes());
    }

    /// Nothing panics, and nothing is read more than once, whatever the bytes.
    #[test]
    fn noise_is_counted_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..2_000), api in 0..Api::ALL.len()) {
        let api = Api::ALL[api];
        let (texts, _) = read(api, &bytes);
        prop_assert!(texts.len() <= bytes.len() * 4 + 16);
        for kind in [JSON, EVENTS] {
            if let Some(text) = text_of(api, kind, [&bytes[..]]) {
                let _ = written(&text);
            }
        }
    }

    #[test]
    fn almost_json_is_counted_within_bounds(parts in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", "\"", "\\", "\"messages\":", "\"choices\":", "\"content\":", "\"role\"", ":", ",",
        "\"url\":", "\"text\"", "\n", "data: ", "{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}", "é", "1e400",
    ]), 0..80)) {
        let text = parts.concat();
        for api in [Api::Chat, Api::Messages, Api::Gemini] {
            let (texts, _) = read(api, text.as_bytes());
            prop_assert!(texts.len() <= text.len() * 4 + 16);
            for kind in [JSON, EVENTS] {
                if let Some(text) = text_of(api, kind, [text.as_bytes()]) {
                    let _ = written(&text);
                }
            }
        }
    }
}
