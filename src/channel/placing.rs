//! The way of one request through the channels: which it may go to, which it has tried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::affinity::SessionKey;
use super::breaker::Pass;
use super::gate::Sight;
use super::index::{Among, Candidates};
use super::place::Place;
use super::queue::{Granted, Queue};
use super::selection::{Choice, Gained, Stage, Trying};
use super::{Channel, Pool, Registry};
use crate::clock::UnixMicros;
use crate::record::Api;

/// What a request asks for, as far as it matters for the choice of a channel.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The channel that the path or a header names: that one or none.
    pub named: Option<&'a str>,
    /// The channel of the caller's key, for requests that name none: that one or none.
    pub preferred: Option<&'a str>,
    /// The channels that the caller's key may use; `None` for all.
    pub allowed: Option<&'a [Arc<str>]>,
    /// The API that is called.
    pub api: Api,
    /// The model that is asked for, aliases resolved.
    pub model: Option<&'a str>,
    /// Who asks: what `round_robin` rotates by.
    pub caller: u64,
    /// What binds the request to the channel of an earlier one.
    pub bond: Option<Bond<'a>>,
}

/// What requests that belong together have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bond<'a> {
    /// A thing that only the channel that made it knows: a response, a batch.
    Made(&'a str),
    /// A conversation, which may go on elsewhere.
    Session(&'a str),
}

/// Why no channel takes a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// None has the name that was asked for.
    #[error("no channel is named `{0}`")]
    NoSuchChannel(String),
    /// The caller's key may not use the one it names, or none that serves the model.
    #[error("this key may not use any channel that could take the request")]
    NotAllowed,
    /// None serves the model.
    #[error("no channel serves the model `{0}`")]
    NoModel(String),
    /// All that could are closed; the first opens after this time, where that is known, a second at
    /// least.
    #[error("every channel that could take the request is closed")]
    Closed(Option<Duration>),
    /// All that could have as many requests as they take.
    #[error("every channel that could take the request has max_in_flight requests already")]
    Full,
    /// All that could were tried.
    #[error("every channel that could take the request was tried")]
    Exhausted,
}

/// The shortest time in which a closed channel is said to open.
const SOONEST: Duration = Duration::from_secs(1);

/// One request on its way through the channels.
#[derive(Debug)]
pub struct Placing {
    pool: Arc<Pool>,
    candidates: Arc<Candidates>,
    caller: u64,
    /// The channel that made what the request asks for.
    maker: Option<Arc<Channel>>,
    session: Option<SessionKey>,
    trying: Trying,
}

impl Registry {
    /// Finds the channels that could take a request, in the order in which they are to be tried.
    pub fn placing(&self, wanted: &Wanted<'_>) -> Result<Placing, NoPlace> {
        let among = self.among(wanted)?;
        let candidates = self.pool.index.candidates(among, wanted.api, wanted.model);
        if candidates.channels.is_empty() {
            return Err(self.nobody(wanted));
        }
        let (maker, session) = match wanted.bond {
            None => (None, None),
            Some(Bond::Made(id)) => (self.maker(id, among), None),
            Some(Bond::Session(text)) => (None, Some(self.pool.affinity.session(text))),
        };
        Ok(Placing {
            pool: Arc::clone(&self.pool),
            candidates,
            caller: wanted.caller,
            maker,
            session,
            trying: Trying::default(),
        })
    }

    fn among<'w>(&self, wanted: &Wanted<'w>) -> Result<Among<'w>, NoPlace> {
        if let Some(name) = wanted.named.or(wanted.preferred) {
            let channel = self
                .channel(name)
                .ok_or_else(|| NoPlace::NoSuchChannel(name.to_owned()))?;
            return if may_use(wanted.allowed, channel) {
                Ok(Among::One(channel.index))
            } else {
                Err(NoPlace::NotAllowed)
            };
        }
        Ok(wanted.allowed.map_or(Among::All, Among::These))
    }

    /// Why nobody could take it.
    fn nobody(&self, wanted: &Wanted<'_>) -> NoPlace {
        let everybody = self
            .pool
            .index
            .candidates(Among::All, wanted.api, wanted.model);
        match wanted.model {
            Some(model) if everybody.channels.is_empty() => NoPlace::NoModel(model.to_owned()),
            _ => NoPlace::NotAllowed,
        }
    }

    /// Who made what is asked for, where the request may go there.
    fn maker(&self, id: &str, among: Among<'_>) -> Option<Arc<Channel>> {
        let index = self.pool.affinity.maker(id)?;
        let channel = self.pool.index.at(index)?;
        let fits = match among {
            Among::All => true,
            Among::One(named) => named == index,
            Among::These(names) => may_use(Some(names), channel),
        };
        fits.then(|| Arc::clone(channel))
    }
}

/// What is left when no channel is well: open ones that cool down, then those that the breaker
/// closed, unless it may close a model's last.
const fn last_resorts(allow_last: bool) -> &'static [Stage] {
    if allow_last {
        &[Stage::Open]
    } else {
        &[Stage::Open, Stage::Held]
    }
}

fn may_use(allowed: Option<&[Arc<str>]>, channel: &Channel) -> bool {
    allowed.is_none_or(|names| names.contains(&channel.name))
}

impl Placing {
    /// Takes a place at the first channel that has one and was not tried yet.
    pub fn take(&mut self, now: UnixMicros) -> Result<Place, NoPlace> {
        self.trying.full = false;
        let gained = match &self.maker {
            // Nobody else knows it; only when that channel is closed are the others asked.
            Some(maker) if maker.gate.look(now) == Sight::Open => {
                let model = self.candidates.model.as_deref();
                self.trying.gain(maker, model, Stage::Open, now)
            }
            _ => self.chosen(now),
        };
        gained
            .map(|gained| self.place(gained, now))
            .ok_or_else(|| self.reason(now))
    }

