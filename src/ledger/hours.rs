//! In which minutes of an hour somebody had requests, how long the longest took and what the dearest
//! cost: the table `requests_hourly`. A listing finds by it what is rare, slow or dear, among millions
//! of rows, without an index for each column.
//!
//! A minute is one bit of an integer, and bits are only ever added. So a batch that brings nothing
//! new to an hour writes nothing, and that is nearly every one: what the table has is remembered. A
//! later price raises what the dearest cost, and never lowers it: the table may say too much.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use rusqlite::Connection;

use super::rollup::RollupKey;
use super::rows::{Binder, Row, stored};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::{Api, Phase, UsageSource, is_unpriced};

/// Microseconds in an hour.
pub(super) const HOUR_US: i64 = 3_600_000_000;
/// Microseconds in a minute.
pub(super) const MINUTE_US: i64 = 60_000_000;

/// Hours that are remembered at most; beyond that, memory begins anew.
const MOST_KNOWN: usize = 10_000;

/// The columns of minutes: one for each source of usage, and for requests without a price.
pub(super) const MINUTES: usize = UsageSource::ALL.len() + 1;
/// The place of the minutes of requests without a price.
pub(super) const UNPRICED: usize = UsageSource::ALL.len();

/// The names of the columns of minutes, in their order.
pub(super) fn minute_columns() -> impl Iterator<Item = String> {
    let sources = UsageSource::ALL.iter();
    sources
        .map(|source| format!("{source}_minutes"))
        .chain(["unpriced_minutes".to_owned()])
}

/// The start of the hour of a moment, counted from 1970.
pub(super) const fn hour_of(moment: UnixMicros) -> i64 {
    moment.0.saturating_sub(moment.0.rem_euclid(HOUR_US))
}

/// Whose requests, in which hour. `""` stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Group<'p> {
    hour: i64,
    channel: &'p str,
    model: &'p str,
    api: Api,
    key: &'p str,
}

/// What is seen of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    minutes: [i64; MINUTES],
    longest_us: Option<i64>,
    dearest: Option<NanoUsd>,
}

impl Seen {
    fn of(row: Row<'_, '_>) -> Self {
        let record = row.record();
        let source = row.usage_source();
        let into_hour = row.admission().started_at.0.rem_euclid(HOUR_US);
        let minute = 1 << (into_hour / MINUTE_US);
        let cost = record.and_then(|record| record.cost.as_ref());
        let mut seen = Self {
            longest_us: record.and_then(|record| record.phases[Phase::Total].map(stored)),
            dearest: cost.map(|cost| cost.amount),
            ..Self::default()
        };
        seen.minutes[source as usize] = minute;
        if is_unpriced(source, cost.is_some()) {
            seen.minutes[UNPRICED] = minute;
        }
        seen
    }

    fn merge(&mut self, other: &Self) {
        for (minutes, more) in self.minutes.iter_mut().zip(other.minutes) {
            *minutes |= more;
        }
        self.longest_us = self.longest_us.max(other.longest_us);
        self.dearest = self.dearest.max(other.dearest);
    }
}

/// The hours of a batch.
#[derive(Debug, Default)]
pub(super) struct Hours<'p> {
    groups: HashMap<Group<'p>, Seen, RandomState>,
}

impl<'p> Hours<'p> {
    /// Counts a row in.
    pub(super) fn count(&mut self, row: Row<'_, 'p>) {
        let admission = row.admission();
        let served = row.record().and_then(|record| record.served_model);
        let group = Group {
            hour: hour_of(admission.started_at),
            channel: admission.channel.unwrap_or_default(),
            model: served.or(admission.requested_model).unwrap_or_default(),
            api: admission.api,
            key: admission.key.unwrap_or_default(),
        };
        self.groups.entry(group).or_default().merge(&Seen::of(row));
    }

    /// Adds to the table what it does not have.
    pub(super) fn write(
        &self,
        connection: &Connection,
        known: &mut KnownHours,
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(&UPSERT)?;
        for (group, seen) in &self.groups {
            if !known.learn(group, seen) {
                continue;
            }
            let mut bind = Binder::new(&mut statement);
            bind.next(group.hour)?;
            bind.next(group.channel)?;
            bind.next(group.model)?;
            bind.next(group.api.as_str())?;
            bind.next(group.key)?;
            for minutes in seen.minutes {
                bind.next(minutes)?;
            }
            bind.next(seen.longest_us)?;
            bind.next(seen.dearest.map(|cost| cost.0))?;
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// What the table is known to have, at least. To be forgotten where a transaction fails.
#[derive(Debug, Default)]
pub(super) struct KnownHours {
    seen: HashMap<String, Seen, RandomState>,
    /// A group's name in `seen`; kept for its memory.
    name: String,
}

impl KnownHours {
    /// Takes in what a group shows; whether any of it is new.
    fn learn(&mut self, group: &Group<'_>, seen: &Seen) -> bool {
        self.name.clear();
        let _infallible = write!(self.name, "{}", group.hour);
        // With their lengths: a name may hold any character.
        for part in [group.channel, group.model, group.api.as_str(), group.key] {
            let _infallible = write!(self.name, " {}:{part}", part.len());
        }
        let Some(known) = self.seen.get_mut(&self.name) else {
            if self.seen.len() >= MOST_KNOWN {
                self.seen.clear();
            }
            self.seen.insert(self.name.clone(), *seen);
            return true;
        };
        let before = *known;
        known.merge(seen);
        *known != before
    }
}

/// Inserts an hour or adds to it. What is not known is less than anything that is.
static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let mut names = String::from("hour, channel, model, api, key");
    let mut updates = String::new();
    for name in minute_columns() {
        let _infallible = write!(names, ", {name}");
        let _infallible = write!(updates, "{name} = {name} | excluded.{name}, ");
    }
    for name in ["longest_us", "dearest_nanousd"] {
        let _infallible = write!(names, ", {name}");
        let _infallible = write!(
            updates,
            "{name} = max(coalesce({name}, excluded.{name}), coalesce(excluded.{name}, {name})), "
        );
    }
    format!(
        "INSERT INTO requests_hourly ({names}) VALUES (?{}) \
         ON CONFLICT (hour, channel, model, api, key) DO UPDATE SET {}",
        ", ?".repeat(names.matches(',').count()),
        updates.trim_end_matches(", ")
    )
});

/// Raises what the dearest of an hour cost, where a later price made a row of `group` dearer.
pub(super) fn raise_cost(
    connection: &Connection,
    group: &RollupKey,
    cost: NanoUsd,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE requests_hourly SET dearest_nanousd = ?6 WHERE hour = ?1 AND channel = ?2 \
             AND model = ?3 AND api = ?4 AND key = ?5 \
             AND (dearest_nanousd IS NULL OR dearest_nanousd < ?6)",
        )?
        .execute((
            hour_of(UnixMicros(group.minute)),
            &group.channel,
            &group.model,
            group.api.as_str(),
            &group.key,
            cost.0,
        ))?;
    Ok(())
}

/// Deletes the oldest hour of the table if all of it is before `cutoff`; how many rows it had.
pub(super) fn expire(connection: &Connection, cutoff: UnixMicros) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM requests_hourly WHERE hour = (SELECT min(hour) FROM requests_hourly) \
             AND hour < ?",
        )?
        .execute([hour_of(cutoff)])
}
