//! The account of one request, from its header to its end.
//!
//! One [`Recorder`] owns everything that will be said of a request. It is closed exactly once:
//! by the phase that sees the end, or, when nobody did (a panic, a runtime that is shut down), by
//! its drop. Closing prices the usage, appends the end to the journal and counts it in the meter;
//! it happens before the last byte leaves, so that a request whose end a client saw is never lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::{UnixMicros, micros};
use crate::ledger::Journal;
use crate::meter::{InFlight, Meter};
use crate::pricing::PriceTable;
use crate::protocol::{MissingReason, Observed};
use crate::record::{
    Admission, Api, Attempt, ErrorSource, Outcome, Phase, Phases, RequestId, RequestRecord, Source,
    Usage, UsageSource,
};

/// Where a closed account goes.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) journal: Arc<Journal>,
    pub(super) meter: Arc<Meter>,
    pub(super) prices: Arc<PriceTable>,
}

/// How a request, or one try, ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) source: Option<ErrorSource>,
    pub(super) code: Option<Arc<str>>,
    pub(super) message: Option<Arc<str>>,
}

impl Ending {
    /// The answer reached the client whole.
    pub(super) const OK: Self = Self::bare(Outcome::Ok, None);

    pub(super) const fn bare(outcome: Outcome, source: Option<ErrorSource>) -> Self {
        Self {
            outcome,
            source,
            code: None,
            message: None,
        }
    }
}

/// Moments of a request's life; `None` where it was not reached.
#[derive(Debug, Default)]
struct Marks {
    body_read: Option<Instant>,
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
    /// Connects of earlier tries, all wait.
    earlier_connects: Duration,
}

/// A try at an upstream that has not ended.
#[derive(Debug)]
struct OpenAttempt {
    channel: Arc<str>,
    started_at: UnixMicros,
    status: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No upstream was involved yet.
    Open,
    /// The journal knows of it.
    Admitted,
    Closed,
}

/// Owns the account of one request.
#[derive(Debug)]
pub(super) struct Recorder {
    sinks: Arc<Sinks>,
    started: Instant,
    record: RequestRecord,
    missing_reason: Option<&'static str>,
    marks: Marks,
    attempt: Option<OpenAttempt>,
    in_flight: Option<InFlight>,
    state: State,
}

impl Recorder {
    /// Opens the account of a request whose header has just arrived.
    pub(super) fn open(sinks: Arc<Sinks>, started_at: UnixMicros, started: Instant) -> Self {
        let empty: Arc<str> = Arc::default();
        Self {
            sinks,
            started,
            record: RequestRecord {
                admission: Admission {
                    id: RequestId::generate_at(started_at),
                    started_at,
                    channel: None,
                    key: None,
                    api: Api::Other,
                    method: Arc::clone(&empty),
                    path: empty,
                    requested_model: None,
                    stream: None,
                    request_bytes: 0,
                    session: None,
                    end_user: None,
                    tags: std::collections::BTreeMap::new(),
                },
                served_model: None,
                service_tier: None,
                status: None,
                outcome: Outcome::Internal,
                error_source: None,
                error_code: None,
                error_message: None,
                attempts: Vec::new(),
                usage: Usage::absent(UsageSource::None),
                cost: None,
                phases: Phases::default(),
                response_bytes: 0,
                upstream_request_id: None,
                source: Source::Proxy,
            },
            missing_reason: None,
            marks: Marks::default(),
            attempt: None,
            in_flight: None,
            state: State::Open,
        }
    }

