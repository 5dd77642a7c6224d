//! What waits for a receiver: merged where it may be told less than there is, replaced by what says more.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{AT_ONCE, answering, receivers, send, setup, told, until_told};
use crate::support::receivers::hook::Hook;
use crate::support::receivers::telegram::{Fault, GROUP, TOKEN, TelegramJudge};
use crate::support::{Gate, eventually};

#[test]
fn what_waits_for_a_chat_is_one_message_and_none_of_it_is_lost() {
    const CHANNELS: [&str; 9] = [
        "azure-1", "azure-2", "azure-3", "azure-4", "azure-5", "azure-6", "azure-7", "azure-8",
        "azure-9",
    ];
    let (upstream, judge) = (answering(), TelegramJudge::start());
    let gate = Gate::default();
    judge.fails([Fault::Wait(gate.clone())]);
    let receiver = format!(
        "- {{name: ops, telegram: {{token: '{TOKEN}', chat: {GROUP}, api_url: '{}'}}}}\n",
        judge.api_url()
    );
    let many = "alert: Many, metric: requests, window: 1h, by: [channel], warning: 1 requests, \
                mode: notify";
    let tollgate = setup(&upstream, &CHANNELS, &[many])
        .setting(&receivers(&[&receiver]))
        .setting("routes: {group_by: [channel], group_wait: 0s, group_interval: 1h, repeat_interval: 4h}")
        .start();
    for channel in CHANNELS {
        assert_eq!(send(&tollgate, channel).status, 200);
    }
    // The first is on its way, and the others wait behind it.
    eventually("all of them are to be told", || {
        (told(&tollgate).len() == CHANNELS.len()).then_some(())
    });
    gate.open();
    let all = until_told(&tollgate, CHANNELS.len());
    let sent = judge.sent();
    assert_eq!(sent.len(), 2, "{sent:#?}");
    for channel in CHANNELS {
        let times = sent.iter().filter(|sent| sent.text.contains(channel));
        assert_eq!(times.count(), 1, "{channel}: {sent:#?}");
    }
    let of = |result: &str| {
        let told = all.iter().filter(|told| told["result"] == result);
        told.cloned().collect::<Vec<Value>>()
    };
    let (sent, merged) = (of("sent"), of("merged"));
    assert_eq!(
        (sent.len(), merged.len()),
        (2, CHANNELS.len() - 2),
        "{all:#?}"
    );
    let ids: BTreeSet<&str> = sent
        .iter()
        .map(|sent| sent["id"].as_str().unwrap())
        .collect();
    for merged in &merged {
        assert!(ids.contains(merged["by"].as_str().unwrap()), "{merged:#}");
    }
    assert_eq!(judge.too_often(), 0);
}

#[test]
fn a_notification_that_takes_the_place_of_another_says_what_that_would_have() {
    const LIMIT: &str = "warning: 1 requests";
    let (upstream, hook) = (answering(), Hook::start());
    let many =
        format!("alert: Many, metric: requests, window: 1h, by: [channel], {LIMIT}, mode: notify");
    let tollgate = setup(&upstream, &["a", "b"], &[&many])
        .setting(&receivers(&[&hook.receiver("hook", "")]))
        .setting(AT_ONCE)
        .start();
    send(&tollgate, "a");
    until_told(&tollgate, 1);
    // While nobody takes anything A resolves, and then B fires.
    hook.says(503);
    tollgate.edit_file("rules.yaml", |rules| {
        rules.replace(LIMIT, "warning: 2 requests")
    });
    eventually("the end waits", || {
        let told = told(&tollgate);
        (told.len() == 2 && told[0]["reason"] == "resolved" && hook.tries() > 1).then_some(())
    });
    for _ in 0..2 {
        send(&tollgate, "b");
    }
    let replaced = eventually("another takes its place", || {
        let mut told = told(&tollgate);
        (told.len() == 3 && told[1]["result"] == "replaced").then(|| told.remove(1))
    });
    hook.says(200);
    let all = until_told(&tollgate, 3);
    assert_eq!(all[0]["result"], "sent", "{all:#?}");
    assert_eq!(replaced["by"], all[0]["id"]);
    let told = |status: &str, channel: &str| (status.to_owned(), channel.to_owned());
    assert_eq!(
        hook.told("Many"),
        [
            vec![told("firing", "a")],
            vec![told("firing", "b"), told("resolved", "a")],
        ]
    );
}
