//! The one task that decides: takes in what happened, looks at what is due, and has it written, kept and
//! queued.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::alert::Silence;
use crate::clock::UnixMicros;
use crate::config::DigestSettings;
use crate::ledger::{QueryError, Reader};
use crate::record::{GateState, Owner};

use super::Context;
use super::board::Around;
use super::destination::Destination;
use super::digest::{Period, Schedule, digest_content};
use super::group::{Flushed, KeptBack, Telling};
use super::inbox::{Inbox, News};
use super::inhibit::ClosedChannel;
use super::letters::{self, Letter};
use super::office::Office;
use super::stats::DispatchResult;

/// The longest look away: the wall clock may be set.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks when much happens.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Groups of one look whose messages say who used most.
const THOROUGH: usize = 20;
/// From one try to make a digest to the next, when the ledger cannot be read.
const DIGEST_AGAIN: Duration = Duration::from_secs(60);

/// What decides.
pub(super) struct Keeper {
    pub(super) inbox: Arc<Inbox>,
    pub(super) office: Arc<Office>,
    pub(super) context: Context,
    pub(super) digests: Vec<Digest>,
    /// The silences as they were read last.
    silences: Vec<Silence>,
    /// Whether it was told that they cannot be read.
    told: bool,
}

/// A digest and who was told it.
pub(super) struct Digest {
    pub(super) settings: DigestSettings,
    pub(super) schedule: Schedule,
    /// Receivers and periods that it was told.
    pub(super) told: HashSet<(Arc<str>, Arc<str>)>,
    pub(super) again_at: Option<UnixMicros>,
}

impl Keeper {
    pub(super) fn new(
        inbox: Arc<Inbox>,
        office: Arc<Office>,
        context: Context,
        digests: Vec<Digest>,
    ) -> Self {
        Self {
            inbox,
            office,
            context,
            digests,
            silences: Vec::new(),
            told: false,
        }
    }

    /// Goes on for ever.
    pub(super) async fn run(mut self) {
        loop {
            let now = UnixMicros::now();
            self.take_in();
            self.look(now).await;
            self.digests(now).await;
            let pause = self.until_next(UnixMicros::now());
            tokio::select! {
                () = sleep(pause) => {}
                // Much that happens is taken in together.
                () = self.inbox.came() => sleep(SHORTEST_PAUSE).await,
            }
        }
    }

    fn take_in(&self) {
        let news = self.inbox.take();
        if news.is_empty() {
            return;
        }
        let mut state = self.office.lock();
        for news in news {
            match news {
                News::Alert(event) => {
                    let rule = self.context.rules.rule(&event.alert.rule);
                    state.board.accept(&event, rule.as_deref(), false);
                }
                News::Gate(event) => state.notices.accept(&event),
            }
        }
    }

    fn until_next(&self, now: UnixMicros) -> Duration {
        let due = {
            let state = self.office.lock();
            let dues = [state.board.next_due(now), state.notices.next_due(now)];
            dues.into_iter().flatten().min()
        };
        let digests = self.digests.iter();
        let digests = digests.filter_map(|digest| digest.schedule.next_due(now));
        let next = due.into_iter().chain(digests).min();
        let pause = next.map_or(LONGEST_PAUSE, |next| next.since(now));
        pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    /// Looks at groups and channels that are due.
    async fn look(&mut self, now: UnixMicros) {
        let (groups, channels) = {
            let state = self.office.lock();
            let due = |at: Option<UnixMicros>| at.is_some_and(|at| at <= now);
            (
                due(state.board.next_due(now)),
                due(state.notices.next_due(now)),
            )
        };
        if groups {
            self.read_silences().await;
            let closed = self.closed(now);
            let around = Around {
                silences: &self.silences,
                closed: &closed,
            };
            let flushed = self.office.lock().board.flush(now, around);
            self.post(flushed, now).await;
        }
        if channels {
            let notices = self.office.lock().notices.flush(now);
            let receivers = self.office.lock().notices.receivers().to_vec();
            for notice in &notices {
                for desk in receivers.iter().filter_map(|name| self.office.desk(name)) {
                    let to = &desk.destination;
                    let letter = letters::of_notice(notice, to, &self.context, now);
                    self.office.post(letter, now);
                }
            }
        }
    }

    /// Has what is told written and posts it.
    async fn post(&self, flushed: Flushed, now: UnixMicros) {
        for (receiver, by) in flushed.kept_back {
            if let Some(desk) = self.office.desk(&receiver) {
                desk.stats.count(match by {
                    KeptBack::BySilence => DispatchResult::Silenced,
                    KeptBack::ByInhibition => DispatchResult::Inhibited,
                    KeptBack::ByTime => DispatchResult::Muted,
                });
            }
        }
        for (index, telling) in flushed.tellings.into_iter().enumerate() {
            let Some(desk) = self.office.desk(&telling.receiver) else {
                continue;
            };
            let (to, context) = (desk.destination.clone(), self.context.clone());
            if let Some(letter) = write(telling, to, context, index < THOROUGH).await {
                self.office.post(letter, now);
            }
        }
    }

    /// What cannot be read stays as it was.
    async fn read_silences(&mut self) {
        let data_dir = self.context.data_dir.clone();
        let read = spawn_blocking(move || Reader::open(&data_dir)?.silences()).await;
        match read {
            Ok(Ok(silences)) => {
                self.silences = silences;
                self.told = false;
            }
            Ok(Err(QueryError::NoLedger { .. })) => self.silences.clear(),
            Ok(Err(error)) => {
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(%error, "cannot read the silences; going by those that were known");
                }
            }
            // The process ends.
            Err(_) => {}
        }
    }

