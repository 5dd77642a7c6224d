//! The account of one request, from its header to its end.
//!
//! One [`Recorder`] owns everything that will be said of a request. It is closed exactly once:
//! by the phase that sees the end, or, when nobody did (a panic, a runtime that is shut down), by
//! its drop. Closing prices the usage, appends the end to the journal and counts it in the meter;
//! it happens before the last byte leaves, so that a request whose end a client saw is never lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::protocol::{LimitsSeen, MissingReason, Observed, Stage};
use crate::record::{
    Admission, Api, Attempt, Deferral, ErrorSource, LimitKind, Outcome, Phases, RequestId,
    RequestRecord, Source, Tokens, Unit, Units, Usage, UsageSource, Worst,
};
use crate::rules::Reservation;

use super::account::{Account, HeldAt, Sinks};
use super::counting::{self, Counting};
use super::exchange::Entered;
use super::timeline::Timeline;

/// The served model of a usage that several models share: a name without a price, for good.
const SEVERAL_MODELS: &str = "several";

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

    /// Nobody closed the account: a panic unwinds, or the runtime was shut down with the request
    /// in it.
    pub(super) fn abandoned() -> Self {
        let outcome = if std::thread::panicking() {
            Outcome::Internal
        } else {
            Outcome::Interrupted
        };
        Self::bare(outcome, Some(ErrorSource::Internal))
    }

    pub(super) const fn bare(outcome: Outcome, source: Option<ErrorSource>) -> Self {
        Self {
            outcome,
            source,
            code: None,
            message: None,
        }
    }
}

/// A try at an upstream that has not ended.
#[derive(Debug)]
struct OpenAttempt {
    channel: Arc<str>,
    started_at: UnixMicros,
    status: Option<u16>,
}

/// Owns the account of one request.
#[derive(Debug)]
pub(super) struct Recorder {
    account: Account,
    timeline: Timeline,
    attempt: Option<OpenAttempt>,
    closed: bool,
}

