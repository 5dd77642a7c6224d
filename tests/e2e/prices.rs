//! What requests cost by an operator's file and by a catalogue that changes under way.

use std::sync::Arc;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::eventually;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Script, Upstream};

/// An answer of a thousand input and a hundred output tokens.
fn chat(model: &str) -> Script {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    });
    json_answer(&body.to_string())
}

fn json_answer(body: &str) -> Script {
    let answer = Answer::new("200 OK").header("content-type", "application/json");
    answer.body(body)
}

/// The cost of one call, and which price it is.
fn call(tollgate: &Tollgate) -> (Option<String>, Option<String>) {
    let request = Request::json(
        "/v1/chat/completions",
        &json!({"model": "acme-1", "messages": []}),
    );
    let response = tollgate.send(&request);
    assert_eq!(response.status, 200);
    let id = response.request_id();
    let detail = eventually("the request is in the ledger", || {
        let detail = tollgate.admin(&format!("/api/v1/requests/{id}"));
        (detail.status == 200).then(|| detail.json())
    });
    let text = |name: &str| detail[name].as_str().map(str::to_owned);
    (text("cost_usd"), text("price_version"))
}

fn catalogue(usd: &str) -> String {
    json!({
        "acme-1": {
            "litellm_provider": "openai", "mode": "chat",
            "input_cost_per_token": format!("{usd}e-06"), "output_cost_per_token": 8e-06
        }
    })
    .to_string()
}

#[test]
fn an_operators_file_prices_what_nobody_else_does() {
    let upstream = Upstream::always(chat("acme-1"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    std::fs::write(
        &file,
        "prices: [{model: acme-1, per_million: {input: 3, output: 15}}]\n",
    )
    .unwrap();
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting(&format!("prices: {{files: ['{}']}}", file.display()))
        .start();
    let (cost, version) = call(&tollgate);
    assert_eq!(cost.as_deref(), Some("0.0045"));
    let version = version.unwrap();
    assert!(version.starts_with("mine.yaml-"), "{version}");
    assert!(version.ends_with("/acme-1:exact"), "{version}");

    let list = tollgate.admin("/api/v1/prices?model=acme").json();
    assert_eq!(list["total"], 1);
    assert_eq!(list["prices"][0]["per_million"]["input"], "3");
    assert_eq!(list["catalogue_confirmed_at"], Value::Null);

    // A file that is wrong is told before anything listens.
    std::fs::write(
        &file,
        "prices: [{model: acme-1, per_million: {inptu: 3}}]\n",
    )
    .unwrap();
    let checked = tollgate.run(&["check"]);
    assert_eq!(checked.status.code(), Some(64));
    let told = String::from_utf8(checked.stdout).unwrap();
    assert!(
        told.contains("mine.yaml:1:40: prices[0].per_million.inptu"),
        "{told}"
    );
    let mut second = tollgate.successor(&[]);
    assert_eq!(second.wait().unwrap().code(), Some(64));
}

#[test]
fn a_catalogue_is_refreshed_and_what_makes_no_sense_is_not() {
    let upstream = Upstream::always(chat("acme-1"));
    let served = Arc::new(Mutex::new(catalogue("2")));
    let says = Arc::clone(&served);
    let prices = Upstream::start(move |_| json_answer(&says.lock().unwrap()));
    let mut tollgate = Setup::upstream(&upstream.base_url())
        .setting(&format!(
            "prices: {{update: {{url: 'http://{}/prices.json', every: 1s}}}}",
            prices.address()
        ))
        .start();
    let count = |tollgate: &Tollgate, result: &str| {
        let labels = [("result", result)];
        tollgate
            .metrics()
            .sum("tollgate_prices_refreshes_total", &labels)
    };
    eventually("a catalogue came", || {
        (count(&tollgate, "updated") > 0.0).then_some(())
    });
    let first = call(&tollgate);
    assert_eq!(first.0.as_deref(), Some("0.0028"));
    assert!(first.1.unwrap().starts_with("litellm-"));

    "<html>maintenance</html>".clone_into(&mut served.lock().unwrap());
    eventually("nonsense is refused", || {
        (count(&tollgate, "refused") > 0.0).then_some(())
    });
    let metrics = tollgate.metrics();
    assert!(metrics.sum("tollgate_prices_refresh_success", &[]) < 0.5);
    assert!(metrics.sum("tollgate_prices_last_success_timestamp_seconds", &[]) > 1e9);
    assert_eq!(call(&tollgate).0.as_deref(), Some("0.0028"));
    assert!(tollgate.log().contains("the last good one stays"));

    // The last good one outlives the process, and its server.
    drop(prices);
    tollgate.stop();
    tollgate.start_again();
    assert_eq!(call(&tollgate).0.as_deref(), Some("0.0028"));

    // An operator brings another one; the sidecar takes it without a restart.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("newer.json");
    std::fs::write(&file, catalogue("4")).unwrap();
    let output = tollgate.run(&["prices", "update", "--from", file.to_str().unwrap()]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("openai/acme-1: input 2 → 4"), "{told}");
    eventually("the other catalogue is in use", || {
        (call(&tollgate).0.as_deref() == Some("0.0048")).then_some(())
    });

    // What was priced keeps its price.
    let costs = tollgate
        .ledger()
        .query("SELECT cost_nanousd, price_version FROM requests ORDER BY started_at LIMIT 1");
    assert_eq!(costs.len(), 1);
    assert_eq!(costs[0].int("cost_nanousd"), Some(2_800_000));
}

#[test]
fn a_corrected_file_holds_without_a_restart_and_a_wrong_one_changes_nothing() {
    let upstream = Upstream::always(chat("acme-1"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    let states = |rates: &str| {
        let text = format!("prices: [{{model: acme-1, per_million: {{{rates}}}}}]\n");
        std::fs::write(&file, text).unwrap();
    };
    states("input: 3, output: 15");
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting(&format!("prices: {{files: ['{}']}}", file.display()))
        .start();
    assert_eq!(call(&tollgate).0.as_deref(), Some("0.0045"));

    // Asked at once: what was corrected a moment ago holds.
    states("input: 6, output: 30");
    let reprice = ["prices", "reprice", "--since", "1h", "--json"];
    let output = tollgate.run(&reprice);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["total"]["changed_requests"], 1, "{report:#}");
    assert_eq!(report["total"]["new_cost_usd"], "0.009");
    let layer = report["layers"][0].as_str().unwrap();
    assert!(layer.starts_with("mine.yaml-"), "{layer}");
    assert_eq!(call(&tollgate).0.as_deref(), Some("0.009"));

    // Nobody asks: the change is seen.
    states("input: 9, output: 45");
    eventually("the corrected file is in use", || {
        (call(&tollgate).0.as_deref() == Some("0.0135")).then_some(())
    });

    // All or nothing.
    states("inptu: 1");
    eventually("the wrong file is refused", || {
        let refused = [("result", "refused")];
        let metrics = tollgate.metrics();
        (metrics.sum("tollgate_prices_file_reloads_total", &refused) > 0.5).then_some(())
    });
    assert!(
        tollgate
            .metrics()
            .sum("tollgate_prices_file_reload_success", &[])
            < 0.5
    );
    let output = tollgate.run(&reprice);
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("prices[0].per_million.inptu"), "{told}");
    assert_eq!(call(&tollgate).0.as_deref(), Some("0.0135"));
    let log = tollgate.log();
    assert_eq!(log.matches("a price file is wrong").count(), 1, "{log}");

    states("input: 3, output: 15");
    eventually("the mended file is in use", || {
        (call(&tollgate).0.as_deref() == Some("0.0045")).then_some(())
    });
}
