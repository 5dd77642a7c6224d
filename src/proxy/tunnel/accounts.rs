//! What is made over one WebSocket: an account for each response and each transcription.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Secret;
use crate::protocol::{Advance, Bounds, Create, MissingReason, Observed, Told, outcome_of};
use crate::record::{Api, ErrorSource, Outcome};

use super::super::admission::{Destination, Extent};
use super::super::exchange::UNANSWERED;
use super::super::failure::Failure;
use super::super::passing::masked;
use super::super::recorder::{Ending, Recorder};

/// Responses of one connection that are followed at the same time. Providers allow a few; what
/// comes beyond has its row when it ends.
const OPEN_MAX: usize = 64;
/// Responses whose end is remembered, so that an event that comes late or twice opens no new row.
const CLOSED_MAX: usize = 16;

/// What is made over the connection.
#[derive(Debug)]
pub(super) struct Accounts {
    api: Api,
    /// Where the connection leads, and under which names of its model.
    destination: Destination,
    credentials: Vec<Secret>,
    /// The model that answers, by the session's word.
    model: Option<Box<str>>,
    /// The model that transcribes, by the session's word.
    transcription_model: Option<Box<str>>,
    /// In the order in which they were asked for.
    open: Vec<Account>,
    /// Ids of the last that were closed.
    closed: VecDeque<Arc<str>>,
    /// The upstream's last words, where they are an error that concerns none of the responses.
    error: Option<Ending>,
    /// How what was made ended by the upstream's word, until the channel hears of it.
    said: Vec<Ending>,
    /// A rule refuses something that the session began by itself.
    blocked: Option<Failure>,
}

#[derive(Debug)]
struct Account {
    making: Making,
    /// Where a connection makes several responses at a time: which of its lanes.
    lane: Option<Arc<str>>,
    recorder: Recorder,
    first_content_seen: bool,
    /// An error came while it was made. It may go on all the same; if nothing more is heard of it,
    /// it ended so.
    last_words: Option<Ending>,
}

#[derive(Debug, PartialEq, Eq)]
enum Making {
    /// Asked for by the client's event of this id; the upstream has not named it.
    Asked(Option<Box<str>>),
    /// The response of this id.
    Response(Arc<str>),
    /// The transcription of this item.
    Transcription(Option<Arc<str>>),
}

impl Accounts {
    pub(super) fn new(api: Api, destination: Destination, credentials: Vec<Secret>) -> Self {
        Self {
            api,
            destination,
            credentials,
            model: None,
            transcription_model: None,
            open: Vec::new(),
            closed: VecDeque::new(),
            error: None,
            said: Vec::new(),
            blocked: None,
        }
    }

    /// The refusal of what the session began by itself.
    pub(super) fn take_blocked(&mut self) -> Option<Failure> {
        self.blocked.take()
    }

    /// How what was made ended by the upstream's word, since this was last asked.
    pub(super) fn take_said(&mut self) -> Vec<Ending> {
        std::mem::take(&mut self.said)
    }

    /// A response was asked for. Says how many of the bytes that passed are counted in its account; why
    /// a rule refuses it, where one does.
    pub(super) fn asked(
        &mut self,
        connection: &Recorder,
        create: Create,
        now: Instant,
    ) -> Result<u64, Failure> {
        if self.open.len() >= OPEN_MAX {
            // What it uses could not be held.
            let model = create.model.as_deref().or(self.model.as_deref());
            return if connection.may_be_refused(&self.destination, model) {
                Err(Failure::TooManyResponses { limit: OPEN_MAX })
            } else {
                Ok(0)
            };
        }
        let mut recorder = connection.open_within(now);
        let bounds = create.bounds(self.api);
        let admission = recorder.admission();
        admission.request_bytes = create.bytes;
        admission.end_user = create.end_user.map(Arc::from);
        if let Some(model) = create.model.or_else(|| self.model.clone()) {
            admission.requested_model = Some(Arc::from(model));
        }
        if let Err(refusal) = self.ask(connection, &mut recorder, bounds.as_ref(), now) {
            recorder.close(refusal.ending(), now);
            return Err(refusal);
        }
        let lane = create.lane.map(Arc::from);
        self.open_account(Making::Asked(create.event_id), lane, recorder, now);
        Ok(create.bytes)
    }

