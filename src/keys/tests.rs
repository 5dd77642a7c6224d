//! Keys over their life, with a running sidecar and without.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::rules::Rules;
use super::{BadKey, Denied, Keys, KeysError, NewKey, make, off, revoke};
use crate::clock::UnixMicros;
use crate::config::{KeyGrant, KeySettings, ModelPattern, Secret, Settings};
use crate::ledger::{self, KeyError, Ledger, Takeover};

const NOW: UnixMicros = UnixMicros(1_000);

fn new(name: &str) -> NewKey {
    NewKey {
        name: name.into(),
        grant: KeyGrant::default(),
        made_by: "alice".into(),
    }
}

fn open(settings: &Settings) -> (Ledger, Keys) {
    let files = ledger::Settings::new(&settings.data_dir);
    let ledger = Ledger::open(&files, Takeover::Refuse).unwrap();
    let keys = Keys::open(settings, ledger.key_writer()).unwrap();
    (ledger, keys)
}

fn with_a_key(folder: &Path) -> Settings {
    let mut settings = Settings::defaults(folder);
    settings.keys.push(KeySettings {
        name: "file".into(),
        secret: Secret::new("of-the-settings"),
        grant: KeyGrant::default(),
    });
    settings
}

fn who(keys: &Keys, text: &str) -> Result<Option<Arc<str>>, Denied> {
    let found = keys.ring().identify(Some(text.as_bytes()), NOW);
    found.map(|caller| caller.name)
}

#[test]
fn keys_are_made_kept_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::defaults(folder.path());
    let (ledger, keys) = open(&settings);
    assert!(who(&keys, "sk-own").is_ok());
    let made = keys.create(new("a"), NOW).unwrap();
    let text = made.text.expose();
    assert_eq!(text.len(), 46, "{text}");
    assert!(text.starts_with("tg-"));
    assert_eq!(who(&keys, text), Ok(Some("a".into())));
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
    assert_ne!(keys.create(new("b"), NOW).unwrap().text, made.text);
    drop(ledger);

    // Without a sidecar, and with the next one.
    let third = make(&settings, new("c"), NOW).unwrap();
    let (ledger, keys) = open(&settings);
    assert_eq!(who(&keys, text), Ok(Some("a".into())));
    assert_eq!(who(&keys, third.text.expose()), Ok(Some("c".into())));
    keys.revoke(&"a".into(), NOW).unwrap();
    assert_eq!(who(&keys, text), Err(Denied::Unknown));
    drop(ledger);
    revoke(&settings, &"b".into(), NOW).unwrap();
    revoke(&settings, &"c".into(), NOW).unwrap();
    let (_ledger, keys) = open(&settings);
    // The end of the last key opens nothing.
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
}

#[test]
fn the_way_back_is_open_once_no_key_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::defaults(folder.path());
    let (ledger, keys) = open(&settings);
    assert!(!keys.off().unwrap());
    let mut short = new("short");
    short.grant.expires_at = Some(UnixMicros(1_001));
    keys.create(short, NOW).unwrap();
    let left = keys.off().unwrap_err();
    assert!(
        matches!(&left, KeysError::Ledger(KeyError::Living(names)) if **names == ["short".into()]),
        "{left}"
    );
    keys.revoke(&"short".into(), NOW).unwrap();
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
    assert!(keys.off().unwrap());
    assert!(who(&keys, "sk-own").is_ok() && !keys.are_required());
    assert!(!keys.off().unwrap());
    drop(ledger);
    let (ledger, keys) = open(&settings);
    assert!(who(&keys, "sk-own").is_ok());
    // And closed again by the next one.
    keys.create(new("next"), NOW).unwrap();
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
    drop(ledger);
    assert!(off(&settings).is_err());
    revoke(&settings, &"next".into(), NOW).unwrap();
    assert!(off(&settings).unwrap());
    assert!(!off(&settings).unwrap());
    let (_ledger, keys) = open(&settings);
    assert!(who(&keys, "sk-own").is_ok());
}

