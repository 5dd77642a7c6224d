//! A group's conversation over escalations, restarts and hand-overs; what happens where nobody takes it.

use rustix::process::Signal;
use serde_json::Value;

use super::{AT_ONCE, answering, receivers, send, setup, telegram, told, until_told};
use crate::support::eventually;
use crate::support::receivers::hook::{Hook, hang};
use crate::support::receivers::telegram::{GROUP, TOKEN, TelegramJudge};

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

const MANY: &str = "alert: Many, metric: requests, window: 1h, by: [channel], warning: 1 requests, \
                    mode: notify";

#[test]
fn a_process_that_hands_over_leaves_its_notifications_to_the_next() {
    let (upstream, hook) = (answering(), Hook::start());
    let mut tollgate = setup(&upstream, &["a", "b"], &[MANY])
        .setting(&receivers(&[&hook.receiver("hook", "")]))
        .setting(AT_ONCE)
        .start();
    send(&tollgate, "a");
    let before = until_told(&tollgate, 1);
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
    let after = until_told(&tollgate, 2);
    // That of `a` once, alone; then with that of `b`, as news of a group that is known.
    let told = |channels: &[&str]| -> Vec<_> {
        let firing = channels.iter();
        let firing = firing.map(|channel| ("firing".to_owned(), (*channel).to_owned()));
        firing.collect()
    };
    assert_eq!(hook.told("Many"), [told(&["a"]), told(&["a", "b"])]);
    assert_eq!(after.len(), 2, "{after:#?}");
    assert_eq!(after[1], before[0]);
    assert_eq!(after[0]["reason"], "firing");
}

#[test]
fn who_cannot_be_reached_is_told_of_by_the_fallback() {
    let (upstream, hook) = (answering(), Hook::start());
    let judge = TelegramJudge::start().without_limits();
    judge.kick(GROUP);
    let ops = format!(
        "- {{name: ops, fallback: hook, telegram: {{token: '{TOKEN}', chat: {GROUP}, \
         api_url: '{}'}}}}\n",
        judge.api_url(),
    );
    let tollgate = setup(&upstream, &["a"], &[MANY])
        .setting(&receivers(&[&ops, &hook.receiver("hook", "")]))
        .setting(AT_ONCE)
        .start();
    send(&tollgate, "a");
    let body = eventually("the fallback is told", || hook.taken().pop());
    let text = format!("{body:?}");
    assert!(text.contains("ops") && text.contains("Many"), "{body:#?}");
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

/// One that hangs delays neither another nor a request: the other is told while the first still has all of
/// its time, which is longer than anybody here waits.
#[test]
fn one_that_hangs_delays_nobody() {
    let (upstream, hook) = (answering(), Hook::start());
    let hanging = Hook::judging(|_| (hang(), false));
    let tollgate = setup(&upstream, &["a", "b"], &[MANY])
        .setting(&receivers(&[
            &hanging.receiver("hangs", ", timeout: 5m"),
            &hook.receiver("hook", ""),
        ]))
        .setting(AT_ONCE)
        .start();
    send(&tollgate, "a");
    eventually("one hangs", || (hanging.tries() > 0).then_some(()));
    hook.until_told("Many", "firing", "a");
    // And so is what comes later.
    assert_eq!(send(&tollgate, "b").status, 200);
    hook.until_told("Many", "firing", "b");
    let states = eventually("the other's are settled", || {
        let told = told(&tollgate);
        let mut states: Vec<_> = told
            .iter()
            .map(|known| (known["receiver"].clone(), known["result"].clone()))
            .filter(|(receiver, _)| receiver == "hook")
            .collect();
        states.dedup();
        (states == [("hook".into(), "sent".into())]).then_some(told)
    });
    let hangs = |known: &&Value| known["receiver"] == "hangs";
    let open = |known: &Value| known["result"] == "open";
    assert!(states.iter().filter(hangs).all(open), "{states:#?}");
    // The first try all the while.
    assert_eq!((hanging.tries(), hanging.left()), (1, 0));
}
