//! Which requests of a stream are open: admitted, not ended.
//!
//! In memory an open request is its id and where its admission lies in the journal. The database
//! knows nothing of it: it stores from where the journal has to be read again to find out
//! ([`OpenAdmissions::resume_from`]). Only a request that stays open while many megabytes pass gets
//! a row in the table `admissions`, so that the journal before it need not be kept. So an ordinary
//! request costs the database one row, not an insert, a delete and a row.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::record::RequestId;

/// Journal bytes that are read again at a start at most to find open requests, and that a request
/// may hold back from deletion.
pub(super) const KEPT_BEHIND: u64 = 8 << 20;

#[derive(Debug)]
struct Slot {
    id: RequestId,
    offset: u64,
    open: bool,
}

/// The open requests of one stream.
#[derive(Debug, Default)]
pub(super) struct OpenAdmissions {
    /// In the journal's order; ended ones are taken out when they reach the front.
    slots: VecDeque<Slot>,
    /// Slots taken out so far: the number of the front one.
    gone: usize,
    /// Slot number by id.
    numbers: HashMap<RequestId, usize>,
    /// Those in the table `admissions`.
    kept: HashSet<RequestId>,
}

/// What was known of a request before an entry about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// It was open, in the journal only, or not admitted.
    Unkept,
    /// It has a row in `admissions`, which has to go.
    Kept,
}

impl OpenAdmissions {
    /// With these in the table `admissions`.
    pub(super) fn new(kept: HashSet<RequestId>) -> Self {
        Self {
            kept,
            ..Self::default()
        }
    }

    /// A request was admitted, or went on to another channel; its entry lies at `offset`. The last
    /// of an id counts. What was known of the one before it.
    pub(super) fn admit(&mut self, id: RequestId, offset: u64) -> Before {
        let before = self.end(id);
        self.numbers.insert(id, self.gone + self.slots.len());
        self.slots.push_back(Slot {
            id,
            offset,
            open: true,
        });
        before
    }

    /// A request ended. What was known of it.
    pub(super) fn end(&mut self, id: RequestId) -> Before {
        if let Some(number) = self.numbers.remove(&id) {
            self.slots[number - self.gone].open = false;
            self.drop_ended();
        } else if self.kept.remove(&id) {
            return Before::Kept;
        }
        Before::Unkept
    }

    /// Takes the oldest open request out if its entry lies before `offset`, to keep it in the table.
    pub(super) fn keep_older_than(&mut self, offset: u64) -> Option<(RequestId, u64)> {
        let front = self.slots.front().filter(|slot| slot.offset < offset)?;
        let oldest = (front.id, front.offset);
        self.numbers.remove(&oldest.0);
        self.kept.insert(oldest.0);
        self.slots.pop_front();
        self.gone += 1;
        self.drop_ended();
        Some(oldest)
    }

    /// Where the journal has to be read again from, when it is known up to `position`.
    pub(super) fn resume_from(&self, position: u64) -> u64 {
        self.slots.front().map_or(position, |slot| slot.offset)
    }

    /// Offsets of the open requests' admissions, those in the table left out.
    pub(super) fn offsets(&self) -> impl Iterator<Item = u64> {
        self.slots
            .iter()
            .filter(|slot| slot.open)
            .map(|slot| slot.offset)
    }

    fn drop_ended(&mut self) {
        while self.slots.front().is_some_and(|slot| !slot.open) {
            self.slots.pop_front();
            self.gone += 1;
        }
    }
}
