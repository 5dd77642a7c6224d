//! Several channels: a request that one of them cannot take succeeds at another, and the client
//! knows nothing of it but a header.

mod bodies;
mod faults;
mod held;
mod models;
mod places;
mod protocols;

use serde_json::json;

use crate::support::answers;
use crate::support::client::{Request, Response};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Received, Script, Step, Upstream};

const CHAT: &str = "/v1/chat/completions";

/// A port that nobody listens on, and that no Tollgate is given either.
const DEAD: &str = "http://127.0.0.1:1/v1";

fn chat(model: &str) -> Request {
    Request::json(CHAT, &json!({"model": model, "messages": []}))
}

/// Two channels of the same models, with credentials of their own.
fn two(first: &str, second: &str) -> Setup {
    Setup::channels(&[
        ("first", first, ", api_key: sk-first"),
        ("second", second, ", api_key: sk-second"),
    ])
}

fn ok() -> Script {
    answers::json("200 OK", &answers::chat())
}

/// The tries of a request: channel, outcome, status, the provider's code.
fn attempts(tollgate: &Tollgate, response: &Response) -> Vec<Attempt> {
    attempts_of(tollgate, &response.request_id())
}

type Attempt = (String, String, Option<i64>, Option<String>);

fn attempts_of(tollgate: &Tollgate, id: &str) -> Vec<Attempt> {
    tollgate.ledger().request(id);
    let sql = format!("SELECT * FROM attempts WHERE request_id = '{id}' ORDER BY n");
    let rows = tollgate.ledger().query(&sql);
    rows.iter()
        .map(|row| {
            let text = |column| row.text(column).map(str::to_owned);
            (
                text("channel").unwrap_or_default(),
                row.outcome().to_owned(),
                row.int("status"),
                text("error_code"),
            )
        })
        .collect()
}

fn attempt(channel: &str, outcome: &str, status: Option<i64>, code: Option<&str>) -> Attempt {
    (
        channel.to_owned(),
        outcome.to_owned(),
        status,
        code.map(str::to_owned),
    )
}

/// How a first channel fails: its name and model, its script, and what the ledger says of its try.
type Failing = (
    &'static str,
    Script,
    &'static str,
    Option<i64>,
    Option<&'static str>,
);

fn failing() -> Vec<Failing> {
    let error = answers::error;
    let limited = |code| error("429 Too Many Requests", "requests", code);
    let failed = "upstream_error";
    vec![
        (
            "silent",
            vec![Step::Hang],
            "timeout",
            None,
            Some("first_byte_timeout"),
        ),
        ("reset", vec![Step::Reset], failed, None, Some(failed)),
        ("closed", vec![Step::Close], failed, None, Some(failed)),
        (
            "garbage",
            vec![Step::Send(b"SMTP\r\n\r\n".to_vec()), Step::Close],
            failed,
            None,
            Some(failed),
        ),
        (
            "timeout",
            error("408 Request Timeout", "t", "timeout"),
            failed,
            Some(408),
            None,
        ),
        (
            "broken",
            error("500 Internal Server Error", "server_error", "oops"),
            failed,
            Some(500),
            None,
        ),
        (
            "gateway",
            Answer::new("502 Bad Gateway").body("<html>"),
            failed,
            Some(502),
            None,
        ),
        (
            "overloaded",
            error("529 Overloaded", "overloaded_error", "busy"),
            failed,
            Some(529),
            None,
        ),
        (
            "limited",
            limited("rate_limit_exceeded"),
            "rate_limited",
            Some(429),
            Some("rate_limit_exceeded"),
        ),
        (
            "unexplained",
            Answer::new("429 Too Many Requests").body(""),
            "rate_limited",
            Some(429),
            None,
        ),
        (
            "poor",
            limited("insufficient_quota"),
            "quota_exhausted",
            Some(429),
            Some("insufficient_quota"),
        ),
        (
            "unpaid",
            error("402 Payment Required", "billing", "balance"),
            "quota_exhausted",
            Some(402),
            Some("balance"),
        ),
        (
            "stranger",
            error("401 Unauthorized", "auth", "invalid_api_key"),
            failed,
            Some(401),
            Some("invalid_api_key"),
        ),
        (
            "forbidden",
            error("403 Forbidden", "auth", "not_you"),
            failed,
            Some(403),
            Some("not_you"),
        ),
    ]
}

