//! How fast a bot may send, as published: about one message a second in a chat, short bursts aside, 20
//! a minute in a group, and 30 a second in all.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Refusal;

/// As many messages, in as long.
const BURST: (usize, Duration) = (5, Duration::from_secs(5));
const GROUP: (usize, Duration) = (20, Duration::from_secs(60));
const ALL: (usize, Duration) = (30, Duration::from_secs(1));

/// What was sent in the last minute.
#[derive(Debug, Default)]
pub(super) struct Limits {
    sent: VecDeque<(Instant, i64)>,
}

impl Limits {
    /// Takes a message, or says how long to wait.
    pub(super) fn take(&mut self, chat: i64, now: Instant) -> Result<(), Refusal> {
        self.sent
            .retain(|(at, _)| now.duration_since(*at) < GROUP.1);
        let own = |other: i64| other == chat;
        self.check(BURST, own, now)?;
        if chat < 0 {
            self.check(GROUP, own, now)?;
        }
        self.check(ALL, |_| true, now)?;
        self.sent.push_back((now, chat));
        Ok(())
    }

    fn check(
        &self,
        (most, per): (usize, Duration),
        counts: impl Fn(i64) -> bool,
        now: Instant,
    ) -> Result<(), Refusal> {
        let recent = |at: Instant| now.duration_since(at) < per;
        let counted: Vec<Instant> = self
            .sent
            .iter()
            .filter(|(at, chat)| recent(*at) && counts(*chat))
            .map(|(at, _)| *at)
            .collect();
        if counted.len() < most {
            return Ok(());
        }
        let free_at = counted[counted.len() - most] + per;
        Err(refusal(free_at.duration_since(now).as_secs() + 1))
    }
}

/// What is answered to who has to wait.
pub(super) fn refusal(seconds: u64) -> Refusal {
    (
        429,
        format!("Too Many Requests: retry after {seconds}"),
        json!({"retry_after": seconds}),
    )
}
