//! Rule files as operators write them, good and bad, and what they are told.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::alert::{AlertState, Labels, Severity};
use crate::clock::UnixMicros;
use crate::rules::{Action, Metric, Occasion, Recovery, Side, Stat, Unbounded, Until, render};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The files of a folder whose names end so, in order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(ROOT).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    files
}

fn known() -> KnownNames {
    let names = |names: &[&str]| Some(names.iter().map(|name| Arc::from(*name)).collect());
    KnownNames {
        channels: names(&["main", "spare"]),
        keys: names(&["team-a", "team-b"]),
        receivers: names(&["mail", "ops"]),
        retention: None,
    }
}

fn read(path: &Path, known: &KnownNames) -> Result<LoadedRules, Problems> {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    parse(Path::new(name), &text, &zone, known)
}

#[test]
fn good_files_become_rules() {
    for path in files("src/rules/format/fixtures", ".good.yaml") {
        let loaded = read(&path, &known()).unwrap_or_else(|problems| panic!("{problems}"));
        let rules = loaded.set.rules.iter().map(|rule| format!("{rule:?}"));
        let warnings = loaded.warnings.iter().map(ToString::to_string);
        let told = rules.chain(warnings).collect::<Vec<String>>().join("\n");
        insta::assert_snapshot!(path.file_name().unwrap().to_str().unwrap(), told);
    }
}

#[test]
fn bad_files_are_told_every_problem() {
    for path in files("src/rules/format/fixtures", ".bad.yaml") {
        let problems = read(&path, &known()).expect_err("a problem");
        insta::assert_snapshot!(
            path.file_name().unwrap().to_str().unwrap(),
            problems.to_string()
        );
    }
}

#[test]
fn the_shipped_rules_are_good_and_enforce_nothing() {
    let loaded = load(&files("rules", ".yaml"), &TimeZone::UTC, &known());
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    assert!(loaded.set.rules.len() >= 10);
    for rule in &loaded.set.rules {
        assert_eq!(rule.mode, Mode::Notify, "{}", rule.name);
        assert!(rule.annotations.contains_key("summary"), "{}", rule.name);
    }
}

#[test]
fn what_the_shipped_rules_say_reads_well_where_a_request_has_no_name() {
    let loaded = load(&files("rules", ".yaml"), &TimeZone::UTC, &known()).unwrap();
    for rule in &loaded.set.rules {
        let labels = rule.by.iter().map(|by| (by.label(), Arc::from("")));
        // Every request has a channel, and every quota a window.
        let labels = labels.map(|(name, value)| match &*name {
            "channel" | "window" => (Arc::clone(&name), name),
            _ => (name, value),
        });
        let told = render(
            rule,
            Occasion {
                labels: &Labels::new(labels),
                state: AlertState::Firing,
                severity: Some(Severity::Warning),
                value: rule.warning.map(|limit| rule.quantity(limit)),
                limit: rule.warning.map(|limit| rule.quantity(limit)),
                window_end: Some(UnixMicros(0)),
            },
        );
        let summary = told["summary"].as_deref().unwrap();
        assert_eq!(summary.trim(), summary, "{}", rule.name);
        assert!(!summary.contains("  "), "{}: {summary}", rule.name);
    }
}

/// A rule in a group, by what it says.
fn one(rule: &str) -> String {
    format!("groups:\n- name: g\n  rules:\n  - {{{rule}}}\n")
}

