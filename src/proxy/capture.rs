//! Holds the bytes of a request and its answer, where they are to be kept.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};

use crate::channel::Channel;
use crate::payloads::{Answer, Choice, Payload, Payloads, Request};
use crate::record::{Outcome, RequestId};

use super::body::Body;

/// What is held of one request; nothing, and at no cost, unless it was chosen.
#[derive(Default)]
pub(super) struct Capture(Option<Box<Holding>>);

struct Holding {
    payloads: Arc<Payloads>,
    choice: Choice,
    id: RequestId,
    request: Request,
    answer: Option<Answer>,
}

impl Capture {
    /// Begins to hold the request of this head, when it is chosen.
    pub(super) fn begin(
        payloads: Option<&Arc<Payloads>>,
        id: RequestId,
        head: &RequestHeader,
    ) -> Self {
        let chosen = payloads.map(|payloads| (payloads, payloads.choice(id)));
        let Some((payloads, choice)) = chosen.filter(|(_, choice)| *choice != Choice::No) else {
            return Self(None);
        };
        Self(Some(Box::new(Holding {
            payloads: Arc::clone(payloads),
            choice,
            id,
            request: Request {
                method: head.method.clone(),
                uri: head.uri.clone(),
                headers: head.headers.clone(),
                body: payloads.body(),
            },
            answer: None,
        })))
    }

    /// A piece of the request's body, as it goes to the upstream; one of a body that was read whole
    /// is not taken, because that is held anyway.
    pub(super) fn sent(&mut self, body: &Body, piece: Option<&Bytes>) {
        if let (Some(holding), Some(piece)) = (&mut self.0, piece)
            && body.whole().is_none()
        {
            holding.request.body.push(piece);
        }
    }

    /// The answer's header, as it goes to the client.
    pub(super) fn answered(&mut self, header: &ResponseHeader) {
        if let Some(holding) = &mut self.0 {
            holding.answer = Some(Answer {
                status: header.status.as_u16(),
                headers: header.headers.clone(),
                body: holding.payloads.body(),
            });
        }
    }

    /// The answer goes nowhere: another one comes.
    pub(super) fn forget_answer(&mut self) {
        if let Some(holding) = &mut self.0 {
            holding.answer = None;
        }
    }

    /// A piece of the answer's body, as it goes to the client.
    pub(super) fn received(&mut self, piece: Option<&Bytes>) {
        let answer = self.0.as_mut().and_then(|holding| holding.answer.as_mut());
        if let (Some(answer), Some(piece)) = (answer, piece) {
            answer.body.push(piece);
        }
    }

    /// The request has ended so: what is held goes to be written, or is let go.
    pub(super) fn end(&mut self, outcome: Outcome, body: &Body, channel: Option<&Arc<Channel>>) {
        let Some(mut holding) = self.0.take() else {
            return;
        };
        if let Some(forward) = body.whole() {
            holding.request.body.share(forward);
        }
        if holding.choice.keeps(outcome) {
            holding.payloads.submit(Payload {
                id: holding.id,
                outcome,
                channel: channel.map(Arc::clone),
                request: holding.request,
                answer: holding.answer,
            });
        }
    }
}

/// Without its content, which may be secret.
impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Capture").field(&self.0.is_some()).finish()
    }
}