#[test]
fn a_ledger_that_cannot_be_read_refuses_nobody_where_no_key_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::defaults(folder.path());
    let (ledger, _) = open(&settings);
    let writer = ledger.key_writer();
    drop(ledger);
    let database = settings.data_dir.join("tollgate.db");
    let kept = std::fs::read(&database).unwrap();
    std::fs::write(&database, "this is no database at all").unwrap();
    let open_unread = |settings: &Settings| {
        let keys = Keys::open(settings, writer.clone()).unwrap();
        keys.settle();
        assert!(!keys.is_settled());
        keys
    };
    let keys = open_unread(&settings);
    assert!(who(&keys, "sk-own").is_ok() && !keys.refuse_everybody());
    let keys = open_unread(&with_a_key(folder.path()));
    assert_eq!(who(&keys, "of-the-settings"), Ok(Some("file".into())));
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));

    ledger::require_keys(&settings.data_dir).unwrap();
    let keys = open_unread(&with_a_key(folder.path()));
    assert_eq!(who(&keys, "of-the-settings"), Ok(Some("file".into())));
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unread));
    assert!(!keys.refuse_everybody());
    let keys = open_unread(&settings);
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unread));
    assert!(keys.refuse_everybody());
    // A change that fails reads them all the same.
    std::fs::write(&database, kept).unwrap();
    assert!(keys.create(new("a"), NOW).is_err());
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
}

#[test]
fn a_folder_from_before_there_were_markers_gets_one_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::defaults(folder.path());
    make(&settings, new("a"), NOW).unwrap();
    let marker = settings.data_dir.join("keys-required");
    std::fs::remove_file(&marker).unwrap();
    let (ledger, keys) = open(&settings);
    assert!(marker.exists());
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
    drop(ledger);
}

#[test]
fn a_key_of_the_settings_is_one_as_any() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with_a_key(folder.path());
    let (_ledger, keys) = open(&settings);
    assert_eq!(who(&keys, "of-the-settings"), Ok(Some("file".into())));
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
    for refused in [
        keys.create(new("file"), NOW).map(|_| ()),
        keys.revoke(&"file".into(), NOW).map(|_| ()),
    ] {
        assert!(
            matches!(refused, Err(KeysError::Bad(BadKey::OfSettings(_)))),
            "{refused:?}"
        );
    }
    let left = keys.off().unwrap_err().to_string();
    assert!(left.contains("`keys`: `file`;"), "{left}");
}

#[test]
fn a_made_key_with_the_name_of_one_of_the_settings_can_be_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let made = make(&Settings::defaults(folder.path()), new("file"), NOW).unwrap();
    let (_ledger, keys) = open(&with_a_key(folder.path()));
    assert_eq!(who(&keys, made.text.expose()), Ok(Some("file".into())));
    keys.revoke(&"file".into(), NOW).unwrap();
    assert_eq!(who(&keys, made.text.expose()), Err(Denied::Unknown));
    assert_eq!(who(&keys, "of-the-settings"), Ok(Some("file".into())));
    let none = keys.revoke(&"file".into(), NOW);
    assert!(
        matches!(none, Err(KeysError::Bad(BadKey::OfSettings(_)))),
        "{none:?}"
    );
}

#[test]
fn a_key_that_makes_no_sense_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with_a_key(folder.path());
    let rules = Rules::of(&settings);
    let with = |change: &dyn Fn(&mut KeyGrant)| {
        let mut key = new("a");
        change(&mut key.grant);
        rules.check(&key, NOW)
    };
    let tags = |tags: &[(&str, &str)]| -> BTreeMap<String, String> {
        let tags = tags.iter().copied();
        tags.map(|(name, value)| (name.into(), value.into()))
            .collect()
    };
    for name in ["", "..", "a b", "ä", "a/b", &"n".repeat(65)] {
        assert_eq!(
            rules.check(&new(name), NOW),
            Err(BadKey::Name(name.into())),
            "{name}"
        );
    }
    assert_eq!(
        rules.check(&new("fp-a"), NOW),
        Err(BadKey::Fingerprint("fp-a".into()))
    );
    assert_eq!(
        with(&|grant| grant.expires_at = Some(NOW)),
        Err(BadKey::Expired(NOW))
    );
    assert_eq!(
        with(&|grant| grant.models = Some(vec![ModelPattern::new("")])),
        Err(BadKey::NoModel)
    );
    assert_eq!(
        with(&|grant| grant.channels = Some(Vec::new())),
        Err(BadKey::NoChannel)
    );
    assert_eq!(
        with(&|grant| grant.channel = Some("opnai".into())),
        Err(BadKey::NoSuchChannel("opnai".into()))
    );
    for bad in [("", "x"), ("a b", "x"), ("a", ""), ("a", "x,b=y")] {
        assert!(
            matches!(
                with(&|grant| grant.tags = tags(&[("ok", "1"), bad])),
                Err(BadKey::Tag(_))
            ),
            "{bad:?}"
        );
    }
    let fits = with(&|grant| {
        grant.expires_at = Some(UnixMicros(1_001));
        grant.models = Some(vec![ModelPattern::new("gpt-5*")]);
        grant.channels = Some(vec!["openai".into()]);
        grant.channel = Some("openai".into());
        grant.tags = tags(&[("team", "a b"), ("x", "1")]);
    });
    assert_eq!(fits, Ok(()));
}

