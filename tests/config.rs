//! Settings files as operators write them, good and bad, and what they are told.
//!
//! Each fixture is a settings file; its snapshot is the settings and warnings, or every problem.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proptest::prelude::*;
use tollgate::config::{self, BaseUrl, Loaded, Place, Settings};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config");

/// Every secret of the fixtures holds this word.
const CANARY: &str = "canary";

fn no_env(_: &str) -> Option<String> {
    None
}

fn fixture_env(name: &str) -> Option<String> {
    match name {
        "CANARY_KEY" => Some("sk-canary".to_owned()),
        "PORT" => Some("9000".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn load(folder: &Path, file: &str) -> Result<Loaded, config::Problems> {
    config::load(Some(Path::new(file)), &fixture_env, folder)
}

/// The fixtures in a folder of their own, where the permissions are known.
fn fixtures() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in [
        "",
        "prices",
        "rules",
        "rules/teams",
        "secrets",
        "templates",
        "tls",
    ] {
        fs::create_dir_all(folder.path().join(part)).unwrap();
        for entry in fs::read_dir(Path::new(FIXTURES).join(part)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let copy = folder.path().join(part).join(entry.file_name());
                fs::copy(entry.path(), &copy).unwrap();
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }
    folder
}

fn names(folder: &Path, ending: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(ending))
        .collect();
    names.sort();
    assert!(names.len() > 3, "{names:?}");
    names
}

#[test]
fn good_files_become_settings() {
    let folder = fixtures();
    let root = folder.path().to_str().unwrap();
    for name in names(folder.path(), ".good.yaml") {
        let loaded = load(folder.path(), &name).unwrap_or_else(|problems| panic!("{problems}"));
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let told = format!("{:#?}\n{}", loaded.settings, warnings.join("\n"));
        assert!(!told.contains(CANARY), "{told}");
        insta::assert_snapshot!(name, told.replace(root, "FOLDER"));
    }
}

#[test]
fn bad_files_are_told_every_problem() {
    let folder = fixtures();
    let root = folder.path().to_str().unwrap();
    for name in names(folder.path(), ".bad.yaml") {
        let problems = load(folder.path(), &name).expect_err(&name);
        let told = format!("{problems}\n{problems:?}");
        assert!(!told.contains(CANARY), "{told}");
        insta::assert_snapshot!(name, problems.to_string().replace(root, "FOLDER"));
    }
}

#[test]
fn a_star_in_the_name_of_the_folder_means_itself() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a*", "ab"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("mine.yaml"), "groups: []\n").unwrap();
    }
    let file = folder.path().join("a*/tollgate.yml");
    fs::write(&file, "rules: ['*.yaml']\n").unwrap();
    let loaded = config::load(Some(&file), &no_env, folder.path()).unwrap();
    assert_eq!(loaded.settings.rules, [folder.path().join("a*/mine.yaml")]);
}

#[test]
fn secrets_come_from_variables_and_files() {
    let folder = fixtures();
    let settings = load(folder.path(), "everything.good.yaml")
        .unwrap()
        .settings;
    let key = |index: usize| settings.channels[index].api_key.as_ref().unwrap().expose();
    assert_eq!(key(0), "sk-canary");
    assert_eq!(key(1), "sk-canary-spare", "without the line's end");
    assert_eq!(
        settings.admin.token.as_ref().unwrap().expose(),
        "admin-canary"
    );
    let (name, value) = &settings.channels[0].headers[1];
    assert_eq!(
        (name.as_str(), value.as_bytes()),
        ("x-key", &b"${literal}"[..])
    );
}

#[test]
fn nothing_set_is_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = config::load(None, &no_env, folder.path()).unwrap();
    assert_eq!(loaded.settings, Settings::defaults(folder.path()));
    assert_eq!(loaded.settings.channels[0].base_url, BaseUrl::openai());
    assert_eq!(loaded.file, None);
    assert_eq!(loaded.warnings, []);
    assert!(
        !loaded.settings.data_dir.exists(),
        "reading creates nothing"
    );
}

#[test]
fn the_usual_file_is_found_in_the_working_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("tollgate.yaml"),
        "timezone: Asia/Tokyo\n",
    )
    .unwrap();
    let loaded = config::load(None, &no_env, folder.path()).unwrap();
    assert_eq!(loaded.settings.timezone.iana_name(), Some("Asia/Tokyo"));
    assert_eq!(loaded.file, Some(folder.path().join("tollgate.yaml")));
}

#[test]
fn a_usual_file_that_cannot_be_read_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("gone", folder.path().join("tollgate.yaml")).unwrap();
    let problems = config::load(None, &no_env, folder.path()).unwrap_err();
    assert!(
        problems
            .to_string()
            .starts_with("tollgate.yaml: cannot read"),
        "{problems}"
    );
}

