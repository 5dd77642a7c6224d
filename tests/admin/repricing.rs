//! Pricing history anew.

use reqwest::StatusCode;
use serde_json::Value;

use crate::traffic::{plain, record};
use crate::{Admin, ids};

const REPRICE: &str = "/api/v1/prices/reprice?since=2026-11-20";

#[tokio::test]
async fn history_is_priced_anew_once() {
    let admin = Admin::with_traffic().await;
    let mut wrong = [plain(5), plain(6), plain(7)];
    wrong[1].cost = None;
    if let Some(cost) = &mut wrong[2].cost {
        cost.amount.0 += 1;
    }
    record(&admin.ledger, &wrong);
    let before = admin.json("/api/v1/usage/summary").await;
    let (status, foreseen) = admin.post(&format!("{REPRICE}&dry_run=true")).await;
    assert_eq!(status, StatusCode::OK, "{foreseen}");
    assert_eq!(foreseen["dry_run"], true);
    assert_eq!(foreseen["run"], Value::Null);
    assert_eq!(admin.json("/api/v1/usage/summary").await, before);

    let (_, done) = admin.post(&format!("{REPRICE}&by=alice")).await;
    assert_eq!(done["run"], 1, "{done:#}");
    assert_eq!(done["models"], foreseen["models"]);
    assert_eq!(done["total"]["changed_requests"], 2);
    assert_eq!(done["total"]["newly_priced_requests"], 1);
    assert_eq!(done["total"]["old_cost_usd"], before["total"]["cost_usd"]);
    let after = admin.json("/api/v1/usage/summary").await;
    assert_eq!(done["total"]["new_cost_usd"], after["total"]["cost_usd"]);

    let (_, again) = admin.post(REPRICE).await;
    assert_eq!(again["total"]["changed_requests"], 0);
    assert_eq!(again["run"], Value::Null);
    let mut changed = 0;
    for request in ids(&admin.json("/api/v1/requests").await) {
        let detail = admin.json(&format!("/api/v1/requests/{request}")).await;
        for repricing in detail["repricings"].as_array().unwrap() {
            assert_eq!(repricing["who"], "alice");
            assert_eq!(repricing["new_cost_usd"], detail["cost_usd"]);
            assert_eq!(repricing["new_price_version"], detail["price_version"]);
            changed += 1;
        }
    }
    assert_eq!(done["total"]["changed_requests"], changed);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let admin = Admin::with_traffic().await;
    for (path, parameter) in [
        ("/api/v1/prices/reprice", "since"),
        ("/api/v1/prices/reprice?since=soon", "since"),
        ("/api/v1/prices/reprice?since=1d&dry_run=perhaps", "dry_run"),
        ("/api/v1/prices/reprice?since=1d&dryrun=true", "dryrun"),
    ] {
        let (status, body) = admin.post(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert_eq!(body["error"]["param"], parameter, "{path}: {body}");
    }
    let get = admin.get(REPRICE).await;
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_web_page_changes_nothing_without_a_token() {
    let admin = Admin::with_traffic().await;
    let before = admin.json("/api/v1/usage/summary").await;
    let from_a_page = |url: String| {
        admin
            .client
            .post(url)
            .header("origin", "https://evil.example")
    };
    let response = from_a_page(admin.url(REPRICE)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "origin_not_allowed");
    assert_eq!(admin.json("/api/v1/usage/summary").await, before);

    // Who has the token is no stranger.
    let guarded = Admin::start(Some("t"), None).await;
    let refused = guarded
        .client
        .post(guarded.url(REPRICE))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let allowed = from_a_page(guarded.url(REPRICE)).bearer_auth("t");
    assert_eq!(allowed.send().await.unwrap().status(), StatusCode::OK);
}
