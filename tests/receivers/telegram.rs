//! Telegram: what arrives in the chat, and how it looks.

mod failures;
mod hearing;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollgate::config::{
    ChatName, Language, ReceiverKind, Secret, TelegramAnswers, TelegramSettings,
};
use tollgate::notify::telegram::{Bot, TelegramReceiver};
use tollgate::notify::{
    Answering, Block, Button, ButtonTarget, Delivered, Delivery, Image, Message, Pace, Rate,
    Receiver, Span, Thread, Tone,
};

use crate::support::Gate;
use crate::support::receivers::telegram::{
    ANN, Fault, GROUP, PRIVATE, TOKEN, TOPIC, Target, TelegramJudge,
};

/// Long enough for whatever is answered at all.
const PATIENT: Duration = Duration::from_secs(30);

/// A receiver of the judge's group, as every table of receivers asks for it.
pub(crate) fn receiver(judge: &TelegramJudge) -> Arc<dyn Receiver> {
    Arc::new(made(&settings(judge), PATIENT))
}

fn settings(judge: &TelegramJudge) -> TelegramSettings {
    TelegramSettings {
        token: Secret::new(TOKEN),
        chat: ChatName::Id(GROUP),
        topic: None,
        silent: false,
        answers: Some(TelegramAnswers {
            users: vec![ANN.id],
            chats: Vec::new(),
            expire_after: Duration::from_secs(86_400),
        }),
        api_url: judge.api_url().parse().unwrap(),
    }
}

fn made(settings: &TelegramSettings, timeout: Duration) -> TelegramReceiver {
    let bot = Bot::new(settings, timeout).unwrap();
    TelegramReceiver::new(Arc::new(bot), settings, timeout)
}

fn bot(judge: &TelegramJudge) -> Bot {
    Bot::new(&settings(judge), PATIENT).unwrap()
}

fn message(title: &str) -> Message {
    Message {
        tone: Tone::Critical,
        language: Language::En,
        title: title.to_owned(),
        body: vec![Block::Line(vec![
            Span::Text("p95 of ".into()),
            Span::Code("gpt-5".into()),
            Span::Text(" & more".into()),
        ])],
        buttons: Vec::new(),
        thread: None,
        image: None,
    }
}

fn button(label: &str, target: ButtonTarget) -> Button {
    Button {
        label: label.to_owned(),
        target,
    }
}

fn png() -> Image {
    Image {
        png: Arc::from(&b"\x89PNG\r\n\x1a\n and the rest\r\n--"[..]),
        alt: "spending by hour".to_owned(),
    }
}

fn thread(first: Option<&str>) -> Thread {
    Thread {
        key: "group".into(),
        first: first.map(Arc::from),
        is_first: first.is_none(),
    }
}

async fn send(receiver: &dyn Receiver, message: &Message) -> Delivered {
    let delivery = Delivery {
        contents: &[],
        message,
    };
    receiver.send(delivery).await
}

