//! Requests that are none of the usual: unknown paths, batches, tools that the provider runs, sockets.

use serde_json::{Value, json};

use super::{assert_blocked, before, body, budget, chat, ok, ruled};
use crate::support::client::Request;
use crate::support::tollgate::Setup;
use crate::support::upstream::{Received, Script, Upstream};
use crate::support::websocket::{Socket, SocketUpstream, Turn, from_client, from_server};
use crate::support::{Gate, answers};

const REFUSES: &str = "- {alert: Spend, metric: cost, window: 30d, critical: 20 USD, \
                       actions: [{block: {unbounded: refuse}}]}";

#[test]
fn what_nobody_can_bound_is_refused_where_the_rule_says_so() {
    let upstream = Upstream::start(|_| ok());
    let tollgate = before(&upstream, REFUSES);
    let mut searching = body("metered");
    searching["tools"] = json!([{"type": "web_search"}]);
    for (path, body) in [
        ("/v1/chat/completions", searching),
        ("/anything/the/provider/has", body("metered")),
        ("/v1/batches", json!({"input_file_id": "file-1"})),
        ("/v1/messages/batches", json!({"requests": []})),
        (
            "/v1/images/generations",
            json!({"model": "metered", "prompt": "a"}),
        ),
        // Below what is known, but not known.
        ("/v1/images/generations:submit", body("metered")),
        ("/v1/embeddings/batch", body("metered")),
        ("/v1/chat/completions/extra", body("metered")),
    ] {
        let response = tollgate.send(&Request::json(path, &body));
        assert_blocked(&response);
        assert!(response.text().contains("cannot be known"), "{path}");
    }
    assert_eq!(upstream.received().len(), 0);
    // What costs nothing is not asked.
    for path in [
        "/v1/models",
        "/v1/batches/batch_1",
        "/v1/files",
        "/anything",
    ] {
        let response = tollgate.send(&Request::new("GET", path));
        assert_eq!(response.status, 200, "{path}");
    }
    for path in [
        "/v1/messages/count_tokens",
        "/v1/responses/input_tokens",
        "/v1beta/models/metered:countTokens",
        "/v1/batches/batch_1/cancel",
    ] {
        let free = Request::json(path, &body("metered"));
        assert_eq!(tollgate.send(&free).status, 200, "{path}");
    }
    assert_eq!(tollgate.send(&chat("metered")).status, 200);
}

#[test]
fn what_nobody_can_bound_is_let_go_while_there_is_anything_left() {
    let upstream = Upstream::start(|_| ok());
    let tollgate = ruled(
        Setup::upstream(&upstream.base_url()).setting("budgets: {unbounded_cost: 1 USD}"),
        &budget("0.05", ""),
    )
    .start();
    let path = "/anything/the/provider/has";
    assert_eq!(
        tollgate.send(&Request::json(path, &body("metered"))).status,
        200
    );
    // It told no usage and has none by its API: it cost nothing that anybody knows of.
    let mut searching = body("metered");
    searching["tools"] = json!([{"type": "web_search"}]);
    let searching = Request::json("/v1/chat/completions", &searching);
    assert_eq!(tollgate.send(&searching).status, 200);
    // 0.06 of 0.05 are used.
    assert_blocked(&tollgate.send(&searching));
    assert_blocked(&tollgate.send(&Request::json(path, &body("metered"))));
}

/// A provider that makes a response and a batch in a while: they are done when they are asked for.
fn slow() -> Upstream {
    Upstream::start(|request: &Received| -> Script {
        let usage = json!({"input_tokens": 10, "output_tokens": super::USED,
            "total_tokens": 10 + super::USED});
        let response = |status: &str, usage: Value| {
            json!({"id": "resp_1", "object": "response", "status": status, "background": true,
                "model": "metered", "output": [], "usage": usage})
        };
        let batch = |status: &str, usage: Value| {
            json!({"id": "batch_1", "object": "batch", "model": "metered", "status": status,
                "usage": usage})
        };
        let answer = match (request.method.as_str(), request.target.as_str()) {
            ("POST", "/v1/responses") => response("queued", Value::Null),
            ("GET", "/v1/responses/resp_1") => response("completed", usage),
            ("POST", "/v1/batches") => batch("validating", Value::Null),
            ("GET", "/v1/batches/batch_1") => batch("completed", usage),
            _ => return ok(),
        };
        answers::json("200 OK", &answer.to_string())
    })
}

