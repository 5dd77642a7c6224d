//! Mail, by way of a real server.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::tz::TimeZone;
use tollgate::config::{
    EmailSettings, Language, ReceiverSettings, Secret, SmtpEncryption, TargetSettings,
    TemplateSettings,
};
use tollgate::notify::content::{ChannelContent, Content};
use tollgate::notify::{
    Block, Button, ButtonTarget, Delivered, Delivery, FailureReason, Image, Message, Receiver,
    Span, Thread, Tone, receiver,
};

use crate::support::PATIENCE;
use crate::support::receivers::smtp::{Impostor, MailServer, MailSetup, PASSWORD, Shown, USER};

/// A try that is to run into its timeout.
const SHORT: Duration = Duration::from_millis(400);

fn settings(port: u16, encryption: SmtpEncryption) -> EmailSettings {
    EmailSettings {
        host: "localhost".into(),
        port,
        encryption,
        login: None,
        ca_file: None,
        from: "Tollgate <alerts@example.com>".into(),
        to: vec!["ann@example.com".into(), "Bob <bob@example.com>".into()],
    }
}

/// The settings that the server is content with.
fn content_with(server: &MailServer, encryption: SmtpEncryption) -> EmailSettings {
    let port = server.port(encryption.as_str());
    let mut settings = settings(port, encryption);
    if encryption != SmtpEncryption::None {
        settings.login = Some((USER.into(), Secret::new(PASSWORD)));
        settings.ca_file = Some(server.ca_file.clone());
    }
    settings
}

fn to(mut settings: EmailSettings, to: &[&str]) -> EmailSettings {
    settings.to = to
        .iter()
        .map(|name| format!("{name}@example.com").into())
        .collect();
    settings
}

fn named(name: &str, settings: EmailSettings, timeout: Duration) -> Arc<dyn Receiver> {
    let settings = ReceiverSettings {
        name: name.into(),
        target: TargetSettings::Email(settings),
        language: Language::En,
        timezone: TimeZone::UTC,
        send_resolved: true,
        fallback: None,
        give_up_after: ReceiverSettings::USUALLY_TRIED_FOR,
        timeout,
        templates: TemplateSettings::default(),
    };
    receiver(&settings).unwrap()
}

fn mail(settings: EmailSettings) -> Arc<dyn Receiver> {
    named("mail", settings, PATIENCE)
}

fn line(text: &str) -> Block {
    Block::Line(vec![Span::Text(text.to_owned())])
}

fn message(title: &str) -> Message {
    Message {
        tone: Tone::Critical,
        language: Language::En,
        title: title.to_owned(),
        body: vec![
            Block::Heading(vec![Span::Text("Top models".to_owned())]),
            Block::Item(vec![
                Span::Code("gpt-5.6".to_owned()),
                Span::Text(" ".to_owned()),
                Span::Bold("$3.40".to_owned()),
            ]),
            Block::Divider,
            Block::Line(vec![Span::Link {
                text: "Dashboard".to_owned(),
                url: "https://grafana.example.com/d/tollgate-cost?from=1&to=2".to_owned(),
            }]),
        ],
        buttons: Vec::new(),
        thread: None,
        image: None,
    }
}

fn notice(at: i64) -> Content {
    Content::Channel(ChannelContent {
        channel: format!("azure-{at}").into(),
        events: Vec::new(),
        more: 0,
        closed_since: None,
        without_channel: Vec::new(),
        links: Vec::new(),
    })
}

async fn send(receiver: &Arc<dyn Receiver>, message: &Message) -> Delivered {
    let contents = [notice(1)];
    let delivery = Delivery {
        contents: &contents,
        message,
    };
    let delivered = receiver.send(delivery).await;
    let shown = format!("{delivered:?}");
    for secret in [PASSWORD.to_owned(), BASE64.encode(PASSWORD)] {
        assert!(!shown.contains(&secret), "{shown}");
    }
    delivered
}

