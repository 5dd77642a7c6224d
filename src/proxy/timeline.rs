//! When what happened to a request, and the phases that follow from it.

use std::time::{Duration, Instant};

use crate::clock::micros;
use crate::record::{Phase, Phases};

/// Moments of a request's life; `None` where it was not reached.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) started: Instant,
    /// Waiting for the client's body began.
    reading: Option<Instant>,
    /// The body, as far as it is read before an upstream is chosen, was there.
    arrived: Option<Instant>,
    /// The body was understood as well.
    body_read: Option<Instant>,
    /// Waiting for a place at a channel, before the first try.
    queued: Duration,
    /// The first try began.
    first_try: Option<Instant>,
    /// The last try began.
    connecting: Option<Instant>,
    connected: Option<Instant>,
    /// The last byte of the request went to the upstream.
    sent: Option<Instant>,
    header: Option<Instant>,
    first_byte: Option<Instant>,
    first_token: Option<Instant>,
    last_byte: Option<Instant>,
    /// Time spent in Tollgate's own filters while the answer streamed.
    in_filters: Duration,
}

impl Timeline {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            reading: None,
            arrived: None,
            body_read: None,
            queued: Duration::ZERO,
            first_try: None,
            connecting: None,
            connected: None,
            sent: None,
            header: None,
            first_byte: None,
            first_token: None,
            last_byte: None,
            in_filters: Duration::ZERO,
        }
    }

    pub(super) fn reading(&mut self, now: Instant) {
        self.reading = Some(now);
    }

    pub(super) fn arrived(&mut self, now: Instant) {
        self.arrived = Some(now);
    }

    pub(super) fn body_read(&mut self, now: Instant) {
        self.body_read = Some(now);
    }

    /// The request waited for a place at a channel.
    pub(super) fn queued(&mut self, waited: Duration) {
        self.queued += waited;
    }

    /// A try begins; what was marked of the one before it is forgotten.
    pub(super) fn try_begins(&mut self, now: Instant) {
        self.first_try.get_or_insert(now);
        self.connecting = Some(now);
        self.connected = None;
        self.sent = None;
        self.header = None;
        self.first_byte = None;
        self.first_token = None;
        self.last_byte = None;
    }

    pub(super) fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
        self.sent = Some(now);
    }

    pub(super) fn request_sent(&mut self, now: Instant) {
        if self.header.is_none() {
            self.sent = Some(now);
        }
    }

    pub(super) fn header(&mut self, now: Instant) {
        self.header = Some(now);
    }

    pub(super) fn body_byte(&mut self, now: Instant) {
        self.first_byte.get_or_insert(now);
        self.last_byte = Some(now);
    }

    pub(super) fn first_token(&mut self, now: Instant) {
        self.first_token.get_or_insert(now);
    }

    pub(super) fn in_filters(&mut self, spent: Duration) {
        self.in_filters += spent;
    }

    /// Microseconds until the present try had a connection.
    pub(super) fn connect_us(&self) -> Option<u64> {
        between(self.connecting, self.connected)
    }

    /// Microseconds from the request sent to the answer's header.
    pub(super) fn wait_us(&self) -> Option<u64> {
        between(self.sent, self.header)
    }

    /// The same, while the request is on its way.
    pub(super) fn wait(&self) -> Option<Duration> {
        Some(self.header?.saturating_duration_since(self.sent?))
    }

    /// Time since the request went out whole.
    pub(super) fn since_sent(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.sent?))
    }

    /// The phases of a request that ended at `now`.
    pub(super) fn phases(&self, now: Instant) -> Phases {
        let mut phases = Phases::default();
        phases[Phase::ReadRequest] = between(Some(self.started), self.body_read);
        phases[Phase::Admit] = between(self.body_read, self.first_try);
        phases[Phase::Connect] = self.connect_us();
        phases[Phase::Wait] = self.wait_us();
        phases[Phase::FirstByte] = between(self.header, self.first_byte);
        phases[Phase::FirstToken] = between(Some(self.started), self.first_token);
        phases[Phase::Stream] = between(self.first_byte, self.last_byte);
        phases[Phase::Total] = between(Some(self.started), Some(now));
        phases[Phase::Overhead] = Some(micros(self.own_time(now)));
        phases
    }

    /// Tollgate's own time: everything before the first try but the waits for the body and for a
    /// place at a channel, and the filters of the answer. From the first try on, all else is waiting for one side or the other,
    /// whichever phase the request ended in.
    fn own_time(&self, now: Instant) -> Duration {
        let admitted = self.first_try.unwrap_or(now);
        let before = admitted.saturating_duration_since(self.started);
        let waited = self.reading.map_or(Duration::ZERO, |from| {
            self.arrived
                .unwrap_or(admitted)
                .saturating_duration_since(from)
        });
        before.saturating_sub(waited + self.queued) + self.in_filters
    }
}

