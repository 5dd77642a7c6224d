//! The golden table: for every API and every way an answer can end, the row that the ledger holds.
//! The cases are the files of `tests/golden`; `tests/golden/exchange.rs` says how one is written.

use std::fmt::Write;

use crate::exchange::{End, Exchange, exchanges};
use crate::support::answers;
use crate::support::client::Request;
use crate::support::ledger::Row;
use crate::support::tollgate::Tollgate;
use crate::support::upstream::{Answer, Script, Step, Upstream, chunk, last_chunk};

/// The field by which the upstream finds a request's answer.
pub(crate) const CASE: &str = "x-case";

/// Columns that differ from run to run, or that another column says already.
const LEFT_OUT: &[&str] = &[
    "id",
    // A fingerprint: different in each data folder.
    "key",
    "sequence",
    "started_at",
    "channel",
    "method",
    "path",
    "attempts",
    "request_bytes",
    "response_bytes",
    "upstream_bytes",
    "source",
    "tags",
    "price_version",
];

/// The columns a reader looks for first; the others follow by name.
const FIRST: &[&str] = &[
    "api",
    "outcome",
    "status",
    "error_source",
    "error_code",
    "requested_model",
    "served_model",
    "service_tier",
    "stream",
    "usage_source",
    "input_tokens",
    "input_cached_tokens",
    "input_cache_write_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "output_tokens",
    "reasoning_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "total_tokens",
];

fn request(case: &Exchange) -> Request {
    let mut request = Request::new(&case.method, &case.target).header(CASE, &case.name);
    for (name, value) in &case.request_fields {
        request = request.header(name, value);
    }
    let named = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
    if case.request_body.is_empty() {
        return request;
    }
    if !case.request_fields.iter().any(named) {
        request = request.header("content-type", "application/json");
    }
    request.body(&case.request_body)
}

/// The answer: event streams and what is cut in the middle come in chunks of odd sizes.
pub(crate) fn script(case: &Exchange) -> Script {
    let mut answer = Answer::new(&case.status);
    for (name, value) in &case.fields {
        answer = answer.header(name, value);
    }
    let body = match &case.coding {
        Some(coding) => {
            answer = answer.header("content-encoding", coding);
            answers::compress(coding, &case.body)
        }
        None => case.body.clone(),
    };
    let streams = case
        .content_type()
        .is_some_and(|kind| kind.starts_with("text/event-stream"));
    if case.end == End::Whole && !streams {
        return answer.body(body);
    }
    let mut script = answer.open_chunked();
    script.extend(body.chunks(97).map(chunk));
    script.push(match case.end {
        End::Whole | End::Early => last_chunk(),
        End::Cut => Step::Close,
        End::Reset => Step::Reset,
        End::Left => Step::Hang,
    });
    script
}

/// Plays a case and returns the id of its request.
fn play(case: &Exchange, upstream: &Upstream, tollgate: &Tollgate) -> String {
    let request = request(case);
    if case.end == End::Left {
        let mut answer = request.start(tollgate.address());
        let id = answer.headers().get("x-tollgate-request-id").unwrap();
        let id = id.to_owned();
        let mut seen = Vec::new();
        answer.read_until(&mut seen, &String::from_utf8_lossy(&case.body));
        return id;
    }
    let through = request.send(tollgate.address());
    assert_eq!(through.status, case.status_code(), "{}", case.name);
    // A connection that is reset may lose what was sent before; one that is closed may not.
    if case.end != End::Reset {
        let direct = request.send(upstream.address());
        assert_eq!(direct.seen(), through.seen(), "{}", case.name);
    }
    through.request_id()
}

/// What is known of a request, `name=value` one after the other.
fn line(row: &Row) -> String {
    let mut stated = row.stated();
    stated.retain(|(name, _)| !LEFT_OUT.contains(&name.as_str()) && !name.ends_with("_us"));
    let place = |name: &str| FIRST.iter().position(|first| *first == name);
    stated.sort_by_key(|(name, _)| (place(name).unwrap_or(FIRST.len()), name.clone()));
    let words = stated.iter().map(|(name, value)| {
        let name = name.strip_suffix("_tokens").unwrap_or(name);
        if value.contains(' ') {
            format!("{name}={value:?}")
        } else {
            format!("{name}={value}")
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn golden_table() {
    let cases = exchanges();
    let answers = cases.clone();
    let upstream = Upstream::start(move |request| {
        let name = request.headers.get(CASE).unwrap();
        script(answers.iter().find(|case| case.name == name).unwrap())
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    let played: Vec<_> = cases
        .iter()
        .map(|case| play(case, &upstream, &tollgate))
        .collect();
    let mut table = String::new();
    for (case, id) in cases.iter().zip(&played) {
        let row = tollgate.ledger().request(id);
        writeln!(table, "{}\n  {}", case.name, line(&row)).unwrap();
    }
    insta::with_settings!({snapshot_path => "../golden", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("table", table);
    });
}
