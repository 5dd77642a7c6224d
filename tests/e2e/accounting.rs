//! A thousand calls of the official clients: each has exactly one row, every sum agrees, and the
//! callers saw what they would have seen without Tollgate.

use std::collections::BTreeMap;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::answers::{self, Truth};
use crate::support::clients::{self, Call, Mock, Seen};
use crate::support::ledger::{Row, TOKEN_TYPES};
use crate::support::metrics::Metrics;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::Upstream;

const CALLS: usize = 1000;

/// One kind of call and what the ledger must say of it.
struct Kind {
    channel: &'static str,
    api: &'static str,
    prompt: &'static str,
    stream: bool,
    include_usage: Option<bool>,
    how: &'static str,
    outcome: &'static str,
    tokens: Vec<(&'static str, i64)>,
}

impl Kind {
    fn new(channel: &'static str, api: &'static str, prompt: &'static str, stream: bool) -> Self {
        let tokens = match (channel, api) {
            ("scripted", "chat") => answers::CHAT_TOKENS.to_vec(),
            ("scripted", "responses") => answers::RESPONSES_TOKENS.to_vec(),
            ("scripted", "completions") => answers::COMPLETIONS_TOKENS.to_vec(),
            ("scripted", _) => answers::EMBEDDINGS_TOKENS.to_vec(),
            // The mock counts nothing in embeddings, and says so.
            (_, "embeddings") => vec![("input", 0)],
            _ => fixture_tokens(prompt),
        };
        Self {
            channel,
            api,
            prompt,
            stream,
            include_usage: None,
            how: "parsed",
            outcome: "ok",
            tokens,
        }
    }

    fn asking(mut self, include_usage: bool) -> Self {
        self.include_usage = Some(include_usage);
        self
    }

    fn raw(mut self) -> Self {
        self.how = "raw";
        self
    }

    /// Ends like that, with nothing counted.
    fn ends(mut self, outcome: &'static str) -> Self {
        self.outcome = outcome;
        self.tokens.clear();
        self
    }

    /// It ends in the middle: Tollgate counts the prompt, a word, and what came of the answer.
    fn breaks_off(self, outcome: &'static str) -> Self {
        let tokens = match self.api {
            "chat" => vec![("input", 5), ("output", 1)],
            "responses" => vec![("input", 1), ("output", 1)],
            _ => vec![("input", 1), ("output", 2)],
        };
        Self {
            tokens,
            ..self.ends(outcome)
        }
    }

