//! What the ledger knows of a request after it has passed, for each API, streamed or not.

use serde_json::{Value, json};

use crate::support::answers::{self, SERVED_MODEL, Truth, UPSTREAM_REQUEST_ID};
use crate::support::client::Request;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Upstream, chunk, last_chunk};

struct Case {
    api: &'static str,
    target: &'static str,
    body: Value,
    tokens: Truth,
    total: i64,
    tier: Option<&'static str>,
}

fn cases(prompt: &str) -> Vec<Case> {
    let model = "gpt-5-mini";
    let messages = json!([{"role": "user", "content": prompt}]);
    vec![
        Case {
            api: "chat",
            target: "/v1/chat/completions",
            body: json!({"model": model, "messages": messages, "user": "end-user-1"}),
            tokens: answers::CHAT_TOKENS,
            total: 150,
            tier: Some("default"),
        },
        Case {
            api: "responses",
            target: "/v1/responses",
            body: json!({"model": model, "input": prompt, "user": "end-user-1"}),
            tokens: answers::RESPONSES_TOKENS,
            total: 280,
            tier: Some("default"),
        },
        Case {
            api: "completions",
            target: "/v1/completions",
            body: json!({"model": model, "prompt": prompt, "user": "end-user-1"}),
            tokens: answers::COMPLETIONS_TOKENS,
            total: 13,
            tier: None,
        },
        Case {
            api: "embeddings",
            target: "/v1/embeddings",
            body: json!({"model": model, "input": prompt, "user": "end-user-1"}),
            tokens: answers::EMBEDDINGS_TOKENS,
            total: 6,
            tier: None,
        },
    ]
}

fn streams(api: &str) -> bool {
    api != "embeddings"
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

#[test]
fn a_row_says_everything_that_request_and_answer_said() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    for case in cases("plain") {
        for stream in [false, true] {
            if stream && !streams(case.api) {
                continue;
            }
            let body = if streams(case.api) {
                with(case.body.clone(), "stream", json!(stream))
            } else {
                case.body.clone()
            };
            let request = Request::json(&format!("{}?q=secret", case.target), &body)
                .header("session-id", "session-1")
                .header("x-tollgate-tags", "project=a,team=b");
            let response = tollgate.send(&request);
            assert!(response.whole && response.status == 200, "{response:?}");
            let row = tollgate.ledger().request(&response.request_id());
            let context = format!("{} stream={stream}: {row:#?}", case.api);
            assert_eq!(row.tokens(), case.tokens, "{context}");
            assert_eq!(row.int("total_tokens"), Some(case.total), "{context}");
            assert_eq!(row.text("usage_source"), Some("reported"), "{context}");
            assert_eq!(row.text("api"), Some(case.api), "{context}");
            assert_eq!(row.text("method"), Some("POST"), "{context}");
            assert_eq!(row.text("path"), Some(case.target), "{context}");
            assert_eq!(row.text("requested_model"), Some("gpt-5-mini"), "{context}");
            assert_eq!(row.text("served_model"), Some(SERVED_MODEL), "{context}");
            assert_eq!(row.text("service_tier"), case.tier, "{context}");
            let said = streams(case.api).then_some(i64::from(stream));
            assert_eq!(row.int("stream"), said, "{context}");
            assert_eq!(row.int("status"), Some(200), "{context}");
            assert_eq!(row.outcome(), "ok", "{context}");
            assert_eq!(row.text("error_code"), None, "{context}");
            assert_eq!(row.int("attempts"), Some(1), "{context}");
            assert_eq!(
                row.text("upstream_request_id"),
                Some(UPSTREAM_REQUEST_ID),
                "{context}"
            );
            assert_eq!(row.text("session"), Some("session-1"), "{context}");
            assert_eq!(row.text("end_user"), Some("end-user-1"), "{context}");
            assert_eq!(
                row.json("tags"),
                json!({"project": "a", "team": "b"}),
                "{context}"
            );
            assert_eq!(row.text("source"), Some("proxy"), "{context}");
            let sent = i64::try_from(body.to_string().len()).unwrap();
            assert_eq!(row.int("request_bytes"), Some(sent), "{context}");
            let got = i64::try_from(response.body.len()).unwrap();
            assert_eq!(row.int("response_bytes"), Some(got), "{context}");
            assert_eq!(row.int("first_token_us").is_some(), stream, "{context}");
            for phase in ["wait", "first_byte", "stream", "total", "overhead"] {
                assert!(
                    row.int(&format!("{phase}_us")).is_some(),
                    "{phase}: {context}"
                );
            }
        }
    }
}

