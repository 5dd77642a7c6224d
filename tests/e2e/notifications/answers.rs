//! From a request that crosses a threshold to the message, the button and the channel that is open again.

use super::{AT_ONCE, answering, send, setup, state_of, telegram, until_told};
use crate::support::eventually;
use crate::support::receivers::telegram::{ANN, BOB, GROUP, TelegramJudge};

const CLOSES: &str = "alert: Many, metric: requests, window: 1h, by: [channel], critical: 2 requests, \
                      actions: [{disable_channel: {until: 1h}}]";

#[test]
fn a_request_crosses_a_threshold_and_a_button_opens_the_channel_again() {
    let (upstream, judge) = (answering(), TelegramJudge::start().without_limits());
    let tollgate = setup(&upstream, &["a", "b"], &[CLOSES])
        .setting(&telegram(&judge))
        // Apart from the alert: Telegram takes a message a second, and what waits is merged.
        .setting("routes: {group_wait: 0s, group_interval: 1s}\nnotices: {wait: 2s, interval: 1s}")
        .start();
    for _ in 0..2 {
        assert_eq!(send(&tollgate, "a").status, 200);
    }
    assert_eq!(state_of(&tollgate, "a"), "closed");
    let alert = judge.until("the alert", |sent| sent.text.contains("Many critical"));
    assert_eq!(alert.chat, GROUP);
    for said in ["critical", "a", "2 requests", "closed"] {
        assert!(alert.text.contains(said), "{said}: {}", alert.text);
    }
    let notice = judge.until("the notice", |sent| sent.id != alert.id);
    for said in ["a", "closed", "Many"] {
        assert!(notice.text.contains(said), "{said}: {}", notice.text);
    }

    // Nobody but who may.
    let stranger = judge.press("Re-enable a", BOB);
    let told = eventually("the stranger is told", || {
        Some(judge.acknowledged(&stranger))
    });
    assert!(told.text.contains("not allowed"), "{told:?}");
    assert_eq!(state_of(&tollgate, "a"), "closed");

    let mut newest = judge.sent().into_iter().rev();
    let newest = newest.find(|sent| labels(sent).contains(&"Re-enable a"));
    let newest = newest.unwrap();
    let press = judge.press("Re-enable a", ANN);
    let told = judge.acknowledged(&press);
    assert_eq!(state_of(&tollgate, "a"), "open", "{told:?}");
    let opened = eventually("the opening is in the ledger", || {
        let events = tollgate.admin("/api/v1/channel-events?channel=a").json();
        let newest = events["events"][0].clone();
        (newest["state"] == "open").then_some(newest)
    });
    let who = opened["who"].as_str().unwrap();
    assert!(who.contains("ann") && who.contains("1001"), "{who}");
    let reopened = judge.until("the channel's opening is told", |sent| {
        sent.id > notice.id && sent.text.contains("open") && sent.text.contains("ann")
    });
    assert!(reopened.text.contains('a'));

    // It is gone from under its message; what changes nothing stays.
    let pressed = eventually("the button is gone", || {
        let sent = judge.sent();
        let pressed = sent.into_iter().find(|sent| sent.id == newest.id)?;
        (!labels(&pressed).contains(&"Re-enable a")).then_some(pressed)
    });
    assert!(labels(&pressed).contains(&"Details"), "{pressed:?}");

    // The same button is worth nothing any more, whoever presses it.
    let again = judge.come_back(&newest, data_of(&newest, "Re-enable a"), ANN);
    let told = judge.acknowledged(&again);
    assert!(told.text.contains("ann"), "{told:?}");
    let done = eventually("the answer is in the ledger", || {
        let answers = tollgate.admin("/api/v1/answers").json();
        let mut done = answers["answers"].as_array().unwrap().clone();
        done.retain(|answer| answer["done"] == true);
        (!done.is_empty()).then_some(done)
    });
    assert_eq!(done.len(), 1, "{done:#?}");
    assert_eq!(done[0]["receiver"], "ops");

    let told = until_told(&tollgate, 3);
    assert!(
        told.iter().all(|known| known["result"] != "dead"),
        "{told:#?}"
    );
}

fn labels(sent: &crate::support::receivers::telegram::Sent) -> Vec<&str> {
    let buttons = sent.keyboard.iter().flatten();
    buttons.map(|(read, _)| read.as_str()).collect()
}

fn data_of<'s>(sent: &'s crate::support::receivers::telegram::Sent, label: &str) -> &'s str {
    use crate::support::receivers::telegram::Target;
    let mut buttons = sent.keyboard.iter().flatten();
    match buttons.find(|(read, _)| read == label) {
        Some((_, Target::Callback(data))) => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_say_how_it_stands_and_close_and_silence() {
    let (upstream, judge) = (answering(), TelegramJudge::start().without_limits());
    let tollgate = setup(
        &upstream,
        &["a", "b"],
        &[&CLOSES.replace("2 requests", "9 requests")],
    )
    .setting(&telegram(&judge))
    .setting(AT_ONCE)
    .start();
    send(&tollgate, "a");
    tollgate.ledger().exactly(1);
    let ask = |text: &str| {
        let message = judge.write(GROUP, ANN, text);
        judge
            .until(text, |sent| sent.reply_to == Some(message))
            .text
    };
    let spend = ask("/spend today by channel");
    assert!(
        spend.contains("1 request") && spend.contains('a'),
        "{spend}"
    );
    assert!(ask("/channels").contains("open"));
    let disabled = ask("/disable a for 1h a trial");
    assert_eq!(state_of(&tollgate, "a"), "closed", "{disabled}");
    assert!(ask("/status").contains('a'));
    ask("/enable a");
    assert_eq!(state_of(&tollgate, "a"), "open");
    let reply = ask("/silence rule=Many for 2h the launch");
    let silences = tollgate.admin("/api/v1/silences").json();
    let silence = &silences["silences"][0];
    assert_eq!(silence["matchers"]["rule"], "Many", "{reply}: {silences:#}");
    assert!(silence["created_by"].as_str().unwrap().contains("ann"));
    let unknown = ask("/disable nowhere");
    assert!(unknown.contains("nowhere"), "{unknown}");
    assert!(ask("/slow 1").contains("gpt-5-mini"));
}
