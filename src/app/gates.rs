//! The channels' gates over time: every change is recorded, told and counted; what an earlier run
//! left closed stays closed; holds end when their time is over.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::channel::{GateObserver, Registry};
use crate::clock::UnixMicros;
use crate::dispatch::Inbox;
use crate::ledger::{Journal, QueryError, Reader, Recovery};
use crate::meter::Meter;
use crate::record::{ChannelEvent, GateReason, GateState, Owner};

/// How long one look at the journal waits, so that a stop need not wait for it.
const A_LOOK: Duration = Duration::from_millis(250);
/// From one look for late news to the next.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The longest sleep until a hold ends: the wall clock may be set in between.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// The shortest, whatever the next end is said to be.
const SHORTEST_SLEEP: Duration = Duration::from_millis(10);

/// Told of each change of a gate: appends it to the journal before the change is answered, logs and
/// counts it, and wakes whoever listens.
#[derive(Debug)]
pub(super) struct GateWatch {
    journal: Arc<Journal>,
    meter: Arc<Meter>,
    /// Where changes are heard, after they are in the journal.
    inbox: Arc<Inbox>,
    /// How many changes there were.
    changes: watch::Sender<u64>,
    known: Mutex<HashMap<Arc<str>, Known>>,
}

/// What is known of one gate.
#[derive(Debug)]
struct Known {
    state: GateState,
    /// Whose holds this run changed.
    owners: HashSet<Owner>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            state: GateState::Open,
            owners: HashSet::new(),
        }
    }
}

impl GateWatch {
    pub(super) fn new(journal: Arc<Journal>, meter: Arc<Meter>, inbox: Arc<Inbox>) -> Self {
        Self {
            journal,
            meter,
            inbox,
            changes: watch::Sender::new(0),
            known: Mutex::default(),
        }
    }

    /// Changes whenever a gate did, after it did; also when an earlier run's holds were restored.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn wake(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether this run changed that owner's hold.
    fn has_changed(&self, event: &ChannelEvent) -> bool {
        let known = self.known();
        known
            .get(&event.channel)
            .is_some_and(|gate| gate.owners.contains(&event.owner))
    }

    /// Takes note of what the gates became without anybody being told.
    fn restored(&self, registry: &Registry, now: UnixMicros) {
        for channel in registry.iter() {
            let Ok(status) = registry.gate_status(&channel.name, now) else {
                continue;
            };
            let mut known = self.known();
            known.entry(Arc::clone(&channel.name)).or_default().state = status.state;
        }
        self.wake();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GateObserver for GateWatch {
    fn changed(&self, event: &ChannelEvent) {
        // First: what others see of the change shall survive.
        self.journal.gate_changed(event);
        let before = {
            let mut known = self.known();
            let gate = known.entry(Arc::clone(&event.channel)).or_default();
            // A time that is over is nobody's word: what the owner said last may be known only later.
            if event.reason != GateReason::Expired {
                gate.owners.insert(event.owner.clone());
            }
            std::mem::replace(&mut gate.state, event.state)
        };
        if before != event.state {
            self.meter
                .gate_changed(&event.channel, event.state, event.reason);
        }
        log(event);
        self.inbox.gate_changed(event);
        self.wake();
    }
}

fn log(event: &ChannelEvent) {
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(
                channel = &*event.channel,
                state = %event.state,
                owner = %event.owner,
                hold = %event.hold,
                reason = %event.reason,
                until = event.until.map(tracing::field::display),
                who = event.who.as_deref(),
                note = event.note.as_deref(),
                "a channel's gate changed"
            )
        };
    }
    // The breaker's hold behind another's, for the request that goes first, is no news of the channel.
    let is_due = event.until.is_some_and(|due| due <= event.at);
    if event.owner == Owner::Breaker && event.hold == GateState::Closed && !is_due {
        say!(warn);
    } else {
        say!(info);
    }
}

/// The gates as earlier runs left them, on their way into this one's.
///
/// What the database has is taken over as soon as it can be read, whoever has a writer's lock on it;
/// what is still in earlier runs' journals, once the writer has brought it there.
pub(super) struct EarlierGates {
    registry: Arc<Registry>,
    watch: Arc<GateWatch>,
    recovery: Recovery,
    data_dir: PathBuf,
    /// What was taken over already.
    taken: HashSet<ChannelEvent>,
    /// Whether the database was ever read.
    read: bool,
    /// Whether it then had all that earlier runs left.
    whole: watch::Sender<bool>,
    /// Whether everything there will ever be to take over was.
    complete: bool,
    /// Whether a failure to read it was told.
    told: bool,
}

/// What a look at the database found.
struct Found {
    events: Vec<ChannelEvent>,
    /// Whether it has all that earlier runs left.
    whole: bool,
    /// Whether nobody else adds to that any more.
    alone: bool,
}

