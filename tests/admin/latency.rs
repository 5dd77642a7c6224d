//! How long requests took, and how much of plans is used.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tollgate::clock::UnixMicros;
use tollgate::protocol::{LimitsSeen, QuotaSeen, QuotaWindow};
use tollgate::record::{Outcome, Phase};

use crate::Admin;
use crate::traffic::{plain, record};

/// A hundred requests: the `n`th takes `n` ms, every tenth of them is a stream of another model.
async fn hundred() -> Admin {
    let admin = Admin::start(None, None).await;
    let requests = (1..=100_u64).map(|n| {
        let mut request = plain(n);
        let phases = &mut request.phases;
        phases[Phase::Total] = Some(n * 1_000);
        phases[Phase::Overhead] = (n > 50).then_some(7);
        if n.is_multiple_of(10) {
            phases[Phase::FirstToken] = Some(n);
            request.served_model = Some("gpt-5".into());
        }
        if n == 100 {
            request.outcome = Outcome::Timeout;
        }
        request
    });
    record(&admin.ledger, &requests.collect::<Vec<_>>());
    admin
}

#[tokio::test]
async fn percentiles_are_durations_that_were_measured() {
    let admin = hundred().await;
    let answer = admin.json("/api/v1/latency?since=2026-11-20").await;
    assert_eq!(answer["sampled"], false);
    assert_eq!(
        (&answer["minutes"], &answer["minutes_read"]),
        (&json!(100), &json!(100))
    );
    let [all] = answer["rows"].as_array().unwrap().as_slice() else {
        panic!("{answer}");
    };
    assert_eq!(
        (&all["requests"], &all["first_tokens"]),
        (&json!(100), &json!(10))
    );
    for (percentile, total, first_token) in [
        ("p50", 50, 50),
        ("p90", 90, 90),
        ("p95", 95, 100),
        ("p99", 99, 100),
    ] {
        assert_eq!(all[percentile]["total_us"], total * 1_000, "{percentile}");
        assert_eq!(
            all[percentile]["first_token_us"], first_token,
            "{percentile}"
        );
        assert_eq!(all[percentile]["overhead_us"], 7);
        assert_eq!(all[percentile]["wait_us"], 300_000);
    }

    let by_model = admin
        .json("/api/v1/latency?since=2026-11-20&by=model,key")
        .await;
    let rows = by_model["rows"].as_array().unwrap();
    let groups: Vec<&Value> = rows.iter().map(|row| &row["group"]).collect();
    assert_eq!(
        groups,
        [
            &json!({"model": "gpt-5-mini", "key": null}),
            &json!({"model": "gpt-5", "key": null})
        ]
    );
    // None of them streams: unknown, not 0.
    assert_eq!(rows[0]["p99"]["first_token_us"], Value::Null);
}

#[tokio::test]
async fn filters_and_ranges_are_those_of_the_log() {
    let admin = hundred().await;
    let requests = async |query: &str| {
        let answer = admin.json(&format!("/api/v1/latency?{query}")).await;
        let rows = answer["rows"].as_array().unwrap();
        rows.first().map(|row| row["requests"].as_u64().unwrap())
    };
    // Ten minutes from within a minute on.
    let range = "since=2026-11-20T10:30:30Z&until=2026-11-20T10:40:30Z";
    assert_eq!(requests(range).await, Some(10));
    assert_eq!(requests("since=2026-11-20&model=gpt-5").await, Some(10));
    assert_eq!(requests("since=2026-11-20&outcome=failed").await, Some(1));
    assert_eq!(requests("since=2026-11-20&key=(none)").await, Some(100));
    assert_eq!(requests("since=2026-11-20&channel=nowhere").await, None);
    for (query, message) in [
        (
            "by=day",
            "by: `day` is no grouping of latencies; one of: model, channel, key, api, tier",
        ),
        ("by=key,key", "by: `key` is named twice"),
        (
            "since=2026-11-20&until=2026-11-19",
            "since: `2026-11-20` is after `until`, which is `2026-11-19`; swap them, or leave one out",
        ),
    ] {
        let (status, error) = admin.failure(&format!("/api/v1/latency?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(error["message"], message);
    }
}

#[tokio::test]
async fn the_use_of_a_plan_is_told_until_its_window_begins_anew() {
    let admin = Admin::start(None, None).await;
    assert_eq!(admin.json("/api/v1/quota").await["rows"], json!([]));
    let soon = UnixMicros(UnixMicros::now().0 + 3_600_000_000);
    let window = |minutes, resets_at| {
        Some(QuotaWindow {
            minutes,
            used_ratio: 0.25,
            resets_at: Some(resets_at),
        })
    };
    admin.meter.in_flight("spare").note_limits(LimitsSeen {
        quotas: vec![QuotaSeen {
            family: None,
            windows: [window(300, soon), window(10_080, UnixMicros(0))],
        }],
        ..LimitsSeen::default()
    });
    let row = json!({
        "account": "spare", "window": "5h", "used_ratio": 0.25, "resets_at": soon.to_string(),
    });
    assert_eq!(admin.json("/api/v1/quota").await["rows"], json!([row]));
}
