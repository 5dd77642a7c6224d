//! What was told, as it is kept with a notification: for whoever starts anew.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::alert::Notification;

use super::deduplicate::Told;
use super::notices::ToldChannel;

/// Most bytes that are read out of what is kept, whatever it says.
const MOST_UNPACKED: u64 = 16 << 20;

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Of a group of alerts.
    Alerts(Told),
    /// Of a channel.
    Channel(ToldChannel),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    /// Packed, since there may be ten thousand of them.
    Alerts(String),
    Channel(ToldChannel),
}

impl Kept {
    /// As text of at most [`Notification::MOST_BYTES`]: of more alerts than fit, those with the smallest
    /// fingerprints; the others are told again after a restart.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Channel(told) => json(&Written::Channel(told.clone())),
            Self::Alerts(told) => {
                let text = json(&Written::Alerts(packed(told)));
                if text.len() <= Notification::MOST_BYTES || told.alerts.is_empty() {
                    return text;
                }
                let half = told.alerts.len() / 2;
                let some = Told {
                    alerts: told
                        .alerts
                        .iter()
                        .take(half)
                        .map(|(k, v)| (*k, *v))
                        .collect(),
                    ..told.clone()
                };
                Self::Alerts(some).text()
            }
        }
    }

    /// What a text says; nothing where it is none of this program's.
    pub(super) fn read(text: &str) -> Option<Self> {
        Some(match serde_json::from_str(text).ok()? {
            Written::Alerts(packed) => Self::Alerts(unpacked(&packed)?),
            Written::Channel(told) => Self::Channel(told),
        })
    }

    /// What was told of alerts.
    pub(super) fn alerts(self) -> Option<Told> {
        match self {
            Self::Alerts(told) => Some(told),
            Self::Channel(_) => None,
        }
    }
}

fn json(written: &Written) -> String {
    serde_json::to_string(written).unwrap_or_default()
}

fn packed(told: &Told) -> String {
    let bytes = postcard::to_allocvec(told).unwrap_or_default();
    STANDARD_NO_PAD.encode(zstd::encode_all(&*bytes, 1).unwrap_or_default())
}

fn unpacked(text: &str) -> Option<Told> {
    let packed = STANDARD_NO_PAD.decode(text).ok()?;
    let mut bytes = Vec::new();
    let decoder = zstd::Decoder::new(&*packed).ok()?;
    decoder.take(MOST_UNPACKED).read_to_end(&mut bytes).ok()?;
    postcard::from_bytes(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::clock::UnixMicros;
    use crate::dispatch::deduplicate::{Current, told_after};
    use crate::dispatch::tests::{closing, firing};

    fn told(alerts: usize) -> Told {
        let alerts: Vec<Current> = (0..alerts)
            .map(|number| {
                let seconds = i64::try_from(number).unwrap();
                let event = closing(&firing("A", &[("key", &number.to_string())], seconds));
                Current {
                    fingerprint: event.alert.fingerprint(),
                    event: Arc::new(event),
                    came_and_went: false,
                    kept_back: false,
                }
            })
            .collect();
        let now = UnixMicros(1_763_632_800_000_000);
        told_after(None, &alerts, Uuid::nil(), Duration::ZERO, now)
    }

    #[test]
    fn ten_thousand_alerts_fit_and_are_read_as_they_were_told() {
        let kept = Kept::Alerts(told(10_000));
        let text = kept.text();
        assert!(text.len() < Notification::MOST_BYTES, "{}", text.len());
        assert_eq!(Kept::read(&text), Some(kept));
    }

    #[test]
    fn of_too_many_a_part_is_kept() {
        let text = Kept::Alerts(told(60_000)).text();
        assert!(text.len() <= Notification::MOST_BYTES);
        let read = Kept::read(&text).and_then(Kept::alerts).unwrap();
        assert!(
            (10_000..60_000).contains(&read.alerts.len()),
            "{}",
            read.alerts.len()
        );
    }

    #[test]
    fn what_is_not_this_programs_is_nothing() {
        for text in [
            "",
            "{}",
            r#"{"alerts":"!"}"#,
            r#"{"alerts":"AAAA"}"#,
            r#"{"other":1}"#,
        ] {
            assert_eq!(Kept::read(text), None, "{text}");
        }
        let channel = Kept::Channel(ToldChannel::default());
        assert_eq!(Kept::read(&channel.text()), Some(channel));
    }
}
