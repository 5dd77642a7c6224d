//! The official SDKs of Anthropic, Google and Azure, and OpenRouter's surface: callers see what they
//! would see without Tollgate, each call has its row, and Tollgate's own refusals arrive as the
//! exceptions that each SDK makes of them.

use serde_json::{Value, json};

use crate::support::client::{Connection, Request};
use crate::support::clients::{self, Call, Mock};
use crate::support::ledger::Row;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Step, Upstream};

const MODEL: &str = "gpt-5-mini";

/// One call of a surface and what its row says.
struct Kind {
    surface: &'static str,
    prompt: &'static str,
    stream: bool,
    outcome: &'static str,
}

impl Kind {
    /// The API that the row names.
    fn api(&self) -> &'static str {
        match self.surface {
            "messages" => "messages",
            "gemini" => "gemini",
            _ => "chat",
        }
    }

    fn call(&self, n: usize, channel: &'static str) -> Call {
        Call {
            n,
            channel,
            api: self.surface,
            model: MODEL,
            prompt: self.prompt,
            stream: self.stream,
            include_usage: None,
            how: "parsed",
        }
    }
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for surface in ["messages", "gemini", "azure", "openrouter"] {
        for (prompt, outcome) in [
            ("chat-short", "ok"),
            ("chat-long", "ok"),
            ("chat-zero", "ok"),
            ("chat-cost", "ok"),
            ("fail-400", "upstream_error"),
            ("fail-429", "rate_limited"),
            ("fail-503", "upstream_error"),
        ] {
            for stream in [false, true] {
                kinds.push(Kind {
                    surface,
                    prompt,
                    stream,
                    outcome,
                });
            }
        }
    }
    kinds
}

/// The number of the call, from its tag.
fn number(row: &Row) -> usize {
    row.json("tags")["n"].as_str().unwrap().parse().unwrap()
}

#[test]
fn the_sdks_of_every_provider_see_what_a_direct_call_sees() {
    if clients::left_out() {
        return;
    }
    let mock = Mock::start();
    let tollgate = Setup::channels(&[("mock", mock.origin(), ", kind: anthropic")]).start();
    let bases = [
        ("direct", mock.origin().to_owned()),
        ("through", format!("http://{}", tollgate.address())),
    ];
    let kinds = kinds();
    let calls: Vec<Call> = kinds
        .iter()
        .enumerate()
        .flat_map(|(n, kind)| [kind.call(2 * n, "direct"), kind.call(2 * n + 1, "through")])
        .collect();
    let mut seen = clients::providers(&bases, &calls);
    let mut rows = tollgate.ledger().exactly(kinds.len());
    rows.sort_by_key(number);
    for (n, (kind, row)) in kinds.iter().zip(&rows).enumerate() {
        let context = format!(
            "{} {} stream={}: {row:#?}",
            kind.surface, kind.prompt, kind.stream
        );
        let direct = without_number(seen.remove(&(2 * n)).unwrap());
        let through = without_number(seen.remove(&(2 * n + 1)).unwrap());
        assert_eq!(direct, through, "{context}");
        assert_eq!(
            through["error"].is_null(),
            kind.outcome == "ok",
            "{context}"
        );
        assert_eq!(row.outcome(), kind.outcome, "{context}");
        assert_eq!(row.text("api"), Some(kind.api()), "{context}");
        assert_eq!(row.text("requested_model"), Some(MODEL), "{context}");
        if kind.outcome == "ok" {
            let usage = clients::fixture_usage(kind.prompt);
            let tokens = vec![
                ("input", usage["prompt_tokens"].as_i64().unwrap()),
                ("output", usage["completion_tokens"].as_i64().unwrap()),
            ];
            assert_eq!(row.tokens(), tokens, "{context}");
            assert_eq!(row.text("usage_source"), Some("reported"), "{context}");
        }
        if kind.surface == "openrouter" && kind.prompt == "chat-cost" {
            assert_eq!(row.int("cost_nanousd"), Some(1_234_500), "{context}");
            assert_eq!(row.text("price_version"), Some("stated"), "{context}");
        }
    }
}

fn without_number(mut seen: Value) -> Value {
    seen["n"] = Value::Null;
    seen
}

#[test]
fn refusals_are_the_exceptions_of_each_sdk() {
    if clients::left_out() {
        return;
    }
    let silent = Upstream::always(vec![Step::Hang]);
    let closed = "http://127.0.0.1:1/v1";
    let limited = |base_url: &str, limits: &str| {
        Setup::upstream(base_url)
            .setting(&format!("limits: {{{limits}}}"))
            .start()
    };
    let unreachable = Tollgate::before(closed);
    let narrow = limited(closed, "request_body: 16B, buffered_body: 16B");
    let impatient = limited(&silent.base_url(), "first_byte: 300ms");
    let full = limited(&silent.base_url(), "in_flight: 1");
    let mut occupying = Connection::open(full.address());
    let request = Request::json("/v1/chat/completions", &json!({"model": MODEL}));
    occupying.write(&request.bytes()).unwrap();
    silent.until("the only place is taken", |received| !received.is_empty());

    let origin = |tollgate: &Tollgate| format!("http://{}", tollgate.address());
    let cases = [
        ("connect_error", origin(&unreachable)),
        ("no_channel", format!("{}/c/nowhere", origin(&unreachable))),
        ("body_too_large", origin(&narrow)),
        ("too_many_in_flight", origin(&full)),
        ("first_byte_timeout", origin(&impatient)),
    ];
    let mut calls = Vec::new();
    for (case, _) in &cases {
        for surface in ["messages", "gemini", "azure"] {
            let kind = Kind {
                surface,
                prompt: "chat-long",
                stream: false,
                outcome: "refused",
            };
            calls.push(kind.call(calls.len(), case));
        }
    }
    let seen = clients::providers(&cases, &calls);
    let lines = calls.iter().map(|call| {
        let error = &seen[&call.n]["error"];
        let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        format!(
            "{} {}: {} {}\n  {}\n",
            call.channel,
            call.api,
            word("type"),
            error["status"],
            word("said")
        )
    });
    insta::assert_snapshot!(lines.collect::<String>());
}
