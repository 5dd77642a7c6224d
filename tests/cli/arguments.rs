//! Arguments, settings and exit codes.

use std::fs;
use std::path::Path;

use tollgate::app::Ready;
use tollgate::cli::banner;
use tollgate::config::{self, Place, Problem};

use crate::{printed, told, tollgate};

#[test]
fn help_lists_the_commands_and_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let help = printed(tollgate(folder.path(), &["--help"]));
    for command in [
        "run",
        "check",
        "usage",
        "requests",
        "rules",
        "notify",
        "silences",
        "prices",
        "healthcheck",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}: {help}"
        );
    }
    let version = printed(tollgate(folder.path(), &["--version"]));
    assert_eq!(version, format!("tollgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_arguments_are_64_and_say_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, hint) in [
        (&["usgae"][..], "a similar subcommand exists: 'usage'"),
        (&["usage", "--by", "modle"], "one of: model, channel"),
        (&["usage", "--by", "day,day"], "twice"),
        (
            &["usage", "--since", "yesterday"],
            "--since: `yesterday` is not a time",
        ),
        (
            &["usage", "--format", "xml"],
            "[possible values: table, json, csv]",
        ),
        (&["requests", "--api", "chatt"], "one of: chat, responses"),
        (&["requests", "--id", "42"], "--id"),
        (
            &["requests", "--slowest", "--follow"],
            "cannot be used with",
        ),
        (
            &["requests", "--dearest", "--follow"],
            "cannot be used with",
        ),
        (
            &["requests", "--slowest", "--dearest"],
            "cannot be used with",
        ),
        (&["check", "--config", "nowhere.yaml"], ""),
        (&["--upgrade", "check"], "belongs to `run`"),
    ] {
        let (code, _, stderr) = told(tollgate(folder.path(), arguments));
        assert_eq!(code, 64, "{arguments:?}: {stderr}");
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
    }
}

#[test]
fn check_tells_every_problem_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = "listen: 127.0.0.1:http\nlimts: {idle: 3s}\nadmin: {listen: 0.0.0.0:8081}\n";
    fs::write(folder.path().join("bad.yaml"), file).unwrap();
    let (code, stdout, stderr) = told(tollgate(folder.path(), &["check", "--config", "bad.yaml"]));
    assert_eq!((code, stderr.as_str()), (64, ""));
    for problem in [
        "bad.yaml:1:9: listen: ",
        "bad.yaml:2:1: limts: ",
        "did you mean `limits`",
        "problems\n",
    ] {
        assert!(stdout.contains(problem), "{problem}: {stdout}");
    }

    // Any other command says the same on standard error and does nothing.
    let (code, stdout, stderr) = told(tollgate(folder.path(), &["usage", "--config", "bad.yaml"]));
    assert_eq!((code, stdout.as_str()), (64, ""));
    assert!(stderr.contains("bad.yaml:1:9: listen: "), "{stderr}");
}

#[test]
fn check_sums_up_settings_that_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let file =
        "channels: [{name: main, base_url: https://api.openai.com/v1, api_key: sk-canary}]\n";
    fs::write(folder.path().join("tollgate.yaml"), file).unwrap();
    let summary = printed(tollgate(folder.path(), &["check"]));
    assert!(summary.contains("ok: "), "{summary}");
    assert!(
        summary.contains("channel   main → https://api.openai.com/v1 (its own key)"),
        "{summary}"
    );
    assert!(
        summary.contains("/data/tollgate.db (rows kept for 90 days)"),
        "{summary}"
    );
    assert!(!summary.contains("canary"), "{summary}");
    assert!(
        !folder.path().join("data").exists(),
        "check must create nothing"
    );
}

/// A rule with this limit, whose mode is stated.
fn daily(name: &str, limit: &str, mode: &str) -> String {
    format!(
        "- {{alert: {name}, metric: cost, window: day, warning: 1 USD, critical: {limit}, mode: {mode}, actions: [{{block: {{}}}}]}}\n"
    )
}

#[test]
fn check_tells_the_problems_of_settings_and_rules_in_one_run() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    let rules = |rules: &[String]| {
        let text = format!("groups:\n- name: g\n  rules:\n{}", rules.concat());
        fs::write(
            folder.path().join("rules/spend.yaml"),
            text.replace("- {", "  - {"),
        )
        .unwrap();
    };
    let settings = |text: &str| fs::write(folder.path().join("tollgate.yaml"), text).unwrap();
    rules(&[daily("A", "5", "notify"), daily("A", "5 USD", "notify")]);
    settings("rules: [rules/*.yaml]\n");
    let (code, stdout, stderr) = told(tollgate(folder.path(), &["check"]));
    assert_eq!((code, stderr.as_str()), (64, ""));
    for problem in [
        "rules/spend.yaml:4:69: groups[0].rules[0].critical: rule `A`: `5` has no unit",
        "hint: write `5 USD` or `$5`",
        "rules/spend.yaml:5:13: groups[0].rules[1].alert: rule `A`: another rule has this name",
        "\n2 problems\n",
    ] {
        assert!(stdout.contains(problem), "{problem}: {stdout}");
    }

    settings("rules: [rules/*.yaml]\nlimts: {}\n");
    let (code, stdout, _) = told(tollgate(folder.path(), &["check"]));
    assert_eq!(code, 64);
    assert!(stdout.contains("unknown key `limts`"), "{stdout}");
    assert!(stdout.contains("\n3 problems\n"), "{stdout}");
}

#[test]
fn check_says_how_many_rules_there_are_and_which_enforce() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let settings = |rules: &str| {
        file("tollgate.yaml", &format!("rules: {rules}\n"));
        printed(tollgate(folder.path(), &["check"]))
    };
    let rules = |match_: &str| {
        let rules = [
            daily("A", "5 USD", "notify"),
            daily("B", "6 USD", "enforce"),
        ]
        .concat();
        let rules = rules.replace("- {", &format!("  - {{match: {match_}, "));
        file(
            "mine.yaml",
            &format!("groups:\n- name: g\n  rules:\n{rules}"),
        );
    };
    assert!(settings("[]").contains("\n  rules     none\n"));
    rules("{channel: openai}");
    let said = settings("[mine.yaml]");
    let expected = "\n  rules     2 rules of 1 file (enforcing: B)\n";
    assert!(said.contains(expected), "{said}");
    assert!(!said.contains("warning"), "{said}");

    rules("{channel: opneai}");
    let said = settings("[mine.yaml]");
    let expected = "`opneai` is no channel of the settings: the rule is about no request";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn the_banner_says_where_everything_is() {
    let folder = Path::new("/srv/tollgate");
    let mut loaded = config::load(None, &|_| None, folder).unwrap();
    loaded.warnings.push(Problem {
        place: Place::Environment("TOLLGATE_LISTEN".to_owned()),
        key: "listen".to_owned(),
        message: "every address of this machine".to_owned(),
        hint: Some("keep it to yourself".to_owned()),
    });
    let ready = Ready {
        listen: "0.0.0.0:8080".parse().unwrap(),
        admin: "127.0.0.1:8081".parse().unwrap(),
    };
    insta::assert_snapshot!(banner(&loaded, ready));
}
