//! The list of models: the upstream's as it is, Tollgate's own, or both, as the clients of every
//! provider read it.

use serde_json::{Value, json};

use crate::support::answers;
use crate::support::client::{Connection, Request};
use crate::support::clients;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Received, Script, Step, Upstream};

const MISSING: &str = "x-tollgate-models-missing";

/// A list in OpenAI's shape.
fn list(ids: &[&str]) -> String {
    let data: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "up"}))
        .collect();
    json!({"object": "list", "data": data}).to_string()
}

/// An upstream that answers `target` with `body` where the request has that field.
fn lists(target: &'static str, field: (&'static str, &'static str), body: String) -> Upstream {
    Upstream::start(move |request: &Received| -> Script {
        if request.target == target && request.headers.get(field.0) == Some(field.1) {
            answers::json("200 OK", &body)
        } else {
            answers::error("404 Not Found", "invalid_request_error", "unknown_url")
        }
    })
}

fn origin(address: std::net::SocketAddr) -> String {
    format!("http://{address}")
}

/// What these SDKs are to ask for: the list, and one model by its name.
fn plan(tollgate: &Tollgate, sdks: &[(&str, Option<&str>)]) -> Value {
    let base = origin(tollgate.address());
    let each = sdks.iter();
    each.map(|(sdk, one)| json!({"sdk": sdk, "base": base, "one": one}))
        .collect()
}

fn python(tollgate: &Tollgate, sdks: &[(&str, Option<&str>)]) -> Vec<Value> {
    clients::python_models(&plan(tollgate, sdks))
}

fn javascript(tollgate: &Tollgate, sdks: &[(&str, Option<&str>)]) -> Vec<Value> {
    clients::javascript_models(&plan(tollgate, sdks))
}

#[test]
fn the_sdks_of_every_provider_read_the_operators_names() {
    if clients::left_out() {
        return;
    }
    let tollgate = Setup::upstream("http://127.0.0.1:1/v1")
        .setting("models: {list: preset, preset: [gpt-5, house/one], aliases: {fast: gpt-5-mini}}")
        .start();
    let sdks = [
        ("openai", Some("house/one")),
        ("azure", Some("fast")),
        ("anthropic", Some("gpt-5")),
        ("gemini", Some("fast")),
    ];
    let seen = python(&tollgate, &sdks);
    let names = json!(["gpt-5", "house/one", "fast"]);
    for (seen, (sdk, one)) in seen[..3].iter().zip(sdks) {
        assert_eq!(seen["names"], names, "{sdk}");
        assert_eq!(seen["one"]["id"], json!(one), "{sdk}: {seen}");
    }
    assert_eq!(
        seen[3]["names"],
        json!(["models/gpt-5", "models/house/one", "models/fast"])
    );
    assert_eq!(seen[3]["one"]["name"], "models/fast");
    assert_eq!(seen[0]["one"]["owned_by"], "tollgate");
    assert!(
        seen[0]["one"]["created"].as_i64() > Some(1_700_000_000),
        "{}",
        seen[0]
    );
    for seen in javascript(
        &tollgate,
        &[("openai", Some("house/one")), ("azure", Some("fast"))],
    ) {
        assert_eq!(seen["names"], names);
        assert_eq!(seen["one"]["object"], "model");
    }
    for row in tollgate.ledger().exactly(12) {
        assert_eq!(row.text("api"), Some("models"), "{row:#?}");
        assert_eq!((row.outcome(), row.int("status")), ("ok", Some(200)));
        assert_eq!(row.text("channel"), None);
        assert_eq!(row.int("attempts"), Some(0));
        assert!(row.int("response_bytes") > Some(40), "{row:#?}");
    }
}

