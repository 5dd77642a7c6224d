//! The answer's body on its way to the client: read as it passes, and, where Tollgate asked for
//! usage, freed of the traces.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;

use crate::config::Secret;
use crate::protocol::{
    AnswerText, DecodeError, Decoder, MediaType, Observed, Operation, ResponseKind, ResponseMeter,
    Signals, UsageStripper, outcome_of,
};
use crate::record::{Api, ErrorSource, Outcome};

use super::mask::Mask;
use super::recorder::Ending;

/// What one piece of an encoded answer may unpack to, in bytes, where it goes on unpacked. Pingora
/// hands over some 64 KiB at a time; events, which repeat much, unpack to some thirty times as much.
const MOST_UNPACKED_BYTES: usize = 4 * 1024 * 1024;

/// What is kept of an encoded answer of which nothing was unpacked yet, should it turn out not to
/// be encoded at all.
const MOST_PACKED_BYTES: usize = 64 * 1024;

/// Why an encoded answer cannot go on unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotUnpacked {
    /// Its bytes are wrong.
    #[error(transparent)]
    Encoding(#[from] DecodeError),
    /// It would take too much memory.
    #[error("a piece of the answer unpacks to more than {MOST_UNPACKED_BYTES} bytes")]
    TooLarge,
}

/// One answer's body.
#[derive(Debug)]
pub(super) struct Passing {
    status: u16,
    /// An event stream: its announced end is its end, whatever follows on the wire.
    events: bool,
    /// Bytes of the body still to come, where its length is stated and kept.
    to_come: Option<u64>,
    /// Bytes of the body taken from the upstream.
    taken_bytes: u64,
    /// What a failed answer's text is freed of, should the provider quote it.
    credentials: Vec<Secret>,
    meter: ResponseMeter,
    stripping: Option<Stripping>,
    concealing: Option<Concealing>,
}

/// Takes the channel's credential out of an error.
#[derive(Debug)]
struct Concealing {
    /// In what is encoded nothing could be found: the client gets it plain.
    unpacking: Option<Unpacking>,
    mask: Mask,
}

/// Takes the traces of the injected usage out.
#[derive(Debug)]
struct Stripping {
    /// The upstream compressed although it was asked not to: the client gets it plain.
    unpacking: Option<Unpacking>,
    stripper: UsageStripper,
}

/// Unpacks an encoded answer.
#[derive(Debug)]
struct Unpacking {
    decoder: Decoder,
    /// What came while nothing had been unpacked; `None` from then on.
    packed: Option<BytesMut>,
    /// Its bytes are wrong from here on.
    fault: Option<DecodeError>,
}

/// What a piece of an encoded answer unpacks to.
enum Unpacked {
    Plain(Bytes),
    /// The header is wrong: nothing of the body was ever encoded so. All of it so far.
    Never(Bytes),
}

impl Unpacking {
    fn new(decoder: Decoder) -> Self {
        Self {
            decoder,
            packed: Some(BytesMut::new()),
            fault: None,
        }
    }