fn parsed(rule: &str, known: &KnownNames) -> LoadedRules {
    let loaded = parse(Path::new("rules.yaml"), &one(rule), &TimeZone::UTC, known);
    loaded.unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_file_is_read_and_a_name_is_taken_once_over_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rule = |name: &str| {
        one(&format!(
            "alert: {name}, metric: cost, window: day, critical: $5"
        ))
    };
    fs::write(path("a.yaml"), rule("Spend")).unwrap();
    fs::write(path("b.yaml"), rule("Spend")).unwrap();
    fs::write(path("d.yaml"), b"groups:\n- name: \xff\n").unwrap();
    fs::create_dir(path("e")).unwrap();
    let files = ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e"].map(path);
    let none = KnownNames::default();
    let Problems(problems) = load(&files, &TimeZone::UTC, &none).unwrap_err();
    let root = folder.path().display().to_string();
    let told: Vec<String> = problems
        .iter()
        .map(|problem| problem.to_string().replace(&root, ""))
        .collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with(
        "/b.yaml:4:13: groups[0].rules[0].alert: rule `Spend`: another rule has this name, at /a.yaml:4:13"
    ), "{told:?}");
    assert!(
        told[1].starts_with("/c.yaml: cannot read the rules: "),
        "{told:?}"
    );
    assert_eq!(told[2], "/d.yaml:2:9: the file is not UTF-8 from here on");
    assert!(
        told[3].ends_with("hint: it is a folder: name its files, as `/e/*.yaml`"),
        "{told:?}"
    );

    fs::write(path("b.yaml"), rule("More")).unwrap();
    let loaded = load(&files[..2], &TimeZone::UTC, &none).unwrap();
    let names = loaded.set.rules.iter().map(|rule| &*rule.name);
    assert_eq!(names.collect::<Vec<_>>(), ["Spend", "More"]);
}

#[test]
fn of_a_single_channel_the_last_is_never_closed() {
    let rule = |allow_last| {
        format!(
            "alert: a, metric: error_ratio, window: 5m, critical: 50%, by: [channel], mode: enforce, \
             actions: [{{disable_channel: {{allow_last: {allow_last}}}}}]"
        )
    };
    let single = KnownNames {
        channels: Some(vec![Arc::from("openai")]),
        ..KnownNames::default()
    };
    let warnings = parsed(&rule(false), &single).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("will never close it"));
    for (allow_last, names) in [
        (true, &single),
        (false, &known()),
        (false, &KnownNames::default()),
    ] {
        assert_eq!(parsed(&rule(allow_last), names).warnings, []);
    }
}

#[test]
fn whoever_is_told_is_a_receiver_of_the_settings() {
    let rule = "alert: a, metric: cost, window: day, critical: 5 USD, actions: [{notify: [ops]}]";
    let nobody = KnownNames {
        receivers: Some(Vec::new()),
        ..KnownNames::default()
    };
    let warnings = parsed(rule, &nobody).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("nobody is told"));
    for known in [&known(), &KnownNames::default()] {
        assert_eq!(parsed(rule, known).warnings, []);
    }
    let stranger = rule.replace("ops", "opss");
    parsed(&stranger, &KnownNames::default());
    let told = parse(Path::new("r"), &one(&stranger), &TimeZone::UTC, &known()).unwrap_err();
    assert!(told.to_string().contains("did you mean `ops`?"), "{told}");
}

#[test]
fn the_settings_know_the_words_of_rules() {
    let metrics: Vec<&str> = Metric::ALL.iter().map(|word| word.as_str()).collect();
    let stats: Vec<&str> = Stat::ALL.iter().map(|word| word.as_str()).collect();
    assert_eq!(metrics, crate::config::METRICS);
    assert_eq!(stats, crate::config::STATS);
}

