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
//!
//! What settles an id is the usage of the request that opened it, whoever looks: so the row that
//! brings it has that one's [`Opener`], the key, the tags and the model that it asked for. Budgets then
//! count it where they held it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::query::parse_tags;
use super::wire::RecordView;
use crate::clock::UnixMicros;
use crate::record::{Admission, Api, Deferral};

/// Ids kept in memory, the newest ones: some megabytes.
const KEPT: usize = 32 * 1024;

/// Whether the end of something counts although nobody saw it being made.
const fn counts_unseen(api: Api) -> bool {
    matches!(api, Api::Batches)
}

/// Whose request it was that made something: what is told apart by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opener {
    /// The model it asked for.
    pub requested_model: Option<Arc<str>>,
    /// The client key's name.
    pub key: Option<Arc<str>>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Opener {
    /// That of a request.
    #[must_use]
    pub fn of(admission: &Admission) -> Self {
        Self {
            requested_model: admission.requested_model.clone(),
            key: admission.key.clone(),
            tags: admission.tags.clone(),
        }
    }

    /// That of a request in a journal.
    fn read(record: &RecordView<'_>) -> Self {
        let admission = &record.admission;
        let tag = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            requested_model: admission.requested_model.map(Arc::from),
            key: admission.key.map(Arc::from),
            tags: admission.tags.iter().map(tag).collect(),
        }
    }
}

/// What a journal says of an id.
#[derive(Debug)]
pub(super) struct Noted {
    id: Arc<str>,
    state: Deferral,
    opener: Option<Arc<Opener>>,
}

impl Noted {
    /// What a record says; `None` where it says nothing of any.
    pub(super) fn of(record: &RecordView<'_>) -> Option<Self> {
        let opens = record.awaits_usage();
        Some(Self {
            id: Arc::from(record.response_id?),
            state: if opens {
                Deferral::Opened
            } else {
                record.deferral?
            },
            opener: opens.then(|| Arc::new(Opener::read(record))),
        })
    }
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
    states: HashMap<Arc<str>, State>,
    /// In the order they became known.
    order: VecDeque<Arc<str>>,
    /// Everything that other processes left is known, and none of them goes on.
    complete: bool,
    /// More was known than is kept.
    forgot: bool,
}

/// What is known of an id.
#[derive(Debug)]
struct State {
    deferral: Deferral,
    /// Whose it is, where that was seen.
    opener: Option<Arc<Opener>>,
}

impl Known {
    fn set(&mut self, id: &Arc<str>, deferral: Deferral, opener: Option<Arc<Opener>>) {
        if let Some(known) = self.states.get_mut(id) {
            known.deferral = deferral;
            known.opener = opener.or(known.opener.take());
            return;
        }
        let state = State { deferral, opener };
        self.states.insert(Arc::clone(id), state);
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

    /// The usage of `id` is still to come, for `opener`. Called when the row that says so is in the
    /// journal.
    pub fn open(&self, id: &Arc<str>, opener: Opener) {
        let opener = Some(Arc::new(opener));
        // Whoever asked before it was made was told nothing.
        self.known().set(id, Deferral::Opened, opener);
    }

    /// Whose request made the thing of that id; `None` where that is not known.
    #[must_use]
    pub fn opener(&self, id: &str) -> Option<Arc<Opener>> {
        self.known().states.get(id)?.opener.clone()
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
        let counts = match known.states.get(id).map(|state| state.deferral) {
            Some(Deferral::Opened) => true,
            Some(Deferral::Settled) => false,
            None if counts_unseen(api) => !self.retention.is_some_and(forgotten),
            // What is not known may be known to the ledger.
            None => !known.complete || known.forgot,
        };
        if counts {
            known.set(id, Deferral::Settled, None);
        }
        counts
    }

    /// What the database knows, where nothing newer is known.
    pub(super) fn load(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(
            "SELECT awaited.response_id, settled_by IS NOT NULL, opener.id, requested_model, key, tags \
             FROM (SELECT * FROM deferred_usage ORDER BY opened_at DESC LIMIT ?) AS awaited \
             LEFT JOIN requests AS opener ON opener.id = opened_by AND settled_by IS NULL \
             ORDER BY opened_at",
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
                known.set(&id, state, stored_opener(row)?.map(Arc::new));
            }
        }
        known.forgot |= count >= KEPT;
        Ok(())
    }

