//! What keeps an alert back: a silence, a closed channel, a mute time. What is kept back is told when that
//! is over.

use std::thread;

use serde_json::Value;

use super::{AT_ONCE, answering, receivers, send, setup, state_of};
use crate::support::receivers::hook::Hook;
use crate::support::tollgate::Tollgate;
use crate::support::upstream::Upstream;
use crate::support::{Gate, answers as provided, eventually};

const MANY: &str = "alert: Many, metric: requests, window: 1h, by: [channel], warning: 1 requests, \
                    mode: notify";

/// Waits until something was kept back from the hook for that reason.
fn until_kept_back(tollgate: &Tollgate, result: &str) {
    let labels = [("receiver", "hook"), ("result", result)];
    eventually(&format!("something is {result}"), || {
        let count = tollgate.metrics();
        let count = count.sum("tollgate_notifications_total", &labels);
        (count >= 1.0).then_some(())
    });
}

/// Whether the hook was told anything of that rule and channel.
fn knows(hook: &Hook, rule: &str, channel: &str) -> bool {
    let told = hook.told(rule);
    told.iter().flatten().any(|(_, told)| told == channel)
}

fn run(tollgate: &Tollgate, arguments: &[&str]) -> Vec<u8> {
    let output = tollgate.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

#[test]
fn a_silence_of_the_command_line_keeps_an_alert_back_and_its_end_tells_it() {
    let (upstream, hook) = (answering(), Hook::start());
    let tollgate = setup(&upstream, &["a", "b"], &[MANY])
        .setting(&receivers(&[&hook.receiver("hook", "")]))
        .setting(AT_ONCE)
        .start();
    let made = "silences add rule=Man* channel=a --for 1h --format json";
    let made = run(&tollgate, &made.split(' ').collect::<Vec<_>>());
    let made: Value = serde_json::from_slice(&made).unwrap();
    send(&tollgate, "a");
    until_kept_back(&tollgate, "silenced");
    // Another of its group is told all the same.
    send(&tollgate, "b");
    hook.until_told("Many", "firing", "b");
    assert!(!knows(&hook, "Many", "a"), "{:#?}", hook.taken());
    run(
        &tollgate,
        &["silences", "end", made["id"].as_str().unwrap()],
    );
    hook.until_told("Many", "firing", "a");
}

/// An upstream that answers when the gate is open.
fn waiting(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |request| {
        assert!(gate.wait(), "the test never opened the gate");
        provided::provider(request)
    })
}

#[test]
fn a_channel_that_an_operator_closed_keeps_its_latency_back_until_it_is_open() {
    let gate = Gate::default();
    let (upstream, hook) = (waiting(&gate), Hook::start());
    let slow = "alert: Slow, metric: latency, stat: max, window: 1h, by: [channel], warning: 1ms, \
                mode: notify";
    let tollgate = setup(&upstream, &["a", "b"], &[slow, MANY])
        .setting(&receivers(&[&hook.receiver("hook", "")]))
        .setting(AT_ONCE)
        .start();
    thread::scope(|scope| {
        let sent = scope.spawn(|| send(&tollgate, "a").status);
        upstream.until("a request is on its way", |received| received.len() == 1);
        run(&tollgate, &["channels", "disable", "a", "--for", "1h"]);
        gate.open();
        assert_eq!(sent.join().unwrap(), 200);
    });
    until_kept_back(&tollgate, "inhibited");
    // What is not about its speed is told, and so is the speed of others.
    hook.until_told("Many", "firing", "a");
    send(&tollgate, "b");
    hook.until_told("Slow", "firing", "b");
    assert!(!knows(&hook, "Slow", "a"), "{:#?}", hook.taken());
    run(&tollgate, &["channels", "enable", "a"]);
    hook.until_told("Slow", "firing", "a");
}

#[test]
fn an_alert_that_closed_its_channel_is_told_and_keeps_others_back() {
    let gate = Gate::default();
    let (upstream, hook) = (waiting(&gate), Hook::start());
    let closes = "alert: Closes, metric: latency, stat: max, window: 1h, by: [channel], \
                  critical: 1ms, actions: [{disable_channel: {until: 1h}}]";
    let slow = "alert: Slow, metric: latency, stat: p95, window: 1h, by: [channel], warning: 1ms, \
                mode: notify";
    let tollgate = setup(&upstream, &["a", "b"], &[closes, slow])
        .setting(&receivers(&[&hook.receiver("hook", "")]))
        // Both are known by then, whichever comes first.
        .setting("routes: {group_wait: 1s, group_interval: 1s}")
        .start();
    gate.open();
    assert_eq!(send(&tollgate, "a").status, 200);
    hook.until_told("Closes", "firing", "a");
    assert_eq!(state_of(&tollgate, "a"), "closed");
    until_kept_back(&tollgate, "inhibited");
    assert!(!knows(&hook, "Slow", "a"), "{:#?}", hook.taken());
    run(&tollgate, &["channels", "enable", "a"]);
    hook.until_told("Slow", "firing", "a");
    assert_eq!(hook.told("Closes").len(), 1);
}

#[test]
fn what_fires_outside_of_its_times_is_told_when_they_come() {
    const NEVER: &str = ", active_times: [never]";
    let (upstream, hook) = (answering(), Hook::start());
    let routes = format!(
        "routes:\n  group_wait: 0s\n  group_interval: 1s\n  receivers: [hook]\n  routes:\n  \
         - {{match: {{channel: a}}, receivers: [hook]{NEVER}}}\n\
         mute_times:\n  never: [{{months: [feb], days_of_month: ['30']}}]\n"
    );
    let tollgate = setup(&upstream, &["a", "b"], &[MANY])
        .setting(&receivers(&[&hook.receiver("hook", "")]))
        .setting(&routes)
        .start();
    send(&tollgate, "a");
    until_kept_back(&tollgate, "muted");
    send(&tollgate, "b");
    hook.until_told("Many", "firing", "b");
    assert!(!knows(&hook, "Many", "a"), "{:#?}", hook.taken());
    tollgate.edit(|settings| settings.replace(NEVER, ""));
    hook.until_told("Many", "firing", "a");
    assert_eq!(hook.told("Many").len(), 2, "{:#?}", hook.taken());
}
