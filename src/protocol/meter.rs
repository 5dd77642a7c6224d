//! The response meter: reads usage and endings from the passing bytes of an answer.

use std::ops::ControlFlow;

use super::api::{Conventions, conventions};
use super::body::Body;
use super::decode::{DecodeError, Decoder};
use super::observed::{MissingReason, Observed};
use super::route::Operation;
use super::words::AnswerText;
use crate::record::Api;

/// A decoded body may be this many times the encoded one…
const EXPANSION_MAX: u64 = 200;
/// …beyond its first bytes, where a ratio says nothing yet…
const EXPANSION_FREE: u64 = 16 << 20;
/// …and never larger than this. Beyond, metering stops; the bytes are forwarded all the same.
const DECODED_MAX: u64 = 1 << 30;

/// What the response's header (and the request) say about its body.
#[derive(Clone, Copy, Debug)]
pub struct ResponseKind<'h> {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, as received.
    pub content_type: Option<&'h str>,
    /// `Content-Encoding`, as received (several lines joined by commas); `None` when the bytes
    /// handed to [`ResponseMeter::feed`] are plain.
    pub content_encoding: Option<&'h str>,
}

/// Whether Tollgate reads the usage that answers of `api` state.
#[must_use]
pub fn states_usage(api: Api) -> bool {
    conventions(api).usage.is_some()
}

/// What one fragment brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// The first content-bearing delta of the stream is in this fragment.
    pub first_content: bool,
    /// The announced end is in this fragment: `[DONE]`, a terminal Responses event, or the last
    /// byte of a JSON answer.
    pub terminal: bool,
    /// The provider's error is in this fragment.
    pub failed: bool,
}

/// Reads one answer as it passes, in bounded memory, without ever failing it.
#[derive(Debug)]
pub struct ResponseMeter {
    conventions: &'static Conventions,
    operation: Operation,
    status: u16,
    decoder: Option<Decoder>,
    encoded: u64,
    decoded: u64,
    /// Apart, because a meter is moved before and while it reads.
    body: Box<Body>,
    /// Why metering stopped before the body's end.
    stopped: Option<MissingReason>,
    finished: bool,
}

impl ResponseMeter {
    /// A meter for the answer to a call of `api`.
    #[must_use]
    pub fn new(api: Api, operation: Operation, kind: ResponseKind<'_>) -> Self {
        let conventions = conventions(api);
        let (decoder, stopped) = match kind.content_encoding.map(Decoder::new) {
            None => (None, None),
            Some(Ok(decoder)) => (decoder, None),
            Some(Err(_unsupported)) => (None, Some(MissingReason::Undecodable)),
        };
        Self {
            conventions,
            operation,
            status: kind.status,
            decoder,
            encoded: 0,
            decoded: 0,
            body: Box::new(Body::new(conventions, operation, kind)),
            stopped,
            finished: false,
        }
    }

    /// Reads the next fragment of the body, cut anywhere.
    pub fn feed(&mut self, fragment: &[u8]) -> Signals {
        if self.stopped.is_some() || self.finished {
            return Signals::default();
        }
        let before = self.signals();
        match &mut self.decoder {
            None => self.body.feed(fragment),
            Some(decoder) => {
                self.encoded += fragment.len() as u64;
                let allowed =
                    (EXPANSION_FREE + self.encoded.saturating_mul(EXPANSION_MAX)).min(DECODED_MAX);
                let (body, total) = (&mut self.body, &mut self.decoded);
                let result = decoder.decode(fragment, &mut |plain| {
                    *total += plain.len() as u64;
                    if *total > allowed {
                        return ControlFlow::Break(());
                    }
                    body.feed(plain);
                    ControlFlow::Continue(())
                });
                match result {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => self.stop(MissingReason::TooLarge),
                    Err(_) => self.stop(MissingReason::Undecodable),
                }
            }
        }
        let after = self.signals();
        Signals {
            first_content: after.first_content && !before.first_content,
            terminal: after.terminal && !before.terminal,
            failed: after.failed && !before.failed,
        }
    }

    /// The body ended (whole or cut off). Idempotent; later fragments are ignored.
    pub fn finish(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        if self.stopped.is_none() {
            self.body.finish();
            if let Some(Err(DecodeError::Truncated(_))) = self.decoder.as_mut().map(Decoder::finish)
            {
                self.body.reading.note(MissingReason::Truncated);
            }
        }
        self.decoder = None;
        self.body.reading.settle();
        let reading = &mut self.body.reading;
        reading.observed.cut_short &= self.stopped.is_none();
        if self.operation == Operation::Results
            && (self.stopped.is_some() || reading.doubt.is_some())
        {
            // A sum over a part of the lines is no sum.
            reading.observed.usage = None;
        }
        self.body.reading.observed.missing_reason = self.missing_reason();
    }

    /// What was seen so far; final after [`finish`](Self::finish).
    #[must_use]
    pub fn observed(&self) -> &Observed {
        &self.body.reading.observed
    }

    /// Bytes of content seen so far, with the JSON around it, where the API's answers have texts
    /// that can be counted; 0 otherwise.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.body.reading.sample.bytes()
    }

    /// Hands out what was kept of the answer's content, for a count of Tollgate's own; `None` when
    /// there is nothing that could be counted.
    pub fn take_text(&mut self) -> Option<AnswerText> {
        self.body.take_text().filter(|_| self.stopped.is_none())
    }

    /// Bytes of heap this meter holds, decoders' windows included as far as they are known.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        size_of::<Body>()
            + self.body.retained_bytes()
            + self.decoder.as_ref().map_or(0, Decoder::retained_bytes)
    }

    fn stop(&mut self, reason: MissingReason) {
        self.stopped = Some(reason);
        self.decoder = None;
    }

    fn signals(&self) -> Signals {
        let observed = self.observed();
        Signals {
            first_content: observed.first_content_seen,
            terminal: observed.terminal_seen,
            failed: observed.failed,
        }
    }

    fn missing_reason(&self) -> Option<MissingReason> {
        let reading = &self.body.reading;
        let observed = &reading.observed;
        let billed = self.operation == Operation::Create && (200..300).contains(&self.status);
        if !billed || observed.usage.is_some() || self.conventions.usage.is_none() {
            return None;
        }
        if observed.failed {
            // A provider that refused before it wrote anything has billed nothing.
            return observed.first_content_seen.then_some(MissingReason::Failed);
        }
        Some(if let Some(reason) = self.stopped {
            reason
        } else if reading.is_unreadable() {
            MissingReason::Malformed
        } else if let Some(reason) = reading.doubt {
            reason
        } else if reading.whole() {
            MissingReason::NoUsageInBody
        } else {
            MissingReason::Truncated
        })
    }
}
