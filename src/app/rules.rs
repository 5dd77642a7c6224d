//! Rules over time: read at the start, their windows and alerts set up from the ledger, set up anew
//! where what they know may be wrong, replaced when their files change.

mod at_rest;
mod past;
#[cfg(test)]
mod tests;
mod timer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::reload::{Files, Found, Hangups, Wanted};
use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::config::{Problem, Problems, Settings};
use crate::dispatch::Plan;
use crate::ledger::{Journal, LedgerStats, Recovery, stored_keys};
use crate::rules::{KnownNames, RuleSet, Rules, load};

use past::{History, NotRead, Reading, Restored};

pub(crate) use at_rest::{NotKnownAtRest, at_rest};
pub(super) use timer::tick;

/// From one look at the files, and at what the rules know, to the next.
const LOOK: Duration = Duration::from_secs(1);

/// From one try to read the ledger to the next, while the start waits.
const A_MOMENT: Duration = Duration::from_millis(50);

/// Reads the rules that `settings` name; what is dubious is logged.
pub(super) fn load_rules(settings: &Settings) -> Result<RuleSet, Problems> {
    if settings.rules.is_empty() {
        return Ok(RuleSet::default());
    }
    let known = match stored_keys(&settings.data_dir) {
        Ok(made) => KnownNames::of(settings, made.into_iter().map(|key| key.name)),
        // Whoever cannot read the ledger is told by others.
        Err(_) => KnownNames {
            keys: None,
            ..KnownNames::of(settings, [])
        },
    };
    let loaded = load(&settings.rules, &settings.timezone, &known)?;
    if !loaded.warnings.is_empty() {
        let told: Vec<String> = loaded.warnings.iter().map(Problem::to_string).collect();
        tracing::warn!(
            count = told.len(),
            warnings = told.join("\n"),
            "rules are dubious"
        );
    }
    Ok(loaded.set)
}

/// What a keeper of rules works with.
#[derive(Clone, Debug)]
pub(super) struct Around {
    pub(super) rules: Arc<Rules>,
    pub(super) channels: Arc<Registry>,
    pub(super) journal: Arc<Journal>,
    pub(super) recovery: Recovery,
    pub(super) ledger: Arc<LedgerStats>,
    pub(super) data_dir: PathBuf,
}

/// Keeps the rules in force what files and ledger say.
pub(super) struct RuleKeeper {
    history: History,
    /// `None` only while they are looked at.
    files: Option<Files>,
    /// What is to be in force.
    wanted: Wanted,
    /// Whether it is.
    installed: bool,
    /// How the windows were last read; `None` while they were not yet.
    restored: Option<Restored>,
    /// Whether it was told that they cannot be.
    told: bool,
    /// Whom is told what, where that is to come into force with the rules.
    plan: Option<Box<Plan>>,
    /// Has it come into force.
    tell: Tell,
}

/// Has a plan come into force.
pub(super) type Tell = Box<dyn Fn(&Plan) + Send>;

impl RuleKeeper {
    /// Of rules that are in force already with nothing known of what was before.
    pub(super) fn new(around: Around, files: Files, wanted: Wanted, tell: Tell) -> Self {
        Self {
            history: History::new(around),
            files: Some(files),
            installed: true,
            wanted,
            restored: None,
            told: false,
            plan: None,
            tell,
        }
    }

    /// Sets the rules up from the ledger. Gives up at `over`, and goes on in [`run`](Self::run): the
    /// rules are said to be unknown until then.
    pub(super) async fn restore(&mut self, over: Instant) {
        if self.wanted.set.rules.is_empty() {
            return;
        }
        loop {
            if self.read(Reading::First).await {
                return;
            }
            if Instant::now() >= over {
                tracing::warn!(
                    "the ledger does not tell yet what was used before; starting with rules that fire \
                     and resolve nothing until it does"
                );
                let why = "what was used before the start is not read from the ledger yet";
                self.history.rules().set_shared(true);
                return self.history.rules().set_unknown(why);
            }
            sleep(A_MOMENT).await;
        }
    }

    /// Follows files and ledger; never returns.
    pub(super) async fn run(mut self, mut hangups: Hangups) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                () = hangups.next() => true,
                _ = looks.tick() => false,
            };
            self.read_files(asked).await;
            self.read_ledger().await;
        }
    }

    async fn read_files(&mut self, asked: bool) {
        let Some(mut files) = self.files.take() else {
            return;
        };
        let read = spawn_blocking(move || {
            let read = asked || files.have_changed();
            let found = read.then(|| files.read(UnixMicros::now()));
            (files, found)
        });
        // An error means that the process ends.
        let Ok((files, found)) = read.await else {
            return;
        };
        let files = self.files.insert(files);
        match found {
            None | Some(Found::Wrong) => {}
            Some(Found::Same) => {
                // Something else in their folder changed, which is nobody's reload.
                if self.installed && (files.are_in_force(UnixMicros::now()) || asked) {
                    tracing::info!("the settings and rules were read again: they are in force");
                }
            }
            Some(Found::New(wanted, plan)) => {
                self.wanted = wanted;
                self.plan = Some(plan);
                self.installed = false;
            }
        }
    }

    /// Reads the ledger where what the rules know may be wrong, or does not do for new ones.
    async fn read_ledger(&mut self) {
        let stale = self.history.rules().is_stale(UnixMicros::now());
        let reading = match &self.restored {
            None => Reading::First,
            Some(restored) if stale || self.history.is_other(restored) => Reading::Anew,
            Some(_) if !self.installed => Reading::Edited,
            Some(_) => return,
        };
        if !self.read(reading).await && stale {
            let why = "the clock was set, and the ledger cannot be read to say what was used";
            self.history.rules().set_unknown(why);
        }
    }

    /// `false` where it cannot be done now.
    async fn read(&mut self, reading: Reading) -> bool {
        let (history, wanted) = (self.history.clone(), self.wanted.clone());
        let read = spawn_blocking(move || history.read(&wanted, reading));
        match read.await {
            Ok(Ok(restored)) => self.are_in_force(reading, restored),
            Ok(Err(reason)) => {
                self.tell_once(&reason);
                return false;
            }
            // The process ends.
            Err(_) => return false,
        }
        true
    }

    fn are_in_force(&mut self, reading: Reading, restored: Restored) {
        // What was there already was not read.
        let restored = match self.restored {
            Some(known) if reading == Reading::Edited => known,
            _ => restored,
        };
        self.history.rules().set_shared(!restored.is_alone());
        if !self.installed {
            if let Some(plan) = self.plan.take() {
                (self.tell)(&plan);
            }
            tracing::info!(
                rules = self.wanted.set.rules.len(),
                "the rules changed and are in force; what was counted stays"
            );
            if let Some(files) = &self.files {
                files.are_in_force(UnixMicros::now());
            }
        } else if self.told {
            tracing::info!("the rules know again what was used");
        }
        self.installed = true;
        self.told = false;
        self.restored = Some(restored);
    }

    fn tell_once(&mut self, reason: &NotRead) {
        if reason.is_a_failure() && !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                error = %reason,
                "cannot read from the ledger what the rules are to know; trying again"
            );
        }
    }
}
