//! Whoever takes Alertmanager's webhook, and is strict about it.

use serde::Deserialize;
use std::collections::BTreeMap;

use super::{Answer, Judge, Request, Shown};

pub(crate) const PATH: &str = "/alerts/canary-webhook-path";
pub(crate) const BEARER: &str = "canary-webhook-bearer";
pub(crate) const HMAC_SECRET: &str = "canary-webhook-hmac";

/// Alertmanager's body, all of it and nothing else.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) receiver: String,
    pub(crate) status: String,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) group_labels: BTreeMap<String, String>,
    pub(crate) common_labels: BTreeMap<String, String>,
    pub(crate) common_annotations: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    pub(crate) external_url: String,
    pub(crate) version: String,
    pub(crate) group_key: String,
    pub(crate) truncated_alerts: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Alert {
    pub(crate) status: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "super::moment")]
    pub(crate) starts_at: jiff::Timestamp,
    #[serde(deserialize_with = "super::moment")]
    pub(crate) ends_at: jiff::Timestamp,
    #[serde(rename = "generatorURL")]
    pub(crate) generator_url: String,
    pub(crate) fingerprint: String,
}

/// A webhook that wants a token and a signature.
pub(crate) async fn start() -> Judge {
    Judge::start(Box::new(|request, _| {
        if request.path() != PATH {
            return (Answer::new(404, "404 page not found"), None);
        }
        match judge(request, request.at.0 / 1_000_000) {
            Ok(shown) => (Answer::new(202, ""), Some(shown)),
            Err((status, words)) => (Answer::new(status, words), None),
        }
    }))
    .await
}

fn judge(request: &Request, now_s: i64) -> Result<Shown, (u16, String)> {
    if request.header("authorization") != Some(&format!("Bearer {BEARER}")) {
        return Err((401, "who are you?".to_owned()));
    }
    let timestamp = request.header("x-tollgate-timestamp").unwrap_or_default();
    let near = timestamp
        .parse::<i64>()
        .is_ok_and(|then| (then - now_s).abs() < 300);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, HMAC_SECRET.as_bytes());
    let signed = [format!("{timestamp}.").as_bytes(), &request.body].concat();
    let hex = hex(ring::hmac::sign(&key, &signed).as_ref());
    if !near || request.header("x-tollgate-signature") != Some(&format!("sha256={hex}")) {
        return Err((403, "bad signature".to_owned()));
    }
    let body: Body =
        serde_json::from_slice(&request.body).map_err(|error| (400, error.to_string()))?;
    check(&body).map_err(|what| (400, what))?;
    let texts = body.alerts.iter().flat_map(|alert| {
        alert
            .labels
            .values()
            .chain(alert.annotations.values())
            .map(String::as_str)
    });
    Ok(Shown {
        text: texts.flat_map(|text| [text, "\n"]).collect(),
        mentions: Vec::new(),
        code: Vec::new(),
        links: body
            .alerts
            .iter()
            .map(|alert| alert.generator_url.clone())
            .collect(),
    })
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn check(body: &Body) -> Result<(), String> {
    let must = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    must(
        body.version == "4" && !body.receiver.is_empty() && !body.group_key.is_empty(),
        "head",
    )?;
    // What fires may be in another body of the group.
    let fires = body.alerts.iter().any(|alert| alert.status == "firing");
    must(
        body.status == "firing" || body.status == "resolved" && !fires,
        "status",
    )?;
    let fields = |alert: &Alert| alert.labels.clone();
    for alert in &body.alerts {
        super::alertmanager::check_labels(&alert.labels)?;
        let open = alert.ends_at == "0001-01-01T00:00:00Z".parse().unwrap();
        must(open == (alert.status == "firing"), "endsAt")?;
        must(open || alert.ends_at >= alert.starts_at, "startsAt")?;
        let hex = alert
            .fingerprint
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit());
        must(hex && alert.fingerprint.len() == 16, "fingerprint")?;
        for (name, value) in &body.common_labels {
            must(fields(alert).get(name) == Some(value), "commonLabels")?;
        }
    }
    Ok(())
}
