//! Usage that is told later than its making: a response made in the background, a batch. It counts
//! once, however often and by whomever it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::answers::{self, RESPONSES_TOKENS, SERVED_MODEL};
use crate::support::client::{Request, Response};
use crate::support::ledger::Row;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Received, Script, Upstream};

const BATCH_USAGE: &str = r#"{"input_tokens":1000,"input_tokens_details":{"cached_tokens":0},"output_tokens":400,"output_tokens_details":{"reasoning_tokens":100},"total_tokens":1400}"#;

/// A response as it looks while it is made, and when it failed.
fn response(status: &str) -> String {
    let error = if status == "failed" {
        r#"{"code":"server_error","message":"The model failed."}"#
    } else {
        "null"
    };
    format!(
        r#"{{"id":"resp_background","object":"response","status":"{status}","background":true,"error":{error},"model":"{SERVED_MODEL}","output":[],"usage":null}}"#
    )
}

fn batch(status: &str, usage: &str) -> String {
    let now = std::time::SystemTime::now();
    let created = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - 3600;
    format!(
        r#"{{"id":"batch_1","object":"batch","created_at":{created},"model":"{SERVED_MODEL}","status":"{status}","usage":{usage}}}"#
    )
}

/// A provider that makes things in a while: as long as `looks` were not had, they are not done.
fn slow(looks: usize) -> Upstream {
    let had = Arc::new(AtomicUsize::new(0));
    Upstream::start(move |request: &Received| -> Script {
        let path = request.target.split('?').next().unwrap_or_default();
        let done = || had.fetch_add(1, Ordering::SeqCst) >= looks;
        let answer = match (request.method.as_str(), path) {
            ("POST", "/v1/responses") => response("queued"),
            ("GET", path) if path.starts_with("/v1/responses/") => {
                if done() {
                    answers::responses().replace("resp_S", "resp_background")
                } else {
                    response("in_progress")
                }
            }
            ("POST", "/v1/batches") => batch("validating", "null"),
            ("GET", "/v1/batches") => format!(
                r#"{{"object":"list","data":[{}]}}"#,
                batch("completed", BATCH_USAGE)
            ),
            ("GET", "/v1/batches/batch_1") => {
                if done() {
                    batch("completed", BATCH_USAGE)
                } else {
                    batch("finalizing", "null")
                }
            }
            _ => return answers::error("404 Not Found", "invalid_request_error", "unknown"),
        };
        answers::json("200 OK", &answer)
    })
}

fn row(tollgate: &Tollgate, response: &Response) -> Row {
    assert_eq!(response.status, 200, "{response:?}");
    tollgate.ledger().request(&response.request_id())
}

fn get(target: &str) -> Request {
    Request::new("GET", target)
}

fn make(tollgate: &Tollgate) -> Row {
    let body = json!({"model": "gpt-5-mini", "input": "x", "background": true});
    row(
        tollgate,
        &tollgate.send(&Request::json("/v1/responses", &body)),
    )
}

/// What rows, roll-ups and Prometheus say was used in all; they must agree.
fn total_tokens(tollgate: &Tollgate) -> i64 {
    let sum = |table: &str| {
        let sql = format!("SELECT coalesce(sum(total_tokens), 0) AS total FROM {table}");
        tollgate.ledger().query(&sql)[0].int("total").unwrap()
    };
    let rows = sum("requests");
    assert_eq!(rows, sum("usage_minutely"));
    rows
}

fn metered_tokens(tollgate: &Tollgate) -> f64 {
    tollgate.metrics().sum("tollgate_tokens_total", &[])
}

