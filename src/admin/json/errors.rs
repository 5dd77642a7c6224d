//! What failed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Moment;
use crate::ledger::query::{ErrorGroup, ErrorQuery};
use crate::record::{Api, ErrorSource, Outcome};

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorGroupJson {
    /// The channel that was tried last.
    pub channel: Option<String>,
    /// The model that answered, else the one that was asked for.
    pub model: Option<String>,
    /// The API.
    pub api: Api,
    /// How they ended.
    pub outcome: Outcome,
    /// The HTTP status that clients got.
    pub status: Option<u16>,
    /// The provider's or Tollgate's error code.
    pub error_code: Option<String>,
    /// Whose fault it was.
    pub error_source: Option<ErrorSource>,
    /// How many.
    pub requests: u64,
    /// When the first of them started.
    pub first_at: Moment,
    /// When the last of them started.
    pub last_at: Moment,
    /// The id of the last one.
    pub last_id: String,
    /// Its error's text.
    pub last_message: Option<String>,
}

/// What failed, by its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorList {
    /// The start of the range; `null` for the beginning of the ledger.
    pub since: Option<Moment>,
    /// The end of the range, exclusive; `null` for now.
    pub until: Option<Moment>,
    /// The most frequent first. Where there are more than 2,000 kinds, those that failed last have rows of
    /// their own; all others are one row for each API and outcome, whose channel, model and error code are
    /// `(other)`.
    pub rows: Vec<ErrorGroupJson>,
}

impl ErrorList {
    /// The answer to `query`.
    #[must_use]
    pub fn new(query: &ErrorQuery, groups: Vec<ErrorGroup>) -> Self {
        let rows = groups.into_iter().map(|group| ErrorGroupJson {
            channel: group.channel,
            model: group.model,
            api: group.api,
            outcome: group.outcome,
            status: group.status,
            error_code: group.error_code,
            error_source: group.error_source,
            requests: group.requests,
            first_at: Moment(group.first_at),
            last_at: Moment(group.last_at),
            last_id: group.last_id.to_string(),
            last_message: group.last_message,
        });
        Self {
            since: query.since.map(Moment),
            until: query.until.map(Moment),
            rows: rows.collect(),
        }
    }
}