#[test]
fn a_window_of_single_requests_is_no_longer_than_they_are_kept() {
    let days = |days: u64| KnownNames {
        retention: Some(Duration::from_secs(days * 86_400)),
        ..KnownNames::default()
    };
    let by_tag = "metric: cost, by: ['tag:team'], critical: 5 USD, alert: a";
    let slow = "alert: a, metric: latency, stat: max, critical: 9s";
    let warned = |rule: &str, kept| {
        let warnings = parsed(rule, &days(kept)).warnings;
        let told = |warning: &Problem| warning.message.contains("`ledger.retention`");
        warnings.iter().any(told)
    };
    for (rule, kept, dubious) in [
        (format!("{by_tag}, window: month"), 30, true),
        (format!("{by_tag}, window: month"), 32, false),
        (format!("{by_tag}, window: 7d"), 7, true),
        (format!("{by_tag}, window: 7d"), 8, false),
        (format!("{slow}, window: 7d"), 7, true),
        // A week ago as well.
        (
            format!("{by_tag}, window: 5m, compare: 7d").replace("5 USD", "3x"),
            7,
            true,
        ),
        (format!("{by_tag}, window: 30m"), 1, false),
        // Read from sums.
        (
            "alert: a, metric: cost, window: month, critical: 5 USD".to_owned(),
            1,
            false,
        ),
        (
            "alert: a, metric: latency, stat: p95, window: 30d, critical: 9s".to_owned(),
            1,
            false,
        ),
    ] {
        assert_eq!(warned(&rule, kept), dubious, "{rule} {kept}");
    }
    let blocks = format!("{by_tag}, window: month, actions: [{{block: {{}}}}]");
    let text = |mode: &str| format!("groups: [{{name: g, rules: [{{{blocks}, mode: {mode}}}]}}]");
    let read = |mode: &str, kept| {
        parse(
            Path::new("r.yaml"),
            &text(mode),
            &TimeZone::UTC,
            &days(kept),
        )
    };
    let refused = read("enforce", 30)
        .expect_err("what is blocked must be known")
        .to_string();
    assert!(
        refused.contains("`ledger.retention` keeps them for 30d"),
        "{refused}"
    );
    assert!(read("shadow", 30).is_ok());
    assert!(read("enforce", 90).is_ok());
}

#[test]
fn what_nobody_knows_is_not_said_to_be_missing() {
    let rule = "alert: a, metric: cost, window: day, critical: $5, match: {channel: x, key: y}, \
                mode: shadow, actions: [{disable_channel: {channel: z}}]";
    assert_eq!(parsed(rule, &KnownNames::default()).warnings, []);
}

#[test]
fn what_is_not_said_is_as_documented() {
    let rolling = "alert: a, metric: cost, window: 1h, critical: $5, by: channel, \
                   actions: [{disable_channel: {}}, {block: {}}]";
    let rule = Arc::clone(&parsed(rolling, &known()).set.rules[0]);
    assert_eq!(rule.mode, Mode::Notify);
    assert_eq!(rule.clear_permille, 1000);
    assert_eq!(rule.no_data, NoData::Ok);
    assert_eq!((rule.side, rule.max_series), (Side::Above, 1000));
    let disable = |until| Action::DisableChannel {
        channel: None,
        until,
        recovery: Recovery::Open,
        allow_last: false,
    };
    let block = Action::Block {
        status: 429,
        unbounded: Unbounded::Admit,
    };
    assert_eq!(rule.actions, [disable(Until::Resolved), block]);
    let calendar = rolling.replace("1h", "day");
    let rule = Arc::clone(&parsed(&calendar, &known()).set.rules[0]);
    assert_eq!(rule.actions[0], disable(Until::WindowEnd));

    for (measure, side) in [
        (
            "metric: tokens_per_second, stat: p50, critical: 20 tokens/s",
            Side::Below,
        ),
        (
            "metric: tokens_per_second, over: 20 tokens/s, critical: 9 requests",
            Side::Above,
        ),
        (
            "metric: cost, stat: time_left, budget: $9, critical: 1h",
            Side::Below,
        ),
        ("metric: latency, stat: p95, critical: 5s", Side::Above),
    ] {
        let rule = format!("alert: a, window: day, {measure}");
        assert_eq!(parsed(&rule, &known()).set.rules[0].side, side, "{measure}");
    }
}

