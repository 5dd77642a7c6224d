//! `tollgate keys`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::sidecar::Sidecar;
use crate::{printed, told, tollgate, tollgate_at, traffic};

/// Makes a key; its text and what was said beside it.
fn created(folder: &Path, arguments: &[&str]) -> (String, String) {
    let (code, stdout, stderr) = told(tollgate(folder, &[&["keys", "create"], arguments].concat()));
    assert_eq!(code, 0, "{stderr}");
    (stdout, stderr)
}

fn listed(folder: &Path) -> Value {
    serde_json::from_str(&printed(tollgate(folder, &["keys", "list", "--json"]))).unwrap()
}

/// What is about a moment of the run is the same in every run.
fn without_moments(text: &str) -> String {
    let is_digit = |char: char| char.is_ascii_digit();
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| {
            let moment = word.len() >= 8 && word.starts_with(is_digit) && word.ends_with(is_digit);
            let shape = word.replace(is_digit, "0");
            if moment { shape } else { word.to_owned() }
        });
        words.collect::<Vec<_>>().join(" ") + "\n"
    });
    lines.collect()
}

#[test]
fn without_a_sidecar_keys_are_made_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let none = printed(tollgate(folder, &["keys", "list"]));
    assert_eq!(none, "There are no keys, so requests need none.\n");
    assert!(!folder.join("data").exists());

    let (text, said) = created(folder, &["ci"]);
    let key = text.strip_suffix('\n').unwrap();
    assert!(key.starts_with("tg-") && !key.contains('\n'), "{text}");
    assert!(said.contains("`ci`") && !said.contains(key), "{said}");
    created(
        folder,
        &[
            "batch",
            "--expires",
            "2999-01-01",
            "--model",
            "gpt-5*",
            "--model",
            "o4",
            "--channel",
            "openai",
            "--default-channel",
            "openai",
            "--tag",
            "team=a b",
            "--tag",
            "x=1",
        ],
    );
    let made = told(tollgate(folder, &["keys", "create", "json", "--json"])).1;
    let made: Value = serde_json::from_str(&made).unwrap();
    assert!(made["key"].as_str().unwrap().starts_with("tg-"), "{made}");
    assert_eq!(
        (&made["name"], &made["state"]),
        (&"json".into(), &"good".into())
    );

    let list = listed(folder);
    assert_eq!(list["required"], true);
    let batch = &list["keys"][1];
    assert_eq!(batch["name"], "batch", "{list:#}");
    assert_eq!(batch["expires_at"], "2999-01-01T00:00:00.000000Z");
    assert_eq!(batch["models"], serde_json::json!(["gpt-5*", "o4"]));
    assert_eq!(batch["channels"], serde_json::json!(["openai"]));
    assert_eq!(batch["channel"], "openai");
    assert_eq!(batch["tags"], serde_json::json!({"team": "a b", "x": "1"}));
    assert_eq!(batch["made_by"], "command line");
    assert_eq!(list["keys"][0]["models"], Value::Null);
    assert!(!list.to_string().contains("hash") && !list.to_string().contains("tg-"));

    let revoked = printed(tollgate(folder, &["keys", "revoke", "ci"]));
    assert_eq!(revoked, "The key `ci` is revoked.\n");
    let table = printed(tollgate(folder, &["keys", "list"]));
    insta::assert_snapshot!("keys_list", without_moments(&table));
    for name in ["batch", "json"] {
        let (code, _, said) = told(tollgate(folder, &["keys", "revoke", name]));
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.contains("no key is left"), name == "json", "{said}");
        assert_eq!(said.contains("keys off"), name == "json", "{said}");
    }
}