    /// Asks the rules for what is made over the connection, which lies within `bounds` and those of its
    /// model.
    fn ask(
        &self,
        connection: &Recorder,
        recorder: &mut Recorder,
        bounds: Option<&Bounds>,
        now: Instant,
    ) -> Result<(), Failure> {
        let Some(destination) = self.destination_of(connection, recorder) else {
            return Ok(());
        };
        let clock = recorder.clock(now);
        let extent = || bounds.map_or(Extent::Endless, Extent::OfTheModel);
        let asked = recorder.ask(&destination, clock, extent);
        asked.map_err(|blocked| recorder.refusal(blocked, clock))
    }

    /// As [`ask`](Self::ask), for what the session began by itself: it is held all the same, and where a
    /// rule refuses it the connection is to end.
    fn hold(&mut self, connection: &Recorder, recorder: &mut Recorder, now: Instant) {
        let Some(destination) = self.destination_of(connection, recorder) else {
            return;
        };
        let clock = recorder.clock(now);
        let bounds = Bounds::of_a_session(self.api, None, None);
        let extent = || Extent::OfTheModel(&bounds);
        if let Err(blocked) = recorder.ask_late(&destination, clock, extent) {
            self.blocked
                .get_or_insert_with(|| recorder.refusal(blocked, clock));
        }
    }

    /// Where what is made over the connection goes, and under which names; `None` where there is no rule
    /// that would ask.
    fn destination_of(
        &self,
        connection: &Recorder,
        recorder: &mut Recorder,
    ) -> Option<Destination> {
        if !recorder.has_rules() {
            return None;
        }
        let mut destination = self.destination.clone();
        let ((_, of_connection), (_, own)) = (connection.view(), recorder.view());
        if own.requested_model != of_connection.requested_model {
            // A model of its own, which has no other name.
            (destination.meant, destination.called) = (None, None);
        }
        recorder.goes_as(destination.meant.clone(), destination.called.clone());
        Some(destination)
    }

    fn open_account(
        &mut self,
        making: Making,
        lane: Option<Arc<str>>,
        mut recorder: Recorder,
        now: Instant,
    ) -> usize {
        let channel = &self.destination.channel;
        recorder.admit(channel);
        recorder.attempt_begins(channel, now);
        recorder.timeline().request_sent(now);
        recorder.usage_unknown(UNANSWERED);
        self.open.push(Account {
            making,
            lane,
            recorder,
            first_content_seen: false,
            last_words: None,
        });
        self.open.len() - 1
    }

    /// The upstream said something. Says how many of the bytes that passed are counted in the
    /// account of what it is about.
    pub(super) fn told(&mut self, connection: &Recorder, told: Told, now: Instant) -> u64 {
        if !matches!(told, Told::Error { .. }) {
            self.error = None;
        }
        match told {
            Told::Session {
                model,
                transcription_model,
            } => {
                self.model = model.or(self.model.take());
                self.transcription_model = transcription_model.or(self.transcription_model.take());
            }
            Told::Response {
                id,
                lane,
                advance,
                content,
                observed,
                bytes,
            } => {
                if let Some(at) = self.response(connection, lane, id, advance, now) {
                    self.open[at].reached(bytes, content, now);
                    self.goes_on(at, advance, observed, now);
                    return bytes;
                }
            }
            Told::Transcription {
                item_id,
                advance,
                content,
                observed,
                bytes,
            } => {
                if let Some(at) = self.transcription(connection, item_id, advance, now) {
                    self.open[at].reached(bytes, content, now);
                    self.goes_on(at, advance, observed, now);
                    return bytes;
                }
            }
            Told::Error {
                lane,
                event_id,
                status,
                observed,
                bytes,
            } => {
                let ending = self.failure(status, &observed);
                if let Some(at) = self.refused(lane.as_deref(), event_id.as_deref()) {
                    self.open[at].reached(bytes, false, now);
                    self.fails(at, ending, *observed, now);
                    return bytes;
                }
                // Where Responses are spoken one is made at a time on a lane, and every error is
                // about it. In Realtime most errors concern some other event of the client's.
                let about = (self.api == Api::Responses)
                    .then(|| self.first_of(lane.as_deref()))
                    .flatten();
                let Some(at) = about else {
                    self.said.push(ending.clone());
                    self.error = Some(ending);
                    return 0;
                };
                let account = &mut self.open[at];
                account.reached(bytes, false, now);
                account.failed(*observed);
                account.last_words = Some(ending);
                return bytes;
            }
            Told::RateLimits(limits) => {
                for (kind, remaining) in limits {
                    connection.ratelimit_remaining(kind, remaining);
                }
            }
        }
        0
    }

