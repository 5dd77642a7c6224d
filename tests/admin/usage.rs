//! Usage as dashboards ask for it.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tollgate::money::NanoUsd;
use tollgate::record::{Outcome, TokenType};

use crate::Admin;
use crate::traffic::{id, plain, record};

/// A request of each of three hours, the second one of two keys; 2026-11-20 is a Friday.
async fn three_hours() -> Admin {
    let admin = Admin::start(None, None).await;
    let mut requests = Vec::new();
    for (n, key, cost) in [(0, "a", 1), (70, "a", 2), (80, "b", 5), (130, "c", 1)] {
        let mut request = plain(n);
        request.admission.key = Some(key.into());
        request.service_tier = (n > 60).then(|| "flex".into());
        request.cost.as_mut().unwrap().amount = NanoUsd(cost * 1_000_000_000);
        requests.push(request);
    }
    requests[3].outcome = Outcome::Timeout;
    record(&admin.ledger, &requests);
    admin
}

fn rows<'a>(answer: &'a Value, fields: &[&str]) -> Vec<Vec<&'a Value>> {
    let rows = answer["rows"].as_array().unwrap().iter();
    let field = |row: &'a Value, name: &&str| name.split('.').fold(row, |value, name| &value[name]);
    rows.map(|row| fields.iter().map(|name| field(row, name)).collect())
        .collect()
}

#[tokio::test]
async fn a_summary_is_compared_with_the_range_before() {
    let admin = three_hours().await;
    let answer = admin
        .json(
            "/api/v1/usage/summary?since=2026-11-20T11:00:00Z&until=2026-11-20T12:00:00Z\
             &by=key&compare=previous",
        )
        .await;
    assert_eq!(answer["previous"]["since"], "2026-11-20T10:00:00.000000Z");
    assert_eq!(answer["previous"]["until"], "2026-11-20T11:00:00.000000Z");
    assert_eq!(answer["previous"]["total"]["cost_usd"], "1");
    assert_eq!(answer["total"]["cost_usd"], "7");
    assert_eq!(answer["total"]["ok_requests"], 2);
    assert_eq!(answer["total"]["timeout_requests"], 0);
    let null = Value::Null;
    assert_eq!(
        rows(&answer, &["group.key", "cost_usd", "previous.cost_usd"]),
        [
            [&json!("b"), &json!("5"), &null],
            [&json!("a"), &json!("2"), &json!("1")]
        ]
    );
    assert_eq!(answer["rows"][0]["previous"]["requests"], 0);
    let compared = |answer: &Value, field: &str| {
        let rows = answer["compared"].as_array().unwrap().iter();
        rows.map(|row| row[field].clone()).collect::<Vec<_>>()
    };
    assert_eq!(compared(&answer, "cost_usd"), ["1", "7"]);
    assert_eq!(compared(&answer, "error_ratio"), ["+Inf", "0"]);
    assert_eq!(
        compared(&answer, "since"),
        ["2026-11-20T10:00:00.000000Z", "2026-11-20T11:00:00.000000Z"]
    );

    // The ledger began within the range before: what was before its first request is not known.
    let unknown = admin
        .json(
            "/api/v1/usage/summary?since=2026-11-20T11:00:00Z&until=2026-11-20T13:00:00Z\
             &by=key&compare=previous",
        )
        .await;
    assert_eq!(unknown["previous"]["since"], "2026-11-20T09:00:00.000000Z");
    assert_eq!(unknown["previous"]["total"], Value::Null);
    assert_eq!(unknown["rows"][0]["previous"], Value::Null);
    assert_eq!(unknown["periods"].as_array().unwrap().len(), 1);
    assert_eq!(compared(&unknown, "requests")[0], "+Inf");
    assert_eq!(compared(&unknown, "cost_usd")[0], "+Inf");

    let quiet = admin
        .json(
            "/api/v1/usage/summary?since=2026-11-20T13:00:00Z&until=2026-11-20T14:00:00Z\
             &compare=previous",
        )
        .await;
    assert_eq!(quiet["periods"][0]["cost_usd"], "1");
    // What nothing was spent after is no change, and never what was spent now.
    assert_eq!(compared(&quiet, "cost_usd"), [json!("+Inf"), Value::Null]);
    assert_eq!(compared(&quiet, "requests"), ["1", "0"]);
    assert_eq!(quiet["total"]["error_ratio"], Value::Null);

    let alone = admin.json("/api/v1/usage/summary?by=tier").await;
    assert_eq!(alone["previous"], Value::Null);
    assert_eq!(
        rows(&alone, &["group.tier", "requests"]),
        [[&json!("flex"), &json!(3)], [&null, &json!(1)]]
    );
}

