//! What can be asked about usage, and what is answered.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

use super::names::NameFilter;
use super::reading::{Range, Wanted};
use crate::clock::UnixMicros;
use crate::ledger::reprice::PriceBook;
use crate::money::NanoUsd;
use crate::record::{Outcome, Tokens, Units};

/// What a usage summary is grouped by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// The model that answered, else the one that was asked for.
    Model,
    /// The upstream channel.
    Channel,
    /// The client key's name.
    Key,
    /// The API.
    Api,
    /// The service tier that was billed; none where the provider named none, or the request is from
    /// before tiers were summed by. Of roll-ups only those by the hour know it, so a range is of whole
    /// hours of UTC then.
    Tier,
    /// The calendar day the request started on, in the query's time zone, as `2026-11-20`.
    Day,
    /// The value of the tag of this name. Roll-ups hold no tags, so this reads the rows: it sees
    /// no further back than the ledger's retention, and its time grows with the range.
    Tag(String),
}

/// Why a text names no grouping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is nothing to group by; one of: model, channel, key, api, tier, day, tag:NAME")]
pub struct GroupByError(String);

impl FromStr for GroupBy {
    type Err = GroupByError;

    fn from_str(text: &str) -> Result<Self, GroupByError> {
        match text {
            "model" => Ok(Self::Model),
            "channel" => Ok(Self::Channel),
            "key" => Ok(Self::Key),
            "api" => Ok(Self::Api),
            "tier" => Ok(Self::Tier),
            "day" => Ok(Self::Day),
            other => match other.strip_prefix("tag:") {
                Some(name) if !name.is_empty() => Ok(Self::Tag(name.to_owned())),
                _ => Err(GroupByError(other.to_owned())),
            },
        }
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model => f.pad("model"),
            Self::Channel => f.pad("channel"),
            Self::Key => f.pad("key"),
            Self::Api => f.pad("api"),
            Self::Tier => f.pad("tier"),
            Self::Day => f.pad("day"),
            Self::Tag(name) => write!(f, "tag:{name}"),
        }
    }
}

/// Whose usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Sent to one of these channels.
    pub channel: NameFilter,
    /// Answered by one of these models; where the provider named none, asked for it.
    pub model: NameFilter,
    /// Calling one of these APIs.
    pub api: NameFilter,
    /// Of client keys of these names.
    pub key: NameFilter,
}

/// A question about usage.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// From this moment on, by when requests started; rounded down to the minute, which is how
    /// fine the roll-ups are. `None`: from the beginning.
    pub since: Option<UnixMicros>,
    /// Up to but without this moment; rounded up to the minute. `None`: until now.
    pub until: Option<UnixMicros>,
    /// Whose.
    pub filter: UsageFilter,
    /// One row for each combination of these; empty gives one row of everything.
    pub by: Vec<GroupBy>,
    /// Whose calendar [`GroupBy::Day`] means.
    pub timezone: TimeZone,
    /// By which prices [`UsageRow::cached_saved`] is told; `None`: not at all.
    pub prices: Option<PricesAt>,
    /// With the range of the same length before. Not together with [`GroupBy::Day`], of which the other
    /// range has others, nor of a range that has no beginning or end.
    pub compare: bool,
}

/// The prices of a moment.
#[derive(Clone, Debug)]
pub struct PricesAt {
    /// The prices.
    pub book: PriceBook,
    /// When they hold.
    pub at: UnixMicros,
}

impl UsageQuery {
    /// The range that is added up, which is of whole minutes, or of whole hours by
    /// [`GroupBy::Tier`]; `None` is an open end.
    #[must_use]
    pub fn range(&self) -> (Option<UnixMicros>, Option<UnixMicros>) {
        self.spanned().ends()
    }

    pub(super) fn spanned(&self) -> Range {
        Range::around(self.since, self.until, self.wanted().tier)
    }

    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            tags: self.by.iter().any(|by| matches!(by, GroupBy::Tag(_))),
            tier: self.by.contains(&GroupBy::Tier),
            key: self.by.contains(&GroupBy::Key),
        }
    }
}

impl Default for UsageQuery {
    fn default() -> Self {
        Self {
            since: None,
            until: None,
            filter: UsageFilter::default(),
            by: Vec::new(),
            timezone: TimeZone::UTC,
            prices: None,
            compare: false,
        }
    }
}

/// The answer to a [`UsageQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageSummary {
    /// One row a group that had requests. Grouped by day: in the order of the groups' values;
    /// otherwise the costliest first, then by tokens, then by requests.
    pub rows: Vec<UsageRow>,
    /// Everything in the range; its `group` is empty.
    pub total: UsageRow,
    /// The range before, where it was asked for.
    pub previous: Option<PreviousUsage>,
}

/// What was used in the range of the same length before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousUsage {
    /// Its beginning.
    pub since: UnixMicros,
    /// Its end, exclusive.
    pub until: UnixMicros,
    /// What was used; `None` where the ledger began after that beginning, and so does not know.
    pub sums: Option<PreviousSums>,
}

/// Sums over the range before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousSums {
    /// Everything in it.
    pub total: UsageRow,
    /// For each of [`UsageSummary::rows`] what its group came to.
    pub rows: Vec<UsageRow>,
}

/// Sums over the requests of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// The value of each [`UsageQuery::by`], in its order; `None` where requests have none (no
    /// channel was found, no key was shown, the tag is not set).
    pub group: Vec<Option<String>>,
    /// How many requests.
    pub requests: u64,
    /// How many of them ended how, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// How many of them failed: every outcome but `ok` and `client_closed` (a client that leaves
    /// is no fault of the provider's or Tollgate's).
    pub errors: u64,
    /// How many of [`UsageRow::errors`] bill nothing: they reached no provider, or were turned away.
    pub unbilled_requests: u64,
    /// Tokens by type; `None` where no request stated any of that type.
    pub tokens: Tokens,
    /// Tokens in total; `None` where no request stated any.
    pub total_tokens: Option<u64>,
    /// What the priced requests cost together; `None` when none was priced. Not the whole truth
    /// while [`UsageRow::unpriced_requests`] is not 0.
    pub cost: Option<NanoUsd>,
    /// What reading from caches saved against the full price of input, less what writing them cost
    /// more; `None` where no price of it is known, or no prices were given.
    pub cached_saved: Option<NanoUsd>,
    /// Requests whose tokens are known but have no price.
    pub unpriced_requests: u64,
    /// Requests whose tokens should be known and are not.
    pub missing_usage_requests: u64,
    /// Requests whose tokens are partly the provider's count and partly Tollgate's.
    pub partial_requests: u64,
    /// Requests whose tokens Tollgate counted.
    pub estimated_requests: u64,
    /// What is billed besides tokens; `None` where no request stated any of that unit.
    pub units: Units,
    /// What Tollgate's own counts beside missing usage would cost; no part of `cost`.
    pub estimated_cost: Option<NanoUsd>,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of answers' bodies, as far as they are known.
    pub response_bytes: u64,
    /// Mean total duration in microseconds over the requests that have one.
    pub mean_total_us: Option<u64>,
    /// Mean time to first token in microseconds over the streams that reached one.
    pub mean_first_token_us: Option<u64>,
}