#[test]
fn what_is_made_in_the_background_is_held_until_its_usage_is_told() {
    let upstream = slow();
    let tollgate = before(&upstream, &budget("0.15", ""));
    let making = Request::json(
        "/v1/responses",
        &json!({"model": "metered", "input": "hello", "max_output_tokens": super::MOST,
            "background": true}),
    );
    assert_eq!(tollgate.send(&making).status, 200);
    // 0.1 is held.
    assert_blocked(&tollgate.send(&chat("metered")));
    let shown = Request::new("GET", "/v1/responses/resp_1");
    assert_eq!(tollgate.send(&shown).status, 200);
    // 0.06 is used.
    let small = json!({"model": "metered", "max_tokens": 80, "messages": []});
    let small = Request::json("/v1/chat/completions", &small);
    assert_eq!(tollgate.send(&small).status, 200);
}

#[test]
fn what_is_never_asked_for_uses_no_budget_up() {
    let upstream = slow();
    let rule = "- {alert: Spend, metric: requests, window: 30d, critical: 2 requests, \
                actions: [{block: {}}]}";
    let tollgate = before(&upstream, rule);
    let making = Request::json(
        "/v1/responses",
        &json!({"model": "metered", "input": "hello", "background": true}),
    );
    assert_eq!(tollgate.send(&making).status, 200);
    // The second brings the usage of what was made, which is no further request.
    for path in ["/v1/models", "/v1/responses/resp_1", "/v1/files"] {
        assert_eq!(tollgate.send(&Request::new("GET", path)).status, 200);
    }
    assert_eq!(tollgate.send(&chat("metered")).status, 200);
    assert_blocked(&tollgate.send(&chat("metered")));
}

#[test]
fn usage_that_is_told_later_counts_under_the_model_that_was_asked_for() {
    let upstream = slow();
    let setup = Setup::upstream(&upstream.base_url()).setting("models: {aliases: {fast: metered}}");
    let tollgate = ruled(setup, &budget("0.1", ", match: {model: fast}, by: [model]")).start();
    let making = Request::json(
        "/v1/responses",
        &json!({"model": "fast", "input": "hello", "max_output_tokens": super::MOST,
            "background": true}),
    );
    assert_eq!(tollgate.send(&making).status, 200);
    let shown = Request::new("GET", "/v1/responses/resp_1");
    assert_eq!(tollgate.send(&shown).status, 200);
    // 0.06 are used of 0.1.
    assert_blocked(&tollgate.send(&chat("fast")));
    assert_eq!(tollgate.send(&chat("metered")).status, 200);
}

#[test]
fn a_batch_is_held_until_its_usage_is_told() {
    let upstream = slow();
    let tollgate = ruled(
        Setup::upstream(&upstream.base_url())
            .setting("budgets: {unbounded_cost: 1 USD, ceiling: {input: 1 USD, output: 1 USD}}"),
        &budget("1.5", ""),
    )
    .start();
    let made = Request::json("/v1/batches", &json!({"input_file_id": "file-1"}));
    // Each counts a dollar, as long as there is anything left before it.
    assert_eq!(tollgate.send(&made).status, 200);
    // No room for a dollar of output.
    let large = json!({"model": "metered-2", "max_tokens": 1000, "messages": []});
    let large = Request::json("/v1/chat/completions", &large);
    assert_blocked(&tollgate.send(&large));
    let shown = Request::new("GET", "/v1/batches/batch_1");
    assert_eq!(tollgate.send(&shown).status, 200);
    assert_eq!(tollgate.send(&large).status, 200);
}

#[test]
fn a_session_that_goes_on_by_itself_ends_where_there_is_no_room() {
    // A turn may cost a thousand tokens of output, and three hundredths of a dollar for what is heard.
    let turn = |id: &str| {
        let of = |kind: &str, usage: Value| {
            from_server(&json!({"type": format!("response.{kind}"),
                "response": {"id": id, "status": "completed", "usage": usage}}))
        };
        let usage = json!({"input_tokens": 10, "output_tokens": super::USED,
            "total_tokens": 10 + super::USED});
        (of("created", Value::Null), of("done", usage))
    };
    let ((begins, ends), (again, _)) = (turn("resp_1"), turn("resp_2"));
    let (first, gate) = ([begins, ends].concat(), Gate::default());
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Send(first.clone()),
            Turn::Await(gate.clone()),
            Turn::Send(again),
            Turn::Hang,
        ],
    );
    let tollgate = ruled(Setup::upstream(&upstream.base_url()), &budget("1.05", "")).start();
    let mut socket = Socket::open(tollgate.address(), "/v1/realtime?model=metered", &[]);
    let connection = socket.request_id();
    socket.read(first.len());
    gate.open();
    // It does not hear of the second.
    assert_eq!(socket.finish(), first);
    let rows = tollgate.ledger().exactly(3);
    let outcome_of = |id: Option<&str>| {
        let row = rows.iter().find(|row| row.text("response_id") == id);
        row.unwrap().outcome().to_owned()
    };
    assert_eq!(outcome_of(Some("resp_1")), "ok");
    assert_eq!(outcome_of(Some("resp_2")), "interrupted");
    // It had begun before anybody could refuse it: what it may have cost is held and counted.
    let second = rows
        .iter()
        .find(|row| row.text("response_id") == Some("resp_2"));
    assert_eq!(
        second.unwrap().int("assumed_cost_nanousd"),
        Some(1_030_000_000)
    );
    let own = rows.iter().find(|row| row.text("id") == Some(&connection));
    assert_eq!(own.unwrap().outcome(), "blocked", "{rows:#?}");
}

