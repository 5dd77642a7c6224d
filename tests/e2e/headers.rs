//! What the upstream gets of a request's fields, and what it must not get.

use serde_json::json;

use crate::support::answers;
use crate::support::client::Request;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Upstream};

fn provider() -> Upstream {
    Upstream::start(answers::provider)
}

#[test]
fn the_upstream_gets_the_clients_fields_less_those_of_one_hop_and_of_proxies() {
    let upstream = provider();
    let tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "gpt-5-mini", "input": "plain"});
    let request = Request::json("/v1/embeddings", &body)
        .header("user-agent", "test/1")
        .header("accept", "application/json")
        .header("accept-encoding", "br;q=1.0, gzip")
        .header("openai-organization", "org-1")
        .header("x-stainless-retry-count", "0")
        .header("x-request-id", "of-the-client")
        .header("connection", "keep-alive, x-named-hop")
        .header("x-named-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("proxy-connection", "keep-alive")
        .header("proxy-authorization", "Basic c2VjcmV0")
        .header("te", "trailers")
        .header("forwarded", "for=10.0.0.1")
        .header("via", "1.1 elsewhere")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-forwarded-host", "inside.example")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-port", "443")
        .header("x-tollgate-tags", "project=a")
        .header("x-tollgate-channel", "openai")
        .header("x-tollgate-whatever", "1");
    let response = tollgate.send(&request);
    assert_eq!(response.status, 200, "{response:?}");
    let host = upstream.address().to_string();
    let length = body.to_string().len().to_string();
    let expected = [
        ("accept", "application/json"),
        ("accept-encoding", "br;q=1.0, gzip"),
        ("authorization", "Bearer sk-client-secret"),
        ("content-length", length.as_str()),
        ("content-type", "application/json"),
        ("host", host.as_str()),
        ("openai-organization", "org-1"),
        ("user-agent", "test/1"),
        ("x-request-id", "of-the-client"),
        ("x-stainless-retry-count", "0"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // Whether the connection to the upstream stays open is Tollgate's own matter.
    assert_eq!(upstream.only().headers.without(&["connection"]), expected);
}

#[test]
fn the_answer_names_the_request_and_the_channel() {
    let upstream = provider();
    let tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "gpt-5-mini", "input": "plain"});
    let response = tollgate.send(&Request::json("/v1/embeddings", &body));
    assert_eq!(response.headers.get("x-tollgate-channel"), Some("openai"));
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("channel"), Some("openai"));
}

#[test]
fn a_channels_credential_replaces_the_clients_which_goes_nowhere() {
    let upstream = provider();
    let more = ", api_key: sk-channel-secret";
    let tollgate = Setup::channels(&[("paid", &upstream.base_url(), more)]).start();
    let body = json!({"model": "gpt-5-mini", "input": "plain"});
    let request = Request::json("/v1/embeddings?api-key=sk-client-in-query", &body)
        .header("api-key", "sk-client-in-field")
        .header("x-api-key", "sk-client-in-field");
    let response = tollgate.send(&request);
    assert_eq!(response.status, 200, "{response:?}");
    let received = upstream.only();
    assert_eq!(
        received.headers.get("authorization"),
        Some("Bearer sk-channel-secret")
    );
    let fields = format!("{} {:?}", received.target, received.headers);
    assert!(!fields.contains("sk-client"), "{fields}");
    let row = tollgate.ledger().request(&response.request_id());
    let written = format!(
        "{row:?} {} {}",
        tollgate.log(),
        tollgate.admin("/metrics").text()
    );
    for secret in ["sk-client", "sk-channel"] {
        assert!(!written.contains(secret), "{secret} in {written}");
    }
}

#[test]
fn a_channel_is_named_by_path_or_by_field() {
    let (one, two) = (provider(), provider());
    let tollgate = Setup::channels(&[
        ("one", &one.base_url(), ""),
        (
            "two",
            &format!("http://{}/other/base", two.address()),
            ", headers: {x-team: blue}",
        ),
    ])
    .start();
    let body = json!({"model": "gpt-5-mini", "input": "plain"});
    tollgate.send(&Request::json("/c/one/v1/embeddings?x=1", &body));
    assert_eq!(one.only().target, "/v1/embeddings?x=1");
    tollgate.send(&Request::json("/c/two/v1/embeddings", &body));
    let by_field = Request::json("/v1/embeddings", &body).header("x-tollgate-channel", "two");
    tollgate.send(&by_field);
    let received = two.received();
    assert_eq!(received.len(), 2);
    for request in received {
        assert_eq!(request.target, "/other/base/embeddings");
        assert_eq!(request.headers.get("x-team"), Some("blue"));
    }
}

#[test]
fn the_upstreams_own_proxy_fields_reach_the_client() {
    let script = Answer::new("200 OK")
        .header("via", "1.1 edge")
        .header("x-forwarded-for", "kept")
        .header("connection", "x-of-this-hop, keep-alive")
        .header("x-of-this-hop", "1")
        .body("fine");
    let upstream = Upstream::always(script);
    let tollgate = Tollgate::before(&upstream.base_url());
    let response = tollgate.send(&Request::new("GET", "/v1/models"));
    assert_eq!(response.headers.get("via"), Some("1.1 edge"));
    assert_eq!(response.headers.get("x-forwarded-for"), Some("kept"));
    assert_eq!(response.headers.get("x-of-this-hop"), None);
}