/// One upstream that fails each model in its own way.
fn failing_upstream() -> Upstream {
    Upstream::start(|request| {
        let model = request.json()["model"].as_str().unwrap().to_owned();
        let mut failing = failing().into_iter();
        failing.find(|row| row.0 == model).unwrap().1
    })
}

#[test]
fn whatever_a_channel_fails_in_another_one_answers() {
    let (bad, good) = (failing_upstream(), Upstream::always(ok()));
    // One channel for each way to fail, so that none is closed for what another did.
    let more: Vec<_> = failing()
        .iter()
        .map(|row| format!(", api_key: sk-bad, models: [{}]", row.0))
        .collect();
    let mut channels = vec![
        ("refused", DEAD, ", models: [refused]"),
        (
            "nowhere",
            "http://nowhere.invalid/v1",
            ", models: [nowhere]",
        ),
    ];
    let bad_url = bad.base_url();
    for (row, more) in failing().iter().zip(&more) {
        channels.push((row.0, &bad_url, more));
    }
    let good_url = good.base_url();
    channels.push(("good", &good_url, ", api_key: sk-good, priority: -1"));
    let tollgate = Setup::channels(&channels)
        .setting("limits: {first_byte: 300ms, connect: 5s}")
        .start();
    let unconnected = ["refused", "nowhere"].map(|name| {
        let script = Vec::new();
        (name, script, "connect_error", None, Some("connect_error"))
    });
    for (name, _, outcome, status, code) in failing().into_iter().chain(unconnected) {
        let response = tollgate.send(&chat(name));
        assert_eq!(response.status, 200, "{name}: {response:?}");
        assert_eq!(response.text(), answers::chat(), "{name}");
        assert_eq!(response.headers.get("x-tollgate-channel"), Some("good"));
        let expected = [
            attempt(name, outcome, status, code),
            attempt("good", "ok", Some(200), None),
        ];
        assert_eq!(attempts(&tollgate, &response), expected, "{name}");
        // One request, of the last channel, with nothing of the failure in it.
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.outcome(), "ok", "{name}: {row:#?}");
        assert_eq!(row.text("channel"), Some("good"), "{name}");
        assert_eq!(row.int("status"), Some(200), "{name}");
        for column in ["error_source", "error_code", "error_message"] {
            assert_eq!(row.text(column), None, "{name}: {row:#?}");
        }
        assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{name}");
        let length = i64::try_from(answers::chat().len()).unwrap();
        assert_eq!(row.int("response_bytes"), Some(length), "{name}");
        // The phases are those of the last try, the total is of all.
        let sql = "SELECT connect_us, wait_us FROM attempts WHERE n = 2 AND request_id =";
        let last = &tollgate
            .ledger()
            .query(&format!("{sql} '{}'", response.request_id()))[0];
        for phase in ["connect_us", "wait_us"] {
            assert!(last.int(phase).is_some(), "{name}: {last:#?}");
            assert_eq!(row.int(phase), last.int(phase), "{name}: {row:#?}");
        }
        assert!(row.int("first_byte_us").unwrap() < row.int("total_us").unwrap());
        if name == "silent" {
            assert!(row.int("total_us").unwrap() >= 300_000, "{row:#?}");
            assert!(row.int("overhead_us").unwrap() < 300_000, "{row:#?}");
        }
        // Both got the same, each with its own key.
        let received = good.received().pop().unwrap();
        assert_eq!(received.json(), json!({"model": name, "messages": []}));
        assert_eq!(
            received.headers.get("authorization"),
            Some("Bearer sk-good")
        );
    }
    let requests = failing().len() + 2;
    tollgate.ledger().exactly(requests);
    assert_eq!(good.received().len(), requests);
    assert_eq!(bad.received().len(), requests - 2, "each is asked once");
    let metrics = tollgate.metrics();
    for channel in ["good", "limited"] {
        let open = metrics.sum("tollgate_in_flight_requests", &[("channel", channel)]);
        assert!(open.abs() < f64::EPSILON, "{channel} {open}");
    }
}

