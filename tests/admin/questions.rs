//! Questions to the ledger.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollgate::admin::ledger_id;
use tollgate::ledger::Closed;
use tollgate::money::NanoUsd;
use tollgate::record::Phase;

use crate::traffic::{PATIENCE, id, plain, record};
use crate::{Admin, expected, ids};

#[tokio::test]
async fn unknown_is_null_and_money_is_text() {
    let admin = Admin::with_traffic().await;
    let list = admin.json("/api/v1/requests").await;
    assert_eq!(ids(&list), expected(&[4, 3, 2, 1, 0]));
    let requests = list["requests"].as_array().unwrap();
    let limited = &requests[2];
    assert_eq!(limited["started_at"], "2026-11-20T10:02:00.000000Z");
    assert_eq!(limited["outcome"], "rate_limited");
    for unknown in [
        "input_tokens",
        "total_tokens",
        "cost_usd",
        "price_version",
        "wait_us",
        "served_model",
    ] {
        assert_eq!(limited.get(unknown), Some(&Value::Null), "{unknown}");
    }
    let rich = admin.json(&format!("/api/v1/requests/{}", id(0))).await;
    assert_eq!(rich["cost_usd"], "0.037470875");
    assert_eq!(rich["input_cached_tokens"], 234_567);
    assert_eq!(rich["first_token_us"], 1_450_000);
    assert_eq!(rich["tags"]["project"], "apollo");
    assert_eq!(rich["attempts"], 2);
    assert_eq!(rich["attempt_details"][0]["channel"], "azure");
    assert_eq!(rich["attempt_details"][0]["error_code"], "overloaded");
}

#[tokio::test]
async fn filters_and_orders_answer_what_was_asked() {
    let admin = Admin::with_traffic().await;
    for (query, numbers) in [
        ("channel=azure", &[2][..]),
        ("api=responses", &[1]),
        ("model=mystery-1", &[1]),
        ("key=team-a", &[0]),
        ("session=0199-session", &[0]),
        ("outcome=rate_limited", &[2]),
        ("status=429", &[2]),
        ("failed=true", &[2]),
        ("channel=", &[4, 3, 2, 1, 0]),
        ("since=2026-11-20T10:03:00Z", &[4, 3]),
        ("since=2026-11-20T12:03:00%2B02:00", &[4, 3]),
        ("since=2026-11-20T12:03:00+02:00", &[4, 3]),
        ("until=2026-11-20T10:01:00Z", &[0]),
        ("since=2026-11-21", &[]),
        ("limit=2", &[4, 3]),
        // Lists and patterns; a name of any kind is one pattern of many.
        ("channel=azure,openai", &[4, 3, 2, 1, 0]),
        ("channel=a*", &[2]),
        ("channel=*", &[4, 3, 2, 1, 0]),
        ("channel=nobody,azur?", &[2]),
        ("model=mystery-*,gpt-5-2025*", &[1, 0]),
        ("api=chat,responses&model=m*", &[1]),
        ("key=team-?", &[0]),
        ("key=*&session=*", &[4, 3, 2, 1, 0]),
        ("session=0199-*", &[0]),
        ("session_is=0199-session", &[0]),
        ("session_is=0199-*", &[]),
        ("session_is=(none)", &[4, 3, 2, 1]),
        ("session=nobody,0199-session&channel=openai", &[0]),
        ("outcome=failed", &[2]),
        ("outcome=failed,ok", &[4, 3, 2, 1, 0]),
        ("outcome=rate*", &[2]),
        ("outcome=timeout,client_closed", &[]),
        ("usage_source=missing", &[3]),
        ("usage_source=missing,none", &[3, 2]),
        ("unpriced=true", &[4, 1]),
        ("unpriced=true&channel=openai&model=mystery-1", &[1]),
        ("unpriced=false&status=429", &[2]),
        ("min_total=2s", &[0]),
        ("min_total=3900ms", &[0]),
        ("min_total=1h", &[]),
        ("min_total=53ms&key=team-a,team-b", &[0]),
        ("order=slowest&outcome=failed&since=2026-11-20", &[2]),
        ("order=slowest&channel=open*&limit=1&since=2026-11-20", &[0]),
        ("order=slowest&session=0199-session&since=2026-11-20", &[0]),
        ("order=dearest&since=2026-11-20", &[0]),
        ("order=dearest&channel=azure&since=2026-11-20", &[]),
        ("order=dearest&unpriced=true&since=2026-11-20", &[]),
    ] {
        let list = admin.json(&format!("/api/v1/requests?{query}")).await;
        assert_eq!(ids(&list), expected(numbers), "{query}");
    }
    let slowest = admin
        .json("/api/v1/requests?order=slowest&since=2026-11-20&limit=1")
        .await;
    assert_eq!(ids(&slowest), expected(&[0]));
    assert_eq!(slowest["since"], "2026-11-20T00:00:00.000000Z");
}