/// The reference of what was sent.
fn sent(delivered: Delivered) -> Arc<str> {
    match delivered {
        Delivered::Sent {
            reference: Some(reference),
        } => reference,
        other => panic!("{other:?}"),
    }
}

fn given_up(delivered: Delivered) -> (FailureReason, String) {
    match delivered {
        Delivered::GiveUp { reason, detail } => (reason, detail),
        other => panic!("{other:?}"),
    }
}

fn put_off(delivered: Delivered) -> (FailureReason, String) {
    match delivered {
        Delivered::Again {
            reason,
            detail,
            after: None,
        } => (reason, detail),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn mail_arrives_over_every_encryption() {
    for encryption in SmtpEncryption::ALL {
        let server = MailSetup::usual().start();
        let receiver = mail(content_with(&server, *encryption));
        let reference = sent(send(&receiver, &message("Spend: 102 USD")).await);

        let taken = server.only();
        let encrypted = *encryption != SmtpEncryption::None;
        assert_eq!(taken.envelope("tls"), encrypted, "{encryption}");
        if encrypted {
            assert_eq!(taken.envelope("user"), USER);
        }
        assert_eq!(taken.envelope("from"), "alerts@example.com");
        assert!(taken.envelope("hello").as_str().unwrap().contains('.'));
        assert_eq!(taken.to(), ["ann@example.com", "bob@example.com"]);
        assert_eq!(taken.header("from"), "Tollgate <alerts@example.com>");
        assert_eq!(taken.header("to"), "ann@example.com, Bob <bob@example.com>");
        assert_eq!(taken.header("subject"), "[critical] Spend: 102 USD");
        assert_eq!(taken.header("auto-submitted"), "auto-generated");
        assert_eq!(taken.header("x-auto-response-suppress"), "All");
        assert_eq!(taken.header("precedence"), "bulk");
        assert_eq!(taken.headers("date").len(), 1);
        let id = taken.header("message-id");
        assert!(id.ends_with("@tollgate.example.com>"), "{id}");
        assert_eq!(*reference, *id);

        assert_eq!(taken.shape(), "alternative(plain, html)");
        assert_eq!(
            taken.text(),
            "Spend: 102 USD\n\n\nTop models\n- gpt-5.6 $3.40\n----\n\
             Dashboard <https://grafana.example.com/d/tollgate-cost?from=1&to=2>\n"
        );
        for html in [
            "<h2",
            "#d32f2f",
            "content=\"light dark\"",
            "<strong>$3.40</strong>",
            "href=\"https://grafana.example.com/d/tollgate-cost?from=1&amp;to=2\"",
        ] {
            assert!(taken.html().contains(html), "{html}: {}", taken.html());
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_shown() {
    let server = MailSetup::usual().plan("password", "another").start();
    for encryption in [SmtpEncryption::Tls, SmtpEncryption::Starttls] {
        let receiver = mail(content_with(&server, encryption));
        let (reason, detail) = given_up(send(&receiver, &message("t")).await);
        assert_eq!(reason, FailureReason::Credential);
        assert!(detail.contains("535 5.7.8"), "{detail}");
        assert!(detail.contains("`password`"), "{detail}");
        let delivery = Delivery {
            contents: &[],
            message: &message("t"),
        };
        let shown = format!("{receiver:?} {}", receiver.preview(delivery));
        assert!(!shown.contains("canary"), "{shown}");
    }
    assert!(server.end().is_empty());
}

#[tokio::test]
async fn a_server_that_wants_a_login_says_so_and_so_does_one_that_has_none() {
    let server = MailSetup::usual().start();
    let mut without = content_with(&server, SmtpEncryption::Starttls);
    without.login = None;
    let (reason, detail) = given_up(send(&mail(without), &message("t")).await);
    assert_eq!(reason, FailureReason::Credential);
    assert!(detail.contains("530"), "{detail}");

    let mut with = content_with(&server, SmtpEncryption::None);
    with.login = Some((USER.into(), Secret::new(PASSWORD)));
    let (reason, detail) = given_up(send(&mail(with), &message("t")).await);
    assert_eq!(reason, FailureReason::Policy);
    assert!(detail.contains("offers no login"), "{detail}");
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_is_not_believed() {
    for (shown, words) in [
        (Shown::Good, "`ca_file`"),
        (Shown::OtherName, "another name"),
        (Shown::Expired, "expired"),
        (Shown::NotYet, "not valid yet"),
    ] {
        let server = MailSetup::usual().shows(shown).start();
        for encryption in [SmtpEncryption::Tls, SmtpEncryption::Starttls] {
            let mut settings = content_with(&server, encryption);
            if shown == Shown::Good {
                // Nobody vouches for its authority.
                settings.ca_file = None;
            }
            // It may be renewed while this waits.
            let (reason, detail) = put_off(send(&mail(settings), &message("t")).await);
            assert_eq!(reason, FailureReason::Policy, "{detail}");
            assert!(detail.contains(words), "{shown:?}: {detail}");
        }
        assert!(server.end().is_empty());
    }
}

#[tokio::test]
async fn a_port_of_another_encryption_is_named() {
    let server = MailSetup::usual().start();
    let at = |port: &str, encryption| {
        let mut settings = content_with(&server, encryption);
        settings.port = server.port(port);
        settings
    };

    let receiver = mail(at("none", SmtpEncryption::Starttls));
    let (reason, detail) = given_up(send(&receiver, &message("t")).await);
    assert_eq!(reason, FailureReason::Policy);
    assert!(
        detail.contains("no STARTTLS") && detail.contains("`encryption: tls`"),
        "{detail}"
    );

    let receiver = mail(at("starttls", SmtpEncryption::Tls));
    let (reason, detail) = put_off(send(&receiver, &message("t")).await);
    assert_eq!(reason, FailureReason::Policy);
    assert!(detail.contains("`encryption: starttls`"), "{detail}");

    let receiver = named("mail", at("tls", SmtpEncryption::Starttls), SHORT);
    let (reason, detail) = put_off(send(&receiver, &message("t")).await);
    assert_eq!(reason, FailureReason::Timeout);
    assert!(detail.contains("`encryption: tls`"), "{detail}");
    assert!(server.end().is_empty());
}

#[tokio::test]
async fn one_who_is_refused_takes_nothing_from_the_others() {
    let server = MailSetup::usual().start();
    let settings = content_with(&server, SmtpEncryption::Starttls);
    let receiver = mail(to(settings, &["refused", "ann", "full", "bob"]));
    sent(send(&receiver, &message("t")).await);
    let taken = server.only();
    assert_eq!(taken.to(), ["ann@example.com", "bob@example.com"]);
}

#[tokio::test]
async fn one_who_is_put_off_gets_it_later_and_the_others_only_once() {
    let server = MailSetup::usual().start();
    let settings = content_with(&server, SmtpEncryption::Starttls);
    let receiver = mail(to(settings, &["ann", "later1", "refused"]));
    let (reason, detail) = put_off(send(&receiver, &message("t")).await);
    assert_eq!(reason, FailureReason::ServerError);
    assert!(
        detail.contains("later1@example.com") && detail.contains("450"),
        "{detail}"
    );
    sent(send(&receiver, &message("t")).await);
    // Done with: the next time it is for all of them again.
    sent(send(&receiver, &message("t")).await);

    let taken = server.end();
    let to: Vec<_> = taken.iter().map(|taken| taken.to()).collect();
    assert_eq!(
        to,
        [
            vec!["ann@example.com"],
            vec!["later1@example.com"],
            vec!["ann@example.com", "later1@example.com"],
        ]
    );
    let ids: Vec<_> = taken
        .iter()
        .map(|taken| taken.header("message-id"))
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
}

#[tokio::test]
async fn each_refusal_has_its_reason() {
    use FailureReason::{Gone, Policy, RateLimited, ServerError, TooLong};
    let server = MailSetup::usual().start();
    let usual = content_with(&server, SmtpEncryption::Tls);
    for (name, reason, words) in [
        ("refused", Gone, "550 5.1.1 No such user here"),
        ("full", Policy, "mailbox is full"),
        ("echo", Gone, "they repeat the password"),
    ] {
        let receiver = mail(to(usual.clone(), &[name]));
        let (found, detail) = given_up(send(&receiver, &message("t")).await);
        assert_eq!(found, reason, "{detail}");
        assert!(detail.contains(words), "{detail}");
    }
    for (name, reason) in [
        ("later", ServerError),
        ("crowded", RateLimited),
        ("gone", ServerError),
    ] {
        let receiver = mail(to(usual.clone(), &["refused", name]));
        assert_eq!(
            put_off(send(&receiver, &message("t")).await).0,
            reason,
            "{name}"
        );
    }
    let mut unwanted = usual.clone();
    unwanted.from = "unwanted@example.com".into();
    let (reason, detail) = given_up(send(&mail(unwanted), &message("t")).await);
    assert_eq!(reason, Policy);
    assert!(detail.contains("`from`"), "{detail}");

    let receiver = mail(usual);
    for (word, reason) in [("Spam", Policy), ("Huge", TooLong)] {
        let message = message(&format!("X-Tollgate-Test-{word}"));
        assert_eq!(
            given_up(send(&receiver, &message).await).0,
            reason,
            "{word}"
        );
    }
    let busy = put_off(send(&receiver, &message("X-Tollgate-Test-Busy")).await);
    assert_eq!(busy.0, ServerError);
    assert!(server.end().is_empty());
}

#[tokio::test]
async fn a_server_that_falls_silent_or_hangs_up_is_tried_again() {
    for (stage, took) in [("starttls", 0), ("mail", 0), ("data", 0), ("done", 1)] {
        let server = MailSetup::usual().plan("drop", stage).start();
        let receiver = mail(content_with(&server, SmtpEncryption::Starttls));
        let (reason, detail) = put_off(send(&receiver, &message("t")).await);
        assert_eq!(reason, FailureReason::Connect, "{stage}: {detail}");
        assert_eq!(server.end().len(), took, "{stage}");

        let server = MailSetup::usual().plan("mute", stage).start();
        let settings = content_with(&server, SmtpEncryption::Starttls);
        let receiver = named("mail", settings, SHORT);
        let (reason, detail) = put_off(send(&receiver, &message("t")).await);
        assert_eq!(reason, FailureReason::Timeout, "{stage}: {detail}");
        assert_eq!(
            detail.contains("may have been taken"),
            stage == "data" || stage == "done"
        );
    }
}

#[tokio::test]
async fn what_is_no_mail_server_is_told_as_that() {
    use FailureReason::{Connect, Policy, ServerError, Timeout, Unreadable};
    let endless = vec![b'x'; 1 << 20];
    for (bytes, hangs_up, reason) in [
        (&b""[..], false, Timeout),
        (b"", true, Connect),
        (b"220 half a li", true, Connect),
        (b"220 \xd3\xca\xcf\xe4\r\n", false, Unreadable),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", true, Unreadable),
        (b"\x16\x03\x01\x02\x00\x01", true, Unreadable),
        (&endless, true, Unreadable),
        (
            b"220 hi\r\n250-hi\r\n250- \t \r\n250 \r\n",
            false,
            Unreadable,
        ),
        (b"421 too busy\r\n", true, ServerError),
        (b"554 you are on a list\r\n", true, Policy),
    ] {
        let impostor = Impostor::says(bytes, hangs_up);
        let settings = settings(impostor.port(), SmtpEncryption::None);
        let timeout = if reason == Timeout { SHORT } else { PATIENCE };
        let delivered = send(&named("mail", settings, timeout), &message("t")).await;
        let found = if reason == Policy {
            given_up(delivered).0
        } else {
            put_off(delivered).0
        };
        assert_eq!(
            found,
            reason,
            "{}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
        );
    }

    let nobody = settings(1, SmtpEncryption::None);
    assert_eq!(put_off(send(&mail(nobody), &message("t")).await).0, Connect);
    let mut nowhere = settings(25, SmtpEncryption::None);
    nowhere.host = "nowhere.invalid".into();
    assert_eq!(
        put_off(send(&mail(nowhere), &message("t")).await).0,
        Connect
    );
}

#[tokio::test]
async fn names_mean_nothing_but_themselves() {
    let hostile = "gpt\r\nBcc: eve@example.com\r\n\r\n<b>*_@all =?utf-8?q?forged?= \u{202e}😀 模型";
    let server = MailSetup::usual().start();
    let mut message = message(hostile);
    message.body = vec![
        line(hostile),
        line(".\r\n.\r\nQUIT"),
        line("."),
        line("..two"),
        Block::Line(vec![Span::Link {
            text: hostile.to_owned(),
            url: "https://example.com/\r\nx".to_owned(),
        }]),
    ];
    let receiver = mail(content_with(&server, SmtpEncryption::Starttls));
    sent(send(&receiver, &message).await);

    let taken = server.only();
    let shown = "gpt  Bcc: eve@example.com    <b>*_@all =?utf-8?q?forged?= \u{fffd}😀 模型";
    assert!(taken.headers("bcc").is_empty());
    assert_eq!(taken.to(), ["ann@example.com", "bob@example.com"]);
    assert_eq!(taken.header("subject"), format!("[critical] {shown}"));
    assert_eq!(
        taken.text(),
        format!("{shown}\n\n{shown}\n.  .  QUIT\n.\n..two\n{shown}\n")
    );
    assert!(!taken.html().contains("<b>"), "{}", taken.html());
    assert!(taken.html().contains("&lt;b&gt;*_@all"), "{}", taken.html());
    assert!(taken.raw().is_ascii());
}

#[tokio::test]
async fn a_conversation_is_one_thread_also_after_a_restart() {
    let server = MailSetup::usual().start();
    let tell = async |name: &str, title: &str, at: i64, thread: Option<Thread>, tone: Tone| {
        let mut message = message(title);
        message.thread = thread;
        message.tone = tone;
        let contents = [notice(at)];
        let delivery = Delivery {
            contents: &contents,
            message: &message,
        };
        // Each time as after a restart: nothing is kept in memory.
        let settings = content_with(&server, SmtpEncryption::Starttls);
        sent(named(name, settings, PATIENCE).send(delivery).await)
    };
    let thread = |key: &str, first: Option<&Arc<str>>, is_first| {
        Some(Thread {
            key: key.into(),
            first: first.cloned(),
            is_first,
        })
    };
    let first = tell(
        "mail",
        "Spend: 51 USD",
        1,
        thread("k", None, true),
        Tone::Warning,
    )
    .await;
    let same = tell(
        "mail",
        "Spend: 51 USD",
        1,
        thread("k", None, true),
        Tone::Warning,
    )
    .await;
    let later = thread("k", Some(&first), false);
    let second = tell("mail", "Spend: 102 USD", 2, later.clone(), Tone::Critical).await;
    tell("mail", "Spend: back to 0 USD", 3, later, Tone::Good).await;
    tell("mail", "Orphan", 4, thread("k", None, false), Tone::Good).await;
    tell("mail", "Other", 1, thread("other", None, true), Tone::Good).await;
    let elsewhere = tell(
        "twin",
        "Spend: 51 USD",
        1,
        thread("k", None, true),
        Tone::Good,
    )
    .await;

    // What is told again is the same mail; what others are told is another.
    assert_eq!(first, same);
    assert_ne!(first, second);
    assert_ne!(first, elsewhere);
    let taken = server.end();
    let [one, _, two, three, orphan, other, _] = &taken[..] else {
        panic!("{taken:?}");
    };
    let root = one.header("references");
    assert_eq!(one.header("message-id"), &*first);
    assert!(one.headers("in-reply-to").is_empty());
    for mail in [two, three] {
        assert_eq!(mail.header("in-reply-to"), &*first);
        assert_eq!(mail.header("references"), format!("{root} {first}"));
    }
    assert_eq!(orphan.header("references"), root);
    assert_ne!(other.header("references"), root);
    // Each says what is so now, not what was when it began.
    let subjects: Vec<_> = taken.iter().map(|mail| mail.header("subject")).collect();
    assert_eq!(
        subjects[2..5],
        [
            "[critical] Spend: 102 USD",
            "[resolved] Spend: back to 0 USD",
            "[resolved] Orphan"
        ]
    );
}

#[tokio::test]
async fn a_picture_is_in_the_mail_and_shown_where_it_belongs() {
    let png: Arc<[u8]> = (0..=255).cycle().take(10_000).collect();
    let server = MailSetup::usual().start();
    let mut message = message("Daily");
    message.image = Some(Image {
        png: Arc::clone(&png),
        alt: "Spend \"by\" hour".to_owned(),
    });
    let receiver = mail(content_with(&server, SmtpEncryption::Tls));
    assert!(receiver.shows_images());
    sent(send(&receiver, &message).await);

    let taken = server.only();
    assert_eq!(taken.shape(), "alternative(plain, related(html, png))");
    let part = taken.part("image/png");
    assert_eq!(part["bytes"], BASE64.encode(&png));
    assert_eq!(part["disposition"], "inline");
    let id = part["headers"]["content-id"][0].as_str().unwrap();
    let id = id.trim_matches(['<', '>']);
    assert!(taken.html().contains(&format!(
        "src=\"cid:{id}\" alt=\"Spend &quot;by&quot; hour\""
    )));
    assert!(taken.text().contains("[Spend \"by\" hour]"));
}

#[tokio::test]
async fn buttons_are_links_and_nothing_calls_back() {
    let server = MailSetup::usual().start();
    let mut message = message("t");
    let button = |label: &str, target| Button {
        label: label.to_owned(),
        target,
    };
    message.buttons = vec![vec![
        button(
            "Re-enable",
            ButtonTarget::Url("https://t.example.com/answers/a_B-1".to_owned()),
        ),
        button("Silence", ButtonTarget::Callback("signed".to_owned())),
        button("Run", ButtonTarget::Url("javascript:alert(1)".to_owned())),
    ]];
    let receiver = mail(content_with(&server, SmtpEncryption::Tls));
    sent(send(&receiver, &message).await);
    let taken = server.only();
    assert!(
        taken
            .text()
            .ends_with("\nRe-enable: https://t.example.com/answers/a_B-1\n")
    );
    let html = taken.html();
    assert!(
        html.contains("<a href=\"https://t.example.com/answers/a_B-1\""),
        "{html}"
    );
    for absent in ["signed", "Silence", "javascript"] {
        assert!(
            !html.contains(absent) && !taken.text().contains(absent),
            "{absent}"
        );
    }
}

#[tokio::test]
async fn long_texts_are_cut_and_arrive_whole() {
    let server = MailSetup::usual().start();
    let receiver = mail(content_with(&server, SmtpEncryption::Starttls));
    let long: String = ('a'..='z')
        .chain("预算é".chars())
        .cycle()
        .take(10 << 10)
        .collect();
    let mut message = message(&long);
    message.body = vec![line(&long), line("last")];
    sent(send(&receiver, &message).await);
    message.body = (0..1000).map(|_| line(&"x".repeat(1 << 10))).collect();
    sent(send(&receiver, &message).await);

    let taken = server.end();
    assert!(taken[0].text().ends_with(&format!("{long}\nlast\n")));
    assert!(taken[0].header("subject").chars().count() <= 220);
    assert!(taken[0].raw().split("\r\n").all(|line| line.len() <= 998));
    let text = taken[1].text();
    assert!(text.len() < (256 << 10) + 8192 && text.len() > 250 << 10);
    assert!(text.contains(" more "), "{}", &text[text.len() - 100..]);
}

#[tokio::test]
async fn letters_beyond_ascii_in_an_address_need_a_server_that_takes_them() {
    for takes in [false, true] {
        let server = MailSetup::usual().plan("utf8", takes).start();
        let mut settings = content_with(&server, SmtpEncryption::Starttls);
        settings.from = "\"收费站, 柏林\" <alerts@example.com>".into();
        settings.to = vec!["用户@example.com".into()];
        let delivered = send(&mail(settings), &message("t")).await;
        if takes {
            sent(delivered);
            let taken = server.only();
            assert_eq!(taken.to(), ["用户@example.com"]);
            assert_eq!(
                taken.header("from"),
                "\"收费站, 柏林\" <alerts@example.com>"
            );
        } else {
            let (reason, detail) = given_up(delivered);
            assert_eq!(reason, FailureReason::Policy);
            assert!(detail.contains("SMTPUTF8"), "{detail}");
        }
    }
}

#[tokio::test]
async fn what_a_server_lacks_is_named() {
    for (offers, lacks) in [("SMTPUTF8", "8BITMIME"), ("8BITMIME", "SMTPUTF8")] {
        let says = format!("220 hi\r\n250-hi\r\n250 {offers}\r\n");
        let impostor = Impostor::says(says.as_bytes(), false);
        let mut settings = settings(impostor.port(), SmtpEncryption::None);
        settings.to = vec!["用户@example.com".into()];
        let (reason, detail) = given_up(send(&mail(settings), &message("t")).await);
        assert_eq!(reason, FailureReason::Policy);
        assert!(detail.contains(lacks), "{detail}");
        assert!(!detail.contains(offers), "{detail}");
    }
}

#[tokio::test]
async fn a_preview_is_what_people_would_read() {
    let receiver = mail(settings(25, SmtpEncryption::None));
    let delivery = Delivery {
        contents: &[],
        message: &message("预算 102 USD"),
    };
    let preview = receiver.preview(delivery);
    for line in [
        "Subject: [critical] 预算 102 USD",
        "To: ann@example.com, Bob <bob@example.com>",
        "- gpt-5.6 $3.40",
    ] {
        assert!(preview.lines().any(|shown| shown == line), "{preview}");
    }
    assert!(
        !preview.contains("=?") && !preview.contains("<html"),
        "{preview}"
    );
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let folder = tempfile::TempDir::new().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let broken = folder.path().join("broken.pem");
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&broken, text).unwrap();
    let usual = || settings(25, SmtpEncryption::Tls);
    let with = |change: &dyn Fn(&mut EmailSettings)| {
        let mut settings = usual();
        change(&mut settings);
        settings
    };
    for (settings, words) in [
        (
            with(&|s| s.from = "nobody".into()),
            "`nobody` is no mail address",
        ),
        (
            with(&|s| s.to = vec!["a@b\r\nBcc: c@d".into()]),
            "is no mail address",
        ),
        (
            with(&|s| s.to = vec!["\"a\r\nBcc: x\" <c@d>".into()]),
            "is no mail address",
        ),
        (with(&|s| s.to = Vec::new()), "nobody"),
        (with(&|s| s.ca_file = Some(empty.clone())), "no certificate"),
        (
            with(&|s| s.ca_file = Some(broken.clone())),
            "cannot be used",
        ),
        (
            with(&|s| s.ca_file = Some("/nowhere.pem".into())),
            "/nowhere.pem",
        ),
    ] {
        let settings = ReceiverSettings {
            name: "mail".into(),
            target: TargetSettings::Email(settings),
            language: Language::En,
            timezone: TimeZone::UTC,
            send_resolved: true,
            fallback: None,
            give_up_after: ReceiverSettings::USUALLY_TRIED_FOR,
            timeout: PATIENCE,
            templates: TemplateSettings::default(),
        };
        let error = receiver(&settings).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
