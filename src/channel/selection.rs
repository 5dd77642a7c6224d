//! Which of the candidates is tried next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use smallvec::SmallVec;

use super::breaker::Pass;
use super::gate::Sight;
use super::index::{Candidates, Tier};
use super::places::Seat;
use super::{Channel, Pool};
use crate::clock::UnixMicros;
use crate::config::Strategy;

/// Draws by weight before those that cannot take the request are counted out.
const DRAWS: usize = 8;

/// Up to so many candidates of one priority `least_in_flight` looks at each …
const ALL_COMPARED: usize = 32;

/// … and of more at so many by chance, which balances nearly as well (Mitzenmacher, "The Power of
/// Two Choices").
const SAMPLE: usize = 8;

/// Counters of `round_robin`: a power of two.
const COUNTERS: usize = 1 << 14;

/// Where `round_robin` begins: a counter for each caller and list of candidates. There are so many
/// that two seldom share one; those that do skip channels and favour none.
#[derive(Debug)]
pub(super) struct Rotation(Box<[AtomicU32]>);

impl Default for Rotation {
    fn default() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Rotation {
    /// The next number in turn for that caller and list. Callers begin at different ones, so that
    /// many who ask once spread over the channels too.
    fn next(&self, caller: u64, list: u64) -> u64 {
        let mixed = (caller ^ list.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let slot = usize::try_from(mixed >> 50).unwrap_or(0) % COUNTERS;
        let turn = self.0[slot].fetch_add(1, Ordering::Relaxed);
        (mixed >> 32).wrapping_add(u64::from(turn))
    }
}

/// What a channel must be for a request to be let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Open or due for a probe, and not cooling down.
    Well,
    /// Open.
    Open,
    /// Closed by the breaker alone.
    Held,
}

/// How far a request has come through its candidates.
#[derive(Debug, Default)]
pub(super) struct Trying {
    tried: SmallVec<[u32; 8]>,
    /// Those that further tries must not go to, in order.
    left_out: Box<[u32]>,
    /// A channel that would do has no free place.
    pub(super) full: bool,
    /// Where `round_robin` began.
    turn: Option<u64>,
}

/// A channel that lets the request through.
#[derive(Debug)]
pub(super) struct Gained {
    pub(super) channel: Arc<Channel>,
    pub(super) pass: Pass,
    /// The gate's turn when it was passed.
    pub(super) turn: u32,
    pub(super) seat: Seat,
}

impl Trying {
    fn has_tried(&self, channel: &Channel) -> bool {
        self.tried.contains(&channel.index)
    }

    /// Takes those with an index of these, which are in order, out of what may be tried.
    pub(super) fn leave_out(&mut self, indices: Box<[u32]>) {
        self.left_out = indices;
    }

    pub(super) fn may_try(&self, channel: &Channel) -> bool {
        !self.has_tried(channel) && self.left_out.binary_search(&channel.index).is_err()
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.tried.is_empty()
    }

    /// What the request finds at `channel`'s gate, where it lets it through; whether a place is free
    /// there is another question.
    pub(super) fn finds(
        &self,
        channel: &Channel,
        model: Option<&str>,
        stage: Stage,
        now: UnixMicros,
    ) -> Option<Sight> {
        let sight = channel.gate.look(now);
        let passes = match sight {
            Sight::Open => matches!(stage, Stage::Well | Stage::Open),
            Sight::ProbeDue => matches!(stage, Stage::Well | Stage::Held),
            Sight::BreakerOnly => stage == Stage::Held,
            Sight::Shut => false,
        };
        let fits =
            passes && self.may_try(channel) && (stage != Stage::Well || !channel.cools(model, now));
        fits.then_some(sight)
    }

    /// Takes a place at `channel`, where it lets the request through and has one.
    pub(super) fn gain(
        &mut self,
        channel: &Arc<Channel>,
        model: Option<&str>,
        stage: Stage,
        now: UnixMicros,
    ) -> Option<Gained> {
        self.finds(channel, model, stage, now)?;
        if let Some(seat) = channel.places.seat() {
            self.seated(channel, seat, model, stage, now)
        } else {
            self.full = true;
            None
        }
    }

    /// Lets the request through with the place that it has, unless the channel has changed.
    pub(super) fn seated(
        &mut self,
        channel: &Arc<Channel>,
        seat: Seat,
        model: Option<&str>,
        stage: Stage,
        now: UnixMicros,
    ) -> Option<Gained> {
        // Before the gate is looked at: what happens in between must not count for a later turn.
        let turn = channel.gate.turn();
        let pass = match self.finds(channel, model, stage, now)? {
            Sight::Open => Pass::Open,
            Sight::ProbeDue => match channel.gate.probe(now) {
                Some(ticket) => Pass::Probe(ticket),
                // Another request was faster.
                None if self.finds(channel, model, stage, now)? == Sight::BreakerOnly => {
                    Pass::LastResort
                }
                None => return None,
            },
            Sight::BreakerOnly => Pass::LastResort,
            Sight::Shut => return None,
        };
        self.tried.push(channel.index);
        Some(Gained {
            channel: Arc::clone(channel),
            pass,
            turn,
            seat,
        })
    }
}

/// One choice among candidates.
pub(super) struct Choice<'a> {
    pub(super) pool: &'a Pool,
    pub(super) candidates: &'a Candidates,
    pub(super) caller: u64,
    pub(super) now: UnixMicros,
}

