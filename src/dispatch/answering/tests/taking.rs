//! Buttons: judged, kept, done once.

use std::thread;

use super::*;
use crate::dispatch::answering::meaning::meant;
use crate::ledger::query::GateEventFilter;

const WHO: &str = "Alice (telegram 11)";

fn later(minutes: u32) -> UnixMicros {
    NOON.plus(MINUTE * minutes)
}

#[test]
fn a_closed_channel_is_opened_once_with_the_name_of_who_did_it() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    assert_eq!(run.state("east"), GateState::Closed);
    let button = run.button(AnswerAction::Reopen, &channel("east"));
    let reply = run.answerer.press("ops", WHO, &button, later(1));
    assert!(reply.taken(), "{reply:?}");
    assert_eq!(reply.text, "east is open again.");
    assert_eq!(run.state("east"), GateState::Open);

    // Who presses it again is told who did it.
    let again = run
        .answerer
        .press("ops", "Bob (telegram 12)", &button, later(2));
    assert_eq!(again.standing, Standing::Used);
    assert_eq!(again.text, "Alice (telegram 11) did this at 12:01 already.");

    let kept = run.kept();
    let told: Vec<_> = kept
        .iter()
        .map(|answer| (&*answer.asked, &*answer.subject, answer.done, &*answer.who))
        .collect();
    // Before it was done, and after.
    assert_eq!(
        told,
        [
            ("reopen", "east", false, WHO),
            ("reopen", "east", true, WHO)
        ]
    );
    assert!(kept.iter().all(|answer| answer.nonce.is_some()));
    let reader = Reader::open(run.folder.path()).unwrap();
    let events = reader
        .gate_events(&GateEventFilter::default())
        .unwrap()
        .events;
    let opened = events.iter().find(|event| event.hold == GateState::Open);
    assert_eq!(opened.unwrap().who.as_deref(), Some(WHO));
}

#[test]
fn a_restart_forgets_no_answer() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let button = run.button(AnswerAction::Reopen, &channel("east"));
    assert!(run.answerer.press("ops", WHO, &button, later(1)).taken());
    let run = run.restart();
    let closing = Closing {
        owner: Owner::Operator,
        reason: GateReason::Operator,
        until: None,
        who: None,
        note: None,
    };
    run.channels.close("east", closing, later(2)).unwrap();
    let again = run
        .answerer
        .press("ops", "Bob (telegram 12)", &button, later(3));
    assert_eq!(again.standing, Standing::Used);
    assert_eq!(again.text, "Alice (telegram 11) did this at 12:01 already.");
    assert_eq!(run.state("east"), GateState::Closed);
    // Another button of the same thing is another one.
    let newer = run.sealed(
        Way::Button,
        "ops",
        AnswerAction::Reopen,
        &channel("east"),
        later(3),
    );
    assert!(run.answerer.press("ops", WHO, &newer, later(4)).taken());
}

#[test]
fn of_many_presses_at_once_one_wins() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let subject = alerts("Spend", &[("channel", "east"), ("key", "k")]);
    let button = run.button(AnswerAction::Silence, &subject);
    let replies: Vec<Reply> = thread::scope(|scope| {
        let presses: Vec<_> = (0..16)
            .map(|n| {
                let (run, button) = (&run, &button);
                let who = format!("user {n}");
                scope.spawn(move || run.answerer.press("ops", &who, button, later(1)))
            })
            .collect();
        presses
            .into_iter()
            .map(|press| press.join().unwrap())
            .collect()
    });
    assert_eq!(replies.iter().filter(|reply| reply.taken()).count(), 1);
    let used = replies
        .iter()
        .filter(|reply| reply.standing == Standing::Used);
    assert_eq!(used.count(), 15);
    assert_eq!(run.silences().len(), 1);
    assert_eq!(run.kept().len(), 2);
}

#[test]
fn a_silence_holds_for_an_hour_and_for_all_of_the_group() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    run.spend("east", "l", NOON);
    let group = alerts("Spend", &[("channel", "east")]);
    let button = run.button(AnswerAction::Silence, &group);
    let reply = run.answerer.press("ops", WHO, &button, later(1));
    assert_eq!(
        reply.text,
        "Silenced until 13:01: rule=Spend channel=east (2 firing now)."
    );
    let silences = run.silences();
    assert_eq!(silences.len(), 1);
    let silence = &silences[0];
    assert_eq!((silence.starts_at, silence.ends_at), (later(1), later(61)));
    assert_eq!(&*silence.created_by, WHO);
    assert!(silence.matches(
        &alert("Spend", &[("channel", "east"), ("key", "new")]),
        None,
        later(2)
    ));
    assert!(!silence.matches(
        &alert("Spend", &[("channel", "west"), ("key", "k")]),
        None,
        later(2)
    ));
}

