//! Ten thousand alerts at once.

use std::thread;

use serde_json::json;

use super::{answering, setup, telegram, told};
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::receivers::telegram::TelegramJudge;

const ALERTS: usize = 10_000;
const CLIENTS: usize = 8;

#[test]
fn ten_thousand_alerts_at_once_are_a_few_messages_and_bounded_memory() {
    let (upstream, judge) = (answering(), TelegramJudge::start());
    let rule = "alert: Flood, metric: requests, window: 1h, by: ['tag:run'], max_series: 20000, \
                warning: 1 requests, mode: notify";
    let tollgate = setup(&upstream, &["a"], &[rule])
        .setting(&telegram(&judge))
        .setting("routes: {group_wait: 1s, group_interval: 3s, repeat_interval: 4h}")
        .start();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let tollgate = &tollgate;
            scope.spawn(move || {
                for number in (client..ALERTS).step_by(CLIENTS) {
                    let messages = json!([{"role": "user", "content": "plain"}]);
                    let body = json!({"model": "gpt-5-mini", "messages": messages});
                    let request = Request::json("/v1/chat/completions", &body)
                        .header("x-tollgate-tags", &format!("run=r{number}"));
                    assert_eq!(tollgate.send(&request).status, 200);
                }
            });
        }
    });
    let resident = tollgate.peak_resident_kib();
    let last = eventually("all of them are told", || {
        judge
            .sent()
            .into_iter()
            .find(|sent| sent.text.contains("10,000"))
    });
    assert!(last.text.contains("Flood"), "{}", last.text);
    // One group: at most a message in `group_interval`, and never more than Telegram takes.
    assert_eq!(judge.too_often(), 0);
    let all = told(&tollgate);
    assert!(all.iter().all(|known| known["kind"] == "alert"), "{all:#?}");
    let mut times: Vec<jiff::Timestamp> = all
        .iter()
        .map(|known| known["at"].as_str().unwrap().parse().unwrap())
        .collect();
    times.sort();
    for pair in times.windows(2) {
        let apart = pair[1].duration_since(pair[0]).as_secs_f64();
        assert!(apart >= 2.9, "{apart} s apart: {times:?}");
    }
    let told = tollgate.peak_resident_kib() - resident;
    assert!(told < 64 * 1024, "{told} KiB more to tell it");
}
