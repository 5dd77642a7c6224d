//! Silences: times in which nobody is told of some alerts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Moment;
use crate::alert::Silence;
use crate::clock::UnixMicros;

/// A silence to be made. Its end is told by `ends_at` or by `for`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// What alerts must fit, all of it: `rule`, `severity` or a label, and the value it must have; `*`
    /// and `?` stand for any characters and for one.
    pub matchers: BTreeMap<String, String>,
    /// From when on: RFC 3339, a date, or how long from now (`2h`); from now on when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-20T10:00:00Z")]
    pub starts_at: Option<String>,
    /// Up to when: RFC 3339 or a date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-20T12:00:00Z")]
    pub ends_at: Option<String>,
    /// For how long from its start on: `90s`, `1h 30m`, `7d`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    #[schema(example = "2h")]
    pub span: Option<String>,
    /// Who makes it, for the audit; at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Why, in words; at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilenceJson {
    /// Its id, a UUID.
    pub id: String,
    /// What alerts must fit, all of it: `rule`, `severity` or a label, and its value or pattern.
    pub matchers: BTreeMap<String, String>,
    /// From when on.
    pub starts_at: Moment,
    /// Up to when, unless it was ended before.
    pub ends_at: Moment,
    /// Whether it holds now.
    pub active: bool,
    /// When it was made.
    pub created_at: Moment,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// When somebody ended it before its time.
    pub ended_at: Option<Moment>,
}

impl SilenceJson {
    /// A silence as it is now.
    #[must_use]
    pub fn new(silence: &Silence, now: UnixMicros) -> Self {
        let matchers = silence.matchers.iter();
        Self {
            id: silence.id.to_string(),
            matchers: matchers
                .map(|matcher| (matcher.name().to_owned(), matcher.value().to_owned()))
                .collect(),
            starts_at: Moment(silence.starts_at),
            ends_at: Moment(silence.ends_at),
            active: silence.is_active(now),
            created_at: Moment(silence.created_at),
            created_by: silence.created_by.as_ref().to_owned(),
            comment: silence.comment.as_ref().to_owned(),
            ended_at: silence.ended_at.map(Moment),
        }
    }
}

/// Silences, in the order of their making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilenceList {
    /// The silences.
    pub silences: Vec<SilenceJson>,
}
