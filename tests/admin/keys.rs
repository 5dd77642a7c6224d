//! Keys for clients.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::Admin;

const KEYS: &str = "/api/v1/keys";

impl Admin {
    async fn post_json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let response = self.client.post(self.url(path)).json(body);
        let response = response.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }
}

#[tokio::test]
async fn a_key_is_told_once() {
    let admin = Admin::start(None, None).await;
    let none = admin.json(KEYS).await;
    assert_eq!(none, json!({"required": false, "keys": []}));
    let wish = json!({"name": "ci", "expires": "2999-01-01", "models": ["gpt-5*"],
        "channels": ["openai"], "channel": "openai", "tags": {"team": "a"}, "by": "alice"});
    let (status, mut made) = admin.post_json(KEYS, &wish).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let key = made["key"].take().as_str().unwrap().to_owned();
    assert!(key.starts_with("tg-"), "{key}");
    made.as_object_mut().unwrap().remove("key");
    assert_eq!(made["made_by"], "alice");
    assert_eq!(made["state"], "good");

    let list = admin.json(KEYS).await;
    assert_eq!(list, json!({"required": true, "keys": [made]}));
    assert!(!list.to_string().contains(&key));
    // Nor does anybody else find it: neither it nor the secret of its hash is in the ledger.
    let path = admin.data_dir.path();
    let secret = std::fs::read(path.join("key-secret")).unwrap();
    for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
        if entry.file_name() == "key-secret" || entry.path().is_dir() {
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!holds(key.as_bytes()), "{:?}", entry.path());
        assert!(!holds(&secret), "{:?}", entry.path());
    }

    let revoke = format!("{KEYS}/ci/revoke");
    let (status, revoked) = admin.post(&revoke).await;
    assert_eq!(status, StatusCode::OK, "{revoked}");
    assert_eq!(revoked["state"], "revoked");
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    let list = admin.json(KEYS).await;
    assert_eq!(list, json!({"required": true, "keys": [revoked]}));
    let (status, again) = admin.post(&revoke).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{again}");
    let off = format!("{KEYS}/off");
    for changed in [true, false] {
        let (status, done) = admin.post(&off).await;
        assert_eq!(status, StatusCode::OK, "{done}");
        assert_eq!(done, json!({ "changed": changed }));
    }
    assert_eq!(admin.json(KEYS).await["required"], false);
    // The name is free again.
    let (status, _) = admin.post_json(KEYS, &json!({"name": "ci"})).await;
    assert_eq!(status, StatusCode::OK);
    let (status, taken) = admin.post_json(KEYS, &json!({"name": "ci"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(taken["error"]["code"], "conflict", "{taken}");
    assert_eq!(taken["error"]["param"], "name");
    let (status, left) = admin.post(&off).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let message = left["error"]["message"].as_str().unwrap();
    assert!(message.contains("`ci` is not revoked"), "{message}");
    assert_eq!(admin.json(KEYS).await["required"], true);
}

#[tokio::test]
async fn a_key_that_makes_no_sense_is_not_made() {
    let admin = Admin::start(None, None).await;
    for (wish, parameter) in [
        (json!({"name": "a b"}), json!("name")),
        (json!({"name": "a", "expires": "soon"}), json!("expires")),
        (
            json!({"name": "a", "expires": "2020-01-01"}),
            json!("expires"),
        ),
        (json!({"name": "a", "models": []}), json!("models")),
        (json!({"name": "a", "channels": []}), json!("channels")),
        (
            json!({"name": "a", "channels": ["nowhere"]}),
            json!("channels"),
        ),
        (json!({"name": "a", "tags": {"a b": "c"}}), json!("tags")),
        (json!({"name": "a", "by": "b".repeat(65)}), json!("by")),
        (json!({"name": "a", "model": "gpt-5"}), Value::Null),
        (json!({}), Value::Null),
        (json!([]), Value::Null),
    ] {
        let (status, refused) = admin.post_json(KEYS, &wish).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wish}: {refused}");
        assert_eq!(refused["error"]["param"], parameter, "{wish}: {refused}");
    }
    // A web page can send text to another site without asking, JSON it cannot.
    let text = admin.client.post(admin.url(KEYS)).body(r#"{"name": "a"}"#);
    let response = text.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let from_a_page = admin
        .client
        .post(admin.url(KEYS))
        .json(&json!({"name": "a"}));
    let from_a_page = from_a_page.header("origin", "https://evil.example");
    let response = from_a_page.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(admin.json(KEYS).await["required"], false);
}

#[tokio::test]
async fn keys_are_made_at_the_same_time_each_once() {
    let admin = Admin::start(None, None).await;
    let wish = json!({"name": "one"});
    let made = futures_util::future::join_all((0..8).map(|_| admin.post_json(KEYS, &wish))).await;
    let statuses = |wanted| made.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!(statuses(StatusCode::OK), 1, "{made:?}");
    assert_eq!(statuses(StatusCode::CONFLICT), 7, "{made:?}");
}
