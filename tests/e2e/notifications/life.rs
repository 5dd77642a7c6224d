//! A group's conversation over escalations, restarts and hand-overs; what happens where nobody takes it.

use rustix::process::Signal;
use serde_json::Value;

use super::{AT_ONCE, answering, send, setup, telegram, told, until_told};
use crate::support::eventually;
use crate::support::receivers::telegram::{GROUP, TOKEN, TelegramJudge};
use crate::support::upstream::{Answer, Upstream};

const RISES: &str = "alert: Rises, metric: requests, window: 10s, by: [channel], warning: 1 requests, \
                     critical: 3 requests, mode: notify";

#[test]
fn what_gets_worse_and_what_ends_is_told_under_the_first_message() {
    let (upstream, judge) = (answering(), TelegramJudge::start().without_limits());
    let mut tollgate = setup(&upstream, &["a"], &[RISES])
        .setting(&telegram(&judge))
        .setting(AT_ONCE)
        .start();
    send(&tollgate, "a");
    let first = judge.until("the warning", |sent| sent.text.contains("Rises"));
    until_told(&tollgate, 1);
    // What was told, and under which message, outlives the process.
    tollgate.stop();
    tollgate.start_again();
    for _ in 0..2 {
        send(&tollgate, "a");
    }
    let worse = judge.until("the escalation", |sent| {
        sent.id != first.id && sent.text.contains("critical")
    });
    assert_eq!(worse.reply_to, Some(first.id), "{worse:#?}");
    // The window moves on, and with it the requests.
    let over = judge.until("the end", |sent| {
        sent.text.to_lowercase().contains("resolved") && sent.text.contains("Rises")
    });
    assert_eq!(over.reply_to, Some(first.id));
    let reasons = eventually("the end is in the ledger", || {
        let told = until_told(&tollgate, 3);
        let alerts = told.iter().filter(|known| known["kind"] == "alert");
        let reasons: Vec<Value> = alerts.map(|known| known["reason"].clone()).collect();
        (reasons[0] == "resolved").then_some(reasons)
    });
    assert_eq!(reasons.last(), Some(&Value::from("first")));
}

/// A webhook that takes what it is sent, and what that was.
fn webhook() -> Upstream {
    Upstream::start(|_| Answer::new("200 OK").body(""))
}

fn hook(to: &Upstream) -> String {
    format!(
        "receivers: [{{name: hook, webhook: {{url: 'http://{}/'}}}}]\n",
        to.address()
    )
}

#[test]
fn a_process_that_hands_over_leaves_its_notifications_to_the_next() {
    let (upstream, hooked) = (answering(), webhook());
    let mut tollgate = setup(&upstream, &["a", "b"], &[RISES])
        .setting(&hook(&hooked))
        .setting(AT_ONCE)
        .start();
    send(&tollgate, "a");
    until_told(&tollgate, 1);
    let next = tollgate.successor(&["--upgrade"]);
    eventually("the next process waits for the listeners", || {
        tollgate
            .data_dir()
            .join("upgrade.sock")
            .exists()
            .then_some(())
    });
    tollgate.signal(Signal::QUIT);
    tollgate.ended();
    tollgate.replace(next);
    tollgate.until_ready();
    send(&tollgate, "b");
    until_told(&tollgate, 2);
    let bodies: Vec<String> = hooked
        .received()
        .iter()
        .map(|request| String::from_utf8(request.body.clone()).unwrap())
        .collect();
    // That of `a` once, and then with that of `b`.
    let firing_alone = bodies.iter().filter(|body| !body.contains("\"b\"")).count();
    assert!(firing_alone >= 1, "{bodies:#?}");
    assert!(
        bodies.iter().any(|body| body.contains("\"b\"")),
        "{bodies:#?}"
    );
}

#[test]
fn who_cannot_be_reached_is_told_of_by_the_fallback() {
    let (upstream, hooked) = (answering(), webhook());
    let judge = TelegramJudge::start().without_limits();
    judge.kick(GROUP);
    let receivers = format!(
        "receivers:\n- {{name: ops, fallback: hook, telegram: {{token: '{TOKEN}', chat: {GROUP}, \
         api_url: '{}'}}}}\n- {{name: hook, webhook: {{url: 'http://{}/'}}}}\n",
        judge.api_url(),
        hooked.address()
    );
    let tollgate = setup(&upstream, &["a"], &[RISES])
        .setting(&receivers)
        .setting(AT_ONCE)
        .start();
    send(&tollgate, "a");
    hooked.until("the fallback is told", |received| !received.is_empty());
    let body = hooked.received()[0].json();
    let text = body.to_string();
    assert!(text.contains("ops") && text.contains("Rises"), "{body:#}");
    let all = until_told(&tollgate, 2);
    let of = |kind: &str| all.iter().find(|known| known["kind"] == kind).unwrap();
    assert_eq!(of("alert")["result"], "dead");
    assert!(of("alert")["error"].as_str().unwrap().contains("kicked"));
    assert_eq!(of("undelivered")["result"], "sent");
    let dead = [("receiver", "ops"), ("result", "dead")];
    let metrics = tollgate.metrics();
    assert!(metrics.sum("tollgate_notifications_total", &dead) >= 1.0);
    assert!(!tollgate.log().contains("canary"), "{}", tollgate.log());
}

/// One that hangs delays neither another nor a request.
#[test]
fn one_that_hangs_delays_nobody() {
    let (upstream, hooked) = (answering(), webhook());
    let hangs = Upstream::start(|_| vec![crate::support::upstream::Step::Hang]);
    let receivers = format!(
        "receivers:\n- {{name: hangs, webhook: {{url: 'http://{}/'}}}}\n\
         - {{name: hook, webhook: {{url: 'http://{}/'}}}}\n",
        hangs.address(),
        hooked.address()
    );
    let tollgate = setup(&upstream, &["a"], &[RISES])
        .setting(&receivers)
        .setting(AT_ONCE)
        .start();
    send(&tollgate, "a");
    hangs.until("one hangs", |received| !received.is_empty());
    hooked.until("the other is told", |received| !received.is_empty());
    assert_eq!(send(&tollgate, "a").status, 200);
    eventually("one is open and the other settled", || {
        let told = told(&tollgate);
        let of = |name: &str, result: &str| {
            let mut told = told.iter();
            told.any(|known| known["receiver"] == name && known["result"] == result)
        };
        assert!(!of("hangs", "sent"));
        (of("hangs", "open") && of("hook", "sent")).then_some(())
    });
}
