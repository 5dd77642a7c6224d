//! The `OpenAPI` document against the answers.

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::Value;
use tollgate::admin::document;
use tollgate::clock::UnixMicros;
use tollgate::config::{PayloadCapture, PayloadSettings};
use tollgate::payloads::{Answer, Payload, Payloads, Request};
use tollgate::protocol::limits_seen;
use tollgate::record::Outcome;

use crate::Admin;
use crate::traffic::rules::{USD, spend};
use crate::traffic::{PATIENCE, id, mixed, record, told};

#[tokio::test]
async fn answers_have_exactly_the_fields_of_the_document() {
    let admin = Admin::with_rules(None, None, &crate::rules::text()).await;
    record(&admin.ledger, &mixed());
    let described = admin.json("/api/v1/openapi.json").await;
    assert_eq!(described, serde_json::to_value(document()).unwrap());
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1"));
    references(&described, &described);
    for (path, operations) in described["paths"].as_object().unwrap() {
        let (method, operation) = operations.as_object().unwrap().iter().next().unwrap();
        assert!(
            ["get", "post", "delete"].contains(&method.as_str()),
            "{path}"
        );
        assert!(operation["responses"]["200"].is_object(), "{path}");
        assert!(operation["security"].is_array(), "{path}");
        if path.starts_with("/api/v1/") {
            for status in ["400", "401", "403", "500", "503"] {
                let failure = &operation["responses"][status]["content"]["application/json"];
                assert_eq!(
                    failure["schema"]["$ref"], "#/components/schemas/ErrorBody",
                    "{path}"
                );
            }
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{path}: {parameter}");
        }
    }
    keep_bytes(&admin);
    told::tell(&admin.ledger);
    be_limited(&admin);
    spend(&admin.rules, "openai", Some("team-a"), 12 * USD);
    admin.post("/api/v1/channels/openai/disable?for=1h").await;
    admin.flush();
    let detail = format!("/api/v1/requests/{}", id(0));
    let payload = format!("{detail}/payload");
    let notification = format!("/api/v1/notifications/{}", told::id(0));
    for (path, asked) in [
        ("/api/v1/info", "/api/v1/info"),
        ("/api/v1/requests", "/api/v1/requests"),
        ("/api/v1/requests/{id}", detail.as_str()),
        ("/api/v1/requests/{id}/payload", payload.as_str()),
        (
            "/api/v1/usage/summary",
            "/api/v1/usage/summary?since=2026-11-20&by=model,tier&compare=previous",
        ),
        (
            "/api/v1/usage/timeseries",
            "/api/v1/usage/timeseries?step=1d&by=key",
        ),
        (
            "/api/v1/usage/heatmap",
            "/api/v1/usage/heatmap?of=hours&since=2026-11-20",
        ),
        ("/api/v1/usage/top", "/api/v1/usage/top?by=channel"),
        ("/api/v1/errors", "/api/v1/errors"),
        (
            "/api/v1/latency",
            "/api/v1/latency?since=2026-11-20&by=model",
        ),
        ("/api/v1/quota", "/api/v1/quota"),
        ("/api/v1/channels", "/api/v1/channels"),
        ("/api/v1/channels/{name}", "/api/v1/channels/openai"),
        ("/api/v1/channel-events", "/api/v1/channel-events"),
        ("/api/v1/rules", "/api/v1/rules"),
        ("/api/v1/alerts", "/api/v1/alerts"),
        ("/api/v1/alert-events", "/api/v1/alert-events"),
        ("/api/v1/notifications", "/api/v1/notifications"),
        ("/api/v1/notifications/{id}", notification.as_str()),
        ("/api/v1/answers", "/api/v1/answers"),
    ] {
        let answer = &described["paths"][path]["get"]["responses"]["200"];
        let schema = &answer["content"]["application/json"]["schema"];
        conforms(&admin.json(asked).await, schema, &described, path);
    }
    for (path, asked) in [
        (
            "/api/v1/prices/reprice",
            "/api/v1/prices/reprice?since=2026-11-20",
        ),
        (
            "/api/v1/channels/{name}/disable",
            "/api/v1/channels/openai/disable?for=1h&reason=test&who=alice",
        ),
        (
            "/api/v1/channels/{name}/enable",
            "/api/v1/channels/openai/enable",
        ),
    ] {
        let answer = &described["paths"][path]["post"]["responses"]["200"];
        let schema = &answer["content"]["application/json"]["schema"];
        let (_, answer) = admin.post(asked).await;
        conforms(&answer, schema, &described, path);
    }
    made_and_revoked(&admin, &described).await;
    made_and_ended(&admin, &described).await;
    let (_, failure) = admin.failure("/api/v1/requests?x=1").await;
    let schema = &described["components"]["schemas"]["ErrorDetail"];
    conforms(&failure, schema, &described, "ErrorDetail");
}

/// Lets the channel say everything that it may say of its limits.
fn be_limited(admin: &Admin) {
    let headers = [
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "400"),
        ("x-ratelimit-reset-tokens", "2s"),
        ("x-codex-primary-used-percent", "25"),
        ("x-codex-primary-window-minutes", "300"),
        ("x-codex-credits-unlimited", "false"),
    ];
    let headers = headers.map(|(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    });
    let seen = limits_seen(&headers.into_iter().collect(), UnixMicros::now());
    admin.meter.in_flight("openai").note_limits(seen);
}