#[test]
fn a_merged_list_has_what_every_upstream_that_answers_has() {
    if clients::left_out() {
        return;
    }
    let openai = lists(
        "/v1/models",
        ("authorization", "Bearer sk-openai"),
        list(&["shared", "gpt-5", "text-embedding-3-small"]),
    );
    let anthropic = lists(
        "/v1/models?limit=1000",
        ("x-api-key", "sk-anthropic"),
        json!({"data": [
            {"type": "model", "id": "claude-x", "display_name": "X", "created_at": "2025-10-01T00:00:00Z"},
            {"type": "model", "id": "shared", "display_name": "S", "created_at": "2025-10-01T00:00:00Z"},
        ], "has_more": false})
        .to_string(),
    );
    let gemini = lists(
        "/v1beta/models?pageSize=1000",
        ("x-goog-api-key", "sk-gemini"),
        json!({"models": [{"name": "models/gemini-x", "inputTokenLimit": 5}]}).to_string(),
    );
    let broken = Upstream::always(answers::error(
        "500 Internal Server Error",
        "server_error",
        "internal_error",
    ));
    let tollgate = Setup::channels(&[
        (
            "openai",
            &openai.base_url(),
            ", api_key: sk-openai, models: ['gpt-*', shared]",
        ),
        (
            "anthropic",
            &origin(anthropic.address()),
            ", kind: anthropic, api_key: sk-anthropic",
        ),
        (
            "broken",
            &broken.base_url(),
            ", api_key: sk-broken, model_map: {mapped: x}",
        ),
        (
            "gemini",
            &origin(gemini.address()),
            ", kind: gemini, api_key: sk-gemini",
        ),
    ])
    .setting("models: {list: merge, preset: [house, shared], aliases: {fast: gpt-5}}")
    .start();
    let names = [
        "house", "shared", "fast", "gpt-5", "claude-x", "mapped", "gemini-x",
    ];
    let seen = python(
        &tollgate,
        &[
            ("openai", Some("gpt-5")),
            ("anthropic", Some("claude-x")),
            ("gemini", Some("gemini-x")),
        ],
    );
    assert_eq!(seen[0]["names"], json!(names));
    assert_eq!(seen[1]["names"], json!(names));
    assert_eq!(
        seen[2]["names"],
        json!(names.map(|name| format!("models/{name}")))
    );
    assert_eq!(
        seen[0]["one"],
        json!({"id": "gpt-5", "object": "model", "created": 1_700_000_000, "owned_by": "up"})
    );
    assert_eq!(seen[1]["one"]["display_name"], "X");
    assert_eq!(seen[2]["one"]["input_token_limit"], 5);
    assert_eq!(
        javascript(&tollgate, &[("openai", None)])[0]["names"],
        json!(names)
    );

    let request =
        Request::new("GET", "/v1/models").header("authorization", "Bearer sk-client-secret");
    let response = tollgate.send(&request);
    assert_eq!(response.headers.get(MISSING), Some("broken"));
    assert_eq!(response.headers.get("x-tollgate-channel"), None);
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!((row.outcome(), row.text("channel")), ("ok", None));
    // Asked once for all of these: nobody else's credential is in it.
    assert_eq!(
        openai.only().headers.get("authorization"),
        Some("Bearer sk-openai")
    );
    assert_eq!(anthropic.only().headers.get("authorization"), None);
    assert_eq!(broken.received().len(), 1);
    assert!(
        tollgate
            .log()
            .contains("a channel does not say which models it has")
    );
    assert!(!tollgate.log().contains("sk-client-secret"));
}