#[test]
fn usage_that_tollgate_asked_for_leaves_no_trace_in_the_answer() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    // Those who did not ask, each in their own way.
    let options = [
        None,
        Some(json!(null)),
        Some(json!({})),
        Some(json!({"include_usage": false})),
    ];
    for case in cases("plain")
        .into_iter()
        .filter(|case| ["chat", "completions"].contains(&case.api))
    {
        for option in &options {
            let mut body = with(case.body.clone(), "stream", json!(true));
            if let Some(option) = option {
                body["stream_options"] = option.clone();
            }
            let request = Request::json(case.target, &body);
            let direct = request.send(upstream.address());
            let through = tollgate.send(&request);
            assert_eq!(direct.seen(), through.seen(), "{} {option:?}", case.api);
            let received = upstream.received().pop().unwrap();
            assert_eq!(received.json()["stream_options"]["include_usage"], true);
            let row = tollgate.ledger().request(&through.request_id());
            assert_eq!(row.tokens(), case.tokens, "{} {option:?}", case.api);
        }
    }
}

/// The JDK's client offers HTTP/2 with every request over plain HTTP.
#[test]
fn an_offer_of_another_protocol_changes_nothing() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "gpt-5-mini", "messages": [], "stream": true});
    let request = Request::json("/v1/chat/completions", &body)
        .header("connection", "Upgrade, HTTP2-Settings")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA");
    let response = tollgate.send(&request);
    assert_eq!(response.text(), answers::chat_stream(false).concat());
    let received = upstream.only();
    assert_eq!(received.json()["stream_options"]["include_usage"], true);
    for name in ["upgrade", "http2-settings"] {
        assert_eq!(received.headers.get(name), None);
    }
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("requested_model"), Some("gpt-5-mini"));
    assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{row:#?}");
}

#[test]
fn azure_is_asked_for_usage_where_its_version_knows_the_question() {
    let upstream = Upstream::start(|request| {
        let asked = request.json()["stream_options"]["include_usage"] == true;
        answers::stream(&answers::chat_stream(asked))
    });
    let tollgate = Setup::channels(&[("azure", &upstream.base_url(), ", kind: azure")]).start();
    let own = json!([{"type": "azure_search", "parameters": {}}]);
    for (version, data, knows) in [
        ("2024-10-21", json!(null), true),
        ("2024-10-21", own, false),
        ("2024-06-01", json!(null), false),
    ] {
        let target = format!("/openai/deployments/d/chat/completions?api-version={version}");
        let body = json!({"messages": [], "stream": true, "data_sources": data});
        let response = tollgate.send(&Request::json(&target, &body));
        assert_eq!(response.text(), answers::chat_stream(false).concat());
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.target, target);
        assert_eq!(received.json() == body, !knows, "{version}");
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("requested_model"), Some("d"), "{version}");
        let source = if knows { "reported" } else { "missing" };
        assert_eq!(row.text("usage_source"), Some(source), "{version}");
    }
}

