//! The rules while no sidecar runs.

use std::sync::Arc;

use super::load_rules;
use super::past::feed;
use crate::app::reload::Wanted;
use crate::channel::{Registry, RegistryError, Unobserved};
use crate::clock::UnixMicros;
use crate::config::{OnLedgerFailure, Problems, Settings};
use crate::ledger::{QueryError, Reader};
use crate::rules::{NoHands, RuleSet, RuleView, Rules, TookTooLong};

/// Why nobody can say what the rules would.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotKnownAtRest {
    /// The files of rules.
    #[error(transparent)]
    Files(#[from] Problems),
    /// The channels.
    #[error(transparent)]
    Channels(#[from] RegistryError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] QueryError),
    /// The windows cannot be set up.
    #[error(transparent)]
    TookTooLong(#[from] TookTooLong),
}

/// What the rules of these settings would say if a sidecar started now, with the ledger that `reader`
/// reads; `None` where nothing was recorded yet. Nothing is acted on or recorded. Blocks for the
/// reading.
pub(crate) fn at_rest(
    settings: &Settings,
    reader: Option<&Reader>,
    now: UnixMicros,
) -> Result<Vec<RuleView>, NotKnownAtRest> {
    let wanted = Wanted {
        set: load_rules(settings)?,
        budgets: settings.budgets.clone(),
    };
    let channels = Registry::new(settings, Arc::new(Unobserved))?;
    let rules = Rules::new(
        &RuleSet::default(),
        wanted.budgets.clone(),
        settings.ledger.on_failure == OnLedgerFailure::Refuse,
        Arc::new(NoHands),
    );
    let mut preparation = rules.prepare(&wanted.set, wanted.budgets.clone(), true, now);
    if let Some(reader) = reader {
        for event in &reader.last_alert_events()? {
            preparation.alert(event);
        }
        feed(&mut preparation, reader, &wanted, &channels, None, now)?;
    }
    preparation.install(None, now)?;
    Ok(rules.view(now))
}
