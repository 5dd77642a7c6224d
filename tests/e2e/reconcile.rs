//! `tollgate reconcile`: a ledger of real requests against a provider's usage and cost API, in the
//! shapes of OpenAI's reference.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};

use crate::support::answers::{self, SERVED_MODEL};
use crate::support::client::Request;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Received, Script, Upstream};

const KEY: &str = "sk-admin-canary";
const DAY: i64 = 86_400;

/// What the bill says, by path below `/v1/organization/`; pages in order.
type Pages = BTreeMap<&'static str, Vec<Value>>;

/// A provider's usage and cost API.
struct Biller {
    upstream: Upstream,
    /// The start of the day that the bill is about, in seconds.
    day: Arc<OnceLock<i64>>,
    pages: Arc<Mutex<Pages>>,
}

fn answer(status: &str, body: &Value) -> Script {
    Answer::new(status)
        .header("content-type", "application/json")
        .body(body.to_string())
}

fn query(request: &Received) -> Vec<(String, String)> {
    let (_, query) = request.target.split_once('?').unwrap();
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs
        .map(|(name, value)| (name.replace("%5B%5D", "[]"), value.to_owned()))
        .collect()
}

fn one<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    let found = query.iter().find(|(given, _)| given == name);
    found.map(|(_, value)| value.as_str())
}

impl Biller {
    /// Asks for the key, answers 429 once before each first page, and gives results page by page.
    fn start() -> Self {
        let day = Arc::new(OnceLock::new());
        let pages: Arc<Mutex<Pages>> = Arc::default();
        let (the_day, the_pages) = (Arc::clone(&day), Arc::clone(&pages));
        let busy = Mutex::new(Vec::new());
        let upstream = Upstream::start(move |request| {
            if request.headers.get("authorization") != Some(&format!("Bearer {KEY}")) {
                let message = format!("Incorrect API key provided: {KEY}.");
                return answer(
                    "401 Unauthorized",
                    &json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}}),
                );
            }
            let path = request.target.split('?').next().unwrap();
            let path = path.strip_prefix("/v1/organization/").unwrap();
            let query = query(request);
            let mut busy = busy.lock().unwrap();
            if !busy.contains(&path.to_owned()) {
                busy.push(path.to_owned());
                return Answer::new("429 Too Many Requests")
                    .header("retry-after", "0")
                    .body(r#"{"error":{"message":"Slow down."}}"#);
            }
            let pages = the_pages.lock().unwrap();
            let pages = pages.get(path).map_or(&[][..], Vec::as_slice);
            let page: usize = one(&query, "page").map_or(0, |page| page.parse().unwrap());
            let day = *the_day.get().unwrap();
            let results = pages.get(page).cloned().unwrap_or_else(|| json!([]));
            let more = page + 1 < pages.len();
            let empty = json!({"object": "bucket", "start_time": day - DAY, "end_time": day, "results": []});
            answer(
                "200 OK",
                &json!({
                    "object": "page",
                    "data": [empty, {"object": "bucket", "start_time": day, "end_time": day + DAY, "results": results}],
                    "has_more": more,
                    "next_page": more.then(|| (page + 1).to_string()),
                }),
            )
        });
        Self {
            upstream,
            day,
            pages,
        }
    }

    fn says(&self, pages: impl IntoIterator<Item = (&'static str, Vec<Value>)>) {
        *self.pages.lock().unwrap() = pages.into_iter().collect();
    }
}

fn used(model: &str, requests: u64, input: u64, output: u64) -> Value {
    json!({
        "object": "organization.usage.completions.result",
        "input_tokens": input, "input_cached_tokens": 0, "output_tokens": output,
        "num_model_requests": requests, "project_id": null, "user_id": null, "api_key_id": null,
        "model": model, "batch": false, "service_tier": null,
    })
}

/// `value` as it stands in the answer, which `json!` would make a float of.
fn costs(line_item: &str, value: &str) -> Value {
    json!({
        "object": "organization.costs.result",
        "amount": {"value": value, "currency": "usd"},
        "line_item": line_item, "project_id": null, "quantity": null,
    })
}

