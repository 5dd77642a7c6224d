//! Whoever takes Alertmanager's webhook: its body of version 4
//! (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>), field by field and in
//! its order.
//!
//! With a key, the body is signed: `x-tollgate-signature` is `sha256=` and the hex HMAC-SHA256 of
//! `x-tollgate-timestamp` (seconds), a full stop and the body. Whoever checks it refuses old
//! timestamps, so that nobody can say the same again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ring::hmac;
use serde::Serialize;

use super::alert_body::{self, AlertBody, Ends};
use super::build::BuildError;
use super::content::Content;
use super::delivered::Delivered;
use super::http::{Answer, Poster};
use super::pace::Pace;
use super::{Delivery, Receiver};
use crate::clock::UnixMicros;
use crate::config::{ReceiverKind, Secret, WebhookSettings};

const SIGNATURE: HeaderName = HeaderName::from_static("x-tollgate-signature");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-tollgate-timestamp");

/// How Go writes no time at all.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A webhook.
#[derive(Debug)]
pub(super) struct Webhook {
    name: String,
    poster: Poster,
    bearer: Option<HeaderValue>,
    hmac_secret: Option<Secret>,
    max_alerts: usize,
    /// Whether all that it is told is a test.
    on_trial: bool,
}

/// The body.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<Alert<'a>>,
    group_labels: BTreeMap<String, String>,
    common_labels: BTreeMap<&'a str, &'a str>,
    common_annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "externalURL")]
    external_url: String,
    version: &'static str,
    group_key: String,
    truncated_alerts: usize,
}

/// One of its alerts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

impl Webhook {
    pub(super) fn new(
        name: &str,
        settings: &WebhookSettings,
        timeout: Duration,
    ) -> Result<Self, BuildError> {
        let secrets = [settings.bearer.as_ref(), settings.hmac_secret.as_ref()];
        Ok(Self {
            name: name.to_owned(),
            poster: Poster::new(&settings.url, &secrets, timeout)?,
            bearer: settings.bearer.as_ref().map(bearer).transpose()?,
            hmac_secret: settings.hmac_secret.clone(),
            max_alerts: settings.max_alerts,
            on_trial: false,
        })
    }

    /// Says of everything that it is a test.
    pub(super) fn on_trial(self) -> Self {
        Self {
            on_trial: true,
            ..self
        }
    }

    /// The body, written by `write`.
    fn body<T>(&self, delivery: Delivery<'_>, write: impl FnOnce(&Body<'_>) -> T) -> T {
        let contents = delivery.contents.iter();
        let told = contents.flat_map(|content| alert_body::alerts(content, Some(delivery.message)));
        let mut told: Vec<AlertBody> = told.collect();
        let mut truncated: usize = delivery.contents.iter().map(more).sum();
        if self.max_alerts > 0 && told.len() > self.max_alerts {
            truncated += told.len() - self.max_alerts;
            told.truncate(self.max_alerts);
        }
        // As with what is not listed: some receivers take the status for that of the group.
        let fires = told.iter().any(|alert| alert.ends == Ends::Open)
            || delivery.contents.iter().any(fires);
        let (mut group_key, mut group_labels) =
            delivery.contents.first().map(group).unwrap_or_default();
        if self.on_trial {
            for alert in &mut told {
                alert.mark_as_test(delivery.message);
            }
            group_key.insert_str(0, "test/");
            group_labels.insert("test".to_owned(), "true".to_owned());
        }
        write(&Body {
            receiver: &self.name,
            status: status(fires),
            alerts: told.iter().map(alert).collect(),
            group_labels,
            common_labels: common(&told, |alert| &alert.labels),
            common_annotations: common(&told, |alert| &alert.annotations),
            external_url: external_url(&told),
            version: "4",
            group_key,
            truncated_alerts: truncated,
        })
    }

    fn headers(&self, body: &[u8], now: UnixMicros) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(bearer) = &self.bearer {
            headers.insert(header::AUTHORIZATION, bearer.clone());
        }
        if let Some(secret) = &self.hmac_secret {
            let seconds = now.0.div_euclid(1_000_000);
            let signature = signature(secret, seconds, body);
            if let Ok(signature) = HeaderValue::try_from(signature) {
                headers.insert(TIMESTAMP, HeaderValue::from(seconds));
                headers.insert(SIGNATURE, signature);
            }
        }
        headers
    }

    fn delivered(&self, answer: &Answer) -> Delivered {
        if answer.status.is_success() {
            return Delivered::Sent { reference: None };
        }
        self.poster.refused(answer)
    }
}

#[async_trait]
impl Receiver for Webhook {
    fn kind(&self) -> ReceiverKind {
        ReceiverKind::Webhook
    }

    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// A body is of one group.
    fn merges(&self) -> bool {
        false
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        // Texts and numbers only: there is nothing in it that JSON does not take.
        let body = self.body(delivery, |body| {
            serde_json::to_vec(body).unwrap_or_default()
        });
        let headers = self.headers(&body, UnixMicros::now());
        match self.poster.post(&[], headers, body).await {
            Ok(answer) => self.delivered(&answer),
            Err(unsent) => unsent,
        }
    }

