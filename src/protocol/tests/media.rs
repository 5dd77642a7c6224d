//! Images, audio, batches, and what is made in a while.

use super::fixtures::*;
use super::*;
use crate::record::{TokenType, Unit, UsageSource};

const OTHER: ResponseKind<'static> = ResponseKind {
    status: 200,
    content_type: Some("text/plain; charset=utf-8"),
    content_encoding: None,
};

const IMAGE_USAGE: &str = r#"{"input_tokens":50,"input_tokens_details":{"image_tokens":40,"text_tokens":10},"output_tokens":1056,"total_tokens":1106}"#;

fn image_answer(usage: &str) -> String {
    let image = "iVBORw0KGgo/+=".repeat(1000);
    format!(
        r#"{{"created":1713833628,"background":"opaque","data":[{{"b64_json":"{image}"}},{{"url":"https://x/{{[","revised_prompt":"a \"usage\""}}],"output_format":"png","quality":"high","size":"1024x1024"{usage}}}"#
    )
}

fn image_stream(operation: &str) -> String {
    let event = |kind: &str, more: &str| {
        let image = "iVBORw0KGgo/+=".repeat(500);
        format!(
            "event: {operation}.{kind}\ndata: {{\"type\":\"{operation}.{kind}\",\"b64_json\":\"{image}\",\"size\":\"1024x1024\"{more}}}\n\n"
        )
    };
    [
        event("partial_image", r#","partial_image_index":0"#),
        event("partial_image", r#","partial_image_index":1"#),
        event("completed", &format!(r#","usage":{IMAGE_USAGE}"#)),
    ]
    .concat()
}

const TRANSCRIPTION: &str = r#"{"text":"Say \"usage\": {\"seconds\": 1}","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":45,"total_tokens":59}}"#;
const TIMED: &str = r#"{"task":"transcribe","language":"english","duration":8.470000267028809,"text":"The","segments":[{"id":0,"tokens":[50364]}],"usage":{"type":"duration","seconds":9}}"#;
const TRANSCRIPT: &str = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Say\"}\n\n\
    data: {\"type\":\"transcript.text.done\",\"text\":\"Say\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\
    \"input_token_details\":{\"text_tokens\":4,\"audio_tokens\":10},\"output_tokens\":45,\"total_tokens\":59}}\n\n";
const SPEECH: &str = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"UklGRg==\"}\n\n\
    data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n";

fn batch(status: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"batch_abc","object":"batch","endpoint":"/v1/responses","model":"gpt-5-2025-08-07","errors":null,"status":"{status}","output_file_id":"file-1","request_counts":{{"total":2,"completed":2,"failed":0}},"usage":{usage},"metadata":{{"status":"in_progress","model":"x"}}}}"#
    )
}

pub(super) fn fixtures() -> Vec<(Api, ResponseKind<'static>, String)> {
    vec![
        (
            Api::Images,
            JSON,
            image_answer(&format!(",\"usage\":{IMAGE_USAGE}")),
        ),
        (Api::Images, JSON, image_answer("")),
        (Api::Images, EVENTS, image_stream("image_edit")),
        (Api::Audio, JSON, TRANSCRIPTION.into()),
        (Api::Audio, JSON, TIMED.into()),
        (Api::Audio, EVENTS, TRANSCRIPT.into()),
        (Api::Audio, EVENTS, SPEECH.into()),
        (Api::Audio, OTHER, "data: spoken words\n\n".into()),
        (Api::Batches, JSON, batch("completed", RESPONSES_USAGE)),
    ]
}

fn retrieved(api: Api, kind: ResponseKind<'_>, body: impl AsRef<[u8]>) -> Observed {
    let mut meter = ResponseMeter::new(api, Operation::Retrieve, kind);
    meter.feed(body.as_ref());
    meter.finish();
    meter.observed().clone()
}

type Counted = (Vec<(TokenType, u64)>, Vec<(Unit, u64)>, Option<u64>);

fn counted(seen: &Observed) -> Counted {
    let usage = seen.usage.as_ref().unwrap();
    assert_eq!(usage.source, UsageSource::Reported);
    (
        usage.tokens.iter().collect(),
        usage.units.iter().collect(),
        usage.total,
    )
}

fn image_tokens() -> Counted {
    let tokens = vec![
        (TokenType::Input, 10),
        (TokenType::Output, 0),
        (TokenType::InputImage, 40),
        (TokenType::OutputImage, 1056),
    ];
    (tokens, vec![], Some(1106))
}

#[test]
fn images_are_billed_by_their_tokens_where_those_are_stated() {
    let answer = image_answer(&format!(",\"usage\":{IMAGE_USAGE}"));
    let seen = observed(Api::Images, JSON, answer);
    assert_eq!(counted(&seen), image_tokens());
    assert!(seen.terminal_seen && !seen.first_content_seen);
    for operation in ["image_generation", "image_edit"] {
        let seen = observed(Api::Images, EVENTS, image_stream(operation));
        assert_eq!(counted(&seen), image_tokens());
        assert!(seen.terminal_seen && seen.first_content_seen);
        // Without the name of the event, and with it alone.
        let bare = image_stream(operation).replace(&format!("event: {operation}"), ": {operation}");
        assert_eq!(
            counted(&observed(Api::Images, EVENTS, bare)),
            image_tokens()
        );
    }
    let detailed = r#","usage":{"input_tokens":5,"output_tokens":30,"output_tokens_details":{"image_tokens":20,"text_tokens":10}}"#;
    let seen = observed(Api::Images, JSON, image_answer(detailed));
    let tokens = vec![
        (TokenType::Input, 5),
        (TokenType::Output, 10),
        (TokenType::OutputImage, 20),
    ];
    assert_eq!(counted(&seen), (tokens, vec![], Some(35)));
}

#[test]
fn images_are_counted_where_no_tokens_are_stated() {
    let images = (vec![], vec![(Unit::Image, 2)], None);
    for usage in ["", ",\"usage\":null", ",\"usage\":{}"] {
        let seen = observed(Api::Images, JSON, image_answer(usage));
        assert_eq!(counted(&seen), images, "{usage}");
        assert_eq!(seen.missing_reason, None);
    }
    // What was not delivered whole was billed whole: how many there were is not known.
    let answer = image_answer("");
    let cut = &answer[..answer.len() - 40];
    let seen = observed(Api::Images, JSON, cut);
    assert_eq!(seen.usage, None);
    assert_eq!(seen.missing_reason, Some(MissingReason::Truncated));
    let seen = observed(Api::Images, JSON, r#"{"created":1,"data":[]}"#);
    assert_eq!(seen.missing_reason, Some(MissingReason::NoUsageInBody));
}

#[test]
fn the_first_image_of_a_stream_is_its_first_content() {
    let stream = image_stream("image_generation");
    let first = stream.find("\n\n").unwrap() + 2;
    let mut meter = ResponseMeter::new(Api::Images, Operation::Create, EVENTS);
    let signals = meter.feed(&stream.as_bytes()[..first]);
    assert!(signals.first_content && !signals.terminal);
    assert!(meter.feed(&stream.as_bytes()[first..]).terminal);
    meter.finish();
    // Whatever an image's size, it is not kept.
    assert!(meter.retained_bytes() < 16 * 1024);
}

#[test]
fn a_transcription_is_billed_by_tokens_or_by_time() {
    let tokens = vec![
        (TokenType::Input, 4),
        (TokenType::Output, 45),
        (TokenType::InputAudio, 10),
    ];
    let expected = (tokens, vec![], Some(59));
    assert_eq!(
        counted(&observed(Api::Audio, JSON, TRANSCRIPTION)),
        expected
    );
    let seen = observed(Api::Audio, EVENTS, TRANSCRIPT);
    assert_eq!(counted(&seen), expected);
    assert!(seen.first_content_seen && seen.terminal_seen);
    let timed = (vec![], vec![(Unit::AudioMs, 9000)], None);
    assert_eq!(counted(&observed(Api::Audio, JSON, TIMED)), timed);
    let bare = r#"{"text":"","usage":{"type":"tokens","input_tokens":14,"output_tokens":1,"total_tokens":15}}"#;
    let (tokens, _, _) = counted(&observed(Api::Audio, JSON, bare));
    assert!(tokens.contains(&(TokenType::InputAudio, 14)), "{tokens:?}");
}

#[test]
fn an_answer_of_text_or_sound_states_nothing_and_is_not_malformed() {
    let vtt = "WEBVTT\n\n00:00.000 --> 00:01.000\nusage\n";
    for body in [
        vtt,
        "1\n00:00:00,000 --> ",
        "data: said\n\n",
        "id of nothing",
        ": x",
        "[music]",
    ] {
        let seen = observed(Api::Audio, OTHER, body);
        assert_eq!(seen.usage, None, "{body}");
        assert_eq!(
            seen.missing_reason,
            Some(MissingReason::NoUsageInBody),
            "{body}"
        );
        assert!(!seen.first_content_seen && !seen.failed, "{body}");
    }
    let translated = observed(Api::Audio, JSON, r#"{"text":"Hello"}"#);
    assert_eq!(
        translated.missing_reason,
        Some(MissingReason::NoUsageInBody)
    );
    let verbose = r#"{"task":"translate","duration":8.5,"text":"Hello"}"#;
    assert_eq!(observed(Api::Audio, JSON, verbose).usage, None);
}

#[test]
fn speech_in_events_states_text_in_and_sound_out() {
    for stream in [
        SPEECH.to_owned(),
        SPEECH
            .replace("\"type\":\"speech.audio.done\",", "")
            .replace(
                "data: {\"usage\"",
                "event: speech.audio.done\ndata: {\"usage\"",
            ),
    ] {
        let seen = observed(Api::Audio, EVENTS, &stream);
        let tokens = vec![
            (TokenType::Input, 14),
            (TokenType::Output, 0),
            (TokenType::OutputAudio, 101),
        ];
        assert_eq!(counted(&seen), (tokens, vec![], Some(115)), "{stream}");
        assert!(seen.first_content_seen && seen.terminal_seen);
    }
}

#[test]
fn speech_is_asked_for_in_characters() {
    let characters = |body: &str| read_request(Api::Audio, body.as_bytes()).input_characters;
    let long = "é\\ud83d\\ude00\\n".repeat(10_000);
    let body = format!(r#"{{"model":"tts-1","input":"{long}","voice":"alloy"}}"#);
    assert_eq!(characters(&body), Some(30_000));
    assert_eq!(characters(r#"{"input":""}"#), Some(0));
    for body in [
        r#"{"model":"tts-1"}"#,
        r#"{"input":["a"]}"#,
        r#"{"input":"a","input":7}"#,
    ] {
        assert_eq!(characters(body), None, "{body}");
    }
    let facts = read_request(Api::Audio, br#"{"model":"m","stream_format":"sse"}"#);
    assert_eq!(facts.stream, Some(true));
}

#[test]
fn a_batch_states_its_usage_once_it_is_over_at_batch_rates() {
    for status in ["completed", "expired", "cancelled", "failed"] {
        let seen = retrieved(Api::Batches, JSON, batch(status, RESPONSES_USAGE));
        let (tokens, _, total) = counted(&seen);
        assert_eq!((tokens.len(), total), (4, Some(123)));
        assert_eq!(seen.response_id.as_deref(), Some("batch_abc"));
        assert_eq!(seen.served_model.as_deref(), Some("gpt-5-2025-08-07"));
        assert_eq!(seen.service_tier.as_deref(), Some("batch"));
        assert_eq!(seen.stage, Some(Stage::Done), "{status}");
        assert!(!seen.failed);
    }
    for status in [
        "validating",
        "in_progress",
        "finalizing",
        "cancelling",
        "new",
    ] {
        let seen = retrieved(Api::Batches, JSON, batch(status, RESPONSES_USAGE));
        assert_eq!((seen.usage, seen.service_tier), (None, None), "{status}");
        assert_eq!(seen.missing_reason, None);
    }
    let list = format!(
        r#"{{"object":"list","data":[{}]}}"#,
        batch("completed", RESPONSES_USAGE)
    );
    assert_eq!(retrieved(Api::Batches, JSON, list).usage, None);
}

#[test]
fn results_that_cannot_be_read_whole_have_no_sum() {
    let line =
        r#"{"result":{"message":{"model":"m","usage":{"input_tokens":1,"output_tokens":2}}}}"#;
    let seen = |kind, body: &str| {
        let mut meter = ResponseMeter::new(Api::Batches, Operation::Results, kind);
        meter.feed(body.as_bytes());
        meter.finish();
        meter.observed().usage.map(|usage| usage.total)
    };
    let lines = format!("{line}\r\n\n{line}");
    assert_eq!(seen(OTHER, &lines), Some(Some(6)));
    assert_eq!(seen(JSON, &lines), Some(Some(6)));
    for broken in [
        format!("{line}\n{{"),
        format!("{line}\nx\n"),
        format!("{line}\n{line}}}"),
    ] {
        assert_eq!(seen(OTHER, &broken), None, "{broken}");
    }
    let part = ResponseKind {
        status: 206,
        ..OTHER
    };
    assert_eq!(seen(part, &lines), None);
    let packed = ResponseKind {
        content_encoding: Some("gzip"),
        ..OTHER
    };
    assert_eq!(seen(packed, &lines), None);
}

#[test]
fn a_response_fetched_by_its_id_states_its_usage_once_it_is_over() {
    let seen = retrieved(
        Api::Responses,
        JSON,
        response("completed", RESPONSES_USAGE, 90),
    );
    assert_eq!(counted(&seen).2, Some(123));
    assert_eq!(seen.stage, Some(Stage::Done));
    let stream = responses_stream("completed", RESPONSES_USAGE, 90);
    let seen = retrieved(Api::Responses, EVENTS, &stream);
    assert_eq!(counted(&seen).2, Some(123));
    assert_eq!(seen.response_id.as_deref(), Some("resp_67c"));
    let cut = &stream[..stream.rfind("event:").unwrap()];
    let seen = retrieved(Api::Responses, EVENTS, cut);
    assert_eq!((seen.usage, seen.stage), (None, Some(Stage::Pending)));
    for status in ["queued", "in_progress"] {
        let pending = response(status, "null", 0);
        let seen = retrieved(Api::Responses, JSON, &pending);
        assert_eq!((seen.usage, seen.stage), (None, Some(Stage::Pending)));
        let seen = observed(Api::Responses, JSON, &pending);
        assert_eq!(seen.missing_reason, Some(MissingReason::Pending));
        assert_eq!(seen.stage, Some(Stage::Pending));
    }
    let seen = retrieved(Api::Responses, JSON, response("failed", "null", 0));
    assert!(seen.failed);
    assert_eq!(seen.stage, Some(Stage::Failed));
}
