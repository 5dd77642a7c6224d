//! What a budget lets through: never more than its limit, and all that has room.

use std::sync::Barrier;

use serde_json::json;

use super::{
    CHAT, COST, MOST, WORST, answer, assert_blocked, before, body, budget, chat, ok, ruled, spent,
};
use crate::support::answers;
use crate::support::client::Request;
use crate::support::ledger::Row;
use crate::support::tollgate::Setup;
use crate::support::upstream::Upstream;

/// The numbers of a refusal's message: limit, used, held, what the request may use.
fn figures(row: &Row) -> [f64; 4] {
    let message = row.text("error_message").unwrap();
    let numbers: Vec<f64> = message
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    numbers[..4]
        .try_into()
        .unwrap_or_else(|_| panic!("{message}"))
}

#[test]
fn two_hundred_clients_at_once_never_pass_the_limit_and_none_is_refused_in_vain() {
    const LIMIT: i64 = 1_000_000_000;
    let upstream = Upstream::start(|_| ok());
    let tollgate = before(&upstream, &budget("1", ""));
    let (address, start) = (tollgate.address(), Barrier::new(200));
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..2 {
                    let response = chat("metered").send(address);
                    assert!([200, 429].contains(&response.status), "{response:?}");
                }
            });
        }
    });
    // What is left is used up to the last request that has room.
    let mut sent = 401;
    while tollgate.send(&chat("metered")).status == 200 {
        sent += 1;
    }
    let rows = tollgate.ledger().exactly(sent);
    let (blocked, passed): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.outcome() == "blocked");
    assert!(passed.iter().all(|row| row.outcome() == "ok"));
    let sum = spent(&passed);
    assert!(sum <= LIMIT, "{sum}");
    assert!(sum + WORST > LIMIT, "{sum}");
    assert_eq!(upstream.received().len(), passed.len());
    for row in &blocked {
        let [limit, used, held, worst] = figures(row);
        assert!(used + held + worst > limit + 1e-9, "{row:#?}");
        assert!(used + held <= limit + 1e-9, "{row:#?}");
        assert_eq!(row.text("error_code"), Some("insufficient_quota"));
        assert_eq!(row.int("status"), Some(429));
        assert_eq!(row.int("cost_nanousd"), None);
        assert_eq!(row.int("assumed_cost_nanousd"), None);
    }
}

#[test]
fn a_request_counts_as_its_worst_case_until_it_ends_and_then_as_what_it_cost() {
    let upstream = Upstream::start(|_| ok());
    let tollgate = before(&upstream, &budget("0.22", ""));
    // 0.06, then 0.12; the third would fit with what it costs, but not with what it may cost.
    for _ in 0..2 {
        assert_eq!(tollgate.send(&chat("metered")).status, 200);
    }
    let small = Request::json(
        CHAT,
        &json!({"model": "metered", "max_tokens": 70, "messages": []}),
    );
    assert_eq!(tollgate.send(&small).status, 200);
    assert_blocked(&tollgate.send(&chat("metered")));
    let rows = tollgate.ledger().exactly(4);
    assert_eq!(spent(&rows), 3 * COST);
}

#[test]
fn a_model_without_a_price_counts_at_the_ceiling() {
    let upstream = Upstream::start(|_| answers::json("200 OK", &answer("nobody-knows")));
    let tollgate = ruled(
        Setup::upstream(&upstream.base_url())
            .setting("budgets: {ceiling: {input: 1 USD, output: 2000 USD}}"),
        &budget("0.3", ""),
    )
    .start();
    // 0.2 is held, and 0.12 stays; then there is no room.
    assert_eq!(tollgate.send(&chat("nobody-knows")).status, 200);
    assert_blocked(&tollgate.send(&chat("nobody-knows")));
    let rows = tollgate.ledger().exactly(2);
    let ok = rows.iter().find(|row| row.outcome() == "ok").unwrap();
    assert_eq!(ok.int("cost_nanousd"), None);
    // Ten tokens of input at a millionth of a dollar.
    assert_eq!(ok.int("assumed_cost_nanousd"), Some(2 * COST + 10_000));
}

#[test]
fn no_other_name_of_a_model_gets_around_its_budget() {
    let upstream = Upstream::start(|_| ok());
    let tollgate = ruled(
        Setup::channels(&[(
            "only",
            &upstream.base_url(),
            ", model_map: {renamed: metered}",
        )])
        .setting("models: {aliases: {fast: renamed}}"),
        &budget("0.15", ", match: {model: metered}"),
    )
    .start();
    // Alias, name at the gateway, name at the channel.
    assert_eq!(tollgate.send(&chat("fast")).status, 200);
    for name in ["fast", "renamed", "metered"] {
        assert_blocked(&tollgate.send(&chat(name)));
    }
    assert_eq!(tollgate.send(&chat("metered-2")).status, 200);
}

#[test]
fn a_key_has_a_budget_of_its_own() {
    let upstream = Upstream::start(|_| ok());
    let tollgate = ruled(
        Setup::upstream(&upstream.base_url()).setting(
            "keys: [{name: a, key: the-client-key-of-a}, {name: b, key: the-client-key-of-b}]",
        ),
        &budget("0.15", ", by: [key]"),
    )
    .start();
    let with = |key: &str| {
        let request = chat("metered").header("authorization", &format!("Bearer {key}"));
        tollgate.send(&request)
    };
    assert_eq!(with("the-client-key-of-a").status, 200);
    let refused = with("the-client-key-of-a");
    assert_blocked(&refused);
    // Its own figures it may know.
    assert!(refused.text().contains("0.06 USD"), "{refused:?}");
    assert_eq!(with("the-client-key-of-b").status, 200);
}

#[test]
fn a_rule_in_shadow_lets_everything_pass() {
    let upstream = Upstream::start(|_| ok());
    let tollgate = before(&upstream, &budget("0.05", ", mode: shadow"));
    for _ in 0..3 {
        assert_eq!(tollgate.send(&chat("metered")).status, 200);
    }
}

#[test]
fn tokens_and_requests_have_budgets_too() {
    let upstream = Upstream::start(|_| ok());
    for (metric, limit, passing) in [
        ("output_tokens", format!("{} tokens", 2 * MOST), 2),
        ("requests", "3 requests".to_owned(), 3),
    ] {
        let rule = format!(
            "- {{alert: Spend, metric: {metric}, window: 30d, critical: {limit}, \
             actions: [{{block: {{}}}}]}}"
        );
        let tollgate = before(&upstream, &rule);
        for _ in 0..passing {
            assert_eq!(tollgate.send(&chat("metered")).status, 200, "{metric}");
        }
        assert_blocked(&tollgate.send(&chat("metered")));
    }
}

#[test]
fn a_body_that_is_compressed_is_read_all_the_same() {
    let upstream = Upstream::start(|_| ok());
    let tollgate = before(
        &upstream,
        "- {alert: Spend, metric: cost, window: 30d, critical: 1 USD, \
         actions: [{block: {unbounded: refuse}}]}",
    );
    let packed = answers::compress("zstd", body("metered").to_string().as_bytes());
    let request = Request::new("POST", CHAT)
        .header("content-type", "application/json")
        .header("content-encoding", "zstd")
        .body(&packed);
    assert_eq!(tollgate.send(&request).status, 200);
    // As it came.
    assert_eq!(upstream.only().body, packed);
}