#[tokio::test]
async fn pages_hold_every_request_once() {
    let admin = Admin::start(None, None).await;
    let requests: Vec<_> = (0..25)
        .map(|n| {
            let mut request = plain(n / 2); // Two each start at the same moment.
            request.admission.id = id(n);
            request.phases[Phase::Total] = Some(1_000 + n % 3);
            if let Some(cost) = &mut request.cost {
                cost.amount = NanoUsd([7, 5, 9][usize::try_from(n % 3).unwrap()]);
            }
            request
        })
        .collect();
    record(&admin.ledger, &requests);
    for order in ["newest", "slowest", "dearest"] {
        let mut path = format!("/api/v1/requests?since=2026-11-20&order={order}&limit=4");
        let mut seen = Vec::new();
        let mut costs = Vec::new();
        loop {
            let page = admin.json(&path).await;
            seen.extend(ids(&page));
            let requests = page["requests"].as_array().unwrap();
            costs.extend(
                requests
                    .iter()
                    .map(|request| request["cost_usd"].to_string()),
            );
            assert_eq!(page["position"], Value::Null);
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("/api/v1/requests?since=2026-11-20&order={order}&limit=4&cursor={next}");
        }
        assert_eq!(seen.len(), 25, "{order}");
        assert_eq!(
            seen.into_iter().collect::<BTreeSet<_>>().len(),
            25,
            "{order}"
        );
        // All have as many digits.
        assert_eq!(
            costs.is_sorted_by(|left, right| left >= right),
            order == "dearest"
        );
    }
}

#[tokio::test]
async fn following_sees_what_is_recorded_from_a_position_on() {
    let admin = Admin::with_traffic().await;
    let now = admin.json("/api/v1/requests?after=now").await;
    assert_eq!(ids(&now), expected(&[]));
    let position = now["position"].as_i64().unwrap();
    let quiet = admin
        .json(&format!("/api/v1/requests?after={position}"))
        .await;
    assert_eq!(
        (ids(&quiet), quiet["position"].as_i64()),
        (vec![], Some(position))
    );

    // Recorded in another order than started.
    record(&admin.ledger, &[plain(9), plain(7)]);
    let fresh = admin
        .json(&format!("/api/v1/requests?after={position}"))
        .await;
    assert_eq!(ids(&fresh), expected(&[9, 7]));
    let position = fresh["position"].as_i64().unwrap();
    let quiet = admin
        .json(&format!("/api/v1/requests?after={position}"))
        .await;
    assert_eq!(ids(&quiet), expected(&[]));
}

