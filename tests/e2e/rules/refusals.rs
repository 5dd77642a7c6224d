//! A refusal as clients see it: in the shape of the API, with the time to come back, and so that no SDK
//! tries again.

use serde_json::{Value, json};

use super::{assert_blocked, before, budget, chat, ok};
use crate::support::client::{Request, Response};
use crate::support::clients::{self, Call};
use crate::support::upstream::Upstream;

#[test]
fn each_api_is_refused_in_its_own_shape() {
    let upstream = Upstream::start(|_| ok());
    let rule = "- {alert: Spend, metric: requests, window: month, critical: 1 request, \
                actions: [{block: {}}]}";
    let tollgate = before(&upstream, rule);
    assert_eq!(tollgate.send(&chat("metered")).status, 200);
    let said = json!([{"role": "user", "content": "hello"}]);
    let responses: Vec<Response> = [
        (
            "/v1/chat/completions",
            json!({"model": "metered", "messages": said}),
        ),
        (
            "/v1/responses",
            json!({"model": "metered", "input": "hello"}),
        ),
        (
            "/v1/messages",
            json!({"model": "metered", "max_tokens": 100, "messages": said}),
        ),
        (
            "/v1beta/models/metered:generateContent",
            json!({"contents": [{"parts": [{"text": "hello"}]}]}),
        ),
    ]
    .into_iter()
    .map(|(path, body)| tollgate.send(&Request::json(path, &body)))
    .collect();
    for response in &responses {
        assert_blocked(response);
        let wait: u64 = response
            .headers
            .get("retry-after")
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=31 * 24 * 60 * 60).contains(&wait), "{wait}");
        assert_eq!(response.headers.get("x-tollgate-channel"), None);
    }
    let error = |index: usize| responses[index].json()["error"].clone();
    for openai in [error(0), error(1)] {
        assert_eq!(openai["type"], "insufficient_quota");
        assert_eq!(openai["code"], "insufficient_quota");
        assert_eq!(openai["param"], Value::Null);
    }
    assert_eq!(error(2)["type"], "rate_limit_error");
    assert_eq!(error(3)["status"], "RESOURCE_EXHAUSTED");
    let message = error(0)["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("the budget `Spend` has no room"),
        "{message}"
    );
    // What others used and may use is none of this client's.
    assert!(!message.contains("are used"), "{message}");
    assert_eq!(upstream.received().len(), 1);
    let rows = tollgate.ledger().exactly(5);
    for row in rows.iter().filter(|row| row.outcome() != "ok") {
        assert_eq!(row.outcome(), "blocked");
        assert_eq!(row.text("error_source"), Some("internal"));
        assert_eq!(row.text("error_code"), Some("insufficient_quota"));
        let told = row.text("error_message").unwrap();
        assert!(told.contains("`Spend`"), "{told}");
        assert!(told.contains("1 requests are used"), "{told}");
    }
}

#[test]
fn the_status_is_the_rules_and_without_an_end_of_the_window_no_time_is_told() {
    let upstream = Upstream::start(|_| ok());
    let rule = "- {alert: Spend, metric: cost, window: 30d, critical: 0.01 USD, \
                actions: [{block: {status: 402}}]}";
    let response = before(&upstream, rule).send(&chat("metered"));
    assert_eq!(response.status, 402, "{response:?}");
    assert_eq!(response.headers.get("retry-after"), None);
    assert_eq!(response.json()["error"]["code"], "insufficient_quota");
}

#[test]
fn the_official_sdks_do_not_try_again() {
    if clients::left_out() {
        return;
    }
    let upstream = Upstream::start(|_| ok());
    let tollgate = before(&upstream, &budget("0.01", ""));
    let call = |n, channel, api, prompt| Call {
        n,
        channel,
        api,
        model: "metered",
        prompt,
        stream: false,
        include_usage: None,
        how: "parsed",
    };
    let base = [("through", tollgate.base_url())];
    let chat = [call(0, "through", "chat", "chat-short")];
    let python = clients::python_retrying(3, &base, &chat);
    let node = clients::javascript_retrying(3, &base, &chat);
    for seen in [&python[&0], &node[&0]] {
        assert_eq!(seen["status"], 429, "{seen}");
        assert_eq!(seen["error"]["code"], "insufficient_quota", "{seen}");
    }
    let origin = [("through", format!("http://{}", tollgate.address()))];
    let messages = [call(0, "through", "messages", "chat-short")];
    let anthropic = clients::providers_retrying(3, &origin, &messages);
    assert_eq!(anthropic[&0]["error"]["status"], 429, "{anthropic:?}");
    // A row for each call, and none for another try.
    let rows = tollgate.ledger().exactly(3);
    assert!(rows.iter().all(|row| row.outcome() == "blocked"));
    assert_eq!(upstream.received().len(), 0);
}