    /// What another process's journal brought.
    pub(super) fn learn(&self, noted: Vec<Noted>) {
        let mut known = self.known();
        for Noted { id, state, opener } in noted {
            // What was settled here is not awaited again.
            if state == Deferral::Settled || !known.states.contains_key(&id) {
                known.set(&id, state, opener);
            }
        }
    }

    /// Whether all that other processes know is in the database, and so what is not known here is
    /// not known at all. While another one appends (both do during an upgrade) it is not.
    pub(super) fn set_complete(&self, complete: bool) {
        self.known().complete = complete;
    }
}

/// The columns behind the state of an id; `None` where its opener is not in the ledger.
fn stored_opener(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Opener>> {
    if row.get_ref(2)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    let text = |column| {
        let text = row.get_ref(column)?.as_str_or_null();
        Ok::<_, rusqlite::Error>(text?)
    };
    // Tags that cannot be read are none: what cannot be told apart by them is counted all the same.
    let tags = text(5)?.and_then(|tags| parse_tags(tags).ok());
    Ok(Some(Opener {
        requested_model: text(3)?.map(Arc::from),
        key: text(4)?.map(Arc::from),
        tags: tags.unwrap_or_default(),
    }))
}

/// Notes what `record` says of an id in the table. False when it settles what is not to be settled:
/// its usage was counted before, or is nobody's here.
pub(super) fn note(connection: &Connection, record: &RecordView<'_>) -> rusqlite::Result<bool> {
    let Some(Noted {
        id: response_id,
        state,
        ..
    }) = Noted::of(record)
    else {
        return Ok(true);
    };
    let admission = &record.admission;
    let mut id = [0; 36];
    let id = admission.id.encode(&mut id);
    let api = admission.api.as_str();
    let started_at = admission.started_at.0;
    match state {
        Deferral::Opened => {
            connection
                .prepare_cached(
                    "INSERT INTO deferred_usage (response_id, api, opened_by, opened_at) \
                     VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute((&*response_id, api, id, started_at))?;
            Ok(true)
        }
        Deferral::Settled if counts_unseen(admission.api) => {
            let changed = connection
                .prepare_cached(
                    "INSERT INTO deferred_usage (response_id, api, opened_at, settled_by) \
                     VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE \
                     SET settled_by = excluded.settled_by WHERE settled_by IS NULL",
                )?
                .execute((&*response_id, api, started_at, id))?;
            Ok(changed == 1)
        }
        Deferral::Settled => {
            let changed = connection
                .prepare_cached(
                    "UPDATE deferred_usage SET settled_by = ? \
                     WHERE response_id = ? AND settled_by IS NULL",
                )?
                .execute((id, &*response_id))?;
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

    fn noted(text: &str, state: Deferral) -> Noted {
        Noted {
            id: id(text),
            state,
            opener: None,
        }
    }

    #[test]
    fn an_awaited_response_counts_once() {
        let deferred = Deferred::new(None);
        deferred.set_complete(true);
        let settle = |name: &str| deferred.settle(Api::Responses, &id(name), None, NOW);
        assert!(!settle("resp_elsewhere"));
        deferred.open(&id("resp_1"), Opener::default());
        assert!(settle("resp_1"));
        assert!(!settle("resp_1"));
        deferred.learn(vec![noted("resp_1", Deferral::Opened)]);
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
        deferred.open(&id("resp_first"), Opener::default());
        for n in 0..KEPT {
            deferred.open(&id(&format!("resp_{n}")), Opener::default());
        }
        assert!(deferred.known().states.len() <= KEPT);
        assert!(settle("resp_first"), "it was forgotten");
    }

    #[test]
    fn of_many_who_ask_at_once_one_counts() {
        let deferred = Deferred::new(None);
        deferred.set_complete(true);
        deferred.open(&id("resp_1"), Opener::default());
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