/// What an upstream says of the request itself, and of a credential that is the client's.
#[test]
fn what_is_the_clients_own_fault_is_not_tried_elsewhere() {
    let script = |request: &Received| {
        let model = request.json()["model"].as_str().unwrap().to_owned();
        answers::error(&format!("{model} Refused"), "invalid_request_error", "mine")
    };
    let (first, second) = (Upstream::start(script), Upstream::always(ok()));
    let own = two(&first.base_url(), &second.base_url()).start();
    let passed_on = Setup::channels(&[
        ("first", &first.base_url(), ""),
        ("second", &second.base_url(), ""),
    ])
    .start();
    let cases = [(
        &own,
        &["400", "404", "405", "409", "413", "415", "422", "451"][..],
    )];
    for (tollgate, statuses) in cases
        .into_iter()
        .chain([(&passed_on, &["400", "401", "402", "403", "422"][..])])
    {
        for status in statuses {
            let response = tollgate.send(&chat(status));
            let direct = chat(status).send(first.address());
            assert_eq!(response.seen(), direct.seen(), "{status}");
            let tried = attempts(tollgate, &response);
            assert_eq!(tried.len(), 1, "{tried:?}");
            assert_eq!(tried[0].0, "first");
        }
    }
    assert_eq!(second.received().len(), 0);
}

/// The last answer is the client's, byte for byte, whatever it is.
#[test]
fn where_no_other_channel_is_left_the_client_gets_the_upstreams_own_answer() {
    let odd = Answer::new("503 Try Elsewhere")
        .header("retry-after", "7")
        .header("x-odd", "a  b")
        .body("not\0json\n");
    let cases = [
        odd,
        answers::error("429 Too Many Requests", "requests", "rate_limit_exceeded"),
        answers::error("401 Unauthorized", "auth", "invalid_api_key"),
        Answer::new("403 Forbidden")
            .header("content-type", "text/plain")
            .chunked([&b"No"[..], b", really"]),
        Answer::new("402 Payment Required").body(""),
    ];
    for script in cases {
        let (first, second) = (
            Upstream::always(answers::error("500 Broken", "server_error", "a")),
            Upstream::always(script),
        );
        let tollgate = two(&first.base_url(), &second.base_url()).start();
        let response = tollgate.send(&chat("m"));
        assert_eq!(response.seen(), chat("m").send(second.address()).seen());
        assert_eq!(response.headers.get("x-tollgate-channel"), Some("second"));
        assert_eq!(attempts(&tollgate, &response).len(), 2);
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("channel"), Some("second"));
        assert_eq!(row.int("status"), Some(i64::from(response.status)));
    }
}

#[test]
fn no_more_channels_are_tried_than_the_settings_say() {
    let upstreams: Vec<_> = (0..4)
        .map(|_| Upstream::always(answers::error("503 Unavailable", "server_error", "down")))
        .collect();
    let names = ["a", "b", "c", "d"];
    let urls: Vec<_> = upstreams.iter().map(Upstream::base_url).collect();
    let channels: Vec<_> = names
        .iter()
        .zip(&urls)
        .map(|(name, url)| (*name, &**url, ""))
        .collect();
    for (routing, tries) in [
        ("{}", 3),
        ("{retries: 0}", 1),
        ("{retries: 3}", 4),
        ("{retries: 9}", 4),
    ] {
        let tollgate = Setup::channels(&channels)
            .setting(&format!("routing: {routing}"))
            .start();
        let response = tollgate.send(&chat("m"));
        assert_eq!(response.status, 503);
        let tried: Vec<_> = attempts(&tollgate, &response)
            .into_iter()
            .map(|row| row.0)
            .collect();
        assert_eq!(tried, names[..tries], "{routing}");
    }
}

