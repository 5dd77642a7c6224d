//! The one place that turns a failure into an answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::channel::Channel;
use crate::protocol::error_body;
use crate::record::RequestId;

use super::exchange::Exchange;
use super::failure::Failure;
use super::passing::Passing;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-request-id");
const CHANNEL: HeaderName = HeaderName::from_static("x-tollgate-channel");
const ERROR: HeaderName = HeaderName::from_static("x-tollgate-error");
const RULE: HeaderName = HeaderName::from_static("x-tollgate-rule");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Marks every answer with the request's id and the channel it came through.
pub(super) fn mark(
    header: &mut ResponseHeader,
    id: RequestId,
    channel: Option<&Channel>,
) -> pingora::Result<()> {
    let mut text = [0; 36];
    if let Ok(value) = HeaderValue::from_str(id.encode(&mut text)) {
        header.insert_header(REQUEST_ID, value)?;
    }
    if let Some(channel) = channel {
        header.insert_header(CHANNEL, channel.name_header.clone())?;
    }
    Ok(())
}

/// Whether anything of an answer went out: an interim one (RFC 9110 §15.2) is none.
pub(super) fn has_begun(session: &Session) -> bool {
    let written = session.response_written().map(|header| header.status);
    written.is_some_and(|status| {
        !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
    })
}

/// Closes the account for `failure` and, when nothing of an answer went out yet, tells the client
/// in the shape of the API it called. Returns the status told; 0 when there was nobody to tell.
pub(super) async fn fail(session: &mut Session, exchange: &mut Exchange, failure: &Failure) -> u16 {
    let wording = failure.wording();
    let tell = !has_begun(session) && *failure != Failure::ClientClosed;
    if tell {
        exchange.recorder.answered(wording.status);
    }
    // Before the first byte of the answer: whoever saw it finds it in the ledger.
    exchange.close_failed(failure, Instant::now());
    if !tell {
        return 0;
    }
    // What is left of the request's body would be taken for the next request.
    session.set_keepalive(None);
    match write(session, exchange, failure).await {
        Ok(()) => wording.status,
        Err(error) => {
            tracing::debug!(
                request_id = %exchange.recorder.id(),
                error = error.etype().as_str(),
                "the client left before it was told of a failure"
            );
            0
        }
    }
}

async fn write(
    session: &mut Session,
    exchange: &Exchange,
    failure: &Failure,
) -> pingora::Result<()> {
    let wording = failure.wording();
    let answer = error_body(
        exchange.api,
        wording.status,
        wording.kind,
        wording.code,
        &wording.message,
    );
    let mut header = ResponseHeader::build(wording.status, Some(7))?;
    header.insert_header(CONTENT_TYPE, answer.content_type)?;
    header.insert_header(CONTENT_LENGTH, answer.body.len())?;
    header.insert_header(ERROR, wording.code)?;
    if wording.status == 401 {
        // RFC 9110, 11.6.1: a 401 says how to authenticate.
        header.insert_header(WWW_AUTHENTICATE, "Bearer")?;
    }
    if let Some(wait) = wording.retry_after {
        header.insert_header(RETRY_AFTER, wait.as_secs())?;
    }
    if let Failure::Blocked(refusal) = failure {
        // What the official SDKs obey, before they look at the status.
        header.insert_header(SHOULD_RETRY, "false")?;
        if let Ok(name) = HeaderValue::from_bytes(refusal.blocked.alert.rule.as_bytes()) {
            header.insert_header(RULE, name)?;
        }
    }
    mark(
        &mut header,
        exchange.recorder.id(),
        exchange.channel.as_deref(),
    )?;
    let bodiless = session.req_header().method == Method::HEAD;
    session
        .downstream_session
        .write_response_header(Box::new(header))
        .await?;
    if bodiless {
        return session.downstream_session.finish_body().await;
    }
    session
        .downstream_session
        .write_response_body(answer.body, true)
        .await
}

/// Says what is Tollgate's own to the client of a tunnel, between two messages of the upstream's. An
/// error means that the client is gone.
pub(super) async fn interpose(session: &mut Session, exchange: &mut Exchange, words: Bytes) {
    exchange.recorder.forwarded(words.len(), Duration::ZERO);
    let _ = session
        .downstream_session
        .write_response_body(words, false)
        .await;
}

/// Sends what was held back of an event stream that broke off inside an event: the client sees
/// exactly what the upstream sent. An error means that the client is gone, which ends it as well.
pub(super) async fn release(session: &mut Session, exchange: &mut Exchange) {
    let held = exchange.passing.as_mut().map(Passing::release);
    let Some(held) = held.filter(|held| !held.is_empty()) else {
        return;
    };
    if has_begun(session) {
        exchange.recorder.forwarded(held.len(), Duration::ZERO);
        exchange.capture.received(Some(&held));
        let _ = session
            .downstream_session
            .write_response_body(held, false)
            .await;
    }
}
