//! The secret of the keys' hashes where it cannot be kept.

use std::fs;

use super::{chat, created};
use crate::support::answers;
use crate::support::eventually;
use crate::support::tollgate::Tollgate;
use crate::support::upstream::Upstream;

#[test]
fn without_a_place_for_the_secret_everything_but_making_keys_goes_on() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Tollgate::before(&upstream.base_url());
    tollgate.stop();
    let secret = tollgate.data_dir().join("key-secret");
    fs::remove_file(&secret).unwrap();
    // Neither can it be read nor made.
    fs::create_dir(&secret).unwrap();
    tollgate.start_again();
    let key = |tollgate: &Tollgate| {
        let response = tollgate.send(&chat("sk-own"));
        assert_eq!(response.status, 200, "{response:?}");
        let row = tollgate.ledger().request(&response.request_id());
        row.text("key").unwrap().to_owned()
    };
    let fingerprint = key(&tollgate);
    assert!(fingerprint.starts_with("fp-"), "{fingerprint}");
    let refused = tollgate.run(&["keys", "create", "ci"]);
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("key-secret"), "{said}");
    assert_eq!(tollgate.send(&chat("sk-own")).status, 200);
    let log = tollgate.log();
    assert_eq!(log.matches("have no secret on disk").count(), 1, "{log}");

    fs::remove_dir(&secret).unwrap();
    eventually("the secret is kept", || secret.is_file().then_some(()));
    assert_eq!(key(&tollgate), fingerprint);
    tollgate.stop();
    tollgate.start_again();
    assert_eq!(key(&tollgate), fingerprint);
    let made = created(&tollgate, &["ci"]);
    assert_eq!(tollgate.send(&chat(&made)).status, 200);
}
