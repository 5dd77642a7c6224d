//! The one task that decides: takes in what happened, looks at what is due, and has it written, kept and
//! queued. It waits for no letter: they are written beside it.

mod digests;
mod plain;
#[cfg(test)]
mod tests;
mod writing;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::alert::Silence;
use crate::clock::UnixMicros;
use crate::ledger::{QueryError, Reader, Recovery};
use crate::record::{GateState, Owner};

use super::Context;
use super::board::Around;
use super::destination::Destination;
use super::group::{Flushed, KeptBack};
use super::inbox::{Inbox, News};
use super::inhibit::ClosedChannel;
use super::letters;
use super::office::Office;
use super::stats::DispatchResult;

use self::digests::{Digests, Ready};
use self::writing::{Draft, Writing};

pub(super) use self::digests::Digest;

/// The longest look away: the wall clock may be set.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks when much happens: what happens meanwhile is taken in together.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// Groups of one look whose messages say who used most.
const THOROUGH: usize = 20;
/// How long all letters of a look wait for who used most: they are told without rather than late.
const PATIENCE: Duration = Duration::from_secs(1);
/// Letters that wait to be written at most before no more are decided on.
const MOST_LETTERS: usize = 20_000;
/// How long silences are relied on that another process may have changed.
const SILENCES_KNOWN_FOR: Duration = Duration::from_secs(1);

/// What decides.
pub(super) struct Keeper {
    inbox: Arc<Inbox>,
    office: Arc<Office>,
    context: Context,
    recovery: Recovery,
    digests: Digests,
    writing: Writing,
    silences: KnownSilences,
}

/// The silences as they were read last.
#[derive(Default)]
struct KnownSilences {
    all: Vec<Silence>,
    /// When, and after how many changes.
    read: Option<(UnixMicros, u64)>,
    /// Whether it was told that they cannot be read.
    told: bool,
}

impl KnownSilences {
    fn is_known(&self, changes: u64, now: UnixMicros) -> bool {
        self.read.is_some_and(|(at, known)| {
            // A clock that was set back says nothing.
            known == changes && at <= now && now.since(at) < SILENCES_KNOWN_FOR
        })
    }
}

impl Keeper {
    pub(super) fn new(
        inbox: Arc<Inbox>,
        office: Arc<Office>,
        context: Context,
        recovery: Recovery,
        digests: Vec<Digest>,
    ) -> Self {
        Self {
            inbox,
            office,
            context,
            digests: Digests::new(digests, recovery.clone()),
            recovery,
            writing: Writing::default(),
            silences: KnownSilences::default(),
        }
    }

    /// Goes on for ever.
    pub(super) async fn run(mut self) {
        loop {
            // Whoever is to be told of the rest must not hear nothing because of one.
            if AssertUnwindSafe(self.turn()).catch_unwind().await.is_err() {
                tracing::error!("deciding whom to tell met a fault of Tollgate's own; going on");
                sleep(LONGEST_PAUSE).await;
            }
        }
    }

    async fn turn(&mut self) {
        self.look(UnixMicros::now()).await;
        self.serve_until(sleep(SHORTEST_PAUSE)).await;
        let pause = self.until_next(UnixMicros::now());
        let inbox = Arc::clone(&self.inbox);
        self.serve_until(async {
            tokio::select! {
                () = sleep(pause) => {}
                () = inbox.came() => {}
            }
        })
        .await;
    }

