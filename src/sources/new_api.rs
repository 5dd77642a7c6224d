//! Channels of a new-api or one-api that follow the gates here: what Tollgate closes is disabled
//! there, and enabled again when it is open.
//!
//! The wish for a channel is read from its gate each time it matters, so only the newest counts: a
//! change in between supersedes what is under way, and what fails is tried again until it is done or
//! not wished any more. Nothing waits for the gateway: a gate changes first, and this follows.
//!
//! Only what Tollgate disabled is enabled again (`marks`): a channel that somebody disabled
//! by hand stays so whatever its gate does. And nobody is fought over a channel: it is looked at when
//! the wish changes and at the start, not in between, so that a person who enables it there although
//! it is closed here has the last word until the gate moves again. (The gate itself still keeps
//! requests away.)

mod client;
mod error;
mod marks;
mod stats;
mod wish;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::channel::Registry;
use crate::clock::UnixMicros;
use crate::config::{ChannelSettings, NewApiSettings};
use crate::sources::Cause;

use client::{Client, Status};
use error::FollowError;
use marks::Marks;
use wish::Wish;

pub use stats::{FollowedChannel, FollowerStats, SyncResult};

/// Conversations with the gateway at a time, when many channels change at once. It has a rate limit
/// for all its callers.
const AT_ONCE: usize = 4;

/// The longest sleep until a probe is due: the wall clock may be set in between.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The pauses after tries that failed.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// After the first; doubled after each further one.
    pub first: Duration,
    /// The longest, also where the gateway asks for more.
    pub longest: Duration,
}

impl Pauses {
    /// From half a second to a minute.
    pub const USUAL: Self = Self {
        first: Duration::from_millis(500),
        longest: Duration::from_secs(60),
    };
}

/// Makes outside channels follow the gates.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    gates: Arc<Registry>,
    /// Changes whenever a gate did.
    changes: watch::Receiver<u64>,
    data_dir: PathBuf,
    base_url: String,
    /// None before it follows.
    marks: Arc<Mutex<Marks>>,
    room: Semaphore,
    pauses: Pauses,
    ids: Vec<u64>,
    stats: Arc<FollowerStats>,
}

impl Follower {
    /// For those of `channels` that have a number outside. `changes` says that a gate did, in time to
    /// find it so; `data_dir` keeps what Tollgate disabled.
    pub fn new(
        settings: NewApiSettings,
        channels: &[ChannelSettings],
        data_dir: &Path,
        gates: Arc<Registry>,
        changes: watch::Receiver<u64>,
        pauses: Pauses,
    ) -> Result<Self, Cause> {
        let followed = || channels.iter().filter(|channel| channel.new_api.is_some());
        let ids: Vec<u64> = followed().filter_map(|channel| channel.new_api).collect();
        let names = followed().map(|channel| Arc::clone(&channel.name));
        Ok(Self {
            data_dir: data_dir.to_owned(),
            base_url: settings.base_url.to_string(),
            client: Client::new(settings)?,
            gates,
            changes,
            marks: Arc::default(),
            room: Semaphore::new(AT_ONCE),
            pauses,
            ids,
            stats: Arc::new(FollowerStats::new(names)),
        })
    }

    /// How it goes.
    #[must_use]
    pub fn stats(&self) -> Arc<FollowerStats> {
        Arc::clone(&self.stats)
    }

    /// Follows, for ever. Only one process at a time may: what it disabled is read when this begins
    /// and held in memory from then on.
    pub async fn run(self) {
        self.load_marks().await;
        let channels = self.ids.iter().zip(self.stats.channels());
        join_all(channels.map(|(&id, channel)| self.follow(id, channel))).await;
    }

    async fn follow(&self, id: u64, channel: &FollowedChannel) {
        let mut changes = self.changes.clone();
        let mut marked = self.marks().has(id);
        // What the channel was last made, or seen to be.
        let mut done: Option<bool> = None;
        let mut failures: u32 = 0;
        while let Some((wish, over)) = self.wish(channel, &mut changes) {
            if done == Some(wish.disabled) {
                changed_within(&mut changes, over).await;
                continue;
            }
            channel.behind();
            match self.make(id, channel, wish, &mut marked).await {
                Ok(result) => {
                    channel.note(result);
                    told_good(channel, id, wish, result, failures);
                    done = Some(wish.disabled);
                    failures = 0;
                }
                Err(error) => {
                    channel.note(SyncResult::Failed);
                    told_bad(channel, id, wish, &error, failures);
                    let pause = self.pause(failures, error.retry_after());
                    done = None;
                    failures = failures.saturating_add(1);
                    let most = over.map_or(pause, |over| over.min(pause));
                    self.superseded_within(channel, wish, &mut changes, most)
                        .await;
                }
            }
        }
    }