async fn sent(receiver: &dyn Receiver, message: &Message) -> Arc<str> {
    match send(receiver, message).await {
        Delivered::Sent {
            reference: Some(reference),
        } => reference,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_arrives_as_it_is_meant() {
    let judge = TelegramJudge::start();
    let mut settings = settings(&judge);
    settings.topic = Some(TOPIC);
    settings.silent = true;
    let receiver = made(&settings, PATIENT);
    let mut message = message("Latency of <azure>");
    message.buttons = vec![
        vec![
            button("Silence 1 h", ButtonTarget::Callback("s".repeat(64))),
            button("Too long", ButtonTarget::Callback("s".repeat(65))),
        ],
        vec![button(
            "Grafana",
            ButtonTarget::Url("https://g.example/d/x".into()),
        )],
    ];
    let reference = sent(&receiver, &message).await;

    let sent = judge.only();
    assert_eq!(reference.parse(), Ok(sent.id));
    assert_eq!(sent.text, "🔴 Latency of <azure>\np95 of gpt-5 & more");
    assert_eq!(sent.parsed.marked("b"), ["Latency of <azure>"]);
    assert_eq!(sent.parsed.marked("code"), ["gpt-5"]);
    assert_eq!((sent.chat, sent.topic), (GROUP, Some(TOPIC)));
    assert!(sent.silent && !sent.previews);
    assert_eq!(
        sent.keyboard,
        [
            vec![("Silence 1 h".to_owned(), Target::Callback("s".repeat(64)))],
            vec![(
                "Grafana".to_owned(),
                Target::Url("https://g.example/d/x".to_owned())
            )],
        ]
    );
    assert_eq!(receiver.kind(), ReceiverKind::Telegram);
    assert_eq!(receiver.answering(), Answering::Buttons);
}

#[tokio::test]
async fn buttons_that_nobody_would_hear_are_not_shown() {
    let judge = TelegramJudge::start();
    let mut settings = settings(&judge);
    settings.answers = None;
    let receiver = made(&settings, PATIENT);
    let mut message = message("t");
    message.buttons = vec![vec![
        button("Silence", ButtonTarget::Callback("x".into())),
        button(
            "Open",
            ButtonTarget::Url("https://t.example/answers/x".into()),
        ),
    ]];
    sent(&receiver, &message).await;
    let labels: Vec<_> = judge.only().keyboard.concat();
    assert_eq!(labels.len(), 1);
    assert_eq!(labels[0].0, "Open");
    assert_eq!(receiver.answering(), Answering::Never);
}

#[tokio::test]
async fn a_conversation_hangs_on_its_first_message_even_where_that_is_gone() {
    let judge = TelegramJudge::start();
    let receiver = receiver(&judge);
    let mut message = message("t");
    message.thread = Some(thread(None));
    let first = sent(&*receiver, &message).await;
    message.thread = Some(thread(Some(&first)));
    sent(&*receiver, &message).await;
    judge.delete(GROUP, first.parse().unwrap());
    sent(&*receiver, &message).await;
    let replies: Vec<_> = judge.sent().iter().map(|sent| sent.reply_to).collect();
    assert_eq!(replies, [None, first.parse().ok(), None]);
}

#[tokio::test]
async fn what_is_too_long_is_cut_and_says_so() {
    let judge = TelegramJudge::start();
    let mut message = message("t");
    message.body = vec![Block::Line(vec![Span::Code("<&🦀>".repeat(20))]); 200];
    sent(&*receiver(&judge), &message).await;
    let text = judge.only().text;
    assert!(
        text.starts_with("🔴 t\n<&🦀>") && text.ends_with(" more lines"),
        "{text}"
    );
}

#[tokio::test]
async fn a_short_text_stands_below_its_picture() {
    let judge = TelegramJudge::start();
    let mut message = message("Yesterday");
    message.image = Some(png());
    message.buttons = vec![vec![button("b", ButtonTarget::Callback("x".into()))]];
    let reference = sent(&*receiver(&judge), &message).await;
    let sent = judge.only();
    assert_eq!(reference.parse(), Ok(sent.id));
    assert_eq!(sent.photo.as_deref(), Some(&*png().png));
    assert_eq!(sent.text, "🔴 Yesterday\np95 of gpt-5 & more");
    assert_eq!(sent.keyboard.concat().len(), 1);
    assert!(receiver(&judge).shows_images());
}

#[tokio::test]
async fn a_long_text_is_followed_by_its_picture() {
    let judge = TelegramJudge::start();
    let receiver = receiver(&judge);
    let mut message = message("Yesterday");
    message.body = vec![Block::Line(vec![Span::Text("x".repeat(100))]); 20];
    message.image = Some(png());
    let reference = sent(&*receiver, &message).await;
    let [text, picture] = &judge.sent()[..] else {
        panic!("{:?}", judge.sent());
    };
    assert_eq!(reference.parse(), Ok(text.id));
    assert!(text.photo.is_none() && text.text.len() > 2000);
    assert_eq!(picture.text, "🔴 Yesterday");
    assert_eq!((picture.reply_to, picture.silent), (Some(text.id), true));

    // A picture that fails makes nobody read the text again.
    judge.fails([Fault::Wait(open()), Fault::Server(502)]);
    sent(&*receiver, &message).await;
    assert_eq!(judge.sent().len(), 3);
}

fn open() -> Gate {
    let gate = Gate::default();
    gate.open();
    gate
}

#[tokio::test]
async fn a_picture_that_is_not_taken_is_left_out() {
    let judge = TelegramJudge::start();
    let receiver = receiver(&judge);
    let mut message = message("t");
    message.image = Some(Image {
        png: Arc::from(&b"GIF89a"[..]),
        ..png()
    });
    sent(&*receiver, &message).await;
    message.image = Some(png());
    judge.forbid_photos(GROUP);
    sent(&*receiver, &message).await;
    let sent = judge.sent();
    assert_eq!(sent.len(), 2);
    assert!(
        sent.iter()
            .all(|sent| sent.photo.is_none() && sent.text.starts_with("🔴 t"))
    );
}

#[tokio::test]
async fn a_group_that_moved_is_followed_at_once_and_from_then_on() {
    const MOVED: i64 = -1_000_000_000_999;
    let judge = TelegramJudge::start();
    let log = Log::default();
    let _guard = log.follow();
    let receiver = receiver(&judge);
    let mut message = message("t");
    let first = sent(&*receiver, &message).await;
    message.thread = Some(thread(Some(&first)));
    judge.migrate(GROUP, MOVED);
    sent(&*receiver, &message).await;
    sent(&*receiver, &message).await;

    let chats: Vec<_> = judge
        .sent()
        .iter()
        .map(|sent| (sent.chat, sent.reply_to))
        .collect();
    assert_eq!(chats[..2], [(GROUP, None), (MOVED, None)]);
    assert_eq!(chats[2].0, MOVED);
    // The old number is asked once, and said to be old once.
    assert_eq!(judge.methods().len(), 4);
    let text = log.text();
    assert_eq!(text.matches("telegram.chat").count(), 1, "{text}");
    assert!(text.contains(&MOVED.to_string()), "{text}");
}

#[tokio::test]
async fn a_channel_is_told_by_its_name() {
    let judge = TelegramJudge::start();
    judge.name_chat("@operations", GROUP);
    let mut settings = settings(&judge);
    settings.chat = ChatName::Name("@operations".into());
    sent(&made(&settings, PATIENT), &message("t")).await;
    assert_eq!(judge.only().chat, GROUP);
}

#[tokio::test]
async fn markup_that_telegram_cannot_read_is_left_out_in_the_same_try() {
    let judge = TelegramJudge::start();
    let words = "Bad Request: can't parse entities: Unsupported start tag \"b\" at byte offset 5";
    judge.fails([Fault::Says(400, words.to_owned())]);
    let mut message = message("a < b");
    message.buttons = vec![vec![button("b", ButtonTarget::Callback("x".into()))]];
    sent(&*receiver(&judge), &message).await;
    let sent = judge.only();
    assert_eq!(sent.text, "🔴 a < b\np95 of gpt-5 & more");
    assert!(sent.parsed.entities.is_empty());
    assert_eq!(sent.keyboard.concat().len(), 1);
}

#[tokio::test]
async fn an_address_that_no_button_may_have_is_written_out() {
    let judge = TelegramJudge::start();
    let mut message = message("t");
    message.buttons = vec![vec![
        button("Silence", ButtonTarget::Callback("x".into())),
        button("Grafana", ButtonTarget::Url("http://media:3000/d/x".into())),
    ]];
    sent(&*receiver(&judge), &message).await;
    let sent = judge.only();
    assert!(
        sent.text.ends_with("\n\nGrafana: http://media:3000/d/x"),
        "{}",
        sent.text
    );
    assert_eq!(sent.keyboard.concat().len(), 1);
}

#[tokio::test]
async fn the_pace_is_the_published_one() {
    let judge = TelegramJudge::start();
    let mut settings = settings(&judge);
    let second = |messages| Rate {
        messages,
        per: Duration::from_secs(1),
    };
    let minute = Rate {
        messages: 20,
        per: Duration::from_secs(60),
    };
    let rates = |pace: &Pace| -> Vec<Vec<Rate>> {
        let shared = pace.shared.iter();
        shared.map(|limits| limits.rates.clone()).collect()
    };
    let group = made(&settings, PATIENT).pace();
    assert_eq!(group.own, []);
    assert_eq!(rates(&group), [vec![second(30)], vec![second(1), minute]]);
    // Another topic is the same chat.
    settings.topic = Some(8);
    assert_eq!(made(&settings, PATIENT).pace(), group);
    settings.chat = ChatName::Name("@channel".into());
    let channel = made(&settings, PATIENT).pace();
    assert_eq!(rates(&channel), rates(&group));
    assert_eq!(channel.shared[0], group.shared[0]);
    assert_ne!(channel.shared[1], group.shared[1]);
    settings.chat = ChatName::Id(PRIVATE);
    let private = made(&settings, PATIENT).pace();
    assert_eq!(rates(&private), [vec![second(30)], vec![second(1)]]);
    assert_eq!(private.shared[0], group.shared[0]);
    assert!(bot(&judge).is_of(&settings));
    settings.token = Secret::new("4242:another");
    let another = made(&settings, PATIENT).pace();
    assert!((0..2).all(|index| another.shared[index].by != private.shared[index].by));
    assert!(!bot(&judge).is_of(&settings));
}

#[tokio::test]
async fn what_is_no_token_makes_no_bot() {
    let judge = TelegramJudge::start();
    for token in [
        "",
        "canary",
        "1:",
        ":canary",
        "1:canary/../x",
        "1:can ary",
        "x1:canary",
    ] {
        let settings = TelegramSettings {
            token: Secret::new(token),
            ..settings(&judge)
        };
        let error = Bot::new(&settings, PATIENT).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(
            told.contains("telegram.token") && !told.contains("canary"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_preview_shows_what_people_would_read() {
    let judge = TelegramJudge::start();
    let mut message = message("a < b");
    message.buttons = vec![vec![button("Silence", ButtonTarget::Callback("x".into()))]];
    message.image = Some(png());
    let preview = receiver(&judge).preview(Delivery {
        contents: &[],
        message: &message,
    });
    assert_eq!(
        preview,
        format!(
            "Telegram, chat {GROUP}\n[spending by hour]\n\n🔴 a < b\np95 of gpt-5 & more\n[Silence]"
        )
    );
}

/// Everything that is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn follow(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