#[test]
fn a_made_key_does_not_print_itself() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::defaults(folder.path());
    let (_ledger, keys) = open(&settings);
    let made = keys.create(new("a"), NOW).unwrap();
    let printed = format!("{made:?} {keys:?}");
    assert!(!printed.contains(made.text.expose()), "{printed}");
    assert!(printed.contains("\"a\""), "{printed}");
}

#[test]
fn a_secret_that_cannot_be_kept_keeps_nobody_out_until_a_key_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with_a_key(folder.path());
    let data_dir = &settings.data_dir;
    // What is in its place can neither be read nor replaced.
    let blocked = data_dir.join("key-secret");
    std::fs::create_dir_all(&blocked).unwrap();
    let (ledger, keys) = open(&settings);
    assert_eq!(who(&keys, "of-the-settings"), Ok(Some("file".into())));
    let refused = keys.create(new("a"), NOW).unwrap_err();
    assert!(matches!(refused, KeysError::Pepper(_)), "{refused}");
    keys.settle();
    assert!(!keys.is_settled());
    // As soon as it can be, at the first need, or without one.
    std::fs::remove_dir(&blocked).unwrap();
    let made = keys.create(new("a"), NOW).unwrap();
    assert_eq!(who(&keys, made.text.expose()), Ok(Some("a".into())));
    drop(ledger);
    let (ledger, keys) = open(&settings);
    assert_eq!(who(&keys, made.text.expose()), Ok(Some("a".into())));
    drop(ledger);

    // A key was made with what was there.
    std::fs::remove_file(&blocked).unwrap();
    std::fs::create_dir(&blocked).unwrap();
    let ledger = Ledger::open(&ledger::Settings::new(data_dir), Takeover::Refuse).unwrap();
    let refused = Keys::open(&settings, ledger.key_writer()).unwrap_err();
    assert!(refused.to_string().contains("key-secret"), "{refused}");
}

#[test]
fn another_secret_that_appears_holds_for_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with_a_key(folder.path());
    let blocked = settings.data_dir.join("key-secret");
    std::fs::create_dir_all(&blocked).unwrap();
    let (ledger, keys) = open(&settings);
    std::fs::remove_dir(&blocked).unwrap();
    std::fs::write(&blocked, [7; 32]).unwrap();
    assert!(ledger.recovery().wait(std::time::Duration::from_secs(60)));
    keys.settle();
    assert!(keys.is_settled());
    let made = keys.create(new("a"), NOW).unwrap();
    drop(ledger);
    let (_ledger, next) = open(&settings);
    for keys in [keys, next] {
        assert_eq!(who(&keys, "of-the-settings"), Ok(Some("file".into())));
        assert_eq!(who(&keys, made.text.expose()), Ok(Some("a".into())));
    }
}

#[test]
fn what_the_process_before_changed_last_is_known_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::defaults(folder.path());
    let (old, before) = open(&settings);
    let first = before.create(new("first"), NOW).unwrap();
    let files = ledger::Settings::new(&settings.data_dir);
    let ledger = Ledger::open(&files, Takeover::Wait).unwrap();
    let keys = Keys::open(&settings, ledger.key_writer()).unwrap();
    assert_eq!(who(&keys, first.text.expose()), Ok(Some("first".into())));

    before.revoke(&"first".into(), NOW).unwrap();
    let second = before.create(new("second"), NOW).unwrap();
    keys.settle();
    assert_eq!(who(&keys, first.text.expose()), Err(Denied::Unknown));
    assert_eq!(who(&keys, second.text.expose()), Ok(Some("second".into())));
    // It may change more.
    assert!(!keys.is_settled());
    before.revoke(&"second".into(), NOW).unwrap();
    drop(old);
    let over = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !keys.is_settled() {
        assert!(std::time::Instant::now() < over);
        let _ = ledger.recovery().wait(std::time::Duration::from_secs(1));
        keys.settle();
    }
    assert_eq!(who(&keys, second.text.expose()), Err(Denied::Unknown));
    assert_eq!(who(&keys, "sk-own"), Err(Denied::Unknown));
}