#[test]
fn usage_leaves_no_trace_in_an_answer_that_was_to_come_plain_and_did_not() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    for coding in ["gzip", "br", "zstd"] {
        let messages = json!([{"role": "user", "content": coding}]);
        let body = json!({"model": "gpt-5-mini", "messages": messages, "stream": true});
        let request = Request::json("/v1/chat/completions", &body);
        let response = tollgate.send(&request.header("accept-encoding", coding));
        let plain = match response.headers.get("content-encoding") {
            None => response.text(),
            Some(_) => answers::decompress(coding, &response.body),
        };
        assert_eq!(plain, answers::chat_stream(false).concat(), "{coding}");
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{coding}: {row:#?}");
    }
}

/// What a client that takes no encodings would not have noticed must not fail it.
#[test]
fn an_answer_that_is_encoded_wrongly_reaches_the_client_all_the_same() {
    let stream = answers::chat_stream(true).concat();
    let packed = answers::compress("gzip", stream.as_bytes());
    let (whole, _trailer) = packed.split_at(packed.len() - 8);
    let wrong_sum = [whole, &[7; 8]].concat();
    for (what, body) in [
        ("no trailer", whole),
        ("a wrong checksum", &wrong_sum[..]),
        ("never packed", stream.as_bytes()),
    ] {
        let mut script = Answer::new("200 OK")
            .header("content-type", "text/event-stream")
            .header("content-encoding", "gzip")
            .open_chunked();
        script.extend(body.chunks(7).map(chunk));
        script.push(last_chunk());
        let upstream = Upstream::always(script);
        let tollgate = Tollgate::before(&upstream.base_url());
        let body = json!({"model": "gpt-5-mini", "messages": [], "stream": true});
        let response = tollgate.send(&Request::json("/v1/chat/completions", &body));
        assert!(response.whole, "{what}: {response:?}");
        assert_eq!(
            response.text(),
            answers::chat_stream(false).concat(),
            "{what}"
        );
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.outcome(), "ok", "{what}");
        assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{what}: {row:#?}");
    }
}

#[test]
fn usage_that_the_client_asked_for_stays() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    for case in cases("plain")
        .into_iter()
        .filter(|case| ["chat", "completions"].contains(&case.api))
    {
        let options = json!({"include_usage": true, "include_obfuscation": false});
        let body = with(
            with(case.body, "stream", json!(true)),
            "stream_options",
            options,
        );
        let request = Request::json(case.target, &body);
        let direct = request.send(upstream.address());
        let through = tollgate.send(&request);
        assert_eq!(direct.seen(), through.seen(), "{}", case.api);
        assert!(through.text().contains("\"usage\":{"));
        // Nothing had to be changed, so nothing was.
        let received = upstream.received();
        assert_eq!(
            received[received.len() - 1].body,
            received[received.len() - 2].body
        );
    }
}

#[test]
fn encoded_answers_are_metered_and_not_touched() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    for coding in ["gzip", "deflate", "br", "zstd"] {
        for case in cases(coding) {
            for stream in [false, true] {
                if stream && !streams(case.api) {
                    continue;
                }
                let mut body = with(case.body.clone(), "stream", json!(stream));
                if stream && case.api != "responses" {
                    body["stream_options"] = json!({"include_usage": true});
                }
                let request = Request::json(case.target, &body).header("accept-encoding", coding);
                let direct = request.send(upstream.address());
                let through = tollgate.send(&request);
                let context = format!("{coding} {} stream={stream}", case.api);
                assert_eq!(through.headers.get("content-encoding"), Some(coding));
                assert_eq!(direct.seen(), through.seen(), "{context}");
                let row = tollgate.ledger().request(&through.request_id());
                assert_eq!(row.tokens(), case.tokens, "{context}");
                assert_eq!(row.text("usage_source"), Some("reported"), "{context}");
                assert_eq!(row.text("served_model"), Some(SERVED_MODEL), "{context}");
            }
        }
    }
}

