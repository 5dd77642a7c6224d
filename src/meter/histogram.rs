//! Fixed-bucket histograms of atomics. Bounds are integers in the unit of what is observed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Request duration, µs: OpenTelemetry's GenAI buckets 0.01·2ⁿ to 81.92 s, with three more for
/// reasoning models.
pub(super) const DURATION_US: &[u64] = &[
    10_000,
    20_000,
    40_000,
    80_000,
    160_000,
    320_000,
    640_000,
    1_280_000,
    2_560_000,
    5_120_000,
    10_240_000,
    20_480_000,
    40_960_000,
    81_920_000,
    163_840_000,
    327_680_000,
    655_360_000,
];

/// Time to first token, µs: OpenTelemetry's GenAI buckets, with 20, 40 and 80 s.
pub(super) const FIRST_TOKEN_US: &[u64] = &[
    1_000, 5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 250_000, 500_000, 750_000,
    1_000_000, 2_500_000, 5_000_000, 7_500_000, 10_000_000, 20_000_000, 40_000_000, 80_000_000,
];

/// Time per output token, µs: OpenTelemetry's GenAI buckets, with 1 ms for the fast.
pub(super) const PER_TOKEN_US: &[u64] = &[
    1_000, 10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000, 400_000, 500_000,
    750_000, 1_000_000, 2_500_000,
];

/// One phase of a request, µs: from tens of microseconds (admission) to minutes (a wait).
pub(super) const PHASE_US: &[u64] = &[
    50,
    100,
    250,
    1_000,
    5_000,
    25_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// Tollgate's own time in a request, µs.
pub(super) const OVERHEAD_US: &[u64] = &[
    10, 25, 50, 75, 100, 150, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000,
];

/// A histogram over fixed bounds.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [u64],
    /// One per bound, and one for what lies beyond the last; not cumulative.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram held at one moment.
pub(super) struct Snapshot {
    /// (upper bound, number of observations up to it), the last without a bound left out.
    pub(super) cumulative: Vec<(u64, u64)>,
    /// All observations.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum: u64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, value: u64) {
        // An observation equal to a bound belongs into its bucket: Prometheus' `le`.
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut running = 0;
        let mut cumulative = Vec::with_capacity(self.bounds.len());
        for (index, count) in self.counts.iter().enumerate() {
            running += count.load(Ordering::Relaxed);
            if let Some(&bound) = self.bounds.get(index) {
                cumulative.push((bound, running));
            }
        }
        Snapshot {
            cumulative,
            // From the same loads as the buckets, so that `+Inf` equals the count.
            count: running,
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_counts_cumulative() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [1, 10, 11, 20, 21] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.cumulative, [(10, 2), (20, 4)]);
        assert_eq!((snapshot.count, snapshot.sum), (5, 63));
    }

    #[test]
    fn every_bound_list_rises() {
        for bounds in [
            DURATION_US,
            FIRST_TOKEN_US,
            PER_TOKEN_US,
            PHASE_US,
            OVERHEAD_US,
        ] {
            assert!(bounds.is_sorted_by(|left, right| left < right));
        }
    }
}
