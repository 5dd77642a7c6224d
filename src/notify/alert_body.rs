//! Alerts as Alertmanager and its readers know them: labels that say which one it is, annotations that
//! say more, a begin and an end.
//!
//! What is no alert of a rule is told as one of Tollgate's own, so that whoever reads alerts reads all
//! of it: `TollgateChannelClosed` fires while a channel is not open, `TollgateUndelivered` when a
//! receiver cannot be reached, `TollgateDigest` is over as soon as it is told.

use std::collections::BTreeMap;

use super::content::{
    AlertContent, AlertsContent, ChannelContent, Content, DigestContent, Link, LinkKind,
    UndeliveredContent,
};
use super::cut;
use super::message::Message;
use crate::alert::{AlertState, FNV1A, Severity, fnv1a};
use crate::clock::UnixMicros;
use crate::config::Language;
use crate::record::GateState;

/// Characters of a label's value; longer ones end in a number that tells them apart.
const MOST_LABEL: usize = 1_024;

/// Characters of an annotation.
const MOST_ANNOTATION: usize = 8_192;

/// When an alert ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// It fires.
    Open,
    /// It ended then.
    At(UnixMicros),
    /// It is an event rather than a state: over at this moment, for who knows states only.
    Told(UnixMicros),
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlertBody {
    /// Which it is; with `alertname` and `severity`.
    pub labels: BTreeMap<String, String>,
    /// What else is known of it.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    pub starts_at: UnixMicros,
    /// When it ends.
    pub ends: Ends,
    /// Where to look; empty for nowhere.
    pub generator_url: String,
}

impl AlertBody {
    /// Makes it another alert, which nobody takes for what happened.
    pub(super) fn mark_as_test(&mut self, message: &Message) {
        self.labels.insert("test".to_owned(), "true".to_owned());
        self.annotations
            .insert("summary".to_owned(), message.title.clone());
    }
}

/// The alerts of a content, whose words are `message`; `None` where those are of something else.
pub(super) fn alerts(content: &Content, message: Option<&Message>) -> Vec<AlertBody> {
    match content {
        Content::Alerts(group) => of_group(group, message),
        Content::Channel(channel) => of_channel(channel, message).into_iter().collect(),
        Content::Digest(digest) => vec![of_digest(digest, message)],
        Content::Undelivered(undelivered) => of_undelivered(undelivered, message),
    }
}

fn of_group(group: &AlertsContent, message: Option<&Message>) -> Vec<AlertBody> {
    // The message is about one alert only where there is one.
    let message = message.filter(|_| group.alerts.len() == 1 && group.more == 0);
    let bodies = group.alerts.iter().flat_map(|alert| {
        let severity = alert.event.severity.unwrap_or(Severity::Warning);
        let former = alert.fired_as.filter(|former| *former != severity);
        if alert.event.state != AlertState::Firing {
            // What was told as firing ends, and nothing that never was. One that came and went is told
            // as it was: whoever heard of it all the same, from an answer that was lost, hears its end.
            return vec![of_alert(alert, former.unwrap_or(severity), message)];
        }
        let body = of_alert(alert, severity, message);
        let ended = former.map(|former| ended_as(former, &body, alert));
        std::iter::once(body).chain(ended).collect()
    });
    bodies.collect()
}

