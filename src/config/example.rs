//! Tests of the shipped example: it is the documentation of every key.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::reader::{ENVIRONMENT_TWINS, Reader};
use super::tree::{Node, Value, parse};
use super::{load, sections};

const EXAMPLE: &str = include_str!("../../tollgate.example.yaml");

/// What excludes another line: `upstream` for `channels`, one of two ways to give a secret.
const ALTERNATIVES: [&str; 7] = [
    "upstream:",
    "#    token:",
    "#    url_file:",
    "#    secret:",
    "#    password:",
    "#    bearer:",
    "#    hmac_secret:",
];

/// The example with its optional lines made real: `#key` and `#  key` are settings, `# Words` are
/// words.
fn in_full() -> String {
    made_real(EXAMPLE.lines())
}

/// As [`in_full`], without what excludes another.
fn without_alternatives() -> String {
    let is_one = |line: &&str| ALTERNATIVES.iter().any(|begin| line.starts_with(begin));
    made_real(EXAMPLE.lines().filter(|line| !is_one(line)))
}

fn made_real<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => rest,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Every key below `node`, with `[]` for the members of a list.
fn keys(node: &Node, path: &str, found: &mut BTreeSet<String>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let path = format!("{path}{}", entry.key);
                keys(&entry.node, &format!("{path}."), found);
                found.insert(path);
            }
        }
        Value::List(items) => {
            for item in items {
                keys(item, &format!("{}[].", path.trim_end_matches('.')), found);
            }
        }
        Value::Null | Value::Scalar(_) | Value::Refused => {}
    }
}

#[test]
fn names_every_key_and_every_environment_twin() {
    let full = in_full();
    let (root, flaws) = parse(&full);
    assert_eq!(flaws, []);
    let root = root.unwrap();
    let here = Path::new(".");
    let mut reader = Reader::new(None, here, here, &|_| None);
    sections::read(&mut reader, &root, here);

    let mut shown = BTreeSet::new();
    keys(&root, "", &mut shown);
    let missing: Vec<&String> = reader.known.difference(&shown).collect();
    assert!(missing.is_empty(), "not in the example: {missing:?}");
    assert!(reader.known.contains("channels[].api_key_file"));

    for (key, variable) in ENVIRONMENT_TWINS {
        assert!(reader.known.contains(*key), "no such key: {key}");
        assert!(
            EXAMPLE.contains(&format!("# Environment: {variable}\n")),
            "{variable}"
        );
    }
}

#[test]
fn its_optional_lines_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("full.yaml");
    fs::write(&file, without_alternatives()).unwrap();
    for part in ["secrets", "templates", "tls"] {
        fs::create_dir(folder.path().join(part)).unwrap();
    }
    for (name, text) in [
        ("secrets/spare-key", "key"),
        ("secrets/azure-key", "key"),
        ("secrets/team-b-key", "a-key-of-team-b-alone"),
        ("secrets/new-api-token", "token"),
        ("secrets/admin-token", "token"),
        ("secrets/read-token", "read"),
        ("secrets/metrics-token", "token"),
        ("secrets/openai-admin-key", "sk-admin"),
        ("tls/cert.pem", "-----BEGIN CERTIFICATE-----"),
        ("my-prices.yaml", "prices: []"),
        ("tls/key.pem", "-----BEGIN PRIVATE KEY-----"),
        ("tls/mail-ca.pem", "-----BEGIN CERTIFICATE-----"),
        (
            "secrets/telegram-token",
            "1234567:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
        ),
        ("secrets/feishu-secret", "secret"),
        ("secrets/dingtalk-secret", "SEC"),
        ("secrets/mail-password", "pass word"),
        ("secrets/hook-token", "token"),
        ("secrets/hook-key", "key"),
        ("secrets/alertmanager-token", "token"),
        ("templates/alert.j2", ""),
        ("templates/channel.j2", ""),
        ("templates/digest.j2", ""),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let env = |name: &str| match name {
        "OPENAI_API_KEY" => Some("sk-1".to_owned()),
        "FEISHU_URL" => Some("https://open.feishu.cn/open-apis/bot/v2/hook/1".to_owned()),
        "WECOM_URL" => Some("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=1".to_owned()),
        "DINGTALK_URL" => Some("https://oapi.dingtalk.com/robot/send?access_token=1".to_owned()),
        "SLACK_URL" => Some("https://hooks.slack.com/services/T0/B0/1".to_owned()),
        "TEAM_A_KEY" => Some("a-key-of-team-a-alone".to_owned()),
        _ => None,
    };
    let loaded = load(Some(&file), &env, folder.path()).unwrap_or_else(|told| panic!("{told}"));
    assert_eq!(loaded.settings.channels.len(), 3);
    assert_eq!(loaded.settings.keys.len(), 2);
    assert!(loaded.settings.sources.new_api.is_some());
    assert!(loaded.settings.tls.is_some());
    assert!(loaded.settings.admin.read_token.is_some());
    assert!(loaded.settings.admin.metrics_token.is_some());
    assert_eq!(loaded.settings.notify.receivers.len(), 8);
    assert_eq!(loaded.settings.notify.digests.len(), 3);
}
