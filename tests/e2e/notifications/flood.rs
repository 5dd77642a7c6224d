//! Ten thousand alerts at once; a thousand groups for a chat that takes a message a second.

use std::collections::BTreeSet;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{answering, receivers, setup, until_told};
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::receivers::telegram::{GROUP, TOKEN, TelegramJudge};
use crate::support::tollgate::Tollgate;

const ALERTS: usize = 10_000;
/// That come while those are told, each time.
const MORE: usize = 100;
/// Times after which telling has all the memory that it takes, and times after those.
const TIMES: (usize, usize) = (4, 4);
/// What telling may take. It is some 75 MiB in a build without optimisation, of which the first message
/// makes a half: each alert is known to its group, to what was told, and to what is being told.
const TAKES_KIB: u64 = 128 * 1024;
/// What may come on top of it with more messages: nothing but noise.
const GROWS_KIB: u64 = 24 * 1024;
const GROUPS: usize = 1_000;
const CLIENTS: usize = 8;
/// `group_interval` of the flood.
const INTERVAL: Duration = Duration::from_secs(1);

const FLOOD: &str = "alert: Flood, metric: requests, window: 1h, by: ['tag:run'], max_series: 20000, \
                     warning: 1 requests, mode: notify";

/// Makes the alerts of these numbers fire.
fn flood(tollgate: &Tollgate, numbers: Range<usize>) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let numbers = numbers.clone().skip(client).step_by(CLIENTS);
            scope.spawn(move || {
                for number in numbers {
                    let messages = json!([{"role": "user", "content": "plain"}]);
                    let body = json!({"model": "gpt-5-mini", "messages": messages});
                    let request = Request::json("/v1/chat/completions", &body)
                        .header("x-tollgate-tags", &format!("run=r{number:05}"));
                    assert_eq!(tollgate.send(&request).status, 200);
                }
            });
        }
    });
}

fn ops(judge: &TelegramJudge) -> String {
    let ops = format!(
        "- {{name: ops, telegram: {{token: '{TOKEN}', chat: {GROUP}, api_url: '{}'}}}}\n",
        judge.api_url()
    );
    receivers(&[&ops])
}

/// All notifications, page by page.
fn every(tollgate: &Tollgate) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let target = format!("/api/v1/notifications?limit=1000{cursor}");
        let page = tollgate.admin(&target).json();
        all.extend(page["notifications"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn ten_thousand_alerts_at_once_are_a_few_messages_and_bounded_memory() {
    let (upstream, judge) = (answering(), TelegramJudge::start());
    let tollgate = setup(&upstream, &["a"], &[FLOOD]).start();
    flood(&tollgate, 0..ALERTS);
    // All of them fire, and nobody is told. What is more from here on is what it takes to tell.
    let resident = tollgate.resident_kib();
    let told = "routes: {group_wait: 0s, group_interval: 1s, repeat_interval: 4h}";
    tollgate.edit(|settings| format!("{settings}{told}\n{}", ops(&judge)));
    judge.until("all of them are told", |sent| sent.text.contains("10,000"));
    let more = |times: Range<usize>| {
        for time in times {
            let (first, count) = (ALERTS + time * MORE, ALERTS + (time + 1) * MORE);
            flood(&tollgate, first..count);
            let firing = format!("{},{:03}", count / 1000, count % 1000);
            judge.until("those that came later are told", |sent| {
                sent.text.contains(&firing)
            });
        }
        tollgate.peak_resident_kib()
    };
    let settled = more(0..TIMES.0);
    let later = more(TIMES.0..TIMES.0 + TIMES.1);
    let takes = settled.saturating_sub(resident);
    assert!(takes < TAKES_KIB, "{takes} KiB more to tell it");
    let grows = later - settled;
    assert!(grows < GROWS_KIB, "{grows} KiB more to go on telling it");
    // One group: at most a message in `group_interval`, and never more than Telegram takes.
    assert_eq!(judge.too_often(), 0);
    let all = until_told(&tollgate, 1 + TIMES.0 + TIMES.1);
    assert!(all.iter().all(|known| known["kind"] == "alert"), "{all:#?}");
    let mut times: Vec<Timestamp> = all
        .iter()
        .map(|known| known["at"].as_str().unwrap().parse().unwrap())
        .collect();
    times.sort();
    for pair in times.windows(2) {
        let apart = pair[1].duration_since(pair[0]);
        assert!(apart >= INTERVAL.try_into().unwrap(), "{apart}: {times:?}");
    }
}

#[test]
fn a_thousand_groups_at_once_are_a_few_messages_and_none_is_lost() {
    let (upstream, judge) = (answering(), TelegramJudge::start());
    let tollgate = setup(&upstream, &["a"], &[FLOOD])
        .setting("routes: {group_by: ['tag:run'], group_wait: 0s, group_interval: 1h, repeat_interval: 4h}")
        .setting(&ops(&judge))
        .start();
    flood(&tollgate, 0..GROUPS);
    let all = eventually("all of them are settled", || {
        let all = every(&tollgate);
        let open = all.iter().any(|known| known["result"] == "open");
        (all.len() == GROUPS && !open).then_some(all)
    });
    let of = |result: &str| -> Vec<&Value> {
        let of_result = all.iter().filter(|known| known["result"] == result);
        of_result.collect()
    };
    let (sent, merged) = (of("sent"), of("merged"));
    assert_eq!(sent.len() + merged.len(), GROUPS);
    let groups: BTreeSet<_> = all.iter().map(|known| known["group"].as_str()).collect();
    assert_eq!(groups.len(), GROUPS);
    // Each message is one that was sent, and what was merged is in one of them.
    assert_eq!(judge.sent().len(), sent.len());
    let ids: BTreeSet<_> = sent.iter().map(|known| known["id"].as_str()).collect();
    assert!(
        merged
            .iter()
            .all(|known| ids.contains(&known["by"].as_str()))
    );
    assert!(sent.len() < GROUPS / 20, "{} messages", sent.len());
    assert_eq!(judge.too_often(), 0);
}
