//! What every receiver must do alike, whatever its wire.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use tollgate::notify::{Delivered, FailureReason, Rate, Tone};

use crate::bench::{Bench, MENTIONED, Wire, benches, usual};
use crate::judges::{Answer, Fault};
use crate::told::{ANSWER, DASHBOARD, Told, alert};

/// Names that mean something in one markup or another, or steer what shows them.
const HOSTILE: &[&str] = &[
    "<b>bold</b>",
    "*stars* **and** _lines_ ~waves~",
    "@all @everyone @here @channel",
    "<!channel> <!here> <@U012>",
    "<at user_id=\"all\">all</at>",
    "<at id=all></at>",
    "<@all>",
    "evil.example",
    "https://evil.example/login?a=b",
    "verify-at-tollgate-login.evil.com",
    "[text](https://evil.example/)",
    "![image](https://evil.example/x.png)",
    "`code` ```block```",
    "# heading",
    "> quote",
    "- item",
    "1. item",
    "---",
    "a\\*b\\",
    "&lt;b&gt; &amp; &#42;",
    ":OK: :smile:",
    "{{ name }} {% raw %} ${x}",
    "emoji 🎉 👩‍💻 ❤️",
    "שלום مرحبا",
    "\u{202e}exe.txt",
    "esc \u{1b}[31m nul \u{0} del \u{7f}",
    "two\nlines\ttab",
    "<font color=\"warning\">x</font>",
    "gpt_4_turbo-2024.04",
    "$x^2$ |a|b|",
];

/// What a person sees of it: controls by their pictures.
fn seen(name: &str) -> String {
    let picture = |shown: char| match shown {
        '\n' | '\t' => ' ',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(shown)).unwrap(),
        '\u{7f}' => '\u{2421}',
        '\u{202e}' => '\u{fffd}',
        other => other,
    };
    name.chars().map(picture).collect()
}

/// Whether a text is there, whatever spaces a markup wants between its marks.
fn reads(text: &str, part: &str) -> bool {
    let squeezed = |text: &str| {
        let shown = text.chars();
        let shown = shown.filter(|shown| *shown == '\n' || !shown.is_whitespace());
        shown.collect::<String>()
    };
    squeezed(text).contains(&squeezed(part))
}

/// Lets a minute pass, so that no limit is met.
async fn send(bench: &Bench, told: &Told) -> Delivered {
    bench.judge.advance(Duration::from_secs(61));
    told_once(bench, told).await
}

/// What came of it, whatever the receiver calls what was sent.
async fn told_once(bench: &Bench, told: &Told) -> Delivered {
    match bench.receiver.send(told.delivery()).await {
        Delivered::Sent { .. } => sent(),
        other => other,
    }
}

fn sent() -> Delivered {
    Delivered::Sent { reference: None }
}

#[tokio::test]
async fn a_message_is_taken_and_reads_as_it_was_told() {
    for bench in usual().await {
        let told = alert("gpt-5", Tone::Warning);
        assert_eq!(send(&bench, &told).await, sent(), "{}", bench.name);
        let shown = bench.judge.shown().pop().unwrap();
        let parts: &[&str] = match bench.name {
            "wecom card" => &[
                "ModelSpend: gpt-5",
                "Model: gpt-5",
                "Spent: $101.50 of $100",
            ],
            "alertmanager" | "webhook" => &["ModelSpend", "gpt-5", "101 USD", "critical"],
            _ => &[
                "ModelSpend: gpt-5",
                "Model: gpt-5\n",
                "Spent: $101.50 of $100",
                "Top: gpt-5",
                "• gpt-5: 75%",
                "the last line",
            ],
        };
        for part in parts {
            let part = &bench.bulleted(part);
            assert!(
                reads(&shown.text, part),
                "{}: {part} in {}",
                bench.name,
                shown.text
            );
        }
        assert!(
            shown.links.iter().any(|link| link == DASHBOARD),
            "{}: {:?}",
            bench.name,
            shown.links
        );
        if !bench.machine {
            assert!(
                shown.links.iter().any(|link| link == ANSWER),
                "{}: {:?}",
                bench.name,
                shown.links
            );
        }
        assert_eq!(shown.mentions, [""; 0], "{}", bench.name);
    }
}

