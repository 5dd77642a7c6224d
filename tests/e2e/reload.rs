//! Rules and settings that change while it runs.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::client::Request;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::Upstream;
use crate::support::{answers, eventually};

/// A folder of rules, and a Tollgate that reads them.
struct Ruled {
    folder: TempDir,
    tollgate: Tollgate,
}

fn requests_a_day(limit: &str) -> String {
    format!(
        "groups:\n- name: test\n  mode: enforce\n  rules:\n  - {{alert: Requests, metric: requests, \
         window: day, critical: {limit}, actions: [{{block: {{}}}}]}}\n"
    )
}

fn ruled(upstream: &Upstream, rules: &str) -> Ruled {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("own.yaml"), rules).unwrap();
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting(&format!("rules: ['{}/*.yaml']", folder.path().display()))
        .start();
    Ruled { folder, tollgate }
}

impl Ruled {
    fn file(&self) -> PathBuf {
        self.folder.path().join("own.yaml")
    }

    fn write(&self, rules: &str) {
        fs::write(self.file(), rules).unwrap();
    }

    fn status(&self) -> u16 {
        let messages = json!([{"role": "user", "content": "plain"}]);
        let body = json!({"model": "gpt-5-mini", "messages": messages});
        let request = Request::json("/v1/chat/completions", &body);
        self.tollgate.send(&request).status
    }

    /// Waits until `what` was logged so often.
    fn until_logged(&self, what: &str, times: usize) {
        eventually(&format!("{what:?} is logged {times} times"), || {
            (self.tollgate.log().matches(what).count() >= times).then_some(())
        });
    }

    fn gauge(&self, name: &str) -> f64 {
        let metrics = self.tollgate.metrics();
        assert_eq!(metrics.matching(name, &[]).count(), 1, "{name}");
        metrics.sum(name, &[])
    }
}

const IN_FORCE: &str = "the rules changed and are in force";
const READ_AGAIN: &str = "the settings and rules were read again";
const WRONG: &str = "the settings or rules are wrong";
const SUCCESS: &str = "tollgate_config_reload_success";
const SINCE: &str = "tollgate_config_reload_timestamp_seconds";

#[test]
fn an_edited_limit_acts_and_nothing_that_was_counted_is_lost() {
    let upstream = Upstream::start(answers::provider);
    let ruled = ruled(&upstream, &requests_a_day("10 requests"));
    let started = ruled.gauge(SINCE);
    assert!(ruled.gauge(SUCCESS) > 0.0 && started > 0.0);
    for _ in 0..3 {
        assert_eq!(ruled.status(), 200);
    }
    // The change is noticed by itself.
    ruled.write(&requests_a_day("3 requests"));
    ruled.until_logged(IN_FORCE, 1);
    assert_eq!(ruled.status(), 429);
    assert!(ruled.gauge(SINCE) > started);
    // Or on request.
    ruled.write(&requests_a_day("4 requests"));
    ruled.tollgate.signal(Signal::HUP);
    ruled.until_logged(IN_FORCE, 2);
    assert_eq!(ruled.status(), 200);
    assert_eq!(ruled.status(), 429);
    // A rule that is new knows what was before it.
    let renamed = requests_a_day("4 requests").replace("Requests,", "Others,");
    ruled.write(&renamed);
    ruled.until_logged(IN_FORCE, 3);
    assert_eq!(ruled.status(), 429);
    ruled.write(&renamed.replace("4 requests", "5 requests"));
    ruled.until_logged(IN_FORCE, 4);
    assert_eq!(ruled.status(), 200);
    assert_eq!(ruled.status(), 429);
    assert_eq!(upstream.received().len(), 5);
}

#[test]
fn a_bad_edit_leaves_the_old_rules_and_says_where_it_is_wrong() {
    let upstream = Upstream::start(answers::provider);
    let ruled = ruled(&upstream, &requests_a_day("1 request"));
    assert_eq!(ruled.status(), 200);
    ruled.write("groups:\n- name: test\n  rules:\n  - {alert: A, metric: bananas, window: day}\n");
    ruled.until_logged(WRONG, 1);
    assert!(ruled.gauge(SUCCESS) < 1.0);
    let told = format!("{}:4:", ruled.file().display());
    assert!(ruled.tollgate.log().contains(&told), "{told}");
    assert_eq!(ruled.status(), 429);
    // Told once, and again when somebody asks.
    ruled.tollgate.signal(Signal::HUP);
    ruled.until_logged(WRONG, 2);
    assert_eq!(ruled.status(), 429);
    ruled.write(&requests_a_day("2 requests"));
    ruled.until_logged(IN_FORCE, 1);
    assert!(ruled.gauge(SUCCESS) > 0.0);
    assert_eq!(ruled.tollgate.log().matches(WRONG).count(), 2);
    assert_eq!(ruled.status(), 200);
    assert_eq!(ruled.status(), 429);
    // Wrong rules are no reason to stop what runs, but one not to start.
    ruled.write("groups: [");
    let mut second = ruled.tollgate.successor(&[]);
    assert_eq!(second.wait().unwrap().code(), Some(64));
}

#[test]
fn settings_that_need_a_restart_are_named_and_budgets_are_not_among_them() {
    let upstream = Upstream::start(answers::provider);
    let ruled = ruled(&upstream, &requests_a_day("10 requests"));
    let config = ruled.tollgate.config();
    let before = fs::read_to_string(config).unwrap();
    let after =
        format!("{before}limits: {{idle: 7s}}\ntimezone: Europe/Berlin\nbudgets: {{lease: 1h}}\n");
    fs::write(config, after).unwrap();
    ruled.until_logged(IN_FORCE, 1);
    let log = ruled.tollgate.log();
    let named = log
        .lines()
        .find(|line| line.contains("come into force with a restart only"))
        .unwrap();
    assert!(named.contains("timezone, limits"), "{named}");
    assert!(!named.contains("budgets"), "{named}");
    assert!(ruled.gauge(SUCCESS) > 0.0);
    assert_eq!(ruled.status(), 200);
}

#[test]
fn a_hangup_never_ends_it() {
    let upstream = Upstream::start(answers::provider);
    let mut ruled = ruled(&upstream, &requests_a_day("10 requests"));
    ruled.tollgate.kill();
    ruled.tollgate.launch_again();
    // Perhaps before it is ready, perhaps while it reads the files for the one before.
    for _ in 0..5 {
        ruled.tollgate.signal(Signal::HUP);
    }
    ruled.tollgate.until_ready();
    ruled.until_logged(READ_AGAIN, 1);
    assert_eq!(ruled.status(), 200);
    assert!(ruled.tollgate.stop().success());
}

#[test]
fn without_files_there_is_nothing_to_read_and_a_hangup_is_no_matter() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    tollgate.signal(Signal::HUP);
    eventually("the settings are read again", || {
        tollgate.log().contains(READ_AGAIN).then_some(())
    });
    assert!(tollgate.stop().success());
}
