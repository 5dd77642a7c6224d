//! Every recorded answer of the golden table, cut anywhere and in every content coding, says the
//! same.

use std::sync::LazyLock;

use http::Method;
use proptest::prelude::*;

use super::encodings::encoded;
use super::exchange::{End, Exchange, exchanges};
use super::*;

/// What a meter sees of a case's answer in `fragments`.
fn seen<'f>(case: &Exchange, fragments: impl IntoIterator<Item = &'f [u8]>) -> Observed {
    seen_encoded(case, None, fragments)
}

fn seen_encoded<'f>(
    case: &Exchange,
    content_encoding: Option<&str>,
    fragments: impl IntoIterator<Item = &'f [u8]>,
) -> Observed {
    let path = case.target.split('?').next().unwrap_or_default();
    let method = Method::from_bytes(case.method.as_bytes()).unwrap();
    let route = classify(&method, path).unwrap();
    let kind = ResponseKind {
        status: case.status_code(),
        content_type: case.content_type(),
        content_encoding,
    };
    let mut meter = ResponseMeter::new(route.api, route.operation, kind);
    for fragment in fragments {
        meter.feed(fragment);
    }
    meter.finish();
    meter.observed().clone()
}

#[test]
fn byte_by_byte() {
    for case in exchanges() {
        let whole = seen(&case, [&case.body[..]]);
        assert_eq!(whole, seen(&case, case.body.chunks(1)), "{}", case.name);
    }
}

#[test]
fn in_every_content_coding() {
    for case in exchanges() {
        if case.end != End::Whole {
            continue;
        }
        let plain = seen(&case, [&case.body[..]]);
        for (coding, bytes) in encoded(&case.body) {
            let whole = seen_encoded(&case, Some(coding), [&bytes[..]]);
            assert_eq!(whole, plain, "{} {coding}", case.name);
            let pieces = seen_encoded(&case, Some(coding), bytes.chunks(3));
            assert_eq!(pieces, plain, "{} {coding}", case.name);
        }
    }
}

proptest! {
    #[test]
    fn cut_in_many_places(
        case in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        static CASES: LazyLock<Vec<Exchange>> = LazyLock::new(exchanges);
        let case = case.get(&CASES);
        let whole = seen(case, [&case.body[..]]);
        prop_assert_eq!(whole, seen(case, pieces(&case.body, &cuts)));
    }
}
