//! The loop over a bot's chats.

use std::collections::VecDeque;
use std::future::pending;

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};

use super::*;
use crate::dispatch::answering::listener::{Listener, Pauses};
use crate::notify::telegram::{CallError, Heard, Update, Updates};
use crate::notify::{Button, ButtonTarget, Message};

const STRANGER: i64 = 66;

/// What a poll comes to.
type Polled = Result<Updates, CallError>;

/// A bot that hears what the test says.
#[derive(Debug, Default)]
struct Bot {
    polls: Mutex<VecDeque<Polled>>,
    seen: Mutex<Seen>,
    /// Which group became which supergroup.
    moved: Mutex<Option<(i64, i64)>>,
    /// Everything was heard.
    drained: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    /// The offsets that were asked for.
    offsets: Vec<i32>,
    acknowledged: Vec<(String, bool)>,
    /// The groups of which it was asked what they became.
    followed: Vec<i64>,
    said: Vec<(i64, Option<i32>, Message)>,
    buttons: Vec<Vec<Vec<Button>>>,
}

#[async_trait]
impl ChatBot for Bot {
    async fn name(&self) -> Result<String, CallError> {
        Ok("TollgateBot".to_owned())
    }

    async fn poll(&self, offset: i32, wait: Duration) -> Result<Updates, CallError> {
        self.seen.lock().unwrap().offsets.push(offset);
        let next = self.polls.lock().unwrap().pop_front();
        match next {
            Some(heard) => heard,
            None if wait.is_zero() => Ok(Updates {
                next: offset,
                heard: Vec::new(),
            }),
            None => {
                self.drained.notify_one();
                pending().await
            }
        }
    }

    async fn moved_to(&self, chat: i64) -> Result<Option<i64>, CallError> {
        self.seen.lock().unwrap().followed.push(chat);
        let moved = *self.moved.lock().unwrap();
        Ok(moved.filter(|(from, _)| *from == chat).map(|(_, to)| to))
    }

    async fn acknowledge(
        &self,
        _callback_id: &str,
        text: &str,
        alert: bool,
    ) -> Result<(), CallError> {
        let mut seen = self.seen.lock().unwrap();
        seen.acknowledged.push((text.to_owned(), alert));
        Ok(())
    }

    async fn reply(
        &self,
        chat: i64,
        _topic: Option<i32>,
        reply_to: Option<i32>,
        message: &Message,
    ) -> Result<(), CallError> {
        let mut seen = self.seen.lock().unwrap();
        seen.said.push((chat, reply_to, message.clone()));
        Ok(())
    }

    async fn set_buttons(
        &self,
        _chat: i64,
        _message_id: i32,
        buttons: &[Vec<Button>],
    ) -> Result<(), CallError> {
        self.seen.lock().unwrap().buttons.push(buttons.to_vec());
        Ok(())
    }
}

fn update(id: i32, chat: i64, user: i64, what: Heard) -> Update {
    Update {
        id,
        chat,
        topic: None,
        user,
        user_name: if user == ALICE {
            "Alice"
        } else {
            "Somebody (telegram 11)"
        }
        .to_owned(),
        what,
    }
}

fn pressed(data: &str) -> Heard {
    Heard::Pressed {
        callback_id: "c".to_owned(),
        message_id: 7,
        data: data.to_owned(),
        buttons: Vec::new(),
    }
}

fn wrote(text: &str) -> Heard {
    wrote_as(8, text)
}