    /// The account of the response that an event is about, opened where nobody asked for it (the
    /// session itself begins one when the client stops speaking).
    fn response(
        &mut self,
        connection: &Recorder,
        lane: Option<Arc<str>>,
        id: Option<Arc<str>>,
        advance: Advance,
        now: Instant,
    ) -> Option<usize> {
        let Some(id) = id else {
            return self.first_of(lane.as_deref()).or_else(|| {
                // It ended, and its beginning was not read.
                (advance == Advance::Ended)
                    .then(|| self.unasked(Making::Asked(None), lane, connection, now))
            });
        };
        let named =
            |account: &Account| matches!(&account.making, Making::Response(known) if *known == id);
        if let Some(at) = self.open.iter().position(named) {
            return Some(at);
        }
        // What comes late or twice changes nothing, but an id that begins anew is another response:
        // not every provider's are unique.
        if advance != Advance::Begun && self.closed.iter().any(|closed| *closed == id) {
            return None;
        }
        self.close_given_up(lane.as_ref(), now);
        let making = Making::Response(Arc::clone(&id));
        let at = if let Some(at) = self.first_asked(lane.as_ref()) {
            self.open[at].making = making;
            at
        } else if self.open.len() < OPEN_MAX || advance == Advance::Ended {
            self.unasked(making, lane, connection, now)
        } else {
            return None;
        };
        let recorder = &mut self.open[at].recorder;
        recorder.names_response(Some(id));
        recorder.usage_unknown(MissingReason::Truncated.as_str());
        if let Some(model) = &self.model {
            recorder.served_by(model);
        }
        Some(at)
    }

    fn first_asked(&self, lane: Option<&Arc<str>>) -> Option<usize> {
        self.open.iter().position(|account| {
            matches!(account.making, Making::Asked(_)) && account.lane.as_ref() == lane
        })
    }

    /// Another response begins on the lane: one that an error befell did not go on.
    fn close_given_up(&mut self, lane: Option<&Arc<str>>, now: Instant) {
        let given_up = self
            .open
            .iter()
            .position(|account| account.last_words.is_some() && account.lane.as_ref() == lane);
        if let Some(at) = given_up
            && let Some(ending) = self.open[at].last_words.take()
        {
            self.said.push(ending.clone());
            self.close(at, ending, now);
        }
    }

    /// The response that is being made on a lane: they are made in the order they were asked for.
    fn first_of(&self, lane: Option<&str>) -> Option<usize> {
        self.open.iter().position(|account| {
            !matches!(account.making, Making::Transcription(_)) && account.lane.as_deref() == lane
        })
    }

    fn transcription(
        &mut self,
        connection: &Recorder,
        item_id: Option<Arc<str>>,
        advance: Advance,
        now: Instant,
    ) -> Option<usize> {
        let making = Making::Transcription(item_id);
        let known = self
            .open
            .iter()
            .position(|account| account.making == making);
        let room = self.open.len() < OPEN_MAX || advance == Advance::Ended;
        known.or_else(|| {
            room.then(|| {
                let mut recorder = connection.open_within(now);
                // Never the model of the connection: it does not transcribe.
                recorder.admission().requested_model =
                    self.transcription_model.as_deref().map(Arc::from);
                self.hold(connection, &mut recorder, now);
                let at = self.open_account(making, None, recorder, now);
                let recorder = &mut self.open[at].recorder;
                recorder.usage_unknown(MissingReason::Truncated.as_str());
                if let Some(model) = &self.transcription_model {
                    recorder.served_by(model);
                }
                at
            })
        })
    }

    fn unasked(
        &mut self,
        making: Making,
        lane: Option<Arc<str>>,
        connection: &Recorder,
        now: Instant,
    ) -> usize {
        let mut recorder = connection.open_within(now);
        if let Some(model) = &self.model {
            recorder.admission().requested_model = Some(Arc::from(&**model));
        }
        self.hold(connection, &mut recorder, now);
        self.open_account(making, lane, recorder, now)
    }

    /// The account that an error ends: of a response that was asked for and has not begun. Where
    /// Responses are spoken it is the last, since the one before it may be why it is refused; in
    /// Realtime the one that the error names.
    fn refused(&self, lane: Option<&str>, event_id: Option<&str>) -> Option<usize> {
        self.open.iter().rposition(|account| match &account.making {
            Making::Asked(_) if self.api == Api::Responses => account.lane.as_deref() == lane,
            Making::Asked(asked) => asked.as_deref() == event_id,
            _ => false,
        })
    }