    fn preview(&self, delivery: Delivery<'_>) -> String {
        self.body(delivery, |body| {
            serde_json::to_string_pretty(body).unwrap_or_default()
        })
    }
}

/// `Authorization`'s value; marked, so that nothing prints it.
pub(super) fn bearer(secret: &Secret) -> Result<HeaderValue, BuildError> {
    let value = HeaderValue::try_from(format!("Bearer {}", secret.expose()));
    let mut value = value.map_err(|_| BuildError::NotHeader)?;
    value.set_sensitive(true);
    Ok(value)
}

fn signature(secret: &Secret, seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let mut signature = "sha256=".to_owned();
    for byte in context.sign().as_ref() {
        let _ = write!(signature, "{byte:02x}");
    }
    signature
}

fn alert(body: &AlertBody) -> Alert<'_> {
    let ends_at = match body.ends {
        Ends::Open => NEVER.to_owned(),
        Ends::At(end) | Ends::Told(end) => end.to_string(),
    };
    Alert {
        status: status(body.ends == Ends::Open),
        labels: &body.labels,
        annotations: &body.annotations,
        starts_at: body.starts_at.to_string(),
        ends_at,
        generator_url: &body.generator_url,
        fingerprint: format!("{:016x}", alert_body::fingerprint(&body.labels)),
    }
}

const fn status(fires: bool) -> &'static str {
    if fires { "firing" } else { "resolved" }
}

/// What all alerts have with the same value.
fn common(
    alerts: &[AlertBody],
    of: impl Fn(&AlertBody) -> &BTreeMap<String, String>,
) -> BTreeMap<&str, &str> {
    let Some((first, rest)) = alerts.split_first() else {
        return BTreeMap::new();
    };
    let pairs = of(first)
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let shared = |(name, value): &(&str, &str)| {
        let mut others = rest.iter().map(|alert| of(alert).get(*name));
        others.all(|other| other.is_some_and(|other| other == value))
    };
    pairs.filter(shared).collect()
}

/// The group's key and labels.
fn group(content: &Content) -> (String, BTreeMap<String, String>) {
    let own = |alert: &str, name: &str, value: &str| {
        let labels = [("alertname", alert), (name, value)];
        let labels = labels.map(|(name, value)| (name.to_owned(), alert_body::label_value(value)));
        (
            format!("{{}}:{{alertname={alert:?}, {name}={value:?}}}"),
            labels.into(),
        )
    };
    match content {
        Content::Alerts(group) => {
            let labels = group.facts.iter().map(|(name, value)| {
                // The fact `rule` is the label `alertname`.
                let name = if &**name == "rule" { "alertname" } else { name };
                (alert_body::label_name(name), alert_body::label_value(value))
            });
            (group.group.to_string(), labels.collect())
        }
        Content::Channel(channel) => own("TollgateChannelClosed", "channel", &channel.channel),
        Content::Digest(digest) => own("TollgateDigest", "digest", &digest.name),
        Content::Undelivered(undelivered) => {
            own("TollgateUndelivered", "receiver", &undelivered.receiver)
        }
    }
}

/// Whether alerts fire, those that are not listed included.
fn fires(content: &Content) -> bool {
    match content {
        Content::Alerts(group) => group.critical + group.warning > 0,
        Content::Channel(_) | Content::Digest(_) | Content::Undelivered(_) => false,
    }
}

/// Alerts that a content does not list.
fn more(content: &Content) -> usize {
    match content {
        Content::Alerts(group) => group.more,
        Content::Channel(_) | Content::Digest(_) => 0,
        Content::Undelivered(undelivered) => undelivered.content.as_deref().map_or(0, more),
    }
}

/// Where the first link leads, without a path: all that is known of where people look.
fn external_url(alerts: &[AlertBody]) -> String {
    let mut urls = alerts
        .iter()
        .filter_map(|alert| reqwest::Url::parse(&alert.generator_url).ok());
    let origin = urls.find_map(|url| {
        let origin = url.origin();
        origin.is_tuple().then(|| origin.ascii_serialization())
    });
    origin.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_over_the_time_and_the_body() {
        // Computed with Python: hmac.new(b"key", b"1599360473.{}", sha256).hexdigest().
        assert_eq!(
            signature(&Secret::new("key"), 1_599_360_473, b"{}"),
            "sha256=8f2f9e81788e4e027f331e5f950215596fca6cf0521338a28c231dc836663bdd"
        );
    }

    #[test]
    fn a_bearer_token_is_never_printed() {
        let bearer = bearer(&Secret::new("canary")).unwrap();
        assert!(!format!("{bearer:?}").contains("canary"));
        assert!(super::bearer(&Secret::new("a\nb")).is_err());
    }
}