/// Makes and revokes a key, which have answers of their own.
async fn made_and_revoked(admin: &Admin, described: &Value) {
    let wish = admin.client.post(admin.url("/api/v1/keys"));
    let wish = wish.json(&serde_json::json!({"name": "ci", "models": ["a"]}));
    let made = wish.send().await.unwrap().json().await.unwrap();
    let list = admin.json("/api/v1/keys").await;
    let (_, revoked) = admin.post("/api/v1/keys/ci/revoke").await;
    for (path, method, answer) in [
        ("/api/v1/keys", "post", made),
        ("/api/v1/keys", "get", list),
        ("/api/v1/keys/{name}/revoke", "post", revoked),
    ] {
        let described_answer = &described["paths"][path][method]["responses"]["200"];
        let schema = &described_answer["content"]["application/json"]["schema"];
        conforms(&answer, schema, described, path);
    }
}

/// Makes and ends a silence, likewise.
async fn made_and_ended(admin: &Admin, described: &Value) {
    let wish = admin.client.post(admin.url("/api/v1/silences"));
    let wish = wish.json(&serde_json::json!({"matchers": {"rule": "*"}, "for": "1h"}));
    let made: Value = wish.send().await.unwrap().json().await.unwrap();
    let list = admin.json("/api/v1/silences").await;
    let one = format!("/api/v1/silences/{}", made["id"].as_str().unwrap());
    let ended = admin.client.delete(admin.url(&one));
    let ended = ended.send().await.unwrap().json().await.unwrap();
    for (path, method, answer) in [
        ("/api/v1/silences", "post", made),
        ("/api/v1/silences", "get", list),
        ("/api/v1/silences/{id}", "delete", ended),
    ] {
        let described_answer = &described["paths"][path][method]["responses"]["200"];
        let schema = &described_answer["content"]["application/json"]["schema"];
        conforms(&answer, schema, described, path);
    }
}

/// Keeps the bytes of request 0.
fn keep_bytes(admin: &Admin) {
    let settings = PayloadSettings {
        capture: PayloadCapture::All,
        retention: Duration::from_secs(100 * 365 * 24 * 3600),
        ..PayloadSettings::default()
    };
    let (payloads, writer) = Payloads::start(&settings, admin.data_dir.path()).unwrap();
    let body = |bytes: &[u8]| {
        let mut body = payloads.body();
        body.push(bytes);
        body
    };
    let headers: HeaderMap = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))]
        .into_iter()
        .collect();
    payloads.submit(Payload {
        id: id(0),
        outcome: Outcome::Ok,
        channel: None,
        request: Request {
            method: Method::POST,
            uri: Uri::from_static("/v1/chat/completions"),
            headers: headers.clone(),
            body: body(b"{}"),
        },
        answer: Some(Answer {
            status: 200,
            headers,
            body: body(b"\xff"),
        }),
    });
    assert!(writer.close(PATIENCE));
}

/// Every reference leads somewhere.
fn references(value: &Value, document: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if name == "$ref" {
                    resolve(value, document);
                }
                references(inner, document);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, document)),
        _ => {}
    }
}

fn resolve<'d>(schema: &'d Value, document: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').unwrap();
            document
                .pointer(pointer)
                .unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => schema,
    }
}

/// The value has the schema's type, and an object has exactly the schema's fields.
fn conforms(value: &Value, schema: &Value, document: &Value, place: &str) {
    let schema = resolve(schema, document);
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices
            .iter()
            .find(|choice| value.is_null() == (choice["type"] == "null"));
        let fitting = fitting.unwrap_or_else(|| panic!("{place}: {value} fits none of {schema}"));
        return conforms(value, fitting, document, place);
    }
    // What each version fills in as it likes.
    let anything = |(name, _): (&String, &Value)| name == "description";
    if schema.as_object().unwrap().iter().all(anything) {
        return;
    }
    if let Value::Object(fields) = value {
        let mut described = BTreeMap::new();
        properties(schema, document, &mut described);
        if described.is_empty() {
            let any = &schema["additionalProperties"];
            assert!(any.is_object(), "{place}: nothing said of {value}");
            for inner in fields.values() {
                conforms(inner, any, document, place);
            }
            return;
        }
        let have: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
        let want: BTreeSet<&str> = described.keys().copied().collect();
        assert_eq!(have, want, "{place}");
        for (name, inner) in fields {
            conforms(
                inner,
                described[name.as_str()],
                document,
                &format!("{place}.{name}"),
            );
        }
        return;
    }
    let own = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(items) => {
            for item in items {
                conforms(item, &schema["items"], document, place);
            }
            "array"
        }
        Value::Object(_) => unreachable!(),
    };
    let allowed = match &schema["type"] {
        Value::Array(types) => types.contains(&own.into()),
        single => single == own,
    };
    assert!(allowed, "{place}: {value} is not {schema}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(
            words.contains(value),
            "{place}: {value} is none of {schema}"
        );
    }
}

/// The fields of an object schema, through `allOf`; each must be required.
fn properties<'d>(
    schema: &'d Value,
    document: &'d Value,
    found: &mut BTreeMap<&'d str, &'d Value>,
) {
    let schema = resolve(schema, document);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        properties(part, document, found);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let required = schema["required"]
            .as_array()
            .is_some_and(|names| names.contains(&name.as_str().into()));
        assert!(required, "{name} is always there but not required");
        let texts = format!("{property}{}", resolve(property, document));
        assert!(
            texts.contains("\"description\""),
            "{name} has no description"
        );
        found.insert(name, property);
    }
}
