//! Who of a message's recipients was served, while others have still to be.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use lettre::Address;

use super::verdict::Told;

/// The most messages that are kept in mind; the eldest is forgotten first.
const MOST: usize = 256;

/// How far a message came.
#[derive(Clone, Debug, Default)]
pub(super) struct Parting {
    took: Vec<Address>,
    refused: Vec<(Address, Told)>,
}

impl Parting {
    /// Whether nothing more is to be done about a recipient.
    pub(super) fn settled(&self, address: &Address) -> bool {
        let refused = self.refused.iter();
        self.took.contains(address)
            || refused
                .filter(|(_, told)| !told.again)
                .any(|(other, _)| other == address)
    }

    /// The message was taken for this recipient.
    pub(super) fn took(&mut self, address: Address) {
        self.refused.retain(|(other, _)| *other != address);
        self.took.push(address);
    }

    /// The message was not taken for this recipient.
    pub(super) fn refused(&mut self, address: Address, told: Told) {
        self.refused.retain(|(other, _)| *other != address);
        self.refused.push((address, told));
    }

    /// Why it has to be tried again, where it has.
    pub(super) fn put_off(&self) -> Option<&Told> {
        self.refusals().find(|told| told.again)
    }

    /// Why nobody got it, where nobody did.
    pub(super) fn refused_by_all(&self) -> Option<&Told> {
        let first = self.refused.first().map(|(_, told)| told);
        first.filter(|_| self.took.is_empty())
    }

    /// What was said of those who did not get it.
    pub(super) fn refusals(&self) -> impl Iterator<Item = &Told> {
        self.refused.iter().map(|(_, told)| told)
    }
}

/// Messages that some recipients have and others do not, by their ids.
#[derive(Debug, Default)]
pub(super) struct Partings(Mutex<VecDeque<(String, Parting)>>);

impl Partings {
    /// How far the message came in earlier tries.
    pub(super) fn recall(&self, id: &str) -> Parting {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(other, _)| other == id);
        found
            .map(|(_, parting)| parting.clone())
            .unwrap_or_default()
    }

    /// Keeps how far it came.
    pub(super) fn keep(&self, id: &str, parting: Parting) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, _)| other != id);
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back((id.to_owned(), parting));
    }

    /// It is done with.
    pub(super) fn forget(&self, id: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, _)| other != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::FailureReason;

    fn address(name: &str) -> Address {
        Address::new(name, "example.com").unwrap()
    }

    fn told(again: bool) -> Told {
        Told {
            again,
            reason: FailureReason::Gone,
            detail: String::new(),
        }
    }

    #[test]
    fn who_was_put_off_and_is_served_later_is_settled() {
        let mut parting = Parting::default();
        parting.took(address("a"));
        parting.refused(address("b"), told(true));
        parting.refused(address("c"), told(false));
        assert!(parting.put_off().is_some());
        assert!(!parting.settled(&address("b")));
        assert!(parting.settled(&address("c")));

        parting.took(address("b"));
        assert!(parting.settled(&address("b")));
        assert!(parting.put_off().is_none());
        assert_eq!(parting.refusals().count(), 1);
        assert!(parting.refused_by_all().is_none());
    }

    #[test]
    fn the_eldest_is_forgotten_first() {
        let partings = Partings::default();
        for n in 0..=MOST {
            let mut parting = Parting::default();
            parting.took(address("a"));
            partings.keep(&n.to_string(), parting);
        }
        assert!(!partings.recall("0").settled(&address("a")));
        assert!(partings.recall("1").settled(&address("a")));
        partings.forget("1");
        assert!(!partings.recall("1").settled(&address("a")));
    }
}