impl Recorder {
    /// Opens the account of a request whose header has just arrived.
    pub(super) fn open(sinks: Arc<Sinks>, started_at: UnixMicros, started: Instant) -> Self {
        let empty: Arc<str> = Arc::default();
        let account = Account {
            sinks,
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
                    billable: false,
                    worst: None,
                    interrupted_cost: None,
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
                response_id: None,
                deferral: None,
                estimate: None,
                delivered_output_tokens: None,
                upstream_bytes: None,
                priced_at: None,
                assumed_cost: None,
            },
            missing_reason: None,
            stated_cost: None,
            provider: None,
            in_flight: None,
            held: SmallVec::new(),
            meant: None,
            called: None,
        };
        Self {
            account,
            timeline: Timeline::new(started),
            attempt: None,
            closed: false,
        }
    }

    /// Opens the account of something that is made over this one's connection: of the same caller,
    /// under the same session.
    pub(super) fn open_within(&self, now: Instant) -> Self {
        let connection = &self.account.record.admission;
        let started_at = self.clock(now);
        let mut made = Self::open(Arc::clone(&self.account.sinks), started_at, now);
        made.account.provider = self.account.provider;
        made.account.record.admission = Admission {
            id: made.account.record.admission.id,
            started_at,
            channel: None,
            stream: Some(true),
            request_bytes: 0,
            worst: None,
            interrupted_cost: None,
            ..connection.clone()
        };
        made
    }

    /// What is left of a rate limit of the channel's, by its own word; `None` when it is unknown.
    pub(super) fn ratelimit_remaining(&self, kind: LimitKind, remaining: Option<u64>) {
        if let Some(in_flight) = &self.account.in_flight {
            in_flight.ratelimit_remaining(kind, remaining);
        }
    }

    /// What an answer of the channel's says of its limits.
    pub(super) fn limits_seen(&self, seen: LimitsSeen) {
        if let Some(in_flight) = &self.account.in_flight {
            in_flight.note_limits(seen);
        }
    }

    pub(super) fn id(&self) -> RequestId {
        self.account.record.admission.id
    }

    pub(super) fn started(&self) -> Instant {
        self.timeline.started
    }

    /// How the request ended, once its account is closed.
    pub(super) fn outcome(&self) -> Outcome {
        self.account.record.outcome
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// What is known of the request itself, to be filled in as it becomes known.
    pub(super) fn admission(&mut self) -> &mut Admission {
        &mut self.account.record.admission
    }

    /// When what happened: the phases mark it as they see it.
    pub(super) fn timeline(&mut self) -> &mut Timeline {
        &mut self.timeline
    }

    /// The request goes to `channel`: from here on the journal knows of it. A further channel takes
    /// the place of the one before, also there: after a crash it is the one that had the request.
    pub(super) fn admit(&mut self, channel: &Arc<str>) {
        let account = &mut self.account;
        account.record.admission.channel = Some(Arc::clone(channel));
        account.in_flight = Some(account.sinks.meter.in_flight(channel));
        account.sinks.journal.admit(&account.record.admission);
    }

    /// Whether rules are asked for the request.
    pub(super) fn asks_rules(&self) -> bool {
        self.account.record.admission.billable && self.has_rules()
    }

    /// Whether there is anybody to ask.
    pub(super) fn has_rules(&self) -> bool {
        !self.account.sinks.rules.is_empty()
    }

    /// Whom to ask, and what for.
    pub(super) fn view(&self) -> (&Sinks, &Admission) {
        (&self.account.sinks, &self.account.record.admission)
    }

    /// Budgets hold this for the request at `channel`, beside what they hold for it at others, for
    /// `most` it may use; with that stands what they count for it if nobody sees its end.
    pub(super) fn hold(
        &mut self,
        channel: &Arc<str>,
        reservation: Reservation,
        most: Option<(Worst, NanoUsd)>,
    ) {
        self.account.held.push(HeldAt {
            channel: Arc::clone(channel),
            reservation,
            most,
        });
        self.expect(most);
    }

    fn expect(&mut self, most: Option<(Worst, NanoUsd)>) {
        let admission = &mut self.account.record.admission;
        (admission.worst, admission.interrupted_cost) = most.unzip();
    }

    /// What budgets hold for the request at the channel that was asked for last is given back.
    pub(super) fn give_back(&mut self) {
        let held = &mut self.account.held;
        held.pop();
        let before = held.last().and_then(|before| before.most);
        self.expect(before);
    }

    /// The model's names that no record has: with aliases resolved, and at the channel.
    pub(super) fn goes_as(&mut self, meant: Option<Arc<str>>, called: Option<Arc<str>>) {
        (self.account.meant, self.account.called) = (meant, called);
    }

    /// Whose prices hold where the request goes.
    pub(super) fn sold_by(&mut self, provider: Option<&'static str>) {
        self.account.provider = provider;
    }

    /// The answer that began goes nowhere: another channel is asked.
    pub(super) fn forget_answer(&mut self) {
        let record = &mut self.account.record;
        record.status = None;
        record.upstream_request_id = None;
        record.response_bytes = 0;
    }

    /// A try at `channel` begins.
    pub(super) fn attempt_begins(&mut self, channel: &Arc<str>, now: Instant) {
        self.timeline.try_begins(now);
        self.attempt = Some(OpenAttempt {
            channel: Arc::clone(channel),
            started_at: self.clock(now),
            status: None,
        });
    }

    /// The upstream answered with `status`.
    pub(super) fn header_received(&mut self, status: u16, now: Instant) {
        self.timeline.header(now);
        if let Some(attempt) = &mut self.attempt {
            attempt.status = Some(status);
        }
    }

    /// The status that the try in progress was answered with.
    pub(super) fn status_of_try(&self) -> Option<u16> {
        self.attempt.as_ref()?.status
    }

    /// From the request sent to the answer's header, in the try in progress.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.timeline.wait()
    }

    /// The time of day at `now`.
    pub(super) fn clock(&self, now: Instant) -> UnixMicros {
        let since = now.saturating_duration_since(self.timeline.started);
        self.account.record.admission.started_at.plus(since)
    }

    /// The status that goes to the client.
    pub(super) fn answered(&mut self, status: u16) {
        self.account.record.status = Some(status);
    }

    /// The provider's id of the request.
    pub(super) fn upstream_request_id(&mut self, id: Option<Box<str>>) {
        self.account.record.upstream_request_id = id.map(Arc::from);
    }

    /// `bytes` of the answer's body go to the client, after `spent` in Tollgate's own filter.
    pub(super) fn forwarded(&mut self, bytes: usize, spent: Duration) {
        self.account.record.response_bytes += bytes as u64;
        self.timeline.in_filters(spent);
    }

    /// Bytes of the answer's body that went towards the client so far.
    pub(super) fn response_bytes(&self) -> u64 {
        self.account.record.response_bytes
    }

    /// What the answer said of itself.
    pub(super) fn observed(&mut self, observed: &Observed) {
        self.account.record.usage = observed.usage_or_absent();
        self.account.record.served_model = if observed.several_models {
            Some(Arc::from(SEVERAL_MODELS))
        } else {
            observed.served_model.as_deref().map(Arc::from)
        };
        self.account.record.service_tier = observed.service_tier.as_deref().map(Arc::from);
        if let Some(id) = observed.response_id.as_deref() {
            self.account.record.response_id = Some(Arc::from(id));
        }
        self.account.stated_cost = observed.stated_cost;
        self.account.missing_reason = observed.missing_reason.map(MissingReason::as_str);
    }

    /// As [`observed`](Self::observed), of one event of several: a model or tier that it does not
    /// state stays as it was.
    pub(super) fn observed_further(&mut self, observed: &Observed) {
        let record = &mut self.account.record;
        let (model, tier) = (record.served_model.take(), record.service_tier.take());
        self.observed(observed);
        let record = &mut self.account.record;
        record.served_model = record.served_model.take().or(model);
        record.service_tier = record.service_tier.take().or(tier);
    }

    /// The model that answers, where the answer itself does not say.
    pub(super) fn served_by(&mut self, model: &str) {
        let served = &mut self.account.record.served_model;
        served.get_or_insert_with(|| Arc::from(model));
    }

    /// Of the bytes that were counted here, so many are counted in accounts of their own.
    pub(super) fn counted_apart(&mut self, request_bytes: u64, response_bytes: u64) {
        let record = &mut self.account.record;
        let of_request = &mut record.admission.request_bytes;
        *of_request = of_request.saturating_sub(request_bytes);
        record.response_bytes = record.response_bytes.saturating_sub(response_bytes);
    }

    /// The path names what was made.
    pub(super) fn names_response(&mut self, id: Option<Arc<str>>) {
        self.account.record.response_id = id;
    }

    /// The usage of what was made is still to come, under its response id.
    pub(super) fn usage_comes_later(&mut self) {
        self.account.record.deferral = Some(Deferral::Opened);
    }

    /// Whether the usage is still to come.
    pub(super) fn is_deferred(&self) -> bool {
        self.account.record.deferral == Some(Deferral::Opened)
    }

    /// The answer shows something made earlier. Whether its usage counts in this row: whether it was
    /// awaited and nobody was shown it before. Otherwise this row has none.
    pub(super) fn settles(&mut self, observed: &Observed) -> bool {
        let told = observed.usage.is_some() || observed.stage == Some(Stage::Failed);
        let made_at = observed.made_at_s.and_then(|seconds| {
            let micros = seconds.checked_mul(1_000_000)?;
            Some(UnixMicros(i64::try_from(micros).ok()?))
        });
        let admission = &self.account.record.admission;
        let counts = told
            && self.account.record.response_id.as_ref().is_some_and(|id| {
                let deferred = &self.account.sinks.deferred;
                deferred.settle(admission.api, id, made_at, admission.started_at)
            });
        if counts {
            // What was made costs what it cost then. A provider whose clock is ahead is not asked
            // for tomorrow's prices.
            self.account.record.priced_at = made_at.filter(|&made| made < admission.started_at);
            self.account.record.deferral = Some(Deferral::Settled);
            self.counts_for_the_opener();
        } else {
            self.settles_nothing();
        }
        counts
    }

    /// The usage is that of the request which made it, and so are what it is told apart by: whoever
    /// looks at it first spends nothing. Where that request is not known, the row stays the looker's.
    fn counts_for_the_opener(&mut self) {
        let record = &mut self.account.record;
        let id = record.response_id.as_deref();
        let opener = id.and_then(|id| self.account.sinks.deferred.opener(id));
        if let Some(opener) = opener {
            let admission = &mut record.admission;
            admission
                .requested_model
                .clone_from(&opener.requested_model);
            admission.key.clone_from(&opener.key);
            admission.tags.clone_from(&opener.tags);
        }
    }

    /// What the answer says of usage is counted in another row, if at all.
    pub(super) fn settles_nothing(&mut self) {
        self.account.record.usage = Usage::absent(UsageSource::None);
        self.account.stated_cost = None;
    }

    /// What is billed is the request's text, by the character.
    pub(super) fn characters(&mut self, count: u64) {
        let mut units = Units::NONE;
        units[Unit::Character] = Some(count);
        self.account.record.usage = Usage {
            tokens: Tokens::default(),
            units,
            total: None,
            source: UsageSource::Estimated,
        };
        self.account.missing_reason = None;
    }

    /// What the upstream bills is unknown, for the stated reason.
    pub(super) fn usage_unknown(&mut self, reason: &'static str) {
        self.account.record.usage = Usage::absent(UsageSource::Missing);
        self.account.missing_reason = Some(reason);
    }

    /// The try in progress ends without ending the request.
    pub(super) fn attempt_ends(&mut self, ending: &Ending) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        // Nearly always the only one.
        self.account.record.attempts.reserve_exact(1);
        self.account.record.attempts.push(Attempt {
            channel: attempt.channel,
            started_at: attempt.started_at,
            outcome: ending.outcome,
            status: attempt.status,
            error_code: ending.code.clone(),
            connect_us: self.timeline.connect_us(),
            wait_us: self.timeline.wait_us(),
        });
    }

    /// What the client was sent of the answer's body, where it left before the end, and what was
    /// taken from the upstream.
    pub(super) fn left_with(&mut self, received_bytes: u64, taken_bytes: u64) {
        let record = &mut self.account.record;
        record.response_bytes = record.response_bytes.min(received_bytes);
        record.upstream_bytes = Some(taken_bytes).filter(|&taken| taken != record.response_bytes);
    }

    /// Closes the account. Only the first call does anything.
    pub(super) fn close(&mut self, ending: Ending, now: Instant) {
        if self.closed {
            return;
        }
        let clock = self.clock(now);
        self.end(ending, now);
        self.account.settle(clock);
    }

    /// As [`close`](Self::close), once the tokens are counted; until then the request is `entered`.
    pub(super) fn close_counting(
        &mut self,
        ending: Ending,
        now: Instant,
        counting: Counting,
        entered: Entered,
    ) {
        if self.closed {
            return;
        }
        self.end(ending, now);
        let account = Account {
            sinks: Arc::clone(&self.account.sinks),
            record: self.account.record.clone(),
            in_flight: self.account.in_flight.take(),
            held: std::mem::take(&mut self.account.held),
            meant: self.account.meant.take(),
            called: self.account.called.take(),
            ..self.account
        };
        counting::close(account, counting, entered);
    }

    fn end(&mut self, ending: Ending, now: Instant) {
        self.attempt_ends(&ending);
        let record = &mut self.account.record;
        record.phases = self.timeline.phases(now);
        record.outcome = ending.outcome;
        record.error_source = ending.source;
        record.error_code = ending.code;
        record.error_message = ending.message;
        self.closed = true;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        self.close(Ending::abandoned(), Instant::now());
    }
}

#[cfg(test)]
mod tests;