#[tokio::test]
async fn usage_adds_up_and_says_what_it_leaves_out() {
    let admin = Admin::with_traffic().await;
    let summary = admin
        .json("/api/v1/usage/summary?since=2026-11-20&until=2026-11-21&by=channel,api")
        .await;
    assert_eq!(summary["by"], serde_json::json!(["channel", "api"]));
    assert_eq!(summary["since"], "2026-11-20T00:00:00.000000Z");
    let total = &summary["total"];
    assert_eq!(total["requests"], 5);
    assert_eq!(total["errors"], 1);
    assert_eq!(total["cost_usd"], "0.037470875");
    assert_eq!(total["unpriced_requests"], 2);
    assert_eq!(total["missing_usage_requests"], 1);
    assert_eq!(total["input_tokens"], 3_000);
    assert_eq!(total["input_audio_tokens"], Value::Null);
    let rows = summary["rows"].as_array().unwrap();
    let sum: u64 = rows
        .iter()
        .map(|row| row["requests"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 5);
    assert_eq!(
        rows[0]["group"],
        serde_json::json!({"channel": "openai", "api": "chat"})
    );
    let azure = rows
        .iter()
        .find(|row| row["group"]["channel"] == "azure")
        .unwrap();
    assert_eq!(azure["cost_usd"], Value::Null);

    let by_tag = admin.json("/api/v1/usage/summary?by=tag:project").await;
    let groups: BTreeSet<_> = by_tag["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["group"]["tag:project"].as_str())
        .collect();
    assert_eq!(groups, BTreeSet::from([None, Some("apollo")]));
}

#[tokio::test]
async fn usage_takes_lists_of_names_and_patterns() {
    let admin = Admin::with_traffic().await;
    for (query, requests) in [
        ("channel=azure", 1),
        ("channel=azure,open*", 5),
        ("channel=*", 5),
        ("channel=", 5),
        ("api=responses,embeddings", 2),
        ("model=mystery-?", 1),
        ("key=team-*", 1),
        ("key=team-*&channel=azure", 0),
        ("by=tag:project&model=mystery-?", 1),
    ] {
        let path = format!("/api/v1/usage/summary?{query}");
        let summary = admin.json(&path).await;
        assert_eq!(summary["total"]["requests"], requests, "{query}");
    }
}

#[tokio::test]
async fn a_day_is_a_day_where_the_caller_lives() {
    let admin = Admin::start(None, None).await;
    // 10:00 and 15:00 UTC: one day in UTC, two in Tokyo.
    record(&admin.ledger, &[plain(0), plain(300)]);
    let days = async |query: &str| {
        let summary = admin
            .json(&format!("/api/v1/usage/summary?by=day{query}"))
            .await;
        let rows = summary["rows"].as_array().unwrap();
        rows.iter()
            .map(|row| row["group"]["day"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(days("").await, ["2026-11-20"]);
    assert_eq!(
        days("&timezone=Asia/Tokyo").await,
        ["2026-11-20", "2026-11-21"]
    );
    assert_eq!(
        days("&timezone=Asia/Tokyo&since=2026-11-21").await,
        ["2026-11-21"]
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_hint() {
    let admin = Admin::with_traffic().await;
    for (path, parameter, hint) in [
        (
            "/api/v1/requests?chanel=a",
            "chanel",
            "did you mean `channel`? known: since, until",
        ),
        (
            "/api/v1/requests?zzz=1",
            "zzz",
            "there is no parameter `zzz`; known: since",
        ),
        ("/api/v1/info?x=1", "x", "this path takes none"),
        (
            "/api/v1/requests?api=chatt",
            "api",
            "`chatt` is no api; one of: chat",
        ),
        (
            "/api/v1/requests?outcome=ok,faild",
            "outcome",
            "`faild` is no outcome; one of: ok",
        ),
        (
            "/api/v1/requests?usage_source=guessed",
            "usage_source",
            "`guessed` is no usage_source; one of: reported",
        ),
        (
            "/api/v1/requests?min_total=slow",
            "min_total",
            "is not a length of time",
        ),
        ("/api/v1/requests?unpriced=yes", "unpriced", "unpriced: "),
        ("/api/v1/requests?limit=0", "limit", "1 to 1000"),
        ("/api/v1/requests?limit=ten", "limit", "invalid digit"),
        ("/api/v1/requests?since=yesterday", "since", "is not a time"),
        (
            "/api/v1/requests?order=oldest",
            "order",
            "`oldest` is no order; one of: newest, slowest, dearest",
        ),
        (
            "/api/v1/requests?status=1&status=2",
            "status",
            "given twice",
        ),
        ("/api/v1/requests?cursor=abc", "cursor", "not a cursor"),
        (
            "/api/v1/requests?after=1&order=slowest",
            "after",
            "leave `order`",
        ),
        ("/api/v1/requests?after=x", "after", "invalid digit"),
        ("/api/v1/requests/42", "id", "not a request id"),
        (
            "/api/v1/usage/summary?by=modle",
            "by",
            "one of: model, channel",
        ),
        ("/api/v1/usage/summary?by=model,model", "by", "named twice"),
        (
            "/api/v1/usage/summary?api=chat,chta",
            "api",
            "`chta` is no api; one of: chat",
        ),
        (
            "/api/v1/usage/summary?timezone=Mars",
            "timezone",
            "no time zone",
        ),
    ] {
        let (status, error) = admin.failure(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(error["param"], parameter, "{path}");
        assert_eq!(error["type"], "invalid_request_error");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(hint), "{path}: {message}");
    }
    let page = admin.json("/api/v1/requests?limit=1").await;
    let cursor = page["next"].as_str().unwrap();
    for order in ["slowest", "dearest"] {
        let (status, error) = admin
            .failure(&format!("/api/v1/requests?order={order}&cursor={cursor}"))
            .await;
        assert_eq!(
            (status, &error["param"]),
            (StatusCode::BAD_REQUEST, &"cursor".into())
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let admin = Admin::with_traffic().await;
    let (status, error) = admin.failure("/nowhere").await;
    assert_eq!(
        (status, &error["code"]),
        (StatusCode::NOT_FOUND, &"not_found".into())
    );
    let (status, error) = admin.failure(&format!("/api/v1/requests/{}", id(77))).await;
    assert_eq!(
        (status, &error["param"]),
        (StatusCode::NOT_FOUND, &"id".into())
    );
    let post = admin.client.request(Method::POST, admin.url("/metrics"));
    let response = post.body("x").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("method_not_allowed")
    );
}

#[tokio::test]
async fn info_tells_the_ledger_without_telling_the_path() {
    let admin = Admin::start(None, None).await;
    let info = admin.json("/api/v1/info").await;
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        info["ledger_id"].as_str(),
        ledger_id(admin.data_dir.path()).as_deref()
    );
    let path = admin.data_dir.path().to_str().unwrap();
    assert!(!info.to_string().contains(path));
}

#[tokio::test]
async fn without_a_ledger_questions_get_a_reason() {
    let admin = Admin::start(None, None).await;
    // A ledger of which the database is gone: nothing was read yet, so no connection holds it.
    assert_eq!(admin.ledger.close(PATIENCE), Closed::Complete);
    std::fs::remove_file(admin.data_dir.path().join("tollgate.db")).unwrap();
    let response = admin
        .client
        .get(format!("http://{}/api/v1/requests", admin.address));
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "no_ledger");
}

#[tokio::test]
async fn prices_are_listed_with_their_layer_and_source() {
    let admin = Admin::start(None, None).await;
    let list = admin
        .json("/api/v1/prices?model=gpt-5.6-sol&provider=openai")
        .await;
    assert_eq!(list["layers"], json!(["builtin-2026-11-20"]));
    assert_eq!(list["total"], 3);
    let promotion = &list["prices"][1];
    assert_eq!(promotion["effective_from"], "2026-08-21T00:00:00.000000Z");
    assert_eq!(promotion["effective_to"], "2026-11-22T00:00:00.000000Z");
    assert_eq!(promotion["per_million"]["input_cache_write"], "5");
    assert_eq!(promotion["per_unit"]["web_search"], "0.01");
    assert_eq!(promotion["tiers"]["flex"]["times"], "0.5");
    assert_eq!(promotion["thresholds"][0]["above_input_tokens"], 272_000);
    let few = admin.json("/api/v1/prices?limit=2").await;
    assert_eq!(few["prices"].as_array().unwrap().len(), 2);
    assert!(few["total"].as_u64().unwrap() > 100);
    let (status, failure) = admin.failure("/api/v1/prices?limit=0").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(failure["param"], "limit");
}
