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
    for command in ["run", "check", "usage", "requests", "prices", "healthcheck"] {
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