#[tokio::test]
async fn who_is_to_be_told_in_person_is_told_when_it_is_critical() {
    for bench in usual().await {
        for (tone, mentioned) in [
            (Tone::Critical, true),
            (Tone::Warning, false),
            (Tone::Good, false),
            (Tone::Neutral, false),
        ] {
            assert_eq!(
                send(&bench, &alert("gpt-5", tone)).await,
                sent(),
                "{}",
                bench.name
            );
            let shown = bench.judge.shown().pop().unwrap();
            let expected: &[&str] = if mentioned && bench.mentions {
                &[MENTIONED]
            } else {
                &[]
            };
            let mentions: Vec<&str> = shown
                .mentions
                .iter()
                .map(|who| who.trim_start_matches('@'))
                .collect();
            assert_eq!(mentions, expected, "{} {tone:?}", bench.name);
        }
    }
}

#[tokio::test]
async fn what_may_be_taken_later_is_tried_again() {
    let html = "<html><body>Bad Gateway</body></html>";
    for bench in usual().await {
        let usual = [
            (Answer::new(500, html), FailureReason::ServerError, None),
            (Answer::new(502, ""), FailureReason::ServerError, None),
            (
                Answer::new(503, html).with("Retry-After", "30"),
                FailureReason::ServerError,
                Some(30),
            ),
            (
                Answer::new(429, "slow down").with("Retry-After", "9"),
                FailureReason::RateLimited,
                Some(9),
            ),
            (Answer::new(408, ""), FailureReason::Timeout, None),
        ];
        let usual = usual.iter().filter(|_| bench.wire == Wire::Http);
        for (answer, expected, seconds) in usual.chain(&bench.again) {
            bench.judge.fail([Fault::Answer(answer.clone())]);
            let delivered = send(&bench, &alert("gpt-5", Tone::Warning)).await;
            let Delivered::Again {
                after,
                reason,
                detail,
            } = &delivered
            else {
                panic!("{}: {answer:?} came to {delivered:?}", bench.name);
            };
            assert_eq!(reason, expected, "{}: {answer:?}", bench.name);
            assert_eq!(
                *after,
                seconds.map(Duration::from_secs),
                "{}: {answer:?}",
                bench.name
            );
            assert!(
                !detail.is_empty() && !detail.contains('<'),
                "{}: {detail}",
                bench.name
            );
        }
        assert_eq!(send(&bench, &alert("gpt-5", Tone::Warning)).await, sent());
    }
}

#[tokio::test]
async fn what_will_never_be_taken_is_given_up_with_words() {
    for bench in usual().await {
        let usual = [
            (Answer::new(400, "what?"), FailureReason::Refused),
            (Answer::new(401, "who?"), FailureReason::Credential),
            (Answer::new(404, "nobody here"), FailureReason::Gone),
            (Answer::new(413, "too much"), FailureReason::TooLong),
            (
                Answer::new(302, "").with("Location", "http://127.0.0.1:1/"),
                FailureReason::Refused,
            ),
        ];
        let usual = usual.iter().filter(|_| bench.wire == Wire::Http);
        for (answer, expected) in usual.chain(&bench.give_up) {
            bench.judge.fail([Fault::Answer(answer.clone())]);
            let before = bench.judge.requests().len();
            let delivered = send(&bench, &alert("gpt-5", Tone::Warning)).await;
            let Delivered::GiveUp { reason, detail } = &delivered else {
                panic!("{}: {answer:?} came to {delivered:?}", bench.name);
            };
            assert_eq!(reason, expected, "{}: {answer:?}", bench.name);
            assert!(!detail.is_empty(), "{}", bench.name);
            assert_eq!(bench.judge.requests().len(), before + 1, "{}", bench.name);
        }
    }
}

