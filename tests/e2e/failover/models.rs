//! What models are called: by the client, by a channel, in the ledger.

use serde_json::json;

use super::{CHAT, attempts, ok, two};
use crate::support::answers;
use crate::support::client::Request;
use crate::support::tollgate::Setup;
use crate::support::upstream::{Answer, Received, Upstream};

fn model(received: &Received) -> String {
    received.json()["model"].as_str().unwrap().to_owned()
}

/// An answer that does not say which model gave it.
fn anonymous() -> String {
    let usage = r#""usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}"#;
    format!(r#"{{"id":"c","object":"chat.completion","choices":[],{usage}}}"#)
}

#[test]
fn each_channel_is_asked_for_the_model_by_its_own_name() {
    let (first, second) = (
        Upstream::always(answers::error("429 Slow", "requests", "slow_down")),
        Upstream::always(answers::json("200 OK", &anonymous())),
    );
    let tollgate = Setup::channels(&[
        (
            "first",
            &first.base_url(),
            ", api_key: k, model_map: {gpt-5-mini: 'here/\"gpt\"'}",
        ),
        (
            "second",
            &second.base_url(),
            ", api_key: k, model_map: {gpt-5-mini: gpt-4o-mini}",
        ),
    ])
    .setting("models: {aliases: {small: gpt-5-mini}}")
    .start();
    for (asked, stream) in [("gpt-5-mini", false), ("small", false)] {
        let body =
            format!(r#"{{ "messages": [{{"model": "{asked}"}}],  "model" : "{asked}" , "n":1}}"#);
        let request = Request::new("POST", CHAT)
            .header("content-type", "application/json")
            .body(&body);
        let response = tollgate.send(&request);
        assert_eq!(response.text(), anonymous());
        let sent = |name: &str| {
            format!(r#"{{ "messages": [{{"model": "{asked}"}}],  "model" : "{name}" , "n":1}}"#)
        };
        let received = first.received().pop().unwrap();
        assert_eq!(
            String::from_utf8(received.body).unwrap(),
            sent(r#"here/\"gpt\""#)
        );
        let received = second.received().pop().unwrap();
        assert_eq!(
            String::from_utf8(received.body).unwrap(),
            sent("gpt-4o-mini")
        );
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("requested_model"), Some(asked), "{stream}");
        assert_eq!(row.text("served_model"), Some("gpt-4o-mini"));
        assert!(
            row.int("cost_nanousd").is_some_and(|cost| cost > 0),
            "{row:#?}"
        );
    }
}

/// What the answer says is what served it.
#[test]
fn the_answers_own_word_for_the_model_stands() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::channels(&[(
        "only",
        &upstream.base_url(),
        ", model_map: {mine: gpt-5-mini}",
    )])
    .start();
    for stream in [false, true] {
        let body = json!({"model": "mine", "messages": [], "stream": stream});
        let response = tollgate.send(&Request::json(CHAT, &body));
        assert_eq!(response.status, 200);
        let received = upstream.received().pop().unwrap();
        assert_eq!(model(&received), "gpt-5-mini");
        // Usage is asked for besides.
        assert_eq!(
            received.json()["stream_options"]["include_usage"] == true,
            stream
        );
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("requested_model"), Some("mine"));
        assert_eq!(row.text("served_model"), Some(answers::SERVED_MODEL));
        assert_eq!(row.tokens(), answers::CHAT_TOKENS);
    }
}

/// A deployment of Azure's is no model: what it is called says nothing of prices.
#[test]
fn a_deployment_is_not_taken_for_the_model() {
    let upstream = Upstream::always(answers::json("200 OK", &anonymous()));
    let tollgate = Setup::channels(&[(
        "az",
        &upstream.base_url(),
        ", kind: azure, api_key: k, model_map: {gpt-5-mini: gpt-4o}",
    )])
    .start();
    let response = tollgate.send(&super::chat("gpt-5-mini"));
    assert_eq!(model(&upstream.only()), "gpt-4o");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("requested_model"), Some("gpt-5-mini"));
    assert_eq!(row.text("served_model"), None);
}

/// An upload's model stands in its form.
#[test]
fn a_forms_model_gets_the_channels_name() {
    let upstream = Upstream::always(Answer::new("200 OK").body("heard"));
    let mapped = ", model_map: {whisper-1: gpt-4o-transcribe}";
    let tollgate = Setup::channels(&[("only", &upstream.base_url(), mapped)]).start();
    let form = |model: &str| {
        format!("--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--x--\r\n")
    };
    let request = Request::new("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(form("whisper-1"));
    let response = tollgate.send(&request);
    assert_eq!(response.status, 200);
    let received = upstream.only();
    assert_eq!(received.body, form("gpt-4o-transcribe").as_bytes());
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("requested_model"), Some("whisper-1"));
}

/// What the client compressed goes as it came, unless it has to be changed.
#[test]
fn a_compressed_requests_model_gets_the_channels_name() {
    let upstream = Upstream::always(ok());
    let mapped = ", model_map: {gpt-5-mini: gpt-4o-mini}";
    let tollgate = Setup::channels(&[("only", &upstream.base_url(), mapped)]).start();
    let body = |model: &str| json!({"model": model, "messages": []}).to_string();
    for (asked, goes_packed) in [("gpt-5-mini", false), ("gpt-5", true)] {
        for coding in ["gzip", "zstd", "br"] {
            let packed = answers::compress(coding, body(asked).as_bytes());
            let request = Request::new("POST", CHAT)
                .header("content-type", "application/json")
                .header("content-encoding", coding)
                .body(&packed);
            let response = tollgate.send(&request);
            assert_eq!(response.status, 200);
            let received = upstream.received().pop().unwrap();
            let encoding = received.headers.get("content-encoding");
            if goes_packed {
                assert_eq!(encoding, Some(coding));
                assert_eq!(received.body, packed);
            } else {
                assert_eq!(encoding, None);
                assert_eq!(received.body, body("gpt-4o-mini").as_bytes());
            }
            let row = tollgate.ledger().request(&response.request_id());
            assert_eq!(row.text("requested_model"), Some(asked));
        }
    }
}