/// A Tollgate in front of the scripted provider, which asks `biller` for its bill, after two
/// Responses calls (280 tokens each), an embedding (6 tokens) and one that the provider refused.
fn with_traffic(biller: &Biller, more: &str) -> (Tollgate, Upstream, tempfile::TempDir) {
    let provider = Upstream::start(|request| {
        if request.target.ends_with("/moderations") {
            return answers::error("400 Bad Request", "invalid_request_error", "bad");
        }
        answers::provider(request)
    });
    let secrets = tempfile::tempdir().unwrap();
    let key = secrets.path().join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    let billing = format!(
        "sources: {{billing: {{base_url: '{}', admin_key_file: '{}'{more}}}}}",
        biller.upstream.base_url(),
        key.display()
    );
    let tollgate = Setup::upstream(&provider.base_url())
        .setting(&billing)
        .start();
    for (path, body) in [
        (
            "/v1/responses",
            json!({"model": "gpt-5-mini", "input": "parsed"}),
        ),
        (
            "/v1/responses",
            json!({"model": "gpt-5-mini", "input": "parsed"}),
        ),
        (
            "/v1/embeddings",
            json!({"model": "text-embedding-3-small", "input": "parsed"}),
        ),
        (
            "/v1/moderations",
            json!({"model": "omni-moderation-latest", "input": "parsed"}),
        ),
    ] {
        tollgate.send(&Request::json(path, &body));
    }
    let rows = tollgate.ledger().exactly(4);
    let started = rows[0].int("started_at").unwrap() / 1_000_000;
    biller.day.set(started - started % DAY).unwrap();
    (tollgate, provider, secrets)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn reconciled(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

#[test]
fn a_bill_that_agrees_and_what_it_has_besides() {
    let biller = Biller::start();
    // By two pages and by line items; the first three digits beyond a nano-dollar are of floats.
    biller.says([
        (
            "usage/completions",
            vec![
                json!([used(SERVED_MODEL, 1, 200, 80)]),
                json!([used(SERVED_MODEL, 1, 200, 80)]),
            ],
        ),
        (
            "usage/embeddings",
            vec![json!([{
                "object": "organization.usage.embeddings.result", "input_tokens": 6,
                "num_model_requests": 1, "model": SERVED_MODEL,
            }])],
        ),
        (
            "costs",
            vec![json!([
                costs("gpt-5-mini-2025-08-07, input", "0.0000695"),
                costs(
                    "gpt-5-mini-2025-08-07, cached input",
                    "3.2000000000000004e-06"
                ),
                costs("gpt-5-mini-2025-08-07, output", "0.00032"),
                costs("web search tool calls", "0.01"),
            ])],
        ),
    ]);
    let (tollgate, _provider, _secrets) = with_traffic(&biller, ", project: proj_1");
    let json = reconciled(&tollgate.run(&["reconcile", "--since", "2d", "--format", "json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{json:#}");
    assert_eq!(rows[0]["model"], "gpt-5-mini");
    assert_eq!(
        rows[0]["ledger"],
        json!({"requests": 3, "input_tokens": 406, "output_tokens": 160, "cost_usd": "0.0003927"})
    );
    assert_eq!(rows[0]["bill"], rows[0]["ledger"]);
    assert_eq!(rows[0]["causes"], json!([]));
    // A request that the provider refused is on no bill.
    assert_eq!(rows[1]["ledger"]["requests"], 0, "{json:#}");
    assert_eq!(rows[1]["causes"], json!([]));
    assert_eq!(json["unmapped"][0]["line_item"], "web search tool calls");
    assert_eq!(json["unmapped"][0]["cost_usd"], "0.01");

    for request in biller.upstream.received() {
        let query = query(&request);
        let get = |name| one(&query, name).unwrap();
        let (start, end): (i64, i64) = (
            get("start_time").parse().unwrap(),
            get("end_time").parse().unwrap(),
        );
        assert_eq!((start % DAY, end % DAY), (0, 0), "{}", request.target);
        assert_eq!(end - start, 3 * DAY);
        assert_eq!(get("bucket_width"), "1d");
        assert_eq!(get("project_ids[]"), "proj_1");
        let costs = request.target.starts_with("/v1/organization/costs");
        assert_eq!(get("group_by[]"), if costs { "line_item" } else { "model" });
    }
    let table = reconciled(&tollgate.run(&["reconcile", "--since", "2d", "--by", "model"]));
    assert!(table.contains("agrees"), "{table}");
    assert!(table.contains("web search tool calls"), "{table}");
    assert!(!table.contains("canary"), "{table}");
}

#[test]
fn a_difference_has_its_likely_cause() {
    let biller = Biller::start();
    biller.says([
        (
            "usage/completions",
            vec![json!([
                used(SERVED_MODEL, 9, 9_000, 900),
                used("o3-2025-04-16", 1, 5, 5)
            ])],
        ),
        (
            "costs",
            vec![json!([
                costs("gpt-5-mini-2025-08-07, input", "0.5"),
                costs("o3-2025-04-16, output", "0.04")
            ])],
        ),
    ]);
    let (tollgate, _provider, _secrets) = with_traffic(&biller, "");
    let csv = reconciled(&tollgate.run(&["reconcile", "--since", "2d", "--format", "csv"]));
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 4, "{csv}");
    assert!(
        lines[1].ends_with(
            ",gpt-5-mini,3,9,406,9000,160,900,0.0003927,0.5,-0.4996073,delayed not_through_tollgate other_projects"
        ),
        "{csv}"
    );
    assert!(
        lines[2].ends_with(",o3,,1,,5,,5,,0.04,-0.04,delayed not_through_tollgate other_projects"),
        "{csv}"
    );
    let table = reconciled(&tollgate.run(&["reconcile", "--since", "2d"]));
    assert!(
        table.contains("the provider counted more requests than came through Tollgate"),
        "{table}"
    );
    assert!(table.contains("sources.billing.project"), "{table}");

    // Without a running sidecar the ledger's files do.
    let mut tollgate = tollgate;
    tollgate.stop();
    assert_eq!(
        reconciled(&tollgate.run(&["reconcile", "--since", "2d"])),
        table
    );
}

/// What a command that fails says.
fn failure(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert_eq!(text(&output.stdout), "");
    let told = text(&output.stderr);
    assert!(!told.contains("canary"), "{told}");
    told
}

#[test]
fn a_provider_that_does_not_show_its_bill() {
    let secrets = tempfile::tempdir().unwrap();
    let key = secrets.path().join("key");
    fs::write(&key, KEY).unwrap();
    let told = |script: Script| {
        let biller = Upstream::always(script);
        let tollgate = Setup::upstream("http://127.0.0.1:1/v1")
            .setting(&format!(
                "sources: {{billing: {{base_url: '{}'}}}}",
                biller.base_url()
            ))
            .start();
        let key = key.to_str().unwrap();
        let told = failure(&tollgate.run(&["reconcile", "--admin-key-file", key]), 1);
        (told, biller.received().len())
    };
    let error = |status: &str, message: &str| {
        answer(
            status,
            &json!({"error": {"message": message, "type": "x", "param": null, "code": null}}),
        )
    };

    let (wrong, tries) = told(error(
        "401 Unauthorized",
        &format!("Incorrect API key provided: {KEY}"),
    ));
    assert!(wrong.contains("refuses the admin key (401)"), "{wrong}");
    assert!(wrong.contains("sources.billing.admin_key_file"), "{wrong}");
    assert!(wrong.contains("admin-keys"), "{wrong}");
    assert_eq!(tries, 1, "a wrong key stays wrong");
    for status in ["403 Forbidden", "401 Unauthorized"] {
        let message =
            "You have insufficient permissions for this operation. Missing scopes: api.usage.read.";
        let (told, _) = told(error(status, message));
        assert!(told.contains("it is not an admin key"), "{told}");
        assert!(told.contains("sources.billing.admin_key_file"), "{told}");
    }
    let (bad, _) = told(error("400 Bad Request", &format!("no such day, {KEY}")));
    assert!(bad.contains("answered 400: no such day, [secret]"), "{bad}");

    for (body, reason) in [
        ("{\"data\": [", "EOF while parsing"),
        ("<html>", "expected value"),
        ("{\"object\":\"list\"}", "missing field `data`"),
        (
            r#"{"data":[{"start_time":0,"results":[{"num_model_requests":-1}]}]}"#,
            "invalid value: integer `-1`",
        ),
        (
            r#"{"data":[],"has_more":true,"next_page":"again"}"#,
            "its pages do not end",
        ),
        (r#"{"data":[],"has_more":true}"#, "without a `next_page`"),
    ] {
        let script = Answer::new("200 OK")
            .header("content-type", "application/json")
            .body(body);
        let (told, _) = told(script);
        assert!(told.contains("no page of usage or costs"), "{told}");
        assert!(told.contains(reason), "{body}: {told}");
    }
    let (busy, tries) = told(
        Answer::new("503 Service Unavailable")
            .header("retry-after", "0")
            .body("overloaded"),
    );
    assert!(busy.contains("answered 503"), "{busy}");
    assert_eq!(tries, 6);
}

#[test]
fn without_a_key_or_a_channel_there_is_nothing_to_compare() {
    let setup = Setup::upstream("http://127.0.0.1:1/v1");
    let elsewhere = setup.start();
    let told = failure(&elsewhere.run(&["reconcile"]), 64);
    assert!(told.contains("no channel goes to api.openai.com"), "{told}");
    let told = failure(&elsewhere.run(&["reconcile", "--channel", "openai"]), 64);
    assert!(told.contains("OPENAI_ADMIN_KEY"), "{told}");
    let secrets = tempfile::tempdir().unwrap();
    let key = secrets.path().join("key");
    fs::write(&key, KEY).unwrap();
    let unknown = ["reconcile", "--channel", "opnai", "--admin-key-file"];
    let unknown = [unknown.as_slice(), &[key.to_str().unwrap()]].concat();
    let told = failure(&elsewhere.run(&unknown), 64);
    assert!(
        told.contains("--channel opnai") && told.contains("they have: openai"),
        "{told}"
    );
    let told = failure(
        &elsewhere.run(&[
            "reconcile",
            "--channel",
            "openai",
            "--admin-key-file",
            "nowhere",
        ]),
        64,
    );
    assert!(
        told.contains("--admin-key-file: nowhere: No such file"),
        "{told}"
    );
    let told = failure(
        &elsewhere.run(&["reconcile", "--since", "now", "--until", "9d"]),
        64,
    );
    assert!(
        told.contains("no day between --since and --until"),
        "{told}"
    );
}

#[test]
fn a_date_is_the_bills_day_wherever_the_reader_lives() {
    let biller = Biller::start();
    let yesterday = jiff::Timestamp::now().as_second() / DAY * DAY - DAY;
    biller.day.set(yesterday).unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let key = secrets.path().join("key");
    fs::write(&key, KEY).unwrap();
    let base_url = biller.upstream.base_url();
    let tollgate = Setup::upstream("http://127.0.0.1:1/v1")
        .setting(&format!("sources: {{billing: {{base_url: '{base_url}'}}}}"))
        .setting("timezone: Asia/Shanghai")
        .start();
    let date = |seconds| {
        let moment = jiff::Timestamp::from_second(seconds).unwrap();
        moment.strftime("%Y-%m-%d").to_string()
    };
    let (since, until) = (date(yesterday), date(yesterday + DAY));
    let key = key.to_str().unwrap();
    let output = tollgate.run(&[
        "reconcile",
        "--channel=openai",
        "--format=json",
        "--since",
        &since,
        "--until",
        &until,
        "--admin-key-file",
        key,
    ]);
    let answer: Value = serde_json::from_str(&reconciled(&output)).unwrap();
    assert!(
        answer["since"].as_str().unwrap().starts_with(&since),
        "{answer:#}"
    );
    assert!(
        answer["until"].as_str().unwrap().starts_with(&until),
        "{answer:#}"
    );
}
