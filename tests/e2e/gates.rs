//! Closing and opening channels as an operator does, over kills and restarts.

use rusqlite::Connection as Database;
use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Step, Upstream, chunk, last_chunk};
use crate::support::{Gate, answers, eventually};

fn chat(channel: &str) -> Request {
    let messages = json!([{"role": "user", "content": "plain"}]);
    let body = json!({"model": "gpt-5-mini", "messages": messages});
    Request::json(&format!("/c/{channel}/v1/chat/completions"), &body)
}

/// Two channels in front of one upstream.
fn two(upstream: &Upstream) -> Tollgate {
    let base_url = upstream.base_url();
    Setup::channels(&[("east", &base_url, ""), ("west", &base_url, "")]).start()
}

/// Runs a command that must succeed, and returns its JSON.
fn run(tollgate: &Tollgate, arguments: &[&str]) -> Value {
    let output = tollgate.run(&[arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn channel(tollgate: &Tollgate, name: &str) -> Value {
    tollgate.admin(&format!("/api/v1/channels/{name}")).json()
}

fn is_open(tollgate: &Tollgate, name: &str) -> f64 {
    let metrics = tollgate.metrics();
    let labels = [("channel", name)];
    let samples = metrics.matching("tollgate_channel_open", &labels);
    assert_eq!(samples.count(), 1, "every channel has its gauge");
    metrics.sum("tollgate_channel_open", &labels)
}

#[test]
fn a_channel_that_an_operator_closed_is_closed_after_a_kill() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = two(&upstream);
    assert!(is_open(&tollgate, "east") > 0.0);
    assert_eq!(tollgate.send(&chat("east")).status, 200);
    let reached = upstream.received().len();
    let closing = [
        "channels",
        "disable",
        "east",
        "--for",
        "1h",
        "--reason",
        "runaway key",
    ];
    let closed = run(&tollgate, &closing);
    assert_eq!(closed["recorded"], true);
    // Nothing waits for the database: the journal alone has it, perhaps.
    tollgate.kill();
    tollgate.start_again();
    let after = channel(&tollgate, "east");
    assert_eq!(after["state"], "closed", "{after:#}");
    assert_eq!(after["holds"], closed["holds"]);
    assert_eq!(after["holds"][0]["owner"], "operator");
    assert_eq!(after["holds"][0]["note"], "runaway key");
    assert!(is_open(&tollgate, "east") < 1.0);
    assert_ne!(tollgate.send(&chat("east")).status, 200);
    assert_eq!(upstream.received().len(), reached);
    assert_eq!(tollgate.send(&chat("west")).status, 200);

    assert_eq!(
        run(&tollgate, &["channels", "enable", "east"])["state"],
        "open"
    );
    let opened = [("channel", "east"), ("to", "open"), ("reason", "operator")];
    let metrics = tollgate.metrics();
    assert!(metrics.sum("tollgate_channel_transitions_total", &opened) > 0.0);
    tollgate.kill();
    tollgate.start_again();
    assert_eq!(channel(&tollgate, "east")["state"], "open");
    assert_eq!(tollgate.send(&chat("east")).status, 200);
    assert!(tollgate.stop().success());
    let events = run(&tollgate, &["channels", "events", "east"]);
    let holds = events.as_array().unwrap().iter();
    let holds: Vec<_> = holds.map(|event| event["hold"].as_str().unwrap()).collect();
    assert_eq!(holds, ["open", "closed"]);
    assert_eq!(tollgate.ledger().integrity(), "ok");
}

#[test]
fn kills_between_changes_lose_none() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = two(&upstream);
    for n in 0..10 {
        let (what, state) = [("disable", "closed"), ("enable", "open")][n % 2];
        let note = n.to_string();
        run(&tollgate, &["channels", what, "west", "--reason", &note]);
        tollgate.kill();
        tollgate.start_again();
        assert_eq!(channel(&tollgate, "west")["state"], state, "change {n}");
    }
    assert!(tollgate.stop().success());
    let events = run(&tollgate, &["channels", "events"]);
    let notes = events.as_array().unwrap().iter().rev();
    let notes: Vec<_> = notes.map(|event| event["note"].as_str().unwrap()).collect();
    let expected: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(notes, expected);
}

#[test]
fn running_requests_end_at_a_channel_that_is_closed() {
    let gate = Gate::default();
    let events = answers::chat_stream(true);
    let mut script = answers::begin(&events, [Step::Await(gate.clone())]);
    let rest = &events[answers::BEGINNING..];
    script.extend(rest.iter().map(|event| chunk(event.as_bytes())));
    script.push(last_chunk());
    let upstream = Upstream::always(script);
    let tollgate = two(&upstream);
    let body = json!({"model": "gpt-5-mini", "messages": [], "stream": true});
    let running = Request::json("/c/east/v1/chat/completions", &body);
    let mut running = running.start(tollgate.address());
    running.read_until(&mut Vec::new(), "Hello");
    run(&tollgate, &["channels", "disable", "east"]);
    assert_ne!(tollgate.send(&chat("east")).status, 200);
    gate.open();
    let ended = running.finish();
    assert!(ended.whole);
    let row = tollgate.ledger().request(&ended.request_id());
    assert_eq!(row.outcome(), "ok", "{row:#?}");
}

/// Another program's connection to the database, with what it does first.
fn another_program(tollgate: &Tollgate, does: &str) -> Database {
    let other = Database::open(tollgate.data_dir().join("tollgate.db")).unwrap();
    other.busy_timeout(crate::support::PATIENCE).unwrap();
    other.execute_batch(does).unwrap();
    other
}

#[test]
fn who_writes_to_the_database_at_the_start_opens_no_gate() {
    let upstream = Upstream::start(answers::provider);
    let base_url = upstream.base_url();
    let names = ["east", "west", "north"];
    let channels = names.map(|name| (name, &*base_url, ""));
    let mut tollgate = Setup::channels(&channels).start();
    run(&tollgate, &["channels", "disable", "east"]);
    run(&tollgate, &["channels", "disable", "north"]);
    assert!(tollgate.stop().success());
    tollgate.start_again();
    let reached = upstream.received().len();
    let other = another_program(&tollgate, "BEGIN IMMEDIATE");
    // The journal alone has this.
    run(&tollgate, &["channels", "disable", "west"]);
    tollgate.kill();
    tollgate.start_again();
    let log = tollgate.log();
    assert!(log.contains("as the database has them"), "{log}");
    assert!(!log.contains("starting with open gates"), "{log}");
    assert_eq!(tollgate.send(&chat("east")).status, 503);
    assert_eq!(upstream.received().len(), reached);
    // What is said meanwhile is not undone by what was said before.
    run(&tollgate, &["channels", "enable", "north"]);
    other.execute_batch("ROLLBACK").unwrap();
    eventually("the rest is known", || {
        (channel(&tollgate, "west")["state"] == "closed").then_some(())
    });
    assert_eq!(channel(&tollgate, "east")["state"], "closed");
    assert_eq!(channel(&tollgate, "north")["state"], "open");
    assert_eq!(tollgate.send(&chat("north")).status, 200);
}

#[test]
fn a_database_that_cannot_be_read_at_the_start_delays_gates() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = two(&upstream);
    run(&tollgate, &["channels", "disable", "east"]);
    run(&tollgate, &["channels", "disable", "west"]);
    tollgate.kill();
    let alone = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE";
    let other = another_program(&tollgate, alone);
    // It lives meanwhile, and says why it takes no traffic.
    tollgate.launch_again();
    let ready = tollgate.admin("/readyz");
    let told = "starting: reading which channels are closed\n";
    assert_eq!((ready.status, &*ready.text()), (503, told));
    assert_eq!(tollgate.admin("/livez").status, 200);
    tollgate.until_ready();
    let log = tollgate.log();
    assert!(log.contains("starting with open gates"), "{log}");
    assert_eq!(tollgate.send(&chat("east")).status, 200);
    // What is said meanwhile is not undone by what was said before.
    run(&tollgate, &["channels", "disable", "west"]);
    run(&tollgate, &["channels", "enable", "west"]);
    drop(other);
    eventually("the channel is closed again", || {
        (channel(&tollgate, "east")["state"] == "closed").then_some(())
    });
    assert_eq!(channel(&tollgate, "west")["state"], "open");
    assert_ne!(tollgate.send(&chat("east")).status, 200);
}