#[test]
fn a_response_made_in_the_background_counts_when_it_is_fetched_and_once() {
    let upstream = slow(1);
    let tollgate = Tollgate::before(&upstream.base_url());
    let made = make(&tollgate);
    assert_eq!(made.text("usage_source"), Some("missing"), "{made:#?}");
    assert_eq!(made.text("deferral"), Some("opened"), "{made:#?}");
    assert_eq!(made.text("response_id"), Some("resp_background"));
    assert_eq!(made.outcome(), "ok");

    let target = "/v1/responses/resp_background";
    let pending = row(&tollgate, &tollgate.send(&get(target)));
    assert_eq!(pending.text("usage_source"), Some("none"), "{pending:#?}");
    assert_eq!(pending.text("deferral"), None);

    // Many ask at once.
    let rows: Vec<Row> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| tollgate.send(&get(target))))
            .collect();
        let answers = asking.into_iter().map(|asked| asked.join().unwrap());
        answers.map(|answer| row(&tollgate, &answer)).collect()
    });
    let (settled, later): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|row| row.text("deferral") == Some("settled"));
    assert_eq!((settled.len(), later.len()), (1, 5), "{rows:#?}");
    assert_eq!(settled[0].tokens(), RESPONSES_TOKENS);
    assert_eq!(settled[0].text("usage_source"), Some("reported"));
    assert!(settled[0].int("cost_nanousd").is_some());
    for row in later {
        assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
        assert_eq!((row.int("cost_nanousd"), row.outcome()), (None, "ok"));
    }
    assert_eq!(total_tokens(&tollgate), 280);
    assert!((metered_tokens(&tollgate) - 280.0).abs() < 0.5);
}

#[test]
fn a_restart_and_a_kill_forget_nothing_that_is_awaited() {
    let upstream = slow(0);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    make(&tollgate);
    tollgate.stop();
    tollgate.start_again();
    let target = "/v1/responses/resp_background";
    let settled = tollgate.send(&get(target));
    // Before anything was committed, perhaps.
    tollgate.kill();
    tollgate.start_again();
    let settled = row(&tollgate, &settled);
    assert_eq!(settled.tokens(), RESPONSES_TOKENS, "{settled:#?}");
    for _ in 0..2 {
        let again = row(&tollgate, &tollgate.send(&get(target)));
        assert_eq!(again.text("usage_source"), Some("none"), "{again:#?}");
    }
    assert_eq!(total_tokens(&tollgate), 280);
}

