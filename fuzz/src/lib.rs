//! What must hold for any bytes from a provider or a client. The fuzz targets run these without
//! end, `tests/corpus.rs` runs them over the committed corpus and near it.
//!
//! An input is a head of four bytes that choose the API, the kind of body and where it is cut, and
//! then the body.

use http::Method;
use tollgate::protocol::{
    Dialogue, FormReader, Observed, Operation, RequestFacts, ResponseKind, ResponseMeter,
    UsageStripper, classify, inject_include_usage, read_request,
};
use tollgate::record::Api;

/// What a meter may hold, in bytes: far less than the bodies it reads.
const MOST_RETAINED_BYTES: usize = 128 * 1024;

const KINDS: &[(u16, Option<&str>)] = &[
    (200, Some("text/event-stream; charset=utf-8")),
    (200, Some("application/json")),
    (500, Some("application/json")),
    (200, None),
];

const ENCODINGS: &[Option<&str>] = &[None, None, None, Some("gzip"), Some("br"), Some("zstd")];

struct Head {
    api: Api,
    kind: u8,
    encoding: Option<&'static str>,
    cuts: Cuts,
}

/// Lengths of fragments, from a seed: mostly short, now and then long.
#[derive(Clone, Copy)]
struct Cuts(u64);

impl Cuts {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let draw = usize::try_from(self.0 >> 48).unwrap_or(0);
        match draw % 4 {
            0 => 1,
            1 => 1 + draw / 4 % 7,
            2 => 1 + draw / 4 % 60,
            _ => 1 + draw / 4,
        }
    }
}

fn head(input: &[u8]) -> Option<(Head, &[u8])> {
    let ([api, kind, encoding, cuts], body) = input.split_first_chunk()?;
    let choose = |count: usize, by: u8| usize::from(by) % count;
    let head = Head {
        api: Api::ALL[choose(Api::ALL.len(), *api)],
        kind: *kind,
        encoding: ENCODINGS[choose(ENCODINGS.len(), *encoding)],
        cuts: Cuts(0x9E37_79B9_7F4A_7C15 ^ u64::from(*cuts)),
    };
    Some((head, body))
}

/// The body's fragments: all in one, or cut by the seed.
fn fragments(body: &[u8], cuts: Option<Cuts>) -> Vec<&[u8]> {
    let Some(mut cuts) = cuts else {
        return vec![body];
    };
    let mut rest = body;
    let mut fragments = Vec::new();
    while !rest.is_empty() {
        let (fragment, after) = rest.split_at(cuts.next().min(rest.len()));
        fragments.push(fragment);
        rest = after;
    }
    fragments
}

/// Wherever an answer is cut, the same is seen of it and the same is forwarded, in bounded memory.
pub fn answer(input: &[u8]) {
    let Some((head, body)) = head(input) else {
        return;
    };
    let observe = |cuts| -> Observed {
        let (status, content_type) = KINDS[usize::from(head.kind) % KINDS.len()];
        let operation = match head.kind >> 6 {
            0 | 1 => Operation::Create,
            2 => Operation::Results,
            _ => Operation::Retrieve,
        };
        let kind = ResponseKind {
            status,
            content_type,
            content_encoding: head.encoding,
        };
        let mut meter = ResponseMeter::new(head.api, operation, kind);
        for fragment in fragments(body, cuts) {
            meter.feed(fragment);
        }
        meter.finish();
        assert!(meter.retained_bytes() < MOST_RETAINED_BYTES);
        meter.observed().clone()
    };
    assert_eq!(observe(None), observe(Some(head.cuts)));
    let strip = |cuts| {
        let mut stripper = UsageStripper::new();
        let mut out = Vec::new();
        for fragment in fragments(body, cuts) {
            out.extend_from_slice(&stripper.feed(fragment.to_vec().into()));
        }
        out.extend_from_slice(&stripper.finish());
        out
    };
    let stripped = strip(None);
    assert_eq!(stripped, strip(Some(head.cuts)));
    if !body.windows(5).any(|window| window == b"usage") {
        assert_eq!(stripped, body);
    }
}

/// A request is read without a panic, and asking for usage in it keeps the rest of it.
pub fn request(input: &[u8]) {
    let Some((head, body)) = head(input) else {
        return;
    };
    let facts = read_request(head.api, body);
    if let Some(injected) = inject_include_usage(body, &facts) {
        let again = read_request(head.api, &injected);
        assert!(again.well_formed && again.asked_for_usage);
        assert_eq!(again.model, facts.model);
        assert_eq!(again.stream, facts.stream);
        assert_eq!(inject_include_usage(&injected, &again), None);
    }
    if let Ok(path) = std::str::from_utf8(body)
        && let Ok(route) = classify(&Method::POST, path)
    {
        assert!(path.ends_with(route.rest) || route.rest == "/");
    }
}

/// Wherever a form is cut, the same is read of it. The boundary is the body's first word, so that
/// the fuzzer can write one that occurs.
pub fn form(input: &[u8]) {
    let Some((head, input)) = head(input) else {
        return;
    };
    let (boundary, body) = match input.iter().position(|&byte| byte == b' ') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (&b"limit"[..], input),
    };
    let content_type = format!(
        "multipart/form-data; boundary={}",
        String::from_utf8_lossy(boundary)
    );
    let read = |cuts| -> Option<RequestFacts> {
        let mut reader = FormReader::new(head.api, &content_type)?;
        for fragment in fragments(body, cuts) {
            reader.feed(fragment);
        }
        Some(reader.finish())
    };
    assert_eq!(read(None), read(Some(head.cuts)));
}

/// Wherever the bytes of one side of a WebSocket are cut, the same is read of them, in bounded
/// memory.
pub fn websocket(input: &[u8]) {
    let Some((head, body)) = head(input) else {
        return;
    };
    let api = [Api::Realtime, Api::Responses][usize::from(head.kind & 1)];
    let read = |cuts| {
        let mut dialogue = Dialogue::new(api, head.kind & 2 != 0)?;
        let mut created = Vec::new();
        let mut told = Vec::new();
        for fragment in fragments(body, cuts) {
            if head.kind & 4 == 0 {
                dialogue.upstream_sent(fragment, &mut |what| told.push(what));
            } else {
                dialogue.client_sent(fragment, &mut |create| created.push(create));
            }
            assert!(dialogue.retained_bytes() < MOST_RETAINED_BYTES);
        }
        let left = (dialogue.client_leave(), dialogue.upstream_leave());
        Some((created, told, left, dialogue.unread()))
    };
    assert_eq!(read(None), read(Some(head.cuts)));
}