#[test]
fn a_model_in_the_path_gets_the_channels_name() {
    let upstream = Upstream::always(Answer::new("200 OK").body("{}"));
    let tollgate = Setup::channels(&[(
        "g",
        &format!("http://{}", upstream.address()),
        ", kind: gemini, api_key: k, model_map: {gemini-pro: gemini-2.5-pro}",
    )])
    .start();
    let body = json!({"contents": []});
    let path = |model| format!("/v1beta/models/{model}:generateContent");
    tollgate.send(&Request::json(&path("gemini-pro"), &body));
    assert_eq!(upstream.only().target, path("gemini-2.5-pro"));
}

#[test]
fn a_model_that_no_channel_serves_is_told_so() {
    let upstream = Upstream::always(ok());
    let tollgate =
        Setup::channels(&[("only", &upstream.base_url(), ", models: ['gpt-*']")]).start();
    let response = tollgate.send(&super::chat("claude"));
    assert_eq!(response.status, 404);
    assert_eq!(response.json()["error"]["code"], "model_not_found");
    assert_eq!(
        response.headers.get("x-tollgate-error"),
        Some("model_not_found")
    );
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "no_channel");
    assert_eq!(upstream.received().len(), 0);
}

/// Only the channel that made a response knows it.
#[test]
fn what_goes_on_from_a_response_goes_where_it_was_made() {
    let made = |id: &str| {
        let body = format!(
            r#"{{"id":"{id}","object":"response","status":"completed","model":"m","output":[],"usage":{{"input_tokens":1,"output_tokens":1,"total_tokens":2}}}}"#
        );
        answers::json("200 OK", &body)
    };
    let upstream = |name: &'static str| {
        Upstream::start(move |request: &Received| match &*request.method {
            "POST" if request.target == "/v1/responses" => made(&format!("resp_{name}")),
            _ => made("resp_shown"),
        })
    };
    let (first, second) = (upstream("first"), upstream("second"));
    let tollgate = two(&first.base_url(), &second.base_url())
        .setting("routing: {strategy: round_robin}")
        .start();
    let create = |previous: Option<&str>| {
        let body = json!({"model": "m", "input": "a", "previous_response_id": previous});
        tollgate.send(&Request::json("/v1/responses", &body))
    };
    let channel = |response: &crate::support::client::Response| {
        response
            .headers
            .get("x-tollgate-channel")
            .unwrap()
            .to_owned()
    };
    let by_turns = [create(None), create(None)].map(|response| channel(&response));
    assert_ne!(by_turns[0], by_turns[1]);
    for name in ["first", "second"] {
        let id = format!("resp_{name}");
        for _ in 0..3 {
            assert_eq!(channel(&create(Some(&id))), name);
            for (method, path) in [
                ("GET", format!("/v1/responses/{id}")),
                ("POST", format!("/v1/responses/{id}/cancel")),
                ("DELETE", format!("/v1/responses/{id}")),
                ("GET", format!("/v1/responses/{id}/input_items?limit=2")),
            ] {
                let response = tollgate.send(&Request::new(method, &path));
                assert_eq!(channel(&response), name, "{method} {path}");
                assert_eq!(attempts(&tollgate, &response).len(), 1);
            }
        }
    }
}

/// Of what nobody can ask for again no channel is remembered: there is room for what counts.
#[test]
fn the_id_of_a_chat_binds_nobody() {
    let upstream = || {
        Upstream::start(|request: &Received| match &*request.method {
            "POST" => ok(),
            _ => answers::json("200 OK", r#"{"id":"resp_1","object":"response"}"#),
        })
    };
    let (first, second) = (upstream(), upstream());
    let tollgate = two(&first.base_url(), &second.base_url())
        .setting("routing: {strategy: round_robin}")
        .start();
    let id = tollgate.send(&super::chat("m")).json()["id"].clone();
    let path = format!("/v1/responses/{}", id.as_str().unwrap());
    let before = (first.received().len(), second.received().len());
    for _ in 0..4 {
        tollgate.send(&Request::new("GET", &path));
    }
    let after = (first.received().len(), second.received().len());
    assert_eq!(after, (before.0 + 2, before.1 + 2));
}

#[test]
fn a_session_stays_on_its_channel_where_a_header_says_so() {
    let (first, second) = (Upstream::always(ok()), Upstream::always(ok()));
    let setup = two(&first.base_url(), &second.base_url());
    let channels = |tollgate: &crate::support::tollgate::Tollgate| {
        let send = |_| {
            let request = super::chat("m").header("x-session", "s-1");
            let response = tollgate.send(&request);
            response
                .headers
                .get("x-tollgate-channel")
                .unwrap()
                .to_owned()
        };
        let mut channels: Vec<_> = (0..6).map(send).collect();
        channels.sort();
        channels.dedup();
        channels.len()
    };
    let turns = "strategy: round_robin";
    let apart = setup
        .clone()
        .setting(&format!("routing: {{{turns}}}"))
        .start();
    assert_eq!(channels(&apart), 2);
    let together = setup
        .setting(&format!(
            "routing: {{{turns}, session_headers: [x-session]}}"
        ))
        .start();
    assert_eq!(channels(&together), 1);
}