    /// Passes on what is ready.
    async fn serve_until(&mut self, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = self.serve() => {}
            }
        }
    }

    /// Waits until a letter or a digest is ready, and passes it on; for ever where none will be.
    async fn serve(&mut self) {
        tokio::select! {
            letters = self.writing.next() => {
                for letter in letters {
                    let at = letter.notification.at;
                    self.office.post(letter, at);
                }
            }
            ready = self.digests.next() => {
                if let Some(ready) = ready {
                    self.write_digest(&ready);
                }
            }
        }
    }

    /// Takes in what happened, and has written what is due.
    async fn look(&mut self, now: UnixMicros) {
        self.take_in();
        if self.writing.len() < MOST_LETTERS {
            self.look_at_groups(now).await;
            self.look_at_channels(now);
        }
        self.digests.look(&self.context, now);
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
        let next = due.into_iter().chain(self.digests.next_due(now)).min();
        let pause = next.map_or(LONGEST_PAUSE, |next| next.since(now));
        pause.min(LONGEST_PAUSE)
    }

    /// Looks at groups of alerts.
    async fn look_at_groups(&mut self, now: UnixMicros) {
        let due = self.office.lock().board.next_due(now);
        if due.is_none_or(|due| due > now) {
            return;
        }
        self.read_silences(now).await;
        let closed = self.closed(now);
        let around = Around {
            silences: &self.silences.all,
            closed: &closed,
        };
        let flushed = self.office.lock().board.flush(now, around);
        self.write_alerts(flushed);
    }

    /// Looks at channels' notices.
    fn look_at_channels(&mut self, now: UnixMicros) {
        let notices = self.office.lock().notices.flush(now);
        if notices.is_empty() {
            return;
        }
        let receivers = self.office.lock().notices.receivers().to_vec();
        let receivers = self.destinations(&receivers);
        for notice in notices.into_iter().map(Arc::new) {
            for to in receivers.clone() {
                let context = self.context.clone();
                let (plain, whole) = (Arc::clone(&notice), Arc::clone(&notice));
                let plain_to = to.clone();
                self.writing.add(Draft {
                    receiver: Arc::clone(&to.settings.name),
                    group: letters::channel_group(&notice.channel),
                    write: Box::new(move || vec![letters::of_notice(&whole, &to, &context, now)]),
                    plainly: Box::new(move || vec![plain::of_notice(&plain, &plain_to, now)]),
                });
            }
        }
    }

    /// Has what is told of alerts written.
    fn write_alerts(&mut self, flushed: Flushed) {
        for (receiver, by) in flushed.kept_back {
            if let Some(desk) = self.office.desk(&receiver) {
                desk.stats.count(match by {
                    KeptBack::Silenced => DispatchResult::Silenced,
                    KeptBack::Inhibited => DispatchResult::Inhibited,
                    KeptBack::Muted => DispatchResult::Muted,
                });
            }
        }
        let until = Instant::now() + PATIENCE;
        for (index, telling) in flushed.tellings.into_iter().map(Arc::new).enumerate() {
            let Some(to) = self.destination(&telling.receiver) else {
                continue;
            };
            let context = self.context.clone();
            let until = (index < THOROUGH).then_some(until);
            let (plain, whole) = (Arc::clone(&telling), Arc::clone(&telling));
            let plain_to = to.clone();
            self.writing.add(Draft {
                receiver: Arc::clone(&telling.receiver),
                group: Arc::clone(&telling.group),
                write: Box::new(move || letters::of_alerts(&whole, &to, &context, until)),
                plainly: Box::new(move || vec![plain::of_alerts(&plain, &plain_to)]),
            });
        }
    }

    /// Has a digest written.
    fn write_digest(&mut self, ready: &Ready) {
        let Ready {
            name,
            owed,
            content,
            at,
        } = ready;
        let at = *at;
        for to in self.destinations(&owed.receivers) {
            let (group, period, name) = (Arc::clone(&owed.group), owed.period, Arc::clone(name));
            let (plain_to, plain_group) = (to.clone(), Arc::clone(&group));
            let plainly = move || {
                vec![plain::of_digest(
                    &name,
                    &period,
                    &plain_group,
                    &plain_to,
                    at,
                )]
            };
            let content = content.clone();
            self.writing.add(Draft {
                receiver: Arc::clone(&to.settings.name),
                group: Arc::clone(&group),
                write: match content {
                    Some(content) => Box::new(move || {
                        vec![letters::of_digest((*content).clone(), &to, &group, at)]
                    }),
                    None => Box::new(plainly.clone()),
                },
                plainly: Box::new(plainly),
            });
        }
    }

    fn destination(&self, receiver: &str) -> Option<Destination> {
        let desk = self.office.desk(receiver)?;
        Some(desk.destination.clone())
    }

    fn destinations(&self, receivers: &[Arc<str>]) -> Vec<Destination> {
        let found = receivers.iter().filter_map(|name| self.destination(name));
        found.collect()
    }

    /// Reads the silences where they may have changed. What cannot be read stays as it was.
    async fn read_silences(&mut self, now: UnixMicros) {
        // Asked before they are read: what changes meanwhile is read next time.
        let changes = self.recovery.silence_changes();
        if self.silences.is_known(changes, now) {
            return;
        }
        let data_dir = self.context.data_dir.clone();
        let read = move || Reader::open(&data_dir)?.silences_not_over(now);
        let silences = match spawn_blocking(read).await {
            Ok(Ok(silences)) => silences,
            Ok(Err(QueryError::NoLedger { .. })) => Vec::new(),
            Ok(Err(error)) => {
                if !std::mem::replace(&mut self.silences.told, true) {
                    tracing::warn!(%error, "cannot read the silences; going by those that were known");
                }
                return;
            }
            // The process ends.
            Err(_) => return,
        };
        self.silences = KnownSilences {
            all: silences,
            read: Some((now, changes)),
            told: false,
        };
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
}