#[test]
fn annotations_are_filled_in_with_what_the_alert_says() {
    let rule = "alert: Daily, metric: cost, window: day, timezone: Asia/Shanghai, critical: $5, \
                by: [channel, 'tag:team'], annotations: {summary: '{{ labels.channel }}/{{ \
                labels[\"tag:team\"] }}: {{ value }} of {{ limit }} until {{ window_end }}', \
                runbook: 'x/{{ rule | lower }}#{{ severity }}'}";
    let rule = Arc::clone(&parsed(rule, &known()).set.rules[0]);
    let label = |name: &str, value: &str| (Arc::from(name), Arc::from(value));
    // What a client writes into a label is text: a template in it is not filled in.
    let labels = Labels::new([label("channel", "main"), label("tag:team", "{{ value }}")]);
    let occasion = Occasion {
        labels: &labels,
        state: AlertState::Firing,
        severity: Some(Severity::Critical),
        value: Some(rule.quantity(5_250_000_000)),
        limit: rule.critical.map(|limit| rule.quantity(limit)),
        window_end: Some(UnixMicros(1_795_276_800_000_000)),
    };
    let told = render(&rule, occasion);
    assert_eq!(
        told["summary"].as_deref(),
        Ok("main/{{ value }}: 5.25 USD of 5 USD until 2026-11-22 00:00 +08:00")
    );
    assert_eq!(told["runbook"].as_deref(), Ok("x/daily#critical"));
    let unknown = Occasion {
        value: None,
        window_end: None,
        ..occasion
    };
    let told = render(&rule, unknown);
    assert_eq!(
        told["summary"].as_deref(),
        Ok("main/{{ value }}: unknown of 5 USD until unknown")
    );
}

/// The examples of the reference: fenced YAML that begins with `groups:`, comments aside.
#[test]
fn the_documented_rules_are_good() {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/rules.md")).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let examples: Vec<&str> = blocks.filter(|block| block.contains("groups:")).collect();
    assert!(examples.len() > 4, "{examples:?}");
    let names = |names: &[&str]| Some(names.iter().map(|name| Arc::from(*name)).collect());
    let known = KnownNames {
        channels: names(&["azure", "openai"]),
        keys: names(&["team-a"]),
        receivers: names(&["ops"]),
        retention: Some(Duration::from_secs(90 * 86_400)),
    };
    for example in examples {
        let loaded = parse(Path::new("docs/rules.md"), example, &TimeZone::UTC, &known);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}\n{example}"));
        assert_eq!(loaded.warnings, [], "{example}");
    }
}

proptest! {
    /// Fragments of rules in any order: most make no sense, none may panic.
    #[test]
    fn any_text_is_answered_with_rules_or_problems(parts in prop::collection::vec(
        prop::sample::select(vec![
            "groups", "rules", "name", "alert", "metric", "cost", "latency", "stat", "p95", "over",
            "window", "day", "5m", "match", "by", "channel", "critical", "5 USD", "clear", "90%",
            "actions", "block", "disable_channel", "notify", "annotations", "{{ value }}", "{{",
            "{% if x %}", ": ", ":\n  ", "\n", "\n- ", "- ", "{", "}", "[", "]", ", ", "'", "é",
        ]),
        0..60,
    )) {
        let rule = one(&parts.concat());
        for text in [parts.concat(), rule] {
            if let Err(problems) = parse(Path::new("t.yaml"), &text, &TimeZone::UTC, &known()) {
                prop_assert!(!problems.0.is_empty());
            }
        }
    }

    /// No template may panic, whatever is in it.
    #[test]
    fn any_template_is_taken_or_refused(template in "[a-z .|{}%'\"()0-9+*-]{0,40}") {
        let wrapped = format!("{{{{ {template} }}}}");
        for template in [template, wrapped] {
            let rule = format!(
                "alert: a, metric: cost, window: day, critical: $5, annotations: {{s: {template:?}}}"
            );
            let _ = parse(Path::new("t.yaml"), &one(&rule), &TimeZone::UTC, &known());
        }
    }
}
