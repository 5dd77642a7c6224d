//! Prometheus' Alertmanager, for those who route there already: `POST /api/v2/alerts`
//! (<https://prometheus.io/docs/alerting/latest/alerts_api/>), to every one of its addresses, as
//! Prometheus does. One that takes the alerts is enough: Alertmanagers of a cluster do not tell each
//! other of alerts, but each that is asked again later knows them.
//!
//! Alertmanager wants to be told again and again what fires, and takes what it was not told for
//! `resolve_timeout` (5 minutes) as resolved, unless the alert says when it ends. Tollgate tells it when
//! something is new and every `repeat_interval`; so each alert that fires ends [`FIRES_FOR`] after it
//! was told, unless it is told again or resolved before. The settings warn of a route to an Alertmanager
//! whose `repeat_interval` is too long for that, and of one that is not told of ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use super::alert_body::{self, AlertBody, Ends};
use super::build::BuildError;
use super::content::Content;
use super::delivered::Delivered;
use super::http::Poster;
use super::pace::Pace;
use super::webhook::bearer;
use super::{Delivery, Receiver};
use crate::clock::UnixMicros;
use crate::config::{AlertmanagerSettings, ReceiverKind, Secret};

/// How long an alert fires without being told again: over a weekend of mute times (60 hours) and a
/// `repeat_interval` of 12 hours. For as long it fires there where Tollgate is no more.
const FIRES_FOR: Duration = Duration::from_secs(72 * 3600);

/// How long a channel counts as closed, of which nothing is told again until it opens.
const CLOSED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long an event fires, so that Alertmanager tells of it at all.
const EVENT_FIRES_FOR: Duration = Duration::from_secs(3600);

/// How long an alert fires that is only a test.
const TEST_FIRES_FOR: Duration = Duration::from_secs(5 * 60);

/// Alertmanagers.
#[derive(Debug)]
pub(super) struct Alertmanager {
    /// With what each is called in the log.
    posters: Vec<(String, Poster)>,
    bearer: Option<HeaderValue>,
    labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Whether all that it is told is a test.
    on_trial: bool,
}

/// An alert as Alertmanager takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "String::is_empty")]
    generator_url: String,
}