impl EarlierGates {
    pub(super) fn new(
        registry: Arc<Registry>,
        watch: Arc<GateWatch>,
        recovery: Recovery,
        data_dir: PathBuf,
    ) -> Self {
        Self {
            registry,
            watch,
            recovery,
            data_dir,
            taken: HashSet::new(),
            read: false,
            whole: watch::Sender::new(false),
            complete: false,
            told: false,
        }
    }

    /// True once the gates are all that earlier runs left, and not only what the database had first.
    pub(super) fn whole(&self) -> watch::Receiver<bool> {
        self.whole.subscribe()
    }

    /// Takes over what earlier runs left; waits until `over` for what the database does not have of it
    /// yet.
    pub(super) async fn restore(&mut self, over: Instant) {
        let began = Instant::now();
        while !self.look().await {
            if Instant::now() >= over {
                self.tell_what_is_missing(began.elapsed());
                return;
            }
        }
    }

    fn tell_what_is_missing(&self, waited: Duration) {
        let waited_s = waited.as_secs();
        if self.read {
            tracing::warn!(
                waited_s,
                "the database does not have all that earlier runs left in the journal yet; starting \
                 with the gates as the database has them, and taking over the rest as soon as it is \
                 known"
            );
        } else {
            tracing::warn!(
                waited_s,
                "the database cannot be read yet; starting with open gates, and closing them as soon \
                 as it is known which were closed"
            );
        }
    }

    /// Goes on until everything is taken over: where the database was too slow, and while a process
    /// that hands over to this one may still change something.
    pub(super) async fn follow(mut self) {
        while !self.complete {
            sleep(if self.read { LOOK_AGAIN } else { A_LOOK }).await;
            self.look().await;
        }
    }

    /// Takes over what the database has; `false` while it does not have all that earlier runs left.
    async fn look(&mut self) -> bool {
        let (recovery, data_dir) = (self.recovery.clone(), self.data_dir.clone());
        let looked = spawn_blocking(move || {
            // Both asked before the database is: who is alone then has read all there will ever be.
            let whole = recovery.wait(A_LOOK);
            let alone = whole && recovery.is_alone();
            let events = Reader::open(&data_dir)?.last_gate_events()?;
            Ok::<_, QueryError>(Found {
                events,
                whole,
                alone,
            })
        });
        let found = match looked.await {
            Ok(Ok(found)) => found,
            failed => {
                if let Ok(Err(error)) = failed
                    && !std::mem::replace(&mut self.told, true)
                {
                    tracing::warn!(%error, "cannot read which channels earlier runs closed; trying again");
                }
                sleep(A_LOOK).await;
                return false;
            }
        };
        let Found {
            mut events,
            whole,
            alone,
        } = found;
        let now = UnixMicros::now();
        if !whole {
            // A later word of the same owner may be to come: no end is told before that is known.
            events.retain(|event| !is_over(event, now));
        }
        self.take_over(events, now);
        self.read = true;
        self.complete = alone;
        if whole {
            self.whole.send_replace(true);
        }
        whole
    }

    /// Takes over what is new, but for the holds that this run changed itself: what it did is later. What
    /// comes once the whole was known, another process did meanwhile, and people are told of it: this one
    /// reads no more of the past for them.
    fn take_over(&mut self, events: Vec<ChannelEvent>, now: UnixMicros) {
        let mut new = events;
        new.retain(|event| !self.taken.contains(event) && !self.watch.has_changed(event));
        if new.is_empty() {
            return;
        }
        self.registry.restore(&new, now);
        self.watch.restored(&self.registry, now);
        let is_news = *self.whole.borrow();
        for event in &new {
            if is_news {
                self.watch.inbox.gate_changed(event);
            }
            let status = self.registry.gate_status(&event.channel, now);
            if status.is_ok_and(|gate| gate.holds.iter().any(|h| h.closing.owner == event.owner)) {
                tracing::info!(
                    channel = &*event.channel,
                    owner = %event.owner,
                    reason = %event.reason,
                    since = %event.at,
                    until = event.until.map(tracing::field::display),
                    "a channel is still closed"
                );
            }
        }
        self.taken.extend(new);
    }
}

/// Whether it is a hold that ended by itself since. A time of the breaker's is no end.
fn is_over(event: &ChannelEvent, now: UnixMicros) -> bool {
    event.owner != Owner::Breaker
        && event.hold != GateState::Open
        && event.until.is_some_and(|until| until <= now)
}

/// Ends each hold when its time is over; never returns. `changes` tell that one may end earlier than
/// was known.
pub(super) async fn expire_holds(registry: Arc<Registry>, mut changes: watch::Receiver<u64>) {
    loop {
        let now = UnixMicros::now();
        let pause = registry
            .expire(now)
            .map_or(LONGEST_SLEEP, |next| next.since(now));
        tokio::select! {
            () = sleep(pause.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)) => {}
            Ok(()) = changes.changed() => {}
        }
    }
}
