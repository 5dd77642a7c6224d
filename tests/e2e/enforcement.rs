//! What alerts do to channels, over kills, restarts and hand-overs.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Request, Response};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::Upstream;
use crate::support::{answers, eventually};

/// A Tollgate with channels in front of one upstream, and the folder of its rules.
struct Ruled {
    folder: TempDir,
    tollgate: Tollgate,
}

/// Rules in flow style, a line each.
fn rules(rules: &[&str]) -> String {
    let listed: Vec<String> = rules
        .iter()
        .map(|rule| format!("  - {{{rule}}}\n"))
        .collect();
    format!(
        "groups:\n- name: test\n  mode: enforce\n  rules:\n{}",
        listed.concat()
    )
}

fn ruled(upstream: &Upstream, channels: &[&str], text: &str) -> Ruled {
    let base_url = upstream.base_url();
    let channels: Vec<_> = channels
        .iter()
        .map(|name| (*name, &*base_url, ""))
        .collect();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("own.yaml"), text).unwrap();
    let tollgate = Setup::channels(&channels)
        .setting(&format!("rules: ['{}/*.yaml']", folder.path().display()))
        .start();
    Ruled { folder, tollgate }
}

impl Ruled {
    fn send(&self, channel: &str) -> Response {
        let messages = json!([{"role": "user", "content": "plain"}]);
        let body = json!({"model": "gpt-5-mini", "max_tokens": 10, "messages": messages});
        let path = format!("/c/{channel}/v1/chat/completions");
        self.tollgate.send(&Request::json(&path, &body))
    }

    fn channel(&self, name: &str) -> Value {
        self.tollgate
            .admin(&format!("/api/v1/channels/{name}"))
            .json()
    }

    /// State and figure of each event of alerts that people are told of, in order.
    fn told(&self) -> Vec<(String, Option<i64>)> {
        let sql = "SELECT * FROM alert_events WHERE told = 1 ORDER BY sequence";
        let events = self.tollgate.ledger().query(sql).into_iter();
        events
            .map(|event| (event.text("state").unwrap().to_owned(), event.int("value")))
            .collect()
    }

    fn until_told(&self, count: usize) -> Vec<(String, Option<i64>)> {
        eventually(&format!("{count} changes of alerts are recorded"), || {
            Some(self.told()).filter(|told| told.len() >= count)
        })
    }

    /// What a query of one number says.
    fn sql(&self, sql: &str) -> i64 {
        let rows = self
            .tollgate
            .ledger()
            .query(&format!("SELECT {sql} AS it FROM requests"));
        rows[0].int("it").unwrap()
    }
}

const TWO_A_DAY: &str = "alert: East, metric: requests, window: day, by: [channel], match: {channel: east}, \
     critical: 2 requests, actions: [{disable_channel: {until: window_end}}]";