#[test]
fn keys_are_off_once_none_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let off = || told(tollgate(folder, &["keys", "off"]));
    let (code, stdout, _) = off();
    assert_eq!(code, 0);
    assert!(stdout.contains("nothing was changed"), "{stdout}");
    assert!(!folder.join("data").exists());

    created(folder, &["ci"]);
    created(folder, &["batch"]);
    let (code, stdout, said) = off();
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(said.contains("`ci`, `batch` are not revoked"), "{said}");
    for name in ["ci", "batch"] {
        assert_eq!(told(tollgate(folder, &["keys", "revoke", name])).0, 0);
    }
    assert_eq!(listed(folder)["required"], true);
    let table = printed(tollgate(folder, &["keys", "list"]));
    assert!(table.contains("every request is refused"), "{table}");
    // Keys of the settings are not this command's.
    let settings = folder.join("tollgate.yaml");
    fs::write(&settings, "keys: [{name: file, key: key-of-the-settings}]").unwrap();
    let (code, stdout, said) = off();
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(said.contains("`keys`: `file`;"), "{said}");
    fs::remove_file(&settings).unwrap();

    let (code, stdout, said) = off();
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(stdout, "Keys are off: no request needs one any more.\n");
    let again = printed(tollgate(folder, &["keys", "off", "--json"]));
    assert_eq!(again, "{\n  \"changed\": false\n}\n");
    assert_eq!(listed(folder)["required"], false);
    let table = printed(tollgate(folder, &["keys", "list"]));
    assert!(table.contains("requests need none"), "{table}");
    assert!(!printed(tollgate(folder, &["check"])).contains("warning"));
}

#[test]
fn a_running_sidecar_does_it_itself() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", None);
    let ask = |arguments: &[&str]| told(tollgate_at(folder.path(), sidecar.address, arguments));
    let create = [
        "keys",
        "create",
        "ci",
        "--expires",
        "90d",
        "--model",
        "gpt-5*",
    ];
    let (code, key, said) = ask(&create);
    assert_eq!(code, 0, "{said}");
    assert!(
        key.starts_with("tg-") && said.contains("the only time"),
        "{key} {said}"
    );
    let (code, stdout, said) = ask(&create);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(said.contains("a key named `ci` already"), "{said}");

    // Both ways show the same.
    let (_, by_sidecar, _) = ask(&["keys", "list", "--json"]);
    let by_files = printed(tollgate(folder.path(), &["keys", "list", "--json"]));
    assert_eq!(by_sidecar, by_files);
    // It writes still, but cannot be asked.
    let (code, stdout, said) = told(tollgate(folder.path(), &["keys", "revoke", "ci"]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(said.contains("is in use by another tollgate"), "{said}");

    let (code, stdout, said) = ask(&["keys", "revoke", "ci", "--json"]);
    assert_eq!(code, 0, "{said}");
    let revoked: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(revoked["state"], "revoked", "{revoked}");
    assert!(said.contains("no key is left"), "{said}");
    let off = ask(&["keys", "off"]);
    assert_eq!(off.0, 0, "{}", off.2);
    assert!(off.1.contains("no request needs one"), "{}", off.1);
    let (code, _, said) = ask(&["keys", "revoke", "ci"]);
    assert_eq!(code, 1);
    assert!(said.contains("no key named `ci`"), "{said}");
    sidecar.stop(&runtime);
}

#[test]
fn a_sidecar_that_wants_a_token_is_not_worked_around() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", Some("t"));
    let create = ["keys", "create", "ci"];
    let (code, stdout, said) = told(tollgate_at(folder.path(), sidecar.address, &create));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        said.contains("nothing was changed") && said.contains("answered 401"),
        "{said}"
    );
    sidecar.stop(&runtime);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (arguments, told_of) in [
        (&["keys", "create"][..], "NAME"),
        (&["keys", "create", "a b"], "not a key name"),
        (&["keys", "create", "fp-0123456789ab"], "fingerprint"),
        (
            &["keys", "create", "a", "--expires", "soon"],
            "not a time to come",
        ),
        (
            &["keys", "create", "a", "--expires", "2020-01-01"],
            "not in the future",
        ),
        (
            &["keys", "create", "a", "--channel", "nowhere"],
            "`nowhere`",
        ),
        (
            &["keys", "create", "a", "--default-channel", "nowhere"],
            "`nowhere`",
        ),
        (&["keys", "create", "a", "--model", ""], "models"),
        (&["keys", "create", "a", "--tag", "team"], "NAME=VALUE"),
        (&["keys", "create", "a", "--tag", "te am=x"], "te am=x"),
        (&["keys", "revoke", "../x"], "not a key name"),
    ] {
        let (code, stdout, stderr) = told(tollgate(folder, arguments));
        assert_eq!((code, stdout.as_str()), (64, ""), "{stderr}");
        assert!(stderr.contains(told_of), "{stderr}");
    }
    let (code, _, stderr) = told(tollgate(folder, &["keys", "revoke", "a"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("no key named `a`"), "{stderr}");
    assert!(!folder.join("data").exists());
}

#[test]
fn the_check_says_which_channels_are_left_without_a_credential() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let check = |folder| printed(tollgate(folder, &["check"]));
    assert!(!check(folder).contains("warning"));
    created(folder, &["ci"]);
    let said = check(folder);
    assert!(
        said.contains("warning: the channel `openai` has no `api_key`"),
        "{said}"
    );
    let settings =
        "channels: [{name: a, base_url: 'https://api.openai.com/v1', api_key: sk-0123456789}]";
    fs::write(folder.join("tollgate.yaml"), settings).unwrap();
    assert!(!check(folder).contains("no `api_key`"));
}