#[test]
fn a_response_nobody_awaits_is_not_counted_when_it_is_fetched() {
    let upstream = Upstream::start(|request| {
        if request.target.contains("stream=true") {
            return answers::stream(&answers::responses_stream());
        }
        answers::json("200 OK", &answers::responses())
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    // Made elsewhere.
    let targets = ["/v1/responses/resp_S", "/v1/responses/resp_S?stream=true"];
    let unawaited = |target: &str| {
        let row = row(&tollgate, &tollgate.send(&get(target)));
        assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
        assert_eq!(row.outcome(), "ok");
    };
    targets.iter().copied().for_each(unawaited);
    // Counted when it was made.
    let body = json!({"model": "gpt-5-mini", "input": "x"});
    let made = row(
        &tollgate,
        &tollgate.send(&Request::json("/v1/responses", &body)),
    );
    assert_eq!(made.tokens(), RESPONSES_TOKENS, "{made:#?}");
    targets.iter().copied().for_each(unawaited);
    assert_eq!(total_tokens(&tollgate), 280);
}

#[test]
fn a_response_that_fails_in_the_background_is_a_failure_once() {
    let upstream = Upstream::start(|request| {
        let status = if request.method == "POST" {
            "queued"
        } else {
            "failed"
        };
        answers::json("200 OK", &response(status))
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    make(&tollgate);
    let target = "/v1/responses/resp_background";
    let failed = row(&tollgate, &tollgate.send(&get(target)));
    assert_eq!(failed.outcome(), "upstream_error", "{failed:#?}");
    assert_eq!(failed.text("error_code"), Some("server_error"));
    assert_eq!(failed.text("usage_source"), Some("none"));
    let again = row(&tollgate, &tollgate.send(&get(target)));
    assert_eq!(again.outcome(), "ok", "{again:#?}");
}

#[test]
fn a_background_stream_the_client_leaves_is_awaited() {
    let events = answers::responses_stream();
    let upstream = Upstream::start(move |request| {
        if request.method == "POST" {
            return answers::begin(&events, [crate::support::upstream::Step::Close]);
        }
        answers::stream(&events)
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "gpt-5-mini", "input": "x", "background": true, "stream": true});
    let begun = Request::json("/v1/responses", &body)
        .start(tollgate.address())
        .finish();
    let begun = tollgate.ledger().request(&begun.request_id());
    assert_eq!(begun.text("deferral"), Some("opened"), "{begun:#?}");
    let id = begun.text("response_id").unwrap();
    let target = format!("/v1/responses/{id}?stream=true&starting_after=3");
    let settled = row(&tollgate, &tollgate.send(&get(&target)));
    assert_eq!(settled.tokens(), RESPONSES_TOKENS, "{settled:#?}");
    assert_eq!(settled.text("deferral"), Some("settled"));
    let again = row(&tollgate, &tollgate.send(&get(&target)));
    assert_eq!(again.text("usage_source"), Some("none"), "{again:#?}");
}

#[test]
fn a_batch_counts_at_batch_rates_when_its_end_is_seen_and_once() {
    let upstream = slow(1);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let made = json!({"input_file_id": "file-1", "endpoint": "/v1/responses"});
    let made = row(
        &tollgate,
        &tollgate.send(&Request::json("/v1/batches", &made)),
    );
    assert_eq!(made.text("api"), Some("batches"), "{made:#?}");
    for target in ["/v1/batches?limit=2", "/v1/batches/batch_1"] {
        let row = row(&tollgate, &tollgate.send(&get(target)));
        assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
    }
    let settled = row(&tollgate, &tollgate.send(&get("/v1/batches/batch_1")));
    assert_eq!(
        settled.tokens(),
        [
            ("input", 1000),
            ("input_cached", 0),
            ("output", 300),
            ("reasoning", 100)
        ],
        "{settled:#?}"
    );
    assert_eq!(settled.text("service_tier"), Some("batch"));
    assert_eq!(settled.text("deferral"), Some("settled"));
    // Half of 1,000 at 0.25 and 400 at 2 dollars per million.
    assert_eq!(settled.int("cost_nanousd"), Some(525_000));
    tollgate.stop();
    tollgate.start_again();
    for _ in 0..2 {
        let again = row(&tollgate, &tollgate.send(&get("/v1/batches/batch_1")));
        assert_eq!(again.text("usage_source"), Some("none"), "{again:#?}");
        assert_eq!(again.int("cost_nanousd"), None);
    }
    assert_eq!(total_tokens(&tollgate), 1400);
}

#[test]
fn what_was_made_earlier_costs_what_it_cost_then() {
    const DAY: i64 = 86_400;
    let now = jiff::Timestamp::now().as_second();
    let changed = jiff::Timestamp::from_second(now - DAY).unwrap();
    let changed = changed.strftime("%Y-%m-%d").to_string();
    let upstream = Upstream::start(move |request: &Received| -> Script {
        let answer = match request.method.as_str() {
            "POST" => response("queued"),
            _ => answers::responses()
                .replace("resp_S", "resp_background")
                .replace("1700000000", &(now - 3 * DAY).to_string()),
        };
        answers::json("200 OK", &answer)
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    let price = |usd: u32, period: &str| {
        format!(
            "- {{model: {SERVED_MODEL}, per_million: {{input: {usd}, output: {usd}}}, {period}: {changed}}}\n"
        )
    };
    let prices = |first: u32| {
        let (before, after) = (price(first, "effective_to"), price(5, "effective_from"));
        std::fs::write(&file, format!("prices:\n{before}{after}")).unwrap();
    };
    prices(1);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting(&format!("prices: {{files: ['{}']}}", file.display()))
        .start();
    make(&tollgate);
    let target = "/v1/responses/resp_background";
    let settled = row(&tollgate, &tollgate.send(&get(target)));
    let nanousd = settled.int("total_tokens").unwrap() * 1_000;
    assert_eq!(settled.int("cost_nanousd"), Some(nanousd), "{settled:#?}");
    let made_at = (now - 3 * DAY) * 1_000_000;
    assert_eq!(settled.int("priced_at"), Some(made_at));

    // Pricing the past anew asks for the same day.
    prices(2);
    let reprice = tollgate.run(&["prices", "reprice", "--since", "1h"]);
    assert!(reprice.status.success(), "{reprice:?}");
    let cost = "SELECT cost_nanousd FROM requests WHERE deferral = 'settled'";
    let repriced = &tollgate.ledger().query(cost)[0];
    assert_eq!(repriced.int("cost_nanousd"), Some(2 * nanousd));
}
