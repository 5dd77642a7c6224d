//! Keeps to what receivers publish of how fast they may be told.
//!
//! A limit of so many messages in so long holds wherever that time begins, so the moments of the last
//! ones are kept. They are the moments at which the receiver had answered: it counts a message some time
//! before that, and the next after it was sent, so that it never sees more than this side.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::notify::{Pace, Rate};

/// One limit and the messages that count towards it.
#[derive(Debug)]
struct Meter {
    rate: Rate,
    answered: VecDeque<Instant>,
    on_their_way: u32,
}

impl Meter {
    /// Nobody knows what an earlier run sent just before `begin`. So it is as if all that may be sent in
    /// one period had been, evenly: one message may go at once, and the next ones one by one until a
    /// period has passed.
    fn new(rate: Rate, begin: Instant) -> Self {
        let oldest = begin.checked_sub(rate.per);
        let apart = rate.per / rate.messages.max(1);
        let answered = (0..rate.messages).filter_map(|index| Some(oldest? + apart * index));
        Self {
            rate,
            answered: answered.collect(),
            on_their_way: 0,
        }
    }

    /// How long until one more may go; `None` while that depends on an answer.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        let per = self.rate.per;
        while let Some(first) = self.answered.front()
            && now.duration_since(*first) >= per
        {
            self.answered.pop_front();
        }
        let room = self.rate.messages.saturating_sub(self.on_their_way);
        let room = Some(room).filter(|room| *room > 0)?;
        let over = (self.answered.len() + 1).saturating_sub(room as usize);
        let Some(index) = over.checked_sub(1) else {
            return Some(Duration::ZERO);
        };
        let frees = self.answered.get(index)?;
        Some((*frees + per).saturating_duration_since(now))
    }

    /// How long after this moment another one may go, if one goes now and is answered at once.
    fn wait_after_next(&self, now: Instant) -> Duration {
        let counted = self.answered.len() + self.on_their_way as usize;
        let over = (counted + 2).saturating_sub(self.rate.messages as usize);
        let Some(index) = over.checked_sub(1) else {
            return Duration::ZERO;
        };
        let frees = self.answered.get(index).copied().unwrap_or(now);
        (frees + self.rate.per).saturating_duration_since(now)
    }

    fn answered(&mut self, now: Instant) {
        self.on_their_way = self.on_their_way.saturating_sub(1);
        self.answered.push_back(now);
        while self.answered.len() > self.rate.messages as usize {
            self.answered.pop_front();
        }
    }
}

/// The limits that several receivers share, by what they go by.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<HashMap<u64, Vec<Meter>>>>);

/// The limits of one receiver.
#[derive(Debug)]
pub(super) struct Pacer {
    own: Vec<Meter>,
    /// What the shared ones go by.
    by: Vec<u64>,
    shared: Shared,
}

