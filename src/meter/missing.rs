//! Requests whose usage is missing, by API and reason.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::MissingReason;
use crate::record::Api;

/// Every reason there is, so that counting is one addition. What was found in an answer, then what
/// happens to those that never get one, and last what stands for any other word.
const REASONS: [&str; 10] = [
    MissingReason::NoUsageInBody.as_str(),
    MissingReason::Truncated.as_str(),
    MissingReason::Malformed.as_str(),
    MissingReason::Undecodable.as_str(),
    MissingReason::TooLarge.as_str(),
    MissingReason::Failed.as_str(),
    MissingReason::Pending.as_str(),
    MissingReason::NotRead.as_str(),
    "unanswered",
    "unknown",
];

const UNKNOWN: usize = REASONS.len() - 1;

/// One counter for each API and reason.
#[derive(Debug)]
pub(super) struct MissingUsage([[AtomicU64; REASONS.len()]; Api::ALL.len()]);

impl MissingUsage {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| {
            std::array::from_fn(|_| AtomicU64::new(0))
        }))
    }

    pub(super) fn count(&self, api: Api, reason: Option<&str>) {
        let reason = REASONS
            .iter()
            .position(|&known| Some(known) == reason)
            .unwrap_or(UNKNOWN);
        self.0[api as usize][reason].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted at all, in a stable order.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Api, &'static str, u64)> + '_ {
        Api::ALL.iter().flat_map(move |&api| {
            REASONS
                .iter()
                .zip(&self.0[api as usize])
                .filter_map(move |(&reason, count)| {
                    let count = count.load(Ordering::Relaxed);
                    (count > 0).then_some((api, reason, count))
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_under_its_own_name_and_any_other_word_as_unknown() {
        let missing = MissingUsage::new();
        for reason in REASONS {
            missing.count(Api::Audio, Some(reason));
        }
        missing.count(Api::Audio, Some("a word of tomorrow"));
        missing.count(Api::Chat, None);
        let expected: Vec<_> = [(Api::Chat, "unknown", 1)]
            .into_iter()
            .chain(REASONS.map(|reason| (Api::Audio, reason, 1 + u64::from(reason == "unknown"))))
            .collect();
        assert_eq!(missing.counts().collect::<Vec<_>>(), expected);
    }
}