#[tokio::test]
async fn what_caching_saved_is_by_the_prices_in_force() {
    let admin = Admin::start(None, None).await;
    let mut cached = plain(0);
    cached.usage.tokens[TokenType::InputCached] = Some(1_000_000);
    let mut mystery = cached.clone();
    mystery.admission.id = id(1);
    mystery.served_model = Some("mystery-1".into());
    record(&admin.ledger, &[cached, mystery, plain(2)]);
    let answer = admin.json("/api/v1/usage/summary?by=model").await;
    let saved = |model: &str| {
        let rows = answer["rows"].as_array().unwrap().iter();
        let of_model = rows.filter(|row| row["group"]["model"] == model);
        let saved: Vec<_> = of_model
            .map(|row| row["cached_saved_usd"].clone())
            .collect();
        assert_eq!(saved.len(), 1, "{model}");
        saved[0].clone()
    };
    // $0.25 a million less the $0.025 that it cost.
    assert_eq!(saved("gpt-5-mini"), "0.225");
    assert_eq!(saved("mystery-1"), Value::Null);
    assert_eq!(answer["total"]["cached_saved_usd"], "0.225");
}

#[tokio::test]
async fn a_series_has_the_top_groups_and_all_others_as_one() {
    let admin = three_hours().await;
    let answer = admin
        .json(
            "/api/v1/usage/timeseries?since=2026-11-20T10:00:00Z&until=2026-11-20T13:00:00Z\
             &step=45m&by=key&top=2&key=*",
        )
        .await;
    assert_eq!(
        (&answer["step"], &answer["timezone"]),
        (&json!("1h"), &json!("UTC"))
    );
    let hour = |hour: u32| json!(format!("2026-11-20T{hour}:00:00.000000Z"));
    assert_eq!(
        rows(&answer, &["time", "until", "group.key", "cost_usd"]),
        [
            [&hour(10), &hour(11), &json!("a"), &json!("1")],
            [&hour(11), &hour(12), &json!("b"), &json!("5")],
            [&hour(11), &hour(12), &json!("a"), &json!("2")],
            [&hour(12), &hour(13), &json!("(other)"), &json!("1")],
        ]
    );
    assert_eq!(answer["top"], 2);
    let whole = admin
        .json(
            "/api/v1/usage/timeseries?since=2026-11-19&step=1d&timezone=Asia/Kolkata&channel=open*",
        )
        .await;
    assert_eq!(
        rows(&whole, &["time", "requests"]),
        [[&json!("2026-11-19T18:30:00.000000Z"), &json!(4)]]
    );
}

#[tokio::test]
async fn a_heatmap_has_every_day_and_every_hour_of_the_week() {
    let admin = three_hours().await;
    let days = admin
        .json("/api/v1/usage/heatmap?since=2026-11-19&until=2026-11-22")
        .await;
    let fields = ["day", "week", "weekday", "hour", "requests", "cost_usd"];
    let null = Value::Null;
    let monday = json!("2026-11-16");
    assert_eq!(
        rows(&days, &fields),
        [
            [
                &json!("2026-11-19"),
                &monday,
                &json!("4 Thu"),
                &null,
                &json!(0),
                &null
            ],
            [
                &json!("2026-11-20"),
                &monday,
                &json!("5 Fri"),
                &null,
                &json!(4),
                &json!("9")
            ],
            [
                &json!("2026-11-21"),
                &monday,
                &json!("6 Sat"),
                &null,
                &json!(0),
                &null
            ],
        ]
    );
    let hours = admin
        .json("/api/v1/usage/heatmap?of=hours&since=2026-11-01&timezone=Asia/Tokyo")
        .await;
    assert_eq!(hours["rows"].as_array().unwrap().len(), 168);
    let busy: Vec<_> = rows(&hours, &["weekday", "hour", "requests"])
        .into_iter()
        .filter(|row| row[2] != 0)
        .collect();
    let friday = json!("5 Fri");
    assert_eq!(
        busy,
        [
            [&friday, &json!("19"), &json!(1)],
            [&friday, &json!("20"), &json!(2)],
            [&friday, &json!("21"), &json!(1)],
        ]
    );
}