/// Who was sent a byte of an answer gets the rest of it, or none.
#[test]
fn nothing_is_tried_once_a_byte_reached_the_client() {
    let events = answers::chat_stream(true);
    let (first, second) = (
        Upstream::always(answers::begin(&events, [Step::Close])),
        Upstream::always(ok()),
    );
    let tollgate = two(&first.base_url(), &second.base_url()).start();
    let body = json!({"model": "m", "messages": [], "stream": true});
    let response = tollgate.send(&Request::json(CHAT, &body));
    assert_eq!(response.status, 200);
    assert!(!response.whole);
    assert_eq!(attempts(&tollgate, &response).len(), 1);
    assert_eq!(second.received().len(), 0);
}

/// The request's own time bounds all tries together.
#[test]
fn tries_end_with_the_requests_time() {
    let (first, second) = (
        Upstream::always(vec![Step::Hang]),
        Upstream::always(vec![Step::Hang]),
    );
    let tollgate = two(&first.base_url(), &second.base_url())
        .setting("limits: {first_byte: 400ms, total: 700ms}")
        .start();
    let response = tollgate.send(&chat("m"));
    assert_eq!(response.status, 504, "{response:?}");
    assert_eq!(
        response.headers.get("x-tollgate-error"),
        Some("total_timeout")
    );
    let expected = [
        attempt("first", "timeout", None, Some("first_byte_timeout")),
        attempt("second", "timeout", None, Some("total_timeout")),
    ];
    assert_eq!(attempts(&tollgate, &response), expected);
    let row = tollgate.ledger().request(&response.request_id());
    let phase = |name: &str| row.int(&format!("{name}_us"));
    assert!(phase("total").unwrap() >= 700_000, "{row:#?}");
    assert!(phase("overhead").unwrap() < 400_000, "{row:#?}");
    assert_eq!(phase("first_byte"), None);
    // The upstreams may bill what they were asked for.
    assert_eq!(row.text("usage_source"), Some("missing"));
}

/// A key's or path's channel is the only one.
#[test]
fn a_channel_that_is_named_is_the_only_one() {
    let (first, second) = (
        Upstream::always(answers::error("500 Broken", "server_error", "a")),
        Upstream::always(ok()),
    );
    let tollgate = two(&first.base_url(), &second.base_url()).start();
    let body = json!({"model": "m", "messages": []});
    for request in [
        Request::json("/c/first/v1/chat/completions", &body),
        Request::json(CHAT, &body).header("x-tollgate-channel", "first"),
    ] {
        let response = tollgate.send(&request);
        assert_eq!(response.status, 500);
        assert_eq!(attempts(&tollgate, &response).len(), 1);
    }
    assert_eq!(second.received().len(), 0);
}

#[test]
fn a_client_goes_on_over_its_connection() {
    let (first, second) = (
        Upstream::always(answers::error("429 Slow", "requests", "slow_down")),
        Upstream::always(ok()),
    );
    let tollgate = two(&first.base_url(), &second.base_url())
        .setting("breaker: {failures: 50, of: 50}")
        .start();
    let mut connection = crate::support::client::Connection::open(tollgate.address());
    for _ in 0..5 {
        connection.write(&chat("m").bytes()).unwrap();
        let (response, rest) = connection.incoming("POST").finish_on();
        connection = rest;
        assert_eq!(response.text(), answers::chat());
        assert_eq!(attempts(&tollgate, &response).len(), 2);
    }
}