#[test]
fn kept_closed_outlives_the_alert_and_opens_nothing() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let keep = run.button(AnswerAction::KeepClosed, &channel("east"));
    let reply = run.answerer.press("ops", WHO, &keep, later(1));
    assert_eq!(reply.text, "east is closed until somebody opens it.");
    let gate = run.channels.gate_status("east", later(2)).unwrap();
    let operator = gate
        .holds
        .iter()
        .find(|hold| hold.closing.owner == Owner::Operator);
    let closing = &operator.unwrap().closing;
    assert_eq!((closing.until, closing.who.as_deref()), (None, Some(WHO)));
    // Of one that is open again it closes nothing.
    let keep = run.button(AnswerAction::KeepClosed, &channel("west"));
    let reply = run.answerer.press("ops", WHO, &keep, later(1));
    assert_eq!(reply.standing, Standing::Failed);
    assert!(reply.text.contains("was left open"), "{}", reply.text);
    assert_eq!(run.state("west"), GateState::Open);
    let again = run.answerer.press("ops", WHO, &keep, later(2));
    assert!(again.text.contains("did not work"), "{}", again.text);
}

#[test]
fn details_change_nothing_and_may_be_asked_again() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let subject = alerts("Spend", &[("channel", "east"), ("key", "k")]);
    let button = run.button(AnswerAction::Details, &subject);
    for minute in 1..3 {
        let reply = run.answerer.press("ops", WHO, &button, later(minute));
        assert!(reply.taken());
        let message = reply.message.unwrap();
        let text = format!("{:?}", message.body);
        assert!(text.contains("$2.00 of $1.00"), "{text}");
        assert!(text.contains("Done: closed channel east until"), "{text}");
    }
    let button = run.button(AnswerAction::Details, &channel("east"));
    let message = run
        .answerer
        .press("ops", WHO, &button, later(1))
        .message
        .unwrap();
    assert_eq!(message.title, "east: closed");
    let text = format!("{:?}", message.body);
    assert!(text.contains("the alert Spend"), "{text}");
    assert!(run.silences().is_empty());
    assert_eq!(run.kept(), []);
}

#[test]
fn what_is_not_good_does_nothing() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let button = run.button(AnswerAction::Reopen, &channel("east"));
    let press = |receiver: &str, text: &str, now| run.answerer.press(receiver, WHO, text, now);
    let link = run.sealed(
        Way::Link,
        "ops",
        AnswerAction::Reopen,
        &channel("east"),
        NOON,
    );
    for (receiver, text, minutes, standing) in [
        ("ops", &button[..49], 1, Standing::Forged),
        ("ops", "", 1, Standing::Forged),
        (
            "ops",
            "\u{0}\u{202e}'; DROP TABLE requests; --",
            1,
            Standing::Forged,
        ),
        // Another receiver's, and no receiver at all.
        ("zh", &*button, 1, Standing::Forged),
        ("nobody", &*button, 1, Standing::Forged),
        // A link is no button.
        ("ops", &*link, 1, Standing::Forged),
        ("ops", &*button, 60, Standing::Expired),
    ] {
        let reply = press(receiver, text, later(minutes));
        assert_eq!(reply.standing, standing, "{receiver} {text}");
        assert!(!reply.text.is_empty());
    }
    let gone = run.button(AnswerAction::Reopen, &channel("no such channel"));
    assert_eq!(press("ops", &gone, later(1)).standing, Standing::Gone);
    // Signed, but for something that has no such action.
    let odd = run.button(AnswerAction::Silence, &channel("east"));
    assert_eq!(press("ops", &odd, later(1)).standing, Standing::Failed);
    assert_eq!(run.state("east"), GateState::Closed);
    assert!(run.silences().is_empty());
    assert!(press("ops", &button, later(59)).taken());
}

#[test]
fn what_cannot_be_kept_is_not_done() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let button = run.button(AnswerAction::Reopen, &channel("east"));
    for switch in [&run.log.refuses, &run.log.unread] {
        *switch.lock().unwrap() = true;
        let reply = run.answerer.press("ops", WHO, &button, later(1));
        assert_eq!(reply.standing, Standing::Unkept);
        assert_eq!(run.state("east"), GateState::Closed);
        *switch.lock().unwrap() = false;
    }
    // It was not used up by that.
    assert!(run.answerer.press("ops", WHO, &button, later(2)).taken());
}

#[test]
fn an_alert_is_found_that_only_the_ledger_knows() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    assert!(run.ledger.flush(PATIENCE));
    // After a start the rules know nothing of it yet.
    let run = run.restart();
    let subject = alerts("Spend", &[("channel", "east")]);
    let button = run.button(AnswerAction::Silence, &subject);
    let reply = run.answerer.press("ops", WHO, &button, later(1));
    assert!(reply.taken(), "{reply:?}");
    assert_eq!(run.silences().len(), 1);
}

#[test]
fn it_is_said_in_the_receivers_language() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let button = run.sealed(
        Way::Button,
        "zh",
        AnswerAction::Reopen,
        &channel("east"),
        NOON,
    );
    let reply = run.answerer.press("zh", WHO, &button, later(1));
    assert_eq!(reply.text, "east 已重新启用。");
    let again = run.answerer.press("zh", WHO, &button, later(2));
    assert_eq!(again.text, "Alice (telegram 11) 已于 12:01 执行过此操作。");
}