    /// An event about an account; `observed` is what it states beside content.
    fn goes_on(
        &mut self,
        at: usize,
        advance: Advance,
        observed: Option<Box<Observed>>,
        now: Instant,
    ) {
        let Some(mut observed) = observed else {
            return;
        };
        let ending = observed.failed.then(|| self.failure(None, &observed));
        let account = &mut self.open[at];
        let session_model = match account.making {
            Making::Transcription(_) => &self.transcription_model,
            _ => &self.model,
        };
        if observed.served_model.is_none()
            && let Some(model) = session_model
        {
            account.recorder.served_by(model);
        }
        if let Some(ending) = ending {
            self.fails(at, ending, *observed, now);
        } else if advance == Advance::Ended {
            if observed.usage.is_none() {
                observed.missing_reason = Some(MissingReason::NoUsageInBody);
            }
            account.recorder.observed_further(&observed);
            self.said.push(Ending::OK);
            self.close(at, Ending::OK, now);
        } else {
            account.recorder.observed_further(&observed);
            account
                .recorder
                .usage_unknown(MissingReason::Truncated.as_str());
        }
    }

    fn fails(&mut self, at: usize, ending: Ending, observed: Observed, now: Instant) {
        let account = &mut self.open[at];
        account.failed(observed);
        // An error that came before may say more.
        let told_before = account.last_words.take();
        let ending = match told_before {
            Some(words) if ending.code.is_none() => words,
            _ => ending,
        };
        self.said.push(ending.clone());
        self.close(at, ending, now);
    }

    fn close(&mut self, at: usize, ending: Ending, now: Instant) {
        let mut account = self.open.remove(at);
        account.recorder.close(ending, now);
        if let Making::Response(id) = account.making {
            if self.closed.len() >= CLOSED_MAX {
                self.closed.pop_front();
            }
            self.closed.push_back(id);
        }
    }

    /// Closes what is unfinished, each with the last words about it, else as stated.
    pub(super) fn close_all(&mut self, ending: &Ending, now: Instant) {
        while let Some(account) = self.open.first_mut() {
            let last_words = account.last_words.take();
            self.said.extend(last_words.clone());
            self.close(0, last_words.unwrap_or_else(|| ending.clone()), now);
        }
    }

    /// What the upstream sends is no WebSocket any more: nobody will see the ends of these.
    pub(super) fn lose_sight(&mut self, reason: MissingReason, now: Instant) {
        for account in &mut self.open {
            account.recorder.usage_unknown(reason.as_str());
        }
        let ending = Ending::bare(Outcome::UpstreamError, Some(ErrorSource::Upstream));
        self.close_all(&ending, now);
    }

    /// How an account ends for the failure that an event states.
    fn failure(&self, status: Option<u16>, observed: &Observed) -> Ending {
        let error = observed.error.as_ref();
        let code = error.and_then(|error| error.code.as_deref());
        let outcome = match outcome_of(status.unwrap_or(200), code) {
            Outcome::Ok => Outcome::UpstreamError,
            outcome => outcome,
        };
        Ending {
            outcome,
            source: Some(ErrorSource::Upstream),
            code: code.map(|text| Arc::from(masked(text, &self.credentials))),
            message: error
                .and_then(|error| error.message.as_deref())
                .map(|text| Arc::from(masked(text, &self.credentials))),
        }
    }

    /// Whether an error that concerns none of the responses was the last that the upstream said.
    pub(super) fn has_last_words(&self) -> bool {
        self.error.is_some()
    }

    /// How the upstream's leaving ends what is unfinished: with its last words, else with its close
    /// code. 1006 is the code for an end without a close frame (RFC 6455 §7.4.1).
    pub(super) fn cut_off(&self, code: Option<u16>) -> Ending {
        self.error.clone().unwrap_or_else(|| Ending {
            code: Some(Arc::from(format!("websocket_{}", code.unwrap_or(1006)))),
            ..Ending::bare(Outcome::UpstreamError, Some(ErrorSource::Upstream))
        })
    }
}

impl Account {
    /// An event of the upstream's reached the client's way.
    fn reached(&mut self, bytes: u64, content: bool, now: Instant) {
        let timeline = self.recorder.timeline();
        if timeline.wait_us().is_none() {
            timeline.header(now);
        }
        timeline.body_byte(now);
        if content && !self.first_content_seen {
            self.first_content_seen = true;
            timeline.first_token(now);
        }
        let spent = now.elapsed();
        self.recorder
            .forwarded(usize::try_from(bytes).unwrap_or(usize::MAX), spent);
    }

    /// It failed, or seems to have.
    fn failed(&mut self, mut observed: Observed) {
        if observed.usage.is_none() && self.first_content_seen {
            observed.missing_reason = Some(MissingReason::Failed);
        }
        self.recorder.observed_further(&observed);
    }
}