    fn aborted(mut self) -> Self {
        self.how = "abort";
        self.breaks_off("client_closed")
    }
}

fn fixture_tokens(prompt: &str) -> Vec<(&'static str, i64)> {
    let usage = clients::fixture_usage(prompt);
    let count = |one: &str, other: &str| usage[one].as_i64().or(usage[other].as_i64());
    let input = count("prompt_tokens", "input_tokens").map(|count| ("input", count));
    let output = count("completion_tokens", "output_tokens").map(|count| ("output", count));
    input.into_iter().chain(output).collect()
}

fn kinds() -> Vec<Kind> {
    let mock = |api, prompt, stream| Kind::new("mock", api, prompt, stream);
    let scripted = |api, prompt, stream| Kind::new("scripted", api, prompt, stream);
    vec![
        mock("chat", "chat-short", false),
        mock("chat", "chat-long", false).raw(),
        mock("chat", "chat-long", true),
        mock("chat", "chat-long", true).raw(),
        mock("chat", "chat-short", true).asking(true),
        mock("chat", "chat-long", true).asking(true).raw(),
        mock("chat", "chat-zero", true).asking(false),
        mock("responses", "responses-short", false),
        mock("responses", "responses-short", true).raw(),
        mock("responses", "responses-long", true),
        mock("responses", "responses-long", false).raw(),
        mock("embeddings", "embed-one", false),
        mock("chat", "fail-400", false).ends("upstream_error"),
        mock("chat", "fail-429", true).ends("rate_limited"),
        mock("responses", "fail-429", false).ends("rate_limited"),
        mock("chat", "fail-quota", false).ends("quota_exhausted"),
        mock("responses", "fail-503", true).ends("upstream_error"),
        scripted("chat", "plain", false).raw(),
        scripted("chat", "plain", true),
        scripted("chat", "gzip", true).asking(true).raw(),
        scripted("chat", "gzip", false),
        scripted("responses", "plain", true).raw(),
        scripted("responses", "gzip", true),
        scripted("responses", "deflate", false),
        scripted("completions", "plain", false),
        scripted("completions", "plain", true),
        scripted("completions", "plain", true).asking(true).raw(),
        scripted("completions", "gzip", false).raw(),
        scripted("embeddings", "plain", false),
        scripted("embeddings", "gzip", false).raw(),
        scripted("chat", "hold", true).aborted(),
        scripted("responses", "hold", true).aborted(),
        scripted("completions", "hold", true).aborted(),
        scripted("chat", "cut", true).breaks_off("upstream_error"),
        scripted("responses", "cut", true).breaks_off("upstream_error"),
        scripted("completions", "fail", false).ends("upstream_error"),
        scripted("embeddings", "fail", false).ends("upstream_error"),
    ]
}

fn calls(kinds: &[Kind]) -> Vec<Call> {
    let call = |(n, kind): (usize, &Kind)| Call {
        n,
        channel: kind.channel,
        api: kind.api,
        model: "gpt-5-mini",
        prompt: kind.prompt,
        stream: kind.stream,
        include_usage: kind.include_usage,
        how: kind.how,
    };
    kinds
        .iter()
        .cycle()
        .enumerate()
        .take(CALLS)
        .map(call)
        .collect()
}

/// Half of the calls by each SDK, at the same time.
fn make(calls: &[Call], bases: &[(&str, String)]) -> Seen {
    let (even, odd): (Vec<_>, Vec<_>) = calls.iter().cloned().partition(|call| call.n % 2 == 0);
    std::thread::scope(|scope| {
        let python = scope.spawn(|| clients::python(bases, &even));
        let mut seen = clients::javascript(bases, &odd);
        seen.append(&mut python.join().unwrap());
        seen
    })
}

#[test]
fn a_thousand_calls_of_the_official_clients_add_up() {
    if clients::left_out() {
        return;
    }
    let mock = Mock::start();
    let scripted = Upstream::start(answers::provider);
    let tollgate = Setup::channels(&[
        ("mock", mock.base_url(), ""),
        ("scripted", &scripted.base_url(), ""),
    ])
    .start();
    let kinds = kinds();
    let calls = calls(&kinds);
    let direct = [
        ("mock", mock.base_url().to_owned()),
        ("scripted", scripted.base_url()),
    ];
    let through = ["mock", "scripted"];
    let through = through.map(|name| (name, format!("http://{}/c/{name}/v1", tollgate.address())));
    let (seen_direct, seen_through) = std::thread::scope(|scope| {
        let direct = scope.spawn(|| make(&calls, &direct));
        let through = make(&calls, &through);
        (direct.join().unwrap(), through)
    });
    for call in &calls {
        assert_eq!(seen_direct[&call.n], seen_through[&call.n], "{call:?}");
        assert_eq!(seen_through[&call.n]["error"].is_null(), {
            let kind = &kinds[call.n % kinds.len()];
            ["ok", "client_closed"].contains(&kind.outcome)
        });
    }
    let rows = tollgate.ledger().exactly(CALLS);
    assert_rows(&kinds, &rows);
    let metrics = tollgate.metrics();
    assert_sums(&rows, &metrics);
    assert_other_tables(&tollgate, &rows);
    clients::promtool(&tollgate.admin("/metrics").body);
    assert_summary(&tollgate, &rows);
}

fn assert_rows(kinds: &[Kind], rows: &[Row]) {
    let by_call: BTreeMap<usize, &Row> = rows.iter().map(|row| (number(row), row)).collect();
    assert_eq!(by_call.len(), CALLS, "one row for each call");
    for (n, row) in by_call {
        let kind = &kinds[n % kinds.len()];
        let context = format!(
            "{} {} stream={}: {row:#?}",
            kind.api, kind.prompt, kind.stream
        );
        assert_eq!(row.outcome(), kind.outcome, "{context}");
        assert_eq!(row.tokens(), kind.tokens, "{context}");
        assert_eq!(row.text("channel"), Some(kind.channel), "{context}");
        assert_eq!(row.text("api"), Some(kind.api), "{context}");
        assert_eq!(row.text("requested_model"), Some("gpt-5-mini"), "{context}");
    }
}

/// The number of the call, from its tag.
fn number(row: &Row) -> usize {
    let tags = row.json("tags");
    tags["n"].as_str().unwrap().parse().unwrap()
}

/// Sums over rows, by what `key` says.
fn sums(rows: &[Row], value: impl Fn(&Row) -> i64) -> BTreeMap<(String, String), i64> {
    let mut sums = BTreeMap::new();
    for row in rows {
        let key = |column| row.text(column).unwrap().to_owned();
        *sums.entry((key("channel"), key("api"))).or_default() += value(row);
    }
    sums
}

fn assert_sums(rows: &[Row], metrics: &Metrics) {
    let assert_equal = |name: &str, labels: &[(&str, &str)], expected: f64| {
        let counted = metrics.sum(name, labels);
        assert!(
            (counted - expected).abs() < 1e-9 * expected.abs().max(1.0),
            "{name} {labels:?}: {counted} counted, {expected} in the ledger"
        );
    };
    #[allow(
        clippy::cast_precision_loss,
        reason = "sums of a thousand small numbers"
    )]
    let float = |number: i64| number as f64;
    for ((channel, api), count) in sums(rows, |_| 1) {
        let labels = [("channel", channel.as_str()), ("api", api.as_str())];
        assert_equal("tollgate_requests_total", &labels, float(count));
        assert_equal(
            "tollgate_request_duration_seconds_count",
            &labels,
            float(count),
        );
    }
    for kind in TOKEN_TYPES {
        let column = format!("{kind}_tokens");
        for ((channel, api), count) in sums(rows, |row| row.int(&column).unwrap_or(0)) {
            let labels = [
                ("channel", channel.as_str()),
                ("api", api.as_str()),
                ("type", kind),
            ];
            assert_equal("tollgate_tokens_total", &labels, float(count));
        }
    }
    for ((channel, api), nanousd) in sums(rows, |row| row.int("cost_nanousd").unwrap_or(0)) {
        let labels = [("channel", channel.as_str()), ("api", api.as_str())];
        assert_equal("tollgate_cost_usd_total", &labels, float(nanousd) / 1e9);
    }
    let mut outcomes: BTreeMap<&str, i64> = BTreeMap::new();
    for row in rows {
        *outcomes.entry(row.outcome()).or_default() += 1;
    }
    for (outcome, count) in outcomes {
        assert_equal(
            "tollgate_requests_total",
            &[("outcome", outcome)],
            float(count),
        );
    }
    let streams = rows
        .iter()
        .filter(|row| row.int("first_token_us").is_some())
        .count();
    let counted = metrics.sum("tollgate_time_to_first_token_seconds_count", &[]);
    assert!(
        (counted - float(streams.try_into().unwrap())).abs() < 1e-9,
        "{counted} {streams}"
    );
    assert_equal("tollgate_in_flight_requests", &[], 0.0);
}

