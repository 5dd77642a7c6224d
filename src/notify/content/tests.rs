//! What people read, reviewed as text; and that no value can make it anything else.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::alert::{AlertId, Labels, NotificationKind};
use crate::config::{Language, TemplateSettings};
use crate::notify::{Block, Button, ButtonTarget, Message, Span, Tone};
use crate::record::Owner;

fn spans(spans: &[Span]) -> String {
    let mut text = String::new();
    for span in spans {
        let _ = match span {
            Span::Text(plain) => write!(text, "{plain}"),
            Span::Bold(bold) => write!(text, "**{bold}**"),
            Span::Code(code) => write!(text, "`{code}`"),
            Span::Link { text: read, url } => write!(text, "[{read}]({url})"),
        };
    }
    text
}

fn plain(message: &Message) -> String {
    let mut text = format!("{:?} | {}\n", message.tone, message.title);
    for block in &message.body {
        let line = match block {
            Block::Heading(line) => format!("# {}", spans(line)),
            Block::Line(line) => spans(line),
            Block::Item(line) => format!("- {}", spans(line)),
            Block::Divider => "---".to_owned(),
        };
        text += &line;
        text.push('\n');
    }
    text
}

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

fn rendered(content: &Content, language: Language, templates: &Templates) -> Message {
    let rendering = Rendering {
        language,
        timezone: &berlin(),
        templates,
        now: sample::NOW,
    };
    render(content, &rendering)
}

#[test]
fn people_read_this() {
    let templates = Templates::load(&TemplateSettings::default()).unwrap();
    for kind in NotificationKind::ALL {
        for language in Language::ALL {
            let contents = sample::contents(*kind, sample::NOW);
            let texts = contents
                .iter()
                .map(|content| plain(&rendered(content, *language, &templates)));
            let text = texts.collect::<Vec<_>>().join("\n==========\n\n");
            insta::assert_snapshot!(format!("{kind}.{language}"), text);
        }
    }
}

#[test]
fn a_content_is_read_as_it_was_kept() {
    for kind in NotificationKind::ALL {
        for content in sample::contents(*kind, sample::NOW) {
            let kept = serde_json::to_string(&content).unwrap();
            assert_eq!(serde_json::from_str::<Content>(&kept).unwrap(), content);
            assert_eq!(content.kind(), *kind);
        }
    }
}

#[test]
fn the_essential_is_in_the_title_and_titles_are_short() {
    let templates = Templates::default();
    for kind in NotificationKind::ALL {
        for content in sample::contents(*kind, sample::NOW) {
            for language in Language::ALL {
                let message = rendered(&content, *language, &templates);
                assert!(!message.title.is_empty());
                assert!(message.title.chars().count() <= 100, "{}", message.title);
            }
        }
    }
}

#[test]
fn long_names_give_way_to_the_value() {
    let Content::Alerts(mut alerts) = first_alert() else {
        panic!("no alerts");
    };
    alerts.alerts[0].event.alert = AlertId {
        rule: "rule-".repeat(30).into(),
        labels: Labels::new(["a", "b", "c", "d"].map(|name| (name.into(), name.repeat(90).into()))),
    };
    let content = Content::Alerts(alerts);
    for language in Language::ALL {
        let title = rendered(&content, *language, &Templates::default()).title;
        assert!(title.ends_with("$100.00"), "{title}");
        assert!(title.chars().count() <= 100, "{title}");
    }
}

#[test]
fn what_only_would_be_done_wakes_nobody() {
    let templates = Templates::default();
    let tone = |alerts: &AlertsContent| {
        let content = Content::Alerts(alerts.clone());
        rendered(&content, Language::En, &templates).tone
    };
    let contents = sample::contents(NotificationKind::Alert, sample::NOW);
    let shadow = contents.iter().find_map(|content| match content {
        Content::Alerts(alerts) => {
            let alert = alerts.alerts.first()?;
            (alert.event.mode == crate::alert::Mode::Shadow).then(|| alerts.clone())
        }
        _ => None,
    });
    let mut group = shadow.unwrap();
    assert_eq!(tone(&group), Tone::Neutral);
    // Others that are not listed are of the same rule.
    group.more = 3;
    group.critical = 4;
    assert_eq!(tone(&group), Tone::Neutral);
    // Or nobody knows of what.
    group.facts.clear();
    assert_eq!(tone(&group), Tone::Critical);

    // One in earnest beside it.
    let Content::Alerts(mut earnest) = first_alert() else {
        panic!("no alerts");
    };
    group.more = 0;
    group.critical = 1;
    group.warning = 1;
    earnest.alerts[0].event.severity = Some(crate::alert::Severity::Warning);
    group.alerts.append(&mut earnest.alerts);
    assert_eq!(tone(&group), Tone::Warning);
    group.critical = 2;
    assert_eq!(tone(&group), Tone::Critical);
}

