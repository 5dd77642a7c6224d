//! Without keys callers are told apart, and nobody can tell by what.

use super::{chat, created};
use crate::support::answers;
use crate::support::client::Request;
use crate::support::tollgate::Tollgate;
use crate::support::upstream::Upstream;

/// What the ledger calls whoever sends this.
fn caller(tollgate: &Tollgate, request: &Request) -> Option<String> {
    let response = tollgate.send(request);
    assert_eq!(response.status, 200, "{response:?}");
    let row = tollgate.ledger().request(&response.request_id());
    row.text("key").map(str::to_owned)
}

#[test]
fn a_caller_has_one_fingerprint_for_good_and_another_elsewhere() {
    let upstream = Upstream::always(answers::json("200 OK", "{}"));
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let alice = caller(&tollgate, &chat("sk-alice")).unwrap();
    assert!(alice.starts_with("fp-") && alice.len() == 15, "{alice}");
    assert_eq!(caller(&tollgate, &chat("sk-alice")), Some(alice.clone()));
    // The same credential in another place is the same caller's.
    let elsewhere = Request::new("GET", "/v1/models").header("x-api-key", "sk-alice");
    assert_eq!(caller(&tollgate, &elsewhere), Some(alice.clone()));
    assert_ne!(caller(&tollgate, &chat("sk-bob")), Some(alice.clone()));
    let without = Request::new("GET", "/v1/models");
    assert_eq!(caller(&tollgate, &without), None);
    // It goes to the upstream as it came.
    let received = upstream.received();
    assert_eq!(
        received[0].headers.get("authorization"),
        Some("Bearer sk-alice")
    );
    tollgate.stop();
    tollgate.start_again();
    assert_eq!(caller(&tollgate, &chat("sk-alice")), Some(alice.clone()));

    let other = Tollgate::before(&upstream.base_url());
    assert_ne!(caller(&other, &chat("sk-alice")), Some(alice));
}

#[test]
fn usage_is_told_by_key() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    caller(&tollgate, &chat("sk-alice")).unwrap();
    let key = created(&tollgate, &["ci"]);
    assert_eq!(caller(&tollgate, &chat(&key)).as_deref(), Some("ci"));
    let rows = tollgate
        .ledger()
        .query("SELECT key FROM usage_minutely ORDER BY key");
    let keys: Vec<_> = rows.iter().filter_map(|row| row.text("key")).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert_eq!(keys[0], "ci");
    assert!(keys[1].starts_with("fp-"), "{keys:?}");
}