    pub(super) fn id(&self) -> RequestId {
        self.record.admission.id
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// What is known of the request itself, to be filled in as it becomes known.
    pub(super) fn admission(&mut self) -> &mut Admission {
        &mut self.record.admission
    }

    /// The body, as far as it is read before an upstream is chosen, is read.
    pub(super) fn body_read(&mut self, now: Instant) {
        self.marks.body_read = Some(now);
    }

    /// The request goes to `channel`: from here on the journal knows of it.
    pub(super) fn admit(&mut self, channel: &Arc<str>) {
        self.record.admission.channel = Some(Arc::clone(channel));
        self.in_flight = Some(self.sinks.meter.in_flight(channel));
        self.sinks.journal.admit(&self.record.admission);
        self.state = State::Admitted;
    }

    /// A try at `channel` begins.
    pub(super) fn attempt_begins(&mut self, channel: &Arc<str>, now: Instant) {
        if let (Some(from), Some(to)) = (self.marks.connecting, self.marks.connected) {
            self.marks.earlier_connects += to.saturating_duration_since(from);
        }
        self.marks.connecting = Some(now);
        self.marks.connected = None;
        self.marks.sent = None;
        self.marks.header = None;
        self.attempt = Some(OpenAttempt {
            channel: Arc::clone(channel),
            started_at: self.record.admission.started_at.plus(now - self.started),
            status: None,
        });
    }

    /// The try has a connection.
    pub(super) fn connected(&mut self, now: Instant) {
        self.marks.connected = Some(now);
        self.marks.sent = Some(now);
    }

    /// The whole request body went out.
    pub(super) fn request_sent(&mut self, now: Instant) {
        if self.marks.header.is_none() {
            self.marks.sent = Some(now);
        }
    }

    /// The upstream answered with `status`.
    pub(super) fn header_received(&mut self, status: u16, now: Instant) {
        self.marks.header = Some(now);
        if let Some(attempt) = &mut self.attempt {
            attempt.status = Some(status);
        }
    }

    /// The status that goes to the client.
    pub(super) fn answered(&mut self, status: u16) {
        self.record.status = Some(status);
    }

    /// The provider's id of the request.
    pub(super) fn upstream_request_id(&mut self, id: Option<Box<str>>) {
        self.record.upstream_request_id = id.map(Arc::from);
    }

    /// A piece of the answer's body arrived at `now`.
    pub(super) fn body_byte(&mut self, now: Instant) {
        if self.marks.first_byte.is_none() {
            self.marks.first_byte = Some(now);
        }
        self.marks.last_byte = Some(now);
    }

    /// The first content-bearing delta arrived.
    pub(super) fn first_token(&mut self, now: Instant) {
        self.marks.first_token.get_or_insert(now);
    }

    /// `bytes` of the answer's body go to the client, after `spent` in Tollgate's own filter.
    pub(super) fn forwarded(&mut self, bytes: usize, spent: Duration) {
        self.record.response_bytes += bytes as u64;
        self.marks.in_filters += spent;
    }

    /// What the answer said of itself.
    pub(super) fn observed(&mut self, observed: &Observed) {
        self.record.usage = observed.usage_or_absent();
        self.record.served_model = observed.served_model.as_deref().map(Arc::from);
        self.record.service_tier = observed.service_tier.as_deref().map(Arc::from);
        self.missing_reason = observed.missing_reason.map(MissingReason::as_str);
    }

    /// The upstream has the request and nobody heard its answer: what it bills is unknown.
    pub(super) fn unanswered(&mut self) {
        self.record.usage = Usage::absent(UsageSource::Missing);
        self.missing_reason = Some("unanswered");
    }

    /// The try in progress ends without ending the request.
    pub(super) fn attempt_ends(&mut self, ending: &Ending) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        let connect_us = elapsed_us(self.marks.connecting, self.marks.connected);
        self.record.attempts.push(Attempt {
            channel: attempt.channel,
            started_at: attempt.started_at,
            outcome: ending.outcome,
            status: attempt.status,
            error_code: ending.code.clone(),
            connect_us,
            wait_us: elapsed_us(self.marks.sent, self.marks.header),
        });
    }