#[test]
fn usage_is_found_however_the_bytes_are_cut() {
    let stream = answers::chat_stream(true).concat();
    for size in [1, 2, 3, 7, 64, 1000] {
        let mut script = answers::open_stream();
        script.extend(stream.as_bytes().chunks(size).map(chunk));
        script.push(last_chunk());
        let upstream = Upstream::always(script);
        let tollgate = Tollgate::before(&upstream.base_url());
        let body = json!({"model": "gpt-5-mini", "messages": [], "stream": true});
        let response = tollgate.send(&Request::json("/v1/chat/completions", &body));
        let expected = answers::chat_stream(false).concat();
        assert_eq!(response.text(), expected, "pieces of {size}");
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.tokens(), answers::CHAT_TOKENS, "pieces of {size}");
    }
}

#[test]
fn a_zero_is_a_count_and_silence_is_none() {
    let zero =
        r#"{"object":"list","data":[],"model":"m","usage":{"prompt_tokens":0,"total_tokens":0}}"#;
    let silent = r#"{"object":"list","data":[],"model":"m"}"#;
    for (answer, tokens, source) in [
        (zero, vec![("input", 0)], "reported"),
        (silent, vec![], "missing"),
    ] {
        let upstream = Upstream::always(answers::json("200 OK", answer));
        let tollgate = Tollgate::before(&upstream.base_url());
        let body = json!({"model": "m", "input": "x"});
        let response = tollgate.send(&Request::json("/v1/embeddings", &body));
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.tokens(), tokens, "{row:#?}");
        assert_eq!(row.text("usage_source"), Some(source), "{row:#?}");
    }
}

#[test]
fn what_has_no_usage_says_so() {
    let upstream = Upstream::always(answers::json("200 OK", r#"{"object":"list","data":[]}"#));
    let tollgate = Tollgate::before(&upstream.base_url());
    for (target, api) in [("/v1/models", "models"), ("/v1/something/new", "other")] {
        let response = tollgate.send(&Request::new("GET", target));
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(
            (row.text("api"), row.tokens()),
            (Some(api), vec![]),
            "{row:#?}"
        );
        assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
        assert_eq!(row.int("cost_nanousd"), None, "{row:#?}");
    }
}

#[test]
fn a_failure_inside_a_stream_of_status_200_is_a_failure() {
    let upstream = Upstream::always(answers::stream(&answers::responses_stream_failed()));
    let tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "gpt-5-mini", "input": "x", "stream": true});
    let response = tollgate.send(&Request::json("/v1/responses", &body));
    assert_eq!((response.status, response.whole), (200, true));
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "upstream_error", "{row:#?}");
    assert_eq!(row.text("error_code"), Some("server_error"), "{row:#?}");
    assert_eq!(row.int("status"), Some(200));
}

#[test]
fn cost_is_exact_and_the_cost_of_an_unknown_model_is_unknown() {
    let upstream = Upstream::start(|request| {
        let model = request.json()["model"].as_str().unwrap().to_owned();
        answers::json(
            "200 OK",
            &answers::completions().replace(SERVED_MODEL, &model),
        )
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    let cost = |model: &str| {
        let body = json!({"model": model, "prompt": "plain"});
        let response = tollgate.send(&Request::json("/v1/completions", &body));
        tollgate
            .ledger()
            .request(&response.request_id())
            .int("cost_nanousd")
    };
    // 8 tokens at 0.25 USD a million and 5 at 2 USD, in billionths of a dollar.
    assert_eq!(cost("gpt-5-mini"), Some(8 * 250 + 5 * 2000));
    assert_eq!(cost("gpt-mystery"), None);
    let metrics = tollgate.metrics();
    let unpriced = [("model", "gpt-mystery")];
    assert!((metrics.sum("tollgate_unpriced_requests_total", &unpriced) - 1.0).abs() < 1e-9);
    let spent = metrics.sum("tollgate_cost_usd_total", &[]);
    assert!((spent - 12_000e-9).abs() < 1e-12, "{spent}");
}