#[test]
fn a_picture_is_told_in_words() {
    let mut contents = sample::contents(NotificationKind::Digest, sample::NOW);
    let Content::Digest(mut digest) = contents.remove(0) else {
        panic!("no digest");
    };
    digest.since = UnixMicros(1_795_129_200_000_000 - 86_400_000_000);
    digest.until = UnixMicros(1_795_129_200_000_000);
    let at = |hours: i64| UnixMicros(digest.since.0 + hours * 3_600_000_000);
    let mut digest = DigestContent {
        // What is of the time before says nothing of the picture's own.
        series: vec![
            (at(-48), 9, 9),
            (at(-24), 9, 9),
            (at(0), 0, 5),
            (at(1), 7, 5),
        ],
        ..*digest.clone()
    };
    let alt = |digest: &DigestContent, language| {
        let rendering = Rendering {
            language,
            timezone: &berlin(),
            templates: &Templates::default(),
            now: sample::NOW,
        };
        picture_alt(digest, &rendering)
    };
    assert_eq!(alt(&digest, Language::En), "Spending by hour, 2026-11-19");
    assert_eq!(alt(&digest, Language::Zh), "每小时花费，2026-11-19");
    digest.series = vec![(at(0), 0, 5), (at(24), 0, 5)];
    assert_eq!(alt(&digest, Language::En), "Tokens by day, 2026-11-19");
}

/// A template file, and what came of loading it for alerts.
fn loaded(source: &str) -> Result<Templates, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.j2");
    std::fs::write(&file, source).unwrap();
    let settings = TemplateSettings {
        alert: Some(file.clone()),
        ..TemplateSettings::default()
    };
    Templates::load(&settings).map_err(|problems| {
        let shown = file.display().to_string();
        problems.to_string().replace(&shown, "mine.j2")
    })
}

fn first_alert() -> Content {
    sample::contents(NotificationKind::Alert, sample::NOW).remove(0)
}