#[test]
fn a_key_whose_channel_left_the_settings_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let settings = |channel: &str| {
        let channel = format!("{{name: {channel}, base_url: 'https://api.openai.com/v1'}}");
        fs::write(
            folder.join("tollgate.yaml"),
            format!("channels: [{channel}]"),
        )
        .unwrap();
    };
    settings("west");
    created(
        folder,
        &["d", "--default-channel", "west", "--channel", "west"],
    );
    created(folder, &["gone", "--channel", "west"]);
    created(folder, &["any"]);
    let (code, _, said) = told(tollgate(folder, &["keys", "revoke", "gone"]));
    assert_eq!(code, 0, "{said}");
    assert!(!printed(tollgate(folder, &["check"])).contains("no channel"));
    assert_eq!(
        listed(folder)["keys"][0]["missing_channels"],
        serde_json::json!([])
    );

    settings("east");
    let said = printed(tollgate(folder, &["check"]));
    assert_eq!(said.matches("which is no channel").count(), 1, "{said}");
    assert!(
        said.contains("warning: the key `d` is bound to `west`"),
        "{said}"
    );
    let list = listed(folder);
    assert_eq!(
        list["keys"][0]["missing_channels"],
        serde_json::json!(["west"])
    );
    assert_eq!(list["keys"][2]["missing_channels"], serde_json::json!([]));
    let table = printed(tollgate(folder, &["keys", "list"]));
    assert!(table.contains("west; no channel: west"), "{table}");
}

#[test]
fn a_made_key_is_revoked_though_one_of_the_settings_has_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    created(folder, &["ci"]);
    let settings = "keys: [{name: ci, key: key-of-the-settings}]";
    fs::write(folder.join("tollgate.yaml"), settings).unwrap();
    let revoke = || told(tollgate(folder, &["keys", "revoke", "ci"]));
    let (code, stdout, said) = revoke();
    assert_eq!((code, stdout.as_str()), (0, "The key `ci` is revoked.\n"));
    assert!(
        said.contains("of the settings is named `ci` too and stays"),
        "{said}"
    );
    let list = listed(folder);
    assert_eq!(list["keys"][0]["state"], "good", "{list}");
    assert_eq!(list["keys"][1]["state"], "revoked", "{list}");
    // Now there is the settings' alone.
    let (code, _, said) = revoke();
    assert_eq!(code, 64);
    assert!(said.contains("one of the settings' `keys`"), "{said}");
}

#[test]
fn a_lost_secret_is_told_and_a_damaged_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    created(folder, &["ci"]);
    let secret = folder.join("data/key-secret");
    fs::write(&secret, "short").unwrap();
    let (code, _, stderr) = told(tollgate(folder, &["keys", "create", "other"]));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("key-secret") && stderr.contains("5 bytes"),
        "{stderr}"
    );
    assert_eq!(listed(folder)["keys"].as_array().unwrap().len(), 1);
}
