//! Alertmanager's API for alerts, with its checks.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Answer, Judge, Request, Shown};

pub(crate) const BEARER: &str = "canary-alertmanager-bearer";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "super::moment")]
    starts_at: jiff::Timestamp,
    #[serde(deserialize_with = "super::moment")]
    ends_at: jiff::Timestamp,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

/// One behind a gateway that wants a token.
pub(crate) async fn start() -> Judge {
    Judge::start(Box::new(|request, _| match judge(request) {
        Ok(shown) => (Answer::new(200, ""), Some(shown)),
        Err((status, words)) => (Answer::new(status, format!("{words:?}\n")), None),
    }))
    .await
}

fn judge(request: &Request) -> Result<Shown, (u16, String)> {
    if request.path() != "/am/api/v2/alerts" {
        return Err((404, "path not found".to_owned()));
    }
    if request.header("authorization") != Some(&format!("Bearer {BEARER}")) {
        return Err((401, "unauthorized".to_owned()));
    }
    let alerts: Vec<Alert> =
        serde_json::from_slice(&request.body).map_err(|error| (400, error.to_string()))?;
    let mut shown = Shown::default();
    for alert in alerts {
        check_labels(&alert.labels).map_err(|what| (400, what))?;
        if alert.ends_at < alert.starts_at {
            return Err((400, "start time must be before end time".to_owned()));
        }
        for text in alert.labels.values().chain(alert.annotations.values()) {
            shown.text.extend([text.as_str(), "\n"]);
        }
        shown.links.push(alert.generator_url);
    }
    Ok(shown)
}

/// Prometheus' rules for names, and an alert's for what must be there.
pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in labels {
        let mut bytes = name.bytes();
        let first = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !first || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("invalid label set: invalid name {name:?}"));
        }
        if value.is_empty() {
            return Err(format!("label {name:?} is empty"));
        }
    }
    let named = labels.contains_key("alertname") && labels.contains_key("severity");
    named
        .then_some(())
        .ok_or_else(|| "no alertname or severity".to_owned())
}