fn of_alert(alert: &AlertContent, severity: Severity, message: Option<&Message>) -> AlertBody {
    let event = &alert.event;
    let mut labels = BTreeMap::from([
        ("alertname".to_owned(), label_value(&event.alert.rule)),
        ("severity".to_owned(), severity.to_string()),
    ]);
    for (name, value) in event
        .alert
        .labels
        .iter()
        .filter(|(_, value)| !value.is_empty())
    {
        let mut name = label_name(name);
        while labels.contains_key(&name) {
            name.push('_');
        }
        labels.insert(name, label_value(value));
    }
    let mut annotations = BTreeMap::new();
    for (name, text) in &alert.annotations {
        annotations.insert(label_name(name), text.clone());
    }
    let mut annotate = |name: &str, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            annotations.entry(name.to_owned()).or_insert(text);
        }
    };
    let told = |quantity: Option<crate::alert::Quantity>| quantity.map(|known| known.to_string());
    annotate("value", told(event.value));
    annotate("limit", told(event.limit));
    annotate("forecast", told(alert.forecast));
    let actions: Vec<&str> = event.actions.iter().map(|action| &*action.detail).collect();
    annotate("actions", Some(actions.join("; ")));
    annotate("mode", Some(event.mode.to_string()));
    annotate(
        "window",
        alert.rule.as_ref().map(|rule| rule.window.to_string()),
    );
    for link in &alert.links {
        annotate(link.kind.as_str(), Some(link.url.clone()));
    }
    match message {
        Some(message) => {
            annotate("summary", Some(message.title.clone()));
            annotate("description", Some(plain(message)));
        }
        None => annotate("summary", Some(event.alert.to_string())),
    }
    let fires = event.state == AlertState::Firing;
    finish(AlertBody {
        labels,
        annotations,
        starts_at: event.fired_at.or(event.active_since).unwrap_or(event.at),
        ends: if fires {
            Ends::Open
        } else {
            Ends::At(event.at)
        },
        generator_url: generator(&alert.links),
    })
}

/// The same alert at the severity that it was told at, which is another alert to Alertmanager: it
/// ended.
fn ended_as(former: Severity, body: &AlertBody, alert: &AlertContent) -> AlertBody {
    let mut ended = body.clone();
    ended
        .labels
        .insert("severity".to_owned(), former.to_string());
    ended.ends = Ends::At(alert.event.at);
    ended
}

fn of_channel(channel: &ChannelContent, message: Option<&Message>) -> Option<AlertBody> {
    let last = channel.events.last()?;
    // Since it was last seen open.
    let opened = channel.events[..channel.events.len() - 1]
        .iter()
        .rposition(|event| event.state == GateState::Open);
    let first = channel.events.get(opened.map_or(0, |at| at + 1))?;
    let before = channel.closed_since.filter(|_| opened.is_none());
    let mut annotations = words(message);
    let mut annotate = |name: &str, text: String| {
        if !text.is_empty() {
            annotations.insert(name.to_owned(), text);
        }
    };
    annotate("reason", last.reason.to_string());
    annotate("owner", last.owner.to_string());
    annotate(
        "until",
        last.until
            .map(|until| until.to_string())
            .unwrap_or_default(),
    );
    annotate("who", last.who.as_deref().unwrap_or_default().to_owned());
    annotate("note", last.note.as_deref().unwrap_or_default().to_owned());
    annotate("models_without_channel", channel.without_channel.join(", "));
    Some(finish(AlertBody {
        labels: own_labels(
            "TollgateChannelClosed",
            "warning",
            "channel",
            &channel.channel,
        ),
        annotations,
        starts_at: before.unwrap_or(first.at),
        ends: if last.state == GateState::Open {
            Ends::At(last.at)
        } else {
            Ends::Open
        },
        generator_url: generator(&channel.links),
    }))
}

fn of_digest(digest: &DigestContent, message: Option<&Message>) -> AlertBody {
    finish(AlertBody {
        labels: own_labels("TollgateDigest", "info", "digest", &digest.name),
        annotations: words(message),
        starts_at: digest.since,
        ends: Ends::Told(digest.until),
        generator_url: generator(&digest.links),
    })
}

/// That a receiver cannot be reached, and what it was to be told last.
fn of_undelivered(undelivered: &UndeliveredContent, message: Option<&Message>) -> Vec<AlertBody> {
    let mut annotations = words(message);
    annotations.insert("error".to_owned(), undelivered.error.to_string());
    let first = undelivered.titles.iter().map(|(at, _)| *at).min();
    let own = finish(AlertBody {
        labels: own_labels(
            "TollgateUndelivered",
            "warning",
            "receiver",
            &undelivered.receiver,
        ),
        annotations,
        starts_at: first.unwrap_or_else(UnixMicros::now),
        ends: Ends::Open,
        generator_url: String::new(),
    });
    let content = undelivered.content.as_deref();
    // The words are about the receiver.
    let inner = content.map(|content| alerts(content, None));
    std::iter::once(own)
        .chain(inner.into_iter().flatten())
        .collect()
}