fn between(from: Option<Instant>, to: Option<Instant>) -> Option<u64> {
    Some(micros(to?.saturating_duration_since(from?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn phases_are_the_time_between_their_marks() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start);
        timeline.reading(at(start, 1));
        timeline.arrived(at(start, 4));
        timeline.body_read(at(start, 5));
        timeline.try_begins(at(start, 7));
        timeline.connected(at(start, 10));
        timeline.request_sent(at(start, 14));
        timeline.header(at(start, 114));
        timeline.body_byte(at(start, 119));
        timeline.first_token(at(start, 119));
        timeline.body_byte(at(start, 519));
        timeline.in_filters(Duration::from_millis(4));
        let phases: Vec<_> = timeline.phases(at(start, 524)).iter().collect();
        assert_eq!(
            phases,
            [
                (Phase::ReadRequest, 5_000),
                (Phase::Admit, 2_000),
                (Phase::Connect, 3_000),
                (Phase::Wait, 100_000),
                (Phase::FirstByte, 5_000),
                (Phase::FirstToken, 119_000),
                (Phase::Stream, 400_000),
                (Phase::Total, 524_000),
                // 7 until the first try, less 3 of waiting for the body, and 4 in filters.
                (Phase::Overhead, 8_000),
            ]
        );
    }

    /// Wherever a request stalls for 300 s and ends, the stall is no overhead.
    #[test]
    fn a_stall_is_never_overhead() {
        type Marks = fn(&mut Timeline, Instant);
        let upto: [Marks; 6] = [
            |timeline, start| timeline.reading(start),
            |timeline, start| timeline.arrived(at(start, 1)),
            |timeline, start| timeline.try_begins(at(start, 2)),
            |timeline, start| timeline.connected(at(start, 3)),
            |timeline, start| timeline.header(at(start, 4)),
            |timeline, start| timeline.body_byte(at(start, 5)),
        ];
        for reached in [1, 3, 4, 5, 6] {
            let start = Instant::now();
            let mut timeline = Timeline::new(start);
            for mark in &upto[..reached] {
                mark(&mut timeline, start);
            }
            let overhead_us = timeline.phases(at(start, 300_000))[Phase::Overhead];
            assert!(overhead_us < Some(2_000), "{reached}: {overhead_us:?}");
        }
    }

    #[test]
    fn earlier_tries_are_waiting_and_no_part_of_the_admission() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start);
        timeline.body_read(at(start, 1));
        timeline.try_begins(at(start, 2));
        timeline.connected(at(start, 3));
        timeline.header(at(start, 10_000));
        timeline.body_byte(at(start, 10_001));
        timeline.first_token(at(start, 10_001));
        timeline.try_begins(at(start, 10_002));
        timeline.connected(at(start, 10_003));
        timeline.header(at(start, 10_004));
        let phases = timeline.phases(at(start, 10_005));
        assert_eq!(phases[Phase::Admit], Some(1_000));
        assert_eq!(phases[Phase::Connect], Some(1_000));
        assert_eq!(phases[Phase::Overhead], Some(2_000));
        assert_eq!(phases[Phase::Wait], Some(1_000));
        for unreached in [Phase::FirstByte, Phase::FirstToken, Phase::Stream] {
            assert_eq!(phases[unreached], None);
        }
    }

    #[test]
    fn waiting_for_a_place_is_no_overhead() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start);
        timeline.body_read(at(start, 1));
        timeline.queued(Duration::from_secs(4));
        timeline.try_begins(at(start, 4_002));
        let phases = timeline.phases(at(start, 4_003));
        assert_eq!(phases[Phase::Admit], Some(4_001_000));
        assert_eq!(phases[Phase::Overhead], Some(2_000));
    }
}