#[tokio::test]
async fn a_top_has_shares_and_the_ranks_before() {
    let admin = three_hours().await;
    let range = "since=2026-11-20T11:00:00Z&until=2026-11-20T12:00:00Z";
    let answer = admin
        .json(&format!("/api/v1/usage/top?by=key&limit=2&{range}"))
        .await;
    assert_eq!(
        (&answer["by"], &answer["order"]),
        (&json!("key"), &json!("cost"))
    );
    let null = Value::Null;
    assert_eq!(
        rows(
            &answer,
            &["rank", "name", "share", "previous_rank", "requests"]
        ),
        [
            [&json!(1), &json!("b"), &json!(0.714_285), &null, &json!(1)],
            [
                &json!(2),
                &json!("a"),
                &json!(0.285_714),
                &json!(1),
                &json!(1)
            ],
        ]
    );
    let errors = admin
        .json("/api/v1/usage/top?by=key&order=errors&limit=1&since=2026-11-20")
        .await;
    assert_eq!(
        rows(&errors, &["name", "share"]),
        [[&json!("c"), &json!(1.0)]]
    );
}

#[tokio::test]
async fn failures_are_counted_by_their_kind() {
    let admin = Admin::with_traffic().await;
    let answer = admin
        .json("/api/v1/errors?since=2026-11-20&channel=az*")
        .await;
    let [failure] = &answer["rows"].as_array().unwrap()[..] else {
        panic!("{answer}");
    };
    assert_eq!(failure["outcome"], "rate_limited");
    assert_eq!(failure["status"], 429);
    assert_eq!(failure["error_code"], "rate_limit_exceeded");
    assert_eq!(failure["requests"], 1);
    assert_eq!(failure["last_id"], id(2).to_string());
    assert_eq!(failure["first_at"], failure["last_at"]);
    let none = admin.json("/api/v1/errors?outcome=timeout").await;
    assert_eq!(none["rows"], json!([]));
}

#[tokio::test]
async fn a_range_that_ends_before_it_begins_is_refused() {
    let admin = Admin::with_traffic().await;
    for path in [
        "requests?",
        "requests?order=slowest&",
        "usage/summary?",
        "usage/timeseries?",
        "usage/heatmap?",
        "usage/top?",
        "errors?",
        "alert-events?",
        "channel-events?",
        "notifications?",
        "answers?",
    ] {
        let range = "since=2026-11-21&until=2026-11-20T12:00:00Z";
        let (status, error) = admin.failure(&format!("/api/v1/{path}{range}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(error["param"], "since", "{path}");
        assert_eq!(
            error["message"],
            "since: `2026-11-21` is after `until`, which is `2026-11-20T12:00:00Z`; swap them, or \
             leave one out",
            "{path}"
        );
        // Nothing is between a moment and itself, and it may be asked what is.
        let moment = "since=2026-11-20&until=2026-11-20";
        admin.json(&format!("/api/v1/{path}{moment}")).await;
    }
    // What is to come has not been yet.
    let series = admin
        .json("/api/v1/usage/timeseries?since=2999-01-01")
        .await;
    assert_eq!(series["since"], series["until"]);
    assert_eq!(series["rows"], json!([]));
    // The slowest before a time, not of the last days.
    let path = "/api/v1/requests?order=slowest&until=2026-11-21";
    let slowest = admin.json(path).await;
    assert_ne!(slowest["requests"], json!([]));
}

#[tokio::test]
async fn what_makes_no_sense_of_usage_is_refused_with_a_hint() {
    let admin = Admin::with_traffic().await;
    for (path, parameter, hint) in [
        ("usage/summary?compare=last", "compare", "one of: previous"),
        ("usage/summary?compare=previous", "compare", "needs `since`"),
        (
            "usage/summary?compare=previous&since=7d&by=day",
            "compare",
            "other days",
        ),
        (
            "usage/summary?by=tier,day&timezone=Asia/Kolkata",
            "by",
            "leave `tier` out",
        ),
        ("usage/timeseries?by=day", "by", "write `step=1d`"),
        (
            "usage/timeseries?step=soon",
            "step",
            "write numbers with units",
        ),
        ("usage/timeseries?top=0", "top", "top is 1 to 1000"),
        (
            "usage/timeseries?by=tier&step=6h&timezone=Asia/Kolkata",
            "by",
            "leave `tier` out",
        ),
        ("usage/heatmap?of=weeks", "of", "one of: days, hours"),
        (
            "usage/heatmap?since=1999-01-01",
            "since",
            "at most 3,700 days",
        ),
        ("usage/top?by=model,key", "by", "a top is of one of"),
        (
            "usage/top?order=time",
            "order",
            "one of: cost, tokens, requests, errors",
        ),
        (
            "errors?outcome=failed",
            "outcome",
            "`failed` is no outcome; one of: ok",
        ),
    ] {
        let (status, error) = admin.failure(&format!("/api/v1/{path}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(error["param"], parameter, "{path}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(hint), "{path}: {message}");
    }
}
