//! What a button's hash means.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::answerer::Answerer;
use super::{AlertSubject, Subject};
use crate::alert::AlertId;
use crate::clock::UnixMicros;
use crate::ledger::{QueryError, Reader};

/// Alerts that are remembered by what buttons call them.
const MOST_REMEMBERED: usize = 1000;

/// What was found before: a hash never means anything else.
#[derive(Debug, Default)]
pub(super) struct Meanings(Mutex<HashMap<u64, AlertSubject>>);

impl Meanings {
    fn get(&self, hash: u64) -> Option<AlertSubject> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&hash).cloned()
    }

    fn insert(&self, hash: u64, meaning: AlertSubject) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        known.insert(hash, meaning);
    }
}

impl Answerer {
    /// What a hash means: a channel, an alert, or what alerts have in common; `None` of what is no
    /// more. Of alerts those are known that the rules have now and, after that, all that the ledger
    /// knows. Fails where the ledger cannot be read.
    pub(super) fn subject(
        &self,
        hash: u64,
        now: UnixMicros,
    ) -> Result<Option<Subject>, QueryError> {
        let is_it = |subject: &Subject| self.signer.subject_hash(subject) == hash;
        let channels = self.channels.iter();
        let channel = channels
            .map(|channel| Subject::Channel(Arc::clone(&channel.name)))
            .find(is_it);
        if channel.is_some() {
            return Ok(channel);
        }
        if let Some(alerts) = self.meanings.get(hash) {
            return Ok(Some(Subject::Alerts(alerts)));
        }
        let means = |alerts: &AlertSubject| is_it(&Subject::Alerts(alerts.clone()));
        let views = self.rules.view(now);
        let ids = views.iter().flat_map(|view| {
            view.alerts.iter().map(|alert| AlertId {
                rule: Arc::clone(&view.rule.name),
                labels: alert.labels.clone(),
            })
        });
        let mut found = meant(&ids.collect::<Vec<_>>(), means);
        if found.is_none() {
            let events = self.read(Reader::last_alert_events)?.unwrap_or_default();
            let ids: Vec<AlertId> = events.into_iter().map(|event| event.alert).collect();
            found = meant(&ids, means);
        }
        if let Some(alerts) = &found {
            self.meanings.insert(hash, alerts.clone());
        }
        Ok(found.map(Subject::Alerts))
    }
}

/// The alerts that fit: one of these, or what some of them may have in common, each looked at once.
pub(super) fn meant(
    known: &[AlertId],
    means: impl Fn(&AlertSubject) -> bool,
) -> Option<AlertSubject> {
    let fits = |alerts: AlertSubject| {
        let both = [alerts.clone(), alerts.of_warnings()];
        both.into_iter().find(&means)
    };
    known
        .iter()
        .find_map(|alert| fits(alert.into()))
        .or_else(|| {
            let mut seen = HashSet::new();
            let parts = known.iter().flat_map(AlertSubject::parts);
            parts
                .filter(|part| seen.insert(part.clone()))
                .find_map(fits)
        })
}