    /// Closes the account. Only the first call does anything.
    pub(super) fn close(&mut self, ending: Ending, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        self.attempt_ends(&ending);
        self.record.phases = self.phases(now);
        self.record.outcome = ending.outcome;
        self.record.error_source = ending.source;
        self.record.error_code = ending.code;
        self.record.error_message = ending.message;
        let model = self.record.served_model.as_deref().or(self
            .record
            .admission
            .requested_model
            .as_deref());
        if let Some(model) = model {
            self.record.cost = self.sinks.prices.price(
                model,
                self.record.service_tier.as_deref(),
                &self.record.usage,
                self.record.admission.started_at,
            );
        }
        // The journal first: what a crash after this line loses is a count in memory.
        self.sinks.journal.end(&self.record);
        let in_flight = self.in_flight.take();
        self.sinks
            .meter
            .observe(&self.record, self.missing_reason, in_flight.as_ref());
        self.state = State::Closed;
    }

    fn phases(&self, now: Instant) -> Phases {
        let marks = &self.marks;
        let mut phases = Phases::default();
        phases[Phase::ReadRequest] = elapsed_us(Some(self.started), marks.body_read);
        let admitting = marks.body_read.unwrap_or(self.started);
        phases[Phase::Admit] = elapsed_us(Some(admitting), marks.connecting);
        phases[Phase::Connect] = elapsed_us(marks.connecting, marks.connected);
        phases[Phase::Wait] = elapsed_us(marks.sent, marks.header);
        phases[Phase::FirstByte] = elapsed_us(marks.header, marks.first_byte);
        phases[Phase::FirstToken] = elapsed_us(Some(self.started), marks.first_token);
        phases[Phase::Stream] = elapsed_us(marks.first_byte, marks.last_byte);
        let total_us = micros(now.saturating_duration_since(self.started));
        phases[Phase::Total] = Some(total_us);
        // A body that streamed through while the upstream was there already: a wait for the client.
        let upload_us = elapsed_us(marks.connected, marks.sent).unwrap_or(0);
        // A phase the request ended in: all of it was waiting.
        let unfinished_us = match (marks.connecting, marks.connected, marks.header) {
            (Some(from), None, _) => elapsed_us(Some(from), Some(now)),
            (Some(_), Some(_), None) => elapsed_us(marks.sent, Some(now)),
            _ => None,
        };
        let waits_us = [
            Phase::ReadRequest,
            Phase::Connect,
            Phase::Wait,
            Phase::FirstByte,
            Phase::Stream,
        ]
        .iter()
        .filter_map(|&phase| phases[phase])
        .sum::<u64>()
            + upload_us
            + unfinished_us.unwrap_or(0)
            + micros(marks.earlier_connects);
        let overhead_us = total_us.saturating_sub(waits_us) + micros(marks.in_filters);
        phases[Phase::Overhead] = Some(overhead_us.min(total_us));
        phases
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.state == State::Closed {
            return;
        }
        // A panic unwinds through here; otherwise the runtime was shut down with the request in it.
        let ending = if std::thread::panicking() {
            Ending::bare(Outcome::Internal, Some(ErrorSource::Internal))
        } else {
            Ending::bare(Outcome::Interrupted, Some(ErrorSource::Internal))
        };
        self.close(ending, Instant::now());
    }
}

