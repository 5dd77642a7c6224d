//! What was before, read from the ledger into rules: their windows, what is held of budgets, and the
//! alerts of earlier runs.

use std::time::Duration;

use super::Around;
use crate::app::reload::Wanted;
use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::ledger::query::{Past, PastQuery};
use crate::ledger::{Journal, QueryError, Reader};
use crate::money::NanoUsd;
use crate::record::{MinuteSample, Sample, Worst};
use crate::rules::{Dimension, HeldRequest, Preparation, Rule, Rules, TookTooLong};

/// How long what is made in the background may take to tell its usage: OpenAI's batches end within a
/// day.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long one try waits for what earlier runs left in the journal to be in the database.
const WAIT: Duration = Duration::from_millis(250);
/// How long it waits for this process' own part of it.
const FLUSH: Duration = Duration::from_secs(2);

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Everything, and the alerts of earlier runs.
    First,
    /// Everything: what the rules know is wrong.
    Anew,
    /// What they do not know: rules are new or others.
    Edited,
}

/// How the ledger stood when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Restored {
    /// Whether no other process added to it any more.
    alone: bool,
    /// How often the past had been priced anew.
    repricings: u64,
}

impl Restored {
    /// Whether all that another process left was in it.
    pub(super) const fn is_alone(&self) -> bool {
        self.alone
    }
}

/// Why the ledger was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRead {
    /// It does not have everything yet that the journal has.
    #[error("the database does not have all of the journal yet")]
    Waits,
    /// It cannot be read.
    #[error(transparent)]
    Ledger(#[from] QueryError),
    /// More requests ended meanwhile than are kept.
    #[error(transparent)]
    TookTooLong(#[from] TookTooLong),
}

impl NotRead {
    /// Whether it is more than a matter of a moment.
    pub(super) const fn is_a_failure(&self) -> bool {
        !matches!(self, Self::Waits)
    }
}

/// Reads the past.
#[derive(Clone, Debug)]
pub(super) struct History(Around);

impl History {
    pub(super) const fn new(around: Around) -> Self {
        Self(around)
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Whether the ledger says something else about the past by now.
    pub(super) fn is_other(&self, before: &Restored) -> bool {
        let alone = !before.alone && self.0.recovery.is_alone();
        alone || self.0.ledger.repricings() != before.repricings
    }

    /// Puts `wanted` into force. Blocks for the reading; requests go on meanwhile.
    pub(super) fn read(&self, wanted: &Wanted, reading: Reading) -> Result<Restored, NotRead> {
        let Around {
            rules, recovery, ..
        } = &self.0;
        // All asked before the database is: it is at least so.
        let repricings = self.0.ledger.repricings();
        if !recovery.wait(WAIT) {
            return Err(NotRead::Waits);
        }
        let alone = recovery.is_alone();
        let reader = Reader::open(&self.0.data_dir)?;
        let now = UnixMicros::now();
        let anew = reading != Reading::Edited;
        let mut preparation = rules.prepare(&wanted.set, wanted.budgets.clone(), anew, now);
        let position = self.feed(&mut preparation, &reader, reading, wanted, now)?;
        preparation.install(position, UnixMicros::now())?;
        Ok(Restored { alone, repricings })
    }
}

/// What reading goes into a preparation with.
struct Feed<'f, 'r> {
    channels: &'f Registry,
    into: &'f mut Preparation<'r>,
    lease: Duration,
    now: UnixMicros,
}

impl History {
    /// Reads what `preparation` needs. Returns up to where this process' journal is in it.
    fn feed(
        &self,
        preparation: &mut Preparation<'_>,
        reader: &Reader,
        reading: Reading,
        wanted: &Wanted,
        now: UnixMicros,
    ) -> Result<Option<u64>, NotRead> {
        if reading == Reading::First {
            for event in &reader.last_alert_events()? {
                preparation.alert(event);
            }
        }
        if preparation.needs().is_nothing() {
            return Ok(None);
        }
        // What was observed before the preparation began is known from here on only.
        if !self.0.recovery.flush(FLUSH) {
            return Err(NotRead::Waits);
        }
        let Around {
            channels, journal, ..
        } = &self.0;
        Ok(feed(
            preparation,
            reader,
            wanted,
            channels,
            Some(journal),
            now,
        )?)
    }
}

/// Tells `preparation` what it needs of the past. Returns up to where `journal` is in it.
pub(super) fn feed(
    preparation: &mut Preparation<'_>,
    reader: &Reader,
    wanted: &Wanted,
    channels: &Registry,
    journal: Option<&Journal>,
    now: UnixMicros,
) -> Result<Option<u64>, QueryError> {
    let needs = preparation.needs();
    let query = PastQuery {
        minutes_since: needs.minutes_since,
        sketches: needs.sketches,
        requests_since: needs.rows_since,
        tags: wanted.set.rules.iter().any(|rule| tells_tags_apart(rule)),
        interrupted_since: needs.held_since,
        deferred_since: needs.held_since,
    };
    let mut feed = Feed {
        channels,
        into: preparation,
        lease: wanted.budgets.lease,
        now,
    };
    reader.past(&query, journal, |past| feed.take(past))
}

impl Feed<'_, '_> {
    fn take(&mut self, past: Past<'_>) {
        let (now, channels) = (self.now, self.channels);
        match past {
            Past::Minute(minute) => {
                let dimensions = channels.named(minute.dimensions);
                self.into.minute(
                    &MinuteSample {
                        dimensions,
                        ..minute.clone()
                    },
                    now,
                );
            }
            Past::Request(sample) => {
                let dimensions = channels.named(sample.dimensions);
                self.into.row(
                    &Sample {
                        dimensions,
                        ..*sample
                    },
                    now,
                );
            }
            Past::Held(held) => {
                let own = held.id.to_string();
                let (lasts, id) = if held.deferred {
                    // What the request is found by that brings its usage.
                    (KEPT, held.response_id.unwrap_or(&own))
                } else {
                    (self.lease, own.as_str())
                };
                // What is counted already is not held besides.
                let rest =
                    |worst: NanoUsd| NanoUsd(worst.0.saturating_sub(held.counted_nanousd).max(0));
                self.into.held(&HeldRequest {
                    id,
                    started_at: held.started_at,
                    dimensions: channels.named(held.dimensions),
                    worst: Worst {
                        cost: held.worst.cost.map(rest),
                        ..held.worst
                    },
                    until: held.started_at.plus(lasts),
                    awaited: held.deferred,
                });
            }
        }
    }
}

fn tells_tags_apart(rule: &Rule) -> bool {
    let by_tag = |by: &Dimension| matches!(by, Dimension::Tag(_));
    !rule.matcher.tags.is_empty() || rule.by.iter().any(by_tag)
}
