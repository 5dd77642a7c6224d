//! Programs are told of every alert.

use std::collections::BTreeSet;
use std::thread;

use serde_json::json;

use super::{answering, setup, told};
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::receivers::real_alertmanager::RealAlertmanager;

const ALERTS: usize = 1_000;
const CLIENTS: usize = 4;

#[test]
fn an_alertmanager_knows_each_of_a_thousand_alerts_and_its_end() {
    let (upstream, real) = (answering(), RealAlertmanager::silent());
    let rule = "alert: Flood, metric: requests, window: 20s, by: ['tag:run'], warning: 1 requests, \
                mode: notify";
    let receivers = format!(
        "receivers: [{{name: am, alertmanager: {{urls: ['{}']}}}}]\n",
        real.url()
    );
    let tollgate = setup(&upstream, &["a"], &[rule])
        .setting(&receivers)
        .setting("routes: {group_wait: 8s, group_interval: 8s}\nnotices: {channels: []}")
        .start();
    let mut seen = BTreeSet::new();
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
        eventually("each of them fires there", || {
            let listed = real.alerts();
            let runs = listed
                .iter()
                .map(|alert| alert["labels"]["tag_run"].to_string());
            seen.extend(runs);
            (seen.len() == ALERTS).then_some(())
        });
    });
    // The window moves on, and with it the requests.
    eventually("none fires there any more", || {
        real.alerts().is_empty().then_some(())
    });
    let told = told(&tollgate);
    assert!(
        told.iter().all(|known| known["result"] != "dead"),
        "{told:#?}"
    );
    // They came together, and were more than one takes.
    let parts = told.iter().filter_map(|known| known["group"].as_str());
    assert!(
        parts.filter(|group| group.ends_with("#2")).count() >= 1,
        "{told:#?}"
    );
}