fn create() -> Vec<u8> {
    from_client(
        &json!({"type": "response.create", "model": "metered", "max_output_tokens": 100,
        "input": "hello"}),
    )
}

fn made(id: &str) -> Vec<u8> {
    let of = |kind: &str, usage| {
        from_server(
            &json!({"type": format!("response.{kind}"), "response": {"id": id,
            "status": kind, "model": "metered", "usage": usage}}),
        )
    };
    let usage = json!({"input_tokens": 10, "output_tokens": super::USED,
        "total_tokens": 10 + super::USED});
    [of("created", json!(null)), of("completed", usage)].concat()
}

#[test]
fn each_response_over_a_socket_is_asked_for() {
    let (asked, answer) = (create(), made("resp_1"));
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Expect(asked.len()),
            Turn::Send(answer.clone()),
            Turn::Hang,
        ],
    );
    let tollgate = ruled(Setup::upstream(&upstream.base_url()), &budget("0.15", "")).start();
    let mut socket = Socket::open(tollgate.address(), "/v1/responses", &[]);
    let connection = socket.request_id();
    socket.write(&asked);
    socket.read(answer.len());
    // 0.06 are used: no room for another.
    socket.write(&asked);
    let received = socket.finish();
    assert_eq!(received[..answer.len()], answer);
    // One text message, and a close frame with code 1008.
    let told = String::from_utf8_lossy(&received[answer.len()..]).into_owned();
    for part in [
        r#""type":"error""#,
        r#""code":"insufficient_quota""#,
        r#""status":429"#,
    ] {
        assert!(told.contains(part), "{told}");
    }
    let close = received
        .windows(4)
        .any(|bytes| bytes[0] == 0x88 && bytes[2..] == 1008_u16.to_be_bytes());
    assert!(close, "{told}");
    // It did not go up.
    assert_eq!(upstream.received(), asked);
    let rows = tollgate.ledger().exactly(3);
    let of = |id: Option<&str>| {
        let mut rows = rows.iter().filter(|row| row.text("response_id") == id);
        rows.by_ref()
            .find(|row| row.text("id") != Some(&connection))
            .unwrap()
    };
    assert_eq!(of(Some("resp_1")).outcome(), "ok");
    assert_eq!(of(Some("resp_1")).int("cost_nanousd"), Some(super::COST));
    let blocked = of(None);
    assert_eq!(blocked.outcome(), "blocked", "{blocked:#?}");
    assert_eq!(blocked.text("error_code"), Some("insufficient_quota"));
}

#[test]
fn what_is_on_its_way_over_a_socket_that_ends_keeps_its_place_in_the_sums() {
    let asked = create();
    let upstream = SocketUpstream::start(&[], vec![Turn::Expect(asked.len()), Turn::Hang]);
    let tollgate = ruled(Setup::upstream(&upstream.base_url()), &budget("0.15", "")).start();
    let mut socket = Socket::open(tollgate.address(), "/v1/responses", &[]);
    let connection = socket.request_id();
    socket.write(&asked);
    socket.write(&asked);
    socket.finish();
    let rows = tollgate.ledger().exactly(3);
    let assumed: Vec<_> = rows
        .iter()
        .filter(|row| row.text("id") != Some(&connection))
        .map(|row| (row.outcome().to_owned(), row.int("assumed_cost_nanousd")))
        .collect();
    assert!(
        assumed.contains(&("interrupted".to_owned(), Some(super::WORST))),
        "{assumed:?}"
    );
    assert!(
        assumed.contains(&("blocked".to_owned(), None)),
        "{assumed:?}"
    );
}
