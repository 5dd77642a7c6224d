//! Usage that is told later than its making: a response made in the background, a batch. It counts
//! once, in the row of the request that showed it first, by the id the provider gave.
//!
//! The authority is the table `deferred_usage`, kept by the one writer in the transaction of the
//! rows: a second row that settles an id loses its usage before it is stored or summed. But what
//! Prometheus counts has to be decided while the answer passes. So each process also knows in memory
//! which ids are awaited and which were settled ([`Deferred`]), and asks there; only what it cannot
//! know (the journal of an earlier process is not read yet, another one goes on beside this one, more ids were
//! in use than it holds) goes
//! to the ledger to be judged, and Prometheus may then count what the ledger does not.
//!
//! A response is awaited when its making was seen: what was made elsewhere is not this ledger's to
//! count, and what stated its usage at once was counted then. A batch bills nothing when it is made,
//! so the first look at its end counts, wherever it was made, unless it is older than the ledger
//! remembers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::wire::RecordView;
use crate::clock::UnixMicros;
use crate::record::{Api, Deferral};

/// Ids kept in memory, the newest ones: some megabytes.
const KEPT: usize = 32 * 1024;

/// Whether the end of something counts although nobody saw it being made.
const fn counts_unseen(api: Api) -> bool {
    matches!(api, Api::Batches)
}

/// The ids whose usage is awaited or was settled, in memory.
#[derive(Debug)]
pub struct Deferred {
    /// How long the ledger remembers; `None` for ever.
    retention: Option<Duration>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    states: HashMap<Arc<str>, Deferral>,
    /// In the order they became known.
    order: VecDeque<Arc<str>>,
    /// Everything that other processes left is known, and none of them goes on.
    complete: bool,
    /// More was known than is kept.
    forgot: bool,
}

impl Known {
    fn set(&mut self, id: &Arc<str>, state: Deferral) {
        if self.states.insert(Arc::clone(id), state).is_some() {
            return;
        }
        self.order.push_back(Arc::clone(id));
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.states.remove(&oldest);
            self.forgot = true;
        }
    }
}

