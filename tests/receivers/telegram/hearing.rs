//! What a bot hears in its chats, and says there.

use std::time::Duration;

use serde_json::json;
use tollgate::notify::telegram::{CallError, Heard};
use tollgate::notify::{ButtonTarget, FailureReason};

use super::{PATIENT, bot, button, made, message, sent, settings};
use crate::support::receivers::telegram::{
    ANN, Acknowledged, BOB, BOT, Fault, GROUP, PRIVATE, TOPIC, TelegramJudge,
};

#[tokio::test]
async fn the_bot_hears_what_is_pressed_and_written_until_it_confirms() {
    let judge = TelegramJudge::start();
    let bot = bot(&judge);
    let mut settings = settings(&judge);
    settings.topic = Some(TOPIC);
    let mut message = message("t");
    message.buttons = vec![vec![button(
        "Silence",
        ButtonTarget::Callback("data".into()),
    )]];
    sent(&made(&settings, PATIENT), &message).await;
    let press = judge.press("Silence", ANN);
    let written = judge.write_in(GROUP, Some(TOPIC), BOB, "/status");
    judge.write(PRIVATE, ANN, "/spend");

    let updates = bot.poll(0, PATIENT).await.unwrap();
    let [pressed, status, spend] = &updates.heard[..] else {
        panic!("{updates:?}");
    };
    assert_eq!((pressed.chat, pressed.topic), (GROUP, Some(TOPIC)));
    assert_eq!((pressed.user, &*pressed.user_name), (ANN.id, "@ann"));
    let sent = judge.only();
    let Heard::Pressed {
        callback_id,
        message_id,
        data,
        buttons,
    } = &pressed.what
    else {
        panic!("{pressed:?}");
    };
    assert_eq!((callback_id, *message_id), (&press, sent.id));
    assert_eq!((&**data, buttons), ("data", &message.buttons));
    assert_eq!((status.user, status.topic), (BOB.id, Some(TOPIC)));
    let Heard::Wrote {
        message_id, text, ..
    } = &status.what
    else {
        panic!("{status:?}");
    };
    assert_eq!((*message_id, &**text), (written, "/status"));
    assert_eq!((spend.chat, spend.topic), (PRIVATE, None));

    // The same again until the next offset says that they were heard.
    assert_eq!(bot.poll(0, PATIENT).await.unwrap(), updates);
    assert_eq!(judge.unconfirmed(), 3);
    let nothing = bot.poll(updates.next, Duration::ZERO).await.unwrap();
    assert_eq!((nothing.heard.len(), nothing.next), (0, updates.next));
    assert_eq!(judge.unconfirmed(), 0);

    bot.acknowledge(&press, &"done ".repeat(100), true)
        .await
        .unwrap();
    let Acknowledged { text, alert } = judge.acknowledged(&press);
    assert!(alert && text.starts_with("done "));
    assert!(bot.acknowledge(&press, "again", false).await.is_err());

    for _ in 0..2 {
        bot.set_buttons(GROUP, sent.id, &[]).await.unwrap();
    }
    assert!(judge.only().keyboard.is_empty());
    let gone = bot.set_buttons(GROUP, 999, &[]).await.unwrap_err();
    assert!(matches!(gone, CallError::Refused(_)), "{gone}");

    let id = bot
        .reply(GROUP, Some(TOPIC), Some(written), &message)
        .await
        .unwrap();
    let reply = judge.sent().pop().unwrap();
    assert_eq!(
        (reply.id, reply.topic, reply.reply_to),
        (id, Some(TOPIC), Some(written))
    );
    assert_eq!(bot.name().await.unwrap(), BOT);
}

#[tokio::test]
async fn a_poll_waits_for_what_comes() {
    let judge = TelegramJudge::start();
    let bot = bot(&judge);
    let (updates, ()) = tokio::join!(bot.poll(0, PATIENT), async {
        while judge.methods().is_empty() {
            tokio::task::yield_now().await;
        }
        judge.write(PRIVATE, ANN, "late");
    });
    assert_eq!(updates.unwrap().heard.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_understood_is_passed_over() {
    let judge = TelegramJudge::start();
    let bot = bot(&judge);
    judge.push(json!({"something_new": {"x": 1}}));
    judge.push(json!({"message": {"odd": true}}));
    let from = json!({"id": 1, "is_bot": false, "first_name": "Ann", "last_name": "Lee"});
    judge.push(json!({"callback_query": {
        "id": "1", "from": from, "chat_instance": "1", "data": "x", "inline_message_id": "1",
    }}));
    let chat = json!({"id": 1, "type": "private", "first_name": "Ann"});
    // Of a message that is too old to be shown.
    judge.push(json!({"callback_query": {
        "id": "2", "from": from, "chat_instance": "1", "data": "y",
        "message": {"chat": chat, "message_id": 5, "date": 0},
    }}));
    let updates = bot.poll(0, PATIENT).await.unwrap();
    assert_eq!(updates.heard.len(), 1, "{updates:?}");
    assert_eq!(updates.heard[0].user_name, "Ann Lee");
    assert_eq!(updates.next, updates.heard[0].id + 1);
}

#[tokio::test]
async fn a_poll_that_fails_says_what_to_do() {
    let judge = TelegramJudge::start();
    let (first, second) = (bot(&judge), bot(&judge));
    let ended = tokio::join!(first.poll(0, PATIENT), async {
        while judge.methods().is_empty() {
            tokio::task::yield_now().await;
        }
        let second = second.poll(0, Duration::ZERO).await;
        judge.write(PRIVATE, ANN, "x");
        second
    });
    let other = [ended.0, ended.1]
        .into_iter()
        .find_map(Result::err)
        .unwrap();
    assert_eq!(other, CallError::OtherPoller);
    assert!(other.may_pass());

    judge.set_webhook(true);
    let webhook = first.poll(0, PATIENT).await.unwrap_err();
    assert_eq!(webhook, CallError::WebhookSet);
    assert!(webhook.to_string().contains("deleteWebhook"));
    judge.set_webhook(false);

    judge.polls_fail([
        Fault::TooOften(3),
        Fault::Server(502),
        Fault::Reset,
        Fault::Garbage,
    ]);
    let waits = first.poll(0, PATIENT).await.unwrap_err();
    assert_eq!(waits.retry_after(), Some(Duration::from_secs(3)));
    for reason in [
        FailureReason::ServerError,
        FailureReason::Connect,
        FailureReason::Unreadable,
    ] {
        assert_eq!(first.poll(0, PATIENT).await.unwrap_err().reason(), reason);
    }
    judge.renew_token("4242:other");
    let error = first.poll(0, PATIENT).await.unwrap_err();
    assert_eq!(error, CallError::Token);
    assert!(!format!("{error} {error:?} {first:?}").contains("canary"));
}
