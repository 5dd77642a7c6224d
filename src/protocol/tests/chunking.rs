//! Wherever an answer is cut, the same is seen of it and the same is forwarded.

use proptest::prelude::*;

use super::fixtures::*;
use super::*;

fn fixtures() -> Vec<(Api, ResponseKind<'static>, Vec<u8>)> {
    let mut fixtures = vec![
        (Api::Chat, JSON, chat_answer()),
        (Api::Completions, EVENTS, completions_stream()),
        (Api::Embeddings, JSON, embeddings_answer(3)),
        (Api::Responses, JSON, response("completed", RESPONSES_USAGE, 90)),
        (Api::Responses, EVENTS, responses_stream("completed", RESPONSES_USAGE, 90)),
        (Api::Responses, EVENTS, responses_stream("failed", "null", 0)),
        (
            Api::Chat,
            EVENTS,
            format!("\u{feff}{}", chat_stream(STYLES[0], true)),
        ),
        // Several data lines an event, names behind, fields without colons, spaces or values.
        (
            Api::Chat,
            EVENTS,
            "data\n\nid: 4\ndata:{\"choices\":[{\"delta\":\ndata:  {\"content\":\"x\"}}]}\nevent\nevent: message\n\n\
             data: {\"choices\":[], \r\ndata: \"usage\":\rdata:{\"prompt_tokens\":1,\ndata:\ndata: \"completion_tokens\":2}}\n\n\
             data:[DONE]\n\ndata: [DO\n\ndata: x\n\n: [DONE]\n"
                .into(),
        ),
        (
            Api::Responses,
            EVENTS,
            "data: {\"delta\":\"x\"}\n\ndata: {\"message\":\"m\"}\nevent: error\n\nevent: response.completed\ndata: {}\n\n"
                .into(),
        ),
        (Api::Chat, EVENTS, "data: {\"a\":1} trailing\n\ndata: {\"usage\":{\"prompt_tokens\":\n\ndata: [DONE]".into()),
        (Api::Chat, JSON, "{\"usage\":{\"prompt_tokens\":1}} trailing".into()),
    ];
    for &style in STYLES {
        fixtures.push((Api::Chat, EVENTS, chat_stream(style, true)));
        fixtures.push((Api::Chat, EVENTS, chat_stream(style, false)));
    }
    let mut fixtures: Vec<_> = fixtures
        .into_iter()
        .chain(media::fixtures())
        .map(|(api, kind, body)| (api, kind, body.into_bytes()))
        .collect();
    // Bytes that are no UTF-8, in and around what is read.
    fixtures.push((
        Api::Chat,
        JSON,
        b"{\"model\":\"a\xFF\xE2\x82b\",\"\xC0\":\"\xED\xA0\",\"usage\":{\"prompt_tokens\":1}}"
            .to_vec(),
    ));
    fixtures
}

#[test]
fn byte_by_byte() {
    for (api, kind, body) in fixtures() {
        let whole = observe(api, kind, [&body[..]]);
        let bytewise = observe(api, kind, body.chunks(1));
        assert_eq!(whole, bytewise, "{}", String::from_utf8_lossy(&body));
        assert_eq!(
            String::from_utf8_lossy(&strip([&body[..]])),
            String::from_utf8_lossy(&strip(body.chunks(1)))
        );
    }
}

#[test]
fn cut_once_anywhere() {
    for (api, kind, body) in fixtures() {
        let whole = observe(api, kind, [&body[..]]);
        let stripped = strip([&body[..]]);
        for cut in 0..body.len() {
            let (head, tail) = body.split_at(cut);
            assert_eq!(observe(api, kind, [head, tail]), whole);
            assert_eq!(
                String::from_utf8_lossy(&strip([head, tail])),
                String::from_utf8_lossy(&stripped),
                "cut at {cut}"
            );
        }
    }
}

proptest! {
    #[test]
    fn cut_in_many_places(
        fixture in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let fixtures = fixtures();
        let (api, kind, body) = fixture.get(&fixtures);
        let whole = observe(*api, *kind, [&body[..]]);
        prop_assert_eq!(whole, observe(*api, *kind, pieces(body, &cuts)));
        prop_assert_eq!(strip([&body[..]]), strip(pieces(body, &cuts)));
    }

    /// Fragments of real streams in any order and any noise between them: never a panic, never a
    /// difference by where the cuts are.
    #[test]
    fn shuffled_fragments_of_streams(
        parts in prop::collection::vec(part(), 0..24),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        api in prop::sample::select(vec![Api::Chat, Api::Responses, Api::Messages, Api::Gemini]),
        events: bool,
    ) {
        let body = parts.concat();
        let kind = if events { EVENTS } else { JSON };
        prop_assert_eq!(observe(api, kind, [&body[..]]), observe(api, kind, pieces(&body, &cuts)));
        prop_assert_eq!(observe(api, kind, [&body[..]]), observe(api, kind, body.chunks(1)));
        prop_assert_eq!(strip([&body[..]]), strip(pieces(&body, &cuts)));
        prop_assert_eq!(strip([&body[..]]), strip(body.chunks(1)));
    }

    /// What nobody looks into is searched in words and blocks where a fragment holds whole ones,
    /// and byte by byte where it does not: both find the same end of it, or the same fault in it.
    #[test]
    fn values_nobody_looks_into(
        parts in prop::collection::vec(skipped_part(), 0..120),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let body = format!(
            "{{\"x\":[\"\",{}],\"usage\":{{\"prompt_tokens\":7}}}}",
            parts.concat()
        );
        let whole = observe(Api::Chat, JSON, [body.as_bytes()]);
        prop_assert_eq!(&whole, &observe(Api::Chat, JSON, body.as_bytes().chunks(1)));
        prop_assert_eq!(&whole, &observe(Api::Chat, JSON, pieces(body.as_bytes(), &cuts)));
    }
}

fn skipped_part() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        24 => prop::sample::select(vec![
            "{}", "[]", "[\"a\"]", "{\"k\":\"v\"}", "\"[{\"", "\"}]\"", "\"y_Y\u{7f}\"", "\"\"", ",", "1.5",
            "\"\\\"]\"", "\"\\\\\"", "\"the quick brown fox jumps over the lazy dog and everything behind it\"",
        ]),
        1 => prop::sample::select(vec!["\"", "\\", "[", "]", "{", "}", "[}", "{]"]),
    ]
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"data: ",
        b"data:",
        b"data",
        b"event: ",
        b"event: error\n",
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\r",
        b": ",
        b"{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}",
        b"{\"usage\":null,",
        b"\"usage\":",
        b"{\"choices\":[],\"usage\":{\"prompt_tokens\":7}}",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"\"",
        b"\\",
        b"\\\"",
        b"\"error\":{\"code\":\"c\"}",
        b"\"response\":{\"model\":\"m\"}",
        b"\xEF\xBB\xBF",
        b"{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1}}}",
        b"[DONE]",
        b"[DO",
        b"{\"type\":\"error\",\"message\":\"m\"}",
        b"null",
        b"12",
        b"\xF0\x9F",
        b" ",
        b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n",
        b"data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5}}}\n\n",
        b"data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":6}}\n\n",
        b"event: message_stop\n",
        b"{\"usageMetadata\":{\"promptTokenCount\":1,\"candidatesTokenCount\":2}}",
        b"{\"candidates\":[{\"groundingMetadata\":{\"webSearchQueries\":[\"a\",\"b\"]}}]}",
        b"{\"candidates\":[{\"finishReason\":\"STOP\"}]}",
        b"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}]}",
        b"\n,\r\n",
    ];
    prop_oneof![
        8 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}
