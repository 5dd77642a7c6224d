//! Digests on their way: which are due, whom they are owed, and whether the ledger has what they tell.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use crate::clock::UnixMicros;
use crate::config::DigestSettings;
use crate::dispatch::Context;
use crate::dispatch::digest::{Period, Schedule, digest_content};
use crate::ledger::Recovery;
use crate::notify::content::DigestContent;

/// How long one look waits for the ledger to have all that happened.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);
/// From one look at a ledger that does not have a period yet to the next.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// From one try to read a ledger that cannot be read to the next.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// How long a digest waits for either before it is told as well as can be.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// A digest, and who was told what of it.
#[derive(Debug)]
pub(in crate::dispatch) struct Digest {
    settings: DigestSettings,
    schedule: Schedule,
    /// Receivers and periods that need not be told any more.
    told: HashSet<(Arc<str>, Arc<str>)>,
    /// Receivers that were told of it before.
    known: HashSet<Arc<str>>,
    /// Since when the others are told: they are not told of what was before.
    begun: UnixMicros,
    owed: Option<Owed>,
}

/// A period that is due and not told yet.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) period: Period,
    pub(super) group: Arc<str>,
    /// Who is to be told.
    pub(super) receivers: Vec<Arc<str>>,
    /// When it was to be told first.
    pub(super) since: UnixMicros,
    again_at: UnixMicros,
}

impl Digest {
    /// A digest that is told from `now` on; and from where it was left to those who were `told` of it
    /// before, by receiver and group. `None` where it is told at no time.
    pub(in crate::dispatch) fn new(
        settings: &DigestSettings,
        told: &HashSet<(Arc<str>, Arc<str>)>,
        now: UnixMicros,
    ) -> Option<Self> {
        let schedule = Schedule::new(settings).ok()?;
        let told = told.iter().filter(|(_, group)| schedule.is_of(group));
        let told: HashSet<_> = told.cloned().collect();
        Some(Self {
            known: told.iter().map(|(name, _)| Arc::clone(name)).collect(),
            settings: settings.clone(),
            schedule,
            told,
            begun: now,
            owed: None,
        })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// What is owed at present. One after the other: what waits is not passed over.
    fn take_up(&mut self, now: UnixMicros) -> Option<&Owed> {
        if self.owed.is_none() {
            let (moment, period) = self.schedule.due_at(now)?;
            let group = self.schedule.group(&period);
            let receivers = self.settings.receivers.iter().filter(|name| {
                let was_told = self.told.contains(&(Arc::clone(name), Arc::clone(&group)));
                !was_told && (self.known.contains(*name) || moment >= self.begun)
            });
            let receivers: Vec<_> = receivers.cloned().collect();
            if receivers.is_empty() {
                return None;
            }
            self.owed = Some(Owed {
                period,
                group,
                receivers,
                since: now,
                again_at: now,
            });
        }
        self.owed.as_ref()
    }

    /// Nobody is owed it any more.
    fn settle(&mut self) -> Option<Owed> {
        let owed = self.owed.take()?;
        for name in &owed.receivers {
            let told = (Arc::clone(name), Arc::clone(&owed.group));
            self.told.insert(told);
            self.known.insert(Arc::clone(name));
        }
        Some(owed)
    }
}

/// What came of a look at the ledger.
#[derive(Debug)]
enum Found {
    Content(Box<DigestContent>),
    /// The ledger begins later.
    Nothing,
    /// The ledger does not have all of the period yet.
    Behind,
    Failed(String),
}

/// A digest that can be told.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) name: Arc<str>,
    pub(super) owed: Owed,
    /// What is told; `None` where it could not be read for too long.
    pub(super) content: Option<Arc<DigestContent>>,
    /// When it was asked for.
    pub(super) at: UnixMicros,
}

/// All digests. One at a time is read.
#[derive(Debug)]
pub(super) struct Digests {
    all: Vec<Digest>,
    recovery: Recovery,
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    index: usize,
    at: UnixMicros,
    found: JoinHandle<Found>,
}

impl Digests {
    pub(super) const fn new(all: Vec<Digest>, recovery: Recovery) -> Self {
        Self {
            all,
            recovery,
            reading: None,
        }
    }