#[test]
fn a_clients_credential_goes_where_its_request_would_go_and_nowhere_else() {
    let answering = |id: &'static str| {
        Upstream::start(move |request: &Received| -> Script {
            if request.headers.get("authorization").is_some() {
                answers::json("200 OK", &list(&[id]))
            } else {
                answers::error("401 Unauthorized", "invalid_request_error", "no_key")
            }
        })
    };
    let (first, second, own) = (answering("a"), answering("b"), answering("c"));
    let gemini = Upstream::always(answers::error("403 Forbidden", "x", "no_key"));
    let local = Upstream::always(answers::json("200 OK", &list(&["llama"])));
    let tollgate = Setup::channels(&[
        ("gemini", &origin(gemini.address()), ", kind: gemini"),
        ("first", &first.base_url(), ""),
        ("second", &second.base_url(), ", model_map: {mapped: x}"),
        ("local", &local.base_url(), ""),
        ("own", &own.base_url(), ", api_key: sk-own"),
        (
            "set",
            &own.base_url(),
            ", headers: {authorization: Bearer sk-set}",
        ),
    ])
    .setting("models: {list: merge}")
    .start();
    // As the client wrote it: a scheme has no case.
    let clients = ["bearer zz-one", "Basic zz-two"];
    for client in clients {
        let request = Request::new("GET", "/v1/models?key=zz-three")
            .header("authorization", client)
            .header("x-api-key", "zz-four");
        let response = tollgate.send(&request);
        let ids: Vec<_> = response.json()["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, ["a", "mapped", "llama", "c"]);
        assert_eq!(response.headers.get(MISSING), Some("gemini,second"));
    }
    let passed = first.received();
    // Not kept: each client's own.
    assert_eq!(passed.len(), 2);
    for (received, client) in passed.iter().zip(clients) {
        assert_eq!(received.headers.get("authorization"), Some(client));
        assert_eq!(received.headers.get("x-api-key"), Some("zz-four"));
        assert_eq!(received.target, "/v1/models");
    }
    for upstream in [&gemini, &second, &local, &own] {
        for received in upstream.received() {
            let head = format!("{} {:?}", received.target, received.headers);
            assert!(!head.contains("zz-"), "{head}");
        }
    }
    assert_eq!(second.received().len(), 1, "that it says nothing is kept");
}

#[test]
fn an_upstream_that_never_answers_holds_up_nobody_for_long() {
    let silent = Upstream::always(vec![Step::Hang]);
    let good = Upstream::always(answers::json("200 OK", &list(&["gpt-5"])));
    let tollgate = Setup::channels(&[
        ("silent", &silent.base_url(), ", api_key: sk-a"),
        ("good", &good.base_url(), ", api_key: sk-b"),
    ])
    .setting("models: {list: merge}")
    .start();
    for _ in 0..2 {
        let response = tollgate.send(&Request::new("GET", "/v1/models"));
        assert_eq!(response.headers.get(MISSING), Some("silent"));
        assert_eq!(response.json()["data"][0]["id"], "gpt-5");
        let row = tollgate.ledger().request(&response.request_id());
        // It waited five seconds for another, once.
        assert!(row.int("overhead_us") < Some(4_000_000), "{row:#?}");
    }
    assert_eq!(
        silent.received().len(),
        1,
        "what is silent is not asked at once again"
    );
}

#[test]
fn an_own_list_leaves_the_connection_and_all_else_as_they_are() {
    let upstream = Upstream::always(answers::json("200 OK", &list(&["theirs"])));
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("models: {list: preset, preset: [gpt-5]}")
        .start();
    let mut connection = Connection::open(tollgate.address());
    let mut length = None;
    for method in ["GET", "HEAD", "GET"] {
        let request = Request::new(method, "/v1/models").header("if-none-match", "*");
        connection.write(&request.bytes()).unwrap();
        let (response, same) = connection.incoming(method).finish_on();
        connection = same;
        assert_eq!(response.status, 200, "{method}");
        let stated = response.headers.get("content-length").map(str::to_owned);
        assert_eq!(*length.get_or_insert(stated.clone()), stated, "{method}");
        assert_eq!(response.body.is_empty(), method == "HEAD");
    }
    assert_eq!(upstream.received().len(), 0);
    // A body that nobody asked for is no next request.
    let request = Request::new("GET", "/v1/models").body("GET /v1/files HTTP/1.1\r\n\r\n");
    assert_eq!(tollgate.send(&request).json()["data"][0]["id"], "gpt-5");
    assert_eq!(upstream.received().len(), 0);
    for (method, target) in [
        ("GET", "/v1/models/unlisted"),
        ("GET", "/c/openai/v1/models"),
        ("DELETE", "/v1/models/gpt-5"),
    ] {
        let response = tollgate.send(&Request::new(method, target));
        assert_eq!(
            response.json()["data"][0]["id"],
            "theirs",
            "{method} {target}"
        );
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("channel"), Some("openai"));
    }
}