/// The tables beside the rows add up to them.
fn assert_other_tables(tollgate: &Tollgate, rows: &[Row]) {
    let total = |column: &str| -> i64 { rows.iter().filter_map(|row| row.int(column)).sum() };
    let ledger = tollgate.ledger();
    let tries = ledger.query("SELECT COUNT(*) AS tries FROM attempts");
    assert_eq!(tries[0].int("tries"), Some(total("attempts")));
    let tokens = TOKEN_TYPES.map(|kind| format!("{kind}_tokens"));
    let columns = tokens.iter().map(String::as_str).chain(["cost_nanousd"]);
    for column in columns {
        let sum = format!("SELECT COALESCE(SUM({column}), 0) AS total FROM usage_minutely");
        assert_eq!(
            ledger.query(&sum)[0].int("total"),
            Some(total(column)),
            "{column}"
        );
    }
}

/// The admin API and the command say the same as the rows.
fn assert_summary(tollgate: &Tollgate, rows: &[Row]) {
    let total = |column: &str| -> i64 { rows.iter().filter_map(|row| row.int(column)).sum() };
    let summary = tollgate.admin("/api/v1/usage/summary");
    assert_eq!(summary.status, 200, "{summary:?}");
    let printed = tollgate.run(&["usage", "--since", "1d", "--format", "json"]);
    assert!(printed.status.success(), "{printed:?}");
    let printed = String::from_utf8(printed.stdout).unwrap();
    for said in [summary.text(), printed] {
        let value: Value = serde_json::from_str(&said).unwrap();
        let numbers = numbers(&value);
        for column in [
            "input_tokens",
            "output_tokens",
            "input_cached_tokens",
            "reasoning_tokens",
        ] {
            assert!(
                numbers.contains(&total(column)),
                "{column} {}: {value:#}",
                total(column)
            );
        }
        assert!(
            numbers.contains(&i64::try_from(CALLS).unwrap()),
            "{value:#}"
        );
    }
}

fn numbers(value: &Value) -> Vec<i64> {
    match value {
        Value::Number(number) => number.as_i64().into_iter().collect(),
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Object(members) => members.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_codex_cli_works_and_its_session_is_known() {
    if clients::left_out() {
        return;
    }
    let mock = Mock::start();
    let tollgate = Tollgate::before(mock.base_url());
    let home = TempDir::new().unwrap();
    let printed = clients::codex(home.path(), &tollgate.base_url(), "codex-turn");
    assert!(printed.contains("The work is done."), "{printed}");
    let rows = tollgate
        .ledger()
        .query("SELECT * FROM requests WHERE api = 'responses'");
    assert_eq!(rows.len(), 1, "{rows:#?}");
    let row = &rows[0];
    let tokens: Truth = &[("input", 9876), ("output", 54)];
    assert_eq!(row.tokens(), tokens, "{row:#?}");
    assert_eq!(
        row.text("requested_model"),
        Some("gpt-5.6-codex"),
        "{row:#?}"
    );
    // A UUID, which Codex also names the file of its rollout by.
    let session = row.text("session").unwrap();
    assert_eq!(session.len(), 36, "{row:#?}");
    assert_eq!(row.int("stream"), Some(1), "{row:#?}");
    assert_eq!(row.outcome(), "ok", "{row:#?}");
}
