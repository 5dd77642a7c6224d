//! `tollgate notify test`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use tollgate::ledger::Closed;

use crate::traffic::rules::{USD, rules, spend};
use crate::traffic::{self, PATIENCE};
use crate::{NOBODY, printed, told, tollgate};

/// A server that answers one request, and what it was sent.
fn server(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim_end().to_lowercase();
            if let Some(stated) = line.strip_prefix("content-length: ") {
                length = stated.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(body).unwrap()
    });
    (address, served)
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const REFUSED: &str =
    "HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\nconnection: close\r\n\r\nno_service";

/// The part of an address that nobody may see.
const SECRET: &str = "C4n4ryS3cr3t";

fn folder(slack: &str, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        "timezone: Europe/Berlin\n\
         receivers:\n\
         - name: ops\n  slack: {{url: 'http://{slack}/services/{SECRET}'}}\n\
         - name: ops-zh\n  language: zh\n  slack: {{url: 'http://{slack}/services/{SECRET}'}}\n{more}"
    );
    fs::write(folder.path().join("tollgate.yaml"), settings).unwrap();
    folder
}

#[test]
fn what_a_receiver_took_is_shown() {
    let (address, served) = server(TAKEN);
    let folder = folder(&address.to_string(), "");
    let answer = printed(tollgate(folder.path(), &["notify", "test", "ops"]));
    assert!(
        answer.contains("Test: ChannelDailySpend critical: azure-1 $103.20 of $100.00"),
        "{answer}"
    );
    assert!(answer.ends_with("\nsent: `ops` took it\n"), "{answer}");
    assert!(!answer.contains(SECRET), "{answer}");
    let body = served.join().unwrap();
    assert!(body.contains("closed channel azure-1"), "{body}");
}

#[test]
fn a_receiver_that_refuses_fails_the_command_and_says_why() {
    let (address, served) = server(REFUSED);
    let folder = folder(&address.to_string(), "");
    let arguments = ["notify", "test", "ops", "--kind", "channel"];
    let (code, answer, error) = told(tollgate(folder.path(), &arguments));
    assert_eq!((code, error.as_str()), (1, ""), "{answer}");
    assert!(answer.contains("\nrefused (gone): "), "{answer}");
    assert!(!answer.contains(SECRET), "{answer}");
    assert!(
        served
            .join()
            .unwrap()
            .contains("Channel azure-1 closed by the breaker")
    );
}

#[test]
fn nobody_is_told_in_a_dry_run() {
    let folder = folder(NOBODY, "");
    let arguments = ["notify", "test", "ops-zh", "--kind", "digest", "--dry-run"];
    let answer = printed(tollgate(folder.path(), &arguments));
    assert!(answer.contains("测试：daily：$123.45（+23 %）"), "{answer}");
    let (code, answer, _) = told(tollgate(folder.path(), &arguments[..5]));
    assert_eq!(code, 1);
    assert!(answer.contains("not taken now (connect): "), "{answer}");
    assert!(!answer.contains(SECRET), "{answer}");
}

#[test]
fn a_rules_own_words_are_shown() {
    let folder = folder(NOBODY, "rules: [rules.yaml]\ntemplates: {alert: mine.j2}\n");
    fs::write(
        folder.path().join("rules.yaml"),
        "groups:\n- name: g\n  rules:\n  - alert: TeamSpend\n    metric: cost\n    window: day\n    by: [key]\n    \
         warning: 5 USD\n    annotations: {summary: '{{ labels.key }} spent {{ value }}'}\n",
    )
    .unwrap();
    fs::write(
        folder.path().join("mine.j2"),
        "Mine: {{ title }}\n{{ alerts[0].summary }}\n",
    )
    .unwrap();
    let arguments = ["notify", "test", "ops", "--dry-run", "--alert", "TeamSpend"];
    let (code, answer, note) = told(tollgate(folder.path(), &arguments));
    assert_eq!(code, 0, "{note}");
    assert_eq!(
        note,
        "note: `TeamSpend` has not fired yet: the values are made up\n"
    );
    assert!(
        answer.contains("Test: Mine: TeamSpend warning: sample $5.25 of $5.00"),
        "{answer}"
    );
    assert!(answer.contains("sample spent 5.25 USD"), "{answer}");
}

#[test]
fn what_a_rule_did_last_is_told_in_both_languages() {
    let text = "groups:\n- name: g\n  mode: enforce\n  rules:\n  - alert: Spend\n    metric: cost\n    window: day\n    \
                by: [channel]\n    critical: 5 USD\n    actions:\n    - disable_channel: {until: 2h}\n    - block: {}\n";
    let folder = folder(NOBODY, "rules: [rules.yaml]\n");
    fs::write(folder.path().join("rules.yaml"), text).unwrap();
    let ledger = traffic::open(&folder.path().join("data"));
    let (channels, _) = traffic::channels(&ledger);
    spend(&rules(&ledger, &channels, text), "spare", None, 6 * USD);
    assert!(ledger.flush(PATIENCE));
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);

    let said = |receiver: &str| {
        let arguments = ["notify", "test", receiver, "--dry-run", "--alert", "Spend"];
        printed(tollgate(folder.path(), &arguments))
    };
    let (en, zh) = (said("ops"), said("ops-zh"));
    assert!(
        en.contains("Test: Spend critical: spare $6.00 of $5.00"),
        "{en}"
    );
    assert!(en.contains("closed channel spare until "), "{en}");
    assert!(
        en.contains("refusing requests with status 429 until "),
        "{en}"
    );
    assert!(zh.contains("测试：Spend 严重：spare $6.00 / $5.00"), "{zh}");
    assert!(zh.contains("关闭渠道 spare，至 "), "{zh}");
    assert!(zh.contains("拒绝请求（状态码 429），至 "), "{zh}");
}

#[test]
fn names_and_templates_that_are_none_are_told() {
    let folder = folder(NOBODY, "templates: {digest: bad.j2}\nrules: []\n");
    fs::write(folder.path().join("bad.j2"), "{{ title }}\n{{ totl }}\n").unwrap();
    let error = |arguments: &[&str]| {
        let (code, answer, error) = told(tollgate(folder.path(), arguments));
        assert_eq!((code, answer.as_str()), (64, ""), "{error}");
        error
    };
    let unknown = error(&["notify", "test", "opz"]);
    assert_eq!(
        unknown,
        "error: there is no receiver `opz`; did you mean `ops`?\n"
    );
    let template = error(&["notify", "test", "ops"]);
    assert!(
        template.contains("bad.j2:2:1: templates.digest: there is no `totl`; there are "),
        "{template}"
    );
    fs::write(folder.path().join("bad.j2"), "{{ title }}\n").unwrap();
    let rule = error(&["notify", "test", "ops", "--alert", "Nothing"]);
    assert_eq!(
        rule,
        "error: there is no rule `Nothing`: the settings have no `rules`\n"
    );
}