#[test]
fn a_crossed_threshold_closes_the_channel_and_a_kill_changes_nothing_of_it() {
    let upstream = Upstream::start(answers::provider);
    let mut ruled = ruled(&upstream, &["east", "west"], &rules(&[TWO_A_DAY]));
    for _ in 0..2 {
        assert_eq!(ruled.send("east").status, 200);
    }
    // Before the next admission: nobody waits for a tick.
    assert_eq!(ruled.send("east").status, 503);
    let before = ruled.channel("east");
    assert_eq!(before["state"], "closed");
    assert_eq!(before["holds"][0]["owner"], r#"alert:East{channel="east"}"#);
    assert!(before["holds"][0]["until"].is_string(), "{before:#}");
    assert_eq!(ruled.send("west").status, 200);

    ruled.tollgate.kill();
    ruled.tollgate.start_again();
    let after = ruled.channel("east");
    assert_eq!(after["state"], "closed");
    assert_eq!(after["holds"], before["holds"]);
    assert_eq!(ruled.send("east").status, 503);
    // It still fires, and that is no news.
    assert_eq!(ruled.until_told(1), [("firing".to_owned(), Some(2))]);
    assert_eq!(upstream.received().len(), 3);

    // Its end frees the channel.
    let raised = rules(&[&TWO_A_DAY.replace("2 requests", "4 requests")]);
    fs::write(ruled.folder.path().join("own.yaml"), raised).unwrap();
    eventually("the channel is open again", || {
        (ruled.channel("east")["state"] == "open").then_some(())
    });
    assert_eq!(ruled.send("east").status, 200);
    let told = ruled.until_told(2);
    assert_eq!(told[1].0, "inactive", "{told:?}");
}

#[test]
fn after_a_kill_the_figure_is_that_of_a_query() {
    let upstream = Upstream::start(answers::provider);
    let spend =
        "alert: Spend, metric: cost, window: month, critical: 100 USD, actions: [{block: {}}]";
    let tokens =
        "alert: Tokens, metric: tokens, window: 1h, critical: 1M tokens, actions: [{block: {}}]";
    let mut ruled = ruled(&upstream, &["east", "west"], &rules(&[spend, tokens]));
    for channel in ["east", "west", "east"] {
        assert_eq!(ruled.send(channel).status, 200);
    }
    ruled.tollgate.kill();
    ruled.tollgate.start_again();
    assert_eq!(ruled.send("west").status, 200);
    ruled.tollgate.ledger().exactly(4);
    let cost = ruled.sql("sum(coalesce(cost_nanousd, assumed_cost_nanousd))");
    let used = ruled.sql("sum(total_tokens)");
    assert!(cost > 0 && used > 0);
    // A limit of what is used refuses; one beyond it by the worst case does not.
    let own = ruled.folder.path().join("own.yaml");
    let limits = [
        (
            spend.replace("100 USD", &format!("{} USD", usd(cost))),
            format!("{} USD are used", usd(cost)),
        ),
        (
            tokens.replace("1M tokens", &format!("{used} tokens")),
            format!("{used} tokens are used"),
        ),
    ];
    for (times, (rule, figure)) in (1..).zip(limits) {
        fs::write(&own, rules(&[&rule])).unwrap();
        eventually("the rules are in force", || {
            let log = ruled.tollgate.log();
            let count = log.matches("the rules changed and are in force").count();
            (count >= times).then_some(())
        });
        let refused = ruled.send("east");
        assert_eq!(refused.status, 429);
        // A budget that is not the caller's own tells it no figures; the row has them.
        assert!(!refused.text().contains("are used"), "{}", refused.text());
        let rows = ruled.tollgate.ledger().exactly(4 + times);
        let told = rows.iter().filter_map(|row| row.text("error_message"));
        assert!(
            told.into_iter().any(|told| told.contains(&figure)),
            "{figure}"
        );
    }
}

/// Nano-dollars as a decimal number of dollars.
fn usd(nano: i64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[test]
fn a_channel_is_closed_for_as_long_as_was_said_and_the_alert_ends_with_its_window() {
    let upstream = Upstream::start(answers::provider);
    let burst = "alert: Burst, metric: requests, window: 10s, by: [channel], critical: 2 requests, \
         actions: [{disable_channel: {until: 2s}}]";
    let ruled = ruled(&upstream, &["east", "west"], &rules(&[burst]));
    for _ in 0..2 {
        assert_eq!(ruled.send("east").status, 200);
    }
    assert_eq!(ruled.channel("east")["state"], "closed");
    // The window moves on, and nobody sends anything.
    eventually("the alert ends", || {
        let told = ruled.told();
        told.last()
            .is_some_and(|(state, _)| state == "inactive")
            .then_some(())
    });
    eventually("the channel is open", || {
        (ruled.channel("east")["state"] == "open").then_some(())
    });
    assert_eq!(ruled.send("east").status, 200);
    assert_eq!(ruled.told()[0], ("firing".to_owned(), Some(2)));

    // One request is to go first afterwards.
    let short = "alert: Short, metric: requests, window: day, by: [channel], critical: 1 request, \
         match: {channel: west}, actions: [{disable_channel: {until: 2s, recovery: probe}}]";
    fs::write(ruled.folder.path().join("own.yaml"), rules(&[short])).unwrap();
    eventually("the rules are in force", || {
        let log = ruled.tollgate.log();
        log.contains("the rules changed and are in force")
            .then_some(())
    });
    assert_eq!(ruled.send("west").status, 200);
    let held = ruled.channel("west");
    assert_eq!(held["state"], "closed");
    let holds = held["holds"].as_array().unwrap();
    let owners: Vec<_> = holds
        .iter()
        .map(|hold| hold["owner"].as_str().unwrap())
        .collect();
    assert_eq!(owners, [r#"alert:Short{channel="west"}"#, "breaker"]);
}

#[test]
fn the_last_channel_stays_open_and_that_is_said() {
    let upstream = Upstream::start(answers::provider);
    let rule = "alert: Spend, metric: requests, window: day, by: [channel], critical: 1 request, \
         actions: [{disable_channel: {until: window_end}}]";
    let ruled = ruled(&upstream, &["east", "west"], &rules(&[rule]));
    assert_eq!(ruled.send("east").status, 200);
    assert_eq!(ruled.channel("east")["state"], "closed");
    for _ in 0..2 {
        assert_eq!(ruled.send("west").status, 200);
    }
    assert_eq!(ruled.channel("west")["state"], "open");
    ruled.until_told(2);
    let sql = "SELECT * FROM alert_events WHERE labels LIKE '%west%' ORDER BY sequence";
    let event = ruled.tollgate.ledger().query(sql).remove(0);
    let actions = event.json("actions");
    assert_eq!(actions[0]["action"], "disable_channel");
    assert_eq!(actions[0]["done"], false, "{actions:#}");
    let log = ruled.tollgate.log();
    let mut told = log.lines().filter(|line| line.contains("an alert changed"));
    assert!(
        told.any(|line| line.contains("west") && line.contains("last")),
        "{log}"
    );

    // When another opens, it is closed: nobody need send anything for it.
    let enabled = ruled.tollgate.run(&["channels", "enable", "east"]);
    assert!(enabled.status.success(), "{enabled:?}");
    eventually("the channel is closed", || {
        (ruled.channel("west")["state"] == "closed").then_some(())
    });
}

#[test]
fn a_successor_goes_on_counting_where_the_process_before_it_was() {
    let upstream = Upstream::start(answers::provider);
    let block = "alert: Requests, metric: requests, window: day, critical: 4 requests, \
         actions: [{block: {}}]";
    let mut ruled = ruled(&upstream, &["east", "west"], &rules(&[TWO_A_DAY, block]));
    for _ in 0..2 {
        assert_eq!(ruled.send("east").status, 200);
    }
    let before = ruled.channel("east");
    let successor = ruled.tollgate.successor(&["--upgrade"]);
    ruled.tollgate.signal(Signal::QUIT);
    assert!(ruled.tollgate.ended().success());
    ruled.tollgate.replace(successor);
    ruled.tollgate.until_ready();
    assert_eq!(ruled.channel("east")["holds"], before["holds"]);
    for _ in 0..2 {
        assert_eq!(ruled.send("west").status, 200);
    }
    assert_eq!(ruled.send("west").status, 429);
    assert_eq!(ruled.send("east").status, 503);
    let told = ruled.until_told(2);
    assert!(told.iter().all(|(state, _)| state == "firing"), "{told:?}");
}