impl Alertmanager {
    pub(super) fn new(
        settings: &AlertmanagerSettings,
        timeout: Duration,
    ) -> Result<Self, BuildError> {
        let posters = settings.urls.iter().map(|url| {
            let address = Secret::new(format!("{url}/api/v2/alerts"));
            let poster = Poster::new(&address, &[settings.bearer.as_ref()], timeout)?;
            Ok((url.authority.clone(), poster))
        });
        Ok(Self {
            posters: posters.collect::<Result<_, BuildError>>()?,
            bearer: settings.bearer.as_ref().map(bearer).transpose()?,
            labels: settings.labels.clone(),
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

    fn body(&self, delivery: Delivery<'_>, now: UnixMicros) -> Vec<PostableAlert> {
        let contents = delivery.contents.iter();
        let alerts = contents.flat_map(|content| {
            let alerts = alert_body::alerts(content, Some(delivery.message));
            alerts.into_iter().map(|mut alert| {
                if self.on_trial {
                    alert.mark_as_test(delivery.message);
                }
                self.postable(alert, content, now)
            })
        });
        alerts.collect()
    }

    fn postable(&self, alert: AlertBody, content: &Content, now: UnixMicros) -> PostableAlert {
        let ends_at = match (alert.ends, content) {
            (Ends::At(end), _) => end,
            (Ends::Told(_) | Ends::Open, _) if self.on_trial => now.plus(TEST_FIRES_FOR),
            (Ends::Told(_), _) => now.plus(EVENT_FIRES_FOR),
            (Ends::Open, Content::Channel(_)) => now.plus(CLOSED_FOR),
            (Ends::Open, Content::Alerts(group)) => group.at.plus(FIRES_FOR),
            (Ends::Open, Content::Digest(_) | Content::Undelivered(_)) => now.plus(FIRES_FOR),
        };
        let mut labels = alert.labels;
        for (name, value) in &self.labels {
            labels
                .entry(alert_body::label_name(name))
                .or_insert_with(|| value.to_string());
        }
        PostableAlert {
            labels,
            annotations: alert.annotations,
            // One that ended before it began is refused.
            starts_at: alert.starts_at.min(ends_at).to_string(),
            ends_at: ends_at.to_string(),
            generator_url: alert.generator_url,
        }
    }

    async fn tell(&self, poster: &Poster, body: Vec<u8>) -> Delivered {
        let mut headers = HeaderMap::new();
        if let Some(bearer) = &self.bearer {
            headers.insert(header::AUTHORIZATION, bearer.clone());
        }
        match poster.post(&[], headers, body).await {
            Ok(answer) if answer.status.is_success() => Delivered::Sent { reference: None },
            Ok(answer) => poster.refused(&answer),
            Err(unsent) => unsent,
        }
    }
}

#[async_trait]
impl Receiver for Alertmanager {
    fn kind(&self) -> ReceiverKind {
        ReceiverKind::Alertmanager
    }

    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// It groups by itself.
    fn merges(&self) -> bool {
        false
    }

    async fn send(&self, delivery: Delivery<'_>) -> Delivered {
        let alerts = self.body(delivery, UnixMicros::now());
        // Texts only: there is nothing in it that JSON does not take.
        let body = serde_json::to_vec(&alerts).unwrap_or_default();
        let posters = self.posters.iter();
        let told = join_all(posters.map(|(_, poster)| self.tell(poster, body.clone()))).await;
        let names = self.posters.iter().map(|(name, _)| name.as_str());
        one_of(names.zip(told).collect())
    }

    fn preview(&self, delivery: Delivery<'_>) -> String {
        let alerts = self.body(delivery, UnixMicros::now());
        serde_json::to_string_pretty(&alerts).unwrap_or_default()
    }
}

/// What came of telling all of them: one that took it is enough, and one that may take it later worth
/// another try.
fn one_of(told: Vec<(&str, Delivered)>) -> Delivered {
    let taken = told
        .iter()
        .any(|(_, delivered)| matches!(delivered, Delivered::Sent { .. }));
    let mut worst: Option<Delivered> = None;
    for (alertmanager, delivered) in told {
        let named = |detail: String| format!("{alertmanager}: {detail}");
        let delivered = match delivered {
            Delivered::Sent { .. } => continue,
            Delivered::Again {
                after,
                reason,
                detail,
            } => Delivered::Again {
                after,
                reason,
                detail: named(detail),
            },
            Delivered::GiveUp { reason, detail } => Delivered::GiveUp {
                reason,
                detail: named(detail),
            },
        };
        if taken {
            if let Delivered::Again { reason, detail, .. } | Delivered::GiveUp { reason, detail } =
                delivered
            {
                tracing::warn!(%reason, detail, "an Alertmanager did not take alerts that another one took");
            }
        } else if worst.is_none()
            || matches!(
                (&worst, &delivered),
                (Some(Delivered::GiveUp { .. }), Delivered::Again { .. })
            )
        {
            worst = Some(delivered);
        }
    }
    worst.unwrap_or(Delivered::Sent { reference: None })
}

#[cfg(test)]
mod tests {
    use super::super::FailureReason;
    use super::*;

    #[test]
    fn one_that_takes_it_is_enough_and_one_that_may_is_worth_a_try() {
        let sent = || Delivered::Sent { reference: None };
        let again = || Delivered::Again {
            after: None,
            reason: FailureReason::Connect,
            detail: "refused".to_owned(),
        };
        let give_up = || Delivered::GiveUp {
            reason: FailureReason::Refused,
            detail: "bad".to_owned(),
        };
        assert_eq!(one_of(vec![("a", give_up()), ("b", sent())]), sent());
        let told = one_of(vec![("a", give_up()), ("b", again()), ("c", give_up())]);
        assert!(matches!(told, Delivered::Again { detail, .. } if detail == "b: refused"));
        let told = one_of(vec![("a", give_up()), ("b", give_up())]);
        assert!(matches!(told, Delivered::GiveUp { detail, .. } if detail == "a: bad"));
    }
}
