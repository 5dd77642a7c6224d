//! Whatever is said arrives as it is, fits, and means nothing but itself.

use proptest::prelude::*;

use super::html::{Parsed, length, parse};
use super::*;
use crate::notify::Tone;

fn message(title: &str, body: Vec<Block>) -> Message {
    Message {
        tone: Tone::Critical,
        language: Language::En,
        title: title.to_owned(),
        body,
        buttons: Vec::new(),
        thread: None,
        image: None,
    }
}

fn line(text: impl Into<String>) -> Block {
    Block::Line(vec![Span::Text(text.into())])
}

fn html(message: &Message, limit: usize) -> Parsed {
    let html = Text::of(message).html(limit);
    parse(&html).unwrap_or_else(|error| panic!("{error}: {html}"))
}

/// As it is read: without what nobody sees.
fn seen(text: &str) -> String {
    text.replace(WORD_JOINER, "")
}

#[test]
fn each_block_and_span_looks_as_it_means() {
    let message = message(
        "Latency of azure",
        vec![
            Block::Line(vec![
                Span::Text("p95 is ".into()),
                Span::Code("4.2 s".into()),
                Span::Text(", ".into()),
                Span::Bold("too much".into()),
            ]),
            Block::Heading(vec![
                Span::Text("Where".into()),
                Span::Link {
                    text: "here".into(),
                    url: "https://g.example/d?a=\"1\"&b=<2>".into(),
                },
            ]),
            Block::Item(vec![Span::Text("gpt-5".into())]),
            Block::Divider,
            line("the end"),
        ],
    );
    assert_eq!(
        Text::of(&message).html(4096),
        "🔴 <b>Latency of azure</b>\np95 is <code>4.2 s</code>, <b>too much</b>\n\n\
         <b>Where</b><a href=\"https://g.example/d?a=&quot;1&quot;&amp;b=&lt;2&gt;\">here</a>\n\
         • gpt-5\n\nthe end"
    );
    assert_eq!(
        Text::of(&message).plain(4096),
        "🔴 Latency of azure\np95 is 4.2 s, too much\n\n\
         Wherehere (https://g.example/d?a=\"1\"&b=<2>)\n• gpt-5\n\nthe end"
    );
}

#[test]
fn hostile_names_show_as_themselves_and_mention_nobody() {
    let names = [
        "<b>",
        "</code>",
        "&lt;",
        "*_`[x](y)",
        "@all",
        "@durov",
        "<!channel>",
        "/disable",
        "<at user_id=\"all\">",
        "x\"><a href=\"tg://user?id=1\">",
        "a @ann /stop\u{0}\u{7}",
        "evil.example",
        "https://evil.example/login",
        "tg://resolve?domain=evil",
        "x@evil.example 192.0.2.7",
    ];
    for name in names {
        let text = Span::Text(name.into());
        let message = message(
            name,
            vec![
                Block::Line(vec![text, Span::Code(name.into())]),
                Block::Line(vec![Span::Text("@".into()), Span::Bold(name.into())]),
                Block::Item(vec![Span::Link {
                    text: name.into(),
                    url: "https://g.example".into(),
                }]),
                Block::Line(vec![Span::Link {
                    text: name.into(),
                    url: "javascript:alert(1)".into(),
                }]),
            ],
        );
        let shown = visible(name);
        for parsed in [
            html(&message, 4096),
            Parsed {
                text: Text::of(&message).plain(4096),
                entities: Vec::new(),
            },
        ] {
            assert_eq!(parsed.mentions(), Vec::<&str>::new(), "{parsed:?}");
            let mut linked = parsed.bare_links();
            // Without markup, an address that is meant is written out.
            linked.retain(|address| *address != "https://g.example");
            assert_eq!(linked, Vec::<String>::new(), "{parsed:?}");
            let lines = seen(&parsed.text);
            let address = if parsed.entities.is_empty() {
                " (https://g.example)"
            } else {
                ""
            };
            assert_eq!(
                lines,
                format!("🔴 {shown}\n{shown}{shown}\n@{shown}\n• {shown}{address}\n{shown}")
            );
        }
        let links: Vec<_> = html(&message, 4096).entities;
        let urls = links.iter().filter_map(|entity| entity.url.as_deref());
        assert_eq!(urls.collect::<Vec<_>>(), ["https://g.example"]);
    }
}