#[test]
fn a_full_disk_is_told_to_who_closes_a_channel() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = two(&upstream);
    tollgate.send(&chat("west"));
    tollgate.ledger().only();
    tollgate.fill_disk(true);
    let output = tollgate.run(&["channels", "disable", "east"]);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the journal cannot be written"), "{told}");
    assert_ne!(tollgate.send(&chat("east")).status, 200);
    tollgate.fill_disk(false);
    eventually("the event is in the ledger", || {
        let events = tollgate.ledger().query("SELECT * FROM channel_events");
        (events.len() == 1).then_some(())
    });
    assert_eq!(
        run(&tollgate, &["channels", "enable", "east"])["recorded"],
        true
    );
}

#[test]
fn a_channel_that_the_breaker_closed_is_closed_after_a_kill() {
    let failing = Upstream::always(answers::error(
        "500 Internal Server Error",
        "server_error",
        "server_error",
    ));
    let good = Upstream::start(answers::provider);
    let channels = [
        ("east", failing.base_url(), ", api_key: sk-e"),
        ("west", good.base_url(), ", api_key: sk-w"),
    ];
    let channels = channels
        .each_ref()
        .map(|(name, url, more)| (*name, url.as_str(), *more));
    let mut tollgate = Setup::channels(&channels)
        .setting("breaker: {failures: 3, of: 3, probe_after: 1h, probe_at_most: 1h}")
        .start();
    let body = json!({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "plain"}]});
    let request = Request::json("/v1/chat/completions", &body);
    let closed = eventually("the breaker closes the channel", || {
        assert_eq!(tollgate.send(&request).status, 200);
        Some(channel(&tollgate, "east")).filter(|east| east["state"] == "closed")
    });
    let reached = failing.received().len();
    tollgate.kill();
    tollgate.start_again();
    let after = channel(&tollgate, "east");
    assert_eq!(after["holds"], closed["holds"], "{after:#}");
    assert_eq!(after["holds"][0]["owner"], "breaker");
    assert_eq!(after["holds"][0]["reason"], "failures");
    assert_eq!(tollgate.send(&request).status, 200);
    assert_eq!(failing.received().len(), reached);
    assert!(tollgate.log().contains("WARN"), "{}", tollgate.log());
}