#[test]
fn a_named_file_has_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    for (name, told) in [
        ("gone.yaml", "cannot read the settings"),
        (".", "this is a folder"),
    ] {
        let problems = config::load(Some(Path::new(name)), &no_env, folder.path()).unwrap_err();
        assert!(problems.to_string().contains(told), "{problems}");
    }
    fs::write(folder.path().join("big.yaml"), "#".repeat(2_000_000)).unwrap();
    let problems = config::load(Some(Path::new("big.yaml")), &no_env, folder.path()).unwrap_err();
    assert!(
        problems.to_string().contains("larger than 1 MiB"),
        "{problems}"
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    fs::write(
        below.join("tollgate.yaml"),
        "listen: 127.0.0.1:1000\ndata_dir: mine\nadmin: {listen: '127.0.0.1:1001'}\n",
    )
    .unwrap();
    let env = |name: &str| {
        Some(match name {
            "TOLLGATE_LISTEN" => "127.0.0.1:2000".to_owned(),
            "TOLLGATE_UPSTREAM" => "http://127.0.0.1:9/v1".to_owned(),
            "TOLLGATE_TIMEZONE" => "Europe/Berlin".to_owned(),
            "TOLLGATE_ADMIN_LISTEN" => String::new(),
            "TOLLGATE_LOG" => "debug".to_owned(),
            _ => return None,
        })
    };
    let file = Path::new("below/tollgate.yaml");
    let settings = config::load(Some(file), &env, folder.path())
        .unwrap()
        .settings;
    assert_eq!(settings.listen.port(), 2000);
    assert_eq!(
        settings.channels[0].base_url.to_string(),
        "http://127.0.0.1:9/v1"
    );
    assert_eq!(settings.timezone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(
        settings.admin.listen.port(),
        1001,
        "an empty variable says nothing"
    );
    assert_eq!(settings.log.level, "debug");
    assert_eq!(settings.data_dir, below.join("mine"), "beside the file");

    let env = |name: &str| (name == "TOLLGATE_DATA_DIR").then(|| "theirs".to_owned());
    let settings = config::load(Some(file), &env, folder.path())
        .unwrap()
        .settings;
    assert_eq!(
        settings.data_dir,
        folder.path().join("theirs"),
        "in the working folder"
    );
}

#[test]
fn a_bad_variable_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let env = |name: &str| {
        (name == "TOLLGATE_UPSTREAM").then(|| "https://me:canary@a.example".to_owned())
    };
    let problems = config::load(None, &env, folder.path()).unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert_eq!(
        problems.0[0].place,
        Place::Environment("TOLLGATE_UPSTREAM".to_owned())
    );
    assert!(!problems.to_string().contains(CANARY), "{problems}");
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let folder = fixtures();
    let file = folder.path().join("tollgate.yaml");
    fs::write(
        &file,
        "channels:\n- {name: a, base_url: https://a.example, api_key: sk-canary}\n- {name: b, base_url: https://b.example, api_key_file: secrets/spare}\n",
    )
    .unwrap();
    let secret = folder.path().join("secrets/spare");
    let warned = |mode: u32| -> Vec<String> {
        for path in [&file, &secret] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let loaded = load(folder.path(), "tollgate.yaml").unwrap();
        loaded.warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(warned(0o640), Vec::<String>::new());
    let told = warned(0o644);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("tollgate.yaml:2:"), "{told:?}");
    assert!(told[1].starts_with("tollgate.yaml:3:"), "{told:?}");
}

#[test]
fn a_robots_address_in_a_file_that_everybody_can_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    let url = "https://hooks.slack.com/services/T0/B0/canary";
    let settings = format!("receivers:\n- name: a\n  slack: {{url: {url}}}\n");
    fs::write(&file, settings).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let loaded = load(folder.path(), "tollgate.yaml").unwrap();
    let told: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("tollgate.yaml:3:"), "{told:?}");
}

#[test]
fn the_example_states_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    fs::write(&file, include_str!("../tollgate.example.yaml")).unwrap();
    let loaded = config::load(Some(&file), &no_env, folder.path()).unwrap();
    assert_eq!(loaded.settings, Settings::defaults(folder.path()));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_settings_in_the_page_about_receivers_are_good() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    for (name, text) in [
        (
            "telegram-token",
            "1234567:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
        ),
        ("mail-password", "pass word"),
        ("feishu-secret", "secret"),
        ("dingtalk-secret", "SEC"),
        ("hook-secret", "secret"),
    ] {
        let path = folder.path().join("secrets").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let env = |name: &str| {
        Some(match name {
            "FEISHU_URL" => "https://open.feishu.cn/open-apis/bot/v2/hook/1".to_owned(),
            "WECOM_URL" => "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=1".to_owned(),
            "DINGTALK_URL" => "https://oapi.dingtalk.com/robot/send?access_token=1".to_owned(),
            "SLACK_URL" => "https://hooks.slack.com/services/T0/B0/1".to_owned(),
            "HOOK_URL" => "https://ops.example.com/alerts".to_owned(),
            _ => return None,
        })
    };
    let page = include_str!("../docs/receivers.md");
    let blocks = page.split("```yaml\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 6, "{blocks:?}");
    for block in blocks {
        let file = folder.path().join("tollgate.yaml");
        fs::write(&file, block).unwrap();
        let loaded = config::load(Some(&file), &env, folder.path())
            .unwrap_or_else(|told| panic!("{told}\n{block}"));
        assert_eq!(loaded.warnings, [], "{block}");
    }
}

proptest! {
    /// Fragments of settings in any order: most make no sense, none may panic or leak.
    #[test]
    fn any_text_is_answered_with_settings_or_problems(parts in prop::collection::vec(
        prop::sample::select(vec![
            "listen", "limits", "channels", "upstream", "idle", "api_key", "canary", "${CANARY_KEY}",
            "127.0.0.1:8080", "https://u:canary@h/v1", "5s", ": ", ":\n  ", "\n", "- ", "{", "}", "[",
            "]", ", ", "\"", "'", "|\n", "&a ", "*a", "receivers",
            "telegram", "token_file", "routes", "match", "mute_times", "times", "22:00-08:00", "cron", "* * * * *",
            "!!str ", "? ", "\t", "#", "---\n", "é", "\u{0}",
        ]),
        0..40,
    )) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("t.yaml"), parts.concat()).unwrap();
        if let Err(problems) = load(folder.path(), "t.yaml") {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(!problems.to_string().contains("sk-canary"));
        }
    }
}