impl Deferred {
    pub(super) fn new(retention: Option<Duration>) -> Self {
        Self {
            retention,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A map and a queue: no panic leaves them half changed in a way that matters.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The usage of `id` is still to come. Called when the row that says so is in the journal.
    pub fn open(&self, id: &Arc<str>) {
        // Whoever asked before it was made was told nothing.
        self.known().set(id, Deferral::Opened);
    }

    /// Whether the usage of `id`, told now, counts: true at most once for each id. `made_at` is when
    /// the provider says it was made.
    #[must_use]
    pub fn settle(
        &self,
        api: Api,
        id: &Arc<str>,
        made_at: Option<UnixMicros>,
        now: UnixMicros,
    ) -> bool {
        let forgotten = |retention| made_at.is_some_and(|made| now.since(made) >= retention);
        let mut known = self.known();
        let counts = match known.states.get(id) {
            Some(Deferral::Opened) => true,
            Some(Deferral::Settled) => false,
            None if counts_unseen(api) => !self.retention.is_some_and(forgotten),
            // What is not known may be known to the ledger.
            None => !known.complete || known.forgot,
        };
        if counts {
            known.set(id, Deferral::Settled);
        }
        counts
    }

    /// What the database knows, where nothing newer is known.
    pub(super) fn load(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(
            "SELECT response_id, settled_by IS NOT NULL FROM (SELECT * FROM deferred_usage \
             ORDER BY opened_at DESC LIMIT ?) ORDER BY opened_at",
        )?;
        let limit = i64::try_from(KEPT).unwrap_or(i64::MAX);
        let mut rows = statement.query([limit])?;
        let mut known = self.known();
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            let id = Arc::from(row.get_ref(0)?.as_str()?);
            if !known.states.contains_key(&id) {
                let settled: bool = row.get(1)?;
                let state = if settled {
                    Deferral::Settled
                } else {
                    Deferral::Opened
                };
                known.set(&id, state);
            }
        }
        known.forgot |= count >= KEPT;
        Ok(())
    }

    /// What another process's journal brought.
    pub(super) fn learn(&self, noted: &[(Arc<str>, Deferral)]) {
        let mut known = self.known();
        for (id, state) in noted {
            // What was settled here is not awaited again.
            if *state == Deferral::Settled || !known.states.contains_key(id) {
                known.set(id, *state);
            }
        }
    }

    /// Whether all that other processes know is in the database, and so what is not known here is
    /// not known at all. While another one appends (both do during an upgrade) it is not.
    pub(super) fn set_complete(&self, complete: bool) {
        self.known().complete = complete;
    }
}

/// Notes what `record` says of an id in the table. False when it settles what is not to be settled:
/// its usage was counted before, or is nobody's here.
pub(super) fn note(connection: &Connection, record: &RecordView<'_>) -> rusqlite::Result<bool> {
    let (Some(deferral), Some(response_id)) = (record.deferral, record.response_id) else {
        return Ok(true);
    };
    let admission = &record.admission;
    let mut id = [0; 36];
    let id = admission.id.encode(&mut id);
    let api = admission.api.as_str();
    let started_at = admission.started_at.0;
    match deferral {
        Deferral::Opened => {
            connection
                .prepare_cached(
                    "INSERT INTO deferred_usage (response_id, api, opened_by, opened_at) \
                     VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute((response_id, api, id, started_at))?;
            Ok(true)
        }
        Deferral::Settled if counts_unseen(admission.api) => {
            let changed = connection
                .prepare_cached(
                    "INSERT INTO deferred_usage (response_id, api, opened_at, settled_by) \
                     VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE \
                     SET settled_by = excluded.settled_by WHERE settled_by IS NULL",
                )?
                .execute((response_id, api, started_at, id))?;
            Ok(changed == 1)
        }
        Deferral::Settled => {
            let changed = connection
                .prepare_cached(
                    "UPDATE deferred_usage SET settled_by = ? \
                     WHERE response_id = ? AND settled_by IS NULL",
                )?
                .execute((id, response_id))?;
            Ok(changed == 1)
        }
    }
}

/// Forgets up to `limit` ids that became known before `cutoff`.
pub(super) fn expire(
    connection: &Connection,
    cutoff: UnixMicros,
    limit: u32,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM deferred_usage WHERE response_id IN (SELECT response_id \
             FROM deferred_usage WHERE opened_at < ? ORDER BY opened_at LIMIT ?)",
        )?
        .execute((cutoff.0, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMicros = UnixMicros(1_795_168_800_000_000);

    fn id(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    #[test]
    fn an_awaited_response_counts_once() {
        let deferred = Deferred::new(None);
        deferred.set_complete(true);
        let settle = |name: &str| deferred.settle(Api::Responses, &id(name), None, NOW);
        assert!(!settle("resp_elsewhere"));
        deferred.open(&id("resp_1"));
        assert!(settle("resp_1"));
        assert!(!settle("resp_1"));
        deferred.learn(&[(id("resp_1"), Deferral::Opened)]);
        assert!(!settle("resp_1"), "what is settled is not awaited again");
    }

    #[test]
    fn a_batch_counts_once_wherever_it_was_made_unless_it_is_too_old() {
        let day = Duration::from_secs(86_400);
        let deferred = Deferred::new(Some(90 * day));
        deferred.set_complete(true);
        let settle = |name: &str, made| deferred.settle(Api::Batches, &id(name), made, NOW);
        assert!(settle("batch_1", None));
        assert!(!settle("batch_1", None));
        assert!(settle("batch_2", Some(NOW.minus(89 * day))));
        assert!(!settle("batch_3", Some(NOW.minus(90 * day))));
    }

    #[test]
    fn what_cannot_be_known_is_left_to_the_ledger() {
        let deferred = Deferred::new(None);
        let settle = |name: &str| deferred.settle(Api::Responses, &id(name), None, NOW);
        assert!(settle("resp_of_an_earlier_process"));
        deferred.set_complete(true);
        assert!(!settle("resp_unknown"));
        deferred.set_complete(false);
        assert!(settle("resp_of_another_process"));
        deferred.set_complete(true);
        deferred.open(&id("resp_first"));
        for n in 0..KEPT {
            deferred.open(&id(&format!("resp_{n}")));
        }
        assert!(deferred.known().states.len() <= KEPT);
        assert!(settle("resp_first"), "it was forgotten");
    }

    #[test]
    fn of_many_who_ask_at_once_one_counts() {
        let deferred = Deferred::new(None);
        deferred.set_complete(true);
        deferred.open(&id("resp_1"));
        let counted: usize = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| deferred.settle(Api::Responses, &id("resp_1"), None, NOW)))
                .collect();
            asking
                .into_iter()
                .map(|asked| usize::from(asked.join().unwrap()))
                .sum()
        });
        assert_eq!(counted, 1);
    }
}