#[test]
fn an_operators_template_takes_the_place_of_tollgates() {
    let templates = loaded(
        "{{ alerts[0].rule }}!\n{% macro line(name) %}- {{ name | bold }}\n# {{ name }}\n{% endmacro %}\
         {% for alert in alerts %}{{ line(alert.label.channel | default('none')) }}{% endfor %}\
         {{ t('window') }} {{ 'docs' | link('https://docs.example') }}",
    )
    .unwrap();
    insta::assert_snapshot!(plain(&rendered(&first_alert(), Language::En, &templates)), @r"
    Critical | ChannelDailySpend!
    - **azure-1**
    # azure-1
    Window [docs](https://docs.example)
    ");
}

#[test]
fn an_operators_template_can_go_by_tollgates() {
    let templates = loaded(
        "{% extends 'tollgate/alert' %}{% block alert %}- {{ alert.standing | bold }}\n{% endblock %}",
    )
    .unwrap();
    insta::assert_snapshot!(plain(&rendered(&first_alert(), Language::Zh, &templates)), @r"
    Critical | ChannelDailySpend 严重：azure-1 $103.20 / $100.00
    - **$103.20 / $100.00**
    ");
}

#[test]
fn what_is_wrong_with_a_template_is_told_with_its_line() {
    let wrong = [
        "{{ title }}\n{% if %}",
        "{{ title }}\n{{ titel }}",
        "{{ title }}\n{% if critical > 99 %}{{ nothing }}{% endif %}",
        "{{ title }}\n\n{{ alerts[0].colour }}",
        "{{ title }}\n{{ t('weather') }}",
        "{{ title | sparkle }}",
        "{{ title | safe }}",
        "   \n",
        "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}",
        "{% for a in range(9000) %}{{ 'x' * 100 }}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ];
    let told = wrong.map(|source| loaded(source).unwrap_err());
    insta::assert_snapshot!(told.join("\n"));
    let missing = TemplateSettings {
        digest: Some("/nowhere/digest.j2".into()),
        ..TemplateSettings::default()
    };
    let problems = Templates::load(&missing).unwrap_err().to_string();
    assert!(
        problems.contains("/nowhere/digest.j2: templates.digest: the file cannot be read"),
        "{problems}"
    );
}

#[test]
fn a_template_that_fails_later_leaves_the_place_to_tollgates() {
    let templates = loaded("mine\n{{ alerts[0].labels[0].value }}").unwrap();
    let Content::Alerts(mut alerts) = first_alert() else {
        panic!("no alerts");
    };
    alerts.alerts[0].event.alert.labels = Labels::default();
    let message = rendered(&Content::Alerts(alerts), Language::En, &templates);
    assert_eq!(
        message.title,
        "ChannelDailySpend critical: $103.20 of $100.00"
    );
    assert!(!message.body.is_empty());
    assert_eq!(
        rendered(&first_alert(), Language::En, &templates).title,
        "mine"
    );
}

#[test]
fn a_flood_stays_small() {
    let Content::Alerts(mut alerts) = first_alert() else {
        panic!("no alerts");
    };
    let one = alerts.alerts[0].clone();
    alerts.alerts = (0..10_000)
        .map(|number| {
            let mut alert = one.clone();
            let name = Arc::from(format!("channel-{number}-{}", "x".repeat(5_000)));
            alert.event.alert.labels = Labels::new([("channel".into(), name)]);
            alert
        })
        .collect();
    alerts.critical = 10_000;
    let message = rendered(
        &Content::Alerts(alerts),
        Language::En,
        &Templates::default(),
    );
    assert_eq!(message.title, "10,000 critical: ChannelDailySpend");
    let text = plain(&message);
    assert!(text.len() < 50_000, "{}", text.len());
    assert!(text.ends_with("… and 9,965 more\n"), "{text}");
}

#[test]
fn merged_messages_say_what_each_of_them_does() {
    let templates = Templates::default();
    let mut messages: Vec<Message> = NotificationKind::ALL
        .iter()
        .map(|kind| {
            let content = sample::contents(*kind, sample::NOW).remove(0);
            let mut message = rendered(&content, Language::En, &templates);
            let button = |index: usize| Button {
                label: format!("{kind} {index}"),
                target: ButtonTarget::Callback(index.to_string()),
            };
            message.buttons = vec![(0..3).map(button).collect()];
            message
        })
        .collect();
    let only = messages[0].clone();
    assert_eq!(Message::merged(vec![only.clone()]), only);
    let bodies: usize = messages.iter().map(|message| message.body.len()).sum();
    let titles: Vec<String> = messages
        .iter()
        .map(|message| message.title.clone())
        .collect();
    messages.rotate_left(1);
    let merged = Message::merged(messages);
    assert_eq!(merged.tone, Tone::Critical);
    assert!(
        merged.title.starts_with("4 notifications: Channel azure-1"),
        "{}",
        merged.title
    );
    assert!(merged.title.chars().count() <= 120);
    assert_eq!(merged.body.len(), bodies + 4 + 3);
    let text = plain(&merged);
    assert!(titles.iter().all(|title| text.contains(title)));
    assert_eq!(
        merged.buttons.iter().map(Vec::len).collect::<Vec<_>>(),
        [3, 3],
        "rows are whole"
    );
    let [other, _] = &merged.buttons[..] else {
        panic!("{merged:#?}")
    };
    let label = other[1].label.clone();
    let labels: Vec<String> = merged
        .clone()
        .with_buttons_of("Spend")
        .with_buttons_of("Spend")
        .buttons
        .concat()
        .into_iter()
        .map(|button| button.label)
        .collect();
    assert_eq!(labels[1], format!("{label} · Spend"));
    assert_eq!(Message::merged(Vec::new()).body, []);
}

/// Contents in which everything that comes from outside is `hostile`.
fn hostile_contents(hostile: &str) -> Vec<Content> {
    let name: Arc<str> = hostile.into();
    let mut contents = Vec::new();
    for kind in NotificationKind::ALL {
        for mut content in sample::contents(*kind, sample::NOW) {
            poison(&mut content, &name);
            contents.push(content);
        }
    }
    contents
}

fn poison(content: &mut Content, name: &Arc<str>) {
    let links = |links: &mut Vec<Link>| {
        for link in links {
            link.url = name.to_string();
        }
    };
    match content {
        Content::Alerts(alerts) => {
            alerts.facts.push((name.clone(), name.clone()));
            for alert in &mut alerts.alerts {
                let labels = Labels::new([
                    (name.clone(), name.clone()),
                    ("channel".into(), name.clone()),
                ]);
                alert.event.alert = AlertId {
                    rule: name.clone(),
                    labels,
                };
                for taken in &mut alert.event.actions {
                    taken.detail = name.clone();
                }
                for annotation in ["summary", "description", "other", name] {
                    alert
                        .annotations
                        .insert(annotation.into(), name.to_string());
                }
                for contributor in &mut alert.contributors {
                    contributor.name = name.clone();
                    contributor.dimension = name.clone();
                }
                if let Some(rule) = &mut alert.rule {
                    rule.metric = name.clone();
                    rule.stat = name.clone();
                    rule.window = name.clone();
                }
                links(&mut alert.links);
            }
        }
        Content::Channel(channel) => {
            channel.channel = name.clone();
            channel.without_channel.push(name.clone());
            for event in &mut channel.events {
                event.who = Some(name.clone());
                event.note = Some(name.clone());
                event.owner = Owner::Alert(name.clone());
            }
            links(&mut channel.links);
        }
        Content::Digest(digest) => {
            digest.name = name.clone();
            for (dimension, rows) in &mut digest.top {
                *dimension = name.clone();
                for row in rows {
                    row.name = name.clone();
                }
            }
            digest.errors.push((name.clone(), 1));
            for budget in &mut digest.budgets {
                budget.alert = name.clone();
            }
            links(&mut digest.links);
        }
        Content::Undelivered(undelivered) => {
            undelivered.receiver = name.clone();
            undelivered.error = name.clone();
            undelivered.titles.push((sample::NOW, name.clone()));
            if let Some(content) = &mut undelivered.content {
                poison(content, name);
            }
        }
    }
}

/// How a message is built, without its words.
fn shape(message: &Message) -> Vec<String> {
    let kinds = |spans: &[Span]| {
        let kinds = spans.iter().map(|span| match span {
            Span::Text(_) => 't',
            Span::Bold(_) => 'b',
            Span::Code(_) => 'c',
            Span::Link { .. } => 'l',
        });
        kinds.collect::<String>()
    };
    let blocks = message.body.iter().map(|block| match block {
        Block::Heading(spans) => format!("#{}", kinds(spans)),
        Block::Line(spans) => kinds(spans),
        Block::Item(spans) => format!("-{}", kinds(spans)),
        Block::Divider => "=".to_owned(),
    });
    blocks.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_value_makes_markup(
        any in any::<String>(),
        marks in "[\u{10fff0}-\u{10fff6}#\\- {}%`*_<>@!a:/]{1,60}",
    ) {
        let templates = Templates::default();
        // What a harmless value of one line comes to.
        let harmless: Vec<_> = hostile_contents("x").iter().map(|content| shape(&rendered(content, Language::En, &templates))).collect();
        for hostile in [&any, &marks, &"# a".to_owned(), &"- a".to_owned(), &"---".to_owned(), &"{{ title }}".to_owned()] {
            let line = super::markup::one_line(&super::markup::cleaned(hostile));
            if line.is_empty() || line.contains('`') {
                continue;
            }
            for (content, harmless) in hostile_contents(&line).iter().zip(&harmless) {
                let message = rendered(content, Language::En, &templates);
                prop_assert_eq!(&shape(&message), harmless, "{}", plain(&message));
            }
            // As it is, with marks, control characters and line breaks.
            for content in hostile_contents(hostile) {
                for language in Language::ALL {
                    let message = rendered(&content, *language, &templates);
                    prop_assert!(!message.title.contains('\n'));
                    let text = plain(&message);
                    prop_assert!(!shape(&message).concat().contains('l'), "{}", text);
                    let mark = |c: char| ('\u{10fff0}'..='\u{10fff6}').contains(&c);
                    prop_assert!(!text.chars().any(mark));
                }
            }
        }
    }
}