/// From one look at limits that wait for somebody's answer to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Pacer {
    /// The limits of a receiver, from `begin` on.
    pub(super) fn new(pace: &Pace, shared: &Shared, begin: Instant) -> Self {
        let meters = |rates: &[Rate]| {
            let meters = rates.iter().map(|rate| Meter::new(*rate, begin));
            meters.collect::<Vec<_>>()
        };
        let mut known = shared.lock();
        for limits in &pace.shared {
            let new = || meters(&limits.rates);
            known.entry(limits.by).or_insert_with(new);
        }
        drop(known);
        Self {
            own: meters(&pace.own),
            by: pace.shared.iter().map(|limits| limits.by).collect(),
            shared: shared.clone(),
        }
    }

    /// How long until a message may go; nothing when it may now, which then counts as on its way until
    /// [`answered`](Self::answered).
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.with(|meters| {
            let waits = meters.iter_mut();
            let waits = waits.map(|meter| meter.wait(now).unwrap_or(LOOK_AGAIN));
            let longest = waits.max().unwrap_or_default();
            if !longest.is_zero() {
                return Err(longest);
            }
            for meter in meters {
                meter.on_their_way += 1;
            }
            Ok(())
        })
    }

    /// How long after this moment another message may follow one that goes now.
    pub(super) fn wait_after_next(&mut self, now: Instant) -> Duration {
        self.with(|meters| {
            let waits = meters.iter().map(|meter| meter.wait_after_next(now));
            waits.max().unwrap_or_default()
        })
    }

    /// The receiver answered, or nobody waits for it any more.
    pub(super) fn answered(&mut self, now: Instant) {
        self.with(|meters| {
            for meter in meters {
                meter.answered(now);
            }
        });
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut [&mut Meter]) -> T) -> T {
        let Self { own, by, shared } = self;
        let mut shared = shared.lock();
        let shared = shared.iter_mut().filter(|(known, _)| by.contains(known));
        let shared = shared.flat_map(|(_, meters)| meters);
        work(&mut own.iter_mut().chain(shared).collect::<Vec<_>>())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Vec<Meter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::SharedRates;
    use proptest::prelude::*;

    const fn rate(messages: u32, seconds: u64) -> Rate {
        Rate {
            messages,
            per: Duration::from_secs(seconds),
        }
    }

    fn pace(own: Vec<Rate>) -> Pace {
        Pace {
            own,
            ..Pace::default()
        }
    }

    #[test]
    fn what_is_on_its_way_counts_and_what_was_answered_counts_for_its_time() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut pacer = Pacer::new(&pace(vec![rate(2, 60)]), &Shared::default(), begin);
        assert_eq!(pacer.wait_after_next(at(60)), Duration::ZERO);
        assert_eq!(pacer.take(at(60)), Ok(()));
        assert_eq!(pacer.wait_after_next(at(60)), Duration::from_secs(60));
        assert_eq!(pacer.take(at(60)), Ok(()));
        assert_eq!(pacer.take(at(60)), Err(LOOK_AGAIN));
        pacer.answered(at(65));
        pacer.answered(at(69));
        assert_eq!(pacer.take(at(69)), Err(Duration::from_secs(56)));
        assert_eq!(pacer.wait_after_next(at(125)), Duration::from_secs(4));
        assert_eq!(pacer.take(at(125)), Ok(()));
        assert_eq!(pacer.take(at(125)), Err(Duration::from_secs(4)));
    }

    #[test]
    fn a_start_begins_gently() {
        let begin = Instant::now();
        let mut pacer = Pacer::new(&pace(vec![rate(20, 60)]), &Shared::default(), begin);
        let (mut now, mut sent) = (begin, Vec::new());
        while now < begin + Duration::from_secs(120) {
            match pacer.take(now) {
                Ok(()) => {
                    pacer.answered(now);
                    sent.push(now.duration_since(begin).as_secs());
                }
                Err(wait) => now += wait,
            }
        }
        let evenly: Vec<u64> = (0..40).map(|index| index * 3).collect();
        assert_eq!(sent, evenly);
    }

    #[test]
    fn two_chats_of_one_bot_share_its_limit_and_two_receivers_of_one_chat_the_chats() {
        let shared = Shared::default();
        let of = |by, rates| SharedRates { by, rates };
        let chat = |by| Pace {
            own: Vec::new(),
            shared: vec![of(7, vec![rate(2, 1)]), of(by, vec![rate(1, 1)])],
        };
        let now = Instant::now();
        let mut pacers =
            [chat(1), chat(1), chat(2), chat(3)].map(|pace| Pacer::new(&pace, &shared, now));
        let now = now + Duration::from_secs(1);
        let taken = pacers.each_mut().map(|pacer| {
            let taken = pacer.take(now);
            if taken.is_ok() {
                pacer.answered(now);
            }
            taken.is_ok()
        });
        assert_eq!(taken, [true, false, true, false]);
        let another_bot = Pace {
            shared: vec![of(8, vec![rate(2, 1)])],
            ..Pace::default()
        };
        assert_eq!(Pacer::new(&another_bot, &shared, now).take(now), Ok(()));
    }

    proptest! {
        /// However long answers take, a receiver that counts a message at any moment between its being
        /// sent and answered never counts more than it allows.
        #[test]
        fn no_time_sees_more_than_is_allowed(
            steps in prop::collection::vec((0_u64..3_000, 0_u64..900, 0_u64..=100), 1..200),
        ) {
            let limits = [rate(3, 2), rate(20, 60)];
            let begin = Instant::now();
            let mut pacer = Pacer::new(&pace(limits.to_vec()), &Shared::default(), begin);
            let mut now = begin;
            let mut counted: Vec<Instant> = Vec::new();
            for (idle, takes, when) in steps {
                now += Duration::from_millis(idle);
                while let Err(wait) = pacer.take(now) {
                    now += wait;
                }
                counted.push(now + Duration::from_millis(takes * when / 100));
                now += Duration::from_millis(takes);
                pacer.answered(now);
            }
            for limit in limits {
                for (index, first) in counted.iter().enumerate() {
                    let within = counted[index..]
                        .iter()
                        .take_while(|moment| moment.duration_since(*first) < limit.per);
                    prop_assert!(within.count() <= limit.messages as usize);
                }
            }
        }
    }
}