fn elapsed_us(from: Option<Instant>, to: Option<Instant>) -> Option<u64> {
    Some(micros(to?.saturating_duration_since(from?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::query::{RequestFilter, StoredRequest};
    use crate::ledger::{Closed, Ledger, Reader, Settings, Takeover};

    struct Room {
        folder: tempfile::TempDir,
        ledger: Ledger,
        sinks: Arc<Sinks>,
    }

    impl Room {
        fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Ledger::open(&Settings::new(folder.path()), Takeover::Refuse).unwrap();
            let sinks = Arc::new(Sinks {
                journal: ledger.journal(),
                meter: Arc::new(Meter::new(10)),
                prices: Arc::new(PriceTable::builtin()),
            });
            Self {
                folder,
                ledger,
                sinks,
            }
        }

        fn recorder(&self, started: Instant) -> Recorder {
            Recorder::open(Arc::clone(&self.sinks), UnixMicros::now(), started)
        }

        fn rows(self) -> Vec<StoredRequest> {
            assert_eq!(self.ledger.close(Duration::from_secs(30)), Closed::Complete);
            let reader = Reader::open(self.folder.path()).unwrap();
            reader.requests(&RequestFilter::default()).unwrap().requests
        }
    }

    fn at(started: Instant, ms: u64) -> Instant {
        started + Duration::from_millis(ms)
    }

    #[test]
    fn phases_are_the_time_between_their_marks() {
        let room = Room::open();
        let channel = Arc::from("a");
        let start = Instant::now();
        let mut recorder = room.recorder(start);
        recorder.body_read(at(start, 1));
        recorder.admit(&channel);
        recorder.attempt_begins(&channel, at(start, 3));
        recorder.connected(at(start, 6));
        recorder.request_sent(at(start, 10));
        recorder.header_received(200, at(start, 110));
        recorder.body_byte(at(start, 115));
        recorder.first_token(at(start, 115));
        recorder.body_byte(at(start, 515));
        recorder.forwarded(7, Duration::from_millis(4));
        recorder.close(Ending::OK, at(start, 520));
        let rows = room.rows();
        let phases: Vec<_> = rows[0].phases.iter().collect();
        assert_eq!(
            phases,
            [
                (Phase::ReadRequest, 1_000),
                (Phase::Admit, 2_000),
                (Phase::Connect, 3_000),
                (Phase::Wait, 100_000),
                (Phase::FirstByte, 5_000),
                (Phase::FirstToken, 115_000),
                (Phase::Stream, 400_000),
                (Phase::Total, 520_000),
                // 520 less 1 read, 3 connect, 4 upload, 100 wait, 5 and 400 of the answer; plus
                // the 4 that the filters took of the answer's time.
                (Phase::Overhead, 11_000),
            ]
        );
        assert_eq!(rows[0].attempts, Some(1));
    }

    #[test]
    fn a_phase_that_was_not_reached_is_unknown_and_its_wait_is_not_overhead() {
        let room = Room::open();
        let channel = Arc::from("a");
        let start = Instant::now();
        let mut recorder = room.recorder(start);
        recorder.body_read(at(start, 1));
        recorder.admit(&channel);
        recorder.attempt_begins(&channel, at(start, 2));
        recorder.connected(at(start, 4));
        recorder.unanswered();
        recorder.close(Ending::bare(Outcome::Timeout, None), at(start, 9_004));
        let rows = room.rows();
        let phases = rows[0].phases;
        assert_eq!(phases[Phase::Wait], None);
        assert_eq!(phases[Phase::FirstToken], None);
        assert_eq!(phases[Phase::Overhead], Some(1_000));
        assert_eq!(rows[0].usage.source, UsageSource::Missing);
    }

    #[test]
    fn only_the_first_end_counts() {
        let room = Room::open();
        let start = Instant::now();
        let mut recorder = room.recorder(start);
        recorder.close(Ending::OK, start);
        recorder.close(Ending::bare(Outcome::Internal, None), start);
        drop(recorder);
        let rows = room.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].outcome, Outcome::Ok);
    }

    #[test]
    fn an_account_nobody_closed_is_closed_by_its_drop() {
        let room = Room::open();
        let channel = Arc::from("a");
        let mut recorder = room.recorder(Instant::now());
        recorder.admit(&channel);
        drop(recorder);
        let panicking = room.recorder(Instant::now());
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _recorder = panicking;
            panic!("in a filter");
        }));
        let mut outcomes: Vec<_> = room.rows().iter().map(|row| row.outcome).collect();
        outcomes.sort();
        assert_eq!(outcomes, [Outcome::Interrupted, Outcome::Internal]);
    }
}