    /// What is wished for a channel now, and after which time it is something else though no gate
    /// changes; `None` when there is no such channel any more.
    fn wish(
        &self,
        channel: &FollowedChannel,
        changes: &mut watch::Receiver<u64>,
    ) -> Option<(Wish, Option<Duration>)> {
        // First: what changes from here on is told again.
        changes.mark_unchanged();
        let now = UnixMicros::now();
        let wish = Wish::of(&self.gates.gate_status(channel.name(), now).ok()?, now);
        Some((
            wish,
            wish.until.map(|until| until.since(now).min(LONGEST_SLEEP)),
        ))
    }

    /// Waits until something else is wished than what failed, at most so long.
    async fn superseded_within(
        &self,
        channel: &FollowedChannel,
        failed: Wish,
        changes: &mut watch::Receiver<u64>,
        most: Duration,
    ) {
        let end = Instant::now() + most;
        while changed_within(changes, Some(end.saturating_duration_since(Instant::now()))).await {
            match self.wish(channel, changes) {
                Some((wish, _)) if wish.disabled == failed.disabled => {}
                _ => return,
            }
        }
    }

    /// Makes a channel what it should be, and looks whether it is.
    async fn make(
        &self,
        id: u64,
        channel: &FollowedChannel,
        wish: Wish,
        marked: &mut bool,
    ) -> Result<SyncResult, FollowError> {
        if !wish.disabled && !*marked {
            // Whatever it is, it is so by somebody else's will.
            return Ok(SyncResult::Unchanged);
        }
        // Never closed, so there is room sooner or later.
        let _room = self.room.acquire().await;
        let found = self.client.status(id).await?;
        let (differs, wanted) = if wish.disabled {
            (found != Status::Disabled, Status::Disabled)
        } else {
            // What the gateway disabled itself meanwhile is its own to enable.
            (found == Status::Disabled, Status::Enabled)
        };
        if differs {
            if wish.disabled {
                *marked = true;
                self.mark(id, Some(channel.name())).await;
            }
            self.client.set(id, wanted).await?;
            let found = self.client.status(id).await?;
            if found != wanted {
                return Err(FollowError::NotTaken {
                    id,
                    wanted: wanted.number(),
                    found: found.number(),
                });
            }
        }
        if !wish.disabled {
            *marked = false;
            self.mark(id, None).await;
        }
        Ok(if differs {
            SyncResult::Changed
        } else {
            SyncResult::Unchanged
        })
    }

    /// Reads what earlier runs disabled.
    async fn load_marks(&self) {
        let (data_dir, base_url) = (self.data_dir.clone(), self.base_url.clone());
        let load = move || Marks::load(&data_dir, &base_url);
        // An error means that the process ends.
        if let Ok(mut marks) = tokio::task::spawn_blocking(load).await {
            marks.keep_only(|id| self.ids.contains(&id));
            *self.marks() = marks;
        }
    }

    /// Writes down that Tollgate disables a channel, or strikes it out, where it holds up nobody. A
    /// disk that fails must not keep a channel open that is to be closed.
    async fn mark(&self, id: u64, disabled: Option<&Arc<str>>) {
        let (marks, disabled) = (Arc::clone(&self.marks), disabled.cloned());
        let write = move || {
            let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
            match disabled {
                Some(name) => marks.set(id, &name),
                None => marks.clear(id),
            }
        };
        // An error of the other kind means that the process ends.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            tracing::warn!(%error, "cannot write down which channels of new-api Tollgate disabled; a restart would forget it");
        }
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pause after so many failures before this one, from half of its length to the whole, so
    /// that those who failed together do not come back together.
    fn pause(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.min(16));
        let pause = self.pauses.first.saturating_mul(doubled);
        let pause = pause
            .max(asked.unwrap_or_default())
            .min(self.pauses.longest);
        let chance = RandomState::new().hash_one(failures) % 1024;
        pause / 2 + pause / 2048 * u32::try_from(chance).unwrap_or_default()
    }
}

/// Waits until a gate changed, or for so long; false when the time was over first.
async fn changed_within(changes: &mut watch::Receiver<u64>, most: Option<Duration>) -> bool {
    let next = async {
        if changes.changed().await.is_err() {
            // Nobody tells any more: the process ends.
            std::future::pending::<()>().await;
        }
    };
    if let Some(most) = most {
        return timeout(most, next).await.is_ok();
    }
    next.await;
    true
}

fn told_good(channel: &FollowedChannel, id: u64, wish: Wish, result: SyncResult, failures: u32) {
    let (name, disabled) = (channel.name(), wish.disabled);
    if result == SyncResult::Changed || failures > 0 {
        tracing::info!(channel = %name, id, disabled, failures, "the outside channel follows the gate");
    }
}

/// Once an episode.
fn told_bad(channel: &FollowedChannel, id: u64, wish: Wish, error: &FollowError, failures: u32) {
    let (name, disabled) = (channel.name(), wish.disabled);
    if failures == 0 {
        tracing::warn!(channel = %name, id, disabled, %error, "the outside channel does not follow the gate; it is tried again");
    } else {
        tracing::debug!(channel = %name, id, disabled, %error, failures, "the outside channel still does not follow");
    }
}
