//! What the proxy relies on, over whole answers.

mod chunking;
mod encodings;
mod endings;
#[expect(
    dead_code,
    reason = "the tests of the whole proxy read the rest of a case"
)]
#[path = "../../tests/golden/exchange.rs"]
mod exchange;
mod fixtures;
mod golden;
mod hostile;
mod media;
mod stripping;
mod usage;
mod words;

use bytes::Bytes;

use super::*;
use crate::record::Api;

pub(super) const JSON: ResponseKind<'static> = ResponseKind {
    status: 200,
    content_type: Some("application/json"),
    content_encoding: None,
};

pub(super) const EVENTS: ResponseKind<'static> = ResponseKind {
    status: 200,
    content_type: Some("text/event-stream; charset=utf-8"),
    content_encoding: None,
};

/// The pieces of `body` between `cuts`.
pub(super) fn pieces<'b>(body: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &body[pair[0]..pair[1]])
        .collect()
}

/// What a meter sees of `body` in `fragments`, and how often it told each signal.
pub(super) fn observe<'f>(
    api: Api,
    kind: ResponseKind<'_>,
    fragments: impl IntoIterator<Item = &'f [u8]>,
) -> (Observed, [usize; 3]) {
    let mut meter = ResponseMeter::new(api, Operation::Create, kind);
    let mut told = [0; 3];
    for fragment in fragments {
        let signals = meter.feed(fragment);
        told[0] += usize::from(signals.first_content);
        told[1] += usize::from(signals.terminal);
        told[2] += usize::from(signals.failed);
    }
    meter.finish();
    (meter.observed().clone(), told)
}

/// What a meter sees of a whole body.
pub(super) fn observed(api: Api, kind: ResponseKind<'_>, body: impl AsRef<[u8]>) -> Observed {
    observe(api, kind, [body.as_ref()]).0
}

/// What is forwarded of `fragments`.
pub(super) fn strip<'f>(fragments: impl IntoIterator<Item = &'f [u8]>) -> Vec<u8> {
    let mut stripper = UsageStripper::new();
    let mut forwarded = Vec::new();
    for fragment in fragments {
        forwarded.extend_from_slice(&stripper.feed(Bytes::copy_from_slice(fragment)));
    }
    forwarded.extend_from_slice(&stripper.finish());
    forwarded
}

#[test]
fn what_the_proxy_keeps_across_threads_may_go_there() {
    fn sendable<T: Send + Sync>() {}
    sendable::<ResponseMeter>();
    sendable::<UsageStripper>();
    sendable::<Decoder>();
    sendable::<RequestFacts>();
}
