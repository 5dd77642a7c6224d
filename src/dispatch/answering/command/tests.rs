//! What people write, and what it asks for.

use super::*;
use crate::config::Language;

fn parsed(text: &str) -> Result<Command, BadCommand> {
    Command::parse(text, Some("TollgateBot")).unwrap()
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let Ok(Command::Silence { matchers, .. }) = parsed(text) else {
        panic!("{text}: {:?}", parsed(text));
    };
    let pair = |matcher: &SilenceMatcher| (matcher.name().into(), matcher.value().into());
    matchers.iter().map(pair).collect()
}

#[test]
fn what_is_no_command_or_another_bots_is_left_alone() {
    for text in [
        "",
        "hello",
        "status",
        "/",
        "/ status",
        "/status@OtherBot",
        "see /status",
    ] {
        assert_eq!(Command::parse(text, Some("TollgateBot")), None, "{text}");
    }
    for text in [
        "/status",
        " /STATUS ",
        "/status@tollgatebot",
        "/status@TollgateBot x",
    ] {
        assert_eq!(parsed(text), Ok(Command::Status), "{text}");
    }
    // It does not know its own name yet.
    assert_eq!(Command::parse("/status@TollgateBot", None), None);
}

#[test]
fn questions() {
    let spend = |over, by| Ok(Command::Spend { over, by });
    for (text, command) in [
        ("/spend", spend(SpendOver::Today, None)),
        ("/spend 7d", spend(SpendOver::Week, None)),
        (
            "/spend Month by key",
            spend(SpendOver::Month, Some(SpendBy::Key)),
        ),
        (
            "/spend by model 7d",
            spend(SpendOver::Week, Some(SpendBy::Model)),
        ),
        (
            "/spend yesterday",
            Err(BadCommand::SpendWord("yesterday".into())),
        ),
        ("/spend by", Err(BadCommand::SpendWord("by".into()))),
        ("/spend by day", Err(BadCommand::SpendWord("day".into()))),
        ("/channels", Ok(Command::Channels)),
        ("/slow", Ok(Command::Slow { most: 5 })),
        ("/slow 20", Ok(Command::Slow { most: 20 })),
        ("/slow 21", Err(BadCommand::SlowWord("21".into()))),
        ("/slow 0", Err(BadCommand::SlowWord("0".into()))),
        ("/slow -1", Err(BadCommand::SlowWord("-1".into()))),
        ("/help", Ok(Command::Help)),
        ("/start", Ok(Command::Help)),
        ("/stats", Err(BadCommand::Unknown("stats".into()))),
    ] {
        assert_eq!(parsed(text), command, "{text}");
    }
}

#[test]
fn closing_and_opening() {
    let disable = |channel: &str, seconds: Option<u64>, reason: Option<&str>| {
        Ok(Command::Disable {
            channel: channel.into(),
            span: seconds.map(Duration::from_secs),
            reason: reason.map(Into::into),
        })
    };
    for (text, command) in [
        ("/disable azure-1", disable("azure-1", None, None)),
        ("/disable a too dear", disable("a", None, Some("too dear"))),
        ("/disable a for 1h", disable("a", Some(3600), None)),
        ("/disable a for 1h 30m", disable("a", Some(5400), None)),
        ("/disable a for 1 h", disable("a", Some(3600), None)),
        (
            "/disable a FOR 2h too  dear",
            disable("a", Some(7200), Some("too  dear")),
        ),
        (
            "/disable a\nfor 1h\nreason",
            disable("a", Some(3600), Some("reason")),
        ),
        ("/disable a for now", Err(BadCommand::Span("now".into()))),
        ("/disable a for 0s", Err(BadCommand::Span("0s".into()))),
        ("/disable a for 90", Err(BadCommand::Span("90".into()))),
        ("/disable a for", Err(BadCommand::Span(String::new()))),
        ("/disable", Err(BadCommand::NoChannel("disable"))),
        ("/enable", Err(BadCommand::NoChannel("enable"))),
        ("/enable a b", Err(BadCommand::EnableMore("b".into()))),
        (
            "/enable a",
            Ok(Command::Enable {
                channel: "a".into(),
            }),
        ),
    ] {
        assert_eq!(parsed(text), command, "{text}");
    }
    let long = format!("/disable a {}", "x".repeat(LONGEST_REASON + 1));
    assert_eq!(parsed(&long), Err(BadCommand::TooLong));
}

#[test]
fn silences() {
    let rule = |rule: &str| ("rule".to_owned(), rule.to_owned());
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (text, matchers) in [
        ("/silence Spend for 2h", vec![rule("Spend")]),
        ("/silence Daily Spend for 2h", vec![rule("Daily Spend")]),
        ("/silence channel=a* for 2h", vec![label("channel", "a*")]),
        (
            "/silence rule=Spend, channel=a for 2h",
            vec![rule("Spend"), label("channel", "a")],
        ),
        (
            r#"/silence model="a for b" key=k for 2h"#,
            vec![label("model", "a for b"), label("key", "k")],
        ),
        (
            r#"/silence Spend{channel="a",key="b\"}{c"} for 2h"#,
            vec![rule("Spend"), label("channel", "a"), label("key", "b\"}{c")],
        ),
        (
            r#"/silence {channel="a"} for 2h"#,
            vec![label("channel", "a")],
        ),
    ] {
        assert_eq!(pairs(text), matchers, "{text}");
    }
    let Ok(Command::Silence { span, comment, .. }) =
        parsed("/silence Spend for 1h 30m known; for today")
    else {
        panic!("no silence");
    };
    assert_eq!(span, Duration::from_secs(5400));
    assert_eq!(comment, "known; for today");
    for (text, bad) in [
        ("/silence", BadCommand::SilenceNothing),
        ("/silence for 2h", BadCommand::SilenceNothing),
        ("/silence Spend", BadCommand::SilenceForever),
        ("/silence Spend for ever", BadCommand::Span("ever".into())),
        (
            "/silence channel= for 2h",
            BadCommand::Matcher("channel=".into()),
        ),
        ("/silence a=b c for 2h", BadCommand::Matcher("c".into())),
        (r#"/silence a="b for 2h"#, BadCommand::SilenceForever),
        (
            r#"/silence Spend{a="b" for 2h"#,
            BadCommand::Matcher(r#"Spend{a="b""#.into()),
        ),
    ] {
        assert_eq!(parsed(text), Err(bad), "{text}");
    }
}

#[test]
fn every_remedy_says_what_to_write() {
    for bad in [
        BadCommand::Unknown("stats".into()),
        BadCommand::Unknown("xyzzy".into()),
        BadCommand::SpendWord("x".into()),
        BadCommand::SlowWord("x".into()),
        BadCommand::NoChannel("disable"),
        BadCommand::NoChannel("enable"),
        BadCommand::SilenceNothing,
        BadCommand::SilenceForever,
        BadCommand::Matcher("x".into()),
    ] {
        for language in [Language::En, Language::Zh] {
            assert!(bad.remedy(language).contains('/'), "{bad:?}");
        }
    }
    let near = BadCommand::Unknown("stats".into()).remedy(Language::En);
    assert!(near.contains("/status"), "{near}");
}