#[tokio::test]
async fn a_good_status_with_something_else_is_no_success() {
    let bodies = |bench: &Bench| !bench.machine && bench.wire != Wire::Smtp;
    for bench in usual().await.into_iter().filter(bodies) {
        for body in [
            "<html>Log in to the network</html>",
            "",
            "{}",
            "{\"ok\":true}",
            "[]",
        ] {
            bench.judge.fail([Fault::Answer(Answer::new(200, body))]);
            let delivered = send(&bench, &alert("gpt-5", Tone::Warning)).await;
            let unreadable = matches!(
                &delivered,
                Delivered::Again {
                    reason: FailureReason::Unreadable,
                    ..
                }
            );
            assert!(unreadable, "{}: {body} came to {delivered:?}", bench.name);
        }
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_or_hangs_up_is_tried_again() {
    for bench in benches(Duration::from_millis(300)).await {
        for (fault, expected) in [
            (Fault::Hang, FailureReason::Timeout),
            (Fault::Reset, FailureReason::Connect),
        ] {
            bench.judge.fail([fault]);
            let delivered = send(&bench, &alert("gpt-5", Tone::Warning)).await;
            let Delivered::Again { reason, .. } = &delivered else {
                panic!("{}: {delivered:?}", bench.name);
            };
            assert_eq!(*reason, expected, "{}", bench.name);
        }
    }
}

#[tokio::test]
async fn what_is_too_long_is_cut_and_says_so() {
    for bench in usual().await {
        for name in [
            "x".repeat(10 << 10),
            "好<*".repeat(10 << 10),
            "y".repeat(1 << 20),
        ] {
            let told = alert(&name, Tone::Critical);
            assert_eq!(send(&bench, &told).await, sent(), "{}", bench.name);
            let shown = bench.judge.shown().pop().unwrap();
            assert!(
                shown.text.contains("… (+") || shown.text.contains(" more "),
                "{}",
                bench.name
            );
            let begin: String = name.chars().take(20).collect();
            assert!(shown.text.contains(&begin), "{}", bench.name);
            assert!(
                bench.mentions || shown.mentions.is_empty(),
                "{}",
                bench.name
            );
            if !bench.machine && bench.name != "wecom card" {
                assert!(
                    shown.text.contains("Spent: $101.50 of $100"),
                    "{}: {}",
                    bench.name,
                    shown.text
                );
            }
        }
    }
}

#[tokio::test]
async fn many_lines_are_cut_from_the_end_and_counted() {
    for bench in usual().await.into_iter().filter(|bench| !bench.machine) {
        let mut told = alert("gpt-5", Tone::Critical);
        let line = told.message.body[2].clone();
        told.message.body.extend(vec![line; 20_000]);
        assert_eq!(send(&bench, &told).await, sent(), "{}", bench.name);
        let text = bench.judge.shown().pop().unwrap().text;
        assert!(text.contains(" more lines"), "{}: {text}", bench.name);
        assert!(text.contains("Model: gpt-5"), "{}", bench.name);
    }
}

#[tokio::test]
async fn a_hostile_name_reads_as_itself_and_mentions_nobody() {
    for bench in usual().await {
        for name in HOSTILE {
            // It shows a line break as one; no name in a content has any.
            if bench.wire == Wire::BotApi && name.contains('\n') {
                continue;
            }
            let told = alert(name, Tone::Warning);
            assert_eq!(
                send(&bench, &told).await,
                sent(),
                "{}: {name:?}",
                bench.name
            );
            let shown = bench.judge.shown().pop().unwrap();
            assert_eq!(shown.mentions, [""; 0], "{}: {name:?}", bench.name);
            let evil = shown.links.iter().any(|link| link.contains("evil"));
            assert!(!evil, "{}: {name:?} made {:?}", bench.name, shown.links);
            if bench.machine {
                assert!(
                    shown.text.contains(name),
                    "{}: {name:?} in {}",
                    bench.name,
                    shown.text
                );
                continue;
            }
            let seen = seen(name);
            let places: &[&str] = match bench.name {
                "wecom card" => &["ModelSpend: NAME", "Model: NAME"],
                _ => &[
                    "ModelSpend: NAME",
                    "Model: NAME",
                    "\nNAME",
                    "Top: NAME",
                    "• NAME: 75%",
                ],
            };
            for place in places {
                let place = bench.bulleted(place).replace("NAME", seen.trim());
                assert!(
                    reads(&shown.text, &place),
                    "{}: {place:?} in {}",
                    bench.name,
                    shown.text
                );
            }
        }
    }
}

/// Full-width marks are WeCom's way to escape; in a name they are not told from those.
fn any_name() -> impl Strategy<Value = String> {
    let marks = "[*_`~<>()#:!@&;|.+=$\"' \\\\\\[\\]-]";
    let marks = format!("({marks}|{marks}|[a-z0-9]|\\PC){{1,30}}");
    let name = proptest::string::string_regex(&marks).unwrap();
    name.prop_filter("full width", |name| {
        !name
            .chars()
            .any(|shown| ('\u{ff01}'..='\u{ff5e}').contains(&shown))
            && !name.trim().is_empty()
    })
}

#[test]
fn any_name_reads_as_itself() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let benches = runtime.block_on(usual());
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(200)
    });
    let property = |name: String| {
        let told = alert(&name, Tone::Warning);
        for bench in benches.iter().filter(|bench| !bench.machine) {
            let delivered = runtime.block_on(send(bench, &told));
            prop_assert_eq!(delivered, sent(), "{}", bench.name);
            let shown = bench.judge.shown().pop().unwrap();
            prop_assert!(
                shown.mentions.is_empty(),
                "{}: {:?}",
                bench.name,
                shown.mentions
            );
            let place = format!("Model: {}", name.trim());
            prop_assert!(
                reads(&shown.text, &place),
                "{}: {} in {}",
                bench.name,
                place,
                shown.text
            );
        }
        Ok(())
    };
    runner.run(&any_name(), property).unwrap();
}