#[test]
fn an_old_button_opens_nothing_that_its_message_does_not_tell_of() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let subject = channel("east");
    let closing = Closing {
        owner: Owner::Operator,
        reason: GateReason::Operator,
        until: None,
        who: Some("Carol".into()),
        note: Some("its key leaked".into()),
    };
    run.channels.close("east", closing, later(10)).unwrap();
    let press = |minutes, operator, nonce| {
        let offer = Offer {
            action: AnswerAction::Reopen,
            subject: &subject,
            expires_at: NOON.plus(HOUR),
            nonce,
            told: ToldOf {
                until: later(minutes),
                operator,
            },
        };
        let sealed = run.signer.seal(Way::Button, "ops", &offer);
        run.answerer.press("ops", WHO, &sealed, later(30))
    };
    // Of the alert; of what an operator did before; of the alert, after Carol closed it too.
    for (nonce, minutes, operator) in [(1, 0, false), (2, 5, true), (3, 20, false)] {
        let reply = press(minutes, operator, nonce);
        assert_eq!(reply.standing, Standing::Failed);
        assert_eq!(
            reply.text,
            "east was left closed: by now it is closed by Carol since 12:10; its key leaked, which \
             this message does not tell of. /enable east opens it all the same."
        );
        assert_eq!(run.state("east"), GateState::Closed);
    }
    assert_eq!(press(10, true, 4).text, "east is open again.");
}

#[test]
fn where_the_journal_fails_under_it_a_button_is_used_up_and_says_so() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    let button = run.button(AnswerAction::Reopen, &channel("east"));
    *run.log.breaks.lock().unwrap() = true;
    let reply = run.answerer.press("ops", WHO, &button, later(1));
    assert_eq!(reply.standing, Standing::Failed);
    for part in ["nothing was changed", "works no more", "/enable east"] {
        assert!(reply.text.contains(part), "{}", reply.text);
    }
    assert_eq!(run.state("east"), GateState::Closed);
    *run.log.refuses.lock().unwrap() = false;
    let again = run.answerer.press("ops", WHO, &button, later(2));
    assert_eq!(again.standing, Standing::Used);
}

#[test]
fn what_came_of_an_answer_that_a_crash_cut_off_is_not_said() {
    let run = Run::start();
    let button = run.button(AnswerAction::Reopen, &channel("east"));
    let opened = run.signer.open(Way::Button, "ops", &button, NOON).unwrap();
    // As far as it goes before it is done.
    run.log.answered(&ChatAnswer {
        at: later(1),
        receiver: "ops".into(),
        who: WHO.into(),
        asked: "reopen".into(),
        subject: "east".into(),
        done: false,
        outcome: "taken".into(),
        nonce: Some(opened.nonce),
        expires_at: Some(opened.expires_at),
    });
    let run = run.restart();
    let again = run.answerer.press("ops", WHO, &button, later(2));
    assert_eq!(again.standing, Standing::Used);
    assert_eq!(
        again.text,
        "Alice (telegram 11) asked for this at 12:01 already. /channels and /status say what came \
         of it."
    );
}

#[test]
fn what_the_ledger_cannot_say_at_present_is_not_gone() {
    let run = Run::start();
    run.spend("east", "k", NOON);
    assert!(run.ledger.flush(PATIENCE));
    let run = run.restart();
    let subject = alerts("Spend", &[("channel", "east"), ("key", "k")]);
    let button = run.button(AnswerAction::Details, &subject);
    let path = run.folder.path().join("tollgate.db");
    let aside = run.folder.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::fs::write(&path, "no database").unwrap();
    let reply = run.answerer.press("ops", WHO, &button, later(1));
    assert_eq!(reply.standing, Standing::Unkept, "{reply:?}");
    assert!(reply.text.contains("Try again"), "{}", reply.text);
    std::fs::rename(&aside, &path).unwrap();
    assert!(run.answerer.press("ops", WHO, &button, later(1)).taken());
}

#[test]
fn what_alerts_have_in_common_is_looked_at_once_each() {
    let known: Vec<AlertId> = (0..1_000)
        .map(|n| {
            let key = format!("k{n}");
            alert(
                "Spend",
                &[("api", "chat"), ("channel", "east"), ("key", &key)],
            )
        })
        .collect();
    let asked = std::cell::Cell::new(0);
    let of_none = meant(&known, |_| {
        asked.set(asked.get() + 1);
        false
    });
    assert_eq!(of_none, None);
    // All alerts, then each key with every part of the others and those parts alone; with every
    // severity and as warnings.
    assert_eq!(asked.get(), 2 * (1_000 + 4 * 1_000 + 4));
    let warnings = alert("Spend", &[("channel", "east")]);
    let warnings = AlertSubject::from(&warnings).of_warnings();
    assert_eq!(
        meant(&known, |alerts| *alerts == warnings),
        Some(warnings.clone())
    );
}
