//! History as rules would have seen it: requests as they began and ended.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

use rusqlite::Connection;

use super::past::{requests_of_range, starts_of_what_ended};
use super::sampled::{self, SampledRow};
use super::{ReadError, parse_tags, vocabulary};
use crate::clock::UnixMicros;
use crate::record::{Api, Dimensions, Figures, ModelNames, RequestId, Sample};

/// A request of the past.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    /// Its id.
    pub id: RequestId,
    /// What rules see of it, with its tags. Of its model's names those that the ledger keeps: as it was
    /// asked for and as it was served.
    pub sample: Sample<'a>,
}

/// What of a request is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// That it began.
    Begins,
    /// That it ended.
    Ends,
}

/// What replays are shown to.
pub(super) type Visit<'v> = dyn FnMut(Turn, &Replayed<'_>) + 'v;

/// A request that began before others ended.
#[derive(Debug)]
struct Waiting {
    sequence: i64,
    id: RequestId,
    started_at: UnixMicros,
    channel: String,
    api: Api,
    key: Option<String>,
    asked: Option<String>,
    served: Option<String>,
    tags: BTreeMap<String, String>,
    figures: Figures,
}

impl Waiting {
    fn of(row: &SampledRow<'_>) -> Result<Self, ReadError> {
        let of = &row.dimensions;
        Ok(Self {
            sequence: row.sequence,
            id: vocabulary("id", row.id)?,
            started_at: row.started_at,
            channel: of.channel.to_owned(),
            api: of.api,
            key: of.key.map(str::to_owned),
            asked: of.model.asked.map(str::to_owned),
            served: of.model.served.map(str::to_owned),
            tags: row.tags.map(parse_tags).transpose()?.unwrap_or_default(),
            figures: row.figures,
        })
    }

    /// Its place in the order of ends; among those of one moment in that of recording.
    fn place(&self) -> (UnixMicros, i64) {
        (self.figures.ended_at, self.sequence)
    }

    fn show(&self, turn: Turn, visit: &mut Visit<'_>) {
        let dimensions = Dimensions {
            channel: &self.channel,
            api: self.api,
            key: self.key.as_deref(),
            model: ModelNames {
                asked: self.asked.as_deref(),
                served: self.served.as_deref(),
                ..ModelNames::default()
            },
            tags: Some(&self.tags),
        };
        let replayed = Replayed {
            id: self.id,
            sample: Sample::new(self.started_at, dimensions, &self.figures, None),
        };
        visit(turn, &replayed);
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

/// Reads requests in the order they began and shows the end of each once no later one began before it:
/// only those are in memory that were on their way at one time. See [`super::Reader::replay`].
pub(super) fn replay(
    connection: &Connection,
    since: UnixMicros,
    until: UnixMicros,
    visit: &mut Visit<'_>,
) -> Result<(), ReadError> {
    let transaction = connection.unchecked_transaction()?;
    // Rows are kept for longer than the roll-up that tells who began before and ended since.
    let ranges = starts_of_what_ended(&transaction, since, until)?;
    let first = ranges
        .first()
        .map_or(since.0, |&(first, _)| first.min(since.0));
    let mut statement = transaction.prepare(&requests_of_range(true))?;
    let mut waiting: BinaryHeap<Reverse<Waiting>> = BinaryHeap::new();
    let mut rows = statement.query((first, until.0))?;
    while let Some(row) = rows.next()? {
        let Some(row) = sampled::read(row)? else {
            continue;
        };
        while let Some(Reverse(first)) = waiting.peek()
            && first.figures.ended_at < row.started_at
        {
            if let Some(Reverse(first)) = waiting.pop() {
                first.show(Turn::Ends, visit);
            }
        }
        let ended_at = row.figures.ended_at;
        if ended_at >= since && ended_at < until {
            let begun = Waiting::of(&row)?;
            begun.show(Turn::Begins, visit);
            waiting.push(Reverse(begun));
        }
    }
    while let Some(Reverse(first)) = waiting.pop() {
        first.show(Turn::Ends, visit);
    }
    Ok(())
}