#[tokio::test]
async fn at_its_pace_a_receiver_takes_everything_and_not_faster() {
    // Nobody publishes a limit of mail.
    let limited = |bench: &Bench| bench.wire != Wire::Smtp;
    for bench in usual().await.into_iter().filter(limited) {
        let pace = bench.receiver.pace();
        let told = alert("gpt-5", Tone::Warning);
        let shared = pace.shared.iter().flat_map(|limits| &limits.rates);
        let mut rates: Vec<Rate> = shared.copied().collect();
        rates.extend(pace.own);
        // The slowest first: within it, the others must be kept.
        rates.sort_by_key(|rate| std::cmp::Reverse(rate.per));
        let Some(slowest) = rates.first() else {
            assert!(bench.machine, "{} has no limits", bench.name);
            continue;
        };
        let apart = rates.last().unwrap().per / rates.last().unwrap().messages;
        for _ in 0..slowest.messages {
            assert_eq!(told_once(&bench, &told).await, sent(), "{}", bench.name);
            if rates.len() > 1 {
                bench.judge.advance(apart);
            }
        }
        let delivered = bench.receiver.send(told.delivery()).await;
        let limited = matches!(
            &delivered,
            Delivered::Again {
                reason: FailureReason::RateLimited,
                ..
            }
        );
        assert!(limited, "{}: {delivered:?}", bench.name);
    }
}

/// A log that a test can read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_in_any_text() {
    let log = Log::default();
    let written = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || written.clone())
        .init();
    for bench in benches(Duration::from_millis(300)).await {
        let told = alert("gpt-5", Tone::Critical);
        let mut texts = format!("{:?} {:?} ", bench.receiver, bench.settings);
        texts.push_str(&bench.receiver.preview(told.delivery()));
        assert!(
            texts.contains("gpt-5") || texts.contains("gpt&#45;5"),
            "{texts}"
        );
        let faults = [200, 302, 400, 403, 404, 413, 429, 500].map(Fault::Echo);
        for fault in faults.into_iter().chain([Fault::Hang, Fault::Reset]) {
            bench.judge.fail([fault.clone()]);
            let delivered = send(&bench, &told).await;
            if !bench.machine {
                assert_ne!(delivered, sent(), "{}: {fault:?}", bench.name);
            }
            texts.extend([format!("{delivered:?}")]);
        }
        let asked = format!("{:?}", bench.judge.requests());
        for canary in bench.canaries {
            assert!(
                !texts.contains(canary),
                "{}: {canary} in {texts}",
                bench.name
            );
            let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert!(!log.contains(canary), "{}: {canary} in the log", bench.name);
        }
        // What is looked for is there to be found.
        assert!(
            bench.canaries.iter().any(|canary| asked.contains(canary)),
            "{}",
            bench.name
        );
    }
    assert!(!log.0.lock().unwrap().is_empty());
}