    /// Whether one is being read.
    #[cfg(test)]
    pub(super) const fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// When something is due next; nothing while one is read.
    pub(super) fn next_due(&self, now: UnixMicros) -> Option<UnixMicros> {
        if self.reading.is_some() {
            return None;
        }
        let due = self.all.iter().filter_map(|digest| match &digest.owed {
            Some(owed) => Some(owed.again_at),
            None => digest.schedule.next_due(now),
        });
        due.min()
    }

    /// Begins to read what is due.
    pub(super) fn look(&mut self, context: &Context, now: UnixMicros) {
        if self.reading.is_some() {
            return;
        }
        for (index, digest) in self.all.iter_mut().enumerate() {
            let Some(owed) = digest.take_up(now).filter(|owed| owed.again_at <= now) else {
                continue;
            };
            let (period, patient) = (owed.period, now.since(owed.since) < PATIENCE);
            let (context, recovery) = (context.clone(), self.recovery.clone());
            let settings = digest.settings.clone();
            let read = move || read(&context, &recovery, &settings, &period, patient, now);
            self.reading = Some(Reading {
                index,
                at: now,
                found: spawn_blocking(read),
            });
            return;
        }
    }

    /// Waits until what is being read is known; for ever while nothing is read. `None` where there is
    /// nothing to tell, or not yet.
    pub(super) async fn next(&mut self) -> Option<Ready> {
        let Some(reading) = &mut self.reading else {
            return pending().await;
        };
        let found = (&mut reading.found).await;
        let (index, at) = (reading.index, reading.at);
        self.reading = None;
        let digest = self.all.get_mut(index)?;
        let content = match found {
            Ok(Found::Content(content)) => Some(Arc::from(content)),
            Ok(Found::Nothing) => {
                tracing::debug!(
                    digest = &*digest.settings.name,
                    "nothing is told of a time before the ledger's first minute"
                );
                digest.settle();
                return None;
            }
            Ok(Found::Behind) => {
                digest.wait(at, LOOK_AGAIN, |digest| {
                    tracing::warn!(
                        digest,
                        "the ledger does not have all that a digest tells yet; it is told as soon as \
                         it has, or in an hour"
                    );
                });
                return None;
            }
            // The process ends.
            Err(fault) if !fault.is_panic() => return None,
            failed => {
                let error = match failed {
                    Ok(Found::Failed(error)) => error,
                    _ => "a fault of Tollgate's own".to_owned(),
                };
                if digest.is_tried_again(at, &error) {
                    return None;
                }
                None
            }
        };
        Some(Ready {
            name: Arc::clone(digest.name()),
            owed: digest.settle()?,
            content,
            at,
        })
    }
}

impl Digest {
    /// Tries again later; says so the first time.
    fn wait(&mut self, now: UnixMicros, pause: Duration, say: impl FnOnce(&str)) {
        let Some(owed) = &mut self.owed else { return };
        if owed.since == now {
            say(&self.settings.name);
        }
        owed.again_at = now.plus(pause);
    }

    /// Whether one that cannot be read is tried again later, and not told without what it was to tell.
    fn is_tried_again(&mut self, now: UnixMicros, error: &str) -> bool {
        let owed = self.owed.as_ref();
        if owed.is_some_and(|owed| now.since(owed.since) >= PATIENCE) {
            tracing::error!(
                digest = &*self.settings.name,
                error,
                "what a digest tells cannot be read; it is told by its title"
            );
            return false;
        }
        self.wait(now, READ_AGAIN, |digest| {
            tracing::warn!(
                digest,
                error,
                "cannot read what a digest tells; trying again"
            );
        });
        true
    }
}

/// Reads what is told of a period, once the ledger has all of it; of who is not `patient` any more, what
/// it has. Blocks.
fn read(
    context: &Context,
    recovery: &Recovery,
    settings: &DigestSettings,
    period: &Period,
    patient: bool,
    now: UnixMicros,
) -> Found {
    // All that ended before this question. What has not ended is in no digest.
    let is_whole = recovery.wait(FLUSHED_WITHIN) && recovery.flush(FLUSHED_WITHIN);
    if !is_whole && patient {
        return Found::Behind;
    }
    match digest_content(context, settings, period, now) {
        Ok(told) => {
            if !is_whole && told.is_some() {
                tracing::warn!(
                    digest = &*settings.name,
                    until = %period.until,
                    "a digest tells what the ledger has, which may not be all: its writer has been \
                     behind for an hour"
                );
            }
            told.map_or(Found::Nothing, |told| Found::Content(Box::new(told)))
        }
        Err(error) => Found::Failed(error.to_string()),
    }
}
