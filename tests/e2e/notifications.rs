//! What people are told while requests pass, and what their answers do.

mod answers;
mod changes;
mod crashes;
mod digests;
mod flood;
mod life;
mod machines;
mod quiet;
mod waiting;

use serde_json::{Value, json};

use crate::support::client::{Request, Response};
use crate::support::receivers::telegram::{ANN, GROUP, TOKEN, TelegramJudge};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::Upstream;
use crate::support::{answers as provided, eventually};

/// A receiver in the group's chat, whose members may answer.
fn telegram(judge: &TelegramJudge) -> String {
    format!(
        "receivers:\n- name: ops\n  telegram:\n    token: '{TOKEN}'\n    chat: {GROUP}\n    \
         api_url: {}\n    answers: {{users: [{}]}}\n",
        judge.api_url(),
        ANN.id
    )
}

/// These receivers, each with its line end.
fn receivers(list: &[&str]) -> String {
    format!("receivers:\n{}", list.concat())
}

/// Everything at once, so that a test need not wait.
const AT_ONCE: &str = "routes: {group_wait: 0s, group_interval: 1s, repeat_interval: 4h}\n\
                       notices: {wait: 0s, interval: 1s}\n";

/// Channels before one upstream that answers, and rules (in flow style, a line each).
fn setup(upstream: &Upstream, channels: &[&str], rules: &[&str]) -> Setup {
    let base_url = upstream.base_url();
    let channels: Vec<_> = channels
        .iter()
        .map(|name| (*name, &*base_url, ""))
        .collect();
    let listed: Vec<String> = rules
        .iter()
        .map(|rule| format!("  - {{{rule}}}\n"))
        .collect();
    let listed = listed.concat();
    Setup::channels(&channels)
        .setting("rules: [rules.yaml]")
        .file(
            "rules.yaml",
            &format!("groups:\n- name: test\n  mode: enforce\n  rules:\n{listed}"),
        )
}

fn answering() -> Upstream {
    Upstream::start(provided::provider)
}

fn send(tollgate: &Tollgate, channel: &str) -> Response {
    let messages = json!([{"role": "user", "content": "plain"}]);
    let body = json!({"model": "gpt-5-mini", "max_tokens": 10, "messages": messages});
    let path = format!("/c/{channel}/v1/chat/completions");
    tollgate.send(&Request::json(&path, &body))
}

fn state_of(tollgate: &Tollgate, channel: &str) -> String {
    let shown = tollgate
        .admin(&format!("/api/v1/channels/{channel}"))
        .json();
    shown["state"].as_str().unwrap().to_owned()
}

/// The notifications, the newest first.
fn told(tollgate: &Tollgate) -> Vec<Value> {
    let listed = tollgate.admin("/api/v1/notifications?limit=1000").json();
    listed["notifications"].as_array().unwrap().clone()
}

/// Waits until none is left to be sent.
fn until_told(tollgate: &Tollgate, count: usize) -> Vec<Value> {
    eventually("everything is told", || {
        let told = told(tollgate);
        let open = told.iter().any(|known| known["result"] == "open");
        (told.len() >= count && !open).then_some(told)
    })
}
