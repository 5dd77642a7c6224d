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
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            answered: VecDeque::new(),
            on_their_way: 0,
        }
    }

    /// How long until one more may go, with `more` others before it; `None` while that depends on an
    /// answer.
    fn wait(&mut self, now: Instant, more: u32) -> Option<Duration> {
        let per = self.rate.per;
        while let Some(first) = self.answered.front()
            && now.duration_since(*first) >= per
        {
            self.answered.pop_front();
        }
        let room = self.rate.messages.saturating_sub(self.on_their_way);
        let room = room.checked_sub(more).filter(|room| *room > 0)?;
        let over = (self.answered.len() + 1).saturating_sub(room as usize);
        let Some(index) = over.checked_sub(1) else {
            return Some(Duration::ZERO);
        };
        let frees = self.answered.get(index)?;
        Some((*frees + per).saturating_duration_since(now))
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
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<HashMap<u64, Arc<Mutex<Vec<Meter>>>>>);

/// The limits of one receiver.
#[derive(Debug)]
pub(super) struct Pacer {
    own: Vec<Meter>,
    together: Option<Arc<Mutex<Vec<Meter>>>>,
}

/// From one look at limits that wait for somebody's answer to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Pacer {
    pub(super) fn new(pace: &Pace, shared: &Shared) -> Self {
        let together = pace.shared.map(|by| {
            let mut shared = lock(&shared.0);
            let meters = shared.entry(by).or_insert_with(|| {
                let meters = pace.together.iter().copied().map(Meter::new);
                Arc::new(Mutex::new(meters.collect()))
            });
            Arc::clone(meters)
        });
        Self {
            own: pace.own.iter().copied().map(Meter::new).collect(),
            together,
        }
    }

    /// How long until a message may go; nothing when it may now, which then counts as on its way until
    /// [`answered`](Self::answered).
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let own = self.own.iter_mut();
        let mut together = self.together.as_ref().map(|meters| lock(meters));
        let shared = together.iter_mut().flat_map(|meters| meters.iter_mut());
        let meters: Vec<&mut Meter> = own.chain(shared).collect();
        let mut longest = Duration::ZERO;
        let mut meters = meters;
        for meter in &mut meters {
            longest = longest.max(meter.wait(now, 0).unwrap_or(LOOK_AGAIN));
        }
        if !longest.is_zero() {
            return Err(longest);
        }
        for meter in meters {
            meter.on_their_way += 1;
        }
        Ok(())
    }

    /// Whether another message may follow at once.
    pub(super) fn has_room_for_two(&mut self, now: Instant) -> bool {
        let mut own = self.own.iter_mut();
        let free = |meter: &mut Meter| meter.wait(now, 1) == Some(Duration::ZERO);
        let mut together = self.together.as_ref().map(|meters| lock(meters));
        let mut shared = together.iter_mut().flat_map(|meters| meters.iter_mut());
        own.all(free) && shared.all(free)
    }

    /// The receiver answered, or nobody waits for it any more.
    pub(super) fn answered(&mut self, now: Instant) {
        for meter in &mut self.own {
            meter.answered(now);
        }
        if let Some(together) = &self.together {
            for meter in lock(together).iter_mut() {
                meter.answered(now);
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let mut pacer = Pacer::new(&pace(vec![rate(2, 60)]), &Shared::default());
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(pacer.has_room_for_two(at(0)));
        assert_eq!(pacer.take(at(0)), Ok(()));
        assert!(!pacer.has_room_for_two(at(0)));
        assert_eq!(pacer.take(at(0)), Ok(()));
        assert_eq!(pacer.take(at(0)), Err(LOOK_AGAIN));
        pacer.answered(at(5));
        pacer.answered(at(9));
        assert_eq!(pacer.take(at(9)), Err(Duration::from_secs(56)));
        assert_eq!(pacer.take(at(65)), Ok(()));
        assert_eq!(pacer.take(at(65)), Err(Duration::from_secs(4)));
    }

    #[test]
    fn two_chats_of_one_bot_share_its_limit() {
        let shared = Shared::default();
        let bot = Pace {
            own: vec![rate(10, 1)],
            shared: Some(7),
            together: vec![rate(1, 1)],
        };
        let (mut one, mut other) = (Pacer::new(&bot, &shared), Pacer::new(&bot, &shared));
        let now = Instant::now();
        assert_eq!(one.take(now), Ok(()));
        one.answered(now);
        assert_eq!(other.take(now), Err(Duration::from_secs(1)));
        let mut stranger = Pacer::new(
            &Pace {
                shared: Some(8),
                ..bot
            },
            &shared,
        );
        assert_eq!(stranger.take(now), Ok(()));
    }

    proptest! {
        /// However long answers take, a receiver that counts a message at any moment between its being
        /// sent and answered never counts more than it allows.
        #[test]
        fn no_time_sees_more_than_is_allowed(
            steps in prop::collection::vec((0_u64..3_000, 0_u64..900, 0_u64..=100), 1..200),
        ) {
            let limits = [rate(3, 2), rate(20, 60)];
            let mut pacer = Pacer::new(&pace(limits.to_vec()), &Shared::default());
            let begin = Instant::now();
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