    fn closed(&self, now: UnixMicros) -> Vec<ClosedChannel> {
        let status = self.context.channels.status(now).into_iter();
        let closed = status.filter(|(_, gate)| gate.state != GateState::Open);
        closed
            .map(|(channel, gate)| {
                let owners = gate.holds.iter().map(|hold| &hold.closing.owner);
                let alerts = owners.clone().filter_map(|owner| match owner {
                    Owner::Alert(alert) => Some(Arc::clone(alert)),
                    Owner::Operator | Owner::Breaker => None,
                });
                let alerts: Vec<_> = alerts.collect();
                // The breaker's hold behind an alert's is the alert's own wish.
                let mut owners = owners.clone();
                let others = if alerts.is_empty() {
                    owners.next().is_some()
                } else {
                    owners.any(|owner| *owner == Owner::Operator)
                };
                ClosedChannel {
                    channel: Arc::clone(&channel.name),
                    alerts,
                    others,
                }
            })
            .collect()
    }

    /// Tells the digests that are due.
    async fn digests(&mut self, now: UnixMicros) {
        for digest in &mut self.digests {
            let waits = digest.again_at.is_some_and(|at| now < at);
            let Some(period) = digest.schedule.due(now).filter(|_| !waits) else {
                continue;
            };
            let group = digest.schedule.group(&period);
            let settings = digest.settings.receivers.iter();
            let missing: Vec<_> = settings
                .filter(|name| {
                    !digest
                        .told
                        .contains(&(Arc::clone(name), Arc::clone(&group)))
                })
                .filter_map(|name| self.office.desk(name))
                .collect();
            if missing.is_empty() {
                continue;
            }
            let read = read_digest(self.context.clone(), digest.settings.clone(), period, now);
            match read.await {
                Some(Ok(content)) => {
                    for desk in missing {
                        let to = &desk.destination;
                        let letter = letters::of_digest(content.clone(), to, &group, now);
                        self.office.post(letter, now);
                        let name = Arc::clone(&to.settings.name);
                        digest.told.insert((name, Arc::clone(&group)));
                    }
                    digest.again_at = None;
                }
                Some(Err(error)) => {
                    tracing::warn!(
                        digest = &*digest.settings.name,
                        %error,
                        "cannot read what the digest tells; trying again"
                    );
                    digest.again_at = Some(now.plus(DIGEST_AGAIN));
                }
                None => {}
            }
        }
    }
}

async fn read_digest(
    context: Context,
    settings: DigestSettings,
    period: Period,
    now: UnixMicros,
) -> Option<Result<crate::notify::content::DigestContent, QueryError>> {
    let read = spawn_blocking(move || digest_content(&context, &settings, &period, now));
    read.await.ok()
}

/// Puts a decision into a letter, on a thread that may block.
async fn write(
    telling: Telling,
    to: Destination,
    context: Context,
    thorough: bool,
) -> Option<Letter> {
    let write = move || letters::of_alerts(&telling, &to, &context, thorough);
    spawn_blocking(write).await.ok()
}