#[test]
fn addresses_stay_what_they_are_in_plain_text() {
    let url = "https://g.example/-/d/@x?a=/b";
    let message = message(
        "t",
        vec![Block::Line(vec![Span::Link {
            text: "here".into(),
            url: url.into(),
        }])],
    );
    let plain = Text::of(&message).plain(4096);
    assert_eq!(plain, format!("🔴 t\nhere ({url})"));
}

#[test]
fn what_is_left_out_is_counted_in_the_readers_language() {
    let lines = |count: usize| (0..count).map(|_| line("x".repeat(99))).collect::<Vec<_>>();
    let whole = html(&message("t", lines(40)), 4096);
    assert_eq!(whole.text.lines().count(), 41);
    assert!(!whole.text.contains('…'));

    let mut long = message("t", lines(50));
    let text = html(&long, 4096).text;
    let (kept, note) = text.rsplit_once('\n').unwrap();
    assert_eq!(note, format!("… {} more lines", 51 - kept.lines().count()));
    assert!(length(&text) > 4096 - 100, "{}", length(&text));

    long.language = Language::Zh;
    let text = html(&long, 4096).text;
    assert!(
        text.ends_with(&format!("… 还有 {} 行", 51 - kept.lines().count())),
        "{text}"
    );
}

#[test]
fn one_line_that_is_too_long_leaves_room_for_the_others() {
    let huge = "é🦀".repeat(5_000);
    let text = html(
        &message(&huge, vec![line("first"), line(&huge), line("last")]),
        4096,
    )
    .text;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].ends_with('…') && lines[2].ends_with('…'), "{text}");
    assert_eq!((lines[1], lines[3]), ("first", "last"));
}

#[test]
fn the_length_is_what_telegram_counts() {
    let message = message("🦀 & <b>", vec![line("@ann")]);
    let parsed = html(&message, 4096);
    assert_eq!(Text::of(&message).length(), length(&parsed.text));
    // A circle and a crab are two each, and nobody sees what is behind the `@`.
    assert_eq!(length(&parsed.text), 2 + 1 + 2 + 6 + 1 + 5);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "\\PC{0,30}",
        "[<>&\"@/\n🦀é中a]{0,60}",
        ("[<&🦀中x]", 1_usize..2000).prop_map(|(piece, times)| piece.repeat(times)),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        text().prop_map(Span::Text),
        text().prop_map(Span::Bold),
        text().prop_map(Span::Code),
        (text(), "https://[a-z<>&\"]{1,9}").prop_map(|(text, url)| Span::Link { text, url }),
    ]
}

fn block() -> impl Strategy<Value = Block> {
    let spans = || prop::collection::vec(span(), 0..4);
    prop_oneof![
        1 => spans().prop_map(Block::Heading),
        3 => spans().prop_map(Block::Line),
        3 => spans().prop_map(Block::Item),
        1 => Just(Block::Divider),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_message_fits_and_can_be_read(
        title in text(),
        body in prop::collection::vec(block(), 0..40),
        limit in prop_oneof![Just(1024_usize), Just(4096)],
    ) {
        let message = message(&title, body);
        let whole = Text::of(&message);
        let parsed = parse(&whole.html(limit)).map_err(TestCaseError::fail)?;
        prop_assert!(length(&parsed.text) <= limit, "{}", length(&parsed.text));
        prop_assert!(length(&whole.plain(limit)) <= limit);
        prop_assert_eq!(parsed.mentions(), Vec::<&str>::new());

        // The first line is there, whole or as far as there is room for it.
        let title = title.split('\n').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        let shown = seen(parsed.text.lines().next().unwrap_or_default());
        let expected = format!("🔴 {title}");
        match shown.strip_suffix('…') {
            Some(begin) if shown != expected => prop_assert!(
                expected.starts_with(begin) && length(&shown) > limit / 8,
                "{shown}"
            ),
            _ => prop_assert_eq!(&shown, &expected),
        }
        // What fits is whole.
        if whole.length() <= limit {
            prop_assert_eq!(length(&parsed.text), whole.length());
        }
    }
}
