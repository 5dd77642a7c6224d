//! What readers are told.

use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::sample::{admission, any_record, record};
use super::{Manual, PATIENCE, open, settings};
use crate::ledger::query::{
    Cursor, NameFilter, Order, Reader, RequestFilter, Sequence, StoredRequest,
};
use crate::money::NanoUsd;
use crate::record::{Cost, Outcome, Phase, RequestRecord};

/// What the ledger should say of a record.
fn as_stored(record: &RequestRecord, sequence: Sequence) -> StoredRequest {
    let record = record.clone();
    let admission = record.admission;
    let owned = |text: Option<std::sync::Arc<str>>| text.map(|text| text.to_string());
    StoredRequest {
        sequence,
        id: admission.id,
        started_at: admission.started_at,
        channel: owned(admission.channel),
        key: owned(admission.key),
        api: admission.api,
        method: admission.method.to_string(),
        path: admission.path.to_string(),
        requested_model: owned(admission.requested_model),
        served_model: owned(record.served_model),
        service_tier: owned(record.service_tier),
        stream: admission.stream,
        status: record.status,
        outcome: record.outcome,
        error_source: record.error_source,
        error_code: owned(record.error_code),
        error_message: owned(record.error_message),
        attempts: Some(u32::try_from(record.attempts.len()).unwrap()),
        usage: record.usage,
        assumed_cost: record.assumed_cost.filter(|_| record.cost.is_none()),
        cost: record.cost,
        phases: record.phases,
        request_bytes: admission.request_bytes,
        response_bytes: Some(record.response_bytes),
        upstream_request_id: owned(record.upstream_request_id),
        session: owned(admission.session),
        end_user: owned(admission.end_user),
        tags: admission.tags,
        source: record.source,
        response_id: owned(record.response_id),
        deferral: record.deferral,
        estimate: record.estimate,
        delivered_output_tokens: record.delivered_output_tokens,
        upstream_bytes: record.upstream_bytes,
        priced_at: record.priced_at,
        billable: admission.billable,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_field_of_every_record_comes_back(records in prop::collection::vec(any_record(), 1..20)) {
        let folder = TempDir::new().unwrap();
        let mut ledger = Manual::open(&settings(&folder));
        for record in &records {
            ledger.journal.admit(&record.admission);
            ledger.journal.end(record);
        }
        ledger.round();
        let reader = Reader::open(folder.path()).unwrap();
        for (record, sequence) in records.iter().zip(1..) {
            let detail = reader.request(record.admission.id).unwrap().unwrap();
            prop_assert_eq!(detail.request, as_stored(record, Sequence(sequence)));
            prop_assert_eq!(&detail.attempts, &record.attempts);
        }
    }
}

/// A ledger of 25 requests of two channels, every fifth failed, slower by the number.
fn listing() -> (TempDir, Reader) {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    for n in 0..25 {
        let mut record = record(admission(n / 2));
        record.admission.channel = Some(if n % 2 == 0 { "even" } else { "odd" }.into());
        record.admission.session = (n % 10 == 0).then(|| "s1".into());
        if n % 5 == 0 {
            record.outcome = Outcome::UpstreamError;
            record.status = Some(500);
            record.served_model = None;
        }
        record.phases[Phase::Total] = (n != 24).then_some(1_000 + n % 7);
        let cost = i64::try_from(n % 3).unwrap();
        record.cost = (n > 1).then(|| Cost {
            amount: NanoUsd(cost),
            price_version: "t".into(),
        });
        ledger.journal.end(&record);
    }
    ledger.round();
    let reader = Reader::open(folder.path()).unwrap();
    (folder, reader)
}

fn sequences(requests: &[StoredRequest]) -> Vec<i64> {
    requests.iter().map(|request| request.sequence.0).collect()
}

#[test]
fn pages_together_are_the_whole_listing_in_order() {
    let (_folder, reader) = listing();
    for (order, count) in [
        (Order::Newest, 25),
        (Order::Slowest, 24),
        (Order::Dearest, 23),
    ] {
        let mut filter = RequestFilter {
            order,
            limit: 4,
            ..RequestFilter::default()
        };
        let mut all = Vec::new();
        loop {
            let page = reader.requests(&filter).unwrap();
            assert!(page.requests.len() <= 4);
            all.extend(page.requests);
            let Some(next) = page.next else { break };
            // As a client does: the cursor travels as text.
            filter.cursor = Some(next.to_string().parse().unwrap());
        }
        let key = |request: &StoredRequest| match order {
            Order::Newest => (request.started_at.0, request.sequence.0),
            Order::Slowest => (
                i64::try_from(request.phases[Phase::Total].unwrap()).unwrap(),
                request.sequence.0,
            ),
            Order::Dearest => (request.cost.as_ref().unwrap().amount.0, request.sequence.0),
        };
        assert_eq!(all.len(), count);
        assert!(all.windows(2).all(|pair| key(&pair[0]) > key(&pair[1])));
    }
    assert!("x1_2".parse::<Cursor>().is_err());
    assert!("".parse::<Cursor>().is_err());
}

#[test]
fn filters_choose() {
    let (_folder, reader) = listing();
    let found = |filter: RequestFilter| {
        let mut found = sequences(&reader.requests(&filter).unwrap().requests);
        found.sort_unstable();
        found
    };
    let all = RequestFilter::default;
    let failed = vec![1, 6, 11, 16, 21];
    assert_eq!(
        found(RequestFilter {
            failed_only: true,
            ..all()
        }),
        failed
    );
    assert_eq!(
        found(RequestFilter {
            outcome: NameFilter::exactly("upstream_error"),
            ..all()
        }),
        failed
    );
    assert_eq!(
        found(RequestFilter {
            status: Some(500),
            ..all()
        }),
        failed
    );
    assert_eq!(
        found(RequestFilter {
            model: NameFilter::exactly("gpt-5-mini"),
            ..all()
        }),
        failed
    );
    assert_eq!(
        found(RequestFilter {
            session: NameFilter::exactly("s1"),
            ..all()
        }),
        [1, 11, 21]
    );
    assert_eq!(
        found(RequestFilter {
            channel: NameFilter::exactly("odd"),
            failed_only: true,
            ..all()
        }),
        [6, 16]
    );
    assert_eq!(
        found(RequestFilter {
            key: NameFilter::exactly("nobody"),
            ..all()
        }),
        [0; 0]
    );
    let (since, until) = (admission(3).started_at, admission(5).started_at);
    assert_eq!(
        found(RequestFilter {
            since: Some(since),
            until: Some(until),
            ..all()
        }),
        [7, 8, 9, 10]
    );
}

#[test]
fn following_sees_each_new_request_once() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    let end = |n, channel: &str| {
        let mut admission = admission(n);
        admission.channel = Some(channel.into());
        ledger.journal().end(&record(admission));
        assert!(ledger.flush(PATIENCE));
    };
    end(0, "a");
    let reader = Reader::open(folder.path()).unwrap();
    let filter = RequestFilter {
        channel: NameFilter::exactly("a"),
        limit: 2,
        ..RequestFilter::default()
    };
    let mut position = reader.newest().unwrap();
    let mut seen = Vec::new();
    for n in 1..8 {
        end(n, if n % 2 == 0 { "b" } else { "a" });
        if n % 3 == 0 {
            let page = reader.follow(&filter, position).unwrap();
            position = page.position;
            seen.extend(sequences(&page.requests));
        }
    }
    for _ in 0..3 {
        let page = reader.follow(&filter, position).unwrap();
        position = page.position;
        seen.extend(sequences(&page.requests));
    }
    assert_eq!(seen, [2, 4, 6, 8]);
    assert_eq!(position, reader.newest().unwrap());
}

#[test]
fn a_reader_sees_what_is_committed_while_it_is_open() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    let reader = Reader::open(folder.path()).unwrap();
    let id = admission(0).id;
    assert_eq!(reader.request(id).unwrap(), None);
    let mut admission = admission(0);
    admission.id = id;
    ledger.journal().end(&record(admission));
    assert!(ledger.flush(Duration::from_secs(60)));
    assert_eq!(reader.request(id).unwrap().unwrap().request.id, id);
}