    /// Takes every channel that is `unfit` out of those that may still be tried.
    pub fn leave_out(&mut self, unfit: impl Fn(&Channel) -> bool) {
        let channels = self.candidates.channels.iter();
        let unfit = channels.filter(|channel| unfit(channel));
        let mut indices: Vec<u32> = unfit.map(|channel| channel.index).collect();
        indices.sort_unstable();
        self.trying.leave_out(indices.into());
    }

    /// As [`take`](Self::take), but where every channel is full waits until one is not, or until
    /// `over`.
    pub async fn take_or_wait(&mut self, now: UnixMicros, over: Instant) -> Result<Place, NoPlace> {
        match self.take(now) {
            Err(NoPlace::Full) => self.wait(now, over.into()).await,
            decided => decided,
        }
    }

    async fn wait(
        &mut self,
        now: UnixMicros,
        over: tokio::time::Instant,
    ) -> Result<Place, NoPlace> {
        let started = tokio::time::Instant::now();
        let pool = Arc::clone(&self.pool);
        let mut queue = Queue::default();
        loop {
            // Before the look, so that no change in between is missed.
            let changed = pool.changed.notified();
            let at = now.plus(started.elapsed());
            match self.take(at) {
                Err(NoPlace::Full) => self.line_up(&mut queue, at),
                decided => return decided,
            }
            let next_look = self
                .next_change(at)
                .map_or(over, |change| started + change.since(now));
            let granted = tokio::select! {
                biased;
                granted = queue.next() => granted,
                () = tokio::time::sleep_until(over.min(next_look)) => {
                    if next_look < over {
                        continue;
                    }
                    return Err(NoPlace::Full);
                }
                () = changed => continue,
            };
            let at = now.plus(started.elapsed());
            if let Some(granted) = granted
                && let Some(gained) = self.seated(granted, at)
            {
                return Ok(self.place(gained, at));
            }
        }
    }

    /// The channel of the conversation, then the strategy's, then those that are left.
    fn chosen(&mut self, now: UnixMicros) -> Option<Gained> {
        let choice = Choice {
            pool: &self.pool,
            candidates: &self.candidates,
            caller: self.caller,
            now,
        };
        let trying = &mut self.trying;
        let bound = self
            .session
            .and_then(|session| self.pool.affinity.last(session))
            .filter(|index| self.candidates.has(*index))
            .and_then(|index| self.pool.index.at(index));
        if let Some(bound) = bound {
            let model = self.candidates.model.as_deref();
            let gained = trying.gain(bound, model, Stage::Well, now);
            if gained.is_some() {
                return gained;
            }
        }
        let well = choice.well(trying);
        // A channel that works and is full is waited for; one that asked for a pause is not pressed.
        if well.is_some() || trying.full {
            return well;
        }
        let mut stages = last_resorts(self.pool.allow_last).iter();
        stages.find_map(|stage| choice.first(*stage, trying))
    }

    fn place(&self, gained: Gained, now: UnixMicros) -> Place {
        if let (Some(session), Pass::Open) = (self.session, gained.pass) {
            self.pool.affinity.note_taken(session, gained.channel.index);
        }
        Place::new(gained, self.candidates.model.as_ref(), now)
    }

    /// When the next of the channels may open by itself, or has cooled down.
    fn next_change(&self, now: UnixMicros) -> Option<UnixMicros> {
        let model = self.candidates.model.as_deref();
        let channels = self.candidates.channels.iter();
        let untried = channels.filter(|channel| self.trying.may_try(channel));
        untried
            .flat_map(|channel| {
                let cooled = channel.cooldowns.until(channel.limited(model), now);
                [channel.gate.changes_at(), cooled]
            })
            .flatten()
            .filter(|change| now < *change)
            .min()
    }

    /// Queues where the request would be let through, were a place free.
    fn line_up(&self, queue: &mut Queue, now: UnixMicros) {
        if let Some(maker) = &self.maker
            && maker.gate.look(now) == Sight::Open
        {
            return queue.join(maker, Stage::Open);
        }
        let model = self.candidates.model.as_deref();
        let finds = |channel: &Channel, stage| self.trying.finds(channel, model, stage, now);
        for stage in [&[Stage::Well], last_resorts(self.pool.allow_last)].concat() {
            for channel in &self.candidates.channels {
                if finds(channel, stage).is_some() && !queue.is_long() {
                    queue.join(channel, stage);
                }
            }
            // As in a choice: where one is well, that one is waited for.
            if !queue.is_empty() {
                return;
            }
        }
    }

    fn seated(&mut self, granted: Granted, now: UnixMicros) -> Option<Gained> {
        let Granted {
            channel,
            seat,
            stage,
        } = granted;
        let model = self.candidates.model.as_deref();
        self.trying.seated(&channel, seat, model, stage, now)
    }

    /// Why no channel takes it.
    fn reason(&self, now: UnixMicros) -> NoPlace {
        if self.trying.full {
            return NoPlace::Full;
        }
        if !self.trying.is_fresh() {
            return NoPlace::Exhausted;
        }
        let channels = self.candidates.channels.iter();
        let opens = channels.filter_map(|channel| channel.gate.opens_at()).min();
        // The time of a probe that is on its way is over, and what it finds out is soon known.
        NoPlace::Closed(opens.map(|at| at.since(now).max(SOONEST)))
    }
}
