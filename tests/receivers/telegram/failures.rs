//! What each failure means, and that none tells the token.

use std::time::Duration;

use tollgate::notify::{Delivered, Delivery, FailureReason, Receiver as _};

use super::{Log, PATIENT, made, message, receiver, send, settings};
use crate::support::receivers::telegram::{Fault, GROUP, TOKEN, TOKEN_CANARY, TelegramJudge};
use crate::support::upstream::{Answer, Upstream};

/// For what is never answered.
const HASTY: Duration = Duration::from_millis(200);

type Outcome = (FailureReason, bool, Option<u64>);

fn failure(delivered: Delivered) -> (Outcome, String) {
    match delivered {
        Delivered::Again {
            after,
            reason,
            detail,
        } => ((reason, true, after.map(|after| after.as_secs())), detail),
        Delivered::GiveUp { reason, detail } => ((reason, false, None), detail),
        Delivered::Sent { .. } => panic!("it was sent"),
    }
}

/// How each failure is arranged, what becomes of it, and a word that its detail has.
type Case = (&'static str, fn(&TelegramJudge), Outcome, &'static str);

const CASES: &[Case] = {
    use FailureReason as Why;
    const fn again(reason: Why) -> Outcome {
        (reason, true, None)
    }
    const fn never(reason: Why) -> Outcome {
        (reason, false, None)
    }
    &[
        (
            "500",
            |judge| judge.fails([Fault::Server(500)]),
            again(Why::ServerError),
            "500",
        ),
        (
            "502",
            |judge| judge.fails([Fault::Server(502)]),
            again(Why::ServerError),
            "502",
        ),
        (
            "reset",
            |judge| judge.fails([Fault::Reset]),
            again(Why::Connect),
            "no answer",
        ),
        (
            "reset after",
            |judge| judge.fails([Fault::ResetAfter]),
            again(Why::Connect),
            "no answer",
        ),
        (
            "hang",
            |judge| judge.fails([Fault::Hang]),
            again(Why::Timeout),
            "in time",
        ),
        (
            "garbage",
            |judge| judge.fails([Fault::Garbage]),
            again(Why::Unreadable),
            "api_url",
        ),
        (
            "redirect",
            |judge| judge.fails([Fault::Redirect("http://127.0.0.1:1".into())]),
            again(Why::Unreadable),
            "api_url",
        ),
        (
            "404 of a server in front",
            |judge| judge.fails([Fault::Server(404)]),
            again(Why::Unreadable),
            "api_url",
        ),
        (
            "401 of a server in front",
            |judge| judge.fails([Fault::Server(401)]),
            again(Why::Unreadable),
            "api_url",
        ),
        (
            "429",
            |judge| judge.fails([Fault::TooOften(17)]),
            (Why::RateLimited, true, Some(17)),
            "more than",
        ),
        (
            "revoked",
            |judge| judge.renew_token("4242:other"),
            never(Why::Credential),
            "BotFather",
        ),
        (
            "echo",
            |judge| judge.fails([Fault::Echo]),
            never(Why::Credential),
            "BotFather",
        ),
        (
            "400 echo",
            |judge| {
                let words = format!("Bad Request: odd /bot{TOKEN}/SendMessage {TOKEN_CANARY}");
                judge.fails([Fault::Says(400, words)]);
            },
            never(Why::Refused),
            "odd",
        ),
        (
            "kicked",
            |judge| judge.kick(GROUP),
            never(Why::Gone),
            "kicked",
        ),
        (
            "no chat",
            |judge| {
                judge.fails([Fault::Says(400, "Bad Request: chat not found".into())]);
            },
            never(Why::Gone),
            "telegram.chat",
        ),
        (
            "muted",
            |judge| judge.mute(GROUP),
            never(Why::Policy),
            "right",
        ),
        (
            "topic",
            |judge| {
                judge.fails([Fault::Says(
                    400,
                    "Bad Request: message thread not found".into(),
                )]);
            },
            never(Why::Policy),
            "topic",
        ),
        (
            "too long",
            |judge| {
                judge.fails([Fault::Says(400, "Bad Request: message is too long".into())]);
            },
            never(Why::TooLong),
            "too long",
        ),
    ]
};

#[tokio::test]
async fn each_failure_means_what_telegram_means_by_it_and_tells_no_secret() {
    for (name, arrange, expected, word) in CASES {
        let log = Log::default();
        let _guard = log.follow();
        let judge = TelegramJudge::start();
        arrange(&judge);
        let timeout = if *name == "hang" { HASTY } else { PATIENT };
        let receiver = made(&settings(&judge), timeout);
        let message = message("t");
        let (outcome, detail) = failure(send(&receiver, &message).await);
        assert_eq!(outcome, *expected, "{name}: {detail}");
        assert!(detail.contains(word), "{name}: {detail}");
        let preview = receiver.preview(Delivery {
            contents: &[],
            message: &message,
        });
        let told = format!("{detail}\n{receiver:?}\n{preview}\n{}", log.text());
        assert!(!told.contains("canary"), "{name}: {told}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_told_without_the_token() {
    let judge = TelegramJudge::start();
    for url in [
        "http://127.0.0.1:1",
        "http://no-such-host.invalid",
        "https://127.0.0.1:1/path",
    ] {
        let mut settings = settings(&judge);
        settings.api_url = url.parse().unwrap();
        let (outcome, detail) = failure(send(&made(&settings, PATIENT), &message("t")).await);
        assert_eq!(
            outcome,
            (FailureReason::Connect, true, None),
            "{url}: {detail}"
        );
        assert!(!detail.contains("canary"), "{detail}");
    }
}

#[tokio::test]
async fn the_token_is_not_sent_where_a_redirect_leads() {
    let elsewhere = Upstream::always(Answer::new("200 OK").body("{}"));
    let judge = TelegramJudge::start();
    judge.fails([Fault::Redirect(format!("http://{}", elsewhere.address()))]);
    failure(send(&*receiver(&judge), &message("t")).await);
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_named() {
    let judge = TelegramJudge::start();
    let mut settings = settings(&judge);
    settings.topic = Some(99);
    let (outcome, detail) = failure(send(&made(&settings, PATIENT), &message("t")).await);
    assert_eq!(outcome, (FailureReason::Policy, false, None));
    assert!(detail.contains("`telegram.topic`"), "{detail}");
}

#[tokio::test]
async fn more_than_the_published_limits_is_refused_until_it_is_not() {
    let judge = TelegramJudge::start();
    let receiver = receiver(&judge);
    let mut refused = None;
    for _ in 0..7 {
        if let Delivered::Again { after, reason, .. } = send(&*receiver, &message("t")).await {
            refused = Some((reason, after));
        }
    }
    let (reason, after) = refused.unwrap();
    assert_eq!(reason, FailureReason::RateLimited);
    assert!(after.unwrap() >= Duration::from_secs(1));
    assert!(judge.too_often() > 0);
}
