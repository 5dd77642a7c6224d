//! Receivers that come while Tollgate runs, and receivers that are tried.

use super::{AT_ONCE, answering, receivers, send, setup, telegram, until_told};
use crate::support::receivers::hook::Hook;
use crate::support::receivers::telegram::TelegramJudge;

const MANY: &str = "alert: Many, metric: requests, window: 1h, by: [channel], warning: 1 requests, \
                    mode: notify";

#[test]
fn a_receiver_that_is_added_is_told_what_fires_and_nobody_is_told_twice() {
    let (upstream, old, new) = (answering(), Hook::start(), Hook::start());
    let tollgate = setup(&upstream, &["a", "b"], &[MANY])
        .setting(AT_ONCE)
        .setting(&receivers(&[&old.receiver("old", "")]))
        .start();
    send(&tollgate, "a");
    until_told(&tollgate, 1);
    // The list of receivers is what the settings end with.
    tollgate.edit(|settings| format!("{}\n{}", settings.trim_end(), new.receiver("new", "")));
    new.until_told("Many", "firing", "a");
    send(&tollgate, "b");
    for hook in [&old, &new] {
        hook.until_told("Many", "firing", "b");
    }
    until_told(&tollgate, 4);
    let told = |channels: &[&str]| -> Vec<_> {
        let firing = channels.iter();
        let firing = firing.map(|channel| ("firing".to_owned(), (*channel).to_owned()));
        firing.collect()
    };
    for hook in [&old, &new] {
        assert_eq!(hook.told("Many"), [told(&["a"]), told(&["a", "b"])]);
    }
}

#[test]
fn a_trial_prints_what_it_sends() {
    let (upstream, judge) = (answering(), TelegramJudge::start().without_limits());
    let tollgate = setup(&upstream, &["azure-1"], &[MANY])
        .setting(&telegram(&judge))
        .setting(AT_ONCE)
        .start();
    send(&tollgate, "azure-1");
    until_told(&tollgate, 1);
    for (arguments, says) in [
        (&["notify", "test", "ops"][..], "ChannelDailySpend"),
        (&["notify", "test", "ops", "--alert", "Many"], "Many"),
    ] {
        let before = judge.sent().len();
        let output = tollgate.run(arguments);
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let sent = judge.sent().split_off(before);
        assert_eq!(sent.len(), 1, "{sent:#?}");
        let text = &sent[0].text;
        assert!(text.contains("Test: ") && text.contains(says), "{text}");
        // Links are printed with where they lead.
        for part in text.lines().flat_map(|line| line.split(" · ")) {
            assert!(printed.contains(part), "{part:?} is not in {printed}");
        }
        assert!(printed.contains("`ops` took it"), "{printed}");
    }
}
