//! Rules in the path of the requests: what a budget has no room for does not go up, and whoever asked
//! is told so in the words that make clients stop.

mod budgets;
mod channels;
mod endings;
mod kinds;
mod refusals;
mod sockets;

use serde_json::{Value, json};

use crate::support::answers;
use crate::support::client::{Request, Response};
use crate::support::ledger::Row;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Script, Upstream};

const CHAT: &str = "/v1/chat/completions";

/// What a request for `MOST` tokens of output may cost at most, and what it costs when `USED` were
/// written, in nano-dollars: a token is a thousandth of a dollar, and input is free.
const WORST: i64 = MOST * TOKEN;
const COST: i64 = USED * TOKEN;
const MOST: i64 = 100;
const USED: i64 = 60;
const TOKEN: i64 = 1_000_000;

/// A model that is easy to reckon with.
const PRICES: &str = "prices:
- {model: metered, per_million: {input: 0, output: 1000}, images_as_text: true,
   max_input_tokens: 1000, max_output_tokens: 1000}
- {model: metered-2, per_million: {input: 0, output: 1000}, max_input_tokens: 1000, max_output_tokens: 1000}
";

/// These rules, and the prices of the model.
fn ruled(setup: Setup, rules: &str) -> Setup {
    let mut listed = String::from("groups:\n- name: test\n  mode: enforce\n  rules:");
    for line in rules.trim().lines() {
        listed.extend(["\n  ", line]);
    }
    setup
        .setting("prices: {files: [prices.yaml]}\nrules: [rules.yaml]")
        .file("prices.yaml", PRICES)
        .file("rules.yaml", &listed)
}

/// A budget of so many USD over thirty days that blocks, with `more` said of it.
fn budget(usd: &str, more: &str) -> String {
    format!(
        "- {{alert: Spend, metric: cost, window: 30d, critical: {usd} USD{more}, \
         actions: [{{block: {{}}}}]}}"
    )
}

fn before(upstream: &Upstream, rules: &str) -> Tollgate {
    ruled(Setup::upstream(&upstream.base_url()), rules).start()
}

/// A request for at most [`MOST`] tokens.
fn chat(model: &str) -> Request {
    Request::json(CHAT, &body(model))
}

fn body(model: &str) -> Value {
    json!({"model": model, "max_tokens": MOST, "messages": [{"role": "user", "content": "hello"}]})
}

fn answer(model: &str) -> String {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"},
            "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": USED, "total_tokens": 10 + USED}})
    .to_string()
}

fn ok() -> Script {
    answers::json("200 OK", &answer("metered"))
}

/// The events of a stream that uses as much.
fn events() -> Vec<String> {
    let event = |choices: Value, usage: Value| {
        let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "metered",
            "choices": choices, "usage": usage});
        format!("data: {event}\n\n")
    };
    let delta = |text: &str| json!([{"index": 0, "delta": {"content": text}}]);
    vec![
        event(delta("Hello"), Value::Null),
        event(delta(" world"), Value::Null),
        event(
            json!([]),
            json!({"prompt_tokens": 10, "completion_tokens": USED, "total_tokens": 10 + USED}),
        ),
        "data: [DONE]\n\n".to_owned(),
    ]
}

/// A refusal by the rule `Spend`.
fn assert_blocked(response: &Response) {
    assert_eq!(response.status, 429, "{response:?}");
    for (name, value) in [
        ("x-tollgate-error", "insufficient_quota"),
        ("x-tollgate-rule", "Spend"),
        ("x-should-retry", "false"),
    ] {
        assert_eq!(response.headers.get(name), Some(value), "{response:?}");
    }
}

/// What the ledger's rows come to, in nano-dollars: what they cost or are taken to have cost.
fn spent(rows: &[Row]) -> i64 {
    let cost = |row: &Row| row.int("cost_nanousd").or(row.int("assumed_cost_nanousd"));
    rows.iter().filter_map(cost).sum()
}