fn own_labels(alert: &str, severity: &str, name: &str, value: &str) -> BTreeMap<String, String> {
    let labels = [("alertname", alert), ("severity", severity), (name, value)];
    labels
        .map(|(name, value)| (name.to_owned(), label_value(value)))
        .into()
}

fn words(message: Option<&Message>) -> BTreeMap<String, String> {
    let Some(message) = message else {
        return BTreeMap::new();
    };
    let words = [
        ("summary", message.title.clone()),
        ("description", plain(message)),
    ];
    let words = words.into_iter().filter(|(_, text)| !text.is_empty());
    words.map(|(name, text)| (name.to_owned(), text)).collect()
}

/// A message's body without any markup.
fn plain(message: &Message) -> String {
    let lines = message.body.iter().map(|block| {
        let spans = cut::spans(block).iter();
        spans.map(cut::text).collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// With no annotation longer than anybody reads.
fn finish(mut body: AlertBody) -> AlertBody {
    for text in body.annotations.values_mut() {
        let all = text.chars().count();
        if all > MOST_ANNOTATION {
            let kept: String = text.chars().take(MOST_ANNOTATION).collect();
            let more = cut::more_characters(all - MOST_ANNOTATION, Language::En);
            *text = format!("{kept}{more}");
        }
    }
    body
}

fn generator(links: &[Link]) -> String {
    let dashboard = links.iter().find(|link| link.kind == LinkKind::Dashboard);
    let link = dashboard.or(links.first());
    link.map(|link| link.url.clone()).unwrap_or_default()
}

/// A name as Prometheus takes it: `tag:team` is `tag_team`.
pub(super) fn label_name(name: &str) -> String {
    let fits = |shown: char| shown.is_ascii_alphanumeric() || shown == '_';
    let mut valid: String = name
        .chars()
        .map(|shown| if fits(shown) { shown } else { '_' })
        .collect();
    if !valid.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        valid.insert(0, '_');
    }
    valid
}

/// A value that is not too long, and another one where that was.
pub(super) fn label_value(value: &str) -> String {
    let all = value.chars().count();
    if all <= MOST_LABEL {
        return value.to_owned();
    }
    let kept: String = value.chars().take(MOST_LABEL).collect();
    let more = cut::more_characters(all - MOST_LABEL, Language::En);
    format!("{kept}{more} #{:016x}", fnv1a(FNV1A, value.as_bytes()))
}

/// What Alertmanager tells alerts apart by: FNV-1a over the labels in the order of their names, with a
/// byte that is no text behind each name and value.
pub(super) fn fingerprint(labels: &BTreeMap<String, String>) -> u64 {
    let parts = labels
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), &[0xff], value.as_bytes(), &[0xff]]);
    fnv1a(FNV1A, parts.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_to_prometheus() {
        for (name, valid) in [
            ("channel", "channel"),
            ("tag:team", "tag_team"),
            ("9lives", "_9lives"),
            ("名", "_"),
            ("", "_"),
        ] {
            assert_eq!(label_name(name), valid);
        }
    }

    #[test]
    fn a_long_value_is_cut_and_still_its_own() {
        let [one, other] =
            ["a", "b"].map(|end| label_value(&format!("{}{end}", "x".repeat(10_000))));
        assert!(
            one.chars().count() < 1_100 && one.contains("… 8977 more characters"),
            "{one}"
        );
        assert_ne!(one, other);
        assert_eq!(label_value("short"), "short");
    }

    #[test]
    fn the_fingerprint_is_alertmanagers() {
        // What Alertmanager 0.25 sent for these labels.
        let labels = [
            ("alertname", "ModelSpend"),
            ("model", "gpt-5 <b>{{"),
            ("severity", "critical"),
            ("tag_team", "blue"),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fingerprint(&labels.into()), 0x4e61_36f8_ed41_7fad);
    }

    #[test]
    fn the_fingerprint_is_fnv_1a() {
        // The published test vectors of FNV-1a, 64 bits.
        assert_eq!(fnv1a(FNV1A, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(fnv1a(FNV1A, b"foo"), b"bar"), 0x8594_4171_f739_67e8);
    }
}