    fn unpack(&mut self, piece: &[u8]) -> Result<Unpacked, NotUnpacked> {
        let mut plain = BytesMut::new();
        if self.fault.is_some() {
            return Ok(Unpacked::Plain(Bytes::new()));
        }
        let unpacked = self.decoder.decode(piece, &mut |piece| {
            plain.extend_from_slice(piece);
            if plain.len() > MOST_UNPACKED_BYTES {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if !plain.is_empty() {
            self.packed = None;
        }
        if let Some(packed) = &mut self.packed {
            packed.extend_from_slice(piece);
        }
        match (unpacked, self.packed.take()) {
            (Ok(ControlFlow::Break(())), _) => return Err(NotUnpacked::TooLarge),
            (Ok(ControlFlow::Continue(())), packed) => {
                // No encoding's beginning is longer than that without a byte to show for it.
                self.packed = packed.filter(|packed| packed.len() <= MOST_PACKED_BYTES);
            }
            (Err(_), Some(packed)) => return Ok(Unpacked::Never(packed.freeze())),
            (Err(fault), None) => self.fault = Some(fault),
        }
        Ok(Unpacked::Plain(plain.freeze()))
    }

    /// Whether what came is what was packed; asked once no more comes, or where it broke off.
    fn verify(&mut self, end_of_stream: bool) -> Result<(), DecodeError> {
        match self.fault {
            Some(fault) => Err(fault),
            None if end_of_stream => self.decoder.finish(),
            None => Ok(()),
        }
    }
}

impl Passing {
    /// Reads the answer's header. Where traces are to be taken out, the header is made to fit: no
    /// length is known and nothing is encoded any more.
    pub(super) fn begin(
        api: Api,
        operation: Operation,
        injected: bool,
        header: &mut ResponseHeader,
    ) -> pingora::Result<Self> {
        let status = header.status.as_u16();
        let content_type = header.headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let events = MediaType::of(content_type) == MediaType::EventStream;
        let encoding = joined_encoding(header);
        let decoder = encoding.as_deref().map(Decoder::new);
        // An encoding nobody knows passes as it is: the traces stay in, which breaks nothing.
        let stripping = match decoder {
            Some(Err(_)) => None,
            _ if !injected || !events => None,
            decoder => Some(Stripping {
                unpacking: decoder.and_then(Result::ok).flatten().map(Unpacking::new),
                stripper: UsageStripper::new(),
            }),
        };
        let length = header.headers.get(CONTENT_LENGTH);
        let to_come = length
            .filter(|_| stripping.is_none())
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let meter = ResponseMeter::new(
            api,
            operation,
            ResponseKind {
                status,
                content_type,
                content_encoding: encoding.as_deref().filter(|_| stripping.is_none()),
            },
        );
        if stripping.is_some() {
            header.remove_header(&CONTENT_ENCODING);
            if header.remove_header(&CONTENT_LENGTH).is_some() {
                header.insert_header(TRANSFER_ENCODING, "chunked")?;
            }
        }
        Ok(Self {
            status,
            events,
            to_come,
            taken_bytes: 0,
            credentials: Vec::new(),
            meter,
            stripping,
            concealing: None,
        })
    }

    /// Sees to it that the client is not shown these `secrets`, which are the channel's. What is
    /// encoded goes on plain then, so that they can be found; the header is made to fit.
    pub(super) fn conceal(
        &mut self,
        secrets: &[Secret],
        header: &mut ResponseHeader,
    ) -> pingora::Result<()> {
        let Some(mut mask) = Mask::of(secrets) else {
            return Ok(());
        };
        mask.pass_header(header)?;
        let encoding = joined_encoding(header);
        let decoder = encoding.and_then(|encoding| Decoder::new(&encoding).ok().flatten());
        if decoder.is_some() {
            header.remove_header(&CONTENT_ENCODING);
            if header.remove_header(&CONTENT_LENGTH).is_some() {
                header.insert_header(TRANSFER_ENCODING, "chunked")?;
            }
            self.to_come = None;
        }
        self.concealing = Some(Concealing {
            unpacking: decoder.map(Unpacking::new),
            mask,
        });
        Ok(())
    }

    /// Reads the piece in `slot` and leaves there what goes to the client.
    pub(super) fn pass(
        &mut self,
        slot: &mut Option<Bytes>,
        end_of_stream: bool,
    ) -> Result<Signals, NotUnpacked> {
        let length = slot.as_ref().map_or(0, Bytes::len) as u64;
        self.taken_bytes += length;
        if let Some(to_come) = &mut self.to_come {
            *to_come = to_come.saturating_sub(length);
        }
        let last = end_of_stream || self.to_come == Some(0);
        let signals = self.read(slot, end_of_stream)?;
        if let Some(concealing) = &mut self.concealing {
            let plain = plain(&mut concealing.unpacking, slot.take().unwrap_or_default())?;
            if let Some(unpacking) = &mut concealing.unpacking {
                unpacking.verify(end_of_stream)?;
            }
            *slot = Some(concealing.mask.pass(plain, last));
        }
        Ok(signals)
    }

    /// Reads the piece and takes the traces of injected usage out.
    fn read(
        &mut self,
        slot: &mut Option<Bytes>,
        end_of_stream: bool,
    ) -> Result<Signals, NotUnpacked> {
        let Some(stripping) = &mut self.stripping else {
            return Ok(slot
                .as_deref()
                .map(|piece| self.meter.feed(piece))
                .unwrap_or_default());
        };
        let piece = slot.take().unwrap_or_default();
        let plain = plain(&mut stripping.unpacking, piece)?;
        let signals = self.meter.feed(&plain);
        // Behind the announced end there is nothing that a client could miss.
        if let Some(unpacking) = &mut stripping.unpacking
            && !self.meter.observed().terminal_seen
        {
            unpacking.verify(end_of_stream)?;
        }
        let mut forward = stripping.stripper.feed(plain);
        if end_of_stream {
            forward = append(forward, &stripping.stripper.finish());
        }
        *slot = Some(forward);
        Ok(signals)
    }

    /// The body ended, whole or not: how, by what was seen in it.
    pub(super) fn finish(&mut self) -> Ending {
        self.meter.finish();
        self.ending()
    }

    /// How it would end if nothing more came.
    pub(super) fn ending(&self) -> Ending {
        let observed = self.meter.observed();
        if self.status < 400 && !observed.failed {
            return Ending::OK;
        }
        let error = observed.error.as_ref();
        let code = error.and_then(|error| error.code.as_deref());
        let outcome = match outcome_of(self.status, code) {
            // A failure told inside a 200 whose code nobody knows.
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

    /// Whether the answer told of an error after it had begun as a good one, and nobody said yet
    /// what the ledger is to have of it.
    pub(super) fn has_failed_late(&self) -> bool {
        self.status < 400 && self.credentials.is_empty() && self.meter.observed().failed
    }

    /// Whether the client may take these bytes for the end of the answer. An HTTP/2 upstream may
    /// tell the end apart from the last byte; a client that knows the length does not wait for it.
    pub(super) fn ends(&self, signals: Signals, end_of_stream: bool) -> bool {
        end_of_stream || (self.events && signals.terminal) || self.to_come == Some(0)
    }

    /// The body broke off: what was held back of it.
    pub(super) fn release(&mut self) -> Bytes {
        let stripping = self.stripping.as_mut();
        let held = stripping.map(|stripping| stripping.stripper.finish());
        let held = held.unwrap_or_default();
        match &mut self.concealing {
            Some(concealing) => concealing.mask.pass(held, true),
            None => held,
        }
    }

    /// Whether the answer is an error, whose text may quote a credential.
    pub(super) fn is_refusal(&self) -> bool {
        self.status >= 400
    }

    /// What the error's text must not show.
    pub(super) fn withhold(&mut self, credentials: Vec<Secret>) {
        self.credentials = credentials;
    }

    pub(super) fn observed(&self) -> &Observed {
        self.meter.observed()
    }

    pub(super) fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    /// Bytes of content seen so far.
    pub(super) fn content_bytes(&self) -> u64 {
        self.meter.content_bytes()
    }

    /// Hands out what was kept of the content.
    pub(super) fn take_text(&mut self) -> Option<AnswerText> {
        self.meter.take_text()
    }
}

/// What a piece is that may be encoded.
fn plain(unpacking: &mut Option<Unpacking>, piece: Bytes) -> Result<Bytes, NotUnpacked> {
    let Some(encoded) = unpacking else {
        return Ok(piece);
    };
    match encoded.unpack(&piece)? {
        Unpacked::Plain(plain) => Ok(plain),
        Unpacked::Never(all) => {
            *unpacking = None;
            Ok(all)
        }
    }
}

/// The text without the credentials, should it quote one. Shorter ones than eight bytes are words.
pub(super) fn masked(text: &str, credentials: &[Secret]) -> String {
    credentials
        .iter()
        .map(Secret::expose)
        .filter(|secret| secret.len() >= 8)
        .fold(text.to_owned(), |text, secret| {
            text.replace(secret, "[secret]")
        })
}

fn append(head: Bytes, tail: &[u8]) -> Bytes {
    if tail.is_empty() {
        return head;
    }
    let mut joined = BytesMut::with_capacity(head.len() + tail.len());
    joined.extend_from_slice(&head);
    joined.extend_from_slice(tail);
    joined.freeze()
}

/// `Content-Encoding`, its lines joined; `None` when there is none or it is no text.
fn joined_encoding(header: &ResponseHeader) -> Option<String> {
    let mut lines = header.headers.get_all(CONTENT_ENCODING).iter();
    let mut joined = lines.next()?.to_str().ok()?.to_owned();
    for line in lines {
        joined.push(',');
        joined.push_str(line.to_str().ok()?);
    }
    Some(joined)
}