fn wrote_as(message_id: i32, text: &str) -> Heard {
    Heard::Wrote {
        message_id,
        text: text.to_owned(),
        sent_at: UnixMicros::now(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands beside polls that fail")]
fn heard(updates: Vec<Update>) -> Polled {
    let next = updates.iter().map(|update| update.id + 1).max();
    Polled::Ok(Updates {
        next: next.unwrap_or(0),
        heard: updates,
    })
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
}

/// Hears all of this, then stops; what was seen of it.
fn hear(run: &Run, polls: Vec<Polled>) -> Seen {
    hear_of(run, polls, None)
}

/// The same where a group became a supergroup.
fn hear_of(run: &Run, polls: Vec<Polled>, moved: Option<(i64, i64)>) -> Seen {
    let bot = Arc::new(Bot {
        polls: Mutex::new(polls.into()),
        moved: Mutex::new(moved),
        ..Bot::default()
    });
    let receivers = receivers();
    let bots = doors(&receivers);
    assert_eq!(bots.len(), 1, "one token, one bot");
    let (_, doors) = bots.into_iter().next().unwrap();
    let mut listener = Listener::new(
        Arc::clone(&bot) as Arc<dyn ChatBot>,
        doors,
        Arc::clone(&run.answerer),
    );
    listener.pauses = Pauses {
        first: Duration::ZERO,
        longest: Duration::ZERO,
        conflict: Duration::ZERO,
        refused: Duration::ZERO,
    };
    runtime().block_on(async {
        let (stop, stopped) = watch::channel(false);
        let hearing = tokio::spawn(listener.hear(stopped));
        tokio::select! {
            () = bot.drained.notified() => {}
            // It ended by itself.
            () = stop.closed() => {}
        }
        let _ = stop.send(true);
        hearing.await.unwrap();
    });
    std::mem::take(&mut *bot.seen.lock().unwrap())
}

/// A button of `receiver` that works now.
fn fresh(run: &Run, receiver: &str, action: AnswerAction, subject: &Subject) -> String {
    run.sealed(Way::Button, receiver, action, subject, UnixMicros::now())
}

fn close(run: &Run) {
    let closing = Closing {
        owner: Owner::Breaker,
        reason: GateReason::Failures,
        until: None,
        who: None,
        note: None,
    };
    run.channels
        .close("east", closing, UnixMicros::now())
        .unwrap();
}

fn is_open(run: &Run) -> bool {
    let now = UnixMicros::now();
    run.channels.gate_status("east", now).unwrap().state == GateState::Open
}

#[test]
fn a_button_is_taken_where_it_was_offered_by_whoever_may() {
    let run = Run::start();
    close(&run);
    let reopen = fresh(&run, "ops", AnswerAction::Reopen, &channel("east"));
    let details = fresh(&run, "ops", AnswerAction::Details, &channel("east"));
    let target = |data: &str| Button {
        label: "b".to_owned(),
        target: ButtonTarget::Callback(data.to_owned()),
    };
    let with_buttons = Heard::Pressed {
        callback_id: "c".to_owned(),
        message_id: 7,
        data: reopen.clone(),
        buttons: vec![vec![target(&reopen)], vec![target(&details)]],
    };
    let seen = hear(
        &run,
        vec![
            // Another chat of the same bot, another receiver.
            heard(vec![update(1, ZH_CHAT, ALICE, pressed(&reopen))]),
            heard(vec![update(2, OPS_CHAT, STRANGER, pressed(&reopen))]),
            heard(vec![update(3, -999, ALICE, pressed(&reopen))]),
            heard(vec![
                update(4, OPS_CHAT, ALICE, with_buttons),
                update(5, OPS_CHAT, BOB, pressed(&reopen)),
            ]),
        ],
    );
    assert!(is_open(&run));
    let texts: Vec<&str> = seen
        .acknowledged
        .iter()
        .map(|(text, _)| text.as_str())
        .collect();
    assert_eq!(
        texts[..4],
        [
            "这不是 Tollgate 在此提供的操作，未做任何更改。",
            "You are not allowed to answer here.",
            "You are not allowed to answer here.",
            "east is open again.",
        ]
    );
    assert!(
        texts[4].starts_with("Alice (telegram 11) did this at"),
        "{}",
        texts[4]
    );
    let alerts: Vec<bool> = seen.acknowledged.iter().map(|(_, alert)| *alert).collect();
    assert_eq!(alerts, [true, true, true, false, true]);
    // The chat is told once, under the message, whose pressed button goes.
    assert_eq!(seen.said.len(), 1);
    let (chat, reply_to, message) = &seen.said[0];
    assert_eq!((*chat, *reply_to), (OPS_CHAT, Some(7)));
    assert_eq!(message.title, "Alice (telegram 11): east is open again.");
    assert_eq!(seen.buttons, [vec![vec![target(&details)]]]);
    // Each was confirmed after it was done, the last at the stop.
    assert_eq!(seen.offsets, [0, 2, 3, 4, 6, 6]);
    assert_eq!(run.kept().len(), 2);
}

#[test]
fn strangers_get_no_word_and_change_nothing() {
    let run = Run::start();
    let seen = hear(
        &run,
        vec![heard(vec![
            update(1, OPS_CHAT, STRANGER, wrote("/disable east")),
            update(2, -999, ALICE, wrote("/disable east")),
            // Who may in another chat, and small talk.
            update(3, OPS_CHAT, ALICE, wrote("hello")),
            update(4, OPS_CHAT, ALICE, wrote("/disable@OtherBot east")),
        ])],
    );
    assert!(is_open(&run));
    assert!(
        seen.said.is_empty() && seen.acknowledged.is_empty(),
        "{seen:?}"
    );
    assert_eq!(run.kept(), []);
}

#[test]
fn commands_are_carried_out_in_the_chat_they_come_from() {
    let run = Run::start();
    let late = Heard::Wrote {
        message_id: 9,
        text: "/enable east".to_owned(),
        sent_at: UnixMicros::now().minus(HOUR),
    };
    let seen = hear(
        &run,
        vec![heard(vec![
            update(1, ZH_CHAT, BOB, wrote("/disable@TollgateBot east")),
            update(2, OPS_CHAT, ALICE, late),
            // Alice's own chat with the bot.
            update(3, ALICE, ALICE, wrote("/channels")),
        ])],
    );
    let said: Vec<(i64, &str)> = seen
        .said
        .iter()
        .map(|(chat, _, message)| (*chat, message.title.as_str()))
        .collect();
    assert_eq!(said[0], (ZH_CHAT, "east 已关闭，直到有人启用。"));
    assert!(
        said[1].1.starts_with("That was written too long ago"),
        "{said:?}"
    );
    assert_eq!(said[2], (ALICE, "Channels: 1 of 2 open"));
    let kept = run.kept();
    assert_eq!(kept.len(), 2);
    // A name cannot pretend to be somebody's id.
    assert_eq!(&*kept[0].who, "Somebody telegram 11 (telegram 12)");
    assert_eq!(&*kept[0].receiver, "zh");
}

#[test]
fn what_fails_is_tried_again_a_refused_token_too() {
    let run = Run::start();
    let seen = hear(
        &run,
        vec![
            Err(CallError::Timeout),
            Err(CallError::TooOften(Some(Duration::ZERO))),
            Err(CallError::OtherPoller),
            Err(CallError::WebhookSet),
            heard(vec![update(8, OPS_CHAT, ALICE, wrote("/help"))]),
            Err(CallError::Server(502)),
            Err(CallError::Token),
            Err(CallError::Token),
            heard(vec![update(9, OPS_CHAT, ALICE, wrote("/disable east"))]),
        ],
    );
    assert_eq!(seen.offsets, [0, 0, 0, 0, 0, 9, 9, 9, 9, 10, 10]);
    assert_eq!(seen.said.len(), 2);
    assert!(!is_open(&run));
}

#[test]
fn a_group_that_became_a_supergroup_is_answered_there() {
    const MOVED: i64 = -1_000_000_000_777;
    const OTHER: i64 = -1_000_000_000_888;
    let run = Run::start();
    close(&run);
    let reopen = fresh(&run, "ops", AnswerAction::Reopen, &channel("east"));
    let seen = hear_of(
        &run,
        vec![heard(vec![
            // Whoever may not has no way to have it asked, and takes none from who may.
            update(1, MOVED, STRANGER, pressed(&reopen)),
            update(2, OTHER, ALICE, wrote("/disable west")),
            update(3, OTHER, ALICE, wrote("/disable west")),
            update(4, MOVED, ALICE, pressed(&reopen)),
            update(5, MOVED, BOB, wrote("/channels")),
        ])],
        Some((OPS_CHAT, MOVED)),
    );
    assert!(is_open(&run));
    let acknowledged: Vec<&str> = seen.acknowledged.iter().map(|(text, _)| &**text).collect();
    let refused = "You are not allowed to answer here.";
    assert_eq!(acknowledged, [refused, "east is open again."]);
    let said: Vec<&str> = seen.said.iter().map(|(_, _, said)| &*said.title).collect();
    assert_eq!(said[1], "Channels: 2 of 2 open");
    // Each supergroup once.
    assert_eq!(seen.followed, [ZH_CHAT, OPS_CHAT, ZH_CHAT, OPS_CHAT]);
}

#[test]
fn a_receiver_without_answers_is_not_heard() {
    let mut receivers = receivers();
    receivers.push(telegram("other", "2:b", -300, Language::En));
    if let TargetSettings::Telegram(telegram) = &mut receivers[1].target {
        telegram.answers = None;
    }
    if let TargetSettings::Telegram(telegram) = &mut receivers[2].target {
        telegram.chat = ChatName::Name("@ops".into());
    }
    let bots = doors(&receivers);
    let doors: Vec<_> = bots.iter().map(|(_, doors)| doors.clone()).collect();
    assert_eq!(doors.len(), 2);
    assert_eq!(&*doors[0][0].receiver, "ops");
    assert_eq!(
        (doors[0].len(), &doors[0][0].chats),
        (1, &vec![OPS_CHAT, ALICE])
    );
    // A chat's name says no number, so only those that are listed.
    assert_eq!(doors[1][0].chats, [ALICE]);
}