impl Choice<'_> {
    /// A place at the channel that the strategy would have, of those that are well; the highest
    /// priority first.
    pub(super) fn well(&self, trying: &mut Trying) -> Option<Gained> {
        let mut tiers = self.candidates.tiers.iter();
        tiers.find_map(|tier| match self.pool.strategy {
            Strategy::Ordered => self.walk(tier, 0, trying),
            Strategy::RoundRobin => self.in_turn(tier, self.turn(trying), trying),
            Strategy::Weighted => self.weighted(tier, trying),
            Strategy::LeastInFlight => self.least_in_flight(tier, trying),
        })
    }

    /// A place at the first channel that `stage` lets through.
    pub(super) fn first(&self, stage: Stage, trying: &mut Trying) -> Option<Gained> {
        let mut channels = self.candidates.channels.iter();
        channels.find_map(|channel| trying.gain(channel, self.model(), stage, self.now))
    }

    fn model(&self) -> Option<&str> {
        self.candidates.model.as_deref()
    }

    /// Where this request begins; further tries go on from there.
    fn turn(&self, trying: &mut Trying) -> u64 {
        let rotation = &self.pool.rotation;
        *trying
            .turn
            .get_or_insert_with(|| rotation.next(self.caller, self.candidates.key))
    }

    fn gain(&self, at: usize, trying: &mut Trying) -> Option<Gained> {
        let channel = self.candidates.channels.get(at)?;
        trying.gain(channel, self.model(), Stage::Well, self.now)
    }

    /// The first that takes it, from `turn` on, round and round.
    fn walk(&self, tier: &Tier, turn: u64, trying: &mut Trying) -> Option<Gained> {
        tier.from(turn).find_map(|at| self.gain(at, trying))
    }

    /// The one whose turn it is; where it cannot, its turns go round among the others, so that no
    /// neighbour of a closed channel bears its load alone.
    fn in_turn(&self, tier: &Tier, turn: u64, trying: &mut Trying) -> Option<Gained> {
        let first = tier.from(turn).next()?;
        self.gain(first, trying).or_else(|| {
            let count = u64::try_from(tier.range.len()).unwrap_or(u64::MAX);
            let others = count.saturating_sub(1).max(1);
            let round = turn / count;
            self.walk(tier, turn.wrapping_add(1 + round % others), trying)
        })
    }

    /// By chance, in proportion to the weights of those that can take it. Drawing again while the
    /// one drawn cannot comes to that; where most cannot, they are counted out.
    fn weighted(&self, tier: &Tier, trying: &mut Trying) -> Option<Gained> {
        let draw = |weight| self.pool.chance.below(weight);
        for _ in 0..DRAWS {
            let gained = self.gain(tier.at(draw(tier.weight())), trying);
            if gained.is_some() {
                return gained;
            }
        }
        let able: Vec<usize> = tier
            .range
            .clone()
            .filter(|at| self.is_able(*at, trying))
            .collect();
        let weight = |at: &usize| u64::from(self.candidates.channels[*at].weight);
        let mut point = draw(able.iter().map(weight).sum());
        let drawn = able.iter().find(|at| match point.checked_sub(weight(at)) {
            Some(rest) => {
                point = rest;
                false
            }
            None => true,
        });
        // Another request may have been faster.
        drawn
            .and_then(|at| self.gain(*at, trying))
            .or_else(|| self.walk(tier, 0, trying))
    }

    /// The one with the fewest requests on their way; several such take turns.
    fn least_in_flight(&self, tier: &Tier, trying: &mut Trying) -> Option<Gained> {
        let turn = self.turn(trying);
        let taken = |at: &usize| self.candidates.channels[*at].places.taken();
        let able = |at: &usize| self.is_able(*at, trying);
        let count = tier.range.len();
        let least = if count <= ALL_COMPARED {
            tier.from(turn).filter(able).min_by_key(taken)
        } else {
            let length = u64::try_from(count).unwrap_or(u64::MAX);
            let drawn =
                (0..SAMPLE).filter_map(|_| tier.from(self.pool.chance.below(length)).next());
            drawn.filter(able).min_by_key(taken)
        };
        // Another request may have been faster, or nobody of the sample can.
        least
            .and_then(|at| self.gain(at, trying))
            .or_else(|| self.walk(tier, turn, trying))
    }

    /// Whether the channel would take the request just now.
    fn is_able(&self, at: usize, trying: &Trying) -> bool {
        let Some(channel) = self.candidates.channels.get(at) else {
            return false;
        };
        trying
            .finds(channel, self.model(), Stage::Well, self.now)
            .is_some()
            && channel.places.has_seat()
    }
}
